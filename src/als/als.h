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
// Every function here gives the same bits wherever and in whatever company a row is solved (on CPUs of the
// same kind), and runs with denormals flushed to zero, whatever the caller's mode.
//
// Accuracy: the exact solver forms products in f32 and sums and solves in f64; its relative error is about
// 1e-6 times the condition number of the normal matrix, at most 1e-4 on well-posed rows. docs/algorithms.md.
#ifndef THAW_ALS_ALS_H
#define THAW_ALS_ALS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum thaw_als_model { THAW_ALS_HU, THAW_ALS_RENDLE, THAW_ALS_EXPLICIT };
enum thaw_als_solver { THAW_ALS_CHOLESKY, THAW_ALS_CG };
enum { THAW_ALS_FACTORS_MAX = 1024 };

struct thaw_als_config {
    enum thaw_als_model model;
    enum thaw_als_solver solver;
    int k;
    bool biases;         // explicit only
    double mean;         // explicit: mean training rating
    double alpha;        // confidence of one unit of strength
    double unobserved;   // a0
    double lambda, nu;   // regularization and its exponent
    int cg_steps;        // most CG steps of a row
    double cg_tolerance; // stop when |residual| <= tolerance * |right-hand side|
};
static inline int thaw_als_columns(const struct thaw_als_config *c) {
    return c->k + (c->biases ? 1 : 0);
}
// Check that the numbers make a positive definite problem. THAW_EUSAGE.
int thaw_als_check(const struct thaw_als_config *c, struct thaw_err *err);

// What all rows of a half-sweep share.
struct thaw_als_sweep {
    const struct thaw_als_config *config;
    int64_t other_rows;    // m
    const double *gramian; // k x k, Y'Y, symmetric and full; NULL for the explicit model
};
double thaw_als_lambda(const struct thaw_als_sweep *s, int64_t n);

// One thread's working memory; not shared.
struct thaw_als_work;
int thaw_als_work_new(struct thaw_als_work **w, const struct thaw_als_config *c, struct thaw_err *err);
void thaw_als_work_free(struct thaw_als_work **w);
// Prepare for the rows of a half-sweep. Solve does it by itself when it meets another sweep's address; call
// it when the gramian has changed behind the same address.
void thaw_als_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s);

// Solve a row whose opposite rows are all at hand. table: rows of d floats; row j of the problem is
// table[index[j]]; r[n]. x[d] in: the row before (warm start of CG), out: the solution. n = 0 gives zeros.
// THAW_EDIVERGED when the result is not finite (err does not know the row's number: the caller adds it),
// THAW_EMEM.
int thaw_als_solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                   const uint32_t *index, const float *r, int64_t n, float *x, struct thaw_err *err);

// The same for a row too long to have all opposite rows at hand: add them piece by piece (pieces of a
// multiple of THAW_ALS_PANEL but the last), then end. Always by the normal matrix, solved with Cholesky.
enum { THAW_ALS_PANEL = 256 };
void thaw_als_long_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s, int64_t n);
void thaw_als_long_add(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                       const uint32_t *index, const float *r, int64_t n);
int thaw_als_long_end(struct thaw_als_work *w, float *x, struct thaw_err *err);

// Sum of the observed terms of the loss over these interactions for a solved row x (f32 dots, summed in f64).
double thaw_als_observed_loss(const struct thaw_als_sweep *s, const float *table, const uint32_t *index,
                              const float *r, int64_t n, const float *x);

// Adds rows' outer products: g (k x k, row-major, both triangles) += Y'Y of nrows rows of `columns` floats,
// first k used. Products and sums in f64.
int thaw_als_gramian(double *g, const float *y, int64_t nrows, int k, int columns, struct thaw_err *err);

// A row's initial factors: normal, deviation `scale`, keyed by (seed, side's stream, global row, column).
void thaw_als_init_row(float *x, int columns, uint64_t seed, uint32_t stream, int64_t row, double scale);

// BLAS set-up at program start: one thread per call; the core type OpenBLAS runs as, for logs ("SkylakeX").
const char *thaw_blas_begin(void);

#endif
