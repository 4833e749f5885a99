// quick.c: see quick.h.
#include "cold/quick.h"

#include "base/mem.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>

enum { ROWS = 4, MOST = 32767, BLOCK = 16, LINE = 16, AHEAD = 1024 }; // LINE, AHEAD: in words

typedef float quad __attribute__((vector_size(16)));
#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t quad_mask __attribute__((vector_size(16)));
#define PICK(a, b, ...) __builtin_shuffle(a, b, (quad_mask){__VA_ARGS__})
#endif

#define LANES   4
#define NAME(f) f##_portable
#define TARGET
#include "cold/quick_kernel.h"

#ifdef __x86_64__
#define LANES   8
#define NAME(f) f##_avx2
#define TARGET  __attribute__((target("avx2,fma")))
#include "cold/quick_kernel.h"

#define LANES   16
#define NAME(f) f##_avx512
#define TARGET  __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma")))
#include "cold/quick_kernel.h"
#endif

int quick_new(struct quick *t, int64_t n, int k, struct thaw_err *err) {
    static const char what[] = "a compact copy of the items";
    *t = (struct quick){.k = k, .width = quick_width(k), .n = n};
    int code = thaw_alloc(&t->q, (size_t)n * (size_t)(t->width / 2), sizeof *t->q, what, err);
    if (!code) code = thaw_alloc(&t->step, (size_t)n, sizeof *t->step, what, err);
    if (!code) code = thaw_alloc(&t->bias, (size_t)n, sizeof *t->bias, what, err);
    if (code) quick_clear(t);
    return code;
}

void quick_clear(struct quick *t) {
    free(t->q);
    free(t->step);
    free(t->bias);
    *t = (struct quick){0};
}

void quick_set(struct quick *t, int64_t i, const float *row, float bias) {
    float most = 0;
    uint32_t *words = (uint32_t *)t->q + i * (t->width / 2);
    for (int j = 0; j < t->k; j++) most = fabsf(row[j]) <= most ? most : fabsf(row[j]); // NaN goes through
    const float scale = most > 0 && isfinite(most) ? (float)MOST / most : 0;
    t->step[i] = most / (float)MOST;
    t->bias[i] = bias;
    if (t->step[i] > t->most_step) t->most_step = t->step[i];
    if (fabsf(bias) > t->most_bias) t->most_bias = fabsf(bias);
    for (int j = 0; j < t->k; j++) {
        const uint32_t number = (uint16_t)(int16_t)(isfinite(row[j]) ? lrintf(row[j] * scale) : 0);
        const int word = j / (2 * BLOCK) * BLOCK + j % BLOCK;
        words[word] |= j / BLOCK % 2 ? number << 16 : number;
    }
}

// A number of a row is off by half a step; each of the k multiply-adds rounds a sum that is at most the row's
// largest numbers times x, and so does the bias.
double quick_doubt(const struct quick *t, const float *x) {
    const double round = ldexp(1, -23);
    double sum = 0;
    for (int j = 0; j < t->k; j++) sum += fabs((double)x[j]);
    sum *= (double)t->most_step;
    return sum * (.5 + round * (t->k + 8) * MOST) + 2 * round * (double)t->most_bias;
}

void quick_sweep(const struct quick *t, const float *x, int64_t begin, int64_t end, float *out) {
    switch (thaw_score_best()) {
#ifdef __x86_64__
    case THAW_SCORE_AVX512:
        sweep_avx512(t, x, begin, end, out);
        break;
    case THAW_SCORE_AVX2:
        sweep_avx2(t, x, begin, end, out);
        break;
#endif
    default:
        sweep_portable(t, x, begin, end, out);
    }
}
