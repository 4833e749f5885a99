// heldout.c: held-out users in memory, their fold-in, and the quality training watches.
#include "comm/heldout.h"

#include "base/mem.h"
#include "base/rng.h"
#include "comm/interactions.h"
#include "comm/ranking.h"
#include "comm/sweep.h"
#include "metrics/rank.h"

#include <stdlib.h>
#include <string.h>

// A user's draws from the hold-out stream: whether held out, whether validating, whether in a sample.
bool thaw_heldout_validates(const Thaw__Als *als, uint64_t id_hash) {
    struct thaw_rng r = thaw_rng_at(als->holdout_seed, THAW_STREAM_HOLDOUT, id_hash);
    thaw_rng_uniform(&r);
    return thaw_rng_uniform(&r) < 0.25;
}

double thaw_heldout_sample(const Thaw__Als *als, uint64_t id_hash) {
    struct thaw_rng r = thaw_rng_at(als->holdout_seed, THAW_STREAM_HOLDOUT, id_hash);
    thaw_rng_uniform(&r);
    thaw_rng_uniform(&r);
    return thaw_rng_uniform(&r);
}

// ---- The set ----

int thaw_heldout_new(struct thaw_heldout **h, int max_known, struct thaw_err *err) {
    if (max_known < 1) return thaw_fail(err, THAW_EBUG, "a held-out user needs at least one known item");
    struct thaw_heldout *set = NULL;
    int code = thaw_alloc(&set, 1, sizeof *set, "held-out users", err);
    if (code != THAW_OK) return code;
    set->max_known = max_known;
    code = thaw_grow(&set->truth_ptr, &set->truth_ptr_cap, 1, sizeof *set->truth_ptr, "held-out users", err);
    if (code != THAW_OK) {
        thaw_heldout_free(&set);
        return code;
    }
    set->truth_ptr[0] = 0;
    *h = set;
    return THAW_OK;
}

static int set_reserve(struct thaw_heldout *h, int64_t nusers, int64_t ntruth, struct thaw_err *err) {
    const char *what = "held-out users";
    size_t users = (size_t)nusers, known = users * (size_t)h->max_known, truth = (size_t)ntruth;
    int code = thaw_grow(&h->key, &h->users_cap, users, sizeof *h->key, what, err);
    if (code == THAW_OK) code = thaw_grow(&h->row, &h->row_cap, users, sizeof *h->row, what, err);
    if (code == THAW_OK) code = thaw_grow(&h->known, &h->known_cap, known, sizeof *h->known, what, err);
    if (code == THAW_OK)
        code = thaw_grow(&h->known_value, &h->known_value_cap, known, sizeof *h->known_value, what, err);
    if (code == THAW_OK)
        code = thaw_grow(&h->truth_ptr, &h->truth_ptr_cap, users + 1, sizeof *h->truth_ptr, what, err);
    if (code == THAW_OK) code = thaw_grow(&h->truth, &h->truth_cap, truth, sizeof *h->truth, what, err);
    if (code == THAW_OK)
        code = thaw_grow(&h->truth_value, &h->truth_value_cap, truth, sizeof *h->truth_value, what, err);
    return code;
}

static bool is_known(const int64_t *order, int n, int64_t place) {
    for (int i = 0; i < n; i++)
        if (order[i] == place) return true;
    return false;
}

int thaw_heldout_add(struct thaw_heldout *h, uint64_t key, const int64_t *items, const float *values,
                     int64_t n, const int64_t *order, struct thaw_err *err) {
    int64_t truth = h->truth_ptr[h->nusers];
    if (n < h->max_known) return thaw_fail(err, THAW_EBUG, "a held-out user has too few interactions");
    int code = set_reserve(h, h->nusers + 1, truth + n - h->max_known, err);
    if (code != THAW_OK) return code;
    h->key[h->nusers] = key;
    h->row[h->nusers] = -1;
    int64_t at = h->nusers * h->max_known;
    for (int i = 0; i < h->max_known; i++, at++) {
        h->known[at] = items[order[i]];
        h->known_value[at] = values[order[i]];
    }
    for (int64_t i = 0; i < n; i++) {
        if (is_known(order, h->max_known, i)) continue;
        h->truth[truth] = items[i];
        h->truth_value[truth++] = values[i];
    }
    h->truth_ptr[++h->nusers] = truth;
    return THAW_OK;
}

struct moment {
    int64_t time, place;
    uint64_t draw;
};

static int earlier(const void *a, const void *b) {
    const struct moment *x = a, *y = b;
    if (x->time != y->time) return x->time < y->time ? -1 : 1;
    if (x->draw != y->draw) return x->draw < y->draw ? -1 : 1;
    return x->place < y->place ? -1 : x->place > y->place;
}

int thaw_heldout_order(int64_t *order, const int64_t *times, int64_t n, uint64_t seed, uint64_t key,
                       struct thaw_err *err) {
    struct moment *m = NULL;
    int code = thaw_alloc(&m, (size_t)n, sizeof *m, "the order of a history", err);
    if (code != THAW_OK) return code;
    struct thaw_rng r = thaw_rng_at(seed, THAW_STREAM_HISTORY, key);
    for (int64_t i = 0; i < n; i++)
        m[i] = (struct moment){.time = times ? times[i] : 0, .place = i, .draw = thaw_rng_u64(&r)};
    qsort(m, (size_t)n, sizeof *m, earlier);
    for (int64_t i = 0; i < n; i++) order[i] = m[i].place;
    free(m);
    return THAW_OK;
}

void thaw_heldout_free(struct thaw_heldout **h) {
    if (!*h) return;
    free((*h)->key);
    free((*h)->row);
    free((*h)->known);
    free((*h)->known_value);
    free((*h)->truth_ptr);
    free((*h)->truth);
    free((*h)->truth_value);
    free(*h);
    *h = NULL;
}

// ---- Fold-in ----

// The first n known items of a user as a row of the sweep: items rising.
static int add_known(struct thaw_csr *m, const struct thaw_heldout *h, int64_t user, int n, int64_t *index,
                     float *r, struct thaw_err *err) {
    const int64_t *known = h->known + user * h->max_known;
    const float *value = h->known_value + user * h->max_known;
    for (int i = 0; i < n; i++) {
        int at = i;
        for (; at > 0 && index[at - 1] > known[i]; at--) {
            index[at] = index[at - 1];
            r[at] = r[at - 1];
        }
        index[at] = known[i];
        r[at] = value[i];
    }
    return thaw_csr_add(m, index, r, n, err);
}

static int known_rows(struct thaw_csr *m, const struct thaw_heldout *h, int n, struct thaw_err *err) {
    int64_t *index = NULL;
    float *r = NULL;
    int code = thaw_csr_new(m, h->nusers, h->nusers * n, err);
    if (code == THAW_OK) code = thaw_alloc(&index, (size_t)n, sizeof *index, "known items", err);
    if (code == THAW_OK) code = thaw_alloc(&r, (size_t)n, sizeof *r, "known items", err);
    for (int64_t u = 0; code == THAW_OK && u < h->nusers; u++) code = add_known(m, h, u, n, index, r, err);
    free(index);
    free(r);
    return code;
}

int thaw_heldout_fold_in(struct thaw_comm *c, const struct thaw_heldout_model *m,
                         const struct thaw_heldout *h, int n, float *x, struct thaw_err *err) {
    const struct thaw_als_config config = thaw_fold_in_config(&m->config);
    const struct thaw_half_options options = {.exchange_bytes = 2 * m->budget_bytes, .alone = true};
    struct thaw_sweep_stats stats = {0};
    struct thaw_als_sweep *sweep = NULL;
    struct thaw_window *window = NULL;
    struct thaw_half *half = NULL;
    struct thaw_csr rows = {0};
    int code = n >= 1 && n <= h->max_known
                   ? THAW_OK
                   : thaw_fail(err, THAW_EBUG, "%d known items of %d", n, h->max_known);
    if (code == THAW_OK) code = known_rows(&rows, h, n, err);
    const int threads = thaw_blas_alone_begin();
    if (code == THAW_OK)
        code = thaw_als_sweep_new(&sweep, &config, thaw_plan_rows(m->items), n, m->gramian, err);
    thaw_blas_alone_end(threads);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_half_new(&half, c, &config, &rows, m->items, &options, err);
    if (code == THAW_OK) code = thaw_window_new(&window, c, thaw_half_facts(half)->window_bytes, err);
    if (code != THAW_OK) goto done;
    memset(x, 0, (size_t)h->nusers * (size_t)thaw_als_columns(&config) * sizeof *x);
    code = thaw_sweep(c, sweep, half, window, "held-out users", 0, m->rows, x, NULL, &stats, err);
done:
    thaw_csr_clear(&rows);
    thaw_half_free(&half);
    thaw_window_free(&window);
    thaw_als_sweep_free(&sweep);
    return code;
}

// ---- What training watches ----

static int in_truth(const struct thaw_heldout *h, int64_t user, int64_t item) {
    int64_t low = h->truth_ptr[user], high = h->truth_ptr[user + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (h->truth[middle] < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low < h->truth_ptr[user + 1] && h->truth[low] == item;
}

int thaw_heldout_hits(const struct thaw_heldout *h, int64_t user, const int64_t *top, int cutoff, bool *hit) {
    int n = 0;
    for (; n < cutoff && top[n] >= 0; n++) hit[n] = in_truth(h, user, top[n]);
    return n;
}

int thaw_heldout_top(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                     int n, int k, int64_t *top, struct thaw_err *err) {
    int columns = thaw_als_columns(&m->config);
    float *x = NULL;
    int code = thaw_alloc(&x, (size_t)h->nusers * (size_t)columns, sizeof *x, "held-out users' factors", err);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_heldout_fold_in(c, m, h, n, x, err);
    if (code != THAW_OK) goto done;
    if (m->config.biases) // what is added to a user's scores does not change their order
        for (int64_t u = 0; u < h->nusers; u++) x[(u + 1) * columns - 1] = 1;
    struct thaw_ranking_task task = {.items = m->items,
                                     .rows = m->rows,
                                     .columns = columns,
                                     .x = x,
                                     .nusers = h->nusers,
                                     .exclude = h->known,
                                     .nexclude = h->max_known,
                                     .k = k,
                                     .log = m->log,
                                     .stoppable = m->stoppable};
    code = thaw_ranking_top(c, &task, top, err);
done:
    free(x);
    return code;
}

int thaw_heldout_ndcg(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                      int n, int cutoff, double *ndcg, struct thaw_err *err) {
    int64_t *top = NULL;
    double *each = NULL, sum = 0;
    bool *hit = NULL;
    size_t users = (size_t)h->nusers;
    thaw_comm_phase(c, "measure");
    int code = thaw_alloc(&top, users * (size_t)cutoff, sizeof *top, "rankings", err);
    if (code == THAW_OK) code = thaw_alloc(&each, users, sizeof *each, "ranking quality", err);
    if (code == THAW_OK) code = thaw_alloc(&hit, (size_t)cutoff, sizeof *hit, "hits", err);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_heldout_top(c, m, h, n, cutoff, top, err);
    if (code != THAW_OK) goto done;
    for (int64_t u = 0; u < h->nusers; u++) {
        struct thaw_rank_metrics r;
        int shown = thaw_heldout_hits(h, u, top + u * cutoff, cutoff, hit);
        thaw_rank_metrics(hit, shown, cutoff, h->truth_ptr[u + 1] - h->truth_ptr[u], &r);
        each[u] = r.ndcg;
    }
    code = thaw_comm_exact_sum(c, each, h->nusers, 1, &sum, err);
    if (code == THAW_OK) *ndcg = h->total > 0 ? sum / (double)h->total : 0;
done:
    free(top);
    free(each);
    free(hit);
    return code;
}
