// cholesky.h: what the exact solver's files share; private to the module.
//
// Matrices are kept in column blocks of THAW_ALS_BLOCK: block j holds columns 16 j ... 16 j + 15 of all rows,
// one row of 16 floats after the other. So a panel of gathered rows and the factor U of A = U'U look alike,
// tiles read memory in a straight line, and no power of two maps all rows to one cache set. `stride`: floats
// from a block to the next, at least 16 x its rows.
#ifndef THAW_ALS_CHOLESKY_H
#define THAW_ALS_CHOLESKY_H

#include "als/work.h"

enum { THAW_ALS_BLOCK = 16, THAW_ALS_PANEL = 128 };

// One set of kernels per instruction set; cholesky_kernels.h is their text. nb: blocks of columns.
struct thaw_als_cholesky_kernels {
    // Row i of the panel = scale[i] x row index[i] of the table, i < n. May ask for rows named by
    // index[n ... n + THAW_ALS_AHEAD).
    void (*gather)(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *scale,
                   int nb, int width, float *panel, ptrdiff_t stride);
    // The same transposed: block i / 16 of `panel` holds row i as its column i % 16, also times h[column];
    // zeros for the columns from n to a multiple of 16.
    void (*gather_across)(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *scale,
                          const float *h, int nb, int width, float *panel, ptrdiff_t stride);
    // out[16 nb] += sum_i t[i] y_i, i < n, y_i as in the table.
    void (*combine)(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *t, int nb,
                    int width, float *out);
    // out[16 nb] += P't of a panel of m rows.
    void (*across)(const float *panel, ptrdiff_t stride, int m, int nb, const float *t, float *out);
    // Upper triangle of a (+)= P'P, panel of m rows; `first`: a holds nothing yet.
    void (*syrk)(const float *panel, ptrdiff_t stride, int m, int nb, float *a, ptrdiff_t astride,
                 bool first);
    void (*widen)(double *sum, const float *a, size_t n); // sum += a
    // Upper triangle of a becomes U with A = U'U, b becomes U'^-1 b; diagonal blocks hold the inverse of U's,
    // transposed. false: not positive definite (or not finite).
    bool (*factor)(float *a, ptrdiff_t astride, int nb, float *b, float extremes[2]);
    void (*forward)(const float *a, ptrdiff_t astride, int nb, float *b); // b = U'^-1 b
    void (*back)(const float *a, ptrdiff_t astride, int nb, float *b);    // b = U^-1 b
};
#if defined(__x86_64__)
extern const struct thaw_als_cholesky_kernels thaw_als_cholesky_avx512, thaw_als_cholesky_avx2;
#endif
extern const struct thaw_als_cholesky_kernels thaw_als_cholesky_portable;

// The set of the same name as thaw_als_kernel_set's.
const struct thaw_als_cholesky_kernels *thaw_als_cholesky_kernel_set(void);

// A row being solved: what is known of it, and views into the thread's scratch. A: diag(d) + sum w y~ y~'
// over the components that move; fixed ones are on the right-hand side.
struct thaw_als_exact {
    const struct thaw_als_cholesky_kernels *kernels;
    const struct thaw_als_sweep *s;
    const struct thaw_als_row *row;
    int nb;             // blocks of columns in use
    ptrdiff_t pstride;  // of the panel
    ptrdiff_t astride;  // of a
    float *d, *inverse; // width: the diagonal and its inverse; both 0 where z does not move
    float *h;           // width: inverse^1/2
    float *b;           // width: the right-hand side
    float *x;           // width or the dual's n: what the factor solves for
    float *scale, *t;   // per row of a panel: w^1/2, c w^-1/2
    float *panel, *a;   // in column blocks
    double *r;          // width: residual
    double *wide;       // 16 nb x 16 nb: a in f64
};
// The views; d, inverse and h of the row. The piece of a long row has no diagonal (n = 0).
void thaw_als_exact_begin(struct thaw_als_exact *e, struct thaw_als_work *w, const struct thaw_als_sweep *s,
                          const struct thaw_als_row *row, int64_t n);
// scale and t of interactions from ... from + n; *constant grows by the loss's constant terms. The least w.
float thaw_als_exact_terms(struct thaw_als_exact *e, int64_t from, int n, double *constant);
// a and b as sums over the row's interactions, without the diagonal. f64 between chunks of many: in e->wide
// when `wide` or the row is long, and then copied to a. The least w; *constant as above.
float thaw_als_exact_sum(struct thaw_als_exact *e, bool wide, double *constant);

// dual.c: (I + P P') beta = W^-1/2 c, z = D^-1/2 P' beta with P = W^1/2 Y~ D^-1/2, n x n.
int thaw_als_dual_most(const struct thaw_als_config *c); // rows up to so many interactions
bool thaw_als_dual_solve(struct thaw_als_exact *e, float *z, double *loss, float extremes[2]);
void thaw_als_dual_apply(struct thaw_als_exact *e, const double *r, float *z); // about A^-1 r

// cholesky_wide.c: in f64, for what is ill-conditioned, with w of any sign. a: order^2, lower triangle by
// columns.
int thaw_als_wide_solve(double *a, double *b, int order, struct thaw_err *err);
// As thaw_als_exact_sum, always wide.
void thaw_als_exact_wide_sum(struct thaw_als_exact *e, double *constant);
int thaw_als_exact_wide(struct thaw_als_exact *e, float *z, struct thaw_err *err);
// r = b - A z from the interactions, in f64; the observed loss at z.
double thaw_als_exact_residual(struct thaw_als_exact *e, const float *z);

// cholesky_long.c
size_t thaw_als_exact_sums(const struct thaw_als_config *c);
size_t thaw_als_exact_vector(const struct thaw_als_config *c);
int thaw_als_exact_rounds(const struct thaw_als_config *c);
void thaw_als_exact_ask(const struct thaw_als_long *l, float *vector);
void thaw_als_exact_piece(struct thaw_als_work *w, const struct thaw_als_sweep *s,
                          const struct thaw_als_row *piece, const float *vector, double *sums);
int thaw_als_exact_step(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums,
                        struct thaw_err *err);

#endif
