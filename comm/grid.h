// grid.h: dense symmetric problems on a process grid: ScaLAPACK's block-cyclic matrices. The only header of
// Thaw that speaks of grids; BLACS and ScaLAPACK stay inside comm/grid*.c. Collective over all ranks unless
// it says otherwise. Not thread-safe; OpenBLAS uses the rank's OpenMP threads inside.
//
// One rank alone calls LAPACK on the whole matrix. Results agree between grids to rounding and are bit-equal
// on the same grid, with the same threads (the one exception to "the same bits on any number of ranks").
//
// Blackford et al. 1997, "ScaLAPACK users' guide", SIAM. The inverse: Bientinesi, Gunter and van de Geijn
// 2008, "Families of algorithms related to the inversion of a symmetric positive definite matrix", ACM TOMS
// 35(1), the one that sweeps over the matrix once.
#ifndef THAW_COMM_GRID_H
#define THAW_COMM_GRID_H

#include "comm/world.h"

#include <stdbool.h>
#include <stdint.h>

struct thaw_grid; // nrow x ncol ranks, the squarest that uses them all (a prime number of ranks: 1 x ranks)
int thaw_grid_new(struct thaw_grid **g, struct thaw_comm *c, struct thaw_err *err);
void thaw_grid_free(struct thaw_grid **g);
void thaw_grid_shape(const struct thaw_grid *g, int *nrow, int *ncol); // local
void thaw_grid_shape_of(int nranks, int *nrow, int *ncol);             // local: what a grid of so many has
void thaw_grid_place(const struct thaw_grid *g, int rank, int *row, int *col); // local: where a rank stands

// A rows x cols matrix in blocks of nb x nb, block (i, j) on process (i mod nrow, j mod ncol). The local part
// is column-major, lrows x lcols, leading dimension lrows (at least 1).
struct thaw_gridmat {
    struct thaw_grid *g;
    int64_t rows, cols;
    int nb;
    bool single; // float, else double
    int64_t lrows, lcols;
    void *a;
    int desc[9];
};
// zeroed. nb 0: chosen. THAW_EMEM; THAW_EDATA: more than 2^31 - 1 rows or columns, or (on several ranks)
// elements of one rank, which ScaLAPACK cannot number: more ranks do.
int thaw_gridmat_new(struct thaw_gridmat *m, struct thaw_grid *g, int64_t rows, int64_t cols, int nb,
                     bool single, struct thaw_err *err);
void thaw_gridmat_clear(struct thaw_gridmat *m); // local
// Local. The global row (column) of a local one; how many of the first `row` rows (`col` columns) are here.
int64_t thaw_gridmat_row(const struct thaw_gridmat *m, int64_t lrow);
int64_t thaw_gridmat_col(const struct thaw_gridmat *m, int64_t lcol);
int64_t thaw_gridmat_rows_below(const struct thaw_gridmat *m, int64_t row);
int64_t thaw_gridmat_cols_below(const struct thaw_gridmat *m, int64_t col);
// Local. The rank that holds element (row, col), and its place in that rank's array.
int thaw_gridmat_owner(const struct thaw_gridmat *m, int64_t row, int64_t col, int64_t *place);
// Local. Element at a place of this rank's array.
static inline double thaw_gridmat_get(const struct thaw_gridmat *m, int64_t place) {
    return m->single ? (double)((const float *)m->a)[place] : ((const double *)m->a)[place];
}
static inline void thaw_gridmat_set(struct thaw_gridmat *m, int64_t place, double x) {
    if (m->single)
        ((float *)m->a)[place] = (float)x;
    else
        ((double *)m->a)[place] = x;
}
// Local. Bytes a rank needs for such a matrix at most; and the block size that would be chosen.
int64_t thaw_grid_nbytes(int nranks, int64_t rows, int64_t cols, int nb, bool single);
int thaw_grid_block(int nranks, int64_t n);

// Lower triangle of a (square): a = L L'. THAW_EDIVERGED: the leading minor of `*minor` is not positive.
int thaw_grid_potrf(struct thaw_gridmat *a, int64_t *minor, struct thaw_err *err);
// After potrf: b becomes a^-1 b. Same block size.
int thaw_grid_potrs(const struct thaw_gridmat *a, struct thaw_gridmat *b, struct thaw_err *err);
// After potrf: a's lower triangle becomes that of the inverse; `full`: its upper triangle too.
int thaw_grid_potri(struct thaw_gridmat *a, bool full, struct thaw_err *err);
// In one sweep over the blocks, all of it matrix products with an inner length of nb; on one rank LAPACK's
// factorization and what follows it. Faster on several ranks than the functions above, which run out of
// parallel work. Both use the lower triangle. THAW_EDIVERGED as potrf. Memory: six panels of nb columns.
// a becomes its inverse: the lower triangle, or `full`. n^3 operations.
int thaw_grid_inverse(struct thaw_gridmat *a, bool full, int64_t *minor, struct thaw_err *err);
// b becomes a^-1 b (same block size); a is used up. 2/3 n^3 + 2 n^2 columns (one rank: n^3/3) operations.
int thaw_grid_solve(struct thaw_gridmat *a, struct thaw_gridmat *b, int64_t *minor, struct thaw_err *err);
// c = alpha a b + beta c (transposes as told).
int thaw_grid_gemm(const struct thaw_gridmat *a, bool ta, const struct thaw_gridmat *b, bool tb, double alpha,
                   double beta, struct thaw_gridmat *c, struct thaw_err *err);
// The leading n x n part: its upper triangle from its lower one.
int thaw_grid_mirror(struct thaw_gridmat *a, int64_t n, struct thaw_err *err);

// ---- Parts of matrices ----
// Rows and columns [row, row + rows) x [col, col + cols) of m. row and col are multiples of the block size.
struct thaw_gridpart {
    const struct thaw_gridmat *m;
    int64_t row, col, rows, cols;
};
int thaw_gridpart_potrf(struct thaw_gridpart a, int64_t *minor, struct thaw_err *err);
int thaw_gridpart_potrs(struct thaw_gridpart a, struct thaw_gridpart b, struct thaw_err *err);
void thaw_gridpart_gemm(struct thaw_gridpart a, bool ta, struct thaw_gridpart b, bool tb, double alpha,
                        double beta, struct thaw_gridpart c);

#endif
