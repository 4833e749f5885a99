// gan_start.c: what the generator starts from: whitened factors, first weights.
#include "comm/gan_train.h"

#include "als/als.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comm/handle.h"
#include "comm/sweep.h"
#include "comm/window.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD .3 // standard deviation of the embedding's entries

void dsyevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w,
             double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);

// a (k x k, destroyed) = Q E Q': values e, rising; row j of a becomes vector j.
static int eigen(double *a, double *e, int k, struct thaw_err *err) {
    const int lwork = 1 + 6 * k + 2 * k * k, liwork = 3 + 5 * k;
    double *work = NULL;
    int *iwork = NULL, info = 0;
    int code = thaw_alloc(&work, (size_t)lwork, sizeof *work, "eigenvectors", err);
    if (!code) code = thaw_alloc(&iwork, (size_t)liwork, sizeof *iwork, "eigenvectors", err);
    if (!code) {
        const int threads = thaw_blas_alone_begin();
        dsyevd_("V", "U", &k, a, &k, e, work, &lwork, iwork, &liwork, &info, 1, 1);
        thaw_blas_alone_end(threads);
        if (info)
            code =
                thaw_fail(err, THAW_EDIVERGED, "the eigenvalues of the factors' covariance cannot be found");
    }
    free(work);
    free(iwork);
    return code;
}

// Collective. Sum of [x, 1]'[x, 1] over the rows that take part (use NULL: all): (k + 1) x (k + 1).
static int moments(struct thaw_comm *c, const struct thaw_plan *plan, const float *x, int columns,
                   const uint8_t *use, int k, double *out, struct thaw_err *err) {
    const int rank = thaw_comm_rank(c);
    const int64_t rows = plan->rank_row[rank + 1] - plan->rank_row[rank];
    float *wide = NULL;
    int code = thaw_alloc(&wide, (size_t)rows * ((size_t)k + 1), sizeof *wide, "moments of the factors", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    for (int64_t r = 0; r < rows; r++) {
        float *row = wide + r * (k + 1);
        if (use && !use[r]) continue;
        memcpy(row, x + r * columns, (size_t)k * sizeof *row);
        row[k] = 1;
    }
    code = thaw_sweep_gramian(c, plan, wide, k + 1, k + 1, out, err);
done:
    free(wide);
    return code;
}

// Covariance and mean from moments; the number of rows.
static double centre(const double *sums, int k, double *mean, double *covariance) {
    const int w = k + 1;
    const double n = sums[(size_t)w * (size_t)w - 1];
    for (int i = 0; i < k; i++) mean[i] = sums[i * w + k] / n;
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++)
            covariance[i * k + j] = (sums[i * w + j] - n * mean[i] * mean[j]) / (n - 1);
    return n;
}

// Users that whitening looks at.
static int trained(const struct thaw_histories *h, uint8_t **use, struct thaw_err *err) {
    const int code = thaw_alloc(use, (size_t)h->nusers, 1, "training users", err);
    for (int64_t r = 0; !code && r < h->nusers; r++)
        (*use)[r] = !h->held_out[r] && thaw_histories_length(h, r) > 0;
    return code;
}

// x (k) times a (k x k).
static void times(const double *x, const double *a, int k, float *out, double *sum) {
    memset(sum, 0, (size_t)k * sizeof *sum);
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) sum[j] += x[i] * a[i * k + j];
    for (int j = 0; j < k; j++) out[j] = (float)sum[j];
}

int thaw_gan_whiten(struct thaw_comm *c, const struct thaw_gan_data *data, int k, float *real, double *back,
                    struct thaw_err *err) {
    const size_t kk = (size_t)k * (size_t)k;
    double *sums = NULL, *mean = NULL, *a = NULL, *e = NULL;
    uint8_t *use = NULL;
    int code = thaw_alloc(&sums, kk + 2 * (size_t)k + 1, sizeof *sums, "whitening", err);
    if (!code) code = thaw_alloc(&mean, 3 * (size_t)k, sizeof *mean, "whitening", err);
    if (!code) code = thaw_alloc(&a, 2 * kk, sizeof *a, "whitening", err);
    if (!code) code = thaw_alloc(&e, (size_t)k, sizeof *e, "whitening", err);
    if (!code) code = trained(data->h, &use, err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    if ((code = moments(c, data->users, data->user_rows, data->columns, use, k, sums, err))) goto done;
    double *vectors = a + kk;
    const double n = centre(sums, k, mean, vectors);
    code = n > 1 ? eigen(vectors, e, k, err)
                 : thaw_fail(err, THAW_EDATA, "there are not two training users: nothing to learn from");
    if (!code && !(e[k - 1] > 0))
        code = thaw_fail(err, THAW_EDATA, "all users have the same factors: train a model first");
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    for (int j = 0; j < k; j++) {
        const double deviation = sqrt(fmax(e[j], 1e-9 * e[k - 1]));
        for (int i = 0; i < k; i++) {
            a[i * k + j] = vectors[j * k + i] / deviation;
            back[i * k + j] = vectors[j * k + i] * deviation;
        }
    }
    for (int64_t r = 0; r < data->h->nusers; r++) {
        double *x = mean + k;
        for (int j = 0; j < k; j++) x[j] = (double)data->user_rows[r * data->columns + j] - mean[j];
        if (use[r])
            times(x, a, k, real + r * k, mean + 2 * k);
        else
            memset(real + r * k, 0, (size_t)k * sizeof *real);
    }
done:
    free(sums);
    free(mean);
    free(a);
    free(e);
    free(use);
    return code;
}

// Collective. Standard deviation of all entries of the item factors.
static int item_deviation(struct thaw_gan *g, const struct thaw_gan_data *data, double *deviation,
                          struct thaw_err *err) {
    const int k = g->config.shape.k, w = k + 1;
    double *sums = NULL, sum = 0, squares = 0;
    int code =
        thaw_comm_agree(g->c, thaw_alloc(&sums, (size_t)w * (size_t)w, sizeof *sums, "moments", err), err);
    if (!code) code = moments(g->c, data->items, data->item_rows, data->columns, NULL, k, sums, err);
    for (int i = 0; !code && i < k; i++) {
        sum += sums[i * w + k];
        squares += sums[i * w + i];
    }
    if (!code) {
        const double n = sums[w * w - 1] * k, mean = sum / n;
        *deviation = sqrt(squares / n - mean * mean);
        if (!(*deviation > 0))
            code = thaw_fail(err, THAW_EDATA, "all items have the same factors: train a model first");
    }
    free(sums);
    return code;
}

// Collective. Mean over all items of log(popularity + 1).
static int log_popularity(struct thaw_gan *g, const struct thaw_gan_data *data, double *mean,
                          struct thaw_err *err) {
    const int64_t rows = g->items->rows;
    double *term = NULL;
    int code = thaw_alloc(&term, (size_t)rows, sizeof *term, "popularity", err);
    for (int64_t i = 0; !code && i < rows; i++) term[i] = log((double)data->degree[i] + 1);
    code = thaw_comm_agree(g->c, code, err);
    if (!code) code = thaw_comm_exact_sum(g->c, term, rows, 1, mean, err);
    *mean /= (double)thaw_plan_rows(data->items);
    free(term);
    return code;
}

static void fill_items(struct thaw_gan *g, const struct thaw_gan_data *data, const double *back,
                       double deviation, double mean, double *scratch) {
    const int k = g->config.shape.k;
    struct thaw_gan_items *t = g->items;
    for (int64_t i = 0; i < t->rows; i++) {
        const float *v = data->item_rows + i * data->columns;
        for (int j = 0; j < k; j++) {
            scratch[j] = v[j];
            t->p[THAW_GAN_EMBEDDING][i * k + j] = (float)(v[j] / deviation * SPREAD);
        }
        times(scratch, back, k, t->p[THAW_GAN_DECODER] + i * k, scratch + k);
        t->p[THAW_GAN_BIAS][i] = (float)(log((double)data->degree[i] + 1) - mean);
    }
    for (int j = 0; j < THAW_GAN_TABLES; j++)
        memcpy(t->averaged[j], t->p[j], (size_t)t->rows * thaw_gan_width(t, j) * sizeof(float));
    if (t->fixed) memcpy(t->fixed, t->p[THAW_GAN_EMBEDDING], (size_t)t->rows * (size_t)k * sizeof(float));
    thaw_gan_items_show(t);
}

void thaw_gan_pool(const struct thaw_gan *g, float *net) {
    const struct thaw_gan_shape *s = &g->config.shape;
    const size_t rows = (size_t)s->k * (size_t)s->hidden;
    float *mean = net + g->layout.first_w + (size_t)s->features * (size_t)s->hidden;
    if (g->config.pooling == THAW_GAN_POOL_ATTENTION) memset(mean, 0, rows * sizeof *mean);
    if (g->config.pooling == THAW_GAN_POOL_MEAN) memset(mean + rows, 0, rows * sizeof *mean);
}

// Collective. A node's first rank writes the weights.
static void fill_nets(struct thaw_gan *g) {
    if (g->c->node_rank == 0) {
        thaw_gan_generator_init(&g->config.shape, g->config.seed, g->generator.p);
        thaw_gan_pool(g, g->generator.p);
        if (g->config.adversary > 0) thaw_gan_critic_init(&g->config.shape, g->config.seed, g->critic.p);
    }
    thaw_window_sync(g->generator.window);
    memcpy(g->generator.averaged, g->generator.p, g->generator.n * sizeof(float));
}

int thaw_gan_start(struct thaw_gan *g, const struct thaw_gan_data *data, struct thaw_err *err) {
    const int k = g->config.shape.k;
    double *back = NULL, *scratch = NULL, deviation = 1, mean = 0;
    int code = thaw_alloc(&back, (size_t)k * (size_t)k, sizeof *back, "whitening", err);
    if (!code) code = thaw_alloc(&scratch, 2 * (size_t)k, sizeof *scratch, "whitening", err);
    if ((code = thaw_comm_agree(g->c, code, err))) goto done;
    if ((code = thaw_gan_whiten(g->c, data, k, g->real, back, err)) ||
        (code = item_deviation(g, data, &deviation, err)) || (code = log_popularity(g, data, &mean, err)))
        goto done;
    fill_items(g, data, back, deviation, mean, scratch);
    fill_nets(g);
done:
    free(back);
    free(scratch);
    return code;
}

// Pairs by Box and Muller.
void thaw_gan_noise(float *z, int noise, uint64_t seed, uint64_t row) {
    struct thaw_rng rng = thaw_rng_at(seed, THAW_STREAM_NOISE, row);
    for (int i = 0; i < noise; i += 2) {
        const float u = ((float)(thaw_rng_u32(&rng) >> 8) + 1) * 0x1p-24f; // (0, 1]
        const float angle = (float)(thaw_rng_u32(&rng) >> 8) * (float)(0x1p-23 * M_PI);
        const float radius = sqrtf(-2 * logf(u));
        z[i] = radius * cosf(angle);
        if (i + 1 < noise) z[i + 1] = radius * sinf(angle);
    }
}
