// gan_train.c: steps of the generator's training.
#include "comm/gan_train.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comm/handle.h"
#include "comm/window.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// A bucket for each stage of the backward pass, in the order of their parameters: the last stage's first. The
// critic's carry four numbers (gan_critic.c).
enum { BUCKETS = THAW_GAN_STAGES, CRITIC_BUCKETS = 3, CARRIED = 4 };
enum { LATENTS = 22 }; // tag
#define COLLAPSED 1e-6 // variance of latents of different users, where real ones have 1

// ---- Begin and end ----

static int net_new(struct thaw_gan_net *net, size_t n, bool averaged, struct thaw_err *err) {
    float **const array[] = {&net->m, &net->v, &net->gradient, &net->averaged};
    int code = THAW_OK;
    net->n = n;
    for (int i = 0; !code && i < (averaged ? 4 : 3); i++)
        code = thaw_alloc(array[i], n, sizeof(float), "the networks", err);
    return code;
}

// Collective.
static int net_open(struct thaw_gan_net *net, struct thaw_comm *c, struct thaw_err *err) {
    const int code = thaw_window_new(&net->window, c, (int64_t)(net->n * sizeof *net->p), err);
    if (!code) net->p = thaw_window_bytes(net->window);
    return code;
}

static void net_free(struct thaw_gan_net *net) {
    thaw_window_free(&net->window);
    free(net->m);
    free(net->v);
    free(net->averaged);
    free(net->gradient);
}

// Collective. The gradient of latents goes to those whose samples they are; that of log_scale to the last
// rank, whose share of the last stage's bucket ends with log_scale.
static int du_sums_new(struct thaw_gan *g, int nthreads, struct thaw_err *err) {
    const size_t size = (size_t)g->c->size, k = (size_t)g->config.shape.k, bk = (size_t)g->config.batch * k;
    const size_t begin[] = {0, bk, bk + 1};
    size_t *share = NULL;
    int code = thaw_alloc(&share, 2 * (size + 1), sizeof *share, "sums of gradients", err);
    code = thaw_comm_agree(g->c, code, err);
    for (size_t r = 0; !code && r <= size; r++) {
        share[r] = (size_t)thaw_batch_begin(g->config.batch, g->c->size, (int)r) * k;
        share[size + 1 + r] = bk + (r == size);
    }
    if (!code) code = thaw_sums_new(&g->du_sums, g->c, begin, 2, share, 0, nthreads, err);
    free(share);
    return code;
}

// Collective.
static int sums_new(struct thaw_gan *g, int nthreads, struct thaw_err *err) {
    const struct thaw_gan_layout *d = &g->critic_layout;
    const size_t critic[CRITIC_BUCKETS + 1] = {0, d->second_w, d->last_w, d->n};
    size_t begin[BUCKETS + 1];
    begin[BUCKETS] = g->layout.n;
    for (int i = 0; i < BUCKETS; i++) begin[i] = thaw_gan_stage_begin(&g->layout, BUCKETS - 1 - i);
    int code = thaw_sums_new(&g->sums, g->c, begin, BUCKETS, NULL, 0, nthreads, err);
    if (!code) code = du_sums_new(g, nthreads, err);
    if (!code && g->config.adversary > 0)
        code = thaw_sums_new(&g->critic_sums, g->c, critic, CRITIC_BUCKETS, NULL, CARRIED, nthreads, err);
    return code;
}

static int scratch_threads(struct thaw_gan_scratch *x, const struct thaw_gan *g, int draws,
                           struct thaw_err *err) {
    const struct thaw_gan_shape *s = &g->config.shape;
    const char *what = "training";
    const size_t n = g->layout.n > g->critic_layout.n ? g->layout.n : g->critic_layout.n;
    int code = thaw_alloc(&x->tape, (size_t)x->nslices, sizeof *x->tape, what, err);
    if (!code) code = thaw_alloc(&x->work, (size_t)x->nthreads, sizeof *x->work, what, err);
    if (!code) code = thaw_alloc(&x->gradient, (size_t)x->nthreads, sizeof *x->gradient, what, err);
    for (int i = 0; !code && i < x->nslices; i++) code = thaw_gan_tape_new(&x->tape[i], s, draws, err);
    for (int i = 0; !code && i < x->nthreads; i++) {
        code = thaw_gan_work_new(&x->work[i], s, draws, err);
        if (!code) code = thaw_alloc(&x->gradient[i], n, sizeof **x->gradient, what, err);
    }
    return code;
}

static int scratch_new(struct thaw_gan *g, struct thaw_err *err) {
    const struct thaw_gan_shape *s = &g->config.shape;
    const int size = g->c->size, b = g->config.batch, draws = s->noise ? THAW_GAN_DRAWS : 1;
    const int own = thaw_batch_begin(b, size, g->c->rank + 1) - thaw_batch_begin(b, size, g->c->rank);
    const size_t k = (size_t)s->k, rows = (size_t)own, known = rows * (size_t)s->longest * k;
    const size_t messages =
        2 * (size_t)size * (thaw_wire_pieces((int64_t)((size_t)b * k * sizeof(float))) + 1);
    const char *what = "training";
    struct thaw_gan_scratch *x = NULL;
    int code = thaw_alloc(&x, 1, sizeof *x, what, err);
    if (code) return code;
    g->scratch = x;
    x->nthreads = omp_get_max_threads();
    x->nslices = (own + THAW_GAN_SLICE - 1) / THAW_GAN_SLICE;
    code = scratch_threads(x, g, draws, err);
    if (!code) code = thaw_alloc(&x->z, rows * (size_t)(draws * s->noise), sizeof *x->z, what, err);
    if (!code) code = thaw_alloc(&x->known, known, sizeof *x->known, what, err);
    if (!code && g->config.adversary > 0) {
        code = thaw_alloc(&x->fixed, known, sizeof *x->fixed, what, err);
        if (!code) code = thaw_alloc(&x->adversary, rows * k, sizeof *x->adversary, what, err);
    }
    if (!code) code = thaw_alloc(&x->drawn, rows * (size_t)draws * k, sizeof *x->drawn, what, err);
    if (!code) code = thaw_alloc(&x->ddrawn, rows * (size_t)draws * k, sizeof *x->ddrawn, what, err);
    if (!code) code = thaw_alloc(&x->u, (size_t)b * k, sizeof *x->u, what, err);
    if (!code) code = thaw_alloc(&x->du, (size_t)b * k + 1, sizeof *x->du, what, err);
    if (!code) code = thaw_alloc(&x->judged, rows, sizeof *x->judged, what, err);
    if (!code) code = thaw_alloc(&x->term, (size_t)x->nslices, sizeof *x->term, what, err);
    if (!code) code = thaw_alloc(&x->slice, (size_t)x->nslices, sizeof *x->slice, what, err);
    if (!code) code = thaw_alloc(&x->wire, 1, sizeof *x->wire, what, err);
    if (!code) code = thaw_wire_reserve(x->wire, messages, err);
    return code;
}

static void scratch_free(struct thaw_gan_scratch *x) {
    if (!x) return;
    for (int i = 0; x->tape && i < x->nslices; i++) thaw_gan_tape_free(&x->tape[i]);
    for (int i = 0; i < x->nthreads; i++) {
        if (x->work) thaw_gan_work_free(&x->work[i]);
        if (x->gradient) free(x->gradient[i]);
    }
    free(x->tape);
    free(x->work);
    free(x->gradient);
    free(x->z);
    free(x->known);
    free(x->fixed);
    free(x->drawn);
    free(x->ddrawn);
    free(x->adversary);
    free(x->u);
    free(x->du);
    free(x->judged);
    free(x->term);
    free(x->slice);
    if (x->wire) thaw_wire_free(x->wire);
    free(x->wire);
    free(x);
}

static int allocate(struct thaw_gan *g, const struct thaw_gan_data *data, struct thaw_err *err) {
    const size_t k = (size_t)g->config.shape.k;
    int code = thaw_alloc(&g->real, (size_t)data->h->nusers * k, sizeof *g->real, "users' latents", err);
    if (!code) code = thaw_alloc(&g->record, (size_t)g->config.steps, sizeof *g->record, "losses", err);
    if (!code) code = net_new(&g->generator, g->layout.n, true, err);
    if (!code && g->config.adversary > 0) code = net_new(&g->critic, g->critic_layout.n, false, err);
    if (!code) code = scratch_new(g, err);
    return code;
}

int thaw_gan_new(struct thaw_gan **out, struct thaw_comm *c, const struct thaw_gan_config *config,
                 const struct thaw_gan_data *data, struct thaw_err *err) {
    const struct thaw_gan_shape *s = &config->shape;
    const struct thaw_episodes_config episodes = {.batch = config->batch,
                                                  .longest = s->longest,
                                                  .least = config->rest,
                                                  .most = INT64_MAX,
                                                  .rest = config->rest,
                                                  .seed = config->seed,
                                                  .by_time = config->by_time};
    struct thaw_gan *g = NULL;
    int code = thaw_alloc(&g, 1, sizeof *g, "training", err);
    if (!code) {
        *g = (struct thaw_gan){.c = c, .config = *config};
        thaw_gan_generator_layout(s, &g->layout);
        thaw_gan_critic_layout(s, &g->critic_layout);
        code = allocate(g, data, err);
    }
    if ((code = thaw_comm_agree(c, code, err)) || (code = net_open(&g->generator, c, err)) ||
        (config->adversary > 0 && (code = net_open(&g->critic, c, err))) ||
        (code = sums_new(g, g->scratch->nthreads, err)) ||
        (code = thaw_gan_items_new(&g->items, c, data->items, s->k, config->batch, s->longest,
                                   config->adversary > 0, true, err)) ||
        (code = thaw_gan_start(g, data, err)) ||
        (code = thaw_episodes_new(&g->episodes, c, data->h, g->real, s->k, data->items, &episodes, err)) ||
        (code = thaw_gan_softmax_new(&g->softmax, c, g->items, data->degree, config->batch, config->sampled,
                                     config->seed, g->scratch->nthreads, err))) {
        thaw_gan_free(&g);
        return code;
    }
    *out = g;
    return THAW_OK;
}

void thaw_gan_free(struct thaw_gan **out) {
    struct thaw_gan *g = *out;
    if (!g) return;
    thaw_gan_softmax_free(&g->softmax);
    thaw_episodes_free(&g->episodes);
    thaw_gan_items_free(&g->items);
    scratch_free(g->scratch);
    thaw_sums_free(&g->sums);
    thaw_sums_free(&g->critic_sums);
    thaw_sums_free(&g->du_sums);
    net_free(&g->generator);
    net_free(&g->critic);
    free(g->real);
    free(g->record);
    free(g);
    *out = NULL;
}

// ---- Slices ----

// Slice i of this rank.
static struct thaw_gan_slice cut(const struct thaw_gan *g, const struct thaw_batch *batch, int i, int draws,
                                 int64_t number) {
    const struct thaw_gan_shape *s = &g->config.shape;
    const struct thaw_gan_scratch *x = g->scratch;
    const int first = i * THAW_GAN_SLICE, left = batch->end - batch->begin - first;
    const int b = left < THAW_GAN_SLICE ? left : THAW_GAN_SLICE;
    const size_t known = (size_t)first * (size_t)s->longest * (size_t)s->k;
    const uint64_t slice = (uint64_t)number * (uint64_t)(batch->b / THAW_GAN_SLICE + 1) +
                           (uint64_t)((batch->begin + first) / THAW_GAN_SLICE);
    struct thaw_rng rng = thaw_rng_at(g->config.seed, THAW_STREAM_DROPOUT, slice);
    float *z = x->z + (size_t)first * (size_t)(draws * s->noise);
    for (int d = 0; d < draws; d++)
        for (int j = 0; j < b; j++)
            thaw_gan_noise(z + (size_t)(d * b + j) * (size_t)s->noise, s->noise, g->config.seed,
                           ((uint64_t)number * (uint64_t)batch->b + (uint64_t)(batch->begin + first + j)) *
                                   THAW_GAN_DRAWS +
                               (uint64_t)d);
    return (struct thaw_gan_slice){.b = b,
                                   .draws = draws,
                                   .feature_ptr = s->features ? batch->feature_ptr + first : NULL,
                                   .feature = batch->feature,
                                   .feature_value = batch->feature_value,
                                   .n = batch->n + batch->begin + first,
                                   .known = x->known + known,
                                   .fixed = x->fixed ? x->fixed + known : NULL,
                                   .z = z,
                                   .dropout_key = thaw_rng_u64(&rng),
                                   .dropout = (float)g->config.dropout};
}

// The latents of slices [begin, end) of this rank.
static void make_slices(struct thaw_gan *g, const struct thaw_batch *batch, int begin, int end, int draws,
                        int64_t number) {
    const struct thaw_gan_shape *s = &g->config.shape;
    struct thaw_gan_scratch *x = g->scratch;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = begin; i < end; i++) {
        const size_t first = (size_t)(i * THAW_GAN_SLICE) * (size_t)draws;
        x->slice[i] = cut(g, batch, i, draws, number);
        thaw_gan_generate(s, g->generator.p, &x->slice[i], x->tape[i], x->drawn + first * (size_t)s->k);
        if (g->critic_sums && omp_get_thread_num() == 0) thaw_sums_poke(g->critic_sums);
    }
}

void thaw_gan_make_latents(struct thaw_gan *g, const struct thaw_batch *batch, int draws, int64_t number) {
    struct thaw_gan_scratch *x = g->scratch;
    const int rounds = (x->nslices + x->nthreads - 1) / x->nthreads; // of slices, all threads at work
    const int half = rounds < 2 ? x->nslices : (rounds + 1) / 2 * x->nthreads;
    thaw_gan_items_fetch(g->items, batch, x->known, x->fixed);
    make_slices(g, batch, 0, half, draws, number);
    thaw_gan_critic_learn(g);
    make_slices(g, batch, half, x->nslices, draws, number);
}

// The mean latents of a slice, and what they cost beside the likelihood: sums of |u - real|^2 and of D(u_1).
static void slice_mean(struct thaw_gan *g, const struct thaw_batch *batch, int i, int thread) {
    const struct thaw_gan_config *config = &g->config;
    const struct thaw_gan_slice *in = &g->scratch->slice[i];
    const size_t k = (size_t)config->shape.k, first = (size_t)(i * THAW_GAN_SLICE), n = (size_t)in->b * k;
    struct thaw_gan_scratch *x = g->scratch;
    const float *drawn = x->drawn + first * (size_t)in->draws * k, *real = batch->real + first * k;
    float *u = x->u + ((size_t)batch->begin + first) * k;
    double *term = x->term[i];
    memset(term, 0, sizeof x->term[i]);
    for (size_t j = 0; j < n; j++) {
        u[j] = in->draws == 1 ? drawn[j] : (drawn[j] + drawn[n + j]) / THAW_GAN_DRAWS;
        term[0] += (double)(u[j] - real[j]) * (double)(u[j] - real[j]);
    }
    if (config->adversary > 0) {
        memset(x->adversary + first * k, 0, n * sizeof(float));
        thaw_gan_critic_score(&config->shape, g->critic.p, in, drawn,
                              (float)(-config->adversary / config->batch), x->work[thread], x->judged + first,
                              x->adversary + first * k);
        for (int j = 0; j < in->b; j++) term[1] += (double)x->judged[first + (size_t)j];
    }
}

// The gradient of a slice's latents, draw by draw, from that of their means.
static void slice_ddrawn(const struct thaw_gan *g, const struct thaw_batch *batch, int i, float *out) {
    const struct thaw_gan_config *config = &g->config;
    const struct thaw_gan_scratch *x = g->scratch;
    const struct thaw_gan_slice *in = &x->slice[i];
    const size_t k = (size_t)config->shape.k, first = (size_t)(i * THAW_GAN_SLICE), n = (size_t)in->b * k;
    const size_t row = ((size_t)batch->begin + first) * k;
    const float *u = x->u + row, *du = x->du + row, *real = batch->real + first * k;
    const float latent = (float)(2 * config->latent_loss / config->batch), share = 1 / (float)in->draws;
    for (size_t j = 0; j < n; j++) {
        out[j] = (du[j] + latent * (u[j] - real[j])) * share;
        if (in->draws == 2) out[n + j] = out[j];
        if (config->adversary > 0) out[j] += x->adversary[first * k + j];
    }
}

// A stage of a slice's way back: the gradient of its parameters; in the end that of the known rows.
static void slice_backward(struct thaw_gan *g, const struct thaw_batch *batch, int i,
                           enum thaw_gan_stage stage, int thread) {
    const struct thaw_gan_shape *s = &g->config.shape;
    struct thaw_gan_scratch *x = g->scratch;
    const struct thaw_gan_slice *in = &x->slice[i];
    const size_t k = (size_t)s->k, first = (size_t)(i * THAW_GAN_SLICE), longest = (size_t)s->longest;
    const size_t begin = thaw_gan_stage_begin(&g->layout, stage), end = thaw_gan_stage_end(&g->layout, stage);
    float *out = x->ddrawn + first * (size_t)in->draws * k, *dknown = g->items->dknown + first * longest * k;
    float *gradient = x->gradient[thread];
    if (stage == THAW_GAN_LAST) slice_ddrawn(g, batch, i, out);
    memset(gradient + begin, 0, (end - begin) * sizeof *gradient);
    if (stage == THAW_GAN_POOLS) memset(dknown, 0, (size_t)in->b * longest * k * sizeof *dknown);
    thaw_gan_generate_backward(s, g->generator.p, in, x->tape[i], x->work[thread], stage, out, gradient,
                               dknown);
    thaw_sums_add(g->sums, thread, BUCKETS - 1 - (int)stage, gradient);
}

// ---- A step ----

static int diverged(const struct thaw_gan *g, const char *what, double value, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDIVERGED,
                     "step %" PRId64 " of training: %s (%g): lower --rate%s, or take another --seed",
                     g->step + 1, what, value, g->config.adversary > 0 ? " or --adversary" : "");
}

static int critic_diverged(const struct thaw_gan *g, struct thaw_err *err) {
    return diverged(g, "a gradient of the critic is not finite or grew too fast", (double)NAN, err);
}

// Latents of a rank's samples: where they begin; how many bytes.
static float *latents_of(const struct thaw_gan *g, int rank, int64_t *nbytes) {
    const int64_t row = (int64_t)g->config.shape.k * (int64_t)sizeof(float);
    const int begin = thaw_batch_begin(g->config.batch, g->c->size, rank);
    *nbytes = (thaw_batch_begin(g->config.batch, g->c->size, rank + 1) - begin) * row;
    return g->scratch->u + (ptrdiff_t)begin * g->config.shape.k;
}

// Collective; returns at once. Everybody's latents to everybody, who has them after latents_wait.
static void latents_start(struct thaw_gan *g) {
    struct thaw_gan_scratch *x = g->scratch;
    int64_t own, theirs;
    const float *from = latents_of(g, g->c->rank, &own);
    for (int i = 1; i < g->c->size; i++) { // from the next rank on: not all send to the same one at a time
        const int r = (g->c->rank + i) % g->c->size;
        float *to = latents_of(g, r, &theirs);
        thaw_wire_recv(x->wire, g->c, to, theirs, r, LATENTS);
        thaw_wire_send(x->wire, g->c, from, own, r, LATENTS);
        x->nbytes += own;
    }
}

static void latents_wait(struct thaw_gan *g) {
    const double began = thaw_time_s();
    thaw_wire_wait(g->scratch->wire);
    if (g->c->size > 1) g->scratch->wait_s += thaw_time_s() - began;
}

// Variance over the minibatch, mean over coordinates.
static double variance_of(const float *u, int b, int k) {
    enum { RUN = 64 };
    double total = 0, sum[RUN], squares[RUN];
    for (int at = 0; at < k; at += RUN) { // along the rows
        const int n = k - at < RUN ? k - at : RUN;
        memset(sum, 0, sizeof sum);
        memset(squares, 0, sizeof squares);
        for (int s = 0; s < b; s++)
            for (int j = 0; j < n; j++) {
                const double x = u[(size_t)s * (size_t)k + (size_t)(at + j)];
                sum[j] += x;
                squares[j] += x * x;
            }
        for (int j = 0; j < n; j++) total += squares[j] / b - sum[j] / b * (sum[j] / b);
    }
    return total / k;
}

// Collective. Latents and losses of batch `number`.
static int forward(struct thaw_gan *g, const struct thaw_batch *batch, int64_t number, bool *stop,
                   struct thaw_err *err) {
    struct thaw_gan_scratch *x = g->scratch;
    const struct thaw_gan_config *config = &g->config;
    const int draws = config->shape.noise ? THAW_GAN_DRAWS : 1;
    struct thaw_gan_record *record = &g->record[g->step];
    double extra[THAW_GAN_EXTRA] = {0, 0, thaw_comm_stop_requested(g->c)};
    thaw_gan_make_latents(g, batch, draws, number);
    if (!thaw_gan_critic_settle(g)) return critic_diverged(g, err);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < x->nslices; i++) slice_mean(g, batch, i, omp_get_thread_num());
    latents_start(g);
    int code = thaw_gan_softmax_prepare(g->softmax, batch, (uint64_t)g->step, err);
    thaw_episodes_prepare(g->episodes);
    latents_wait(g);
    // Terms of slices are rounded before they are added, so their sum does not know the ranks.
    for (int i = 0; i < x->nslices; i++)
        for (int j = 0; j < 2; j++)
            extra[j] +=
                fabs(x->term[i][j]) < 0x1p30 ? ldexp(nearbyint(ldexp(x->term[i][j], 20)), -20) : (double)NAN;
    code = thaw_gan_softmax_loss(g->softmax, batch, x->u, g->generator.p[g->layout.log_scale], extra,
                                 &record->nll, code, err);
    if (code) return code;
    record->latent = extra[0] / config->batch;
    record->judged = extra[1] / config->batch;
    record->loss = record->nll + config->latent_loss * record->latent - config->adversary * record->judged;
    record->variance = variance_of(x->u, config->batch, config->shape.k);
    *stop = extra[2] > 0;
    return THAW_OK;
}

// What a step of the optimiser takes.
struct pace {
    struct thaw_gan_adam adam;
    float rate, keep;
};

bool thaw_gan_net_learn(struct thaw_gan_net *net, struct thaw_sums *sums, int bucket,
                        const struct thaw_gan_adam *a, int64_t step, float rate, float keep) {
    enum { RUN = 4096 };
    size_t begin, end;
    bool finite = true;
    thaw_sums_own(sums, bucket, &begin, &end);
#pragma omp parallel for schedule(static) reduction(&& : finite)
    for (size_t at = begin; at < end; at += RUN)
        finite = thaw_gan_adam_step(a, step, rate, net->gradient + at, net->p + at, net->m + at, net->v + at,
                                    net->averaged ? net->averaged + at : NULL, keep,
                                    end - at < RUN ? end - at : RUN) &&
                 finite;
    thaw_window_fence(net->window);
    thaw_sums_show(sums, bucket, net->p);
    return finite;
}

// Collective. The weights of a stage learn; none of them is needed any more in this step.
static void learn(struct thaw_gan *g, enum thaw_gan_stage stage, const struct pace *pace) {
    const int bucket = BUCKETS - 1 - (int)stage;
    const size_t bk = (size_t)g->config.batch * (size_t)g->config.shape.k;
    thaw_sums_wait(g->sums, bucket, g->generator.gradient);
    if (stage == THAW_GAN_LAST) g->generator.gradient[g->layout.log_scale] = g->scratch->du[bk];
    if (stage == THAW_GAN_FIRST) thaw_gan_pool(g, g->generator.gradient);
    g->scratch->unsound |=
        !thaw_gan_net_learn(&g->generator, g->sums, bucket, &pace->adam, g->step + 1, pace->rate, pace->keep);
}

// All slices' way back through a stage; its gradient sets out.
static void stage_backward(struct thaw_gan *g, const struct thaw_batch *batch, enum thaw_gan_stage stage) {
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < g->scratch->nslices; i++) {
        slice_backward(g, batch, i, stage, omp_get_thread_num());
        if (omp_get_thread_num() == 0) thaw_sums_poke(g->sums); // MPI may be called from this thread alone
    }
    thaw_sums_start(g->sums, BUCKETS - 1 - (int)stage);
}

// A table of this rank's items learns; `meanwhile` travels.
static void items_learn(struct thaw_gan *g, enum thaw_gan_table table, const struct pace *pace,
                        struct thaw_sums *meanwhile) {
    bool finite = true;
#pragma omp parallel for schedule(dynamic, 1) reduction(&& : finite)
    for (int i = 0; i < g->items->ntiles; i++) {
        finite = thaw_gan_items_adam(g->items, table, i, &pace->adam, g->step + 1, pace->rate, pace->keep) &&
                 finite;
        if (omp_get_thread_num() == 0) thaw_sums_poke(meanwhile);
    }
    g->scratch->unsound |= !finite;
}

// Collective. Gradients, and what is learnt from them: false when one is not sound. The latents' gradient
// travels while the decoder learns, a stage's while the next stage is at work, and its new weights while
// those after it are, and the embeddings learn.
static bool backward(struct thaw_gan *g, const struct thaw_batch *batch, const struct pace *pace) {
    struct thaw_gan_scratch *x = g->scratch;
    thaw_gan_softmax_backward(g->softmax, batch, x->u, g->generator.p[g->layout.log_scale], g->du_sums);
    items_learn(g, THAW_GAN_DECODER, pace, g->du_sums);
    items_learn(g, THAW_GAN_BIAS, pace, g->du_sums);
    for (int i = 0; i < 2; i++) thaw_sums_wait(g->du_sums, i, x->du);
    for (enum thaw_gan_stage stage = 0; stage < THAW_GAN_STAGES; stage++) {
        stage_backward(g, batch, stage);
        if (stage == THAW_GAN_POOLS) thaw_gan_items_give(g->items, batch);
        if (stage > 0) learn(g, stage - 1, pace);
    }
    learn(g, THAW_GAN_STAGES - 1, pace);
    thaw_gan_items_take(g->items, batch);
    items_learn(g, THAW_GAN_EMBEDDING, pace, g->sums);
    thaw_gan_items_show(g->items);
    const bool sound = thaw_sums_settle(g->du_sums);
    return thaw_sums_settle(g->sums) && sound;
}

static void net_gather(const struct thaw_gan_net *net, struct thaw_sums *sums, int nbuckets) {
    float *const array[] = {net->m, net->v, net->averaged};
    for (int i = 0; i < 3; i++) {
        for (int bucket = 0; array[i] && bucket < nbuckets; bucket++) thaw_sums_share(sums, bucket, array[i]);
        thaw_sums_finish(sums);
    }
}

void thaw_gan_gather(struct thaw_gan *g) {
    net_gather(&g->generator, g->sums, BUCKETS);
    if (g->critic_sums) net_gather(&g->critic, g->critic_sums, CRITIC_BUCKETS);
}

static int check(const struct thaw_gan *g, struct thaw_err *err) {
    const struct thaw_gan_record *r = &g->record[g->step];
    if (!isfinite(r->loss)) return diverged(g, "the loss is not finite", r->loss, err);
    if (g->step >= 100 && r->variance < COLLAPSED)
        return diverged(g, "all users get the same latent, whose variance is too small", r->variance, err);
    return THAW_OK;
}

static void count_wait(struct thaw_gan *g, double before) {
    double wait = g->scratch->wait_s + g->items->wait_s + thaw_episodes_wait_s(g->episodes) +
                  thaw_sums_wait_s(g->sums) + thaw_sums_wait_s(g->du_sums) +
                  thaw_gan_softmax_wait_s(g->softmax);
    int64_t nbytes = g->scratch->nbytes + g->items->nbytes + thaw_sums_bytes(g->sums) +
                     thaw_sums_bytes(g->du_sums) + thaw_gan_softmax_bytes(g->softmax);
    if (g->critic_sums) {
        wait += thaw_sums_wait_s(g->critic_sums);
        nbytes += thaw_sums_bytes(g->critic_sums);
    }
    g->seconds += thaw_time_s() - before;
    g->wait_s = wait;
    g->nbytes = nbytes;
    g->ran++;
}

int thaw_gan_step(struct thaw_gan *g, bool *stop, struct thaw_err *err) {
    const struct thaw_gan_config *config = &g->config;
    const bool adversary = config->adversary > 0;
    const int turns = adversary ? config->critic_steps : 0;
    const double began = thaw_time_s(), done = (double)g->step / (double)config->steps;
    const struct pace pace = {
        .adam = {.beta1 = adversary ? .5F : .9F,
                 .beta2 = adversary ? .9F : .999F,
                 .epsilon = 1e-8F,
                 .weight_decay = (float)config->weight_decay},
        .rate = (float)(config->rate * (.525 + .475 * cos(M_PI * done))),
        .keep = (float)fmin(config->averaging, (1 + (double)g->step) / (10 + (double)g->step))};
    const int64_t first = g->step * (turns + 1);
    const struct thaw_batch *batch;
    int code;
    bool sound = true;
    thaw_comm_phase(g->c, "step");
    for (int i = 0; i < turns; i++) {
        if ((code = thaw_gan_critic_turn(g, first + i, pace.rate * (float)config->critic_rate, &sound, err)))
            return code;
        if (!sound) return critic_diverged(g, err);
    }
    if ((code = thaw_episodes_batch(g->episodes, first + turns, &batch, err)) ||
        (code = forward(g, batch, first + turns, stop, err)) || (code = check(g, err)))
        return code;
    if (!backward(g, batch, &pace)) return diverged(g, "a gradient is not finite or grew too fast", NAN, err);
    g->step++;
    count_wait(g, began);
    return THAW_OK;
}
