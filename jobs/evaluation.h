// evaluation.h: what the files of `thaw evaluate` share: its options, what is measured, and by whom. Private
// to them.
//
//   evaluate.c         options; which of the studies below is asked for
//   evaluate_load.c    dataset, model, held-out users
//   evaluate_model.c   one model beside simple baselines
//   evaluate_cold.c    many models for cold users side by side
//   evaluate_open.c    its models, baselines and users
//   evaluate_fit.c     baselines that are fitted on the way
//   evaluate_systems.c the models and baselines as lists of items
//   evaluate_tune.c    the search for their numbers on validation users; evaluate_blend.c keeps them
//   evaluate_rows.c    measures with intervals and paired differences
//   evaluate_print.c   table, CSV, JSON lines;  evaluate_picture.c: gnuplot
//   evaluate_work.c    training what is missing
//   evaluate_against.c two versions of tables; evaluate_pair.c tells about them
#ifndef THAW_JOBS_EVALUATION_H
#define THAW_JOBS_EVALUATION_H

#include "base/file.h"
#include "comm/baselines.h"
#include "comm/cold_ials.h"
#include "comm/heldout.h"
#include "comm/histories.h"
#include "comm/model.h"
#include "jobs/job.h"
#include "jobs/quality.h"

struct thaw_evaluate_options {
    const char *data, *model, *list, *set, *tune_set, *out;
    const char *prior, *association, *cell_fields, *reference, *blend, *blend_out, *work, *picture;
    const char *tables, *against;
    struct thaw_list known, cutoffs, generators, without, methods, segments;
    int order;
    int64_t users, seed, replicates, memory, pool, samples;
    double alpha, unobserved, regularization, cold_users;
    bool tune, force;
    struct thaw_job_common common;
};

struct thaw_evaluation {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct thaw_evaluate_options *o;
    const char *model_dir; // o->model, or `trained`
    char trained[THAW_PATH_MAX];
    struct thaw_dataset *dataset;
    struct thaw_model *model;
    const Thaw__Als *als;
    struct thaw_plan plan[2];
    struct thaw_heldout_choice choice;
    struct thaw_heldout *users;
    int64_t *degree; // this rank's items: training users who have them
    double *value_sum;
    int64_t training_users;
    int known[THAW_KNOWN_MAX], nknown, cutoff[THAW_CUTOFFS_MAX], ncutoffs;
};

// ---- evaluate_load.c. Collective, unless it says otherwise ----

// Numbers asked for, dataset, model, plans, who is measured. THAW_EUSAGE, THAW_EDATA, THAW_ENOINPUT.
int thaw_evaluation_open(struct thaw_evaluation *e, struct thaw_err *err);
// Local. --known and --cutoffs alone; least: the smallest number of known items allowed.
int thaw_evaluation_numbers(struct thaw_evaluation *e, int least, struct thaw_err *err);
// Local. Parts to ranks, by the dataset alone.
int thaw_evaluation_plan(struct thaw_evaluation *e, struct thaw_err *err);
// Local. Who is measured, by e->als: needs dataset and numbers.
int thaw_evaluation_choose(struct thaw_evaluation *e, struct thaw_err *err);
// Degrees of items.
int thaw_evaluation_items(struct thaw_evaluation *e, struct thaw_err *err);
// The users of a choice, with warnings about those of a list that are not there. THAW_EDATA when there are
// none.
int thaw_evaluation_users(struct thaw_evaluation *e, const struct thaw_heldout_choice *choice,
                          struct thaw_heldout **users, struct thaw_err *err);
void thaw_evaluation_clear(struct thaw_evaluation *e); // local

// Local. Lines above a table that say who was measured.
void thaw_evaluation_notes(const struct thaw_evaluation *e, FILE *out);
// Local, rank 0. Results to standard output, and to --out where asked. text: malloc'd, n bytes.
int thaw_evaluation_put(const struct thaw_evaluation *e, const char *text, size_t n, struct thaw_err *err);

// ---- The studies. Collective ----
int thaw_evaluate_model(struct thaw_evaluation *e, struct thaw_err *err);
int thaw_evaluate_cold(struct thaw_evaluation *e, struct thaw_err *err);
int thaw_evaluate_against(struct thaw_evaluation *e, struct thaw_err *err);

// ---- Cold users ----

// What ranks: baselines, models, and those models again without the adversary.
enum thaw_system {
    THAW_SYSTEM_POPULARITY,
    THAW_SYSTEM_CELLS,
    THAW_SYSTEM_KNN,
    THAW_SYSTEM_EASE,
    THAW_SYSTEM_IALS,
    THAW_SYSTEM_PRIOR,
    THAW_SYSTEM_ASSOCIATION,
    THAW_SYSTEM_GENERATOR,
    THAW_SYSTEM_TYPES,
    THAW_SYSTEM_ENSEMBLE,
    THAW_SYSTEM_VIRTUAL, // known items and the generator's, folded in
    THAW_SYSTEM_GENERATOR_WITHOUT,
    THAW_SYSTEM_ENSEMBLE_WITHOUT,
    THAW_SYSTEMS
};
enum { THAW_SEEDS_MAX = 16 };
extern const char *const thaw_system_name[THAW_SYSTEMS];

// The models' folders, opened: one struct thaw_cold per generator.
struct thaw_study_models {
    int n; // generators, at least 1 (without a generator: the other models)
    Thaw__Generator *generator[THAW_SEEDS_MAX];
    struct thaw_cold *cold[THAW_SEEDS_MAX];
};

struct thaw_study {
    struct thaw_evaluation *e;
    struct thaw_comm *c;
    const char *prior_dir, *association_dir; // NULL: there is none
    const char *generator_dir[THAW_SEEDS_MAX];
    int ngenerators;
    char work_dir[3][THAW_PATH_MAX];                // prior, association, generator that were fitted
    bool wanted[THAW_SYSTEMS], asked[THAW_SYSTEMS]; // asked: by name
    enum thaw_system reference;
    struct thaw_histories histories;
    struct thaw_popularity popularity;
    struct thaw_cells cells;
    struct thaw_cold_users test, validation; // validation.set is owned; NULL when nothing is tuned
    struct thaw_heldout *validation_set;
    struct thaw_ials ials;
    struct thaw_neighbors neighbors;
    // The model's items as serving would have them: the gramian of all, and, where vectors were filled in
    // from attributes (tables_fill.h), every item's row, by part.
    double *gramian;
    float *items;
    const float **item_rows;
    Thaw__Prior *prior;
    Thaw__Association *association;
    struct thaw_study_models with, without;
    Thaw__Als fold_als;     // strengths as they come
    struct thaw_cold *fold; // the model alone
    // EASE as fitted last:
    double ease_ridge;
    Thaw__Association *ease_manifest;
    struct thaw_cold *ease;
    Thaw__Blend *blend;  // as read; NULL
    Thaw__Blend scoring; // what models are opened with: the draws; other numbers come with each call
    char scratch[THAW_PATH_MAX];
    bool scratch_made;
    struct thaw_lock *lock;            // of it, or of --work
    Thaw__Known known[THAW_KNOWN_MAX]; // numbers used for each of e->known
    int32_t samples;                   // of the generator; 0: its own
    bool tuned;
};

// evaluate_open.c. Collective. What is wanted, users, histories, counts; then the models. On success of both
// the systems that cannot run are no longer wanted, unless they were asked for by name: THAW_EUSAGE.
int thaw_study_open(struct thaw_study *s, struct thaw_err *err);
int thaw_study_open_models(struct thaw_study *s, struct thaw_err *err);
void thaw_study_close(struct thaw_study *s); // collective
// evaluate_systems.c. Collective. top[users x k] of a system: with entry `at` of e->known, by the generator
// of seed `seed`.
int thaw_study_top(struct thaw_study *s, enum thaw_system system, int at, int seed, int k, int64_t *top,
                   struct thaw_err *err);
// Local. Seeds of a system, and whether it needs at least one known item.
int thaw_study_seeds(const struct thaw_study *s, enum thaw_system system);
bool thaw_system_needs_items(enum thaw_system system);
// Local. The same system without the adversary, -1 when there is none.
int thaw_study_without(const struct thaw_study *s, enum thaw_system system);
// evaluate_fit.c. Collective. s->ease for this ridge, s->neighbors; fitted in the scratch folder when they
// are not at hand.
int thaw_study_ease(struct thaw_study *s, double ridge, struct thaw_err *err);
int thaw_study_neighbors(struct thaw_study *s, struct thaw_err *err);
// Collective. Fit an association of the training users under the scratch folder, and open it: for method
// EPISODIC one for each of nknown numbers. *cold and *manifest are the caller's: thaw_study_drop.
int thaw_study_fit(struct thaw_study *s, Thaw__Association__Method method, const int *known,
                   const double *ridge, int nknown, const char *name, Thaw__Association **manifest,
                   struct thaw_cold **cold, struct thaw_err *err);
void thaw_study_drop(struct thaw_study *s, const char *name, Thaw__Association **manifest,
                     struct thaw_cold **cold); // collective
// Local. What all models share, for thaw_cold_open.
void thaw_study_source(const struct thaw_study *s, struct thaw_cold_source *source);

// evaluate_tune.c. Collective. Search on the validation users; s->known gets what was chosen.
int thaw_study_tune(struct thaw_study *s, struct thaw_err *err);
// Collective. Fit E for every ridge of the grid; s->known gets the best. Needs validation users and histories
// only.
int thaw_study_tune_episodic(struct thaw_study *s, struct thaw_err *err);
// evaluate_blend.c. Local. Read --blend into known numbers; write them. What was chosen, for people.
int thaw_study_blend_read(struct thaw_study *s, const char *path, struct thaw_err *err);
int thaw_study_blend_write(const struct thaw_study *s, const char *path, struct thaw_err *err);
void thaw_study_print_known(const struct thaw_study *s, FILE *out);

// One measure of one system.
struct thaw_study_row {
    enum thaw_system system;
    int known;
    const char *metric;
    int cutoff;
    struct thaw_estimate value;
    const char *reference; // NULL: none to compare with (it is the reference itself)
    struct thaw_estimate difference;
    bool has_without;
    struct thaw_estimate adversary; // to the same system without the adversary
    int nseeds;
    double seed_deviation; // between seeds, NaN for one
};
// evaluate_rows.c. Collective. *rows is malloc'd; the same on every rank, the same bits for any ranks and
// threads (but for systems fitted on a process grid).
int thaw_study_measure(struct thaw_study *s, struct thaw_study_row **rows, int *nrows, struct thaw_err *err);
// evaluate_print.c. Local. format: THAW_FORMAT_*.
void thaw_study_print(const struct thaw_study *s, FILE *out, int format, const struct thaw_study_row *rows,
                      int nrows);
// evaluate_picture.c. Local, rank 0. NDCG at the last cutoff against known items, with intervals: .svg, .png
// or .pdf by gnuplot; the data and the script stay beside the picture. Without gnuplot they are written all
// the same, and a warning says so. The path has passed the check. THAW_EUSAGE: it is too long. THAW_EIO.
int thaw_study_picture(const struct thaw_study *s, const char *path, const struct thaw_study_row *rows,
                       int nrows, struct thaw_err *err);
// Local, before the work. THAW_EUSAGE: a name of another ending.
int thaw_study_picture_check(const char *path, struct thaw_err *err);

// evaluate_work.c. Collective. By the jobs themselves: train a model in --work, and set e->model_dir; fit
// there those of the wanted models that were not given (nothing without --work), between thaw_study_open and
// thaw_study_open_models.
int thaw_work_train(struct thaw_evaluation *e, struct thaw_err *err);
int thaw_work_models(struct thaw_study *s, struct thaw_err *err);

#endif
