// gan_items.c: see gan_items.h.
#include "comm/gan_items.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"

#include <stdlib.h>
#include <string.h>

// ---- Blocks ----

// How many parts make a block: a power of two, as the numbers of parts and of ranks often are, so that ranks
// get equally many.
static int32_t parts_of_block(int64_t rows, int32_t nparts) {
    int32_t n = 1;
    while (n < nparts && rows * n < (int64_t)THAW_GAN_BLOCK * nparts) n *= 2;
    return n;
}

int thaw_gan_items_plan(struct thaw_plan *plan, const Thaw__Side *items, int nranks, struct thaw_err *err) {
    const int32_t nparts = (int32_t)items->n_part_rows;
    struct thaw_plan by_block = {0};
    int64_t *rows = NULL;
    int code = thaw_plan_new(plan, nparts, items->part_rows, NULL, nranks, err);
    if (code) return code;
    const int32_t n = parts_of_block(thaw_plan_rows(plan), nparts), nblocks = (nparts + n - 1) / n;
    code = thaw_alloc(&rows, (size_t)nblocks, sizeof *rows, "a plan of items", err);
    for (int32_t p = 0; !code && p < nparts; p++) rows[p / n] += items->part_rows[p];
    if (!code) code = thaw_plan_new(&by_block, nblocks, rows, NULL, nranks, err);
    for (int r = 0; !code && r <= nranks; r++) {
        const int32_t part = by_block.first_part[r] * n;
        plan->first_part[r] = part < nparts ? part : nparts;
        plan->rank_row[r] = plan->first_row[plan->first_part[r]];
    }
    if (code) thaw_plan_clear(plan);
    thaw_plan_clear(&by_block);
    free(rows);
    return code;
}

// Tiles of this rank: each block's rows in the fewest equal runs.
static int cut_tiles(struct thaw_gan_items *t, struct thaw_err *err) {
    const int rank = thaw_comm_rank(t->c);
    const int32_t nparts = t->plan->nparts, end = t->plan->first_part[rank + 1];
    const int32_t block = parts_of_block(thaw_plan_rows(t->plan), nparts);
    const size_t most = (size_t)(end - t->plan->first_part[rank]) + (size_t)(t->rows / THAW_GAN_TILE) + 2;
    int code = thaw_alloc(&t->tile, most, sizeof *t->tile, "tiles of items", err);
    if (!code) code = thaw_alloc(&t->tile_of, (size_t)t->rows, sizeof *t->tile_of, "tiles of items", err);
    if (code) return code;
    int64_t begin = 0;
    for (int32_t p = t->plan->first_part[rank]; p < end; p++) {
        const int64_t at = t->plan->first_row[p + 1] - t->first, n = at - begin;
        if (n == 0 || ((p + 1) % block && p + 1 < nparts)) continue;
        const int64_t pieces = (n + THAW_GAN_TILE - 1) / THAW_GAN_TILE;
        for (int64_t i = 1; i <= pieces; i++) t->tile[++t->ntiles] = begin + n * i / pieces;
        begin = at;
    }
    for (int i = 0; i < t->ntiles; i++)
        for (int64_t r = t->tile[i]; r < t->tile[i + 1]; r++) t->tile_of[r] = i;
    return THAW_OK;
}

// ---- Begin and end ----

struct thaw_gan_exchange {
    int longest, *owner; // batch x longest: rank of each known item
    float *here, *there; // rows on their way: from or to other ranks, to or from them
    int64_t here_cap, there_cap;
    int64_t *send, *receive; // size + 1: rows to and from each rank, as offsets
    int *begin;              // size + 1: first sample of each rank
    struct thaw_wire wire;
};

static int exchange_new(struct thaw_gan_exchange **out, struct thaw_comm *c, int batch, int longest, int k,
                        bool fixed, struct thaw_err *err) {
    const size_t rows = (size_t)batch * (size_t)longest, size = (size_t)c->size;
    const size_t floats = rows * (size_t)k * (fixed ? 2 : 1);
    const char *what = "the exchange of item rows";
    struct thaw_gan_exchange *x = NULL;
    int code = thaw_alloc(&x, 1, sizeof *x, what, err);
    if (code) return code;
    *out = x;
    x->longest = longest;
    code = thaw_alloc(&x->owner, rows, sizeof *x->owner, what, err);
    if (!code) code = thaw_alloc(&x->here, floats, sizeof *x->here, what, err);
    if (!code) code = thaw_alloc(&x->there, floats, sizeof *x->there, what, err);
    if (!code) code = thaw_alloc(&x->send, size + 1, sizeof *x->send, what, err);
    if (!code) code = thaw_alloc(&x->receive, size + 1, sizeof *x->receive, what, err);
    if (!code) code = thaw_alloc(&x->begin, size + 1, sizeof *x->begin, what, err);
    if (!code)
        code = thaw_wire_reserve(&x->wire, 2 * (size + thaw_wire_pieces((int64_t)(floats * sizeof(float)))),
                                 err);
    return code;
}

int thaw_gan_items_new(struct thaw_gan_items **out, struct thaw_comm *c, const struct thaw_plan *plan, int k,
                       int batch, int longest, bool fixed, bool learns, struct thaw_err *err) {
    const int rank = thaw_comm_rank(c);
    const char *what = "the generator's item rows";
    struct thaw_gan_items *t = NULL;
    int code = thaw_alloc(&t, 1, sizeof *t, what, err);
    if (!code) {
        *t = (struct thaw_gan_items){.c = c,
                                     .plan = plan,
                                     .k = k,
                                     .first = plan->rank_row[rank],
                                     .rows = plan->rank_row[rank + 1] - plan->rank_row[rank]};
        code = cut_tiles(t, err);
    }
    for (int i = 0; !code && i < THAW_GAN_TABLES; i++) {
        const size_t n = (size_t)t->rows * thaw_gan_width(t, i);
        float **const array[] = {&t->p[i], &t->m[i], &t->v[i], &t->averaged[i], &t->gradient[i]};
        for (int j = 0; !code && j < (learns ? 5 : 1); j++)
            code = thaw_alloc(array[j], n, sizeof(float), what, err);
    }
    if (!code && fixed)
        code = thaw_alloc(&t->fixed, (size_t)t->rows * (size_t)k, sizeof *t->fixed, what, err);
    if (!code)
        code = exchange_new(&t->exchange, c, batch > THAW_APPLY_BATCH ? batch : THAW_APPLY_BATCH, longest, k,
                            fixed, err);
    if ((code = thaw_comm_agree(c, code, err)))
        thaw_gan_items_free(&t);
    else
        *out = t;
    return code;
}

void thaw_gan_items_free(struct thaw_gan_items **out) {
    struct thaw_gan_items *t = *out;
    if (!t) return;
    for (int i = 0; i < THAW_GAN_TABLES; i++) {
        free(t->p[i]);
        free(t->m[i]);
        free(t->v[i]);
        free(t->averaged[i]);
        free(t->gradient[i]);
    }
    free(t->fixed);
    free(t->tile);
    free(t->tile_of);
    if (t->exchange) {
        struct thaw_gan_exchange *x = t->exchange;
        free(x->owner);
        free(x->here);
        free(x->there);
        free(x->send);
        free(x->receive);
        free(x->begin);
        thaw_wire_free(&x->wire);
        free(x);
    }
    free(t);
    *out = NULL;
}

// ---- Exchange ----
// All ranks know the batch's known items, so both ends of a message know what is in it: the rows that one
// rank owns among the known items of the other's samples, in the order of samples.

// send, receive: how many rows from this rank's items to each rank's samples, and the other way round.
static void route(struct thaw_gan_items *t, const struct thaw_batch *batch) {
    struct thaw_gan_exchange *x = t->exchange;
    const int size = t->c->size, rank = t->c->rank;
    for (int r = 0; r <= size; r++) x->begin[r] = thaw_batch_begin(batch->b, size, r);
    memset(x->send, 0, ((size_t)size + 1) * sizeof *x->send);
    memset(x->receive, 0, ((size_t)size + 1) * sizeof *x->receive);
    for (int r = 0; r < size; r++)
        for (int s = x->begin[r]; s < x->begin[r + 1]; s++)
            for (int i = 0; i < batch->n[s]; i++) {
                const int at = s * x->longest + i;
                const int owner = x->owner[at] = thaw_plan_rank_of(t->plan, batch->known[at]);
                if (owner == rank) x->send[r + 1]++;
                if (r == rank) x->receive[owner + 1]++;
            }
    for (int r = 0; r < size; r++) {
        x->send[r + 1] += x->send[r];
        x->receive[r + 1] += x->receive[r];
    }
}

// from and to: `width` floats a row, by offsets; rows of this rank are the caller's.
static void travel(struct thaw_gan_items *t, const float *out, const int64_t *sent, float *in,
                   const int64_t *got, size_t width) {
    struct thaw_gan_exchange *x = t->exchange;
    const int64_t row = (int64_t)(width * sizeof(float));
    const double began = thaw_time_s();
    for (int r = 0; r < t->c->size; r++) {
        if (r == t->c->rank) continue;
        if (got[r + 1] > got[r])
            thaw_wire_recv(&x->wire, t->c, in + (size_t)got[r] * width, (got[r + 1] - got[r]) * row, r, 7);
        if (sent[r + 1] > sent[r])
            thaw_wire_send(&x->wire, t->c, out + (size_t)sent[r] * width, (sent[r + 1] - sent[r]) * row, r,
                           7);
        t->nbytes += (sent[r + 1] - sent[r]) * row;
    }
    thaw_wire_wait(&x->wire);
    if (t->c->size > 1) t->wait_s += thaw_time_s() - began;
}

// Offsets that were counted up have each become the next one's.
static void back_to_begin(int64_t *offset, int size) {
    memmove(offset + 1, offset, (size_t)size * sizeof *offset);
    offset[0] = 0;
}

void thaw_gan_items_fetch(struct thaw_gan_items *t, const struct thaw_batch *batch, float *known,
                          float *fixed) {
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k, nbytes = k * sizeof(float), width = fixed ? 2 * k : k;
    const int rank = t->c->rank;
    route(t, batch);
    float *out = x->here;
    for (int s = 0; s < batch->b; s++)
        for (int i = 0; i < batch->n[s]; i++) {
            const int at = s * x->longest + i;
            if (x->owner[at] != rank) continue;
            const size_t row = (size_t)(batch->known[at] - t->first) * k;
            memcpy(out, t->p[THAW_GAN_EMBEDDING] + row, nbytes);
            if (fixed) memcpy(out + k, t->fixed + row, nbytes);
            out += width;
        }
    travel(t, x->here, x->send, x->there, x->receive, width);
    const float *own = x->here + (size_t)x->send[rank] * width;
    for (int s = batch->begin; s < batch->end; s++)
        for (int i = 0; i < batch->n[s]; i++) {
            const int owner = x->owner[s * x->longest + i];
            const size_t to = (size_t)((s - batch->begin) * x->longest + i) * k;
            const size_t place = (size_t)x->receive[owner]++;
            const float *from = owner == rank ? own : x->there + place * width;
            memcpy(known + to, from, nbytes);
            if (fixed) memcpy(fixed + to, from + k, nbytes);
            if (owner == rank) own += width;
        }
    back_to_begin(x->receive, t->c->size);
}

void thaw_gan_items_return(struct thaw_gan_items *t, const struct thaw_batch *batch, const float *dknown) {
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k;
    const int rank = t->c->rank;
    for (int s = batch->begin; s < batch->end; s++)
        for (int i = 0; i < batch->n[s]; i++)
            memcpy(x->here + (size_t)x->receive[x->owner[s * x->longest + i]]++ * k,
                   dknown + (size_t)((s - batch->begin) * x->longest + i) * k, k * sizeof *dknown);
    back_to_begin(x->receive, t->c->size);
    travel(t, x->here, x->receive, x->there, x->send, k);
    const float *own = x->here + (size_t)x->receive[rank] * k;
    for (int s = 0, r = 0; s < batch->b; s++) {
        while (s >= x->begin[r + 1]) r++;
        for (int i = 0; i < batch->n[s]; i++) {
            const int at = s * x->longest + i;
            if (x->owner[at] != rank) continue;
            float *g = t->gradient[THAW_GAN_EMBEDDING] + (size_t)(batch->known[at] - t->first) * k;
            const float *from = r == rank ? own : x->there + (size_t)x->send[r]++ * k;
            for (size_t j = 0; j < k; j++) g[j] += from[j];
            if (r == rank) own += k;
        }
    }
}

bool thaw_gan_items_adam(struct thaw_gan_items *t, int tile, const struct thaw_gan_adam *a, int64_t step,
                         float rate, float keep) {
    const size_t begin = (size_t)t->tile[tile], n = (size_t)t->tile[tile + 1] - begin;
    bool finite = true;
    for (int i = 0; i < THAW_GAN_TABLES; i++) {
        const size_t w = thaw_gan_width(t, i), at = begin * w;
        finite &= thaw_gan_adam_step(a, step, rate, t->gradient[i] + at, t->p[i] + at, t->m[i] + at,
                                     t->v[i] + at, t->averaged[i] + at, keep, n * w);
        memset(t->gradient[i] + at, 0, n * w * sizeof(float));
    }
    return finite;
}
