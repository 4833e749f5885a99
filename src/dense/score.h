// score.h: dot products of a few vectors with many rows: ranking all items for a user. Local; thread-safe; no
// BLAS, no threads.
//
// out[u * nrows + i] = sum_j x[u * columns + j] * y[i * columns + j]; f32, in an order of summation that
// depends on `columns` alone, so a pair's score has the same bits whatever else is scored with it (on
// machines of the same vector unit). Bound by reading y once (bytes) for a few users, by multiply-adds for
// many. Dispatched at run time (AVX-512, AVX2, portable).
#ifndef THAW_DENSE_SCORE_H
#define THAW_DENSE_SCORE_H

#include <stdint.h>

// x: nx x columns, y: nrows x columns (no alignment needed), out: nx x nrows.
void thaw_score(const float *x, int64_t nx, const float *y, int64_t nrows, int columns, float *out);
// The same for rows of y that are `pitch` >= columns floats apart.
void thaw_score_pitch(const float *x, int64_t nx, const float *y, int64_t pitch, int64_t nrows, int columns,
                      float *out);

// The vector units there are kernels for, narrow to wide; the widest this machine has; and scoring on a
// chosen one, for tests and measurements. The machine must have it.
enum thaw_score_unit { THAW_SCORE_PORTABLE, THAW_SCORE_AVX2, THAW_SCORE_AVX512 };
enum thaw_score_unit thaw_score_best(void);
void thaw_score_on(enum thaw_score_unit unit, const float *x, int64_t nx, const float *y, int64_t nrows,
                   int columns, float *out);

// Norm of each row over the first k of `columns`: out[nrows].
void thaw_norms(const float *y, int64_t nrows, int k, int columns, float *out);

#endif
