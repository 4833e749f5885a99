// hold.h: a job that writes a folder holds it, so that no other job writes there at the same time
// (base/lock.h).
#ifndef THAW_JOBS_HOLD_H
#define THAW_JOBS_HOLD_H

#include "base/lock.h"
#include "jobs/job.h"

// Collective. Before anything in `folder` is touched; rank 0 holds it for all (*lock is NULL elsewhere). job:
// "train". Where there are no locks a warning says so. THAW_EUSAGE: another job holds it, or has its results
// there. THAW_EIO.
int thaw_hold(struct thaw_lock **lock, const struct thaw_job_ctx *ctx, const char *job, const char *folder,
              struct thaw_err *err);
// Local: hold it, whatever lies there.
int thaw_hold_alone(struct thaw_lock **lock, const struct thaw_job_ctx *ctx, const char *job,
                    const char *folder, struct thaw_err *err);
// Local. When nothing more is written there, also after a failure. NULL is fine.
void thaw_hold_end(struct thaw_lock **lock);

#endif
