// best.h: with --patience, the factors of the iteration that ranked best so far are kept aside and are what
// is published in the end. Private to `thaw train`.
//
// In the folder, a checkpoint of a later iteration has the best one's version beside it, so a run that goes
// on keeps what an uninterrupted one would have kept.
#ifndef THAW_JOBS_BEST_H
#define THAW_JOBS_BEST_H

#include "jobs/training.h"

// Local. Of the record: the first iteration with the highest quality, 0 when none was measured.
int thaw_best_of(const struct thaw_training *t);

// Collective. After the factors training goes on from are in place. Without the best one's version (quality
// was measured, but --patience is new, or it is damaged) the record goes on counting, and this is said.
// THAW_EMEM.
int thaw_best_begin(struct thaw_training *t, struct thaw_err *err);
void thaw_best_clear(struct thaw_training *t);
// Local. After an iteration is in the record: its factors are kept when it is the best.
void thaw_best_note(struct thaw_training *t);
// Collective. The factors of training become the best one's. THAW_EMEM.
int thaw_best_restore(struct thaw_training *t, struct thaw_err *err);

#endif
