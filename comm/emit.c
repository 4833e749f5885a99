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

// p->work[0..n), sorted, and e->set as the arrays of a shard.
static void fill_arrays(struct emit *e, int side, int64_t n) {
    const struct thaw_prep *p = e->p;
    size_t width = (size_t)p->id_width[side];
    memset(e->ids, 0, (size_t)e->set.n * width);
    memset(e->indptr, 0, (size_t)(e->set.n + 1) * sizeof *e->indptr);
    for (int64_t i = 0; i < e->set.n; i++)
        memcpy(e->ids + (size_t)i * width, e->set.id[i].id, e->set.id[i].n);
    for (int64_t i = 0; i < n; i++) {
        const struct thaw_tuple *t = &p->work[i];
        e->indptr[(uint32_t)t->a + 1]++;
        e->indices[i] = (int64_t)t->b;
        e->values[i] = t->value;
        if (p->has_time) e->times[i] = t->time;
    }
    for (int64_t i = 0; i < e->set.n; i++) e->indptr[i + 1] += e->indptr[i];
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
    thaw_tuple_sort(p->work, n);
    fill_arrays(e, side, n);
    int code = THAW_OK;
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
    if (!code) code = thaw_shard_write(p->cfg->out, (enum thaw_side)side, part, p->nparts, &data, &info, err);
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

// Turn one pair of hashes into rows, and send it to the item's owner. Pairs come by user: *user and *row are
// the last one.
static int resolve(struct emit *e, struct thaw_tuple *t, int64_t first_user, uint64_t *user, int64_t *row,
                   struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int32_t part = thaw_hash_part(t->b, p->nparts);
    int64_t item = *thaw_tally_find(&p->local, t->b);
    if (t->a != *user || *row < 0) {
        const int64_t *found = thaw_tally_find(&e->users, t->a);
        *user = t->a;
        *row = found ? *found : -1;
    }
    if (item < 0 || *row < 0)
        return thaw_fail(err, THAW_EBUG, "an interaction of a user or item without a row");
    struct thaw_tuple to_item = {item_key(part, item), (uint64_t)(first_user + *row), t->time, t->value};
    t->a = (uint64_t)*row;
    t->b = (uint64_t)(p->first_row[THAW_ITEMS][part] + item);
    if (p->owner[part] == thaw_comm_rank(p->comm)) return keep_pair(p, &to_item, err);
    thaw_shuffle_put(e->out, p->owner[part], &to_item, sizeof to_item);
    return THAW_OK;
}

// Collective.
static int send_pairs(struct emit *e, int32_t k, int64_t n, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    int64_t i = 0, first = k < p->own_parts ? p->first_row[THAW_USERS][p->first_part + k] : 0, row = -1;
    uint64_t user = 0;
    int code = THAW_OK;
    bool done = false;
    do {
        for (; !code && i < n && !thaw_shuffle_full(e->out); i++)
            code = resolve(e, &p->work[i], first, &user, &row, err);
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
        for (int64_t i = 0; i < ndistinct; i++) *thaw_tally_find(&p->local, p->hash[i]) = p->answer[i];
        if ((code = send_pairs(e, k, n, err))) break;
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
