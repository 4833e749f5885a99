// shard.c: one part of a dataset as an .npz file.
#include "partition/shard.h"

#include "base/mem.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Writing ----

// Tests set THAW_WIDE_INDICES=1 to walk the 64-bit path without 2^32 rows.
static bool wants_wide(int64_t other_rows) {
    const char *forced = getenv("THAW_WIDE_INDICES");
    return other_rows > (INT64_C(1) << 32) || (forced != NULL && strcmp(forced, "1") == 0);
}

static int add_vector(struct thaw_npz_out *z, const char *name, enum thaw_npy_type type, int64_t width,
                      int64_t n, const void *data, struct thaw_err *err) {
    struct thaw_npy_shape shape = {.type = type, .ndim = 1, .rows = n, .cols = 1, .width = width};
    return thaw_npz_add(z, name, &shape, data, err);
}

static int add_indices(struct thaw_npz_out *z, const struct thaw_shard_data *d, struct thaw_err *err) {
    for (int64_t i = 0; i < d->nnz; i++)
        if (d->indices[i] < 0 || d->indices[i] >= d->other_rows)
            return thaw_fail(err, THAW_EBUG, "index %" PRId64 " is outside the other side's %" PRId64 " rows",
                             d->indices[i], d->other_rows);
    if (wants_wide(d->other_rows)) return add_vector(z, "indices", THAW_NPY_U64, 8, d->nnz, d->indices, err);
    uint32_t *narrow = NULL;
    int code = thaw_alloc(&narrow, (size_t)d->nnz, sizeof *narrow, "a part's indices", err);
    if (code != THAW_OK) return code;
    for (int64_t i = 0; i < d->nnz; i++) narrow[i] = (uint32_t)d->indices[i]; // below other_rows, so it fits
    code = add_vector(z, "indices", THAW_NPY_U32, 4, d->nnz, narrow, err);
    free(narrow);
    return code;
}

static int add_features(struct thaw_npz_out *z, const struct thaw_shard_data *d, struct thaw_err *err) {
    int64_t n = d->feature_indptr[d->nrows];
    int code = add_vector(z, "feature_indptr", THAW_NPY_I64, 8, d->nrows + 1, d->feature_indptr, err);
    if (code == THAW_OK) code = add_vector(z, "feature_indices", THAW_NPY_U32, 4, n, d->feature_indices, err);
    if (code == THAW_OK) code = add_vector(z, "feature_values", THAW_NPY_F32, 4, n, d->feature_values, err);
    return code;
}

static int add_all(struct thaw_npz_out *z, const struct thaw_shard_data *d, struct thaw_err *err) {
    int64_t width = d->id_width > 0 ? d->id_width : 1; // NumPy has no strings of no bytes
    int code = add_vector(z, "ids", THAW_NPY_BYTES, width, d->nrows, d->ids, err);
    if (code == THAW_OK) code = add_vector(z, "indptr", THAW_NPY_I64, 8, d->nrows + 1, d->indptr, err);
    if (code == THAW_OK) code = add_indices(z, d, err);
    if (code == THAW_OK) code = add_vector(z, "values", THAW_NPY_F32, 4, d->nnz, d->values, err);
    if (code == THAW_OK && d->times != NULL)
        code = add_vector(z, "times", THAW_NPY_I64, 8, d->nnz, d->times, err);
    if (code == THAW_OK && d->feature_indptr != NULL) code = add_features(z, d, err);
    return code;
}

int thaw_shard_write(const char *dir, enum thaw_side side, int32_t part, int32_t nparts,
                     const struct thaw_shard_data *data, struct thaw_file_info *info, struct thaw_err *err) {
    char name[THAW_PART_FILE], path[THAW_PATH_MAX];
    struct thaw_npz_out *z = NULL;
    if (data->indptr[data->nrows] != data->nnz || (data->nrows > 0 && data->id_width < 1))
        return thaw_fail(err, THAW_EBUG,
                         "part %" PRId32 " of %s has %" PRId64 " interactions, its indptr ends at %" PRId64,
                         part, thaw_side_name[side], data->nnz, data->indptr[data->nrows]);
    int code = thaw_path_join(path, dir, thaw_part_file(name, side, part, nparts, "npz"), err);
    if (code == THAW_OK) code = thaw_npz_create(&z, path, err);
    if (code == THAW_OK) code = add_all(z, data, err);
    if (code == THAW_OK) return thaw_npz_commit(&z, info, err);
    thaw_npz_discard(&z);
    return code;
}

// ---- Reading ----

struct opening {
    struct thaw_shard s;
    const char *path;
    int64_t rows, nnz, other_rows; // what the manifest says
    int64_t features;              // columns
    int32_t id_width;
    bool has_time;
};

static int bad(const struct opening *o, const char *what, int64_t row, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA, "%s: %s (row %" PRId64 " of the part)", o->path, what, row);
}

// A vector of n elements of one of two types; *wide (may be NULL) tells that it is the second.
static int get_vector(const struct opening *o, const char *name, enum thaw_npy_type type,
                      enum thaw_npy_type wide_type, int64_t n, void *out, bool *wide, struct thaw_err *err) {
    struct thaw_npy_shape shape;
    const void *data;
    int code = thaw_npz_get(o->s.npz, name, &shape, &data, err);
    if (code != THAW_OK) return code;
    if (shape.ndim != 1 || (shape.type != type && shape.type != wide_type))
        return thaw_fail(err, THAW_EDATA, "%s: array \"%s\" is not of the expected type", o->path, name);
    if (shape.rows != n)
        return thaw_fail(err, THAW_EDATA, "%s: array \"%s\" has %" PRId64 " elements instead of %" PRId64,
                         o->path, name, shape.rows, n);
    if (wide != NULL) *wide = shape.type == wide_type && type != wide_type;
    memcpy(out, &data, sizeof data); // out is the address of a pointer of any type
    return THAW_OK;
}

static int get_ids(struct opening *o, struct thaw_err *err) {
    struct thaw_npy_shape shape;
    const void *data;
    int code = thaw_npz_get(o->s.npz, "ids", &shape, &data, err);
    if (code != THAW_OK) return code;
    int64_t widest = o->id_width > 0 ? o->id_width : 1;
    if (shape.type != THAW_NPY_BYTES || shape.ndim != 1 || shape.rows != o->rows || shape.width < 1 ||
        shape.width > widest)
        return thaw_fail(err, THAW_EDATA,
                         "%s: array \"ids\" is not %" PRId64 " ids of at most %" PRId64 " bytes", o->path,
                         o->rows, widest);
    o->s.ids = data;
    o->s.id_width = (int32_t)shape.width;
    return THAW_OK;
}

static int get_features(struct opening *o, struct thaw_err *err) {
    struct thaw_npy_shape shape;
    const void *data;
    if (thaw_npz_has(o->s.npz, "feature_indptr") != (o->features > 0))
        return thaw_fail(err, THAW_EDATA, "%s: it and the manifest disagree on whether there are attributes",
                         o->path);
    if (o->features == 0) return THAW_OK;
    int code = get_vector(o, "feature_indptr", THAW_NPY_I64, THAW_NPY_I64, o->rows + 1, &o->s.feature_indptr,
                          NULL, err);
    if (code == THAW_OK) code = thaw_npz_get(o->s.npz, "feature_indices", &shape, &data, err);
    if (code != THAW_OK) return code;
    int64_t n = shape.rows;
    code = get_vector(o, "feature_indices", THAW_NPY_U32, THAW_NPY_U32, n, &o->s.feature_indices, NULL, err);
    if (code == THAW_OK)
        code =
            get_vector(o, "feature_values", THAW_NPY_F32, THAW_NPY_F32, n, &o->s.feature_values, NULL, err);
    if (code == THAW_OK && (o->s.feature_indptr[0] != 0 || o->s.feature_indptr[o->rows] != n))
        code = bad(o, "feature_indptr does not go from 0 to the number of features", 0, err);
    return code;
}

static int get_arrays(struct opening *o, struct thaw_err *err) {
    struct thaw_shard *s = &o->s;
    int code = get_ids(o, err);
    if (code == THAW_OK)
        code = get_vector(o, "indptr", THAW_NPY_I64, THAW_NPY_I64, o->rows + 1, &s->indptr, NULL, err);
    if (code == THAW_OK)
        code = get_vector(o, "indices", THAW_NPY_U32, THAW_NPY_U64, o->nnz, &s->indices, &s->wide, err);
    if (code == THAW_OK)
        code = get_vector(o, "values", THAW_NPY_F32, THAW_NPY_F32, o->nnz, &s->values, NULL, err);
    if (code == THAW_OK && o->has_time)
        code = get_vector(o, "times", THAW_NPY_I64, THAW_NPY_I64, o->nnz, &s->times, NULL, err);
    if (code == THAW_OK) code = get_features(o, err);
    if (code == THAW_OK && (s->indptr[0] != 0 || s->indptr[o->rows] != o->nnz))
        code = bad(o, "indptr does not go from 0 to the number of interactions", 0, err);
    s->nrows = o->rows;
    s->nnz = o->nnz;
    return code;
}

// ---- Verifying ----

static int check_ids(const struct opening *o, struct thaw_err *err) {
    size_t width = (size_t)o->s.id_width;
    for (int64_t row = 0; row < o->rows; row++) {
        const char *id = o->s.ids + row * o->s.id_width;
        size_t n = strnlen(id, width);
        if (n == 0) return bad(o, "an id is empty", row, err);
        for (size_t i = n; i < width; i++)
            if (id[i] != '\0') return bad(o, "an id is not padded with zeros", row, err);
    }
    return THAW_OK;
}

static int check_indptr(const struct opening *o, const int64_t *indptr, const char *what,
                        struct thaw_err *err) {
    for (int64_t row = 0; row < o->rows; row++)
        if (indptr[row] > indptr[row + 1]) return bad(o, what, row, err);
    return THAW_OK;
}

static int check_row(const struct opening *o, int64_t row, struct thaw_err *err) {
    uint64_t before = 0, limit = (uint64_t)o->other_rows;
    for (int64_t i = o->s.indptr[row]; i < o->s.indptr[row + 1]; i++) {
        uint64_t index = (uint64_t)thaw_shard_index(&o->s, i);
        if (index >= limit) return bad(o, "an index is outside the other side", row, err);
        if (i > o->s.indptr[row] && index <= before) return bad(o, "indices do not rise", row, err);
        if (!isfinite(o->s.values[i])) return bad(o, "a value is not finite", row, err);
        before = index;
    }
    return THAW_OK;
}

static int check_feature_row(const struct opening *o, int64_t row, struct thaw_err *err) {
    for (int64_t i = o->s.feature_indptr[row]; i < o->s.feature_indptr[row + 1]; i++) {
        uint32_t index = o->s.feature_indices[i];
        if (index >= (uint64_t)o->features) return bad(o, "a feature is outside the columns", row, err);
        if (i > o->s.feature_indptr[row] && index <= o->s.feature_indices[i - 1])
            return bad(o, "features do not rise", row, err);
        if (!isfinite(o->s.feature_values[i])) return bad(o, "a feature value is not finite", row, err);
    }
    return THAW_OK;
}

static int check_structure(const struct opening *o, struct thaw_err *err) {
    int code = check_ids(o, err);
    if (code == THAW_OK) code = check_indptr(o, o->s.indptr, "indptr falls", err);
    for (int64_t row = 0; row < o->rows && code == THAW_OK; row++) code = check_row(o, row, err);
    if (o->features == 0) return code;
    if (code == THAW_OK) code = check_indptr(o, o->s.feature_indptr, "feature_indptr falls", err);
    for (int64_t row = 0; row < o->rows && code == THAW_OK; row++) code = check_feature_row(o, row, err);
    return code;
}

int thaw_shard_open(struct thaw_shard *out, const struct thaw_dataset *d, enum thaw_side side, int32_t part,
                    bool verify, struct thaw_err *err) {
    const Thaw__Dataset *m = d->manifest;
    char name[THAW_PART_FILE], path[THAW_PATH_MAX];
    struct thaw_file_info info;
    if (part < 0 || part >= m->parts)
        return thaw_fail(err, THAW_EBUG, "%s: part %" PRId32 " of %" PRId32 " was asked for", d->dir, part,
                         m->parts);
    thaw_part_file(name, side, part, m->parts, "npz");
    if (thaw_pack_find(m->files, m->n_files, name, &info) == NULL)
        return thaw_fail(err, THAW_EDATA, "%s: its manifest does not list %s", d->dir, name);
    int code = thaw_path_join(path, d->dir, name, err);
    if (code != THAW_OK) return code;
    const Thaw__Side *own = side == THAW_USERS ? m->users : m->items;
    struct opening o = {
        .path = path,
        .rows = own->part_rows[part],
        .nnz = own->part_nnz[part],
        .other_rows = thaw_dataset_rows(d, side == THAW_USERS ? THAW_ITEMS : THAW_USERS),
        .features = own->features,
        .id_width = own->id_width,
        .has_time = m->has_time != 0,
    };
    code = thaw_npz_open(&o.s.npz, path, &info, err);
    if (code == THAW_OK && verify) code = thaw_npz_check(o.s.npz, &info, err);
    if (code == THAW_OK) code = get_arrays(&o, err);
    if (code == THAW_OK && verify) code = check_structure(&o, err);
    if (code == THAW_OK)
        *out = o.s;
    else
        thaw_shard_close(&o.s);
    return code;
}

void thaw_shard_close(struct thaw_shard *s) {
    thaw_npz_close(&s->npz);
    memset(s, 0, sizeof *s);
}
