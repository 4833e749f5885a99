// gan.c: first weights, and the memory of tapes and threads.
#include "gan/gan_impl.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

// [at, at + n) uniform within +-1/sqrt(inputs); a parameter's draw belongs to its place.
static void uniform(uint64_t seed, uint32_t stream, float *p, size_t at, size_t n, int inputs) {
    const double bound = inputs > 0 ? 1 / sqrt((double)inputs) : 0;
    for (size_t i = at; i < at + n; i++) {
        struct thaw_rng r = thaw_rng_at(seed, stream, i);
        p[i] = (float)((2 * thaw_rng_uniform(&r) - 1) * bound);
    }
}

void thaw_gan_generator_init(const struct thaw_gan_shape *s, uint64_t seed, float *p) {
    struct thaw_gan_layout l;
    thaw_gan_generator_layout(s, &l);
    const uint32_t stream = THAW_STREAM_GENERATOR;
    uniform(seed, stream, p, l.query_w, l.key_w - l.query_w, s->features);
    uniform(seed, stream, p, l.key_w, l.first_w - l.key_w, s->k);
    uniform(seed, stream, p, l.first_w, l.second_w - l.first_w, thaw_gan_inputs(s));
    uniform(seed, stream, p, l.second_w, l.last_w - l.second_w, s->hidden);
    for (size_t i = l.last_w; i < l.last_b; i++) {
        struct thaw_rng r = thaw_rng_at(seed, stream, i);
        p[i] = (float)(.02 * thaw_rng_normal(&r));
    }
    for (size_t i = l.last_b; i < l.log_scale; i++) p[i] = 0;
    p[l.log_scale] = logf(3);
}

void thaw_gan_critic_init(const struct thaw_gan_shape *s, uint64_t seed, float *p) {
    struct thaw_gan_layout l;
    thaw_gan_critic_layout(s, &l);
    uniform(seed, THAW_STREAM_CRITIC, p, l.first_w, l.second_w - l.first_w, thaw_gan_critic_inputs(s));
    uniform(seed, THAW_STREAM_CRITIC, p, l.second_w, l.n - l.second_w, s->hidden);
}

struct piece {
    float **at;
    int64_t n;
};

// One allocation for all pieces, each on cache lines of its own.
static int carve(float **memory, const struct piece *pieces, size_t npieces, const char *what,
                 struct thaw_err *err) {
    size_t total = 0;
    for (size_t i = 0; i < npieces; i++) total += ((size_t)pieces[i].n + 15) / 16 * 16;
    const int code = thaw_alloc(memory, total, sizeof(float), what, err);
    if (code) return code;
    float *at = *memory;
    for (size_t i = 0; i < npieces; i++) {
        *pieces[i].at = at;
        at += ((size_t)pieces[i].n + 15) / 16 * 16;
    }
    return THAW_OK;
}

int thaw_gan_tape_new(struct thaw_gan_tape **out, const struct thaw_gan_shape *s, int draws,
                      struct thaw_err *err) {
    const int64_t b = THAW_GAN_SLICE, rows = b * draws, wide = thaw_gan_dense_inputs(s), h = s->hidden,
                  k = s->k;
    struct thaw_gan_tape *t;
    int code = thaw_alloc(&t, 1, sizeof *t, "a slice of the generator", err);
    if (code) return code;
    const struct piece pieces[] = {
        {&t->x, rows * wide},  {&t->keep, rows * wide}, {&t->h1, rows * h},  {&t->e2, rows * h},
        {&t->h2, rows * h},    {&t->query, b * k},      {&t->turned, b * k}, {&t->attention, b * s->longest},
        {&t->attended, b * k}, {&t->pooled, b * 2 * k}, {&t->d1, rows * h},  {&t->dpooled, rows * 2 * k}};
    code = carve(&t->memory, pieces, sizeof pieces / sizeof *pieces, "a slice of the generator", err);
    if (code)
        free(t);
    else
        *out = t;
    return code;
}

void thaw_gan_tape_free(struct thaw_gan_tape **t) {
    if (*t) free((*t)->memory);
    free(*t);
    *t = NULL;
}

int thaw_gan_work_new(struct thaw_gan_work **out, const struct thaw_gan_shape *s, int draws,
                      struct thaw_err *err) {
    const int64_t b = THAW_GAN_SLICE, most = b * (draws > 3 ? draws : 3), h = s->hidden, k = s->k;
    struct thaw_gan_work *w;
    int code = thaw_alloc(&w, 1, sizeof *w, "scratch of the generator", err);
    if (code) return code;
    const struct piece pieces[] = {{&w->d2, most * h},  {&w->d1, 3 * b * h},    {&w->h1, 3 * b * h},
                                   {&w->h2, 3 * b * h}, {&w->u, 3 * b * k},     {&w->flat, b * h},
                                   {&w->pooled, b * k}, {&w->dattended, b * k}, {&w->dturned, b * k},
                                   {&w->dquery, b * k}};
    code = carve(&w->memory, pieces, sizeof pieces / sizeof *pieces, "scratch of the generator", err);
    if (code)
        free(w);
    else
        *out = w;
    return code;
}

void thaw_gan_work_free(struct thaw_gan_work **w) {
    if (*w) free((*w)->memory);
    free(*w);
    *w = NULL;
}
