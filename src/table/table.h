// table.h: a version of the embedding tables: the .npy files and manifest.pb that lookups map. No MPI.
// docs/formats.md.
//
//   OUT/current -> v000001
//   OUT/v000001/manifest.pb
//   OUT/v000001/users-00003-of-00064.npy           <f4         rows x columns
//   OUT/v000001/users-00003-of-00064.ids.npy       |S<width>   rows
//   OUT/v000001/users-00003-of-00064.index.npy     <u4         slots: row in the part + 1, 0 for free; open
//                                                              addressing by thaw_hash_slot, linear probing
//   OUT/v000001/users-00003-of-00064.degree.npy    <i8         rows: interactions of the row
//   OUT/v000001/users-00003-of-00064.seen_ptr.npy  <i8         rows + 1
//   OUT/v000001/users-00003-of-00064.seen.npy      <u4 or <u8  what they interacted with: item rows, rising
//   OUT/v000001/items-...                                      the first four for items
//   OUT/v000001/items.gramian.npy                  <f8         k x k: sum over items, for fold-in
//   OUT/v000001/items-00003-of-00064.attributes_ptr.npy, .attributes.npy   <i8 rows + 1, <u4: columns of the
//                                                              CATEGORICAL and MULTI attributes, where items
//                                                              have any
//   OUT/v000001/prior.*, associate.*, generator.*              cold-start models (cold/cold.h), where there are
//                                                              any
#ifndef THAW_TABLE_TABLE_H
#define THAW_TABLE_TABLE_H

#include "base/npy.h"
#include "base/part.h"
#include "proto/thaw.pb-c.h"

#include <stdbool.h>

// ---- Writing ----

// One part of one side, borrowed by the writer.
struct thaw_table_part {
    enum thaw_side side;
    int32_t part, nparts;
    int64_t nrows;
    int32_t columns;
    const float *rows; // nrows x columns
    int32_t id_width;
    const char *ids;       // nrows x id_width, zero-padded
    const int64_t *indptr; // nrows + 1: degrees, and for users what they have seen
    const void *indices;   // users: indptr[nrows] global item rows; NULL for items
    bool wide;             // indices are uint64, else uint32
};
enum { THAW_TABLE_FILES = 6 };
#define THAW_TABLE_GRAMIAN "items.gramian.npy" // the one file that belongs to no part
// Local. Write the files of the part into dir, durably. files[0..*nfiles) become entries for the manifest,
// each owned by the caller (thaw__file__free_unpacked(f, NULL)). THAW_EMEM, THAW_EIO.
int thaw_table_part_write(const char *dir, const struct thaw_table_part *part,
                          Thaw__File *files[THAW_TABLE_FILES], int *nfiles, struct thaw_err *err);
// Local. The entry of a file in a manifest, owned by the caller (thaw__file__free_unpacked). THAW_EMEM.
int thaw_table_file_new(Thaw__File **out, const char *name, const struct thaw_file_info *info,
                        struct thaw_err *err);

// Local. The same for the attributes of a part of the items: row r has columns[indptr[r]] to columns[indptr[r
// + 1]
// - 1], rising. Both files' entries are set.
enum { THAW_TABLE_ATTRIBUTE_FILES = 2 };
int thaw_table_attributes_write(const char *dir, int32_t part, int32_t nparts, int64_t nrows,
                                const int64_t *indptr, const uint32_t *columns,
                                Thaw__File *files[THAW_TABLE_ATTRIBUTE_FILES], struct thaw_err *err);

// ---- Reading: memory-mapped; thread-safe after open ----

struct thaw_tables;
// Local. dir is a tables folder (its `current` is followed) or a version folder. Reads the manifest and maps
// every file; checks names, shapes and lengths, not checksums (thaw_tables_check does). THAW_ENOINPUT,
// THAW_EDATA naming the file.
int thaw_tables_open(struct thaw_tables **t, const char *dir, struct thaw_err *err);
void thaw_tables_close(struct thaw_tables **t);
const Thaw__Tables *thaw_tables_manifest(const struct thaw_tables *t);
const char *thaw_tables_dir(const struct thaw_tables *t); // of the version, `current` resolved
int64_t thaw_tables_rows(const struct thaw_tables *t, enum thaw_side side);
int thaw_tables_columns(const struct thaw_tables *t);

// Verify every checksum, and the structure that lookups rely on (index entries, seen lists). Names the first
// damaged file.
int thaw_tables_check(const struct thaw_tables *t, struct thaw_err *err);

// Global row of an external id, -1 when unknown. O(1).
int64_t thaw_tables_find(const struct thaw_tables *t, enum thaw_side side, const char *id, size_t nbytes);
// row in [0, rows): its vector (columns floats), its id (not terminated, *nbytes long), its number of
// interactions.
const float *thaw_tables_vector(const struct thaw_tables *t, enum thaw_side side, int64_t row);
const char *thaw_tables_id(const struct thaw_tables *t, enum thaw_side side, int64_t row, size_t *nbytes);
int64_t thaw_tables_degree(const struct thaw_tables *t, enum thaw_side side, int64_t row);
// What a user has seen: count (-1 when the file is damaged), and entry `at` of it as a global item row (-1
// when the file is damaged and the entry out of range).
int64_t thaw_tables_seen(const struct thaw_tables *t, int64_t user, int64_t *first);
int64_t thaw_tables_seen_item(const struct thaw_tables *t, int64_t user, int64_t first, int64_t at);
// The part that holds a global row in [0, rows). By bisection.
int32_t thaw_tables_part_of(const struct thaw_tables *t, enum thaw_side side, int64_t row);
// The rows of one part, for scans: nrows, first global row.
const float *thaw_tables_part(const struct thaw_tables *t, enum thaw_side side, int32_t part, int64_t *nrows,
                              int64_t *first_row);
// The attribute columns of an item: how many, -1 when the file is damaged; 0 where the tables have none.
int64_t thaw_tables_attributes(const struct thaw_tables *t, int64_t item, const uint32_t **columns);
bool thaw_tables_has_attributes(const struct thaw_tables *t);
// k x k over items.
const double *thaw_tables_gramian(const struct thaw_tables *t);

#endif
