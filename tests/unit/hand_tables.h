// hand_tables.h: small tables made by hand, for tests. Everything in them follows from a few formulas below,
// so a test can say what must come out. Include once per program.
#ifndef THAW_TESTS_HAND_TABLES_H
#define THAW_TESTS_HAND_TABLES_H

#include "base/hash.h"
#include "base/rng.h"
#include "proto/pack.h"
#include "table/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HAND_PARTS = 5, HAND_USERS = 40, HAND_ITEMS = 60, HAND_K = 6, HAND_WIDTH = 12 };

struct hand {
    char dir[64];                       // the tables folder; version v000001 is in it
    char version[80];                   // dir/v000001
    Thaw__Als als;                      // set before hand_write; factors and biases too
    bool wide;                          // 64-bit seen lists
    int columns;                        // set by hand_write
    int64_t row[2][HAND_ITEMS];         // global row of user/item number i
    float x[2][HAND_ITEMS][HAND_K + 1]; // its vector
    int nseen[HAND_USERS];
    int64_t seen[HAND_USERS][HAND_ITEMS]; // item rows, rising
};

static inline void hand_id(char id[HAND_WIDTH + 1], int side, int number) {
    memset(id, 0, HAND_WIDTH + 1);
    // The longest one fills the field: no zero byte ends it.
    snprintf(id, HAND_WIDTH + 1, number == 7 ? "%c-is-long-%02d" : "%c%d", side ? 'i' : 'u', number);
}

static inline int hand_count(int side) {
    return side ? HAND_ITEMS : HAND_USERS;
}

static inline int by_i64(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Rows by part, then number; the vectors; who has seen what (user u: items u, u+1, ..., u % 9 of them, modulo
// the items).
static inline void hand_lay_out(struct hand *h, int64_t part_rows[2][HAND_PARTS]) {
    memset(part_rows, 0, sizeof(int64_t) * 2 * HAND_PARTS);
    for (int side = 0; side < 2; side++) {
        int64_t next = 0;
        for (int p = 0; p < HAND_PARTS; p++)
            for (int i = 0; i < hand_count(side); i++) {
                char id[HAND_WIDTH + 1];
                hand_id(id, side, i);
                if (thaw_hash_part(thaw_hash_id(id, strlen(id)), HAND_PARTS) != p) continue;
                h->row[side][i] = next++;
                part_rows[side][p]++;
            }
        for (int i = 0; i < hand_count(side); i++) {
            struct thaw_rng rng = thaw_rng_at(99, (uint32_t)side, (uint64_t)i);
            for (int j = 0; j <= HAND_K; j++) h->x[side][i][j] = (float)thaw_rng_normal(&rng);
        }
    }
    memset(h->x[1][11], 0, sizeof h->x[1][11]);           // an item without a direction
    memcpy(h->x[1][21], h->x[1][20], sizeof h->x[1][21]); // twins: every score ties
    for (int u = 0; u < HAND_USERS; u++) {
        h->nseen[u] = u % 9;
        for (int j = 0; j < h->nseen[u]; j++) h->seen[u][j] = h->row[1][(u + j) % HAND_ITEMS];
        qsort(h->seen[u], (size_t)h->nseen[u], sizeof h->seen[u][0], by_i64);
    }
}

static inline int hand_part(struct hand *h, int side, int p, int64_t nrows, int64_t first, Thaw__Tables *m,
                            int64_t *nnz, struct thaw_err *err) {
    static float rows[HAND_ITEMS * (HAND_K + 1)];
    static char ids[HAND_ITEMS * HAND_WIDTH];
    static int64_t indptr[HAND_ITEMS + 1];
    static uint32_t narrow[HAND_USERS * HAND_ITEMS];
    static uint64_t wide[HAND_USERS * HAND_ITEMS];
    int64_t at = 0;
    for (int64_t r = 0; r < nrows; r++)
        for (int i = 0; i < hand_count(side); i++) {
            if (h->row[side][i] != first + r) continue;
            char id[HAND_WIDTH + 1];
            hand_id(id, side, i);
            memcpy(ids + r * HAND_WIDTH, id, HAND_WIDTH);
            memcpy(rows + r * h->columns, h->x[side][i], (size_t)h->columns * sizeof(float));
            indptr[r] = at;
            for (int j = 0; !side && j < h->nseen[i]; j++, at++)
                narrow[at] = (uint32_t)(wide[at] = (uint64_t)h->seen[i][j]);
            for (int u = 0; side && u < HAND_USERS; u++)
                for (int j = 0; j < h->nseen[u]; j++) at += h->seen[u][j] == h->row[1][i];
            indptr[r + 1] = at;
        }
    if (nrows == 0) indptr[0] = 0;
    *nnz = at;
    const struct thaw_table_part part = {.side = (enum thaw_side)side,
                                         .part = p,
                                         .nparts = HAND_PARTS,
                                         .nrows = nrows,
                                         .columns = h->columns,
                                         .rows = rows,
                                         .id_width = HAND_WIDTH,
                                         .ids = ids,
                                         .indptr = indptr,
                                         .indices = side      ? NULL
                                                    : h->wide ? (void *)wide
                                                              : (void *)narrow,
                                         .wide = h->wide};
    int nfiles = 0;
    int code = thaw_table_part_write(h->version, &part, m->files + m->n_files, &nfiles, err);
    m->n_files += (size_t)nfiles;
    return code;
}

static inline int hand_gramian(struct hand *h, Thaw__File *file, struct thaw_err *err) {
    const int k = h->als.factors;
    double g[HAND_K * HAND_K] = {0};
    for (int i = 0; i < HAND_ITEMS; i++)
        for (int a = 0; a < k; a++)
            for (int b = 0; b < k; b++) g[a * k + b] += (double)h->x[1][i][a] * h->x[1][i][b];
    const struct thaw_npy_shape shape = {THAW_NPY_F64, 2, k, k, 8};
    struct thaw_file_info info = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/items.gramian.npy", h->version);
    int code = thaw_npy_put(path, &shape, g, &info, err);
    static char name[] = "items.gramian.npy";
    file->name = name;
    file->nbytes = info.nbytes;
    file->sums = info.sums;
    file->n_sums = (size_t)info.nsums;
    return code;
}

// Makes a new temporary folder with one version and `current`. Remove it with hand_remove.
static inline int hand_write(struct hand *h, struct thaw_err *err) {
    int64_t part_rows[2][HAND_PARTS], part_nnz[2][HAND_PARTS];
    Thaw__File *files[2 * THAW_TABLE_FILES * HAND_PARTS + 1], gramian = THAW__FILE__INIT;
    Thaw__Side side[2] = {THAW__SIDE__INIT, THAW__SIDE__INIT};
    Thaw__Tables m = THAW__TABLES__INIT;
    snprintf(h->dir, sizeof h->dir, "/tmp/thaw-hand-XXXXXX");
    if (!mkdtemp(h->dir)) return thaw_fail_errno(err, THAW_EIO, "%s", h->dir);
    snprintf(h->version, sizeof h->version, "%s/v000001", h->dir);
    h->columns = h->als.factors + (h->als.biases ? 1 : 0);
    hand_lay_out(h, part_rows);
    m.files = files;
    int code = thaw_dir_make(h->version, err);
    for (int s = 0; s < 2; s++) {
        int64_t first = 0;
        for (int p = 0; !code && p < HAND_PARTS; first += part_rows[s][p++])
            code = hand_part(h, s, p, part_rows[s][p], first, &m, &part_nnz[s][p], err);
        side[s].n_part_rows = side[s].n_part_nnz = HAND_PARTS;
        side[s].part_rows = part_rows[s];
        side[s].part_nnz = part_nnz[s];
        side[s].id_width = HAND_WIDTH;
    }
    if (!code) code = hand_gramian(h, &gramian, err);
    if (!code) {
        m.format = 1;
        m.als = &h->als;
        m.parts = HAND_PARTS;
        m.columns = h->columns;
        m.users = &side[0];
        m.items = &side[1];
        for (int u = 0; u < HAND_USERS; u++) m.interactions += h->nseen[u];
        m.files[m.n_files] = &gramian;
        m.n_files++;
        code = thaw_pack_write(h->version, "manifest.pb", &m.base, err);
        m.n_files--;
    }
    if (!code) code = thaw_link_switch(h->dir, "current", "v000001", err);
    for (size_t i = 0; i < m.n_files; i++) thaw__file__free_unpacked(files[i], NULL);
    free(gramian.sums);
    return code;
}

static inline void hand_remove(struct hand *h) {
    thaw_dir_remove(h->dir, NULL);
}

static inline Thaw__Als hand_als(Thaw__Als__Model model, bool biases) {
    Thaw__Als als = THAW__ALS__INIT;
    als.model = model;
    als.factors = HAND_K;
    als.biases = biases;
    als.mean = model == THAW__ALS__MODEL__EXPLICIT ? 3.5 : 0;
    als.alpha = 2.5;
    als.unobserved_weight = 0.3;
    als.regularization = 0.2;
    als.reg_exponent = 0.7;
    return als;
}

#endif
