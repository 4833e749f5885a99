// commit.h: the folder a dataset is written to: begun, cleaned, and made whole by its manifest.
#ifndef THAW_COMM_COMMIT_H
#define THAW_COMM_COMMIT_H

#include "comm/stages.h"

// Local: does the folder hold a dataset?
bool thaw_prep_out_whole(const char *dir);
// Collective. Make the folder; take away what an unfinished run left there. A dataset that it holds stays
// until another one is whole. *made: the folder is new. THAW_EIO.
int thaw_prep_out_begin(struct thaw_comm *c, const char *dir, bool *made, struct thaw_err *err);
// Collective. Make p->unfinished, where the dataset is written. THAW_EIO.
int thaw_prep_work_begin(struct thaw_prep *p, struct thaw_err *err);
// Local, of use on rank 0: take p->unfinished away, with what is in it; fine when there is none.
void thaw_prep_work_discard(struct thaw_prep *p);

// Each number of the ledger, in a fixed order: `each` gets its name and value.
void thaw_prep_each_count(const struct thaw_prep *p,
                          void (*each)(void *user, const char *name, int64_t value), void *user);

// Collective. Write the manifest and move all from p->unfinished into the folder, in place of an older
// dataset. run: rank 0's is used; borrowed. *digest: of the dataset, on rank 0. THAW_EIO, THAW_EMEM.
int thaw_prep_commit(struct thaw_prep *p, Thaw__Run *run, uint64_t *digest, struct thaw_err *err);

#endif
