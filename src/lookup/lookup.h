// lookup.h: look things up in Thaw's embedding tables: vectors, recommendations, similar items. No MPI, no
// BLAS; memory-mapped; microseconds. The public header of libthaw-lookup (pkg-config thaw-lookup, CMake
// package ThawLookup).
//
// Every function is local. A handle may be used by many threads at once; results are in the caller's memory.
#ifndef THAW_LOOKUP_LOOKUP_H
#define THAW_LOOKUP_LOOKUP_H

#include "base/err.h"
#include "base/side.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_lookup;

struct thaw_lookup_info {
    const char *version;  // folder of the version, borrowed
    const char *model;    // "implicit (Hu et al. 2008)", ...
    int factors, columns; // columns = factors, + 1 (the bias, last) when biased
    bool biases;
    bool ratings; // an explicit model: scores are predicted ratings
    double mean;  // added to every score of an explicit model
    int64_t users, items, interactions;
    int parts;
    int64_t nbytes; // of all files
    uint64_t model_digest, dataset_digest;
};

struct thaw_hit {
    int64_t item; // global row
    double score; // predicted preference or rating; cosine for similar
};

// Open a tables folder or one version of it. THAW_ENOINPUT, THAW_EDATA naming the file. Costs a few system
// calls per file.
int thaw_lookup_open(struct thaw_lookup **l, const char *tables, struct thaw_err *err);
void thaw_lookup_close(struct thaw_lookup **l);
void thaw_lookup_get_info(const struct thaw_lookup *l, struct thaw_lookup_info *info);

// Global row of an id, -1 when unknown; O(1).
int64_t thaw_lookup_find(const struct thaw_lookup *l, enum thaw_side side, const char *id, size_t nbytes);
// The id of a row: not terminated, *nbytes long; borrowed from the map. The row's vector: info.columns
// floats, borrowed.
const char *thaw_lookup_id(const struct thaw_lookup *l, enum thaw_side side, int64_t row, size_t *nbytes);
const float *thaw_lookup_vector(const struct thaw_lookup *l, enum thaw_side side, int64_t row);
int64_t thaw_lookup_degree(const struct thaw_lookup *l, enum thaw_side side, int64_t row);

// The rows of items in part `part`, for scans of one's own: *nrows x info.columns floats, borrowed, 64-byte
// aligned.
const float *thaw_lookup_part(const struct thaw_lookup *l, int part, int64_t *nrows);

// The k items with the highest scores for a user vector (info.columns floats), best first, without the
// nexclude item rows of `exclude` (any order). Exact: every item is scored; time is that of reading the item
// table once. *nhits <= k. threads <= 0: 1. THAW_EMEM; THAW_EUSAGE when k < 1.
int thaw_lookup_recommend(const struct thaw_lookup *l, const float *user, int k, const int64_t *exclude,
                          int64_t nexclude, int threads, struct thaw_hit *hits, int *nhits,
                          struct thaw_err *err);

// The same for nusers users (nusers x info.columns floats) at once, which reads the items once for several of
// them. exclude[u] has nexclude[u] rows; both arrays may be NULL. hits: nusers x k, nhits: nusers. The same
// hits as one by one.
int thaw_lookup_recommend_batch(const struct thaw_lookup *l, const float *users, int nusers, int k,
                                const int64_t *const *exclude, const int64_t *nexclude, int threads,
                                struct thaw_hit *hits, int *nhits, struct thaw_err *err);

// Item rows a known user has interacted with: *items is malloc'd, *n of them, rising. THAW_EDATA when the
// tables are damaged.
int thaw_lookup_seen(const struct thaw_lookup *l, int64_t user, int64_t **items, int64_t *n,
                     struct thaw_err *err);

// The vector of someone the tables do not know, folded in from a history of distinct item rows with strengths
// as the log has them (NULL: all 1; ratings for an explicit model): the row problem of training (als.h)
// solved in f64 against the item table. user: info.columns floats; all zero for an empty history. THAW_EDATA
// when a row is out of range or the system is not positive definite. n k^2 + k^3/3 flops.
int thaw_lookup_fold_in(const struct thaw_lookup *l, const int64_t *items, const float *strengths, int64_t n,
                        float *user, struct thaw_err *err);

// The k items nearest to `item` by cosine over the factors, without itself. Items whose factors are all zero
// are never returned and have no neighbours. Errors as recommend's; THAW_EUSAGE when item is out of range.
int thaw_lookup_similar(const struct thaw_lookup *l, int64_t item, int k, int threads, struct thaw_hit *hits,
                        int *nhits, struct thaw_err *err);

// Read everything and compare all checksums and internal references. Names the first damaged file.
int thaw_lookup_check(const struct thaw_lookup *l, struct thaw_err *err);

#endif
