// exact.c: fixed-point sums.
#include "base/exact.h"

#include <math.h>

int thaw_exact_scale(double bound) {
    if (!(bound > 0)) return 0;
    int exponent;
    frexp(bound, &exponent); // bound < 2^exponent
    return 62 - exponent;
}

// Two factors, because 2^scale of a denormal bound is no double. Each step is exact unless the result is
// denormal.
static void factors(int scale, double *a, double *b) {
    *a = ldexp(1.0, scale / 2);
    *b = ldexp(1.0, scale - scale / 2);
}

void thaw_exact_add(int64_t *acc, const double *x, int64_t n, int scale) {
    double a, b;
    factors(scale, &a, &b);
    for (int64_t i = 0; i < n; i++) // unsigned: a broken bound wraps instead of being undefined
        acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)llrint(x[i] * a * b));
}

void thaw_exact_get(double *x, const int64_t *acc, int64_t n, int scale) {
    double a, b;
    factors(-scale, &a, &b);
    for (int64_t i = 0; i < n; i++) x[i] = (double)acc[i] * a * b;
}
