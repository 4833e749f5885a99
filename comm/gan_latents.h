// gan_latents.h: latents drawn by a generator beside the real ones of the same users. docs/cold-start.md.
#ifndef THAW_COMM_GAN_LATENTS_H
#define THAW_COMM_GAN_LATENTS_H

#include "comm/virtual_write.h"

enum { THAW_LATENTS = 4 * THAW_APPLY_BATCH }; // rows

struct thaw_latents {
    int k;
    float *made, *real; // THAW_LATENTS x k; row i of both is of one training user
    double auc;         // how well a discriminant tells them apart (metrics/realism.h)
};
// Collective. One draw for each of so many training users, as many of whose items are known as there may be
// (first in time or random, as plan says). real: this rank's users x k, whitened. The same on all ranks, the
// same bits for any ranks and threads. THAW_EMEM, THAW_EDIVERGED, THAW_ESTOPPED.
int thaw_latents_draw(struct thaw_latents *l, struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                      const float *real, struct thaw_err *err);
// Local. latents.made.npy and latents.real.npy into dir. THAW_EIO.
int thaw_latents_write(const struct thaw_latents *l, const char *dir, struct thaw_err *err);
void thaw_latents_clear(struct thaw_latents *l);

#endif
