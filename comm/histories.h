// histories.h: what users did and who they are, row by row: this rank's users with their items in the order
// in which they came, and their profile's features. What the cold-start models are fitted on.
// docs/cold-start.md.
#ifndef THAW_COMM_HISTORIES_H
#define THAW_COMM_HISTORIES_H

#include "comm/world.h"
#include "partition/plan.h"
#include "partition/shard.h"

#include <stdbool.h>

// Sparse rows of features: row r has [ptr[r], ptr[r + 1]), columns rising in [0, columns).
struct thaw_features {
    int64_t nrows;
    int32_t columns; // 0: there are none
    int64_t *ptr;    // nrows + 1
    uint32_t *column;
    float *value;
    size_t column_cap, value_cap;
};
// Collective. The attributes of a side's rows that this rank owns by `plan`. THAW_EMEM, THAW_EDATA,
// THAW_ENOINPUT.
int thaw_features_load(struct thaw_features *f, struct thaw_comm *c, const struct thaw_dataset *d,
                       enum thaw_side side, const struct thaw_plan *plan, struct thaw_err *err);
void thaw_features_clear(struct thaw_features *f);

// Users of this rank, all rows it owns by the plan, in order: row r is global row first_row + r. Interactions
// without strength (thaw_strength_counts) are left out.
struct thaw_histories {
    int64_t nusers, first_row;
    uint64_t *key;                // nusers: hash of the id
    uint8_t *held_out;            // nusers: 1 for users that training must not see
    int64_t *ptr;                 // nusers + 1
    int64_t *item;                // ptr[nusers]: global item rows; in time order when timed, else rising
    float *strength;              // ptr[nusers]: thaw_strength
    bool timed;                   // equal times: in an order of the user's own, drawn by (seed, key)
    struct thaw_features profile; // nusers rows
    size_t item_cap, strength_cap;
    // Over all ranks:
    int64_t training_users, training_nnz; // not held out, and their interactions
};

// Collective. als says who is held out and what counts as an interaction. by_time: THAW_EDATA when the
// dataset has no times. THAW_EMEM, THAW_EDATA, THAW_ENOINPUT. THAW_ESTOPPED: between two parts. Memory: 12
// bytes an interaction of this rank.
int thaw_histories_load(struct thaw_histories *h, struct thaw_comm *c, const struct thaw_dataset *d,
                        const struct thaw_plan *users, const Thaw__Als *als, bool by_time, uint64_t seed,
                        struct thaw_err *err);
void thaw_histories_clear(struct thaw_histories *h);
static inline int64_t thaw_histories_length(const struct thaw_histories *h, int64_t row) {
    return h->ptr[row + 1] - h->ptr[row];
}

#endif
