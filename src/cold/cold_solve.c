// cold_solve.c: the small systems of the fold-in and of P, in f64, and a pass over the item factors.
#include "cold/cold_impl.h"

#include "base/mem.h"
#include "base/rng.h"
#include "dense/chol.h"
#include "dense/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_explicit(const struct thaw_cold *c) {
    return c->als->model == THAW__ALS__MODEL__EXPLICIT;
}

// a += weight z z', lower triangle
static void add_square(double *a, const double *z, double weight, int d) {
    for (int i = 0; i < d; i++) {
        const double x = weight * z[i];
        for (int j = 0; j <= i; j++) a[(int64_t)i * d + j] += x * z[j];
    }
}

static int unsolved(const struct thaw_cold_work *w, struct thaw_err *err) {
    return thaw_fail(
        err, THAW_EDATA,
        "the system of %" PRId64
        " known items has no solution: their strengths, the model or its weights are out of range",
        w->n);
}

// ---- The row problem of training ----

static double unobserved(const struct thaw_cold *c, const Thaw__Known *known) {
    return known->regularization > 0 ? known->unobserved_weight : c->als->unobserved_weight;
}

double cold_fold_in_item(const struct thaw_cold *c, const Thaw__Known *known, const struct thaw_cold_work *w,
                         int64_t i, double *z) {
    int32_t part;
    const float *y = cold_row(c, w->item[i], &part);
    for (int j = 0; j < c->k; j++) z[j] = y[j];
    if (is_explicit(c)) { // with biases the own bias is an unknown, whose opposite is 1
        if (c->als->biases) z[c->k] = 1;
        return w->strength[i] - c->als->mean - (c->als->biases ? y[c->k] : 0);
    }
    const double weight = c->als->alpha * w->strength[i];
    return c->als->model == THAW__ALS__MODEL__IMPLICIT_HU ? unobserved(c, known) + weight : weight;
}

static double lambda_of(const struct thaw_cold *c, const Thaw__Known *known, int64_t n) {
    const double l = known->regularization > 0 ? known->regularization : c->als->regularization;
    if (is_explicit(c)) return l * (double)n;
    return l * pow((double)n + unobserved(c, known) * (double)c->nitems, c->als->reg_exponent);
}

int cold_solve_fold_in(const struct thaw_cold *c, const Thaw__Known *known, struct thaw_cold_work *w,
                       struct thaw_err *err) {
    const int d = c->columns;
    const double a0 = is_explicit(c) ? 0 : unobserved(c, known), lambda = lambda_of(c, known, w->n);
    memset(w->b, 0, (size_t)d * sizeof *w->b);
    if (w->n == 0) return THAW_OK;
    memset(w->a, 0, (size_t)d * (size_t)d * sizeof *w->a);
    for (int i = 0; i < c->k; i++)
        for (int j = 0; j <= i && a0 != 0; j++) w->a[i * d + j] = a0 * c->gramian[(int64_t)i * c->k + j];
    for (int i = 0; i < d; i++) w->a[(int64_t)i * d + i] += lambda;
    for (int64_t i = 0; i < w->n; i++) {
        const double right = cold_fold_in_item(c, known, w, i, w->t);
        add_square(w->a, w->t, is_explicit(c) ? 1 : c->als->alpha * w->strength[i], d);
        for (int j = 0; j < d; j++) w->b[j] += right * w->t[j];
    }
    if (!thaw_chol_factor(w->a, d)) return unsolved(w, err);
    thaw_chol_apply(w->a, w->b, d);
    return THAW_OK;
}

int thaw_cold_fold_in(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                      struct thaw_cold_work *w, float *user, struct thaw_err *err) {
    Thaw__Known store;
    int code = cold_known(c, who, w, err);
    if (!code) code = cold_solve_fold_in(c, cold_numbers(c, w->n, known, &store), w, err);
    for (int j = 0; !code && j < c->columns; j++) user[j] = (float)w->b[j];
    return code;
}

// ---- P ----

// w->mean = W'z
static void prior_mean(const struct thaw_cold *c, const struct thaw_newcomer *who, struct thaw_cold_work *w) {
    const float *weights = c->weights.data;
    for (int j = 0; j < c->k; j++) w->mean[j] = weights[j];
    for (int64_t i = 0; i < who->nfeatures; i++) {
        if (!cold_sees(c->prior->user_features, who, i)) continue;
        const float *row = weights + (1 + (int64_t)who->feature[i]) * c->k;
        const double value = cold_value(who, i);
        for (int j = 0; j < c->k; j++) w->mean[j] += value * (double)row[j];
    }
}

int cold_solve_prior(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                     struct thaw_cold_work *w, struct thaw_err *err) {
    const int k = c->k;
    Thaw__Known store;
    if (!(known->prior_weight > 0)) { // a blend that was tuned without P has no numbers for it
        thaw_cold_default_known(&store, known->known);
        known = &store;
    }
    const double *precision = c->precision.data, a = known->prior_unobserved, b = known->prior_weight;
    w->prior_weight = b;
    prior_mean(c, who, w);
    for (int i = 0; i < k; i++) {
        double sum = 0;
        for (int j = 0; j < k; j++) sum += precision[i * k + j] * w->mean[j];
        w->b[i] = b * sum;
        for (int j = 0; j <= i; j++) w->a[i * k + j] = a * c->gramian[i * k + j] + b * precision[i * k + j];
    }
    for (int64_t i = 0; i < w->n; i++) {
        int32_t part;
        const float *y = cold_row(c, w->item[i], &part);
        for (int j = 0; j < k; j++) w->t[j] = y[j];
        add_square(w->a, w->t, w->strength[i], k);
        for (int j = 0; j < k; j++) w->b[j] += w->strength[i] * w->t[j];
    }
    if (!thaw_chol_factor(w->a, k)) return unsolved(w, err);
    thaw_chol_apply(w->a, w->b, k);
    return THAW_OK;
}

// ---- All items ----

void cold_sweep_factors(const struct thaw_cold *c, struct thaw_cold_work *w, float *scores) {
    for (int j = 0; j < c->columns; j++) w->query[j] = (float)w->b[j];
    double offset = is_explicit(c) ? c->als->mean : 0;
    if (c->columns > c->k) { // the item's bias is its last column: a query that ends in 1 adds it
        offset += w->b[c->k];
        w->query[c->k] = 1;
    }
    for (int32_t p = 0; p < c->nparts; p++)
        thaw_score(w->query, 1, c->rows[p], c->first_row[p + 1] - c->first_row[p], c->columns,
                   scores + c->first_row[p]);
    for (int64_t i = 0; i < c->nitems && offset != 0; i++) scores[i] += (float)offset;
}

// ---- P's posterior ----

static int ready(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                 Thaw__Known *store, const Thaw__Known **numbers, struct thaw_cold_work *w,
                 struct thaw_err *err) {
    if (!c->prior) return thaw_fail(err, THAW_EUSAGE, "there is no prior (P): 'thaw prior' makes it");
    int code = cold_known(c, who, w, err);
    *numbers = cold_numbers(c, w->n, known, store);
    return code ? code : cold_solve_prior(c, who, *numbers, w, err);
}

int thaw_cold_posterior(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                        struct thaw_cold_work *w, double *mean, double *covariance, struct thaw_err *err) {
    const int k = c->k;
    Thaw__Known store;
    int code = ready(c, who, known, &store, &known, w, err);
    if (code) return code;
    memcpy(mean, w->b, (size_t)k * sizeof *mean);
    for (int i = 0; i < k && covariance; i++) {
        memset(w->t, 0, (size_t)k * sizeof *w->t);
        w->t[i] = w->prior_weight;
        thaw_chol_apply(w->a, w->t, k);
        for (int j = 0; j < k; j++) covariance[(int64_t)j * k + i] = w->t[j];
    }
    return THAW_OK;
}

// u - mean of one draw: with b A^-1 = b L'^-1 L^-1 it is sqrt(b) L'^-1 times standard normals.
static void draw(const struct thaw_cold *c, uint64_t seed, struct thaw_cold_work *w) {
    struct thaw_rng rng = thaw_rng_at(seed, THAW_STREAM_EXPLORE, 0);
    for (int j = 0; j < c->k; j++) w->b[j] = sqrt(w->prior_weight) * thaw_rng_normal(&rng);
    thaw_chol_back(w->a, w->b, c->k);
}

// doubt[i] = sqrt(y' Cov y) = |sqrt(b) L^-1 y|. lower: k x k floats, sqrt(b) L^-1.
static void sweep_doubt(const struct thaw_cold *c, struct thaw_cold_work *w, const float *lower,
                        float *doubt) {
    enum { ROWS = 512 };
    for (int32_t p = 0; p < c->nparts; p++) {
        const int64_t nrows = c->first_row[p + 1] - c->first_row[p];
        for (int64_t at = 0; at < nrows; at += ROWS) {
            const int64_t n = nrows - at < ROWS ? nrows - at : ROWS;
            float *out = doubt + c->first_row[p] + at;
            thaw_score(lower, c->k, c->rows[p] + at * c->columns, n, c->columns, w->doubt);
            memset(out, 0, (size_t)n * sizeof *out);
            for (int j = 0; j < c->k; j++)
                for (int64_t i = 0; i < n; i++) out[i] += w->doubt[j * n + i] * w->doubt[j * n + i];
            for (int64_t i = 0; i < n; i++) out[i] = sqrtf(out[i]);
        }
    }
}

static int all_doubts(const struct thaw_cold *c, struct thaw_cold_work *w, float *doubt,
                      struct thaw_err *err) {
    const int k = c->k;
    float *lower = NULL;
    int code = thaw_alloc(&lower, (size_t)k * (size_t)k, sizeof *lower, "a covariance", err);
    for (int i = 0; !code && i < k; i++) { // column i of L^-1
        memset(w->t, 0, (size_t)k * sizeof *w->t);
        w->t[i] = sqrt(w->prior_weight);
        thaw_chol_forward(w->a, w->t, k);
        for (int j = 0; j < k; j++) lower[(int64_t)j * k + i] = (float)w->t[j];
    }
    if (!code) sweep_doubt(c, w, lower, doubt);
    free(lower);
    return code;
}

int thaw_cold_explore(const struct thaw_cold *c, enum thaw_cold_method m, enum thaw_cold_explore how,
                      double scale, uint64_t seed, const struct thaw_newcomer *who, const Thaw__Known *known,
                      struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    Thaw__Known store;
    double weight[COLD_MEMBERS] = {1}, mean, unit = 1, sum = 0;
    if (how == THAW_COLD_EXPLOIT) return thaw_cold_score(c, m, who, known, w, scores, err);
    if (m != THAW_COLD_PRIOR && m != THAW_COLD_ENSEMBLE)
        return thaw_fail(err, THAW_EUSAGE, "exploring goes with P or the ensemble");
    int code = thaw_cold_score(c, m, who, known, w, scores, err);
    if (!code) code = cold_scores(c, w, err);
    if (!code) code = ready(c, who, known, &store, &known, w, err);
    if (code) return code;
    if (m == THAW_COLD_ENSEMBLE) { // in units of P's deviation
        cold_sweep_factors(c, w, w->scores);
        cold_moments(w->scores, c->nitems, &mean, &unit);
        cold_weights(c, known, weight);
    }
    for (int i = 0; i < COLD_MEMBERS; i++) sum += weight[i];
    unit *= scale * sum;
    if (how == THAW_COLD_THOMPSON) {
        draw(c, seed, w);
        cold_sweep_factors(c, w, w->scores);
    } else {
        code = all_doubts(c, w, w->scores, err);
    }
    for (int64_t i = 0; !code && i < c->nitems; i++) scores[i] += (float)(unit * (double)w->scores[i]);
    return code;
}
