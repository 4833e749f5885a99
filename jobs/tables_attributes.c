// tables_attributes.c: see tables_attributes.h.
#include "jobs/tables_attributes.h"

#include "base/mem.h"
#include "table/table.h"

#include <stdlib.h>

static bool named(const Thaw__Attribute *a) {
    return a->kind == THAW__ATTRIBUTE__KIND__CATEGORICAL || a->kind == THAW__ATTRIBUTE__KIND__MULTI;
}

static bool is_named(const Thaw__Dataset *m, uint32_t column) {
    for (size_t i = 0; i < m->n_item_attributes; i++) {
        const Thaw__Attribute *a = m->item_attributes[i];
        if (named(a) && column >= (uint32_t)a->first_column &&
            column - (uint32_t)a->first_column < (uint32_t)a->columns)
            return true;
    }
    return false;
}

// The shard's feature rows without values, and without columns that have no name. *indptr, *columns: owned.
static int columns_named(const Thaw__Dataset *m, const struct thaw_shard *s, int64_t **indptr,
                         uint32_t **columns, struct thaw_err *err) {
    const int64_t *ptr = s->feature_indptr;
    int64_t n = 0;
    int code = thaw_alloc(indptr, (size_t)s->nrows + 1, sizeof(**indptr), "attributes", err);
    if (!code)
        code = thaw_alloc(columns, ptr ? (size_t)ptr[s->nrows] : 0, sizeof(**columns), "attributes", err);
    for (int64_t r = 0; !code && r < s->nrows; r++) {
        for (int64_t i = ptr ? ptr[r] : 0; ptr && i < ptr[r + 1]; i++)
            if (is_named(m, s->feature_indices[i])) (*columns)[n++] = s->feature_indices[i];
        (*indptr)[r + 1] = n;
    }
    return code;
}

static int part_copy(const struct thaw_dataset *d, const char *dir, int32_t part, Thaw__File **files,
                     struct thaw_err *err) {
    struct thaw_shard shard;
    int64_t *indptr = NULL;
    uint32_t *columns = NULL;
    int code = thaw_shard_open(&shard, d, THAW_ITEMS, part, true, err);
    if (code) return code;
    code = columns_named(d->manifest, &shard, &indptr, &columns, err);
    if (!code)
        code = thaw_table_attributes_write(dir, part, d->manifest->parts, shard.nrows, indptr, columns, files,
                                           err);
    free(indptr);
    free(columns);
    thaw_shard_close(&shard);
    return code;
}

int thaw_tables_attributes_copy(const struct thaw_dataset *d, const char *dir, int32_t first, int32_t end,
                                Thaw__Tables *list, size_t *cap, struct thaw_err *err) {
    bool any = false;
    int code = THAW_OK;
    for (size_t i = 0; i < d->manifest->n_item_attributes; i++)
        any = any || named(d->manifest->item_attributes[i]);
    for (int32_t p = first; !code && any && p < end; p++) {
        code = thaw_grow(&list->files, cap, list->n_files + THAW_TABLE_ATTRIBUTE_FILES, sizeof(*list->files),
                         "file entries", err);
        if (!code) code = part_copy(d, dir, p, list->files + list->n_files, err);
        if (!code) list->n_files += THAW_TABLE_ATTRIBUTE_FILES;
    }
    return code;
}
