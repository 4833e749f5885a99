// stages.c: what the stages of `thaw prepare` share: the memory plan, the part in work, reports to the items'
// owners.
#include "comm/stages.h"

#include "base/hash.h"
#include "base/mem.h"
#include "comm/shuffle.h"
#include "partition/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIXED_MOST = 64 << 20,
    CHUNK_LEAST = 4 << 10,
    CHUNK_MOST = 16 << 20,
    SEEN_MOST = 32 << 20,
    SEEN_CACHES = 4
};
enum { BLOCK_LEAST = 256, BLOCK_MOST = 64 << 10, STORES = 6, BLOCKS_PER_BUCKET = 4 };

static int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

// An eighth, at most 64 MiB, for the program, MPI and file readers; exchange buffers; caches of ids that were
// sent; the rest for records.
static void plan_memory(struct thaw_prep *p) {
    struct thaw_prep_memory *m = &p->memory;
    m->total = p->cfg->memory_bytes;
    m->fixed = clamp(m->total / 8, 0, FIXED_MOST);
    m->chunk = p->cfg->chunk_bytes > 0 ? p->cfg->chunk_bytes : clamp(m->total / 32, CHUNK_LEAST, CHUNK_MOST);
    m->seen = 1024;
    while (m->seen * 2 <= clamp(m->total / 64, 1024, SEEN_MOST)) m->seen *= 2;
    m->pool = m->total - m->fixed - 4 * m->chunk - SEEN_CACHES * m->seen;
    m->planned_peak = m->total;
}

// Blocks so small that every bucket can have some, so that a flush writes runs of whole blocks.
static int64_t block_bytes(const struct thaw_prep *p) {
    int64_t buckets = (int64_t)p->most_parts * STORES * BLOCKS_PER_BUCKET;
    int64_t block = clamp(p->memory.pool / buckets, BLOCK_LEAST, BLOCK_MOST);
    return block >= 4096 ? block / 4096 * 4096 : block;
}

static int make_stores(struct thaw_prep *p, struct thaw_err *err) {
    int32_t n = p->own_parts;
    if (p->memory.pool < p->memory.total / 8)
        return thaw_fail(err, THAW_EUSAGE,
                         "--memory %" PRId64 " is too small for --chunk %" PRId64 ": give at least %" PRId64,
                         p->memory.total, p->memory.chunk, 8 * p->memory.chunk);
    int code = thaw_spill_pool_new(&p->pool, p->cfg->out, p->memory.pool, block_bytes(p), err);
    if (!code) code = thaw_spill_new(&p->pairs, p->pool, n, err);
    if (!code) code = thaw_spill_new(&p->degrees, p->pool, n, err);
    if (!code) code = thaw_spill_new(&p->reports, p->pool, n, err);
    if (!code) code = thaw_spill_new(&p->item_pairs, p->pool, n, err);
    for (int side = 0; side < 2 && !code; side++) code = thaw_spill_new(&p->ids[side], p->pool, n, err);
    return code;
}

static int make_maps(struct thaw_prep *p, struct thaw_err *err) {
    size_t n = (size_t)p->nparts;
    int code = thaw_alloc(&p->owner, n, sizeof *p->owner, "parts", err);
    for (int side = 0; side < 2 && !code; side++) {
        code = thaw_alloc(&p->part_rows[side], n, sizeof(int64_t), "parts", err);
        if (!code) code = thaw_alloc(&p->part_nnz[side], n, sizeof(int64_t), "parts", err);
        if (!code) code = thaw_alloc(&p->first_row[side], n + 1, sizeof(int64_t), "parts", err);
    }
    if (code) return code;
    int size = thaw_comm_size(p->comm);
    for (int r = 0; r < size; r++) {
        int32_t begin = thaw_plan_even(p->nparts, size, r), end = thaw_plan_even(p->nparts, size, r + 1);
        for (int32_t part = begin; part < end; part++) p->owner[part] = r;
        if (end - begin > p->most_parts) p->most_parts = end - begin;
    }
    return THAW_OK;
}

int thaw_prep_begin(struct thaw_prep *p, struct thaw_comm *comm, struct thaw_log *log,
                    const struct thaw_prep_config *cfg, struct thaw_err *err) {
    int rank = thaw_comm_rank(comm), size = thaw_comm_size(comm);
    memset(p, 0, sizeof *p);
    p->comm = comm;
    p->log = log;
    p->cfg = cfg;
    p->nparts = cfg->parts;
    p->first_part = thaw_plan_even(cfg->parts, size, rank);
    p->own_parts = thaw_plan_even(cfg->parts, size, rank + 1) - p->first_part;
    p->totals.value_min = INFINITY;
    p->totals.value_max = -INFINITY;
    p->totals.time_min = INT64_MAX;
    p->totals.time_max = INT64_MIN;
    plan_memory(p);
    int code = make_maps(p, err);
    if (!code) code = make_stores(p, err);
    return thaw_comm_agree(comm, code, err);
}

void thaw_prep_end(struct thaw_prep *p) {
    thaw_prep_room_free(p);
    thaw_tally_clear(&p->items);
    thaw_tally_clear(&p->local);
    for (int side = 0; side < 2; side++) {
        thaw_spill_free(&p->ids[side]);
        thaw_tally_clear(&p->degree_rows[side]);
        free(p->part_rows[side]);
        free(p->part_nnz[side]);
        free(p->first_row[side]);
    }
    for (int side = 0; side < 2; side++) thaw_attributes_free(&p->attributes[side]);
    thaw_badlines_clear(&p->bad);
    thaw_sources_close(&p->files);
    thaw_spill_free(&p->pairs);
    thaw_spill_free(&p->degrees);
    thaw_spill_free(&p->reports);
    thaw_spill_free(&p->item_pairs);
    thaw_spill_pool_free(&p->pool);
    for (size_t i = 0; i < p->nfiles; i++) thaw__file__free_unpacked(p->files_made[i], NULL);
    free(p->files_made);
    free(p->owner);
    memset(p, 0, sizeof *p);
}

// Bytes beside the pool that last through all stages.
static int64_t standing(const struct thaw_prep *p) {
    return p->memory.fixed + 4 * p->memory.chunk + p->items.cap * (int64_t)sizeof(struct thaw_tally_slot);
}

int thaw_prep_reserve(struct thaw_prep *p, int64_t need, const char *what, struct thaw_err *err) {
    int64_t least = p->memory.total / 32, room = p->memory.total - standing(p) - least;
    if (need > room) {
        int64_t memory = p->memory.total + (need - room) * 5 / 4;
        double parts = room > 0 ? ceil((double)p->nparts * 1.25 * (double)need / (double)room) : INFINITY;
        char a[16], b[16], c[64] = "";
        if (parts <= THAW_PARTS_MAX)
            snprintf(c, sizeof c, "--parts %.0f (unless it is one row alone), or ", parts);
        return thaw_fail(
            err, THAW_EUSAGE,
            "%s need %s at a time and --memory leaves %s: give %s--memory %" PRId64 "M for each rank", what,
            thaw_human_bytes(a, need), thaw_human_bytes(b, room > 0 ? room : 0), c, (memory >> 20) + 1);
    }
    return thaw_spill_pool_limit(p->pool, p->memory.total - standing(p) - need, err);
}

int thaw_prep_room(struct thaw_prep *p, const struct thaw_spill *from, bool items, int64_t extra_per_pair,
                   int64_t extra, struct thaw_err *err) {
    int64_t most = 0, distinct = 0, size = (int64_t)sizeof(struct thaw_tuple);
    int32_t part = 0;
    for (int32_t k = 0; k < p->own_parts; k++)
        if (thaw_spill_nbytes(from, k) / size > most) {
            most = thaw_spill_nbytes(from, k) / size;
            part = p->first_part + k;
        }
    if (items) distinct = most < p->items_total ? most : p->items_total;
    int64_t need = most * (size + extra_per_pair) + distinct * 16 + extra;
    if (items) need += thaw_tally_nbytes(distinct);
    char what[64];
    snprintf(what, sizeof what, "the %" PRId64 " events or interactions of part %" PRId32, most, part);
    int code = thaw_prep_reserve(p, need, what, err);
    if (!code) code = thaw_alloc(&p->work, (size_t)most, sizeof *p->work, "a part's interactions", err);
    if (!code && items) code = thaw_alloc(&p->hash, (size_t)distinct, sizeof *p->hash, "a part's items", err);
    if (!code && items)
        code = thaw_alloc(&p->answer, (size_t)distinct, sizeof *p->answer, "a part's items", err);
    p->work_cap = most;
    p->hash_cap = distinct;
    return code;
}

void thaw_prep_room_free(struct thaw_prep *p) {
    free(p->work);
    free(p->hash);
    free(p->answer);
    p->work = NULL;
    p->hash = NULL;
    p->answer = NULL;
    p->work_cap = p->hash_cap = 0;
    thaw_tally_clear(&p->local);
}

int thaw_prep_load(struct thaw_prep *p, const struct thaw_spill *from, int32_t k, int64_t *n,
                   struct thaw_err *err) {
    int64_t nbytes = thaw_spill_nbytes(from, k);
    *n = nbytes / (int64_t)sizeof(struct thaw_tuple);
    if (*n > p->work_cap)
        return thaw_fail(err, THAW_EBUG, "part %" PRId32 " outgrew its room", p->first_part + k);
    return thaw_spill_read(from, k, 0, nbytes, p->work, err);
}

int thaw_prep_distinct(struct thaw_prep *p, int64_t n, int64_t *ndistinct, struct thaw_err *err) {
    int64_t most = n < p->hash_cap ? n : p->hash_cap, d = 0;
    int code = thaw_tally_reset(&p->local, most, err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++) {
        if (i + THAW_TALLY_AHEAD < n) thaw_tally_prefetch(&p->local, p->work[i + THAW_TALLY_AHEAD].b);
        int64_t *count = thaw_tally_at(&p->local, p->work[i].b, 0);
        if ((*count)++ > 0) continue;
        if (d == most) return thaw_fail(err, THAW_EBUG, "a part has more items than there are");
        p->hash[d++] = p->work[i].b;
    }
    *ndistinct = d;
    return THAW_OK;
}

void thaw_prep_answered(struct thaw_prep *p, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        if (i + THAW_TALLY_AHEAD < n) thaw_tally_prefetch(&p->local, p->hash[i + THAW_TALLY_AHEAD]);
        *thaw_tally_find(&p->local, p->hash[i]) = p->answer[i];
    }
}

static int on_reports(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct thaw_prep *p = user;
    struct thaw_prep_count r;
    (void)source;
    for (size_t i = 0; i < n; i += sizeof r) {
        memcpy(&r, (const char *)bytes + i, sizeof r);
        int code =
            thaw_spill_put(p->reports, thaw_hash_part(r.hash, p->nparts) - p->first_part, &r, sizeof r, err);
        if (code) return code;
    }
    return THAW_OK;
}

int thaw_prep_reports_open(struct thaw_prep *p, struct thaw_shuffle **s, struct thaw_err *err) {
    return thaw_shuffle_new(s, p->comm, p->memory.chunk, on_reports, p, err);
}

int thaw_prep_reports_send(struct thaw_prep *p, struct thaw_shuffle *s, int64_t n, int code,
                           struct thaw_err *err) {
    int self = thaw_comm_rank(p->comm);
    int64_t i = 0;
    bool done = false;
    do {
        for (; !code && i < n && !thaw_shuffle_full(s); i++) {
            if (i + THAW_TALLY_AHEAD < n) thaw_tally_prefetch(&p->local, p->hash[i + THAW_TALLY_AHEAD]);
            struct thaw_prep_count r = {p->hash[i], *thaw_tally_find(&p->local, p->hash[i])};
            int to = p->owner[thaw_hash_part(r.hash, p->nparts)];
            if (r.count == 0) continue;
            if (to == self)
                code = on_reports(p, self, &r, sizeof r, err);
            else
                thaw_shuffle_put(s, to, &r, sizeof r);
        }
        code = thaw_shuffle_round(s, i == n, &done, code, err);
    } while (!code && !done);
    return code;
}

static int apply_part(struct thaw_prep *p, int32_t k, struct thaw_err *err) {
    enum { AT_A_TIME = 512 };
    struct thaw_prep_count r[AT_A_TIME];
    int64_t nbytes = thaw_spill_nbytes(p->reports, k);
    for (int64_t at = 0, n; at < nbytes; at += n) {
        n = nbytes - at < (int64_t)sizeof r ? nbytes - at : (int64_t)sizeof r;
        int code = thaw_spill_read(p->reports, k, at, n, r, err);
        if (code) return code;
        int64_t count = n / (int64_t)sizeof *r;
        for (int64_t i = 0; i < count; i++) {
            if (i + THAW_TALLY_AHEAD < count) thaw_tally_prefetch(&p->items, r[i + THAW_TALLY_AHEAD].hash);
            int64_t *degree = thaw_tally_find(&p->items, r[i].hash);
            if (!degree) return thaw_fail(err, THAW_EBUG, "a report about an item nobody has");
            *degree += r[i].count;
        }
    }
    thaw_spill_clear(p->reports, k);
    return THAW_OK;
}

int thaw_prep_apply_reports(struct thaw_prep *p, struct thaw_err *err) {
    int code = THAW_OK;
    for (int32_t k = 0; k < p->own_parts && !code; k++) code = apply_part(p, k, err);
    return thaw_comm_agree(p->comm, code, err);
}

int thaw_prep_stopped(const struct thaw_prep *p, struct thaw_err *err) {
    if (!thaw_comm_stop_requested(p->comm)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED,
                     "stopped by a signal before the dataset was whole: nothing was kept, run it again");
}
