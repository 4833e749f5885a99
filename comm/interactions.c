// interactions.c: read this rank's parts of both sides into blocks, without what training must not see.
#include "comm/interactions.h"

#include "base/mem.h"
#include "comm/pull.h"
#include "comm/virtual_add.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

float thaw_strength(const Thaw__Als *als, float r) {
    if (als->model == THAW__ALS__MODEL__EXPLICIT || als->strength == THAW__ALS__STRENGTH__RAW) return r;
    if (!(r > 0)) return 0;
    return als->strength == THAW__ALS__STRENGTH__LOG ? (float)log2(1 + (double)r) : 1;
}

struct thaw_als_config thaw_als_config_of(const Thaw__Als *als, enum thaw_als_solver solver,
                                          enum thaw_als_gather gather, int cg_steps, double cg_tolerance) {
    const enum thaw_als_model model = als->model == THAW__ALS__MODEL__EXPLICIT          ? THAW_ALS_EXPLICIT
                                      : als->model == THAW__ALS__MODEL__IMPLICIT_RENDLE ? THAW_ALS_RENDLE
                                                                                        : THAW_ALS_HU;
    return (struct thaw_als_config){.model = model,
                                    .solver = solver,
                                    .gather = gather,
                                    .k = als->factors,
                                    .biases = als->biases,
                                    .mean = als->mean,
                                    .alpha = als->alpha,
                                    .unobserved = als->unobserved_weight,
                                    .lambda = als->regularization,
                                    .nu = als->reg_exponent,
                                    .cg_steps = cg_steps,
                                    .relaxation = 1,
                                    .cg_tolerance = cg_tolerance};
}

static const Thaw__Side *side_of(const struct thaw_dataset *d, enum thaw_side side) {
    return side == THAW_USERS ? d->manifest->users : d->manifest->items;
}

int thaw_dataset_plan(struct thaw_plan plan[2], const struct thaw_dataset *d, int nranks, int k,
                      struct thaw_err *err) {
    int64_t *work = NULL;
    const int32_t nparts = d->manifest->parts;
    int code = thaw_alloc(&work, (size_t)nparts, sizeof *work, "the plan", err), made = 0;
    for (int side = 0; !code && side < 2; side++) {
        const Thaw__Side *s = side_of(d, (enum thaw_side)side);
        // A solve costs about k/3 interactions: d^3 / 3 flops against d^2 each.
        for (int32_t p = 0; p < nparts; p++) work[p] = s->part_nnz[p] + s->part_rows[p] * (1 + k / 3);
        code = thaw_plan_new(&plan[side], nparts, s->part_rows, work, nranks, err);
        if (!code) made++;
    }
    if (code && made) thaw_plan_clear(&plan[0]);
    free(work);
    return code;
}

// ---- Reading ----

struct loader {
    struct thaw_interactions *in;
    struct thaw_comm *c;
    const struct thaw_dataset *d;
    const Thaw__Als *als;
    int64_t budget;
    struct thaw_csr rows[2], held;
    int64_t nnz[2]; // training interactions
    int64_t *index; // a row's interactions
    float *value;
    size_t index_cap, value_cap;
    double *part_sum; // users: sum of training strengths of each part of this rank
    int64_t *wanted;  // of the held-out flags, `chunk` at a time
    uint8_t *flag;    // of the part at hand: its interactions' users are held out
    size_t flag_cap;
    int64_t chunk, rounds; // rounds that all ranks still have to go through
    bool broken;           // an exchange failed, on all ranks alike
    struct thaw_virtual_add virtual;
    int64_t *has; // items of a row, counted or not
    size_t has_cap;
    bool mapped;         // opposite rows are users, and virtual ones stand between them
    int32_t mapped_part; // a hint
};

static int32_t first_part(const struct loader *l, enum thaw_side side) {
    return l->in->plan[side].first_part[thaw_comm_rank(l->c)];
}

static int32_t end_part(const struct loader *l, enum thaw_side side) {
    return l->in->plan[side].first_part[thaw_comm_rank(l->c) + 1];
}

static int64_t opposite_row(struct loader *l, const struct thaw_shard *s, int64_t at) {
    const int64_t row = thaw_shard_index(s, at);
    if (!l->mapped) return row;
    return thaw_virtual_user_row(&l->in->plan[THAW_USERS], &l->in->real, row, &l->mapped_part);
}

// Copies what counts of a row into index and value; *kept of them. flags: of the row's interactions, or NULL.
static int row_read(struct loader *l, const struct thaw_shard *s, int64_t row, const uint8_t *flags,
                    int64_t *kept, struct thaw_err *err) {
    const int64_t begin = s->indptr[row], n = s->indptr[row + 1] - begin;
    int64_t m = 0;
    int code = thaw_grow(&l->index, &l->index_cap, (size_t)n, sizeof *l->index, "a row", err);
    if (!code) code = thaw_grow(&l->value, &l->value_cap, (size_t)n, sizeof *l->value, "a row", err);
    for (int64_t i = 0; !code && i < n; i++) {
        const float r = thaw_strength(l->als, s->values[begin + i]);
        if ((flags && flags[i]) || !thaw_strength_counts(l->als, r)) continue;
        l->index[m] = opposite_row(l, s, begin + i);
        l->value[m++] = r;
    }
    *kept = m;
    return code;
}

// Row `at` of this rank's users, as it stands in index and value.
static int add_user(struct loader *l, int64_t n, int64_t at, int32_t part, struct thaw_err *err) {
    for (int64_t i = 0; i < n; i++) l->part_sum[part] += l->value[i];
    l->in->degree[THAW_USERS][at] = n;
    return thaw_csr_add(&l->rows[THAW_USERS], l->index, l->value, n, err);
}

// Virtual interactions (row `row` of v) of a user whose real ones are row `row` of s; NULL: has none.
static int add_virtual(struct loader *l, const struct thaw_shard *s, const struct thaw_virtual_rows *v,
                       int64_t row, int64_t at, int64_t *n, struct thaw_err *err) {
    struct thaw_virtual_row to = {&l->index, &l->value, &l->index_cap, &l->value_cap, *n};
    const int64_t begin = s ? s->indptr[row] : 0, nhas = s ? s->indptr[row + 1] - begin : 0;
    int code = thaw_grow(&l->has, &l->has_cap, (size_t)nhas, sizeof *l->has, "a row", err);
    for (int64_t i = 0; !code && i < nhas; i++) l->has[i] = thaw_shard_index(s, begin + i);
    if (!code)
        code = thaw_virtual_add_user(&l->virtual, v, row, l->has, nhas, l->in->first_row[THAW_USERS] + at,
                                     &to, err);
    if (!code) *n = to.n;
    return code;
}

// v: NULL without virtual interactions.
static int user_row(struct loader *l, const struct thaw_shard *s, const struct thaw_virtual_rows *v,
                    int64_t row, int64_t at, int32_t part, struct thaw_err *err) {
    struct thaw_interactions *in = l->in;
    int64_t n;
    int code = row_read(l, s, row, NULL, &n, err);
    if (code) return code;
    in->held_out[at] = thaw_shard_held_out(s, l->als, row);
    if (in->held_out[at]) {
        in->nheld++;
        if ((code = thaw_csr_add(&l->held, l->index, l->value, n, err))) return code;
        n = 0;
    } else {
        in->left_out += s->indptr[row + 1] - s->indptr[row] - n;
        if (v && (code = add_virtual(l, s, v, row, at, &n, err))) return code;
    }
    return add_user(l, n, at, part, err);
}

static int open_part(const struct loader *l, struct thaw_shard *s, enum thaw_side side, int32_t part,
                     struct thaw_err *err) {
    const Thaw__Side *m = side_of(l->d, side);
    if (thaw_comm_stop_requested(l->c)) // agreed on once all have read their parts
        return thaw_fail(err, THAW_ESTOPPED,
                         "stopped on request while %s was being read: run the same command again", l->d->dir);
    int code = thaw_shard_open(s, l->d, side, part, true, err);
    if (!code && (s->nrows != m->part_rows[part] || s->nnz != m->part_nnz[part])) {
        thaw_shard_close(s);
        code = thaw_fail(err, THAW_EDATA, "%s: part %d of %s does not have the size the manifest says",
                         l->d->dir, (int)part, thaw_side_name[side]);
    }
    return code;
}

static int real_users(struct loader *l, int32_t p, int64_t *at, struct thaw_err *err) {
    struct thaw_virtual_part v = {0};
    struct thaw_shard s;
    int code = open_part(l, &s, THAW_USERS, p, err);
    if (code) return code;
    if (l->virtual.wish.files)
        code = thaw_virtual_part_open(&v, l->virtual.wish.files, THAW_VIRTUAL_USERS, p, err);
    for (int64_t row = 0; !code && row < s.nrows; row++)
        code = user_row(l, &s, v.npz ? &v.rows : NULL, row, (*at)++, p - first_part(l, THAW_USERS), err);
    thaw_virtual_part_close(&v);
    thaw_shard_close(&s);
    return code;
}

static int virtual_users(struct loader *l, int32_t p, int64_t *at, struct thaw_err *err) {
    struct thaw_virtual_part v;
    int code = thaw_virtual_part_open(&v, l->virtual.wish.files, THAW_VIRTUAL_EXTRA, p, err);
    if (code) return code;
    for (int64_t row = 0; !code && row < v.rows.nrows; row++, ++*at) {
        int64_t n = 0;
        l->in->made[*at] = 1;
        l->in->extra++;
        code = add_virtual(l, NULL, &v.rows, row, *at, &n, err);
        if (!code) code = add_user(l, n, *at, p - first_part(l, THAW_USERS), err);
    }
    thaw_virtual_part_close(&v);
    return code;
}

static int load_users(struct loader *l, struct thaw_err *err) {
    int64_t at = 0;
    int code = THAW_OK;
    for (int32_t p = first_part(l, THAW_USERS); !code && p < end_part(l, THAW_USERS); p++) {
        code = real_users(l, p, &at, err);
        if (!code && l->in->made) code = virtual_users(l, p, &at, err);
    }
    l->in->virtual = l->virtual.npairs;
    return code;
}

// ---- Which of an item's users are held out: one byte a user, asked of its owner ----

static int flags_begin(struct loader *l, struct thaw_err *err) {
    const Thaw__Side *items = l->d->manifest->items;
    if (!thaw_has_held_out(l->als)) return THAW_OK;
    l->chunk = l->budget / 64 < 1024 ? 1024 : l->budget / 64 > 1 << 22 ? 1 << 22 : l->budget / 64;
    for (int32_t p = first_part(l, THAW_ITEMS); p < end_part(l, THAW_ITEMS); p++)
        l->rounds += (items->part_nnz[p] + l->chunk - 1) / l->chunk;
    thaw_comm_max_i64(l->c, &l->rounds, 1);
    const int code = thaw_alloc(&l->wanted, (size_t)l->chunk, sizeof *l->wanted, "held-out flags", err);
    return thaw_comm_agree(l->c, code, err);
}

// Collective in each round: flags of n interactions of s from `at`; s NULL when this rank has no more to ask.
static int flags_round(struct loader *l, const struct thaw_shard *s, int64_t at, int64_t n,
                       struct thaw_err *err) {
    for (int64_t i = 0; i < n; i++) l->wanted[i] = opposite_row(l, s, at + i);
    l->rounds--;
    const int code = thaw_pull(l->c, l->in->plan[THAW_USERS].rank_row, l->in->held_out, 1, l->wanted, n,
                               n ? l->flag + at : NULL, l->budget, NULL, err);
    if (code) l->broken = true;
    return code;
}

static int flags_of_part(struct loader *l, const struct thaw_shard *s, struct thaw_err *err) {
    int code = thaw_grow(&l->flag, &l->flag_cap, (size_t)s->nnz, 1, "held-out flags", err);
    for (int64_t at = 0; !code && at < s->nnz; at += l->chunk)
        code = flags_round(l, s, at, s->nnz - at < l->chunk ? s->nnz - at : l->chunk, err);
    return code;
}

static int item_rows(struct loader *l, const struct thaw_shard *s, int64_t *at, struct thaw_err *err) {
    const bool held = thaw_has_held_out(l->als);
    int code = held ? flags_of_part(l, s, err) : THAW_OK;
    for (int64_t row = 0; !code && row < s->nrows; row++) {
        int64_t n;
        if ((code = row_read(l, s, row, held ? l->flag + s->indptr[row] : NULL, &n, err))) break;
        if (l->virtual.wish.files) {
            struct thaw_virtual_row to = {&l->index, &l->value, &l->index_cap, &l->value_cap, n};
            if ((code = thaw_virtual_add_item(&l->virtual, l->in->first_row[THAW_ITEMS] + *at, &to, err)))
                break;
            n = to.n;
        }
        l->in->degree[THAW_ITEMS][(*at)++] = n;
        code = thaw_csr_add(&l->rows[THAW_ITEMS], l->index, l->value, n, err);
    }
    return code;
}

// Collective: a rank that fails still answers the others' questions to the end.
static int load_items(struct loader *l, struct thaw_err *err) {
    int64_t at = 0;
    int code = flags_begin(l, err);
    if (code) return code;
    for (int32_t p = first_part(l, THAW_ITEMS); !code && p < end_part(l, THAW_ITEMS); p++) {
        struct thaw_shard s;
        if ((code = open_part(l, &s, THAW_ITEMS, p, err))) break;
        code = item_rows(l, &s, &at, err);
        thaw_shard_close(&s);
    }
    while (l->rounds > 0 && !l->broken) {
        const int other = flags_round(l, NULL, 0, 0, err);
        if (!code) code = other;
    }
    return code;
}

static int allocate(struct loader *l, struct thaw_err *err) {
    struct thaw_interactions *in = l->in;
    const int rank = thaw_comm_rank(l->c);
    const struct thaw_virtual_wish *wish = &l->virtual.wish;
    int code = thaw_dataset_plan(in->plan, l->d, thaw_comm_size(l->c), l->als->factors, err);
    if (!code) code = thaw_virtual_plan(&in->plan[THAW_USERS], &in->real, l->d, wish, l->als->factors, err);
    for (int side = 0; !code && side < 2; side++) {
        const struct thaw_plan *plan = &in->plan[side];
        in->first_row[side] = plan->rank_row[rank];
        in->rows[side] = plan->rank_row[rank + 1] - plan->rank_row[rank];
        code = thaw_alloc(&in->degree[side], (size_t)in->rows[side], sizeof(int64_t), "degrees", err);
    }
    if (!code) code = thaw_alloc(&in->held_out, (size_t)in->rows[THAW_USERS], 1, "held-out flags", err);
    if (!code && wish->files && wish->extra && thaw_virtual_has_extra(wish->files))
        code = thaw_alloc(&in->made, (size_t)in->rows[THAW_USERS], 1, "flags of virtual users", err);
    if (!code) code = thaw_csr_new(&l->held, 0, 0, err);
    if (!code)
        code = thaw_alloc(&l->part_sum, (size_t)(end_part(l, THAW_USERS) - first_part(l, THAW_USERS)),
                          sizeof *l->part_sum, "part sums", err);
    return code;
}

// Room for all interactions of a side on this rank at once.
static int make_room(struct loader *l, enum thaw_side side, struct thaw_err *err) {
    int64_t nnz = 0;
    for (int32_t p = first_part(l, side); p < end_part(l, side); p++) nnz += side_of(l->d, side)->part_nnz[p];
    return thaw_csr_new(&l->rows[side], l->in->rows[side], nnz, err);
}

static int totals(struct loader *l, struct thaw_err *err) {
    struct thaw_interactions *in = l->in;
    int64_t sums[6] = {l->nnz[THAW_USERS], l->nnz[THAW_ITEMS], in->nheld,
                       in->left_out,       in->virtual,        in->extra};
    double sum;
    thaw_comm_sum_i64(l->c, sums, 6);
    in->nnz = sums[0];
    in->held_users = sums[2];
    in->left_out = sums[3];
    in->virtual = sums[4];
    in->extra = sums[5];
    if (sums[0] != sums[1])
        return thaw_fail(err, THAW_EDATA,
                         "%s: users have %" PRId64 " training interactions but items have %" PRId64
                         ": the dataset's two sides do not belong together; run 'thaw prepare' again",
                         l->d->dir, sums[0], sums[1]);
    const int code = thaw_comm_exact_sum(l->c, l->part_sum,
                                         end_part(l, THAW_USERS) - first_part(l, THAW_USERS), 1, &sum, err);
    in->mean = in->nnz ? sum / (double)in->nnz : 0;
    return code;
}

struct thaw_als_config thaw_fold_in_config(const struct thaw_als_config *config) {
    struct thaw_als_config exact = *config;
    exact.solver = THAW_ALS_CHOLESKY;
    exact.gather = THAW_ALS_F32;
    return exact;
}

// Collective. The side's rows as training solves them; its interactions move there.
static int make_half(struct loader *l, enum thaw_side side, const struct thaw_als_config *config,
                     const struct thaw_half_options *o, struct thaw_err *err) {
    struct thaw_interactions *in = l->in;
    l->nnz[side] = l->rows[side].ptr[l->rows[side].nrows];
    return thaw_half_new(&in->half[side], l->c, config, &l->rows[side], &in->plan[1 - side], o, err);
}

// Collective. All held-out users, to be folded in when training is over.
static int make_held(struct loader *l, const struct thaw_als_config *config,
                     const struct thaw_half_options *o, struct thaw_err *err) {
    const struct thaw_als_config exact = thaw_fold_in_config(config);
    struct thaw_half_options alone = *o;
    if (l->in->held_users == 0) return THAW_OK;
    alone.alone = true;
    return thaw_half_new(&l->in->held, l->c, &exact, &l->held, &l->in->plan[THAW_ITEMS], &alone, err);
}

static int check_wish(const struct thaw_virtual_wish *v, const Thaw__Als *als, struct thaw_err *err) {
    if (!v->files) return THAW_OK;
    if (als->model == THAW__ALS__MODEL__EXPLICIT)
        return thaw_fail(err, THAW_EUSAGE,
                         "virtual interactions have no ratings: they are for implicit models");
    if (!(v->weight > 0) || !isfinite(v->weight))
        return thaw_fail(err, THAW_EBUG, "virtual interactions of weight %g", v->weight);
    return THAW_OK;
}

// Collective. What counts of both sides, as training solves it.
static int load_sides(struct loader *l, const struct thaw_als_config config[2],
                      const struct thaw_half_options *o, struct thaw_err *err) {
    int code = allocate(l, err);
    if (!code) code = make_room(l, THAW_USERS, err);
    if (!code) code = load_users(l, err);
    if ((code = thaw_comm_agree(l->c, code, err))) return code;
    if ((code = make_half(l, THAW_USERS, &config[THAW_USERS], o, err))) return code;
    if (l->virtual.wish.files)
        code = thaw_virtual_add_exchange(&l->virtual, l->c, &l->in->plan[THAW_ITEMS], l->budget, err);
    if (code) return code;
    l->mapped = l->in->made != NULL;
    code = thaw_comm_agree(l->c, make_room(l, THAW_ITEMS, err), err);
    if (!code) code = load_items(l, err);
    if ((code = thaw_comm_agree(l->c, code, err))) return code;
    return make_half(l, THAW_ITEMS, &config[THAW_ITEMS], o, err);
}

int thaw_interactions_load_with(struct thaw_interactions *in, struct thaw_comm *c,
                                const struct thaw_dataset *d, const Thaw__Als *als,
                                const struct thaw_als_config config[2], const struct thaw_half_options *o,
                                const struct thaw_virtual_wish *v, struct thaw_err *err) {
    *in = (struct thaw_interactions){0};
    struct loader l = {.in = in, .c = c, .d = d, .als = als, .budget = o->exchange_bytes / 2};
    if (v) l.virtual.wish = *v;
    thaw_comm_phase(c, "load");
    int code = check_wish(&l.virtual.wish, als, err);
    if (!code) code = load_sides(&l, config, o, err);
    if (!code) code = totals(&l, err);
    if (!code) code = make_held(&l, &config[THAW_USERS], o, err);
    free(l.index);
    free(l.value);
    free(l.has);
    free(l.part_sum);
    free(l.wanted);
    free(l.flag);
    free(l.virtual.pair);
    for (int side = 0; side < 2; side++) thaw_csr_clear(&l.rows[side]);
    thaw_csr_clear(&l.held);
    if (code) thaw_interactions_clear(in);
    return code;
}

int thaw_interactions_load(struct thaw_interactions *in, struct thaw_comm *c, const struct thaw_dataset *d,
                           const Thaw__Als *als, const struct thaw_als_config config[2],
                           const struct thaw_half_options *o, struct thaw_err *err) {
    return thaw_interactions_load_with(in, c, d, als, config, o, NULL, err);
}

void thaw_interactions_clear(struct thaw_interactions *in) {
    for (int side = 0; side < 2; side++) {
        if (in->plan[side].first_row) thaw_plan_clear(&in->plan[side]);
        thaw_half_free(&in->half[side]);
        free(in->degree[side]);
    }
    if (in->real.first_row) thaw_plan_clear(&in->real);
    thaw_half_free(&in->held);
    free(in->made);
    free(in->held_out);
    *in = (struct thaw_interactions){0};
}
