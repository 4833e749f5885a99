// als.h: the row problem of alternating least squares, and its solvers. No MPI; a row is solved by one
// thread.
//
// Notation: a half-sweep solves every row x of one side with the other side's rows y fixed. k factors; with
// biases (explicit only) rows have d = k + 1 columns, the last one the bias; otherwise d = k. A row has n
// interactions (y_j, r_j); m is the number of rows of the other side that training uses; lambda_row = lambda
// * (n + a0 * m)^nu for the implicit models, lambda * n for the explicit one.
//
//   Hu, Koren & Volinsky 2008 ("Collaborative filtering for implicit feedback datasets", ICDM), w = alpha r,
//   c = a0 + alpha r, and Rendle, Krichene, Zhang & Koren 2022 ("Revisiting the performance of iALS on item
//   recommendation benchmarks", RecSys), w = alpha r, c = alpha r:
//     (a0 Y'Y + lambda_row I + sum_j w_j y_j y_j') x = sum_j c_j y_j
//     loss = a0 sum_{all pairs} s^2 + sum_{observed} (w s^2 - 2 c s + c) + sum lambda_row |row|^2,   s = x.y
//   Zhou, Wilkinson, Schreiber & Pan 2008 ("Large-scale parallel collaborative filtering for the Netflix
//   prize", AAIM; ALS-WR):
//     s = mean + b_x + b_y + x.y;  loss = sum_{observed} (r - s)^2 + sum lambda_row |row|^2 (biases included
//     in |row|)
//
// Solvers work in coordinates of their own, in which the part of the matrix that all rows share is diagonal.
// With Y'Y = Q E Q' and a typical regularization L: S = (a0 E + L)^1/2, T = Q S^-1, opposite rows are encoded
// as y~ = T'y, and a row's system is (diag(d) + sum w y~ y~') z = sum c y~ with d_j = (a0 e_j + lambda_row) /
// (a0 e_j + L), exactly, whatever the row's lambda. z = S Q' x, x = T z. The explicit model has no shared
// part: T = I, d = lambda_row; with biases the encoded row is (1, b_y, y, 0...), b_y as two columns whose sum
// it is (to 16 bits where rows are bf16), and z is (b_x, 1, 1, x, 0...), its 1s fixed. Both are padded with
// zeros to `width` components.
//
// Encoded rows are gathered as f32, or as bf16 in pairs (a 32-bit word holds components j and j + 16 of a
// group of 32); all arithmetic is f32 or better.
//
// Every function here gives the same bits wherever and in whatever company a row is encoded or solved (on
// CPUs of the same kind), and runs with denormals flushed to zero, whatever the caller's mode.
#ifndef THAW_ALS_ALS_H
#define THAW_ALS_ALS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum thaw_als_model { THAW_ALS_HU, THAW_ALS_RENDLE, THAW_ALS_EXPLICIT };
enum thaw_als_solver { THAW_ALS_CHOLESKY, THAW_ALS_CG };
enum thaw_als_gather { THAW_ALS_F32, THAW_ALS_BF16 };
enum { THAW_ALS_FACTORS_MAX = 1024 };
// Solvers may read (never use) so many entries past the end of a row's index array, and ask for the table's
// rows they name: they must be readable and valid.
enum { THAW_ALS_AHEAD = 64 };

struct thaw_als_config {
    enum thaw_als_model model;
    enum thaw_als_solver solver;
    enum thaw_als_gather gather;
    int k;
    bool biases;         // explicit only
    double mean;         // explicit: mean training rating
    double alpha;        // confidence of one unit of strength
    double unobserved;   // a0
    double lambda, nu;   // regularization and its exponent
    int cg_steps;        // most CG steps of a row
    double relaxation;   // a CG step goes so many times as far, above 0 and below 2; 1: to the lowest point
    double cg_tolerance; // stop when r'D^-1 r, a bound of what a row can still gain, <= tolerance^2 * its
                         // objective
};
static inline int thaw_als_columns(const struct thaw_als_config *c) {
    return c->k + (c->biases ? 1 : 0);
}
// Components of an encoded row and of a solver's vector: a multiple of 32.
int thaw_als_width(const struct thaw_als_config *c);
size_t thaw_als_row_bytes(const struct thaw_als_config *c); // of an encoded row
// Check that the numbers make a positive definite problem. THAW_EUSAGE.
int thaw_als_check(const struct thaw_als_config *c, struct thaw_err *err);
double thaw_als_lambda(const struct thaw_als_config *c, int64_t other_rows, int64_t n);
// Work of a row in units of one interaction of a long row: what n interactions and the row itself cost.
double thaw_als_row_work(const struct thaw_als_config *c, int64_t n);

// ---- What all rows of a half-sweep share: read only, thread-safe ----
struct thaw_als_sweep;
// other_rows: m. mean_degree: training interactions / rows of the side that is solved (it sets L only).
// gramian: k x k, Y'Y, symmetric and full; NULL for the explicit model. Copies what it needs. THAW_EMEM;
// THAW_EDIVERGED when the gramian is not finite.
int thaw_als_sweep_new(struct thaw_als_sweep **s, const struct thaw_als_config *c, int64_t other_rows,
                       double mean_degree, const double *gramian, struct thaw_err *err);
void thaw_als_sweep_free(struct thaw_als_sweep **s);
const struct thaw_als_config *thaw_als_sweep_config(const struct thaw_als_sweep *s);

// Opposite rows, y: nrows x d, to encoded ones: nrows x row_bytes, 64-byte aligned. Rows one by one: the same
// bits in any grouping. *norm2 (or NULL) grows to the largest |y~|^2 as encoded.
void thaw_als_encode(const struct thaw_als_sweep *s, const float *y, int64_t nrows, void *rows, float *norm2);
// Rows of the side that is solved, x: nrows x d, to z: nrows x width and back.
void thaw_als_enter(const struct thaw_als_sweep *s, const float *x, int64_t nrows, float *z);
void thaw_als_leave(const struct thaw_als_sweep *s, const float *z, int64_t nrows, float *x);

// ---- Solving a row ----
// One thread's working memory; not shared, for any sweep of the same k, biases, gather and solver.
struct thaw_als_work;
int thaw_als_work_new(struct thaw_als_work **w, const struct thaw_als_config *c, struct thaw_err *err);
void thaw_als_work_free(struct thaw_als_work **w);
size_t thaw_als_work_nbytes(const struct thaw_als_config *c); // what one takes

// Interactions: row index[j] of the table (encoded rows, 64-byte aligned) with value r[j].
struct thaw_als_row {
    const void *table;
    const uint32_t *index; // n, and THAW_ALS_AHEAD more
    const float *r;        // n
    int64_t n;
};
// z[width] in: where to start; out: the solution. n = 0 gives zeros. *loss (or NULL): the observed terms of
// the loss at the solution. THAW_EDIVERGED when the result is not finite (err does not know the row's number:
// the caller adds it), THAW_EMEM.
int thaw_als_solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                   float *z, double *loss, struct thaw_err *err);

// ---- Long rows: solved from sums over pieces of their interactions ----
// The sums are doubles that are multiples of a grid, a power of two so large that they add without rounding,
// in any order (after Demmel & Nguyen, "Parallel reproducible summation", 2015). So the pieces may lie on
// different ranks and threads. What a piece is must not depend on them: all interactions of the row whose
// opposite rows are of one part.
//
// Rounds go by: everyone who holds pieces gets the row's vector and adds its pieces' sums; these are added up
// and given to the row. The CG solver asks for a product with a vector per step; the exact one for the normal
// matrix, once.
struct thaw_als_long;                                      // the state of one such row, at whoever solves it
int thaw_als_long_rounds(const struct thaw_als_config *c); // most rounds: cg_steps + 1, or 1
// Doubles of a sum; floats of a vector (a multiple of 16; >= 1: it also carries the grids).
size_t thaw_als_long_sums(const struct thaw_als_config *c);
size_t thaw_als_long_vector(const struct thaw_als_config *c);
size_t thaw_als_long_nbytes(const struct thaw_als_config *c); // at most, of a row's state, vector and sum
// n: of the whole row; weight: at least the sum of |w| and |c| over its interactions, from their number and
// the sum of |r|; norm2: at least the largest |y~|^2 of the table. z[width]: where to start.
double thaw_als_long_weight(const struct thaw_als_config *c, int64_t n, double sum_abs_r);
int thaw_als_long_new(struct thaw_als_long **l, const struct thaw_als_sweep *s, int64_t n, double weight,
                      float norm2, const float *z, struct thaw_err *err);
void thaw_als_long_free(struct thaw_als_long **l);
// What the next round's holders of pieces need. All zeros when the row needs no more rounds.
void thaw_als_long_ask(const struct thaw_als_long *l, float *vector);
// sums += one piece's; a vector of zeros adds nothing.
void thaw_als_long_piece(struct thaw_als_work *w, const struct thaw_als_sweep *s,
                         const struct thaw_als_row *piece, const float *vector, double *sums);
// Take the round's total. THAW_EDIVERGED.
int thaw_als_long_step(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums,
                       struct thaw_err *err);
bool thaw_als_long_done(const struct thaw_als_long *l);
void thaw_als_long_get(const struct thaw_als_long *l, float *z, double *loss);

// The solver that is faster for rows of so many interactions in the mean (the exact one also where it takes
// up to a quarter longer); why: its reason, may be cut.
enum thaw_als_solver thaw_als_choose(const struct thaw_als_config *c, double mean_degree, char *why,
                                     size_t nwhy);

// ---- Around the sweeps ----
// Adds rows' outer products: g (k x k, row-major, both triangles) += Y'Y of nrows rows of `columns` floats,
// first k used. Products in f32, summed in f64 every 64 rows: the error is below 1e-7 of |Y'Y|. THAW_EMEM.
int thaw_als_gramian(double *g, const float *y, int64_t nrows, int k, int columns, struct thaw_err *err);

// A row's initial factors: normal, deviation `scale`, keyed by (seed, side's stream, global row, column).
void thaw_als_init_row(float *x, int columns, uint64_t seed, uint32_t stream, int64_t row, double scale);

// BLAS set-up at program start: one thread per call. OpenBLAS says so to OpenMP as well, so set OpenMP's
// threads after it, and call it only once.
void thaw_blas_begin(void);
// The core type OpenBLAS runs as, for logs ("SkylakeX").
const char *thaw_blas_core(void);
// The vector code the solvers run on this CPU, for logs: "avx512", "avx2", "neon", "portable". The
// environment's THAW_KERNELS=portable|avx2|avx512 asks for another than the widest, where the CPU has it.
const char *thaw_als_kernels(void);

#endif
