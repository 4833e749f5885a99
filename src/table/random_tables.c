// random_tables.c: see random_tables.h.
#include "table/random_tables.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "proto/pack.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ID_WIDTH = 24, SEEN = 10, STREAM = 1000 };

// One side being written, and one part's arrays.
struct work {
    const struct thaw_random_tables *s;
    enum thaw_side side;
    int64_t nrows;
    int32_t *part; // of each id
    int64_t n;     // rows of the part at hand
    char *ids;
    float *rows;
    int64_t *indptr;
    uint32_t *seen;
};

static void fill_row(struct work *w, int64_t number) {
    struct thaw_rng rng = thaw_rng_at(w->s->seed, STREAM + (uint32_t)w->side, (uint64_t)number);
    snprintf(w->ids + w->n * ID_WIDTH, ID_WIDTH, "%c%" PRId64, w->side == THAW_USERS ? 'u' : 'i', number);
    float *x = w->rows + w->n * w->s->factors;
    for (int j = 0; j < w->s->factors; j++) x[j] = (float)(thaw_rng_uniform(&rng) - 0.5);
    uint32_t *seen = w->seen + w->n * SEEN;
    const uint64_t spacing = (uint64_t)w->s->items / SEEN;
    for (uint64_t j = 0; j < SEEN && w->side == THAW_USERS; j++)
        seen[j] = (uint32_t)(j * spacing + thaw_rng_below(&rng, spacing));
    w->n++;
    w->indptr[w->n] = w->side == THAW_USERS ? w->n * SEEN : 0;
}

static int part_arrays(struct work *w, int64_t most, struct thaw_err *err) {
    const size_t n = (size_t)most;
    int code = thaw_alloc(&w->ids, n, ID_WIDTH, "ids", err);
    if (!code) code = thaw_alloc(&w->rows, n * (size_t)w->s->factors, sizeof *w->rows, "rows", err);
    if (!code) code = thaw_alloc(&w->indptr, n + 1, sizeof *w->indptr, "degrees", err);
    if (!code) code = thaw_alloc(&w->seen, n * SEEN, sizeof *w->seen, "seen items", err);
    return code;
}

static int parts_assign(struct work *w, int64_t *part_rows, int64_t *most, struct thaw_err *err) {
    int code = thaw_alloc(&w->part, (size_t)w->nrows, sizeof *w->part, "parts", err);
    if (code) return code;
    for (int64_t i = 0; i < w->nrows; i++) {
        char id[ID_WIDTH];
        const int n = snprintf(id, sizeof id, "%c%" PRId64, w->side == THAW_USERS ? 'u' : 'i', i);
        w->part[i] = thaw_hash_part(thaw_hash_id(id, (size_t)n), w->s->parts);
        const int64_t rows = ++part_rows[w->part[i]];
        if (rows > *most) *most = rows;
    }
    return THAW_OK;
}

static int write_part(struct work *w, const char *dir, int32_t part, Thaw__Tables *m, struct thaw_err *err) {
    int nfiles = 0;
    w->n = 0;
    for (int64_t i = 0; i < w->nrows; i++)
        if (w->part[i] == part) fill_row(w, i);
    const struct thaw_table_part p = {.side = w->side,
                                      .part = part,
                                      .nparts = w->s->parts,
                                      .nrows = w->n,
                                      .columns = w->s->factors,
                                      .rows = w->rows,
                                      .id_width = ID_WIDTH,
                                      .ids = w->ids,
                                      .indptr = w->indptr,
                                      .indices = w->side == THAW_USERS ? w->seen : NULL};
    int code = thaw_table_part_write(dir, &p, m->files + m->n_files, &nfiles, err);
    m->n_files += (size_t)nfiles;
    return code;
}

static int write_side(const char *dir, const struct thaw_random_tables *s, enum thaw_side side,
                      Thaw__Tables *m, struct thaw_err *err) {
    struct work w = {.s = s, .side = side, .nrows = side == THAW_USERS ? s->users : s->items};
    Thaw__Side *entry = side == THAW_USERS ? m->users : m->items;
    int64_t most = 0;
    int code = parts_assign(&w, entry->part_rows, &most, err);
    if (!code) code = part_arrays(&w, most, err);
    for (int32_t p = 0; !code && p < s->parts; p++) {
        memset(w.ids, 0, (size_t)most * ID_WIDTH);
        code = write_part(&w, dir, p, m, err);
        entry->part_nnz[p] = side == THAW_USERS ? w.n * SEEN : 0;
    }
    free(w.part);
    free(w.ids);
    free(w.rows);
    free(w.indptr);
    free(w.seen);
    return code;
}

// The expected one: uniform factors of variance 1/12, independent.
static int write_gramian(const char *dir, const struct thaw_random_tables *s, Thaw__File *entry,
                         struct thaw_err *err) {
    const size_t k = (size_t)s->factors;
    double *g = NULL;
    char path[THAW_PATH_MAX];
    struct thaw_file_info info = {0};
    int code = thaw_alloc(&g, k * k, sizeof *g, "a gramian", err);
    for (size_t i = 0; !code && i < k; i++) g[i * k + i] = (double)s->items / 12;
    const struct thaw_npy_shape shape = {THAW_NPY_F64, 2, s->factors, s->factors, 8};
    if (!code) code = thaw_path_join(path, dir, THAW_TABLE_GRAMIAN, err);
    if (!code) code = thaw_npy_put(path, &shape, g, &info, err);
    free(g);
    if (code) return code;
    entry->name = THAW_TABLE_GRAMIAN;
    entry->nbytes = info.nbytes;
    entry->sums = info.sums; // the caller frees it
    entry->n_sums = (size_t)info.nsums;
    return THAW_OK;
}

static int write_all(const char *dir, const struct thaw_random_tables *s, Thaw__Tables *m,
                     struct thaw_err *err) {
    Thaw__File gramian = THAW__FILE__INIT;
    int code = write_side(dir, s, THAW_USERS, m, err);
    if (!code) code = write_side(dir, s, THAW_ITEMS, m, err);
    if (!code) code = write_gramian(dir, s, &gramian, err);
    if (!code) {
        m->files[m->n_files++] = &gramian;
        code = thaw_pack_write(dir, "manifest.pb", &m->base, err);
        m->n_files--;
    }
    free(gramian.sums);
    return code;
}

int thaw_random_tables_write(const char *dir, const struct thaw_random_tables *s, struct thaw_err *err) {
    Thaw__Als als = THAW__ALS__INIT;
    Thaw__Side users = THAW__SIDE__INIT, items = THAW__SIDE__INIT;
    Thaw__Tables m = THAW__TABLES__INIT;
    const size_t parts = (size_t)s->parts;
    int64_t *counts = NULL; // 4 x parts
    if (s->items < SEEN) return thaw_fail(err, THAW_EUSAGE, "at least %d items", SEEN);
    int code = thaw_alloc(&counts, 4 * parts, sizeof *counts, "part sizes", err);
    if (!code)
        code = thaw_alloc(&m.files, 2 * THAW_TABLE_FILES * parts + 1, sizeof(*m.files), "file entries", err);
    if (code) goto done;
    als.factors = s->factors;
    als.alpha = als.unobserved_weight = als.regularization = 1;
    users.n_part_rows = users.n_part_nnz = items.n_part_rows = items.n_part_nnz = parts;
    users.part_rows = counts;
    users.part_nnz = counts + parts;
    items.part_rows = counts + 2 * parts;
    items.part_nnz = counts + 3 * parts;
    users.id_width = items.id_width = ID_WIDTH;
    m.format = 1;
    m.als = &als;
    m.parts = s->parts;
    m.columns = s->factors;
    m.users = &users;
    m.items = &items;
    m.interactions = s->users * SEEN;
    code = write_all(dir, s, &m, err);
done:
    for (size_t i = 0; i < m.n_files; i++) thaw__file__free_unpacked(m.files[i], NULL);
    free(m.files);
    free(counts);
    return code;
}
