// push.c: pushed rows: every rank adds up its pieces, owners step on with the sums.
//
// All pushed rows of a batch go through a round together, so a round is one allgather of vectors and one
// reduce-scatter of sums, however many rows there are. The sums add without rounding, so neither the order of
// ranks nor that of threads matters.
#include "comm/sweep_impl.h"

#include "base/log.h"
#include "base/mem.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 16, LOCKS = 64 }; // pieces a thread takes at a time

struct batch {
    struct thaw_sweeping *w;
    const struct thaw_pushed *p;
    int64_t begin, end;  // rows of the batch
    int64_t own, own_at; // own rows in it, and the first one's place in p->row
    size_t nvector, nsums;
    float *vector;              // rows x nvector
    double *sums;               // rows x nsums
    double *total;              // own x nsums
    struct thaw_als_long **row; // own
    int *count, *offset;        // ranks: of the collectives
    omp_lock_t lock[LOCKS];
};

static int64_t rows_of(const struct batch *b, int rank) {
    const int64_t *first = b->p->first;
    const int64_t low = first[rank] > b->begin ? first[rank] : b->begin,
                  high = first[rank + 1] < b->end ? first[rank + 1] : b->end;
    return high > low ? high - low : 0;
}

static int begin_rows(struct batch *b, struct thaw_err *err) {
    struct thaw_sweeping *w = b->w;
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
    const int64_t first = b->p->first[w->c->rank];
    b->own = rows_of(b, w->c->rank);
    b->own_at = b->begin > first ? b->begin - first : 0;
    int code = THAW_OK;
    for (int64_t i = 0; !code && i < b->own; i++) {
        const int64_t k = b->own_at + i, n = b->p->row_n[k];
        thaw_als_enter(w->s, w->x + (size_t)b->p->row[k] * w->d, 1, w->thread[0].z);
        code = thaw_als_long_new(&b->row[i], w->s, n, thaw_als_long_weight(f, n, b->p->row_abs[k]), w->norm2,
                                 w->thread[0].z, err);
    }
    return code;
}

// True when some row still asks.
static bool share_vectors(struct batch *b) {
    struct thaw_sweeping *w = b->w;
    const int64_t rows = b->end - b->begin, base = b->p->first[w->c->rank] + b->own_at - b->begin;
    for (int r = 0, at = 0; r < w->c->size; r++) {
        b->count[r] = (int)(rows_of(b, r) * (int64_t)b->nvector);
        b->offset[r] = at;
        at += b->count[r];
    }
    for (int64_t i = 0; i < b->own; i++)
        thaw_als_long_ask(b->row[i], b->vector + (size_t)(base + i) * b->nvector);
    if (w->c->size > 1)
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, b->vector, b->count, b->offset, MPI_FLOAT,
                       w->c->all);
    const int64_t other = w->c->size - 1, bytes = (int64_t)(b->nvector * sizeof(float));
    w->stats->traffic.sent_bytes += other * b->own * bytes;
    w->stats->traffic.received_bytes += (rows - b->own) * bytes;
    w->stats->traffic.messages += other;
    for (size_t i = 0; i < (size_t)rows * b->nvector; i++)
        if (b->vector[i] != 0) return true;
    return false;
}

static void add_totals(struct batch *b) {
    struct thaw_sweeping *w = b->w;
    const int64_t rows = b->end - b->begin;
    for (int r = 0; r < w->c->size; r++) b->count[r] = (int)(rows_of(b, r) * (int64_t)b->nsums);
    if (w->c->size > 1)
        MPI_Reduce_scatter(b->sums, b->total, b->count, MPI_DOUBLE, MPI_SUM, w->c->all);
    else
        memcpy(b->total, b->sums, (size_t)rows * b->nsums * sizeof *b->sums);
    const int64_t other = w->c->size - 1, bytes = (int64_t)(b->nsums * sizeof(double));
    w->stats->traffic.sent_bytes += (rows - b->own) * bytes;
    w->stats->traffic.received_bytes += other * b->own * bytes;
    w->stats->traffic.messages += other;
}

// Sums of thread t so far, all of row `row`, to where the threads' sums come together.
static void flush(struct batch *b, int t, int64_t row) {
    double *from = b->w->thread[t].sums, *to = b->sums + (size_t)(row - b->begin) * b->nsums;
    omp_set_lock(&b->lock[row % LOCKS]);
    for (size_t i = 0; i < b->nsums; i++) to[i] += from[i];
    omp_unset_lock(&b->lock[row % LOCKS]);
    memset(from, 0, b->nsums * sizeof *from);
}

static void add_group(struct batch *b, int t, int64_t at, int64_t end) {
    struct thaw_sweeping *w = b->w;
    const struct thaw_pushed *p = b->p;
    for (int64_t i = at; i < end; i++) {
        const int64_t row = p->piece_row[i], from = p->piece_ptr[i];
        const struct thaw_als_row piece = {w->window, p->index + from, p->value + from,
                                           p->piece_ptr[i + 1] - from};
        thaw_als_long_piece(w->thread[t].work, w->s, &piece,
                            b->vector + (size_t)(row - b->begin) * b->nvector, w->thread[t].sums);
        if (i + 1 == end || p->piece_row[i + 1] != row) flush(b, t, row);
    }
}

// First piece of a row of at least `row`.
static int64_t find_piece(const struct thaw_pushed *p, int64_t row) {
    int64_t low = 0, high = p->npieces;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (p->piece_row[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void add_pieces(struct batch *b) {
    const int64_t begin = find_piece(b->p, b->begin), end = find_piece(b->p, b->end);
    memset(b->sums, 0, (size_t)(b->end - b->begin) * b->nsums * sizeof *b->sums);
    for (int t = 0; t < b->w->nthreads; t++) memset(b->w->thread[t].sums, 0, b->nsums * sizeof(double));
#pragma omp parallel for num_threads(b->w->nthreads) schedule(dynamic, 1)
    for (int64_t i = begin; i < end; i += GROUP)
        add_group(b, omp_get_thread_num(), i, i + GROUP < end ? i + GROUP : end);
}

static void step_rows(struct batch *b) {
    struct thaw_sweeping *w = b->w;
    for (int64_t i = 0; i < b->own; i++) {
        struct thaw_err err = THAW_ERR_INIT;
        const int code =
            thaw_als_long_step(b->row[i], w->thread[0].work, b->total + (size_t)i * b->nsums, &err);
        if (code) thaw_sweep_fail(w, w->first_row + b->p->row[b->own_at + i], code, &err);
    }
}

static void end_rows(struct batch *b) {
    struct thaw_sweeping *w = b->w;
    for (int64_t i = 0; i < b->own; i++) {
        const int64_t row = b->p->row[b->own_at + i];
        double loss;
        thaw_als_long_get(b->row[i], w->thread[0].z, &loss);
        thaw_als_leave(w->s, w->thread[0].z, 1, w->x + (size_t)row * w->d);
        if (w->row_loss) w->row_loss[row] = loss;
    }
}

static int run_batch(struct batch *b, struct thaw_err *err) {
    struct thaw_sweep_stats *stats = b->w->stats;
    const int rounds = thaw_als_long_rounds(thaw_als_sweep_config(b->w->s));
    double start = thaw_time_s();
    int code = begin_rows(b, err);
    stats->solve_s += thaw_time_s() - start;
    start = thaw_time_s();
    code = thaw_comm_agree(b->w->c, code, err);
    for (int round = 0; !code && round < rounds; round++) {
        const bool more = share_vectors(b);
        stats->wait_s += thaw_time_s() - start;
        if (!more) break;
        start = thaw_time_s();
        add_pieces(b);
        stats->solve_s += thaw_time_s() - start;
        start = thaw_time_s();
        add_totals(b);
        stats->wait_s += thaw_time_s() - start;
        start = thaw_time_s();
        step_rows(b);
        stats->solve_s += thaw_time_s() - start;
        start = thaw_time_s();
    }
    if (!code) end_rows(b);
    for (int64_t i = 0; i < b->own; i++) thaw_als_long_free(&b->row[i]);
    return code;
}

int thaw_sweep_push(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
    const struct thaw_pushed *p = &w->h->pushed;
    struct batch b = {.w = w, .p = p, .nvector = thaw_als_long_vector(f), .nsums = thaw_als_long_sums(f)};
    const size_t rows = (size_t)(p->batch < p->n ? p->batch : p->n), size = (size_t)w->c->size;
    if (p->n == 0) return THAW_OK;
    for (int i = 0; i < LOCKS; i++) omp_init_lock(&b.lock[i]);
    int code = thaw_alloc(&b.vector, rows * b.nvector, sizeof *b.vector, "pushed rows", err);
    if (!code) code = thaw_alloc(&b.sums, rows * b.nsums, sizeof *b.sums, "pushed rows", err);
    if (!code) code = thaw_alloc(&b.total, rows * b.nsums, sizeof *b.total, "pushed rows", err);
    if (!code) code = thaw_alloc(&b.row, rows, sizeof *b.row, "pushed rows", err);
    if (!code) code = thaw_alloc(&b.count, 2 * size, sizeof *b.count, "pushed rows", err);
    code = thaw_comm_agree(w->c, code, err);
    b.offset = b.count + size;
    for (b.begin = 0; !code && b.begin < p->n; b.begin = b.end) {
        b.end = b.begin + p->batch < p->n ? b.begin + p->batch : p->n;
        code = run_batch(&b, err);
    }
    for (int i = 0; i < LOCKS; i++) omp_destroy_lock(&b.lock[i]);
    free(b.vector);
    free(b.sums);
    free(b.total);
    free(b.row);
    free(b.count);
    return code;
}
