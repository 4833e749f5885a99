// prior_types.h: training users kept beside the prior as types that a newcomer may be of. docs/cold-start.md,
// "T".
#ifndef THAW_COMM_PRIOR_TYPES_H
#define THAW_COMM_PRIOR_TYPES_H

#include "comm/histories.h"
#include "comm/world.h"

// Where they come from: this rank's users and items by `plan`, and their factors, `columns` floats a row, of
// which the first k count.
struct thaw_prior_types_source {
    const struct thaw_plan *plan;         // of users and items
    const struct thaw_histories *history; // of the users
    const struct thaw_features *profile;  // of the users; columns from `attributes` on are left out
    int32_t attributes;
    const uint8_t *use; // users that may be kept
    const float *rows[2];
    int k, columns;
};
// What is kept, on rank 0; n on every rank.
struct thaw_prior_types {
    int64_t n;
    float *factors;          // n x k
    double *mass;            // n x 2: length of the history, sum over all items of the preferences above 0
    int64_t *indptr;         // items + 1
    uint32_t *users;         // the types that have an item, rising
    int64_t *profile_indptr; // n + 1
    uint32_t *profile_columns;
    float *profile_values; // each row of length 1
};
// Collective. At most `most` of the users, drawn by id, in the order of their rows. Sums are of integers at a
// fixed scale: the same bits for any ranks and threads. Memory: the factors kept on every rank, their
// histories on rank 0. Cost: n multiply-adds an item and factor, over all ranks. THAW_EMEM.
int thaw_prior_types_make(struct thaw_comm *c, const struct thaw_prior_types_source *s, int64_t most,
                          struct thaw_prior_types *t, struct thaw_err *err);
void thaw_prior_types_clear(struct thaw_prior_types *t);

#endif
