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
// lower[i] = sum_t slope[t] x[t][i] - slack[t] |x[t][i]|, upper[i] the same with +. lower and upper are apart
// from all the others.
enum { COLD_TERMS = 5 };
void cold_bounds(const float *const x[COLD_TERMS], const float slope[COLD_TERMS],
                 const float slack[COLD_TERMS], int64_t n, float *restrict lower, float *restrict upper);
// y[i] += log x[i]; x[i] is taken for the least normal number, 2^-1022, where it is less.
void cold_log(double *y, const double *x, int64_t n);
// x[i] = e^(x[i] - most)
void cold_exp_wide(double *x, int64_t n, double most);
// y[j] += a x[j]
void cold_axpy(float *y, const float *x, float a, int64_t n);

#endif
