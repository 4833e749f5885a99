// tables_attributes.h: the items' attributes that have names, as tables hold them: what a user's interests
// are told by.
#ifndef THAW_JOBS_TABLES_ATTRIBUTES_H
#define THAW_JOBS_TABLES_ATTRIBUTES_H

#include "partition/shard.h"
#include "proto/thaw.pb-c.h"

// Local. Write the files of the parts [first, end) into dir and append their entries to list (*cap: of
// list->files). Nothing for items without categorical or multi attributes. THAW_EDATA, THAW_EIO, THAW_EMEM.
int thaw_tables_attributes_copy(const struct thaw_dataset *d, const char *dir, int32_t first, int32_t end,
                                Thaw__Tables *list, size_t *cap, struct thaw_err *err);

#endif
