// shard.h: the dataset on disk: one .npz per part and side, and manifest.pb; docs/formats.md. No MPI; local;
// thread-safe on distinct objects (an open shard may be read by many threads).
//
// users-00003-of-00064.npz (items-... likewise, with the sides exchanged), n rows, m interactions:
//   ids              |S<width>   n       external ids, zero-padded
//   indptr           <i8         n + 1   row r's interactions are [indptr[r], indptr[r + 1])
//   indices          <u4 or <u8  m       global rows of the other side, rising inside a row; <u4 while they fit
//   values           <f4         m       merged strength or rating
//   times            <i8         m       last unix time of the pair; only when the log has times
//   feature_indptr   <i8         n + 1   with the next two, sparse attribute rows; only with attributes
//   feature_indices  <u4         f       columns, rising inside a row
//   feature_values   <f4         f
#ifndef THAW_PARTITION_SHARD_H
#define THAW_PARTITION_SHARD_H

#include "base/npz.h"
#include "base/part.h"
#include "proto/thaw.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

// A part in memory, borrowed by the writer.
struct thaw_shard_data {
    int64_t nrows, nnz;
    int64_t other_rows; // rows of the other side: decides the width of indices
    int32_t id_width;
    const char *ids;               // nrows x id_width, zero-padded
    const int64_t *indptr;         // nrows + 1
    const int64_t *indices;        // nnz
    const float *values;           // nnz
    const int64_t *times;          // nnz or NULL
    const int64_t *feature_indptr; // nrows + 1, or NULL without attributes
    const uint32_t *feature_indices;
    const float *feature_values;
};
// Local. Writes dir/<part file>, durably; *info is what the manifest needs.
int thaw_shard_write(const char *dir, enum thaw_side side, int32_t part, int32_t nparts,
                     const struct thaw_shard_data *data, struct thaw_file_info *info, struct thaw_err *err);

// A mapped part. Pointers are valid until close.
struct thaw_shard {
    struct thaw_npz *npz;
    int64_t nrows, nnz;
    int32_t id_width;
    const char *ids;
    const int64_t *indptr;
    const void *indices; // wide ? uint64 : uint32
    bool wide;
    const float *values;
    const int64_t *times;          // NULL when absent
    const int64_t *feature_indptr; // NULL when absent
    const uint32_t *feature_indices;
    const float *feature_values;
};
static inline int64_t thaw_shard_index(const struct thaw_shard *s, int64_t at) {
    return s->wide ? (int64_t)((const uint64_t *)s->indices)[at]
                   : (int64_t)((const uint32_t *)s->indices)[at];
}

// An opened dataset: manifest and totals. The manifest's own digest identifies the dataset.
struct thaw_dataset {
    char *dir;
    Thaw__Dataset *manifest;
    uint64_t digest;
};
// Local. Reads and verifies dir/manifest.pb (format, counts that fit together, safe file names).
// THAW_ENOINPUT: "DIR: no dataset here (no manifest.pb): 'thaw prepare' makes one". THAW_EDATA.
int thaw_dataset_open(struct thaw_dataset **d, const char *dir, struct thaw_err *err);
void thaw_dataset_close(struct thaw_dataset **d);
int64_t thaw_dataset_rows(const struct thaw_dataset *d, enum thaw_side side);

// Local. Open a part; verify compares its checksums (reads all of it) and then its structure: indptr rising
// from 0 to nnz, indices in range and rising, finite values. Always verifies shapes and lengths.
// THAW_ENOINPUT, THAW_EDATA, naming the file.
int thaw_shard_open(struct thaw_shard *s, const struct thaw_dataset *d, enum thaw_side side, int32_t part,
                    bool verify, struct thaw_err *err);
void thaw_shard_close(struct thaw_shard *s);

#endif
