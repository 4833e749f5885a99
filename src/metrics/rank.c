// rank.c: ranking metrics of one user.
#include "metrics/rank.h"

#include <math.h>

void thaw_rank_metrics(const bool *hit, int n, int cutoff, int64_t relevant, struct thaw_rank_metrics *m) {
    *m = (struct thaw_rank_metrics){0};
    if (relevant <= 0 || cutoff <= 0) return;
    int possible = relevant < cutoff ? (int)relevant : cutoff;
    int seen = n < cutoff ? n : cutoff;
    int hits = 0;
    double gain = 0, ideal = 0, precision = 0;
    for (int i = 0; i < possible; i++) ideal += 1 / log2(i + 2);
    for (int i = 0; i < seen; i++) {
        if (!hit[i]) continue;
        hits++;
        gain += 1 / log2(i + 2);
        precision += (double)hits / (i + 1);
    }
    m->recall = (double)hits / possible;
    m->ndcg = gain / ideal;
    m->hr = hits > 0;
    m->map = precision / possible;
}

double thaw_rank_novelty(int64_t degree, int64_t users) {
    if (users <= 0) return 0;
    return -log2((double)(degree > 0 ? degree : 1) / (double)users);
}
