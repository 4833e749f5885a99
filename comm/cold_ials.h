// cold_ials.h: iALS trained and folded in with any numbers: the baseline that models for cold users are
// compared with. docs/cold-start.md.
#ifndef THAW_COMM_COLD_IALS_H
#define THAW_COMM_COLD_IALS_H

#include "comm/fit.h"
#include "comm/heldout.h"

enum { THAW_IALS_SWEEPS = 8 };

struct thaw_ials {
    struct thaw_comm *c;
    const struct thaw_dataset *dataset; // borrowed
    Thaw__Als als;                      // who is held out and what counts; lists borrowed
    int64_t exchange_bytes;
    // What was trained last; factors 0: nothing.
    int factors;
    double unobserved, regularization;
    bool loaded;
    struct thaw_interactions in;
    struct thaw_fit *fit;
};
// Local. als: of the model that is measured; its weighting becomes Rendle et al.'s with exponent 1.
void thaw_ials_begin(struct thaw_ials *t, struct thaw_comm *c, const struct thaw_dataset *d,
                     const Thaw__Als *als, int64_t exchange_bytes);
// Collective. Train by exact solves, THAW_IALS_SWEEPS iterations; nothing to do when these numbers were the
// last. THAW_EMEM, THAW_EDIVERGED and what loading fails with.
int thaw_ials_train(struct thaw_ials *t, int factors, double unobserved, double regularization,
                    struct thaw_err *err);
// Local. The trained items, to fold in with other weights. Borrows from t until the next training.
struct thaw_heldout_model thaw_ials_model(const struct thaw_ials *t, double unobserved,
                                          double regularization);
void thaw_ials_clear(struct thaw_ials *t); // collective

#endif
