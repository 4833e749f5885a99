// attempts.h: no crash loop. A run that goes on from a checkpoint counts itself in FOLDER/attempts.pb before
// it begins; a newer checkpoint, a proper end and a stop on request take the count back. Private to the jobs
// that resume (train, augment). Local; rank 0 calls it.
#ifndef THAW_JOBS_ATTEMPTS_H
#define THAW_JOBS_ATTEMPTS_H

#include "base/err.h"

enum { THAW_ATTEMPTS_MAX = 3 };

// About to go on from `checkpoint`, a folder in `folder`. The count is on disk when this returns. THAW_EDATA
// when THAW_ATTEMPTS_MAX runs from it have failed: "model: 3 runs that went on from iteration-000010 have
// failed: see their logs; --force starts anew, and removing model/attempts.pb allows 3 more". THAW_EIO,
// THAW_EMEM. A damaged count counts as none.
int thaw_attempts_begin(const char *folder, const char *checkpoint, struct thaw_err *err);
// The run got further, ended, or was stopped on request. Fine when nothing was counted.
int thaw_attempts_clear(const char *folder, struct thaw_err *err);

#endif
