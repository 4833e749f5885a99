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
    bool prior, association, generator, types,
        blend;                    // models for users nobody knows: P, E, G, T; how weighed
    int user_fields, item_fields; // attributes of a profile, of items
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

// ---- Someone new: a profile and a few known items (docs/cold-start.md) ----

// An attribute of users or items, borrowed.
struct thaw_lookup_field {
    const char *name, *kind; // kind: "categorical", "multi" (values separated by "|"), "numeric", "text"
    int nvalues;             // of categorical and multi
};
// field in [0, info.user_fields or info.item_fields). A value of it: not terminated, *nbytes long, borrowed.
void thaw_lookup_get_field(const struct thaw_lookup *l, enum thaw_side side, int field,
                           struct thaw_lookup_field *f);
const char *thaw_lookup_value(const struct thaw_lookup *l, enum thaw_side side, int field, int value,
                              size_t *nbytes);
// The number of the user field of this name, -1 when there is none.
int thaw_lookup_find_field(const struct thaw_lookup *l, const char *name, size_t nbytes);

// A profile under construction. One thread's own.
struct thaw_lookup_profile;
int thaw_lookup_profile_new(struct thaw_lookup_profile **p, const struct thaw_lookup *l,
                            struct thaw_err *err);
void thaw_lookup_profile_free(struct thaw_lookup_profile **p);
void thaw_lookup_profile_clear(struct thaw_lookup_profile *p); // nothing is known again
// The value of a field, in place of an earlier one. *known: false when the tables know no such value, so that
// it says nothing (no error). THAW_EUSAGE: no such field. THAW_EMEM.
int thaw_lookup_profile_set(struct thaw_lookup_profile *p, int field, const char *value, size_t nbytes,
                            bool *known, struct thaw_err *err);

// Someone new. Borrowed.
struct thaw_newcomer_query {
    const struct thaw_lookup_profile *profile; // NULL: nothing is known
    const int64_t *items;                      // n distinct item rows in the order in which they became known
    const float *strengths;                    // as the log has them; NULL: all 1
    int64_t n;
    uint64_t key; // of the generator's noise: the same key, the same draws
};

enum thaw_lookup_method {
    THAW_LOOKUP_FOLD_IN,     // the row problem of training: needs items
    THAW_LOOKUP_PRIOR,       // P: factors under the profile's prior
    THAW_LOOKUP_ASSOCIATION, // E: what goes with the known items and the profile
    THAW_LOOKUP_GENERATOR,   // G: probabilities of the conditional generator
    THAW_LOOKUP_ENSEMBLE,    // their weighted z-scores; weights by number of known items
    THAW_LOOKUP_TYPES        // T: histories of the training users that explain the newcomer best
};
bool thaw_lookup_has(const struct thaw_lookup *l, enum thaw_lookup_method m);

// How to answer. Zeros: by fold-in, best scores first.
struct thaw_lookup_how {
    enum thaw_lookup_method method;
    enum { THAW_LOOKUP_EXPLOIT, THAW_LOOKUP_UCB, THAW_LOOKUP_THOMPSON } explore; // with PRIOR and ENSEMBLE
    double scale;                                                                // of the doubt that is added
    uint64_t seed;                                                               // of Thompson's draw
    int threads; // of an answer from the compact copies; < 1: 1. The results do not depend on it
};

// Scratch of one thread for answers: a handle to be used again and again. THAW_EMEM, and what opening the
// models may fail with (their files are mapped at the first need).
struct thaw_lookup_work;
int thaw_lookup_work_new(struct thaw_lookup_work **w, const struct thaw_lookup *l, struct thaw_err *err);
void thaw_lookup_work_free(struct thaw_lookup_work **w);

// Make compact copies of what answers read, in memory: 3 bytes an item and factor, 16 an item, and 2 to 4 for
// each item of the types' histories. thaw_lookup_answer without exploring then looks at these for all items,
// and at the files for the few that may be among the best: the same items, with scores that agree to 1e-5.
// For processes that answer often: it reads everything once, and takes k^2 / 2 multiply-adds an item. Not
// while other threads answer. THAW_EMEM.
int thaw_lookup_warm(const struct thaw_lookup *l, struct thaw_err *err);

// The k items with the highest scores, best first, without the known ones (unless with_known). Exact, on the
// caller's thread and, from the compact copies, how->threads - 1 more. THAW_EUSAGE: k < 1; the tables do not
// hold the model. THAW_EDATA: an item out of range, or damaged files. The order of the items of equal scores
// is that of their rows.
int thaw_lookup_answer(struct thaw_lookup_work *w, const struct thaw_newcomer_query *who,
                       const struct thaw_lookup_how *how, int k, bool with_known, struct thaw_hit *hits,
                       int *nhits, struct thaw_err *err);

// Shares of known items and profile fields in the scores of nhits items, by how->method, without exploration.
// item_share: nhits x who->n, field_share: nhits x info.user_fields; with rest[nhits], what stays with none
// of them, they add up to score[nhits].
int thaw_lookup_explain(struct thaw_lookup_work *w, const struct thaw_newcomer_query *who,
                        const struct thaw_lookup_how *how, const int64_t *items, int nhits,
                        double *item_share, double *field_share, double *rest, double *score,
                        struct thaw_err *err);

// What a known user is interested in, by the items' categorical and multi attributes: those of the items they
// have seen or, if there are none, of the 100 items with the best scores. weight: the value's part of these
// items, an item with m values of a field counting 1/m for each, so a field's weights add up to the part of
// items that have the field; usual: the same over everybody's interactions.
struct thaw_interest {
    int field, value; // of the items
    double weight, usual;
};
// The k values whose weight exceeds the usual the most, *n <= k. 0 where items have no such attributes.
// THAW_EUSAGE, THAW_EDATA, THAW_EMEM. Reads the attributes of all items once.
int thaw_lookup_interests(const struct thaw_lookup *l, int64_t user, int k, struct thaw_interest *out, int *n,
                          struct thaw_err *err);

// Read everything and compare all checksums and internal references. Names the first damaged file.
int thaw_lookup_check(const struct thaw_lookup *l, struct thaw_err *err);

#endif
