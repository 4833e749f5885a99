// outdir.h: the folder a job writes as a whole: made beside its place, then renamed. A folder with
// manifest.pb is whole; nothing else is ever taken for one. Collective; rank 0 does the work.
#ifndef THAW_JOBS_OUTDIR_H
#define THAW_JOBS_OUTDIR_H

#include "base/file.h"
#include "jobs/hold.h"
#include "proto/thaw.pb-c.h"

struct thaw_outdir {
    char path[THAW_PATH_MAX]; // OUT
    char work[THAW_PATH_MAX]; // OUT.tmp: write here; "": nothing is to be written
    bool finished;            // OUT is what this run would make: there is nothing to do
    struct thaw_lock *lock;   // of OUT, until discard
};
// Hold OUT for the job `job`, "prior". May it be written? Then an empty OUT.tmp is made; what an interrupted
// run left is removed. Where OUT is finished already, by the recipe of `run` (rank 0's; jobs/recipe.h), and
// force is false, it says so, and o->finished is true on all ranks. THAW_EUSAGE: another job holds OUT; it
// holds something else already and force is false, or holds what no job of Thaw wrote. what: "a prior", for
// messages.
int thaw_outdir_begin(struct thaw_outdir *o, const struct thaw_job_ctx *ctx, const char *job, const char *out,
                      const char *what, bool force, const Thaw__Run *run, struct thaw_err *err);
// Every rank has written its files and rank 0 the manifest: OUT.tmp becomes OUT, in place of an older one.
int thaw_outdir_commit(struct thaw_outdir *o, struct thaw_comm *c, struct thaw_err *err);
// The end, well or not: OUT is held no longer. After a failure OUT.tmp goes, OUT is as it was. Fine after a
// begin that failed.
void thaw_outdir_discard(struct thaw_outdir *o, struct thaw_comm *c);

#endif
