// adam.c: a step of Adam (Kingma & Ba 2015), and the running average of the parameters.
#include "gan/gan_impl.h"

#include <math.h>

bool thaw_gan_adam_step(const struct thaw_gan_adam *a, int64_t t, float rate, const float *gradient, float *p,
                        float *m, float *v, float *averaged, float keep, size_t n) {
    const struct thaw_gan_moment step = {
        .beta1 = a->beta1,
        .beta2 = a->beta2,
        .epsilon = a->epsilon,
        .weight_decay = a->weight_decay,
        .rate = (float)((double)rate / (1 - pow((double)a->beta1, (double)t))),
        .root = (float)(1 / sqrt(1 - pow((double)a->beta2, (double)t))),
        .keep = keep,
    };
    return thaw_gan_loop_set()->adam(&step, gradient, p, m, v, averaged, n);
}
