// test_dense.c: scores against long double, and their bits against blocking; the k best; Cholesky.
#include "base/rng.h"
#include "dense/chol.h"
#include "dense/score.h"
#include "dense/topk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// n floats at an address that no vector is aligned to; free with release.
static float *take(int64_t n, uint64_t seed) {
    float *x = (float *)malloc(((size_t)n + 1) * sizeof *x) + 1;
    struct thaw_rng r = thaw_rng_at(seed, 1, 0);
    for (int64_t i = 0; i < n; i++) x[i] = (float)thaw_rng_normal(&r);
    return x;
}

static void release(float *x) {
    free(x - 1);
}

static void check_scores(int columns, int64_t nx, int64_t nrows) {
    float *x = take(nx * columns, 1), *y = take(nrows * columns, 2), *out = take(nx * nrows, 3);
    for (int unit = 0; unit <= (int)thaw_score_best(); unit++) {
        thaw_score_on((enum thaw_score_unit)unit, x, nx, y, nrows, columns, out);
        for (int64_t u = 0; u < nx; u++)
            for (int64_t i = 0; i < nrows; i++) {
                long double sum = 0, size = 0;
                for (int j = 0; j < columns; j++) {
                    long double term = (long double)x[u * columns + j] * y[i * columns + j];
                    sum += term;
                    size += fabsl(term);
                }
                if (!(fabsl(sum - out[u * nrows + i]) <= size * (columns + 1) * 0x1p-24L))
                    fail_msg("unit %d, %d columns, user %d, row %d: %g is not %g", unit, columns, (int)u,
                             (int)i, (double)out[u * nrows + i], (double)sum);
            }
    }
    release(x);
    release(y);
    release(out);
}

static void scores_of_every_shape(void **state) {
    (void)state;
    for (int columns = 1; columns <= 80; columns++) check_scores(columns, 1 + columns % 7, 1 + columns % 11);
    const int wide[] = {127, 128, 129, 255, 257, 512, 1023, 1024, 1025};
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) check_scores(wide[i], 5, 9);
    check_scores(8, 3, 20000); // several blocks of rows
    check_scores(1, 0, 5);
    check_scores(1, 5, 0);
}

// A pair's bits must not depend on its neighbours.
static void bits_do_not_depend_on_the_block(void **state) {
    (void)state;
    const int columns[] = {3, 5, 10, 16, 33, 65, 129};
    enum { NX = 11, ROWS = 4000 };
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        for (int unit = 0; unit <= (int)thaw_score_best(); unit++) {
            int k = columns[c];
            float *x = take(NX * k, 4), *y = take((int64_t)ROWS * k, 5), *all = take((int64_t)NX * ROWS, 6),
                  one[64];
            thaw_score_on((enum thaw_score_unit)unit, x, NX, y, ROWS, k, all);
            for (int trial = 0; trial < 2000; trial++) {
                int u = trial % NX, i = (trial * 37) % (ROWS - 8), n = 1 + trial % 8,
                    users = u + 3 < NX ? 1 + trial % 3 : 1;
                thaw_score_on((enum thaw_score_unit)unit, x + u * k, users, y + (int64_t)i * k, n, k, one);
                for (int v = 0; v < users; v++)
                    if (memcmp(one + v * n, all + (int64_t)(u + v) * ROWS + i, (size_t)n * sizeof *one) != 0)
                        fail_msg("unit %d, %d columns, user %d, row %d", unit, k, u + v, i);
            }
            release(x);
            release(y);
            release(all);
        }
}

static void the_widest_unit_is_used(void **state) {
    (void)state;
    float *x = take(100, 1), *y = take(700, 2), a[7], b[7];
    thaw_score(x, 1, y, 7, 100, a);
    thaw_score_on(thaw_score_best(), x, 1, y, 7, 100, b);
    assert_memory_equal(a, b, sizeof a);
    release(x);
    release(y);
}

static void norms(void **state) {
    (void)state;
    for (int columns = 1; columns <= 40; columns++) {
        int k = columns > 1 ? columns - 1 : 1;
        float *y = take(9 * columns, 7), out[9];
        thaw_norms(y, 9, k, columns, out);
        for (int i = 0; i < 9; i++) {
            long double sum = 0;
            for (int j = 0; j < k; j++) sum += (long double)y[i * columns + j] * y[i * columns + j];
            assert_true(fabsl(sqrtl(sum) - out[i]) <= out[i] * 0x1p-23L);
        }
        release(y);
    }
}

// ---- The k best ----

static int by_rank(const void *a, const void *b) {
    const struct thaw_scored *left = a, *right = b;
    return thaw_scored_before(*left, *right) ? -1 : thaw_scored_before(*right, *left);
}

static void the_k_best_of_many(void **state) {
    (void)state;
    enum { N = 500 };
    struct thaw_scored all[N], best[N];
    struct thaw_rng r = thaw_rng_at(8, 1, 0);
    for (int trial = 0; trial < 200; trial++) {
        int n = (int)thaw_rng_below(&r, N), cap = (int)thaw_rng_below(&r, trial < 100 ? 20 : N), valid = 0;
        struct thaw_topk t;
        thaw_topk_begin(&t, best, cap);
        for (int i = 0; i < n; i++) {
            struct thaw_scored s = {(double)thaw_rng_below(&r, 50) - 25, (i * 7919) % 503}; // many equals
            if (thaw_rng_below(&r, 20) == 0) {
                s.score = NAN;
            } else {
                all[valid++] = s;
                bool wanted = thaw_topk_wants(&t, s.score);
                bool taken = t.n < t.cap || (t.cap > 0 && thaw_scored_before(s, t.best[0]));
                assert_true(wanted || !taken);
            }
            thaw_topk_push(&t, s.score, s.row);
        }
        thaw_topk_end(&t);
        qsort(all, (size_t)valid, sizeof *all, by_rank);
        assert_int_equal(t.n, valid < cap ? valid : cap);
        for (int i = 0; i < t.n; i++) assert_true(best[i].score == all[i].score && best[i].row == all[i].row);
    }
}

static void infinities_rank_too(void **state) {
    (void)state;
    struct thaw_scored best[3];
    struct thaw_topk t;
    thaw_topk_begin(&t, best, 3);
    const double scores[] = {1, -INFINITY, NAN, INFINITY, 0.0, -0.0};
    for (int i = 0; i < 6; i++) thaw_topk_push(&t, scores[i], i);
    thaw_topk_end(&t);
    assert_true(best[0].row == 3 && best[1].row == 0 &&
                best[2].row == 4); // 0 and -0 are equal: the smaller row
}

// ---- Cholesky ----

static void check_solution(int n) {
    double *a = malloc((size_t)n * (size_t)n * sizeof *a), *kept = malloc((size_t)n * (size_t)n * sizeof *a);
    double *b = malloc((size_t)n * sizeof *b), *x = malloc((size_t)n * sizeof *x);
    struct thaw_rng r = thaw_rng_at(9, 1, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            kept[i * n + j] = j < i ? thaw_rng_normal(&r) / sqrt(n) : j == i ? 3 : NAN;
        b[i] = x[i] = thaw_rng_normal(&r);
    }
    memcpy(a, kept, (size_t)n * (size_t)n * sizeof *a);
    assert_true(thaw_chol_solve(a, x, n));
    for (int i = 0; i < n; i++) {
        double sum = -b[i];
        for (int j = 0; j < n; j++) sum += x[j] * (j <= i ? kept[i * n + j] : kept[j * n + i]);
        if (!(fabs(sum) < 1e-11)) fail_msg("%d x %d: residual %g in row %d", n, n, sum, i);
    }
    free(a);
    free(kept);
    free(b);
    free(x);
}

static void systems_are_solved(void **state) {
    (void)state;
    for (int n = 0; n <= 70; n++) check_solution(n);
    check_solution(257);
}

static void what_is_not_positive_definite_is_refused(void **state) {
    (void)state;
    const double bad[][4] = {{0, 0, 0, 1},        {-1, 0, 0, 1},       {1, 9, 1, 1},
                             {1, 9, 2, 1},        {NAN, 9, 0, 1},      {1, 9, NAN, 1},
                             {1, 9, INFINITY, 1}, {INFINITY, 9, 0, 1}, {1, 9, 0, NAN}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        double a[4], b[2] = {1, 1};
        memcpy(a, bad[i], sizeof a);
        assert_false(thaw_chol_solve(a, b, 2));
    }
    double a[4] = {4, NAN, 2, 5}, b[2] = {2, 5}; // the upper triangle is not read
    assert_true(thaw_chol_solve(a, b, 2));
    assert_true(fabs(b[0]) < 1e-15 && fabs(b[1] - 1) < 1e-15);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_every_shape),   cmocka_unit_test(bits_do_not_depend_on_the_block),
        cmocka_unit_test(the_widest_unit_is_used), cmocka_unit_test(norms),
        cmocka_unit_test(the_k_best_of_many),      cmocka_unit_test(infinities_rank_too),
        cmocka_unit_test(systems_are_solved),      cmocka_unit_test(what_is_not_positive_definite_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
