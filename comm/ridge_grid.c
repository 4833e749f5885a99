// ridge_grid.c: the normal equations with many features, block-cyclic over a process grid. A row's features
// go to the ranks that hold their pairs; nobody holds the matrix.
//
// Bound by traffic: a row of n features goes to at most min(n^2, ranks) ranks, 8 bytes a feature.
#include "base/log.h"
#include "base/mem.h"
#include "comm/grid.h"
#include "comm/ridge.h"
#include "comm/room.h"
#include "comm/shuffle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEND_BYTES = 16 << 20 };

struct entry {
    uint32_t column; // of z
    float value;
};

struct assembly {
    const struct thaw_ridge *r;
    struct thaw_gridmat left, right; // Z'Z + ridge I, lower triangle; Z'U
    int nrow, ncol;                  // of the grid
    struct entry *of_row, *of_col;   // a row of Z by process row and by process column
    int64_t *row_at, *col_at;        // where theirs begin: nrow + 1, ncol + 1
    char *record;
    int64_t *down; // of a record: how far down its rows stand from its first
    size_t of_row_cap, of_col_cap, record_cap, down_cap;
};
// A record: two counts, then the entries that are rows and those that are columns of the receiver's pairs.
struct head {
    uint32_t rows, cols;
};

static int process_of(const struct assembly *a, int64_t column, int n) {
    return (int)(column / a->left.nb % n);
}

// Entries of a row of Z into `out`, those of process 0 first; at[p]: where process p's begin. Their order
// inside stays.
static void deal(const struct assembly *a, int64_t row, int n, struct entry *out, int64_t *at) {
    const struct thaw_ridge *r = a->r;
    const int64_t entries = thaw_ridge_entries(r, row);
    memset(at, 0, ((size_t)n + 1) * sizeof *at);
    for (int64_t i = -1; i < entries; i++) at[process_of(a, thaw_ridge_column(r, row, i), n) + 1]++;
    for (int p = 0; p < n; p++) at[p + 1] += at[p];
    for (int64_t i = -1; i < entries; i++) {
        const int64_t column = thaw_ridge_column(r, row, i);
        out[at[process_of(a, column, n)]++] =
            (struct entry){(uint32_t)column, (float)thaw_ridge_value(r, row, i)};
    }
    for (int p = n; p > 0; p--) at[p] = at[p - 1];
    at[0] = 0;
}

static int reserve(struct assembly *a, int64_t entries, struct thaw_err *err) {
    const size_t n = (size_t)entries;
    int code = thaw_grow(&a->of_row, &a->of_row_cap, n, sizeof *a->of_row, "a row's features", err);
    if (!code) code = thaw_grow(&a->of_col, &a->of_col_cap, n, sizeof *a->of_col, "a row's features", err);
    if (!code)
        code = thaw_grow(&a->record, &a->record_cap, sizeof(struct head) + 2 * n * sizeof(struct entry), 1,
                         "a row's features", err);
    return code;
}

static int send_row(struct assembly *a, struct thaw_shuffle *s, int64_t row, struct thaw_err *err) {
    int code = reserve(a, thaw_ridge_entries(a->r, row) + 1, err);
    if (code) return code;
    deal(a, row, a->nrow, a->of_row, a->row_at);
    deal(a, row, a->ncol, a->of_col, a->col_at);
    for (int i = 0; i < a->nrow; i++)
        for (int j = 0; j < a->ncol; j++) {
            const struct entry *of_row = a->of_row + a->row_at[i], *of_col = a->of_col + a->col_at[j];
            const int64_t rows = a->row_at[i + 1] - a->row_at[i], cols = a->col_at[j + 1] - a->col_at[j];
            if (!rows || !cols || of_row[rows - 1].column < of_col[0].column) continue; // above the diagonal
            const struct head head = {(uint32_t)rows, (uint32_t)cols};
            const size_t row_bytes = (size_t)rows * sizeof *of_row, col_bytes = (size_t)cols * sizeof *of_col;
            int64_t place;
            memcpy(a->record, &head, sizeof head);
            memcpy(a->record + sizeof head, of_row, row_bytes);
            memcpy(a->record + sizeof head + row_bytes, of_col, col_bytes);
            thaw_shuffle_put(s, thaw_gridmat_owner(&a->left, of_row->column, of_col->column, &place),
                             a->record, sizeof head + row_bytes + col_bytes);
        }
    return THAW_OK;
}

// Adds the pairs of a record. Column-major: what a row adds to a place is the same in every column.
static int add_pairs(struct assembly *a, const struct entry *rows, uint32_t nrows, const struct entry *cols,
                     uint32_t ncols, struct thaw_err *err) {
    double *left = a->left.a;
    int64_t first, place;
    const int code = thaw_grow(&a->down, &a->down_cap, nrows, sizeof *a->down, "a row's features", err);
    if (code) return code;
    thaw_gridmat_owner(&a->left, rows[0].column, cols[0].column, &first);
    for (uint32_t i = 0; i < nrows; i++) {
        thaw_gridmat_owner(&a->left, rows[i].column, cols[0].column, &place);
        a->down[i] = place - first;
    }
    for (uint32_t j = 0; j < ncols; j++) {
        uint32_t i = 0;
        thaw_gridmat_owner(&a->left, rows[0].column, cols[j].column, &first);
        while (i < nrows && rows[i].column < cols[j].column) i++; // above the diagonal
        for (; i < nrows; i++) left[first + a->down[i]] += (double)rows[i].value * cols[j].value;
    }
    return THAW_OK;
}

static int on_records(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct assembly *a = user;
    int code = THAW_OK;
    (void)source;
    for (size_t at = 0; !code && at < n;) {
        const struct head *h = (const void *)((const char *)bytes + at);
        const struct entry *rows = (const void *)(h + 1);
        code = add_pairs(a, rows, h->rows, rows + h->rows, h->cols, err);
        at += sizeof *h + ((size_t)h->rows + h->cols) * sizeof *rows;
    }
    return code;
}

// Collective. Z'Z into the grid's matrix.
static int add_left(struct assembly *a, struct thaw_err *err) {
    const struct thaw_ridge *r = a->r;
    struct thaw_shuffle *s = NULL;
    bool done = false;
    int64_t row = 0;
    int code = thaw_shuffle_new(&s, r->c, SEND_BYTES, on_records, a, err);
    while (!code && !done) {
        int own = THAW_OK;
        for (; !own && row < r->f->nrows && !thaw_shuffle_full(s); row++)
            if (r->use[row]) own = send_row(a, s, row, err);
        code = thaw_shuffle_round(s, row == r->f->nrows, &done, own, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

// Local. The ridge on this rank's part of the diagonal, and its part of Z'U.
static void add_own(struct assembly *a, const double *w) {
    const struct thaw_ridge *r = a->r;
    double *left = a->left.a, *right = a->right.a;
    for (int64_t i = 0; i < a->left.lrows; i++) {
        int64_t place;
        const int64_t row = thaw_gridmat_row(&a->left, i);
        if (thaw_gridmat_owner(&a->left, row, row, &place) == thaw_comm_rank(r->c)) left[place] += r->ridge;
    }
    for (int64_t j = 0; j < a->right.lcols; j++)
        for (int64_t i = 0; i < a->right.lrows; i++)
            right[j * a->right.lrows + i] =
                w[thaw_gridmat_row(&a->right, i) * r->k + thaw_gridmat_col(&a->right, j)];
}

// Collective. The solution to all ranks: every rank's own entries among zeros, added as integers, so exactly.
static void spread(struct assembly *a, double *w) {
    const struct thaw_ridge *r = a->r;
    const double *right = a->right.a;
    memset(w, 0, (size_t)(r->unknowns * r->k) * sizeof *w);
    for (int64_t j = 0; j < a->right.lcols; j++)
        for (int64_t i = 0; i < a->right.lrows; i++)
            w[thaw_gridmat_row(&a->right, i) * r->k + thaw_gridmat_col(&a->right, j)] =
                right[j * a->right.lrows + i];
    thaw_comm_sum_i64(r->c, (int64_t *)(void *)w, r->unknowns * r->k);
}

static int64_t needed_bytes(const struct thaw_ridge *r, int ranks) {
    const int nb = thaw_grid_block(ranks, r->unknowns);
    int nrow, ncol;
    thaw_grid_shape_of(ranks, &nrow, &ncol);
    const int64_t panels = ranks > 1 ? 6 * nb * (r->unknowns / nrow + nb) : 0; // of thaw_grid_solve
    return thaw_grid_nbytes(ranks, r->unknowns, r->unknowns, nb, false) +
           thaw_grid_nbytes(ranks, r->unknowns, r->k, nb, false) + panels * (int64_t)sizeof(double);
}

// Collective. Before anything is allocated: is there room?
static int check_room(const struct thaw_ridge *r, struct thaw_err *err) {
    const int64_t room = thaw_comm_room(r->c), need = needed_bytes(r, thaw_comm_size(r->c));
    int64_t ranks = thaw_comm_size(r->c);
    char needed[16], had[16];
    if (need <= room) return THAW_OK;
    while (ranks < INT32_MAX / 2 && needed_bytes(r, (int)ranks) > room) ranks *= 2;
    return thaw_fail(err, THAW_EMEM,
                     "%" PRId64 " features need %s on each rank, which has %s: use %" PRId64
                     " ranks of as much memory, or fewer features",
                     r->unknowns - 1, thaw_human_bytes(needed, need), thaw_human_bytes(had, room), ranks);
}

// Collective.
static int assembly_new(struct assembly *a, struct thaw_grid *g, struct thaw_err *err) {
    const struct thaw_ridge *r = a->r;
    const int nb = thaw_grid_block(thaw_comm_size(r->c), r->unknowns);
    thaw_grid_shape(g, &a->nrow, &a->ncol);
    int code = thaw_gridmat_new(&a->left, g, r->unknowns, r->unknowns, nb, false, err);
    if (!code) code = thaw_gridmat_new(&a->right, g, r->unknowns, r->k, nb, false, err);
    if (code) return code;
    code = thaw_alloc(&a->row_at, (size_t)a->nrow + 1, sizeof *a->row_at, "a row's features", err);
    if (!code) code = thaw_alloc(&a->col_at, (size_t)a->ncol + 1, sizeof *a->col_at, "a row's features", err);
    return thaw_comm_agree(r->c, code, err);
}

static void assembly_clear(struct assembly *a) {
    thaw_gridmat_clear(&a->left);
    thaw_gridmat_clear(&a->right);
    free(a->of_row);
    free(a->of_col);
    free(a->row_at);
    free(a->col_at);
    free(a->record);
    free(a->down);
}

int thaw_ridge_grid(const struct thaw_ridge *r, double *w, struct thaw_err *err) {
    struct thaw_grid *g = NULL;
    struct assembly a = {.r = r};
    struct thaw_err own = THAW_ERR_INIT;
    int64_t minor = 0;
    int code = check_room(r, err);
    if (!code) code = thaw_grid_new(&g, r->c, err);
    if (!code) code = assembly_new(&a, g, err);
    if (!code) code = add_left(&a, err);
    if (code) goto done;
    add_own(&a, w);
    code = thaw_grid_solve(&a.left, &a.right, &minor, &own);
    if (code == THAW_EDIVERGED)
        thaw_fail(err, code, THAW_RIDGE_SINGULAR, r->unknowns - 1);
    else if (code && err)
        *err = own;
    if (!code) spread(&a, w);
done:
    assembly_clear(&a);
    thaw_grid_free(&g);
    return code;
}
