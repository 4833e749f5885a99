// gan_critic.c: the critic's steps.
#include "comm/gan_train.h"

#include "base/rng.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BUCKETS = 3 };
enum { FAKE, REAL, PENALTY, SPOILT }; // what travels with the gradient: sums of a slice's terms

// Loss and gradient of a slice's critic; term: sums of D(fake), D(real), penalty.
static void slice_turn(struct thaw_gan *g, const struct thaw_batch *batch, int i, int64_t number,
                       int thread) {
    const struct thaw_gan_config *config = &g->config;
    const struct thaw_gan_shape *s = &config->shape;
    struct thaw_gan_scratch *x = g->scratch;
    const size_t k = (size_t)s->k, first = (size_t)(i * THAW_GAN_SLICE);
    const struct thaw_gan_slice *in = &x->slice[i];
    float mix[THAW_GAN_SLICE], *fake = x->drawn + first * k, *gradient = x->gradient[thread];
    for (int j = 0; j < in->b; j++) {
        const uint64_t sample =
            (uint64_t)number * (uint64_t)batch->b + (uint64_t)batch->begin + first + (uint64_t)j;
        struct thaw_rng rng = thaw_rng_at(config->seed, THAW_STREAM_MIX, sample);
        mix[j] = (float)(thaw_rng_u32(&rng) >> 8) * 0x1p-24F;
    }
    memset(gradient, 0, g->critic.n * sizeof *gradient);
    thaw_gan_critic_step(s, g->critic.p, in, batch->real + first * k, fake, mix, (float)config->penalty,
                         (float)(1.0 / config->batch), x->work[thread], x->term[i], gradient);
    for (int bucket = 0; bucket < BUCKETS; bucket++) thaw_sums_add(g->critic_sums, thread, bucket, gradient);
}

// This rank's sums of terms, in units of 2^-20, for the others.
static void carry(const struct thaw_gan_scratch *x, int64_t *sum) {
    memset(sum, 0, (SPOILT + 1) * sizeof *sum);
    for (int i = 0; i < x->nslices; i++)
        for (int j = FAKE; j < SPOILT; j++) {
            if (fabs(x->term[i][j]) < 0x1p30)
                sum[j] += llrint(ldexp(x->term[i][j], 20));
            else
                sum[SPOILT]++;
        }
}

int thaw_gan_critic_turn(struct thaw_gan *g, int64_t number, float rate, bool *sound, struct thaw_err *err) {
    struct thaw_gan_scratch *x = g->scratch;
    const struct thaw_batch *batch;
    const int code = thaw_episodes_batch(g->episodes, number, &batch, err);
    if (code) return code;
    thaw_gan_make_latents(g, batch, 1, number);
    *sound = thaw_gan_critic_settle(g);
    if (!*sound) return THAW_OK;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < x->nslices; i++) slice_turn(g, batch, i, number, omp_get_thread_num());
    carry(x, thaw_sums_carried(g->critic_sums));
    for (int bucket = 0; bucket < BUCKETS; bucket++) thaw_sums_start(g->critic_sums, bucket);
    x->turn = (struct thaw_gan_turn){.under_way = true, .number = number, .rate = rate};
    thaw_episodes_prepare(g->episodes);
    return THAW_OK;
}

void thaw_gan_critic_learn(struct thaw_gan *g) {
    const struct thaw_gan_adam adam = {.beta1 = .5F, .beta2 = .9F, .epsilon = 1e-8F};
    const struct thaw_gan_config *config = &g->config;
    const struct thaw_gan_turn *turn = &g->scratch->turn;
    if (!turn->under_way) return;
    const int64_t step = g->step * config->critic_steps + turn->number % (config->critic_steps + 1) + 1;
    for (int bucket = 0; bucket < BUCKETS; bucket++) {
        thaw_sums_wait(g->critic_sums, bucket, g->critic.gradient);
        g->scratch->unsound |=
            !thaw_gan_net_learn(&g->critic, g->critic_sums, bucket, &adam, step, turn->rate, 1);
    }
}

bool thaw_gan_critic_settle(struct thaw_gan *g) {
    const struct thaw_gan_config *config = &g->config;
    struct thaw_gan_record *record = &g->record[g->step];
    if (!g->scratch->turn.under_way) return true;
    g->scratch->turn.under_way = false;
    const bool sound = thaw_sums_settle(g->critic_sums);
    const int64_t *sum = thaw_sums_carried(g->critic_sums);
    if (!sound || sum[SPOILT]) return false;
    record->fake = ldexp((double)sum[FAKE], -20) / config->batch;
    record->real = ldexp((double)sum[REAL], -20) / config->batch;
    record->penalty = ldexp((double)sum[PENALTY], -20) / config->batch;
    return true;
}
