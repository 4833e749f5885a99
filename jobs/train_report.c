// train_report.c: what thaw train tells people, and its results.
#include "base/mem.h"
#include "jobs/training.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- The plan ----

static int64_t own_nnz(const Thaw__Side *s, const struct thaw_plan *plan, int rank) {
    int64_t n = 0;
    for (int32_t p = plan->first_part[rank]; p < plan->first_part[rank + 1]; p++) n += s->part_nnz[p];
    return n;
}

enum { MEM_INTERACTIONS, MEM_FACTORS, MEM_EXCHANGE, MEM_SOLVERS, MEM_KINDS };

// Bytes this rank is going to hold.
static void plan_memory(const struct thaw_training *t, const struct thaw_plan plan[2],
                        int64_t mem[MEM_KINDS]) {
    const int rank = thaw_comm_rank(t->c);
    const Thaw__Side *side[2] = {t->model.users, t->model.items};
    const int64_t d = thaw_als_columns(&t->config), threads = t->ctx->threads;
    const int64_t at_hand = thaw_fit_max_rows(t->o->exchange_bytes, (int)d);
    memset(mem, 0, MEM_KINDS * sizeof *mem);
    for (int s = 0; s < 2; s++) {
        const int64_t rows = plan[s].rank_row[rank + 1] - plan[s].rank_row[rank],
                      nnz = own_nnz(side[s], &plan[s], rank);
        const int64_t other = thaw_plan_rows(&plan[1 - s]);
        mem[MEM_INTERACTIONS] += 8 * nnz + 17 * rows + 4 * (nnz < other ? nnz : other);
        mem[MEM_FACTORS] += 4 * d * rows + (s == THAW_ITEMS ? 8 * rows : 0);
    }
    mem[MEM_INTERACTIONS] += (int64_t)(8 * t->als.holdout * (double)own_nnz(side[0], &plan[0], rank));
    const int64_t users = thaw_plan_rows(&plan[THAW_USERS]), items = thaw_plan_rows(&plan[THAW_ITEMS]);
    const int64_t most = users > items ? users : items, rows = most < at_hand ? most : at_hand;
    mem[MEM_EXCHANGE] = thaw_comm_size(t->c) > 1 ? rows * (4 * d + 8) + thaw_fit_budget(t->o->exchange_bytes)
                                                 : 4 * threads * rows;
    mem[MEM_SOLVERS] = threads * (int64_t)(32 * d * d + 4 * THAW_ALS_PANEL * (d + 16) + (512 << 10));
}

int thaw_train_print_plan(struct thaw_training *t, struct thaw_err *err) {
    struct thaw_plan plan[2] = {{0}};
    int64_t mem[MEM_KINDS + 1], largest = 0;
    char text[4][32], bytes[MEM_KINDS + 1][16];
    int code = thaw_comm_agree(
        t->c, thaw_dataset_plan(plan, t->dataset, thaw_comm_size(t->c), t->als.factors, err), err);
    if (code) return code;
    plan_memory(t, plan, mem);
    mem[MEM_KINDS] = mem[0] + mem[1] + mem[2] + mem[3];
    thaw_comm_max_i64(t->c, mem, MEM_KINDS + 1);
    for (size_t p = 0; p < t->model.users->n_part_nnz; p++)
        for (int s = 0; s < 2; s++) {
            const int64_t n = (s ? t->model.items : t->model.users)->part_nnz[p];
            if (n > largest) largest = n;
        }
    for (int i = 0; i <= MEM_KINDS; i++) thaw_human_bytes(bytes[i], mem[i]);
    thaw_log_note(
        t->ctx->log,
        "plan: ranks x threads %d x %d; %s users, %s items, %s interactions in %d parts (largest %s)",
        thaw_comm_size(t->c), t->ctx->threads, thaw_human_count(text[0], thaw_plan_rows(&plan[THAW_USERS])),
        thaw_human_count(text[1], thaw_plan_rows(&plan[THAW_ITEMS])),
        thaw_human_count(text[2], t->dataset->manifest->interactions), (int)plan[0].nparts,
        thaw_human_count(text[3], largest));
    thaw_log_note(t->ctx->log,
                  "plan: at most %s a rank: interactions %s, factors %s, exchange %s, solvers %s",
                  bytes[MEM_KINDS], bytes[0], bytes[1], bytes[2], bytes[3]);
    thaw_plan_clear(&plan[0]);
    thaw_plan_clear(&plan[1]);
    return THAW_OK;
}

// ---- While it goes on ----

static void print_settings(const struct thaw_training *t) {
    const Thaw__Als *a = &t->als;
    const char *solver = t->o->solver == THAW_ALS_CG ? "cg" : "cholesky";
    if (a->model == THAW__ALS__MODEL__EXPLICIT)
        thaw_log_note(t->ctx->log, "model: %s, %d factors, regularization %g, %s", thaw_pack_model_name(a),
                      (int)a->factors, a->regularization, solver);
    else
        thaw_log_note(t->ctx->log,
                      "model: %s, %d factors, alpha %g, unobserved weight %g, regularization %g "
                      "with exponent %g, %s",
                      thaw_pack_model_name(a), (int)a->factors, a->alpha, a->unobserved_weight,
                      a->regularization, a->reg_exponent, solver);
}

void thaw_train_print_loaded(const struct thaw_training *t) {
    char a[32], b[32];
    if (thaw_has_held_out(&t->als))
        thaw_log_note(t->ctx->log, "training on %s interactions; %s users held out",
                      thaw_human_count(a, t->in.nnz), thaw_human_count(b, t->in.held_users));
    if (t->als.holdout == 0 && t->in.held_users < (int64_t)t->als.n_holdout_ids)
        thaw_log_warn(t->ctx->log, "%s of the %s users in %s are in the dataset",
                      thaw_human_count(a, t->in.held_users),
                      thaw_human_count(b, (int64_t)t->als.n_holdout_ids), t->o->holdout_list);
    if (t->in.left_out)
        thaw_log_warn(t->ctx->log, "%s interactions have no strength above 0 and are left out",
                      thaw_human_count(a, t->in.left_out));
    print_settings(t);
}

void thaw_train_print_iteration(const struct thaw_training *t) {
    const struct thaw_fit *f = t->fit;
    const Thaw__Iteration *i = &t->iteration[thaw_train_done(t) - 1];
    double share = 0, wait = f->stats[0].wait_s + f->stats[1].wait_s,
           busy = f->stats[0].solve_s + f->stats[1].solve_s;
    int64_t received = f->stats[0].received_bytes + f->stats[1].received_bytes;
    char bytes[16], quality[32] = "";
    if (wait + busy > 0) share = wait / (wait + busy);
    thaw_comm_max_f64(t->c, &share, 1);
    thaw_comm_sum_i64(t->c, &received, 1);
    if (i->quality > 0) snprintf(quality, sizeof quality, ", NDCG@%d %.4f", THAW_QUALITY_CUTOFF, i->quality);
    thaw_log_note(t->ctx->log,
                  "iteration %d/%" PRId64
                  ": objective %.6f%s; users %.2f s, items %.2f s, waiting %.0f %%, received %s",
                  (int)i->number, t->o->iterations, i->objective, quality, f->seconds[0], f->seconds[1],
                  100 * share, thaw_human_bytes(bytes, received));
    thaw_log_event(t->ctx->log, "iteration",
                   "\"iteration\":%d,\"objective\":%.17g,\"quality\":%.17g,\"users_s\":%.6f,\"items_s\":%.6f,"
                   "\"wait_share\":%.4f,\"received_bytes\":%" PRId64,
                   (int)i->number, i->objective, i->quality, f->seconds[0], f->seconds[1], share, received);
}

void thaw_train_print_end(const struct thaw_training *t) {
    int64_t peak = thaw_mem_peak_bytes();
    char bytes[16];
    thaw_comm_max_i64(t->c, &peak, 1);
    thaw_log_note(t->ctx->log, "%s/iteration-%06d is finished (%s) after %.1f s; peak memory of a rank %s",
                  t->o->out, thaw_train_done(t), t->model.stop_reason, thaw_time_s() - t->began,
                  thaw_human_bytes(bytes, peak));
}

// ---- Results ----

void thaw_train_print_results(const struct thaw_training *t) {
    const bool quality = t->o->quality_every || t->o->patience;
    if (thaw_comm_rank(t->c) != 0) return;
    if (t->o->common.format == THAW_FORMAT_CSV) printf("iteration,objective,quality\n");
    if (t->o->common.format == THAW_FORMAT_TEXT)
        printf("iteration  objective%s\n", quality ? "   NDCG@20" : "");
    for (int i = 0; i < thaw_train_done(t); i++) {
        const Thaw__Iteration *it = &t->iteration[i];
        if (t->o->common.format == THAW_FORMAT_JSONL)
            printf("{\"iteration\":%d,\"objective\":%.17g,\"quality\":%.17g}\n", (int)it->number,
                   it->objective, it->quality);
        else if (t->o->common.format == THAW_FORMAT_CSV)
            printf("%d,%.17g,%.17g\n", (int)it->number, it->objective, it->quality);
        else if (quality)
            printf("%9d  %9.6f  %8.6f\n", (int)it->number, it->objective, it->quality);
        else
            printf("%9d  %9.6f\n", (int)it->number, it->objective);
    }
    if (t->o->common.format == THAW_FORMAT_TEXT) printf("%s/iteration-%06d\n", t->o->out, thaw_train_done(t));
}
