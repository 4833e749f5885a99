// exact.h: sums of doubles that do not depend on the order of their terms.
//
// Terms are rounded once to integers of an agreed scale, and integers add exactly in any order, on any number
// of threads and ranks. With |sum of terms| <= bound, the rounding of one term is at most bound * 2^-61:
// finer than double summation. After Demmel & Nguyen, "Parallel reproducible summation", IEEE Trans.
// Computers 2015 (here with one fixed bin). Local; thread-safe (each thread adds into its own array).
#ifndef THAW_BASE_EXACT_H
#define THAW_BASE_EXACT_H

#include <stdint.h>

// The scale exponent for sums whose absolute value never exceeds `bound` (finite, >= 0), partial sums
// included.
int thaw_exact_scale(double bound);

// acc[i] += round(x[i] * 2^scale), i < n. The caller guarantees the bound.
void thaw_exact_add(int64_t *acc, const double *x, int64_t n, int scale);

// x[i] = acc[i] * 2^-scale.
void thaw_exact_get(double *x, const int64_t *acc, int64_t n, int scale);

#endif
