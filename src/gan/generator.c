// generator.c: the generator of gan.h on a slice, and its gradient.
//
// Attention without its two products per known item: query.key(e) = e.(key_w query), and the values' weighted
// sum is value_w' of the embeddings' weighted sum, as a softmax adds to 1. Bound by flops: hidden x (dense
// inputs + hidden + k) multiply-adds a row, three times with backward, as products of 32 draws rows: on one
// AVX-512 core OpenBLAS does 60 to 70 GF/s at 32 rows, 80 to 105 at 64, of a peak of 160.
#include "gan/gan_impl.h"

#include <math.h>
#include <string.h>

static const float *known_of(const struct thaw_gan_shape *s, const struct thaw_gan_slice *in, int user,
                             int item) {
    return in->known + ((ptrdiff_t)user * s->longest + item) * s->k;
}

static void spread(float *out, int rows, int n, const float *bias) {
    for (int r = 0; r < rows; r++) memcpy(out + (ptrdiff_t)r * n, bias, (size_t)n * sizeof *out);
}

// attention[n] = softmax of known.turned / sqrt(k); attended = its sum of the known; mean = sum of the known
// / sqrt(n)
static void attend(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                   const struct thaw_gan_slice *in, int user, const float *turned, float *attention,
                   float *attended, float *mean) {
    const int n = in->n[user];
    const size_t k = (size_t)s->k;
    const float root = sqrtf((float)(n > 1 ? n : 1));
    memset(attended, 0, k * sizeof *attended);
    memset(mean, 0, k * sizeof *mean);
    for (int i = 0; i < n; i++) {
        attention[i] = l->dot(known_of(s, in, user, i), turned, k) / sqrtf((float)s->k);
        l->axpy(1 / root, known_of(s, in, user, i), mean, k);
    }
    const double sum = n ? l->exp(attention, l->most(attention, (size_t)n), (size_t)n) : 1;
    for (int i = 0; i < n; i++) {
        attention[i] = (float)((double)attention[i] / sum);
        l->axpy(attention[i], known_of(s, in, user, i), attended, k);
    }
}

static void pool(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                 const struct thaw_gan_layout *at, const float *p, const struct thaw_gan_slice *in,
                 struct thaw_gan_tape *t) {
    const int k = s->k, b = in->b;
    spread(t->query, b, k, p + at->query_b);
    for (int i = 0; i < b; i++)
        thaw_gan_features(l, s, in, i, NULL, p + at->query_w, k, t->query + (ptrdiff_t)i * k);
    thaw_gan_product(false, true, b, k, k, 1, t->query, k, p + at->key_w, k, 0, t->turned, k);
    for (int i = 0; i < b; i++)
        attend(l, s, in, i, t->turned + (ptrdiff_t)i * k, t->attention + (ptrdiff_t)i * s->longest,
               t->attended + (ptrdiff_t)i * k, t->pooled + (ptrdiff_t)i * 2 * k);
    for (int i = 0; i < b; i++)
        memcpy(t->pooled + ((ptrdiff_t)i * 2 + 1) * k, p + at->value_b, (size_t)k * sizeof *p);
    thaw_gan_product(false, false, b, k, k, 1, t->attended, k, p + at->value_w, k, 1, t->pooled + k, 2 * k);
    for (int i = 0; i < b; i++) {
        const float root = sqrtf((float)in->n[i]);
        float *attention = t->pooled + ((ptrdiff_t)i * 2 + 1) * k;
        for (int j = 0; j < k; j++) attention[j] *= root;
    }
}

static struct thaw_gan_mask mask_of(const struct thaw_gan_slice *in, int row) {
    return (struct thaw_gan_mask){.row_key = thaw_gan_dropout_row(in->dropout_key, (uint32_t)row),
                                  .below = thaw_gan_dropout_below(in->dropout),
                                  .scale = 1 / (1 - in->dropout)};
}

// A row of dense inputs, dropout done, and the features' part of its first layer.
static void enter(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                  const struct thaw_gan_layout *at, const float *p, const struct thaw_gan_slice *in,
                  struct thaw_gan_tape *t, int row) {
    const size_t dense = (size_t)thaw_gan_dense_inputs(s), k = (size_t)s->k;
    const int user = row % in->b;
    float *x = t->x + (size_t)row * dense, *keep = t->keep + (size_t)row * dense;
    memcpy(x, t->pooled + (size_t)user * 2 * k, 2 * k * sizeof *x);
    for (int n = 0; n <= s->longest; n++) x[2 * k + (size_t)n] = n == in->n[user];
    if (s->noise)
        memcpy(x + dense - s->noise, in->z + (ptrdiff_t)row * s->noise, (size_t)s->noise * sizeof *x);
    const struct thaw_gan_mask m = mask_of(in, row);
    if (in->dropout > 0) {
        l->drop(m.row_key, (uint32_t)s->features, m.below, m.scale, keep, dense);
        l->times(keep, x, dense);
    }
    thaw_gan_features(l, s, in, user, in->dropout > 0 ? &m : NULL, p + at->first_w, s->hidden,
                      t->h1 + (ptrdiff_t)row * s->hidden);
}

void thaw_gan_generate(const struct thaw_gan_shape *s, const float *p, const struct thaw_gan_slice *in,
                       struct thaw_gan_tape *t, float *u) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    const int h = s->hidden, k = s->k, rows = in->b * in->draws, dense = thaw_gan_dense_inputs(s);
    const size_t values = (size_t)rows * (size_t)h;
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(s, &at);
    pool(l, s, &at, p, in, t);
    spread(t->h1, rows, h, p + at.first_b);
    for (int row = 0; row < rows; row++) enter(l, s, &at, p, in, t, row);
    thaw_gan_product(false, false, rows, h, dense, 1, t->x, dense,
                     p + at.first_w + (size_t)s->features * (size_t)h, h, 1, t->h1, h);
    l->elu(t->h1, values);
    spread(t->e2, rows, h, p + at.second_b);
    thaw_gan_product(false, false, rows, h, h, 1, t->h1, h, p + at.second_w, h, 1, t->e2, h);
    l->elu(t->e2, values);
    l->add(t->h1, t->e2, t->h2, values);
    spread(u, rows, k, p + at.last_b);
    thaw_gan_product(false, false, rows, k, h, 1, t->h2, h, p + at.last_w, k, 1, u, k);
}

// From dmean and dattended to the known embeddings and to dturned.
static void attend_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                        const struct thaw_gan_slice *in, int user, const float *attention,
                        const float *turned, const float *dmean, const float *dattended, float *dturned,
                        float *dknown) {
    const int n = in->n[user];
    const size_t k = (size_t)s->k;
    const float root = sqrtf((float)(n > 1 ? n : 1)), width = sqrtf((float)s->k);
    double mean = 0;
    memset(dturned, 0, k * sizeof *dturned);
    for (int i = 0; i < n; i++)
        mean += (double)attention[i] * (double)l->dot(known_of(s, in, user, i), dattended, k);
    for (int i = 0; i < n; i++) {
        const float *e = known_of(s, in, user, i);
        float *de = dknown + ((ptrdiff_t)user * s->longest + i) * s->k;
        const float ds = (float)((double)attention[i] * ((double)l->dot(e, dattended, k) - mean)) / width;
        l->axpy(1 / root, dmean, de, k);
        l->axpy(attention[i], dattended, de, k);
        l->axpy(ds, turned, de, k);
        l->axpy(ds, e, dturned, k);
    }
}

// From the gradient at the pooled inputs, whose second half is scaled, to what was pooled.
static void pool_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                      const struct thaw_gan_layout *at, const float *p, const struct thaw_gan_slice *in,
                      struct thaw_gan_tape *t, struct thaw_gan_work *w, float *gradient, float *dknown) {
    const int k = s->k, b = in->b;
    for (int i = 0; i < b; i++) {
        const float root = sqrtf((float)in->n[i]);
        float *d = t->dpooled + ((ptrdiff_t)i * 2 + 1) * k;
        for (int j = 0; j < k; j++) d[j] *= root;
        l->axpy(1, d, gradient + at->value_b, (size_t)k);
    }
    thaw_gan_product(true, false, k, k, b, 1, t->attended, k, t->dpooled + k, 2 * k, 1,
                     gradient + at->value_w, k);
    thaw_gan_product(false, true, b, k, k, 1, t->dpooled + k, 2 * k, p + at->value_w, k, 0, w->dattended, k);
    for (int i = 0; i < b; i++)
        attend_back(l, s, in, i, t->attention + (ptrdiff_t)i * s->longest, t->turned + (ptrdiff_t)i * k,
                    t->dpooled + (ptrdiff_t)i * 2 * k, w->dattended + (ptrdiff_t)i * k,
                    w->dturned + (ptrdiff_t)i * k, dknown);
    thaw_gan_product(true, false, k, k, b, 1, w->dturned, k, t->query, k, 1, gradient + at->key_w, k);
    thaw_gan_product(false, false, b, k, k, 1, w->dturned, k, p + at->key_w, k, 0, w->dquery, k);
    l->columns(w->dquery, b, k, gradient + at->query_b);
    for (int i = 0; i < b; i++)
        thaw_gan_features_back(l, s, in, i, NULL, w->dquery + (ptrdiff_t)i * k, k, gradient + at->query_w);
}

// From the first layer's ELU to the pooled inputs, summed over draws.
static void enter_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                       const struct thaw_gan_layout *at, const float *p, const struct thaw_gan_slice *in,
                       struct thaw_gan_tape *t, float *gradient) {
    const int h = s->hidden, rows = in->b * in->draws, dense = thaw_gan_dense_inputs(s), pooled = 2 * s->k;
    const size_t first = at->first_w + (size_t)s->features * (size_t)h;
    l->elu_slope(t->h1, t->d1, (size_t)rows * (size_t)h);
    l->columns(t->d1, rows, h, gradient + at->first_b);
    thaw_gan_product(true, false, dense, h, rows, 1, t->x, dense, t->d1, h, 1, gradient + first, h);
    thaw_gan_product(false, true, rows, pooled, h, 1, t->d1, h, p + first, h, 0, t->dpooled, pooled);
    for (int row = 0; row < rows; row++) {
        const struct thaw_gan_mask m = mask_of(in, row);
        const bool drops = in->dropout > 0;
        float *d = t->dpooled + (ptrdiff_t)row * pooled;
        thaw_gan_features_back(l, s, in, row % in->b, drops ? &m : NULL, t->d1 + (ptrdiff_t)row * h, h,
                               gradient + at->first_w);
        if (drops) l->times(t->keep + (ptrdiff_t)row * dense, d, (size_t)pooled);
        if (row >= in->b) l->axpy(1, d, t->dpooled + (ptrdiff_t)(row % in->b) * pooled, (size_t)pooled);
    }
}

static void second_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                        const struct thaw_gan_layout *at, const float *p, int rows, struct thaw_gan_tape *t,
                        struct thaw_gan_work *w, float *gradient) {
    const int h = s->hidden;
    const size_t values = (size_t)rows * (size_t)h;
    memcpy(w->d2, t->d1, values * sizeof *w->d2);
    l->elu_slope(t->e2, w->d2, values);
    l->columns(w->d2, rows, h, gradient + at->second_b);
    thaw_gan_product(true, false, h, h, rows, 1, t->h1, h, w->d2, h, 1, gradient + at->second_w, h);
    thaw_gan_product(false, true, rows, h, h, 1, w->d2, h, p + at->second_w, h, 1, t->d1, h);
}

static void last_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                      const struct thaw_gan_layout *at, const float *p, int rows, struct thaw_gan_tape *t,
                      const float *du, float *gradient) {
    const int h = s->hidden, k = s->k;
    l->columns(du, rows, k, gradient + at->last_b);
    thaw_gan_product(true, false, h, k, rows, 1, t->h2, h, du, k, 1, gradient + at->last_w, k);
    thaw_gan_product(false, true, rows, h, k, 1, du, k, p + at->last_w, k, 0, t->d1, h);
}

void thaw_gan_generate_backward(const struct thaw_gan_shape *s, const float *p,
                                const struct thaw_gan_slice *in, struct thaw_gan_tape *t,
                                struct thaw_gan_work *w, enum thaw_gan_stage stage, const float *du,
                                float *gradient, float *dknown) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    const int rows = in->b * in->draws;
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(s, &at);
    if (stage == THAW_GAN_LAST) last_back(l, s, &at, p, rows, t, du, gradient);
    if (stage == THAW_GAN_SECOND) second_back(l, s, &at, p, rows, t, w, gradient);
    if (stage == THAW_GAN_FIRST) enter_back(l, s, &at, p, in, t, gradient);
    if (stage == THAW_GAN_POOLS) pool_back(l, s, &at, p, in, t, w, gradient, dknown);
}
