// recipe.h: what decides the result of a job: the values of its options, but for those that only say how it
// is made (threads, memory, where to), and what lies where its options point. It is recorded in the manifest
// of what the job makes (Run.recipe), so that a rerun knows its own finished work, and is the key by which
// `thaw run` tells what is up to date. Rank 0 works; the others wait where it says Collective.
#ifndef THAW_JOBS_RECIPE_H
#define THAW_JOBS_RECIPE_H

#include "jobs/job.h"
#include "proto/thaw.pb-c.h"

// Collective. thaw_run_info_new with the recipe in it, on rank 0: for manifests. To be called before the
// inputs are read, so that one that changes meanwhile does not go unnoticed. Where one cannot be read there
// is no recipe: the job is about to say so itself. THAW_EMEM.
int thaw_recipe_run_new(Thaw__Run **run, const struct thaw_job_ctx *ctx, const struct thaw_cmd *cmd,
                        const void *options, const char *blas, struct thaw_err *err);

// Local. Digest of a recipe, the job's name included.
int thaw_recipe_key(const struct thaw_cmd *cmd, const void *options, uint64_t *key, struct thaw_err *err);
// Local. Is what lies in OUT whole, and made by this recipe?
bool thaw_recipe_made(const struct thaw_cmd *cmd, const void *options, const char *out);

// Local, on rank 0. OUT holds `what`, "a prior", that may not be replaced: made by the recipe of `run`, and
// whole? Then THAW_OK: there is nothing to do. Else THAW_EUSAGE with what differs, where the manifest tells.
int thaw_recipe_check(const Thaw__Run *run, const char *job, const char *out, const char *what,
                      struct thaw_err *err);
// Local. The line for people when there was nothing to do.
void thaw_recipe_say_made(const struct thaw_job_ctx *ctx, const char *out);

#endif
