// episodes.h: minibatches of episodes for the conditional generator: "this much of a user is known, the rest
// is to be predicted". docs/cold-start.md, "G".
//
// Sample s of batch t is position t b + s of an endless walk over the eligible users: each epoch visits all
// of them once, in an order of its own. The number n of known items is uniform in 0..longest, at most so many
// that `rest` items are left; known are n random items, or the first n in time. All draws are keyed by (seed,
// position), so a batch is the same whatever the ranks. A batch is cut into slices of THAW_GAN_SLICE samples,
// and the slices are dealt to the ranks in order.
#ifndef THAW_COMM_EPISODES_H
#define THAW_COMM_EPISODES_H

#include "comm/histories.h"

// How much of a user is known.
enum thaw_episode_known {
    THAW_KNOWN_DRAWN, // 0 to longest, drawn anew each time
    THAW_KNOWN_HALF,  // half of them, longest at most
    THAW_KNOWN_ALL,   // longest at most
};

struct thaw_episodes_config {
    int batch;           // samples
    int longest;         // most known items
    int64_t least, most; // users with so many interactions are eligible
    bool held_out;       // also users left out of training
    bool listed;         // eligible users once each, in the order of rows, instead of the walk
    enum thaw_episode_known known;
    int rest; // DRAWN: so many items are left to predict at least
    uint64_t seed;
    bool by_time; // known are the first items; histories must be timed
};

// A minibatch. Borrowed until the next one is asked for.
struct thaw_batch {
    int b, longest;
    int begin, end;          // this rank's samples: whole slices
    int count;               // the first so many are to be taken; the others fill a list's last batch
    const int64_t *user;     // b: global rows
    const int32_t *n;        // b
    const int64_t *known;    // b x longest global item rows; -1 beyond n
    const int64_t *nrest;    // b: items to predict
    int64_t targets;         // sum of nrest
    const int64_t *rest_ptr; // b + 1: into rest
    const int32_t *rest;     // items to predict among this rank's, by place in its rows, in history order
    // Of this rank's samples, begin first:
    const int64_t *feature_ptr; // end - begin + 1
    const uint32_t *feature;
    const float *feature_value;
    const float *real; // (end - begin) x k
};

struct thaw_episodes;
// Collective. h, real (h->nusers x k: what a user's latent should be), items: borrowed. THAW_EDATA: no user
// is eligible. THAW_EMEM.
int thaw_episodes_new(struct thaw_episodes **e, struct thaw_comm *c, const struct thaw_histories *h,
                      const float *real, int k, const struct thaw_plan *items,
                      const struct thaw_episodes_config *config, struct thaw_err *err);
void thaw_episodes_free(struct thaw_episodes **e);
int64_t thaw_episodes_users(const struct thaw_episodes *e);   // eligible, over all ranks
int64_t thaw_episodes_batches(const struct thaw_episodes *e); // that visit each of them
double thaw_episodes_wait_s(const struct thaw_episodes *e);   // spent in communication so far

// Collective. Batch `number`. Batches travel some at a time, so asking in rising order is cheap. THAW_EMEM.
int thaw_episodes_batch(struct thaw_episodes *e, int64_t number, const struct thaw_batch **batch,
                        struct thaw_err *err);

// Local. A batch's share of the work for batches to come, which thaw_episodes_batch would do at once: for
// moments in which other ranks are awaited. A failure is told there.
void thaw_episodes_prepare(struct thaw_episodes *e);

// Local. The first sample of each rank's slices; rank `size` ends all.
int thaw_batch_begin(int b, int size, int rank);
// Local; thread-safe. Place of position i of n things in an order drawn by (seed, epoch): a permutation.
int64_t thaw_shuffled(uint64_t seed, uint64_t epoch, int64_t i, int64_t n);
// Local; thread-safe. m of n places, every set of m as likely (their order is not random): out[m].
struct thaw_rng;
void thaw_draw_distinct(struct thaw_rng *rng, int64_t n, int m, int64_t *out);

#endif
