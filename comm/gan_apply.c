// gan_apply.c: latents and likelihoods of listed users. What they would take: gan_pick.c.
#include "comm/gan_apply.h"

#include "base/mem.h"
#include "comm/gan_apply_impl.h"
#include "comm/handle.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

// Noise of a generator at work differs from that of its training.
static const uint64_t at_work = 0x9e3779b97f4a7c15;

static int scratch_new(struct thaw_gan_apply *a, struct thaw_err *err) {
    const struct thaw_gan_shape *s = &a->shape;
    const int b = THAW_APPLY_BATCH, size = a->c->size;
    const int own = thaw_batch_begin(b, size, a->c->rank + 1) - thaw_batch_begin(b, size, a->c->rank);
    const size_t k = (size_t)s->k, slice = (size_t)(a->draws * THAW_GAN_SLICE);
    const char *what = "the generator at work";
    struct thaw_gan_apply_scratch *x = NULL;
    int code = thaw_alloc(&x, 1, sizeof *x, what, err);
    if (code) return code;
    a->scratch = x;
    x->nthreads = omp_get_max_threads();
    x->nslices = (own + THAW_GAN_SLICE - 1) / THAW_GAN_SLICE;
    code = thaw_alloc(&x->tape, (size_t)x->nthreads, sizeof *x->tape, what, err);
    if (!code) code = thaw_alloc(&x->known, (size_t)(own * s->longest) * k, sizeof *x->known, what, err);
    if (!code) code = thaw_alloc(&a->u, (size_t)b * k, sizeof *a->u, what, err);
    if (!code) code = thaw_alloc(&x->z, (size_t)x->nthreads, sizeof *x->z, what, err);
    if (!code) code = thaw_alloc(&x->drawn, (size_t)x->nthreads, sizeof *x->drawn, what, err);
    for (int t = 0; !code && t < x->nthreads; t++) {
        code = thaw_gan_tape_new(&x->tape[t], s, a->draws, err);
        if (!code) code = thaw_alloc(&x->z[t], slice * (size_t)s->noise, sizeof **x->z, what, err);
        if (!code) code = thaw_alloc(&x->drawn[t], slice * k, sizeof **x->drawn, what, err);
    }
    return code;
}

static void scratch_free(struct thaw_gan_apply_scratch *x) {
    if (!x) return;
    for (int t = 0; t < x->nthreads; t++) {
        if (x->tape) thaw_gan_tape_free(&x->tape[t]);
        if (x->z) free(x->z[t]);
        if (x->drawn) free(x->drawn[t]);
    }
    free(x->tape);
    free(x->known);
    free(x->z);
    free(x->drawn);
    free(x->logits);
    free(x);
}

int thaw_gan_apply_new(struct thaw_gan_apply **out, struct thaw_comm *c, const struct thaw_gan_shape *shape,
                       const float *net, struct thaw_gan_items *items, const struct thaw_histories *h,
                       const float *real, struct thaw_episodes_config config, int draws,
                       struct thaw_err *err) {
    struct thaw_gan_layout layout;
    struct thaw_gan_apply *a = NULL;
    int code = thaw_alloc(&a, 1, sizeof *a, "the generator at work", err);
    thaw_gan_generator_layout(shape, &layout);
    config.batch = THAW_APPLY_BATCH;
    config.longest = shape->longest;
    if (!code) {
        *a = (struct thaw_gan_apply){.c = c,
                                     .shape = *shape,
                                     .net = net,
                                     .log_scale = net[layout.log_scale],
                                     .draws = shape->noise ? draws : 1,
                                     .seed = config.seed,
                                     .items = items};
        code = scratch_new(a, err);
    }
    code = thaw_comm_agree(c, code, err);
    if (!code)
        code = thaw_episodes_new(&a->episodes, c, h, real, real ? shape->k : 0, items->plan, &config, err);
    if (!code)
        code =
            thaw_gan_softmax_new(&a->softmax, c, items, NULL, config.batch, 0, 0, a->scratch->nthreads, err);
    if (code)
        thaw_gan_apply_free(&a);
    else
        *out = a;
    return code;
}

void thaw_gan_apply_free(struct thaw_gan_apply **out) {
    struct thaw_gan_apply *a = *out;
    if (!a) return;
    thaw_gan_softmax_free(&a->softmax);
    thaw_episodes_free(&a->episodes);
    scratch_free(a->scratch);
    free(a->u);
    free(a);
    *out = NULL;
}

// Mean latents of slice i of this rank.
static void slice_apply(struct thaw_gan_apply *a, int i, int64_t number, int thread) {
    const struct thaw_gan_shape *s = &a->shape;
    const struct thaw_batch *batch = a->batch;
    struct thaw_gan_apply_scratch *x = a->scratch;
    const int first = i * THAW_GAN_SLICE, left = batch->end - batch->begin - first;
    const int b = left < THAW_GAN_SLICE ? left : THAW_GAN_SLICE;
    const size_t k = (size_t)s->k, n = (size_t)b * k;
    for (int d = 0; d < a->draws; d++)
        for (int j = 0; j < b; j++)
            thaw_gan_noise(x->z[thread] + (size_t)(d * b + j) * (size_t)s->noise, s->noise, a->seed ^ at_work,
                           (uint64_t)(number * batch->b + batch->begin + first + j) * (uint64_t)a->draws +
                               (uint64_t)d);
    const struct thaw_gan_slice in = {.b = b,
                                      .draws = a->draws,
                                      .feature_ptr = s->features ? batch->feature_ptr + first : NULL,
                                      .feature = batch->feature,
                                      .feature_value = batch->feature_value,
                                      .n = batch->n + batch->begin + first,
                                      .known = x->known + (size_t)(first * s->longest) * k,
                                      .z = x->z[thread]};
    thaw_gan_generate(s, a->net, &in, x->tape[thread], x->drawn[thread]);
    float *u = a->u + (size_t)(batch->begin + first) * k;
    for (size_t j = 0; j < n; j++) {
        double sum = 0;
        for (int d = 0; d < a->draws; d++) sum += (double)x->drawn[thread][(size_t)d * n + j];
        u[j] = (float)(sum / a->draws);
    }
}

int thaw_gan_apply_batch(struct thaw_gan_apply *a, int64_t number, struct thaw_err *err) {
    struct thaw_gan_apply_scratch *x = a->scratch;
    const size_t k = (size_t)a->shape.k;
    void *all = NULL;
    int64_t nbytes;
    if (thaw_comm_stop_agreed(a->c))
        return thaw_fail(err, THAW_ESTOPPED, "stopped on request: the same command begins anew");
    int code = thaw_episodes_batch(a->episodes, number, &a->batch, err);
    if (code) return code;
    thaw_gan_items_fetch(a->items, a->batch, x->known, NULL);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < x->nslices; i++) slice_apply(a, i, number, omp_get_thread_num());
    const size_t own = (size_t)(a->batch->end - a->batch->begin) * k * sizeof *a->u;
    code = thaw_comm_gather(a->c, a->u + (size_t)a->batch->begin * k, (int64_t)own, -1, &all, &nbytes, err);
    if (!code) memcpy(a->u, all, (size_t)nbytes);
    free(all);
    return code;
}

int thaw_gan_apply_score(struct thaw_gan_apply *a, double *nll, struct thaw_err *err) {
    double extra[THAW_GAN_EXTRA] = {0}, mean;
    int code = thaw_gan_softmax_prepare(a->softmax, a->batch, 0, err);
    code = thaw_gan_softmax_loss(a->softmax, a->batch, a->u, a->log_scale, extra, &mean, code, err);
    if (code) return code;
    if (!isfinite(mean) && a->batch->targets)
        return thaw_fail(err, THAW_EDATA,
                         "the generator's weights give no finite likelihood: train it again");
    thaw_gan_softmax_each(a->softmax, a->batch, nll);
    return THAW_OK;
}
