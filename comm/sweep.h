// sweep.h: a half-sweep of ALS over ranks x threads, and the gramian of a side.
#ifndef THAW_COMM_SWEEP_H
#define THAW_COMM_SWEEP_H

#include "als/als.h"
#include "comm/half.h"
#include "comm/window.h"
#include "comm/world.h"
#include "partition/plan.h"

// What sweeps did on this rank; added to, never reset.
struct thaw_sweep_stats {
    double solve_s, wait_s; // at work; in communication (waiting included)
    struct thaw_traffic traffic;
};

// Collective. Solve every row of `h` into x (the half's own rows x d; in: warm start). Rows without
// interactions stay as they are. other: this rank's rows of the opposite side, d columns, owned as the half's
// plan says. window: at least the half's window_bytes. row_loss (own rows, or NULL) gets each solved row's
// observed loss. Threads share the rows. first_row: global number of x's first row, for errors.
// THAW_EDIVERGED: "row 12345 of users: its solution is not finite ...", the lowest such row. THAW_EMEM.
int thaw_sweep(struct thaw_comm *c, const struct thaw_als_sweep *s, struct thaw_half *h,
               struct thaw_window *window, const char *side_name, int64_t first_row, const float *other,
               float *x, double *row_loss, struct thaw_sweep_stats *stats, struct thaw_err *err);

// Local. OpenBLAS's OpenMP build takes as many threads as OpenMP has, outside of parallel regions, and its
// results depend on how many: between begin and end OpenMP has one. begin returns what end gives back.
int thaw_blas_alone_begin(void);
void thaw_blas_alone_end(int threads);

// Collective. gramian[k x k] = sum over all rows of the side, the same bits for any ranks and threads
// (base/exact.h). y: this rank's rows. Parts' rows are taken in fixed runs, so neither cuts nor threads
// matter.
int thaw_sweep_gramian(struct thaw_comm *c, const struct thaw_plan *plan, const float *y, int k, int columns,
                       double *gramian, struct thaw_err *err);

#endif
