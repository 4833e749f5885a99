// gan_reference.h: the networks of gan/gan.h once more, in double and by loops that follow the definition,
// and random slices to compare them on. For the tests of src/gan.
#ifndef THAW_TESTS_GAN_REFERENCE_H
#define THAW_TESTS_GAN_REFERENCE_H

#include "base/rng.h"
#include "gan/dropout.h"
#include "gan/gan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CASE_USERS = 5, CASE_WIDEST = 512, CASE_FEATURES = 3 };

// A slice with everything it borrows. The reference's known embeddings are in double, so that they can be
// moved a little.
struct gan_case {
    struct thaw_gan_shape shape;
    struct thaw_gan_slice slice;
    int64_t feature_ptr[CASE_USERS + 1];
    uint32_t feature[CASE_USERS * CASE_FEATURES];
    float feature_value[CASE_USERS * CASE_FEATURES];
    int32_t n[CASE_USERS];
    float *known, *fixed, *z;
    double *exact_known;
    struct thaw_rng rng;
};

static inline float *case_normal(struct gan_case *c, size_t n, double deviation) {
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = (float)(thaw_rng_normal(&c->rng) * deviation);
    return x;
}

static inline double *case_doubles(const float *x, size_t n) {
    double *y = malloc((n + 1) * sizeof *y);
    for (size_t i = 0; y && i < n; i++) y[i] = (double)x[i];
    return y;
}

// Users with n = 0, 1, longest and between; features: up to three each, the last user has none.
static inline void case_new(struct gan_case *c, struct thaw_gan_shape shape, int draws, float dropout,
                            uint64_t seed) {
    memset(c, 0, sizeof *c);
    c->shape = shape;
    c->rng = thaw_rng_at(seed, 99, 0);
    for (int i = 0; i < CASE_USERS; i++) {
        c->n[i] = i == 0   ? 0
                  : i == 1 ? shape.longest
                           : (int32_t)(thaw_rng_below(&c->rng, (uint64_t)shape.longest + 1));
        c->feature_ptr[i + 1] = c->feature_ptr[i];
        for (int j = 0; j < CASE_FEATURES && i < CASE_USERS - 1 && shape.features > 0; j++) {
            const int64_t at = c->feature_ptr[i + 1]++;
            c->feature[at] =
                (uint32_t)(j * shape.features / CASE_FEATURES); // rising; the same for all: they add up
            if (j == 0 && shape.features > CASE_FEATURES)
                c->feature[at] += (uint32_t)(i % (shape.features / CASE_FEATURES));
            c->feature_value[at] = (float)(j == 1 ? 1 : thaw_rng_normal(&c->rng));
        }
    }
    const size_t nknown = (size_t)(CASE_USERS * shape.longest * shape.k);
    c->known = case_normal(c, nknown, .7);
    c->fixed = case_normal(c, nknown, .7);
    c->z = case_normal(c, (size_t)(draws * CASE_USERS * shape.noise), 1);
    c->exact_known = case_doubles(c->known, nknown);
    c->slice = (struct thaw_gan_slice){.b = CASE_USERS,
                                       .draws = draws,
                                       .feature_ptr = c->feature_ptr,
                                       .feature = c->feature,
                                       .feature_value = c->feature_value,
                                       .n = c->n,
                                       .known = c->known,
                                       .fixed = c->fixed,
                                       .z = c->z,
                                       .dropout_key = seed * 7919,
                                       .dropout = dropout};
}

static inline void case_clear(struct gan_case *c) {
    free(c->known);
    free(c->fixed);
    free(c->z);
    free(c->exact_known);
}

// y[outputs] = bias + x w
static inline void exact_linear(const double *x, int inputs, const double *w, const double *bias, int outputs,
                                double *y) {
    for (int j = 0; j < outputs; j++) {
        y[j] = bias ? bias[j] : 0;
        for (int i = 0; i < inputs; i++) y[j] += x[i] * w[i * outputs + j];
    }
}

static inline void exact_features(const struct gan_case *c, int user, double *x) {
    memset(x, 0, (size_t)c->shape.features * sizeof *x);
    for (int64_t at = c->feature_ptr[user]; at < c->feature_ptr[user + 1]; at++)
        x[c->feature[at]] = (double)c->feature_value[at];
}

static inline void exact_attention(const struct gan_case *c, const double *p,
                                   const struct thaw_gan_layout *at, int user, const double *features,
                                   double *out) {
    const int k = c->shape.k, n = c->n[user];
    double query[CASE_WIDEST], key[CASE_WIDEST], value[CASE_WIDEST], match[64], sum = 0;
    exact_linear(features, c->shape.features, p + at->query_w, p + at->query_b, k, query);
    for (int i = 0; i < n; i++) {
        exact_linear(c->exact_known + (user * c->shape.longest + i) * k, k, p + at->key_w, NULL, k, key);
        match[i] = 0;
        for (int j = 0; j < k; j++) match[i] += key[j] * query[j] / sqrt(k);
        sum += exp(match[i]);
    }
    memset(out, 0, (size_t)k * sizeof *out);
    for (int i = 0; i < n; i++) {
        exact_linear(c->exact_known + (user * c->shape.longest + i) * k, k, p + at->value_w, p + at->value_b,
                     k, value);
        for (int j = 0; j < k; j++) out[j] += sqrt(n) * exp(match[i]) / sum * value[j];
    }
}

static inline void exact_mean(const struct gan_case *c, const double *known, int user, double *out) {
    const int k = c->shape.k, n = c->n[user];
    memset(out, 0, (size_t)k * sizeof *out);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < k; j++) out[j] += known[(user * c->shape.longest + i) * k + j] / sqrt(n);
}

static inline double exact_elu(double x) {
    return x > 0 ? x : exp(x) - 1;
}

// One row of latents: u[k].
static inline void exact_generate(const struct gan_case *c, const double *p, int row, double *u) {
    const struct thaw_gan_shape *s = &c->shape;
    const int user = row % c->slice.b, k = s->k;
    double x[CASE_WIDEST], h1[CASE_WIDEST], h2[CASE_WIDEST];
    struct thaw_gan_layout at;
    thaw_gan_generator_layout(s, &at);
    exact_features(c, user, x);
    exact_mean(c, c->exact_known, user, x + s->features);
    exact_attention(c, p, &at, user, x, x + s->features + k);
    for (int n = 0; n <= s->longest; n++) x[s->features + 2 * k + n] = n == c->n[user];
    for (int j = 0; j < s->noise; j++)
        x[s->features + 2 * k + s->longest + 1 + j] = (double)c->z[row * s->noise + j];
    const uint32_t key = thaw_gan_dropout_row(c->slice.dropout_key, (uint32_t)row);
    for (int i = 0; c->slice.dropout > 0 && i < thaw_gan_inputs(s); i++)
        x[i] = thaw_gan_dropout_draw(key, (uint32_t)i) < thaw_gan_dropout_below(c->slice.dropout)
                   ? 0
                   : x[i] / (1 - (double)c->slice.dropout);
    exact_linear(x, thaw_gan_inputs(s), p + at.first_w, p + at.first_b, s->hidden, h1);
    for (int j = 0; j < s->hidden; j++) h1[j] = exact_elu(h1[j]);
    exact_linear(h1, s->hidden, p + at.second_w, p + at.second_b, s->hidden, h2);
    for (int j = 0; j < s->hidden; j++) h2[j] = exact_elu(h2[j]) + h1[j];
    exact_linear(h2, s->hidden, p + at.last_w, p + at.last_b, k, u);
}

static inline double exact_leaky(double x) {
    return x > 0 ? x : .2 * x;
}

// D of a latent in a user's condition.
static inline double exact_critic(const struct gan_case *c, const double *p, int user, const double *u) {
    const struct thaw_gan_shape *s = &c->shape;
    double x[CASE_WIDEST], h1[CASE_WIDEST], h2[CASE_WIDEST], fixed[64 * CASE_WIDEST], d;
    struct thaw_gan_layout at;
    thaw_gan_critic_layout(s, &at);
    for (int i = 0; i < CASE_USERS * s->longest * s->k; i++) fixed[i] = (double)c->fixed[i];
    memcpy(x, u, (size_t)s->k * sizeof *x);
    exact_features(c, user, x + s->k);
    exact_mean(c, fixed, user, x + s->k + s->features);
    for (int n = 0; n <= s->longest; n++) x[2 * s->k + s->features + n] = n == c->n[user];
    exact_linear(x, thaw_gan_critic_inputs(s), p + at.first_w, p + at.first_b, s->hidden, h1);
    for (int j = 0; j < s->hidden; j++) h1[j] = exact_leaky(h1[j]);
    exact_linear(h1, s->hidden, p + at.second_w, p + at.second_b, s->hidden, h2);
    for (int j = 0; j < s->hidden; j++) h2[j] = exact_leaky(h2[j]);
    exact_linear(h2, s->hidden, p + at.last_w, p + at.last_b, 1, &d);
    return d;
}

// The blocks of a parameter array, for messages: where each begins.
struct gan_block {
    const char *name;
    size_t at;
};
static inline const char *gan_block_of(const struct gan_block *blocks, int n, size_t i) {
    const char *name = "?";
    for (int j = 0; j < n; j++)
        if (blocks[j].at <= i) name = blocks[j].name;
    return name;
}

// Sets of loops that this machine has; each test runs on each.
static const char *const gan_loop_names[] = {"portable", "avx2", "avx512"};

#endif
