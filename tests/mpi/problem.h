// problem.h: rows to solve that every rank can generate in full, with lengths as skewed as the test wants.
#ifndef THAW_TESTS_MPI_PROBLEM_H
#define THAW_TESTS_MPI_PROBLEM_H

#include "base/mem.h"
#include "base/rng.h"
#include "comm/half.h"
#include "comm/world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PROBLEM_PARTS_MOST = 64 };

struct problem {
    int64_t rows, others;
    int32_t nparts;
    int64_t (*length)(int64_t row); // interactions asked for, at most others; light rows get a few less
    bool uneven;                    // parts of uneven size, one empty
    bool skew;                      // nearly all rows are the last rank's
    struct thaw_plan plan, other;
};

static inline int problem_by_index(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Opposite rows (rising) and values of a row; returns how many. Room for `others`. Low numbers are asked for
// more often, as popular rows are.
static inline int64_t problem_row(const struct problem *p, int64_t row, int64_t *index, float *r) {
    struct thaw_rng rng = thaw_rng_at(3, 77, (uint64_t)row);
    const int64_t want = p->length(row);
    int64_t n = 0, m = 0;
    if (4 * want > p->others) {
        for (int64_t i = 0; i < p->others; i++)
            if (thaw_rng_uniform(&rng) * (double)p->others < (double)want) index[n++] = i;
    } else {
        for (int64_t i = 0; i < want; i++)
            index[i] = (int64_t)((double)p->others * pow(thaw_rng_uniform(&rng), 1.5));
        qsort(index, (size_t)want, sizeof *index, problem_by_index);
        for (int64_t i = 0; i < want; i++)
            if (i == 0 || index[i] != index[i - 1]) index[n++] = index[i];
    }
    for (; m < n; m++) r[m] = (float)(1 + thaw_rng_below(&rng, 5));
    return n;
}

static inline struct thaw_plan problem_plan(const struct problem *p, int64_t rows, bool skew, int nranks) {
    int64_t part[PROBLEM_PARTS_MOST], work[PROBLEM_PARTS_MOST] = {0}, left = rows;
    struct thaw_plan plan;
    for (int32_t i = 0; i < p->nparts; i++) {
        part[i] = i + 1 == p->nparts ? left
                  : !p->uneven       ? rows * (i + 1) / p->nparts - rows * i / p->nparts
                  : i == 1           ? 0
                                     : left / 3;
        left -= part[i];
    }
    work[p->nparts - 1] = 1000;
    assert_int_equal(thaw_plan_new(&plan, p->nparts, part, skew ? work : NULL, nranks, NULL), 0);
    return plan;
}

static inline void problem_open(struct problem *p, struct thaw_comm *c) {
    p->plan = problem_plan(p, p->rows, p->skew, thaw_comm_size(c));
    p->other = problem_plan(p, p->others, false, thaw_comm_size(c));
}

static inline void problem_close(struct problem *p) {
    thaw_plan_clear(&p->plan);
    thaw_plan_clear(&p->other);
}

static inline int64_t problem_first(const struct problem *p, struct thaw_comm *c) {
    return p->plan.rank_row[thaw_comm_rank(c)];
}

static inline int64_t problem_rows(const struct problem *p, struct thaw_comm *c) {
    return p->plan.rank_row[thaw_comm_rank(c) + 1] - problem_first(p, c);
}

// This rank's rows.
static inline void problem_csr(const struct problem *p, struct thaw_comm *c, struct thaw_csr *m) {
    int64_t *index = malloc((size_t)p->others * sizeof *index);
    float *r = malloc((size_t)p->others * sizeof *r);
    assert_int_equal(thaw_csr_new(m, 0, 0, NULL), 0);
    for (int64_t i = 0; i < problem_rows(p, c); i++) {
        const int64_t n = problem_row(p, problem_first(p, c) + i, index, r);
        assert_int_equal(thaw_csr_add(m, index, r, n, NULL), 0);
    }
    free(index);
    free(r);
}

// Opposite rows `first` .. end - 1, d columns each.
static inline float *problem_table(int64_t first, int64_t end, int d) {
    float *t = NULL;
    assert_int_equal(thaw_alloc(&t, (size_t)((end - first) * d), sizeof *t, "a table", NULL), 0);
    for (int64_t i = first; i < end; i++)
        thaw_als_init_row(t + (i - first) * d, d, 5, THAW_STREAM_FACTORS_ITEMS, i, 0.4);
    return t;
}

static inline struct thaw_als_config problem_config(enum thaw_als_model model, enum thaw_als_solver solver,
                                                    enum thaw_als_gather gather, int k, bool biases) {
    return (struct thaw_als_config){.model = model,
                                    .solver = solver,
                                    .gather = gather,
                                    .k = k,
                                    .biases = biases,
                                    .mean = 2.5,
                                    .alpha = 1.5,
                                    .unobserved = 0.2,
                                    .lambda = 0.03,
                                    .nu = 1,
                                    .cg_steps = 3,
                                    .relaxation = 1,
                                    .cg_tolerance = 1e-4};
}

// Sum over all ranks.
static inline int64_t problem_sum(struct thaw_comm *c, int64_t x) {
    thaw_comm_sum_i64(c, &x, 1);
    return x;
}

static inline void problem_ok(int code, const struct thaw_err *err) {
    if (code) print_error("rank %d: %s\n", err->rank, err->text);
    assert_int_equal(code, 0);
}

#endif
