// zipf.h: draws from P(rank = r) ~ (r + 1)^-s, r in [0, n), by rejection-inversion (Hoermann & Derflinger
// 1996). Local; thread-safe (read-only after init). O(1) time and memory.
#ifndef THAW_SYNTH_ZIPF_H
#define THAW_SYNTH_ZIPF_H

#include "base/rng.h"

struct thaw_zipf {
    int64_t n;
    double s;
    double low, high; // the hat's integral from where rank 0 is sure to n + 1/2
    double sure;      // a draw this close below its integer is accepted without evaluating the hat
};

struct thaw_zipf thaw_zipf_make(int64_t n, double s); // n >= 1, s >= 0
int64_t thaw_zipf_draw(const struct thaw_zipf *z, struct thaw_rng *rng);

#endif
