// newcomer.c: answers for someone new, by the cold-start models of the tables (cold/cold.h).
#include "lookup/lookup_impl.h"

#include "base/mem.h"
#include "dense/topk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)THAW_LOOKUP_FOLD_IN == (int)THAW_COLD_FOLD_IN, "the same methods");
_Static_assert((int)THAW_LOOKUP_ENSEMBLE == (int)THAW_COLD_ENSEMBLE, "the same methods");
_Static_assert((int)THAW_LOOKUP_TYPES == (int)THAW_COLD_TYPES, "the same methods");
_Static_assert((int)THAW_LOOKUP_UCB == (int)THAW_COLD_UCB, "the same ways to explore");
_Static_assert((int)THAW_LOOKUP_THOMPSON == (int)THAW_COLD_THOMPSON, "the same ways to explore");

struct thaw_lookup_work {
    const struct thaw_lookup *l;
    struct thaw_cold *cold;
    struct thaw_cold_work *work;
    float *scores;     // nitems
    int64_t *excluded; // rising
    size_t excluded_cap;
    struct thaw_scored *best;
    size_t best_cap;
    double *share; // of feature columns
    size_t share_cap;
};

// ---- The models ----

int lookup_models_new(struct lookup_models **out, struct thaw_err *err) {
    struct lookup_models *m = NULL;
    int code = thaw_alloc(&m, 1, sizeof *m, "the cold-start models", err);
    if (code) return code;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return THAW_OK;
}

void lookup_models_free(struct lookup_models **out) {
    struct lookup_models *m = *out;
    if (!m) return;
    thaw_cold_close(&m->cold);
    free((void *)(uintptr_t)m->source.item_rows);
    pthread_mutex_destroy(&m->lock);
    free(m);
    *out = NULL;
}

int lookup_cold(const struct thaw_lookup *l, struct thaw_cold **c, struct thaw_err *err) {
    struct lookup_models *m = l->models;
    int code = THAW_OK;
    pthread_mutex_lock(&m->lock);
    if (!m->source.item_rows) code = thaw_cold_source_of_tables(&m->source, l->tables, err);
    if (!code && !m->cold) code = thaw_cold_open(&m->cold, &m->source, err);
    *c = m->cold;
    pthread_mutex_unlock(&m->lock);
    return code;
}

bool thaw_lookup_has(const struct thaw_lookup *l, enum thaw_lookup_method m) {
    const Thaw__Tables *t = thaw_tables_manifest(l->tables);
    switch (m) {
    case THAW_LOOKUP_FOLD_IN:
        return true;
    case THAW_LOOKUP_PRIOR:
        return t->prior;
    case THAW_LOOKUP_ASSOCIATION:
        return t->association;
    case THAW_LOOKUP_GENERATOR:
        return t->generator;
    case THAW_LOOKUP_TYPES:
        return t->prior && t->prior->types > 0;
    default:
        return t->prior || t->association || t->generator;
    }
}

int thaw_lookup_warm(const struct thaw_lookup *l, struct thaw_err *err) {
    struct thaw_cold *c;
    int code = lookup_cold(l, &c, err);
    return code ? code : thaw_cold_warm(c, err);
}

// ---- Scratch ----

int thaw_lookup_work_new(struct thaw_lookup_work **out, const struct thaw_lookup *l, struct thaw_err *err) {
    struct thaw_lookup_work *w = NULL;
    int code = thaw_alloc(&w, 1, sizeof *w, "scratch for answers", err);
    if (code) return code;
    w->l = l;
    code = lookup_cold(l, &w->cold, err);
    if (!code) code = thaw_cold_work_new(&w->work, w->cold, err);
    if (!code) code = thaw_alloc(&w->scores, (size_t)l->nitems, sizeof *w->scores, "scores", err);
    if (code)
        thaw_lookup_work_free(&w);
    else
        *out = w;
    return code;
}

void thaw_lookup_work_free(struct thaw_lookup_work **out) {
    struct thaw_lookup_work *w = *out;
    if (!w) return;
    thaw_cold_work_free(&w->work);
    free(w->scores);
    free(w->excluded);
    free(w->best);
    free(w->share);
    free(w);
    *out = NULL;
}

// ---- Answers ----

// Tables without profile models look at no columns.
static struct thaw_newcomer newcomer(const struct thaw_lookup_work *w,
                                     const struct thaw_newcomer_query *who) {
    struct thaw_newcomer n = {
        .item = who->items, .strength = who->strengths, .nitems = who->n, .key = who->key};
    if (who->profile && thaw_cold_features(w->cold) > 0) {
        n.feature = who->profile->column;
        n.feature_value = who->profile->value;
        n.nfeatures = who->profile->n;
    }
    return n;
}

static int by_row(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

int thaw_lookup_answer(struct thaw_lookup_work *w, const struct thaw_newcomer_query *who,
                       const struct thaw_lookup_how *how, int k, bool with_known, struct thaw_hit *hits,
                       int *nhits, struct thaw_err *err) {
    const struct thaw_newcomer n = newcomer(w, who);
    const int64_t nexcluded = with_known ? 0 : who->n;
    struct thaw_topk top;
    if (k < 1) return thaw_fail(err, THAW_EUSAGE, "%d items asked for: at least 1", k);
    if (k > w->l->nitems) k = w->l->nitems < 1 ? 1 : (int)w->l->nitems;
    int code = thaw_grow(&w->best, &w->best_cap, (size_t)k, sizeof *w->best, "the best items", err);
    if (!code)
        code =
            thaw_grow(&w->excluded, &w->excluded_cap, (size_t)who->n, sizeof *w->excluded, "a history", err);
    if (code) return code;
    if (nexcluded > 0) memcpy(w->excluded, who->items, (size_t)nexcluded * sizeof *w->excluded);
    if (nexcluded > 1) qsort(w->excluded, (size_t)nexcluded, sizeof *w->excluded, by_row);
    const struct thaw_cold_how cold = {(enum thaw_cold_explore)how->explore, how->scale, how->seed,
                                       how->threads};
    thaw_topk_begin(&top, w->best, k);
    code = thaw_cold_best(w->cold, (enum thaw_cold_method)how->method, &cold, &n, NULL, w->work, w->excluded,
                          nexcluded, w->scores, &top, err);
    if (code) return code;
    for (int i = 0; i < top.n; i++) hits[i] = (struct thaw_hit){top.best[i].row, top.best[i].score};
    *nhits = top.n;
    return THAW_OK;
}

int thaw_lookup_explain(struct thaw_lookup_work *w, const struct thaw_newcomer_query *who,
                        const struct thaw_lookup_how *how, const int64_t *items, int nhits,
                        double *item_share, double *field_share, double *rest, double *score,
                        struct thaw_err *err) {
    const struct thaw_newcomer n = newcomer(w, who);
    const size_t nfields = thaw_tables_manifest(w->l->tables)->n_user_attributes,
                 hits = (size_t)(nhits > 0 ? nhits : 0);
    int code =
        thaw_grow(&w->share, &w->share_cap, hits * (size_t)n.nfeatures, sizeof *w->share, "shares", err);
    if (!code)
        code = thaw_cold_explain(w->cold, (enum thaw_cold_method)how->method, &n, NULL, w->work, items, nhits,
                                 item_share, w->share, rest, score, err);
    if (code) return code;
    if (nfields > 0) memset(field_share, 0, hits * nfields * sizeof *field_share);
    for (size_t h = 0; h < hits; h++)
        for (int64_t i = 0; i < n.nfeatures; i++)
            field_share[h * nfields + (size_t)who->profile->field[i]] +=
                w->share[(int64_t)h * n.nfeatures + i];
    return THAW_OK;
}
