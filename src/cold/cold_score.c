// cold_score.c: scores of one method, and of the ensemble.
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include <math.h>

void cold_moments(const float *x, int64_t n, double *mean, double *scale) {
    double sum[2];
    cold_sums(x, n, 0, sum);
    *mean = n > 0 ? sum[0] / (double)n : 0;
    cold_sums(x, n, *mean, sum); // two passes: scores may lie close together and far from 0
    const double deviation = n > 0 ? sqrt(sum[1] / (double)n) : 0;
    *scale = deviation > 0 ? 1 / deviation : 0;
}

// m is not ENSEMBLE; w holds what is known.
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

int thaw_cold_score(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                    const Thaw__Known *known, struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    Thaw__Known store;
    if (m >= THAW_COLD_METHODS || !thaw_cold_has(c, m))
        return thaw_fail(err, THAW_EUSAGE, "the model of %s is not there", thaw_cold_method_name(m));
    int code = cold_known(c, who, w, err);
    if (code) return code;
    known = cold_numbers(c, w->n, known, &store);
    return m == THAW_COLD_ENSEMBLE ? ensemble(c, who, known, w, scores, err)
                                   : cold_one(c, m, who, known, w, scores, err);
}
