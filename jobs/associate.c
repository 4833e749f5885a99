// associate.c: thaw associate: which item goes with which, from histories and profiles, in closed form.
#include "comm/associate.h"

#include "als/als.h"
#include "base/mem.h"
#include "comm/interactions.h"
#include "comm/model.h"
#include "comm/room.h"
#include "comm/runinfo.h"
#include "jobs/associating.h"
#include "jobs/outdir.h"
#include "jobs/recipe.h"
#include "jobs/trained.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTION(KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)                                                  \
    THAW_OPTION(struct thaw_associate_options, KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)
#define CHOICE(NAME, FIELD, DEF, CHOICES, HELP)                                                              \
    THAW_OPTION_CHOICE(struct thaw_associate_options, NAME, FIELD, "WORD", DEF, CHOICES, HELP)
static const struct thaw_opt opts[] = {
    THAW_OPTION_REQUIRED(struct thaw_associate_options, TEXT, "data", data, "DIR",
                         "Dataset folder, as written by 'thaw prepare'."),
    THAW_OPTION_REQUIRED(struct thaw_associate_options, TEXT, "out", out, "DIR", "Folder of the result."),
    OPTION(TEXT, "model", model, "DIR", NULL, 0, 0,
           "Leave out the users that this model's training left out, and take what it took for an "
           "interaction."),
    CHOICE("method", method, "episodic", "episodic|ease|knn",
           "episodic: from N known items and the profile to the rest, all choices of N averaged exactly. "
           "ease: Steck's, from all items but one to that one. knn: shrunk similarity."),
    OPTION(LIST, "known", known, "N", NULL, 0, 0,
           "Numbers of known items, such as 0,1,3,5,10 (which is what episodic takes when none is given): "
           "each gets an association of its own. ease and knn make one that serves all, unless told."),
    OPTION(LIST, "regularization", regularization, "X", NULL, 0, 0,
           "Ridge on the items (knn: what is added to the denominator), one for all of --known or one for "
           "each. By default what was best on MovieLens 1M: 5, 0.5, 1, 2, 5 at 0, 1, 3, 5, 10 known items "
           "(ease: 1e4, 1e5, 1e5, 3e4, 1e4; knn: 100, from 5 to 10 falling to 0), lines between."),
    OPTION(REAL, "profile-regularization", profile_regularization, "X", "60", 1e-30, 1e30,
           "Ridge on the profile's features and the constant, in users (episodic)."),
    CHOICE("profiles", profiles, "yes", "yes|no", "Use the users' attributes (episodic)."),
    OPTION(
        LIST, "power", power, "X", NULL, 0, 0,
        "knn divides what two items have in common by the product of their users to this power: 0.5 is the "
        "cosine. By default 0.5, and 0.25 for one known item."),
    OPTION(TEXT, "neighbors", neighbors, "M", "1024", 0, 0,
           "How many others of each item are kept, the strongest by magnitude; or 'all'."),
    CHOICE("precision", precision, "single", "single|double",
           "Of the matrices. A residual computed in double tells whether single is enough."),
    OPTION(BYTES, "memory", memory, "BYTES", "0", 0, 0x1p60,
           "Memory of each rank that matrices and histories may take; 0: what the machine has free."),
    OPTION(INT, "block", block, "N", "0", 0, 4096,
           "Rows and columns of a block of the block-cyclic layout; 0 chooses it."),
    {.name = "holdout-list",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct thaw_associate_options, holdout_list),
     .arg = "FILE",
     .help = "Leave out the users listed in FILE: the first word of each line. Not with --model."},
    OPTION(REAL, "holdout-users", holdout, "F", "0", 0, 0.9,
           "Fraction of users to leave out, drawn by their ids as 'thaw train' does. Not with --model."),
    OPTION(INT, "holdout-seed", holdout_seed, "S", "1", 0, 0x1p53, "Seed of that draw."),
    OPTION(FLAG, "force", force, NULL, NULL, 0, 0, "Replace the association that is in --out."),
    THAW_JOB_OPTIONS(struct thaw_associate_options),
};
static const struct thaw_cmd command;

struct job {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct thaw_associate_options *o;
    struct thaw_associate_numbers numbers;
    struct thaw_model *model; // NULL: own tells
    struct thaw_dataset *dataset;
    Thaw__Als own;
    struct thaw_plan plan[2];
    struct thaw_histories h;
    struct thaw_outdir out;
    Thaw__Run *run;
    Thaw__Association *manifest; // rank 0
    double residual;
};

static bool is_first(const struct job *j) {
    return thaw_comm_rank(j->c) == 0;
}

static const Thaw__Als *als_of(const struct job *j) {
    return j->model ? j->model->manifest->als : &j->own;
}

// ---- Inputs ----

// Local. Who is left out when no model says so.
static int own_choice(struct job *j, struct thaw_err *err) {
    const struct thaw_associate_options *o = j->o;
    thaw__als__init(&j->own);
    if (o->model && (o->holdout_list || o->holdout > 0))
        return thaw_fail(err, THAW_EUSAGE,
                         "--model says who is held out: leave --holdout-list and --holdout-users out");
    j->own.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    j->own.strength = THAW__ALS__STRENGTH__BINARY;
    j->own.holdout = o->holdout;
    j->own.holdout_seed = (uint64_t)o->holdout_seed;
    if (!o->holdout_list) return THAW_OK;
    return thaw_holdout_list_read(o->holdout_list, &j->own.holdout_ids, &j->own.n_holdout_ids, err);
}

// Collective.
static int open_inputs(struct job *j, struct thaw_err *err) {
    enum { ROW_WORK = 64 };
    const struct thaw_trained_wish wish = {.model = j->o->model, .data = j->o->data};
    const char *data;
    int64_t memory = j->o->memory; // 0: what there is
    int code = thaw_comm_fit_memory(j->c, "memory", 0, &memory, err);
    if (code) return code;
    code = thaw_associate_numbers(j->o, &j->numbers, err);
    if (!code) code = own_choice(j, err);
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    if (j->o->model)
        code = thaw_trained_open(j->ctx, &wish, &j->model, &j->dataset, &data, err);
    else
        code = thaw_dataset_open(&j->dataset, j->o->data, err);
    if (!code) code = thaw_dataset_plan(j->plan, j->dataset, thaw_comm_size(j->c), ROW_WORK, err);
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    code = thaw_comm_same(j->c, &j->dataset->digest, sizeof j->dataset->digest, "the dataset", err);
    if (code) return code;
    return thaw_recipe_run_new(&j->run, j->ctx, &command, j->o, thaw_blas_core(), err);
}

// Collective.
static int load(struct job *j, struct thaw_err *err) {
    const int code =
        thaw_histories_load(&j->h, j->c, j->dataset, &j->plan[THAW_USERS], als_of(j), false, 0, err);
    if (code) return code;
    char users[32], nnz[32], items[32];
    thaw_log_note(j->ctx->log, "%s interactions of %s users with %s items, %d profile features",
                  thaw_human_count(nnz, j->h.training_nnz), thaw_human_count(users, j->h.training_users),
                  thaw_human_count(items, thaw_plan_rows(&j->plan[THAW_ITEMS])), (int)j->h.profile.columns);
    return THAW_OK;
}

// ---- Fitting and writing ----

// Collective.
static int fit(struct job *j, struct thaw_err *err) {
    const struct thaw_associate_config config = {.method = thaw_associate_method(j->o),
                                                 .known = j->numbers.known,
                                                 .regularization = j->numbers.regularization,
                                                 .power = j->numbers.power,
                                                 .nknown = j->numbers.n,
                                                 .profile_regularization = j->o->profile_regularization,
                                                 .neighbors = j->numbers.neighbors,
                                                 .single = j->o->precision == 0,
                                                 .profile = j->o->profiles == 0,
                                                 .block = j->o->block,
                                                 .memory = j->o->memory,
                                                 .log = j->ctx->log};
    const int code = thaw_associate_fit(j->c, &config, &j->h, &j->plan[THAW_ITEMS], j->out.work, &j->manifest,
                                        &j->residual, err);
    if (!code && config.single && j->residual > 1e-3)
        thaw_log_warn(j->ctx->log,
                      "the relative residual of the solution is %.1e: raise --regularization, or take "
                      "--precision double",
                      j->residual);
    return code;
}

// Rank 0.
static int put_manifest(const struct job *j, struct thaw_err *err) {
    j->manifest->run = j->run;
    j->manifest->dataset_digest = j->dataset->digest;
    j->manifest->model_digest = j->model ? j->model->digest : 0;
    const int code = thaw_pack_write(j->out.work, "manifest.pb", &j->manifest->base, err);
    j->manifest->run = NULL;
    return code;
}

// Collective.
static int finish(struct job *j, double started, struct thaw_err *err) {
    int code = thaw_run_info_input(j->run, j->o->data, 0, j->dataset->digest, err);
    if (!code && j->model) code = thaw_run_info_input(j->run, j->model->dir, 0, j->model->digest, err);
    j->run->seconds = thaw_time_s() - started;
    if (!code && is_first(j)) code = put_manifest(j, err);
    code = thaw_comm_agree(j->c, code, err);
    return code ? code : thaw_outdir_commit(&j->out, j->c, err);
}

static const char *method_name(const struct job *j) {
    return thaw_pack_method_name(j->manifest->method);
}

static void report_text(const struct job *j) {
    char items[32], kept[32] = "all";
    if (j->numbers.neighbors) thaw_human_count(kept, j->numbers.neighbors);
    printf("%s: %s association of %s items, %s neighbours of each, for ", j->o->out, method_name(j),
           thaw_human_count(items, thaw_plan_rows(&j->plan[THAW_ITEMS])), kept);
    for (int i = 0; i < j->numbers.n; i++) printf("%s%d", i ? ", " : "", j->numbers.known[i]);
    printf(" known items\n");
}

static void report(const struct job *j) {
    const bool csv = j->o->common.format == THAW_FORMAT_CSV;
    if (j->o->common.format == THAW_FORMAT_TEXT) {
        report_text(j);
        return;
    }
    if (csv) printf("method,known,regularization,power,items,features,neighbors\n");
    for (int i = 0; i < j->numbers.n; i++)
        printf(
            csv ? "%s,%d,%.9g,%.9g,%" PRId64 ",%d,%" PRId64 "\n"
                : "{\"method\":\"%s\",\"known\":%d,\"regularization\":%.9g,\"power\":%.9g,\"items\":%" PRId64
                  ",\"features\":%d,\"neighbors\":%" PRId64 "}\n",
            method_name(j), j->numbers.known[i], j->numbers.regularization[i], j->numbers.power[i],
            thaw_plan_rows(&j->plan[THAW_ITEMS]), (int)j->manifest->features, j->numbers.neighbors);
}

// ---- The job ----

static void clear(struct job *j) {
    thaw_outdir_discard(&j->out, j->c);
    if (j->manifest) thaw__association__free_unpacked(j->manifest, NULL);
    if (j->run) thaw__run__free_unpacked(j->run, NULL);
    thaw_histories_clear(&j->h);
    thaw_plan_clear(&j->plan[0]);
    thaw_plan_clear(&j->plan[1]);
    thaw_dataset_close(&j->dataset);
    thaw_model_close(&j->model);
    free(j->own.holdout_ids);
}

// Collective. From the inputs to OUT.
static int make(struct job *j, double started, struct thaw_err *err) {
    int code = load(j, err);
    if (!code) code = fit(j, err);
    if (!code) code = finish(j, started, err);
    if (!code && is_first(j)) report(j);
    return code;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct job j = {.ctx = ctx, .c = ctx->comm, .o = options};
    const double started = thaw_time_s();
    (void)operands;
    int code = open_inputs(&j, err);
    if (!code)
        code =
            thaw_outdir_begin(&j.out, ctx, "associate", j.o->out, "an association", j.o->force, j.run, err);
    if (!code && !j.out.finished) code = make(&j, started, err);
    clear(&j);
    return code;
}

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "associate",
    .summary = "find which items go with which, in closed form on a process grid",
    .operands = "",
    .description =
        "Writes, for each number N of known items, a sparse matrix B: what a known item adds to the scores "
        "of "
        "the others. The episodic method is a ridge regression from N random items of a user and the profile "
        "to the user's other items, with the expectation over all choices of the N taken exactly; the "
        "profile's weights are written beside B.\n\n"
        "All ranks form a process grid, and the matrices, items x items, are spread over it in blocks "
        "(ScaLAPACK). What cannot fit is refused before anything is computed, with the number of ranks and "
        "the memory that would do.\n\n"
        "Sums over users are exact, so they do not depend on the number of ranks; solutions do, by rounding. "
        "The relative residual of a sample of the solution's columns, computed in double from the histories "
        "themselves, is printed.",
    .files = "OUT/manifest.pb: What was fitted, from what, by which run.\n"
             "OUT/associate.n003.items-00000-of-00064.indptr.npy: Rows of B for 3 known items; with "
             "indices.npy (item rows) and values.npy.\n"
             "OUT/associate.n003.profile-00000-of-00064.npy: Of each item, the weights of [1, profile "
             "features].",
    .examples =
        "thaw associate --data run/data --model run/model --out run/associate\n"
        "mpirun -n 4 thaw associate --data run/data --out run/ease --method ease --regularization 500 "
        "--neighbors all",
    THAW_CMD_OPTIONS(struct thaw_associate_options, opts),
};
const struct thaw_job thaw_job_associate = {&command, run};
