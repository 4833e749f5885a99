// ridge_dense.c: the normal equations with few features: exact sums over all ranks, LAPACK on rank 0.
#include "als/als.h"
#include "base/exact.h"
#include "base/mem.h"
#include "comm/ridge.h"
#include "comm/sweep.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

void dposv_(const char *triangle, const int *n, const int *nrhs, double *a, const int *lda, double *b,
            const int *ldb, int *info, size_t);

bool thaw_ridge_solve(double *a, double *b, int n, int columns) {
    int info;
    const int threads = thaw_blas_alone_begin();
    dposv_("U", &n, &columns, a, &n, b, &n, &info, 1);
    thaw_blas_alone_end(threads);
    return info == 0;
}

// The factors' columns [first, end) of all rows: each thread has its own, so none shares a sum.
static void add_right(const struct thaw_ridge *r, int64_t *sum, int first, int end, int scale) {
    double x[THAW_ALS_FACTORS_MAX];
    for (int64_t row = 0; row < r->f->nrows; row++) {
        if (!r->use[row]) continue;
        const float *u = r->u + row * r->columns;
        for (int64_t at = -1; at < thaw_ridge_entries(r, row); at++) {
            const double z = thaw_ridge_value(r, row, at);
            for (int j = first; j < end; j++) x[j - first] = z * u[j];
            thaw_exact_add(sum + thaw_ridge_column(r, row, at) * r->k + first, x, end - first, scale);
        }
    }
}

int thaw_ridge_right(const struct thaw_ridge *r, double *right, struct thaw_err *err) {
    const int64_t n = r->unknowns * r->k;
    const int scale = thaw_exact_scale(r->zmax * r->umax * (double)r->rows);
    int64_t *sum = NULL;
    int code = thaw_comm_agree(r->c, thaw_alloc(&sum, (size_t)n, sizeof *sum, "a regression", err), err);
    if (code) return code;
#pragma omp parallel
    {
        const int threads = omp_get_num_threads(), t = omp_get_thread_num();
        add_right(r, sum, r->k * t / threads, r->k * (t + 1) / threads, scale);
    }
    thaw_comm_sum_i64(r->c, sum, n);
    thaw_exact_get(right, sum, n, scale);
    free(sum);
    return THAW_OK;
}

// sum[i x n + j] += z_i z_j for j <= i, in units of 1 / unit; thread t of `threads` takes every threads-th i.
static void add_left(const struct thaw_ridge *r, int64_t *sum, double unit, int t, int threads) {
    for (int64_t row = 0; row < r->f->nrows; row++) {
        if (!r->use[row]) continue;
        for (int64_t i = -1; i < thaw_ridge_entries(r, row); i++) {
            const int64_t column = thaw_ridge_column(r, row, i);
            if (column % threads != t) continue;
            const double z = thaw_ridge_value(r, row, i) * unit;
            int64_t *line = sum + column * r->unknowns;
            for (int64_t j = -1; j <= i; j++)
                line[thaw_ridge_column(r, row, j)] += llrint(z * thaw_ridge_value(r, row, j));
        }
    }
}

// Collective. On rank 0 left[unknowns x unknowns]: Z'Z + ridge I, what LAPACK takes for the upper triangle.
static int make_left(const struct thaw_ridge *r, double *left, struct thaw_err *err) {
    const int64_t n = r->unknowns;
    const int scale = thaw_exact_scale(r->zmax * r->zmax * (double)r->rows); // below 62, as zmax >= 1
    int64_t *sum = NULL;
    int code = thaw_alloc(&sum, (size_t)(n * n), sizeof *sum, "a regression", err);
    if ((code = thaw_comm_agree(r->c, code, err))) return code;
#pragma omp parallel
    add_left(r, sum, ldexp(1, scale), omp_get_thread_num(), omp_get_num_threads());
    thaw_comm_sum_i64(r->c, sum, n * n);
    if (left) thaw_exact_get(left, sum, n * n, scale);
    for (int64_t i = 0; left && i < n; i++) left[i * n + i] += r->ridge;
    free(sum);
    return THAW_OK;
}

// Rank 0. w: rows of k; LAPACK wants columns.
static int solve(const struct thaw_ridge *r, double *left, double *w, struct thaw_err *err) {
    const int64_t n = r->unknowns;
    double *b = NULL;
    int code = thaw_alloc(&b, (size_t)(n * r->k), sizeof *b, "a regression", err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < r->k; j++) b[j * n + i] = w[i * r->k + j];
    if (!thaw_ridge_solve(left, b, (int)n, r->k))
        code = thaw_fail(err, THAW_EDIVERGED, THAW_RIDGE_SINGULAR, n - 1);
    for (int64_t i = 0; !code && i < n; i++)
        for (int64_t j = 0; j < r->k; j++) w[i * r->k + j] = b[j * n + i];
    free(b);
    return code;
}

int thaw_ridge_dense(const struct thaw_ridge *r, double *w, struct thaw_err *err) {
    const size_t n = (size_t)r->unknowns;
    const bool first = thaw_comm_rank(r->c) == 0;
    double *left = NULL;
    int code = first ? thaw_alloc(&left, n * n, sizeof *left, "a regression", err) : THAW_OK;
    code = thaw_comm_agree(r->c, code, err);
    if (!code) code = make_left(r, left, err);
    if (!code && first) code = solve(r, left, w, err);
    free(left);
    if ((code = thaw_comm_agree(r->c, code, err))) return code;
    thaw_comm_bcast(r->c, w, (int64_t)(n * (size_t)r->k * sizeof *w), 0);
    return THAW_OK;
}
