// normal.c: a row's normal matrix and the exact solver. Bound by flops: n d^2 in f32 (ssyrk, 60-70 % of the
// peak at d = 128) and d^3 / 3 in f64 (dpotrf).
//
// Products of a panel are f32; panels are summed, and the system is solved, in f64: the matrix is as good as
// its products, and no regularization is too weak for the factorization.
#include "als/work.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *lda, double *b,
             const int *ldb, int *info, size_t);

enum { AHEAD = 8 }; // rows asked for before they are used

void thaw_als_normal_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s, int64_t n) {
    const struct thaw_als_config *f = s->config;
    const size_t d = (size_t)w->d;
    memset(w->b, 0, d * sizeof(double));
    memset(w->a, 0, d * d * sizeof(double));
    if (s->gramian)
        for (size_t i = 0; i < d * d; i++)
            w->a[i] = f->unobserved * s->gramian[i]; // d = k: implicit has no biases
    for (size_t i = 0; i < d; i++) w->a[i * d + i] += thaw_als_lambda(s, n);
}

THAW_ALS_CLONES static void gather(struct thaw_als_work *w, const struct thaw_als_sweep *s,
                                   const float *table, const uint32_t *index, const float *r, int n) {
    const int k = w->k, d = w->d;
    double *b = w->b;
    for (int i = 0; i < n; i++) {
        const float *y = table + (size_t)index[i] * (size_t)d;
        float *row = w->panel + (ptrdiff_t)i * w->dp, weight, c;
        if (i + AHEAD < n)
            for (int j = 0; j < d; j += 16)
                __builtin_prefetch(table + (size_t)index[i + AHEAD] * (size_t)d + j);
        thaw_als_terms(s->config, r[i], y, &weight, &c);
        const float root = sqrtf(weight);
        for (int j = 0; j < k; j++) row[j] = root * y[j];
        for (int j = 0; j < k; j++) b[j] += (double)c * y[j];
        if (d > k) { // the row's own bias goes with a constant 1
            row[k] = root;
            b[k] += c;
        }
    }
}

// Upper triangle of a (d x d) += p (rows of dp).
THAW_ALS_CLONES static void add_upper(double *a, const float *p, int d, int dp) {
    for (int i = 0; i < d; i++)
        for (int j = i; j < d; j++) a[(ptrdiff_t)i * d + j] += p[(ptrdiff_t)i * dp + j];
}

static void add_panel(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                      const uint32_t *index, const float *r, int n) {
    const int d = w->d, dp = w->dp;
    gather(w, s, table, index, r, n);
    cblas_ssyrk(CblasRowMajor, CblasUpper, CblasTrans, d, n, 1, w->panel, dp, 0, w->product, dp);
    add_upper(w->a, w->product, d, dp);
}

void thaw_als_normal_add(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                         const uint32_t *index, const float *r, int64_t n) {
    for (int64_t i = 0; i < n; i += THAW_ALS_PANEL)
        add_panel(w, s, table, index + i, r + i, (int)(n - i < THAW_ALS_PANEL ? n - i : THAW_ALS_PANEL));
}

int thaw_als_normal_end(struct thaw_als_work *w, float *x, struct thaw_err *err) {
    const int d = w->d, one = 1;
    int info = 0;
    dpotrf_("L", &d, w->a, &d, &info, 1); // row-major upper is column-major lower
    if (info)
        return thaw_fail(
            err, THAW_EDIVERGED,
            "its normal matrix is not positive definite (pivot %d): raise --regularization or lower --alpha",
            info);
    dpotrs_("L", &d, &one, w->a, &d, w->b, &d, &info, 1);
    for (int j = 0; j < d; j++) {
        x[j] = (float)w->b[j];
        if (!isfinite(x[j]))
            return thaw_fail(err, THAW_EDIVERGED,
                             "its solution is not finite: raise --regularization or lower --alpha");
    }
    return THAW_OK;
}

static int solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                 const uint32_t *index, const float *r, int64_t n, float *x, struct thaw_err *err) {
    thaw_als_normal_begin(w, s, n);
    thaw_als_normal_add(w, s, table, index, r, n);
    return thaw_als_normal_end(w, x, err);
}

const struct thaw_als_solver_def thaw_als_cholesky = {.solve = solve};
