// choose.c: `--solver auto`.
//
// Both solvers' time per row, fitted to measurements of one core with AVX-512 (docs/benchmarks.md). Only
// their ratio counts, which other CPUs change less than the times. The exact solver may take a little longer:
// its rows need no further steps.
#include "als/als.h"

#include <stdio.h>

static const double WORTH = 1.25;

// Nanoseconds of a row of n interactions.
static double cg_ns(const struct thaw_als_config *c, double n) {
    return 450 + n * (1 + (c->cg_steps + 1) * (1.8 + 0.055 * thaw_als_width(c)));
}
static double exact_ns(const struct thaw_als_config *c, double n) {
    const double k = thaw_als_columns(c), blocks = n < 16 ? 16 : n;
    const double primal = 300 + k * (25 + 0.4 * k) + n * (12 + 0.012 * k * k);
    const double dual =
        300 + blocks * (25 + 0.4 * blocks) + n * (10 + 0.25 * k) + 0.012 * k * blocks * blocks;
    return n < 0.75 * k && dual < primal ? dual : primal;
}

enum thaw_als_solver thaw_als_choose(const struct thaw_als_config *c, double mean_degree, char *why,
                                     size_t nwhy) {
    const double n = mean_degree > 1 ? mean_degree : 1, ratio = exact_ns(c, n) / cg_ns(c, n);
    snprintf(
        why, nwhy,
        "with %d factors a row of %.0f interactions takes the exact solver %.2g times as long as %d CG steps",
        c->k, n, ratio, c->cg_steps);
    return ratio <= WORTH ? THAW_ALS_CHOLESKY : THAW_ALS_CG;
}
