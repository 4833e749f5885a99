// plan.h: which part owns a row and which rank owns a part. No MPI; local; thread-safe (read-only after
// creation).
//
// A part is the unit of ownership and of every file; there are V of them, fixed by `thaw prepare --parts`.
// part(id) comes from the id's hash (base/hash.h). Inside a part rows go by falling degree, then by id. A
// row's global number is the first row of its part + its place, so a rank that owns consecutive parts owns
// one range of rows.
#ifndef THAW_PARTITION_PLAN_H
#define THAW_PARTITION_PLAN_H

#include "base/err.h"

#include <stdint.h>

// One side (users or items) cut over ranks.
struct thaw_plan {
    int32_t nparts;
    int nranks;
    int64_t *first_row;  // nparts + 1: global number of each part's first row; [nparts] = number of rows
    int32_t *first_part; // nranks + 1: rank r owns parts [first_part[r], first_part[r+1]); may be empty
    int64_t *rank_row;   // nranks + 1: first_row[first_part[r]]
};

// part_rows, part_work: nparts each. Parts are dealt in order so that the largest share of work of a rank is
// as small as consecutive runs allow (exact, by bisection on the share). part_work NULL: rows + 1 each.
// THAW_EMEM; THAW_EDATA on negative counts or an overflowing total.
int thaw_plan_new(struct thaw_plan *plan, int32_t nparts, const int64_t *part_rows, const int64_t *part_work,
                  int nranks, struct thaw_err *err);
void thaw_plan_clear(struct thaw_plan *plan);

// The rank that owns a global row in [0, number of rows), by bisection.
int thaw_plan_rank_of(const struct thaw_plan *plan, int64_t row);
static inline int64_t thaw_plan_rows(const struct thaw_plan *plan) {
    return plan->first_row[plan->nparts];
}

// Owner of each part: rank r owns parts [r*V/R, (r+1)*V/R). What prepare uses before any work is known.
static inline int32_t thaw_plan_even(int32_t nparts, int nranks, int rank) {
    return (int32_t)((int64_t)nparts * rank / nranks);
}

#endif
