// test_gan_critic.c: the critic's loss, with the gradient penalty, against a slow reference in double, and
// its gradient against central differences: of the weights through the norm of a gradient that is itself
// taken by differences.
#include "gan/loops.h"
#include "gan_reference.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct loss {
    const struct gan_case *c;
    const float *real, *fake, *m;
    double penalty;
};

// |grad D| at a mixed latent. D is linear in u but for its kinks, so differences are exact to rounding.
static double gradient_norm(const struct gan_case *c, const double *p, int user, double *u) {
    const double step = 1e-4;
    double sum = 0;
    for (int j = 0; j < c->shape.k; j++) {
        const double was = u[j];
        u[j] = was + step;
        const double above = exact_critic(c, p, user, u);
        u[j] = was - step;
        const double slope = (above - exact_critic(c, p, user, u)) / (2 * step);
        u[j] = was;
        sum += slope * slope;
    }
    return sqrt(sum);
}

static double exact_loss(const struct loss *l, const double *p, double parts[3]) {
    const int k = l->c->shape.k;
    parts[0] = parts[1] = parts[2] = 0;
    for (int i = 0; i < l->c->slice.b; i++) {
        double real[CASE_WIDEST], fake[CASE_WIDEST], mix[CASE_WIDEST];
        for (int j = 0; j < k; j++) {
            real[j] = (double)l->real[i * k + j];
            fake[j] = (double)l->fake[i * k + j];
            mix[j] = (double)l->m[i] * real[j] + (1 - (double)l->m[i]) * fake[j];
        }
        parts[0] += exact_critic(l->c, p, i, fake);
        parts[1] += exact_critic(l->c, p, i, real);
        parts[2] += l->penalty * pow(gradient_norm(l->c, p, i, mix) - 1, 2);
    }
    return parts[0] - parts[1] + parts[2];
}

static double slope(const struct loss *l, double *p, size_t i) {
    const double was = p[i], step = 1e-5;
    double parts[3];
    p[i] = was + step;
    const double above = exact_loss(l, p, parts);
    p[i] = was - step;
    const double below = exact_loss(l, p, parts);
    p[i] = was;
    return (above - below) / (2 * step);
}

struct critic {
    struct gan_case c;
    float *p;
    double *exact_p;
    struct thaw_gan_layout at;
    float *real, *fake, m[CASE_USERS];
    struct thaw_gan_work *work;
};

static void critic_new(struct critic *a, struct thaw_gan_shape shape, uint64_t seed) {
    struct thaw_err err = THAW_ERR_INIT;
    case_new(&a->c, shape, 1, 0, seed);
    thaw_gan_critic_layout(&shape, &a->at);
    a->p = malloc(a->at.n * sizeof *a->p);
    thaw_gan_critic_init(&shape, seed, a->p);
    for (size_t i = 0; i < a->at.n; i++) a->p[i] *= 2; // norms of gradients on both sides of 1
    a->exact_p = case_doubles(a->p, a->at.n);
    a->real = case_normal(&a->c, (size_t)(CASE_USERS * shape.k), 1);
    a->fake = case_normal(&a->c, (size_t)(CASE_USERS * shape.k), 1);
    for (int i = 0; i < CASE_USERS; i++) a->m[i] = (float)thaw_rng_uniform(&a->c.rng);
    assert_int_equal(thaw_gan_work_new(&a->work, &shape, 1, &err), THAW_OK);
}

static void critic_clear(struct critic *a) {
    free(a->p);
    free(a->exact_p);
    free(a->real);
    free(a->fake);
    thaw_gan_work_free(&a->work);
    case_clear(&a->c);
}

static void check_step(struct critic *a, float penalty) {
    const struct loss l = {&a->c, a->real, a->fake, a->m, (double)penalty};
    const struct gan_block blocks[] = {{"first_w", a->at.first_w},   {"first_b", a->at.first_b},
                                       {"second_w", a->at.second_w}, {"second_b", a->at.second_b},
                                       {"last_w", a->at.last_w},     {"last_b", a->at.last_b}};
    const double scale = .5;
    double parts[3], want[3];
    float *gradient = malloc(a->at.n * sizeof *gradient);
    for (size_t i = 0; i < a->at.n; i++) gradient[i] = 1;
    thaw_gan_critic_step(&a->c.shape, a->p, &a->c.slice, a->real, a->fake, a->m, penalty, (float)scale,
                         a->work, parts, gradient);
    exact_loss(&l, a->exact_p, want);
    for (int i = 0; i < 3; i++)
        if (!(fabs(parts[i] - want[i]) <= 1e-5 * (1 + fabs(want[i]))))
            fail_msg("part %d of the loss: %.9g, exactly %.9g", i, parts[i], want[i]);
    for (size_t i = 0; i < a->at.n; i++) {
        const double by = scale * slope(&l, a->exact_p, i), got = (double)gradient[i] - 1;
        if (!(fabs(got - by) <= 3e-4 * (1 + fabs(by))))
            fail_msg("%s, parameter %zu: %.9g, by differences %.9g", gan_block_of(blocks, 6, i), i, got, by);
    }
    free(gradient);
}

static void check_score(struct critic *a) {
    const int k = a->c.shape.k;
    float d[CASE_USERS], *du = calloc((size_t)(CASE_USERS * k), sizeof *du);
    for (int i = 0; i < CASE_USERS * k; i++) du[i] = 1;
    thaw_gan_critic_score(&a->c.shape, a->p, &a->c.slice, a->real, -3, a->work, d, du);
    for (int i = 0; i < CASE_USERS; i++) {
        double u[CASE_WIDEST];
        for (int j = 0; j < k; j++) u[j] = (double)a->real[i * k + j];
        const double want = exact_critic(&a->c, a->exact_p, i, u);
        assert_true(fabs((double)d[i] - want) <= 1e-5 * (1 + fabs(want)));
        for (int j = 0; j < k; j++) {
            u[j] += 1e-4;
            const double above = exact_critic(&a->c, a->exact_p, i, u);
            u[j] -= 2e-4;
            const double by = -3 * (above - exact_critic(&a->c, a->exact_p, i, u)) / 2e-4;
            u[j] += 1e-4;
            assert_true(fabs((double)du[i * k + j] - 1 - by) <= 1e-4 * (1 + fabs(by)));
        }
    }
    float again[CASE_USERS];
    thaw_gan_critic_score(&a->c.shape, a->p, &a->c.slice, a->real, 1, a->work, again, NULL);
    assert_memory_equal(d, again, sizeof d);
    free(du);
}

static void check(struct thaw_gan_shape shape, uint64_t seed) {
    for (size_t i = 0; i < sizeof gan_loop_names / sizeof *gan_loop_names; i++) {
        struct critic a;
        thaw_gan_loops_use(gan_loop_names[i]);
        critic_new(&a, shape, seed);
        check_step(&a, 0);
        check_step(&a, 10);
        check_score(&a);
        critic_clear(&a);
    }
    thaw_gan_loops_use(NULL);
}

static void test_critic(void **state) {
    (void)state;
    check((struct thaw_gan_shape){.k = 5, .features = 7, .longest = 3, .noise = 2, .hidden = 13}, 1);
}

static void test_no_features(void **state) {
    (void)state;
    check((struct thaw_gan_shape){.k = 4, .features = 0, .longest = 2, .noise = 0, .hidden = 16}, 2);
}

static void test_nothing_known(void **state) {
    (void)state;
    check((struct thaw_gan_shape){.k = 3, .features = 4, .longest = 0, .noise = 1, .hidden = 6}, 3);
}

// A critic without slope has no direction to be pushed in: nothing but the penalty of a norm of 0, and no
// NaN.
static void test_flat(void **state) {
    (void)state;
    struct critic a;
    double loss[3];
    critic_new(&a, (struct thaw_gan_shape){.k = 4, .features = 3, .longest = 2, .noise = 0, .hidden = 8}, 4);
    float *gradient = calloc(a.at.n, sizeof *gradient);
    memset(a.p, 0, a.at.n * sizeof *a.p);
    thaw_gan_critic_step(&a.c.shape, a.p, &a.c.slice, a.real, a.fake, a.m, 10, 1, a.work, loss, gradient);
    assert_true(loss[0] == 0 && loss[1] == 0 && loss[2] == 10 * CASE_USERS);
    for (size_t i = 0; i < a.at.n; i++) assert_true(gradient[i] == 0);
    free(gradient);
    critic_clear(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_critic),
        cmocka_unit_test(test_no_features),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
