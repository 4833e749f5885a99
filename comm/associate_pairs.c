// associate_pairs.c: weighted gramians of the histories, straight into block-cyclic form.
//
// Each process of the grid gets every training user's items among its rows and among its columns, and adds
// up the pairs that fall to it, column by column: about nnz (1 / grid rows + 1 / grid columns) words a rank,
// which is less than the pairs themselves or than reducing dense sums. Sums are integers of an agreed scale
// (base/exact.h), so they do not depend on the grid, nor on threads; only where a rank cannot hold its
// histories at once are they rounded in between. Bound by the second-level cache: one pair adds to one or two
// cache lines of the column's sums, for all systems at once.
#include "base/exact.h"
#include "base/mem.h"
#include "comm/associate_impl.h"
#include "comm/shuffle.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { EXCHANGE_MOST = 32 << 20, EXCHANGE_LEAST = 64 << 10 };

struct thaw_associate_weights thaw_associate_weigh(bool episodic, int known, int64_t length) {
    if (!episodic) return (struct thaw_associate_weights){.pair = 1, .diagonal = 1};
    const double l = (double)length, n = known < length ? known : l - 1;
    struct thaw_associate_weights w = {.diagonal = n / l, .profile = n / l, .rest = 1 - n / l};
    if (length > 1) {
        w.pair = n * (n - 1) / (l * (l - 1));
        w.target = n * (l - n) / (l * (l - 1));
    }
    return w;
}

// A user as one process gets it: this, then `rows` and `cols` local indices (items, then features; rising),
// then the values of the features among the rows and among the columns.
struct head {
    uint32_t length; // items of the user in all
    uint32_t row_items, row_features, col_items, col_features;
};
enum { HEAD_WORDS = sizeof(struct head) / sizeof(uint32_t) };

struct record {
    struct head n;
    const uint32_t *row, *col;
    const float *row_value, *col_value;
    size_t words;
};

static struct record record_at(const uint32_t *word) {
    struct record r;
    memcpy(&r.n, word, sizeof r.n);
    r.row = word + HEAD_WORDS;
    r.col = r.row + r.n.row_items + r.n.row_features;
    r.row_value = (const float *)(r.col + r.n.col_items + r.n.col_features);
    r.col_value = r.row_value + r.n.row_features;
    r.words = (size_t)(r.col_value + r.n.col_features - (const float *)word);
    return r;
}

struct pairs {
    struct thaw_associate *a;
    struct thaw_associate_system *s;
    int n;     // systems
    int width; // sums of a pair: a's of each system, then y's; padded to a power of two
    int scale, feature_scale;
    int nrow, ncol, row, col; // the grid, and where this rank stands
    // The user being sent: its unknowns by process row and by process column.
    struct cut {
        uint32_t *local;
        float *value;
        int64_t *first; // count + 1: where each process's begin
        int64_t *items; // of them, how many are items
        size_t local_cap, value_cap;
    } rows, cols;
    uint32_t *message;
    size_t message_cap;
    // What came: records one after the other.
    uint32_t *word;
    size_t nwords, words_cap;
    int64_t nrecords;
    // Being added up:
    struct thaw_gridmat *m[2 * THAW_ASSOCIATE_BATCH]; // NULL: padding
    size_t *record;                                   // nrecords: where each begins
    int64_t *pair;                                    // nrecords x width: weights of item x item
    double *profile;                                  // nrecords x width: of profile x item
    int64_t *diagonal;                                // nrecords x n
    int64_t *first;                                   // local columns + 1: records with that column
    uint32_t *user;                                   // first[local columns]
};

// ---- Sending ----

static int cut_new(struct cut *k, int count, struct thaw_err *err) {
    int code = thaw_alloc(&k->first, (size_t)count + 1, sizeof *k->first, "a user's items", err);
    if (!code) code = thaw_alloc(&k->items, (size_t)count + 1, sizeof *k->items, "a user's items", err);
    return code;
}

static void cut_free(struct cut *k) {
    free(k->local);
    free(k->value);
    free(k->first);
    free(k->items);
}

// The unknowns of user r: entry at < items is an item, then the constant, then features.
static int64_t unknown_of(const struct pairs *p, int64_t r, int64_t at, int64_t items, float *value) {
    const struct thaw_histories *h = p->a->h;
    *value = 1;
    if (at < items) return h->item[h->ptr[r] + at];
    if (at == items) return p->a->first_feature;
    const int64_t from = h->profile.ptr[r] + at - items - 1;
    *value = h->profile.value[from];
    return p->a->first_feature + 1 + (int64_t)h->profile.column[from];
}

static int64_t unknowns_of(const struct pairs *p, int64_t r, int64_t items) {
    const struct thaw_features *f = &p->a->h->profile;
    if (!p->a->episodic) return items;
    return items + 1 + (p->a->features ? f->ptr[r + 1] - f->ptr[r] : 0);
}

// Deal user r's unknowns to `count` processes in blocks.
static int cut_user(const struct pairs *p, struct cut *k, int64_t r, int count, struct thaw_err *err) {
    const int64_t items = thaw_histories_length(p->a->h, r), all = unknowns_of(p, r, items), nb = p->a->block;
    float value;
    int code = thaw_grow(&k->local, &k->local_cap, (size_t)all, sizeof *k->local, "a user's items", err);
    if (!code)
        code = thaw_grow(&k->value, &k->value_cap, (size_t)all, sizeof *k->value, "a user's items", err);
    if (code) return code;
    memset(k->first, 0, ((size_t)count + 1) * sizeof *k->first);
    memset(k->items, 0, ((size_t)count + 1) * sizeof *k->items);
    for (int64_t i = 0; i < all; i++) {
        const int64_t owner = unknown_of(p, r, i, items, &value) / nb % count;
        k->first[owner + 1]++;
        k->items[owner] += i < items;
    }
    for (int q = 0; q < count; q++) k->first[q + 1] += k->first[q];
    for (int64_t i = 0; i < all; i++) {
        const int64_t z = unknown_of(p, r, i, items, &value), owner = z / nb % count, to = k->first[owner]++;
        k->local[to] = (uint32_t)(z / nb / count * nb + z % nb);
        k->value[to] = value;
    }
    for (int q = count; q > 0; q--) k->first[q] = k->first[q - 1];
    k->first[0] = 0;
    return THAW_OK;
}

static void put_words(struct pairs *p, size_t *at, const void *words, int64_t n) {
    if (n) memcpy(p->message + *at, words, (size_t)n * sizeof(uint32_t));
    *at += (size_t)n;
}

static int send_to(struct pairs *p, struct thaw_shuffle *out, int64_t length, int q, int r,
                   struct thaw_err *err) {
    const struct cut *rows = &p->rows, *cols = &p->cols;
    const int64_t row = rows->first[q], nrows = rows->first[q + 1] - row, row_items = rows->items[q];
    const int64_t col = cols->first[r], ncols = cols->first[r + 1] - col, col_items = cols->items[r];
    const struct head h = {(uint32_t)length, (uint32_t)row_items, (uint32_t)(nrows - row_items),
                           (uint32_t)col_items, (uint32_t)(ncols - col_items)};
    const size_t words = HEAD_WORDS + 2 * (size_t)(nrows + ncols);
    size_t at = 0;
    if (!nrows || !ncols) return THAW_OK;
    int code = thaw_grow(&p->message, &p->message_cap, words, sizeof *p->message, "a user's items", err);
    if (code) return code;
    put_words(p, &at, &h, HEAD_WORDS);
    put_words(p, &at, rows->local + row, nrows);
    put_words(p, &at, cols->local + col, ncols);
    put_words(p, &at, rows->value + row + row_items, nrows - row_items);
    put_words(p, &at, cols->value + col + col_items, ncols - col_items);
    thaw_shuffle_put(out, q * p->ncol + r, p->message, at * sizeof *p->message);
    return THAW_OK;
}

static int send_user(struct pairs *p, struct thaw_shuffle *out, int64_t r, struct thaw_err *err) {
    const int64_t length = thaw_histories_length(p->a->h, r);
    int code = cut_user(p, &p->rows, r, p->nrow, err);
    if (!code) code = cut_user(p, &p->cols, r, p->ncol, err);
    for (int q = 0; !code && q < p->nrow; q++)
        for (int t = 0; !code && t < p->ncol; t++) code = send_to(p, out, length, q, t, err);
    return code;
}

// ---- Receiving ----

static int deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct pairs *p = user;
    const size_t words = n / sizeof(uint32_t);
    (void)source;
    int code = thaw_grow(&p->word, &p->words_cap, p->nwords + words, sizeof *p->word, "histories", err);
    if (code) return code;
    memcpy(p->word + p->nwords, bytes, n);
    for (size_t at = p->nwords; at < p->nwords + words; p->nrecords++) at += record_at(p->word + at).words;
    p->nwords += words;
    return THAW_OK;
}

static int64_t fixed(double x, int scale) {
    return llrint(ldexp(x, scale));
}

// Weights of record i.
static void weigh_record(struct pairs *p, int64_t i, int64_t length) {
    for (int s = 0; s < p->n; s++) {
        const struct thaw_associate_weights w = thaw_associate_weigh(p->a->episodic, p->s[s].known, length);
        p->pair[i * p->width + s] = fixed(w.pair, p->scale);
        p->profile[i * p->width + s] = ldexp(w.profile, p->feature_scale);
        p->diagonal[i * p->n + s] = fixed(w.diagonal, p->scale);
        if (!p->a->episodic) continue;
        p->pair[i * p->width + p->n + s] = fixed(w.target, p->scale);
        p->profile[i * p->width + p->n + s] = ldexp(w.rest, p->feature_scale);
    }
}

// Records by column.
static int index_records(struct pairs *p, struct thaw_err *err) {
    const size_t n = (size_t)p->nrecords, width = (size_t)p->width, cols = (size_t)p->m[0]->lcols;
    size_t at = 0;
    int code = thaw_alloc(&p->record, n, sizeof *p->record, "histories", err);
    if (!code) code = thaw_alloc(&p->pair, n * width, sizeof *p->pair, "histories", err);
    if (!code) code = thaw_alloc(&p->profile, n * width, sizeof *p->profile, "histories", err);
    if (!code) code = thaw_alloc(&p->diagonal, n * (size_t)p->n, sizeof *p->diagonal, "histories", err);
    if (!code) code = thaw_alloc(&p->first, cols + 2, sizeof *p->first, "histories", err);
    if (code) return code;
    for (size_t i = 0; i < n; i++) {
        const struct record r = record_at(p->word + at);
        p->record[i] = at;
        at += r.words;
        weigh_record(p, (int64_t)i, r.n.length);
        for (uint32_t j = 0; j < r.n.col_items + r.n.col_features; j++) p->first[r.col[j] + 2]++;
    }
    for (size_t c = 0; c < cols; c++) p->first[c + 2] += p->first[c + 1];
    if ((code = thaw_alloc(&p->user, (size_t)p->first[cols + 1], sizeof *p->user, "histories", err)))
        return code;
    for (size_t i = 0; i < n; i++) {
        const struct record r = record_at(p->word + p->record[i]);
        for (uint32_t j = 0; j < r.n.col_items + r.n.col_features; j++)
            p->user[p->first[r.col[j] + 1]++] = (uint32_t)i;
    }
    return THAW_OK;
}

static void records_clear(struct pairs *p) {
    free(p->record);
    free(p->pair);
    free(p->profile);
    free(p->diagonal);
    free(p->first);
    free(p->user);
    p->record = NULL;
    p->pair = p->diagonal = p->first = NULL;
    p->profile = NULL;
    p->user = NULL;
    p->nwords = 0;
    p->nrecords = 0;
}

// ---- Adding ----

// The inner loop: for each row, its `width` sums.
static inline __attribute__((always_inline)) void add_rows(int64_t *sum, const uint32_t *row, int64_t n,
                                                           const int64_t *w, int width) {
    for (int64_t i = 0; i < n; i++) {
        int64_t *s = sum + (int64_t)row[i] * width;
        for (int k = 0; k < width; k++) s[k] += w[k];
    }
}

static void add_items(int64_t *sum, const uint32_t *row, int64_t n, const int64_t *w, int width) {
    switch (width) {
    case 1:
        add_rows(sum, row, n, w, 1);
        break;
    case 2:
        add_rows(sum, row, n, w, 2);
        break;
    case 4:
        add_rows(sum, row, n, w, 4);
        break;
    default:
        add_rows(sum, row, n, w, 8);
    }
}

// First of n rising numbers that is not below x.
static int64_t lower_bound(const uint32_t *v, int64_t n, int64_t x) {
    int64_t low = 0, high = n;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (v[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_item_column(const struct pairs *p, int64_t i, int64_t below, int64_t *sum) {
    const struct record r = record_at(p->word + p->record[i]);
    const int64_t from = lower_bound(r.row, r.n.row_items, below);
    const double *w = p->profile + i * p->width;
    add_items(sum, r.row + from, r.n.row_items - from, p->pair + i * p->width, p->width);
    for (uint32_t f = 0; f < r.n.row_features; f++) {
        int64_t *s = sum + (int64_t)r.row[r.n.row_items + f] * p->width;
        for (int k = 0; k < p->width; k++) s[k] += llrint(w[k] * (double)r.row_value[f]);
    }
}

static void add_feature_column(const struct pairs *p, int64_t i, int64_t col, int64_t from, int64_t *sum) {
    const struct record r = record_at(p->word + p->record[i]);
    const uint32_t *cols = r.col + r.n.col_items;
    double own = 0;
    for (uint32_t f = 0; f < r.n.col_features; f++)
        if (cols[f] == col) own = (double)r.col_value[f];
    own = ldexp(own, p->feature_scale);
    for (uint32_t f = 0; f < r.n.row_features; f++) {
        const uint32_t row = r.row[r.n.row_items + f];
        if (row < from) continue;
        const int64_t x = llrint(own * (double)r.row_value[f]);
        for (int k = 0; k < p->n; k++) sum[(int64_t)row * p->width + k] += x;
    }
}

// Sums of local rows [from, rows) join column `col` of the matrices.
static void flush(const struct pairs *p, int64_t col, int64_t from, const int64_t *sum) {
    for (int k = 0; k < p->width; k++) {
        struct thaw_gridmat *m = p->m[k];
        if (!m || col >= m->lcols) continue;
        const int64_t items = thaw_gridmat_rows_below(m, p->a->nitems), at = col * m->desc[8];
        const double unit[2] = {ldexp(1, -p->scale), ldexp(1, -p->feature_scale)};
        for (int64_t row = from; row < m->lrows; row++) {
            const double x = (double)sum[row * p->width + k] * unit[row >= items];
            if (m->single)
                ((float *)m->a)[at + row] += (float)x;
            else
                ((double *)m->a)[at + row] += x;
        }
    }
}

static void add_diagonal(const struct pairs *p, int64_t col, int64_t z) {
    for (int s = 0; s < p->n; s++) {
        struct thaw_gridmat *m = p->m[s];
        int64_t place, sum = 0;
        if (thaw_gridmat_owner(m, z, z, &place) != thaw_comm_rank(p->a->c)) return;
        for (int64_t j = p->first[col]; j < p->first[col + 1]; j++)
            sum += p->diagonal[(int64_t)p->user[j] * p->n + s];
        thaw_gridmat_set(m, place, thaw_gridmat_get(m, place) + ldexp((double)sum, -p->scale));
    }
}

// sum: local rows x width.
static void add_column(const struct pairs *p, int64_t col, int64_t *sum) {
    const struct thaw_gridmat *m = p->m[0];
    const int64_t z = thaw_gridmat_col(m, col);
    const bool item = z < p->a->nitems;
    const int64_t from = thaw_gridmat_rows_below(m, item ? z + 1 : z); // rows below the diagonal, or on it
    if (from == m->lrows) return;
    memset(sum + from * p->width, 0, (size_t)((m->lrows - from) * p->width) * sizeof *sum);
    for (int64_t j = p->first[col]; j < p->first[col + 1]; j++) {
        if (item)
            add_item_column(p, p->user[j], from, sum);
        else
            add_feature_column(p, p->user[j], col, from, sum);
    }
    flush(p, col, from, sum);
}

// Local. All records of the store.
static int add_records(struct pairs *p, struct thaw_err *err) {
    const int64_t rows = p->m[0]->lrows, cols = p->m[0]->lcols;
    const int threads = omp_get_max_threads();
    int64_t *sums = NULL; // threads x rows x width
    int code = index_records(p, err);
    if (!code)
        code = thaw_alloc(&sums, (size_t)(rows * p->width) * (size_t)threads, sizeof *sums, "sums", err);
    if (!code) {
#pragma omp parallel for schedule(dynamic, 4)
        for (int64_t col = 0; col < cols; col++) {
            const int64_t z = thaw_gridmat_col(p->m[0], col);
            add_column(p, col, sums + omp_get_thread_num() * rows * p->width);
            if (z < p->a->nitems) add_diagonal(p, col, z);
        }
    }
    free(sums);
    records_clear(p);
    return code;
}

// ---- The whole ----

// Collective. The scales: no sum can grow beyond its bound.
static void choose_scales(struct pairs *p) {
    const struct thaw_features *f = &p->a->h->profile;
    double largest = 1;
    const int64_t n = p->a->features ? f->ptr[f->nrows] : 0;
    for (int64_t i = 0; i < n; i++)
        if (fabs((double)f->value[i]) > largest) largest = fabs((double)f->value[i]);
    thaw_comm_max_f64(p->a->c, &largest, 1);
    const double users = (double)(p->a->h->training_users + 1);
    p->scale = thaw_exact_scale(users);
    p->feature_scale = thaw_exact_scale(users * largest * largest);
}

static int pairs_new(struct pairs *p, struct thaw_err *err) {
    for (int s = 0; s < p->n; s++) {
        p->m[s] = &p->s[s].a;
        if (p->a->episodic) p->m[p->n + s] = &p->s[s].y;
    }
    for (p->width = 1; p->width < (p->a->episodic ? 2 : 1) * p->n;) p->width *= 2;
    thaw_grid_shape(p->a->grid, &p->nrow, &p->ncol);
    int code = cut_new(&p->rows, p->nrow, err);
    return code ? code : cut_new(&p->cols, p->ncol, err);
}

static void pairs_free(struct pairs *p) {
    records_clear(p);
    cut_free(&p->rows);
    cut_free(&p->cols);
    free(p->message);
    free(p->word);
}

static int64_t exchange_bytes(const struct thaw_associate *a) {
    const int64_t half = a->store / 2;
    return half < EXCHANGE_LEAST ? EXCHANGE_LEAST : half > EXCHANGE_MOST ? EXCHANGE_MOST : half;
}

int thaw_associate_pairs(struct thaw_associate *a, struct thaw_associate_system *s, int n,
                         struct thaw_err *err) {
    struct pairs p = {.a = a, .s = s, .n = n};
    const struct thaw_histories *h = a->h;
    struct thaw_shuffle *out = NULL;
    bool done = false;
    int64_t r = 0;
    thaw_comm_phase(a->c, "count");
    int code = thaw_comm_agree(a->c, pairs_new(&p, err), err);
    if (!code) code = thaw_shuffle_new(&out, a->c, exchange_bytes(a), deliver, &p, err);
    if (code) goto end;
    choose_scales(&p);
    while (!done) {
        for (; !code && r < h->nusers && !thaw_shuffle_full(out); r++)
            if (!h->held_out[r] && thaw_histories_length(h, r) > 0) code = send_user(&p, out, r, err);
        if ((code = thaw_shuffle_round(out, r == h->nusers, &done, code, err))) goto end;
        if (!done && (int64_t)(p.nwords * sizeof *p.word) > a->store) code = add_records(&p, err);
    }
    if (!code) code = add_records(&p, err);
    code = thaw_comm_agree(a->c, code, err);
end:
    thaw_shuffle_free(&out);
    pairs_free(&p);
    return code;
}
