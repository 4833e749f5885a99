// cold_loops.h: passes over the scores of all items. Dispatched at run time; sums over 16 lanes in an order
// that depends on the length alone. Private to src/cold. Local; thread-safe.
#ifndef THAW_COLD_COLD_LOOPS_H
#define THAW_COLD_COLD_LOOPS_H

#include <stdint.h>

// The largest; -INFINITY for none. NaN is never the largest.
float cold_max(const float *x, int64_t n);
// x[i] = e^(x[i] - most); returns their sum.
double cold_exp(float *x, int64_t n, float most);
// x[i] = x[i] > 0 ? x[i] : e^x[i] - 1
void cold_elu(float *x, int64_t n);
// sum[0] of x, sum[1] of squares of (x - about)
void cold_sums(const float *x, int64_t n, double about, double sum[2]);
// y[i] = a (x[i] - b), added to y when `add`
void cold_scaled(const float *x, int64_t n, double a, double b, int add, float *y);
// y[j] += a x[j]
void cold_axpy(float *y, const float *x, float a, int64_t n);

#endif
