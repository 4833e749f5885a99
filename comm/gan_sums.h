// gan_sums.h: sums of gradients over slices of a minibatch and blocks of items that are the same bits whoever
// adds what: terms are rounded once to integers of an agreed scale (base/exact.h's idea, with a scale that
// follows the gradients). Travels in buckets while the ranks go on working.
//
// Each rank gets the sums of its share of a bucket alone, does with them what is to be done, and gives what
// came of them back to all (a reduce-scatter, and an allgather later): so an optimiser's work and state are
// shared out, too (Rajbhandari et al. 2020, "ZeRO: memory optimizations toward training trillion parameter
// models"). Ranks of a node read each other's terms where they lie, in a shared window; other nodes' come as
// messages. A round: add; start, wait, share bucket by bucket; settle.
//
// The scale of a bucket is set by the largest entry of its earlier sums, with room for a growth by 2^16:
// terms are rounded to 2^-33 of it. A term beyond that room, or one that is not finite, is noticed by all
// ranks.
#ifndef THAW_COMM_GAN_SUMS_H
#define THAW_COMM_GAN_SUMS_H

#include "comm/world.h"

struct thaw_sums;
enum { THAW_SUMS_RUN = 16 };
// Collective. Bucket i is entries [begin[i], begin[i + 1]) of the array; nthreads may add at a time. share:
// of each bucket size + 1 places, rank r's share is [share[i (size + 1) + r], share[i (size + 1) + r + 1]);
// NULL: equal shares, which end at multiples of THAW_SUMS_RUN from the bucket's begin. carried: so many whole
// numbers are added up besides. THAW_EMEM.
int thaw_sums_new(struct thaw_sums **s, struct thaw_comm *c, const size_t *begin, int nbuckets,
                  const size_t *share, int carried, int nthreads, struct thaw_err *err);
void thaw_sums_free(struct thaw_sums **s); // collective; waits for what is under way
// Local. The largest entries of earlier sums, one a bucket: part of a training's state.
double *thaw_sums_largest(struct thaw_sums *s);
// Local. This rank's share of a bucket: [*begin, *end).
void thaw_sums_own(const struct thaw_sums *s, int bucket, size_t *begin, size_t *end);

// Local; each thread under its own number. x: the whole array; bucket i of it is added.
void thaw_sums_add(struct thaw_sums *s, int thread, int bucket, const float *x);
// Local. The numbers that are carried: this rank's until settle makes them sums over ranks.
int64_t *thaw_sums_carried(struct thaw_sums *s);
// Collective, in the same order on all ranks; returns at once. The terms of a bucket travel, to which no
// thread adds any more. poke lets transfers go on.
void thaw_sums_start(struct thaw_sums *s, int bucket);
void thaw_sums_poke(struct thaw_sums *s);
// Waits for the others' terms. This rank's share of the sums of bucket i, into out (the whole array).
void thaw_sums_wait(struct thaw_sums *s, int bucket, float *out);
// Collective, in the same order on all ranks; returns at once. Each rank's share of bucket i of x (the whole
// array) to all others, into the same places. Until finish the own share is not to be written, and the
// others' not to be touched.
void thaw_sums_share(struct thaw_sums *s, int bucket, float *x);
// Collective, in the same order on all ranks; returns at once. The same of an x that the ranks of a node have
// in common: a share goes once to every other node. Shares of this node's ranks are there when all have met
// after it; settle is such a meeting.
void thaw_sums_show(struct thaw_sums *s, int bucket, float *x);
void thaw_sums_finish(struct thaw_sums *s); // waits for what was shared
// Collective, once all buckets were waited for; finishes what was shared. Scales follow the sums; ready for
// the next round. False when a term of any rank was not finite or far out of range: the sums are then
// nothing.
bool thaw_sums_settle(struct thaw_sums *s);
double thaw_sums_wait_s(const struct thaw_sums *s); // spent waiting so far
int64_t thaw_sums_bytes(const struct thaw_sums *s); // handed to MPI so far

#endif
