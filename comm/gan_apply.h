// gan_apply.h: a trained generator at work on many users at once, spread over ranks as in training: latents
// of listed users, how likely what they did is, and the items they would take next.
#ifndef THAW_COMM_GAN_APPLY_H
#define THAW_COMM_GAN_APPLY_H

#include "comm/gan_softmax.h"

struct thaw_gan_apply {
    struct thaw_comm *c;
    struct thaw_gan_shape shape;
    const float *net; // borrowed
    float log_scale;
    int draws;
    uint64_t seed;
    struct thaw_gan_items *items; // borrowed
    struct thaw_episodes *episodes;
    struct thaw_gan_softmax *softmax;
    const struct thaw_batch *batch; // at hand
    float *u;                       // batch x k: mean latents
    struct thaw_gan_apply_scratch *scratch;
};

// Collective. config.batch is set to THAW_APPLY_BATCH. real: as for episodes; NULL: none. draws: of noise,
// whose mean latent counts (one without noise). THAW_EMEM.
int thaw_gan_apply_new(struct thaw_gan_apply **a, struct thaw_comm *c, const struct thaw_gan_shape *shape,
                       const float *net, struct thaw_gan_items *items, const struct thaw_histories *h,
                       const float *real, struct thaw_episodes_config config, int draws,
                       struct thaw_err *err);
void thaw_gan_apply_free(struct thaw_gan_apply **a);

// Collective. Batch `number` of the episodes: a->batch, a->u. THAW_EMEM. THAW_ESTOPPED: some rank was asked
// to stop.
int thaw_gan_apply_batch(struct thaw_gan_apply *a, int64_t number, struct thaw_err *err);
// Collective, after batch. nll[batch]: mean negative log likelihood of each sample's items to predict; NaN
// where there are none. THAW_EDATA: not finite. THAW_EMEM.
int thaw_gan_apply_score(struct thaw_gan_apply *a, double *nll, struct thaw_err *err);

// Items taken, per sample of a batch.
struct thaw_picks {
    int64_t *ptr;  // samples + 1
    int64_t *item; // global rows, best first
    double *score; // probabilities; with gumbel: noisy logits
    size_t item_cap, score_cap;
};
enum thaw_pick_how {
    THAW_PICK_BEST, // the most probable items that the user does not have
    THAW_PICK_DRAW, // drawn from the probabilities without replacement (Gumbel top-k: Kool et al. 2019,
                    // "Stochastic beams and where to find them"), keyed by (seed, sample's position)
};
// Collective, after batch. want[batch] items of each sample (fewer where there are fewer), on the rank that
// owns the sample's user by `users`; other ranks get empty rows. THAW_EMEM.
int thaw_gan_apply_pick(struct thaw_gan_apply *a, enum thaw_pick_how how, const int64_t *want, int64_t number,
                        const int *owner, struct thaw_picks *out, struct thaw_err *err);
void thaw_picks_clear(struct thaw_picks *p);

#endif
