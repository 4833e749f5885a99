// long_rows.c: long rows: their states, and the sums over their pieces, which all threads add up.
//
// Threads take runs of pieces, and what they add to a row meets in one place. Sums add without rounding, so
// it does not matter which thread has which piece, nor when.
#include "comm/sweep_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS = 16 }; // runs of pieces a thread takes in a round: long ones read a part's rows once

int thaw_long_new(struct thaw_long_batch *b, const struct thaw_als_config *f, int64_t rows,
                  struct thaw_err *err) {
    const char *what = "long rows";
    b->nvector = thaw_als_long_vector(f);
    b->nsums = thaw_als_long_sums(f);
    int code = thaw_alloc(&b->vector, (size_t)rows * b->nvector, sizeof *b->vector, what, err);
    if (!code) code = thaw_alloc(&b->sums, (size_t)rows * b->nsums, sizeof *b->sums, what, err);
    if (!code) code = thaw_alloc(&b->state, (size_t)rows, sizeof *b->state, what, err);
    return code;
}

void thaw_long_clear(struct thaw_long_batch *b) {
    free(b->vector);
    free(b->sums);
    free(b->state);
    *b = (struct thaw_long_batch){0};
}

// ---- States ----

static void fail(struct thaw_sweeping *w, struct thaw_long_batch *b, int64_t i, int code,
                 const struct thaw_err *err) {
    thaw_als_long_free(&b->state[i]);
    thaw_sweep_fail(w, b->own[i].row, code, err);
}

static float *guest_of(const struct thaw_sweeping *w, int64_t row) {
    return row < w->h->own_rows ? NULL : w->guest_z + (size_t)(row - w->h->own_rows) * w->width;
}

void thaw_long_begin(struct thaw_sweeping *w, struct thaw_long_batch *b) {
    const struct thaw_als_config *f = thaw_als_sweep_config(w->s);
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t i = 0; i < b->nown; i++) {
        const struct thaw_long_row *l = &b->own[i];
        struct thaw_err err = THAW_ERR_INIT;
        float *z = guest_of(w, l->row), *own = w->thread[omp_get_thread_num()].z;
        if (!z) thaw_als_enter(w->s, w->x + (size_t)l->row * w->d, 1, z = own);
        const double weight = thaw_als_long_weight(f, l->n, l->abs);
        const int code = thaw_als_long_new(&b->state[i], w->s, l->n, weight, w->norm2, z, &err);
        if (code) fail(w, b, i, code, &err);
    }
}

bool thaw_long_ask(struct thaw_long_batch *b, float *vector) {
    bool more = false;
    for (int64_t i = 0; i < b->nown; i++, vector += b->nvector)
        if (b->state[i]) {
            thaw_als_long_ask(b->state[i], vector);
            more |= !thaw_als_long_done(b->state[i]);
        } else {
            memset(vector, 0, b->nvector * sizeof *vector);
        }
    return more;
}

void thaw_long_step(struct thaw_sweeping *w, struct thaw_long_batch *b, const double *sums) {
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t i = 0; i < b->nown; i++) {
        struct thaw_err err = THAW_ERR_INIT;
        if (!b->state[i]) continue;
        const int code = thaw_als_long_step(b->state[i], w->thread[omp_get_thread_num()].work,
                                            sums + (size_t)i * b->nsums, &err);
        if (code) fail(w, b, i, code, &err);
    }
}

void thaw_long_end(struct thaw_sweeping *w, struct thaw_long_batch *b) {
    const int64_t own_rows = w->h->own_rows;
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t i = 0; i < b->nown; i++) {
        const int64_t row = b->own[i].row;
        float *z = guest_of(w, row), *own = w->thread[omp_get_thread_num()].z;
        double loss;
        if (!b->state[i]) continue;
        thaw_als_long_get(b->state[i], z ? z : own, &loss);
        if (!z) thaw_als_leave(w->s, own, 1, w->x + (size_t)row * w->d);
        if (z)
            w->guest_loss[row - own_rows] = loss;
        else if (w->row_loss)
            w->row_loss[row] = loss;
        thaw_als_long_free(&b->state[i]);
    }
}

// ---- Sums ----

// What thread t has added up for a row goes to where the threads' sums meet.
static void flush(struct thaw_sweeping *w, const struct thaw_long_batch *b, int t, int64_t row) {
    double *from = w->thread[t].sums, *to = b->sums + (size_t)row * b->nsums;
    omp_lock_t *lock = &w->lock[row % THAW_SWEEP_LOCKS];
    omp_set_lock(lock);
    for (size_t i = 0; i < b->nsums; i++) to[i] += from[i];
    omp_unset_lock(lock);
    memset(from, 0, b->nsums * sizeof *from);
}

static void add_run(struct thaw_sweeping *w, const struct thaw_long_batch *b, int t,
                    const struct thaw_als_row *all, const struct thaw_piece *piece, int64_t n,
                    int64_t first_row) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = piece[i].at, row = piece[i].row - first_row;
        const struct thaw_als_row some = {all->table, all->index + at, all->r + at, piece[i].n};
        thaw_als_long_piece(w->thread[t].work, w->s, &some, b->vector + (size_t)row * b->nvector,
                            w->thread[t].sums);
        if (i + 1 == n || piece[i + 1].row != piece[i].row) flush(w, b, t, row);
    }
}

void thaw_long_add(struct thaw_sweeping *w, struct thaw_long_batch *b, const struct thaw_als_row *all,
                   const struct thaw_pieces *p, int64_t batch) {
    const struct thaw_pieces_batch *at = &p->batch[batch];
    const int64_t begin = at[0].piece, end = at[1].piece, run = (end - begin) / (RUNS * w->nthreads) + 1;
    memset(b->sums, 0, (size_t)(at[1].row - at[0].row) * b->nsums * sizeof *b->sums);
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, 1)
    for (int64_t i = begin; i < end; i += run) {
        const int t = omp_get_thread_num();
        if (t == 0) thaw_exchange_poke(w->h->exchange);
        add_run(w, b, t, all, p->piece + i, end - i < run ? end - i : run, at[0].row);
    }
}

// ---- The long rows of a chunk ----

static void solve_batch(struct thaw_sweeping *w, int64_t batch) {
    const struct thaw_half *h = w->h;
    const struct thaw_als_row all = {w->window, h->place, h->value, h->ptr[h->rows]};
    const struct thaw_pieces_batch *at = &h->pieces.batch[batch];
    struct thaw_long_batch *b = &w->batch;
    b->own = h->long_row + at[0].row;
    b->nown = at[1].row - at[0].row;
    thaw_long_begin(w, b);
    while (thaw_long_ask(b, b->vector)) {
        thaw_long_add(w, b, &all, &h->pieces, batch);
        thaw_long_step(w, b, b->sums);
    }
    thaw_long_end(w, b);
}

void thaw_sweep_long(struct thaw_sweeping *w, int64_t end) {
    const struct thaw_half *h = w->h;
    for (; w->next_batch < h->pieces.nbatches && h->long_row[h->pieces.batch[w->next_batch].row].row < end;
         w->next_batch++)
        if (!thaw_sweep_stopping(w)) solve_batch(w, w->next_batch);
}
