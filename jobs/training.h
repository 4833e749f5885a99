// training.h: what the files of `thaw train` share: its options and its state. Private to them.
#ifndef THAW_JOBS_TRAINING_H
#define THAW_JOBS_TRAINING_H

#include "comm/fit.h"
#include "comm/heldout.h"
#include "comm/model.h"
#include "jobs/job.h"

enum { THAW_QUALITY_CUTOFF = 20 };

struct thaw_train_options {
    const char *data, *out, *holdout_list;
    int model, weighting, strength, biases, solver;
    int64_t factors, iterations, cg_steps, seed, holdout_seed, patience, quality_every, quality_known;
    int64_t checkpoint_every, exchange_bytes;
    double alpha, unobserved, regularization, exponent, cg_tolerance, holdout, tolerance, checkpoint_minutes;
    bool force;
    struct thaw_job_common common;
};

struct thaw_training {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct thaw_train_options *o;
    struct thaw_als_config config;
    struct thaw_dataset *dataset;
    struct thaw_model *old; // what training goes on from
    struct thaw_interactions in;
    struct thaw_fit *fit;
    struct thaw_heldout *watched; // NULL: quality is not measured
    Thaw__Als als;
    Thaw__Model model; // the manifest; borrows from the dataset's, from als and run
    Thaw__Run *run;
    Thaw__Iteration *iteration; // model.iterations points into it
    size_t iteration_cap;
    int saved;              // number of the newest version in OUT that is ours, 0 for none
    double began, saved_at; // thaw_time_s
};

extern const struct thaw_cmd thaw_train_command;

static inline int thaw_train_done(const struct thaw_training *t) {
    return (int)t->model.n_iterations;
}

// Local. The options as a model's description (als, config). THAW_EUSAGE, and what the list of held-out users
// can fail with.
int thaw_train_describe(struct thaw_training *t, struct thaw_err *err);

// Collective. What people read: the plan of work and memory, what was loaded, an iteration, the end; and the
// results on standard output.
int thaw_train_print_plan(struct thaw_training *t, struct thaw_err *err);
void thaw_train_print_loaded(const struct thaw_training *t);
void thaw_train_print_iteration(const struct thaw_training *t);
void thaw_train_print_end(const struct thaw_training *t);
void thaw_train_print_results(const struct thaw_training *t);

#endif
