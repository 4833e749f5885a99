// grid.c: process grids and block-cyclic matrices.
#include "comm/grid.h"

#include "base/mem.h"
#include "comm/grid_impl.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

// ---- The grid ----

void thaw_grid_shape_of(int nranks, int *nrow, int *ncol) {
    int n = 1;
    for (int i = 1; i <= nranks / i; i++)
        if (nranks % i == 0) n = i;
    *nrow = n;
    *ncol = nranks / n;
}

int thaw_grid_new(struct thaw_grid **out, struct thaw_comm *c, struct thaw_err *err) {
    struct thaw_grid *g = NULL;
    int code = thaw_alloc(&g, 1, sizeof *g, "a process grid", err);
    if ((code = thaw_comm_agree(c, code, err))) {
        free(g);
        return code;
    }
    g->c = c;
    thaw_grid_shape_of(c->size, &g->nrow, &g->ncol);
    g->row = c->rank / g->ncol;
    g->col = c->rank % g->ncol;
    g->context = -1;
    MPI_Comm_split(c->all, g->row, g->col, &g->along_row);
    MPI_Comm_split(c->all, g->col, g->row, &g->along_col);
    if (c->size > 1) {
        const int handle = Csys2blacs_handle(c->all);
        g->context = handle;
        Cblacs_gridinit(&g->context, "Row", g->nrow, g->ncol);
        Cfree_blacs_system_handle(handle);
    }
    *out = g;
    return THAW_OK;
}

void thaw_grid_free(struct thaw_grid **g) {
    if (!*g) return;
    if ((*g)->context >= 0) Cblacs_gridexit((*g)->context);
    MPI_Comm_free(&(*g)->along_row);
    MPI_Comm_free(&(*g)->along_col);
    free(*g);
    *g = NULL;
}

void thaw_grid_shape(const struct thaw_grid *g, int *nrow, int *ncol) {
    *nrow = g->nrow;
    *ncol = g->ncol;
}

void thaw_grid_place(const struct thaw_grid *g, int rank, int *row, int *col) {
    *row = rank / g->ncol;
    *col = rank % g->ncol;
}

// ---- Sizes ----

int thaw_grid_block(int nranks, int64_t n) {
    enum { LEAST = 32, MOST = 256, PER_SIDE = 4 };
    int nrow, ncol, nb = MOST;
    thaw_grid_shape_of(nranks, &nrow, &ncol);
    // Each process row and column should have a few blocks, or the last ones wait.
    while (nb > LEAST && n < (int64_t)nb * PER_SIDE * ncol) nb /= 2;
    return nb;
}

int64_t thaw_grid_nbytes(int nranks, int64_t rows, int64_t cols, int nb, bool single) {
    int nrow, ncol;
    thaw_grid_shape_of(nranks, &nrow, &ncol);
    if (!nb) nb = thaw_grid_block(nranks, rows < cols ? rows : cols);
    const int64_t lrows = thaw_grid_share(rows, nb, 0, nrow), lcols = thaw_grid_share(cols, nb, 0, ncol);
    return lrows * lcols * (single ? 4 : 8);
}

// ---- Matrices ----

int thaw_gridmat_new(struct thaw_gridmat *m, struct thaw_grid *g, int64_t rows, int64_t cols, int nb,
                     bool single, struct thaw_err *err) {
    if (!nb) nb = thaw_grid_block(g->c->size, rows < cols ? rows : cols);
    *m = (struct thaw_gridmat){.g = g, .rows = rows, .cols = cols, .nb = nb, .single = single};
    m->lrows = thaw_grid_share(rows, nb, g->row, g->nrow);
    m->lcols = thaw_grid_share(cols, nb, g->col, g->ncol);
    const int64_t lead = m->lrows > 0 ? m->lrows : 1;
    int code = THAW_OK;
    if (rows > INT_MAX || cols > INT_MAX || (g->c->size > 1 && lead * m->lcols > INT_MAX))
        code =
            thaw_fail(err, THAW_EDATA,
                      "a matrix of %" PRId64 " x %" PRId64 " on %d ranks: ScaLAPACK numbers at most 2^31 - 1 "
                      "elements of a rank: take more ranks",
                      rows, cols, g->c->size);
    if (!code)
        code = thaw_alloc(&m->a, (size_t)(lead * m->lcols), single ? sizeof(float) : sizeof(double),
                          "this rank's part of a matrix", err);
    if ((code = thaw_comm_agree(g->c, code, err))) {
        thaw_gridmat_clear(m);
        return code;
    }
    const int desc[9] = {1, g->context, (int)rows, (int)cols, nb, nb, 0, 0, (int)lead};
    for (int i = 0; i < 9; i++) m->desc[i] = desc[i];
    return THAW_OK;
}

void thaw_gridmat_clear(struct thaw_gridmat *m) {
    free(m->a);
    *m = (struct thaw_gridmat){0};
}

int64_t thaw_gridmat_row(const struct thaw_gridmat *m, int64_t lrow) {
    return (lrow / m->nb * m->g->nrow + m->g->row) * m->nb + lrow % m->nb;
}

int64_t thaw_gridmat_col(const struct thaw_gridmat *m, int64_t lcol) {
    return (lcol / m->nb * m->g->ncol + m->g->col) * m->nb + lcol % m->nb;
}

int64_t thaw_gridmat_rows_below(const struct thaw_gridmat *m, int64_t row) {
    return thaw_grid_share(row, m->nb, m->g->row, m->g->nrow);
}

int64_t thaw_gridmat_cols_below(const struct thaw_gridmat *m, int64_t col) {
    return thaw_grid_share(col, m->nb, m->g->col, m->g->ncol);
}

int thaw_gridmat_owner(const struct thaw_gridmat *m, int64_t row, int64_t col, int64_t *place) {
    const struct thaw_grid *g = m->g;
    const int64_t brow = row / m->nb, bcol = col / m->nb;
    const int prow = (int)(brow % g->nrow), pcol = (int)(bcol % g->ncol);
    const int64_t lead = thaw_grid_share(m->rows, m->nb, prow, g->nrow);
    *place = brow / g->nrow * m->nb + row % m->nb + (bcol / g->ncol * m->nb + col % m->nb) * lead;
    return prow * g->ncol + pcol;
}
