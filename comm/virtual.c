// virtual.c: virtual interactions in files.
#include "comm/virtual.h"

#include "base/mem.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *thaw_virtual_file(char buf[THAW_PART_FILE], enum thaw_virtual_kind kind, int32_t part, int32_t nparts) {
    snprintf(buf, THAW_PART_FILE, "%s-%05d-of-%05d.npz", kind == THAW_VIRTUAL_USERS ? "users" : "extra",
             (int)part, (int)nparts);
    return buf;
}

int thaw_virtual_part_write(const char *dir, enum thaw_virtual_kind kind, int32_t part, int32_t nparts,
                            const struct thaw_virtual_rows *rows, struct thaw_file_info *info,
                            struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_PART_FILE];
    struct thaw_npz_out *z = NULL;
    const int64_t n = rows->indptr[rows->nrows];
    const struct thaw_npy_shape indptr = {THAW_NPY_I64, 1, rows->nrows + 1, 1, 8},
                                indices = {THAW_NPY_U32, 1, n, 1, 4}, weights = {THAW_NPY_F32, 1, n, 1, 4};
    int code = thaw_path_join(path, dir, thaw_virtual_file(name, kind, part, nparts), err);
    if (!code) code = thaw_npz_create(&z, path, err);
    if (!code) code = thaw_npz_add(z, "indptr", &indptr, rows->indptr, err);
    if (!code) code = thaw_npz_add(z, "indices", &indices, rows->indices, err);
    if (!code) code = thaw_npz_add(z, "weights", &weights, rows->weights, err);
    if (code)
        thaw_npz_discard(&z);
    else
        code = thaw_npz_commit(&z, info, err);
    return code;
}

// ---- The folder ----

static int check(const struct thaw_virtual *v, const struct thaw_dataset *d, struct thaw_err *err) {
    const Thaw__Virtual *m = v->manifest;
    const Thaw__Side *users = d->manifest->users;
    if (m->format != 1)
        return thaw_fail(err, THAW_EDATA,
                         "%s: manifest.pb has format %u; this version of Thaw reads format 1", v->dir,
                         (unsigned)m->format);
    if (m->dataset_digest != d->digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its virtual interactions are for a dataset of digest %016" PRIx64
                         ", but %s has digest %016" PRIx64,
                         v->dir, m->dataset_digest, d->dir, d->digest);
    bool fits = m->items == thaw_dataset_rows(d, THAW_ITEMS) && m->n_part_rows == users->n_part_rows &&
                (m->n_extra_rows == 0 || m->n_extra_rows == users->n_part_rows);
    for (size_t p = 0; fits && p < m->n_part_rows; p++) fits = m->part_rows[p] == users->part_rows[p];
    for (size_t p = 0; fits && p < m->n_extra_rows; p++)
        fits = m->extra_rows[p] >= 0 && m->extra_rows[p] <= INT32_MAX;
    return fits ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: its counts do not fit the dataset's", v->dir);
}

int thaw_virtual_open(struct thaw_virtual **out, const char *dir, const struct thaw_dataset *d,
                      struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_virtual *v = NULL;
    ProtobufCMessage *message = NULL;
    int code = thaw_path_join(path, dir, "manifest.pb", err);
    if (!code && !thaw_path_exists(path))
        code =
            thaw_fail(err, THAW_ENOINPUT,
                      "%s: no virtual interactions here (no manifest.pb): name the folder 'virtual' in the "
                      "one that 'thaw augment' wrote",
                      dir);
    if (!code) code = thaw_alloc(&v, 1, sizeof *v, "virtual interactions", err);
    if (!code && !(v->dir = strdup(dir))) code = thaw_fail(err, THAW_EMEM, "no memory for a folder's name");
    if (!code) code = thaw_pack_read(dir, "manifest.pb", &thaw__virtual__descriptor, &message, err);
    if (!code) v->manifest = (Thaw__Virtual *)message;
    if (!code) code = check(v, d, err);
    if (!code) code = thaw_pack_digest(&v->manifest->base, &v->digest, err);
    if (code)
        thaw_virtual_close(&v);
    else
        *out = v;
    return code;
}

void thaw_virtual_close(struct thaw_virtual **v) {
    if (!*v) return;
    if ((*v)->manifest) thaw__virtual__free_unpacked((*v)->manifest, NULL);
    free((*v)->dir);
    free(*v);
    *v = NULL;
}

// ---- A part ----

static int get(const struct thaw_npz *z, const char *path, const char *name, enum thaw_npy_type type,
               int64_t rows, const void **data, struct thaw_err *err) {
    struct thaw_npy_shape shape;
    const int code = thaw_npz_get(z, name, &shape, data, err);
    if (code) return code;
    if (shape.type == type && shape.ndim == 1 && (rows < 0 || shape.rows == rows)) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: %s has a wrong type or length", path, name);
}

static int check_rows(const struct thaw_virtual_rows *r, int64_t items, const char *path,
                      struct thaw_err *err) {
    for (int64_t row = 0; row < r->nrows; row++)
        for (int64_t i = r->indptr[row]; i < r->indptr[row + 1]; i++)
            if (r->indices[i] >= items || (i > r->indptr[row] && r->indices[i] <= r->indices[i - 1]) ||
                !(r->weights[i] > 0 && r->weights[i] <= 1))
                return thaw_fail(err, THAW_EDATA, "%s: row %" PRId64 " holds a wrong item or weight", path,
                                 row);
    return THAW_OK;
}

static int get_rows(struct thaw_virtual_part *p, int64_t nrows, int64_t items, const char *path,
                    struct thaw_err *err) {
    const void *indptr, *indices, *weights;
    int code = get(p->npz, path, "indptr", THAW_NPY_I64, nrows + 1, &indptr, err);
    if (code) return code;
    p->rows.nrows = nrows;
    p->rows.indptr = indptr;
    bool rising = p->rows.indptr[0] == 0;
    for (int64_t r = 0; rising && r < nrows; r++) rising = p->rows.indptr[r + 1] >= p->rows.indptr[r];
    if (!rising) return thaw_fail(err, THAW_EDATA, "%s: indptr does not rise from 0", path);
    code = get(p->npz, path, "indices", THAW_NPY_U32, p->rows.indptr[nrows], &indices, err);
    if (!code) code = get(p->npz, path, "weights", THAW_NPY_F32, p->rows.indptr[nrows], &weights, err);
    if (code) return code;
    p->rows.indices = indices;
    p->rows.weights = weights;
    return check_rows(&p->rows, items, path, err);
}

int thaw_virtual_part_open(struct thaw_virtual_part *p, const struct thaw_virtual *v,
                           enum thaw_virtual_kind kind, int32_t part, struct thaw_err *err) {
    const Thaw__Virtual *m = v->manifest;
    char path[THAW_PATH_MAX], name[THAW_PART_FILE];
    struct thaw_file_info info;
    const int64_t nrows = kind == THAW_VIRTUAL_USERS ? m->part_rows[part] : m->extra_rows[part];
    *p = (struct thaw_virtual_part){0};
    thaw_virtual_file(name, kind, part, (int32_t)m->n_part_rows);
    if (!thaw_pack_find(m->files, m->n_files, name, &info))
        return thaw_fail(err, THAW_EDATA, "%s: its manifest does not list %s", v->dir, name);
    int code = thaw_path_join(path, v->dir, name, err);
    if (!code) code = thaw_npz_open(&p->npz, path, &info, err);
    if (!code) code = thaw_npz_check(p->npz, &info, err);
    if (!code) code = get_rows(p, nrows, m->items, path, err);
    if (code) thaw_virtual_part_close(p);
    return code;
}

void thaw_virtual_part_close(struct thaw_virtual_part *p) {
    thaw_npz_close(&p->npz);
    *p = (struct thaw_virtual_part){0};
}
