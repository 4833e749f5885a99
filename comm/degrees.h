// degrees.h: quantiles of counts that are spread over ranks, exact, without gathering them.
#ifndef THAW_COMM_DEGREES_H
#define THAW_COMM_DEGREES_H

#include "comm/world.h"
#include "partition/tally.h"

enum { THAW_QUANTILES = 6 };
extern const char *const thaw_quantile_name[THAW_QUANTILES]; // "min", "p10", "median", "p90", "p99", "max"

// Collective. rows: degree (above 0) -> how many of this rank's rows have it. out: the quantiles over all
// rows (nearest rank); zeros when there are none. About 60 allreduces of a few words.
void thaw_degree_quantiles(struct thaw_comm *c, const struct thaw_tally *rows, int64_t out[THAW_QUANTILES]);

#endif
