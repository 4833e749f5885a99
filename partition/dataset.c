// dataset.c: opening a dataset: its manifest is checked until the numbers in it fit together.
#include "base/mem.h"
#include "partition/shard.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char manifest_name[] = "manifest.pb";
enum { FORMAT = 1, ID_MAX = 255 };

static int bad(const struct thaw_dataset *d, const char *what, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA, "%s/%s: %s", d->dir, manifest_name, what);
}

static bool adds_up(const int64_t *x, size_t n, int64_t *total) {
    *total = 0;
    for (size_t i = 0; i < n; i++)
        if (x[i] < 0 || __builtin_add_overflow(*total, x[i], total)) return false;
    return true;
}

static int check_side(const struct thaw_dataset *d, const Thaw__Side *side, struct thaw_err *err) {
    int64_t rows, nnz;
    size_t nparts = (size_t)d->manifest->parts;
    if (side == NULL) return bad(d, "a side (users, items) is missing", err);
    if (side->n_part_rows != nparts || side->n_part_nnz != nparts)
        return bad(d, "the number of parts is not that of their rows and interactions", err);
    if (!adds_up(side->part_rows, nparts, &rows)) return bad(d, "the parts' rows do not add up", err);
    if (!adds_up(side->part_nnz, nparts, &nnz) || nnz != d->manifest->interactions)
        return bad(d, "the parts' interactions do not add up to the total", err);
    if (side->id_width < 0 || side->id_width > ID_MAX || (rows > 0 && side->id_width == 0))
        return bad(d, "an id width is out of range", err);
    return side->features < 0 ? bad(d, "a number of features is negative", err) : THAW_OK;
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(Thaw__File *const *)a)->name, (*(Thaw__File *const *)b)->name);
}

// Every part has one entry, of a length that its checksums cover. files: a copy sorted by name, n of them.
static int check_parts(const struct thaw_dataset *d, Thaw__File **files, size_t n, struct thaw_err *err) {
    char name[THAW_PART_FILE];
    Thaw__File key = THAW__FILE__INIT, *wanted = &key;
    key.name = name;
    for (size_t i = 0; i < n; i++) {
        int64_t chunks = files[i]->nbytes / THAW_SUM_CHUNK + (files[i]->nbytes % THAW_SUM_CHUNK != 0);
        int code = thaw_pack_check_name(files[i]->name, d->dir, err);
        if (code != THAW_OK) return code;
        if (files[i]->nbytes < 0 || (int64_t)files[i]->n_sums != chunks)
            return bad(d, "a file's checksums do not cover its length", err);
        if (i > 0 && by_name(&files[i - 1], &files[i]) == 0) return bad(d, "a file is listed twice", err);
    }
    for (int side = THAW_USERS; side <= THAW_ITEMS; side++)
        for (int32_t part = 0; part < d->manifest->parts; part++) {
            thaw_part_file(name, (enum thaw_side)side, part, d->manifest->parts, "npz");
            if (bsearch(&wanted, files, n, sizeof *files, by_name) == NULL)
                return thaw_fail(err, THAW_EDATA, "%s/%s: it does not list %s", d->dir, manifest_name, name);
        }
    return THAW_OK;
}

static int check_files(const struct thaw_dataset *d, struct thaw_err *err) {
    const Thaw__Dataset *m = d->manifest;
    Thaw__File **files = NULL;
    int code = thaw_alloc(&files, m->n_files, sizeof *files, "the list of a dataset's files", err);
    if (code != THAW_OK) return code;
    if (m->n_files > 0) {
        memcpy(files, m->files, m->n_files * sizeof *files);
        qsort(files, m->n_files, sizeof *files, by_name);
    }
    code = check_parts(d, files, m->n_files, err);
    free(files);
    return code;
}

static int check_manifest(const struct thaw_dataset *d, struct thaw_err *err) {
    const Thaw__Dataset *m = d->manifest;
    if (m->format != FORMAT)
        return thaw_fail(err, THAW_EDATA, "%s/%s: format %" PRIu32 ", this version of Thaw reads format %d",
                         d->dir, manifest_name, m->format, FORMAT);
    if (m->parts < 1 || m->parts > THAW_PARTS_MAX) return bad(d, "the number of parts is out of range", err);
    if (m->interactions < 0) return bad(d, "the number of interactions is negative", err);
    int code = check_side(d, m->users, err);
    if (code == THAW_OK) code = check_side(d, m->items, err);
    return code == THAW_OK ? check_files(d, err) : code;
}

int thaw_dataset_open(struct thaw_dataset **out, const char *dir, struct thaw_err *err) {
    struct thaw_dataset *d = NULL;
    ProtobufCMessage *message = NULL;
    char path[THAW_PATH_MAX];
    int code = thaw_path_join(path, dir, manifest_name, err);
    if (code != THAW_OK) return code;
    if (!thaw_path_exists(path))
        return thaw_fail(err, THAW_ENOINPUT, "%s: no dataset here (no %s): 'thaw prepare' makes one", dir,
                         manifest_name);
    code = thaw_alloc(&d, 1, sizeof *d, "a dataset", err);
    if (code != THAW_OK) return code;
    if ((d->dir = strdup(dir)) == NULL)
        code = thaw_fail(err, THAW_EMEM, "cannot allocate the name of %s", dir);
    if (code == THAW_OK) code = thaw_pack_read(dir, manifest_name, &thaw__dataset__descriptor, &message, err);
    if (code != THAW_OK) goto done;
    d->manifest = (Thaw__Dataset *)message;
    code = check_manifest(d, err);
    if (code == THAW_OK) code = thaw_pack_digest(message, &d->digest, err);
done:
    if (code == THAW_OK)
        *out = d;
    else
        thaw_dataset_close(&d);
    return code;
}

void thaw_dataset_close(struct thaw_dataset **pd) {
    struct thaw_dataset *d = *pd;
    if (d == NULL) return;
    if (d->manifest != NULL) thaw__dataset__free_unpacked(d->manifest, NULL);
    free(d->dir);
    free(d);
    *pd = NULL;
}

int64_t thaw_dataset_rows(const struct thaw_dataset *d, enum thaw_side side) {
    const Thaw__Side *s = side == THAW_USERS ? d->manifest->users : d->manifest->items;
    int64_t rows = 0;
    for (size_t i = 0; i < s->n_part_rows; i++) rows += s->part_rows[i]; // the sum was checked on opening
    return rows;
}
