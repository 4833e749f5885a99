// table_write.c: the files of one part of the embedding tables.
#include "base/hash.h"
#include "base/mem.h"
#include "table/table_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const char *const thaw_table_ext[NFILES] = {"npy",        "ids.npy",      "index.npy",
                                            "degree.npy", "seen_ptr.npy", "seen.npy"};

const char *const thaw_table_attribute_ext[2] = {"attributes_ptr.npy", "attributes.npy"};

int64_t thaw_table_slots(int64_t nrows) {
    int64_t nslots = 2;
    while (nslots < 2 * nrows) nslots *= 2;
    return nslots;
}

// Rows are entered in their order, so that the busiest rows of a part, which come first, are found with the
// fewest probes.
static int index_build(uint32_t **out, int64_t *nslots, const struct thaw_table_part *p,
                       struct thaw_err *err) {
    uint32_t *slot = NULL;
    *nslots = thaw_table_slots(p->nrows);
    int code = thaw_alloc(&slot, (size_t)*nslots, sizeof *slot, "the id index of a part", err);
    if (code) return code;
    for (int64_t row = 0; row < p->nrows; row++) {
        const char *id = p->ids + row * p->id_width;
        uint64_t hash = thaw_hash_id(id, thaw_table_id_length(id, p->id_width));
        uint64_t at = thaw_hash_slot(hash, (uint64_t)*nslots);
        while (slot[at]) at = (at + 1) & ((uint64_t)*nslots - 1);
        slot[at] = (uint32_t)(row + 1);
    }
    *out = slot;
    return THAW_OK;
}

static int degrees_build(int64_t **out, const struct thaw_table_part *p, struct thaw_err *err) {
    int64_t *degree = NULL;
    int code = thaw_alloc(&degree, (size_t)p->nrows, sizeof *degree, "the degrees of a part", err);
    if (code) return code;
    for (int64_t row = 0; row < p->nrows; row++) degree[row] = p->indptr[row + 1] - p->indptr[row];
    *out = degree;
    return THAW_OK;
}

int thaw_table_file_new(Thaw__File **out, const char *name, const struct thaw_file_info *info,
                        struct thaw_err *err) {
    Thaw__File *file = malloc(sizeof *file);
    if (!file) return thaw_fail(err, THAW_EMEM, "%s: no memory for its manifest entry", name);
    thaw__file__init(file);
    file->nbytes = info->nbytes;
    file->name = strdup(name);
    file->sums = malloc((size_t)(info->nsums > 0 ? info->nsums : 1) * sizeof *file->sums);
    if (!file->name || !file->sums) {
        thaw__file__free_unpacked(file, NULL);
        return thaw_fail(err, THAW_EMEM, "%s: no memory for its manifest entry", name);
    }
    if (info->nsums > 0) memcpy(file->sums, info->sums, (size_t)info->nsums * sizeof *file->sums);
    file->n_sums = (size_t)info->nsums;
    *out = file;
    return THAW_OK;
}

static int put(const char *dir, const char *name, const struct thaw_npy_shape *shape, const void *data,
               Thaw__File **entry, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_file_info info = {0};
    int code = thaw_path_join(path, dir, name, err);
    if (!code) code = thaw_npy_put(path, shape, data, &info, err);
    if (!code) code = thaw_table_file_new(entry, name, &info, err);
    thaw_file_info_clear(&info);
    return code;
}

static int part_check(const struct thaw_table_part *p, struct thaw_err *err) {
    if (p->nrows < 0 || p->nrows >= UINT32_MAX)
        return thaw_fail(err, THAW_EDATA,
                         "%s part %d has %" PRId64
                         " rows, more than an index can number: prepare with more --parts",
                         thaw_side_name[p->side], p->part, p->nrows);
    if (p->columns < 1 || p->id_width < 1 || p->nparts < 1 || p->part < 0 || p->part >= p->nparts)
        return thaw_fail(err, THAW_EBUG, "table part %d of %d: %d columns, ids of %d bytes", p->part,
                         p->nparts, p->columns, p->id_width);
    return THAW_OK;
}

int thaw_table_part_write(const char *dir, const struct thaw_table_part *p,
                          Thaw__File *files[THAW_TABLE_FILES], int *nfiles, struct thaw_err *err) {
    uint32_t *slots = NULL;
    int64_t *degree = NULL, nslots = 0;
    int written = 0;
    int code = part_check(p, err);
    if (!code) code = index_build(&slots, &nslots, p, err);
    if (!code) code = degrees_build(&degree, p, err);
    if (code) goto done;
    const struct thaw_npy_shape shapes[NFILES] = {
        {THAW_NPY_F32, 2, p->nrows, p->columns, 4},
        {THAW_NPY_BYTES, 1, p->nrows, 1, p->id_width},
        {THAW_NPY_U32, 1, nslots, 1, 4},
        {THAW_NPY_I64, 1, p->nrows, 1, 8},
        {THAW_NPY_I64, 1, p->nrows + 1, 1, 8},
        {p->wide ? THAW_NPY_U64 : THAW_NPY_U32, 1, p->indptr[p->nrows], 1, p->wide ? 8 : 4},
    };
    const void *const data[NFILES] = {p->rows, p->ids, slots, degree, p->indptr, p->indices};
    for (; !code && written < thaw_table_side_files(p->side); written += !code) {
        char name[THAW_PART_FILE];
        thaw_part_file(name, p->side, p->part, p->nparts, thaw_table_ext[written]);
        code = put(dir, name, &shapes[written], data[written], &files[written], err);
    }
done:
    free(slots);
    free(degree);
    if (code)
        while (written > 0) thaw__file__free_unpacked(files[--written], NULL);
    *nfiles = written;
    return code;
}

int thaw_table_attributes_write(const char *dir, int32_t part, int32_t nparts, int64_t nrows,
                                const int64_t *indptr, const uint32_t *columns,
                                Thaw__File *files[THAW_TABLE_ATTRIBUTE_FILES], struct thaw_err *err) {
    const struct thaw_npy_shape shapes[2] = {{THAW_NPY_I64, 1, nrows + 1, 1, 8},
                                             {THAW_NPY_U32, 1, indptr[nrows], 1, 4}};
    const void *const data[2] = {indptr, columns};
    Thaw__File *made[2] = {NULL, NULL};
    int code = THAW_OK;
    for (int i = 0; !code && i < 2; i++) {
        char name[THAW_PART_FILE];
        thaw_part_file(name, THAW_ITEMS, part, nparts, thaw_table_attribute_ext[i]);
        code = put(dir, name, &shapes[i], data[i], &made[i], err);
    }
    if (code && made[0]) thaw__file__free_unpacked(made[0], NULL);
    for (int i = 0; !code && i < 2; i++) files[i] = made[i];
    return code;
}
