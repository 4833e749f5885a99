// work.h: what the solvers of src/als share. Private.
//
// Columns of an encoded row y~ and of z (`width` of them, a multiple of 32):
//   without biases: y in the solver's coordinates, then zeros;
//   with biases:    1, hi(b_y), lo(b_y), y, zeros    against   z = (b_x, 1, 1, x, zeros).
// The 1s of z are fixed. hi + lo is b_y to 16 bits (all of them in f32); the three columns lie in the low
// halves of bf16 pairs, which are exact.
#ifndef THAW_ALS_WORK_H
#define THAW_ALS_WORK_H

#include "als/als.h"
#include "als/kernels.h"

enum { THAW_ALS_BIAS_COLUMNS = 3, THAW_ALS_GROUP = 32 };

struct thaw_als_sweep {
    struct thaw_als_config config;
    int64_t other_rows; // m
    int width, offset;  // columns; those before the factors
    bool pairs;         // encoded rows are bf16 pairs
    size_t row_bytes;
    struct thaw_als_terms terms; // w and c of an interaction
    double typical;              // L; 0: explicit
    double *eig;                 // k: e_j; NULL: explicit
    // d_j = base_j + lambda_row * slope_j; both 0 where z is fixed or padding, and there `moves` is 0, else
    // ~0.
    float *base, *slope; // width
    uint32_t *moves;     // width
    // Implicit: T = Q S^-1 for encode (k -> width), Q S for enter (k -> width), T' for leave (width -> k), as
    // thaw_als_kernels.rotate reads them. NULL: explicit, T = I.
    float *encode, *enter, *leave;
};

// lambda_row for any mean degree.
double thaw_als_lambda_at(const struct thaw_als_config *c, int64_t other_rows, double n);
// The diagonal of a row of n interactions: d[width], and its inverse (0 where z does not move).
void thaw_als_diagonal(const struct thaw_als_sweep *s, int64_t n, float *d, float *inverse);
// An encoded row as the f32 values that the kernels work with: out[width].
void thaw_als_decode(const struct thaw_als_sweep *s, const void *row, float *out);
// z made fit to start from: its fixed components set.
void thaw_als_start(const struct thaw_als_sweep *s, float *z);

// ---- Solvers ----
struct thaw_als_solver_def {
    size_t (*scratch)(const struct thaw_als_config *c); // bytes of struct thaw_als_work's scratch
    // n > 0; z's fixed components are set. The caller looks for what is not finite.
    int (*solve)(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                 float *z, double *loss, struct thaw_err *err);
    // Long rows, as in als.h: most rounds, doubles of a sum and floats of a vector.
    int (*rounds)(const struct thaw_als_config *c);
    size_t (*sums)(const struct thaw_als_config *c);
    size_t (*vector)(const struct thaw_als_config *c);
    int (*begin)(struct thaw_als_long *l,
                 struct thaw_err *err);                        // may set l->own (one thaw_alloc); may be NULL
    void (*ask)(const struct thaw_als_long *l, float *vector); // vector is zeroed; not done
    void (*piece)(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *piece,
                  const float *vector, double *sums); // vector[0..] is not all zeros
    // Takes the round's total, moves l->z, sets l->loss and, after the last round, l->done.
    int (*step)(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums, struct thaw_err *err);
};
extern const struct thaw_als_solver_def thaw_als_cholesky, thaw_als_cg;
const struct thaw_als_solver_def *thaw_als_solver_of(const struct thaw_als_config *c);
// THAW_EDIVERGED unless z[width] and the loss are finite.
int thaw_als_finite(const struct thaw_als_sweep *s, const float *z, double loss, struct thaw_err *err);

struct thaw_als_work {
    const struct thaw_als_solver_def *solver;
    int width;
    size_t row_bytes;
    void *scratch; // 64-byte aligned, solver->scratch bytes, zeroed once
};

struct thaw_als_long {
    const struct thaw_als_sweep *s; // outlives the row
    const struct thaw_als_solver_def *solver;
    int64_t n;
    double weight;
    float norm2;
    int round; // rounds taken
    bool done;
    double loss;
    float *z;  // width, 64-byte aligned
    void *own; // the solver's
};

// ---- Exact sums on a grid (long.c) ----
// The grid of sums whose absolute values never exceed `bound`: 2^thaw_als_grid(bound). It is small enough for
// f32 to carry it in a vector.
int thaw_als_grid(double bound);
// sums[i] += v[i] rounded to the grid, i < n.
void thaw_als_grid_add(double *sums, const float *v, size_t n, int grid);
void thaw_als_grid_add1(double *sum, double v, int grid);

// Denormals as zeros from begin to end; the mode of before is returned and given back.
unsigned long thaw_als_mode_begin(void);
void thaw_als_mode_end(unsigned long before);

#endif
