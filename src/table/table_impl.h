// table_impl.h: what the table module's own files share. Private to src/table.
#ifndef THAW_TABLE_TABLE_IMPL_H
#define THAW_TABLE_TABLE_IMPL_H

#include "table/table.h"

// The files of a part in the order the manifest lists them; items have the first four.
enum table_file { FILE_ROWS, FILE_IDS, FILE_INDEX, FILE_DEGREE, FILE_SEEN_PTR, FILE_SEEN, NFILES };
extern const char *const thaw_table_ext[NFILES];
extern const char *const thaw_table_attribute_ext[2];

static inline int thaw_table_side_files(enum thaw_side side) {
    return side == THAW_USERS ? NFILES : FILE_SEEN_PTR;
}

// Slots of the index of nrows ids: the smallest power of two >= 2 rows, at least 2.
int64_t thaw_table_slots(int64_t nrows);

struct table_part {
    int64_t nrows;
    struct thaw_npy file[NFILES]; // users all, items the first four
};

struct thaw_tables {
    char dir[THAW_PATH_MAX]; // of the version
    Thaw__Tables *manifest;
    int32_t nparts;
    int32_t columns;
    int64_t *first_row[2];      // nparts + 1
    struct table_part *part[2]; // nparts
    struct thaw_npy gramian;
    struct thaw_npy *attributes[2]; // nparts each: indptr, columns; NULL where there are none
};

// Length of a zero-padded id.
static inline size_t thaw_table_id_length(const char *id, int64_t width) {
    size_t n = 0;
    while (n < (size_t)width && id[n]) n++;
    return n;
}

#endif
