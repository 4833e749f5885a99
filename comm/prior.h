// prior.h: from attributes to factors by ridge regression, and what is left over: the prior of users (and
// items) nobody knows yet. docs/cold-start.md, "P".
#ifndef THAW_COMM_PRIOR_H
#define THAW_COMM_PRIOR_H

#include "comm/histories.h"
#include "comm/world.h"

// Collective. rows[this rank's users x columns]: every user's factors solved exactly against the item factors
// of the model (training users from their training interactions; held-out users from all of theirs). The
// model's own rows are older than its items by half a sweep. plan: of users and items; item_rows: this rank's
// items x columns. A signal ends it within a group of rows: THAW_ESTOPPED. THAW_EMEM, THAW_EDATA,
// THAW_ENOINPUT, THAW_EDIVERGED.
int thaw_users_solve(struct thaw_comm *c, const struct thaw_dataset *d, const Thaw__Als *als,
                     const struct thaw_plan plan[2], const float *item_rows, float *rows,
                     int64_t exchange_bytes, struct thaw_err *err);

// One side's regression. z = [1, features]; the constant is penalised like any other column.
struct thaw_prior_side {
    int32_t features;
    int k;
    int64_t rows;       // that took part
    bool grid;          // solved on a process grid
    double explained;   // share of the factors' variance that the regression takes up
    float *weights;     // (1 + features) x k, on every rank
    double *precision;  // k x k: inverse of covariance, on rank 0
    double *covariance; // k x k of the residuals + 1e-5 mean square of the factors on the diagonal, on rank 0
};
// Collective. W = (Z'Z + ridge I)^-1 Z'U over the rows with use[r] != 0; u: f->nrows x columns, the first k
// of them taken; plan: of these rows. Sums are exact (base/exact.h): the same bits for any ranks and threads.
// Up to THAW_RIDGE_DENSE features LAPACK solves on rank 0; above, a process grid (comm/grid.h), whose results
// agree between numbers of ranks to rounding. THAW_EDATA: fewer than two rows. THAW_EMEM, before anything
// large is allocated where the grid's matrices cannot fit. THAW_EDIVERGED: not positive definite, factors not
// finite. Memory of a rank: 16 (1 + features) k bytes, and 12 k a row.
enum {
    THAW_RIDGE_DENSE = 2000
}; // the environment's THAW_RIDGE_DENSE replaces it, so that tests use the grid
int thaw_prior_fit(struct thaw_comm *c, const struct thaw_plan *plan, const struct thaw_features *f,
                   const uint8_t *use, const float *u, int k, int columns, double ridge,
                   struct thaw_prior_side *out, struct thaw_err *err);
void thaw_prior_side_clear(struct thaw_prior_side *s);

#endif
