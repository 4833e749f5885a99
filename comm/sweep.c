// sweep.c: solve the rows of a half, chunk by chunk, while the next chunk's opposite rows are on their way.
#include "comm/sweep_impl.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODE_ROWS = 256, AHEAD = 16 };

void thaw_sweep_fail(struct thaw_sweeping *w, int64_t row, int code, const struct thaw_err *err) {
#pragma omp critical(thaw_sweep)
    if (row < w->failed_row) {
        w->failed = code;
        w->failure = *err;
        w->failed_row = row;
    }
}

int thaw_blas_alone_begin(void) {
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

void thaw_blas_alone_end(int threads) {
    omp_set_num_threads(threads);
}

// ---- Beginning ----

static int64_t packed_rows(const struct thaw_half *h) {
    return THAW_SWEEP_PACK / (int64_t)h->row_bytes;
}

static int long_new(const struct thaw_half *h, struct thaw_sweeper *own, struct thaw_err *err) {
    const int64_t n = packed_rows(h) + THAW_ALS_AHEAD, most = n - THAW_ALS_AHEAD;
    int code = thaw_alloc(&own->packed, THAW_SWEEP_PACK, 1, "a long row", err);
    if (!code) code = thaw_alloc(&own->count, (size_t)n, sizeof *own->count, "a long row", err);
    for (int64_t i = 0; !code && i < n; i++) own->count[i] = (uint32_t)(i < most ? i : 0);
    return code;
}

static int threads_new(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
    int code = thaw_alloc(&w->thread, (size_t)w->nthreads, sizeof *w->thread, "threads' memory", err);
    for (int t = 0; !code && t < w->nthreads; t++) {
        struct thaw_sweeper *own = &w->thread[t];
        code = thaw_als_work_new(&own->work, f, err);
        if (!code) code = thaw_alloc(&own->z, THAW_SWEEP_GROUP * w->width, sizeof(float), "a solver", err);
        if (!code) code = thaw_alloc(&own->vector, thaw_als_long_vector(f), sizeof(float), "a solver", err);
        if (!code && w->h->nlong) code = long_new(w->h, own, err);
        if (!code) code = thaw_alloc(&own->sums, thaw_als_long_sums(f), sizeof(double), "a solver", err);
    }
    return code;
}

static void sweeping_clear(struct thaw_sweeping *w) {
    for (int t = 0; w->thread && t < w->nthreads; t++) {
        thaw_als_work_free(&w->thread[t].work);
        free(w->thread[t].z);
        free(w->thread[t].vector);
        free(w->thread[t].sums);
        free(w->thread[t].packed);
        free(w->thread[t].count);
    }
    free(w->thread);
    free(w->lent_z);
    free(w->guest_z);
    free(w->guest_loss);
}

// This rank's opposite rows into the window.
static void encode(struct thaw_sweeping *w, const float *other) {
    const struct thaw_half *h = w->h;
    const struct thaw_comm *c = w->c;
    const int64_t own = h->other->rank_row[c->rank], rows = h->other->rank_row[c->rank + 1] - own,
                  place = own - h->other->rank_row[c->node_first[c->node_number]];
    float norm2 = 0;
#pragma omp parallel for num_threads(w->nthreads) schedule(static) reduction(max : norm2)
    for (int64_t i = 0; i < rows; i += ENCODE_ROWS)
        thaw_als_encode(w->s, other + (size_t)i * w->d, rows - i < ENCODE_ROWS ? rows - i : ENCODE_ROWS,
                        w->window + (size_t)(place + i) * h->row_bytes, &norm2);
    w->norm2 = norm2;
}

// ---- Rows ----

// The row over a copy of its opposite rows, if they fit: later rounds need not gather them again.
static struct thaw_als_row pack(const struct thaw_half *h, struct thaw_sweeper *own,
                                struct thaw_als_row row) {
    const size_t size = h->row_bytes;
    const char *table = row.table;
    if (row.n > packed_rows(h)) return row;
    for (int64_t j = 0; j < row.n; j++) {
        const char *next = table + row.index[j + AHEAD] * size;
        for (size_t b = 0; b < size; b += 64) __builtin_prefetch(next + b);
        memcpy(own->packed + (size_t)j * size, table + row.index[j] * size, size);
    }
    return (struct thaw_als_row){own->packed, own->count, row.r, row.n};
}

static int solve_long(struct thaw_sweeping *w, struct thaw_sweeper *own, const struct thaw_long_row *l,
                      const struct thaw_als_row *row, float *z, double *loss, struct thaw_err *err) {
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
    struct thaw_als_long *state = NULL;
    double sum = 0;
    for (int64_t j = 0; j < row->n; j++) sum += fabs(row->r[j]);
    int code =
        thaw_als_long_new(&state, w->s, row->n, thaw_als_long_weight(f, row->n, sum), w->norm2, z, err);
    while (!code && !thaw_als_long_done(state)) {
        int64_t at = 0;
        thaw_als_long_ask(state, own->vector);
        memset(own->sums, 0, thaw_als_long_sums(f) * sizeof *own->sums);
        for (int64_t p = l->piece; p < l->piece + l->npieces; at += w->h->piece[p++]) {
            const struct thaw_als_row piece = {row->table, row->index + at, row->r + at, w->h->piece[p]};
            thaw_als_long_piece(own->work, w->s, &piece, own->vector, own->sums);
        }
        code = thaw_als_long_step(state, own->work, own->sums, err);
    }
    if (!code) thaw_als_long_get(state, z, loss);
    thaw_als_long_free(&state);
    return code;
}

static const struct thaw_long_row *find_long(const struct thaw_half *h, int64_t row) {
    int64_t low = 0, high = h->nlong;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (h->long_row[middle].row <= row)
            low = middle;
        else
            high = middle;
    }
    return h->nlong && h->long_row[low].row == row ? &h->long_row[low] : NULL;
}

static int64_t global_row(const struct thaw_sweeping *w, int64_t row) {
    const struct thaw_half *h = w->h;
    return row < h->own_rows ? w->first_row + row : h->guest_row[row - h->own_rows];
}

static void solve_row(struct thaw_sweeping *w, struct thaw_sweeper *own, int64_t row, float *z,
                      double *loss) {
    const struct thaw_half *h = w->h;
    const int64_t at = h->ptr[row], n = h->ptr[row + 1] - at;
    const struct thaw_als_row r = {w->window, h->place + at, h->value + at, n};
    const struct thaw_long_row *l = h->nlong ? find_long(h, row) : NULL;
    const struct thaw_als_row packed = l ? pack(h, own, r) : r;
    struct thaw_err err = THAW_ERR_INIT;
    const int code = l ? solve_long(w, own, l, &packed, z, loss, &err)
                       : thaw_als_solve(own->work, w->s, &r, z, loss, &err);
    if (code) thaw_sweep_fail(w, global_row(w, row), code, &err);
}

// Rows [row, row + n), all own or all guests, none empty.
static void solve_run(struct thaw_sweeping *w, struct thaw_sweeper *own, int64_t row, int64_t n) {
    const struct thaw_half *h = w->h;
    const int64_t guest = row - h->own_rows;
    double *loss = guest >= 0 ? w->guest_loss + guest : w->row_loss ? w->row_loss + row : NULL;
    float *z = guest >= 0 ? w->guest_z + (size_t)guest * w->width : own->z;
    if (guest < 0) thaw_als_enter(w->s, w->x + (size_t)row * w->d, n, z);
    for (int64_t i = 0; i < n; i++)
        solve_row(w, own, row + i, z + (size_t)i * w->width, loss ? loss + i : NULL);
    if (guest < 0) thaw_als_leave(w->s, z, n, w->x + (size_t)row * w->d);
}

static void solve_group(struct thaw_sweeping *w, struct thaw_sweeper *own, int64_t row, int64_t end) {
    const struct thaw_half *h = w->h;
    while (row < end) {
        const int64_t stop = row < h->own_rows && h->own_rows < end ? h->own_rows : end;
        int64_t n = 0;
        while (row + n < stop && h->ptr[row + n + 1] > h->ptr[row + n]) n++;
        if (n) solve_run(w, own, row, n);
        row += n ? n : 1;
    }
}

// A signal: no further group of rows is begun.
static void solve_chunk(struct thaw_sweeping *w, int64_t chunk) {
    const struct thaw_half *h = w->h;
    const int64_t begin = h->chunk_row[chunk], end = h->chunk_row[chunk + 1];
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t row = begin; row < end; row += THAW_SWEEP_GROUP) {
        if (w->stopped || (h->stoppable && thaw_comm_stop_requested(w->c))) continue;
        if (omp_get_thread_num() == 0) thaw_exchange_poke(h->exchange);
        solve_group(w, &w->thread[omp_get_thread_num()], row,
                    row + THAW_SWEEP_GROUP < end ? row + THAW_SWEEP_GROUP : end);
    }
}

static void run(struct thaw_sweeping *w, struct thaw_window *window) {
    struct thaw_exchange *e = w->h->exchange;
    const int64_t rounds = thaw_exchange_rounds(e);
    for (int64_t q = 0; q < rounds; q++) {
        double start = thaw_time_s();
        thaw_exchange_wait(e, q);
        thaw_window_sync(window); // all of the node's rows are there, and chunk q - 1 is solved
        if (q + 1 < rounds) thaw_exchange_start(e, q + 1, w->window, &w->stats->traffic);
        w->stats->wait_s += thaw_time_s() - start;
        start = thaw_time_s();
        if (q < w->h->nchunks) solve_chunk(w, q);
        w->stats->solve_s += thaw_time_s() - start;
        if (w->h->stoppable) w->stopped = thaw_comm_stop_agreed(w->c);
    }
}

// The failure of the lowest row of all ranks, which does not depend on who solved what.
static int agree_on_rows(const struct thaw_sweeping *w, const char *side_name, struct thaw_err *err) {
    int64_t lowest = w->failed_row;
    int code = THAW_OK;
    thaw_comm_min_i64(w->c, &lowest, 1);
    if (lowest == INT64_MAX) return THAW_OK;
    if (w->failed_row == lowest)
        code = thaw_fail(err, w->failed, "row %" PRId64 " of %s: %s", lowest, side_name, w->failure.text);
    return thaw_comm_agree(w->c, code, err);
}

int thaw_sweep(struct thaw_comm *c, const struct thaw_als_sweep *s, struct thaw_half *h,
               struct thaw_window *window, const char *side_name, int64_t first_row, const float *other,
               float *x, double *row_loss, struct thaw_sweep_stats *stats, struct thaw_err *err) {
    const struct thaw_als_config *f = thaw_als_sweep_config(s);
    struct thaw_sweeping w = {.c = c,
                              .s = s,
                              .h = h,
                              .window = thaw_window_bytes(window),
                              .x = x,
                              .row_loss = row_loss,
                              .first_row = first_row,
                              .d = (size_t)thaw_als_columns(f),
                              .width = (size_t)thaw_als_width(f),
                              .nthreads = thaw_blas_alone_begin(),
                              .stats = stats,
                              .failed_row = INT64_MAX};
    double start = thaw_time_s();
    thaw_comm_phase(c, "exchange");
    int code = thaw_comm_agree(c, threads_new(&w, err), err);
    if (code) goto done;
    encode(&w, other);
    stats->solve_s += thaw_time_s() - start;
    start = thaw_time_s();
    double norm2 = w.norm2;
    thaw_comm_max_f64(c, &norm2, 1);
    w.norm2 = (float)norm2;
    thaw_window_sync(window);
    thaw_exchange_start(h->exchange, 0, w.window, &stats->traffic);
    code = thaw_guests_begin(&w, err);
    stats->wait_s += thaw_time_s() - start;
    thaw_comm_phase(c, "solve");
    if (!code) code = thaw_sweep_push(&w, err);
    if (code) { // on all ranks alike
        thaw_exchange_wait(h->exchange, 0);
        goto done;
    }
    run(&w, window);
    start = thaw_time_s();
    code = thaw_guests_end(&w, err);
    if (c->fault == THAW_FAULT_NAN && h->own_rows > 0) x[0] = NAN;
    if (!code) code = agree_on_rows(&w, side_name, err);
    if (!code && w.stopped)
        code = thaw_fail(err, THAW_ESTOPPED,
                         "stopped on request while solving %s: the same command begins anew", side_name);
    stats->wait_s += thaw_time_s() - start;
done:
    thaw_blas_alone_end(w.nthreads);
    sweeping_clear(&w);
    return code;
}
