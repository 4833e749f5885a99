// training.h: what the files of `thaw train` share: its options and its state. Private to them.
#ifndef THAW_JOBS_TRAINING_H
#define THAW_JOBS_TRAINING_H

#include "comm/fit.h"
#include "comm/heldout.h"
#include "comm/model.h"
#include "comm/spread.h"
#include "comm/virtual.h"
#include "jobs/job.h"

enum { THAW_QUALITY_CUTOFF = 20, THAW_TRAIN_MEASURES = 9 };

struct thaw_train_options {
    const char *data, *out, *holdout_list, *virtual;
    int model, weighting, strength, biases, solver, gather, exchange;
    int64_t factors, iterations, cg_steps, cg_item_steps, seed, holdout_seed, patience, quality_every,
        quality_known;
    int64_t checkpoint_every, exchange_bytes;
    double alpha, unobserved, regularization, exponent, relaxation, cg_tolerance, holdout, tolerance,
        checkpoint_minutes;
    double virtual_weight;
    bool force, virtual_users;
    struct thaw_job_common common;
};

struct thaw_training {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    struct thaw_lock *lock; // rank 0: of OUT
    const struct thaw_train_options *o;
    struct thaw_als_config config;
    char why_solver[128]; // of --solver auto
    struct thaw_dataset *dataset;
    struct thaw_virtual *virtual; // NULL: without
    struct thaw_model *old;       // what training goes on from
    struct thaw_interactions in;
    struct thaw_fit *fit;
    struct thaw_heldout *watched; // NULL: quality is not measured
    struct {
        int iteration, saved; // whose factors are in rows, and whose are in OUT as a version; 0: none
        float *rows[2];
    } best; // with --patience
    Thaw__Als als;
    Thaw__Model model; // the manifest; borrows from the dataset's, from als and run
    Thaw__Run *run;
    Thaw__Iteration *iteration; // model.iterations points into it
    size_t iteration_cap;
    int saved;                        // number of the version in OUT that training goes on from, 0 for none
    bool counted;                     // going on from it is counted (jobs/attempts.h)
    double began, saved_at;           // thaw_time_s
    double open_s;                    // finding and checking that version
    struct {                          // jobs/checkpoint.c: the checkpoint that is being written
        struct thaw_model_save *save; // NULL: none
        int number, before;           // its iteration; the version that stays beside it, -1: any
        double copy_s;
        bool said_skipped, said_no_copy;
    } flight;
    // train_report.c:
    double imbalance;                  // modelled work of an iteration, most / mean
    double spent[THAW_TRAIN_MEASURES]; // of this rank, in all
    int ran;                           // iterations of this run
};

extern const struct thaw_cmd thaw_train_command;

// Iterations in the record.
static inline int thaw_train_done(const struct thaw_training *t) {
    return (int)t->model.n_iterations;
}

// The iteration whose factors are published.
static inline int thaw_train_kept(const struct thaw_training *t) {
    return t->model.kept ? t->model.kept : thaw_train_done(t);
}

// This rank's users that the dataset has.
static inline size_t thaw_training_real_users(const struct thaw_training *t) {
    const int rank = thaw_comm_rank(t->c);
    return (size_t)(t->in.real.rank_row[rank + 1] - t->in.real.rank_row[rank]);
}
// Collective. A side's rows of m into rows, which have places for virtual users too; those get zeros.
int thaw_training_load(const struct thaw_training *t, const struct thaw_model *m, enum thaw_side side,
                       float *rows, struct thaw_err *err);

// Local. The options as a model's description (als, config). THAW_EUSAGE, and what the list of held-out users
// can fail with.
int thaw_train_describe(struct thaw_training *t, struct thaw_err *err);
// Local. --solver and --gather, for the opened dataset.
void thaw_train_choose_solver(struct thaw_training *t);
void thaw_train_configs(const struct thaw_training *t, struct thaw_als_config config[2]); // of each side

// Collective. What people and the log are told. train_plan.c: work and memory as planned, and what became of
// it. THAW_EMEM.
int thaw_train_print_plan(struct thaw_training *t, struct thaw_err *err);
int thaw_train_print_loaded(struct thaw_training *t, struct thaw_err *err);
// train_report.c: an iteration, the end. THAW_EMEM.
int thaw_train_print_iteration(struct thaw_training *t, struct thaw_err *err);
int thaw_train_print_end(struct thaw_training *t, struct thaw_err *err);
// Results, on standard output.
void thaw_train_print_results(const struct thaw_training *t);

#endif
