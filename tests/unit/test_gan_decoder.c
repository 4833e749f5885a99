// test_gan_decoder.c: the softmax over items in blocks, its gradient, the steps of Adam, and the loops below
// them, against double.
#include "gan/gan.h"
#include "gan/loops.h"
#include "gan_reference.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { USERS = 6, ITEMS = 83, BLOCK = 50, K = 9, BLOCKS = (ITEMS + BLOCK - 1) / BLOCK };

static void on_each_set(void (*test)(void)) {
    for (size_t i = 0; i < sizeof gan_loop_names / sizeof *gan_loop_names; i++) {
        thaw_gan_loops_use(gan_loop_names[i]);
        test();
    }
    thaw_gan_loops_use(NULL);
}

// Latents, items, and which items each user has: in one array of doubles, so that each can be moved a little.
struct decoder {
    double x[USERS * K + ITEMS * K + ITEMS + 1]; // u, decoder, bias, log_scale
    float f[USERS * K + ITEMS * K + ITEMS + 1];
    bool has[USERS][ITEMS];
    int count[USERS];
};
enum { AT_DECODER = USERS * K, AT_BIAS = AT_DECODER + ITEMS * K, AT_SCALE = AT_BIAS + ITEMS };

static void decoder_fill(struct decoder *d) {
    struct thaw_rng r = thaw_rng_at(3, 99, 1);
    memset(d, 0, sizeof *d);
    for (int i = 0; i <= AT_SCALE; i++) {
        d->f[i] = (float)(thaw_rng_normal(&r) * .7);
        if (i >= 0 && i < K) d->f[i] *= 20; // a user with far-off logits
        d->x[i] = (double)d->f[i];
    }
    for (int i = 0; i < USERS; i++)
        for (int j = 0; j < ITEMS; j++) {
            d->has[i][j] = i > 0 && thaw_rng_uniform(&r) < .2; // user 0 has nothing left to predict
            d->count[i] += d->has[i][j];
        }
}

static double logit(const double *x, int user, int item) {
    double sum = 0;
    for (int j = 0; j < K; j++) sum += x[user * K + j] * x[AT_DECODER + item * K + j];
    return exp(x[AT_SCALE]) * sum + x[AT_BIAS + item];
}

static double exact_nll(const struct decoder *d, const double *x) {
    double nll = 0;
    for (int i = 0; i < USERS; i++) {
        double top = -INFINITY, sum = 0;
        for (int j = 0; j < ITEMS; j++) top = fmax(top, logit(x, i, j));
        for (int j = 0; j < ITEMS; j++) sum += exp(logit(x, i, j) - top);
        for (int j = 0; j < ITEMS; j++)
            if (d->has[i][j]) nll += top + log(sum) - logit(x, i, j);
    }
    return nll;
}

// The targets of a block.
static void targets_of(const struct decoder *d, int first, int nrows, int64_t ptr[USERS + 1],
                       int32_t *target) {
    ptr[0] = 0;
    for (int i = 0; i < USERS; i++) {
        ptr[i + 1] = ptr[i];
        for (int j = 0; j < nrows; j++)
            if (d->has[i][first + j]) target[ptr[i + 1]++] = j;
    }
}

struct blocks {
    float p[BLOCKS][USERS * BLOCK], most[BLOCKS][USERS];
    double sum[BLOCKS][USERS], picked[USERS], total[USERS];
    float top[USERS];
    int64_t ptr[BLOCKS][USERS + 1];
    int32_t target[BLOCKS][USERS * BLOCK];
};
static int rows_of(int block) {
    return block == BLOCKS - 1 ? ITEMS - block * BLOCK : BLOCK;
}

static double forward(const struct decoder *d, struct blocks *b) {
    double nll = 0;
    memset(b, 0, sizeof *b);
    for (int i = 0; i < USERS; i++) b->top[i] = -INFINITY;
    for (int k = 0; k < BLOCKS; k++) {
        const int first = k * BLOCK, nrows = rows_of(k);
        thaw_gan_decode(d->f, USERS, d->f + AT_DECODER + first * K, d->f + AT_BIAS + first, nrows, K,
                        d->f[AT_SCALE], b->p[k]);
        for (int i = 0; i < USERS; i++)
            for (int j = 0; j < nrows; j++) {
                const double want = logit(d->x, i, first + j);
                assert_true(fabs((double)b->p[k][i * nrows + j] - want) <= 1e-5 * (1 + fabs(want)));
            }
        targets_of(d, first, nrows, b->ptr[k], b->target[k]);
        thaw_gan_pick(b->p[k], USERS, nrows, b->ptr[k], b->target[k], b->picked);
        thaw_gan_exp(b->p[k], USERS, nrows, b->most[k], b->sum[k]);
        for (int i = 0; i < USERS; i++) b->top[i] = fmaxf(b->top[i], b->most[k][i]);
    }
    for (int i = 0; i < USERS; i++) {
        for (int k = 0; k < BLOCKS; k++)
            b->total[i] += exp((double)b->most[k][i] - (double)b->top[i]) * b->sum[k][i];
        nll += d->count[i] * ((double)b->top[i] + log(b->total[i])) - b->picked[i];
    }
    return nll;
}

static void near(const char *what, int i, double got, double want) {
    if (!(fabs(got - want) <= 3e-4 * (1 + fabs(want))))
        fail_msg("%s %d: %.9g, by differences %.9g", what, i, got, want);
}

static void likelihood(void) {
    static struct decoder d;
    static struct blocks b;
    decoder_fill(&d);
    const double nll = forward(&d, &b), want = exact_nll(&d, d.x), scale = .25;
    assert_true(fabs(nll - want) <= 1e-5 * want);
    static float du[USERS * K], part[USERS * K], gradient[ITEMS * K + ITEMS];
    double dlog_scale = 1;
    memset(du, 0, sizeof du);
    for (int i = 0; i < ITEMS * K + ITEMS; i++) gradient[i] = 1;
    for (int k = 0; k < BLOCKS; k++) {
        const int first = k * BLOCK;
        float factor[USERS];
        for (int i = 0; i < USERS; i++)
            factor[i] =
                (float)(scale * d.count[i] * exp((double)b.most[k][i] - (double)b.top[i]) / b.total[i]);
        thaw_gan_decode_backward(d.f, USERS, d.f + AT_DECODER + first * K, rows_of(k), K, d.f[AT_SCALE],
                                 b.p[k], factor, b.ptr[k], b.target[k], (float)scale, part,
                                 gradient + first * K, gradient + ITEMS * K + first, &dlog_scale);
        for (int i = 0; i < USERS * K; i++) du[i] += part[i];
    }
    for (int i = 0; i <= AT_SCALE; i++) {
        const double was = d.x[i], step = 1e-5;
        d.x[i] = was + step;
        const double above = exact_nll(&d, d.x);
        d.x[i] = was - step;
        const double by = scale * (above - exact_nll(&d, d.x)) / (2 * step);
        d.x[i] = was;
        if (i < AT_DECODER)
            near("latent", i, (double)du[i], by);
        else if (i < AT_SCALE)
            near("item", i, (double)gradient[i - AT_DECODER] - 1, by);
        else
            near("log scale", i, dlog_scale - 1, by);
    }
}

static void test_likelihood(void **state) {
    (void)state;
    on_each_set(likelihood);
}

static void exponentials(void) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    enum { N = 20011 };
    float *x = malloc(N * sizeof *x);
    double sum = 0;
    for (int i = 0; i < N; i++) sum += exp((double)(x[i] = -(float)i * .0043f));
    assert_true(l->most(x + 1, N - 1) == x[1] && l->most(x, 0) == -INFINITY);
    assert_true(fabs(l->exp(x, 0, N) - sum) <= 1e-6 * sum);
    for (int i = 0; i < N; i++) {
        const double want = exp((double)(-(float)i * .0043f));
        if (!(fabs((double)x[i] - want) <= 2.5e-7 * want))
            fail_msg("e^%g: %.9g", (double)(-(float)i * .0043f), (double)x[i]);
    }
    for (int i = 0; i < N; i++) x[i] = ((float)i - N / 2) * (i % 2 ? 1e-3f : 1e-6f);
    l->elu(x, N);
    for (int i = 0; i < N; i++) {
        const float from = ((float)i - N / 2) * (i % 2 ? 1e-3f : 1e-6f);
        const double want = from > 0 ? (double)from : expm1((double)from);
        assert_true(fabs((double)x[i] - want) <= 3e-7 * fabs(want));
    }
    free(x);
}

static void test_exponentials(void **state) {
    (void)state;
    on_each_set(exponentials);
}

// Far below the largest: nothing. Not a number: seen, wherever it stands.
static void extremes(void) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    for (int n = 1; n < 40; n++)
        for (int bad = 0; bad < n; bad++) {
            float x[40], y[40];
            for (int i = 0; i < n; i++) x[i] = -1e30f;
            x[bad] = 7;
            memcpy(y, x, sizeof y);
            assert_true(l->most(x, (size_t)n) == 7);
            assert_true(l->exp(x, 7, (size_t)n) == 1 || n > 1);
            for (int i = 0; i < n; i++) assert_true(i == bad ? x[i] == 1 : x[i] >= 0 && x[i] < 2e-38f);
            y[bad] = NAN;
            assert_true(isnan(l->exp(y, l->most(y, (size_t)n), (size_t)n)));
            y[bad] = NAN;
            l->elu(y, (size_t)n);
            assert_true(isnan(y[bad]));
        }
}

static void test_extremes(void **state) {
    (void)state;
    on_each_set(extremes);
}

static void adam(void) {
    enum { N = 77 };
    const struct thaw_gan_adam a = {.beta1 = .5f, .beta2 = .9f, .epsilon = 1e-8f, .weight_decay = .01f};
    struct thaw_rng r = thaw_rng_at(4, 99, 2);
    float p[N], m[N] = {0}, v[N] = {0}, averaged[N], g[N], plain[N], m2[N] = {0}, v2[N] = {0};
    double ep[N], em[N] = {0}, ev[N] = {0}, ea[N];
    for (int i = 0; i < N; i++)
        ep[i] = ea[i] = (double)(plain[i] = averaged[i] = p[i] = (float)thaw_rng_normal(&r));
    for (int t = 1; t <= 6; t++) {
        const double rate = .1 / t, keep = fmin(.9, t / 9.);
        for (int i = 0; i < N; i++) {
            g[i] = i == 5 ? 0 : (float)thaw_rng_normal(&r);
            const double d = (double)g[i] + (double)a.weight_decay * ep[i];
            em[i] = .5 * em[i] + .5 * d;
            ev[i] = (double)a.beta2 * ev[i] + (1 - (double)a.beta2) * d * d;
            ep[i] -= rate * em[i] / (1 - pow(.5, t)) / (sqrt(ev[i] / (1 - pow((double)a.beta2, t))) + 1e-8);
            ea[i] = keep * ea[i] + (1 - keep) * ep[i];
        }
        assert_true(thaw_gan_adam_step(&a, t, (float)rate, g, p, m, v, averaged, (float)keep, N));
        assert_true(thaw_gan_adam_step(&a, t, (float)rate, g, plain, m2, v2, NULL, 0, N));
    }
    for (int i = 0; i < N; i++)
        assert_true(fabs((double)p[i] - ep[i]) < 3e-6 && fabs((double)averaged[i] - ea[i]) < 3e-6);
    assert_memory_equal(p, plain, sizeof p);
    g[70] = NAN;
    assert_false(thaw_gan_adam_step(&a, 7, .1f, g, p, m, v, averaged, .9f, N));
}

static void test_adam(void **state) {
    (void)state;
    on_each_set(adam);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_likelihood),
        cmocka_unit_test(test_exponentials),
        cmocka_unit_test(test_extremes),
        cmocka_unit_test(test_adam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
