// critic.c: the critic of gan.h on a slice: its loss with the gradient penalty, and its gradient at a latent.
//
// With slopes s1, s2 of the leaky ReLUs, D's gradient at u is g = W_u (s1 o (W2 (s2 o w3))), and the slopes
// do not change with the weights (almost everywhere). So for the penalty's c g' dg:
//   dW_u += dg' r1, d r1 = dg W_u;  dW2 += (s1 o d r1)' r2, d r2 = (s1 o d r1) W2;  dw3 += s2 o d r2
// with r2 = s2 o w3, r1 = s1 o (r2 W2'). Real, fake and mixed latents are rows of one product each, and the
// penalty's terms are further rows of the usual ones. Bound by flops, as products of 96 rows (107 GF/s on one
// AVX-512 core, of a peak of 160).
#include "gan/gan_impl.h"

#include <math.h>
#include <string.h>

struct critic {
    const struct thaw_gan_loops *l;
    const struct thaw_gan_shape *s;
    const float *p;
    const struct thaw_gan_slice *in;
    struct thaw_gan_work *w;
    struct thaw_gan_layout at;
    size_t pooled, one_hot; // places of these inputs' rows of first_w
};

static struct critic critic_of(const struct thaw_gan_shape *s, const float *p,
                               const struct thaw_gan_slice *in, struct thaw_gan_work *w) {
    struct critic c = {.l = thaw_gan_loop_set(), .s = s, .p = p, .in = in, .w = w};
    thaw_gan_critic_layout(s, &c.at);
    c.pooled = c.at.first_w + (size_t)(s->k + s->features) * (size_t)s->hidden;
    c.one_hot = c.pooled + (size_t)s->k * (size_t)s->hidden;
    return c;
}

// w->h1 (b x hidden) = what the condition adds to the first layer; w->pooled (b x k) = the pooled known
// items.
static void condition(const struct critic *c) {
    const struct thaw_gan_slice *in = c->in;
    const int k = c->s->k, h = c->s->hidden;
    for (int i = 0; i < in->b; i++) {
        float *out = c->w->h1 + (ptrdiff_t)i * h, *pooled = c->w->pooled + (ptrdiff_t)i * k;
        const int n = in->n[i];
        memcpy(out, c->p + c->at.first_b, (size_t)h * sizeof *out);
        thaw_gan_features(c->l, c->s, in, i, NULL, c->p + c->at.first_w + (size_t)k * (size_t)h, h, out);
        c->l->axpy(1, c->p + c->one_hot + (ptrdiff_t)n * h, out, (size_t)h);
        memset(pooled, 0, (size_t)k * sizeof *pooled);
        for (int j = 0; j < n; j++)
            c->l->axpy(1 / sqrtf((float)n), in->fixed + ((ptrdiff_t)i * c->s->longest + j) * k, pooled,
                       (size_t)k);
    }
    thaw_gan_product(false, false, in->b, h, k, 1, c->w->pooled, k, c->p + c->pooled, h, 1, c->w->h1, h);
}

// h1, h2 of `times` b latents, all in the slice's condition.
static void layers(const struct critic *c, const float *u, int times) {
    const int k = c->s->k, h = c->s->hidden, rows = times * c->in->b;
    const size_t block = (size_t)c->in->b * (size_t)h;
    condition(c);
    for (int i = 1; i < times; i++) memcpy(c->w->h1 + (size_t)i * block, c->w->h1, block * sizeof(float));
    thaw_gan_product(false, false, rows, h, k, 1, u, k, c->p + c->at.first_w, h, 1, c->w->h1, h);
    c->l->leaky(c->w->h1, (size_t)rows * (size_t)h);
    for (int r = 0; r < rows; r++)
        memcpy(c->w->h2 + (ptrdiff_t)r * h, c->p + c->at.second_b, (size_t)h * sizeof(float));
    thaw_gan_product(false, false, rows, h, h, 1, c->w->h1, h, c->p + c->at.second_w, h, 1, c->w->h2, h);
    c->l->leaky(c->w->h2, (size_t)rows * (size_t)h);
}

// d2 = a s2 o w3 of b rows from `row`.
static void from_last(const struct critic *c, int row, float a) {
    const int h = c->s->hidden;
    for (int r = row; r < row + c->in->b; r++) {
        float *d = c->w->d2 + (ptrdiff_t)r * h;
        for (int j = 0; j < h; j++) d[j] = a * c->p[c->at.last_w + (size_t)j];
        c->l->leaky_slope(c->w->h2 + (ptrdiff_t)r * h, d, (size_t)h);
    }
}

// d1 = s1 o (d2 W2').
static void to_first(const struct critic *c, int rows) {
    const int h = c->s->hidden;
    thaw_gan_product(false, true, rows, h, h, 1, c->w->d2, h, c->p + c->at.second_w, h, 0, c->w->d1, h);
    c->l->leaky_slope(c->w->h1, c->w->d1, (size_t)rows * (size_t)h);
}

static float value(const struct critic *c, int row) {
    const int h = c->s->hidden;
    return c->l->dot(c->w->h2 + (ptrdiff_t)row * h, c->p + c->at.last_w, (size_t)h) + c->p[c->at.last_b];
}

// g (b x k) becomes the gradient of scale penalty (|g| - 1)^2; the sum of (|g| - 1)^2.
static double penalise(const struct critic *c, float *g, float factor) {
    const int k = c->s->k;
    double sum = 0;
    for (int i = 0; i < c->in->b; i++) {
        float *row = g + (ptrdiff_t)i * k;
        double norm2 = 0;
        for (int j = 0; j < k; j++) norm2 += (double)row[j] * (double)row[j];
        const double norm = sqrt(norm2), by = norm > 0 ? 2 * (norm - 1) / norm : 0;
        for (int j = 0; j < k; j++) row[j] = (float)(by * (double)(factor * row[j]));
        sum += (norm - 1) * (norm - 1);
    }
    return sum;
}

// The penalty's rows: u's last third (g on entry) becomes dg, h1's s1 o d r1; adds to dw3.
static double penalty_back(const struct critic *c, float factor, float *gradient) {
    const int k = c->s->k, h = c->s->hidden, b = c->in->b;
    const size_t values = (size_t)b * (size_t)h;
    float *g = c->w->u + (ptrdiff_t)2 * b * k, *r1 = c->w->d1 + 2 * values, *h1 = c->w->h1 + 2 * values;
    float *h2 = c->w->h2 + 2 * values;
    thaw_gan_product(false, true, b, k, h, 1, r1, h, c->p + c->at.first_w, h, 0, g, k);
    const double sum = penalise(c, g, factor);
    thaw_gan_product(false, false, b, h, k, 1, g, k, c->p + c->at.first_w, h, 0, c->w->flat, h);
    c->l->leaky_slope(h1, c->w->flat, values);
    memcpy(h1, c->w->flat, values * sizeof *h1);
    thaw_gan_product(false, false, b, h, h, 1, h1, h, c->p + c->at.second_w, h, 0, c->w->flat, h);
    c->l->leaky_slope(h2, c->w->flat, values);
    c->l->columns(c->w->flat, b, h, gradient + c->at.last_w);
    return sum;
}

// Gradients of all weights but last_w from the rows in u, h1, d1, d2.
static void weights_back(const struct critic *c, float *gradient) {
    const int k = c->s->k, h = c->s->hidden, b = c->in->b;
    const size_t values = (size_t)b * (size_t)h;
    float *both = c->w->flat; // real and fake share their condition
    c->l->columns(c->w->d2, 2 * b, h, gradient + c->at.second_b);
    thaw_gan_product(true, false, h, h, 3 * b, 1, c->w->h1, h, c->w->d2, h, 1, gradient + c->at.second_w, h);
    thaw_gan_product(true, false, k, h, 3 * b, 1, c->w->u, k, c->w->d1, h, 1, gradient + c->at.first_w, h);
    c->l->add(c->w->d1, c->w->d1 + values, both, values);
    c->l->columns(both, b, h, gradient + c->at.first_b);
    thaw_gan_product(true, false, k, h, b, 1, c->w->pooled, k, both, h, 1, gradient + c->pooled, h);
    for (int i = 0; i < b; i++) {
        const float *d = both + (ptrdiff_t)i * h;
        thaw_gan_features_back(c->l, c->s, c->in, i, NULL, d, h,
                               gradient + c->at.first_w + (size_t)k * (size_t)h);
        c->l->axpy(1, d, gradient + c->one_hot + (ptrdiff_t)c->in->n[i] * h, (size_t)h);
    }
}

void thaw_gan_critic_step(const struct thaw_gan_shape *s, const float *p, const struct thaw_gan_slice *in,
                          const float *real, const float *fake, const float *m, float penalty, float scale,
                          struct thaw_gan_work *w, double loss[3], float *gradient) {
    const struct critic c = critic_of(s, p, in, w);
    const int b = in->b, k = s->k, h = s->hidden;
    const size_t latents = (size_t)b * (size_t)k;
    float *u = w->u;
    memcpy(u, real, latents * sizeof *u);
    memcpy(u + latents, fake, latents * sizeof *u);
    for (size_t i = 0; i < latents; i++)
        u[2 * latents + i] = fake[i] + m[i / (size_t)k] * (real[i] - fake[i]);
    layers(&c, u, 3);
    loss[0] = loss[1] = 0;
    for (int i = 0; i < b; i++) {
        loss[1] += (double)value(&c, i);
        loss[0] += (double)value(&c, b + i);
        c.l->axpy(-scale, w->h2 + (ptrdiff_t)i * h, gradient + c.at.last_w, (size_t)h);
        c.l->axpy(scale, w->h2 + (ptrdiff_t)(b + i) * h, gradient + c.at.last_w, (size_t)h);
    } // last_b's is 0: as many real as fake
    from_last(&c, 0, -scale);
    from_last(&c, b, scale);
    from_last(&c, 2 * b, 1);
    to_first(&c, 3 * b);
    loss[2] = (double)penalty * penalty_back(&c, scale * penalty, gradient);
    weights_back(&c, gradient);
}

void thaw_gan_critic_score(const struct thaw_gan_shape *s, const float *p, const struct thaw_gan_slice *in,
                           const float *u, float scale, struct thaw_gan_work *w, float *d, float *du) {
    const struct critic c = critic_of(s, p, in, w);
    const int b = in->b, k = s->k, h = s->hidden;
    layers(&c, u, 1);
    for (int i = 0; i < b; i++) d[i] = value(&c, i);
    if (!du) return;
    from_last(&c, 0, scale);
    to_first(&c, b);
    thaw_gan_product(false, true, b, k, h, 1, w->d1, h, p + c.at.first_w, h, 1, du, k);
}
