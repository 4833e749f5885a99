// gan_pick.c: the items a generator's users would take, found where the items are and brought to the users'
// owners.
#include "comm/gan_apply.h"

#include "base/mem.h"
#include "base/rng.h"
#include "comm/gan_apply_impl.h"
#include "comm/handle.h"
#include "dense/topk.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// What this rank offers for each sample, and what others do. Both ends of a message know its length: an item
// count of the sender caps what was asked for; what it lacks is a score that is not a number.
struct offer {
    struct thaw_scored *own, *other; // samples one after the other
    int64_t *ptr;                    // samples + 1
    const int *owner;                // samples: who gets the sample's
    struct thaw_wire wire;
    uint8_t **taken; // threads x this rank's items
};

static int64_t rows_of(const struct thaw_gan_apply *a, int rank) {
    return a->items->plan->rank_row[rank + 1] - a->items->plan->rank_row[rank];
}

static int64_t at_most(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// Entries that `rank` sends to `to`.
static int64_t length_of(const struct thaw_gan_apply *a, const struct offer *o, const int64_t *want, int rank,
                         int to) {
    int64_t n = 0;
    for (int s = 0; s < a->batch->count; s++)
        if (o->owner[s] == to) n += at_most(want[s], rows_of(a, rank));
    return n;
}

static int begin(struct thaw_gan_apply *a, struct offer *o, const int64_t *want, const int *owner,
                 struct thaw_err *err) {
    const struct thaw_batch *batch = a->batch;
    const int64_t rows = a->items->rows;
    const size_t b = (size_t)batch->b;
    int64_t pieces = 0, most = 0;
    int code = thaw_alloc(&o->ptr, b + 1, sizeof *o->ptr, "offers", err);
    if (code) return code;
    o->owner = owner;
    for (int s = 0; s < batch->count; s++) o->ptr[s + 1] = o->ptr[s] + at_most(want[s], rows);
    for (int r = 0; r < a->c->size; r++) {
        const int64_t sent = length_of(a, o, want, a->c->rank, r), got = length_of(a, o, want, r, a->c->rank);
        pieces += (int64_t)thaw_wire_pieces(sent * (int64_t)sizeof *o->own) +
                  (int64_t)thaw_wire_pieces(got * (int64_t)sizeof *o->own);
        most = got > most ? got : most;
    }
    code = thaw_alloc(&o->own, (size_t)o->ptr[batch->count], sizeof *o->own, "offers", err);
    if (!code) code = thaw_alloc(&o->other, (size_t)most, sizeof *o->other, "offers", err);
    if (!code) code = thaw_wire_reserve(&o->wire, (size_t)pieces, err);
    if (!code) code = thaw_alloc(&o->taken, (size_t)a->scratch->nthreads, sizeof *o->taken, "offers", err);
    for (int t = 0; !code && t < a->scratch->nthreads; t++)
        code = thaw_alloc(&o->taken[t], (size_t)rows, 1, "offers", err);
    if (!code && !a->scratch->logits)
        code = thaw_alloc(&a->scratch->logits, (size_t)rows * b, sizeof(float), "logits", err);
    return code;
}

static void end(const struct thaw_gan_apply *a, struct offer *o) {
    for (int t = 0; o->taken && t < a->scratch->nthreads; t++) free(o->taken[t]);
    free(o->taken);
    free(o->own);
    free(o->other);
    free(o->ptr);
    thaw_wire_free(&o->wire);
}

// What a sample's user has among this rank's items.
static void mark(const struct thaw_gan_apply *a, int s, uint8_t *taken, uint8_t value) {
    const struct thaw_batch *batch = a->batch;
    for (int64_t i = batch->rest_ptr[s]; i < batch->rest_ptr[s + 1]; i++) taken[batch->rest[i]] = value;
    for (int i = 0; i < batch->n[s]; i++) {
        const int64_t row = batch->known[s * batch->longest + i] - a->items->first;
        if (row >= 0 && row < a->items->rows) taken[row] = value;
    }
}

static double gumbel(struct thaw_rng *rng) {
    return -log(-log(((double)thaw_rng_u32(rng) + .5) * 0x1p-32));
}

// The best of this rank's items for sample s.
static void choose(struct thaw_gan_apply *a, const struct offer *o, enum thaw_pick_how how, int64_t position,
                   int s, uint8_t *taken) {
    const struct thaw_gan_items *items = a->items;
    struct thaw_topk top;
    thaw_topk_begin(&top, o->own + o->ptr[s], (int)(o->ptr[s + 1] - o->ptr[s]));
    if (how == THAW_PICK_BEST) mark(a, s, taken, 1);
    for (int i = 0; i < items->ntiles; i++) {
        const int64_t first = items->tile[i], n = items->tile[i + 1] - first;
        const float *logit = a->scratch->logits + first * a->batch->b + s * n;
        struct thaw_rng rng =
            thaw_rng_at(a->seed, THAW_STREAM_VIRTUAL,
                        (uint64_t)(position * thaw_plan_rows(items->plan) + items->first + first));
        for (int64_t r = 0; r < n; r++) {
            const double score = (double)logit[r] + (how == THAW_PICK_DRAW ? gumbel(&rng) : 0);
            if (!taken[first + r] && thaw_topk_wants(&top, score))
                thaw_topk_push(&top, score, items->first + first + r);
        }
    }
    for (int i = top.n; i < top.cap; i++) top.best[i] = (struct thaw_scored){(double)NAN, -1};
    if (how == THAW_PICK_BEST) mark(a, s, taken, 0);
}

static void offer_own(struct thaw_gan_apply *a, const struct offer *o, enum thaw_pick_how how,
                      int64_t number) {
    const struct thaw_gan_items *items = a->items;
    const int b = a->batch->b;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < items->ntiles; i++) {
        const int64_t first = items->tile[i];
        thaw_gan_decode(a->u, b, items->p[THAW_GAN_DECODER] + first * items->k,
                        items->p[THAW_GAN_BIAS] + first, (int)(items->tile[i + 1] - first), items->k,
                        a->log_scale, a->scratch->logits + first * b);
    }
#pragma omp parallel for schedule(dynamic, 4)
    for (int s = 0; s < a->batch->count; s++)
        choose(a, o, how, number * b + s, s, o->taken[omp_get_thread_num()]);
}

// Offers of one rank to the samples of this one.
static void take(const struct thaw_gan_apply *a, const struct offer *o, const struct thaw_scored *from,
                 int64_t rows, const int64_t *want, struct thaw_topk *top) {
    for (int s = 0; s < a->batch->count; s++) {
        if (o->owner[s] != a->c->rank) continue;
        const int64_t n = at_most(want[s], rows);
        for (int64_t i = 0; i < n; i++) thaw_topk_push(&top[s], from[i].score, from[i].row);
        from += n;
    }
}

// Everybody's offers to the users' owners, one rank after the other.
static void exchange(struct thaw_gan_apply *a, struct offer *o, const int64_t *want,
                     struct thaw_scored *packed, struct thaw_topk *top) {
    const int64_t width = (int64_t)sizeof *packed;
    struct thaw_scored *at = packed;
    for (int r = 0; r < a->c->size; r++) { // own offers, packed by receiver
        struct thaw_scored *start = at;
        for (int s = 0; s < a->batch->count; s++) {
            if (o->owner[s] != r) continue;
            memcpy(at, o->own + o->ptr[s], (size_t)(o->ptr[s + 1] - o->ptr[s]) * sizeof *at);
            at += o->ptr[s + 1] - o->ptr[s];
        }
        if (r == a->c->rank)
            take(a, o, start, a->items->rows, want, top);
        else if (at > start)
            thaw_wire_send(&o->wire, a->c, start, (at - start) * width, r, 9);
    }
    for (int r = 0; r < a->c->size; r++) {
        const int64_t n = r == a->c->rank ? 0 : length_of(a, o, want, r, a->c->rank);
        if (n == 0) continue;
        const size_t before = o->wire.n;
        thaw_wire_recv(&o->wire, a->c, o->other, n * width, r, 9);
        MPI_Waitall((int)(o->wire.n - before), o->wire.request + before, MPI_STATUSES_IGNORE);
        o->wire.n = before;
        take(a, o, o->other, rows_of(a, r), want, top);
    }
    thaw_wire_wait(&o->wire);
}

static int keep(const struct thaw_gan_apply *a, struct thaw_topk *top, struct thaw_picks *out,
                struct thaw_err *err) {
    const int count = a->batch->count;
    int64_t n = 0;
    int code = THAW_OK;
    for (int s = 0; s < count; s++) {
        out->ptr[s] = n;
        n += top[s].n;
    }
    for (int s = count; s <= a->batch->b; s++) out->ptr[s] = n;
    code = thaw_grow(&out->item, &out->item_cap, (size_t)n, sizeof *out->item, "picks", err);
    if (!code) code = thaw_grow(&out->score, &out->score_cap, (size_t)n, sizeof *out->score, "picks", err);
    for (int s = 0; !code && s < count; s++) {
        thaw_topk_end(&top[s]);
        for (int i = 0; i < top[s].n; i++) {
            out->item[out->ptr[s] + i] = top[s].best[i].row;
            out->score[out->ptr[s] + i] = top[s].best[i].score;
        }
    }
    return code;
}

int thaw_gan_apply_pick(struct thaw_gan_apply *a, enum thaw_pick_how how, const int64_t *want, int64_t number,
                        const int *owner, struct thaw_picks *out, struct thaw_err *err) {
    struct offer o = {0};
    struct thaw_scored *packed = NULL, *memory = NULL;
    struct thaw_topk *top = NULL;
    const int count = a->batch->count;
    int64_t total = 0;
    int code = begin(a, &o, want, owner, err);
    for (int s = 0; !code && s < count; s++) total += o.owner[s] == a->c->rank ? want[s] : 0;
    if (!code) code = thaw_alloc(&packed, (size_t)o.ptr[count], sizeof *packed, "offers", err);
    if (!code) code = thaw_alloc(&memory, (size_t)total, sizeof *memory, "picks", err);
    if (!code) code = thaw_alloc(&top, (size_t)count, sizeof *top, "picks", err);
    if (!code && !out->ptr)
        code = thaw_alloc(&out->ptr, (size_t)a->batch->b + 1, sizeof *out->ptr, "picks", err);
    if ((code = thaw_comm_agree(a->c, code, err))) goto done;
    for (int s = 0, at = 0; s < count; s++) {
        const int n = o.owner[s] == a->c->rank ? (int)want[s] : 0;
        thaw_topk_begin(&top[s], memory + at, n);
        at += n;
    }
    offer_own(a, &o, how, number);
    exchange(a, &o, want, packed, top);
    code = thaw_comm_agree(a->c, keep(a, top, out, err), err);
done:
    end(a, &o);
    free(packed);
    free(memory);
    free(top);
    return code;
}

void thaw_picks_clear(struct thaw_picks *p) {
    free(p->ptr);
    free(p->item);
    free(p->score);
    *p = (struct thaw_picks){0};
}
