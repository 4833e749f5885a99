// grid_measure.h: how fast the process grid computes, with every result checked. For `thaw bench linalg`.
#ifndef THAW_COMM_GRID_MEASURE_H
#define THAW_COMM_GRID_MEASURE_H

#include "comm/world.h"

#include <stdbool.h>
#include <stdint.h>

enum { THAW_GRID_MEASURES = 5 };
extern const char
    *const thaw_grid_measures[THAW_GRID_MEASURES]; // "inverse", "solve", "gemm", "potrf", "potri"

struct thaw_grid_measured {
    const char *what;    // its name; NULL: not measured
    int nrow, ncol, nb;  // the grid and its blocks
    double seconds;      // the median of the repetitions, each from a barrier to the last rank's end
    double flops;        // by the usual count: n^3 the inverse, 7/3 n^3 the solve of n columns, 2, 1/3, 2/3
    double error, bound; // relative residual in double against a random vector, and what rounding explains
    int64_t nbytes;      // of a rank's matrix (the largest)
    int64_t grown;       // "inverse": what a rank's memory grew by, at most; elsewhere 0
};

// Collective. The operations of `mask` (bit i: the i-th) on random n x n matrices (inverse and solve: this
// library's sweep; the others ScaLAPACK's; one rank: LAPACK's), nb 0: the block size that is chosen. *peak:
// flops per second of local gemm, all ranks at it at once, summed. THAW_EMEM, THAW_EDIVERGED.
int thaw_grid_measure(struct thaw_comm *c, int64_t n, int nb, bool single, int repetitions, unsigned mask,
                      struct thaw_grid_measured out[THAW_GRID_MEASURES], double *peak, struct thaw_err *err);

#endif
