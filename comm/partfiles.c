// partfiles.c: see partfiles.h.
#include "comm/partfiles.h"

#include "base/mem.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int no_memory(struct thaw_err *err) {
    return thaw_fail(err, THAW_EMEM, "no memory for file entries");
}

int thaw_partfiles_add(struct thaw_partfiles *p, const char *name, const struct thaw_file_info *info,
                       struct thaw_err *err) {
    int code = thaw_grow(&p->file, &p->cap, p->n + 1, sizeof(*p->file), "file entries", err);
    if (code) return code;
    Thaw__File *f = malloc(sizeof *f);
    if (!f) return no_memory(err);
    thaw__file__init(f);
    p->file[p->n++] = f;
    f->name = strdup(name);
    f->nbytes = info->nbytes;
    f->n_sums = (size_t)info->nsums;
    f->sums = malloc(f->n_sums * sizeof *f->sums + 1);
    if (!f->name || !f->sums) return no_memory(err);
    if (f->n_sums) memcpy(f->sums, info->sums, f->n_sums * sizeof *f->sums);
    return THAW_OK;
}

int thaw_partfiles_put(struct thaw_partfiles *p, const char *dir, const char *name,
                       const struct thaw_npy_shape *s, const void *data, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_file_info info = {0};
    int code = thaw_path_join(path, dir, name, err);
    if (!code) code = thaw_npy_put(path, s, data, &info, err);
    if (!code) code = thaw_partfiles_add(p, name, &info, err);
    thaw_file_info_clear(&info);
    return code;
}

void thaw_partfiles_clear(struct thaw_partfiles *p) {
    for (size_t i = 0; i < p->n; i++) thaw__file__free_unpacked(p->file[i], NULL);
    free(p->file);
    *p = (struct thaw_partfiles){0};
}

// Serialized messages join by concatenation: lists of files do.
int thaw_partfiles_gather(struct thaw_partfiles *p, struct thaw_comm *c, struct thaw_err *err) {
    Thaw__Generator list = THAW__GENERATOR__INIT, *joined = NULL;
    uint8_t *own = NULL;
    void *all = NULL;
    int64_t total = 0;
    list.files = p->file;
    list.n_files = p->n;
    const size_t nbytes = thaw__generator__get_packed_size(&list);
    int code = thaw_comm_agree(c, thaw_alloc(&own, nbytes, 1, "file entries", err), err);
    if (code) goto done;
    thaw__generator__pack(&list, own);
    if ((code = thaw_comm_gather(c, own, (int64_t)nbytes, 0, &all, &total, err))) goto done;
    if (thaw_comm_rank(c) == 0 && !(joined = thaw__generator__unpack(NULL, (size_t)total, all)))
        code = no_memory(err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_partfiles_clear(p);
    if (joined) {
        *p = (struct thaw_partfiles){.file = joined->files, .n = joined->n_files, .cap = joined->n_files};
        joined->files = NULL;
        joined->n_files = 0;
    }
done:
    if (joined) thaw__generator__free_unpacked(joined, NULL);
    free(own);
    free(all);
    return code;
}

int thaw_partfiles_open(struct thaw_npy *a, const char *dir, Thaw__File *const *files, size_t nfiles,
                        const char *name, const struct thaw_npy_shape *want, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_file_info info;
    int code = thaw_path_join(path, dir, name, err);
    if (code) return code;
    if (!thaw_pack_find(files, nfiles, name, &info))
        return thaw_fail(err, THAW_EDATA, "%s: its manifest.pb does not name %s", dir, name);
    if ((code = thaw_npy_open(a, path, &info, err))) return code;
    if (a->shape.type != want->type || a->shape.ndim != want->ndim || a->shape.rows != want->rows ||
        a->shape.cols != want->cols)
        code = thaw_fail(err, THAW_EDATA, "%s: not %" PRId64 " x %" PRId64 " numbers of the right type", path,
                         want->rows, want->cols);
    if (!code) code = thaw_map_check(&a->map, path, &info, err);
    if (code) thaw_npy_close(a);
    return code;
}
