// outer.c: Y'Y of dense rows. Bound by f32 multiply-adds, nrows k^2 of them, at the exact solver's rate.
//
// Products are summed in f32 over panels of few rows and in f64 between panels: against f64 throughout the
// error is about 3e-8 of the diagonal.
#include "als/cholesky.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 64 }; // of a panel: the shorter, the more exact

static void pack(const float *y, int n, int k, int columns, float *panel) {
    const int whole = k / THAW_ALS_BLOCK * THAW_ALS_BLOCK;
    for (int i = 0; i < n; i++, y += columns, panel += THAW_ALS_BLOCK) {
        for (int j = 0; j < whole; j += THAW_ALS_BLOCK)
            memcpy(panel + (ptrdiff_t)j * ROWS, y + j, THAW_ALS_BLOCK * sizeof *y);
        for (int j = whole; j < k; j++) panel[(ptrdiff_t)whole * ROWS + j - whole] = y[j];
    }
}

int thaw_als_gramian(double *g, const float *y, int64_t nrows, int k, int columns, struct thaw_err *err) {
    const struct thaw_als_cholesky_kernels *kernels = thaw_als_cholesky_kernel_set();
    const int nb = (k + THAW_ALS_BLOCK - 1) / THAW_ALS_BLOCK;
    const ptrdiff_t stride = (ptrdiff_t)THAW_ALS_BLOCK * THAW_ALS_BLOCK * nb;
    const size_t order = (size_t)(THAW_ALS_BLOCK * nb);
    float *panel = NULL, *a = NULL;
    double *sum = NULL;
    int code;
    if ((code = thaw_alloc(&panel, ROWS * order, sizeof *panel, "a gramian", err)) ||
        (code = thaw_alloc(&a, order * order, sizeof *a, "a gramian", err)) ||
        (code = thaw_alloc(&sum, order * order, sizeof *sum, "a gramian", err)))
        goto done;
    const unsigned long mode = thaw_als_mode_begin();
    for (int64_t at = 0; at < nrows; at += ROWS) {
        const int n = (int)(nrows - at < ROWS ? nrows - at : ROWS);
        pack(y + at * columns, n, k, columns, panel);
        kernels->syrk(panel, THAW_ALS_BLOCK * ROWS, n, nb, a, stride, true);
        for (int j = 0; j < nb; j++) // what lies above the diagonal
            kernels->widen(sum + j * stride, a + j * stride,
                           (size_t)(THAW_ALS_BLOCK * THAW_ALS_BLOCK * (j + 1)));
    }
    thaw_als_mode_end(mode);
    for (int i = 0; i < k; i++)
        for (int j = i; j < k; j++) {
            const double v = sum[j / THAW_ALS_BLOCK * stride + THAW_ALS_BLOCK * i + j % THAW_ALS_BLOCK];
            g[(ptrdiff_t)i * k + j] += v;
            if (i != j) g[(ptrdiff_t)j * k + i] += v;
        }
done:
    free(panel);
    free(a);
    free(sum);
    return code;
}
