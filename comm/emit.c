// emit.c: the last stage of `thaw prepare`: pairs of hashes become pairs of rows, and both orientations are
// written.
//
// A user part asks for the rows of its distinct items, tells the items' owners about each pair with the
// user's row, and is written; then the item parts are sorted and written.
#include "base/hash.h"
#include "base/mem.h"
#include "comm/shuffle.h"
#include "comm/stages.h"
#include "partition/shard.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct emit {
    struct thaw_prep *p;
    struct thaw_ask *ask;
    struct thaw_shuffle *out;
    struct thaw_idset set;   // rows of the part in work
    struct thaw_tally users; // hash -> row, of the part in work
    char *ids;               // rows x width
    int64_t *indptr;         // rows + 1
    int64_t *indices;        // pairs
    float *values;
    int64_t *times;
    double *sums; // of values, one for each own user part
};

// An item as pairs carry it to its owner: part above, place in the part below.
static inline uint64_t item_key(int32_t part, int64_t row) {
    return (uint64_t)part << 32 | (uint64_t)row;
}

static int64_t row_of(void *user, uint64_t hash) {
    const struct thaw_prep *p = user;
    const int64_t *row = thaw_tally_find(&p->items, hash);
    return row ? *row : -1;
}

static int keep_pair(struct thaw_prep *p, const struct thaw_tuple *t, struct thaw_err *err) {
    return thaw_spill_put(p->item_pairs, (int32_t)(t->a >> 32) - p->first_part, t, sizeof *t, err);
}

static int on_pairs(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct emit *e = user;
    const struct thaw_tuple *t = bytes;
    int code = THAW_OK;
    (void)source;
    for (size_t i = 0; i < n / sizeof *t && !code; i++) code = keep_pair(e->p, &t[i], err);
    return code;
}

// Local. Room for the largest part of a side.
static int make_room(struct emit *e, int side, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    const struct thaw_spill *from = side == THAW_USERS ? p->pairs : p->item_pairs;
    int64_t rows = 0, records = 0, width = p->id_width[side];
    for (int32_t k = 0; k < p->own_parts; k++) {
        int64_t n = p->part_rows[side][p->first_part + k], nbytes = thaw_spill_nbytes(p->ids[side], k);
        if (n > rows) rows = n;
        if (nbytes > records) records = nbytes;
    }
    int64_t extra =
        2 * records + rows * (width + 8 + 2 * (int64_t)sizeof(struct thaw_id)) + thaw_tally_nbytes(rows);
    if (p->attributes[side]) extra += thaw_attributes_part_nbytes(p->attributes[side]) + rows * 16;
    int code = thaw_prep_room(p, from, side == THAW_USERS,
                              THAW_PREP_PAIR_BYTES - (int64_t)sizeof(struct thaw_tuple), extra, err);
    size_t nrows = (size_t)rows, n = (size_t)p->work_cap;
    if (!code) code = thaw_alloc(&e->ids, nrows, (size_t)width, "a part's ids", err);
    if (!code) code = thaw_alloc(&e->indptr, nrows + 1, sizeof *e->indptr, "a part's rows", err);
    if (!code) code = thaw_alloc(&e->indices, n, sizeof *e->indices, "a part's interactions", err);
    if (!code) code = thaw_alloc(&e->values, n, sizeof *e->values, "a part's interactions", err);
    if (!code && p->has_time) code = thaw_alloc(&e->times, n, sizeof *e->times, "a part's interactions", err);
    return code;
}

static void free_room(struct emit *e) {
    thaw_prep_room_free(e->p);
    thaw_idset_clear(&e->set);
    thaw_tally_clear(&e->users);
    free(e->ids);
    free(e->indptr);
    free(e->indices);
    free(e->values);
    free(e->times);
    e->ids = NULL;
    e->indptr = e->indices = e->times = NULL;
    e->values = NULL;
}

static int load_rows(struct emit *e, int side, int32_t k, struct thaw_err *err) {
    struct thaw_spill *from = e->p->ids[side];
    int64_t nbytes = thaw_spill_nbytes(from, k);
    int code = thaw_idset_room(&e->set, nbytes, err);
    if (!code) code = thaw_spill_read(from, k, 0, nbytes, e->set.bytes, err);
    if (!code) code = thaw_idset_list(&e->set, err);
    thaw_spill_clear(from, k);
    return code;
}

// The file's entry in the manifest. Takes over info->sums.
static int note_file(struct thaw_prep *p, const char *name, struct thaw_file_info *info,
                     struct thaw_err *err) {
    Thaw__File *f = NULL;
    int code = thaw_grow(&p->files_made, &p->files_cap, p->nfiles + 1, sizeof *p->files_made,
                         "the list of files", err);
    if (!code) code = thaw_alloc(&f, 1, sizeof *f, "the list of files", err);
    if (code) return code;
    thaw__file__init(f);
    f->name = strdup(name);
    if (!f->name) {
        free(f);
        return thaw_fail(err, THAW_EMEM, "no memory for the list of files");
    }
    f->nbytes = info->nbytes;
    f->sums = info->sums;
    f->n_sums = (size_t)info->nsums;
    info->sums = NULL;
    p->files_made[p->nfiles++] = f;
    return THAW_OK;
}

static void fill_ids(struct emit *e, int side) {
    size_t width = (size_t)e->p->id_width[side];
    memset(e->ids, 0, (size_t)e->set.n * width);
    for (int64_t i = 0; i < e->set.n; i++)
        memcpy(e->ids + (size_t)i * width, e->set.id[i].id, e->set.id[i].n);
}

static void put_pair(struct emit *e, int64_t at, const struct thaw_tuple *t) {
    e->indices[at] = (int64_t)t->b;
    e->values[at] = t->value;
    if (e->times) e->times[at] = t->time;
}

// p->work[0..n) as the arrays of a shard, by row (the low half of a); inside a row in the order they come.
static void fill_rows(struct emit *e, int64_t n) {
    const struct thaw_tuple *work = e->p->work;
    memset(e->indptr, 0, (size_t)(e->set.n + 1) * sizeof *e->indptr);
    for (int64_t i = 0; i < n; i++) e->indptr[(uint32_t)work[i].a + 1]++;
    for (int64_t r = 0; r < e->set.n; r++) e->indptr[r + 1] += e->indptr[r];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = e->indptr[(uint32_t)work[i].a]++;
        put_pair(e, at, &work[i]);
        __builtin_prefetch(&e->indices[at + 8],
                           1); // rows take turns: have this one's next lines at hand then
        __builtin_prefetch(&e->values[at + 16], 1);
        if (e->times) __builtin_prefetch(&e->times[at + 8], 1);
    }
    memmove(e->indptr + 1, e->indptr, (size_t)e->set.n * sizeof *e->indptr); // each one is at its row's end
    e->indptr[0] = 0;
}

// Rows whose indices do not rise are sorted, in p->work, which is free by now. One rank sends them in order,
// several do so by turns.
static void sort_rows(struct emit *e) {
    struct thaw_tuple *work = e->p->work;
    for (int64_t r = 0; r < e->set.n; r++) {
        int64_t begin = e->indptr[r], end = e->indptr[r + 1], at = begin + 1;
        while (at < end && e->indices[at - 1] < e->indices[at]) at++;
        if (at >= end) continue;
        for (int64_t i = begin; i < end; i++)
            work[i - begin] =
                (struct thaw_tuple){0, (uint64_t)e->indices[i], e->times ? e->times[i] : 0, e->values[i]};
        thaw_tuple_sort(work, end - begin);
        for (int64_t i = begin; i < end; i++) put_pair(e, i, &work[i - begin]);
    }
}

static int write_part(struct emit *e, int side, int32_t k, int64_t n, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int32_t part = p->first_part + k;
    struct thaw_attributes_csr csr = {0};
    struct thaw_file_info info = {0};
    char name[THAW_PART_FILE];
    if (n != p->part_nnz[side][part] || e->set.n != p->part_rows[side][part])
        return thaw_fail(err, THAW_EBUG, "%s part %" PRId32 ": rows and interactions do not add up",
                         thaw_side_name[side], part);
    int code = THAW_OK;
    fill_ids(e, side);
    if (p->attributes[side])
        code =
            thaw_attributes_rows(p->attributes[side], part, e->ids, e->set.n, p->id_width[side], &csr, err);
    struct thaw_shard_data data = {.nrows = e->set.n,
                                   .nnz = n,
                                   .other_rows = p->totals.rows[!side],
                                   .id_width = p->id_width[side],
                                   .ids = e->ids,
                                   .indptr = e->indptr,
                                   .indices = e->indices,
                                   .values = e->values,
                                   .times = e->times,
                                   .feature_indptr = csr.indptr,
                                   .feature_indices = csr.indices,
                                   .feature_values = csr.values};
    if (!code)
        code = thaw_shard_write(p->unfinished, (enum thaw_side)side, part, p->nparts, &data, &info, err);
    thaw_part_file(name, (enum thaw_side)side, part, p->nparts, "npz");
    if (!code) code = note_file(p, name, &info, err);
    thaw_file_info_clear(&info);
    thaw_attributes_csr_clear(&csr);
    return code;
}

static int load_user_part(struct emit *e, int32_t k, int64_t *n, int64_t *ndistinct, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int code = thaw_prep_stopped(p, err);
    if (!code) code = load_rows(e, THAW_USERS, k, err);
    if (!code) code = thaw_tally_reset(&e->users, e->set.n, err);
    if (code) return code;
    for (int64_t i = 0; i < e->set.n; i++) thaw_tally_at(&e->users, e->set.id[i].hash, i);
    code = thaw_prep_load(p, p->pairs, k, n, err);
    if (!code) code = thaw_prep_distinct(p, *n, ndistinct, err);
    thaw_spill_clear(p->pairs, k);
    return code;
}

// Pairs of hashes, by user, become pairs of a row and an item's key, in the order of both, as arrays.
static int resolve(struct emit *e, int64_t n, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    for (int64_t i = 0, end; i < n; i = end) {
        const int64_t *row = thaw_tally_find(&e->users, p->work[i].a);
        uint64_t user = p->work[i].a;
        if (!row) return thaw_fail(err, THAW_EBUG, "an interaction of a user without a row");
        for (end = i; end < n && p->work[end].a == user; end++) {
            struct thaw_tuple *t = &p->work[end];
            if (end + THAW_TALLY_AHEAD < n) thaw_tally_prefetch(&p->local, t[THAW_TALLY_AHEAD].b);
            int64_t item = *thaw_tally_find(&p->local, t->b);
            if (item < 0) return thaw_fail(err, THAW_EBUG, "an interaction of an item without a row");
            t->a = (uint64_t)*row;
            t->b = item_key(thaw_hash_part(t->b, p->nparts), item);
        }
        thaw_tuple_sort(p->work + i, end - i);
    }
    fill_rows(e, n);
    return THAW_OK;
}

// Tell an item's owner about a pair; the item's key becomes its row.
static int send_pair(struct emit *e, int64_t i, int64_t user_row, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    uint64_t key = (uint64_t)e->indices[i];
    int32_t part = (int32_t)(key >> 32);
    struct thaw_tuple t = {key, (uint64_t)user_row, e->times ? e->times[i] : 0, e->values[i]};
    e->indices[i] = p->first_row[THAW_ITEMS][part] + (uint32_t)key;
    if (p->owner[part] == thaw_comm_rank(p->comm)) return keep_pair(p, &t, err);
    thaw_shuffle_put(e->out, p->owner[part], &t, sizeof t);
    return THAW_OK;
}

// Collective. Pairs go out by rising user row.
static int send_pairs(struct emit *e, int32_t k, int64_t n, int code, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int64_t i = 0, row = 0, first = k < p->own_parts ? p->first_row[THAW_USERS][p->first_part + k] : 0;
    bool done = false;
    do {
        for (; !code && i < n && !thaw_shuffle_full(e->out); i++) {
            while (e->indptr[row + 1] <= i) row++;
            code = send_pair(e, i, first + row, err);
        }
        code = thaw_shuffle_round(e->out, i == n, &done, code, err);
    } while (!code && !done);
    return code;
}

static void note_values(struct emit *e, int32_t k, int64_t n) {
    struct thaw_prep_totals *t = &e->p->totals;
    for (int64_t i = 0; i < n; i++) {
        double v = e->values[i];
        e->sums[k] += v;
        if (v < t->value_min) t->value_min = v;
        if (v > t->value_max) t->value_max = v;
        if (!e->times) continue;
        if (e->times[i] < t->time_min) t->time_min = e->times[i];
        if (e->times[i] > t->time_max) t->time_max = e->times[i];
    }
}

// Collective.
static int emit_users(struct emit *e, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int code = thaw_comm_agree(p->comm, make_room(e, THAW_USERS, err), err);
    for (int32_t k = 0; k < p->most_parts && !code; k++) {
        int64_t n = 0, ndistinct = 0;
        bool mine = k < p->own_parts;
        code = thaw_comm_agree(p->comm, mine ? load_user_part(e, k, &n, &ndistinct, err) : THAW_OK, err);
        if (!code) code = thaw_ask(e->ask, p->hash, ndistinct, p->answer, err);
        if (code) break;
        thaw_prep_answered(p, ndistinct);
        if (mine) code = resolve(e, n, err);
        if ((code = send_pairs(e, k, n, code, err))) break;
        if (mine) code = write_part(e, THAW_USERS, k, n, err);
        if (mine && !code) note_values(e, k, n);
        code = thaw_comm_agree(p->comm, code, err);
        thaw_log_step(p->log, k + 1);
    }
    free_room(e);
    return code;
}

static int emit_items(struct emit *e, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int code = make_room(e, THAW_ITEMS, err);
    for (int32_t k = 0; k < p->own_parts && !code; k++) {
        int64_t n;
        code = thaw_prep_stopped(p, err);
        if (!code) code = load_rows(e, THAW_ITEMS, k, err);
        if (!code) code = thaw_prep_load(p, p->item_pairs, k, &n, err);
        thaw_spill_clear(p->item_pairs, k);
        if (!code) fill_rows(e, n);
        if (!code) sort_rows(e);
        if (!code) code = write_part(e, THAW_ITEMS, k, n, err);
        thaw_log_step(p->log, p->own_parts + k + 1);
    }
    free_room(e);
    return thaw_comm_agree(p->comm, code, err);
}

// Collective. Totals over ranks.
static int share_totals(struct emit *e, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    struct thaw_prep_totals *t = &p->totals;
    double range[2] = {-t->value_min, t->value_max};
    thaw_comm_max_f64(p->comm, range, 2);
    t->value_min = -range[0];
    t->value_max = range[1];
    thaw_comm_min_i64(p->comm, &t->time_min, 1);
    thaw_comm_max_i64(p->comm, &t->time_max, 1);
    return thaw_comm_exact_sum(p->comm, e->sums, p->own_parts, 1, &t->value_sum, err);
}

int thaw_prep_emit(struct thaw_prep *p, struct thaw_err *err) {
    struct emit e = {.p = p};
    thaw_comm_phase(p->comm, "write");
    int code = thaw_alloc(&e.sums, (size_t)p->own_parts, sizeof *e.sums, "sums of parts", err);
    code = thaw_comm_agree(p->comm, code, err);
    thaw_log_phase(p->log, "writing (rank 0's parts)", 2 * (int64_t)p->own_parts, "parts");
    if (!code) code = thaw_ask_new(&e.ask, p->comm, p->owner, p->nparts, p->memory.chunk, row_of, p, err);
    if (!code) code = thaw_shuffle_new(&e.out, p->comm, p->memory.chunk, on_pairs, &e, err);
    if (!code) code = emit_users(&e, err);
    thaw_shuffle_free(&e.out);
    thaw_ask_free(&e.ask);
    thaw_tally_clear(&p->items);
    if (!code) code = emit_items(&e, err);
    if (!code) code = share_totals(&e, err);
    thaw_log_phase_end(p->log);
    free(e.sums);
    return code;
}
