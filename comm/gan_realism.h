// gan_realism.h: how like real users those of a generator are: numbers for a report. docs/cold-start.md.
#ifndef THAW_COMM_GAN_REALISM_H
#define THAW_COMM_GAN_REALISM_H

#include "comm/virtual_write.h"

enum { THAW_REALISM_BATCHES = 4 }; // of THAW_APPLY_BATCH virtual users, and as many real ones beside them

// Of virtual users drawn one by one, each under the profile and some known items of a training user, with as
// many items as this one; beside it the same of as many other training users.
struct thaw_realism {
    int64_t users;              // of each kind
    double degree, real_degree; // mean number of items
    double popularity,
        real_popularity; // total variation between the shares items have among them, and all users'
    double variance;     // of latents, mean over coordinates; real ones: 1
    double told; // share of users whose nearest latent is of their own kind: 0.5 when nothing tells them
                 // apart (Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests")
    double auc;  // how well a discriminant tells latents of comm/gan_latents.h; the caller fills it in
    double nearest, real_nearest; // mean Jaccard similarity to the most similar (other) training user
    double copies, real_copies;   // share of them with a similarity of 0.8 or more
};
// Collective. real: this rank's users x k, whitened (thaw_gan_whiten). degree: of this rank's items. The same
// on all ranks, the same bits for any ranks and threads. Compares with about 50,000 training users, drawn by
// id. THAW_EMEM, THAW_ESTOPPED.
int thaw_realism_measure(struct thaw_comm *c, const struct thaw_virtual_plan *plan, const float *real,
                         const int64_t *degree, struct thaw_realism *r, struct thaw_err *err);

#endif
