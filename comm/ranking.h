// ranking.h: the best items for many users when neither users nor items fit one rank.
#ifndef THAW_COMM_RANKING_H
#define THAW_COMM_RANKING_H

#include "base/log.h"
#include "comm/world.h"
#include "partition/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct thaw_ranking_task {
    const struct thaw_plan *items;
    const float *rows; // this rank's item rows x columns
    int columns;
    const float *x;         // this rank's users: nusers x columns
    int64_t nusers;         // may differ between ranks, and be 0
    const int64_t *exclude; // nusers x nexclude item rows that are not to be recommended; -1 for none
    int nexclude;
    int k;
    struct thaw_log *log; // progress; may be NULL
    bool stoppable;       // a signal ends it, between batches, with THAW_ESTOPPED
};

// Collective. top[nusers x k]: the item rows with the largest scores x.y for each of this rank's users, best
// first, smaller rows first among equals, -1 where there are no more. Exact: every item is scored. Users
// travel in batches to all ranks, each rank scores its own items on all threads and sends its k best to the
// user's rank. Memory per rank: a batch of about 4096 users in all. Time: users x items x columns / (ranks x
// threads). The same result for any ranks and threads. THAW_EMEM.
int thaw_ranking_top(struct thaw_comm *c, const struct thaw_ranking_task *t, int64_t *top,
                     struct thaw_err *err);

// Collective. The k items with the largest counts over all ranks, the same on every rank: top[k], -1 where
// there are no more. count: this rank's item rows.
int thaw_ranking_popular(struct thaw_comm *c, const struct thaw_plan *items, const int64_t *count, int k,
                         int64_t *top, struct thaw_err *err);

#endif
