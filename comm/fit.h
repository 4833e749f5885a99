// fit.h: factors in training, and the steps that improve them. jobs/train.c decides when to stop and what to
// keep.
#ifndef THAW_COMM_FIT_H
#define THAW_COMM_FIT_H

#include "comm/interactions.h"
#include "comm/sweep.h"

struct thaw_fit {
    struct thaw_comm *c;
    struct thaw_als_config config[2];   // of each side's half-sweeps; they differ in nothing but cg's
    const struct thaw_interactions *in; // borrowed
    int columns;
    struct thaw_window *window; // opposite rows at hand
    float *rows[2];             // this rank's rows x columns
    double *gramian[2];         // k x k over all rows as they are now; NULL for the explicit model
    double *row_loss;           // items of this rank: observed terms of the objective
    // Of the last iteration:
    double objective;  // total
    double seconds[2]; // half-sweeps: users, items
    double cpu_s;      // user CPU time of this rank, both half-sweeps
    struct thaw_sweep_stats stats[2];
};

// Collective. Factors at their start: users zero, items small random numbers keyed by (seed, row, column);
// rows without training interactions are zero. THAW_EMEM.
int thaw_fit_new(struct thaw_fit **f, struct thaw_comm *c, const struct thaw_als_config config[2],
                 const struct thaw_interactions *in, uint64_t seed, struct thaw_err *err);
void thaw_fit_free(struct thaw_fit **f); // collective

// Collective. Call after new and after rows were set by the caller (a checkpoint), before iterating: rows
// of held-out users become zero, and the items' gramian is made. THAW_EMEM.
int thaw_fit_begin(struct thaw_fit *f, struct thaw_err *err);

// Collective. One iteration: users, items, objective. THAW_EDIVERGED, THAW_EMEM.
int thaw_fit_iterate(struct thaw_fit *f, struct thaw_err *err);

// Collective. Rows of held-out users from all their interactions, exactly; item rows stay as they are.
// THAW_EDIVERGED, THAW_EMEM.
int thaw_fit_fold_in(struct thaw_fit *f, struct thaw_err *err);

#endif
