// gan_critic.c: the critic's steps.
#include "comm/gan_train.h"

#include "base/rng.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BUCKETS = 3 };

// Loss and gradient of a slice's critic; term: sums of D(fake), D(real), penalty.
static void slice_turn(struct thaw_gan *g, const struct thaw_batch *batch, int i, int64_t number,
                       int thread) {
    const struct thaw_gan_config *config = &g->config;
    const struct thaw_gan_shape *s = &config->shape;
    struct thaw_gan_scratch *x = g->scratch;
    const size_t k = (size_t)s->k, first = (size_t)(i * THAW_GAN_SLICE);
    const struct thaw_gan_slice in = thaw_gan_cut(g, batch, i, 1, number);
    float mix[THAW_GAN_SLICE], *fake = x->drawn + first * k, *gradient = x->gradient[thread];
    for (int j = 0; j < in.b; j++) {
        const uint64_t sample =
            (uint64_t)number * (uint64_t)batch->b + (uint64_t)batch->begin + first + (uint64_t)j;
        struct thaw_rng rng = thaw_rng_at(config->seed, THAW_STREAM_MIX, sample);
        mix[j] = (float)(thaw_rng_u32(&rng) >> 8) * 0x1p-24F;
    }
    thaw_gan_generate(s, g->generator.p, &in, x->tape[i], fake);
    memset(gradient, 0, g->critic.n * sizeof *gradient);
    thaw_gan_critic_step(s, g->critic.p, &in, batch->real + first * k, fake, mix, (float)config->penalty,
                         (float)(1.0 / config->batch), x->work[thread], x->term[i], gradient);
    for (int bucket = 0; bucket < BUCKETS; bucket++) thaw_sums_add(g->critic_sums, thread, bucket, gradient);
}

int thaw_gan_critic_turn(struct thaw_gan *g, int64_t number, float rate, bool *sound, struct thaw_err *err) {
    const struct thaw_gan_adam adam = {.beta1 = .5F, .beta2 = .9F, .epsilon = 1e-8F};
    struct thaw_gan_scratch *x = g->scratch;
    const struct thaw_batch *batch;
    int64_t sum[4] = {0};
    const int code = thaw_episodes_batch(g->episodes, number, &batch, err);
    if (code) return code;
    thaw_gan_items_fetch(g->items, batch, x->known, x->fixed);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < x->nslices; i++) slice_turn(g, batch, i, number, omp_get_thread_num());
    for (int bucket = BUCKETS - 1; bucket >= 0; bucket--) thaw_sums_start(g->critic_sums, bucket);
    for (int i = 0; i < x->nslices; i++)
        for (int j = 0; j < 3; j++) {
            if (fabs(x->term[i][j]) < 0x1p30)
                sum[j] += llrint(ldexp(x->term[i][j], 20));
            else
                sum[3]++;
        }
    thaw_comm_sum_i64(g->c, sum, 4);
    *sound = sum[3] == 0;
    for (int bucket = BUCKETS - 1; bucket >= 0; bucket--)
        *sound &= thaw_sums_wait(g->critic_sums, bucket, g->critic.gradient);
    if (!*sound) return THAW_OK;
    struct thaw_gan_record *record = &g->record[g->step];
    record->fake = ldexp((double)sum[0], -20) / g->config.batch;
    record->real = ldexp((double)sum[1], -20) / g->config.batch;
    record->penalty = ldexp((double)sum[2], -20) / g->config.batch;
    x->unsound |= !thaw_gan_net_adam(
        &g->critic, &adam, g->step * g->config.critic_steps + number % (g->config.critic_steps + 1) + 1, rate,
        1);
    return THAW_OK;
}
