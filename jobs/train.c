// train.c: thaw train, parallel alternating least squares with checkpoints.
#include "als/als.h"
#include "base/file.h"
#include "base/mem.h"
#include "comm/runinfo.h"
#include "jobs/attempts.h"
#include "jobs/best.h"
#include "jobs/checkpoint.h"
#include "jobs/hold.h"
#include "jobs/resume.h"
#include "jobs/training.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { QUALITY_USERS = 2000, UNOBSERVED_SHARE = 5 };

// ---- What to train ----

// Local. Weight 0 is as good as none.
static int open_virtual(struct thaw_training *t, struct thaw_err *err) {
    const int code = thaw_virtual_open(&t->virtual, t->o->virtual, t->dataset, err);
    if (code) return code;
    if (t->o->virtual_users && !thaw_virtual_has_extra(t->virtual))
        return thaw_fail(err, THAW_EDATA,
                         "%s holds no virtual users: run 'thaw augment' with --virtual-users, or leave "
                         "--virtual-users out",
                         t->o->virtual);
    if (t->o->virtual_weight > 0) {
        t->als.virtual_weight = t->o->virtual_weight;
        t->als.virtual_digest = t->virtual->digest;
        t->als.virtual_users = t->o->virtual_users;
    } else {
        thaw_virtual_close(&t->virtual);
    }
    return THAW_OK;
}

static int open_inputs(struct thaw_training *t, struct thaw_err *err) {
    int code = thaw_train_describe(t, err);
    if (!code) code = thaw_dataset_open(&t->dataset, t->o->data, err);
    if (!code && t->o->virtual) code = open_virtual(t, err);
    if ((code = thaw_comm_agree(t->c, code, err))) return code;
    code = thaw_comm_same(t->c, &t->dataset->digest, sizeof t->dataset->digest, "the dataset", err);
    if (!code)
        code = thaw_run_info_new(&t->run, t->c, &thaw_train_command, t->o, t->ctx->argc, t->ctx->argv,
                                 thaw_blas_core(), err);
    if (code) return code;
    thaw_train_choose_solver(t);
    Thaw__Model *m = &t->model;
    thaw__model__init(m);
    m->format = 1;
    m->run = t->run;
    m->dataset = (char *)(uintptr_t)t->o->data; // read only
    m->dataset_digest = t->dataset->digest;
    m->als = &t->als;
    m->users = t->dataset->manifest->users;
    m->items = t->dataset->manifest->items;
    return THAW_OK;
}

// ---- The record of iterations ----

static int append_iteration(struct thaw_training *t, double objective, double quality, struct thaw_err *err) {
    Thaw__Model *m = &t->model;
    const size_t n = m->n_iterations, cap = t->iteration_cap;
    int code = thaw_grow(&t->iteration, &t->iteration_cap, n + 1, sizeof *t->iteration,
                         "the record of iterations", err);
    if (code) return code;
    if (cap != t->iteration_cap) {
        Thaw__Iteration **list = realloc(m->iterations, t->iteration_cap * sizeof *list);
        if (!list) return thaw_fail(err, THAW_EMEM, "no memory for the record of iterations");
        m->iterations = list;
        for (size_t i = 0; i < t->iteration_cap; i++) list[i] = &t->iteration[i];
    }
    thaw__iteration__init(&t->iteration[n]);
    t->iteration[n].number = (int32_t)n + 1;
    t->iteration[n].objective = objective;
    t->iteration[n].quality = quality;
    m->n_iterations++;
    return THAW_OK;
}

// Measurements of quality since the best one.
static int64_t measured_since_best(const struct thaw_training *t) {
    int64_t since = 0;
    for (int i = thaw_best_of(t); i < thaw_train_done(t); i++) since += t->iteration[i].quality > 0;
    return since;
}

// Why training is over, NULL while it is not. The record alone decides, so a resumed run stops where another
// would have.
static const char *why_stop(const struct thaw_training *t) {
    const struct thaw_train_options *o = t->o;
    const int n = thaw_train_done(t);
    if (n >= o->iterations) return "iterations";
    if (o->tolerance > 0 && n > 1) {
        const double before = t->iteration[n - 2].objective, after = t->iteration[n - 1].objective;
        if (before - after < o->tolerance * before) return "tolerance";
    }
    if (o->patience && measured_since_best(t) >= o->patience) return "quality";
    return NULL;
}

// ---- Going on from a model ----

static int adopt(struct thaw_training *t, struct thaw_err *err) {
    const Thaw__Model *old = t->old->manifest;
    int code = thaw_resume_check(t->old->dir, old, &t->model, err);
    for (size_t i = 0; !code && i < old->n_iterations; i++)
        code = append_iteration(t, old->iterations[i]->objective, old->iterations[i]->quality, err);
    t->model.kept = old->kept > 0 && old->kept < thaw_train_done(t) ? old->kept : 0;
    t->saved = thaw_train_kept(t);
    return code;
}

static int start_anew(struct thaw_training *t, struct thaw_err *err) {
    thaw_log_warn(t->ctx->log, "removing the model in %s, as --force says: %s", t->o->out, err->text);
    *err = THAW_ERR_INIT;
    thaw_model_close(&t->old);
    t->model.n_iterations = 0;
    t->model.kept = 0;
    t->saved = 0;
    const int code = thaw_comm_rank(t->c) == 0 ? thaw_attempts_clear(t->o->out, err) : THAW_OK;
    return thaw_comm_agree(t->c, code, err) ? err->code : thaw_model_prune(t->c, t->o->out, -1, err);
}

static bool is_over(const struct thaw_training *t) {
    return t->old && t->old->manifest->finished && why_stop(t);
}

// Collective. The model in OUT, when there is one: of this training, and not one that runs have died of.
static int try_model(struct thaw_training *t, struct thaw_err *err) {
    char note[256];
    int code = thaw_model_open(&t->old, t->c, t->o->out, true, note, err);
    if (code == THAW_EDATA) {
        const size_t told = strlen(err->text);
        snprintf(err->text + told, sizeof err->text - told,
                 "; no other checkpoint is intact: --force starts anew");
    }
    if (!code) code = thaw_comm_agree(t->c, adopt(t, err), err);
    if (!code && note[0]) {
        thaw_log_warn(t->ctx->log, "%s: %s", t->o->out, note);
        code = thaw_model_prune(t->c, t->o->out, t->saved, err);
    }
    if (code || is_over(t)) return code;
    if (thaw_comm_rank(t->c) == 0) code = thaw_attempts_begin(t->o->out, strrchr(t->old->dir, '/') + 1, err);
    code = thaw_comm_agree(t->c, code, err);
    t->counted = !code;
    return code;
}

static int find_model(struct thaw_training *t, struct thaw_err *err) {
    struct thaw_err own = THAW_ERR_INIT;
    const double began = thaw_time_s();
    int code = thaw_model_recover(t->c, t->o->out, err);
    if (code) return code;
    code = try_model(t, &own);
    t->open_s = thaw_time_s() - began;
    if (code == THAW_ENOINPUT) return THAW_OK;
    if ((code == THAW_EDATA || code == THAW_EUSAGE) && t->o->force)
        return start_anew(t, &own) ? (*err = own).code : THAW_OK;
    if (code) *err = own;
    if (!code && t->saved)
        thaw_log_note(t->ctx->log, "going on from %s (%s, objective %.6f)", t->old->dir,
                      t->old->manifest->finished ? "finished" : "a checkpoint",
                      t->iteration[t->saved - 1].objective);
    return code;
}

// ---- Loading ----

static int load_watched(struct thaw_training *t, struct thaw_err *err) {
    const struct thaw_train_options *o = t->o;
    const struct thaw_heldout_choice choice = {.als = &t->als,
                                               .set = THAW_HELDOUT_VALIDATION,
                                               .max_users = QUALITY_USERS,
                                               .max_known = (int)o->quality_known,
                                               .by_time = t->dataset->manifest->has_time,
                                               .seed = t->als.holdout_seed};
    if (!o->quality_every && !o->patience) return THAW_OK;
    const int code = thaw_heldout_load(&t->watched, t->c, t->dataset, &t->in.real, &choice, false, err);
    if (!code && t->watched->total == 0)
        return thaw_fail(err, THAW_EDATA,
                         "no held-out user has more than --quality-known %" PRId64
                         " interactions: lower it or leave "
                         "--patience and --quality-every out",
                         o->quality_known);
    return code;
}

// Weights that were left to us: interactions have mean weight 1 (rendle), all unobserved pairs together weigh
// UNOBSERVED_SHARE times as much; hu is the same divided by the unobserved weight. So neither the log's units
// nor its density matter.
static void choose_weights(struct thaw_training *t) {
    const struct thaw_train_options *o = t->o;
    const double users = (double)(thaw_plan_rows(&t->in.plan[THAW_USERS]) - t->in.held_users);
    const double density = (double)t->in.nnz / (users * (double)thaw_plan_rows(&t->in.plan[THAW_ITEMS]));
    const double unobserved = UNOBSERVED_SHARE * density < 1 ? UNOBSERVED_SHARE * density : 1;
    const bool hu = t->als.model == THAW__ALS__MODEL__IMPLICIT_HU;
    if (t->als.model == THAW__ALS__MODEL__EXPLICIT) return;
    if (o->alpha == 0) t->als.alpha = 1 / t->in.mean / (hu ? unobserved : 1);
    if (o->unobserved == 0) t->als.unobserved_weight = hu ? 1 : unobserved;
    t->config.alpha = t->als.alpha;
    t->config.unobserved = t->als.unobserved_weight;
}

int thaw_training_load(const struct thaw_training *t, const struct thaw_model *m, enum thaw_side side,
                       float *rows, struct thaw_err *err) {
    float *real = NULL; // users without virtual ones
    if (side == THAW_ITEMS || !t->in.made)
        return thaw_model_load(m, t->c, side, &t->in.plan[side], rows, err);
    int code = thaw_alloc(&real, thaw_training_real_users(t) * (size_t)t->fit->columns, sizeof *real,
                          "user factors", err);
    if ((code = thaw_comm_agree(t->c, code, err))) return code;
    code = thaw_model_load(m, t->c, side, &t->in.real, real, err);
    if (!code) thaw_interactions_unpack(&t->in, t->fit->columns, real, rows);
    free(real);
    return code;
}

static int load_factors(struct thaw_training *t, struct thaw_err *err) {
    const double began = thaw_time_s();
    int code = THAW_OK;
    for (int side = 0; !code && side < 2; side++)
        code = thaw_training_load(t, t->old, (enum thaw_side)side, t->fit->rows[side], err);
    if (!code)
        thaw_log_event(t->ctx->log, "resumed", "\"iteration\":%d,\"check_s\":%.6f,\"load_s\":%.6f", t->saved,
                       t->open_s, thaw_time_s() - began);
    return code;
}

static int load(struct thaw_training *t, struct thaw_err *err) {
    const struct thaw_half_options exchange = {.exchange = (enum thaw_exchange_mode)t->o->exchange,
                                               .exchange_bytes = t->o->exchange_bytes};
    const struct thaw_virtual_wish wish = {t->virtual, t->o->virtual_weight, t->o->virtual_users};
    struct thaw_als_config config[2];
    thaw_train_configs(t, config);
    int code = thaw_interactions_load_with(&t->in, t->c, t->dataset, &t->als, config, &exchange, &wish, err);
    if (code) return code;
    if (t->in.nnz == 0)
        return thaw_fail(err, THAW_EDATA, "%s: no interaction is left to train on", t->o->data);
    if (t->als.biases) t->config.mean = t->als.mean = t->in.mean;
    choose_weights(t);
    t->model.interactions = t->in.nnz;
    thaw_train_configs(t, config);
    code = thaw_train_print_loaded(t, err);
    if (!code) code = thaw_fit_new(&t->fit, t->c, config, &t->in, t->als.seed, err);
    if (!code && t->old) code = load_factors(t, err);
    if (!code) code = thaw_fit_begin(t->fit, err);
    if (!code) code = load_watched(t, err);
    return code ? code : thaw_best_begin(t, err);
}

// ---- Iterating ----

static int measure_quality(struct thaw_training *t, double *ndcg, struct thaw_err *err) {
    const int64_t every = t->o->quality_every ? t->o->quality_every : 1;
    const struct thaw_heldout_model m = {.config = t->config,
                                         .items = &t->in.plan[THAW_ITEMS],
                                         .rows = t->fit->rows[THAW_ITEMS],
                                         .gramian = t->fit->gramian[THAW_ITEMS],
                                         .budget_bytes = t->o->exchange_bytes / 2};
    *ndcg = 0;
    if (!t->watched || (thaw_train_done(t) + 1) % every) return THAW_OK;
    return thaw_heldout_ndcg(t->c, &m, t->watched, (int)t->o->quality_known, THAW_QUALITY_CUTOFF, ndcg, err);
}

struct requests {
    bool stop, due; // a signal; a checkpoint
    bool writing;   // the one in flight
};

// Collective: what some rank wants, all do.
static struct requests agree_requests(struct thaw_training *t) {
    const struct thaw_train_options *o = t->o;
    const bool late = o->checkpoint_minutes > 0 && thaw_time_s() - t->saved_at > 60 * o->checkpoint_minutes;
    const bool counted = o->checkpoint_every && thaw_train_done(t) % o->checkpoint_every == 0;
    int64_t want[3] = {thaw_comm_stop_requested(t->c), late || counted, thaw_checkpoint_writing(t)};
    thaw_comm_max_i64(t->c, want, 3);
    return (struct requests){.stop = want[0], .due = want[1], .writing = want[2]};
}

static int stop(struct thaw_training *t, struct thaw_err *err) {
    const int code = thaw_checkpoint_now(t, NULL, err);
    if (code) return code;
    return thaw_fail(err, THAW_ESTOPPED,
                     "stopped on request after iteration %d, which is saved: run the same command to go on",
                     thaw_train_done(t));
}

// Collective. One iteration, in the record. A row that is not finite ends it: no such row is ever saved.
static int improve(struct thaw_training *t, struct thaw_err *err) {
    double quality;
    int code = thaw_fit_iterate(t->fit, err);
    if (!code) code = measure_quality(t, &quality, err);
    if (!code)
        code = thaw_comm_agree(t->c, append_iteration(t, t->fit->objective / (double)t->in.nnz, quality, err),
                               err);
    if (!code) code = thaw_train_print_iteration(t, err);
    if (!code) thaw_best_note(t);
    return code;
}

static int iterate(struct thaw_training *t, struct thaw_err *err) {
    while (!why_stop(t)) {
        int code = improve(t, err);
        if (code) return code;
        const struct requests want = agree_requests(t);
        if (thaw_checkpoint_in_flight(t) && !want.writing && (code = thaw_checkpoint_end(t, err)))
            return code;
        if (why_stop(t)) break;
        if (want.stop) return stop(t, err);
        if (want.due && (code = thaw_checkpoint_begin(t, err))) return code;
    }
    return THAW_OK;
}

static int finish(struct thaw_training *t, struct thaw_err *err) {
    const int best = t->best.iteration, done = thaw_train_done(t);
    int code = THAW_OK;
    if (best && best < done) {
        thaw_log_note(t->ctx->log, "iteration %d of %d ranks best (NDCG@%d %.4f): its factors are kept", best,
                      done, THAW_QUALITY_CUTOFF, t->iteration[best - 1].quality);
        t->model.kept = best;
        code = thaw_best_restore(t, err);
    }
    if (!code && done) code = thaw_fit_fold_in(t->fit, err); // the start is all zeros for users
    if (!code) code = thaw_checkpoint_now(t, why_stop(t), err);
    return code ? code : thaw_train_print_end(t, err);
}

static void training_clear(struct thaw_training *t) {
    thaw_hold_end(&t->lock);
    thaw_best_clear(t);
    thaw_heldout_free(&t->watched);
    thaw_fit_free(&t->fit);
    thaw_interactions_clear(&t->in);
    thaw_model_close(&t->old);
    thaw_virtual_close(&t->virtual);
    thaw_dataset_close(&t->dataset);
    if (t->run) thaw__run__free_unpacked(t->run, NULL);
    free(t->model.iterations);
    free(t->iteration);
    free(t->als.holdout_ids);
}

// Collective. A signal while everything is being read: OUT is as it was.
static int check_stop(struct thaw_training *t, struct thaw_err *err) {
    if (!thaw_comm_stop_agreed(t->c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED,
                     "stopped on request before iteration %d: run the same command to go on",
                     thaw_train_done(t) + 1);
}

// Collective. From the data to the finished model.
static int train(struct thaw_training *t, struct thaw_err *err) {
    t->model.n_iterations = (size_t)thaw_train_kept(t); // those after it are done again
    t->model.kept = 0;
    // Hours of work are of no use where they cannot be saved.
    int code = thaw_comm_rank(t->c) == 0 ? thaw_dir_check(t->o->out, err) : THAW_OK;
    if ((code = thaw_comm_agree(t->c, code, err)) || (code = thaw_train_print_plan(t, err)) ||
        (code = load(t, err)) || (code = check_stop(t, err)) || (code = iterate(t, err)))
        return code;
    return finish(t, err);
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct thaw_training t = {.ctx = ctx, .c = ctx->comm, .o = options, .began = thaw_time_s()};
    (void)operands;
    t.saved_at = t.began;
    int code = open_inputs(&t, err);
    if (!code) code = thaw_hold(&t.lock, ctx, "train", t.o->out, err);
    if (!code) code = find_model(&t, err);
    if (!code && is_over(&t)) {
        thaw_log_note(ctx->log, "%s is finished (%s): nothing to do", t.old->dir, why_stop(&t));
        if (thaw_comm_rank(t.c) == 0)
            thaw_attempts_clear(t.o->out, NULL); // of a run that was killed after it
    } else if (!code) {
        code = train(&t, err);
    }
    if (code) thaw_checkpoint_end(&t, NULL); // what was sound when it was taken is worth keeping
    if (code == THAW_ESTOPPED && t.counted && thaw_comm_rank(t.c) == 0)
        thaw_attempts_clear(t.o->out, NULL); // not a failure of the checkpoint it went on from
    if (!code) thaw_train_print_results(&t);
    training_clear(&t);
    return code;
}

const struct thaw_job thaw_job_train = {.cmd = &thaw_train_command, .run = run};
