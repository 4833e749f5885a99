// cold_tables.c: a version of the tables as a source of cold-start models.
#include "cold/cold.h"

#include "base/mem.h"
#include "table/table.h"

int thaw_cold_source_of_tables(struct thaw_cold_source *s, const struct thaw_tables *t,
                               struct thaw_err *err) {
    const Thaw__Tables *m = thaw_tables_manifest(t);
    const char *dir = thaw_tables_dir(t);
    const float **rows = NULL;
    int code = thaw_alloc(&rows, (size_t)m->parts, sizeof(*rows), "the items' parts", err);
    for (int32_t p = 0; !code && p < m->parts; p++) {
        int64_t nrows, first;
        rows[p] = thaw_tables_part(t, THAW_ITEMS, p, &nrows, &first);
    }
    if (code) return code;
    *s = (struct thaw_cold_source){.items_dir = dir,
                                   .item_rows = rows,
                                   .items = m->items,
                                   .als = m->als,
                                   .prior_dir = dir,
                                   .association_dir = dir,
                                   .generator_dir = dir,
                                   .prior = m->prior,
                                   .association = m->association,
                                   .generator = m->generator,
                                   .blend = m->blend,
                                   .gramian = thaw_tables_gramian(t),
                                   .dataset_digest = m->dataset_digest,
                                   .model_digest = m->model_digest};
    return THAW_OK;
}
