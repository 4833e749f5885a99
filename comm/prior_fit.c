// prior_fit.c: the regression of factors on features, and the covariance of what it leaves.
#include "comm/prior.h"

#include "als/als.h"
#include "base/mem.h"
#include "comm/ridge.h"
#include "comm/sweep.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double JITTER = 1e-5; // of the factors' mean square, on the covariance's diagonal

static int64_t dense_features(void) {
    const char *text = getenv("THAW_RIDGE_DENSE");
    const long long v = text ? atoll(text) : THAW_RIDGE_DENSE;
    return v >= 0 && v <= THAW_RIDGE_DENSE ? v : THAW_RIDGE_DENSE;
}

// Collective. How many rows take part, and how large the numbers get.
static int extents(struct thaw_ridge *r, struct thaw_err *err) {
    double most[2] = {1, 0};
    r->rows = 0;
    for (int64_t row = 0; row < r->f->nrows; row++) {
        if (!r->use[row]) continue;
        r->rows++;
        for (int64_t at = 0; at < thaw_ridge_entries(r, row); at++)
            most[0] = fmax(most[0], fabs(thaw_ridge_value(r, row, at)));
        for (int j = 0; j < r->k; j++) {
            const double u = fabs((double)r->u[row * r->columns + j]);
            most[1] = isfinite(u) ? fmax(most[1], u) : INFINITY;
        }
    }
    thaw_comm_sum_i64(r->c, &r->rows, 1);
    thaw_comm_max_f64(r->c, most, 2);
    r->zmax = most[0];
    r->umax = most[1];
    if (!isfinite(r->umax)) return thaw_fail(err, THAW_EDIVERGED, "the factors are not finite");
    if (!isfinite(r->zmax)) return thaw_fail(err, THAW_EDATA, "the features are not finite");
    if (r->rows < 2)
        return thaw_fail(err, THAW_EDATA, "%" PRId64 " rows with interactions: a prior needs two at least",
                         r->rows);
    return THAW_OK;
}

// ---- What the regression leaves ----

// left[k] = u - W'z of a row.
static void residual(const struct thaw_ridge *r, const float *weights, int64_t row, double *left) {
    const float *u = r->u + row * r->columns;
    for (int j = 0; j < r->k; j++) left[j] = u[j];
    for (int64_t at = -1; at < thaw_ridge_entries(r, row); at++) {
        const float *w = weights + thaw_ridge_column(r, row, at) * r->k;
        const double z = thaw_ridge_value(r, row, at);
        for (int j = 0; j < r->k; j++) left[j] -= z * w[j];
    }
}

// Sums of one part's rows [begin, end), in order: k residuals, k factors, the factors' squares.
static void part_sums(const struct thaw_ridge *r, const float *weights, int64_t begin, int64_t end,
                      double *sum) {
    double left[THAW_ALS_FACTORS_MAX];
    for (int64_t row = begin; row < end; row++) {
        if (!r->use[row]) continue;
        const float *u = r->u + row * r->columns;
        residual(r, weights, row, left);
        for (int j = 0; j < r->k; j++) sum[j] += left[j];
        for (int j = 0; j < r->k; j++) sum[r->k + j] += u[j];
        for (int j = 0; j < r->k; j++) sum[2 * r->k] += (double)u[j] * u[j];
    }
}

// Collective. mean[2 k + 1]: of the residuals and of the factors; then the sum of the factors' squares.
static int means(const struct thaw_ridge *r, const struct thaw_plan *plan, const float *weights, double *mean,
                 struct thaw_err *err) {
    const int rank = thaw_comm_rank(r->c);
    const int32_t first = plan->first_part[rank], nparts = plan->first_part[rank + 1] - first;
    const size_t n = 2 * (size_t)r->k + 1;
    double *sums = NULL;
    int code = thaw_alloc(&sums, (size_t)nparts * n, sizeof *sums, "residuals", err);
    if ((code = thaw_comm_agree(r->c, code, err))) goto done;
#pragma omp parallel for schedule(dynamic, 1)
    for (int32_t p = 0; p < nparts; p++)
        part_sums(r, weights, plan->first_row[first + p] - plan->rank_row[rank],
                  plan->first_row[first + p + 1] - plan->rank_row[rank], sums + (size_t)p * n);
    code = thaw_comm_exact_sum(r->c, sums, nparts, (int64_t)n, mean, err);
    for (int j = 0; !code && j < 2 * r->k; j++) mean[j] /= (double)r->rows;
done:
    free(sums);
    return code;
}

// Collective. gramian[k x k] of the centred residuals.
static int spread(const struct thaw_ridge *r, const struct thaw_plan *plan, const float *weights,
                  const double *mean, double *gramian, struct thaw_err *err) {
    const int k = r->k;
    float *centred = NULL;
    int code = thaw_alloc(&centred, (size_t)(r->f->nrows * k), sizeof *centred, "residuals", err);
    if ((code = thaw_comm_agree(r->c, code, err))) return code;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < r->f->nrows; row++) {
        double left[THAW_ALS_FACTORS_MAX];
        if (!r->use[row]) continue;
        residual(r, weights, row, left);
        for (int j = 0; j < k; j++) centred[row * k + j] = (float)(left[j] - mean[j]);
    }
    code = thaw_sweep_gramian(r->c, plan, centred, k, k, gramian, err);
    free(centred);
    return code;
}

// Local. out->covariance in: the gramian of the residuals.
static void normalize(const struct thaw_ridge *r, const double *mean, struct thaw_prior_side *out) {
    const int k = r->k;
    const double jitter = JITTER * mean[2 * k] / ((double)r->rows * k);
    double left = 0, variance = mean[2 * k];
    for (int i = 0; i < k * k; i++) out->covariance[i] /= (double)(r->rows - 1);
    for (int j = 0; j < k; j++) {
        left += out->covariance[j * k + j];
        variance -= (double)r->rows * mean[k + j] * mean[k + j];
        out->covariance[j * k + j] += jitter;
    }
    variance /= (double)(r->rows - 1);
    out->explained = variance > 0 ? 1 - left / variance : 0;
}

// Rank 0.
static int invert(struct thaw_prior_side *out, struct thaw_err *err) {
    const size_t k = (size_t)out->k;
    double *a = NULL;
    int code = thaw_alloc(&a, k * k, sizeof *a, "a covariance", err);
    if (code) return code;
    memcpy(a, out->covariance, k * k * sizeof *a);
    for (size_t i = 0; i < k; i++) out->precision[i * k + i] = 1;
    if (!thaw_ridge_solve(a, out->precision, out->k, out->k))
        code = thaw_fail(err, THAW_EDIVERGED,
                         "the residuals' covariance is not positive definite: are the factors all zero?");
    for (size_t i = 0; !code && i < k; i++) // symmetric to the last bit
        for (size_t j = 0; j < i; j++)
            out->precision[i * k + j] = out->precision[j * k + i] =
                .5 * (out->precision[i * k + j] + out->precision[j * k + i]);
    free(a);
    return code;
}

// Collective.
static int leftover(const struct thaw_ridge *r, const struct thaw_plan *plan, struct thaw_prior_side *out,
                    struct thaw_err *err) {
    double *mean = NULL;
    int code = thaw_alloc(&mean, 2 * (size_t)r->k + 1, sizeof *mean, "residuals", err);
    if ((code = thaw_comm_agree(r->c, code, err))) goto done;
    code = means(r, plan, out->weights, mean, err);
    if (!code) code = spread(r, plan, out->weights, mean, out->covariance, err);
    if (code) goto done;
    normalize(r, mean, out);
    code = thaw_comm_agree(r->c, thaw_comm_rank(r->c) == 0 ? invert(out, err) : THAW_OK, err);
done:
    free(mean);
    return code;
}

// ---- The whole ----

static int allocate(struct thaw_prior_side *out, double **w, size_t n, size_t k, struct thaw_err *err) {
    int code = thaw_alloc(w, n * k, sizeof **w, "a regression", err);
    if (!code) code = thaw_alloc(&out->weights, n * k, sizeof *out->weights, "a regression", err);
    if (!code) code = thaw_alloc(&out->covariance, k * k, sizeof *out->covariance, "a covariance", err);
    if (!code) code = thaw_alloc(&out->precision, k * k, sizeof *out->precision, "a covariance", err);
    return code;
}

int thaw_prior_fit(struct thaw_comm *c, const struct thaw_plan *plan, const struct thaw_features *f,
                   const uint8_t *use, const float *u, int k, int columns, double ridge,
                   struct thaw_prior_side *out, struct thaw_err *err) {
    struct thaw_ridge r = {.c = c,
                           .f = f,
                           .use = use,
                           .u = u,
                           .k = k,
                           .columns = columns,
                           .ridge = ridge,
                           .unknowns = 1 + (int64_t)f->columns};
    const int64_t n = r.unknowns * k;
    double *w = NULL;
    *out = (struct thaw_prior_side){.features = f->columns, .k = k, .grid = f->columns > dense_features()};
    thaw_comm_phase(c, "count");
    int code = extents(&r, err);
    if (code) return code;
    out->rows = r.rows;
    code = thaw_comm_agree(c, allocate(out, &w, (size_t)r.unknowns, (size_t)k, err), err);
    if (!code) code = thaw_ridge_right(&r, w, err);
    thaw_comm_phase(c, "factor");
    if (!code) code = out->grid ? thaw_ridge_grid(&r, w, err) : thaw_ridge_dense(&r, w, err);
    for (int64_t i = 0; !code && i < n; i++) out->weights[i] = (float)w[i];
    free(w);
    if (!code) code = leftover(&r, plan, out, err);
    if (code) thaw_prior_side_clear(out);
    return code;
}

void thaw_prior_side_clear(struct thaw_prior_side *s) {
    free(s->weights);
    free(s->precision);
    free(s->covariance);
    *s = (struct thaw_prior_side){0};
}
