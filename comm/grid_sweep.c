// grid_sweep.c: inverse and solution of a positive definite system in one sweep over its blocks: symmetric
// Gauss-Jordan elimination in Cholesky's clothes (Bientinesi, Gunter and van de Geijn 2008).
//
// Step k turns block k of the matrix: with L the Cholesky factor of its diagonal block and W_i what the rest
// of block row and column k times L'^-1 leaves in row i,
//
//   A_ij += S_i W_j',   S_i = W_i above k, -W_i below it;   A_ik = S_i L^-1,   A_kk = L'^-1 L^-1,
//   Y_i  += S_i (L^-1 Y_k),   Y_k = A_kk Y_k for a right-hand side.
//
// Every step is one product of inner length nb over all of the matrix, wherever k is: so no rank runs out of
// work, which is what ScaLAPACK's triangular inverses and solves suffer from. W travels as panels: along
// process rows and columns as it lies, and then what each process has in common with its own kind.
#include "base/mem.h"
#include "comm/grid_impl.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 8 }; // block columns that one product takes

struct sweep {
    struct thaw_gridmat *a, *y; // y: NULL for the inverse
    const struct thaw_grid *g;
    bool single;
    size_t width; // of an element
    MPI_Datatype type;
    int64_t n;
    // The step: block k, columns [at, at + w).
    int64_t k, at;
    int w;
    bool own_row, own_col; // is block row (column) k here?
    int64_t above, left;   // local rows (columns) before block k
    int64_t below, right;  // the first local row (column) behind it
    char *factor;          // w x w, L^-1, and one element more: what potrf said
    char *s;               // local rows x w
    char *v;               // local columns x w: W of them
    char *row_panel;       // w x left: L^-1 A_kj
    char *col_panel;       // (rows - below) x w
    char *z;               // w x y's local columns
    char *give, *take;     // blocks in common
    int *count, *place;
};

// ---- Small pieces of BLAS ----

static char *element(const struct thaw_gridmat *m, int64_t row, int64_t col) {
    return (char *)m->a + (size_t)(row + col * m->desc[8]) * (m->single ? sizeof(float) : sizeof(double));
}

static char *offset(const struct sweep *s, char *p, int64_t elements) {
    return p + (size_t)elements * s->width;
}

// c += a b or a b'.
static void add_product(const struct sweep *s, bool tb, int64_t m, int64_t n, int k, const void *a,
                        int64_t lda, const void *b, int64_t ldb, void *c, int64_t ldc) {
    const CBLAS_TRANSPOSE t = tb ? CblasTrans : CblasNoTrans;
    if (m == 0 || n == 0) return;
    if (s->single)
        cblas_sgemm(CblasColMajor, CblasNoTrans, t, (int)m, (int)n, k, 1, a, (int)lda, b, (int)ldb, 1, c,
                    (int)ldc);
    else
        cblas_dgemm(CblasColMajor, CblasNoTrans, t, (int)m, (int)n, k, 1, a, (int)lda, b, (int)ldb, 1, c,
                    (int)ldc);
}

// b (m x n) times L^-1 or its transpose, from the left or the right.
static void times_factor(const struct sweep *s, bool left, bool transposed, int64_t m, int64_t n, void *b) {
    const CBLAS_SIDE side = left ? CblasLeft : CblasRight;
    const CBLAS_TRANSPOSE t = transposed ? CblasTrans : CblasNoTrans;
    if (m == 0 || n == 0) return;
    if (s->single)
        cblas_strmm(CblasColMajor, side, CblasLower, t, CblasNonUnit, (int)m, (int)n, 1,
                    (const float *)s->factor, s->w, b, (int)m);
    else
        cblas_dtrmm(CblasColMajor, side, CblasLower, t, CblasNonUnit, (int)m, (int)n, 1,
                    (const double *)s->factor, s->w, b, (int)m);
}

// Columns between arrays of different leading dimensions.
static void copy(const struct sweep *s, int64_t m, int64_t n, const char *from, int64_t lfrom, char *to,
                 int64_t lto) {
    for (int64_t j = 0; j < n && m > 0; j++)
        memcpy(to + (size_t)(j * lto) * s->width, from + (size_t)(j * lfrom) * s->width,
               (size_t)m * s->width);
}

// to (n x m) = from' (m x n), tile by tile: both are read and written in whole cache lines.
#define TRANSPOSE(T)                                                                                         \
    static void transpose_##T(int64_t m, int64_t n, const T *from, int64_t lfrom, T *to, int64_t lto) {      \
        enum { TILE = 16 };                                                                                  \
        for (int64_t j0 = 0; j0 < n; j0 += TILE)                                                             \
            for (int64_t i0 = 0; i0 < m; i0 += TILE)                                                         \
                for (int64_t i = i0; i < i0 + TILE && i < m; i++)                                            \
                    for (int64_t j = j0; j < j0 + TILE && j < n; j++) to[j + i * lto] = from[i + j * lfrom]; \
    }
TRANSPOSE(float)
TRANSPOSE(double)

static void transpose(const struct sweep *s, int64_t m, int64_t n, const void *from, int64_t lfrom, void *to,
                      int64_t lto) {
    if (s->single)
        transpose_float(m, n, from, lfrom, to, lto);
    else
        transpose_double(m, n, from, lfrom, to, lto);
}

static void negate(const struct sweep *s, int64_t m, int64_t n, char *p, int64_t lead) {
    for (int64_t j = 0; j < n; j++) {
        if (s->single)
            cblas_sscal((int)m, -1, (float *)p + j * lead, 1);
        else
            cblas_dscal((int)m, -1, (double *)p + j * lead, 1);
    }
}

// ---- The diagonal block ----

// L^-1 in place of the block; what potrf said.
static int invert_factor(const struct sweep *s) {
    int info = 0;
    if (s->single) {
        spotrf_("L", &s->w, (float *)s->factor, &s->w, &info);
        if (!info) strtri_("L", "N", &s->w, (float *)s->factor, &s->w, &info);
    } else {
        dpotrf_("L", &s->w, (double *)s->factor, &s->w, &info);
        if (!info) dtrtri_("L", "N", &s->w, (double *)s->factor, &s->w, &info);
    }
    return info;
}

// Collective. 0, or the order of the minor that is not positive.
static int64_t factorize(struct sweep *s) {
    const struct thaw_grid *g = s->g;
    const int root = (int)(s->k % g->nrow) * g->ncol + (int)(s->k % g->ncol), count = s->w * s->w;
    double info = 0;
    if (s->own_row && s->own_col) {
        copy(s, s->w, s->w, element(s->a, s->above, s->left), s->a->desc[8], s->factor, s->w);
        info = invert_factor(s);
        for (int64_t j = 1; j < s->w; j++) memset(offset(s, s->factor, j * s->w), 0, (size_t)j * s->width);
    }
    MPI_Bcast(&info, 1, MPI_DOUBLE, root, g->c->all);
    if (info > 0) return s->at + (int64_t)info;
    MPI_Bcast(s->factor, count, s->type, root, g->c->all);
    return 0;
}

// ---- Panels ----

// Collective. W of the rows below k along process rows, W' of the columns before k along process columns.
static void spread_panels(struct sweep *s) {
    const struct thaw_grid *g = s->g;
    const int64_t rows = s->a->lrows - s->below;
    if (s->own_col) {
        copy(s, rows, s->w, element(s->a, s->below, s->left), s->a->desc[8], s->col_panel, rows);
        times_factor(s, false, true, rows, s->w, s->col_panel);
    }
    MPI_Bcast(s->col_panel, (int)(rows * s->w), s->type, (int)(s->k % g->ncol), g->along_row);
    if (s->own_row) {
        copy(s, s->w, s->left, element(s->a, s->above, 0), s->a->desc[8], s->row_panel, s->w);
        times_factor(s, true, false, s->w, s->left, s->row_panel);
    }
    MPI_Bcast(s->row_panel, (int)(s->left * s->w), s->type, (int)(s->k % g->nrow), g->along_col);
}

static int64_t block_rows(const struct sweep *s, int64_t b) {
    const int64_t rest = s->n - b * s->a->nb;
    return rest < s->a->nb ? rest : s->a->nb;
}

// Blocks [from, to) that lie on process row p and process column q alike: the first, and their distance.
static int64_t common_first(const struct sweep *s, int p, int q, int64_t from, int64_t *distance) {
    const struct thaw_grid *g = s->g;
    int64_t d = g->nrow, b = from;
    while (d % g->ncol) d += g->nrow;
    *distance = d;
    for (; b < from + d; b++)
        if (b % g->nrow == p && b % g->ncol == q) return b;
    return s->n; // none: the grid's sides have a factor in common
}

// Elements of those blocks' panels, for MPI's counts and places.
static int64_t common_count(const struct sweep *s, int p, int q, int64_t from, int64_t to) {
    int64_t d, rows = 0;
    for (int64_t b = common_first(s, p, q, from, &d); b < to; b += d) rows += block_rows(s, b);
    return rows * s->w;
}

// Collective along a process row or column of `size`; (p, q) of its i-th member.
static void gather_common(const struct sweep *s, MPI_Comm along, int size, bool row, int64_t from,
                          int64_t to) {
    const struct thaw_grid *g = s->g;
    int at = 0;
    for (int i = 0; i < size; i++) {
        s->place[i] = at;
        s->count[i] = (int)common_count(s, row ? g->row : i, row ? i : g->col, from, to);
        at += s->count[i];
    }
    MPI_Allgatherv(s->give, s->count[row ? g->col : g->row], s->type, s->take, s->count, s->place, s->type,
                   along);
}

// Collective. Rows before k: blocks of the row panel, turned, into s.
static void turn_rows(struct sweep *s) {
    const struct thaw_grid *g = s->g;
    const int64_t nb = s->a->nb;
    int64_t d, at = 0;
    for (int64_t b = common_first(s, g->row, g->col, 0, &d); b < s->k; b += d, at += nb * s->w)
        copy(s, s->w, nb, offset(s, s->row_panel, b / g->ncol * nb * s->w), s->w, offset(s, s->give, at),
             s->w);
    gather_common(s, g->along_row, g->ncol, true, 0, s->k);
    for (int q = 0; q < g->ncol; q++) {
        at = s->place[q];
        for (int64_t b = common_first(s, g->row, q, 0, &d); b < s->k; b += d, at += nb * s->w)
            transpose(s, s->w, nb, offset(s, s->take, at), s->w, offset(s, s->s, b / g->nrow * nb),
                      s->a->lrows);
    }
}

// Collective. Columns behind k: blocks of the column panel into v.
static void turn_cols(struct sweep *s) {
    const struct thaw_grid *g = s->g;
    const int64_t nb = s->a->nb, blocks = (s->n + nb - 1) / nb, rows = s->a->lrows - s->below;
    int64_t d, at = 0;
    for (int64_t b = common_first(s, g->row, g->col, s->k + 1, &d); b < blocks; b += d) {
        const int64_t m = block_rows(s, b);
        copy(s, m, s->w, offset(s, s->col_panel, b / g->nrow * nb - s->below), rows, offset(s, s->give, at),
             m);
        at += m * s->w;
    }
    gather_common(s, g->along_col, g->nrow, false, s->k + 1, blocks);
    for (int p = 0; p < g->nrow; p++) {
        at = s->place[p];
        for (int64_t b = common_first(s, p, g->col, s->k + 1, &d); b < blocks; b += d) {
            const int64_t m = block_rows(s, b);
            copy(s, m, s->w, offset(s, s->take, at), m, offset(s, s->v, b / g->ncol * nb), s->a->lcols);
            at += m * s->w;
        }
    }
}

// Collective. s and v, from all panels.
static void form_panels(struct sweep *s) {
    const int64_t rows = s->a->lrows;
    spread_panels(s);
    turn_rows(s);
    turn_cols(s);
    copy(s, rows - s->below, s->w, s->col_panel, rows - s->below, offset(s, s->s, s->below), rows);
    negate(s, rows - s->below, s->w, offset(s, s->s, s->below), rows);
    if (s->own_row)
        for (int j = 0; j < s->w; j++)
            memset(offset(s, s->s, s->above + j * rows), 0, (size_t)s->w * s->width);
}

// ---- The step ----

// Rows [row, end) of local columns [from, to): columns before k take W as it lies in the row panel.
static void add_block(const struct sweep *s, int64_t row, int64_t end, int64_t from, int64_t to) {
    const struct thaw_gridmat *a = s->a;
    const bool before = to <= s->left;
    add_product(s, !before, end - row, to - from, s->w, offset(s, s->s, row), a->lrows,
                before ? offset(s, s->row_panel, from * s->w) : offset(s, s->v, from),
                before ? s->w : a->lcols, element(a, row, from), a->desc[8]);
}

// Local columns [from, to), all behind or all before k, rows from their own block on (first: at least this
// one).
static void add_columns(const struct sweep *s, int64_t from, int64_t to, int64_t first) {
    const struct thaw_gridmat *a = s->a;
    const int64_t nb = a->nb, group = GROUP * nb;
    for (int64_t c = from; c < to; c += group) {
        const int64_t end = c + group < to ? c + group : to;
        const int64_t last = thaw_gridmat_col(a, end - 1) + 1;
        int64_t top = thaw_gridmat_rows_below(a, last); // from here on rows are below all of these columns
        if (top < first) top = first;
        add_block(s, top, a->lrows, c, end);
        for (int64_t j = c; j < end; j += nb) {
            int64_t row = thaw_gridmat_rows_below(a, thaw_gridmat_col(a, j));
            if (row < first) row = first;
            if (row < top) add_block(s, row, top, j, j + nb < end ? j + nb : end);
        }
    }
}

// Block row and column k themselves.
static void replace_panels(struct sweep *s) {
    const struct thaw_gridmat *a = s->a;
    const int64_t rows = a->lrows - s->below;
    if (s->own_col) {
        copy(s, rows, s->w, offset(s, s->s, s->below), a->lrows, s->col_panel, rows);
        times_factor(s, false, false, rows, s->w, s->col_panel);
        copy(s, rows, s->w, s->col_panel, rows, element(a, s->below, s->left), a->desc[8]);
    }
    if (s->y) return; // rows before k are not asked for again
    if (s->own_row) {
        times_factor(s, true, true, s->w, s->left, s->row_panel);
        copy(s, s->w, s->left, s->row_panel, s->w, element(a, s->above, 0), a->desc[8]);
    }
    if (s->own_row && s->own_col) {
        copy(s, s->w, s->w, s->factor, s->w, s->give, s->w);
        times_factor(s, true, true, s->w, s->w, s->give);
        copy(s, s->w, s->w, s->give, s->w, element(a, s->above, s->left), a->desc[8]);
    }
}

// Collective.
static void add_right(struct sweep *s) {
    struct thaw_gridmat *y = s->y;
    const struct thaw_grid *g = s->g;
    if (s->own_row) {
        copy(s, s->w, y->lcols, element(y, s->above, 0), y->desc[8], s->z, s->w);
        times_factor(s, true, false, s->w, y->lcols, s->z);
    }
    MPI_Bcast(s->z, (int)(s->w * y->lcols), s->type, (int)(s->k % g->nrow), g->along_col);
    add_product(s, false, y->lrows, y->lcols, s->w, s->s, s->a->lrows, s->z, s->w, y->a, y->desc[8]);
    if (!s->own_row) return;
    times_factor(s, true, true, s->w, y->lcols, s->z);
    copy(s, s->w, y->lcols, s->z, s->w, element(y, s->above, 0), y->desc[8]);
}

// Collective. 0, or the order of the minor that is not positive.
static int64_t step(struct sweep *s, int64_t k) {
    const struct thaw_gridmat *a = s->a;
    s->k = k;
    s->at = k * a->nb;
    s->w = (int)block_rows(s, k);
    s->own_row = k % s->g->nrow == s->g->row;
    s->own_col = k % s->g->ncol == s->g->col;
    s->above = thaw_gridmat_rows_below(a, s->at);
    s->left = thaw_gridmat_cols_below(a, s->at);
    s->below = thaw_gridmat_rows_below(a, s->at + s->w);
    s->right = thaw_gridmat_cols_below(a, s->at + s->w);
    const int64_t minor = factorize(s);
    if (minor) return minor;
    form_panels(s);
    add_columns(s, 0, s->left, s->y ? s->below : 0);
    add_columns(s, s->right, a->lcols, 0);
    if (s->y) add_right(s);
    replace_panels(s);
    return 0;
}

// ---- The whole ----

static int sweep_new(struct sweep *s, struct thaw_err *err) {
    const size_t w = (size_t)s->a->nb, rows = (size_t)s->a->lrows, cols = (size_t)s->a->lcols;
    const size_t most = (rows > cols ? rows : cols) + w, ranks = (size_t)s->g->c->size;
    const char *what = "panels of a matrix";
    int code = thaw_alloc(&s->factor, w * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->s, rows * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->v, cols * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->row_panel, cols * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->col_panel, rows * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->give, most * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->take, most * w, s->width, what, err);
    if (!code && s->y) code = thaw_alloc(&s->z, (size_t)s->y->lcols * w, s->width, what, err);
    if (!code) code = thaw_alloc(&s->count, ranks, sizeof *s->count, what, err);
    if (!code) code = thaw_alloc(&s->place, ranks, sizeof *s->place, what, err);
    return thaw_comm_agree(s->g->c, code, err);
}

static void sweep_free(struct sweep *s) {
    free(s->factor);
    free(s->s);
    free(s->v);
    free(s->row_panel);
    free(s->col_panel);
    free(s->give);
    free(s->take);
    free(s->z);
    free(s->count);
    free(s->place);
}

static int sweep(struct thaw_gridmat *a, struct thaw_gridmat *y, int64_t *minor, struct thaw_err *err) {
    struct sweep s = {.a = a,
                      .y = y,
                      .g = a->g,
                      .single = a->single,
                      .width = a->single ? sizeof(float) : sizeof(double),
                      .type = a->single ? MPI_FLOAT : MPI_DOUBLE,
                      .n = a->rows};
    int64_t found = 0;
    int code = sweep_new(&s, err);
    for (int64_t k = 0; !code && !found && k * a->nb < a->rows; k++) found = step(&s, k);
    sweep_free(&s);
    if (minor) *minor = found;
    return code ? code : thaw_grid_not_positive(found, err);
}

int thaw_grid_inverse(struct thaw_gridmat *a, bool full, int64_t *minor, struct thaw_err *err) {
    if (a->g->c->size == 1) {
        const int code = thaw_grid_potrf(a, minor, err);
        return code ? code : thaw_grid_potri(a, full, err);
    }
    const int code = sweep(a, NULL, minor, err);
    return code || !full ? code : thaw_grid_mirror(a, a->rows, err);
}

int thaw_grid_solve(struct thaw_gridmat *a, struct thaw_gridmat *b, int64_t *minor, struct thaw_err *err) {
    if (a->g->c->size > 1) return sweep(a, b, minor, err);
    const int code = thaw_grid_potrf(a, minor, err);
    return code ? code : thaw_grid_potrs(a, b, err);
}
