// bootstrap.h: Poisson bootstrap over users: how sure a mean over users is. No MPI; local; thread-safe.
//
// Replicate b weights user u by a Poisson(1) draw that depends on (seed, u's key, b) alone, so that ranks
// need neither a common order nor the number of users (Hanley & MacGibbon 2006, "Creating non-parametric
// bootstrap samples using Poisson frequencies", Comput. Methods Programs Biomed.; Chamandy et al. 2012,
// "Estimating uncertainty for massive data streams"). Values are integers of an agreed scale, so sums are
// exact whatever the order, the threads and the ranks.
#ifndef THAW_METRICS_BOOTSTRAP_H
#define THAW_METRICS_BOOTSTRAP_H

#include <stdint.h>

// sums: nreplicates x (nvalues + 1), added to: per replicate the weighted sum of each value, then the sum of
// weights. fixed: the user's nvalues values. The caller sees to it that sums fit (thaw_bootstrap_bound).
// Cost: nreplicates x nvalues.
void thaw_bootstrap_add(int64_t *sums, int nreplicates, const int64_t *fixed, int nvalues, uint64_t seed,
                        uint64_t key);

// A bound of |any replicate's sum| when nusers values have absolute value <= largest: scales are chosen from
// it.
double thaw_bootstrap_bound(double largest, int64_t nusers);

// Bit b of present (ceil(nreplicates / 64) words, set by this) says whether replicate b has the user at all.
void thaw_bootstrap_present(uint64_t *present, int nreplicates, uint64_t seed, uint64_t key);

// The 2.5 % and 97.5 % quantiles (linear between order statistics) of n > 0 replicates; sorts them. NaN is
// left out; with nothing left both are NaN.
void thaw_bootstrap_interval(double *replicates, int n, double *low, double *high);

// The same shifted so that the replicates' mean lies on `value`: for statistics such as coverage, which
// resampled users, being fewer different ones, always get less of.
void thaw_bootstrap_interval_about(double value, double *replicates, int n, double *low, double *high);

#endif
