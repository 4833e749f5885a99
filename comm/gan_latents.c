// gan_latents.c: see gan_latents.h.
#include "comm/gan_latents.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/npy.h"
#include "metrics/realism.h"

#include <stdlib.h>
#include <string.h>

// Collective. Batch i of both.
static int take(struct thaw_latents *l, struct thaw_gan_apply *a, int64_t i, struct thaw_err *err) {
    const size_t k = (size_t)l->k, at = (size_t)i * THAW_APPLY_BATCH * k;
    void *all = NULL;
    int64_t nbytes;
    int code = thaw_gan_apply_batch(a, i, err);
    if (code) return code;
    memcpy(l->made + at, a->u, THAW_APPLY_BATCH * k * sizeof *a->u);
    const size_t own = (size_t)(a->batch->end - a->batch->begin) * k * sizeof *a->u;
    code = thaw_comm_gather(a->c, a->batch->real, (int64_t)own, -1, &all, &nbytes, err);
    if (!code) memcpy(l->real + at, all, (size_t)nbytes);
    free(all);
    return code;
}

int thaw_latents_draw(struct thaw_latents *l, struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                      const float *real, struct thaw_err *err) {
    const struct thaw_episodes_config config = {.least = plan->rest,
                                                .most = INT64_MAX,
                                                .known = THAW_KNOWN_ALL,
                                                .seed = plan->seed ^ 0x2545f491,
                                                .by_time = plan->by_time};
    struct thaw_gan_apply *a = NULL;
    *l = (struct thaw_latents){.k = plan->shape.k};
    const size_t n = (size_t)THAW_LATENTS * (size_t)l->k;
    int code = thaw_alloc(&l->made, n, sizeof *l->made, "latents", err);
    if (!code) code = thaw_alloc(&l->real, n, sizeof *l->real, "latents", err);
    code = thaw_comm_agree(c, code, err);
    if (!code)
        code = thaw_gan_apply_new(&a, c, &plan->shape, plan->net, plan->item_rows, plan->h, real, config, 1,
                                  err);
    for (int64_t i = 0; !code && i < THAW_LATENTS / THAW_APPLY_BATCH; i++) code = take(l, a, i, err);
    thaw_gan_apply_free(&a);
    if (!code)
        code = thaw_comm_agree(
            c, thaw_two_sample_auc(l->made, THAW_LATENTS, l->real, THAW_LATENTS, l->k, &l->auc, err), err);
    if (code) thaw_latents_clear(l);
    return code;
}

int thaw_latents_write(const struct thaw_latents *l, const char *dir, struct thaw_err *err) {
    const struct thaw_npy_shape shape = {
        .type = THAW_NPY_F32, .ndim = 2, .rows = THAW_LATENTS, .cols = l->k, .width = sizeof(float)};
    char path[THAW_PATH_MAX];
    int code = thaw_path_join(path, dir, "latents.made.npy", err);
    if (!code) code = thaw_npy_put(path, &shape, l->made, NULL, err);
    if (!code) code = thaw_path_join(path, dir, "latents.real.npy", err);
    if (!code) code = thaw_npy_put(path, &shape, l->real, NULL, err);
    return code;
}

void thaw_latents_clear(struct thaw_latents *l) {
    free(l->made);
    free(l->real);
    l->made = l->real = NULL;
}
