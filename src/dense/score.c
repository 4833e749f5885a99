// score.c: choosing the scoring kernel, and cutting the work into blocks that stay in the cache.
//
// One user is bound by the bytes of y; four and more by multiply-adds. See score_kernel.h for the sums.
#include "dense/score.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { ROWS = 4, BLOCK_BYTES = 128 << 10 }; // rows scored together; rows of y that stay in the L2 cache

typedef float quad __attribute__((vector_size(16)));
typedef float loose_quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef double wide __attribute__((vector_size(32)));

// A vector loaded from here masks its first lanes out: window + 16 - lanes + n keeps the last n.
static const int32_t window[32] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                   -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};

// PICK(a, b, i, j, k, l): in each quad, lanes i..l of the same quad of a (0 to 3) and of b (4 to 7).
#define LANE(i, q)          ((i) < 4 ? (i) + 4 * (q) : (i)-4 + LANES + 4 * (q))
#define QUAD(i, j, k, l, q) LANE(i, q), LANE(j, q), LANE(k, q), LANE(l, q)
#define LANES_4(...)        QUAD(__VA_ARGS__, 0)
#define LANES_8(...)        QUAD(__VA_ARGS__, 0), QUAD(__VA_ARGS__, 1)
#define LANES_16(...)       LANES_8(__VA_ARGS__), QUAD(__VA_ARGS__, 2), QUAD(__VA_ARGS__, 3)
#if defined(__clang__) || __GNUC__ >= 12
#define PICK(a, b, ...) __builtin_shufflevector(a, b, SPREAD(__VA_ARGS__))
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, (NAME(mask)){SPREAD(__VA_ARGS__)})
#endif

#define LANES       4
#define USERS       2
#define SPREAD(...) LANES_4(__VA_ARGS__)
#define NAME(f)     f##_portable
#define TARGET
#include "dense/score_kernel.h"

#ifdef __x86_64__
#define LANES       8
#define USERS       2
#define SPREAD(...) LANES_8(__VA_ARGS__)
#define NAME(f)     f##_avx2
#define TARGET      __attribute__((target("avx2,fma")))
#include "dense/score_kernel.h"

#define LANES       16
#define USERS       4
#define SPREAD(...) LANES_16(__VA_ARGS__)
#define NAME(f)     f##_avx512
#define TARGET      __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma")))
#include "dense/score_kernel.h"
#endif

enum thaw_score_unit thaw_score_best(void) {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return THAW_SCORE_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return THAW_SCORE_AVX2;
#endif
    return THAW_SCORE_PORTABLE;
}

// Fewer columns than the narrowest vector has lanes.
static void score_few(const float *x, int64_t nx, const float *y, int64_t pitch, int64_t nrows, int columns,
                      float *out, int64_t stride) {
    for (int64_t u = 0; u < nx; u++)
        for (int64_t i = 0; i < nrows; i++) {
            float sum = 0;
            for (int j = 0; j < columns; j++) sum += x[u * columns + j] * y[i * pitch + j];
            out[u * stride + i] = sum;
        }
}

typedef void score_fn(const float *x, int64_t nx, const float *y, int64_t pitch, int64_t nrows, int columns,
                      float *out, int64_t stride);

// The widest vectors that the unit has and a row fills: a function of the columns alone on one machine.
static score_fn *choose(enum thaw_score_unit unit, int columns) {
#ifdef __x86_64__
    if (unit == THAW_SCORE_AVX512 && columns >= 16) return score_avx512;
    if (unit >= THAW_SCORE_AVX2 && columns >= 8) return score_avx2;
#endif
    (void)unit;
    return columns >= 4 ? score_portable : score_few;
}

static void score_blocks(enum thaw_score_unit unit, const float *x, int64_t nx, const float *y, int64_t pitch,
                         int64_t nrows, int columns, float *out) {
    score_fn *score = choose(unit, columns);
    int64_t step = BLOCK_BYTES / ((int64_t)columns * (int64_t)sizeof *y) / ROWS * ROWS + ROWS;
    for (int64_t i = 0; i < nrows; i += step) {
        int64_t n = nrows - i < step ? nrows - i : step;
        score(x, nx, y + i * pitch, pitch, n, columns, out + i, nrows);
    }
}

void thaw_score_on(enum thaw_score_unit unit, const float *x, int64_t nx, const float *y, int64_t nrows,
                   int columns, float *out) {
    score_blocks(unit, x, nx, y, columns, nrows, columns, out);
}

void thaw_score(const float *x, int64_t nx, const float *y, int64_t nrows, int columns, float *out) {
    score_blocks(thaw_score_best(), x, nx, y, columns, nrows, columns, out);
}

void thaw_score_pitch(const float *x, int64_t nx, const float *y, int64_t pitch, int64_t nrows, int columns,
                      float *out) {
    score_blocks(thaw_score_best(), x, nx, y, pitch, nrows, columns, out);
}

void thaw_norms(const float *y, int64_t nrows, int k, int columns, float *out) {
    switch (thaw_score_best()) {
#ifdef __x86_64__
    case THAW_SCORE_AVX512:
        norms_avx512(y, nrows, k, columns, out);
        return;
    case THAW_SCORE_AVX2:
        norms_avx2(y, nrows, k, columns, out);
        return;
#endif
    default:
        norms_portable(y, nrows, k, columns, out);
    }
}
