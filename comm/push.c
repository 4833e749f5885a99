// push.c: pushed rows: every rank adds up its pieces, owners step on with the sums.
//
// All pushed rows of a batch go through a round together, so a round is one allgather of vectors and one
// reduce-scatter of sums, however many rows there are. The sums add without rounding, so neither the order of
// ranks nor that of threads matters.
#include "comm/sweep_impl.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct pushing {
    struct thaw_sweeping *w;
    const struct thaw_pushed *p;
    struct thaw_long_batch b;
    int64_t begin, end;  // rows of the batch
    double *total;       // own rows x nsums
    int *count, *offset; // ranks: of the collectives
};

static int64_t rows_of(const struct pushing *g, int rank) {
    const int64_t *first = g->p->first;
    const int64_t low = first[rank] > g->begin ? first[rank] : g->begin,
                  high = first[rank + 1] < g->end ? first[rank + 1] : g->end;
    return high > low ? high - low : 0;
}

static void begin_rows(struct pushing *g) {
    struct thaw_sweeping *w = g->w;
    const int64_t first = g->p->first[w->c->rank];
    g->b.own = g->p->own + (g->begin > first ? g->begin - first : 0);
    g->b.nown = rows_of(g, w->c->rank);
    thaw_long_begin(w, &g->b);
}

// True when some row still asks.
static bool share_vectors(struct pushing *g) {
    struct thaw_sweeping *w = g->w;
    struct thaw_long_batch *b = &g->b;
    const int64_t rows = g->end - g->begin;
    for (int r = 0, at = 0; r < w->c->size; r++) {
        g->count[r] = (int)(rows_of(g, r) * (int64_t)b->nvector);
        g->offset[r] = at;
        at += g->count[r];
    }
    thaw_long_ask(b, b->vector + g->offset[w->c->rank]);
    if (w->c->size > 1)
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, b->vector, g->count, g->offset, MPI_FLOAT,
                       w->c->all);
    const int64_t other = w->c->size - 1, bytes = (int64_t)(b->nvector * sizeof(float));
    w->stats->traffic.sent_bytes += other * b->nown * bytes;
    w->stats->traffic.received_bytes += (rows - b->nown) * bytes;
    w->stats->traffic.messages += other;
    for (size_t i = 0; i < (size_t)rows * b->nvector; i++)
        if (b->vector[i] != 0) return true;
    return false;
}

static void add_totals(struct pushing *g) {
    struct thaw_sweeping *w = g->w;
    const struct thaw_long_batch *b = &g->b;
    const int64_t rows = g->end - g->begin;
    for (int r = 0; r < w->c->size; r++) g->count[r] = (int)(rows_of(g, r) * (int64_t)b->nsums);
    if (w->c->size > 1)
        MPI_Reduce_scatter(b->sums, g->total, g->count, MPI_DOUBLE, MPI_SUM, w->c->all);
    else
        memcpy(g->total, b->sums, (size_t)rows * b->nsums * sizeof *b->sums);
    const int64_t other = w->c->size - 1, bytes = (int64_t)(b->nsums * sizeof(double));
    w->stats->traffic.sent_bytes += (rows - b->nown) * bytes;
    w->stats->traffic.received_bytes += other * b->nown * bytes;
    w->stats->traffic.messages += other;
}

static void run_batch(struct pushing *g, int64_t batch) {
    struct thaw_sweeping *w = g->w;
    const struct thaw_pushed *p = g->p;
    const struct thaw_als_row all = {w->window, p->index, p->value, p->nnz};
    double start = thaw_time_s();
    g->begin = p->pieces.batch[batch].row;
    g->end = p->pieces.batch[batch + 1].row;
    begin_rows(g);
    w->stats->solve_s += thaw_time_s() - start;
    for (;;) {
        start = thaw_time_s();
        const bool more = share_vectors(g);
        w->stats->wait_s += thaw_time_s() - start;
        if (!more) break;
        start = thaw_time_s();
        thaw_long_add(w, &g->b, &all, &p->pieces, batch);
        w->stats->solve_s += thaw_time_s() - start;
        start = thaw_time_s();
        add_totals(g);
        w->stats->wait_s += thaw_time_s() - start;
        start = thaw_time_s();
        thaw_long_step(w, &g->b, g->total);
        w->stats->solve_s += thaw_time_s() - start;
    }
    start = thaw_time_s();
    thaw_long_end(w, &g->b);
    w->stats->solve_s += thaw_time_s() - start;
}

int thaw_sweep_push(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_pushed *p = &w->h->pushed;
    struct pushing g = {.w = w, .p = p};
    const int64_t rows = p->batch_rows < p->n ? p->batch_rows : p->n;
    const size_t size = (size_t)w->c->size;
    if (p->n == 0) return THAW_OK;
    int code = thaw_long_new(&g.b, thaw_als_sweep_config(w->s), rows, err);
    if (!code) code = thaw_alloc(&g.total, (size_t)rows * g.b.nsums, sizeof *g.total, "pushed rows", err);
    if (!code) code = thaw_alloc(&g.count, 2 * size, sizeof *g.count, "pushed rows", err);
    code = thaw_comm_agree(w->c, code, err);
    g.offset = g.count + size;
    for (int64_t i = 0; !code && i < p->pieces.nbatches; i++) run_batch(&g, i);
    thaw_long_clear(&g.b);
    free(g.total);
    free(g.count);
    return code;
}
