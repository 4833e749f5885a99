// interactions.h: a dataset's interactions as training sees them: this rank's rows of both sides, held-out
// users left out.
//
// Thaw__Als (src/proto/thaw.proto) says how: which users are held out, how a value becomes a strength. The
// implicit models leave out interactions of a strength that is not above 0 (returns that outweigh purchases);
// they are counted.
#ifndef THAW_COMM_INTERACTIONS_H
#define THAW_COMM_INTERACTIONS_H

#include "als/als.h"
#include "comm/half.h"
#include "comm/virtual.h"
#include "comm/world.h"
#include "partition/plan.h"
#include "partition/shard.h"

// Local; thread-safe. Is the user with this id left out of training? By a draw keyed by (holdout_seed, hash
// of the id) that knows nothing of parts and ranks, or because it is listed. O(log listed).
bool thaw_held_out(const Thaw__Als *als, uint64_t id_hash);
// The same for row `row` of an open users shard.
bool thaw_shard_held_out(const struct thaw_shard *s, const Thaw__Als *als, int64_t row);
// Local. Hashes of the ids a file lists, rising, each once: the first word of each line; empty lines and what
// follows a '#' do not count. *ids is malloc'd. THAW_ENOINPUT, THAW_EDATA (an id longer than 255 bytes),
// THAW_EMEM.
int thaw_holdout_list_read(const char *path, uint64_t **ids, size_t *nids, struct thaw_err *err);
static inline bool thaw_has_held_out(const Thaw__Als *als) {
    return als->holdout > 0 || als->n_holdout_ids > 0;
}

// Local; thread-safe. What the solvers take for a merged value r: the strength, or the rating itself for the
// explicit model.
float thaw_strength(const Thaw__Als *als, float r);
// False where training leaves an interaction of this strength out.
static inline bool thaw_strength_counts(const Thaw__Als *als, float strength) {
    return als->model == THAW__ALS__MODEL__EXPLICIT || strength > 0;
}

// Local; thread-safe. The solver's view of a model's description. Fold-in is exact: Cholesky.
struct thaw_als_config thaw_als_config_of(const Thaw__Als *als, enum thaw_als_solver solver,
                                          enum thaw_als_gather gather, int cg_steps, double cg_tolerance);

// Local. Parts to ranks for both sides by interactions and rows (k: factors, what a row costs). THAW_EMEM,
// THAW_EDATA. Clear both with thaw_plan_clear.
int thaw_dataset_plan(struct thaw_plan plan[2], const struct thaw_dataset *d, int nranks, int k,
                      struct thaw_err *err);

// Virtual interactions that join the real ones of users who are not held out.
struct thaw_virtual_wish {
    const struct thaw_virtual *files;
    double weight; // above 0: an interaction's strength is this times its weight
    bool extra;    // whole virtual users too: they follow the real ones of their parts
};

struct thaw_interactions {
    struct thaw_plan plan[2];      // with virtual users
    struct thaw_plan real;         // of the users alone that the dataset has; each rank the same parts
    uint8_t *made;                 // rows[THAW_USERS]: 1 for virtual users; NULL: there are none
    int64_t first_row[2], rows[2]; // this rank's rows of each side
    struct thaw_half *half[2];     // training interactions by rows; held-out users have none
    int64_t *degree[2];            // training interactions of each row of this rank
    uint8_t *held_out;             // rows[THAW_USERS]: 1 for users left out
    struct thaw_half *held;        // all interactions of this rank's held-out users, one row each, in order
    int64_t nheld;                 // held-out users of this rank
    // Over all ranks:
    int64_t nnz;        // training interactions
    int64_t held_users; // held-out users
    int64_t left_out;   // interactions without strength
    int64_t virtual;    // virtual interactions, part of nnz
    int64_t extra;      // virtual users
    double mean;        // mean strength or rating of the training interactions
};
// Collective. Read and verify this rank's parts of both sides. config: of each side's half-sweeps; o:
// as for thaw_half_new; held-out users are to be solved exactly, from f32 rows. THAW_EMEM, THAW_EUSAGE,
// THAW_EDATA (damage; NaN), THAW_ENOINPUT.
int thaw_interactions_load(struct thaw_interactions *in, struct thaw_comm *c, const struct thaw_dataset *d,
                           const Thaw__Als *als, const struct thaw_als_config config[2],
                           const struct thaw_half_options *o, struct thaw_err *err);
// The same with virtual interactions (v NULL: without). Refused for the explicit model: THAW_EUSAGE.
int thaw_interactions_load_with(struct thaw_interactions *in, struct thaw_comm *c,
                                const struct thaw_dataset *d, const Thaw__Als *als,
                                const struct thaw_als_config config[2], const struct thaw_half_options *o,
                                const struct thaw_virtual_wish *v, struct thaw_err *err);
// Local. Rows of this rank's users, `columns` each, without the virtual ones: from all rows, and back
// (virtual users get zeros).
void thaw_interactions_pack(const struct thaw_interactions *in, int columns, const float *all, float *real);
void thaw_interactions_unpack(const struct thaw_interactions *in, int columns, const float *real, float *all);
// The config that held-out users are folded in with.
struct thaw_als_config thaw_fold_in_config(const struct thaw_als_config *config);
void thaw_interactions_clear(struct thaw_interactions *in);

#endif
