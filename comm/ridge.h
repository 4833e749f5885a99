// ridge.h: the normal equations of a ridge regression from sparse features to factors; private to
// comm/prior_fit.c.
#ifndef THAW_COMM_RIDGE_H
#define THAW_COMM_RIDGE_H

#include "comm/histories.h"
#include "comm/world.h"

#include <inttypes.h>

// What is said of equations that are not positive definite; its argument: the number of features.
#define THAW_RIDGE_SINGULAR "the regression on %" PRId64 " features is not positive definite: raise its ridge"

struct thaw_ridge {
    struct thaw_comm *c;
    const struct thaw_features *f;
    const uint8_t *use; // of each row
    const float *u;     // rows x columns
    int k, columns;
    double ridge;
    int64_t unknowns; // 1 + features
    // Over all ranks:
    int64_t rows;      // used
    double zmax, umax; // largest magnitudes; zmax >= 1
};

// Local. Row r's z: column 0 is the constant, column 1 + j feature j. Entry `at` of the row: -1 is the
// constant.
static inline int64_t thaw_ridge_entries(const struct thaw_ridge *r, int64_t row) {
    return r->f->columns ? r->f->ptr[row + 1] - r->f->ptr[row] : 0;
}
static inline int64_t thaw_ridge_column(const struct thaw_ridge *r, int64_t row, int64_t at) {
    return at < 0 ? 0 : 1 + (int64_t)r->f->column[r->f->ptr[row] + at];
}
static inline double thaw_ridge_value(const struct thaw_ridge *r, int64_t row, int64_t at) {
    return at < 0 ? 1 : r->f->value[r->f->ptr[row] + at];
}

// Collective. right[unknowns x k] = Z'U, exactly, the same on every rank. THAW_EMEM.
int thaw_ridge_right(const struct thaw_ridge *r, double *right, struct thaw_err *err);
// Collective. w[unknowns x k] in: Z'U; out: (Z'Z + ridge I)^-1 Z'U, on every rank. By LAPACK on rank 0, and
// on a process grid. THAW_EMEM, THAW_EDIVERGED.
int thaw_ridge_dense(const struct thaw_ridge *r, double *w, struct thaw_err *err);
int thaw_ridge_grid(const struct thaw_ridge *r, double *w, struct thaw_err *err);
// Local. a (n x n, column-major) positive definite: b (n x columns) becomes a^-1 b; `a` is overwritten. One
// BLAS thread. false: not positive definite.
bool thaw_ridge_solve(double *a, double *b, int n, int columns);

#endif
