// norm.h: squared length of a vector. Local; thread-safe.
#ifndef THAW_DENSE_NORM_H
#define THAW_DENSE_NORM_H

// |x|^2 of n floats, in f64; the order of the sum depends on n alone.
double thaw_norm2(const float *x, int n);

#endif
