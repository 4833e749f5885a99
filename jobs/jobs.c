// jobs.c: the list of jobs. Adding one is its file and a line here.
#include "jobs/job.h"

#include <string.h>

const struct thaw_job *const thaw_jobs[] = {
    &thaw_job_synth,
    &thaw_job_prepare,
    &thaw_job_train,
    &thaw_job_prior,
    &thaw_job_associate,
    &thaw_job_augment,
    &thaw_job_score_users,
    &thaw_job_evaluate,
    &thaw_job_tables,
    &thaw_job_run,
    &thaw_job_describe,
    &thaw_job_bench,
    NULL,
};

const struct thaw_job_common *thaw_job_common_of(const struct thaw_cmd *cmd, const void *options) {
    for (int i = 0; i < cmd->nopts; i++)
        if (strcmp(cmd->opts[i].name, "threads") == 0 && cmd->opts[i].kind == THAW_OPT_INT)
            return (const void *)((const char *)options + cmd->opts[i].offset -
                                  offsetof(struct thaw_job_common, threads));
    return NULL;
}
