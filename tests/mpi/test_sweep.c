// test_sweep.c: half-sweeps give the bits of a serial solve, whatever the cuts, limits, threads and owners.
#include "base/rng.h"
#include "comm/sweep.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { USERS = 150, ITEMS = 1400, PARTS = 5, K = 9, HEAVY = 3 };

static struct thaw_comm *comm;

// A side's interactions as every rank knows them: user u has row_n(u) items.
static int64_t row_of(int64_t user, int64_t *index, float *r) {
    struct thaw_rng rng = thaw_rng_at(3, 77, (uint64_t)user);
    const double share = user < HEAVY ? 0.8 : user % 7 == 0 ? 0 : 0.03;
    int64_t n = 0;
    for (int64_t i = 0; i < ITEMS; i++) {
        if (thaw_rng_uniform(&rng) >= share) continue;
        index[n] = i;
        r[n++] = (float)(1 + thaw_rng_below(&rng, 5));
    }
    return n;
}

static float *table_new(int columns) {
    float *t = malloc(ITEMS * (size_t)columns * sizeof *t);
    for (int64_t i = 0; i < ITEMS; i++) thaw_als_init_row(t + i * columns, columns, 5, 1, i, 0.5);
    return t;
}

// Parts of uneven size, one empty; skew: all work in the last part, so that one rank owns nearly everything.
static struct thaw_plan plan_new(int64_t rows, bool skew) {
    const int64_t part_rows[PARTS] = {rows / 2, 0, rows / 4, rows / 8, rows - rows / 2 - rows / 4 - rows / 8};
    int64_t work[PARTS] = {0, 0, 0, 0, 1000};
    struct thaw_plan plan;
    assert_int_equal(thaw_plan_new(&plan, PARTS, part_rows, skew ? work : NULL, thaw_comm_size(comm), NULL),
                     0);
    return plan;
}

struct setting {
    struct thaw_als_config config;
    int64_t max_rows, budget;
    bool skew;
    int threads;
};

static struct thaw_als_sweep sweep_of(const struct setting *s, const double *gramian) {
    return (struct thaw_als_sweep){.config = &s->config,
                                   .other_rows = ITEMS,
                                   .gramian = s->config.model == THAW_ALS_EXPLICIT ? NULL : gramian};
}

// Row by row over the whole table; rows that no block can hold are solved exactly.
static void serial(const struct setting *s, const double *gramian, const float *table, int64_t user, float *x,
                   double *loss) {
    struct thaw_als_config config = s->config;
    struct thaw_als_sweep sweep = sweep_of(s, gramian);
    struct thaw_als_work *w = NULL;
    int64_t wide[ITEMS];
    uint32_t index[ITEMS];
    float r[ITEMS];
    const int64_t n = row_of(user, wide, r);
    const int64_t limit = (s->max_rows + THAW_ALS_PANEL - 1) / THAW_ALS_PANEL * THAW_ALS_PANEL;
    for (int64_t i = 0; i < n; i++) index[i] = (uint32_t)wide[i];
    if (n > limit) config.solver = THAW_ALS_CHOLESKY;
    sweep.config = &config;
    assert_int_equal(thaw_als_work_new(&w, &config, NULL), 0);
    assert_int_equal(thaw_als_solve(w, &sweep, table, index, r, n, x, NULL), 0);
    *loss = 0;
    for (int64_t at = 0; at < n; at += limit) // a long row's loss is summed piece by piece
        *loss +=
            thaw_als_observed_loss(&sweep, table, index + at, r + at, n - at < limit ? n - at : limit, x);
    thaw_als_work_free(&w);
}

static struct thaw_blocks *blocks_new(const struct setting *s, int64_t first, int64_t end) {
    struct thaw_blocks *b = NULL;
    int64_t index[ITEMS], nnz = 0;
    float r[ITEMS];
    assert_int_equal(thaw_blocks_new(&b, s->max_rows, NULL), 0);
    for (int64_t user = first; user < end; user++) {
        const int64_t n = row_of(user, index, r);
        nnz += n;
        assert_int_equal(thaw_blocks_add(b, index, r, n, NULL), 0);
    }
    assert_int_equal(thaw_blocks_finish(b, NULL), 0);
    assert_int_equal(thaw_blocks_rows(b), end - first);
    assert_int_equal(thaw_blocks_nnz(b), nnz);
    return b;
}

static void check(const struct setting *s) {
    const int rank = thaw_comm_rank(comm), d = thaw_als_columns(&s->config);
    struct thaw_plan users = plan_new(USERS, s->skew), items = plan_new(ITEMS, s->skew);
    const int64_t first = users.rank_row[rank], rows = users.rank_row[rank + 1] - first;
    float *table = table_new(d), *x = malloc((size_t)(rows * d + 1) * sizeof *x);
    double gramian[K * K] = {0}, *loss = malloc((size_t)(rows + 1) * sizeof *loss);
    struct thaw_sweep_stats stats = {0};
    struct thaw_err err = THAW_ERR_INIT;
    thaw_als_gramian(gramian, table, ITEMS, K, d, NULL);
    const struct thaw_als_sweep sweep = sweep_of(s, gramian);
    struct thaw_blocks *b = blocks_new(s, first, first + rows);
    for (int64_t i = 0; i < rows; i++) thaw_als_init_row(x + i * d, d, 6, 2, first + i, 0.5);
    omp_set_num_threads(s->threads);
    assert_int_equal(thaw_sweep(comm, &sweep, b, "users", first, &items, table + items.rank_row[rank] * d,
                                s->budget, x, loss, &stats, &err),
                     0);
    for (int64_t i = 0; i < rows; i++) {
        float want[K + 1];
        double want_loss;
        thaw_als_init_row(want, d, 6, 2, first + i, 0.5);
        serial(s, gramian, table, first + i, want, &want_loss);
        assert_memory_equal(x + i * d, want, (size_t)d * sizeof *want);
        assert_true(loss[i] == want_loss);
    }
    assert_true(thaw_comm_size(comm) > 1 || stats.received_bytes == 0);
    thaw_blocks_free(&b);
    thaw_plan_clear(&users);
    thaw_plan_clear(&items);
    free(table);
    free(x);
    free(loss);
}

static struct thaw_als_config config_of(enum thaw_als_model model, enum thaw_als_solver solver, bool biases) {
    return (struct thaw_als_config){.model = model,
                                    .solver = solver,
                                    .k = K,
                                    .biases = biases,
                                    .mean = 2,
                                    .alpha = 1.5,
                                    .unobserved = 0.2,
                                    .lambda = 0.03,
                                    .nu = 1,
                                    .cg_steps = 3,
                                    .cg_tolerance = 1e-4};
}

static void test_same_bits(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++)
        for (int limit = 0; limit < 3; limit++)
            for (int skew = 0; skew < 2; skew++) {
                const int64_t max_rows[3] = {1, 512, 100000}, budget[3] = {64, 5000, 1 << 20};
                const enum thaw_als_solver which = solver ? THAW_ALS_CG : THAW_ALS_CHOLESKY;
                struct setting s = {.config = config_of(THAW_ALS_RENDLE, which, false),
                                    .max_rows = max_rows[limit],
                                    .budget = budget[limit],
                                    .skew = skew,
                                    .threads = 1 + skew};
                check(&s);
                s.config = config_of(THAW_ALS_EXPLICIT, which, true);
                check(&s);
            }
}

// The gramian does not depend on who owns what, nor on threads, and is right.
static void test_gramian(void **state) {
    (void)state;
    const int rank = thaw_comm_rank(comm), d = K + 1;
    float *table = table_new(d);
    double got[2][K * K], want[K * K] = {0};
    for (int skew = 0; skew < 2; skew++) {
        struct thaw_plan items = plan_new(ITEMS, skew);
        omp_set_num_threads(1 + skew);
        assert_int_equal(
            thaw_sweep_gramian(comm, &items, table + items.rank_row[rank] * d, K, d, got[skew], NULL), 0);
        thaw_plan_clear(&items);
    }
    thaw_als_gramian(want, table, ITEMS, K, d, NULL);
    assert_memory_equal(got[0], got[1], sizeof want);
    for (int i = 0; i < K * K; i++) assert_true(fabs(got[0][i] - want[i]) <= 1e-12 * want[0]);
    free(table);
}

static void test_gramian_not_finite(void **state) {
    (void)state;
    float *table = table_new(K);
    struct thaw_plan items = plan_new(ITEMS, false);
    double g[K * K];
    struct thaw_err err = THAW_ERR_INIT;
    table[ITEMS * K - 1] = INFINITY;
    assert_int_equal(
        thaw_sweep_gramian(comm, &items, table + items.rank_row[thaw_comm_rank(comm)] * K, K, K, g, &err),
        THAW_EDIVERGED);
    thaw_plan_clear(&items);
    free(table);
}

// A row that does not come out finite stops every rank with the lowest such row's number, long or short.
static void test_not_finite(void **state) {
    (void)state;
    for (int limit = 0; limit < 2; limit++) {
        const struct setting s = {.config = config_of(THAW_ALS_HU, THAW_ALS_CHOLESKY, false),
                                  .max_rows = limit ? 5000 : 1};
        struct thaw_plan users = plan_new(USERS, false), items = plan_new(ITEMS, false);
        const int rank = thaw_comm_rank(comm);
        const int64_t first = users.rank_row[rank], rows = users.rank_row[rank + 1] - first;
        float *table = table_new(K), *x = calloc((size_t)(rows * K + 1), sizeof *x);
        double gramian[K * K] = {0};
        int64_t index[ITEMS];
        float r[ITEMS];
        struct thaw_sweep_stats stats = {0};
        struct thaw_err err = THAW_ERR_INIT;
        row_of(1, index, r); // all heavy rows and some others need one of these
        for (int i = 0; i < 40; i++) table[index[i] * K] = NAN;
        int64_t lowest = -1;
        for (int64_t u = 0; lowest < 0; u++) {
            const int64_t n = row_of(u, index, r);
            for (int64_t i = 0; i < n && lowest < 0; i++)
                if (isnan(table[index[i] * K])) lowest = u;
        }
        for (int i = 0; i < K; i++) gramian[i * K + i] = 1;
        const struct thaw_als_sweep sweep = sweep_of(&s, gramian);
        struct thaw_blocks *b = blocks_new(&s, first, first + rows);
        omp_set_num_threads(2);
        assert_int_equal(thaw_sweep(comm, &sweep, b, "users", first, &items, table + items.rank_row[rank] * K,
                                    4096, x, NULL, &stats, &err),
                         THAW_EDIVERGED);
        char want[64];
        snprintf(want, sizeof want, "row %d of users: ", (int)lowest);
        assert_memory_equal(err.text, want, strlen(want));
        thaw_blocks_free(&b);
        thaw_plan_clear(&users);
        thaw_plan_clear(&items);
        free(table);
        free(x);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_gramian),
        cmocka_unit_test(test_gramian_not_finite),
        cmocka_unit_test(test_not_finite),
    };
    struct thaw_err err = THAW_ERR_INIT;
    thaw_blas_begin();
    if (thaw_comm_begin(&comm, &err)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
