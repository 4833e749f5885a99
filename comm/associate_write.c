// associate_write.c: from a block-cyclic matrix to part files: each process takes the strongest of its
// columns of a row, the part's owner the strongest of those. One part of each owner at a time.
#include "base/mem.h"
#include "base/npy.h"
#include "comm/associate_impl.h"
#include "comm/shuffle.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXCHANGE_BYTES = 16 << 20, ROWS = 64 };

// ---- The strongest ----

// The m-th largest (from 0) of n numbers, which change places. Hoare's selection.
static float kth_largest(float *v, int64_t n, int64_t m) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const float pivot = v[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i > j) break;
            const float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (m <= j)
            high = j;
        else if (m >= i)
            low = i;
        else
            break;
    }
    return v[m];
}

int64_t thaw_associate_strongest(struct thaw_associate_entry *e, int64_t n, int64_t most, float *magnitude) {
    int64_t kept = 0, above = 0;
    for (int64_t i = 0; i < n; i++)
        if (e[i].value != 0) e[kept++] = e[i];
    if (kept <= most) return kept;
    for (int64_t i = 0; i < kept; i++) magnitude[i] = fabsf(e[i].value);
    const float least = kth_largest(magnitude, kept, most - 1);
    for (int64_t i = 0; i < kept; i++) above += fabsf(e[i].value) > least;
    int64_t equal = most - above, to = 0;
    for (int64_t i = 0; i < kept; i++) {
        const float m = fabsf(e[i].value);
        if (m > least || (m == least && equal-- > 0)) e[to++] = e[i];
    }
    return to;
}

// ---- Sending ----

// A record: this, then n entries. Columns rise.
struct head {
    uint32_t row, profile, n, unused; // item row; is it the item's profile column?
};

struct writer {
    struct thaw_associate *a;
    const struct thaw_associate_system *s;
    const struct thaw_gridmat *m; // rows: items (then profile)
    int64_t most;
    // Of ROWS rows: what is at hand, and scratch.
    struct thaw_associate_entry *entry; // ROWS x local columns
    float *magnitude;                   // ROWS x local columns
    int64_t count[ROWS];
    uint8_t *message;
    size_t message_cap;
    bool bad; // a number that is none
    // The part being received.
    int32_t part;
    struct thaw_associate_entry *came;
    size_t ncame, came_cap;
    struct piece {
        uint32_t row, profile;
        int64_t first, n;
    } * piece;
    size_t npieces, piece_cap;
    int64_t *indptr; // rows + 1
    uint32_t *index;
    float *value;
    float *profile; // rows x (1 + features)
    int64_t *order; // pieces by row
};

static int send(struct writer *w, struct thaw_shuffle *out, int to, const struct head *h,
                const struct thaw_associate_entry *e, struct thaw_err *err) {
    const size_t bytes = sizeof *h + h->n * sizeof *e;
    int code = thaw_grow(&w->message, &w->message_cap, bytes, 1, "neighbours", err);
    if (code) return code;
    memcpy(w->message, h, sizeof *h);
    if (h->n) memcpy(w->message + sizeof *h, e, h->n * sizeof *e);
    thaw_shuffle_put(out, to, w->message, bytes);
    return THAW_OK;
}

// Local rows [from, to), at most ROWS of them: their strongest columns.
static void take_rows(struct writer *w, int64_t from, int64_t to) {
    const struct thaw_gridmat *m = w->m;
    const int64_t cols = thaw_gridmat_cols_below(m, w->a->nitems);
    bool bad = false;
#pragma omp parallel for schedule(static) reduction(|| : bad)
    for (int64_t j = 0; j < cols; j++) {
        const uint32_t z = (uint32_t)thaw_gridmat_col(m, j);
        for (int64_t i = from; i < to; i++) {
            const float x = (float)thaw_gridmat_get(m, j * m->desc[8] + i);
            bad = bad || !isfinite(x);
            w->entry[(i - from) * cols + j] = (struct thaw_associate_entry){z, x};
        }
    }
    w->bad = w->bad || bad;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t i = from; i < to; i++)
        w->count[i - from] = bad ? 0
                                 : thaw_associate_strongest(w->entry + (i - from) * cols, cols, w->most,
                                                            w->magnitude + (i - from) * cols);
}

// Rows of one part, for its owner.
static int send_rows(struct writer *w, struct thaw_shuffle *out, int to, int64_t begin, int64_t end,
                     struct thaw_err *err) {
    const struct thaw_gridmat *m = w->m;
    const int64_t last = thaw_gridmat_rows_below(m, end), cols = thaw_gridmat_cols_below(m, w->a->nitems);
    int code = THAW_OK;
    for (int64_t row = thaw_gridmat_rows_below(m, begin); row < last && !code; row += ROWS) {
        const int64_t stop = row + ROWS < last ? row + ROWS : last;
        take_rows(w, row, stop);
        for (int64_t i = row; i < stop && !code; i++) {
            const struct head h = {.row = (uint32_t)thaw_gridmat_row(m, i), .n = (uint32_t)w->count[i - row]};
            if (h.n) code = send(w, out, to, &h, w->entry + (i - row) * cols, err);
        }
    }
    return code;
}

// Profile columns of one part's items.
static int send_profiles(struct writer *w, struct thaw_shuffle *out, int to, int64_t begin, int64_t end,
                         struct thaw_err *err) {
    const struct thaw_gridmat *m = w->m;
    const int64_t first = thaw_gridmat_rows_below(m, w->a->first_feature),
                  last = thaw_gridmat_cols_below(m, end);
    int code = THAW_OK;
    struct thaw_associate_entry *e = w->entry;
    if (first == m->lrows) return THAW_OK;
    for (int64_t j = thaw_gridmat_cols_below(m, begin); j < last && !code; j++) {
        struct head h = {.row = (uint32_t)thaw_gridmat_col(m, j), .profile = 1};
        for (int64_t i = first; i < m->lrows; i++) {
            const float x = (float)thaw_gridmat_get(m, j * m->desc[8] + i);
            w->bad = w->bad || !isfinite(x);
            e[h.n++] =
                (struct thaw_associate_entry){(uint32_t)(thaw_gridmat_row(m, i) - w->a->first_feature), x};
        }
        code = send(w, out, to, &h, e, err);
    }
    return code;
}

static int deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct writer *w = user;
    const uint8_t *at = bytes, *end = at + n;
    (void)source;
    while (at < end) {
        struct head h;
        memcpy(&h, at, sizeof h);
        at += sizeof h;
        int code =
            thaw_grow(&w->came, &w->came_cap, w->ncame + h.n, sizeof *w->came, "a part's neighbours", err);
        if (!code)
            code = thaw_grow(&w->piece, &w->piece_cap, w->npieces + 1, sizeof *w->piece,
                             "a part's neighbours", err);
        if (code) return code;
        memcpy(w->came + w->ncame, at, h.n * sizeof *w->came);
        at += h.n * sizeof *w->came;
        w->piece[w->npieces++] = (struct piece){h.row, h.profile, (int64_t)w->ncame, h.n};
        w->ncame += h.n;
    }
    return THAW_OK;
}

// Collective. Step t: the t-th part of every owner.
static int exchange(struct writer *w, int t, struct thaw_err *err) {
    const struct thaw_plan *plan = w->a->items;
    struct thaw_shuffle *out = NULL;
    bool done = false;
    int to = 0;
    w->ncame = w->npieces = 0;
    int code = thaw_shuffle_new(&out, w->a->c, EXCHANGE_BYTES, deliver, w, err);
    while (!code && !done) {
        for (; !code && to < plan->nranks && !thaw_shuffle_full(out); to++) {
            const int32_t p = plan->first_part[to] + t;
            if (p >= plan->first_part[to + 1]) continue;
            if (w->s->known > 0 || !w->a->episodic)
                code = send_rows(w, out, to, plan->first_row[p], plan->first_row[p + 1], err);
            if (!code && w->a->episodic)
                code = send_profiles(w, out, to, plan->first_row[p], plan->first_row[p + 1], err);
        }
        if (!code && w->bad)
            code = thaw_fail(err, THAW_EDIVERGED,
                             "the solution has numbers that are none: raise --regularization");
        code = thaw_shuffle_round(out, to == plan->nranks, &done, code, err);
    }
    thaw_shuffle_free(&out);
    return code;
}

// ---- A part ----

static int by_column(const void *a, const void *b) {
    const uint32_t x = ((const struct thaw_associate_entry *)a)->col,
                   y = ((const struct thaw_associate_entry *)b)->col;
    return (x > y) - (x < y);
}

// Pieces by row (profiles left out): order[indptr[r] .. indptr[r + 1]) are row r's.
static void order_pieces(struct writer *w, int64_t first, int64_t rows) {
    memset(w->indptr, 0, ((size_t)rows + 1) * sizeof *w->indptr);
    for (size_t i = 0; i < w->npieces; i++)
        if (!w->piece[i].profile) w->indptr[(int64_t)w->piece[i].row - first + 1]++;
    for (int64_t r = 0; r < rows; r++) w->indptr[r + 1] += w->indptr[r];
    for (size_t i = 0; i < w->npieces; i++)
        if (!w->piece[i].profile) w->order[w->indptr[(int64_t)w->piece[i].row - first]++] = (int64_t)i;
    for (int64_t r = rows; r > 0; r--) w->indptr[r] = w->indptr[r - 1];
    w->indptr[0] = 0;
}

// Row r's pieces joined at `at`; how many are kept. indptr still counts pieces.
static int64_t join_row(struct writer *w, int64_t r, struct thaw_associate_entry *row, float *magnitude) {
    int64_t n = 0;
    const int64_t pieces = w->indptr[r + 1] - w->indptr[r];
    for (int64_t i = w->indptr[r]; i < w->indptr[r + 1]; i++) {
        const struct piece *p = &w->piece[w->order[i]];
        memcpy(row + n, w->came + p->first, (size_t)p->n * sizeof *row);
        n += p->n;
    }
    if (pieces > 1) qsort(row, (size_t)n, sizeof *row, by_column);
    return pieces > 1 ? thaw_associate_strongest(row, n, w->most, magnitude) : n;
}

static void put_profiles(struct writer *w, int64_t first) {
    const int64_t z = 1 + (int64_t)w->a->features;
    for (size_t i = 0; i < w->npieces; i++) {
        const struct piece *p = &w->piece[i];
        for (int64_t j = 0; p->profile && j < p->n; j++)
            w->profile[((int64_t)p->row - first) * z + w->came[p->first + j].col] =
                w->came[p->first + j].value;
    }
}

static int add_entry(struct thaw_associate *a, const char *name, const struct thaw_file_info *info,
                     struct thaw_err *err) {
    Thaw__Association *l = a->list;
    Thaw__File *f = NULL;
    int code = thaw_grow(&l->files, &a->files_cap, l->n_files + 1, sizeof *l->files, "file entries", err);
    if (code) return code;
    if (!(f = malloc(sizeof *f))) return thaw_fail(err, THAW_EMEM, "no memory for a file entry");
    thaw__file__init(f);
    f->name = strdup(name);
    f->nbytes = info->nbytes;
    f->n_sums = (size_t)info->nsums;
    f->sums = malloc(f->n_sums * sizeof *f->sums + 1);
    l->files[l->n_files++] = f;
    if (!f->name || !f->sums) return thaw_fail(err, THAW_EMEM, "no memory for a file entry");
    if (f->n_sums) memcpy(f->sums, info->sums, f->n_sums * sizeof *f->sums);
    return THAW_OK;
}

// what: "items" or "profile"; ext: "indptr.npy", ..., "npy".
static int put(const struct writer *w, const char *what, const char *ext, struct thaw_npy_shape shape,
               const void *data, struct thaw_err *err) {
    char name[128], path[THAW_PATH_MAX];
    struct thaw_file_info info = {0};
    snprintf(name, sizeof name, "associate.n%03d.%s-%05d-of-%05d.%s", w->s->known, what, (int)w->part,
             (int)w->a->items->nparts, ext);
    int code = thaw_path_join(path, w->a->dir, name, err);
    if (!code) code = thaw_npy_put(path, &shape, data, &info, err);
    if (!code) code = add_entry(w->a, name, &info, err);
    thaw_file_info_clear(&info);
    return code;
}

static int put_part(const struct writer *w, int64_t rows, struct thaw_err *err) {
    const int64_t n = w->indptr[rows], z = 1 + (int64_t)w->a->features;
    int code = put(w, "items", "indptr.npy", (struct thaw_npy_shape){THAW_NPY_I64, 1, rows + 1, 1, 8},
                   w->indptr, err);
    if (!code)
        code =
            put(w, "items", "indices.npy", (struct thaw_npy_shape){THAW_NPY_U32, 1, n, 1, 4}, w->index, err);
    if (!code)
        code =
            put(w, "items", "values.npy", (struct thaw_npy_shape){THAW_NPY_F32, 1, n, 1, 4}, w->value, err);
    if (!code && w->a->episodic)
        code =
            put(w, "profile", "npy", (struct thaw_npy_shape){THAW_NPY_F32, 2, rows, z, 4}, w->profile, err);
    return code;
}

static int part_new(struct writer *w, int64_t rows, struct thaw_err *err) {
    const size_t z = w->a->episodic ? 1 + (size_t)w->a->features : 0;
    int code = thaw_alloc(&w->indptr, (size_t)rows + 1, sizeof *w->indptr, "a part", err);
    if (!code) code = thaw_alloc(&w->order, w->npieces, sizeof *w->order, "a part", err);
    if (!code) code = thaw_alloc(&w->index, w->ncame, sizeof *w->index, "a part", err);
    if (!code) code = thaw_alloc(&w->value, w->ncame, sizeof *w->value, "a part", err);
    if (!code) code = thaw_alloc(&w->profile, (size_t)rows * z, sizeof *w->profile, "a part", err);
    return code;
}

static void part_free(struct writer *w) {
    free(w->indptr);
    free(w->order);
    free(w->index);
    free(w->value);
    free(w->profile);
    w->indptr = w->order = NULL;
    w->index = NULL;
    w->value = w->profile = NULL;
}

// Local. What came, as files.
static int write_part(struct writer *w, struct thaw_err *err) {
    const int64_t first = w->a->items->first_row[w->part], rows = w->a->items->first_row[w->part + 1] - first;
    struct thaw_associate_entry *row = NULL;
    float *magnitude = NULL;
    int64_t at = 0;
    int code = part_new(w, rows, err);
    if (!code) code = thaw_alloc(&row, (size_t)w->a->nitems, sizeof *row, "a row", err);
    if (!code) code = thaw_alloc(&magnitude, (size_t)w->a->nitems, sizeof *magnitude, "a row", err);
    if (code) goto done;
    order_pieces(w, first, rows);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t n = join_row(w, r, row, magnitude);
        for (int64_t i = 0; i < n; i++) {
            w->index[at + i] = row[i].col;
            w->value[at + i] = row[i].value;
        }
        w->indptr[r] = at; // where row r + 1's pieces begin is still needed, row r's no more
        at += n;
    }
    w->indptr[rows] = at;
    if (w->a->episodic) put_profiles(w, first);
    code = put_part(w, rows, err);
done:
    free(row);
    free(magnitude);
    part_free(w);
    return code;
}

// ---- All parts ----

int thaw_associate_write(struct thaw_associate *a, const struct thaw_associate_system *s,
                         struct thaw_err *err) {
    struct writer w = {.a = a, .s = s, .m = a->episodic ? &s->y : &s->a};
    const int rank = thaw_comm_rank(a->c);
    const int64_t features = w.m->lrows - thaw_gridmat_rows_below(w.m, a->first_feature);
    const size_t room = (size_t)(ROWS * w.m->lcols + (features > 0 ? features : 0));
    int64_t steps = a->items->first_part[rank + 1] - a->items->first_part[rank];
    w.most = a->config->neighbors > 0 ? a->config->neighbors : INT64_MAX;
    thaw_comm_phase(a->c, "write");
    thaw_comm_max_i64(a->c, &steps, 1);
    int code = thaw_alloc(&w.entry, room, sizeof *w.entry, "neighbours", err);
    if (!code) code = thaw_alloc(&w.magnitude, room, sizeof *w.magnitude, "neighbours", err);
    code = thaw_comm_agree(a->c, code, err);
    for (int t = 0; !code && t < steps; t++) {
        if ((code = exchange(&w, t, err))) break;
        w.part = a->items->first_part[rank] + t;
        if (w.part < a->items->first_part[rank + 1]) code = write_part(&w, err);
        code = thaw_comm_agree(a->c, code, err);
    }
    free(w.entry);
    free(w.magnitude);
    free(w.message);
    free(w.came);
    free(w.piece);
    return code;
}
