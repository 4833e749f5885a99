// test_gan.c: the generator against a slow reference in double: latents, and gradients against central
// differences, parameter by parameter.
#include "base/mem.h"
#include "gan/loops.h"
#include "gan_reference.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

// What is differentiated: the sum of weight x u over all latents.
static double exact_sum(const struct gan_case *c, const double *p, const float *weight) {
    double sum = 0, u[CASE_WIDEST];
    for (int row = 0; row < c->slice.b * c->slice.draws; row++) {
        exact_generate(c, p, row, u);
        for (int j = 0; j < c->shape.k; j++) sum += u[j] * (double)weight[row * c->shape.k + j];
    }
    return sum;
}

static double slope(const struct gan_case *c, const double *p, const float *weight, double *at) {
    const double was = *at, step = 1e-5;
    *at = was + step;
    const double above = exact_sum(c, p, weight);
    *at = was - step;
    const double below = exact_sum(c, p, weight);
    *at = was;
    return (above - below) / (2 * step);
}

static void near(const char *what, size_t i, double got, double want) {
    if (!(fabs(got - want) <= 2e-4 * (1 + fabs(want))))
        fail_msg("%s, parameter %zu: %.9g, by differences %.9g", what, i, got, want);
}

// All stages of the way back.
static void backward(const struct thaw_gan_shape *s, const float *p, const struct thaw_gan_slice *in,
                     struct thaw_gan_tape *t, struct thaw_gan_work *w, const float *du, float *gradient,
                     float *dknown) {
    for (enum thaw_gan_stage i = 0; i < THAW_GAN_STAGES; i++)
        thaw_gan_generate_backward(s, p, in, t, w, i, du, gradient, dknown);
}

// Everything of one pass: gradient and dknown start at 1 and are added to.
struct pass {
    float *p, *weight, *u, *gradient, *dknown;
    double *exact_p;
    size_t n, nu, nknown;
    struct thaw_gan_tape *tape;
    struct thaw_gan_work *work;
};

static void pass_new(struct pass *a, struct gan_case *c) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(&c->shape, &at);
    a->n = at.n;
    a->nu = (size_t)(c->slice.b * c->slice.draws * c->shape.k);
    a->nknown = (size_t)(CASE_USERS * c->shape.longest * c->shape.k);
    a->p = malloc((at.n + 1) * sizeof *a->p);
    thaw_gan_generator_init(&c->shape, 5, a->p);
    for (size_t i = at.last_w; i < at.log_scale; i++) a->p[i] = (float)thaw_rng_normal(&c->rng);
    a->exact_p = case_doubles(a->p, at.n);
    a->weight = case_normal(c, a->nu, 1);
    a->u = malloc((a->nu + 1) * sizeof *a->u);
    a->gradient = malloc((at.n + 1) * sizeof *a->gradient);
    a->dknown = malloc((a->nknown + 1) * sizeof *a->dknown);
    for (size_t i = 0; i < at.n; i++) a->gradient[i] = 1;
    for (size_t i = 0; i < a->nknown; i++) a->dknown[i] = 1;
    assert_int_equal(thaw_gan_tape_new(&a->tape, &c->shape, c->slice.draws, &err), THAW_OK);
    assert_int_equal(thaw_gan_work_new(&a->work, &c->shape, c->slice.draws, &err), THAW_OK);
}

static void pass_clear(struct pass *a) {
    free(a->p);
    free(a->exact_p);
    free(a->weight);
    free(a->u);
    free(a->gradient);
    free(a->dknown);
    thaw_gan_tape_free(&a->tape);
    thaw_gan_work_free(&a->work);
    assert_null(a->tape);
    assert_null(a->work);
}

static void check_latents(const struct gan_case *c, const struct pass *a) {
    double u[CASE_WIDEST];
    for (int row = 0; row < c->slice.b * c->slice.draws; row++) {
        exact_generate(c, a->exact_p, row, u);
        for (int j = 0; j < c->shape.k; j++)
            if (!(fabs((double)a->u[row * c->shape.k + j] - u[j]) <= 2e-5 * (1 + fabs(u[j]))))
                fail_msg("latent %d of row %d: %.9g, exactly %.9g", j, row,
                         (double)a->u[row * c->shape.k + j], u[j]);
    }
}

static void check_gradients(struct gan_case *c, const struct pass *a) {
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(&c->shape, &at);
    const struct gan_block blocks[] = {
        {"query_w", at.query_w}, {"query_b", at.query_b},   {"key_w", at.key_w},
        {"value_w", at.value_w}, {"value_b", at.value_b},   {"first_w", at.first_w},
        {"first_b", at.first_b}, {"second_w", at.second_w}, {"second_b", at.second_b},
        {"last_w", at.last_w},   {"last_b", at.last_b},     {"log_scale", at.log_scale}};
    for (size_t i = 0; i < a->n; i++)
        near(gan_block_of(blocks, sizeof blocks / sizeof *blocks, i), i, (double)a->gradient[i] - 1,
             slope(c, a->exact_p, a->weight, a->exact_p + i));
    for (size_t i = 0; i < a->nknown; i++) {
        const size_t user = i / (size_t)(c->shape.longest * c->shape.k);
        const size_t item = i / (size_t)c->shape.k % (size_t)c->shape.longest;
        if ((int)item >= c->n[user])
            assert_true(a->dknown[i] == 1);
        else
            near("known item", i, (double)a->dknown[i] - 1,
                 slope(c, a->exact_p, a->weight, c->exact_known + i));
    }
}

static void check(struct thaw_gan_shape shape, int draws, float dropout, uint64_t seed) {
    struct gan_case c;
    struct pass a;
    case_new(&c, shape, draws, dropout, seed);
    pass_new(&a, &c);
    thaw_gan_generate(&shape, a.p, &c.slice, a.tape, a.u);
    check_latents(&c, &a);
    backward(&shape, a.p, &c.slice, a.tape, a.work, a.weight, a.gradient, a.dknown);
    check_gradients(&c, &a);
    pass_clear(&a);
    case_clear(&c);
}

static const struct thaw_gan_shape small = {.k = 7, .features = 9, .longest = 4, .noise = 5, .hidden = 19};

static void on_each_set(void (*test)(void)) {
    for (size_t i = 0; i < sizeof gan_loop_names / sizeof *gan_loop_names; i++) {
        thaw_gan_loops_use(gan_loop_names[i]);
        test();
    }
    thaw_gan_loops_use(NULL);
}

static void gradients(void) {
    check(small, 1, 0, 1);
    check(small, 2, .3f, 2);
    check((struct thaw_gan_shape){.k = 8, .features = 0, .longest = 3, .noise = 4, .hidden = 16}, 2, .1f, 3);
    check((struct thaw_gan_shape){.k = 5, .features = 40, .longest = 2, .noise = 0, .hidden = 17}, 1, .1f, 4);
    check((struct thaw_gan_shape){.k = 3, .features = 4, .longest = 0, .noise = 2, .hidden = 5}, 3, 0, 5);
}

static void test_gradients(void **state) {
    (void)state;
    on_each_set(gradients);
}

// Wider than any vector: latents only, as differences of so many parameters take long.
static void wide(void) {
    struct gan_case c;
    struct pass a;
    case_new(&c, (struct thaw_gan_shape){.k = 64, .features = 40, .longest = 10, .noise = 64, .hidden = 256},
             2, .1f, 6);
    pass_new(&a, &c);
    thaw_gan_generate(&c.shape, a.p, &c.slice, a.tape, a.u);
    check_latents(&c, &a);
    pass_clear(&a);
    case_clear(&c);
}

static void test_wide(void **state) {
    (void)state;
    on_each_set(wide);
}

// The bits of a slice do not depend on what the tape and the scratch were used for before.
static void test_same_bits(void **state) {
    (void)state;
    struct gan_case c, other;
    struct pass a, b;
    case_new(&c, small, 2, .3f, 7);
    case_new(&other, small, 1, 0, 8);
    pass_new(&a, &c);
    memset(&b, 0, sizeof b);
    b.u = malloc((a.nu + 1) * sizeof *b.u);
    b.gradient = malloc((a.n + 1) * sizeof *b.gradient);
    b.dknown = malloc((a.nknown + 1) * sizeof *b.dknown);
    memcpy(b.gradient, a.gradient, a.n * sizeof *b.gradient);
    memcpy(b.dknown, a.dknown, a.nknown * sizeof *b.dknown);
    thaw_gan_generate(&small, a.p, &c.slice, a.tape, a.u);
    backward(&small, a.p, &c.slice, a.tape, a.work, a.weight, a.gradient, a.dknown);
    float *scratch = calloc(a.n + a.nu + a.nknown, sizeof *scratch);
    thaw_gan_generate(&small, a.p, &other.slice, a.tape, scratch);
    backward(&small, a.p, &other.slice, a.tape, a.work, a.weight, scratch, scratch + a.n);
    thaw_gan_generate(&small, a.p, &c.slice, a.tape, b.u);
    backward(&small, a.p, &c.slice, a.tape, a.work, a.weight, b.gradient, b.dknown);
    assert_memory_equal(a.u, b.u, a.nu * sizeof *a.u);
    assert_memory_equal(a.gradient, b.gradient, a.n * sizeof *a.gradient);
    assert_memory_equal(a.dknown, b.dknown, a.nknown * sizeof *a.dknown);
    free(scratch);
    free(b.u);
    free(b.gradient);
    free(b.dknown);
    pass_clear(&a);
    case_clear(&c);
    case_clear(&other);
}

static void test_init(void **state) {
    (void)state;
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(&small, &at);
    float *p = malloc(at.n * sizeof *p), *q = malloc(at.n * sizeof *q);
    thaw_gan_generator_init(&small, 3, p);
    thaw_gan_generator_init(&small, 3, q);
    assert_memory_equal(p, q, at.n * sizeof *p);
    thaw_gan_generator_init(&small, 4, q);
    double largest = 0, square = 0;
    for (size_t i = at.second_w; i < at.last_w; i++) {
        assert_true(p[i] != q[i]);
        largest = fmax(largest, fabs((double)p[i]));
    }
    for (size_t i = at.last_w; i < at.last_b; i++) square += (double)p[i] * (double)p[i];
    const double bound = 1 / sqrt(small.hidden), deviation = sqrt(square / (double)(at.last_b - at.last_w));
    assert_true(largest <= bound && largest > .95 * bound);
    assert_true(deviation > .016 && deviation < .024);
    for (size_t i = at.last_b; i < at.log_scale; i++) assert_true(p[i] == 0);
    assert_true(p[at.log_scale] == logf(3) && at.log_scale + 1 == at.n);
    free(p);
    free(q);
}

// Inputs are dropped at the rate that was asked for, whatever the column, the row and the key.
static void test_dropout(void **state) {
    (void)state;
    enum { ROWS = 64, COLUMNS = 512 };
    const uint32_t below = thaw_gan_dropout_below(.1f);
    int by_row[ROWS] = {0}, by_column[COLUMNS] = {0}, all = 0, both = 0;
    for (uint32_t key = 0; key < 32; key++)
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t c = 0; c < COLUMNS; c++) {
                const uint32_t row = thaw_gan_dropout_row((uint64_t)key << 31, r);
                const int dropped = thaw_gan_dropout_draw(row, c) < below;
                by_row[r] += dropped;
                by_column[c] += dropped;
                all += dropped;
                both += dropped && thaw_gan_dropout_draw(row, c + 1) < below;
            }
    const double n = 32. * ROWS * COLUMNS;
    assert_true(fabs(all / n - .1) < .001);
    assert_true(fabs(both / n - .01) < .0005);
    for (int r = 0; r < ROWS; r++) assert_true(fabs(by_row[r] / (n / ROWS) - .1) < .015);
    for (int c = 0; c < COLUMNS; c++) assert_true(fabs(by_column[c] / (n / COLUMNS) - .1) < .04);
    assert_int_equal(thaw_gan_dropout_below(0), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients), cmocka_unit_test(test_wide),    cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_init),      cmocka_unit_test(test_dropout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
