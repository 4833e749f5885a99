// tables_fill.h: vectors of items that training knew nothing of, from their attributes.
#ifndef THAW_JOBS_TABLES_FILL_H
#define THAW_JOBS_TABLES_FILL_H

#include "comm/world.h"
#include "partition/plan.h"
#include "partition/shard.h"
#include "proto/thaw.pb-c.h"

// Over all ranks: items without training interactions that got a vector, and those that did not because the
// prior was fitted with vectors beside the attributes, which its folder does not hold.
struct thaw_tables_filled {
    int64_t items, lacking;
};
// Collective. An item without training interactions, real or virtual, has factors of zero, and no other has:
// such a row becomes [1, its features] W, W the item weights of `prior`, read from dir. Nothing is done
// without W. rows: this rank's items by `plan` x k, the model being implicit (no biases). A row is a sum in
// the order of its features: the same bits on any rank. Each part is read once more, where it has such rows;
// memory: one part, and W mapped. THAW_ENOINPUT, THAW_EDATA.
int thaw_tables_fill(struct thaw_tables_filled *filled, struct thaw_comm *c, const char *dir,
                     const Thaw__Prior *prior, const struct thaw_dataset *d, const struct thaw_plan *plan,
                     int k, float *rows, struct thaw_err *err);

#endif
