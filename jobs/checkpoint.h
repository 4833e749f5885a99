// checkpoint.h: how `thaw train` saves. A checkpoint is a copy of the factors, taken between two iterations,
// that a thread writes while the next ones compute (comm/model.h); it is published between two later
// iterations, once all ranks have written. At most one is in flight. The last save of a run is waited for.
// Private to `thaw train`.
#ifndef THAW_JOBS_CHECKPOINT_H
#define THAW_JOBS_CHECKPOINT_H

#include "jobs/training.h"

// Collective. Save the factors as they are, in the background; while another is in flight, nothing. Where the
// copy finds no memory it is done before this returns. THAW_EIO, THAW_EMEM.
int thaw_checkpoint_begin(struct thaw_training *t, struct thaw_err *err);

// Local. Is one in flight, and is this rank still writing it? (With THAW_CHECKPOINT_WAIT=1 in the environment
// never: it is waited for when the iteration after it ends, so that tests know what is on disk.)
bool thaw_checkpoint_in_flight(const struct thaw_training *t);
bool thaw_checkpoint_writing(const struct thaw_training *t);

// Collective. Wait for the one in flight and publish it. Fine when there is none. THAW_EIO, THAW_EMEM.
int thaw_checkpoint_end(struct thaw_training *t, struct thaw_err *err);

// Collective. Save the factors and wait for it, and for the one in flight. finished: why training is over;
// NULL: it is not. THAW_EIO, THAW_EMEM.
int thaw_checkpoint_now(struct thaw_training *t, const char *finished, struct thaw_err *err);

#endif
