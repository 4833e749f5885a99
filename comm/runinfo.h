// runinfo.h: the Run record every manifest carries, filled from the ranks.
#ifndef THAW_COMM_RUNINFO_H
#define THAW_COMM_RUNINFO_H

#include "base/opt.h"
#include "comm/world.h"
#include "proto/thaw.pb-c.h"

// Collective. A Run with version, git, argv, resolved options, ranks x threads, hosts, libraries, start time
// and the environment's allowed part. Owned: free with thaw__run__free_unpacked(run, NULL). Inputs and
// seconds are the caller's to add.
int thaw_run_info_new(Thaw__Run **run, struct thaw_comm *c, const struct thaw_cmd *cmd, const void *options,
                      int argc, char **argv, const char *blas, struct thaw_err *err);
// Local. Append a line to the recipe: what decides the result (jobs/recipe.h). THAW_EMEM.
int thaw_run_info_recipe(Thaw__Run *run, const char *name, const char *value, struct thaw_err *err);
// Local. Append an input (grows the message).
int thaw_run_info_input(Thaw__Run *run, const char *path, int64_t nbytes, uint64_t digest,
                        struct thaw_err *err);

#endif
