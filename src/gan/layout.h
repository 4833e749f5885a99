// layout.h: where the parameters of the generator and the critic lie in their arrays. Header only, so that
// lookups need no BLAS. Local; thread-safe.
#ifndef THAW_GAN_LAYOUT_H
#define THAW_GAN_LAYOUT_H

#include <stddef.h>
#include <string.h>

struct thaw_gan_shape {
    int k;        // factors: width of embeddings and of the latent
    int features; // profile columns, sparse; may be 0
    int longest;  // most known items
    int noise;    // width of z; 0: the generator is deterministic
    int hidden;
};

// Places in the generator's array, in this order; matrices are row-major, input x output:
//   query_w features x k, query_b k | key_w k x k | value_w k x k, value_b k
//   first_w inputs x hidden, first_b hidden | second_w hidden x hidden, second_b | last_w hidden x k, last_b k
//   log_scale 1
// inputs = [features | mean pooled k | attention pooled k | one-hot n, longest + 1 | z, noise].
// (The key has no constant: it would add the same to all known items of a user, which a softmax does not
// see.) The critic's array has first, second and last only; its inputs are [u, k | features | mean pooled k |
// one-hot n], and last_w is hidden x 1.
struct thaw_gan_layout {
    size_t query_w, query_b, key_w, value_w, value_b, first_w, first_b, second_w, second_b, last_w, last_b,
        log_scale, n; // n: how many in all
};

static inline int thaw_gan_inputs(const struct thaw_gan_shape *s) {
    return s->features + 2 * s->k + s->longest + 1 + s->noise;
}
static inline int thaw_gan_critic_inputs(const struct thaw_gan_shape *s) {
    return s->features + 2 * s->k + s->longest + 1;
}

static inline size_t thaw_gan_layout_mlp(struct thaw_gan_layout *l, size_t at, size_t inputs, size_t hidden,
                                         size_t outputs) {
    l->first_w = at;
    l->first_b = at += inputs * hidden;
    l->second_w = at += hidden;
    l->second_b = at += hidden * hidden;
    l->last_w = at += hidden;
    l->last_b = at += hidden * outputs;
    return at + outputs;
}

static inline void thaw_gan_generator_layout(const struct thaw_gan_shape *s, struct thaw_gan_layout *l) {
    const size_t k = (size_t)s->k, f = (size_t)s->features;
    memset(l, 0, sizeof *l);
    l->query_b = f * k;
    l->key_w = l->query_b + k;
    l->value_w = l->key_w + k * k;
    l->value_b = l->value_w + k * k;
    l->log_scale = thaw_gan_layout_mlp(l, l->value_b + k, (size_t)thaw_gan_inputs(s), (size_t)s->hidden, k);
    l->n = l->log_scale + 1;
}

// Stages of the generator's backward pass. The parameters of a stage lie together: from its begin to that of
// the stage before it (LAST: to the end).
enum thaw_gan_stage { THAW_GAN_LAST, THAW_GAN_SECOND, THAW_GAN_FIRST, THAW_GAN_POOLS, THAW_GAN_STAGES };
static inline size_t thaw_gan_stage_begin(const struct thaw_gan_layout *l, enum thaw_gan_stage stage) {
    const size_t begin[THAW_GAN_STAGES] = {l->last_w, l->second_w, l->first_w, 0};
    return begin[stage];
}
static inline size_t thaw_gan_stage_end(const struct thaw_gan_layout *l, enum thaw_gan_stage stage) {
    return stage == THAW_GAN_LAST ? l->n : thaw_gan_stage_begin(l, stage - 1);
}

static inline void thaw_gan_critic_layout(const struct thaw_gan_shape *s, struct thaw_gan_layout *l) {
    memset(l, 0, sizeof *l);
    l->n = thaw_gan_layout_mlp(l, 0, (size_t)thaw_gan_critic_inputs(s), (size_t)s->hidden, 1);
}

#endif
