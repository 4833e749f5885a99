// gan_impl.h: what the parts of the GAN share: tapes, scratch, products. Private.
#ifndef THAW_GAN_GAN_IMPL_H
#define THAW_GAN_GAN_IMPL_H

#include "gan/dropout.h"
#include "gan/gan.h"
#include "gan/loops.h"

#include <cblas.h>

// Rows = draws b, as the latents'. Dense inputs are all but the features.
struct thaw_gan_tape {
    float *memory;
    float *x;         // rows x dense: after dropout
    float *keep;      // rows x dense: 0 or 1 / (1 - dropout)
    float *h1, *e2;   // rows x hidden: first layer; ELU of the second
    float *h2;        // rows x hidden: e2 + h1
    float *query;     // b x k
    float *turned;    // b x k: key_w query
    float *attention; // b x longest
    float *attended;  // b x k: sum of a_i e_i
    float *pooled;    // b x 2k: mean, attention
    // Of the way back:
    float *d1;      // rows x hidden: gradient at h1
    float *dpooled; // rows x 2k: gradient at the pooled inputs; summed over draws in the first b rows
};

struct thaw_gan_work {
    float *memory;
    float *d2;                           // rows or 3b x hidden: gradient at the second layer
    float *d1, *h1, *h2, *u;             // 3b x hidden, hidden, hidden, k: the critic's layers
    float *flat;                         // b x hidden: the critic's
    float *pooled;                       // b x k: the critic's
    float *dattended, *dturned, *dquery; // b x k
};

static inline int thaw_gan_dense_inputs(const struct thaw_gan_shape *s) {
    return thaw_gan_inputs(s) - s->features;
}

// C (m x n) = alpha A B + beta C, row-major, transposed where told; rows lda, ldb, ldc apart.
static inline void thaw_gan_product(bool ta, bool tb, int m, int n, int k, float alpha, const float *a,
                                    int lda, const float *b, int ldb, float beta, float *c, int ldc) {
    if (m > 0 && n > 0 && k > 0)
        cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k,
                    alpha, a, lda, b, ldb, beta, c, ldc);
}

// The mask of a row's features; NULL: none are dropped.
struct thaw_gan_mask {
    uint32_t row_key, below;
    float scale; // 1 / (1 - dropout)
};
static inline float thaw_gan_feature(const struct thaw_gan_slice *in, const struct thaw_gan_mask *m,
                                     int64_t at) {
    if (m && thaw_gan_dropout_draw(m->row_key, in->feature[at]) < m->below) return 0;
    return in->feature_value[at] * (m ? m->scale : 1);
}
// out[width] += features of user i times w (features x width); and back: gradient += features' x d.
static inline void thaw_gan_features(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                                     const struct thaw_gan_slice *in, int i, const struct thaw_gan_mask *m,
                                     const float *w, int width, float *out) {
    for (int64_t at = s->features ? in->feature_ptr[i] : 0; s->features && at < in->feature_ptr[i + 1];
         at++) {
        const float value = thaw_gan_feature(in, m, at);
        if (value != 0) l->axpy(value, w + (size_t)in->feature[at] * (size_t)width, out, (size_t)width);
    }
}
static inline void thaw_gan_features_back(const struct thaw_gan_loops *l, const struct thaw_gan_shape *s,
                                          const struct thaw_gan_slice *in, int i,
                                          const struct thaw_gan_mask *m, const float *d, int width,
                                          float *gradient) {
    for (int64_t at = s->features ? in->feature_ptr[i] : 0; s->features && at < in->feature_ptr[i + 1];
         at++) {
        const float value = thaw_gan_feature(in, m, at);
        if (value != 0) l->axpy(value, d, gradient + (size_t)in->feature[at] * (size_t)width, (size_t)width);
    }
}

#endif
