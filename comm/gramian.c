// gramian.c: Y'Y over all ranks, exactly the same for any ranks and threads.
#include "comm/sweep.h"

#include "base/exact.h"
#include "base/mem.h"
#include "dense/norm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RUN = 4096 }; // rows of a part whose products are summed in f64 before they are added exactly

// Sum of squares over all ranks: it bounds every sum of products of columns.
static int square_sum(struct thaw_comm *c, const struct thaw_plan *plan, const float *y, int k, int columns,
                      double *sum, struct thaw_err *err) {
    const int rank = thaw_comm_rank(c);
    const int32_t first = plan->first_part[rank], n = plan->first_part[rank + 1] - first;
    double *part = NULL;
    int code = thaw_comm_agree(c, thaw_alloc(&part, (size_t)n, sizeof *part, "a gramian", err), err);
    if (code) goto done;
#pragma omp parallel for schedule(dynamic, 1)
    for (int32_t p = 0; p < n; p++) {
        const int64_t begin = plan->first_row[first + p] - plan->rank_row[rank];
        const int64_t end = plan->first_row[first + p + 1] - plan->rank_row[rank];
        for (int64_t i = begin; i < end; i++) part[p] += thaw_norm2(y + i * columns, k);
    }
    code = thaw_comm_exact_sum(c, part, n, 1, sum, err);
done:
    free(part);
    return code;
}

// Adds the runs of one part into acc; called by a team of threads, each with its own acc and g (k x k).
static int add_part(int64_t *acc, double *g, const float *y, int64_t nrows, int k, int columns, int scale,
                    struct thaw_err *err) {
    const size_t kk = (size_t)k * (size_t)k;
    int code = THAW_OK;
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t at = 0; at < nrows; at += RUN) {
        if (code) continue;
        memset(g, 0, kk * sizeof *g);
        code = thaw_als_gramian(g, y + at * columns, nrows - at < RUN ? nrows - at : RUN, k, columns, err);
        if (!code) thaw_exact_add(acc, g, (int64_t)kk, scale);
    }
    return code;
}

// sum[k x k] += this rank's rows, in units of 2^-scale.
static int add_rank(int64_t *sum, const struct thaw_plan *plan, int rank, const float *y, int k, int columns,
                    int scale, struct thaw_err *err) {
    const size_t kk = (size_t)k * (size_t)k;
    int code = THAW_OK;
#pragma omp parallel
    {
        struct thaw_err own = THAW_ERR_INIT;
        int64_t *acc = NULL;
        double *g = NULL;
        int mine = thaw_alloc(&acc, kk, sizeof *acc, "a gramian", &own);
        if (!mine) mine = thaw_alloc(&g, kk, sizeof *g, "a gramian", &own);
#pragma omp critical(thaw_gramian)
        if (mine && !code) {
            code = mine;
            if (err) *err = own;
        }
#pragma omp barrier
        if (!code) { // the same for all threads: the work-sharing loops below are met by all or none
            for (int32_t p = plan->first_part[rank]; p < plan->first_part[rank + 1]; p++) {
                const int64_t row = plan->first_row[p] - plan->rank_row[rank];
                const int failed =
                    add_part(acc, g, y + row * columns, plan->first_row[p + 1] - plan->first_row[p], k,
                             columns, scale, &own);
                if (!mine) mine = failed;
            }
        }
#pragma omp barrier
#pragma omp critical(thaw_gramian)
        {
            if (mine && !code) {
                code = mine;
                if (err) *err = own;
            }
            for (size_t i = 0; !code && i < kk; i++) sum[i] += acc[i];
        }
        free(acc);
        free(g);
    }
    return code;
}

int thaw_sweep_gramian(struct thaw_comm *c, const struct thaw_plan *plan, const float *y, int k, int columns,
                       double *gramian, struct thaw_err *err) {
    const int64_t kk = (int64_t)k * k;
    double bound;
    int64_t *sum = NULL;
    int scale = 0, code = square_sum(c, plan, y, k, columns, &bound, err);
    if (code) return code;
    if (!isfinite(bound))
        return thaw_fail(err, THAW_EDIVERGED,
                         "the factors are not finite: raise --regularization or lower --alpha");
    scale = thaw_exact_scale(bound * 1.0625); // room for the rounding of the bound itself
    code = thaw_alloc(&sum, (size_t)kk, sizeof *sum, "a gramian", err);
    if (!code) code = add_rank(sum, plan, thaw_comm_rank(c), y, k, columns, scale, err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_sum_i64(c, sum, kk);
    thaw_exact_get(gramian, sum, kk, scale);
done:
    free(sum);
    return code;
}
