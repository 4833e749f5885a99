// sweep.h: a half-sweep of ALS over ranks x threads: pull the opposite rows a block needs, solve its rows, go
// on.
//
// A rank's interactions of one side are kept in blocks of consecutive rows. A block needs at most max_rows
// distinct opposite rows; its interactions refer to them by 32-bit place in the block's sorted list. A row
// with more interactions than that is a block of its own kind, solved piece by piece. So no rank ever holds a
// whole opposite table, however long its rows are.
#ifndef THAW_COMM_SWEEP_H
#define THAW_COMM_SWEEP_H

#include "als/als.h"
#include "comm/world.h"
#include "partition/plan.h"

// ---- Blocks: local ----
struct thaw_blocks;
// max_rows: most opposite rows at hand at a time (rounded up to a multiple of THAW_ALS_PANEL, at least one).
int thaw_blocks_new(struct thaw_blocks **b, int64_t max_rows, struct thaw_err *err);
// Append the next row of this rank: n interactions with global opposite rows (rising) and values. n = 0 is a
// row too.
int thaw_blocks_add(struct thaw_blocks *b, const int64_t *index, const float *r, int64_t n,
                    struct thaw_err *err);
// Optional, at first: make room for so many rows and interactions at once.
int thaw_blocks_reserve(struct thaw_blocks *b, int64_t nrows, int64_t nnz, struct thaw_err *err);
int thaw_blocks_finish(struct thaw_blocks *b, struct thaw_err *err); // after the last row
int64_t thaw_blocks_rows(const struct thaw_blocks *b);
int64_t thaw_blocks_nnz(const struct thaw_blocks *b);
int64_t thaw_blocks_nbytes(const struct thaw_blocks *b); // memory held
void thaw_blocks_free(struct thaw_blocks **b);

// What a sweep did on this rank; added to, never reset.
struct thaw_sweep_stats {
    double solve_s, wait_s; // in solves; in communication (waiting included)
    int64_t received_bytes; // rows from other ranks
    int64_t rounds;
};

// Collective. Solve every row of `b` into x (rows x d, in: warm start). other: this rank's rows of the
// opposite side, d columns, owned as other_plan says. budget_bytes bounds the exchange buffers. row_loss
// (rows, or NULL) gets each row's observed loss, a further pull for rows that were solved piece by piece.
// Threads share the rows of a block; a single rank reads `other` in place. THAW_EDIVERGED: "row 12345 of
// users: its solution is not finite ...", the lowest such row. THAW_EMEM.
int thaw_sweep(struct thaw_comm *c, const struct thaw_als_sweep *s, const struct thaw_blocks *b,
               const char *side_name, int64_t first_row, const struct thaw_plan *other_plan,
               const float *other, int64_t budget_bytes, float *x, double *row_loss,
               struct thaw_sweep_stats *stats, struct thaw_err *err);

// Collective. gramian[k x k] = sum over all rows of the side, the same bits for any ranks and threads
// (base/exact.h). y: this rank's rows. Parts' rows are taken in fixed runs, so neither cuts nor threads
// matter.
int thaw_sweep_gramian(struct thaw_comm *c, const struct thaw_plan *plan, const float *y, int k, int columns,
                       double *gramian, struct thaw_err *err);

#endif
