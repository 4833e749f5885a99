// table_check.c: reading every byte of a version: checksums first, then what lookups rely on.
#include "base/hash.h"
#include "proto/pack.h"
#include "table/table_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

// One part at work: its mapped files and the folder and names for messages.
struct subject {
    const struct thaw_tables *t;
    enum thaw_side side;
    int32_t number;
    const struct table_part *part;
};

static int damaged(const struct subject *s, int which, int64_t row, const char *what, struct thaw_err *err) {
    char name[THAW_PART_FILE];
    thaw_part_file(name, s->side, s->number, s->t->nparts, thaw_table_ext[which]);
    return thaw_fail(err, THAW_EDATA, "%s/%s: row %" PRId64 ": %s", s->t->dir, name, row, what);
}

static int sums_check(const struct thaw_tables *t, size_t at, const struct thaw_npy *a,
                      struct thaw_err *err) {
    const Thaw__File *file = t->manifest->files[at];
    const struct thaw_file_info info = {file->nbytes, file->sums, (int32_t)file->n_sums};
    char path[THAW_PATH_MAX];
    int code = thaw_path_join(path, t->dir, file->name, err);
    return code ? code : thaw_map_check(&a->map, path, &info, err);
}

// A file of the cold-start models.
static int other_check(const struct thaw_tables *t, size_t at, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    const Thaw__File *file = t->manifest->files[at];
    struct thaw_npy a = {0};
    int code = thaw_path_join(path, t->dir, "manifest.pb", err);
    if (!code) code = thaw_pack_check_name(file->name, path, err);
    if (!code) code = thaw_path_join(path, t->dir, file->name, err);
    if (!code) code = thaw_npy_open(&a, path, NULL, err);
    if (!code) code = sums_check(t, at, &a, err);
    thaw_npy_close(&a);
    return code;
}

static int rows_check(const struct subject *s, struct thaw_err *err) {
    const float *x = s->part->file[FILE_ROWS].data;
    const int64_t columns = s->t->columns;
    for (int64_t i = 0; i < s->part->nrows * columns; i++)
        if (!isfinite(x[i])) return damaged(s, FILE_ROWS, i / columns, "not a finite number", err);
    return THAW_OK;
}

// Every id belongs here, appears once and is found again; the index holds nothing else.
static int ids_check(const struct subject *s, struct thaw_err *err) {
    const struct thaw_npy *ids = &s->part->file[FILE_IDS], *index = &s->part->file[FILE_INDEX];
    const int64_t width = ids->shape.width, first = s->t->first_row[s->side][s->number];
    for (int64_t row = 0; row < s->part->nrows; row++) {
        const char *id = (const char *)ids->data + row * width;
        const size_t n = thaw_table_id_length(id, width);
        for (size_t i = n; i < (size_t)width; i++)
            if (id[i]) return damaged(s, FILE_IDS, row, "an id with a zero byte inside", err);
        if (thaw_hash_part(thaw_hash_id(id, n), s->t->nparts) != s->number)
            return damaged(s, FILE_IDS, row, "an id of another part", err);
        if (thaw_tables_find(s->t, s->side, id, n) != first + row)
            return damaged(s, FILE_INDEX, row, "the index does not lead to this row", err);
    }
    int64_t used = 0;
    for (int64_t i = 0; i < index->shape.rows; i++) used += ((const uint32_t *)index->data)[i] != 0;
    return used == s->part->nrows ? THAW_OK
                                  : damaged(s, FILE_INDEX, used, "entries that lead to no row", err);
}

static int degrees_check(const struct subject *s, struct thaw_err *err) {
    const int64_t *degree = s->part->file[FILE_DEGREE].data;
    const int64_t *ptr = s->side == THAW_USERS ? s->part->file[FILE_SEEN_PTR].data : NULL;
    const Thaw__Side *side = s->side == THAW_USERS ? s->t->manifest->users : s->t->manifest->items;
    int64_t left = side->part_nnz[s->number];
    for (int64_t row = 0; row < s->part->nrows; row++) {
        if (degree[row] < 0 || degree[row] > left)
            return damaged(s, FILE_DEGREE, row, "impossible degree", err);
        left -= degree[row];
        if (ptr && (ptr[row + 1] < ptr[row] || ptr[row + 1] - ptr[row] != degree[row]))
            return damaged(s, FILE_SEEN_PTR, row, "does not fit the degree", err);
    }
    if (ptr && ptr[0]) return damaged(s, FILE_SEEN_PTR, 0, "does not start at 0", err);
    return left ? damaged(s, FILE_DEGREE, s->part->nrows,
                          "degrees do not add up to the manifest's interactions", err)
                : THAW_OK;
}

static int seen_check(const struct subject *s, struct thaw_err *err) {
    const int64_t first_user = s->t->first_row[THAW_USERS][s->number];
    for (int64_t row = 0; row < s->part->nrows; row++) {
        int64_t first, before = -1, n = thaw_tables_seen(s->t, first_user + row, &first);
        if (n < 0) return damaged(s, FILE_SEEN_PTR, row, "out of range", err);
        for (int64_t i = 0; i < n; i++) {
            const int64_t item = thaw_tables_seen_item(s->t, first_user + row, first, i);
            if (item <= before) return damaged(s, FILE_SEEN, row, "items out of range or not rising", err);
            before = item;
        }
    }
    return THAW_OK;
}

static int part_check(const struct subject *s, size_t *at, struct thaw_err *err) {
    int code = THAW_OK;
    for (int which = 0; !code && which < thaw_table_side_files(s->side); which++)
        code = sums_check(s->t, (*at)++, &s->part->file[which], err);
    if (!code) code = rows_check(s, err);
    if (!code) code = ids_check(s, err);
    if (!code) code = degrees_check(s, err);
    if (!code && s->side == THAW_USERS) code = seen_check(s, err);
    return code;
}

int thaw_tables_check(const struct thaw_tables *t, struct thaw_err *err) {
    size_t at = 0;
    int code = THAW_OK;
    for (int side = THAW_USERS; side <= THAW_ITEMS; side++)
        for (int32_t p = 0; !code && p < t->nparts; p++) {
            const struct subject s = {t, (enum thaw_side)side, p, &t->part[side][p]};
            code = part_check(&s, &at, err);
        }
    if (!code) code = sums_check(t, at++, &t->gramian, err);
    for (; !code && at < t->manifest->n_files; at++) code = other_check(t, at, err);
    const int64_t k = t->manifest->als->factors;
    for (int64_t i = 0; !code && i < k * k; i++)
        if (!isfinite(thaw_tables_gramian(t)[i]))
            code = thaw_fail(err, THAW_EDATA, "%s/%s: not a finite number", t->dir, THAW_TABLE_GRAMIAN);
    return code;
}
