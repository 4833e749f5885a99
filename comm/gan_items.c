// gan_items.c: see gan_items.h.
#include "comm/gan_items.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"
#include "comm/window.h"

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

enum { ROWS = 7, GIVEN }; // tags

// Ranks of this node are near, the others far: between these rows travel.
struct thaw_gan_exchange {
    int longest, *owner;     // batch x longest: rank of each known item
    float *here, *there;     // rows on their way: from or to far ranks, to or from them
    int64_t *send, *receive; // size + 1: rows to and from each far rank, as offsets
    int *begin;              // size + 1: first sample of each rank
    char *token;             // near ranks: what they send when their gradients are there
    int near_first, near_end;
    struct thaw_window *window; // of the near ranks, one after the other: embeddings; fixed ones; dknown
    float **embedding, **fixed; // near ranks: where theirs lie
    float **dknown;
    struct thaw_wire wire;
};

static bool is_near(const struct thaw_gan_exchange *x, int rank) {
    return rank >= x->near_first && rank < x->near_end;
}

static int exchange_new(struct thaw_gan_exchange **out, struct thaw_comm *c, int batch, int longest, int k,
                        bool fixed, struct thaw_err *err) {
    const size_t rows = (size_t)batch * (size_t)longest, size = (size_t)c->size;
    const size_t near = (size_t)c->node_size, floats = rows * (size_t)k * (fixed ? 2 : 1);
    const char *what = "the exchange of item rows";
    struct thaw_gan_exchange *x = NULL;
    int code = thaw_alloc(&x, 1, sizeof *x, what, err);
    if (code) return code;
    *out = x;
    x->longest = longest;
    x->near_first = c->rank - c->node_rank;
    x->near_end = x->near_first + c->node_size;
    code = thaw_alloc(&x->owner, rows, sizeof *x->owner, what, err);
    if (!code) code = thaw_alloc(&x->here, near < size ? floats : 0, sizeof *x->here, what, err);
    if (!code) code = thaw_alloc(&x->there, near < size ? floats : 0, sizeof *x->there, what, err);
    if (!code) code = thaw_alloc(&x->send, size + 1, sizeof *x->send, what, err);
    if (!code) code = thaw_alloc(&x->receive, size + 1, sizeof *x->receive, what, err);
    if (!code) code = thaw_alloc(&x->begin, size + 1, sizeof *x->begin, what, err);
    if (!code) code = thaw_alloc(&x->token, near, 1, what, err);
    if (!code) code = thaw_alloc(&x->embedding, near, sizeof *x->embedding, what, err);
    if (!code) code = thaw_alloc(&x->fixed, near, sizeof *x->fixed, what, err);
    if (!code) code = thaw_alloc(&x->dknown, near, sizeof *x->dknown, what, err);
    if (!code)
        code = thaw_wire_reserve(&x->wire, 2 * (size + thaw_wire_pieces((int64_t)(floats * sizeof(float)))),
                                 err);
    return code;
}

// Collective. What the ranks of this node show each other, and this rank's part of it in t.
static int open_window(struct thaw_gan_items *t, int batch, bool fixed, bool learns, struct thaw_err *err) {
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k, row = (size_t)x->longest * k;
    const int64_t *first = t->plan->rank_row;
    const size_t rows = (size_t)(first[x->near_end] - first[x->near_first]) * k;
    const int sample = thaw_batch_begin(batch, t->c->size, x->near_first);
    const size_t samples = (size_t)(thaw_batch_begin(batch, t->c->size, x->near_end) - sample) * row;
    const size_t all = rows * (fixed ? 2 : 1) + (learns ? samples : 0);
    const int code = thaw_window_new(&x->window, t->c, (int64_t)(all * sizeof(float)), err);
    if (code) return code;
    float *at = thaw_window_bytes(x->window);
    for (int i = 0; i < t->c->node_size; i++) {
        const int r = x->near_first + i;
        x->embedding[i] = at + (size_t)(first[r] - first[x->near_first]) * k;
        x->fixed[i] = x->embedding[i] + rows;
        x->dknown[i] =
            at + rows * (fixed ? 2 : 1) + (size_t)(thaw_batch_begin(batch, t->c->size, r) - sample) * row;
    }
    t->p[THAW_GAN_EMBEDDING] = x->embedding[t->c->node_rank];
    memset(t->p[THAW_GAN_EMBEDDING], 0, (size_t)t->rows * k * sizeof(float));
    if (fixed) t->fixed = x->fixed[t->c->node_rank];
    if (fixed) memset(t->fixed, 0, (size_t)t->rows * k * sizeof(float));
    if (learns) t->dknown = x->dknown[t->c->node_rank];
    return THAW_OK;
}

static void exchange_free(struct thaw_gan_exchange *x) {
    if (!x) return;
    free(x->owner);
    free(x->here);
    free(x->there);
    free(x->send);
    free(x->receive);
    free(x->begin);
    free(x->token);
    free(x->embedding);
    free(x->fixed);
    free(x->dknown);
    thaw_wire_wait(&x->wire);
    thaw_wire_free(&x->wire);
    thaw_window_free(&x->window);
    free(x);
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
        for (int j = i == THAW_GAN_EMBEDDING; !code && j < (learns ? 5 : 1); j++) // its p: in the window
            code = thaw_alloc(array[j], n, sizeof(float), what, err);
    }
    if (!code)
        code = exchange_new(&t->exchange, c, batch > THAW_APPLY_BATCH ? batch : THAW_APPLY_BATCH, longest, k,
                            fixed, err);
    if ((code = thaw_comm_agree(c, code, err)) || (code = open_window(t, batch, fixed, learns, err)))
        thaw_gan_items_free(&t);
    else
        *out = t;
    return code;
}

void thaw_gan_items_free(struct thaw_gan_items **out) {
    struct thaw_gan_items *t = *out;
    if (!t) return;
    for (int i = 0; i < THAW_GAN_TABLES; i++) {
        if (i != THAW_GAN_EMBEDDING) free(t->p[i]);
        free(t->m[i]);
        free(t->v[i]);
        free(t->averaged[i]);
        free(t->gradient[i]);
    }
    free(t->tile);
    free(t->tile_of);
    exchange_free(t->exchange);
    free(t);
    *out = NULL;
}

// ---- Exchange ----
// All ranks know the batch's known items, so both ends of a message know what is in it: the rows that one
// rank owns among the known items of the other's samples, in the order of samples.

// send, receive: how many rows from this rank's items to each far rank's samples, and the other way round.
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
                if (owner == rank && !is_near(x, r)) x->send[r + 1]++;
                if (r == rank && !is_near(x, owner)) x->receive[owner + 1]++;
            }
    for (int r = 0; r < size; r++) {
        x->send[r + 1] += x->send[r];
        x->receive[r + 1] += x->receive[r];
    }
}

// from and to: `width` floats a row, by offsets.
static void post(struct thaw_gan_items *t, const float *out, const int64_t *sent, float *in,
                 const int64_t *got, size_t width) {
    struct thaw_gan_exchange *x = t->exchange;
    const int64_t row = (int64_t)(width * sizeof(float));
    for (int r = 0; r < t->c->size; r++) {
        if (is_near(x, r)) continue;
        if (got[r + 1] > got[r])
            thaw_wire_recv(&x->wire, t->c, in + (size_t)got[r] * width, (got[r + 1] - got[r]) * row, r, ROWS);
        if (sent[r + 1] > sent[r])
            thaw_wire_send(&x->wire, t->c, out + (size_t)sent[r] * width, (sent[r + 1] - sent[r]) * row, r,
                           ROWS);
        t->nbytes += (sent[r + 1] - sent[r]) * row;
    }
}

static void wait_for(struct thaw_gan_items *t) {
    const double began = thaw_time_s();
    thaw_wire_wait(&t->exchange->wire);
    if (t->c->size > 1) t->wait_s += thaw_time_s() - began;
}

// Offsets that were counted up have each become the next one's.
static void back_to_begin(int64_t *offset, int size) {
    memmove(offset + 1, offset, (size_t)size * sizeof *offset);
    offset[0] = 0;
}

// This rank's rows for the samples of far ranks.
static void pack(const struct thaw_gan_items *t, const struct thaw_batch *batch, bool fixed) {
    const struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k, nbytes = k * sizeof(float);
    float *out = x->here;
    for (int s = 0, r = 0; s < batch->b; s++) {
        while (s >= x->begin[r + 1]) r++;
        for (int i = 0; !is_near(x, r) && i < batch->n[s]; i++) {
            const int at = s * x->longest + i;
            if (x->owner[at] != t->c->rank) continue;
            const size_t row = (size_t)(batch->known[at] - t->first) * k;
            memcpy(out, t->p[THAW_GAN_EMBEDDING] + row, nbytes);
            if (fixed) memcpy(out + k, t->fixed + row, nbytes);
            out += fixed ? 2 * k : k;
        }
    }
}

void thaw_gan_items_show(struct thaw_gan_items *t) {
    thaw_window_fence(t->exchange->window);
}

void thaw_gan_items_fetch(struct thaw_gan_items *t, const struct thaw_batch *batch, float *known,
                          float *fixed) {
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k, nbytes = k * sizeof(float), width = fixed ? 2 * k : k;
    route(t, batch);
    thaw_window_fence(x->window);
    if (t->c->node_size < t->c->size) {
        pack(t, batch, fixed != NULL);
        post(t, x->here, x->send, x->there, x->receive, width);
        wait_for(t);
    }
    for (int s = batch->begin; s < batch->end; s++)
        for (int i = 0; i < batch->n[s]; i++) {
            const int at = s * x->longest + i, owner = x->owner[at], near = owner - x->near_first;
            const size_t to = (size_t)((s - batch->begin) * x->longest + i) * k;
            const float *from, *from_fixed = NULL;
            if (is_near(x, owner)) {
                const size_t row = (size_t)(batch->known[at] - t->plan->rank_row[owner]) * k;
                from = x->embedding[near] + row;
                if (fixed) from_fixed = x->fixed[near] + row;
            } else {
                from = x->there + (size_t)x->receive[owner]++ * width;
                from_fixed = from + k;
            }
            memcpy(known + to, from, nbytes);
            if (fixed) memcpy(fixed + to, from_fixed, nbytes);
        }
    back_to_begin(x->receive, t->c->size);
}

void thaw_gan_items_give(struct thaw_gan_items *t, const struct thaw_batch *batch) {
    static const char token = 0;
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k;
    for (int s = batch->begin; s < batch->end; s++)
        for (int i = 0; i < batch->n[s]; i++) {
            const int owner = x->owner[s * x->longest + i];
            if (is_near(x, owner)) continue;
            memcpy(x->here + (size_t)x->receive[owner]++ * k,
                   t->dknown + (size_t)((s - batch->begin) * x->longest + i) * k, k * sizeof(float));
        }
    back_to_begin(x->receive, t->c->size);
    thaw_window_fence(x->window);
    for (int r = x->near_first; r < x->near_end; r++) {
        if (r == t->c->rank) continue;
        thaw_wire_recv(&x->wire, t->c, &x->token[r - x->near_first], 1, r, GIVEN);
        thaw_wire_send(&x->wire, t->c, &token, 1, r, GIVEN);
    }
    post(t, x->here, x->receive, x->there, x->send, k);
}

void thaw_gan_items_take(struct thaw_gan_items *t, const struct thaw_batch *batch) {
    struct thaw_gan_exchange *x = t->exchange;
    const size_t k = (size_t)t->k;
    wait_for(t);
    thaw_window_fence(x->window);
    for (int s = 0, r = 0; s < batch->b; s++) {
        while (s >= x->begin[r + 1]) r++;
        for (int i = 0; i < batch->n[s]; i++) {
            const int at = s * x->longest + i;
            if (x->owner[at] != t->c->rank) continue;
            float *g = t->gradient[THAW_GAN_EMBEDDING] + (size_t)(batch->known[at] - t->first) * k;
            const float *from = is_near(x, r) ? x->dknown[r - x->near_first] +
                                                    (size_t)((s - x->begin[r]) * x->longest + i) * k
                                              : x->there + (size_t)x->send[r]++ * k;
            for (size_t j = 0; j < k; j++) g[j] += from[j];
        }
    }
}

bool thaw_gan_items_adam(struct thaw_gan_items *t, enum thaw_gan_table table, int tile,
                         const struct thaw_gan_adam *a, int64_t step, float rate, float keep) {
    const size_t w = thaw_gan_width(t, table), at = (size_t)t->tile[tile] * w;
    const size_t n = (size_t)(t->tile[tile + 1] - t->tile[tile]) * w;
    const bool finite =
        thaw_gan_adam_step(a, step, rate, t->gradient[table] + at, t->p[table] + at, t->m[table] + at,
                           t->v[table] + at, t->averaged[table] + at, keep, n);
    memset(t->gradient[table] + at, 0, n * sizeof(float));
    return finite;
}

void thaw_gan_items_swap(struct thaw_gan_items *t) {
    thaw_window_sync(t->exchange->window);
    for (int i = 0; i < THAW_GAN_TABLES; i++)
        for (size_t j = 0; j < (size_t)t->rows * thaw_gan_width(t, i); j++) {
            const float p = t->p[i][j];
            t->p[i][j] = t->averaged[i][j];
            t->averaged[i][j] = p;
        }
    thaw_window_sync(t->exchange->window);
}
