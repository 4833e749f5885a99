// train_plan.c: what thaw train says before the first iteration: the plan of work and memory, and what became
// of it.
#include "als/als.h"
#include "base/mem.h"
#include "jobs/training.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

enum { PAIR_BYTES = 16 }; // an interaction's index and value, in both orientations

// ---- Before anything is read ----

static int64_t own_nnz(const Thaw__Side *s, const struct thaw_plan *plan, int rank) {
    int64_t n = 0;
    for (int32_t p = plan->first_part[rank]; p < plan->first_part[rank + 1]; p++) n += s->part_nnz[p];
    return n;
}

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

enum { MEM_INTERACTIONS, MEM_FACTORS, MEM_CHECKPOINT, MEM_EXCHANGE, MEM_SOLVERS, MEM_KINDS };

// Bytes this rank is going to hold. Interactions have 64-bit indices while they are being read.
static void plan_memory(const struct thaw_training *t, const struct thaw_plan plan[2],
                        int64_t mem[MEM_KINDS]) {
    const int rank = thaw_comm_rank(t->c);
    const Thaw__Side *side[2] = {t->model.users, t->model.items};
    const int64_t d = thaw_als_columns(&t->config), row_bytes = (int64_t)thaw_als_row_bytes(&t->config),
                  at_hand = t->o->exchange_bytes / 2 / row_bytes, aside = t->o->patience ? 2 : 1;
    const int64_t nnz[2] = {own_nnz(side[0], &plan[0], rank), own_nnz(side[1], &plan[1], rank)};
    int64_t most = 0, sends = 0;
    memset(mem, 0, MEM_KINDS * sizeof *mem);
    for (int s = 0; s < 2; s++) {
        const int64_t rows = plan[s].rank_row[rank + 1] - plan[s].rank_row[rank],
                      others = thaw_plan_rows(&plan[s]) - rows;
        const int64_t window = rows + smaller(others, at_hand);
        if (window > most) most = window;
        if (smaller(others, at_hand) > sends) sends = smaller(others, at_hand);
        mem[MEM_INTERACTIONS] += 17 * rows;
        mem[MEM_FACTORS] += 4 * d * rows * aside + (s == THAW_ITEMS ? 8 * rows : 0);
        if (t->o->checkpoint_every || t->o->checkpoint_minutes > 0) // the copy that is being written
            mem[MEM_CHECKPOINT] += 4 * d * rows;
    }
    const int64_t reading_users = 12 * nnz[0], reading_items = 8 * nnz[0] + 12 * nnz[1];
    mem[MEM_INTERACTIONS] += reading_users > reading_items ? reading_users : reading_items;
    mem[MEM_INTERACTIONS] += (int64_t)(8 * t->als.holdout * (double)nnz[0]);
    mem[MEM_EXCHANGE] = row_bytes * (most + (thaw_comm_size(t->c) > 1 ? sends : 0));
    mem[MEM_SOLVERS] = t->ctx->threads * (int64_t)thaw_als_work_nbytes(&t->config) +
                       thaw_long_batch_rows(&t->config, t->ctx->threads, t->o->exchange_bytes) *
                           (int64_t)thaw_als_long_nbytes(&t->config);
}

static int64_t largest_part(const struct thaw_training *t) {
    int64_t largest = 0;
    for (size_t p = 0; p < t->model.users->n_part_nnz; p++)
        for (int s = 0; s < 2; s++) {
            const int64_t n = (s ? t->model.items : t->model.users)->part_nnz[p];
            if (n > largest) largest = n;
        }
    return largest;
}

int thaw_train_print_plan(struct thaw_training *t, struct thaw_err *err) {
    struct thaw_plan plan[2] = {{0}};
    int64_t mem[MEM_KINDS + 1];
    char text[4][32], bytes[MEM_KINDS + 1][16];
    int code = thaw_comm_agree(
        t->c, thaw_dataset_plan(plan, t->dataset, thaw_comm_size(t->c), t->als.factors, err), err);
    if (code) return code;
    plan_memory(t, plan, mem);
    mem[MEM_KINDS] = 0;
    for (int i = 0; i < MEM_KINDS; i++) mem[MEM_KINDS] += mem[i];
    thaw_comm_max_i64(t->c, mem, MEM_KINDS + 1);
    for (int i = 0; i <= MEM_KINDS; i++) thaw_human_bytes(bytes[i], mem[i]);
    thaw_log_note(
        t->ctx->log,
        "plan: ranks x threads %d x %d; %s users, %s items, %s interactions in %d parts (largest %s)",
        thaw_comm_size(t->c), t->ctx->threads, thaw_human_count(text[0], thaw_plan_rows(&plan[THAW_USERS])),
        thaw_human_count(text[1], thaw_plan_rows(&plan[THAW_ITEMS])),
        thaw_human_count(text[2], t->dataset->manifest->interactions), (int)plan[0].nparts,
        thaw_human_count(text[3], largest_part(t)));
    thaw_log_note(
        t->ctx->log,
        "plan: at most %s a rank: interactions %s, factors %s, checkpoint %s, exchange %s, solvers %s",
        bytes[MEM_KINDS], bytes[MEM_INTERACTIONS], bytes[MEM_FACTORS], bytes[MEM_CHECKPOINT],
        bytes[MEM_EXCHANGE], bytes[MEM_SOLVERS]);
    thaw_log_event(t->ctx->log, "plan",
                   "\"ranks\":%d,\"threads\":%d,\"bytes\":%" PRId64 ",\"interactions_bytes\":%" PRId64
                   ",\"factors_bytes\":%" PRId64 ",\"checkpoint_bytes\":%" PRId64
                   ",\"exchange_bytes\":%" PRId64 ",\"solvers_bytes\":%" PRId64,
                   thaw_comm_size(t->c), t->ctx->threads, mem[MEM_KINDS], mem[MEM_INTERACTIONS],
                   mem[MEM_FACTORS], mem[MEM_CHECKPOINT], mem[MEM_EXCHANGE], mem[MEM_SOLVERS]);
    thaw_plan_clear(&plan[0]);
    thaw_plan_clear(&plan[1]);
    return THAW_OK;
}

// ---- Once it is read ----

static const char *gather_name(const struct thaw_training *t) {
    return t->config.gather == THAW_ALS_BF16 ? "bf16" : "f32";
}

static void print_settings(const struct thaw_training *t) {
    const Thaw__Als *a = &t->als;
    const char *solver = t->config.solver == THAW_ALS_CG ? "cg" : "cholesky", *blas = thaw_blas_core();
    if (a->model == THAW__ALS__MODEL__EXPLICIT)
        thaw_log_note(t->ctx->log, "model: %s, %d factors, regularization %g", thaw_pack_model_name(a),
                      (int)a->factors, a->regularization);
    else
        thaw_log_note(t->ctx->log,
                      "model: %s, %d factors, alpha %g, unobserved weight %g, regularization %g, exponent %g",
                      thaw_pack_model_name(a), (int)a->factors, a->alpha, a->unobserved_weight,
                      a->regularization, a->reg_exponent);
    thaw_log_note(t->ctx->log, "solver: %s", t->why_solver[0] ? t->why_solver : solver);
    thaw_log_note(t->ctx->log, "kernels: %s, BLAS for %s; vectors gathered as %s", thaw_als_kernels(), blas,
                  gather_name(t));
    thaw_log_event(t->ctx->log, "solver",
                   "\"solver\":\"%s\",\"gather\":\"%s\",\"kernels\":\"%s\",\"blas\":\"%s\",\"threads\":%d",
                   solver, gather_name(t), thaw_als_kernels(), blas, omp_get_max_threads());
}

static const char *way(const struct thaw_half_facts *f) {
    return f->exchange_rows == 0 ? "none" : f->allgather ? "allgather" : f->stream ? "stream" : "keep";
}

// For people: what travels, and which rows are not solved by their owners from what comes.
static void note_half(const struct thaw_training *t, int side, double imbalance) {
    const struct thaw_half_facts *f = thaw_half_facts(t->in.half[side]);
    const char *name = thaw_side_name[side], *other = side == THAW_USERS ? "item" : "user";
    char rows[32], window[16], pushed[160] = "", from[32], lent[32];
    thaw_log_note(t->ctx->log, "%s: %s %s rows travel (%s, rounds %" PRId64 "), %s at hand; imbalance %.3f",
                  name, thaw_human_count(rows, f->exchange_rows), other, way(f), f->rounds,
                  thaw_human_bytes(window, f->window_bytes), imbalance);
    if (f->pushed_rows)
        snprintf(pushed, sizeof pushed, "%s rows pushed, those of %s interactions or more (%.1f %% of all), ",
                 thaw_human_count(rows, f->pushed_rows), thaw_human_count(from, f->push_from),
                 100 * (double)f->pushed_nnz / (double)t->in.nnz);
    if (f->pushed_rows || f->lent_rows)
        thaw_log_note(t->ctx->log, "%s: %s%s rows lent", name, pushed, thaw_human_count(lent, f->lent_rows));
}

// One half-sweep; work: modelled, over ranks.
static void print_half(const struct thaw_training *t, int side, const struct thaw_spread *work) {
    const struct thaw_half_facts *f = thaw_half_facts(t->in.half[side]);
    if (thaw_comm_size(t->c) > 1) note_half(t, side, thaw_spread_imbalance(work));
    thaw_log_event(t->ctx->log, "half",
                   "\"side\":\"%s\",\"way\":\"%s\",\"rows_moved\":%" PRId64 ",\"rounds\":%" PRId64
                   ",\"window_bytes\":%" PRId64 ",\"pushed_rows\":%" PRId64
                   ",\"pushed_interactions\":%" PRId64 ",\"push_from\":%" PRId64 ",\"lent_rows\":%" PRId64
                   ",\"work\":{\"min\":%.17g,\"mean\":%.17g,\"max\":%.17g}",
                   thaw_side_name[side], way(f), f->exchange_rows, f->rounds, f->window_bytes, f->pushed_rows,
                   f->pushed_nnz, f->pushed_rows ? f->push_from : 0, f->lent_rows, work->min, work->mean,
                   work->max);
}

// Held against what the interactions themselves are: index and value, in both orientations.
static void print_held(const struct thaw_training *t, const struct thaw_spread *held,
                       const struct thaw_spread *exchange) {
    const double share = PAIR_BYTES * (double)t->in.nnz / thaw_comm_size(t->c), times = held->max / share;
    char most[16], buffers[16];
    thaw_log_note(t->ctx->log,
                  "memory: interactions take at most %s a rank (%.2f x %d bytes each); lists and buffers of "
                  "the exchange %s",
                  thaw_human_bytes(most, (int64_t)held->max), times, PAIR_BYTES,
                  thaw_human_bytes(buffers, (int64_t)exchange->max));
    thaw_log_event(t->ctx->log, "memory",
                   "\"interactions_bytes\":{\"min\":%.0f,\"mean\":%.1f,\"max\":%.0f},\"interactions_times\":"
                   "%.4f,\"exchange_bytes\":{\"min\":%.0f,\"mean\":%.1f,\"max\":%.0f}",
                   held->min, held->mean, held->max, times, exchange->min, exchange->mean, exchange->max);
}

static void print_left_out(const struct thaw_training *t) {
    char a[32], b[32];
    if (thaw_has_held_out(&t->als))
        thaw_log_note(t->ctx->log, "training on %s interactions; %s users held out",
                      thaw_human_count(a, t->in.nnz), thaw_human_count(b, t->in.held_users));
    if (t->als.holdout == 0 && t->in.held_users < (int64_t)t->als.n_holdout_ids)
        thaw_log_warn(t->ctx->log, "%s of the %s users in %s are in the dataset",
                      thaw_human_count(a, t->in.held_users),
                      thaw_human_count(b, (int64_t)t->als.n_holdout_ids), t->o->holdout_list);
    if (t->virtual)
        thaw_log_note(t->ctx->log, "virtual: %s interactions of weight up to %g, %s whole users",
                      thaw_human_count(a, t->in.virtual), t->als.virtual_weight,
                      thaw_human_count(b, t->in.extra));
    if (t->in.left_out)
        thaw_log_warn(t->ctx->log, "%s interactions have no strength above 0 and are left out",
                      thaw_human_count(a, t->in.left_out));
}

int thaw_train_print_loaded(struct thaw_training *t, struct thaw_err *err) {
    const struct thaw_half_facts *f[2] = {thaw_half_facts(t->in.half[0]), thaw_half_facts(t->in.half[1])};
    const double own[4] = {f[0]->work, f[1]->work, (double)(f[0]->nbytes + f[1]->nbytes),
                           (double)(f[0]->exchange_bytes + f[1]->exchange_bytes)};
    struct thaw_spread all[4];
    const int code = thaw_spread(t->c, own, 4, all, err);
    if (code) return code;
    t->imbalance = 1;
    if (all[0].mean + all[1].mean > 0) t->imbalance = (all[0].max + all[1].max) / (all[0].mean + all[1].mean);
    print_left_out(t);
    print_settings(t);
    for (int side = 0; side < 2; side++) print_half(t, side, &all[side]);
    print_held(t, &all[2], &all[3]);
    return THAW_OK;
}
