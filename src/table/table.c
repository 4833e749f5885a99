// table.c: opening a version of the tables and looking at it. Nothing read from a file is used as an offset
// or a count before it was checked: opening checks names, shapes and lengths; what lies inside index and seen
// files is checked at each use.
#include "base/hash.h"
#include "base/mem.h"
#include "proto/pack.h"
#include "table/table_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT = 1, COLUMNS_MAX = 1 << 16, ID_MAX = 255 };

static const Thaw__Side *side_of(const struct thaw_tables *t, enum thaw_side side) {
    return side == THAW_USERS ? t->manifest->users : t->manifest->items;
}

// dir is a tables folder, whose `current` is followed once, or a version folder.
static int version_dir(char out[THAW_PATH_MAX], const char *dir, struct thaw_err *err) {
    char link[THAW_PATH_MAX], target[THAW_PATH_MAX];
    struct stat st;
    if (stat(dir, &st)) return thaw_fail_errno(err, THAW_ENOINPUT, "%s", dir);
    int code = thaw_path_join(link, dir, "current", err);
    if (code) return code;
    ssize_t n = readlink(link, target, sizeof target - 1);
    if (n < 0 && errno == EINVAL) return thaw_path_join(out, dir, "current", err); // copied without its link
    if (n < 0) { // no `current`: a version itself
        if (snprintf(out, THAW_PATH_MAX, "%s", dir) < THAW_PATH_MAX) return THAW_OK;
        return thaw_fail(err, THAW_EUSAGE, "the path is too long: %.100s...", dir);
    }
    target[n] = 0;
    code = thaw_pack_check_name(target, link, err);
    return code ? code : thaw_path_join(out, dir, target, err);
}

// ---- The manifest ----

static int side_check(struct thaw_tables *t, enum thaw_side side, struct thaw_err *err) {
    const Thaw__Side *s = side_of(t, side);
    const char *name = thaw_side_name[side];
    if (!s || s->n_part_rows != (size_t)t->nparts || s->n_part_nnz != (size_t)t->nparts)
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: %s are not listed for %d parts", t->dir, name,
                         t->nparts);
    int code =
        thaw_alloc(&t->first_row[side], (size_t)t->nparts + 1, sizeof(int64_t), "the tables' parts", err);
    if (!code)
        code = thaw_alloc(&t->part[side], (size_t)t->nparts, sizeof *t->part[side], "the tables' parts", err);
    for (int32_t p = 0; !code && p < t->nparts; p++) {
        int64_t nrows = s->part_rows[p];
        if (nrows < 0 || nrows >= UINT32_MAX || s->part_nnz[p] < 0)
            return thaw_fail(err, THAW_EDATA,
                             "%s/manifest.pb: %s part %d has %" PRId64 " rows, %" PRId64 " interactions",
                             t->dir, name, p, nrows, s->part_nnz[p]);
        t->part[side][p].nrows = nrows;
        t->first_row[side][p + 1] = t->first_row[side][p] + nrows;
    }
    return code;
}

static int manifest_check(struct thaw_tables *t, struct thaw_err *err) {
    const Thaw__Tables *m = t->manifest;
    if (m->format != FORMAT)
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: format %u; this program reads format %d", t->dir,
                         m->format, FORMAT);
    if (!m->als || m->als->model > THAW__ALS__MODEL__EXPLICIT ||
        m->als->strength > THAW__ALS__STRENGTH__BINARY)
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: a model this program does not know", t->dir);
    if (m->als->factors < 1 || m->als->factors >= COLUMNS_MAX ||
        m->columns != m->als->factors + (m->als->biases ? 1 : 0))
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: %d columns do not fit %d factors", t->dir,
                         m->columns, m->als->factors);
    if (m->parts < 1 || m->parts > THAW_PARTS_MAX)
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: %d parts", t->dir, m->parts);
    if (m->n_files < (size_t)m->parts * (NFILES + FILE_SEEN_PTR) + 1) // cold-start models' files come behind
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: %zu files listed for %d parts", t->dir, m->n_files,
                         m->parts);
    t->nparts = m->parts;
    t->columns = m->columns;
    int code = side_check(t, THAW_USERS, err);
    return code ? code : side_check(t, THAW_ITEMS, err);
}

// ---- The files ----

// Files come in a fixed order, so the entry is the one at `at`; a manifest in another order is refused, not
// searched.
static int file_open(struct thaw_tables *t, size_t at, const char *name, struct thaw_npy *a,
                     char path[THAW_PATH_MAX], struct thaw_err *err) {
    const Thaw__File *file = t->manifest->files[at];
    if (strcmp(file->name, name))
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: file %zu is not %s", t->dir, at, name);
    if (file->n_sums > INT32_MAX) return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: %s: sums", t->dir, name);
    int code = thaw_path_join(path, t->dir, name, err);
    const struct thaw_file_info info = {file->nbytes, file->sums, (int32_t)file->n_sums};
    if (!code) code = thaw_npy_open(a, path, &info, err);
    if (!code && (uintptr_t)a->data % 64)
        code = thaw_fail(err, THAW_EDATA, "%s: its data is not 64-byte aligned", path);
    return code;
}

static int shape_check(const struct thaw_npy_shape *got, const struct thaw_npy_shape *want, const char *path,
                       struct thaw_err *err) {
    if (got->type == want->type && got->ndim == want->ndim && got->rows == want->rows &&
        got->cols == want->cols)
        return THAW_OK;
    return thaw_fail(err, THAW_EDATA,
                     "%s: type %d of shape (%" PRId64 ", %" PRId64
                     ") where the manifest means type %d of (%" PRId64 ", %" PRId64 ")",
                     path, (int)got->type, got->rows, got->cols, (int)want->type, want->rows, want->cols);
}

// The shape a file must have, given the one it has where that may vary (id width, index size, seen width).
static struct thaw_npy_shape shape_wanted(const struct thaw_tables *t, enum thaw_side side, int32_t p,
                                          int which, const struct thaw_npy_shape *got) {
    int64_t n = t->part[side][p].nrows;
    switch (which) {
    case FILE_ROWS:
        return (struct thaw_npy_shape){THAW_NPY_F32, 2, n, t->columns, 4};
    case FILE_IDS:
        return (struct thaw_npy_shape){THAW_NPY_BYTES, 1, n, 1, 0};
    case FILE_INDEX:
        return (struct thaw_npy_shape){THAW_NPY_U32, 1, thaw_table_slots(n), 1, 4};
    case FILE_DEGREE:
        return (struct thaw_npy_shape){THAW_NPY_I64, 1, n, 1, 8};
    case FILE_SEEN_PTR:
        return (struct thaw_npy_shape){THAW_NPY_I64, 1, n + 1, 1, 8};
    default:
        return (struct thaw_npy_shape){got->type == THAW_NPY_U64 ? THAW_NPY_U64 : THAW_NPY_U32, 1,
                                       side_of(t, side)->part_nnz[p], 1, 0};
    }
}

static int part_open(struct thaw_tables *t, enum thaw_side side, int32_t p, size_t *at,
                     struct thaw_err *err) {
    char name[THAW_PART_FILE], path[THAW_PATH_MAX];
    for (int which = 0; which < thaw_table_side_files(side); which++) {
        struct thaw_npy *a = &t->part[side][p].file[which];
        thaw_part_file(name, side, p, t->nparts, thaw_table_ext[which]);
        int code = file_open(t, (*at)++, name, a, path, err);
        if (code) return code;
        const struct thaw_npy_shape want = shape_wanted(t, side, p, which, &a->shape);
        code = shape_check(&a->shape, &want, path, err);
        if (code) return code;
        if (which == FILE_IDS && (a->shape.width < 1 || a->shape.width > ID_MAX))
            return thaw_fail(err, THAW_EDATA, "%s: ids of %" PRId64 " bytes", path, a->shape.width);
        if (which == FILE_ROWS &&
            a->map.nbytes) // a hint: fewer page faults where the system has huge pages for files
            madvise((void *)(uintptr_t)a->map.base, (size_t)a->map.nbytes, MADV_HUGEPAGE);
    }
    return THAW_OK;
}

// Behind the gramian, two files a part; `at` is where they begin if they are there.
static int attributes_open(struct thaw_tables *t, size_t at, struct thaw_err *err) {
    char name[THAW_PART_FILE], path[THAW_PATH_MAX];
    int code = THAW_OK;
    thaw_part_file(name, THAW_ITEMS, 0, t->nparts, thaw_table_attribute_ext[0]);
    if (at >= t->manifest->n_files || strcmp(t->manifest->files[at]->name, name)) return THAW_OK;
    if (t->manifest->n_files - at < 2 * (size_t)t->nparts)
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: attributes of some parts are missing", t->dir);
    for (int i = 0; !code && i < 2; i++)
        code = thaw_alloc(&t->attributes[i], (size_t)t->nparts, sizeof *t->attributes[i], "attributes", err);
    for (int32_t p = 0; !code && p < t->nparts; p++)
        for (int i = 0; !code && i < 2; i++) {
            struct thaw_npy *a = &t->attributes[i][p];
            thaw_part_file(name, THAW_ITEMS, p, t->nparts, thaw_table_attribute_ext[i]);
            code = file_open(t, at++, name, a, path, err);
            const struct thaw_npy_shape want = {i ? THAW_NPY_U32 : THAW_NPY_I64, 1,
                                                i ? a->shape.rows : t->part[THAW_ITEMS][p].nrows + 1, 1, 0};
            if (!code) code = shape_check(&a->shape, &want, path, err);
        }
    return code;
}

static int files_open(struct thaw_tables *t, struct thaw_err *err) {
    size_t at = 0;
    int code = THAW_OK;
    for (int side = THAW_USERS; side <= THAW_ITEMS; side++)
        for (int32_t p = 0; !code && p < t->nparts; p++)
            code = part_open(t, (enum thaw_side)side, p, &at, err);
    char path[THAW_PATH_MAX];
    if (!code) code = file_open(t, at, THAW_TABLE_GRAMIAN, &t->gramian, path, err);
    if (code) return code;
    const int k = t->manifest->als->factors;
    const struct thaw_npy_shape want = {THAW_NPY_F64, 2, k, k, 8};
    code = shape_check(&t->gramian.shape, &want, path, err);
    return code ? code : attributes_open(t, at + 1, err);
}

int thaw_tables_open(struct thaw_tables **out, const char *dir, struct thaw_err *err) {
    struct thaw_tables *t = NULL;
    ProtobufCMessage *message = NULL;
    int code = thaw_alloc(&t, 1, sizeof *t, "tables", err);
    if (!code) code = version_dir(t->dir, dir, err);
    if (!code) code = thaw_pack_read(t->dir, "manifest.pb", &thaw__tables__descriptor, &message, err);
    if (code) goto done;
    t->manifest = (Thaw__Tables *)message;
    code = manifest_check(t, err);
    if (!code) code = files_open(t, err);
done:
    if (code)
        thaw_tables_close(&t);
    else
        *out = t;
    return code;
}

void thaw_tables_close(struct thaw_tables **out) {
    struct thaw_tables *t = *out;
    if (!t) return;
    for (int side = 0; side < 2; side++) {
        for (int32_t p = 0; t->part[side] && p < t->nparts; p++)
            for (int which = 0; which < NFILES; which++) thaw_npy_close(&t->part[side][p].file[which]);
        free(t->part[side]);
        free(t->first_row[side]);
    }
    for (int i = 0; i < 2; i++) {
        for (int32_t p = 0; t->attributes[i] && p < t->nparts; p++) thaw_npy_close(&t->attributes[i][p]);
        free(t->attributes[i]);
    }
    thaw_npy_close(&t->gramian);
    if (t->manifest) thaw__tables__free_unpacked(t->manifest, NULL);
    free(t);
    *out = NULL;
}

// ---- Looking ----

const Thaw__Tables *thaw_tables_manifest(const struct thaw_tables *t) {
    return t->manifest;
}

const char *thaw_tables_dir(const struct thaw_tables *t) {
    return t->dir;
}

int64_t thaw_tables_rows(const struct thaw_tables *t, enum thaw_side side) {
    return t->first_row[side][t->nparts];
}

int thaw_tables_columns(const struct thaw_tables *t) {
    return t->columns;
}

int32_t thaw_tables_part_of(const struct thaw_tables *t, enum thaw_side side, int64_t row) {
    const int64_t *first = t->first_row[side];
    int32_t low = 0, high = t->nparts;
    while (high - low > 1) {
        int32_t mid = low + (high - low) / 2;
        if (first[mid] <= row)
            low = mid;
        else
            high = mid;
    }
    return low;
}

int64_t thaw_tables_find(const struct thaw_tables *t, enum thaw_side side, const char *id, size_t nbytes) {
    const uint64_t hash = thaw_hash_id(id, nbytes);
    const int32_t p = thaw_hash_part(hash, t->nparts);
    const struct table_part *part = &t->part[side][p];
    const size_t width = (size_t)part->file[FILE_IDS].shape.width;
    if (nbytes > width) return -1;
    const uint32_t *slot = part->file[FILE_INDEX].data;
    const char *ids = part->file[FILE_IDS].data;
    const uint64_t nslots = (uint64_t)part->file[FILE_INDEX].shape.rows;
    uint64_t at = thaw_hash_slot(hash, nslots);
    for (uint64_t probes = 0; probes < nslots && slot[at]; probes++, at = (at + 1) & (nslots - 1)) {
        const int64_t row = (int64_t)slot[at] - 1;
        if (row >= part->nrows) return -1;
        const char *known = ids + (size_t)row * width;
        if (!memcmp(known, id, nbytes) && (nbytes == width || !known[nbytes]))
            return t->first_row[side][p] + row;
    }
    return -1;
}

const float *thaw_tables_vector(const struct thaw_tables *t, enum thaw_side side, int64_t row) {
    const int32_t p = thaw_tables_part_of(t, side, row);
    return (const float *)t->part[side][p].file[FILE_ROWS].data + (row - t->first_row[side][p]) * t->columns;
}

const char *thaw_tables_id(const struct thaw_tables *t, enum thaw_side side, int64_t row, size_t *nbytes) {
    const int32_t p = thaw_tables_part_of(t, side, row);
    const struct thaw_npy *ids = &t->part[side][p].file[FILE_IDS];
    const char *id = (const char *)ids->data + (row - t->first_row[side][p]) * ids->shape.width;
    *nbytes = thaw_table_id_length(id, ids->shape.width);
    return id;
}

int64_t thaw_tables_degree(const struct thaw_tables *t, enum thaw_side side, int64_t row) {
    const int32_t p = thaw_tables_part_of(t, side, row);
    return ((const int64_t *)t->part[side][p].file[FILE_DEGREE].data)[row - t->first_row[side][p]];
}

int64_t thaw_tables_seen(const struct thaw_tables *t, int64_t user, int64_t *first) {
    const int32_t p = thaw_tables_part_of(t, THAW_USERS, user);
    const struct table_part *part = &t->part[THAW_USERS][p];
    const int64_t *ptr =
        (const int64_t *)part->file[FILE_SEEN_PTR].data + (user - t->first_row[THAW_USERS][p]);
    if (ptr[0] < 0 || ptr[1] < ptr[0] || ptr[1] > part->file[FILE_SEEN].shape.rows) return -1;
    *first = ptr[0];
    return ptr[1] - ptr[0];
}

int64_t thaw_tables_seen_item(const struct thaw_tables *t, int64_t user, int64_t first, int64_t at) {
    const int32_t p = thaw_tables_part_of(t, THAW_USERS, user);
    const struct thaw_npy *seen = &t->part[THAW_USERS][p].file[FILE_SEEN];
    const uint64_t item = seen->shape.type == THAW_NPY_U64 ? ((const uint64_t *)seen->data)[first + at]
                                                           : ((const uint32_t *)seen->data)[first + at];
    return item < (uint64_t)thaw_tables_rows(t, THAW_ITEMS) ? (int64_t)item : -1;
}

const float *thaw_tables_part(const struct thaw_tables *t, enum thaw_side side, int32_t part, int64_t *nrows,
                              int64_t *first_row) {
    *nrows = t->part[side][part].nrows;
    *first_row = t->first_row[side][part];
    return t->part[side][part].file[FILE_ROWS].data;
}

const double *thaw_tables_gramian(const struct thaw_tables *t) {
    return t->gramian.data;
}

bool thaw_tables_has_attributes(const struct thaw_tables *t) {
    return t->attributes[0] != NULL;
}

int64_t thaw_tables_attributes(const struct thaw_tables *t, int64_t item, const uint32_t **columns) {
    *columns = NULL;
    if (!t->attributes[0]) return 0;
    const int32_t p = thaw_tables_part_of(t, THAW_ITEMS, item);
    const int64_t *ptr = (const int64_t *)t->attributes[0][p].data + (item - t->first_row[THAW_ITEMS][p]);
    if (ptr[0] < 0 || ptr[1] < ptr[0] || ptr[1] > t->attributes[1][p].shape.rows) return -1;
    *columns = (const uint32_t *)t->attributes[1][p].data + ptr[0];
    return ptr[1] - ptr[0];
}
