// dictionary.c: the ids of each part: first which items there are, later which row each id is.
#include "base/mem.h"
#include "comm/stages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    IDS_FACTOR = 6
}; // bytes of work for each byte of id records: the records, a list, and a map to find repeats

// Local. Room to work on the largest part's ids.
static int reserve_ids(struct thaw_prep *p, int side, struct thaw_err *err) {
    int64_t most = 0;
    char what[64];
    for (int32_t k = 0; k < p->own_parts; k++) {
        int64_t n = IDS_FACTOR * thaw_spill_nbytes(p->ids[side], k) + 4 * thaw_spill_nbytes(p->degrees, k);
        if (n > most) most = n;
    }
    snprintf(what, sizeof what, "the ids of %s", thaw_side_name[side]);
    return thaw_prep_reserve(p, most, what, err);
}

static int load_ids(struct thaw_prep *p, int side, int32_t k, struct thaw_idset *set, struct thaw_err *err) {
    int64_t nbytes = thaw_spill_nbytes(p->ids[side], k);
    int code = thaw_idset_room(set, nbytes, err);
    if (!code) code = thaw_spill_read(p->ids[side], k, 0, nbytes, set->bytes, err);
    if (!code) code = thaw_idset_load(set, &p->local, err);
    return code;
}

static int store_ids(struct thaw_prep *p, int side, int32_t k, const struct thaw_idset *set,
                     struct thaw_err *err) {
    uint8_t record[THAW_ID_RECORD_MAX];
    int code = THAW_OK;
    thaw_spill_clear(p->ids[side], k);
    for (int64_t i = 0; i < set->n && !code; i++) {
        const struct thaw_id *id = &set->id[i];
        code = thaw_spill_put(p->ids[side], k, record,
                              thaw_id_pack(record, id->hash, id->count, id->id, id->n), err);
    }
    return code;
}

// One record for each item, and a degree of 0 in the map.
static int list_items(struct thaw_prep *p, struct thaw_idset *set, struct thaw_err *err) {
    int code = reserve_ids(p, THAW_ITEMS, err);
    for (int32_t k = 0; k < p->own_parts && !code; k++) {
        code = load_ids(p, THAW_ITEMS, k, set, err);
        if (!code) code = thaw_tally_reserve(&p->items, p->items.n + set->n, err);
        if (code) return code;
        for (int64_t i = 0; i < set->n; i++) thaw_tally_at(&p->items, set->id[i].hash, 0);
        code = store_ids(p, THAW_ITEMS, k, set, err);
    }
    return code;
}

int thaw_prep_items(struct thaw_prep *p, struct thaw_err *err) {
    struct thaw_idset set = {0};
    int code = thaw_comm_agree(p->comm, list_items(p, &set, err), err);
    thaw_idset_clear(&set);
    thaw_tally_clear(&p->local);
    if (code) return code;
    p->items_total = p->items.n;
    thaw_comm_sum_i64(p->comm, &p->items_total, 1);
    return THAW_OK;
}

// The degrees of a user part, into p->local.
static int load_degrees(struct thaw_prep *p, int32_t k, struct thaw_prep_count **buffer, size_t *cap,
                        struct thaw_err *err) {
    int64_t nbytes = thaw_spill_nbytes(p->degrees, k), n = nbytes / (int64_t)sizeof **buffer;
    int code = thaw_grow(buffer, cap, (size_t)n, sizeof **buffer, "the degrees of a part", err);
    if (!code) code = thaw_spill_read(p->degrees, k, 0, nbytes, *buffer, err);
    if (!code) code = thaw_tally_reset(&p->local, n, err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++) *thaw_tally_at(&p->local, (*buffer)[i].hash, 0) = (*buffer)[i].count;
    thaw_spill_clear(p->degrees, k);
    return THAW_OK;
}

// Note how many rows have this degree.
static int note_degree(struct thaw_prep *p, int side, int64_t degree, struct thaw_err *err) {
    int64_t *rows = thaw_tally_find(&p->degree_rows[side], (uint64_t)degree);
    if (!rows) {
        int code = thaw_tally_reserve(&p->degree_rows[side], p->degree_rows[side].n + 1, err);
        if (code) return code;
        rows = thaw_tally_at(&p->degree_rows[side], (uint64_t)degree, 0);
    }
    ++*rows;
    return THAW_OK;
}

// Which ids are rows: those with interactions or attributes. The rest of the set is cut off.
static int pick_rows(struct thaw_prep *p, int side, int32_t part, struct thaw_idset *set,
                     struct thaw_err *err) {
    const struct thaw_tally *degrees = side == THAW_USERS ? &p->local : &p->items;
    int64_t n = 0;
    for (int64_t i = 0; i < set->n; i++) {
        struct thaw_id id = set->id[i];
        bool described = id.count > 0;
        const int64_t *degree = thaw_tally_find(degrees, id.hash);
        id.count = degree && *degree > 0 ? *degree : 0;
        if (id.count == 0 && !described) continue;
        if (id.count == 0) p->totals.attribute_only[side]++;
        if (id.count > 0) {
            int code = note_degree(p, side, id.count, err);
            if (code) return code;
        }
        p->part_nnz[side][part] += id.count;
        if (id.n > p->id_width[side]) p->id_width[side] = id.n;
        set->id[n++] = id;
    }
    if (n > UINT32_MAX)
        return thaw_fail(err, THAW_EUSAGE, "part %" PRId32 " has over 2^32 rows: raise --parts", part);
    p->part_rows[side][part] = set->n = n;
    return THAW_OK;
}

static int number_side(struct thaw_prep *p, int side, struct thaw_idset *set, struct thaw_err *err) {
    struct thaw_prep_count *buffer = NULL;
    size_t cap = 0;
    int code = reserve_ids(p, side, err);
    for (int32_t k = 0; k < p->own_parts && !code; k++) {
        code = load_ids(p, side, k, set, err);
        if (!code && side == THAW_USERS) code = load_degrees(p, k, &buffer, &cap, err);
        if (!code) code = pick_rows(p, side, p->first_part + k, set, err);
        if (code) break;
        thaw_idset_sort(set);
        if (side == THAW_ITEMS)
            for (int64_t i = 0; i < set->n; i++) *thaw_tally_find(&p->items, set->id[i].hash) = i;
        code = store_ids(p, side, k, set, err);
    }
    free(buffer);
    return code;
}

// Collective. What all ranks know of a side.
static void share_side(struct thaw_prep *p, int side) {
    int64_t width = p->id_width[side], *first = p->first_row[side];
    thaw_comm_sum_i64(p->comm, p->part_rows[side], p->nparts);
    thaw_comm_sum_i64(p->comm, p->part_nnz[side], p->nparts);
    thaw_comm_sum_i64(p->comm, &p->totals.attribute_only[side], 1);
    thaw_comm_max_i64(p->comm, &width, 1);
    p->id_width[side] = (int32_t)width;
    for (int32_t i = 0; i < p->nparts; i++) first[i + 1] = first[i] + p->part_rows[side][i];
    p->totals.rows[side] = first[p->nparts];
}

// Local. Will each item part fit when it is written? Better known before anything is.
static int check_items(struct thaw_prep *p, struct thaw_err *err) {
    int64_t most = 0;
    int32_t part = 0;
    char what[80];
    for (int32_t i = p->first_part; i < p->first_part + p->own_parts; i++)
        if (p->part_nnz[THAW_ITEMS][i] > most) most = p->part_nnz[THAW_ITEMS][part = i];
    snprintf(what, sizeof what, "the %" PRId64 " interactions of items part %" PRId32, most, part);
    return thaw_prep_reserve(p, most * THAW_PREP_PAIR_BYTES, what, err);
}

int thaw_prep_number(struct thaw_prep *p, struct thaw_err *err) {
    struct thaw_idset set = {0};
    int code = THAW_OK;
    for (int side = 0; side < 2 && !code; side++) {
        code = thaw_comm_agree(p->comm, number_side(p, side, &set, err), err);
        if (!code) share_side(p, side);
    }
    thaw_idset_clear(&set);
    thaw_tally_clear(&p->local);
    if (code) return code;
    code = check_items(p, err);
    p->ledger.pairs = 0;
    for (int32_t i = 0; i < p->nparts; i++) p->ledger.pairs += p->part_nnz[THAW_USERS][i];
    if (!code && p->ledger.pairs == 0)
        code = thaw_fail(err, THAW_EDATA,
                         "no interactions are left: %" PRId64 " pairs were not above zero, %" PRId64
                         " fell to --min-user and --min-item",
                         p->ledger.not_positive, p->ledger.filtered);
    return thaw_comm_agree(p->comm, code, err);
}
