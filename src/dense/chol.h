// chol.h: small symmetric positive definite systems in f64 without a BLAS, for the lookup library. Local;
// thread-safe.
#ifndef THAW_DENSE_CHOL_H
#define THAW_DENSE_CHOL_H

#include <stdbool.h>

// Solve A x = b in place: a (n x n, row-major, lower triangle read, overwritten by its factor), b becomes x.
// false when A is not positive definite or not finite.
bool thaw_chol_solve(double *a, double *b, int n);

#endif
