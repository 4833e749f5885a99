// gan_sums.h: sums of gradients over slices of a minibatch and blocks of items that are the same bits whoever
// adds what: terms are rounded once to integers of an agreed scale (base/exact.h's idea, with a scale that
// follows the gradients). Travels in buckets while the ranks go on working.
//
// The scale of a bucket is set by the largest entry of its earlier sums, with room for a growth by 2^16:
// terms are rounded to 2^-33 of it. A term beyond that room, or one that is not finite, is noticed by all
// ranks.
#ifndef THAW_COMM_GAN_SUMS_H
#define THAW_COMM_GAN_SUMS_H

#include "comm/world.h"

struct thaw_sums;
// Local. Bucket i is entries [begin[i], begin[i + 1]) of the array; nthreads may add at a time. carried: so
// many whole numbers travel with the last bucket. THAW_EMEM.
int thaw_sums_new(struct thaw_sums **s, struct thaw_comm *c, const size_t *begin, int nbuckets, int carried,
                  int nthreads, struct thaw_err *err);
void thaw_sums_free(struct thaw_sums **s); // waits for what is under way; collective then
// Local. The largest entries of earlier sums, one a bucket: part of a training's state.
double *thaw_sums_largest(struct thaw_sums *s);

// Local; each thread under its own number. x: the whole array; bucket i of it is added.
void thaw_sums_add(struct thaw_sums *s, int thread, int bucket, const float *x);
// Local. The numbers that are carried: this rank's before the last bucket starts (they stay until they are
// set), their sums after it was waited for.
int64_t *thaw_sums_carried(struct thaw_sums *s);
// Collective, in the same order on all ranks; returns at once. n buckets from `bucket` as one reduction,
// while no thread adds to them. poke lets transfers go on.
void thaw_sums_start(struct thaw_sums *s, int bucket, int n);
void thaw_sums_poke(struct thaw_sums *s);
// Collective. The sum into bucket i of out (the whole array); ready for the next one. False when a term of
// any rank was not finite or far out of range; out is then not set.
bool thaw_sums_wait(struct thaw_sums *s, int bucket, float *out);
double thaw_sums_wait_s(const struct thaw_sums *s); // spent waiting so far
int64_t thaw_sums_bytes(const struct thaw_sums *s); // handed to MPI so far

#endif
