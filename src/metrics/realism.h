// realism.h: how well made users are told from real ones. No MPI; local; thread-safe. docs/cold-start.md,
// "Virtual users".
#ifndef THAW_METRICS_REALISM_H
#define THAW_METRICS_REALISM_H

#include "base/err.h"

#include <stdint.h>

// *auc: how well the rows of `made` are told from those of `real` (row-major, k columns) by a linear
// discriminant of their entries and these squared (ridge regression on which is which, five folds, each
// judged by the others): .5 not at all, 1 always. It sees means and variances, as a random forest mostly
// does, at the price of one (2k + 1)-wide solve a fold. Row i of both is in the same fold. Needs 10 rows
// each. THAW_EMEM, THAW_EDIVERGED: an entry is not finite. After Lopez-Paz & Oquab 2017, "Revisiting
// classifier two-sample tests".
int thaw_two_sample_auc(const float *made, int64_t nmade, const float *real, int64_t nreal, int k,
                        double *auc, struct thaw_err *err);

#endif
