// cold_score.c: scores of one method, and of the ensemble.
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include "dense/topk.h"

#include <math.h>
#include <stdlib.h>

void cold_moments(const float *x, int64_t n, double *mean, double *scale) {
    enum { SOME = 1024 };
    const int64_t some = n < SOME ? n : SOME;
    double sum[2];
    *mean = *scale = 0;
    if (n < 1) return;
    cold_sums(x, some, 0, sum); // scores may lie close together and far from 0: about where?
    const double about = sum[0] / (double)some;
    cold_sums(x, n, about, sum);
    *mean = sum[0] / (double)n;
    double variance = sum[1] / (double)n - (*mean - about) * (*mean - about);
    if (!(variance > sum[1] / (double)n / 16)) { // not there
        cold_sums(x, n, *mean, sum);
        variance = sum[1] / (double)n;
    }
    if (variance > 0) *scale = 1 / sqrt(variance);
}

int cold_one(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
             const Thaw__Known *known, struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    int code = THAW_OK;
    switch (m) {
    case THAW_COLD_FOLD_IN:
        code = cold_solve_fold_in(c, known, w, err);
        if (!code) cold_sweep_factors(c, w, scores);
        return code;
    case THAW_COLD_PRIOR:
        code = cold_solve_prior(c, who, known, w, err);
        if (!code) cold_sweep_factors(c, w, scores);
        return code;
    case THAW_COLD_ASSOCIATION:
        return cold_association_scores(c, who, w, scores, err);
    case THAW_COLD_TYPES:
        cold_types_scores(c, who, known, w, scores);
        return THAW_OK;
    default:
        cold_generator_latent(c, who, w, 1);
        cold_generator_sweep(c, w, scores);
        return THAW_OK;
    }
}

static int ensemble(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                    struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    double weight[COLD_MEMBERS], mean, scale;
    int code = cold_scores(c, w, err), added = 0;
    cold_weights(c, known, weight);
    for (int m = 0; !code && m < COLD_MEMBERS; m++) {
        if (weight[m] == 0) continue;
        code = cold_one(c, cold_member[m], who, known, w, w->scores, err);
        if (code) break;
        cold_moments(w->scores, c->nitems, &mean, &scale);
        cold_scaled(w->scores, c->nitems, weight[m] * scale, mean, added++, scores);
    }
    return code;
}

// Is the model there, and who is asked about?
static int asked(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                 struct thaw_cold_work *w, struct thaw_err *err) {
    if (m >= THAW_COLD_METHODS || !thaw_cold_has(c, m))
        return thaw_fail(err, THAW_EUSAGE, "the model of %s is not there", thaw_cold_method_name(m));
    return cold_known(c, who, w, err);
}

int thaw_cold_score(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                    const Thaw__Known *known, struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    Thaw__Known store;
    const int code = asked(c, m, who, w, err);
    if (code) return code;
    known = cold_numbers(c, w->n, known, &store);
    return m == THAW_COLD_ENSEMBLE ? ensemble(c, who, known, w, scores, err)
                                   : cold_one(c, m, who, known, w, scores, err);
}

// ---- The best ----

static int by_row(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// A scan's hot loop is one comparison an item.
static void take(const float *scores, int64_t n, const int64_t *excluded, int64_t nexcluded,
                 struct thaw_topk *top) {
    for (int64_t i = 0; i < n; i++)
        if (thaw_topk_wants(top, (double)scores[i]) &&
            !(nexcluded > 0 && bsearch(&i, excluded, (size_t)nexcluded, sizeof i, by_row)))
            thaw_topk_push(top, (double)scores[i], i);
    thaw_topk_end(top);
}

int thaw_cold_best(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_cold_how *how,
                   const struct thaw_newcomer *who, const Thaw__Known *known, struct thaw_cold_work *w,
                   const int64_t *excluded, int64_t nexcluded, float *scores, struct thaw_topk *top,
                   struct thaw_err *err) {
    Thaw__Known store;
    bool done = false;
    int code = asked(c, m, who, w, err);
    if (!code && how->explore == THAW_COLD_EXPLOIT)
        code = cold_best_bounded(c, m, how->threads, who, cold_numbers(c, w->n, known, &store), w, excluded,
                                 nexcluded, top, &done, err);
    if (code || done) return code;
    code = thaw_cold_explore(c, m, how->explore, how->scale, how->seed, who, known, w, scores, err);
    if (!code) take(scores, c->nitems, excluded, nexcluded, top);
    return code;
}
