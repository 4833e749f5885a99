// commit.h: the folder a dataset is written to: begun, cleaned, and made whole by its manifest.
#ifndef THAW_COMM_COMMIT_H
#define THAW_COMM_COMMIT_H

#include "comm/stages.h"

// Collective. Make the folder; take away what an unfinished run left there. THAW_EUSAGE when it holds a
// dataset and force is false. *made: the folder is new.
int thaw_prep_out_begin(struct thaw_comm *c, const char *dir, bool force, bool *made, struct thaw_err *err);
// Collective. Take away a dataset's files, finished or not, but nothing else. all: the quarantine too.
int thaw_prep_out_clear(struct thaw_comm *c, const char *dir, bool all, struct thaw_err *err);

// Each number of the ledger, in a fixed order: `each` gets its name and value.
void thaw_prep_each_count(const struct thaw_prep *p,
                          void (*each)(void *user, const char *name, int64_t value), void *user);

// Collective. Write the manifest, which makes the dataset one. run: rank 0's is used; borrowed. *digest: of
// the dataset, on rank 0. THAW_EIO, THAW_EMEM.
int thaw_prep_commit(struct thaw_prep *p, Thaw__Run *run, uint64_t *digest, struct thaw_err *err);

#endif
