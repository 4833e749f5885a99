// thaw evaluate: how well a model serves users that training never saw, beside simple baselines.
#include "base/file.h"
#include "base/mem.h"
#include "comm/heldout.h"
#include "comm/interactions.h"
#include "comm/model.h"
#include "comm/sweep.h"
#include "jobs/job.h"
#include "jobs/quality.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_AUTO, ORDER_TIME, ORDER_RANDOM };

struct evaluate_options {
    const char *data, *model, *known_list, *set, *out;
    struct thaw_list known, cutoffs;
    int order;
    int64_t users, seed, replicates, memory;
    double alpha, unobserved, regularization;
    struct thaw_job_common common;
};

static const struct thaw_opt options_table[] = {
    THAW_OPTION_REQUIRED(struct evaluate_options, TEXT, "data", data, "DIR",
                         "The dataset the model was trained on."),
    THAW_OPTION_REQUIRED(struct evaluate_options, TEXT, "model", model, "DIR",
                         "The model, trained with --holdout-users or --holdout-list."),
    THAW_OPTION(struct evaluate_options, LIST, "known", known, "N", "10", 0, 0,
                "Numbers of known items to fold a user in from, such as 1,3,5,10. Users with no more "
                "interactions than the largest are left out."),
    THAW_OPTION(struct evaluate_options, LIST, "cutoffs", cutoffs, "K", "10,20", 0, 0,
                "Lengths of the recommended lists."),
    THAW_OPTION_CHOICE(
        struct evaluate_options, "order", order, "ORDER", "auto", "auto|time|random",
        "Which items of a user are known: the first in time, or random ones. auto takes time where "
        "the dataset has times."),
    THAW_OPTION(struct evaluate_options, TEXT, "known-list", known_list, "FILE", NULL, 0, 0,
                "Take users and known items from FILE instead: lines 'user set item item ...', the items in "
                "the order in which they become known. Users that are not held out are not measured."),
    THAW_OPTION(struct evaluate_options, TEXT, "set", set, "NAME", NULL, 0, 0,
                "Which held-out users: all, test (those training did not watch to stop early), or validation "
                "(those it may have watched); test when training did watch, else all. With --known-list, the "
                "set of the list; test when not given."),
    THAW_OPTION(struct evaluate_options, INT, "users", users, "N", "100000", 0, 0x1p50,
                "Measure about so many held-out users, drawn by id; 0 measures all."),
    THAW_OPTION(struct evaluate_options, REAL, "alpha", alpha, "A", "-1", -1, 1e9,
                "Confidence of an interaction in the fold-in; -1 takes training's."),
    THAW_OPTION(struct evaluate_options, REAL, "unobserved-weight", unobserved, "W", "-1", -1, 1e9,
                "Weight of unobserved pairs in the fold-in; -1 takes training's."),
    THAW_OPTION(struct evaluate_options, REAL, "regularization", regularization, "L", "-1", -1, 1e9,
                "Regularization of the fold-in; -1 takes training's."),
    THAW_OPTION(struct evaluate_options, INT, "seed", seed, "S", "1", 0, 0x1p62,
                "Of random orders and of the bootstrap."),
    THAW_OPTION(struct evaluate_options, INT, "replicates", replicates, "N", "1000", 10, THAW_REPLICATES_MAX,
                "Bootstrap replicates behind the intervals."),
    THAW_OPTION(struct evaluate_options, BYTES, "memory", memory, "BYTES", "256M", 1 << 20, 0x1p50,
                "Exchange buffers of each rank."),
    THAW_OPTION(struct evaluate_options, TEXT, "out", out, "FILE", NULL, 0, 0,
                "Write the results to FILE as well."),
    THAW_JOB_OPTIONS(struct evaluate_options),
};

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "evaluate",
    .summary = "measure a model on users that training never saw",
    .operands = "",
    .description = "Folds held-out users in from a few known items and asks how well the rest of their "
                   "history is ranked (implicit models) or predicted (explicit models). A user's N known "
                   "items are the first of the largest number asked for; the truth is always the user's "
                   "other items, and all those known items are left out of every ranking, so that results "
                   "for different N can be compared.\n\n"
                   "Ranking, at each cutoff k: NDCG (gain 1/log2(1 + rank) of the hits, divided by the best "
                   "possible), Recall (hits / the smaller of k and the number of true items), HR (share of "
                   "users with a hit), MAP (precision at the hits, over the same number as Recall), Novelty "
                   "(mean -log2 of the share of training users who have the recommended item), and Coverage "
                   "(share of all items that anyone is recommended). The baseline is popularity: the items "
                   "most training users have, without those the user knows.\n\n"
                   "Explicit models: RMSE and MAE over the ratings in the truth; baselines are the mean of "
                   "the training ratings, and the mean of each item.\n\n"
                   "Every value has a 95 % interval from a bootstrap over users, and so have the difference "
                   "and the ratio to the baseline, which are taken within each replicate, hence paired. The "
                   "interval of Coverage is moved onto the value, because resampled users are fewer "
                   "different ones and always cover less.\n\n"
                   "Every item is scored for every user: time grows with users x items x factors. The "
                   "results are the same bytes for any number of ranks and threads.",
    .examples = "thaw evaluate --data run/data --model run/model\n"
                "mpirun -n 4 thaw evaluate --data run/data --model run/model --known 1,3,5,10 --cutoffs 20 "
                "--format csv",
    THAW_CMD_OPTIONS(struct evaluate_options, options_table),
};

struct evaluation {
    struct thaw_job_ctx *ctx;
    const struct evaluate_options *o;
    struct thaw_dataset *dataset;
    struct thaw_model *model;
    const Thaw__Als *als;
    struct thaw_plan plan[2];
    struct thaw_heldout_choice choice;
    struct thaw_heldout *users;
    float *rows;     // this rank's items x columns
    double *gramian; // k x k
    int64_t *degree; // this rank's items
    double *value_sum;
    int known[THAW_KNOWN_MAX], cutoff[THAW_CUTOFFS_MAX];
    struct thaw_quality quality;
};

// ---- What is asked ----

static int rising(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

// Words "1", "1,3,5" to distinct rising numbers.
static int read_numbers(const struct thaw_list *list, const char *name, int most, int *out, int *n,
                        struct thaw_err *err) {
    *n = 0;
    for (int i = 0; i < list->n; i++)
        for (const char *p = list->item[i]; *p; p += *p == ',') {
            char *end;
            long v = strtol(p, &end, 10);
            if (end == p || (*end && *end != ',') || v < 1 || v > 1000)
                return thaw_fail(err, THAW_EUSAGE, "--%s: '%s' is not a list of numbers from 1 to 1000", name,
                                 list->item[i]);
            if (*n == most) return thaw_fail(err, THAW_EUSAGE, "--%s: more than %d numbers", name, most);
            out[(*n)++] = (int)v;
            p = end;
        }
    if (*n == 0) return thaw_fail(err, THAW_EUSAGE, "--%s: no number given", name);
    qsort(out, (size_t)*n, sizeof *out, rising);
    int kept = 1;
    for (int i = 1; i < *n; i++)
        if (out[i] != out[kept - 1]) out[kept++] = out[i];
    *n = kept;
    return THAW_OK;
}

static bool watched(const Thaw__Model *m) {
    for (size_t i = 0; i < m->n_iterations; i++)
        if (m->iterations[i]->quality != 0) return true;
    return false;
}

static int choose_users(struct evaluation *e, struct thaw_err *err) {
    static const char *const names[3] = {"all", "validation", "test"};
    const struct evaluate_options *o = e->o;
    struct thaw_heldout_choice *choice = &e->choice;
    bool has_time = e->dataset->manifest->has_time;
    *choice = (struct thaw_heldout_choice){.als = e->als,
                                           .max_users = o->users,
                                           .max_known = e->known[e->quality.nknown - 1],
                                           .by_time =
                                               o->order == ORDER_TIME || (o->order == ORDER_AUTO && has_time),
                                           .seed = (uint64_t)o->seed,
                                           .list = o->known_list,
                                           .list_set = o->set ? o->set : "test"};
    if (o->known_list) {
        choice->by_time = false;
        return THAW_OK;
    }
    const char *set = o->set ? o->set : watched(e->model->manifest) ? "test" : "all";
    for (int i = 0; i < 3; i++)
        if (strcmp(set, names[i]) == 0) {
            choice->set = (enum thaw_heldout_set)i;
            return THAW_OK;
        }
    return thaw_fail(err, THAW_EUSAGE, "--set: '%s' is none of all, test, validation", set);
}

static int check_model(const struct evaluation *e, struct thaw_err *err) {
    const Thaw__Model *m = e->model->manifest;
    if (m->dataset_digest != e->dataset->digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s: trained on another dataset (%s, digest %016" PRIx64
                         ") than %s (digest %016" PRIx64 ")",
                         e->model->dir, m->dataset, m->dataset_digest, e->dataset->dir, e->dataset->digest);
    if (!thaw_has_held_out(m->als))
        return thaw_fail(
            err, THAW_EDATA,
            "%s: no user was held out of training: train with --holdout-users (say 0.1) to evaluate",
            e->model->dir);
    return THAW_OK;
}

// ---- Loading ----

// Collective.
static int open_inputs(struct evaluation *e, struct thaw_err *err) {
    struct thaw_comm *c = e->ctx->comm;
    char note[256] = "";
    int code = read_numbers(&e->o->known, "known", THAW_KNOWN_MAX, e->known, &e->quality.nknown, err);
    if (code == THAW_OK)
        code =
            read_numbers(&e->o->cutoffs, "cutoffs", THAW_CUTOFFS_MAX, e->cutoff, &e->quality.ncutoffs, err);
    if (code == THAW_OK) code = thaw_dataset_open(&e->dataset, e->o->data, err);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_model_open(&e->model, c, e->o->model, true, note, err);
    if (code != THAW_OK) return code;
    if (*note) thaw_log_warn(e->ctx->log, "%s", note);
    if (e->model->manifest->n_iterations == 0)
        thaw_log_warn(e->ctx->log, "%s: no iteration was trained; its items are random", e->model->dir);
    if (!e->model->manifest->finished)
        thaw_log_warn(e->ctx->log, "%s: training has not finished; this is its last checkpoint",
                      e->model->dir);
    e->als = e->model->manifest->als;
    code = check_model(e, err);
    if (code == THAW_OK) code = choose_users(e, err);
    const Thaw__Dataset *d = e->dataset->manifest;
    if (code == THAW_OK)
        code = thaw_plan_new(&e->plan[THAW_USERS], d->parts, d->users->part_rows, d->users->part_nnz,
                             thaw_comm_size(c), err);
    if (code == THAW_OK) // scoring costs the same for every item
        code =
            thaw_plan_new(&e->plan[THAW_ITEMS], d->parts, d->items->part_rows, NULL, thaw_comm_size(c), err);
    return thaw_comm_agree(c, code, err);
}

static int configure(struct evaluation *e, struct thaw_err *err) {
    const struct evaluate_options *o = e->o;
    struct thaw_als_config config = thaw_als_config_of(e->als, THAW_ALS_CHOLESKY, THAW_ALS_F32, 1, 0);
    if (o->alpha >= 0) config.alpha = o->alpha;
    if (o->unobserved >= 0) config.unobserved = o->unobserved;
    if (o->regularization >= 0) config.lambda = o->regularization;
    e->quality.model =
        (struct thaw_heldout_model){.config = config,
                                    .items = &e->plan[THAW_ITEMS],
                                    .rows = e->rows,
                                    .gramian = config.model == THAW_ALS_EXPLICIT ? NULL : e->gramian,
                                    .budget_bytes = o->memory,
                                    .log = e->ctx->log};
    return thaw_als_check(&config, err);
}

// Collective. Item rows, their gramian, and what training users did.
static int load_items(struct evaluation *e, struct thaw_err *err) {
    struct thaw_comm *c = e->ctx->comm;
    const struct thaw_plan *items = &e->plan[THAW_ITEMS];
    int rank = thaw_comm_rank(c), columns = thaw_model_columns(e->model), k = e->als->factors;
    size_t n = (size_t)(items->rank_row[rank + 1] - items->rank_row[rank]);
    int code = thaw_alloc(&e->rows, n * (size_t)columns, sizeof *e->rows, "item factors", err);
    if (code == THAW_OK)
        code = thaw_alloc(&e->gramian, (size_t)k * (size_t)k, sizeof *e->gramian, "the gramian", err);
    if (code == THAW_OK) code = thaw_alloc(&e->degree, n, sizeof *e->degree, "item degrees", err);
    if (code == THAW_OK) code = thaw_alloc(&e->value_sum, n, sizeof *e->value_sum, "item sums", err);
    if (code == THAW_OK) code = configure(e, err);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_model_load(e->model, c, THAW_ITEMS, items, e->rows, err);
    if (code == THAW_OK) code = thaw_sweep_gramian(c, items, e->rows, k, columns, e->gramian, err);
    if (code == THAW_OK)
        code = thaw_heldout_item_degrees(c, e->dataset, e->plan, e->als, e->degree, e->value_sum,
                                         &e->quality.training_users, err);
    return code;
}

// Collective.
static int load_users(struct evaluation *e, struct thaw_err *err) {
    int code =
        thaw_heldout_load(&e->users, e->ctx->comm, e->dataset, &e->plan[THAW_USERS], &e->choice, true, err);
    if (code != THAW_OK) return code;
    const struct thaw_heldout *h = e->users;
    if (h->unknown > 0)
        thaw_log_warn(e->ctx->log,
                      "%" PRId64
                      " users of set '%s' of %s are not held-out users of this model: not measured",
                      h->unknown, e->choice.list_set, e->choice.list);
    if (h->lacking > 0)
        thaw_log_warn(e->ctx->log,
                      "%" PRId64 " users of %s lack one of their known items in the dataset: not measured",
                      h->lacking, e->choice.list);
    if (h->total == 0)
        return thaw_fail(err, THAW_EDATA,
                         "no user to measure: %" PRId64 " are held out, %" PRId64
                         " of those asked for have no more than the %d known interactions (--known)",
                         h->held_out, h->too_short, h->max_known);
    return THAW_OK;
}

// ---- Results ----

static void write_notes(FILE *out, const struct evaluation *e) {
    const struct thaw_als_config *c = &e->quality.model.config;
    const struct thaw_heldout *h = e->users;
    fprintf(out, "model: %s, %d factors; fold-in:", thaw_pack_model_name(e->als), c->k);
    if (c->model != THAW_ALS_EXPLICIT)
        fprintf(out, " alpha %g, unobserved weight %g,", c->alpha, c->unobserved);
    fprintf(out, " regularization %g", c->lambda);
    if (c->model != THAW_ALS_EXPLICIT) fprintf(out, ", exponent %g", c->nu);
    fprintf(out, "\nusers: %" PRId64 " held out, %" PRId64 " measured", h->held_out, h->total);
    if (e->choice.list)
        fprintf(out, " (set '%s' of a list)", e->choice.list_set);
    else if (e->choice.set != THAW_HELDOUT_ALL)
        fprintf(out, " (%s)",
                e->choice.set == THAW_HELDOUT_TEST ? "not watched by training" : "watched by training");
    fprintf(out, "; %" PRId64 " have %d interactions or fewer; known items ", h->too_short, h->max_known);
    fprintf(out, "%s\n",
            e->choice.list      ? "as listed"
            : e->choice.by_time ? "in time order"
                                : "in random order");
    fprintf(out, "items: %" PRId64 "; training users: %" PRId64 "\n", thaw_plan_rows(&e->plan[THAW_ITEMS]),
            e->quality.training_users);
}

// Rank 0. Print, and keep a copy where asked.
static int print_results(const struct evaluation *e, const struct thaw_report_row *rows, int nrows,
                         struct thaw_err *err) {
    char *notes = NULL, *text = NULL;
    size_t notes_bytes = 0, text_bytes = 0;
    int code = THAW_OK;
    FILE *memory = open_memstream(&notes, &notes_bytes);
    if (!memory) return thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    write_notes(memory, e);
    fclose(memory);
    memory = open_memstream(&text, &text_bytes);
    if (memory) {
        thaw_report_print(memory, e->o->common.format, notes, e->users->total, rows, nrows);
        fclose(memory);
    }
    if (!memory || !text) {
        code = thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    } else {
        fwrite(text, 1, text_bytes, stdout);
        if (e->o->out) code = thaw_file_put(e->o->out, text, text_bytes, NULL, err);
    }
    free(notes);
    free(text);
    return code;
}

// Collective.
static int measure(struct evaluation *e, struct thaw_err *err) {
    struct thaw_quality *q = &e->quality;
    struct thaw_report_row *rows = NULL;
    int nrows = 0;
    q->comm = e->ctx->comm;
    q->users = e->users;
    q->degree = e->degree;
    q->value_sum = e->value_sum;
    q->known = e->known;
    q->cutoff = e->cutoff;
    q->replicates = (int)e->o->replicates;
    q->seed = (uint64_t)e->o->seed;
    int code = q->model.config.model == THAW_ALS_EXPLICIT ? thaw_quality_ratings(q, &rows, &nrows, err)
                                                          : thaw_quality_ranking(q, &rows, &nrows, err);
    if (code == THAW_OK && thaw_comm_rank(q->comm) == 0) code = print_results(e, rows, nrows, err);
    free(rows);
    return thaw_comm_agree(q->comm, code, err);
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    (void)operands;
    struct evaluation e = {.ctx = ctx, .o = options};
    double start = thaw_time_s();
    int code = open_inputs(&e, err);
    if (code == THAW_OK) code = load_items(&e, err);
    if (code == THAW_OK) code = load_users(&e, err);
    if (code != THAW_OK) goto done;
    thaw_log_note(ctx->log,
                  "%" PRId64 " held-out users, %" PRId64 " items: ranking with %d known items at most",
                  e.users->total, thaw_plan_rows(&e.plan[THAW_ITEMS]), e.users->max_known);
    code = measure(&e, err);
    if (code == THAW_OK) thaw_log_note(ctx->log, "evaluated in %.1f s", thaw_time_s() - start);
done:
    thaw_heldout_free(&e.users);
    thaw_plan_clear(&e.plan[THAW_USERS]);
    thaw_plan_clear(&e.plan[THAW_ITEMS]);
    thaw_model_close(&e.model);
    thaw_dataset_close(&e.dataset);
    free(e.rows);
    free(e.gramian);
    free(e.degree);
    free(e.value_sum);
    return code;
}

const struct thaw_job thaw_job_evaluate = {.cmd = &command, .run = run};
