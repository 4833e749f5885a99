// tables_cold.h: the cold-start models of a tables version: what `thaw prior`, `thaw associate`, `thaw
// augment` and `thaw evaluate --tune` wrote, checked and copied.
#ifndef THAW_JOBS_TABLES_COLD_H
#define THAW_JOBS_TABLES_COLD_H

#include "comm/model.h"
#include "comm/world.h"
#include "partition/shard.h"
#include "proto/thaw.pb-c.h"

struct thaw_tables_cold {
    const char *prior_dir, *association_dir, *generator_dir, *blend_file; // as given, NULL: none
    Thaw__Prior *prior;                                                   // owned
    Thaw__Association *association;
    Thaw__Generator *generator;
    Thaw__Blend *blend;
    bool blend_foreign; // it was tuned on another dataset
    size_t lent[3];     // their numbers of files, while they are lent
};
// Local; every rank. Read the manifests of the folders that are given. force: a blend of another dataset is
// taken as one of this. THAW_ENOINPUT, THAW_EDATA: damaged, or of another dataset or model.
int thaw_tables_cold_open(struct thaw_tables_cold *t, const struct thaw_dataset *data,
                          const struct thaw_model *model, bool force, struct thaw_err *err);
void thaw_tables_cold_clear(struct thaw_tables_cold *t);

// Local; one rank. Would a look-up accept them, all together? Maps every file.
int thaw_tables_cold_check(const struct thaw_tables_cold *t, const struct thaw_model *model,
                           struct thaw_err *err);

// Local; one rank. Does a published version hold these very models?
bool thaw_tables_cold_same(const struct thaw_tables_cold *t, const Thaw__Tables *published);

// Local. Copy this rank's share of the files into dir and append their entries to list; over the ranks in
// order, the entries are in the order of the manifests. Checksums are compared on the way; the profile parts
// of an association are stored by column. *cap: of list->files. THAW_EDATA, THAW_EIO, THAW_EMEM.
int thaw_tables_cold_copy(const struct thaw_tables_cold *t, const char *dir, int rank, int size,
                          Thaw__Tables *list, size_t *cap, struct thaw_err *err);

// Local. Lend the messages, without their files, to a manifest; take them back before it is freed.
void thaw_tables_cold_lend(struct thaw_tables_cold *t, Thaw__Tables *manifest);
void thaw_tables_cold_take_back(struct thaw_tables_cold *t, Thaw__Tables *manifest);

#endif
