// test_als.c: the row solvers against a slow reference in double, for every kernel set that this CPU has.
#include "als/als.h"
#include "als/kernels.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = THAW_ALS_FACTORS_MAX + 1, WIDTH_MOST = THAW_ALS_FACTORS_MAX + 32, TABLE_ROWS = 600 };

// A row problem with random opposite rows, and what solves it.
struct problem {
    struct thaw_als_config config;
    int d, width;
    float *y; // TABLE_ROWS x d
    double *gramian;
    uint32_t *index;
    float *r;
    int64_t n;
    void *table; // y, encoded
    float norm2;
    struct thaw_als_sweep *sweep;
    struct thaw_als_work *work;
};

static void *aligned(size_t nbytes) {
    void *p = aligned_alloc(64, (nbytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, nbytes);
    return p;
}

static struct thaw_als_config config_of(enum thaw_als_model model, bool biases, int k) {
    return (struct thaw_als_config){.model = model,
                                    .solver = THAW_ALS_CG,
                                    .gather = THAW_ALS_F32,
                                    .k = k,
                                    .biases = biases,
                                    .mean = 3.25,
                                    .alpha = 2,
                                    .unobserved = 0.3,
                                    .lambda = 0.05,
                                    .nu = model == THAW_ALS_HU ? 0 : 0.7,
                                    .cg_steps = 100,
                                    .relaxation = 1,
                                    .cg_tolerance = 0};
}

// Encode the table and make the rest again, after the configuration or the kernels changed.
static void prepare(struct problem *p) {
    const bool implicit = p->config.model != THAW_ALS_EXPLICIT;
    struct thaw_err err = THAW_ERR_INIT;
    thaw_als_sweep_free(&p->sweep);
    thaw_als_work_free(&p->work);
    free(p->table);
    p->width = thaw_als_width(&p->config);
    assert_int_equal(thaw_als_check(&p->config, &err), 0);
    assert_int_equal(
        thaw_als_sweep_new(&p->sweep, &p->config, TABLE_ROWS, 50, implicit ? p->gramian : NULL, &err), 0);
    assert_int_equal(thaw_als_work_new(&p->work, &p->config, &err), 0);
    p->table = aligned(TABLE_ROWS * thaw_als_row_bytes(&p->config));
    p->norm2 = 0;
    thaw_als_encode(p->sweep, p->y, TABLE_ROWS, p->table, &p->norm2);
}

static void problem_new(struct problem *p, struct thaw_als_config c, int64_t n) {
    struct thaw_rng rng = thaw_rng_at(7, 99, (uint64_t)(c.k * 1000 + n));
    const int k = c.k, d = thaw_als_columns(&c);
    *p = (struct problem){.config = c, .d = d, .n = n};
    p->y = aligned(TABLE_ROWS * (size_t)d * sizeof(float));
    p->gramian = aligned((size_t)k * (size_t)k * sizeof(double));
    p->index = aligned((size_t)(n + THAW_ALS_AHEAD) * sizeof(uint32_t));
    p->r = malloc((size_t)n * sizeof(float) + 1); // no more than n: the sanitizer watches
    for (int i = 0; i < TABLE_ROWS; i++)
        for (int j = 0; j < d; j++)
            p->y[i * d + j] = (float)(thaw_rng_normal(&rng) * (j < k ? 1 / sqrt(k) : 1) * (j % 5 ? 1 : 3));
    for (int64_t i = 0; i < n + THAW_ALS_AHEAD; i++) p->index[i] = (uint32_t)thaw_rng_below(&rng, TABLE_ROWS);
    for (int64_t i = 0; i < n; i++) p->r[i] = (float)(0.5 + 4 * thaw_rng_uniform(&rng));
    assert_int_equal(thaw_als_gramian(p->gramian, p->y, TABLE_ROWS, k, d, NULL), 0);
    prepare(p);
}

static void problem_clear(struct problem *p) {
    thaw_als_sweep_free(&p->sweep);
    thaw_als_work_free(&p->work);
    free(p->y);
    free(p->gramian);
    free(p->index);
    free(p->r);
    free(p->table);
}

static struct thaw_als_row row_of(const struct problem *p) {
    return (struct thaw_als_row){.table = p->table, .index = p->index, .r = p->r, .n = p->n};
}

// ---- The reference, by the definitions in als.h ----
static void reference_term(const struct problem *p, int64_t i, double *y, double *w, double *c) {
    const struct thaw_als_config *f = &p->config;
    const float *row = p->y + (size_t)p->index[i] * (size_t)p->d;
    for (int j = 0; j < p->d; j++) y[j] = j < f->k ? row[j] : 1;
    if (f->model == THAW_ALS_EXPLICIT) {
        *w = 1;
        *c = p->r[i] - f->mean - (f->biases ? row[f->k] : 0);
    } else {
        *w = f->alpha * p->r[i];
        *c = *w + (f->model == THAW_ALS_HU ? f->unobserved : 0);
    }
}

void dposv_(const char *, const int *, const int *, double *, const int *, double *, const int *, int *,
            size_t);

static void reference_solve(const struct problem *p, double *x) {
    const int d = p->d, one = 1;
    const bool implicit = p->config.model != THAW_ALS_EXPLICIT;
    double *a = calloc((size_t)(d * d), sizeof *a), *y = malloc((size_t)d * sizeof *y);
    int info;
    const double lambda = thaw_als_lambda(&p->config, TABLE_ROWS, p->n);
    memset(x, 0, (size_t)d * sizeof *x);
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++)
            a[i * d + j] =
                (implicit ? p->config.unobserved * p->gramian[i * d + j] : 0) + (i == j ? lambda : 0);
    for (int64_t q = 0; q < p->n; q++) {
        double w, c;
        reference_term(p, q, y, &w, &c);
        for (int i = 0; i < d; i++) {
            for (int j = 0; j < d; j++) a[i * d + j] += w * y[i] * y[j];
            x[i] += c * y[i];
        }
    }
    dposv_("U", &d, &one, a, &d, x, &d, &info, 1);
    assert_int_equal(info, 0);
    free(a);
    free(y);
}

// The observed loss at x; *most: the sum of its terms' absolute values.
static double reference_loss(const struct problem *p, const float *x, double *most) {
    double y[MOST], loss = 0;
    *most = 0;
    for (int64_t i = 0; i < p->n; i++) {
        double w, c, s = 0;
        reference_term(p, i, y, &w, &c);
        for (int j = 0; j < p->d; j++) s += x[j] * y[j];
        loss += p->config.model == THAW_ALS_EXPLICIT ? (c - s) * (c - s) : w * s * s - 2 * c * s + c;
        *most += p->config.model == THAW_ALS_EXPLICIT ? c * c + s * s : w * s * s + fabs(2 * c * s) + c;
    }
    return loss;
}

static double distance(const float *x, const double *y, int d) {
    double far = 0, norm = 0.1; // a solution near zero is as good as zero
    for (int j = 0; j < d; j++) {
        far += (x[j] - y[j]) * (x[j] - y[j]);
        norm += y[j] * y[j];
    }
    return sqrt(far / norm);
}

// From a start of x to the solution, in x; the observed loss.
static double solve(const struct problem *p, float *x) {
    float z[WIDTH_MOST] __attribute__((aligned(64)));
    const struct thaw_als_row row = row_of(p);
    struct thaw_err err = THAW_ERR_INIT;
    double loss = -1;
    thaw_als_enter(p->sweep, x, 1, z);
    assert_int_equal(thaw_als_solve(p->work, p->sweep, &row, z, &loss, &err), 0);
    thaw_als_leave(p->sweep, z, 1, x);
    return loss;
}

static const struct {
    enum thaw_als_model model;
    bool biases;
} models[] = {
    {THAW_ALS_HU, false}, {THAW_ALS_RENDLE, false}, {THAW_ALS_EXPLICIT, false}, {THAW_ALS_EXPLICIT, true}};
static const int ranks[] = {1, 3, 16, 17, 32, 33, 64, 100, 128, 256, 513, 1024};
static const char *const sets[] = {"portable", "avx2", "avx512"};
enum { MODELS = sizeof models / sizeof *models, RANKS = sizeof ranks / sizeof *ranks, SETS = 3 };

// Use a set of kernels; false where the CPU does not have it.
static bool use(const char *set) {
    setenv("THAW_KERNELS", set, 1);
    thaw_als_kernels_choose();
    return strcmp(thaw_als_kernels(), strcmp(thaw_als_kernels(), "neon") ? set : "neon") == 0;
}
static void use_best(void) {
    unsetenv("THAW_KERNELS");
    thaw_als_kernels_choose();
}

// One problem with both storages and all sets of kernels.
static void check_solution(struct problem *p, const double *want, double tolerance) {
    for (int s = 0; s < SETS; s++)
        for (int gather = 0; gather < 2; gather++) {
            if (!use(sets[s]) || (p->config.k > 500 && gather != s % 2)) continue; // eigenvectors are slow
            p->config.gather = gather ? THAW_ALS_BF16 : THAW_ALS_F32;
            prepare(p);
            float x[MOST];
            double most;
            for (int j = 0; j < p->d; j++) x[j] = (float)(1.1 * want[j] + 0.01);
            const double loss = solve(p, x), reference = reference_loss(p, x, &most);
            const double off = distance(x, want, p->d), allowed = gather ? 0.02 : tolerance;
            const double wrong = fabs(loss - reference) / most, rounding = gather ? 4e-3 : 1e-5;
            if (off > allowed || wrong > rounding)
                print_error("%s model %d%s k %d n %d gather %d solver %d: off by %g, loss by %g\n", sets[s],
                            (int)p->config.model, p->config.biases ? "+b" : "", p->config.k, (int)p->n,
                            gather, (int)p->config.solver, off, wrong);
            assert_true(off <= allowed);
            assert_true(wrong <= rounding);
        }
    use_best();
}

static void check_solver(enum thaw_als_solver solver, double tolerance) {
    static const int64_t lengths[] = {1, 3, 17, 48, 300};
    double want[MOST];
    for (int m = 0; m < MODELS; m++)
        for (int k = 0; k < RANKS; k++)
            for (size_t n = 0; n < sizeof lengths / sizeof *lengths; n++) {
                if (ranks[k] > 500 && (n != 3 || m % 2 == 0)) continue; // the reference is slow
                if (ranks[k] > 128 && lengths[n] > 48) continue;
                struct problem p;
                struct thaw_als_config c = config_of(models[m].model, models[m].biases, ranks[k]);
                c.solver = solver;
                problem_new(&p, c, lengths[n]);
                reference_solve(&p, want);
                check_solution(&p, want, tolerance);
                problem_clear(&p);
            }
}

static void test_cg(void **state) {
    (void)state;
    check_solver(THAW_ALS_CG, 1e-3);
}
static void test_cholesky(void **state) {
    (void)state;
    check_solver(THAW_ALS_CHOLESKY, 1e-3);
}

// Rows of more interactions than a thread keeps are gathered again in each pass.
static void test_rows_that_do_not_fit(void **state) {
    (void)state;
    double want[MOST];
    struct problem p;
    problem_new(&p, config_of(THAW_ALS_RENDLE, false, 100), 8203);
    reference_solve(&p, want);
    check_solution(&p, want, 1e-3);
    problem_clear(&p);
}

// A few steps from a start near the solution get closer to it.
static void test_few_steps(void **state) {
    (void)state;
    struct problem p;
    double want[MOST], most;
    float x[MOST], y[MOST];
    problem_new(&p, config_of(THAW_ALS_RENDLE, false, 64), 200);
    reference_solve(&p, want);
    for (int j = 0; j < 64; j++) x[j] = (float)(want[j] * 1.2 + 0.01);
    const double before = distance(x, want, 64);
    p.config.cg_steps = 3;
    prepare(&p);
    const double loss = solve(&p, x);
    assert_true(distance(x, want, 64) < before / 3);
    assert_true(fabs(loss - reference_loss(&p, x, &most)) <= 1e-5 * most); // far from the solution, too
    p.config.cg_tolerance = 1;                                             // good enough: nothing moves
    prepare(&p);
    memcpy(y, x, sizeof y);
    solve(&p, y);
    for (int j = 0; j < 64; j++) assert_true(fabsf(x[j] - y[j]) < 1e-5f);
    problem_clear(&p);
}

// Over-relaxed steps end on the line through the start and the end of plain ones, so much farther, and the
// loss is that of where they end. The second row is too long for the copy of its opposite rows.
static void test_relaxation(void **state) {
    (void)state;
    static const int64_t lengths[] = {150, 8203};
    enum { K = 100 };
    for (int i = 0; i < SETS * 2 * MODELS; i++) {
        struct problem p;
        float start[MOST], plain[MOST], far[MOST];
        double most, off = 0, way = 0;
        const double relaxation = 1.7;
        if (!use(sets[i % SETS])) continue;
        struct thaw_als_config c = config_of(models[i / 6].model, models[i / 6].biases, K);
        c.cg_steps = 2;
        problem_new(&p, c, lengths[i / SETS % 2]);
        for (int j = 0; j < p.d; j++) plain[j] = far[j] = start[j] = 0.02f * (float)(j % 5);
        solve(&p, plain);
        p.config.relaxation = relaxation;
        prepare(&p);
        const double loss = solve(&p, far);
        for (int j = 0; j < p.d; j++) {
            const double want = start[j] + relaxation * ((double)plain[j] - start[j]);
            off += (far[j] - want) * (far[j] - want), way += (want - start[j]) * (want - start[j]);
        }
        assert_true(way > 0 && off <= 1e-8 * way);
        assert_true(fabs(loss - reference_loss(&p, far, &most)) <= 1e-5 * most);
        problem_clear(&p);
    }
    use_best();
}

static void test_no_interactions(void **state) {
    (void)state;
    for (int m = 0; m < MODELS; m++) {
        struct problem p;
        float x[MOST];
        problem_new(&p, config_of(models[m].model, models[m].biases, 17), 0);
        for (int j = 0; j < p.d; j++) x[j] = 1;
        assert_true(solve(&p, x) == 0);
        for (int j = 0; j < p.d; j++) assert_true(x[j] == 0);
        problem_clear(&p);
    }
}

// Opposite rows at other places, encoded in other groups, in used working memory: the same bits.
static void test_company_does_not_matter(void **state) {
    (void)state;
    enum { K = 33, SHIFT = 3 };
    for (int s = 0; s < SETS; s++)
        for (int variant = 0; variant < 4; variant++) {
            if (!use(sets[s])) continue;
            struct problem p;
            float x[K] = {0}, y[K] = {0};
            problem_new(&p, config_of(THAW_ALS_RENDLE, false, K), 300);
            p.config.gather = variant & 1 ? THAW_ALS_BF16 : THAW_ALS_F32;
            p.config.solver = variant & 2 ? THAW_ALS_CG : THAW_ALS_CHOLESKY;
            prepare(&p);
            const double loss = solve(&p, x);
            const size_t bytes = thaw_als_row_bytes(&p.config);
            char *moved = aligned((TABLE_ROWS + SHIFT) * bytes), *old = p.table;
            for (int64_t at = 0, n = 1; at < TABLE_ROWS; at += n, n = n % 29 + 1) {
                if (n > TABLE_ROWS - at) n = TABLE_ROWS - at;
                thaw_als_encode(p.sweep, p.y + at * K, n, moved + (size_t)(at + SHIFT) * bytes, NULL);
            }
            assert_memory_equal(moved + SHIFT * bytes, p.table, TABLE_ROWS * bytes);
            for (int64_t i = 0; i < p.n; i++) p.index[i] += SHIFT;
            p.table = moved;
            assert_true(solve(&p, y) == loss);
            assert_memory_equal(x, y, sizeof x);
            free(old);
            problem_clear(&p);
        }
    use_best();
}

// Entering and leaving: the inverse of each other, row by row as in any grouping.
static void test_enter_and_leave(void **state) {
    (void)state;
    for (int s = 0; s < SETS; s++)
        for (int m = 0; m < MODELS; m++)
            for (int k = 0; k < RANKS; k++) {
                if (!use(sets[s]) || ranks[k] > 300) continue;
                struct problem p;
                problem_new(&p, config_of(models[m].model, models[m].biases, ranks[k]), 1);
                const size_t width = (size_t)p.width, d = (size_t)p.d;
                float *z = aligned(TABLE_ROWS * width * sizeof *z), *one = aligned(width * sizeof *one);
                float *x = aligned(TABLE_ROWS * d * sizeof *x);
                thaw_als_enter(p.sweep, p.y, TABLE_ROWS, z);
                thaw_als_leave(p.sweep, z, TABLE_ROWS, x);
                for (size_t i = 0; i < TABLE_ROWS * d; i++) assert_true(fabsf(x[i] - p.y[i]) < 1e-3f);
                for (size_t i = 0; i < TABLE_ROWS; i += 7) {
                    thaw_als_enter(p.sweep, p.y + i * d, 1, one);
                    assert_memory_equal(one, z + i * width, width * sizeof *one);
                    thaw_als_leave(p.sweep, z + i * width, 1, one);
                    assert_memory_equal(one, x + i * d, d * sizeof *one);
                }
                free(z);
                free(one);
                free(x);
                problem_clear(&p);
            }
    use_best();
}

// Zeros, denormals and values around them survive being packed into pairs.
static void test_pairs(void **state) {
    (void)state;
    const float special[] = {0, -0.0f, 1e-40f, -1e-40f, 1.2e-38f, 1, -1, 3.1415927f, 1e30f, -1e-30f};
    enum { N = sizeof special / sizeof *special };
    for (int s = 0; s < SETS; s++) {
        if (!use(sets[s])) continue;
        const struct thaw_als_kernels *kernels = thaw_als_kernel_set();
        for (int i = 0; i < N * N; i++) {
            float in[32] __attribute__((aligned(64))) = {0}, out[32] __attribute__((aligned(64)));
            uint32_t words[16] __attribute__((aligned(64)));
            in[3] = special[i / N], in[19] = special[i % N];
            kernels->pack(in, words, 32);
            kernels->unpack(words, out, 32);
            for (int j = 0; j < 32; j++)
                assert_true(fabsf(out[j] - in[j]) <= fabsf(in[j]) * 0x1p-8f + 2e-38f);
            assert_true(fabsf(out[3] - in[3]) <= fabsf(in[3]) * 0x1p-8f + 2e-38f);
        }
    }
    use_best();
}

static void test_not_finite(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++)
        for (int gather = 0; gather < 2; gather++)
            for (int m = 1; m < MODELS; m++) {
                struct problem p;
                struct thaw_err err = THAW_ERR_INIT;
                float z[WIDTH_MOST] = {0};
                struct thaw_als_config c = config_of(models[m].model, models[m].biases, 16);
                c.solver = (enum thaw_als_solver)solver;
                c.gather = (enum thaw_als_gather)gather;
                problem_new(&p, c, 40);
                p.y[p.index[7] * (unsigned)p.d + 3] = NAN;
                p.norm2 = 0;
                thaw_als_encode(p.sweep, p.y, TABLE_ROWS, p.table, &p.norm2);
                assert_true(isnan(p.norm2));
                const struct thaw_als_row row = row_of(&p);
                assert_int_equal(thaw_als_solve(p.work, p.sweep, &row, z, NULL, &err), THAW_EDIVERGED);
                assert_true(strlen(err.text) > 0);
                problem_clear(&p);
            }
    struct thaw_als_sweep *s = NULL;
    const double gramian[4] = {1, 0, 0, INFINITY};
    const struct thaw_als_config c = config_of(THAW_ALS_HU, false, 2);
    assert_int_equal(thaw_als_sweep_new(&s, &c, 10, 5, gramian, NULL), THAW_EDIVERGED);
    assert_null(s);
}

static void test_check(void **state) {
    (void)state;
    const struct thaw_als_config good = {.model = THAW_ALS_HU,
                                         .k = 4,
                                         .alpha = 1,
                                         .unobserved = 1,
                                         .lambda = 1,
                                         .nu = 1,
                                         .cg_steps = 3,
                                         .relaxation = 1};
    struct thaw_als_config bad[9];
    assert_int_equal(thaw_als_check(&good, NULL), 0);
    for (int i = 0; i < 9; i++) bad[i] = good;
    bad[0].k = 0;
    bad[1].k = THAW_ALS_FACTORS_MAX + 1;
    bad[2].lambda = 0;
    bad[3].alpha = -1;
    bad[4].unobserved = NAN;
    bad[5].biases = true;
    bad[6].cg_steps = 0;
    bad[7].relaxation = 0;
    bad[8].relaxation = 2;
    for (int i = 0; i < 9; i++) assert_int_equal(thaw_als_check(&bad[i], NULL), THAW_EUSAGE);
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
        cmocka_unit_test(test_cg),
        cmocka_unit_test(test_cholesky),
        cmocka_unit_test(test_rows_that_do_not_fit),
        cmocka_unit_test(test_few_steps),
        cmocka_unit_test(test_relaxation),
        cmocka_unit_test(test_no_interactions),
        cmocka_unit_test(test_company_does_not_matter),
        cmocka_unit_test(test_enter_and_leave),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_init),
    };
    thaw_blas_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
