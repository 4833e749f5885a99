// model.h: trained factors on disk, read and written by all ranks together. A model folder holds versions
// side by side:
//
//   OUT/iteration-000010/manifest.pb, users-00000-of-00064.npy, ..., items-00063-of-00064.npy
//   OUT/iteration-000015/...
//   OUT/current -> iteration-000015
//
// Each version is written as <name>.tmp, synced, its manifest last, after all ranks agreed; then it is
// renamed and `current` switched; the last two are kept. A checkpoint and a finished model are the same
// thing; Model.finished tells. docs/formats.md. Files are per part, so any number of ranks reads what any
// other number wrote.
#ifndef THAW_COMM_MODEL_H
#define THAW_COMM_MODEL_H

#include "base/npy.h"
#include "comm/world.h"
#include "partition/plan.h"
#include "partition/shard.h"

struct thaw_model {
    char *dir; // of the version: OUT/iteration-000015
    Thaw__Model *manifest;
    uint64_t digest;
};

// Collective. Open OUT/current, or the newest complete older version when it is damaged (a warning text is
// left in `note`, 256 bytes, else ""). rank 0 reads the manifest, all get it. THAW_ENOINPUT: no model in OUT.
// THAW_EDATA: none intact. verify: compare the checksums of this rank's even share of the parts.
int thaw_model_open(struct thaw_model **m, struct thaw_comm *c, const char *out, bool verify, char note[256],
                    struct thaw_err *err);
void thaw_model_close(struct thaw_model **m);
int thaw_model_columns(const struct thaw_model *m);
// Of a part's file.
static inline struct thaw_npy_shape thaw_model_shape(int64_t rows, int columns) {
    return (struct thaw_npy_shape){
        .type = THAW_NPY_F32, .ndim = 2, .rows = rows, .cols = columns, .width = sizeof(float)};
}

// Collective (agreement at the end). Read the rows this rank owns by `plan` into rows (plan's rows x columns,
// caller's memory).
int thaw_model_load(const struct thaw_model *m, struct thaw_comm *c, enum thaw_side side,
                    const struct thaw_plan *plan, float *rows, struct thaw_err *err);

// Collective. Open this version of OUT and no other. THAW_ENOINPUT, THAW_EDATA.
int thaw_model_open_version(struct thaw_model **m, struct thaw_comm *c, const char *out, int number,
                            bool verify, struct thaw_err *err);

struct thaw_model_saved { // what a save took: most over ranks
    int64_t nbytes;       // of all files; on rank 0
    double write_s;       // a rank's files
    double waited_s;      // of it, what the caller waited
    double commit_s;      // agreement, manifest, renames
};
// Collective. Write version `number` of OUT. manifest: complete but for files (the same on all ranks).
// plan[2], rows[2]: as owned. On failure the versions already there are untouched; on success only this
// version and `before` stay (-1: the newest below it). saved may be NULL.
int thaw_model_save(struct thaw_comm *c, const char *out, int number, int before, const Thaw__Model *manifest,
                    const struct thaw_plan plan[2], const float *const rows[2],
                    struct thaw_model_saved *saved, struct thaw_err *err);

// The same in two steps. In between, a thread of each rank, which calls no MPI and takes no signals, writes
// and syncs the rank's files while its caller goes on.
struct thaw_model_save;
// Collective. Begin version `number` with the manifest as it is now. rows[2]: malloc'd; they become the
// save's, also on failure, and are freed once they are written. The plans' arrays are borrowed until commit.
// At most one save of a folder at a time.
int thaw_model_save_begin(struct thaw_model_save **s, struct thaw_comm *c, const char *out, int number,
                          const Thaw__Model *manifest, const struct thaw_plan plan[2], float *const rows[2],
                          struct thaw_err *err);
// Local. Is this rank's part written, or has failed? Then commit does not wait for this rank.
bool thaw_model_save_written(const struct thaw_model_save *s);
// Collective. Wait for the files of all ranks, add the manifest, publish the version. *s is freed, also on
// failure.
int thaw_model_save_commit(struct thaw_model_save **s, struct thaw_comm *c, int before,
                           struct thaw_model_saved *saved, struct thaw_err *err);

// Collective. For a job that is going to write OUT: what a killed save left is set right, or removed.
int thaw_model_recover(struct thaw_comm *c, const char *out, struct thaw_err *err);

// Collective. Make version `number` the current one and remove all others but the newest below it, when a
// newer one is damaged; -1: remove every version, and `current`. Fine when there is none.
int thaw_model_prune(struct thaw_comm *c, const char *out, int number, struct thaw_err *err);

#endif
