// evaluate_against.c: two versions of the tables on the same users: what changed, and for whom.
#include "base/mem.h"
#include "comm/interactions.h"
#include "comm/replicates.h"
#include "jobs/evaluate_pair.h"
#include "jobs/evaluation.h"
#include "metrics/rank.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// ---- Opening ----

static int open_side(struct thaw_pair_side *side, const char *dir, struct thaw_err *err) {
    int code = thaw_tables_open(&side->tables, dir, err);
    if (!code) code = thaw_cold_source_of_tables(&side->source, side->tables, err);
    if (!code) code = thaw_cold_open(&side->cold, &side->source, err);
    if (!code)
        side->method = thaw_cold_has(side->cold, THAW_COLD_ENSEMBLE) ? THAW_COLD_ENSEMBLE : THAW_COLD_FOLD_IN;
    return code;
}

static bool same_held_out(const Thaw__Als *a, const Thaw__Als *b) {
    return a->holdout == b->holdout && a->holdout_seed == b->holdout_seed &&
           a->n_holdout_ids == b->n_holdout_ids &&
           (a->n_holdout_ids == 0 ||
            memcmp(a->holdout_ids, b->holdout_ids, a->n_holdout_ids * sizeof *a->holdout_ids) == 0);
}

static int check_sides(const struct thaw_pair *p, struct thaw_err *err) {
    const struct thaw_dataset *d = p->e->dataset;
    for (int i = 0; i < 2; i++) {
        const Thaw__Tables *m = thaw_tables_manifest(p->side[i].tables);
        const char *dir = thaw_tables_dir(p->side[i].tables);
        if (m->dataset_digest != d->digest)
            return thaw_fail(err, THAW_EDATA, "%s: made from another dataset than %s", dir, d->dir);
        if (!thaw_has_held_out(m->als))
            return thaw_fail(err, THAW_EDATA,
                             "%s: its model held no user out, so there is nobody to compare for", dir);
    }
    const Thaw__Als *a = p->side[0].source.als, *b = p->side[1].source.als;
    if (!same_held_out(a, b))
        return thaw_fail(err, THAW_EDATA,
                         "%s and %s were trained without different users: one has seen who the other has not",
                         thaw_tables_dir(p->side[0].tables), thaw_tables_dir(p->side[1].tables));
    if (a->strength != b->strength)
        thaw_log_warn(p->e->ctx->log,
                      "the two take the strength of an interaction differently; what counts as one "
                      "is what --tables says");
    return THAW_OK;
}

// Collective.
static int open_pair(struct thaw_pair *p, struct thaw_err *err) {
    struct thaw_evaluation *e = p->e;
    int code = thaw_evaluation_numbers(e, 0, err);
    if (!code) code = thaw_dataset_open(&e->dataset, e->o->data, err);
    if (!code) code = open_side(&p->side[0], e->o->tables, err);
    if (!code) code = open_side(&p->side[1], e->o->against, err);
    if (!code) code = check_sides(p, err);
    if (!code) {
        e->als = p->side[0].source.als;
        code = thaw_evaluation_choose(e, err);
    }
    if (!code) code = thaw_evaluation_plan(e, err);
    if ((code = thaw_comm_agree(e->c, code, err))) return code;
    code = thaw_features_load(&p->profile, e->c, e->dataset, THAW_USERS, &e->plan[THAW_USERS], err);
    if (!code) code = thaw_evaluation_users(e, &e->choice, &e->users, err);
    if (!code) code = thaw_evaluation_items(e, err);
    if (code) return code;
    const int rank = thaw_comm_rank(e->c);
    const int64_t *items = e->plan[THAW_ITEMS].rank_row + rank;
    code = thaw_popularity_new(&p->popularity, e->c, e->degree, items[1] - items[0], e->training_users, err);
    if (code) return code;
    for (int i = 0; !code && i < 2; i++)
        code = thaw_cold_users_new(&p->side[i].users, e->users, &p->profile,
                                   e->plan[THAW_USERS].rank_row[rank], p->side[0].source.als, err);
    return thaw_comm_agree(e->c, code, err);
}

static void close_pair(struct thaw_pair *p) {
    for (int i = 0; i < 2; i++) {
        struct thaw_pair_side *side = &p->side[i];
        thaw_cold_users_clear(&side->users);
        thaw_cold_close(&side->cold);
        free((void *)(uintptr_t)side->source.item_rows);
        thaw_tables_close(&side->tables);
        free(side->top);
    }
    thaw_popularity_clear(&p->popularity);
    thaw_features_clear(&p->profile);
    free(p->values);
    free(p->hit);
    free(p->segment);
    free(p->rows);
}

// ---- Segments ----

// A segment of each value of the categorical fields asked for, all when none is.
static bool is_asked(const struct thaw_list *list, const char *name) {
    for (int i = 0; i < list->n; i++)
        for (const char *at = list->item[i]; *at; at += *at == ',') {
            const size_t n = strcspn(at, ",");
            if (strlen(name) == n && strncmp(at, name, n) == 0) return true;
            at += n;
        }
    return list->n == 0;
}

static int add_segments(struct thaw_pair *p, const Thaw__Attribute *a, struct thaw_err *err) {
    int code = THAW_OK;
    for (int32_t i = 0; !code && i < a->columns && i < (int32_t)a->n_values; i++) {
        code = thaw_grow(&p->segment, &p->segment_cap, (size_t)p->nsegments + 1, sizeof *p->segment,
                         "segments", err);
        if (code) break;
        struct thaw_pair_segment *s = &p->segment[p->nsegments++];
        *s = (struct thaw_pair_segment){.column = (uint32_t)(a->first_column + i)};
        snprintf(s->name, sizeof s->name, "%s=%.*s", a->name, (int)a->values[i].len,
                 (const char *)a->values[i].data);
    }
    return code;
}

static int choose_segments(struct thaw_pair *p, struct thaw_err *err) {
    const Thaw__Dataset *d = p->e->dataset->manifest;
    const struct thaw_list *list = &p->e->o->segments;
    int code = THAW_OK;
    bool any = false;
    for (size_t i = 0; !code && i < d->n_user_attributes; i++) {
        const Thaw__Attribute *a = d->user_attributes[i];
        if (!is_asked(list, a->name) || a->kind != THAW__ATTRIBUTE__KIND__CATEGORICAL) continue;
        if (list->n == 0 && a->columns > THAW_PAIR_SEGMENTS)
            continue; // a field of many values says little unasked
        any = true;
        code = add_segments(p, a, err);
    }
    if (!code && list->n && !any)
        code = thaw_fail(err, THAW_EUSAGE, "--segments: users have no such categorical field");
    return code;
}

// ---- Users ----

static bool in_segment(const struct thaw_pair *p, int64_t u, const struct thaw_pair_segment *s) {
    struct thaw_newcomer who;
    thaw_cold_user(&p->side[0].users, u, 0, &who);
    for (int64_t i = 0; i < who.nfeatures; i++)
        if (who.feature[i] == s->column) return true;
    return false;
}

// Share of the first 10 that the other list does not have among its first 10.
static double changed(const int64_t *a, const int64_t *b) {
    int n = 0, kept = 0;
    for (; n < THAW_PAIR_TOP && a[n] >= 0; n++)
        for (int j = 0; j < THAW_PAIR_TOP && b[j] >= 0; j++) kept += a[n] == b[j];
    return n ? 1 - (double)kept / n : 0;
}

static void measure_side(struct thaw_pair *p, int side, int64_t u, double *v) {
    const struct thaw_heldout *h = p->e->users;
    const int64_t *top = p->side[side].top + u * p->k;
    const int shown = thaw_heldout_hits(h, u, top, p->k, p->hit);
    for (int c = 0; c < p->e->ncutoffs; c++, v += THAW_PAIR_METRICS) {
        const int cutoff = p->e->cutoff[c], n = shown < cutoff ? shown : cutoff;
        struct thaw_rank_metrics m;
        thaw_rank_metrics(p->hit, shown, cutoff, h->truth_ptr[u + 1] - h->truth_ptr[u], &m);
        v[THAW_PAIR_NDCG] = m.ndcg;
        v[THAW_PAIR_RECALL] = m.recall;
        v[THAW_PAIR_HR] = m.hr;
        v[THAW_PAIR_MAP] = m.map;
        double sum = 0;
        for (int i = 0; i < n; i++)
            sum += thaw_rank_novelty(p->popularity.count[top[i]], p->popularity.users);
        v[THAW_PAIR_NOVELTY] = n ? sum / n : 0;
    }
}

// The user's columns: both sides' measures, what changed; then for each segment who is in it, and its sums.
static void measure_user(struct thaw_pair *p, int64_t u) {
    double *v = p->values + u * p->ncolumns;
    const int64_t *a = p->side[0].top + u * p->k, *b = p->side[1].top + u * p->k;
    memset(v, 0, (size_t)p->ncolumns * sizeof *v);
    for (int side = 0; side < 2; side++) measure_side(p, side, u, v + side * p->nmeasures);
    v[p->changed] = changed(a, b);
    v[p->changed + 1] = v[p->changed] > 0;
    const int last = (p->e->ncutoffs - 1) * THAW_PAIR_METRICS + THAW_PAIR_NDCG;
    for (int s = 0; s < p->nsegments; s++) {
        double *to = v + p->changed + 2 + s * THAW_PAIR_OF_SEGMENT;
        if (!in_segment(p, u, &p->segment[s])) continue;
        to[0] = 1;
        to[1] = v[last];
        to[2] = v[p->nmeasures + last];
        to[3] = v[p->changed];
    }
}

// Collective. Both lists of every user from n known items, and the rows about them.
static int compare(struct thaw_pair *p, int n, struct thaw_err *err) {
    struct thaw_evaluation *e = p->e;
    struct thaw_replicates r = {0};
    int code = THAW_OK;
    for (int i = 0; !code && i < 2; i++) {
        const struct thaw_model_scorer self = {.cold = p->side[i].cold, .method = p->side[i].method};
        const struct thaw_scorer scorer = thaw_scorer_of_model(&self);
        code = thaw_cold_rank(e->c, &scorer, &p->side[i].users, n, 0, p->k, p->side[i].top, err);
    }
    if (code) return code;
    for (int64_t u = 0; u < e->users->nusers; u++) measure_user(p, u);
    code = thaw_replicates_new(&r, e->c, p->values, e->users->key, e->users->nusers, p->ncolumns,
                               (int)e->o->replicates, (uint64_t)e->o->seed, err);
    if (!code) code = thaw_pair_rows(p, &r, n, err);
    thaw_replicates_clear(&r);
    return code;
}

// ---- All of it ----

static int reserve(struct thaw_pair *p, struct thaw_err *err) {
    const struct thaw_evaluation *e = p->e;
    const size_t users = (size_t)e->users->nusers;
    const int largest = e->cutoff[e->ncutoffs - 1];
    p->k = largest > THAW_PAIR_TOP ? largest : THAW_PAIR_TOP;
    p->nmeasures = e->ncutoffs * THAW_PAIR_METRICS;
    p->changed = 2 * p->nmeasures;
    p->ncolumns = p->changed + 2 + p->nsegments * THAW_PAIR_OF_SEGMENT;
    int code = THAW_OK;
    for (int i = 0; !code && i < 2; i++)
        code = thaw_alloc(&p->side[i].top, users * (size_t)p->k, sizeof *p->side[i].top, "rankings", err);
    if (!code) code = thaw_alloc(&p->hit, (size_t)p->k, sizeof *p->hit, "hits", err);
    if (!code)
        code =
            thaw_alloc(&p->values, users * (size_t)p->ncolumns, sizeof *p->values, "measures of users", err);
    return code;
}

static int show(const struct thaw_pair *p, struct thaw_err *err) {
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (!memory) return thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    thaw_pair_print(p, memory, p->e->o->common.format);
    fclose(memory);
    const int code = text ? thaw_evaluation_put(p->e, text, n, err)
                          : thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    free(text);
    return code;
}

int thaw_evaluate_against(struct thaw_evaluation *e, struct thaw_err *err) {
    struct thaw_pair p = {.e = e};
    int code = open_pair(&p, err);
    if (!code) {
        code = choose_segments(&p, err);
        if (!code) code = reserve(&p, err);
        code = thaw_comm_agree(e->c, code, err);
    }
    for (int i = 0; !code && i < e->nknown; i++) code = compare(&p, e->known[i], err);
    if (!code && thaw_comm_rank(e->c) == 0) code = show(&p, err);
    code = thaw_comm_agree(e->c, code, err);
    close_pair(&p);
    return code;
}
