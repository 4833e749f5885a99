// gan.h: the conditional generator and its critic, for slices of a minibatch: forward, backward, the decoder
// over blocks of items, and the steps of Adam. No MPI; products by OpenBLAS; local. docs/cold-start.md, "G".
//
//   condition  profile features (sparse), the known items' embeddings, how many they are
//   inputs     [features | mean pooled | attention pooled | one-hot n (longest + 1) | noise z], dropout
//   hidden     h1 = ELU(W1 inputs + b1); h2 = ELU(W2 h1 + b2) + h1; u = W3 h2 + b3: a whitened latent, k
//   pooled     mean: sum of the known embeddings / sqrt(n); attention: sqrt(n) sum of a_i value(e_i), a the softmax of
//              query(features).key(e_i) / sqrt(k); both 0 at n = 0
//   decoder    logit_i = exp(log_scale) u.d_i + bias_i; the items' rows are the caller's, who may spread them
//   critic     D(u, condition): [u | features | mean pooled, fixed embedding | one-hot n] -> hidden -> hidden -> 1,
//              leaky ReLU .2; gradient penalty written out (its slopes are constant almost everywhere)
//
// A minibatch is cut into slices of THAW_GAN_SLICE users by their number in the batch. The functions work on
// one slice, and their bits depend on the slice alone: not on who computes it, nor on what else that thread
// did. Everything is thread-safe for different tapes, works and outputs. Nothing allocates but the two _new.
// BLAS must run on one thread: thaw_blas_begin once, and calls from parallel regions or as comm/sweep.h says.
// Sources: Gulrajani et al. 2017, "Improved training of Wasserstein GANs"; Kingma & Ba 2015, "Adam".
#ifndef THAW_GAN_GAN_H
#define THAW_GAN_GAN_H

#include "base/err.h"
#include "gan/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { THAW_GAN_SLICE = 32 };

// Parameters at their start, keyed by (seed, which): uniform +-1/sqrt(inputs) as usual; generator: last_w
// normal .02, last_b 0, log_scale log 3.
void thaw_gan_generator_init(const struct thaw_gan_shape *s, uint64_t seed, float *parameters);
void thaw_gan_critic_init(const struct thaw_gan_shape *s, uint64_t seed, float *parameters);

// A slice: b <= THAW_GAN_SLICE users, and `draws` draws of noise for each. Rows of latents are draw by draw:
// the draw d of user i is row d b + i. Borrowed.
struct thaw_gan_slice {
    int b, draws;               // draws >= 1; the critic looks at no more than b rows
    const int64_t *feature_ptr; // b + 1, into feature and feature_value; NULL when features = 0
    const uint32_t *feature;
    const float *feature_value;
    const int32_t *n;   // b: known items, 0..longest
    const float *known; // b x longest x k: trained embeddings of the known items; rows beyond n are not read
    const float *fixed; // the same from the fixed embedding: for the critic only
    const float *z;     // draws b x noise
    uint64_t dropout_key; // masks are drawn by (key, row, column of the inputs): gan/dropout.h
    float dropout;        // 0 when scoring
};

// What backward needs of a forward pass over a slice of up to `draws` draws, and what its stages hand on.
// THAW_EMEM.
struct thaw_gan_tape;
int thaw_gan_tape_new(struct thaw_gan_tape **t, const struct thaw_gan_shape *s, int draws,
                      struct thaw_err *err);
void thaw_gan_tape_free(struct thaw_gan_tape **t);
// Scratch of one thread, for slices of up to `draws` draws. THAW_EMEM.
struct thaw_gan_work;
int thaw_gan_work_new(struct thaw_gan_work **w, const struct thaw_gan_shape *s, int draws,
                      struct thaw_err *err);
void thaw_gan_work_free(struct thaw_gan_work **w);

// u: draws b x k. The tape holds this pass until the next.
void thaw_gan_generate(const struct thaw_gan_shape *s, const float *parameters,
                       const struct thaw_gan_slice *in, struct thaw_gan_tape *t, float *u);
// The way back of the pass on the tape (same parameters, same slice), a stage at a time, in order. Each adds
// the gradient of its own parameters (thaw_gan_stage_begin), so that one stage's can travel while the next is
// at work. du: draws b x k, the gradient at u; read by THAW_GAN_LAST alone. gradient (layout of the
// parameters): log_scale's is left alone; of query_w and of first_w's feature rows only those are touched
// that belong to features of the slice. dknown: b x longest x k, added to by THAW_GAN_POOLS alone (rows
// beyond n are left alone).
void thaw_gan_generate_backward(const struct thaw_gan_shape *s, const float *parameters,
                                const struct thaw_gan_slice *in, struct thaw_gan_tape *t,
                                struct thaw_gan_work *w, enum thaw_gan_stage stage, const float *du,
                                float *gradient, float *dknown);

// Critic's loss of a slice: sum over users of D(fake) - D(real) + penalty (|grad_mix D| - 1)^2 with mix =
// m real + (1 - m) fake. loss[3], written: sums of D(fake), of D(real), of the penalty's term. gradient: of
// the sum times scale, added to (feature rows as above). real, fake: b x k; m: b, in [0, 1].
void thaw_gan_critic_step(const struct thaw_gan_shape *s, const float *parameters,
                          const struct thaw_gan_slice *in, const float *real, const float *fake,
                          const float *m, float penalty, float scale, struct thaw_gan_work *w, double loss[3],
                          float *gradient);
// D of u (b x k): d[b]. du (b x k, may be NULL): gradient of the sum of D, times scale, added to.
void thaw_gan_critic_score(const struct thaw_gan_shape *s, const float *parameters,
                           const struct thaw_gan_slice *in, const float *u, float scale,
                           struct thaw_gan_work *w, float *d, float *du);

// ---- The decoder over a block of nrows items; row-major, b up to a whole minibatch ----
// Bits depend on b and nrows: cut blocks by item number. 256 rows x 512 items stay in a 1 MiB cache.
//
// logits[b x nrows] = exp(log_scale) u decoder' + bias.
void thaw_gan_decode(const float *u, int b, const float *decoder, const float *bias, int nrows, int k,
                     float log_scale, float *logits);
// Targets of a block: those of row i are target[target_ptr[i] .. target_ptr[i + 1]), numbers of rows of the
// block. sum[b] is added to: the logits at the row's targets.
void thaw_gan_pick(const float *logits, int b, int nrows, const int64_t *target_ptr, const int32_t *target,
                   double *sum);
// logits become exp(logit - most[b]); written: most[b], the block's largest logit of the row, and sum[b], the
// sum of the exponentials. Blocks are put together by the caller: M = largest most, S = sum over blocks of
// exp(most - M) sum, in a fixed order; negative log likelihood = targets (M + log S) - picked.
void thaw_gan_exp(float *logits, int b, int nrows, float *most, double *sum);
// The gradient of sum over rows of scale x (targets (M + log S) - picked) over this block. p: what
// thaw_gan_exp left; it becomes the logits' gradient, factor[b] p - scale at the row's targets: factor =
// scale (all targets of the row) exp(most - M) / S. du: b x k, written. ddecoder nrows x k and dbias nrows:
// added to. *dlog_scale: added to.
void thaw_gan_decode_backward(const float *u, int b, const float *decoder, int nrows, int k, float log_scale,
                              float *p, const float *factor, const int64_t *target_ptr, const int32_t *target,
                              float scale, float *du, float *ddecoder, float *dbias, double *dlog_scale);

// ---- Optimiser ----
struct thaw_gan_adam {
    float beta1, beta2, epsilon, weight_decay; // decay is added to the gradient
};
// Step t (from 1) of n parameters p: first and second moments m, v (0 at first); afterwards averaged (may be
// NULL) becomes keep averaged + (1 - keep) p. Arrays do not overlap. false: a parameter is not finite any
// more.
bool thaw_gan_adam_step(const struct thaw_gan_adam *a, int64_t t, float rate, const float *gradient, float *p,
                        float *m, float *v, float *averaged, float keep, size_t n);

#endif
