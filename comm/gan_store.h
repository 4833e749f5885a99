// gan_store.h: a generator on disk: the finished one, and checkpoints of its training. docs/formats.md.
//
//   OUT/generator.net.npy, generator.items-00007-of-00064.npy, manifest.pb        (averaged weights)
//   OUT.checkpoint/step-000200/training.nets.npy, training.state.npy, training.items-..., manifest.pb
// A checkpoint is written as step-000200.tmp, its manifest last, and renamed; the newest two are kept.
#ifndef THAW_COMM_GAN_STORE_H
#define THAW_COMM_GAN_STORE_H

#include "comm/gan_train.h"
#include "comm/partfiles.h"

// Collective, after thaw_gan_gather. The generator's files into dir, averaged weights; `files` gets their
// entries (on rank 0, all). THAW_EIO, THAW_EMEM.
int thaw_gan_write(const struct thaw_gan *g, const char *dir, struct thaw_partfiles *files,
                   struct thaw_err *err);

// Collective. THAW_EDIVERGED: a weight is not finite since the last step.
int thaw_gan_check(const struct thaw_gan *g, struct thaw_err *err);
// Collective. A checkpoint of the training as it is now. manifest: complete but for steps and files
// (borrowed). THAW_EDIVERGED: a weight is not finite, and nothing is written. THAW_EIO, THAW_EMEM.
int thaw_gan_save(struct thaw_gan *g, const char *dir, Thaw__Generator *manifest, struct thaw_err *err);
// Collective. Go on from the newest checkpoint in dir that is intact; *found: there is one. manifest: of this
// run, to be compared. note: why an older one was taken, else "". THAW_EUSAGE: it is a training with other
// options; THAW_EDATA: of other data (both digests are told), or none is intact.
int thaw_gan_resume(struct thaw_gan *g, const char *dir, const Thaw__Generator *manifest, bool *found,
                    char note[256], struct thaw_err *err);
// Collective. Remove all checkpoints.
int thaw_gan_forget(struct thaw_comm *c, const char *dir, struct thaw_err *err);
// Rank 0. Remove the checkpoints in dir when `out` holds what this very training made: a run that was killed
// at its end left them.
void thaw_gan_forget_finished(const char *dir, const char *out, const Thaw__Generator *manifest);

// A generator that was written, with the item rows of this rank.
struct thaw_generator {
    Thaw__Generator *manifest;
    uint64_t digest;
    struct thaw_gan_shape shape;
    float *net;                        // thaw_gan_generator_layout
    float *embedding, *decoder, *bias; // rows of this rank by the plan it was loaded with
};
// Collective. THAW_ENOINPUT, THAW_EDATA: damaged, or not of this dataset.
int thaw_generator_load(struct thaw_generator *g, struct thaw_comm *c, const char *dir, uint64_t dataset,
                        const struct thaw_plan *items, struct thaw_err *err);
void thaw_generator_clear(struct thaw_generator *g);

#endif
