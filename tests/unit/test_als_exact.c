// test_als_exact.c: the exact solver and the gramian against slow references in double, for every kernel set
// that this CPU has.
#include "als/cholesky.h"
#include "als/work.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TABLE_ROWS = 700, LONGEST = 3000 };

struct problem {
    struct thaw_als_config config;
    int d, width;
    float *y; // TABLE_ROWS x d
    void *table;
    float norm2;
    uint32_t *index;
    float *r;
    double *gramian;
    struct thaw_als_sweep *sweep;
    struct thaw_als_work *work;
};

static void *aligned(size_t nbytes) {
    void *p = aligned_alloc(64, (nbytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, nbytes);
    return p;
}

static double random_normal(void) {
    static uint64_t n;
    struct thaw_rng rng = thaw_rng_at(7, 0, n++);
    return thaw_rng_normal(&rng);
}

static struct thaw_als_config config_of(enum thaw_als_model model, bool biases, int k) {
    return (struct thaw_als_config){.model = model,
                                    .solver = THAW_ALS_CHOLESKY,
                                    .gather = THAW_ALS_F32,
                                    .k = k,
                                    .biases = biases,
                                    .mean = 3.25,
                                    .alpha = 4,
                                    .unobserved = 0.3,
                                    .lambda = 0.05,
                                    .nu = model == THAW_ALS_RENDLE ? 0.7 : 0,
                                    .cg_steps = 3,
                                    .relaxation = 1};
}

static void problem_begin(struct problem *p, struct thaw_als_config config) {
    struct thaw_err err = THAW_ERR_INIT;
    const int k = config.k, d = thaw_als_columns(&config);
    *p = (struct problem){.config = config, .d = d, .width = thaw_als_width(&config)};
    p->y = aligned(sizeof(float) * (size_t)(TABLE_ROWS * d));
    p->table = aligned(thaw_als_row_bytes(&config) * TABLE_ROWS);
    p->index = aligned(sizeof(uint32_t) * (LONGEST + THAW_ALS_AHEAD));
    p->r = aligned(sizeof(float) * LONGEST);
    p->gramian = aligned(sizeof(double) * (size_t)(k * k));
    for (int i = 0; i < TABLE_ROWS * d; i++) p->y[i] = (float)(random_normal() / sqrt(k) + 0.2 / k);
    for (int i = 0; i < LONGEST + THAW_ALS_AHEAD; i++) p->index[i] = (uint32_t)(i * 37 % TABLE_ROWS);
    for (int i = 0; i < LONGEST; i++) p->r[i] = (float)(1 + i * 11 % 5);
    assert_int_equal(thaw_als_gramian(p->gramian, p->y, TABLE_ROWS, k, d, &err), 0);
    assert_int_equal(thaw_als_sweep_new(&p->sweep, &config, TABLE_ROWS, 40,
                                        config.model == THAW_ALS_EXPLICIT ? NULL : p->gramian, &err),
                     0);
    assert_int_equal(thaw_als_work_new(&p->work, &config, &err), 0);
    thaw_als_encode(p->sweep, p->y, TABLE_ROWS, p->table, &p->norm2);
}

static void problem_end(struct problem *p) {
    thaw_als_work_free(&p->work);
    thaw_als_sweep_free(&p->sweep);
    free(p->y), free(p->table), free(p->index), free(p->r), free(p->gramian);
}

// In place: b = a^-1 b, a: n x n, lower triangle used.
static void cholesky_reference(double *a, double *b, int n) {
    for (int j = 0; j < n; j++) {
        for (int q = 0; q < j; q++)
            for (int i = j; i < n; i++) a[i * n + j] -= a[i * n + q] * a[j * n + q];
        const double root = sqrt(a[j * n + j]);
        for (int i = j; i < n; i++) a[i * n + j] /= root;
    }
    for (int i = 0; i < n; i++) {
        for (int q = 0; q < i; q++) b[i] -= a[i * n + q] * b[q];
        b[i] /= a[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int q = i + 1; q < n; q++) b[i] -= a[q * n + i] * b[q];
        b[i] /= a[i * n + i];
    }
}

// The row's system in the solver's coordinates, as encoded, in double: z[width], the observed loss and the
// size of its terms.
static double reference(const struct problem *p, int64_t n, double *z, double *size) {
    const struct thaw_als_sweep *s = p->sweep;
    const int width = p->width;
    double *a = aligned(sizeof(double) * (size_t)(width * width)), loss = 0;
    float *y = aligned(sizeof(float) * (size_t)width), *d = aligned(sizeof(float) * (size_t)width),
          *inverse = aligned(sizeof(float) * (size_t)width);
    memset(z, 0, sizeof(double) * (size_t)width);
    *size = 0;
    thaw_als_diagonal(s, n, d, inverse);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t q = 0; q < n; q++) {
            thaw_als_decode(s, (char *)p->table + p->index[q] * s->row_bytes, y);
            const double w = s->terms.wr * (double)p->r[q] + (double)s->terms.w0;
            double c = s->terms.cr * (double)p->r[q] + (double)s->terms.c0, score = 0;
            for (int j = 1; s->offset && j < 3; j++) c -= y[j], y[j] = 0;
            for (int j = 0; j < width; j++) score += y[j] * z[j];
            if (pass) loss += w * score * score - 2 * c * score + (s->terms.squares ? c * c : c);
            if (pass)
                *size += fabs(w * score * score) + fabs(2 * c * score) + (s->terms.squares ? c * c : fabs(c));
            for (int i = 0; i < width && !pass; i++)
                for (int j = 0; j <= i; j++) a[i * width + j] += w * y[i] * y[j];
            for (int j = 0; j < width && !pass; j++) z[j] += c * y[j];
        }
        if (pass) break;
        for (int j = 0; j < width; j++) a[j * width + j] += s->moves[j] ? d[j] : 1;
        cholesky_reference(a, z, width);
    }
    free(a), free(y), free(d), free(inverse);
    return loss;
}

static double distance(const struct problem *p, const float *z, const double *exact) {
    double difference = 0, norm = 0;
    for (int j = 0; j < p->width; j++)
        if (p->sweep->moves[j]) {
            difference += (z[j] - exact[j]) * (z[j] - exact[j]);
            norm += exact[j] * exact[j];
        }
    return sqrt(difference / norm);
}

static void check_row(struct problem *p, int64_t n, double tolerance) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_als_row row = {p->table, p->index, p->r, n};
    float *z = aligned(sizeof(float) * (size_t)p->width);
    double *exact = aligned(sizeof(double) * (size_t)p->width), loss = 0, size;
    assert_int_equal(thaw_als_solve(p->work, p->sweep, &row, z, &loss, &err), 0);
    const double want = reference(p, n, exact, &size), apart = distance(p, z, exact);
    if (!(apart <= tolerance) || !(fabs(loss - want) <= 1e-6 * size))
        fail_msg("model %d biases %d gather %d k %d n %d: error %g, loss %.9g instead of %.9g",
                 p->config.model, p->config.biases, p->config.gather, p->config.k, (int)n, apart, loss, want);
    free(z), free(exact);
}

// Sizes around the blocks, the panel and the dual form's end.
static void test_rows(void **state) {
    static const int ks[] = {1, 15, 16, 33, 64, 100};
    static const int64_t ns[] = {1, 2, 15, 16, 17, 40, 47, 48, 49, 80, 128, 129, 1100};
    (void)state;
    for (int model = 0; model < 4; model++)
        for (int gather = 0; gather < 2; gather++)
            for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) {
                struct problem p;
                struct thaw_als_config config =
                    config_of(model < 2 ? (enum thaw_als_model)model : THAW_ALS_EXPLICIT, model == 3, ks[i]);
                config.gather = (enum thaw_als_gather)gather;
                problem_begin(&p, config);
                for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) check_row(&p, ns[j], 5e-5);
                problem_end(&p);
            }
}

static void test_ill_conditioned_rows(void **state) {
    static const double lambdas[] = {1e-3, 1e-5, 1e-7};
    static const int64_t ns[] = {5, 20, 30, 31, 32, 33, 60, 500};
    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (int heavy = 0; heavy < 2; heavy++) {
            struct problem p;
            struct thaw_als_config config = config_of(heavy ? THAW_ALS_HU : THAW_ALS_EXPLICIT, false, 32);
            config.lambda = lambdas[i];
            if (heavy) config.alpha = 1e4, config.unobserved = 1e-4;
            problem_begin(&p, config);
            for (size_t j = 0; j < sizeof ns / sizeof *ns; j++) check_row(&p, ns[j], 1e-4);
            problem_end(&p);
        }
}

// Strengths of 0 and below, as `prepare --negative keep` lets through.
static void test_odd_strengths(void **state) {
    struct problem p;
    (void)state;
    problem_begin(&p, config_of(THAW_ALS_HU, false, 32));
    p.r[3] = 0;
    check_row(&p, 10, 1e-5);
    check_row(&p, 200, 1e-5);
    p.r[3] = -0.01f;
    check_row(&p, 10, 1e-5);
    check_row(&p, 200, 1e-5);
    problem_end(&p);
}

static void test_not_positive_definite(void **state) {
    struct problem p;
    struct thaw_err err = THAW_ERR_INIT;
    double loss;
    (void)state;
    problem_begin(&p, config_of(THAW_ALS_HU, false, 32));
    for (int i = 0; i < 100; i++) p.r[i] = -50;
    float *z = aligned(sizeof(float) * (size_t)p.width);
    struct thaw_als_row row = {p.table, p.index, p.r, 100};
    assert_int_equal(thaw_als_solve(p.work, p.sweep, &row, z, &loss, &err), THAW_EDIVERGED);
    p.r[0] = INFINITY;
    assert_int_equal(thaw_als_solve(p.work, p.sweep, &row, z, &loss, &err), THAW_EDIVERGED);
    free(z);
    problem_end(&p);
}

static void test_same_bits_in_any_company(void **state) {
    static const int64_t ns[] = {3, 20, 40, 200};
    struct problem p;
    struct thaw_err err = THAW_ERR_INIT;
    (void)state;
    problem_begin(&p, config_of(THAW_ALS_RENDLE, false, 48));
    const size_t nbytes = sizeof(float) * (size_t)p.width;
    float *first = aligned(4 * nbytes), *again = aligned(nbytes);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 3; i >= 0; i--) {
            const int which = pass ? 3 - i : i;
            struct thaw_als_row row = {p.table, p.index, p.r, ns[which]};
            float *z = pass ? again : first + which * p.width;
            assert_int_equal(thaw_als_solve(p.work, p.sweep, &row, z, NULL, &err), 0);
            if (pass) assert_memory_equal(again, first + which * p.width, nbytes);
        }
    free(first), free(again);
    problem_end(&p);
}

// A long row's solution from pieces added in another order: the same bits, and the ordinary solution.
static void check_long(const struct thaw_als_config config) {
    struct problem p;
    struct thaw_err err = THAW_ERR_INIT;
    const int64_t cut[] = {0, 900, 901, 2000, LONGEST};
    double sum = 0, size, loss[2], *sums[2], *exact;
    float *z[2];
    problem_begin(&p, config);
    exact = aligned(sizeof(double) * (size_t)p.width);
    for (int64_t i = 0; i < LONGEST; i++) sum += fabsf(p.r[i]);
    const size_t nsums = thaw_als_long_sums(&config), nvector = thaw_als_long_vector(&config);
    float *vector = aligned(sizeof(float) * nvector);
    assert_int_equal(thaw_als_long_rounds(&config), 1);
    for (int order = 0; order < 2; order++) {
        struct thaw_als_long *l = NULL;
        z[order] = aligned(sizeof(float) * (size_t)p.width);
        sums[order] = aligned(sizeof(double) * nsums);
        assert_int_equal(thaw_als_long_new(&l, p.sweep, LONGEST, thaw_als_long_weight(&config, LONGEST, sum),
                                           p.norm2, z[order], &err),
                         0);
        thaw_als_long_ask(l, vector);
        for (int q = 0; q < 4; q++) {
            const int at = order ? 3 - q : q;
            struct thaw_als_row piece = {p.table, p.index + cut[at], p.r + cut[at], cut[at + 1] - cut[at]};
            thaw_als_long_piece(p.work, p.sweep, &piece, vector, sums[order]);
        }
        assert_int_equal(thaw_als_long_step(l, p.work, sums[order], &err), 0);
        assert_true(thaw_als_long_done(l));
        thaw_als_long_get(l, z[order], &loss[order]);
        thaw_als_long_ask(l, vector);
        for (size_t j = 0; j < nvector; j++) assert_true(vector[j] == 0);
        thaw_als_long_free(&l);
    }
    assert_memory_equal(sums[0], sums[1], sizeof(double) * nsums);
    assert_memory_equal(z[0], z[1], sizeof(float) * (size_t)p.width);
    const double want = reference(&p, LONGEST, exact, &size);
    assert_true(distance(&p, z[0], exact) < 1e-5);
    assert_true(fabs(loss[0] - want) <= 1e-6 * size && loss[0] == loss[1]);
    free(z[0]), free(z[1]), free(sums[0]), free(sums[1]), free(vector), free(exact);
    problem_end(&p);
}
static void test_long_rows(void **state) {
    (void)state;
    check_long(config_of(THAW_ALS_HU, false, 40));
    check_long(config_of(THAW_ALS_EXPLICIT, true, 17));
}

// ---- Training: the objective in double never rises ----

enum { USERS = 60, ITEMS = 40 };

static float strength(int u, int i) {
    const int h = (u * 131 + i * 71 + u * i) % 97;
    return h % 5 ? 0 : (float)(1 + h % 7);
}

static double objective(const struct thaw_als_config *c, const float *x, const float *y, const int *xn,
                        const int *yn) {
    const int k = c->k, d = thaw_als_columns(c);
    double sum = 0;
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < ITEMS; i++) {
            const double r = strength(u, i);
            double s = c->biases ? (double)x[u * d + k] + y[i * d + k] : 0;
            for (int j = 0; j < k; j++) s += (double)x[u * d + j] * y[i * d + j];
            if (c->model == THAW_ALS_EXPLICIT)
                sum += r > 0 ? (r - c->mean - s) * (r - c->mean - s) : 0;
            else {
                const double w = c->alpha * r, b = w + (c->model == THAW_ALS_HU ? c->unobserved : 0);
                sum += c->unobserved * s * s + (r > 0 ? w * s * s - 2 * b * s + b : 0);
            }
        }
    for (int side = 0; side < 2; side++)
        for (int q = 0; q < (side ? ITEMS : USERS); q++) {
            const float *row = (side ? y : x) + q * d;
            double norm = 0;
            for (int j = 0; j < d; j++) norm += (double)row[j] * row[j];
            sum += thaw_als_lambda(c, side ? USERS : ITEMS, (side ? yn : xn)[q]) * norm;
        }
    return sum;
}

static void half_sweep(const struct thaw_als_config *c, bool items, const float *y, float *x) {
    const int nx = items ? ITEMS : USERS, ny = items ? USERS : ITEMS, d = thaw_als_columns(c);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_als_sweep *s = NULL;
    struct thaw_als_work *w = NULL;
    double *g = aligned(sizeof(double) * (size_t)(c->k * c->k));
    void *table = aligned(thaw_als_row_bytes(c) * (size_t)ny);
    float *z = aligned(sizeof(float) * (size_t)thaw_als_width(c)), r[USERS];
    assert_int_equal(thaw_als_gramian(g, y, ny, c->k, d, &err), 0);
    assert_int_equal(thaw_als_sweep_new(&s, c, ny, 10, c->model == THAW_ALS_EXPLICIT ? NULL : g, &err), 0);
    assert_int_equal(thaw_als_work_new(&w, c, &err), 0);
    thaw_als_encode(s, y, ny, table, NULL);
    for (int q = 0; q < nx; q++) {
        uint32_t index[USERS + THAW_ALS_AHEAD] = {0};
        struct thaw_als_row row = {table, index, r, 0};
        for (int i = 0; i < ny; i++) {
            const float v = items ? strength(i, q) : strength(q, i);
            if (v > 0) index[row.n] = (uint32_t)i, r[row.n++] = v;
        }
        thaw_als_enter(s, x + q * d, 1, z);
        assert_int_equal(thaw_als_solve(w, s, &row, z, NULL, &err), 0);
        thaw_als_leave(s, z, 1, x + q * d);
    }
    thaw_als_work_free(&w);
    thaw_als_sweep_free(&s);
    free(g), free(table), free(z);
}

static void test_objective_never_rises(void **state) {
    (void)state;
    for (int model = 0; model < 4; model++) {
        const struct thaw_als_config c =
            config_of(model < 2 ? (enum thaw_als_model)model : THAW_ALS_EXPLICIT, model == 3, 6);
        const int d = thaw_als_columns(&c);
        float x[USERS * 7], y[ITEMS * 7];
        int xn[USERS] = {0}, yn[ITEMS] = {0};
        for (int u = 0; u < USERS; u++)
            for (int i = 0; i < ITEMS; i++)
                if (strength(u, i) > 0) xn[u]++, yn[i]++;
        for (int u = 0; u < USERS; u++) thaw_als_init_row(x + u * d, d, 1, 0, u, 0.1);
        for (int i = 0; i < ITEMS; i++) thaw_als_init_row(y + i * d, d, 1, 1, i, 0.1);
        double before = objective(&c, x, y, xn, yn);
        for (int i = 0; i < 20; i++) {
            half_sweep(&c, i % 2, i % 2 ? x : y, i % 2 ? y : x);
            const double now = objective(&c, x, y, xn, yn);
            if (!(now <= before * (1 + 1e-12)))
                fail_msg("model %d step %d: %.15g to %.15g", model, i, before, now);
            before = now;
        }
    }
}

// ---- Around ----

static void test_gramian(void **state) {
    (void)state;
    for (int k = 1; k <= 50; k += 7) {
        const int columns = k + 3;
        const size_t kk = (size_t)(k * k);
        struct thaw_err err = THAW_ERR_INIT;
        float *y = aligned(sizeof(float) * (size_t)(1000 * columns));
        double *g = aligned(sizeof(double) * kk), *twice = aligned(sizeof(double) * kk), error = 0, norm = 0;
        for (int i = 0; i < 1000 * columns; i++) y[i] = (float)random_normal();
        assert_int_equal(thaw_als_gramian(g, y, 1000, k, columns, &err), 0);
        assert_int_equal(thaw_als_gramian(twice, y, 1000, k, columns, &err), 0);
        assert_memory_equal(g, twice, sizeof(double) * kk);
        for (int i = 0; i < k; i++)
            for (int j = 0; j < k; j++) {
                double sum = 0;
                for (int q = 0; q < 1000; q++) sum += (double)y[q * columns + i] * y[q * columns + j];
                error += (g[i * k + j] - sum) * (g[i * k + j] - sum);
                norm += sum * sum;
            }
        assert_true(error <= 1e-14 * norm);
        free(y), free(g), free(twice);
    }
}

static void test_choice(void **state) {
    char why[200] = "", cut[8];
    struct thaw_als_config c = config_of(THAW_ALS_HU, false, 256);
    (void)state;
    assert_int_equal(thaw_als_choose(&c, 100, why, sizeof why), THAW_ALS_CG);
    assert_true(strlen(why) > 20);
    c.k = 4;
    assert_int_equal(thaw_als_choose(&c, 100, why, sizeof why), THAW_ALS_CHOLESKY);
    thaw_als_choose(&c, 100, cut, sizeof cut);
    assert_int_equal(strlen(cut), 7);
}

static int run(char *set) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_ill_conditioned_rows),
        cmocka_unit_test(test_odd_strengths),
        cmocka_unit_test(test_not_positive_definite),
        cmocka_unit_test(test_same_bits_in_any_company),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_objective_never_rises),
        cmocka_unit_test(test_gramian),
        cmocka_unit_test(test_choice),
    };
    setenv("THAW_KERNELS", set, 1);
    thaw_als_kernels_choose();
    if (strcmp(thaw_als_kernels(), set) != 0 && strcmp(set, "portable") != 0) return 0; // not on this CPU
    print_message("kernels: %s\n", thaw_als_kernels());
    return cmocka_run_group_tests_name(set, tests, NULL, NULL);
}

int main(void) {
    static char *const sets[] = {"avx512", "avx2", "portable"};
    int failed = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) failed += run(sets[i]);
    return failed != 0;
}
