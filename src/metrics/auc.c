// auc.c: the area under the ROC curve, by ranks.
#include "metrics/auc.h"

#include "base/mem.h"

#include <stdlib.h>

struct scored {
    double score;
    int high;
};

static int by_score(const void *a, const void *b) {
    const double x = ((const struct scored *)a)->score, y = ((const struct scored *)b)->score;
    return (x > y) - (x < y);
}

int thaw_auc(const double *high, int64_t nhigh, const double *low, int64_t nlow, double *auc,
             struct thaw_err *err) {
    struct scored *all;
    const int64_t n = nhigh + nlow;
    *auc = .5;
    if (nhigh == 0 || nlow == 0) return THAW_OK;
    int code = thaw_alloc(&all, (size_t)n, sizeof *all, "scores", err);
    if (code) return code;
    for (int64_t i = 0; i < nhigh; i++) all[i] = (struct scored){high[i], 1};
    for (int64_t i = 0; i < nlow; i++) all[nhigh + i] = (struct scored){low[i], 0};
    qsort(all, (size_t)n, sizeof *all, by_score);
    double below = 0, pairs = 0; // members of low seen so far; pairs in the right order
    for (int64_t i = 0, end; i < n; i = end) {
        int64_t highs = 0;
        for (end = i; end < n && all[end].score == all[i].score; end++) highs += all[end].high;
        const double lows = (double)(end - i - highs);
        pairs += (double)highs * (below + lows / 2);
        below += lows;
    }
    *auc = pairs / ((double)nhigh * (double)nlow);
    free(all);
    return THAW_OK;
}
