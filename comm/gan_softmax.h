// gan_softmax.h: the softmax over items that are spread over ranks: likelihood of a minibatch's targets, and
// its gradient, block by block (gan/gan.h). All items, or a sample of them: `sampled` draws by
// popularity^0.75, the same on all ranks, whose logits are corrected by the logarithm of how often they are
// expected (Bengio & Senecal 2008, "Adaptive importance sampling to accelerate training of a neural
// probabilistic language model"), and every target of the minibatch.
#ifndef THAW_COMM_GAN_SOFTMAX_H
#define THAW_COMM_GAN_SOFTMAX_H

#include "comm/gan_items.h"
#include "comm/gan_sums.h"

struct thaw_gan_softmax;
// Collective. degree: popularity of this rank's items. sampled: 0 for all items. THAW_EMEM.
int thaw_gan_softmax_new(struct thaw_gan_softmax **x, struct thaw_comm *c, struct thaw_gan_items *items,
                         const int64_t *degree, int batch, int64_t sampled, uint64_t seed, int nthreads,
                         struct thaw_err *err);
void thaw_gan_softmax_free(struct thaw_gan_softmax **x);

// Local. What the loss of a batch takes and latents have no part in. draw: number of the sample of items.
// THAW_EMEM, which is for loss to tell.
int thaw_gan_softmax_prepare(struct thaw_gan_softmax *x, const struct thaw_batch *batch, uint64_t draw,
                             struct thaw_err *err);
enum { THAW_GAN_EXTRA = 3 };
// Collective, after prepare, whose code is agreed here. Mean negative log likelihood of the batch's targets
// (the sum over the batch divided by their number) given the latents u[b x k] of all samples. extra: numbers
// of this rank that become sums over all ranks, rounded to 2^-30. *nll is NaN when something is not finite or
// far out of range.
int thaw_gan_softmax_loss(struct thaw_gan_softmax *x, const struct thaw_batch *batch, const float *u,
                          float log_scale, double extra[THAW_GAN_EXTRA], double *nll, int code,
                          struct thaw_err *err);
// Local. After loss: each[b], the mean negative log likelihood of each sample's own targets; NaN where it has
// none.
void thaw_gan_softmax_each(const struct thaw_gan_softmax *x, const struct thaw_batch *batch, double *each);
// Collective. After loss: the gradients of nll: of decoder and bias added to the items'; of u (b x k) and
// then of log_scale as buckets 0 and 1 of du, which are left to be waited for.
void thaw_gan_softmax_backward(struct thaw_gan_softmax *x, const struct thaw_batch *batch, const float *u,
                               float log_scale, struct thaw_sums *du);
double thaw_gan_softmax_wait_s(const struct thaw_gan_softmax *x);
int64_t thaw_gan_softmax_bytes(const struct thaw_gan_softmax *x); // handed to MPI so far

#endif
