// associate_impl.h: what the files of comm/associate*.c share. Private to them.
//
// Unknowns of a system: the items, by global row; then, from first_feature on (the next multiple of the block
// size, so that it begins a block), z = [1, features]. What lies between is padding: 1 on the diagonal.
#ifndef THAW_COMM_ASSOCIATE_IMPL_H
#define THAW_COMM_ASSOCIATE_IMPL_H

#include "comm/associate.h"
#include "comm/grid.h"

// Systems assembled in one pass over the histories.
enum { THAW_ASSOCIATE_BATCH = 4 };

struct thaw_associate {
    struct thaw_comm *c;
    const struct thaw_associate_config *config;
    const struct thaw_histories *h;
    const struct thaw_plan *items;
    const char *dir;
    struct thaw_grid *grid;
    int block;
    int64_t nitems, first_feature, unknowns;
    int32_t features; // profile columns
    bool episodic;
    int64_t store;           // bytes of histories a rank holds while it assembles
    double residual;         // largest relative one of those measured; negative: none was
    Thaw__Association *list; // this rank's files
    size_t files_cap;
};

// One number of known items. a: the normal matrix, its lower triangle (EASE, KNN: the gramian), at last the
// answer where there is no y. y (EPISODIC): unknowns x items, the targets, then the solution [B; C].
struct thaw_associate_system {
    int known;
    double ridge, power;
    struct thaw_gridmat a, y;
};

// What a user of `length` items weighs in a system with `known` of them known.
struct thaw_associate_weights {
    double pair, diagonal; // item x item of a: off the diagonal, on it
    double profile;        // profile x item of a
    double target;         // item x item of y, zero on the diagonal
    double rest;           // profile x item of y
};
struct thaw_associate_weights thaw_associate_weigh(bool episodic, int known, int64_t length);

// associate_fits.c. Collective. Systems that fit at a time, at most `want`; a->store. THAW_EMEM, THAW_EDATA.
int thaw_associate_fits(struct thaw_associate *a, int want, int *batch, struct thaw_err *err);
// associate_pairs.c. Collective. Adds all training users to the zeroed matrices of n systems: lower
// triangles, and all of y's profile rows.
int thaw_associate_pairs(struct thaw_associate *a, struct thaw_associate_system *s, int n,
                         struct thaw_err *err);
// associate_solve.c. Collective. From what pairs left to the answer; *residual: of what was solved, in double
// from the histories themselves, or negative.
int thaw_associate_solve(struct thaw_associate *a, struct thaw_associate_system *s, double *residual,
                         struct thaw_err *err);
// associate_check.c. Collective. The largest relative residual of a few columns of the solution x: of y's, or
// with inverse of the unit matrix's.
int thaw_associate_residual(const struct thaw_associate *a, const struct thaw_associate_system *s,
                            const struct thaw_gridmat *x, bool inverse, double *residual,
                            struct thaw_err *err);
// associate_write.c. Collective. The part files of a solved system; their entries join a->list.
int thaw_associate_write(struct thaw_associate *a, const struct thaw_associate_system *s,
                         struct thaw_err *err);

// Entries of a sparse row.
struct thaw_associate_entry {
    uint32_t col;
    float value;
};
// Local; thread-safe. Keep the `most` strongest by magnitude of n entries with rising columns, in their
// order; the smaller column among equals; zeros never. magnitude: n words of scratch. Returns how many.
int64_t thaw_associate_strongest(struct thaw_associate_entry *e, int64_t n, int64_t most, float *magnitude);

#endif
