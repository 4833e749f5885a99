// test_grid.c: block-cyclic matrices and what is computed on them, against a slow solution in double.
#include "comm/grid.h"
#include "tests/mpi/problem.h"

#include <math.h>
#include <stdlib.h>

enum { MOST = 150 };

static struct thaw_comm *comm;
static struct thaw_grid *grid;

// Symmetric positive definite; a right-hand side.
static double value(int64_t i, int64_t j) {
    const int64_t low = i < j ? i : j, high = i < j ? j : i;
    return (i == j ? 60 : 0) + sin((double)(7 * low + 3 * high * high));
}

static double right(int64_t i, int64_t j) {
    return cos((double)(i * 5 + j * j));
}

static void fill(struct thaw_gridmat *m, double (*f)(int64_t, int64_t)) {
    for (int64_t j = 0; j < m->lcols; j++)
        for (int64_t i = 0; i < m->lrows; i++)
            thaw_gridmat_set(m, i + j * m->desc[8], f(thaw_gridmat_row(m, i), thaw_gridmat_col(m, j)));
}

// The whole on every rank, row-major.
static double *whole(const struct thaw_gridmat *m) {
    double *all = calloc((size_t)(m->rows * m->cols) + 1, sizeof *all);
    assert_non_null(all);
    for (int64_t i = 0, place; i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++)
            if (thaw_gridmat_owner(m, i, j, &place) == thaw_comm_rank(comm))
                all[i * m->cols + j] = thaw_gridmat_get(m, place);
    thaw_comm_sum_i64(comm, (int64_t *)all, m->rows * m->cols); // bits: all but one are zero
    return all;
}

static void near(double got, double want, double eps) {
    if (fabs(got - want) > eps * (1 + fabs(want))) {
        print_error("%.10g, not %.10g\n", got, want);
        fail();
    }
}

static double eps_of(bool single) {
    return single ? 2e-5 : 1e-12;
}

// x = inverse, by Gauss and Jordan.
static void invert(double *x, int n) {
    for (int k = 0; k < n; k++) {
        const double p = x[k * n + k];
        x[k * n + k] = 1;
        for (int j = 0; j < n; j++) x[k * n + j] /= p;
        for (int i = 0; i < n; i++) {
            const double f = x[i * n + k];
            if (i == k) continue;
            x[i * n + k] = 0;
            for (int j = 0; j < n; j++) x[i * n + j] -= f * x[k * n + j];
        }
    }
}

struct setting {
    int n, nb;
    bool single;
};

static const struct setting settings[] = {{1, 0, true},   {5, 2, true},   {37, 4, true},   {37, 4, false},
                                          {64, 16, true}, {64, 8, false}, {130, 7, false}, {MOST, 32, true},
                                          {130, 0, true}, {3, 64, false}};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void new (struct thaw_gridmat *m, const struct setting *s, int64_t rows, int64_t cols) {
    assert_int_equal(thaw_gridmat_new(m, grid, rows, cols, s->nb, s->single, NULL), 0);
}

// ---- Layout ----

static void test_layout(void **state) {
    (void)state;
    for (int t = 0; t < SETTINGS; t++) {
        struct thaw_gridmat m;
        int64_t held = 0;
        new (&m, &settings[t], settings[t].n, settings[t].n + 3);
        for (int64_t i = 0; i < m.rows; i++)
            for (int64_t j = 0, place; j < m.cols; j++) {
                const int owner = thaw_gridmat_owner(&m, i, j, &place);
                assert_in_range(owner, 0, thaw_comm_size(comm) - 1);
                if (owner != thaw_comm_rank(comm)) continue;
                assert_true(place % m.desc[8] < m.lrows && place / m.desc[8] < m.lcols);
                assert_int_equal(thaw_gridmat_row(&m, place % m.desc[8]), i);
                assert_int_equal(thaw_gridmat_col(&m, place / m.desc[8]), j);
                assert_int_equal(thaw_gridmat_rows_below(&m, i), place % m.desc[8]);
                assert_int_equal(thaw_gridmat_cols_below(&m, j), place / m.desc[8]);
                held++;
            }
        assert_int_equal(held, m.lrows * m.lcols);
        assert_true(held * (m.single ? 4 : 8) <=
                    thaw_grid_nbytes(thaw_comm_size(comm), m.rows, m.cols, m.nb, m.single));
        thaw_comm_sum_i64(comm, &held, 1);
        assert_int_equal(held, m.rows * m.cols);
        thaw_gridmat_clear(&m);
    }
}

static void test_shapes(void **state) {
    static const int want[][3] = {{1, 1, 1}, {2, 1, 2},  {4, 2, 2}, {6, 2, 3},
                                  {7, 1, 7}, {12, 3, 4}, {64, 8, 8}};
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        int nrow, ncol;
        thaw_grid_shape_of(want[i][0], &nrow, &ncol);
        assert_int_equal(nrow, want[i][1]);
        assert_int_equal(ncol, want[i][2]);
    }
}

// ---- Solving ----

static void compare(const struct thaw_gridmat *m, const double *want, bool lower_only) {
    double *got = whole(m);
    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = 0; j < m->cols; j++)
            if (!lower_only || j <= i) near(got[i * m->cols + j], want[i * m->cols + j], eps_of(m->single));
    free(got);
}

static void test_inverse(void **state) {
    (void)state;
    for (int t = 0; t < SETTINGS; t++)
        for (int how = 0; how < 4; how++) { // potrf and potri, or the sweep; lower triangle, or full
            const int n = settings[t].n;
            double *want = calloc((size_t)(n * n), sizeof *want);
            struct thaw_gridmat a;
            int64_t minor = -1;
            for (int i = 0; i < n * n; i++) want[i] = value(i / n, i % n);
            invert(want, n);
            new (&a, &settings[t], n, n);
            fill(&a, value);
            if (how % 2) {
                assert_int_equal(thaw_grid_inverse(&a, how >= 2, &minor, NULL), 0);
            } else {
                assert_int_equal(thaw_grid_potrf(&a, &minor, NULL), 0);
                assert_int_equal(thaw_grid_potri(&a, how >= 2, NULL), 0);
            }
            assert_int_equal(minor, 0);
            compare(&a, want, how < 2);
            thaw_gridmat_clear(&a);
            free(want);
        }
}

static void test_solve(void **state) {
    (void)state;
    for (int t = 0; t < SETTINGS; t++)
        for (int how = 0; how < 2; how++) {
            const int n = settings[t].n, m = n / 2 + 1;
            double *inverse = calloc((size_t)(n * n), sizeof *inverse);
            double *want = calloc((size_t)(n * m), sizeof *want);
            struct thaw_gridmat a, b;
            for (int i = 0; i < n * n; i++) inverse[i] = value(i / n, i % n);
            invert(inverse, n);
            for (int i = 0; i < n; i++)
                for (int j = 0; j < m; j++)
                    for (int k = 0; k < n; k++) want[i * m + j] += inverse[i * n + k] * right(k, j);
            new (&a, &settings[t], n, n);
            struct setting same = settings[t];
            same.nb = a.nb;
            new (&b, &same, n, m);
            fill(&a, value);
            fill(&b, right);
            if (how) {
                assert_int_equal(thaw_grid_solve(&a, &b, NULL, NULL), 0);
            } else {
                assert_int_equal(thaw_grid_potrf(&a, NULL, NULL), 0);
                assert_int_equal(thaw_grid_potrs(&a, &b, NULL), 0);
            }
            compare(&b, want, false);
            thaw_gridmat_clear(&a);
            thaw_gridmat_clear(&b);
            free(inverse);
            free(want);
        }
}

static double indefinite(int64_t i, int64_t j) {
    return i == 20 && j == 20 ? -1 : i == j ? 2 : 0;
}

static void test_not_definite(void **state) {
    (void)state;
    for (int how = 0; how < 3; how++) {
        const struct setting s = {40, 8, how % 2 == 0};
        struct thaw_gridmat a, b;
        struct thaw_err err = THAW_ERR_INIT;
        int64_t minor = 0;
        new (&a, &s, s.n, s.n);
        new (&b, &s, s.n, 3);
        fill(&a, indefinite);
        const int code = how == 0   ? thaw_grid_potrf(&a, &minor, &err)
                         : how == 1 ? thaw_grid_inverse(&a, false, &minor, &err)
                                    : thaw_grid_solve(&a, &b, &minor, &err);
        assert_int_equal(code, THAW_EDIVERGED);
        assert_int_equal(err.code, THAW_EDIVERGED);
        assert_int_equal(minor, 21);
        thaw_gridmat_clear(&a);
        thaw_gridmat_clear(&b);
    }
}

// ---- Products and parts ----

static void test_gemm(void **state) {
    (void)state;
    for (int t = 0; t < SETTINGS; t++)
        for (int how = 0; how < 4; how++) {
            const bool ta = how & 1, tb = how & 2;
            const int m = settings[t].n, n = m + 2, k = m / 3 + 1;
            struct thaw_gridmat a, b, c;
            double *want = calloc((size_t)(m * n), sizeof *want);
            new (&a, &settings[t], ta ? k : m, ta ? m : k);
            struct setting same = settings[t];
            same.nb = a.nb;
            new (&b, &same, tb ? n : k, tb ? k : n);
            new (&c, &same, m, n);
            fill(&a, right);
            fill(&b, value);
            fill(&c, right);
            for (int i = 0; i < m; i++)
                for (int j = 0; j < n; j++) {
                    want[i * n + j] = -0.5 * right(i, j);
                    for (int l = 0; l < k; l++)
                        want[i * n + j] +=
                            2 * (ta ? right(l, i) : right(i, l)) * (tb ? value(j, l) : value(l, j));
                }
            assert_int_equal(thaw_grid_gemm(&a, ta, &b, tb, 2, -0.5, &c, NULL), 0);
            compare(&c, want, false);
            if (k != m) assert_int_equal(thaw_grid_gemm(&a, ta, &c, false, 1, 0, &b, NULL), THAW_EBUG);
            thaw_gridmat_clear(&a);
            thaw_gridmat_clear(&b);
            thaw_gridmat_clear(&c);
            free(want);
        }
}

// The trailing part from a block's border on is solved, the rest stays.
static void test_parts(void **state) {
    (void)state;
    const struct setting s = {50, 8, false};
    const int n = s.n, at = 24, m = n - at, cols = 10;
    struct thaw_gridmat a, b;
    double *inverse = calloc((size_t)(m * m), sizeof *inverse),
           *want = calloc((size_t)(n * cols), sizeof *want);
    for (int i = 0; i < m * m; i++) inverse[i] = value(at + i / m, at + i % m);
    invert(inverse, m);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < cols; j++) {
            want[i * cols + j] = i < at ? right(i, j) : 0;
            for (int k = 0; k < m && i >= at; k++)
                want[i * cols + j] += inverse[(i - at) * m + k] * right(at + k, j);
        }
    new (&a, &s, n, n);
    new (&b, &s, n, cols);
    fill(&a, value);
    fill(&b, right);
    const struct thaw_gridpart part = {&a, at, at, m, m}, rest = {&b, at, 0, m, cols};
    assert_int_equal(thaw_gridpart_potrf(part, NULL, NULL), 0);
    assert_int_equal(thaw_gridpart_potrs(part, rest, NULL), 0);
    compare(&b, want, false);
    thaw_gridmat_clear(&a);
    thaw_gridmat_clear(&b);
    free(inverse);
    free(want);
}

static double lower(int64_t i, int64_t j) {
    return j <= i ? value(i, j) : 1000;
}

static void test_mirror(void **state) {
    (void)state;
    for (int t = 0; t < SETTINGS; t++) {
        const int n = settings[t].n, part = n - n / 3;
        struct thaw_gridmat a;
        double *want = calloc((size_t)(n * n), sizeof *want);
        new (&a, &settings[t], n, n);
        fill(&a, lower);
        for (int i = 0; i < n * n; i++)
            want[i] = i % n < part && i / n < part ? value(i / n, i % n) : lower(i / n, i % n);
        assert_int_equal(thaw_grid_mirror(&a, part, NULL), 0);
        compare(&a, want, false);
        thaw_gridmat_clear(&a);
        free(want);
    }
}

// What cannot be numbered is refused on every rank.
static void test_refused(void **state) {
    (void)state;
    struct thaw_gridmat a;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_gridmat_new(&a, grid, (int64_t)1 << 31, 1, 64, true, &err), THAW_EDATA);
    if (thaw_comm_size(comm) == 1) return;
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_gridmat_new(&a, grid, 200000, 200000, 64, true, &err), THAW_EDATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),       cmocka_unit_test(test_shapes), cmocka_unit_test(test_inverse),
        cmocka_unit_test(test_solve),        cmocka_unit_test(test_gemm),   cmocka_unit_test(test_parts),
        cmocka_unit_test(test_not_definite), cmocka_unit_test(test_mirror), cmocka_unit_test(test_refused),
    };
    if (thaw_comm_begin(&comm, NULL)) return 1;
    int failed = thaw_grid_new(&grid, comm, NULL);
    if (!failed) failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_grid_free(&grid);
    thaw_comm_end(&comm);
    return failed;
}
