// augment.c: thaw augment, training of the conditional generator and what it makes.
#include "jobs/augment.h"

#include "als/als.h"
#include "base/mem.h"
#include "comm/heldout.h"
#include "comm/interactions.h"
#include "comm/prior.h"
#include "comm/runinfo.h"
#include "jobs/attempts.h"
#include "jobs/recipe.h"
#include "jobs/trained.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXCHANGE_BYTES = 256 << 20 };

// ---- Inputs ----

static int checkpoint_path(struct thaw_augment *a, struct thaw_err *err) {
    size_t n = strlen(a->o->out);
    while (n > 1 && a->o->out[n - 1] == '/') n--;
    const int length = snprintf(a->checkpoints, sizeof a->checkpoints, "%.*s.checkpoint", (int)n, a->o->out);
    if (length > 0 && (size_t)length < sizeof a->checkpoints) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "--out: the path is too long");
}

static int make_plans(struct thaw_augment *a, struct thaw_err *err) {
    const int size = thaw_comm_size(a->c);
    int code = thaw_dataset_plan(a->plan, a->dataset, size, a->config.shape.k, err);
    if (code) return code;
    thaw_plan_clear(&a->plan[THAW_ITEMS]); // the softmax costs the same for every item
    return thaw_gan_items_plan(&a->plan[THAW_ITEMS], a->dataset->manifest->items, size, err);
}

static void fill_manifest(struct thaw_augment *a) {
    Thaw__Generator *m = &a->manifest;
    thaw__generator__init(m);
    m->format = 1;
    m->run = a->run;
    m->dataset_digest = a->dataset->digest;
    m->model_digest = a->model->digest;
    m->factors = a->config.shape.k;
    m->features = a->config.shape.features;
    m->longest = a->config.shape.longest;
    m->noise = a->config.shape.noise;
    m->hidden = a->config.shape.hidden;
    m->items = a->dataset->manifest->items;
    m->adversary = a->config.adversary;
    m->latent_loss = a->config.latent_loss;
    m->seed = a->config.seed;
}

// Collective.
static int open_inputs(struct thaw_augment *a, struct thaw_err *err) {
    const struct thaw_trained_wish wish = {
        .model = a->o->model, .data = a->o->data, .iterated = true, .only_implicit = "the generator is"};
    int code = thaw_comm_agree(a->c, checkpoint_path(a, err), err);
    if (code || (code = thaw_trained_open(a->ctx, &wish, &a->model, &a->dataset, &a->data, err))) return code;
    code = thaw_augment_describe(a, err);
    if (!code) code = make_plans(a, err);
    if ((code = thaw_comm_agree(a->c, code, err))) return code;
    code = thaw_recipe_run_new(&a->run, a->ctx, &thaw_augment_command, a->o, thaw_blas_core(), err);
    if (!code) code = thaw_run_info_input(a->run, a->data, 0, a->dataset->digest, err);
    if (!code) code = thaw_run_info_input(a->run, a->model->dir, 0, a->model->digest, err);
    if (!code) fill_manifest(a);
    return thaw_comm_agree(a->c, code, err);
}

// Collective. A signal before training.
static int check_stop(const struct thaw_augment *a, struct thaw_err *err) {
    if (!thaw_comm_stop_agreed(a->c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED, "stopped on request before training: the same command begins anew");
}

// Collective. Factors, histories, popularity.
static int load(struct thaw_augment *a, struct thaw_err *err) {
    const int rank = thaw_comm_rank(a->c), columns = thaw_model_columns(a->model);
    const Thaw__Als *als = a->model->manifest->als;
    int64_t training_users;
    int code = THAW_OK;
    for (int side = 0; !code && side < 2; side++) {
        const size_t n = (size_t)(a->plan[side].rank_row[rank + 1] - a->plan[side].rank_row[rank]);
        code = thaw_alloc(&a->rows[side], n * (size_t)columns, sizeof(float), "factors", err);
        if (!code && side == THAW_ITEMS)
            code = thaw_alloc(&a->degree, n, sizeof *a->degree, "item degrees", err);
    }
    if ((code = thaw_comm_agree(a->c, code, err))) return code;
    if ((code =
             thaw_model_load(a->model, a->c, THAW_ITEMS, &a->plan[THAW_ITEMS], a->rows[THAW_ITEMS], err)) ||
        (code = thaw_users_solve(a->c, a->dataset, als, a->plan, a->rows[THAW_ITEMS], a->rows[THAW_USERS],
                                 EXCHANGE_BYTES, err)) ||
        (code = check_stop(a, err)) ||
        (code = thaw_heldout_item_degrees(a->c, a->dataset, a->plan, als, a->degree, NULL, &training_users,
                                          err)))
        return code;
    return thaw_histories_load(&a->histories, a->c, a->dataset, &a->plan[THAW_USERS], als, a->config.by_time,
                               a->config.seed, err);
}

// ---- Checkpoints ----

// Collective. Going on from the checkpoint that was loaded is counted.
static int count_attempt(struct thaw_augment *a, struct thaw_err *err) {
    char name[32];
    int code = THAW_OK;
    snprintf(name, sizeof name, "step-%06" PRId64, a->gan->step);
    if (thaw_comm_rank(a->c) == 0) code = thaw_attempts_begin(a->checkpoints, name, err);
    code = thaw_comm_agree(a->c, code, err);
    a->counted = !code;
    return code;
}

// Collective. A checkpoint; the run got further than the one it went on from.
static int save(struct thaw_augment *a, struct thaw_err *err) {
    a->saved_at = thaw_time_s();
    int code = thaw_gan_save(a->gan, a->checkpoints, &a->manifest, err);
    if (code || !a->counted) return code;
    a->counted = false;
    if (thaw_comm_rank(a->c) == 0) code = thaw_attempts_clear(a->checkpoints, err);
    return thaw_comm_agree(a->c, code, err);
}

// ---- Training ----

// Collective. Weights at their start, or those of a checkpoint.
static int begin(struct thaw_augment *a, struct thaw_err *err) {
    const struct thaw_gan_data data = {.h = &a->histories,
                                       .users = &a->plan[THAW_USERS],
                                       .items = &a->plan[THAW_ITEMS],
                                       .user_rows = a->rows[THAW_USERS],
                                       .item_rows = a->rows[THAW_ITEMS],
                                       .columns = thaw_model_columns(a->model),
                                       .degree = a->degree};
    struct thaw_err own = THAW_ERR_INIT;
    char note[256];
    bool found;
    int code = thaw_gan_new(&a->gan, a->c, &a->config, &data, err);
    if (code) return code;
    code = thaw_gan_resume(a->gan, a->checkpoints, &a->manifest, &found, note, &own);
    if (!code && found) code = count_attempt(a, &own);
    if ((code == THAW_EUSAGE || code == THAW_EDATA) && a->o->force) {
        thaw_log_warn(a->ctx->log, "removing %s, as --force says: %s", a->checkpoints, own.text);
        thaw_gan_free(&a->gan); // a damaged checkpoint may have been read in part
        code = thaw_gan_forget(a->c, a->checkpoints, err);
        return code ? code : thaw_gan_new(&a->gan, a->c, &a->config, &data, err);
    }
    if (code) *err = own;
    if (!code && note[0]) thaw_log_warn(a->ctx->log, "%s: %s", a->checkpoints, note);
    if (!code && found)
        thaw_log_note(a->ctx->log, "going on from %s, step %" PRId64, a->checkpoints, a->gan->step);
    return code;
}

// Collective. A checkpoint, when it is time for one.
static int save_when_due(struct thaw_augment *a, bool stop, struct thaw_err *err) {
    const struct thaw_augment_options *o = a->o;
    const struct thaw_gan *g = a->gan;
    if (g->step == g->config.steps) return THAW_OK;
    int64_t due = stop || (o->checkpoint_every && g->step % o->checkpoint_every == 0);
    if (o->checkpoint_minutes > 0 && !due) {
        due = thaw_time_s() - a->saved_at > 60 * o->checkpoint_minutes;
        thaw_comm_bcast(a->c, &due, sizeof due, 0); // clocks differ
    }
    if (!due) return THAW_OK;
    const int code = save(a, err);
    if (code || !stop) return code;
    return thaw_fail(
        err, THAW_ESTOPPED,
        "stopped on request after step %" PRId64 ", which is saved: run the same command to go on", g->step);
}

// Collective.
static int train(struct thaw_augment *a, struct thaw_err *err) {
    struct thaw_gan *g = a->gan;
    while (g->step < g->config.steps) {
        bool stop = false;
        struct thaw_err own = THAW_ERR_INIT;
        int code = thaw_gan_step(g, &stop, &own);
        if (code == THAW_EDIVERGED && thaw_path_exists(a->checkpoints)) { // what diverged is not saved
            const size_t told = strlen(own.text);
            snprintf(own.text + told, sizeof own.text - told,
                     "; the checkpoints in %.120s are from before it", a->checkpoints);
        }
        if (code) {
            *err = own;
            return code;
        }
        thaw_augment_print_step(a);
        if ((code = save_when_due(a, stop, err))) return code;
    }
    thaw_gan_gather(g);
    return thaw_gan_check(g, err);
}

// ---- Writing ----

// Collective.
static int write_generator(struct thaw_augment *a, struct thaw_err *err) {
    struct thaw_partfiles files = {0};
    Thaw__Generator *m = &a->manifest;
    int code = thaw_gan_write(a->gan, a->out.work, &files, err);
    if (!code && thaw_comm_rank(a->c) == 0) {
        a->run->seconds = thaw_time_s() - a->began;
        m->log_scale = a->gan->generator.averaged[a->gan->layout.log_scale];
        m->steps = a->gan->step;
        m->files = files.file;
        m->n_files = files.n;
        code = thaw_augment_write_losses(a, a->out.work, err);
        if (!code) code = thaw_pack_write(a->out.work, "manifest.pb", &m->base, err);
        m->files = NULL;
        m->n_files = 0;
    }
    thaw_partfiles_clear(&files);
    return thaw_comm_agree(a->c, code, err);
}

// The generator's averaged weights, or those in training: exchanged.
static void swap_averages(struct thaw_gan *g) {
    float *net = g->generator.p;
    g->generator.p = g->generator.averaged;
    g->generator.averaged = net;
    thaw_gan_items_swap(g->items);
}

// Collective. A signal after the last step: the weights are saved, and the same command makes the rest.
static int save_and_stop(struct thaw_augment *a, struct thaw_err *err) {
    const int code = save(a, err);
    if (code) return code;
    return thaw_fail(err, THAW_ESTOPPED,
                     "stopped on request after training, which is saved: run the same command to go on");
}

// Collective. What is made up, and how real it looks.
static int write_made(struct thaw_augment *a, const struct thaw_virtual_plan *plan, struct thaw_err *err) {
    Thaw__Virtual m = THAW__VIRTUAL__INIT;
    struct thaw_realism r;
    struct thaw_latents latents = {0};
    char dir[THAW_PATH_MAX];
    m.format = 1;
    m.run = a->run;
    m.dataset_digest = a->dataset->digest;
    int code = thaw_path_join(dir, a->out.work, "virtual", err);
    if (!code && thaw_comm_rank(a->c) == 0) code = thaw_dir_make(dir, err);
    if ((code = thaw_comm_agree(a->c, code, err)) || (code = thaw_virtual_write(a->c, plan, dir, &m, err)) ||
        (code = thaw_realism_measure(a->c, plan, a->gan->real, a->degree, &r, err)) ||
        (code = thaw_latents_draw(&latents, a->c, plan, a->gan->real, err)))
        return code;
    r.auc = latents.auc;
    thaw_log_note(a->ctx->log,
                  "%" PRId64 " virtual interactions for %" PRId64 " users; %" PRId64 " for %" PRId64
                  " whole virtual users",
                  m.interactions, m.users, m.extra_interactions, plan->extra);
    if (thaw_comm_rank(a->c) == 0) {
        code = thaw_augment_report_realism(a, &r, err);
        if (!code) code = thaw_latents_write(&latents, a->out.work, err);
    }
    thaw_latents_clear(&latents);
    return thaw_comm_agree(a->c, code, err);
}

// Collective.
static int make_up(struct thaw_augment *a, struct thaw_err *err) {
    const struct thaw_augment_options *o = a->o;
    struct thaw_gan *g = a->gan;
    swap_averages(g);
    const struct thaw_virtual_plan plan = {
        .dataset = a->dataset,
        .users = &a->plan[THAW_USERS],
        .items = &a->plan[THAW_ITEMS],
        .h = &a->histories,
        .shape = a->config.shape,
        .net = g->generator.p,
        .item_rows = g->items,
        .by_time = a->config.by_time,
        .seed = a->config.seed,
        .below = o->virtual_below,
        .wanted = o->virtual_items,
        .draws = (int)o->virtual_draws,
        .rest = a->config.rest,
        .extra = llrint(o->virtual_users * (double)a->histories.training_users)};
    struct thaw_err own = THAW_ERR_INIT;
    const int code = write_made(a, &plan, &own);
    swap_averages(g);
    if (code == THAW_ESTOPPED) return save_and_stop(a, err);
    if (code) *err = own;
    return code;
}

static void clear(struct thaw_augment *a) {
    thaw_outdir_discard(&a->out, a->c);
    thaw_gan_free(&a->gan);
    thaw_histories_clear(&a->histories);
    if (a->run) thaw__run__free_unpacked(a->run, NULL);
    for (int side = 0; side < 2; side++) {
        thaw_plan_clear(&a->plan[side]);
        free(a->rows[side]);
    }
    free(a->degree);
    thaw_dataset_close(&a->dataset);
    thaw_model_close(&a->model);
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct thaw_augment a = {.ctx = ctx, .c = ctx->comm, .o = options, .began = thaw_time_s()};
    (void)operands;
    a.saved_at = a.began;
    int code = open_inputs(&a, err);
    if (!code)
        code = thaw_outdir_begin(&a.out, ctx, "augment", a.o->out, "a generator", a.o->force, a.run, err);
    if ((a.out.finished || (code == THAW_EUSAGE && a.out.lock)) && thaw_comm_rank(a.c) == 0)
        thaw_gan_forget_finished(a.checkpoints, a.o->out, &a.manifest);
    if (code || a.out.finished) goto done;
    code = load(&a, err);
    if (!code) code = begin(&a, err);
    if (code) goto done;
    thaw_augment_print_start(&a);
    if ((code = train(&a, err)) || (code = thaw_augment_print_end(&a, err)) || (code = make_up(&a, err)) ||
        (code = write_generator(&a, err)) || (code = thaw_outdir_commit(&a.out, a.c, err)) ||
        (code = thaw_gan_forget(a.c, a.checkpoints, err)))
        goto done;
    thaw_log_note(ctx->log, "%s is finished after %.1f s", a.out.path, thaw_time_s() - a.began);
done:
    clear(&a);
    return code;
}

const struct thaw_job thaw_job_augment = {.cmd = &thaw_augment_command, .run = run};
