// test_als.c: the row solvers against slow references in double.
#include "als/als.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TABLE_ROWS = 900 };

// A row problem with random opposite rows.
struct problem {
    struct thaw_als_config config;
    struct thaw_als_sweep sweep;
    int d;
    float *table; // TABLE_ROWS x d
    double *gramian;
    uint32_t *index;
    float *r;
    int64_t n;
};

static struct problem problem_new(enum thaw_als_model model, enum thaw_als_solver solver, int k, bool biases,
                                  int64_t n) {
    struct problem p = {.n = n};
    struct thaw_rng rng = thaw_rng_at(7, 99, (uint64_t)(k * 1000 + n));
    p.config = (struct thaw_als_config){.model = model,
                                        .solver = solver,
                                        .k = k,
                                        .biases = biases,
                                        .mean = 3.25,
                                        .alpha = 2,
                                        .unobserved = 0.3,
                                        .lambda = 0.05,
                                        .nu = model == THAW_ALS_HU ? 0 : 0.7,
                                        .cg_steps = 1000,
                                        .cg_tolerance = 1e-6};
    p.d = thaw_als_columns(&p.config);
    p.table = malloc(TABLE_ROWS * (size_t)p.d * sizeof(float));
    p.gramian = calloc((size_t)k * (size_t)k, sizeof(double));
    p.index = malloc((size_t)(n + 1) * sizeof(uint32_t));
    p.r = malloc((size_t)(n + 1) * sizeof(float));
    for (int i = 0; i < TABLE_ROWS * p.d; i++) p.table[i] = (float)thaw_rng_normal(&rng);
    for (int64_t i = 0; i < n; i++) {
        p.index[i] = (uint32_t)thaw_rng_below(&rng, TABLE_ROWS);
        p.r[i] = (float)(0.5 + 4 * thaw_rng_uniform(&rng));
    }
    assert_int_equal(thaw_als_gramian(p.gramian, p.table, TABLE_ROWS, k, p.d, NULL), 0);
    return p;
}

static void problem_link(struct problem *p) { // after the struct has its final address
    p->sweep = (struct thaw_als_sweep){.config = &p->config,
                                       .other_rows = TABLE_ROWS,
                                       .gramian = p->config.model == THAW_ALS_EXPLICIT ? NULL : p->gramian};
}

static void problem_clear(struct problem *p) {
    free(p->table);
    free(p->gramian);
    free(p->index);
    free(p->r);
}

static double reference_lambda(const struct problem *p) {
    const struct thaw_als_config *f = &p->config;
    if (f->model == THAW_ALS_EXPLICIT) return f->lambda * (double)p->n;
    return f->lambda * pow((double)p->n + f->unobserved * TABLE_ROWS, f->nu);
}

// Design vector, weight and target of interaction i, by the definitions in als.h.
static void reference_term(const struct problem *p, int64_t i, double *y, double *w, double *c) {
    const struct thaw_als_config *f = &p->config;
    const float *row = p->table + (size_t)p->index[i] * (size_t)p->d;
    for (int j = 0; j < p->d; j++) y[j] = j < f->k ? row[j] : 1;
    if (f->model == THAW_ALS_EXPLICIT) {
        *w = 1;
        *c = p->r[i] - f->mean - (f->biases ? row[f->k] : 0);
    } else {
        *w = f->alpha * p->r[i];
        *c = *w + (f->model == THAW_ALS_HU ? f->unobserved : 0);
    }
}

// Solve a x = b by elimination with pivots; a: d x d, destroyed.
static void eliminate(double *a, double *b, int d) {
    for (int c = 0; c < d; c++) {
        int pivot = c;
        for (int i = c + 1; i < d; i++)
            if (fabs(a[i * d + c]) > fabs(a[pivot * d + c])) pivot = i;
        for (int j = 0; j < d; j++) {
            const double t = a[c * d + j];
            a[c * d + j] = a[pivot * d + j];
            a[pivot * d + j] = t;
        }
        const double t = b[c];
        b[c] = b[pivot];
        b[pivot] = t;
        for (int i = c + 1; i < d; i++) {
            const double f = a[i * d + c] / a[c * d + c];
            for (int j = c; j < d; j++) a[i * d + j] -= f * a[c * d + j];
            b[i] -= f * b[c];
        }
    }
    for (int i = d - 1; i >= 0; i--) {
        for (int j = i + 1; j < d; j++) b[i] -= a[i * d + j] * b[j];
        b[i] /= a[i * d + i];
    }
}

static void reference_solve(const struct problem *p, double *x) {
    const int d = p->d, k = p->config.k;
    double *a = calloc((size_t)(d * d), sizeof *a), *y = malloc((size_t)d * sizeof *y);
    memset(x, 0, (size_t)d * sizeof *x);
    for (int i = 0; i < d; i++) {
        a[i * d + i] += reference_lambda(p);
        if (p->sweep.gramian) // d = k
            for (int j = 0; j < k; j++)
                for (int q = 0; q < TABLE_ROWS; q++)
                    a[i * d + j] += p->config.unobserved * (double)p->table[q * d + i] * p->table[q * d + j];
    }
    for (int64_t q = 0; q < p->n; q++) {
        double w, c;
        reference_term(p, q, y, &w, &c);
        for (int i = 0; i < d; i++) {
            for (int j = 0; j < d; j++) a[i * d + j] += w * y[i] * y[j];
            x[i] += c * y[i];
        }
    }
    eliminate(a, x, d);
    free(a);
    free(y);
}

static double distance(const float *x, const double *y, int d) {
    double far = 0, norm = 0;
    for (int j = 0; j < d; j++) {
        far += (x[j] - y[j]) * (x[j] - y[j]);
        norm += y[j] * y[j];
    }
    return sqrt(far / (norm > 0 ? norm : 1));
}

static void solve(struct problem *p, float *x) {
    struct thaw_als_work *w = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    problem_link(p);
    assert_int_equal(thaw_als_check(&p->config, &err), 0);
    assert_int_equal(thaw_als_work_new(&w, &p->config, &err), 0);
    assert_int_equal(thaw_als_solve(w, &p->sweep, p->table, p->index, p->r, p->n, x, &err), 0);
    thaw_als_work_free(&w);
    assert_null(w);
}

// The same row in pieces of one panel.
static void solve_long(struct problem *p, float *x) {
    struct thaw_als_work *w = NULL;
    problem_link(p);
    assert_int_equal(thaw_als_work_new(&w, &p->config, NULL), 0);
    thaw_als_long_begin(w, &p->sweep, p->n);
    for (int64_t at = 0; at < p->n; at += THAW_ALS_PANEL)
        thaw_als_long_add(w, &p->sweep, p->table, p->index + at, p->r + at,
                          p->n - at < THAW_ALS_PANEL ? p->n - at : THAW_ALS_PANEL);
    assert_int_equal(thaw_als_long_end(w, x, NULL), 0);
    thaw_als_work_free(&w);
}

static const int ranks[] = {1, 2, 15, 16, 33, 64};
static const int64_t lengths[] = {0, 1, 3, 17, 100, 256, 257, 800};
static const struct {
    enum thaw_als_model model;
    bool biases;
} models[] = {
    {THAW_ALS_HU, false}, {THAW_ALS_RENDLE, false}, {THAW_ALS_EXPLICIT, false}, {THAW_ALS_EXPLICIT, true}};

#define EACH(m, k, n)                                                                                        \
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)                                              \
        for (size_t k = 0; k < sizeof ranks / sizeof *ranks; k++)                                            \
            for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++)

static void check_solver(enum thaw_als_solver solver, double tolerance) {
    EACH(m, k, n) {
        struct problem p = problem_new(models[m].model, solver, ranks[k], models[m].biases, lengths[n]);
        float x[80] = {0};
        double want[80] = {0};
        solve(&p, x);
        if (p.n) reference_solve(&p, want);
        if (p.n == 0)
            for (int j = 0; j < p.d; j++) assert_true(x[j] == 0);
        const double off = distance(x, want, p.d);
        if (off > tolerance) print_error("model %zu k %d n %d: off by %g\n", m, ranks[k], (int)p.n, off);
        assert_true(off <= tolerance);
        problem_clear(&p);
    }
}

static void test_cholesky(void **state) {
    (void)state;
    check_solver(THAW_ALS_CHOLESKY, 2e-5);
}

static void test_cg_converges(void **state) {
    (void)state;
    check_solver(THAW_ALS_CG, 2e-3);
}

// A few steps from a warm start near the solution get closer to it.
static void test_cg_warm_start(void **state) {
    (void)state;
    struct problem p = problem_new(THAW_ALS_RENDLE, THAW_ALS_CG, 32, false, 200);
    double want[32];
    float x[32];
    problem_link(&p);
    reference_solve(&p, want);
    for (int j = 0; j < 32; j++) x[j] = (float)(want[j] * 1.2 + 0.01);
    const double before = distance(x, want, 32);
    p.config.cg_steps = 3;
    p.config.cg_tolerance = 0;
    solve(&p, x);
    assert_true(distance(x, want, 32) < before / 3);
    p.config.cg_tolerance = 1; // the start is good enough: nothing moves
    float y[32];
    memcpy(y, x, sizeof y);
    solve(&p, y);
    assert_memory_equal(x, y, sizeof y);
    problem_clear(&p);
}

static void test_long_rows_same_bits(void **state) {
    (void)state;
    EACH(m, k, n) {
        struct problem p =
            problem_new(models[m].model, THAW_ALS_CHOLESKY, ranks[k], models[m].biases, lengths[n]);
        float whole[80] = {0}, pieces[80] = {0};
        if (p.n) {
            solve(&p, whole);
            solve_long(&p, pieces);
            assert_memory_equal(whole, pieces, (size_t)p.d * sizeof(float));
        }
        problem_clear(&p);
    }
}

// Opposite rows at other places, at another alignment, in used working memory: the same bits.
static void test_company_does_not_matter(void **state) {
    (void)state;
    enum { K = 33, SHIFT = 3 };
    for (int solver = 0; solver < 2; solver++) {
        struct problem p = problem_new(THAW_ALS_RENDLE, (enum thaw_als_solver)solver, K, false, 300);
        float x[K] = {0}, y[K] = {0}, other[K] = {1};
        struct thaw_als_work *w = NULL;
        float *moved = malloc(((TABLE_ROWS + SHIFT) * K + 1) * sizeof(float));
        solve(&p, x);
        memcpy(moved + SHIFT * K + 1, p.table, TABLE_ROWS * K * sizeof(float));
        assert_int_equal(thaw_als_work_new(&w, &p.config, NULL), 0);
        assert_int_equal(thaw_als_solve(w, &p.sweep, p.table, p.index + 5, p.r, 77, other, NULL), 0);
        for (int64_t i = 0; i < p.n; i++) p.index[i] += SHIFT;
        assert_int_equal(thaw_als_solve(w, &p.sweep, moved + 1, p.index, p.r, p.n, y, NULL), 0);
        assert_memory_equal(x, y, sizeof x);
        thaw_als_work_free(&w);
        free(moved);
        problem_clear(&p);
    }
}

static void test_observed_loss(void **state) {
    (void)state;
    EACH(m, k, n) {
        struct problem p =
            problem_new(models[m].model, THAW_ALS_CHOLESKY, ranks[k], models[m].biases, lengths[n]);
        float x[80] = {0};
        double want = 0, y[80];
        solve(&p, x);
        for (int64_t i = 0; i < p.n; i++) {
            double w, c, s = 0;
            reference_term(&p, i, y, &w, &c);
            for (int j = 0; j < p.d; j++) s += x[j] * y[j];
            want += p.sweep.gramian ? w * s * s - 2 * c * s + c : (c - s) * (c - s);
        }
        const double got = thaw_als_observed_loss(&p.sweep, p.table, p.index, p.r, p.n, x);
        assert_true(fabs(got - want) <= 1e-5 * (fabs(want) + (double)p.n));
        problem_clear(&p);
    }
}

static void test_gramian(void **state) {
    (void)state;
    struct problem p = problem_new(THAW_ALS_EXPLICIT, THAW_ALS_CHOLESKY, 7, true, 0);
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 7; j++) {
            double want = 0;
            for (int q = 0; q < TABLE_ROWS; q++) want += (double)p.table[q * 8 + i] * p.table[q * 8 + j];
            assert_true(fabs(p.gramian[i * 7 + j] - want) < 1e-10 * TABLE_ROWS);
            assert_true(p.gramian[i * 7 + j] == p.gramian[j * 7 + i]);
        }
    problem_clear(&p);
}

static void test_not_finite(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++) {
        struct problem p = problem_new(THAW_ALS_HU, (enum thaw_als_solver)solver, 16, false, 40);
        struct thaw_als_work *w = NULL;
        struct thaw_err err = THAW_ERR_INIT;
        float x[16] = {0};
        problem_link(&p);
        p.table[p.index[7] * 16 + 3] = NAN;
        assert_int_equal(thaw_als_work_new(&w, &p.config, NULL), 0);
        assert_int_equal(thaw_als_solve(w, &p.sweep, p.table, p.index, p.r, p.n, x, &err), THAW_EDIVERGED);
        assert_true(strlen(err.text) > 0);
        thaw_als_work_free(&w);
        problem_clear(&p);
    }
}

static void test_check(void **state) {
    (void)state;
    const struct thaw_als_config good = {
        .model = THAW_ALS_HU, .k = 4, .alpha = 1, .unobserved = 1, .lambda = 1, .nu = 1, .cg_steps = 3};
    struct thaw_als_config bad[7];
    assert_int_equal(thaw_als_check(&good, NULL), 0);
    for (int i = 0; i < 7; i++) bad[i] = good;
    bad[0].k = 0;
    bad[1].k = THAW_ALS_FACTORS_MAX + 1;
    bad[2].lambda = 0;
    bad[3].alpha = -1;
    bad[4].unobserved = NAN;
    bad[5].biases = true;
    bad[6].cg_steps = 0;
    for (int i = 0; i < 7; i++) assert_int_equal(thaw_als_check(&bad[i], NULL), THAW_EUSAGE);
}

static void test_init(void **state) {
    (void)state;
    float x[64], y[64], z[64];
    thaw_als_init_row(x, 64, 1, THAW_STREAM_FACTORS_ITEMS, 5, 0.1);
    thaw_als_init_row(y, 64, 1, THAW_STREAM_FACTORS_ITEMS, 5, 0.1);
    thaw_als_init_row(z, 64, 1, THAW_STREAM_FACTORS_ITEMS, 6, 0.1);
    assert_memory_equal(x, y, sizeof x);
    assert_memory_not_equal(x, z, sizeof x);
    for (int j = 0; j < 64; j++) assert_true(fabsf(x[j]) < 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cholesky),
        cmocka_unit_test(test_cg_converges),
        cmocka_unit_test(test_cg_warm_start),
        cmocka_unit_test(test_long_rows_same_bits),
        cmocka_unit_test(test_company_does_not_matter),
        cmocka_unit_test(test_observed_loss),
        cmocka_unit_test(test_gramian),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_init),
    };
    thaw_blas_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
