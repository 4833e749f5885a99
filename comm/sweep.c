// sweep.c: solve the rows of a half, chunk by chunk, while the next chunk's opposite rows are on their way.
#include "comm/sweep_impl.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { ENCODE_ROWS = 256 };

void thaw_sweep_fail(struct thaw_sweeping *w, int64_t row, int code, const struct thaw_err *err) {
    const struct thaw_half *h = w->h;
    const int64_t number = row < h->own_rows ? w->first_row + row : h->guest_row[row - h->own_rows];
#pragma omp critical(thaw_sweep)
    if (number < w->failed_row) {
        w->failed = code;
        w->failure = *err;
        w->failed_row = number;
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

// Rows of the largest batch of long ones.
static int64_t batch_rows(const struct thaw_pieces *p) {
    int64_t most = 0;
    for (int64_t i = 0; i < p->nbatches; i++) {
        const int64_t n = p->batch[i + 1].row - p->batch[i].row;
        if (n > most) most = n;
    }
    return most;
}

static int threads_new(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
    for (int i = 0; i < THAW_SWEEP_LOCKS; i++) omp_init_lock(&w->lock[i]);
    int code = thaw_alloc(&w->thread, (size_t)w->nthreads, sizeof *w->thread, "threads' memory", err);
    for (int t = 0; !code && t < w->nthreads; t++) {
        struct thaw_sweeper *own = &w->thread[t];
        code = thaw_als_work_new(&own->work, f, err);
        if (!code) code = thaw_alloc(&own->z, THAW_SWEEP_GROUP * w->width, sizeof(float), "a solver", err);
        if (!code) code = thaw_alloc(&own->sums, thaw_als_long_sums(f), sizeof(double), "a solver", err);
    }
    if (!code) code = thaw_long_new(&w->batch, f, batch_rows(&w->h->pieces), err);
    return code;
}

static void sweeping_clear(struct thaw_sweeping *w) {
    for (int t = 0; w->thread && t < w->nthreads; t++) {
        thaw_als_work_free(&w->thread[t].work);
        free(w->thread[t].z);
        free(w->thread[t].sums);
    }
    free(w->thread);
    thaw_long_clear(&w->batch);
    for (int i = 0; i < THAW_SWEEP_LOCKS; i++) omp_destroy_lock(&w->lock[i]);
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

static void solve_row(struct thaw_sweeping *w, struct thaw_sweeper *own, int64_t row, float *z,
                      double *loss) {
    const struct thaw_half *h = w->h;
    const int64_t at = h->ptr[row], n = h->ptr[row + 1] - at;
    const struct thaw_als_row r = {w->window, h->place + at, h->value + at, n};
    struct thaw_err err = THAW_ERR_INIT;
    const int code = thaw_als_solve(own->work, w->s, &r, z, loss, &err);
    if (code) thaw_sweep_fail(w, row, code, &err);
}

// Not empty and not long.
static bool is_ordinary(const struct thaw_sweeping *w, int64_t row) {
    const int64_t n = w->h->ptr[row + 1] - w->h->ptr[row];
    return n > 0 && n < w->least;
}

// Rows [row, row + n), all own or all guests, all ordinary.
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
        while (row + n < stop && is_ordinary(w, row + n)) n++;
        if (n) solve_run(w, own, row, n);
        row += n ? n : 1;
    }
}

bool thaw_sweep_stopping(const struct thaw_sweeping *w) {
    return w->stopped || (w->h->stoppable && thaw_comm_stop_requested(w->c));
}

static void solve_chunk(struct thaw_sweeping *w, int64_t chunk) {
    const struct thaw_half *h = w->h;
    const int64_t begin = h->chunk_row[chunk], end = h->chunk_row[chunk + 1];
    thaw_sweep_long(w, end);
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t row = begin; row < end; row += THAW_SWEEP_GROUP) {
        if (thaw_sweep_stopping(w)) continue;
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
                              .least = thaw_long_least(h->other),
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
