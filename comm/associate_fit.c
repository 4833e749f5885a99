// associate_fit.c: thaw_associate_fit, from histories to files.
#include "comm/associate.h"

#include "base/mem.h"
#include "comm/associate_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Systems ----

static void system_clear(struct thaw_associate_system *s) {
    thaw_gridmat_clear(&s->a);
    thaw_gridmat_clear(&s->y);
}

static int system_new(struct thaw_associate *a, struct thaw_associate_system *s, int i,
                      struct thaw_err *err) {
    const struct thaw_associate_config *k = a->config;
    *s = (struct thaw_associate_system){
        .known = k->known[i], .ridge = k->regularization[i], .power = k->power ? k->power[i] : 0.5};
    int code = thaw_gridmat_new(&s->a, a->grid, a->unknowns, a->unknowns, a->block, k->single, err);
    if (!code && a->episodic)
        code = thaw_gridmat_new(&s->y, a->grid, a->unknowns, a->nitems, a->block, k->single, err);
    return code;
}

static void tell(const struct thaw_associate *a, const struct thaw_associate_system *s, double pairs_s,
                 double solve_s, double write_s, double residual) {
    char known[48] = "", checked[48] = "";
    if (a->episodic) snprintf(known, sizeof known, "%d known: ", s->known);
    if (residual >= 0) snprintf(checked, sizeof checked, ", relative residual %.1e", residual);
    thaw_log_note(a->config->log, "%sassembled in %.2f s, solved in %.2f s, written in %.2f s%s", known,
                  pairs_s, solve_s, write_s, checked);
    thaw_log_event(a->config->log, "associate",
                   "\"known\":%d,\"regularization\":%.9g,\"pairs_s\":%.3f,\"solve_s\":%.3f,\"write_s\":%.3f,"
                   "\"residual\":%.3g",
                   s->known, s->ridge, pairs_s, solve_s, write_s, residual);
}

// Collective. A signal ends the job between two systems.
static int check_stop(const struct thaw_associate *a, struct thaw_err *err) {
    if (!thaw_comm_stop_agreed(a->c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED, "stopped on request: the same command begins anew");
}

// Collective. Solve and write one system; its matrices are freed.
static int system_finish(struct thaw_associate *a, struct thaw_associate_system *s, double pairs_s,
                         struct thaw_err *err) {
    double residual = -1;
    const double began = thaw_time_s();
    int code = check_stop(a, err);
    if (!code) code = thaw_associate_solve(a, s, &residual, err);
    const double solved = thaw_time_s();
    if (!code) code = thaw_associate_write(a, s, err);
    if (!code) tell(a, s, pairs_s, solved - began, thaw_time_s() - solved, residual);
    if (residual > a->residual) a->residual = residual;
    system_clear(s);
    return code;
}

// Collective. Systems [first, first + n), with one pass over the histories.
static int fit_batch(struct thaw_associate *a, int first, int n, struct thaw_err *err) {
    struct thaw_associate_system s[THAW_ASSOCIATE_BATCH] = {0};
    const double began = thaw_time_s();
    int code = THAW_OK;
    for (int i = 0; !code && i < n; i++) code = system_new(a, &s[i], first + i, err);
    if (!code) code = thaw_associate_pairs(a, s, n, err);
    const double pairs_s = (thaw_time_s() - began) / n;
    for (int i = 0; !code && i < n; i++) code = system_finish(a, &s[i], pairs_s, err);
    for (int i = 0; i < n; i++) system_clear(&s[i]);
    return code;
}

// ---- The manifest ----

static int by_name(const void *a, const void *b) {
    return strcmp((*(Thaw__File *const *)a)->name, (*(Thaw__File *const *)b)->name);
}

static int copy_numbers(double **to, size_t *nto, const double *from, int n, struct thaw_err *err) {
    int code = thaw_alloc(to, (size_t)n, sizeof **to, "the manifest", err);
    if (code) return code;
    memcpy(*to, from, (size_t)n * sizeof **to);
    *nto = (size_t)n;
    return THAW_OK;
}

static int copy_items(Thaw__Association *m, const struct thaw_plan *plan, struct thaw_err *err) {
    const size_t n = (size_t)plan->nparts;
    if (!(m->items = malloc(sizeof *m->items)))
        return thaw_fail(err, THAW_EMEM, "no memory for the manifest");
    thaw__side__init(m->items);
    int code = thaw_alloc(&m->items->part_rows, n, sizeof *m->items->part_rows, "the manifest", err);
    if (code) return code;
    m->items->n_part_rows = n;
    for (size_t p = 0; p < n; p++) m->items->part_rows[p] = plan->first_row[p + 1] - plan->first_row[p];
    return THAW_OK;
}

// Rank 0. packed: every rank's files, serialized one after the other, which is how messages join.
static int manifest_fill(const struct thaw_associate *a, const void *packed, int64_t nbytes,
                         Thaw__Association **out, struct thaw_err *err) {
    const struct thaw_associate_config *k = a->config;
    Thaw__Association *m = thaw__association__unpack(NULL, (size_t)nbytes, packed);
    if (!m) return thaw_fail(err, THAW_EMEM, "no memory for the manifest");
    *out = m;
    qsort(m->files, m->n_files, sizeof(*m->files), by_name);
    m->format = 1;
    m->method = k->method;
    m->features = a->features;
    m->neighbors = k->neighbors;
    m->profile_regularization = a->episodic ? k->profile_regularization : 0;
    int code = thaw_alloc(&m->known, (size_t)k->nknown, sizeof *m->known, "the manifest", err);
    if (code) return code;
    m->n_known = (size_t)k->nknown;
    for (int i = 0; i < k->nknown; i++) m->known[i] = k->known[i];
    code = copy_numbers(&m->regularization, &m->n_regularization, k->regularization, k->nknown, err);
    if (!code && k->method == THAW__ASSOCIATION__METHOD__KNN)
        code = copy_numbers(&m->power, &m->n_power, k->power, k->nknown, err);
    return code ? code : copy_items(m, a->items, err);
}

// Collective.
static int manifest_make(struct thaw_associate *a, Thaw__Association **out, struct thaw_err *err) {
    uint8_t *own = NULL;
    void *all = NULL;
    Thaw__Association *m = NULL;
    int64_t total = 0;
    const size_t nbytes = thaw__association__get_packed_size(a->list);
    int code = thaw_comm_agree(a->c, thaw_alloc(&own, nbytes, 1, "file entries", err), err);
    if (code) return code;
    thaw__association__pack(a->list, own);
    code = thaw_comm_gather(a->c, own, (int64_t)nbytes, 0, &all, &total, err);
    if (!code && thaw_comm_rank(a->c) == 0) code = manifest_fill(a, all, total, &m, err);
    if ((code = thaw_comm_agree(a->c, code, err))) {
        if (m) thaw__association__free_unpacked(m, NULL);
    } else {
        *out = m;
    }
    free(own);
    free(all);
    return code;
}

// ---- All of it ----

static int begin(struct thaw_associate *a, int *batch, struct thaw_err *err) {
    const struct thaw_associate_config *k = a->config;
    const int nranks = thaw_comm_size(a->c);
    a->episodic = k->method == THAW__ASSOCIATION__METHOD__EPISODIC;
    a->features = a->episodic && k->profile ? a->h->profile.columns : 0;
    a->nitems = thaw_plan_rows(a->items);
    a->block = k->block ? (int)k->block : thaw_grid_block(nranks, a->nitems);
    a->first_feature = (a->nitems + a->block - 1) / a->block * a->block;
    a->unknowns = a->episodic ? a->first_feature + 1 + a->features : a->nitems;
    a->residual = -1;
    if (a->nitems == 0 || a->h->training_users == 0)
        return thaw_fail(err, THAW_EDATA, "no training user has an item to learn from");
    int code = thaw_associate_fits(a, k->nknown, batch, err);
    if (!code) code = thaw_grid_new(&a->grid, a->c, err);
    return code;
}

int thaw_associate_fit(struct thaw_comm *c, const struct thaw_associate_config *config,
                       const struct thaw_histories *h, const struct thaw_plan *items, const char *dir,
                       Thaw__Association **manifest, double *residual, struct thaw_err *err) {
    Thaw__Association list = THAW__ASSOCIATION__INIT;
    struct thaw_associate a = {.c = c, .config = config, .h = h, .items = items, .dir = dir, .list = &list};
    int batch = 1, code = begin(&a, &batch, err);
    *manifest = NULL;
    for (int i = 0, n; !code && i < config->nknown; i += n) {
        n = config->nknown - i < batch ? config->nknown - i : batch;
        code = fit_batch(&a, i, n, err);
    }
    if (!code) code = manifest_make(&a, manifest, err);
    if (!code) *residual = a.residual;
    for (size_t i = 0; i < list.n_files; i++) thaw__file__free_unpacked(list.files[i], NULL);
    free(list.files);
    thaw_grid_free(&a.grid);
    return code;
}
