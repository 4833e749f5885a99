// train_options.c: the options of thaw train, and the model they describe.
#include "als/als.h"
#include "jobs/training.h"

#define OPTION(kind_, name_, field_, arg_, def_, min_, max_, help_)                                          \
    {                                                                                                        \
        .name = name_, .kind = THAW_OPT_##kind_, .offset = offsetof(struct thaw_train_options, field_),      \
        .arg = arg_, .def = def_, .min = min_, .max = max_, .help = help_                                    \
    }
#define CHOICE(name_, field_, choices_, def_, help_)                                                         \
    {                                                                                                        \
        .name = name_, .kind = THAW_OPT_CHOICE, .offset = offsetof(struct thaw_train_options, field_),       \
        .arg = "WORD", .def = def_, .choices = choices_, .help = help_                                       \
    }

static const struct thaw_opt options_table[] = {
    {.name = "data",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct thaw_train_options, data),
     .arg = "DIR",
     .required = true,
     .help = "Dataset folder, as written by 'thaw prepare'."},
    {.name = "out",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct thaw_train_options, out),
     .arg = "DIR",
     .required = true,
     .help = "Folder of the model. When it holds a model of the same dataset and options, training goes on "
             "from it."},
    CHOICE("model", model, "implicit|explicit", "implicit",
           "implicit: values are strengths of interest, and what a user did not touch counts a little "
           "against it. "
           "explicit: values are ratings to predict."),
    CHOICE("weighting", weighting, "rendle|hu", "rendle",
           "Form of the implicit objective: Rendle et al. 2022, or Hu, Koren and Volinsky 2008."),
    OPTION(INT, "factors", factors, "K", "64", 1, THAW_ALS_FACTORS_MAX, "Length of the vectors."),
    OPTION(INT, "iterations", iterations, "N", "15", 0, 100000,
           "Most iterations, earlier runs' included. 0 writes the start: users zero, items random."),
    OPTION(REAL, "alpha", alpha, "A", "0", 0, 1e12,
           "Weight of one unit of strength (implicit). 0 chooses it from the data: interactions weigh 1 on "
           "average "
           "(rendle), or as much against unobserved pairs as they do there (hu)."),
    OPTION(REAL, "unobserved-weight", unobserved, "W", "0", 0, 1e12,
           "Weight of a pair without interaction (implicit). 0 chooses it from the data: all of them weigh 5 "
           "times as much "
           "as all interactions (rendle), or 1 each (hu)."),
    OPTION(REAL, "regularization", regularization, "L", "0", 0, 1e12,
           "Regularization. 0 takes the model's own: 0.02 (implicit), 0.08 (explicit)."),
    OPTION(REAL, "reg-exponent", exponent, "V", "1", 0, 4,
           "A row's regularization grows with this power of its weight: 0 is the same for all rows "
           "(implicit; the explicit "
           "model always takes 1)."),
    CHOICE("strength", strength, "raw|log|binary", "log",
           "What a merged value r counts as: r itself, log2(1 + r), or 1 (implicit)."),
    CHOICE("biases", biases, "yes|no", "yes", "Train a mean and a bias per user and item (explicit)."),
    CHOICE("solver", solver, "auto|cholesky|cg", "auto",
           "How a row is solved: exactly, or by a few steps of conjugate gradients from the row before. auto "
           "takes what is faster for so many factors and interactions, and says which."),
    CHOICE("gather", gather, "auto|f32|bf16", "auto",
           "How solvers read the other side's vectors: as they are, or rounded to 16 bits, which is faster, "
           "halves the traffic, and moves the objective by about 1e-5 of its value. All arithmetic is in 32 "
           "bits or more. auto: bf16 with cg, f32 with cholesky."),
    OPTION(INT, "cg-steps", cg_steps, "N", "3", 1, 1000, "Most steps of conjugate gradients for a row."),
    OPTION(INT, "cg-item-steps", cg_item_steps, "N", "0", 0, 1000,
           "The same for items' rows, which are the longer ones; 0: as --cg-steps."),
    OPTION(REAL, "relaxation", relaxation, "W", "1", 1, 1.99,
           "Over-relaxation: a step for an item's row goes W times as far as its own objective asks for "
           "(cg). 1.5 to 1.8 "
           "often spare a step or some iterations."),
    OPTION(REAL, "cg-tolerance", cg_tolerance, "T", "1e-3", 0, 1,
           "A row's conjugate gradients end when what the row's objective can still fall by is at most T "
           "squared of it."),
    OPTION(INT, "seed", seed, "S", "1", 0, 0x1p53, "Seed of the factors' start."),
    OPTION(REAL, "holdout-users", holdout, "F", "0", 0, 0.9,
           "Fraction of users that training leaves out, for 'thaw evaluate'. They are drawn by their ids, "
           "whatever the "
           "number of parts and ranks, and get vectors at the end by folding in."),
    OPTION(INT, "holdout-seed", holdout_seed, "S", "1", 0, 0x1p53, "Seed of that draw."),
    {.name = "holdout-list",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct thaw_train_options, holdout_list),
     .arg = "FILE",
     .help = "Leave out the users listed in FILE as well: the first word of each line."},
    {.name = "virtual",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct thaw_train_options, virtual),
     .arg = "DIR",
     .help =
         "Virtual interactions that 'thaw augment' wrote (its folder 'virtual') take part as well, where the "
         "user does not really have them (implicit). Held-out users get none."},
    OPTION(REAL, "virtual-weight", virtual_weight, "W", "0.1", 0, 1e6,
           "Strength of a virtual interaction of weight 1. 0: they take no part, and the model is the same "
           "bytes as without --virtual."),
    {.name = "virtual-users",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct thaw_train_options, virtual_users),
     .help = "Train on the whole virtual users in --virtual as well. The model does not keep them."},
    OPTION(REAL, "tolerance", tolerance, "T", "0", 0, 1,
           "Stop when the objective falls by less than this fraction in an iteration. 0: never."),
    OPTION(INT, "quality-every", quality_every, "N", "0", 0, 100000,
           "Measure the ranking quality (mean NDCG@20) of a quarter of the held-out users every N "
           "iterations; 'thaw "
           "evaluate' then takes the others. 0: not, or 1 with --patience."),
    OPTION(INT, "quality-known", quality_known, "N", "5", 1, 1000,
           "How many of a user's interactions that measurement folds in; the others are what it asks for."),
    OPTION(INT, "patience", patience, "N", "0", 0, 100000,
           "Stop when the ranking quality has not risen for N measurements; the best iteration measured is "
           "what is published. 0: never."),
    OPTION(
        REAL, "checkpoint-minutes", checkpoint_minutes, "M", "5", 0, 1e6,
        "Save when so many minutes have gone by since the last time: what a lost node costs at most, and an "
        "iteration. 0: not by time."),
    OPTION(INT, "checkpoint-every", checkpoint_every, "N", "0", 0, 100000,
           "Save every N iterations as well. 0: not by count."),
    OPTION(BYTES, "exchange-bytes", exchange_bytes, "BYTES", "256M", 4096, 0x1p50,
           "Memory of each rank for vectors of other nodes at hand at a time and messages."),
    CHOICE("exchange", exchange, "hybrid|pull|allgather", "hybrid",
           "How vectors travel between nodes. pull: each node gets the rows it needs. allgather: every node "
           "gets all rows. hybrid: what is less to send, and long rows are pushed where that is less still: "
           "every rank adds up its part of their equations. The result is the same bytes."),
    {.name = "force",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct thaw_train_options, force),
     .help = "Remove a model in the way that was trained on other data or with other options."},
    THAW_JOB_OPTIONS(struct thaw_train_options),
};

const struct thaw_cmd thaw_train_command = {
    .program = "thaw",
    .name = "train",
    .summary = "train user and item factors by alternating least squares",
    .operands = "",
    .description =
        "Reads a dataset and writes a model: a folder with a version per checkpoint, "
        "OUT/iteration-000015 and so on, each "
        "with the factors of all parts and a manifest; OUT/current points at the newest. The last "
        "two are kept.\n\n"
        "The objective is exact and printed every iteration. The files are the same bytes for any "
        "number of ranks and "
        "threads.\n\n"
        "Interrupted (SIGTERM, SIGUSR1, or worse), run the same command again, on as many ranks "
        "as you like: it goes on "
        "from the newest checkpoint that is intact and ends with the same bytes. After a signal "
        "the current iteration is "
        "finished and saved, and the exit status is 75.\n\n"
        "Checkpoints are copies that a thread of each rank writes while training goes on; they take "
        "the memory of one more set of factors meanwhile. A checkpoint is skipped while the one "
        "before is still being written. When three runs that went on from one checkpoint have "
        "failed, the next is refused.",
    .files = "OUT/iteration-000015: A version: users-00000-of-00064.npy, items-..., manifest.pb.\n"
             "OUT/current: A link to the newest version.\n"
             "OUT/attempts.pb: Counts runs that went on from a checkpoint; gone once one gets further.\n"
             "OUT.lock: While a job writes OUT; says which.",
    .examples =
        "thaw train --data run/data --out run/model --holdout-users 0.1\n"
        "mpirun -n 4 thaw train --data run/data --out run/model --factors 128 --iterations 20 --solver cg\n"
        "thaw train --data ratings --out model --model explicit --tolerance 1e-4",
    .opts = options_table,
    .nopts = sizeof options_table / sizeof *options_table,
    .size = sizeof(struct thaw_train_options),
};

// Once the data's size is known.
void thaw_train_choose_solver(struct thaw_training *t) {
    const struct thaw_train_options *o = t->o;
    const Thaw__Dataset *d = t->dataset->manifest;
    const double rows =
        (double)(thaw_dataset_rows(t->dataset, THAW_USERS) + thaw_dataset_rows(t->dataset, THAW_ITEMS));
    t->why_solver[0] = 0;
    if (o->solver == 0)
        t->config.solver = thaw_als_choose(&t->config, rows > 0 ? 2 * (double)d->interactions / rows : 0,
                                           t->why_solver, sizeof t->why_solver);
    else
        t->config.solver = o->solver == 2 ? THAW_ALS_CG : THAW_ALS_CHOLESKY;
    if (o->gather == 0)
        t->config.gather = t->config.solver == THAW_ALS_CG ? THAW_ALS_BF16 : THAW_ALS_F32;
    else
        t->config.gather = o->gather == 2 ? THAW_ALS_BF16 : THAW_ALS_F32;
}

void thaw_train_configs(const struct thaw_training *t, struct thaw_als_config config[2]) {
    const struct thaw_train_options *o = t->o;
    config[THAW_USERS] = config[THAW_ITEMS] = t->config;
    if (o->cg_item_steps) config[THAW_ITEMS].cg_steps = (int)o->cg_item_steps;
    config[THAW_ITEMS].relaxation = o->relaxation;
}

static double chosen(double value, double own) {
    return value > 0 ? value : own;
}

// The options as a model's description.
int thaw_train_describe(struct thaw_training *t, struct thaw_err *err) {
    const struct thaw_train_options *o = t->o;
    const bool implicit = o->model == 0, rendle = o->weighting == 0;
    Thaw__Als *a = &t->als;
    thaw__als__init(a);
    a->model = !implicit ? THAW__ALS__MODEL__EXPLICIT
               : rendle  ? THAW__ALS__MODEL__IMPLICIT_RENDLE
                         : THAW__ALS__MODEL__IMPLICIT_HU;
    a->factors = (int32_t)o->factors;
    a->seed = (uint64_t)o->seed;
    a->holdout = o->holdout;
    a->holdout_seed = (uint64_t)o->holdout_seed;
    if (implicit) {
        a->alpha = chosen(o->alpha, 1); // 0: once the data is known
        a->unobserved_weight = chosen(o->unobserved, 1);
        a->regularization = chosen(o->regularization, 0.02);
        a->reg_exponent = o->exponent;
        a->strength = (Thaw__Als__Strength)o->strength;
    } else {
        a->biases = o->biases == 0;
        a->regularization = chosen(o->regularization, 0.08);
        a->reg_exponent = 1;
    }
    t->config = thaw_als_config_of(a, THAW_ALS_CHOLESKY, THAW_ALS_F32, (int)o->cg_steps, o->cg_tolerance);
    int code = thaw_als_check(&t->config, err);
    if (!code && o->virtual && !implicit)
        code = thaw_fail(err, THAW_EUSAGE,
                         "--virtual is for implicit models: virtual interactions have no ratings");
    if (!code && o->virtual_users && !o->virtual)
        code = thaw_fail(err, THAW_EUSAGE, "--virtual-users needs --virtual");
    if (!code && o->holdout_list)
        code = thaw_holdout_list_read(o->holdout_list, &a->holdout_ids, &a->n_holdout_ids, err);
    if (!code && (o->patience || o->quality_every) && !thaw_has_held_out(a))
        code = thaw_fail(err, THAW_EUSAGE, "--%s needs held-out users: add --holdout-users, say 0.1",
                         o->patience ? "patience" : "quality-every");
    return code;
}
