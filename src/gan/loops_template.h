// loops_template.h: the loops of loops.h for vectors of LANES floats. Each loops_*.c defines
//   LANES  4, 8 or 16
//   SET    the name of the struct thaw_gan_loops, LABEL its name for people
// and includes this file. No include guard on purpose. Loops without sums are plain: the compiler makes
// vectors of them; sums and maxima name their lanes, so that their order is ours.
//
// Bound by bytes: Adam reads five arrays and writes four, 36 bytes a parameter; the exponentials, their sum
// and the largest logit run over a block that stays in the cache of its core, about one element a cycle.
#include "gan/dropout.h"
#include "gan/loops.h"

#include <math.h>
#include <string.h>

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES), may_alias));
typedef float half __attribute__((vector_size(2 * LANES), aligned(4), may_alias));
typedef double wide __attribute__((vector_size(4 * LANES), may_alias));

// e^x - 1 = two q + (two - 1) with two = 2^round(x / ln 2), for x <= 0 (and NaN). Polynomial of Cephes' expf
// (Moshier), good to 2e-7. Below -87 it stays at e^-87.
struct power {
    float two, q;
};
static inline __attribute__((always_inline)) struct power power(float x) {
    const float magic = 12582912; // 1.5 x 2^23: adding it rounds to whole numbers
    x = x < -87 ? -87 : x;
    const float shifted = x * 1.44269504088896341f + magic, whole = shifted - magic;
    const float r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union {
        float f;
        uint32_t u;
    } two = {.f = shifted};
    two.u = (two.u + 127) << 23;
    return (struct power){two.f, p * r * r + r};
}

static void elu(float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct power e = power(x[i] > 0 ? 0 : x[i]);
        const float below = e.two * e.q + (e.two - 1);
        x[i] = x[i] > 0 ? x[i] : below;
    }
}

static void elu_slope(const float *restrict y, float *restrict d, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] *= y[i] > 0 ? 1 : y[i] + 1;
}

static void leaky(float *restrict x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = x[i] * (x[i] > 0 ? 1 : .2f);
}

static void leaky_slope(const float *restrict y, float *restrict d, size_t n) {
    for (size_t i = 0; i < n; i++) d[i] *= y[i] > 0 ? 1 : .2f;
}

static void add(const float *restrict x, const float *restrict y, float *restrict out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = x[i] + y[i];
}

static void axpy(float a, const float *restrict x, float *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

static float dot(const float *x, const float *y, size_t n) {
    vec sum = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) sum += *(const loose *)(x + i) * *(const loose *)(y + i);
    float all = 0;
    for (int l = 0; l < LANES; l++) all += sum[l];
    for (; i < n; i++) all += x[i] * y[i];
    return all;
}

static void columns(const float *restrict x, int rows, int n, float *restrict sum) {
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++) sum[i] += x[(ptrdiff_t)r * n + i];
}

static void drop(uint32_t row_key, uint32_t first, uint32_t below, float scale, float *restrict keep,
                 size_t n) {
    for (uint32_t i = 0; i < (uint32_t)n; i++)
        keep[i] = thaw_gan_dropout_draw(row_key, first + i) < below ? 0 : scale;
}

static void times(const float *restrict x, float *restrict y, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] *= x[i];
}

static float most(const float *x, size_t n) {
    float best = -INFINITY;
    size_t i = 0;
    if (n >= LANES) {
        vec top = *(const loose *)x;
        for (i = LANES; i + LANES <= n; i += LANES) {
            const vec next = *(const loose *)(x + i);
            const mask keep = top >= next;
            top = (vec)(((mask)top & keep) | ((mask)next & ~keep));
        }
        for (int l = 0; l < LANES; l++) best = best >= top[l] ? best : top[l];
    }
    for (; i < n; i++) best = best >= x[i] ? best : x[i];
    return best;
}

static double exp_sum(float *x, float top, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float from = x[i] - top;
        const struct power e = power(from);
        x[i] = from < -87 ? 0 : e.two * e.q + e.two; // denormal numbers would slow the products down
    }
    wide low = {0}, high = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        low += __builtin_convertvector(*(const half *)(x + i), wide);
        high += __builtin_convertvector(*(const half *)(x + i + LANES / 2), wide);
    }
    double sum = 0;
    low += high;
    for (int l = 0; l < LANES / 2; l++) sum += low[l];
    for (; i < n; i++) sum += (double)x[i];
    return sum;
}

static void scale(float a, float *restrict x, float *restrict sum, size_t n) {
    for (size_t i = 0; i < n; i++) {
        x[i] *= a;
        sum[i] += x[i];
    }
}

static inline __attribute__((always_inline)) bool adam_of(const struct thaw_gan_moment *a, bool averages,
                                                          const float *restrict g, float *restrict p,
                                                          float *restrict m, float *restrict v,
                                                          float *restrict averaged, size_t n) {
    const float b1 = a->beta1, b2 = a->beta2, decay = a->weight_decay, root = a->root, epsilon = a->epsilon;
    const float rate = a->rate, keep = a->keep;
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        const float d = g[i] + decay * p[i];
        m[i] = b1 * m[i] + (1 - b1) * d;
        v[i] = b2 * v[i] + (1 - b2) * d * d;
        const float to = p[i] - rate * m[i] / (sqrtf(v[i]) * root + epsilon);
        p[i] = to;
        if (averages) averaged[i] = keep * averaged[i] + (1 - keep) * to;
        bad |= fabsf(to) <= 3.4028235e38f ? 0u : 1u;
    }
    return !bad;
}

static bool adam(const struct thaw_gan_moment *a, const float *g, float *p, float *m, float *v,
                 float *averaged, size_t n) {
    return averaged ? adam_of(a, true, g, p, m, v, averaged, n) : adam_of(a, false, g, p, m, v, NULL, n);
}

const struct thaw_gan_loops SET = {.name = LABEL,
                                   .elu = elu,
                                   .elu_slope = elu_slope,
                                   .leaky = leaky,
                                   .leaky_slope = leaky_slope,
                                   .add = add,
                                   .axpy = axpy,
                                   .dot = dot,
                                   .columns = columns,
                                   .drop = drop,
                                   .times = times,
                                   .most = most,
                                   .exp = exp_sum,
                                   .scale = scale,
                                   .adam = adam};
