// associate.h: item-item association by one closed form, on a process grid (comm/grid.h). docs/cold-start.md.
//
//   EASE      P = (X'X + ridge I)^-1, B = -P / diag(P) by columns, zero diagonal. Steck 2019, "Embarrassingly
//             shallow autoencoders for sparse data", WWW.
//   EPISODIC  ridge regression from z = [x of N random items of a user, 1, profile] to the x of the user's
//             other items, all expectations exact; one for each number of known items.
//   KNN       gram / ((p_i p_j)^power + shrink): needs no solve; a baseline.
#ifndef THAW_COMM_ASSOCIATE_H
#define THAW_COMM_ASSOCIATE_H

#include "base/log.h"
#include "comm/histories.h"
#include "comm/world.h"

struct thaw_associate_config {
    Thaw__Association__Method method;
    const int *known;             // nknown numbers, rising (EASE, KNN: one entry, 0)
    const double *regularization; // nknown: ridge on items (EPISODIC, EASE); shrink (KNN)
    const double *power;          // nknown; KNN only
    int nknown;
    double profile_regularization;
    int64_t neighbors;    // the strongest by magnitude kept of each item's row; 0: all
    bool single;          // f32 on the grid, else f64
    bool profile;         // EPISODIC: use the profiles
    int64_t block;        // of the block-cyclic layout; 0: chosen
    int64_t memory;       // bytes of a rank that the matrices may take; 0: what the machine has free
    struct thaw_log *log; // may be NULL
};

// Collective. Fit on the training users of h and write associate.* files into dir (which exists), and
// *manifest (rank 0; owned by the caller: thaw__association__free_unpacked): complete but for run and digest;
// manifest.pb itself is the caller's to write. items: parts and their owners. THAW_EMEM before anything is
// allocated when it cannot fit, saying with how many ranks of how much memory it would. THAW_EDIVERGED: not
// positive definite, with the number to raise. THAW_EIO. THAW_ESTOPPED. *residual: the largest relative
// residual of a sample of the solution's columns, computed in double from the histories; negative: nothing
// was solved (KNN).
//
// Memory of a rank: 8 (EPISODIC) or 4 (others) bytes x items^2 / ranks in single precision, twice that in
// double, for as many numbers of known items at a time as fit (at most 4); and an eighth of it besides. Cost:
// EPISODIC 7/3 items^3 flops for each number above 1, EASE items^3; and one addition for each pair of items
// of a user.
int thaw_associate_fit(struct thaw_comm *c, const struct thaw_associate_config *config,
                       const struct thaw_histories *h, const struct thaw_plan *items, const char *dir,
                       Thaw__Association **manifest, double *residual, struct thaw_err *err);

#endif
