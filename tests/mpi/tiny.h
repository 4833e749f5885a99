// tiny.h: a small dataset made by rank 0 of a test, and a temporary folder that all ranks know.
#ifndef THAW_TESTS_MPI_TINY_H
#define THAW_TESTS_MPI_TINY_H

#include "base/rng.h"
#include "comm/world.h"
#include "partition/shard.h"
#include "proto/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TINY_USERS = 120, TINY_ITEMS = 700, TINY_PARTS = 6, TINY_WIDTH = 8 };

// The value of a pair, 0 for no interaction. User 0 has nearly every item; every 13th user has none.
static inline float tiny_value(int64_t user, int64_t item) {
    struct thaw_rng rng = thaw_rng_at(11, 400, (uint64_t)(user * TINY_ITEMS + item));
    const double share = user == 0 ? 0.9 : user % 13 == 5 ? 0 : 0.05;
    return thaw_rng_uniform(&rng) < share ? (float)(1 + thaw_rng_below(&rng, 5)) : 0;
}

static inline const char *tiny_id(char id[TINY_WIDTH], enum thaw_side side, int64_t row) {
    snprintf(id, TINY_WIDTH, "%c%d", side == THAW_USERS ? 'u' : 'i', (int)row);
    return id;
}

// What a test may ask to be written instead: users who follow the others in the last part, other values.
static int64_t tiny_users = TINY_USERS;
static float (*tiny_pair)(int64_t user, int64_t item) = tiny_value;

// First row of a part: uneven, the third part empty.
static inline int64_t tiny_first(enum thaw_side side, int32_t part) {
    const int64_t rows = side == THAW_USERS ? TINY_USERS : TINY_ITEMS;
    const int64_t end = side == THAW_USERS ? tiny_users : rows;
    const int64_t first[TINY_PARTS + 1] = {0, rows / 3, rows / 2, rows / 2, 2 * rows / 3, 3 * rows / 4, end};
    return first[part];
}

static inline int tiny_write_part(const char *dir, enum thaw_side side, int32_t part, Thaw__Dataset *m) {
    static int64_t indptr[TINY_ITEMS + 1], indices[2 * TINY_USERS * TINY_ITEMS];
    static float values[2 * TINY_USERS * TINY_ITEMS];
    static char ids[TINY_ITEMS * TINY_WIDTH], name[2 * TINY_PARTS][THAW_PART_FILE];
    const int64_t first = tiny_first(side, part), rows = tiny_first(side, part + 1) - first;
    const int64_t others = side == THAW_USERS ? TINY_ITEMS : tiny_users;
    Thaw__Side *s = side == THAW_USERS ? m->users : m->items;
    Thaw__File *f = m->files[(int)side * TINY_PARTS + part];
    struct thaw_file_info info = {0};
    int64_t n = 0;
    memset(ids, 0, sizeof ids);
    for (int64_t row = 0; row < rows; row++) {
        tiny_id(ids + row * TINY_WIDTH, side, first + row);
        indptr[row] = n;
        for (int64_t other = 0; other < others; other++) {
            const float v =
                side == THAW_USERS ? tiny_pair(first + row, other) : tiny_pair(other, first + row);
            if (v == 0) continue;
            indices[n] = other;
            values[n++] = v;
        }
    }
    indptr[rows] = n;
    const struct thaw_shard_data data = {.nrows = rows,
                                         .nnz = n,
                                         .other_rows = others,
                                         .id_width = TINY_WIDTH,
                                         .ids = ids,
                                         .indptr = indptr,
                                         .indices = indices,
                                         .values = values};
    const int code = thaw_shard_write(dir, side, part, TINY_PARTS, &data, &info, NULL);
    s->part_rows[part] = rows;
    s->part_nnz[part] = n;
    f->name = thaw_part_file(name[(int)side * TINY_PARTS + part], side, part, TINY_PARTS, "npz");
    f->nbytes = info.nbytes;
    f->n_sums = (size_t)info.nsums;
    f->sums = info.sums; // freed by tiny_write
    if (side == THAW_USERS) m->interactions += n;
    return code;
}

static inline int tiny_write(const char *dir) {
    Thaw__Dataset m = THAW__DATASET__INIT;
    Thaw__Side sides[2] = {THAW__SIDE__INIT, THAW__SIDE__INIT};
    Thaw__File files[2 * TINY_PARTS], *list[2 * TINY_PARTS];
    int64_t rows[2][TINY_PARTS], nnz[2][TINY_PARTS];
    int code = thaw_dir_make(dir, NULL);
    for (int i = 0; i < 2 * TINY_PARTS; i++) {
        thaw__file__init(&files[i]);
        list[i] = &files[i];
    }
    m.format = 1;
    m.parts = TINY_PARTS;
    m.users = &sides[0];
    m.items = &sides[1];
    m.files = list;
    m.n_files = 2 * TINY_PARTS;
    for (int side = 0; side < 2; side++) {
        sides[side].part_rows = rows[side];
        sides[side].part_nnz = nnz[side];
        sides[side].n_part_rows = sides[side].n_part_nnz = TINY_PARTS;
        sides[side].id_width = TINY_WIDTH;
        for (int32_t p = 0; !code && p < TINY_PARTS; p++)
            code = tiny_write_part(dir, (enum thaw_side)side, p, &m);
    }
    if (!code) code = thaw_pack_write(dir, "manifest.pb", &m.base, NULL);
    for (int i = 0; i < 2 * TINY_PARTS; i++) free(files[i].sums);
    return code;
}

// A model of that data, nobody held out.
static inline Thaw__Als tiny_als(Thaw__Als__Model model, int factors) {
    Thaw__Als als = THAW__ALS__INIT;
    als.model = model;
    als.factors = factors;
    als.alpha = 1.5;
    als.unobserved_weight = 0.2;
    als.regularization = 0.02;
    als.reg_exponent = 1;
    return als;
}

// Collective: a new folder, the same on all ranks.
static inline void tiny_folder(struct thaw_comm *c, char dir[THAW_PATH_MAX]) {
    const char *tmp = getenv("TMPDIR");
    memset(dir, 0, THAW_PATH_MAX);
    snprintf(dir, THAW_PATH_MAX, "%s/thaw-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (thaw_comm_rank(c) == 0 && !mkdtemp(dir)) dir[0] = 0;
    thaw_comm_bcast(c, dir, THAW_PATH_MAX, 0);
}

static inline void tiny_folder_remove(struct thaw_comm *c, const char *dir) {
    thaw_comm_barrier(c);
    if (thaw_comm_rank(c) == 0) thaw_dir_remove(dir, NULL);
}

#endif
