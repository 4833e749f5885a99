// bootstrap.c: Poisson bootstrap over users.
#include "metrics/bootstrap.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void thaw_bootstrap_add(int64_t *sums, int nreplicates, const int64_t *fixed, int nvalues, uint64_t seed,
                        uint64_t key) {
    struct thaw_rng r = thaw_rng_at(seed, THAW_STREAM_BOOTSTRAP, key);
    for (int b = 0; b < nreplicates; b++, sums += nvalues + 1) {
        int64_t weight = thaw_rng_poisson1(&r);
        if (weight == 0) continue;
        for (int v = 0; v < nvalues; v++) sums[v] += weight * fixed[v];
        sums[nvalues] += weight;
    }
}

double thaw_bootstrap_bound(double largest, int64_t nusers) {
    // Total weight has mean and variance nusers: four times it and then some is never reached.
    return largest * (4.0 * (double)nusers + 256);
}

void thaw_bootstrap_present(uint64_t *present, int nreplicates, uint64_t seed, uint64_t key) {
    struct thaw_rng r = thaw_rng_at(seed, THAW_STREAM_BOOTSTRAP, key);
    memset(present, 0, (size_t)(nreplicates + 63) / 64 * sizeof *present);
    for (int b = 0; b < nreplicates; b++)
        if (thaw_rng_poisson1(&r)) present[b / 64] |= UINT64_C(1) << (b % 64);
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, int n, double q) {
    double at = q * (n - 1);
    int i = (int)at;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

static int drop_nan(double *x, int n) {
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (!isnan(x[i])) x[kept++] = x[i];
    return kept;
}

void thaw_bootstrap_interval(double *replicates, int n, double *low, double *high) {
    n = drop_nan(replicates, n);
    *low = *high = NAN;
    if (n == 0) return;
    qsort(replicates, (size_t)n, sizeof *replicates, compare);
    *low = quantile(replicates, n, 0.025);
    *high = quantile(replicates, n, 0.975);
}

void thaw_bootstrap_interval_about(double value, double *replicates, int n, double *low, double *high) {
    n = drop_nan(replicates, n);
    *low = *high = NAN;
    if (n == 0) return;
    double mean = 0;
    for (int i = 0; i < n; i++) mean += replicates[i];
    mean /= n;
    thaw_bootstrap_interval(replicates, n, low, high);
    *low += value - mean;
    *high += value - mean;
}
