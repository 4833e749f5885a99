// augment.h: what the files of `thaw augment` share. Private to them.
#ifndef THAW_JOBS_AUGMENT_H
#define THAW_JOBS_AUGMENT_H

#include "comm/gan_latents.h"
#include "comm/gan_realism.h"
#include "comm/gan_store.h"
#include "comm/model.h"
#include "jobs/job.h"
#include "jobs/outdir.h"

struct thaw_augment_options {
    const char *data, *model, *out;
    int episodes, pooling;
    int64_t steps, batch, noise, hidden, known, rest, critic_steps, sampled, seed, checkpoint_every;
    int64_t virtual_below, virtual_items, virtual_draws;
    double critic_rate, adversary, latent_loss, rate, weight_decay, dropout, averaging, penalty,
        checkpoint_minutes;
    double virtual_users;
    bool force;
    struct thaw_job_common common;
};

struct thaw_augment {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct thaw_augment_options *o;
    const char *data;
    char checkpoints[THAW_PATH_MAX]; // OUT.checkpoint
    struct thaw_dataset *dataset;
    struct thaw_model *model;
    struct thaw_plan plan[2];
    struct thaw_histories histories;
    float *rows[2];  // factors: users solved exactly, items as trained
    int64_t *degree; // training users of this rank's items
    struct thaw_gan_config config;
    struct thaw_gan *gan;
    struct thaw_outdir out;
    Thaw__Run *run;
    Thaw__Generator manifest; // borrows from run, dataset
    double began, saved_at;
    bool counted; // going on from a checkpoint is (jobs/attempts.h)
};

extern const struct thaw_cmd thaw_augment_command;

// Local. The options for the opened dataset and model as a training. THAW_EUSAGE.
int thaw_augment_describe(struct thaw_augment *a, struct thaw_err *err);

// augment_report.c. Local.
void thaw_augment_print_start(const struct thaw_augment *a);
void thaw_augment_print_step(const struct thaw_augment *a);
// Collective.
int thaw_augment_print_end(struct thaw_augment *a, struct thaw_err *err);
// Rank 0: into the log and OUT.tmp/realism.csv. THAW_EIO, THAW_EMEM.
int thaw_augment_report_realism(const struct thaw_augment *a, const struct thaw_realism *r,
                                struct thaw_err *err);
// Rank 0: the losses of all steps, as OUT/losses.csv. THAW_EIO, THAW_EMEM.
int thaw_augment_write_losses(const struct thaw_augment *a, const char *dir, struct thaw_err *err);

#endif
