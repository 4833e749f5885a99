// gan_softmax.c: see gan_softmax.h.
#include "comm/gan_softmax.h"

#include "base/exact.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comm/handle.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { FIXED = 30 };   // sums that are not of the softmax are rounded to 2^-30
#define LEFT_OUT -1e9f // added to the logit of an item that was not drawn

// A tile in a minibatch.
struct block {
    int nrows;
    const float *decoder, *bias; // the items' own, or compact copies of the sample
    int32_t *row;                // sampled: which rows of the tile
    float *correction;           // sampled: nrows, added to the logits of all but targets
    float *own_decoder, *own_bias, *ddecoder, *dbias, *saved;
    float *logits; // b x nrows
    size_t rows_cap, correction_cap, decoder_cap, bias_cap, ddecoder_cap, dbias_cap, logits_cap, saved_cap;
    float *most;          // b
    double *sum, *picked; // b
    int64_t *target_ptr;  // b + 1
    int32_t *target;      // into targets
};

struct thaw_gan_softmax {
    struct thaw_comm *c;
    struct thaw_gan_items *items;
    int b, nthreads;
    int64_t sampled;
    uint64_t seed;
    struct block *block; // ntiles
    int32_t *targets;
    size_t targets_cap;
    float *most;    // b
    double *sum;    // b: S
    int64_t *acc;   // 2 b + THAW_GAN_EXTRA + 2: S, picked, extra, how many are not finite, ranks that failed
    float **du;     // nthreads: b x k and log_scale
    float **factor; // nthreads: b
    // Sampled:
    int64_t *cumulative, first_weight, all_weight; // rows + 1
    int32_t *drawn;                                // rows: how often; -1 - i: the block's row i
    double wait_s;
    int64_t nbytes;
};

// ---- Begin and end ----

static int block_new(struct block *x, int b, struct thaw_err *err) {
    const char *what = "the softmax";
    int code = thaw_alloc(&x->most, (size_t)b, sizeof *x->most, what, err);
    if (!code) code = thaw_alloc(&x->sum, (size_t)b, sizeof *x->sum, what, err);
    if (!code) code = thaw_alloc(&x->picked, (size_t)b, sizeof *x->picked, what, err);
    if (!code) code = thaw_alloc(&x->target_ptr, (size_t)b + 1, sizeof *x->target_ptr, what, err);
    return code;
}

static void block_free(struct block *x) {
    free(x->row);
    free(x->correction);
    free(x->own_decoder);
    free(x->own_bias);
    free(x->ddecoder);
    free(x->dbias);
    free(x->saved);
    free(x->logits);
    free(x->most);
    free(x->sum);
    free(x->picked);
    free(x->target_ptr);
}

// Collective. Weights of the draws: integers, so that their sum is the same for all ranks.
static int weigh(struct thaw_gan_softmax *x, const int64_t *degree, struct thaw_err *err) {
    const size_t rows = (size_t)x->items->rows;
    int code = thaw_alloc(&x->cumulative, rows + 1, sizeof *x->cumulative, "popularity", err);
    if (!code) code = thaw_alloc(&x->drawn, rows, sizeof *x->drawn, "popularity", err);
    if ((code = thaw_comm_agree(x->c, code, err))) return code;
    for (size_t i = 0; i < rows; i++)
        x->cumulative[i + 1] = x->cumulative[i] + llrint(1024 * pow((double)degree[i] + 1, .75));
    x->first_weight = x->all_weight = x->cumulative[rows];
    thaw_comm_exscan_i64(x->c, &x->first_weight, 1);
    thaw_comm_sum_i64(x->c, &x->all_weight, 1);
    return THAW_OK;
}

static int allocate(struct thaw_gan_softmax *x, struct thaw_err *err) {
    const size_t b = (size_t)x->b, k = (size_t)x->items->k;
    const char *what = "the softmax";
    int code = thaw_alloc(&x->block, (size_t)x->items->ntiles, sizeof *x->block, what, err);
    if (!code) code = thaw_alloc(&x->most, b, sizeof *x->most, what, err);
    if (!code) code = thaw_alloc(&x->sum, b, sizeof *x->sum, what, err);
    if (!code) code = thaw_alloc(&x->acc, 2 * b + THAW_GAN_EXTRA + 2, sizeof *x->acc, what, err);
    if (!code) code = thaw_alloc(&x->du, (size_t)x->nthreads, sizeof *x->du, what, err);
    if (!code) code = thaw_alloc(&x->factor, (size_t)x->nthreads, sizeof *x->factor, what, err);
    for (int t = 0; !code && t < x->nthreads; t++) {
        code = thaw_alloc(&x->du[t], b * k + 1, sizeof **x->du, what, err);
        if (!code) code = thaw_alloc(&x->factor[t], b, sizeof **x->factor, what, err);
    }
    for (int i = 0; !code && i < x->items->ntiles; i++) {
        struct block *block = &x->block[i];
        const int64_t begin = x->items->tile[i], n = x->items->tile[i + 1] - begin;
        code = block_new(block, x->b, err);
        if (code || x->sampled) continue;
        block->nrows = (int)n;
        block->decoder = x->items->p[THAW_GAN_DECODER] + (size_t)begin * k;
        block->bias = x->items->p[THAW_GAN_BIAS] + begin;
        code = thaw_alloc(&block->logits, b * (size_t)n, sizeof *block->logits, what, err);
    }
    return code;
}

int thaw_gan_softmax_new(struct thaw_gan_softmax **out, struct thaw_comm *c, struct thaw_gan_items *items,
                         const int64_t *degree, int batch, int64_t sampled, uint64_t seed, int nthreads,
                         struct thaw_err *err) {
    struct thaw_gan_softmax *x = NULL;
    int code = thaw_alloc(&x, 1, sizeof *x, "the softmax", err);
    if (!code) {
        *x = (struct thaw_gan_softmax){
            .c = c, .items = items, .b = batch, .nthreads = nthreads, .sampled = sampled, .seed = seed};
        code = allocate(x, err);
    }
    code = thaw_comm_agree(c, code, err);
    if (!code && sampled) code = weigh(x, degree, err);
    if (code)
        thaw_gan_softmax_free(&x);
    else
        *out = x;
    return code;
}

void thaw_gan_softmax_free(struct thaw_gan_softmax **out) {
    struct thaw_gan_softmax *x = *out;
    if (!x) return;
    for (int i = 0; x->block && i < x->items->ntiles; i++) block_free(&x->block[i]);
    for (int t = 0; t < x->nthreads; t++) {
        if (x->du) free(x->du[t]);
        if (x->factor) free(x->factor[t]);
    }
    free(x->block);
    free(x->targets);
    free(x->most);
    free(x->sum);
    free(x->acc);
    free(x->du);
    free(x->factor);
    free(x->cumulative);
    free(x->drawn);
    free(x);
    *out = NULL;
}

double thaw_gan_softmax_wait_s(const struct thaw_gan_softmax *x) {
    return x->wait_s;
}
int64_t thaw_gan_softmax_bytes(const struct thaw_gan_softmax *x) {
    return x->nbytes;
}

// ---- The sample ----

static void draw(struct thaw_gan_softmax *x, const struct thaw_batch *batch, uint64_t number) {
    const int64_t rows = x->items->rows;
    struct thaw_rng rng = thaw_rng_at(x->seed, THAW_STREAM_NEGATIVES, number);
    memset(x->drawn, 0, (size_t)rows * sizeof *x->drawn);
    for (int64_t i = 0; i < x->sampled; i++) {
        const int64_t at = (int64_t)thaw_rng_below(&rng, (uint64_t)x->all_weight) - x->first_weight;
        if (at < 0 || at >= x->cumulative[rows]) continue;
        int64_t low = 0, high = rows; // cumulative[low] <= at < cumulative[high]
        while (high - low > 1) {
            const int64_t middle = (low + high) / 2;
            if (x->cumulative[middle] <= at)
                low = middle;
            else
                high = middle;
        }
        x->drawn[low]++;
    }
    for (int64_t i = 0; i < batch->rest_ptr[batch->b]; i++) // targets take part, drawn or not
        if (x->drawn[batch->rest[i]] == 0) x->drawn[batch->rest[i]] = INT32_MAX;
}

static int block_reserve(struct block *x, int n, int b, size_t k, struct thaw_err *err) {
    const size_t rows = (size_t)n;
    const char *what = "the sampled softmax";
    int code = thaw_grow(&x->row, &x->rows_cap, rows, sizeof *x->row, what, err);
    if (!code) code = thaw_grow(&x->correction, &x->correction_cap, rows, sizeof *x->correction, what, err);
    if (!code)
        code = thaw_grow(&x->own_decoder, &x->decoder_cap, rows * k, sizeof *x->own_decoder, what, err);
    if (!code) code = thaw_grow(&x->own_bias, &x->bias_cap, rows, sizeof *x->own_bias, what, err);
    if (!code) code = thaw_grow(&x->ddecoder, &x->ddecoder_cap, rows * k, sizeof *x->ddecoder, what, err);
    if (!code) code = thaw_grow(&x->dbias, &x->dbias_cap, rows, sizeof *x->dbias, what, err);
    if (!code) code = thaw_grow(&x->saved, &x->saved_cap, rows, sizeof *x->saved, what, err);
    if (!code) code = thaw_grow(&x->logits, &x->logits_cap, rows * (size_t)b, sizeof *x->logits, what, err);
    return code;
}

// The sampled rows of a tile, side by side.
static int block_fill(struct thaw_gan_softmax *x, int tile, struct thaw_err *err) {
    struct block *block = &x->block[tile];
    const struct thaw_gan_items *items = x->items;
    const size_t k = (size_t)items->k;
    int n = 0;
    for (int64_t r = items->tile[tile]; r < items->tile[tile + 1]; r++) n += x->drawn[r] != 0;
    const int code = block_reserve(block, n, x->b, k, err);
    if (code) return code;
    block->nrows = n;
    block->decoder = block->own_decoder;
    block->bias = block->own_bias;
    n = 0;
    for (int64_t r = items->tile[tile]; r < items->tile[tile + 1]; r++) {
        if (x->drawn[r] == 0) continue;
        const double expected =
            (double)x->sampled * (double)(x->cumulative[r + 1] - x->cumulative[r]) / (double)x->all_weight;
        block->correction[n] =
            x->drawn[r] == INT32_MAX ? LEFT_OUT : (float)log((double)x->drawn[r] / expected);
        block->row[n] = (int32_t)r;
        memcpy(block->own_decoder + (size_t)n * k, items->p[THAW_GAN_DECODER] + (size_t)r * k,
               k * sizeof(float));
        block->own_bias[n] = items->p[THAW_GAN_BIAS][r];
        x->drawn[r] = -1 - n++;
    }
    memset(block->ddecoder, 0, (size_t)n * k * sizeof(float));
    memset(block->dbias, 0, (size_t)n * sizeof(float));
    return THAW_OK;
}

// Logits of what was drawn, as if all items were there; a sample's own targets count as themselves.
static void block_correct(struct block *x, int b) {
    for (int s = 0; s < b; s++) {
        float *logit = x->logits + (size_t)s * (size_t)x->nrows;
        const int64_t begin = x->target_ptr[s], end = x->target_ptr[s + 1];
        for (int64_t i = begin; i < end; i++) x->saved[i - begin] = logit[x->target[i]];
        for (int i = 0; i < x->nrows; i++) logit[i] += x->correction[i];
        for (int64_t i = begin; i < end; i++) logit[x->target[i]] = x->saved[i - begin];
    }
}

static void block_scatter(const struct thaw_gan_softmax *x, const struct block *block) {
    const size_t k = (size_t)x->items->k;
    for (int i = 0; i < block->nrows; i++) {
        float *to = x->items->gradient[THAW_GAN_DECODER] + (size_t)block->row[i] * k;
        for (size_t j = 0; j < k; j++) to[j] += block->ddecoder[(size_t)i * k + j];
        x->items->gradient[THAW_GAN_BIAS][block->row[i]] += block->dbias[i];
    }
}

// ---- Targets ----

// Each tile's targets, by sample.
static int place_targets(struct thaw_gan_softmax *x, const struct thaw_batch *batch, struct thaw_err *err) {
    const struct thaw_gan_items *items = x->items;
    const int code = thaw_grow(&x->targets, &x->targets_cap, (size_t)batch->rest_ptr[batch->b],
                               sizeof *x->targets, "targets", err);
    if (code) return code;
    for (int i = 0; i < items->ntiles; i++)
        memset(x->block[i].target_ptr, 0, ((size_t)x->b + 1) * sizeof(int64_t));
    for (int s = 0; s < batch->b; s++)
        for (int64_t i = batch->rest_ptr[s]; i < batch->rest_ptr[s + 1]; i++)
            x->block[items->tile_of[batch->rest[i]]].target_ptr[s + 1]++;
    int64_t base = 0;
    for (int i = 0; i < items->ntiles; i++) {
        struct block *block = &x->block[i];
        for (int s = 0; s < x->b; s++) block->target_ptr[s + 1] += block->target_ptr[s];
        block->target = x->targets + base;
        base += block->target_ptr[x->b];
    }
    for (int s = batch->b - 1; s >= 0; s--) // from behind: the ends move down to the beginnings
        for (int64_t i = batch->rest_ptr[s + 1] - 1; i >= batch->rest_ptr[s]; i--) {
            const int32_t row = batch->rest[i];
            const int tile = items->tile_of[row];
            struct block *block = &x->block[tile];
            block->target[--block->target_ptr[s + 1]] =
                (int32_t)(x->sampled ? -1 - x->drawn[row] : row - items->tile[tile]);
        }
    // target_ptr[s + 1] is now where s begins.
    for (int i = 0; i < items->ntiles; i++) {
        struct block *block = &x->block[i];
        const int64_t end =
            (i + 1 < items->ntiles ? x->block[i + 1].target : x->targets + base) - block->target;
        memmove(block->target_ptr, block->target_ptr + 1, (size_t)x->b * sizeof(int64_t));
        block->target_ptr[x->b] = end;
    }
    return THAW_OK;
}

int thaw_gan_softmax_prepare(struct thaw_gan_softmax *x, const struct thaw_batch *batch, uint64_t number,
                             struct thaw_err *err) {
    int code = THAW_OK;
    if (x->sampled) {
        draw(x, batch, number);
        for (int i = 0; !code && i < x->items->ntiles; i++) code = block_fill(x, i, err);
    }
    return code ? code : place_targets(x, batch, err);
}

// ---- Likelihood ----

static void block_forward(const struct thaw_gan_softmax *x, struct block *block, const float *u,
                          float log_scale) {
    const int b = x->b;
    memset(block->picked, 0, (size_t)b * sizeof *block->picked);
    thaw_gan_decode(u, b, block->decoder, block->bias, block->nrows, x->items->k, log_scale, block->logits);
    thaw_gan_pick(block->logits, b, block->nrows, block->target_ptr, block->target, block->picked);
    if (x->sampled) block_correct(block, b);
    thaw_gan_exp(block->logits, b, block->nrows, block->most, block->sum);
}

// x in units of 2^-FIXED; what is not finite or too large is counted.
static void fixed_add(int64_t *acc, double x, int64_t *bad) {
    if (fabs(x) < 0x1p30)
        *acc += llrint(x * (double)(1LL << FIXED));
    else
        (*bad)++;
}

// Collective. The largest logit of each sample.
static void find_most(struct thaw_gan_softmax *x) {
    const int b = x->b;
    const int64_t cut = thaw_comm_count_max();
    for (int s = 0; s < b; s++) {
        x->most[s] = -INFINITY;
        for (int i = 0; i < x->items->ntiles; i++)
            if (x->block[i].nrows > 0) x->most[s] = fmaxf(x->most[s], x->block[i].most[s]);
    }
    if (x->c->size == 1) return;
    const double began = thaw_time_s();
    for (int64_t at = 0; at < b; at += cut)
        MPI_Allreduce(MPI_IN_PLACE, x->most + at, (int)(b - at < cut ? b - at : cut), MPI_FLOAT, MPI_MAX,
                      x->c->all);
    x->wait_s += thaw_time_s() - began;
    x->nbytes += (int64_t)b * (int64_t)sizeof *x->most;
}

// Collective. Sums over blocks and ranks, exactly.
static void add_up(struct thaw_gan_softmax *x, bool failed, double extra[THAW_GAN_EXTRA]) {
    const int b = x->b, n = 2 * b + THAW_GAN_EXTRA + 2;
    const int scale = thaw_exact_scale(2 * (double)thaw_plan_rows(x->items->plan) + 1);
    int64_t *bad = x->acc + n - 2;
    memset(x->acc, 0, (size_t)n * sizeof *x->acc);
    x->acc[n - 1] = failed;
    for (int i = 0; !failed && i < x->items->ntiles; i++) {
        const struct block *block = &x->block[i];
        for (int s = 0; block->nrows > 0 && s < b; s++) {
            const double term = exp((double)block->most[s] - (double)x->most[s]) * block->sum[s];
            if (term >= 0 && term <= 2 * block->nrows)
                thaw_exact_add(&x->acc[s], &term, 1, scale);
            else
                (*bad)++;
            fixed_add(&x->acc[b + s], block->picked[s], bad);
        }
    }
    for (int i = 0; i < THAW_GAN_EXTRA; i++) fixed_add(&x->acc[2 * b + i], extra[i], bad);
    const double began = thaw_time_s();
    thaw_comm_sum_i64(x->c, x->acc, n);
    if (x->c->size > 1) x->wait_s += thaw_time_s() - began;
    x->nbytes += n * (int64_t)sizeof *x->acc;
    thaw_exact_get(x->sum, x->acc, b, scale);
    for (int i = 0; i < THAW_GAN_EXTRA; i++) extra[i] = ldexp((double)x->acc[2 * b + i], -FIXED);
}

static double nll_of(const struct thaw_gan_softmax *x, const struct thaw_batch *batch, int s) {
    return (double)batch->nrest[s] * ((double)x->most[s] + log(x->sum[s])) -
           ldexp((double)x->acc[x->b + s], -FIXED);
}

int thaw_gan_softmax_loss(struct thaw_gan_softmax *x, const struct thaw_batch *batch, const float *u,
                          float log_scale, double extra[THAW_GAN_EXTRA], double *nll, int code,
                          struct thaw_err *err) {
    const int b = x->b, ntiles = x->items->ntiles;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < ntiles; i++)
        if (!code && x->block[i].nrows > 0) block_forward(x, &x->block[i], u, log_scale);
    find_most(x);
    add_up(x, code != THAW_OK, extra);
    if (x->acc[2 * b + THAW_GAN_EXTRA + 1]) return thaw_comm_agree(x->c, code, err);
    double sum = 0;
    for (int s = 0; s < b; s++) sum += nll_of(x, batch, s);
    *nll = x->acc[2 * b + THAW_GAN_EXTRA] ? (double)NAN : sum / (double)batch->targets;
    return THAW_OK;
}

void thaw_gan_softmax_each(const struct thaw_gan_softmax *x, const struct thaw_batch *batch, double *each) {
    for (int s = 0; s < x->b; s++)
        each[s] = batch->nrest[s] ? nll_of(x, batch, s) / (double)batch->nrest[s] : (double)NAN;
}

// ---- Gradient ----

void thaw_gan_softmax_backward(struct thaw_gan_softmax *x, const struct thaw_batch *batch, const float *u,
                               float log_scale, struct thaw_sums *du) {
    const int b = x->b, k = x->items->k;
    const float scale = (float)(1 / (double)batch->targets);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < x->items->ntiles; i++) {
        struct block *block = &x->block[i];
        const int thread = omp_get_thread_num();
        float *own = x->du[thread], *factor = x->factor[thread];
        const size_t row = (size_t)x->items->tile[i];
        double dlog_scale = 0;
        if (block->nrows == 0) continue;
        for (int s = 0; s < b; s++)
            factor[s] = (float)((double)batch->nrest[s] * (double)scale *
                                exp((double)block->most[s] - (double)x->most[s]) / x->sum[s]);
        thaw_gan_decode_backward(
            u, b, block->decoder, block->nrows, k, log_scale, block->logits, factor, block->target_ptr,
            block->target, scale, own,
            x->sampled ? block->ddecoder : x->items->gradient[THAW_GAN_DECODER] + row * (size_t)k,
            x->sampled ? block->dbias : x->items->gradient[THAW_GAN_BIAS] + row, &dlog_scale);
        own[(size_t)b * (size_t)k] = (float)dlog_scale;
        thaw_sums_add(du, thread, 0, own);
        thaw_sums_add(du, thread, 1, own);
        if (x->sampled) block_scatter(x, block);
    }
    for (int i = 0; i < 2; i++) thaw_sums_start(du, i);
}
