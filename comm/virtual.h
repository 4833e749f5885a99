// virtual.h: virtual interactions on disk, as `thaw augment` writes them and `thaw train --virtual` reads
// them.
//
// A folder (augment's OUT/virtual) with one .npz a user part, and manifest.pb = Virtual, written last:
//   users-00007-of-00064.npz   of the dataset's users: row r of the file is row r of the part. Rows of users who
//                              need none, and of held-out users, are empty.
//   extra-00007-of-00064.npz   whole virtual users, Virtual.extra_rows[7] of them; only with --virtual-users
// Members of both, n rows, m interactions:
//   indptr   <i8  n + 1   row r has [indptr[r], indptr[r + 1])
//   indices  <u4  m       global item rows, rising inside a row, each once
//   weights  <f4  m       in (0, 1]
// In training an interaction counts with strength W x weight (W: --virtual-weight), unless the user really
// has it. Local functions; thread-safe on distinct objects.
#ifndef THAW_COMM_VIRTUAL_H
#define THAW_COMM_VIRTUAL_H

#include "base/npz.h"
#include "base/part.h"
#include "partition/shard.h"

#include <stdbool.h>

enum thaw_virtual_kind { THAW_VIRTUAL_USERS, THAW_VIRTUAL_EXTRA };

// "users-00007-of-00064.npz", "extra-00007-of-00064.npz" into buf; returns buf.
char *thaw_virtual_file(char buf[THAW_PART_FILE], enum thaw_virtual_kind kind, int32_t part, int32_t nparts);

// Rows of one part.
struct thaw_virtual_rows {
    int64_t nrows;
    const int64_t *indptr;   // nrows + 1
    const uint32_t *indices; // indptr[nrows]
    const float *weights;
};
// Writes dir/<file of the part>, durably; *info is what the manifest's File needs. THAW_EIO, THAW_EMEM.
int thaw_virtual_part_write(const char *dir, enum thaw_virtual_kind kind, int32_t part, int32_t nparts,
                            const struct thaw_virtual_rows *rows, struct thaw_file_info *info,
                            struct thaw_err *err);

// An open folder: its manifest, checked against the dataset. THAW_ENOINPUT: no virtual interactions there.
// THAW_EDATA: of another dataset; counts that do not fit.
struct thaw_virtual {
    char *dir;
    Thaw__Virtual *manifest;
    uint64_t digest;
};
int thaw_virtual_open(struct thaw_virtual **v, const char *dir, const struct thaw_dataset *d,
                      struct thaw_err *err);
void thaw_virtual_close(struct thaw_virtual **v);
static inline bool thaw_virtual_has_extra(const struct thaw_virtual *v) {
    return v->manifest->n_extra_rows > 0;
}

// A mapped part, verified: checksums, indices below the dataset's items and rising, weights in (0, 1].
// THAW_EDATA naming the file.
struct thaw_virtual_part {
    struct thaw_npz *npz;
    struct thaw_virtual_rows rows; // into the mapping
};
int thaw_virtual_part_open(struct thaw_virtual_part *p, const struct thaw_virtual *v,
                           enum thaw_virtual_kind kind, int32_t part, struct thaw_err *err);
void thaw_virtual_part_close(struct thaw_virtual_part *p);

#endif
