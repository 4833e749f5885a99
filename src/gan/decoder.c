// decoder.c: from latents to items and back, over a block of items.
//
// Bound by flops: three products of b x nrows x k multiply-adds, at 90 to 107 GF/s on one AVX-512 core (peak
// 160) while the logits of a block (b nrows floats) stay in its second-level cache; the passes over them,
// four, take about a fifth of the time.
#include "gan/gan_impl.h"

#include <math.h>
#include <string.h>

void thaw_gan_decode(const float *u, int b, const float *decoder, const float *bias, int nrows, int k,
                     float log_scale, float *logits) {
    for (int i = 0; i < b; i++) memcpy(logits + (ptrdiff_t)i * nrows, bias, (size_t)nrows * sizeof *logits);
    thaw_gan_product(false, true, b, nrows, k, expf(log_scale), u, k, decoder, k, 1, logits, nrows);
}

void thaw_gan_pick(const float *logits, int b, int nrows, const int64_t *target_ptr, const int32_t *target,
                   double *sum) {
    for (int i = 0; i < b; i++)
        for (int64_t at = target_ptr[i]; at < target_ptr[i + 1]; at++)
            sum[i] += (double)logits[(ptrdiff_t)i * nrows + target[at]];
}

void thaw_gan_exp(float *logits, int b, int nrows, float *most, double *sum) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    for (int i = 0; i < b; i++) {
        float *row = logits + (ptrdiff_t)i * nrows;
        most[i] = l->most(row, (size_t)nrows);
        sum[i] = l->exp(row, most[i], (size_t)nrows);
    }
}

void thaw_gan_decode_backward(const float *u, int b, const float *decoder, int nrows, int k, float log_scale,
                              float *p, const float *factor, const int64_t *target_ptr, const int32_t *target,
                              float scale, float *du, float *ddecoder, float *dbias, double *dlog_scale) {
    const struct thaw_gan_loops *l = thaw_gan_loop_set();
    const float by = expf(log_scale);
    for (int i = 0; i < b; i++) {
        float *row = p + (ptrdiff_t)i * nrows;
        l->scale(factor[i], row, dbias, (size_t)nrows);
        for (int64_t at = target_ptr[i]; at < target_ptr[i + 1]; at++) {
            row[target[at]] -= scale;
            dbias[target[at]] -= scale;
        }
    }
    thaw_gan_product(false, false, b, k, nrows, by, p, nrows, decoder, k, 0, du, k);
    thaw_gan_product(true, false, nrows, k, b, by, p, nrows, u, k, 1, ddecoder, k);
    // logit - bias is linear in u: the sum of dlogit (logit - bias) is u.du
    for (size_t i = 0; i < (size_t)b * (size_t)k; i++) *dlog_scale += (double)u[i] * (double)du[i];
}
