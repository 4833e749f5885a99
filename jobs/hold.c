// hold.c: see hold.h.
#include "jobs/hold.h"

#include "jobs/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void describe(char text[256], const struct thaw_job_ctx *ctx, const char *job) {
    const char *slurm = getenv("SLURM_JOB_ID");
    const time_t now = time(NULL);
    struct tm utc;
    char since[32] = "";
    gmtime_r(&now, &utc);
    strftime(since, sizeof since, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(text, 256, "thaw %s, process %d on %s%s%.32s, since %s", job, (int)getpid(),
             thaw_comm_host(ctx->comm), slurm ? ", Slurm job " : "", slurm ? slurm : "", since);
}

int thaw_hold_alone(struct thaw_lock **lock, const struct thaw_job_ctx *ctx, const char *job,
                    const char *folder, struct thaw_err *err) {
    char who[256];
    bool unlocked = false;
    describe(who, ctx, job);
    const int code = thaw_lock_take(lock, folder, who, &unlocked, err);
    if (unlocked)
        thaw_log_warn(ctx->log, "%s cannot be locked: see to it that no other job writes there", folder);
    return code;
}

// What another job wrote is not to be replaced, nor mixed with.
static int check_owner(const char *job, const char *folder, struct thaw_err *err) {
    const char *owner = thaw_folder_job(folder);
    if (!owner || strcmp(owner, job) == 0) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "%s holds what 'thaw %s' wrote: name another folder", folder, owner);
}

int thaw_hold(struct thaw_lock **lock, const struct thaw_job_ctx *ctx, const char *job, const char *folder,
              struct thaw_err *err) {
    const bool first = thaw_comm_rank(ctx->comm) == 0;
    *lock = NULL;
    int code = first ? thaw_hold_alone(lock, ctx, job, folder, err) : THAW_OK;
    if (!code && first) code = check_owner(job, folder, err);
    return thaw_comm_agree(ctx->comm, code, err);
}

void thaw_hold_end(struct thaw_lock **lock) {
    thaw_lock_release(lock);
}
