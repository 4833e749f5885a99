// cold_gradient.c: shares of known items and profile in G's probabilities: the path integral of the gradient
// (Sundararajan et al. 2017) by Gauss-Legendre quadrature. Backward through the small networks by hand.
#include "cold/cold_generator.h"
#include "cold/cold_loops.h"

#include "base/mem.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Arrays of one explanation.
struct gradient {
    const struct thaw_cold *c;
    const struct thaw_newcomer *who;
    struct thaw_cold_work *w;
    const int64_t *item; // n, those the generator sees
    int n;
    double path;
    double *mean;                       // k: the decoder's rows, weighted by probability
    double *latent;                     // k: gradient of the latent
    double *pooled;                     // 2 k, of the pooled items
    double *value, *query;              // k
    double *match;                      // n
    float *second;                      // samples x hidden, at the second layer
    float *first;                       // samples x hidden, at the first layer
    float *up;                          // hidden, above the second layer
    float *sum;                         // hidden: of the first layer's input, over the samples
    double *item_share, *feature_share; // of one hit and node
};

static int gradient_new(struct gradient *d, struct thaw_err *err) {
    const struct thaw_cold *c = d->c;
    const size_t k = (size_t)c->shape.k, hidden = (size_t)c->shape.hidden, all = hidden * (size_t)c->samples;
    int code = thaw_alloc(&d->mean, 6 * k + (size_t)d->n, sizeof *d->mean, "a gradient", err);
    if (!code) code = thaw_alloc(&d->second, 2 * all + 2 * hidden, sizeof *d->second, "a gradient", err);
    if (!code)
        code = thaw_alloc(&d->item_share, (size_t)(d->who->nitems + d->who->nfeatures), sizeof *d->item_share,
                          "a gradient", err);
    if (code) return code;
    d->latent = d->mean + k;
    d->pooled = d->latent + k;
    d->value = d->pooled + 2 * k;
    d->query = d->value + k;
    d->match = d->query + k;
    d->first = d->second + all;
    d->up = d->first + all;
    d->sum = d->up + hidden;
    d->feature_share = d->item_share + d->who->nitems;
    return THAW_OK;
}

static double dot(const float *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

static double dot_wide(const double *a, const float *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * (double)b[i];
    return sum;
}

// d->mean = sum of p times the decoder's row; w->scores holds p.
static void mean_row(struct gradient *d) {
    enum { RUN = 1024 };
    const struct thaw_cold *c = d->c;
    const int k = c->shape.k;
    float *part = d->w->g.query; // k + 1 floats, free now
    memset(d->mean, 0, (size_t)k * sizeof *d->mean);
    for (int32_t p = 0; p < c->nparts; p++) {
        const int64_t first = c->first_row[p], n = c->first_row[p + 1] - first;
        const float *row = (const float *)c->decoder[p].data + k;
        for (int64_t begin = 0; begin < n; begin += RUN) {
            memset(part, 0, (size_t)k * sizeof *part);
            for (int64_t r = begin; r < n && r < begin + RUN; r++)
                cold_axpy(part, row + r * (2 * (int64_t)k + 1), d->w->scores[first + r], k);
            for (int j = 0; j < k; j++) d->mean[j] += (double)part[j];
        }
    }
}

// ELU's slope by what it gave: 1 above 0, else e^x.
static float slope(float y) {
    return y > 0 ? 1 : y + 1;
}

// From d->latent to d->sum, the gradient of the first layer's input summed over the samples, and d->pooled.
static void back_networks(struct gradient *d) {
    const struct thaw_cold *c = d->c;
    const struct gen_work *g = &d->w->g;
    const int64_t hidden = c->shape.hidden, k = c->shape.k, all = hidden * c->samples;
    const float *net = c->net.data;
    for (int64_t i = 0; i < hidden; i++)
        d->up[i] = (float)(dot_wide(d->latent, net + c->layout.last_w + (size_t)(i * k), k) / c->samples);
    for (int64_t i = 0; i < all; i++) d->second[i] = d->up[i % hidden] * slope(g->two[i]);
    thaw_score(d->second, c->samples, net + c->layout.second_w, hidden, (int)hidden, d->first);
    memset(d->sum, 0, (size_t)hidden * sizeof *d->sum);
    for (int64_t i = 0; i < all; i++)
        d->sum[i % hidden] += (d->first[i] + d->up[i % hidden]) * slope(g->hidden[i]);
    const float *first = net + c->layout.first_w + (size_t)(c->shape.features * hidden);
    for (int64_t j = 0; j < 2 * k; j++) d->pooled[j] = dot(first + j * hidden, d->sum, hidden);
}

// Shares of the items, and d->query, the gradient of the attention's query.
static void back_items(struct gradient *d) {
    const struct thaw_cold *c = d->c;
    const struct gen_work *g = &d->w->g;
    const int64_t k = c->shape.k, hidden = c->shape.hidden;
    const float *net = c->net.data, *key = net + c->layout.key_w;
    const double root = sqrt(d->n), *attention = d->pooled + k;
    const float *number = net + c->layout.first_w + (size_t)((c->shape.features + 2 * k) * hidden);
    const double count = (dot(number + d->n * hidden, d->sum, hidden) - dot(number, d->sum, hidden)) / d->n;
    const double constant = dot_wide(attention, net + c->layout.value_b, k);
    double common = 0;
    for (int64_t i = 0; i < k; i++)
        d->value[i] = dot_wide(attention, net + c->layout.value_w + (size_t)(i * k), k);
    for (int i = 0; i < d->n; i++) {
        const float *e = cold_generator_row(c, d->item[i]);
        const double value = root * (dot_wide(d->value, e, k) + constant);
        d->item_share[d->w->at[d->w->n - d->n + i]] =
            dot_wide(d->pooled, e, k) / root + g->weight[i] * value + count;
        d->match[i] = d->path * value;
        common += g->weight[i] * d->match[i];
    }
    memset(d->value, 0, (size_t)k * sizeof *d->value);
    for (int i = 0; i < d->n; i++) {
        const float *e = cold_generator_row(c, d->item[i]);
        const double x = g->weight[i] * (d->match[i] - common) / sqrt((double)k);
        for (int64_t j = 0; j < k; j++) d->value[j] += x * (double)e[j];
    }
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < k; j++) d->query[j] += d->value[i] * (double)key[i * k + j];
}

// The gradient of one hit's probability at this place of the path.
static void back(struct gradient *d, const double *latent) {
    const struct thaw_cold *c = d->c;
    const int64_t k = c->shape.k, hidden = c->shape.hidden;
    const float *net = c->net.data;
    memcpy(d->latent, latent, (size_t)k * sizeof *latent);
    back_networks(d);
    memset(d->query, 0, (size_t)k * sizeof *d->query);
    memset(d->item_share, 0, (size_t)d->who->nitems * sizeof *d->item_share);
    if (d->n > 0) back_items(d);
    for (int64_t a = 0; a < d->who->nfeatures; a++) {
        const int64_t f = d->who->feature[a];
        d->feature_share[a] = 0;
        if (cold_sees(c->shape.features, d->who, a))
            d->feature_share[a] = (double)cold_value(d->who, a) *
                                  (dot(net + c->layout.first_w + (size_t)(f * hidden), d->sum, hidden) +
                                   dot_wide(d->query, net + c->layout.query_w + (size_t)(f * k), k));
    }
}

// One node of the quadrature.
static void node(struct gradient *d, double path, double weight, const int64_t *hit, int nhits,
                 double *item_share, double *feature_share, double *latent) {
    const struct thaw_cold *c = d->c;
    const int64_t k = c->shape.k, nitems = d->who->nitems, nfeatures = d->who->nfeatures;
    const double scale = cold_generator_scale(c);
    d->path = path;
    cold_generator_latent(c, d->who, d->w, path);
    cold_generator_sweep(c, d->w, d->w->scores);
    mean_row(d);
    for (int h = 0; h < nhits; h++) {
        const float *row = cold_generator_row(c, hit[h]) + k;
        const double p = (double)d->w->scores[hit[h]];
        for (int64_t j = 0; j < k; j++) latent[j] = p * scale * ((double)row[j] - d->mean[j]);
        back(d, latent);
        for (int64_t i = 0; i < nitems; i++) item_share[h * nitems + i] += weight * d->item_share[i];
        for (int64_t a = 0; a < nfeatures; a++)
            feature_share[h * nfeatures + a] += weight * d->feature_share[a];
    }
}

int cold_generator_explain(const struct thaw_cold *c, const struct thaw_newcomer *who,
                           struct thaw_cold_work *w, const int64_t *hit, int nhits, double *item_share,
                           double *feature_share, double *constant, double *score, struct thaw_err *err) {
    struct gradient d = {.c = c, .who = who, .w = w};
    double *latent = NULL;
    d.item = cold_generator_known(c, w, &d.n);
    int code = gradient_new(&d, err);
    if (!code) code = thaw_alloc(&latent, (size_t)c->shape.k, sizeof *latent, "a gradient", err);
    if (code) goto done;
    memset(item_share, 0, (size_t)nhits * (size_t)who->nitems * sizeof *item_share);
    memset(feature_share, 0, (size_t)nhits * (size_t)who->nfeatures * sizeof *feature_share);
    for (int i = 0; i < COLD_NODES; i++) {
        const struct cold_node at = cold_node(i);
        node(&d, at.place, at.weight, hit, nhits, item_share, feature_share, latent);
    }
    cold_generator_latent(c, who, w, 1);
    cold_generator_sweep(c, w, w->scores);
    for (int h = 0; h < nhits; h++) {
        constant[h] = score[h] = (double)w->scores[hit[h]];
        for (int64_t i = 0; i < who->nitems; i++) constant[h] -= item_share[h * who->nitems + i];
        for (int64_t a = 0; a < who->nfeatures; a++) constant[h] -= feature_share[h * who->nfeatures + a];
    }
done:
    free(latent);
    free(d.mean);
    free(d.second);
    free(d.item_share);
    return code;
}
