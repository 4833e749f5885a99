// gan_apply_impl.h: scratch of gan_apply.c and gan_pick.c. Private to them.
#ifndef THAW_COMM_GAN_APPLY_IMPL_H
#define THAW_COMM_GAN_APPLY_IMPL_H

#include "comm/gan_train.h"

struct thaw_gan_apply_scratch {
    int nthreads, nslices;
    struct thaw_gan_tape **tape; // nthreads
    float *known;                // this rank's samples x longest x k
    float **z, **drawn;          // nthreads: of a slice
    float *logits;               // this rank's items x batch, tile by tile; on the first pick
};

#endif
