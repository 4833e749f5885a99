// spread.h: how a number differs between ranks.
#ifndef THAW_COMM_SPREAD_H
#define THAW_COMM_SPREAD_H

#include "comm/world.h"

struct thaw_spread {
    double min, mean, max;
};
// Collective; one allreduce. What every rank's x[i] spread to, the same on all ranks: out[n]. Numbers, not
// NaN. THAW_EMEM.
int thaw_spread(struct thaw_comm *c, const double *x, int64_t n, struct thaw_spread *out,
                struct thaw_err *err);
// max / mean; 1 where there is nothing.
static inline double thaw_spread_imbalance(const struct thaw_spread *s) {
    return s->mean > 0 ? s->max / s->mean : 1;
}

#endif
