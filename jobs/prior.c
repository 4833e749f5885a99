// prior.c: thaw prior: what a profile tells of the factors of a user, or an item, that nobody knows yet.
#include "comm/prior.h"

#include "als/als.h"
#include "base/mem.h"
#include "base/npy.h"
#include "comm/heldout.h"
#include "comm/interactions.h"
#include "comm/model.h"
#include "comm/prior_types.h"
#include "comm/prior_vectors.h"
#include "comm/runinfo.h"
#include "jobs/job.h"
#include "jobs/outdir.h"
#include "jobs/recipe.h"
#include "jobs/trained.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXCHANGE_BYTES = 256 << 20, FILES = 11 };

struct options {
    const char *data, *model, *out, *vectors[2], *ids[2];
    double ridge[2];
    int64_t item_min_degree, types;
    bool force;
    struct thaw_job_common common;
};

#define OPTION(KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)                                                  \
    THAW_OPTION(struct options, KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)
static const struct thaw_opt opts[] = {
    THAW_OPTION_REQUIRED(struct options, TEXT, "model", model, "DIR", "Model that 'thaw train' wrote."),
    THAW_OPTION_REQUIRED(struct options, TEXT, "out", out, "DIR", "The prior's folder."),
    OPTION(TEXT, "data", data, "DIR", NULL, 0, 0,
           "The dataset the model was trained on; by default where training found it."),
    OPTION(REAL, "ridge", ridge[THAW_USERS], "X", "30", 0, 1e30,
           "Penalty on the weights from profile features to user factors, in users."),
    OPTION(REAL, "item-ridge", ridge[THAW_ITEMS], "X", "30", 0, 1e30,
           "Penalty on the weights from item attributes to item factors, in items."),
    OPTION(INT, "item-min-degree", item_min_degree, "N", "1", 1, -1,
           "Items with fewer training interactions take no part in the regression: their factors are mostly "
           "noise."),
    OPTION(INT, "types", types, "N", "8192", 0, INT32_MAX,
           "Keep N training users, drawn by id, as types that a newcomer may be of (T); 0 keeps none."),
    OPTION(TEXT, "user-vectors", vectors[THAW_USERS], "FILE", NULL, 0, 0,
           "Vectors of users (.npy, rows of <f4) as further features; with --user-vector-ids."),
    OPTION(TEXT, "user-vector-ids", ids[THAW_USERS], "FILE", NULL, 0, 0,
           "Whose vectors they are: an id a line."),
    OPTION(TEXT, "item-vectors", vectors[THAW_ITEMS], "FILE", NULL, 0, 0,
           "Vectors of items, sentence embeddings for example; with --item-vector-ids."),
    OPTION(TEXT, "item-vector-ids", ids[THAW_ITEMS], "FILE", NULL, 0, 0,
           "Whose vectors they are: an id a line."),
    OPTION(FLAG, "force", force, NULL, NULL, 0, 0, "Replace the prior that is in --out."),
    THAW_JOB_OPTIONS(struct options),
};
static const struct thaw_cmd command;

struct job {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct options *o;
    const char *data;
    struct thaw_model *model;
    struct thaw_dataset *dataset;
    struct thaw_plan plan[2];
    struct thaw_features features[2];
    int32_t vector[2]; // columns that vectors added
    uint8_t *use[2];   // this rank's rows that take part
    float *rows[2];    // their factors, `columns` each
    int columns;
    struct thaw_prior_side side[2]; // items: only with features
    struct thaw_prior_types types;
    struct thaw_outdir out;
    Thaw__Run *run;
};

static const Thaw__Als *als_of(const struct job *j) {
    return j->model->manifest->als;
}

static bool is_first(const struct job *j) {
    return thaw_comm_rank(j->c) == 0;
}

static int64_t own_rows(const struct job *j, int side) {
    const int rank = thaw_comm_rank(j->c);
    return j->plan[side].rank_row[rank + 1] - j->plan[side].rank_row[rank];
}

// ---- Inputs ----

static int check_options(const struct options *o, struct thaw_err *err) {
    for (int side = 0; side < 2; side++)
        if (!o->vectors[side] != !o->ids[side])
            return thaw_fail(err, THAW_EUSAGE, "--%.4s-vectors and --%.4s-vector-ids belong together",
                             thaw_side_name[side], thaw_side_name[side]);
    return THAW_OK;
}

// Collective.
static int open_inputs(struct job *j, struct thaw_err *err) {
    const struct thaw_trained_wish wish = {
        .model = j->o->model, .data = j->o->data, .iterated = true, .only_implicit = "priors are"};
    int code = thaw_comm_agree(j->c, check_options(j->o, err), err);
    if (code || (code = thaw_trained_open(j->ctx, &wish, &j->model, &j->dataset, &j->data, err))) return code;
    j->columns = thaw_model_columns(j->model);
    code = thaw_dataset_plan(j->plan, j->dataset, thaw_comm_size(j->c), als_of(j)->factors, err);
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    return thaw_recipe_run_new(&j->run, j->ctx, &command, j->o, thaw_blas_core(), err);
}

// Collective. A side's features, with vectors.
static int load_features(struct job *j, enum thaw_side side, struct thaw_err *err) {
    struct thaw_vectors_found found;
    const char *vectors = j->o->vectors[side];
    int code = thaw_features_load(&j->features[side], j->c, j->dataset, side, &j->plan[side], err);
    if (code || !vectors) return code;
    code = thaw_vectors_append(&j->features[side], j->c, j->dataset, side, &j->plan[side], vectors,
                               j->o->ids[side], &found, err);
    if (code) return code;
    j->vector[side] = found.columns;
    if (found.rows == 0)
        return thaw_fail(err, THAW_EDATA, "%s: none of its ids is among the dataset's %s", j->o->ids[side],
                         thaw_side_name[side]);
    thaw_log_note(j->ctx->log,
                  "%s: vectors of %" PRId64 " of %" PRId64 " %s, %d columns (%" PRId64 " ids are unknown)",
                  vectors, found.rows, thaw_plan_rows(&j->plan[side]), thaw_side_name[side],
                  (int)found.columns, found.unknown);
    return THAW_OK;
}

// Collective. Items of enough training interactions.
static int choose_items(struct job *j, struct thaw_err *err) {
    int64_t *degree = NULL, training_users;
    const int64_t n = own_rows(j, THAW_ITEMS);
    if (!j->features[THAW_ITEMS].columns) return THAW_OK;
    int code = thaw_alloc(&degree, (size_t)n, sizeof *degree, "degrees", err);
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    code =
        thaw_heldout_item_degrees(j->c, j->dataset, j->plan, als_of(j), degree, NULL, &training_users, err);
    for (int64_t i = 0; !code && i < n; i++) j->use[THAW_ITEMS][i] = degree[i] >= j->o->item_min_degree;
    free(degree);
    return code;
}

// Collective. Those of the users who take part that are kept as types.
static int keep_types(struct job *j, const struct thaw_histories *h, struct thaw_err *err) {
    const struct thaw_prior_types_source s = {.plan = j->plan,
                                              .history = h,
                                              .profile = &j->features[THAW_USERS],
                                              .attributes =
                                                  j->features[THAW_USERS].columns - j->vector[THAW_USERS],
                                              .use = j->use[THAW_USERS],
                                              .rows = {j->rows[THAW_USERS], j->rows[THAW_ITEMS]},
                                              .k = als_of(j)->factors,
                                              .columns = j->columns};
    return thaw_prior_types_make(j->c, &s, j->o->types, &j->types, err);
}

// Collective. Training users with interactions.
static int choose_users(struct job *j, struct thaw_err *err) {
    struct thaw_histories h;
    int code = thaw_histories_load(&h, j->c, j->dataset, &j->plan[THAW_USERS], als_of(j), false, 0, err);
    if (code) return code;
    for (int64_t u = 0; u < h.nusers; u++)
        j->use[THAW_USERS][u] = !h.held_out[u] && thaw_histories_length(&h, u) > 0;
    if (j->o->types > 0) code = keep_types(j, &h, err);
    thaw_histories_clear(&h);
    return code;
}

// Collective. Items' factors as trained; users' exact for them.
static int load_factors(struct job *j, struct thaw_err *err) {
    int code = THAW_OK;
    for (int side = 0; !code && side < 2; side++) {
        const size_t n = (size_t)own_rows(j, side);
        code = thaw_alloc(&j->rows[side], n * (size_t)j->columns, sizeof(float), "factors", err);
        if (!code) code = thaw_alloc(&j->use[side], n, 1, "a list of rows", err);
    }
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    code = thaw_model_load(j->model, j->c, THAW_ITEMS, &j->plan[THAW_ITEMS], j->rows[THAW_ITEMS], err);
    if (!code)
        code = thaw_users_solve(j->c, j->dataset, als_of(j), j->plan, j->rows[THAW_ITEMS],
                                j->rows[THAW_USERS], EXCHANGE_BYTES, err);
    if (!code) code = choose_users(j, err);
    return code ? code : choose_items(j, err);
}

// ---- Fitting ----

// Collective.
static int fit(struct job *j, enum thaw_side side, struct thaw_err *err) {
    const struct thaw_features *f = &j->features[side];
    const double start = thaw_time_s();
    if (side == THAW_ITEMS && !f->columns) return THAW_OK;
    const int code = thaw_prior_fit(j->c, &j->plan[side], f, j->use[side], j->rows[side], als_of(j)->factors,
                                    j->columns, j->o->ridge[side], &j->side[side], err);
    if (code) return code;
    thaw_log_note(j->ctx->log,
                  "%s: %" PRId64 " rows, %d features explain %.1f %% of the factors' variance (%s, %.1f s)",
                  thaw_side_name[side], j->side[side].rows, (int)f->columns, 100 * j->side[side].explained,
                  j->side[side].grid ? "process grid" : "LAPACK on one rank", thaw_time_s() - start);
    return THAW_OK;
}

// Collective. A signal ends the job before anything is written.
static int check_stop(const struct job *j, struct thaw_err *err) {
    if (!thaw_comm_stop_agreed(j->c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED, "stopped on request: %s is as it was; the same command begins anew",
                     j->o->out);
}

// ---- Writing: rank 0 ----

struct writing {
    const char *dir;
    Thaw__File file[FILES], *list[FILES];
    struct thaw_file_info info[FILES];
    size_t n;
};

// k: columns, 0 for a plain list.
static int put(struct writing *w, const char *name, enum thaw_npy_type type, int64_t rows, int64_t k,
               const void *data, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    const int width = type == THAW_NPY_F32 || type == THAW_NPY_U32 ? 4 : 8;
    const struct thaw_npy_shape shape = {type, k ? 2 : 1, rows, k ? k : 1, width};
    int code = thaw_path_join(path, w->dir, name, err);
    if (!code) code = thaw_npy_put(path, &shape, data, &w->info[w->n], err);
    if (code) return code;
    Thaw__File *f = w->list[w->n] = &w->file[w->n];
    thaw__file__init(f);
    f->name = (char *)(uintptr_t)name; // read only
    f->nbytes = w->info[w->n].nbytes;
    f->sums = w->info[w->n].sums;
    f->n_sums = (size_t)w->info[w->n].nsums;
    w->n++;
    return THAW_OK;
}

static int put_types(const struct job *j, struct writing *w, struct thaw_err *err) {
    const struct thaw_prior_types *t = &j->types;
    const int64_t nitems = thaw_plan_rows(&j->plan[THAW_ITEMS]);
    int code = put(w, "prior.types_factors.npy", THAW_NPY_F32, t->n, als_of(j)->factors, t->factors, err);
    if (!code) code = put(w, "prior.types_mass.npy", THAW_NPY_F64, t->n, 2, t->mass, err);
    if (!code) code = put(w, "prior.types_indptr.npy", THAW_NPY_I64, nitems + 1, 0, t->indptr, err);
    if (!code) code = put(w, "prior.types_users.npy", THAW_NPY_U32, t->indptr[nitems], 0, t->users, err);
    if (code || j->features[THAW_USERS].columns == j->vector[THAW_USERS]) return code;
    const int64_t nfeatures = t->profile_indptr[t->n];
    code = put(w, "prior.types_profile_indptr.npy", THAW_NPY_I64, t->n + 1, 0, t->profile_indptr, err);
    if (!code)
        code = put(w, "prior.types_profile_columns.npy", THAW_NPY_U32, nfeatures, 0, t->profile_columns, err);
    if (!code)
        code = put(w, "prior.types_profile_values.npy", THAW_NPY_F32, nfeatures, 0, t->profile_values, err);
    return code;
}

static int put_files(const struct job *j, struct writing *w, struct thaw_err *err) {
    const struct thaw_prior_side *u = &j->side[THAW_USERS], *i = &j->side[THAW_ITEMS];
    int code =
        put(w, "prior.user_weights.npy", THAW_NPY_F32, 1 + (int64_t)u->features, u->k, u->weights, err);
    if (!code) code = put(w, "prior.user_precision.npy", THAW_NPY_F64, u->k, u->k, u->precision, err);
    if (!code) code = put(w, "prior.user_covariance.npy", THAW_NPY_F64, u->k, u->k, u->covariance, err);
    if (!code && i->weights)
        code =
            put(w, "prior.item_weights.npy", THAW_NPY_F32, 1 + (int64_t)i->features, i->k, i->weights, err);
    return code || !j->types.n ? code : put_types(j, w, err);
}

static int put_manifest(const struct job *j, const struct writing *w, struct thaw_err *err) {
    Thaw__Prior m = THAW__PRIOR__INIT;
    m.format = 1;
    m.run = j->run;
    m.dataset_digest = j->dataset->digest;
    m.model_digest = j->model->digest;
    m.factors = als_of(j)->factors;
    m.user_features = j->features[THAW_USERS].columns;
    m.item_features = j->features[THAW_ITEMS].columns;
    m.user_vector = j->vector[THAW_USERS];
    m.item_vector = j->vector[THAW_ITEMS];
    m.ridge = j->o->ridge[THAW_USERS];
    m.item_ridge = j->side[THAW_ITEMS].weights ? j->o->ridge[THAW_ITEMS] : 0;
    m.users = j->side[THAW_USERS].rows;
    m.items = j->side[THAW_ITEMS].rows;
    m.types = j->types.n;
    m.files = (Thaw__File **)(uintptr_t)w->list;
    m.n_files = w->n;
    return thaw_pack_write(w->dir, "manifest.pb", &m.base, err);
}

// Collective.
static int write_prior(struct job *j, double started, struct thaw_err *err) {
    struct writing w = {.dir = j->out.work};
    int code = thaw_run_info_input(j->run, j->data, 0, j->dataset->digest, err);
    if (!code) code = thaw_run_info_input(j->run, j->model->dir, 0, j->model->digest, err);
    j->run->seconds = thaw_time_s() - started;
    if (!code && is_first(j)) {
        code = put_files(j, &w, err);
        if (!code) code = put_manifest(j, &w, err);
    }
    for (size_t i = 0; i < w.n; i++) thaw_file_info_clear(&w.info[i]);
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    return thaw_outdir_commit(&j->out, j->c, err);
}

static void report(const struct job *j) {
    const struct thaw_prior_side *s = j->side;
    switch (j->o->common.format) {
    case THAW_FORMAT_JSONL:
        for (int i = 0; i < 2; i++)
            if (s[i].weights)
                printf("{\"side\":\"%s\",\"rows\":%" PRId64
                       ",\"features\":%d,\"factors\":%d,\"explained\":%.6f}\n",
                       thaw_side_name[i], s[i].rows, (int)s[i].features, s[i].k, s[i].explained);
        break;
    case THAW_FORMAT_CSV:
        printf("side,rows,features,factors,explained\n");
        for (int i = 0; i < 2; i++)
            if (s[i].weights)
                printf("%s,%" PRId64 ",%d,%d,%.6f\n", thaw_side_name[i], s[i].rows, (int)s[i].features,
                       s[i].k, s[i].explained);
        break;
    default:
        for (int i = 0; i < 2; i++) {
            char rows[32];
            if (!s[i].weights) continue;
            printf("%s: %s rows, %d features, %d factors: %.1f %% of their variance explained\n",
                   thaw_side_name[i], thaw_human_count(rows, s[i].rows), (int)s[i].features, s[i].k,
                   100 * s[i].explained);
        }
    }
}

// ---- The job ----

static void clear(struct job *j) {
    thaw_outdir_discard(&j->out, j->c);
    if (j->run) thaw__run__free_unpacked(j->run, NULL);
    for (int side = 0; side < 2; side++) {
        thaw_prior_side_clear(&j->side[side]);
        thaw_features_clear(&j->features[side]);
        thaw_plan_clear(&j->plan[side]);
        free(j->use[side]);
        free(j->rows[side]);
    }
    thaw_prior_types_clear(&j->types);
    thaw_dataset_close(&j->dataset);
    thaw_model_close(&j->model);
}

// Collective. From the inputs to OUT.
static int make(struct job *j, double started, struct thaw_err *err) {
    int code = THAW_OK;
    for (int side = 0; !code && side < 2; side++) code = load_features(j, (enum thaw_side)side, err);
    if (!code && !j->features[THAW_USERS].columns)
        thaw_log_warn(j->ctx->log, "%s: users have no attributes; the prior is their mean", j->data);
    if (!code) code = load_factors(j, err);
    for (int side = 0; !code && side < 2; side++) {
        code = check_stop(j, err);
        if (!code) code = fit(j, (enum thaw_side)side, err);
    }
    if (!code) code = write_prior(j, started, err);
    if (!code && is_first(j)) report(j);
    return code;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct job j = {.ctx = ctx, .c = ctx->comm, .o = options};
    const double started = thaw_time_s();
    (void)operands;
    int code = open_inputs(&j, err);
    if (!code) code = thaw_outdir_begin(&j.out, ctx, "prior", j.o->out, "a prior", j.o->force, j.run, err);
    if (!code && !j.out.finished) code = make(&j, started, err);
    clear(&j);
    return code;
}

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "prior",
    .summary = "learn from profiles what users and items nobody knows yet are like",
    .operands = "",
    .description =
        "Ridge regression from the users' attributes to their factors, over the users a model was trained "
        "on, "
        "and the covariance of what it leaves: the prior under which someone with a profile and few known "
        "items "
        "gets the posterior mean as factors. The users' factors are first solved exactly for the model's "
        "items. "
        "Where items have attributes, the same regression gives factors to items nobody has touched.\n\n"
        "Some of those users are kept with their histories as types: T asks which of them a newcomer is "
        "like.\n\n"
        "Vectors made elsewhere (sentence embeddings) join the attributes as further columns; ids that the "
        "dataset does not have are counted and left out, rows without a vector count as zeros.\n\n"
        "Up to 2000 features LAPACK solves on one rank, and the files are the same bytes for any number of "
        "ranks "
        "and threads. Above, all ranks form a process grid (ScaLAPACK), which needs about 8 F^2 bytes in all "
        "for "
        "F features: what cannot fit is refused before anything is allocated.",
    .files = "OUT/manifest.pb: What was fitted, from what, by which run.\n"
             "OUT/prior.user_weights.npy: From [1, profile features] to factors.\n"
             "OUT/prior.user_precision.npy: Inverse of the residuals' covariance.\n"
             "OUT/prior.user_covariance.npy: That covariance.\n"
             "OUT/prior.item_weights.npy: From [1, item attributes] to factors, where items have some.\n"
             "OUT/prior.types_*.npy: Users kept as types: factors, histories, profiles.",
    .examples = "thaw prior --model model --out prior\n"
                "mpirun -n 4 thaw prior --model model --out prior --ridge 100 --item-vectors text.npy "
                "--item-vector-ids text.ids",
    THAW_CMD_OPTIONS(struct options, opts),
};
const struct thaw_job thaw_job_prior = {&command, run};
