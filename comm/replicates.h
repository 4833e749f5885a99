// replicates.h: bootstrap replicates of statistics over users that are spread over ranks
// (metrics/bootstrap.h).
//
// Every replicate is a set of weighted sums over all users; a statistic (a mean, a difference, a ratio, a
// root) is a function of the sums. The same bits for any number of ranks and threads.
#ifndef THAW_COMM_REPLICATES_H
#define THAW_COMM_REPLICATES_H

#include "comm/world.h"
#include "partition/plan.h"

#include <stdint.h>

enum { THAW_REPLICATES_MAX = 8000 };

struct thaw_replicates {
    int n; // replicates
    int ncolumns;
    double *sums;      // (1 + n) x (ncolumns + 1), the same on all ranks: row 0 the plain sums, then the
                       // replicates'; the last column is the sum of weights
    int64_t nusers;    // of this rank
    int words;         // 64-bit words of a user's presence
    uint64_t *present; // nusers x words: bit 0 always, bit b when replicate b (from 1) has the user
};

struct thaw_estimate {
    double value, low, high; // 95 % interval
};

// Collective. values: nusers x ncolumns of this rank's users; key: one per user. Cost: users x n x ncolumns.
// THAW_EMEM.
int thaw_replicates_new(struct thaw_replicates *r, struct thaw_comm *c, const double *values,
                        const uint64_t *key, int64_t nusers, int ncolumns, int n, uint64_t seed,
                        struct thaw_err *err);
void thaw_replicates_clear(struct thaw_replicates *r);

// Local. The statistic f of the plain sums, with the 2.5 % and 97.5 % quantiles over replicates. sums:
// ncolumns + 1.
typedef double thaw_statistic(const double *sums, int ncolumns, const void *user);
int thaw_replicates_estimate(const struct thaw_replicates *r, thaw_statistic *f, const void *user,
                             struct thaw_estimate *e, struct thaw_err *err);

// Collective. How many different items are among the first `cutoff` of the users' lists: covered[1 + r->n],
// entry 0 for all users, then for the users of each replicate; the same on all ranks. top: r->nusers x stride
// item rows, -1 for none. Memory: r->words x 8 bytes per item row of this rank.
int thaw_replicates_coverage(const struct thaw_replicates *r, struct thaw_comm *c,
                             const struct thaw_plan *items, const int64_t *top, int stride, int cutoff,
                             int64_t *covered, struct thaw_err *err);

#endif
