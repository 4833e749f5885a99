// virtual_make.c: virtual interactions in memory.
#include "comm/virtual_write.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void thaw_virtual_rows_clear(struct thaw_virtual_rows_made *rows) {
    free(rows->ptr);
    free(rows->item);
    free(rows->weight);
    *rows = (struct thaw_virtual_rows_made){0};
}

// Empty rows up to `row`, which is not begun yet.
static int rows_until(struct thaw_virtual_rows_made *m, int64_t row, struct thaw_err *err) {
    const int code =
        thaw_grow(&m->ptr, &m->ptr_cap, (size_t)row + 2, sizeof *m->ptr, "virtual interactions", err);
    if (code) return code;
    if (m->nrows == 0) m->ptr[0] = 0;
    for (; m->nrows < row; m->nrows++) m->ptr[m->nrows + 1] = m->ptr[m->nrows];
    return THAW_OK;
}

struct pair {
    int64_t item;
    float weight;
};
static int by_item(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    return (x->item > y->item) - (x->item < y->item);
}

// Sample s of the picks becomes the next row.
static int rows_add(struct thaw_virtual_rows_made *m, const struct thaw_picks *p, int s, bool weighted,
                    struct thaw_err *err) {
    const int64_t begin = p->ptr[s], n = p->ptr[s + 1] - begin, at = m->ptr[m->nrows];
    struct pair *pair = NULL;
    int code =
        thaw_grow(&m->item, &m->item_cap, (size_t)(at + n), sizeof *m->item, "virtual interactions", err);
    if (!code)
        code = thaw_grow(&m->weight, &m->weight_cap, (size_t)(at + n), sizeof *m->weight,
                         "virtual interactions", err);
    if (!code) code = thaw_alloc(&pair, (size_t)n, sizeof *pair, "virtual interactions", err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++)
        pair[i] = (struct pair){p->item[begin + i],
                                weighted ? (float)(.1 + .9 * exp(p->score[begin + i] - p->score[begin])) : 1};
    qsort(pair, (size_t)n, sizeof *pair, by_item);
    for (int64_t i = 0; i < n; i++) {
        m->item[at + i] = (uint32_t)pair[i].item;
        m->weight[at + i] = pair[i].weight;
    }
    m->ptr[++m->nrows] = at + n;
    free(pair);
    return THAW_OK;
}

// ---- Users who have few ----

static int add_users(struct thaw_virtual_rows_made *rows, const struct thaw_virtual_plan *plan,
                     const struct thaw_batch *batch, const int *owner, int rank,
                     const struct thaw_picks *picks, struct thaw_err *err) {
    int code = THAW_OK;
    for (int s = 0; !code && s < batch->count; s++) {
        if (owner[s] != rank) continue;
        code = rows_until(rows, batch->user[s] - plan->h->first_row, err);
        if (!code) code = rows_add(rows, picks, s, true, err);
    }
    return code;
}

int thaw_virtual_make_users(struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                            struct thaw_virtual_rows_made *rows, struct thaw_err *err) {
    const struct thaw_episodes_config config = {.most = plan->below - 1,
                                                .listed = true,
                                                .known = THAW_KNOWN_ALL,
                                                .seed = plan->seed,
                                                .by_time = plan->by_time};
    const int rank = thaw_comm_rank(c);
    struct thaw_gan_apply *a = NULL;
    struct thaw_picks picks = {0};
    int64_t want[THAW_APPLY_BATCH];
    int owner[THAW_APPLY_BATCH];
    int code = plan->below > 0 ? thaw_gan_apply_new(&a, c, &plan->shape, plan->net, plan->item_rows, plan->h,
                                                    NULL, config, plan->draws, err)
                               : THAW_OK;
    const int64_t batches = a ? thaw_episodes_batches(a->episodes) : 0;
    for (int64_t i = 0; !code && i < batches; i++) {
        if ((code = thaw_gan_apply_batch(a, i, err))) break;
        for (int s = 0; s < THAW_APPLY_BATCH; s++) {
            want[s] = plan->wanted;
            owner[s] = thaw_plan_rank_of(plan->users, a->batch->user[s]);
        }
        code = thaw_gan_apply_pick(a, THAW_PICK_BEST, want, i, owner, &picks, err);
        if (!code) code = add_users(rows, plan, a->batch, owner, rank, &picks, err);
        code = thaw_comm_agree(c, code, err);
    }
    if (!code) code = thaw_comm_agree(c, rows_until(rows, plan->h->nusers, err), err);
    thaw_picks_clear(&picks);
    thaw_gan_apply_free(&a);
    return code;
}

// ---- Whole users ----

static int32_t part_of(const struct thaw_virtual_plan *plan, int64_t v) {
    return (int32_t)(v * plan->users->nparts / plan->extra);
}

static int rank_of_part(const struct thaw_plan *plan, int32_t part) {
    int low = 0, high = plan->nranks; // first_part[low] <= part < first_part[high]
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (plan->first_part[middle] <= part)
            low = middle;
        else
            high = middle;
    }
    return low;
}

int thaw_virtual_make_extra(struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                            struct thaw_virtual_rows_made *rows, int64_t *part_rows, struct thaw_err *err) {
    const struct thaw_episodes_config config = {.least = plan->rest,
                                                .most = INT64_MAX,
                                                .rest = plan->rest,
                                                .seed = ~plan->seed,
                                                .by_time = plan->by_time};
    const int rank = thaw_comm_rank(c);
    struct thaw_gan_apply *a = NULL;
    struct thaw_picks picks = {0};
    int64_t want[THAW_APPLY_BATCH];
    int owner[THAW_APPLY_BATCH];
    memset(part_rows, 0, (size_t)plan->users->nparts * sizeof *part_rows);
    int code = thaw_comm_agree(c, rows_until(rows, 0, err), err);
    if (!code && plan->extra)
        code = thaw_gan_apply_new(&a, c, &plan->shape, plan->net, plan->item_rows, plan->h, NULL, config, 1,
                                  err);
    for (int64_t i = 0; !code && i * THAW_APPLY_BATCH < plan->extra; i++) {
        if ((code = thaw_gan_apply_batch(a, i, err))) break;
        for (int s = 0; s < THAW_APPLY_BATCH; s++) {
            const int64_t v = i * THAW_APPLY_BATCH + s;
            const bool made = v < plan->extra;
            want[s] = made ? a->batch->n[s] + a->batch->nrest[s] : 0;
            owner[s] = rank_of_part(plan->users, made ? part_of(plan, v) : 0);
            if (made) part_rows[part_of(plan, v)]++;
        }
        code = thaw_gan_apply_pick(a, THAW_PICK_DRAW, want, i, owner, &picks, err);
        for (int s = 0; !code && s < THAW_APPLY_BATCH; s++) {
            if (owner[s] != rank || i * THAW_APPLY_BATCH + s >= plan->extra) continue;
            code = rows_until(rows, rows->nrows, err);
            if (!code) code = rows_add(rows, &picks, s, false, err);
        }
        code = thaw_comm_agree(c, code, err);
    }
    thaw_picks_clear(&picks);
    thaw_gan_apply_free(&a);
    return code;
}
