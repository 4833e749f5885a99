// chol.c: Cholesky by rows, four at a time; every inner loop is a dot product of contiguous rows.
#include "dense/chol.h"

#include <math.h>
#include <stdint.h>

enum { LANES = 4, ROWS = 4 };
typedef double vec __attribute__((vector_size(LANES * 8)));
typedef double loose __attribute__((vector_size(LANES * 8), aligned(8), may_alias));

static double fold(const vec *v) {
    return ((*v)[0] + (*v)[2]) + ((*v)[1] + (*v)[3]);
}

static double dot(const double *a, const double *b, int n) {
    vec acc[2] = {{0}};
    int j = 0;
    for (; j + 2 * LANES <= n; j += 2 * LANES) {
        acc[0] += *(const loose *)(a + j) * *(const loose *)(b + j);
        acc[1] += *(const loose *)(a + j + LANES) * *(const loose *)(b + j + LANES);
    }
    acc[0] += acc[1];
    double sum = fold(&acc[0]);
    for (; j < n; j++) sum += a[j] * b[j];
    return sum;
}

// out[r] = dot of row r of a (rows `stride` apart) with b: b is read once for four rows, which is what bounds
// big systems.
static void dot_rows(const double *a, int64_t stride, const double *b, int n, double out[ROWS]) {
    vec acc[ROWS] = {{0}};
    int j = 0;
    for (; j + LANES <= n; j += LANES) {
        vec right = *(const loose *)(b + j);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) acc[r] += *(const loose *)(a + r * stride + j) * right;
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++) out[r] = fold(&acc[r]);
    for (; j < n; j++)
        for (int r = 0; r < ROWS; r++) out[r] += a[r * stride + j] * b[j];
}

// Row i of the factor from column `from` on; the rows before it are done.
static bool factor_row(double *a, int64_t n, int i, int from) {
    double *row = a + i * n;
    for (int j = from; j < i; j++) row[j] = (row[j] - dot(row, a + j * n, j)) / a[j * n + j];
    double pivot = row[i] - dot(row, row, i);
    if (!(pivot > 0) || !isfinite(pivot)) return false; // the comparison is false for NaN
    row[i] = sqrt(pivot);
    return true;
}

bool thaw_chol_factor(double *a, int n) {
    int i = 0;
    for (; i + ROWS <= n; i += ROWS) {
        double *rows = a + (int64_t)i * n, sums[ROWS];
        for (int j = 0; j < i; j++) {
            const double *done = a + (int64_t)j * n;
            dot_rows(rows, n, done, j, sums);
            for (int r = 0; r < ROWS; r++)
                rows[(int64_t)r * n + j] = (rows[(int64_t)r * n + j] - sums[r]) / done[j];
        }
        for (int r = 0; r < ROWS; r++)
            if (!factor_row(a, n, i + r, i)) return false;
    }
    for (; i < n; i++)
        if (!factor_row(a, n, i, 0)) return false;
    return true;
}

void thaw_chol_forward(const double *l, double *b, int n) {
    for (int i = 0; i < n; i++) b[i] = (b[i] - dot(l + (int64_t)i * n, b, i)) / l[(int64_t)i * n + i];
}

void thaw_chol_back(const double *l, double *b, int n) {
    for (int i = n - 1; i >= 0; i--) { // rows of the factor are columns of its transpose
        const double *row = l + (int64_t)i * n;
        b[i] /= row[i];
        for (int j = 0; j < i; j++) b[j] -= row[j] * b[i];
    }
}

void thaw_chol_apply(const double *l, double *b, int n) {
    thaw_chol_forward(l, b, n);
    thaw_chol_back(l, b, n);
}

bool thaw_chol_solve(double *a, double *b, int n) {
    if (!thaw_chol_factor(a, n)) return false;
    thaw_chol_apply(a, b, n);
    return true;
}
