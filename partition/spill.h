// spill.h: bucketed byte streams in bounded memory: what does not fit goes to a file. No MPI; local; not
// thread-safe.
//
// A pool holds blocks of memory up to a limit and one spill file. Stores draw blocks from the pool; each
// store has numbered buckets, and what is put into a bucket comes back in the same order. When the pool is
// empty, the store that holds most blocks is written to the file, bucket after bucket, in one sequential run.
// The file has no name from the moment it is opened, so that nothing is left behind however the program ends.
#ifndef THAW_PARTITION_SPILL_H
#define THAW_PARTITION_SPILL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct thaw_spill_pool;
struct thaw_spill;

// dir: an existing folder for the spill file, opened when first needed. limit: bytes of blocks held at most;
// block: bytes of one (both are raised to a small minimum). Borrows nothing. THAW_EMEM.
int thaw_spill_pool_new(struct thaw_spill_pool **pool, const char *dir, int64_t limit, int64_t block,
                        struct thaw_err *err);
void thaw_spill_pool_free(struct thaw_spill_pool **pool); // after its stores
// From now on hold at most `limit` bytes (never above the limit it was made with); writes out what is above.
// THAW_EIO.
int thaw_spill_pool_limit(struct thaw_spill_pool *pool, int64_t limit, struct thaw_err *err);
int64_t thaw_spill_pool_spilled(const struct thaw_spill_pool *pool); // bytes written to the file so far
int64_t thaw_spill_pool_peak(const struct thaw_spill_pool *pool);    // most bytes of blocks held at a time

int thaw_spill_new(struct thaw_spill **s, struct thaw_spill_pool *pool, int32_t nbuckets,
                   struct thaw_err *err);
void thaw_spill_free(struct thaw_spill **s);

// Append n bytes to a bucket. THAW_EIO, THAW_EMEM.
int thaw_spill_put(struct thaw_spill *s, int32_t bucket, const void *bytes, size_t n, struct thaw_err *err);
int64_t thaw_spill_nbytes(const struct thaw_spill *s, int32_t bucket);
// Copy n of a bucket's bytes, from byte `at` on, to out; at + n <= thaw_spill_nbytes. THAW_EIO.
int thaw_spill_read(const struct thaw_spill *s, int32_t bucket, int64_t at, int64_t n, void *out,
                    struct thaw_err *err);
// Forget a bucket's bytes; memory and file space are given back.
void thaw_spill_clear(struct thaw_spill *s, int32_t bucket);

#endif
