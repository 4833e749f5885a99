// auc.h: how well a score separates two groups. Local; thread-safe.
#ifndef THAW_METRICS_AUC_H
#define THAW_METRICS_AUC_H

#include "base/err.h"

#include <stdint.h>

// *auc = the chance that a member of `high` scores above one of `low`, ties counted half (the area under the
// ROC curve). .5 when a group is empty. Scores are finite. THAW_EMEM. O(n log n).
int thaw_auc(const double *high, int64_t nhigh, const double *low, int64_t nlow, double *auc,
             struct thaw_err *err);

#endif
