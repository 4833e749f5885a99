// rank.h: ranking metrics of one user. No MPI; local; thread-safe.
#ifndef THAW_METRICS_RANK_H
#define THAW_METRICS_RANK_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_rank_metrics {
    double recall; // hits / min(cutoff, relevant)
    double ndcg;   // sum over hits of 1/log2(1 + rank), divided by the same sum over ranks 1..min(cutoff,
                   // relevant)
    double hr;     // 1 when there is a hit
    double map;    // average precision at the cutoff: sum over hits of precision at their rank / min(cutoff,
                   // relevant)
};

// hit[i] says whether the i-th recommended item (best first, n of them, those beyond the cutoff are not
// looked at) is relevant; relevant = number of relevant items there are. All metrics are 0 when there is
// none.
void thaw_rank_metrics(const bool *hit, int n, int cutoff, int64_t relevant, struct thaw_rank_metrics *m);

// How surprising an item is: -log2 of the share of users who have it; an item nobody has counts as if one
// user had it.
double thaw_rank_novelty(int64_t degree, int64_t users);

#endif
