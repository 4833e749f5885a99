// partfiles.h: files that ranks write, part by part, into one folder, and their entries for its manifest.
#ifndef THAW_COMM_PARTFILES_H
#define THAW_COMM_PARTFILES_H

#include "base/file.h"
#include "base/npy.h"
#include "comm/world.h"
#include "proto/thaw.pb-c.h"

struct thaw_partfiles {
    Thaw__File **file; // n, owned
    size_t n, cap;
};
// Local. The entry of a file that was written; info is borrowed. THAW_EMEM.
int thaw_partfiles_add(struct thaw_partfiles *p, const char *name, const struct thaw_file_info *info,
                       struct thaw_err *err);
// Local. Write dir/name, and its entry. THAW_EIO, THAW_EMEM.
int thaw_partfiles_put(struct thaw_partfiles *p, const char *dir, const char *name,
                       const struct thaw_npy_shape *s, const void *data, struct thaw_err *err);
// Collective. Rank 0 gets the entries of all ranks, in their order; those of the others become empty.
// THAW_EMEM.
int thaw_partfiles_gather(struct thaw_partfiles *p, struct thaw_comm *c, struct thaw_err *err);
void thaw_partfiles_clear(struct thaw_partfiles *p);

// Local. Map dir/name as a manifest's entry describes it, checksums compared: an array of this type and
// shape. THAW_ENOINPUT, THAW_EDATA.
int thaw_partfiles_open(struct thaw_npy *a, const char *dir, Thaw__File *const *files, size_t nfiles,
                        const char *name, const struct thaw_npy_shape *want, struct thaw_err *err);

#endif
