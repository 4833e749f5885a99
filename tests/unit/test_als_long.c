// test_als_long.c: long rows, solved from sums over pieces, against the same rows solved at once.
#include "als/als.h"
#include "als/kernels.h"
#include "als/work.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 400, N = 2500, PIECES = 9, WIDTH_MOST = 160 };

struct problem {
    struct thaw_als_config config;
    struct thaw_als_sweep *sweep;
    struct thaw_als_work *work;
    void *table;
    float norm2;
    uint32_t index[N + (1 + PIECES) * THAW_ALS_AHEAD]; // piece by piece
    float r[N];
    int64_t begin[PIECES + 1]; // of a piece's interactions
    double sum_abs_r;
};

static void *aligned(size_t nbytes) {
    void *p = aligned_alloc(64, (nbytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, nbytes);
    return p;
}

static void problem_new(struct problem *p, const struct thaw_als_config *c, float spoiler) {
    struct thaw_rng rng = thaw_rng_at(11, 98, (uint64_t)c->k);
    const int k = c->k, d = thaw_als_columns(c);
    float *y = aligned(ROWS * (size_t)d * sizeof *y);
    double *g = aligned((size_t)(k * k) * sizeof *g);
    memset(p, 0, sizeof *p);
    p->config = *c;
    for (int i = 0; i < ROWS * d; i++) y[i] = (float)(thaw_rng_normal(&rng) / sqrt(k));
    assert_int_equal(thaw_als_gramian(g, y, ROWS, k, d, NULL), 0);
    for (int64_t i = 0; i < N + THAW_ALS_AHEAD; i++) p->index[i] = (uint32_t)thaw_rng_below(&rng, ROWS);
    for (int64_t i = 0; i < N; i++) {
        p->r[i] = (float)(0.5 + 4 * thaw_rng_uniform(&rng));
        p->sum_abs_r += p->r[i];
    }
    for (int q = 1; q < PIECES; q++) // one of them empty
        p->begin[q] =
            q == 3 ? p->begin[2] : p->begin[q - 1] + 1 + (int64_t)thaw_rng_below(&rng, 2 * N / PIECES - 30);
    p->begin[PIECES] = N;
    assert_true(p->begin[PIECES - 1] <= N);
    assert_int_equal(
        thaw_als_sweep_new(&p->sweep, c, ROWS, N / 2, c->model == THAW_ALS_EXPLICIT ? NULL : g, NULL), 0);
    assert_int_equal(thaw_als_work_new(&p->work, c, NULL), 0);
    p->table = aligned(ROWS * thaw_als_row_bytes(c));
    if (spoiler != 0) y[p->index[N / 2] * (unsigned)d] = spoiler;
    thaw_als_encode(p->sweep, y, ROWS, p->table, &p->norm2);
    free(y);
    free(g);
}

static void problem_clear(struct problem *p) {
    thaw_als_sweep_free(&p->sweep);
    thaw_als_work_free(&p->work);
    free(p->table);
}

// Solve it from pieces in the order first, first + stride, ... modulo their number, summed at `holders`
// places, whose sums are added in turn.
static int solve_long(struct problem *p, int first, int stride, int holders, float *z, double *loss) {
    const size_t nsums = thaw_als_long_sums(&p->config), nvector = thaw_als_long_vector(&p->config);
    const int most = thaw_als_long_rounds(&p->config);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_als_long *l = NULL;
    float *vector = aligned(nvector * sizeof *vector), sum = 0;
    double *total = aligned(nsums * sizeof *total), *part = aligned(nsums * sizeof *part);
    assert_true(nvector % 16 == 0);
    assert_int_equal(thaw_als_long_new(&l, p->sweep, N, thaw_als_long_weight(&p->config, N, p->sum_abs_r),
                                       p->norm2, z, NULL),
                     0);
    int code = 0;
    for (int round = 0; round < most && !code; round++) {
        thaw_als_long_ask(l, vector);
        memset(total, 0, nsums * sizeof *total);
        for (int h = 0; h < holders; h++) {
            memset(part, 0, nsums * sizeof *part);
            for (int q = h; q < PIECES; q += holders) {
                const int at = (first + q * stride) % PIECES;
                const int64_t begin = p->begin[at];
                const struct thaw_als_row piece = {.table = p->table,
                                                   .index = p->index + begin,
                                                   .r = p->r + begin,
                                                   .n = p->begin[at + 1] - begin};
                thaw_als_long_piece(p->work, p->sweep, &piece, vector, part);
            }
            for (size_t i = 0; i < nsums; i++) total[i] += part[i];
        }
        code = thaw_als_long_step(l, p->work, total, &err);
    }
    if (!code) {
        assert_true(thaw_als_long_done(l));
        thaw_als_long_ask(l, vector);
        for (size_t i = 0; i < nvector; i++) sum += fabsf(vector[i]);
        assert_true(sum == 0);
        const struct thaw_als_row all = {.table = p->table, .index = p->index, .r = p->r, .n = N};
        memcpy(part, total, nsums * sizeof *part);
        thaw_als_long_piece(p->work, p->sweep, &all, vector, part); // nothing
        assert_memory_equal(part, total, nsums * sizeof *part);
        thaw_als_long_get(l, z, loss);
    }
    thaw_als_long_free(&l);
    assert_null(l);
    free(vector);
    free(total);
    free(part);
    return code;
}

static const struct {
    enum thaw_als_model model;
    bool biases;
} models[] = {
    {THAW_ALS_HU, false}, {THAW_ALS_RENDLE, false}, {THAW_ALS_EXPLICIT, false}, {THAW_ALS_EXPLICIT, true}};
enum { MODELS = sizeof models / sizeof *models };

static struct thaw_als_config config_of(int model, int k, enum thaw_als_solver solver,
                                        enum thaw_als_gather gather) {
    return (struct thaw_als_config){.model = models[model].model,
                                    .solver = solver,
                                    .gather = gather,
                                    .k = k,
                                    .biases = models[model].biases,
                                    .mean = 3.25,
                                    .alpha = 2,
                                    .unobserved = 0.3,
                                    .lambda = 0.05,
                                    .nu = 0.7,
                                    .cg_steps = 6,
                                    .relaxation = 1,
                                    .cg_tolerance = 0};
}

static void start(const struct problem *p, float *z) {
    float x[WIDTH_MOST];
    for (int j = 0; j < thaw_als_columns(&p->config); j++) x[j] = 0.1f * (float)(j % 7) - 0.2f;
    thaw_als_enter(p->sweep, x, 1, z);
}

static void check(enum thaw_als_solver solver) {
    static const int ranks[] = {1, 16, 33, 128};
    for (int variant = 0; variant < MODELS * 8; variant++) {
        const int model = variant / 8, k = ranks[variant / 2 % 4];
        struct thaw_als_config c = config_of(model, k, solver, variant % 2 ? THAW_ALS_BF16 : THAW_ALS_F32);
        c.relaxation = k == 33 ? 1.6 : 1;
        struct problem p;
        problem_new(&p, &c, 0);
        const size_t width = (size_t)thaw_als_width(&c);
        float whole[WIDTH_MOST] = {0}, z[WIDTH_MOST] = {0}, again[WIDTH_MOST] = {0};
        double loss, wholes, losses;
        const struct thaw_als_row row = {.table = p.table, .index = p.index, .r = p.r, .n = N};
        start(&p, whole), start(&p, z), start(&p, again);
        assert_int_equal(thaw_als_solve(p.work, p.sweep, &row, whole, &wholes, NULL), 0);
        assert_int_equal(solve_long(&p, 0, 1, 1, z, &loss), 0);
        assert_int_equal(solve_long(&p, 3, 4, 4, again, &losses), 0);
        assert_memory_equal(z, again, width * sizeof *z);
        assert_true(loss == losses);
        double far = 0, norm = 0;
        for (size_t j = 0; j < width; j++)
            far += (z[j] - whole[j]) * (z[j] - whole[j]), norm += whole[j] * whole[j];
        if (sqrt(far / norm) > 1e-4)
            print_error("variant %d k %d: off by %g\n", variant, k, sqrt(far / norm));
        assert_true(sqrt(far / norm) <= 1e-4);
        assert_true(fabs(loss - wholes) <= 1e-5 * thaw_als_long_weight(&c, N, p.sum_abs_r));
        problem_clear(&p);
    }
}

static void test_cg(void **state) {
    (void)state;
    check(THAW_ALS_CG);
}
static void test_cholesky(void **state) {
    (void)state;
    check(THAW_ALS_CHOLESKY);
}

// A row that is done early asks for nothing more, and its rounds go by.
static void test_early_end(void **state) {
    (void)state;
    struct thaw_als_config c = config_of(1, 33, THAW_ALS_CG, THAW_ALS_BF16);
    c.cg_tolerance = 0.5;
    c.cg_steps = 30;
    struct problem p;
    problem_new(&p, &c, 0);
    float z[WIDTH_MOST] = {0}, again[WIDTH_MOST] = {0};
    double loss;
    start(&p, z), start(&p, again);
    assert_int_equal(solve_long(&p, 0, 1, 2, z, &loss), 0);
    assert_int_equal(solve_long(&p, 1, 5, 3, again, &loss), 0);
    assert_memory_equal(z, again, sizeof z);
    problem_clear(&p);
}

static void test_not_finite(void **state) {
    (void)state;
    for (int variant = 0; variant < MODELS * 4; variant++) {
        const struct thaw_als_config c =
            config_of(variant / 4, 17, variant % 2 ? THAW_ALS_CG : THAW_ALS_CHOLESKY,
                      variant & 2 ? THAW_ALS_BF16 : THAW_ALS_F32);
        struct problem p;
        float z[WIDTH_MOST] = {0};
        problem_new(&p, &c, variant % 4 == 3 ? 3e38f : NAN);
        start(&p, z);
        assert_int_equal(solve_long(&p, 0, 1, 2, z, NULL), THAW_EDIVERGED);
        problem_clear(&p);
    }
}

// Sums on a grid are exact: whatever the order, the same bits, and no term is off by more than half a grid.
static void test_grid(void **state) {
    (void)state;
    enum { TERMS = 1000 };
    static const double bounds[] = {1, 3e-30, 1e30, 0, 1e-320};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct thaw_rng rng = thaw_rng_at(1, 97, b);
        const int grid = thaw_als_grid(bounds[b]);
        double up = 0, down = 0, term[TERMS], exact = 0;
        for (int i = 0; i < TERMS; i++)
            exact += term[i] = bounds[b] / TERMS * pow(thaw_rng_uniform(&rng), 9) * (i % 2 ? 1 : -1);
        for (int i = 0; i < TERMS; i++) thaw_als_grid_add1(&up, term[i], grid);
        for (int i = TERMS; i-- > 0;) thaw_als_grid_add1(&down, term[i], grid);
        assert_true(up == down);
        assert_true(fabs(up - exact) <= TERMS * ldexp(1, grid));
        assert_true(bounds[b] < 1e-300 || ldexp(1, grid) < bounds[b] * 1e-14);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cg),         cmocka_unit_test(test_cholesky), cmocka_unit_test(test_early_end),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_grid),
    };
    thaw_blas_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
