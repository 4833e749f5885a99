// test_prior.c: ridge regression and covariance against plain formulas, on one rank's LAPACK and on the grid;
// users' factors against brute force; vectors from files.
#include "base/hash.h"
#include "base/npy.h"
#include "comm/interactions.h"
#include "comm/prior.h"
#include "comm/prior_vectors.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

#include <omp.h>

enum { ROWS = 400, FEATURES = 150, UNKNOWNS = FEATURES + 1, K = 5, COLUMNS = 6, PARTS = 7 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

// ---- The same problem in full, on every rank ----

static double feature(int64_t row, int j) {
    struct thaw_rng r = thaw_rng_at(7, 401, (uint64_t)(row * FEATURES + j));
    if (j == 11) return 0;
    if (j == FEATURES - 1) return (float)(3 * thaw_rng_normal(&r));
    return thaw_rng_uniform(&r) < 0.06 ? (float)thaw_rng_uniform(&r) - 0.3f : 0;
}

static float factor(int64_t row, int j) {
    struct thaw_rng r = thaw_rng_at(8, 402, (uint64_t)(row * COLUMNS + j));
    double x = 0.3 * thaw_rng_normal(&r) + 0.1 * j;
    for (int i = 0; i < FEATURES; i += 7) x += feature(row, i) * (i % 5 - 2 + 0.2 * j);
    return (float)x;
}

static uint8_t used(int64_t row) {
    return row % 9 != 4;
}

struct expected {
    double w[UNKNOWNS][K], covariance[K][K], explained;
};

static double z_of(int64_t row, int j) {
    return j == 0 ? 1 : feature(row, j - 1);
}

// a x = b in place, by elimination; a is symmetric positive definite.
static void eliminate(double (*a)[UNKNOWNS], double (*b)[K]) {
    for (int p = 0; p < UNKNOWNS; p++)
        for (int i = p + 1; i < UNKNOWNS; i++) {
            const double f = a[i][p] / a[p][p];
            for (int j = p; j < UNKNOWNS; j++) a[i][j] -= f * a[p][j];
            for (int j = 0; j < K; j++) b[i][j] -= f * b[p][j];
        }
    for (int p = UNKNOWNS - 1; p >= 0; p--)
        for (int j = 0; j < K; j++) {
            for (int i = p + 1; i < UNKNOWNS; i++) b[p][j] -= a[p][i] * b[i][j];
            b[p][j] /= a[p][p];
        }
}

static void residual_of(const struct expected *e, int64_t row, double left[K]) {
    for (int j = 0; j < K; j++) {
        left[j] = factor(row, j);
        for (int i = 0; i < UNKNOWNS; i++) left[j] -= z_of(row, i) * e->w[i][j];
    }
}

static void expect_leftover(struct expected *e) {
    double mean[K] = {0}, u_mean[K] = {0}, squares = 0, variance = 0, trace = 0, left[K], n = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        if (!used(row)) continue;
        residual_of(e, row, left);
        n++;
        for (int j = 0; j < K; j++) {
            mean[j] += left[j];
            u_mean[j] += factor(row, j);
            squares += (double)factor(row, j) * factor(row, j);
        }
    }
    for (int64_t row = 0; row < ROWS; row++) {
        if (!used(row)) continue;
        residual_of(e, row, left);
        for (int i = 0; i < K; i++) {
            variance += pow(factor(row, i) - u_mean[i] / n, 2);
            for (int j = 0; j < K; j++)
                e->covariance[i][j] += (left[i] - mean[i] / n) * (left[j] - mean[j] / n) / (n - 1);
        }
    }
    for (int i = 0; i < K; i++) trace += e->covariance[i][i];
    for (int i = 0; i < K; i++) e->covariance[i][i] += 1e-5 * squares / (n * K);
    e->explained = 1 - trace / (variance / (n - 1));
}

static struct expected *expect(double ridge) {
    static double a[UNKNOWNS][UNKNOWNS];
    static struct expected e;
    memset(a, 0, sizeof a);
    memset(&e, 0, sizeof e);
    for (int64_t row = 0; row < ROWS; row++) {
        double z[UNKNOWNS];
        if (!used(row)) continue;
        for (int i = 0; i < UNKNOWNS; i++) z[i] = z_of(row, i);
        for (int i = 0; i < UNKNOWNS; i++) {
            if (z[i] == 0) continue;
            for (int j = 0; j < UNKNOWNS; j++) a[i][j] += z[i] * z[j];
            for (int j = 0; j < K; j++) e.w[i][j] += z[i] * factor(row, j);
        }
    }
    for (int i = 0; i < UNKNOWNS; i++) a[i][i] += ridge;
    eliminate(a, e.w);
    expect_leftover(&e);
    return &e;
}

// ---- This rank's share ----

struct share {
    struct thaw_plan plan;
    struct thaw_features f;
    uint8_t use[ROWS];
    float u[ROWS * COLUMNS];
};

static struct share *share_new(int32_t features) {
    static struct share s;
    int64_t rows[PARTS] = {100, 0, 3, 97, 50, 75, 75};
    memset(&s, 0, sizeof s);
    assert_int_equal(thaw_plan_new(&s.plan, PARTS, rows, NULL, thaw_comm_size(comm), NULL), 0);
    const int64_t first = s.plan.rank_row[thaw_comm_rank(comm)],
                  n = s.plan.rank_row[thaw_comm_rank(comm) + 1] - first;
    s.f.nrows = n;
    s.f.columns = features;
    s.f.ptr = calloc((size_t)n + 1, sizeof *s.f.ptr);
    s.f.column = calloc((size_t)n * FEATURES + 1, sizeof *s.f.column);
    s.f.value = calloc((size_t)n * FEATURES + 1, sizeof *s.f.value);
    int64_t at = 0;
    for (int64_t row = 0; row < n; row++) {
        for (int j = 0; j < features; j++) {
            if (feature(first + row, j) == 0) continue;
            s.f.column[at] = (uint32_t)j;
            s.f.value[at++] = (float)feature(first + row, j);
        }
        s.f.ptr[row + 1] = at;
        s.use[row] = used(first + row);
        for (int j = 0; j < COLUMNS; j++) s.u[row * COLUMNS + j] = factor(first + row, j);
    }
    return &s;
}

static void share_free(struct share *s) {
    thaw_plan_clear(&s->plan);
    thaw_features_clear(&s->f);
}

static int fit(const struct share *s, double ridge, struct thaw_prior_side *out, struct thaw_err *err) {
    return thaw_prior_fit(comm, &s->plan, &s->f, s->use, s->u, K, COLUMNS, ridge, out, err);
}

static void check_side(const struct thaw_prior_side *p, const struct expected *e) {
    for (int i = 0; i < UNKNOWNS; i++)
        for (int j = 0; j < K; j++)
            if (fabs(p->weights[i * K + j] - e->w[i][j]) > 1e-6 * (1 + fabs(e->w[i][j])))
                fail_msg("weight %d, %d: %g, not %g", i, j, (double)p->weights[i * K + j], e->w[i][j]);
    assert_true(fabs(p->explained - e->explained) < 1e-5);
    if (thaw_comm_rank(comm) != 0) return;
    for (int i = 0; i < K; i++)
        for (int j = 0; j < K; j++) {
            double unit = 0;
            if (fabs(p->covariance[i * K + j] - e->covariance[i][j]) > 1e-6)
                fail_msg("covariance %d, %d: %g, not %g", i, j, p->covariance[i * K + j],
                         e->covariance[i][j]);
            for (int m = 0; m < K; m++) unit += p->precision[i * K + m] * p->covariance[m * K + j];
            assert_true(fabs(unit - (i == j)) < 1e-9);
        }
}

static void test_fit(void **state) {
    const struct expected *e = expect(2.5);
    struct share *s = share_new(FEATURES);
    struct thaw_prior_side p[3];
    struct thaw_err err = THAW_ERR_INIT;
    (void)state;
    omp_set_num_threads(1);
    problem_ok(fit(s, 2.5, &p[0], &err), &err);
    omp_set_num_threads(3);
    problem_ok(fit(s, 2.5, &p[1], &err), &err);
    omp_set_num_threads(1);
    setenv("THAW_RIDGE_DENSE", "20", 1);
    problem_ok(fit(s, 2.5, &p[2], &err), &err);
    unsetenv("THAW_RIDGE_DENSE");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p[i].rows, ROWS - 44);
        assert_int_equal(p[i].grid, i == 2);
        check_side(&p[i], e);
    }
    assert_memory_equal(p[0].weights, p[1].weights, UNKNOWNS * K * sizeof(float));
    if (thaw_comm_rank(comm) == 0)
        assert_memory_equal(p[0].precision, p[1].precision, K * K * sizeof(double));
    for (int i = 0; i < 3; i++) thaw_prior_side_clear(&p[i]);
    share_free(s);
}

// No features: the mean, shrunk by the ridge.
static void test_mean(void **state) {
    struct share *s = share_new(0);
    struct thaw_prior_side p;
    struct thaw_err err = THAW_ERR_INIT;
    double mean = 0, n = 0;
    (void)state;
    problem_ok(fit(s, 10, &p, &err), &err);
    for (int64_t row = 0; row < ROWS; row++)
        if (used(row)) {
            mean += factor(row, 1);
            n++;
        }
    assert_true(fabs(p.weights[1] - mean / (n + 10)) < 1e-6);
    thaw_prior_side_clear(&p);
    share_free(s);
}

static void test_refused(void **state) {
    struct share *s = share_new(FEATURES);
    struct thaw_prior_side p;
    (void)state;
    for (int grid = 0; grid < 2; grid++) { // column 11 is never set: singular
        struct thaw_err err = THAW_ERR_INIT;
        if (grid) setenv("THAW_RIDGE_DENSE", "20", 1);
        assert_int_equal(fit(s, 0, &p, &err), THAW_EDIVERGED);
        assert_non_null(strstr(err.text, "raise its ridge"));
        assert_null(p.weights);
    }
    unsetenv("THAW_RIDGE_DENSE");
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_rank(comm) == thaw_comm_size(comm) - 1 && s->f.nrows) s->u[0] = NAN;
    s->use[0] = 1;
    assert_int_equal(fit(s, 1, &p, &err), THAW_EDIVERGED);
    memset(s->use, 0, sizeof s->use);
    err = THAW_ERR_INIT;
    assert_int_equal(fit(s, 1, &p, &err), THAW_EDATA);
    share_free(s);
}

// ---- Users ----

// How far the gradient of a user's objective at x is from zero, relative to its right-hand side.
static double gradient(const Thaw__Als *als, int64_t user, const float *items, const float *x) {
    double g[K] = {0}, right[K] = {0}, most = 0, scale = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < TINY_ITEMS; i++) {
        const float r = tiny_value(user, i), *y = items + i * K;
        double s = 0;
        for (int j = 0; j < K; j++) s += (double)x[j] * y[j];
        n += r > 0;
        for (int j = 0; j < K; j++) {
            g[j] += (als->unobserved_weight + als->alpha * r) * s * y[j];
            right[j] += als->alpha * r * y[j];
        }
    }
    const double lambda =
        als->regularization * pow((double)n + als->unobserved_weight * TINY_ITEMS, als->reg_exponent);
    for (int j = 0; j < K; j++) {
        most = fmax(most, fabs(g[j] + lambda * x[j] - right[j]));
        scale = fmax(scale, fabs(right[j]));
    }
    return n ? most / scale : fabs(x[0]) + fabs(x[K - 1]);
}

static void test_users(void **state) {
    Thaw__Als als = tiny_als(THAW__ALS__MODEL__IMPLICIT_RENDLE, K);
    struct thaw_dataset *d = NULL;
    struct thaw_plan plan[2];
    struct thaw_err err = THAW_ERR_INIT;
    (void)state;
    als.holdout = 0.2;
    als.holdout_seed = 5;
    assert_int_equal(thaw_dataset_open(&d, folder, NULL), 0);
    assert_int_equal(thaw_dataset_plan(plan, d, thaw_comm_size(comm), K, NULL), 0);
    const int rank = thaw_comm_rank(comm);
    const int64_t *users = plan[THAW_USERS].rank_row + rank, *items = plan[THAW_ITEMS].rank_row + rank;
    float *all = problem_table(0, TINY_ITEMS, K);
    float *rows = malloc(TINY_USERS * K * sizeof *rows + 1);
    memset(rows, 0x7f, TINY_USERS * K * sizeof *rows);
    problem_ok(thaw_users_solve(comm, d, &als, plan, all + items[0] * K, rows, 1 << 20, &err), &err);
    for (int64_t u = users[0]; u < users[1]; u++) {
        const double g = gradient(&als, u, all, rows + (u - users[0]) * K);
        if (!(g < 1e-5)) fail_msg("user %d: gradient %g", (int)u, g);
    }
    free(all);
    free(rows);
    thaw_plan_clear(&plan[0]);
    thaw_plan_clear(&plan[1]);
    thaw_dataset_close(&d);
}

// ---- Vectors ----

enum { WIDTH = 3, LINES = 500 };

// Does the item lie in the part that its id asks for? By chance: the small dataset's parts are not by hash.
static bool well_placed(int64_t row) {
    char id[TINY_WIDTH];
    tiny_id(id, THAW_ITEMS, row);
    const int32_t part = thaw_hash_part(thaw_hash_id(id, strlen(id)), TINY_PARTS);
    return row >= tiny_first(THAW_ITEMS, part) && row < tiny_first(THAW_ITEMS, part + 1);
}

// Items of the lines, in falling order of rows; between them stand ids nobody knows.
static int64_t line_item(int64_t line) {
    const int64_t row = TINY_ITEMS - 1 - line;
    return row % 7 == 0 || !well_placed(row) ? -1 : row;
}

static float vector_value(int64_t line, int j) {
    return j == 1 && line % 2 ? 0 : (float)(line * 10 + j + 1);
}

// what: 0 good, 1 a line too few, 2 an id twice, 3 not finite
static void write_vectors(const char *npy, const char *ids, int what) {
    static float x[LINES * WIDTH];
    int64_t twice = 0;
    while (line_item(twice) < 0) twice++;
    if (thaw_comm_rank(comm) == 0) {
        FILE *f = fopen(ids, "w");
        const struct thaw_npy_shape shape = {THAW_NPY_F32, 2, LINES, WIDTH, 4};
        for (int64_t line = 0; line < LINES - (what == 1); line++) {
            char id[TINY_WIDTH] = "nobody";
            const int64_t item = line_item(what == 2 && line == twice + 1 ? twice : line);
            if (item >= 0) tiny_id(id, THAW_ITEMS, item);
            fprintf(f, "%s%s", id, line % 3 == 0 ? "\r\n" : line + 1 < LINES ? "\n" : "");
        }
        fclose(f);
        for (int64_t i = 0; i < LINES * WIDTH; i++) x[i] = vector_value(i / WIDTH, (int)(i % WIDTH));
        if (what == 3) x[777] = INFINITY;
        assert_int_equal(thaw_npy_put(npy, &shape, x, NULL, NULL), 0);
    }
    thaw_comm_barrier(comm);
}

static void check_vectors(const struct thaw_features *f, int64_t first) {
    for (int64_t row = 0; row < f->nrows; row++) {
        const int64_t line = TINY_ITEMS - 1 - (first + row);
        int64_t at = f->ptr[row];
        assert_int_equal(f->column[at], (first + row) % 2); // its own feature
        at++;
        for (int j = 0; j < WIDTH && line < LINES && line_item(line) >= 0; j++) {
            if (vector_value(line, j) == 0) continue;
            assert_int_equal(f->column[at], 2 + j);
            assert_true(f->value[at++] == vector_value(line, j));
        }
        assert_int_equal(at, f->ptr[row + 1]);
    }
}

static void own_features(struct thaw_features *f, int64_t first, int64_t n) {
    *f = (struct thaw_features){.nrows = n, .columns = 2};
    f->ptr = calloc((size_t)n + 1, sizeof *f->ptr);
    for (int64_t row = 0; row < n; row++) {
        assert_int_equal(thaw_grow(&f->column, &f->column_cap, (size_t)row + 1, 4, "", NULL), 0);
        assert_int_equal(thaw_grow(&f->value, &f->value_cap, (size_t)row + 1, 4, "", NULL), 0);
        f->column[row] = (uint32_t)((first + row) % 2);
        f->value[row] = 1;
        f->ptr[row + 1] = row + 1;
    }
}

static void test_vectors(void **state) {
    const int codes[] = {THAW_OK, THAW_EDATA, THAW_EDATA, THAW_EDATA};
    struct thaw_dataset *d = NULL;
    struct thaw_plan plan[2];
    char npy[THAW_PATH_MAX], ids[THAW_PATH_MAX];
    (void)state;
    assert_int_equal(thaw_path_join(npy, folder, "v.npy", NULL), 0);
    assert_int_equal(thaw_path_join(ids, folder, "v.ids", NULL), 0);
    assert_int_equal(thaw_dataset_open(&d, folder, NULL), 0);
    assert_int_equal(thaw_dataset_plan(plan, d, thaw_comm_size(comm), K, NULL), 0);
    const int64_t *row = plan[THAW_ITEMS].rank_row + thaw_comm_rank(comm);
    for (int what = 0; what < 4; what++) {
        struct thaw_features f;
        struct thaw_vectors_found found = {0};
        struct thaw_err err = THAW_ERR_INIT;
        int64_t known = 0;
        for (int64_t line = 0; line < LINES; line++) known += line_item(line) >= 0;
        write_vectors(npy, ids, what);
        own_features(&f, row[0], row[1] - row[0]);
        assert_int_equal(
            thaw_vectors_append(&f, comm, d, THAW_ITEMS, &plan[THAW_ITEMS], npy, ids, &found, &err),
            codes[what]);
        if (!what) {
            assert_int_equal(found.rows, known);
            assert_int_equal(found.unknown, LINES - known);
            assert_int_equal(f.columns, 2 + WIDTH);
            check_vectors(&f, row[0]);
        }
        thaw_features_clear(&f);
        thaw_comm_barrier(comm);
    }
    thaw_plan_clear(&plan[0]);
    thaw_plan_clear(&plan[1]);
    thaw_dataset_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fit), cmocka_unit_test(test_mean),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_users),
                                       cmocka_unit_test(test_vectors)};
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    thaw_blas_begin();
    tiny_folder(comm, folder);
    int64_t failed = thaw_comm_rank(comm) == 0 ? tiny_write(folder) : 0;
    thaw_comm_barrier(comm);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_max_i64(comm, &failed, 1);
    thaw_comm_end(&comm);
    return failed != 0;
}
