// cold_generator.c: G. Forward through the small networks for all samples, and a pass over the decoder.
//
// The last layer is linear, so the mean latent of the samples is that of their mean hidden layer. On the way
// from nothing known (path 0) to everything (path 1), which the explanation integrates over, features, pooled
// items and the one-hot number of items grow alike; scoring is at 1.
#include "cold/cold_generator.h"
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include "base/rng.h"
#include "dense/score.h"

#include <math.h>
#include <string.h>

const float *cold_generator_row(const struct thaw_cold *c, int64_t row) {
    int32_t p;
    cold_row(c, row, &p);
    return (const float *)c->decoder[p].data + (row - c->first_row[p]) * (2 * (int64_t)c->shape.k + 1);
}

// The most recent of what is known, as many as the generator takes.
const int64_t *cold_generator_known(const struct thaw_cold *c, const struct thaw_cold_work *w, int *n) {
    *n = w->n > c->shape.longest ? c->shape.longest : (int)w->n;
    return w->item + (w->n - *n);
}

static void draw_noise(const struct thaw_cold *c, uint64_t key, struct gen_work *g) {
    if (g->drawn && g->key == key) return;
    for (int s = 0; s < c->samples; s++)
        for (int j = 0; j < c->shape.noise; j++) {
            struct thaw_rng rng = thaw_rng_at(key, THAW_STREAM_NOISE, (uint64_t)s << 32 | (uint64_t)j);
            g->noise[(int64_t)s * c->shape.noise + j] = (float)thaw_rng_normal(&rng);
        }
    g->key = key;
    g->drawn = true;
}

// Attention of the profile over n items: g->attend, g->match, g->weight.
static void attend(const struct thaw_cold *c, const struct thaw_newcomer *who, const int64_t *item, int n,
                   double path, struct gen_work *g) {
    const int k = c->shape.k;
    const float *net = c->net.data, *key = net + c->layout.key_w;
    double most = -INFINITY, sum = 0;
    for (int j = 0; j < k; j++) g->attend[j] = net[c->layout.query_b + (size_t)j];
    for (int64_t a = 0; a < who->nfeatures; a++) {
        if (!cold_sees(c->shape.features, who, a)) continue;
        const float *row = net + c->layout.query_w + (size_t)who->feature[a] * (size_t)k;
        for (int j = 0; j < k; j++) g->attend[j] += path * (double)cold_value(who, a) * (double)row[j];
    }
    for (int i = 0; i < k; i++) {
        g->match[i] = 0;
        for (int j = 0; j < k; j++) g->match[i] += (double)key[i * k + j] * g->attend[j];
    }
    for (int i = 0; i < n; i++) {
        const float *e = cold_generator_row(c, item[i]);
        double dot = 0;
        for (int j = 0; j < k; j++) dot += (double)e[j] * g->match[j];
        g->weight[i] = dot / sqrt(k);
        if (g->weight[i] > most) most = g->weight[i];
    }
    for (int i = 0; i < n; i++) sum += g->weight[i] = exp(g->weight[i] - most);
    for (int i = 0; i < n; i++) g->weight[i] /= sum;
}

static void pool(const struct thaw_cold *c, const int64_t *item, int n, double path, struct gen_work *g) {
    const int k = c->shape.k;
    const float *net = c->net.data, *value = net + c->layout.value_w, *bias = net + c->layout.value_b;
    const double root = sqrt(n > 1 ? n : 1);
    memset(g->pooled, 0, 2 * (size_t)k * sizeof *g->pooled);
    memset(g->latent, 0, (size_t)k * sizeof *g->latent); // for now: the attended embedding
    for (int i = 0; i < n; i++) {
        const float *e = cold_generator_row(c, item[i]);
        for (int j = 0; j < k; j++) {
            g->pooled[j] += (float)(path / root) * e[j];
            g->latent[j] += g->weight[i] * (double)e[j];
        }
    }
    for (int j = 0; j < k && n > 0; j++) {
        double sum = bias[j];
        for (int i = 0; i < k; i++) sum += g->latent[i] * (double)value[i * k + j];
        g->pooled[k + j] = (float)(path * root * sum);
    }
}

// The first layer without its noise, into g->base.
static void first_layer(const struct thaw_cold *c, const struct thaw_newcomer *who, int n, double path,
                        struct gen_work *g) {
    const int64_t hidden = c->shape.hidden, features = c->shape.features, k = c->shape.k;
    const float *net = c->net.data, *first = net + c->layout.first_w;
    memcpy(g->base, net + c->layout.first_b, (size_t)hidden * sizeof *g->base);
    for (int64_t a = 0; a < who->nfeatures; a++)
        if (cold_sees(c->shape.features, who, a))
            cold_axpy(g->base, first + who->feature[a] * hidden, (float)path * cold_value(who, a), hidden);
    for (int64_t j = 0; j < 2 * k && n > 0; j++)
        cold_axpy(g->base, first + (features + j) * hidden, g->pooled[j], hidden);
    first += (features + 2 * k) * hidden;
    cold_axpy(g->base, first, n > 0 ? (float)(1 - path) : 1, hidden);
    if (n > 0) cold_axpy(g->base, first + n * hidden, (float)path, hidden);
}

void cold_generator_latent(const struct thaw_cold *c, const struct thaw_newcomer *who,
                           struct thaw_cold_work *w, double path) {
    struct gen_work *g = &w->g;
    int n;
    const int64_t *item = cold_generator_known(c, w, &n);
    const int64_t hidden = c->shape.hidden, samples = c->samples, k = c->shape.k;
    const float *net = c->net.data;
    draw_noise(c, who->key, g);
    if (n > 0) attend(c, who, item, n, path, g);
    pool(c, item, n, path, g);
    first_layer(c, who, n, path, g);
    if (c->shape.noise > 0)
        thaw_score(g->noise, samples, c->noise_t, hidden, c->shape.noise, g->hidden);
    else
        memset(g->hidden, 0, (size_t)hidden * sizeof *g->hidden);
    for (int64_t s = 0; s < samples; s++) cold_axpy(g->hidden + s * hidden, g->base, 1, hidden);
    cold_elu(g->hidden, samples * hidden);
    thaw_score(g->hidden, samples, c->second_t, hidden, (int)hidden, g->two);
    for (int64_t s = 0; s < samples; s++) cold_axpy(g->two + s * hidden, net + c->layout.second_b, 1, hidden);
    cold_elu(g->two, samples * hidden);
    memset(g->base, 0, (size_t)hidden * sizeof *g->base);
    for (int64_t s = 0; s < samples; s++) {
        cold_axpy(g->base, g->two + s * hidden, 1, hidden);
        cold_axpy(g->base, g->hidden + s * hidden, 1, hidden);
    }
    for (int64_t j = 0; j < k; j++) g->latent[j] = net[c->layout.last_b + (size_t)j];
    for (int64_t i = 0; i < hidden; i++) {
        const double x = (double)g->base[i] / (double)samples;
        const float *row = net + c->layout.last_w + (size_t)(i * k);
        for (int64_t j = 0; j < k; j++) g->latent[j] += x * (double)row[j];
    }
}

double cold_generator_scale(const struct thaw_cold *c) {
    return exp((double)((const float *)c->net.data)[c->layout.log_scale]);
}

void cold_generator_query(const struct thaw_cold *c, struct thaw_cold_work *w, float last) {
    const int k = c->shape.k;
    const double scale = cold_generator_scale(c);
    for (int j = 0; j < k; j++) w->g.query[j] = (float)(scale * w->g.latent[j]);
    w->g.query[k] = last;
}

double cold_generator_logit(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t item) {
    const int k = c->shape.k;
    const float *row = cold_generator_row(c, item) + k;
    double sum = 0;
    for (int j = 0; j < k; j++) sum += w->g.latent[j] * (double)row[j];
    return cold_generator_scale(c) * sum + (double)row[k];
}

void cold_generator_sweep(const struct thaw_cold *c, struct thaw_cold_work *w, float *scores) {
    const int k = c->shape.k;
    cold_generator_query(c, w, 1); // the bias is the last column
    for (int32_t p = 0; p < c->nparts; p++)
        thaw_score_pitch(w->g.query, 1, (const float *)c->decoder[p].data + k, 2 * (int64_t)k + 1,
                         c->first_row[p + 1] - c->first_row[p], k + 1, scores + c->first_row[p]);
    const double sum = cold_exp(scores, c->nitems, cold_max(scores, c->nitems));
    cold_scaled(scores, c->nitems, 1 / sum, 0, 0, scores);
}
