// heldout.h: the users that training never saw: who they are, what is known of them and what is asked, and
// how well a model ranks for them. Spread over ranks by the dataset's user parts; the results do not depend
// on the number of ranks.
//
// The protocol: of a held-out user with more than max_known interactions, max_known are set apart, in time
// order or in a random order of the user's own. A column "n known" folds the user in from the first n of
// them. The truth is always the user's other interactions, and all max_known are left out of every ranking,
// so columns of different n can be compared.
#ifndef THAW_COMM_HELDOUT_H
#define THAW_COMM_HELDOUT_H

#include "als/als.h"
#include "base/log.h"
#include "comm/world.h"
#include "partition/plan.h"
#include "partition/shard.h"

#include <stdbool.h>
#include <stdint.h>

// Local, thread-safe. May training watch this held-out user (thaw_held_out) to stop early? A quarter of them,
// drawn by id; the others stay unseen in every way and are what `thaw evaluate` measures then.
bool thaw_heldout_validates(const Thaw__Als *als, uint64_t id_hash);
// The same kind of draw for samples: uniform in [0, 1).
double thaw_heldout_sample(const Thaw__Als *als, uint64_t id_hash);

// ---- Users ----
enum thaw_heldout_set { THAW_HELDOUT_ALL, THAW_HELDOUT_VALIDATION, THAW_HELDOUT_TEST };

struct thaw_heldout_choice {
    const Thaw__Als *als; // who is held out, and which values count as interactions
    enum thaw_heldout_set set;
    int64_t max_users; // about so many of them, drawn by id; 0: all
    int max_known;     // >= 1
    bool by_time;      // time order (random among equal times); needs a dataset with times
    uint64_t seed;     // of random orders
    const char *list;  // file of lines "user set item item ...": who is measured and what is known, in order;
                       // NULL: as above
    const char *list_set; // the set of the list that counts
};

// This rank's users. Arrays are owned by the set.
struct thaw_heldout {
    int max_known;
    int64_t nusers;
    uint64_t *key;      // nusers: hash of the id
    int64_t *row;       // nusers: global row; -1 in a set made by hand
    int64_t *known;     // nusers x max_known: item rows in the order in which they become known
    float *known_value; // nusers x max_known: strengths (thaw_strength) or ratings
    int64_t *truth_ptr; // nusers + 1
    int64_t *truth;     // truth_ptr[nusers]: item rows, rising
    float *truth_value;
    // Over all ranks:
    int64_t total;     // users in the set
    int64_t too_short; // would be, had they more than max_known interactions
    int64_t held_out;  // users training left out, measured or not
    int64_t unknown;   // with a list: users of list_set that are not among them
    int64_t lacking; // with a list: users left out because they lack one of the first max_known items listed
                     // for them
    size_t users_cap, row_cap, known_cap, known_value_cap, truth_ptr_cap, truth_cap, truth_value_cap;
};

// Collective. Read the held-out users of the user parts this rank owns by `users`. verify: compare the
// shards' checksums. THAW_EDATA: by_time without times; a damaged shard; a list that does not parse (named
// with its line).
int thaw_heldout_load(struct thaw_heldout **h, struct thaw_comm *c, const struct thaw_dataset *d,
                      const struct thaw_plan *users, const struct thaw_heldout_choice *choice, bool verify,
                      struct thaw_err *err);
// Local. Build a set by hand: start an empty one, append a user with n interactions (item rows rising) of
// which those at places order[0..max_known) are known, in this order. total is the caller's to set.
// THAW_EMEM.
int thaw_heldout_new(struct thaw_heldout **h, int max_known, struct thaw_err *err);
int thaw_heldout_add(struct thaw_heldout *h, uint64_t key, const int64_t *items, const float *values,
                     int64_t n, const int64_t *order, struct thaw_err *err);
// Local. order[n]: places sorted by time (NULL: all equal), equal times in the user's own random order.
int thaw_heldout_order(int64_t *order, const int64_t *times, int64_t n, uint64_t seed, uint64_t key,
                       struct thaw_err *err);
void thaw_heldout_free(struct thaw_heldout **h);

// ---- The model that is measured: borrowed, this rank's share of the items ----
struct thaw_heldout_model {
    struct thaw_als_config config; // the fold-in's numbers; always solved exactly
    const struct thaw_plan *items;
    const float *rows;     // this rank's item rows x columns
    const double *gramian; // k x k over all items (thaw_sweep_gramian); NULL for the explicit model
    int64_t budget_bytes;  // of exchange buffers
    struct thaw_log *log;  // progress of long rankings; may be NULL
    bool stoppable;        // a signal ends a ranking with THAW_ESTOPPED
};

// Collective. Fold every user in from the first n known items: x[nusers x columns].
int thaw_heldout_fold_in(struct thaw_comm *c, const struct thaw_heldout_model *m,
                         const struct thaw_heldout *h, int n, float *x, struct thaw_err *err);

// Collective. The k best items of every user folded in from the first n known items, all max_known left out:
// top[nusers x k] item rows, best first, -1 where there are no more. For an explicit model items are ranked
// by predicted rating.
int thaw_heldout_top(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                     int n, int k, int64_t *top, struct thaw_err *err);
// Local. Which of a user's `cutoff` best are in the truth: hit[0..returned).
int thaw_heldout_hits(const struct thaw_heldout *h, int64_t user, const int64_t *top, int cutoff, bool *hit);

// Collective. Mean NDCG at the cutoff over all users of the set, folded in from n known items; 0 when the
// set is empty. This is what training watches to stop early.
int thaw_heldout_ndcg(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                      int n, int cutoff, double *ndcg, struct thaw_err *err);

// Collective. For each item row this rank owns by plan[THAW_ITEMS]: its number of training users, and the sum
// of their values (NULL: not wanted). *training_users: users that are not held out. Held-out interactions are
// taken off what the shards hold.
int thaw_heldout_item_degrees(struct thaw_comm *c, const struct thaw_dataset *d,
                              const struct thaw_plan plan[2], const Thaw__Als *als, int64_t *degree,
                              double *value_sum, int64_t *training_users, struct thaw_err *err);

// Collective. For the explicit model, per user: errors[nusers x 6] = sums over the user's truth of squared
// and absolute errors of the model (x: as folded in), of `mean` alone, and of the items' means. mean: of the
// training ratings, also where the model has none. item_mean: this rank's item rows.
int thaw_heldout_errors(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                        const float *x, double mean, const double *item_mean, double *errors,
                        struct thaw_err *err);

#endif
