// chol.h: small symmetric positive definite systems in f64 without a BLAS, for the lookup library. Local;
// thread-safe.
#ifndef THAW_DENSE_CHOL_H
#define THAW_DENSE_CHOL_H

#include <stdbool.h>

// Solve A x = b in place: a (n x n, row-major, lower triangle read, overwritten by its factor), b becomes x.
// false when A is not positive definite or not finite.
bool thaw_chol_solve(double *a, double *b, int n);

// The steps of it: A = L L' in place of the lower triangle; with that factor, x = A^-1 b, b <- L^-1 b, and b
// <- L'^-1 b.
bool thaw_chol_factor(double *a, int n);
void thaw_chol_apply(const double *l, double *b, int n);
void thaw_chol_forward(const double *l, double *b, int n);
void thaw_chol_back(const double *l, double *b, int n);

#endif
