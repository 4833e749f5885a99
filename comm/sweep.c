// sweep.c: solve a rank's rows block by block.
#include "comm/sweep.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/blocks.h"
#include "comm/pull.h"

#include <inttypes.h>
#include <omp.h>
#include <stdlib.h>

enum { ROWS_AT_ONCE = 4 }; // that a thread takes from a block

struct thread {
    struct thaw_als_work *work;
    uint32_t *index; // direct only: opposite rows of the row at hand
};

struct sweep {
    struct thaw_comm *c;
    const struct thaw_als_sweep *s;
    const struct thaw_blocks *b;
    const struct thaw_plan *other_plan;
    const float *other;
    int64_t budget;
    float *x;
    double *row_loss;
    struct thaw_sweep_stats *stats;
    size_t d;
    bool direct;     // one rank: opposite rows are used where they lie
    float *table;    // opposite rows at hand
    int64_t *wanted; // max_rows
    struct thread *thread;
    int nthreads;
    int64_t failed_row; // lowest row that failed; rows of b when none has
    int failed;
    struct thaw_err failure;
};

static int threads_new(struct sweep *w, struct thaw_err *err) {
    int code = thaw_alloc(&w->thread, (size_t)w->nthreads, sizeof *w->thread, "threads' memory", err);
    for (int t = 0; !code && t < w->nthreads; t++) {
        code = thaw_als_work_new(&w->thread[t].work, w->s->config, err);
        if (!code && w->direct)
            code = thaw_alloc(&w->thread[t].index, (size_t)w->b->most_of_row, sizeof(uint32_t), "row indices",
                              err);
        if (!code) thaw_als_begin(w->thread[t].work, w->s);
    }
    return code;
}

static void sweep_clear(struct sweep *w) {
    for (int t = 0; w->thread && t < w->nthreads; t++) {
        thaw_als_work_free(&w->thread[t].work);
        free(w->thread[t].index);
    }
    free(w->thread);
    free(w->wanted);
    if (!w->direct) free(w->table);
}

static int sweep_begin(struct sweep *w, struct thaw_err *err) {
    const size_t n = (size_t)w->b->most_rows;
    int code = threads_new(w, err);
    if (w->direct)
        w->table = (float *)(uintptr_t)w->other; // read only
    else if (!code && !(code = thaw_alloc(&w->wanted, n, sizeof *w->wanted, "wanted rows", err)))
        code = thaw_alloc(&w->table, n * w->d, sizeof(float), "opposite rows", err);
    return thaw_comm_agree(w->c, code, err);
}

// Collective: entries [from, from + n) of the block's list into the table.
static int fetch(struct sweep *w, const struct thaw_block *k, int64_t from, int64_t n, struct thaw_err *err) {
    if (w->direct) return THAW_OK;
    const double start = thaw_time_s();
    for (int64_t i = 0; i < n; i++) w->wanted[i] = thaw_block_row(w->b, k, from + i);
    const int code = thaw_pull(w->c, w->other_plan->rank_row, w->other, w->d * sizeof(float), w->wanted, n,
                               w->table, w->budget, &w->stats->received_bytes, err);
    w->stats->wait_s += thaw_time_s() - start;
    return code;
}

// Where the opposite rows of interactions [at, at + n) lie in the table; `from` as in fetch.
static const uint32_t *places(const struct sweep *w, int t, const struct thaw_block *k, int64_t from,
                              int64_t at, int64_t n) {
    const uint32_t *place = w->b->place + at;
    if (!w->direct) return place;
    uint32_t *index = w->thread[t].index;
    for (int64_t i = 0; i < n; i++) index[i] = (uint32_t)thaw_block_row(w->b, k, from + place[i]);
    return index;
}

static void fail_row(struct sweep *w, int64_t row, int code, const struct thaw_err *err) {
#pragma omp critical(thaw_sweep)
    if (row < w->failed_row) {
        w->failed = code;
        w->failure = *err;
#pragma omp atomic write
        w->failed_row = row;
    }
}

static void solve_row(struct sweep *w, int t, const struct thaw_block *k, int64_t row) {
    const struct thaw_blocks *b = w->b;
    const int64_t at = b->ptr[row], n = b->ptr[row + 1] - at;
    float *x = w->x + (size_t)row * w->d;
    struct thaw_err err = THAW_ERR_INIT;
    int64_t failed_row;
#pragma omp atomic read
    failed_row = w->failed_row;
    if (row > failed_row) return;
    const uint32_t *index = places(w, t, k, 0, at, n);
    const int code = thaw_als_solve(w->thread[t].work, w->s, w->table, index, b->value + at, n, x, &err);
    if (code)
        fail_row(w, row, code, &err);
    else if (w->row_loss)
        w->row_loss[row] = thaw_als_observed_loss(w->s, w->table, index, b->value + at, n, x);
}

static void solve_block(struct sweep *w, const struct thaw_block *k) {
#pragma omp parallel for num_threads(w->nthreads) schedule(dynamic, ROWS_AT_ONCE)
    for (int64_t row = k->row; row < k->row + k->nrows; row++) solve_row(w, omp_get_thread_num(), k, row);
}

// Piece `piece` of a long row; once all are added and x is known, they come again for the loss.
static void solve_piece(struct sweep *w, const struct thaw_block *k, int64_t piece, int64_t from, int64_t n) {
    const int64_t at = w->b->ptr[k->row] + from, pieces = thaw_block_pieces(w->b, k);
    const uint32_t *index = places(w, 0, k, from, at, n);
    const float *value = w->b->value + at;
    struct thaw_als_work *work = w->thread[0].work;
    float *x = w->x + (size_t)k->row * w->d;
    struct thaw_err err = THAW_ERR_INIT;
    if (w->failed) return;
    if (piece >= pieces) {
        const double loss = thaw_als_observed_loss(w->s, w->table, index, value, n, x);
        w->row_loss[k->row] = loss + (piece == pieces ? 0 : w->row_loss[k->row]);
        return;
    }
    if (piece == 0) thaw_als_long_begin(work, w->s, k->nlist);
    thaw_als_long_add(work, w->s, w->table, index, value, n);
    if (piece + 1 < pieces) return;
    const int code = thaw_als_long_end(work, x, &err);
    if (code) fail_row(w, k->row, code, &err);
}

static int64_t block_rounds(const struct sweep *w, const struct thaw_block *k) {
    return thaw_block_pieces(w->b, k) * (k->is_long && w->row_loss ? 2 : 1);
}

static int run(struct sweep *w, struct thaw_err *err) {
    const struct thaw_blocks *b = w->b;
    int64_t rounds = 0, block = 0, piece = 0;
    for (int64_t i = 0; i < b->nblocks; i++) rounds += block_rounds(w, &b->block[i]);
    thaw_comm_max_i64(w->c, &rounds, 1);
    for (int64_t round = 0; round < rounds; round++) {
        const struct thaw_block *k = block < b->nblocks && !w->failed ? &b->block[block] : NULL;
        const int64_t from = k && k->is_long ? piece % thaw_block_pieces(b, k) * b->max_rows : 0;
        const int64_t left = k ? k->nlist - from : 0, n = left < b->max_rows ? left : b->max_rows;
        const int code = fetch(w, k, from, n, err); // ranks that are done still serve the others
        if (code) return code;
        if (!k) continue;
        const double start = thaw_time_s();
        if (k->is_long)
            solve_piece(w, k, piece, from, n);
        else
            solve_block(w, k);
        w->stats->solve_s += thaw_time_s() - start;
        if (++piece == block_rounds(w, k)) {
            piece = 0;
            block++;
        }
    }
    w->stats->rounds += rounds;
    return THAW_OK;
}

int thaw_sweep(struct thaw_comm *c, const struct thaw_als_sweep *s, const struct thaw_blocks *b,
               const char *side_name, int64_t first_row, const struct thaw_plan *other_plan,
               const float *other, int64_t budget_bytes, float *x, double *row_loss,
               struct thaw_sweep_stats *stats, struct thaw_err *err) {
    struct sweep w = {.c = c,
                      .s = s,
                      .b = b,
                      .other_plan = other_plan,
                      .other = other,
                      .budget = budget_bytes,
                      .x = x,
                      .row_loss = row_loss,
                      .stats = stats,
                      .d = (size_t)thaw_als_columns(s->config),
                      .nthreads = omp_get_max_threads(),
                      .failed_row = INT64_MAX};
    w.direct = thaw_comm_size(c) == 1 && thaw_plan_rows(other_plan) <= (int64_t)UINT32_MAX;
    int code = sweep_begin(&w, err);
    if (code) goto done;
    code = run(&w, err);
    if (!code && w.failed)
        code = thaw_fail(err, w.failed, "row %" PRId64 " of %s: %s", first_row + w.failed_row, side_name,
                         w.failure.text);
    const double start = thaw_time_s();
    code = thaw_comm_agree(c, code, err);
    stats->wait_s += thaw_time_s() - start;
done:
    sweep_clear(&w);
    return code;
}
