// grid_impl.h: what the files of comm/grid*.c share: the grid itself, and the Fortran names of BLACS,
// ScaLAPACK and LAPACK, which have no headers. Private to them.
#ifndef THAW_COMM_GRID_IMPL_H
#define THAW_COMM_GRID_IMPL_H

#include "comm/grid.h"
#include "comm/handle.h"

struct thaw_grid {
    struct thaw_comm *c;
    int nrow, ncol, row, col;      // this rank stands at (row, col); ranks go along rows
    int context;                   // BLACS's; -1: one rank, which has none
    MPI_Comm along_row, along_col; // the ranks of this grid row, and of this grid column
};

// Of the n rows (or columns) of a matrix in blocks of nb, how many lie on process p of `count`.
static inline int64_t thaw_grid_share(int64_t n, int nb, int p, int count) {
    const int64_t blocks = n / nb, rest = n % nb, turn = blocks % count;
    return (blocks / count) * nb + (p < turn ? nb : p == turn ? rest : 0);
}

// Local. The failure of a factorization; 0: there is none.
int thaw_grid_not_positive(int64_t minor, struct thaw_err *err);

// ---- BLACS ----
int Csys2blacs_handle(MPI_Comm comm);
void Cfree_blacs_system_handle(int handle);
void Cblacs_gridinit(int *context, const char *order, int nrow, int ncol);
void Cblacs_gridexit(int context);

// ---- ScaLAPACK and PBLAS: indices from 1 ----
#define THAW_GRID_PBLAS(T, P)                                                                                \
    void p##P##potrf_(const char *uplo, const int *n, T *a, const int *ia, const int *ja, const int *desca,  \
                      int *info);                                                                            \
    void p##P##potrs_(const char *uplo, const int *n, const int *nrhs, const T *a, const int *ia,            \
                      const int *ja, const int *desca, T *b, const int *ib, const int *jb, const int *descb, \
                      int *info);                                                                            \
    void p##P##potri_(const char *uplo, const int *n, T *a, const int *ia, const int *ja, const int *desca,  \
                      int *info);                                                                            \
    void p##P##gemm_(const char *ta, const char *tb, const int *m, const int *n, const int *k,               \
                     const T *alpha, const T *a, const int *ia, const int *ja, const int *desca, const T *b, \
                     const int *ib, const int *jb, const int *descb, const T *beta, T *c, const int *ic,     \
                     const int *jc, const int *descc);                                                       \
    void p##P##tran_(const int *m, const int *n, const T *alpha, const T *a, const int *ia, const int *ja,   \
                     const int *desca, const T *beta, T *c, const int *ic, const int *jc, const int *descc); \
    void P##potrf_(const char *uplo, const int *n, T *a, const int *lda, int *info);                         \
    void P##potrs_(const char *uplo, const int *n, const int *nrhs, const T *a, const int *lda, T *b,        \
                   const int *ldb, int *info);                                                               \
    void P##potri_(const char *uplo, const int *n, T *a, const int *lda, int *info);                         \
    void P##trtri_(const char *uplo, const char *diag, const int *n, T *a, const int *lda, int *info);       \
    void P##lauum_(const char *uplo, const int *n, T *a, const int *lda, int *info);
THAW_GRID_PBLAS(float, s)
THAW_GRID_PBLAS(double, d)

#endif
