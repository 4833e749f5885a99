// histories.c: histories and features out of a dataset's shards.
#include "comm/histories.h"

#include "base/hash.h"
#include "base/mem.h"
#include "comm/heldout.h"
#include "comm/interactions.h"

#include <stdlib.h>
#include <string.h>

// ---- Features ----

static int features_add(struct thaw_features *f, int64_t at, const struct thaw_shard *s,
                        struct thaw_err *err) {
    const int64_t before = f->ptr[at], n = s->feature_indptr[s->nrows];
    const size_t total = (size_t)(before + n);
    int code = thaw_grow(&f->column, &f->column_cap, total, sizeof *f->column, "features", err);
    if (!code) code = thaw_grow(&f->value, &f->value_cap, total, sizeof *f->value, "features", err);
    if (code) return code;
    memcpy(f->column + before, s->feature_indices, (size_t)n * sizeof *f->column);
    memcpy(f->value + before, s->feature_values, (size_t)n * sizeof *f->value);
    for (int64_t r = 0; r < s->nrows; r++) f->ptr[at + r + 1] = before + s->feature_indptr[r + 1];
    return THAW_OK;
}

// The features of one part's rows, which begin at row `at` of this rank.
static int features_part(struct thaw_features *f, int64_t at, const struct thaw_shard *s,
                         struct thaw_err *err) {
    if (s->feature_indptr) return features_add(f, at, s, err);
    for (int64_t r = 0; r < s->nrows; r++) f->ptr[at + r + 1] = f->ptr[at];
    return THAW_OK;
}

static int features_begin(struct thaw_features *f, const struct thaw_dataset *d, enum thaw_side side,
                          int64_t nrows, struct thaw_err *err) {
    const Thaw__Side *m = side == THAW_USERS ? d->manifest->users : d->manifest->items;
    *f = (struct thaw_features){.nrows = nrows, .columns = m->features};
    return thaw_alloc(&f->ptr, (size_t)nrows + 1, sizeof *f->ptr, "features", err);
}

int thaw_features_load(struct thaw_features *f, struct thaw_comm *c, const struct thaw_dataset *d,
                       enum thaw_side side, const struct thaw_plan *plan, struct thaw_err *err) {
    const int rank = thaw_comm_rank(c);
    int64_t at = 0;
    int code = features_begin(f, d, side, plan->rank_row[rank + 1] - plan->rank_row[rank], err);
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++) {
        struct thaw_shard s;
        if ((code = thaw_shard_open(&s, d, side, p, true, err))) break;
        code = features_part(f, at, &s, err);
        at += s.nrows;
        thaw_shard_close(&s);
    }
    if ((code = thaw_comm_agree(c, code, err))) thaw_features_clear(f);
    return code;
}

void thaw_features_clear(struct thaw_features *f) {
    free(f->ptr);
    free(f->column);
    free(f->value);
    *f = (struct thaw_features){0};
}

// ---- Histories ----

struct loader {
    struct thaw_comm *c;
    struct thaw_histories *h;
    const Thaw__Als *als;
    bool by_time;
    uint64_t seed;
    int64_t *item, *time, *order; // of the row at hand
    float *strength;
    size_t item_cap, time_cap, order_cap, strength_cap;
};

static int row_room(struct loader *l, int64_t most, struct thaw_err *err) {
    const size_t n = (size_t)most;
    int code = thaw_grow(&l->item, &l->item_cap, n, sizeof *l->item, "a history", err);
    if (!code) code = thaw_grow(&l->time, &l->time_cap, n, sizeof *l->time, "a history", err);
    if (!code) code = thaw_grow(&l->order, &l->order_cap, n, sizeof *l->order, "a history", err);
    if (!code) code = thaw_grow(&l->strength, &l->strength_cap, n, sizeof *l->strength, "a history", err);
    return code;
}

// What counts of row `row` of s; *kept of them.
static int row_read(struct loader *l, const struct thaw_shard *s, int64_t row, int64_t *kept,
                    struct thaw_err *err) {
    const int64_t begin = s->indptr[row], n = s->indptr[row + 1] - begin;
    int64_t m = 0;
    int code = row_room(l, n, err);
    for (int64_t i = 0; !code && i < n; i++) {
        const float r = thaw_strength(l->als, s->values[begin + i]);
        if (!thaw_strength_counts(l->als, r)) continue;
        l->item[m] = thaw_shard_index(s, begin + i);
        l->time[m] = s->times ? s->times[begin + i] : 0;
        l->strength[m++] = r;
    }
    *kept = m;
    return code;
}

// Append the row at hand as user `at`, in its order.
static int row_put(struct loader *l, int64_t at, int64_t n, struct thaw_err *err) {
    struct thaw_histories *h = l->h;
    const int64_t before = h->ptr[at];
    const size_t total = (size_t)(before + n);
    int code = thaw_grow(&h->item, &h->item_cap, total, sizeof *h->item, "histories", err);
    if (!code) code = thaw_grow(&h->strength, &h->strength_cap, total, sizeof *h->strength, "histories", err);
    if (!code && l->by_time) code = thaw_heldout_order(l->order, l->time, n, l->seed, h->key[at], err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++) {
        const int64_t from = l->by_time ? l->order[i] : i;
        h->item[before + i] = l->item[from];
        h->strength[before + i] = l->strength[from];
    }
    h->ptr[at + 1] = before + n;
    return THAW_OK;
}

static int load_row(struct loader *l, const struct thaw_shard *s, int64_t row, int64_t at,
                    struct thaw_err *err) {
    struct thaw_histories *h = l->h;
    const char *id = s->ids + row * s->id_width;
    int64_t n;
    int code = row_read(l, s, row, &n, err);
    if (code) return code;
    h->key[at] = thaw_hash_id(id, strnlen(id, (size_t)s->id_width));
    h->held_out[at] = thaw_held_out(l->als, h->key[at]);
    if (!h->held_out[at] && n > 0) {
        h->training_users++;
        h->training_nnz += n;
    }
    return row_put(l, at, n, err);
}

static int load_part(struct loader *l, const struct thaw_dataset *d, int32_t part, int64_t *at,
                     struct thaw_err *err) {
    struct thaw_shard s;
    if (thaw_comm_stop_requested(l->c))
        return thaw_fail(err, THAW_ESTOPPED,
                         "stopped on request while reading histories: the same command begins anew");
    int code = thaw_shard_open(&s, d, THAW_USERS, part, true, err);
    if (code) return code;
    if (l->by_time && !s.times)
        code =
            thaw_fail(err, THAW_EDATA, "%s: its log has no times, so histories have no time order", d->dir);
    if (!code) code = features_part(&l->h->profile, *at, &s, err);
    for (int64_t row = 0; !code && row < s.nrows; row++) code = load_row(l, &s, row, (*at)++, err);
    thaw_shard_close(&s);
    return code;
}

static int allocate(struct thaw_histories *h, const struct thaw_dataset *d, struct thaw_err *err) {
    const size_t n = (size_t)h->nusers;
    int code = thaw_alloc(&h->key, n, sizeof *h->key, "histories", err);
    if (!code) code = thaw_alloc(&h->held_out, n, 1, "histories", err);
    if (!code) code = thaw_alloc(&h->ptr, n + 1, sizeof *h->ptr, "histories", err);
    if (!code) code = features_begin(&h->profile, d, THAW_USERS, h->nusers, err);
    return code;
}

int thaw_histories_load(struct thaw_histories *h, struct thaw_comm *c, const struct thaw_dataset *d,
                        const struct thaw_plan *users, const Thaw__Als *als, bool by_time, uint64_t seed,
                        struct thaw_err *err) {
    const int rank = thaw_comm_rank(c);
    *h = (struct thaw_histories){.first_row = users->rank_row[rank],
                                 .nusers = users->rank_row[rank + 1] - users->rank_row[rank],
                                 .timed = by_time};
    struct loader l = {.c = c, .h = h, .als = als, .by_time = by_time, .seed = seed};
    int64_t at = 0;
    thaw_comm_phase(c, "load");
    int code = allocate(h, d, err);
    for (int32_t p = users->first_part[rank]; !code && p < users->first_part[rank + 1]; p++)
        code = load_part(&l, d, p, &at, err);
    free(l.item);
    free(l.time);
    free(l.order);
    free(l.strength);
    if ((code = thaw_comm_agree(c, code, err))) {
        thaw_histories_clear(h);
        return code;
    }
    int64_t sums[2] = {h->training_users, h->training_nnz};
    thaw_comm_sum_i64(c, sums, 2);
    h->training_users = sums[0];
    h->training_nnz = sums[1];
    return THAW_OK;
}

void thaw_histories_clear(struct thaw_histories *h) {
    free(h->key);
    free(h->held_out);
    free(h->ptr);
    free(h->item);
    free(h->strength);
    thaw_features_clear(&h->profile);
    *h = (struct thaw_histories){0};
}
