// quality.h: how well a model does for held-out users, beside simple baselines: the rows `thaw evaluate`
// prints.
#ifndef THAW_JOBS_QUALITY_H
#define THAW_JOBS_QUALITY_H

#include "comm/heldout.h"
#include "jobs/report.h"

enum { THAW_KNOWN_MAX = 16, THAW_CUTOFFS_MAX = 16 };

struct thaw_quality {
    struct thaw_comm *comm;
    struct thaw_heldout_model model;
    const struct thaw_heldout *users;
    const int64_t *degree;   // training users of each of this rank's items
    const double *value_sum; // sum of their ratings; explicit model only
    int64_t training_users;
    const int *known, *cutoff; // rising
    int nknown, ncutoffs;
    int replicates;
    uint64_t seed;
};

// Collective. *rows is malloc'd. For implicit models, per number of known items and cutoff: NDCG, Recall, HR,
// MAP, coverage and novelty beside popularity. The same on every rank, the same bits for any ranks and
// threads.
int thaw_quality_ranking(const struct thaw_quality *q, struct thaw_report_row **rows, int *nrows,
                         struct thaw_err *err);
// Collective. For explicit models, per number of known items: RMSE and MAE beside the training mean and the
// items' means.
int thaw_quality_ratings(const struct thaw_quality *q, struct thaw_report_row **rows, int *nrows,
                         struct thaw_err *err);

#endif
