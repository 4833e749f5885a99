// rough.c: see rough.h. The product of 16-bit numbers that adds up neighbours (pmaddwd) is in no portable
// vector type, and compilers find it only where they also add up each row's lanes by themselves: by hand for
// AVX2, bit for bit what the plain loop says.
#include "cold/rough.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

enum { MOST = 127, VECTOR_MOST = 32767, HALF = 16, ROWS = 4, LINE = 64, AHEAD = 4096 };

int rough_new(struct rough *t, int64_t n, int k, struct thaw_err *err) {
    static const char what[] = "a rough copy of the items";
    *t = (struct rough){.k = k, .width = (k + HALF - 1) / HALF * HALF, .n = n};
    int code = thaw_alloc(&t->q, (size_t)n * (size_t)t->width, sizeof *t->q, what, err);
    if (!code) code = thaw_alloc(&t->step, (size_t)n, sizeof *t->step, what, err);
    if (code) rough_clear(t);
    return code;
}

void rough_clear(struct rough *t) {
    free(t->q);
    free(t->step);
    *t = (struct rough){0};
}

static float largest(const float *x, int k) {
    float most = 0;
    for (int j = 0; j < k; j++) most = fabsf(x[j]) > most ? fabsf(x[j]) : most;
    return most;
}

// The step is rounded up, so that no number is beyond MOST steps.
void rough_set(struct rough *t, int64_t i, const float *row) {
    t->step[i] = nextafterf(largest(row, t->k) / (float)MOST, INFINITY);
    for (int j = 0; j < t->k; j++)
        t->q[i * t->width + j] = (int8_t)lrint((double)row[j] / (double)t->step[i]);
}

// A row is step (q + r) with |r| <= 1/2, the vector x.step (x.q + s) with |s| <= 1/2. Left out of the product
// are r . x, at most |x|_1 / 2, and q . x.step s, at most MOST k x.step / 2, both times the row's step;
// rounding to floats afterwards adds less than a hundredth of the former.
void rough_vector_set(const struct rough *t, const float *x, struct rough_vector *v) {
    const int64_t fit = INT32_MAX / ((int64_t)MOST * t->width); // sums of the products are 32-bit numbers
    const double limit = fit < VECTOR_MOST ? (double)fit : VECTOR_MOST;
    double sum = 0;
    memset(v->q, 0, (size_t)t->width * sizeof *v->q);
    v->step = nextafterf((float)((double)largest(x, t->k) / limit), INFINITY);
    for (int j = 0; j < t->k; j++) {
        v->q[j] = (int16_t)lrint((double)x[j] / (double)v->step);
        sum += fabs((double)x[j]);
    }
    v->doubt = (float)(.51 * (sum + (double)MOST * t->k * (double)v->step));
}

static void sweep_portable(const struct rough *t, const struct rough_vector *x, int64_t begin, int64_t end,
                           float *out) {
    for (int64_t i = begin; i < end; i++) {
        const int8_t *row = t->q + i * t->width;
        int32_t sum = 0;
        for (int j = 0; j < t->width; j++) sum += (int16_t)row[j] * x->q[j];
        out[i] = x->step * t->step[i] * (float)sum;
    }
}

#ifdef __x86_64__
// Four rows at a time: the sums over their lanes are taken together. Rows that will be needed are asked for
// early, as the processor by itself stops at the end of a page.
#define AVX2 __attribute__((target("avx2,fma")))
AVX2 static inline __m256i add_half(__m256i sum, const int8_t *row, __m256i x) {
    const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)row));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(y, x));
}

AVX2 static void sweep_avx2(const struct rough *t, const struct rough_vector *x, int64_t begin, int64_t end,
                            float *out) {
    int64_t i = begin;
    for (; i + ROWS <= end; i += ROWS) {
        const int8_t *row = t->q + i * t->width;
        __m256i sum[ROWS] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                             _mm256_setzero_si256()};
        for (int j = 0; j < ROWS * t->width; j += LINE) __builtin_prefetch(row + AHEAD + j);
        for (int j = 0; j < t->width; j += HALF) {
            const __m256i q = _mm256_loadu_si256((const __m256i *)(const void *)(x->q + j));
            for (int r = 0; r < ROWS; r++) sum[r] = add_half(sum[r], row + r * t->width + j, q);
        }
        const __m256i all =
            _mm256_hadd_epi32(_mm256_hadd_epi32(sum[0], sum[1]), _mm256_hadd_epi32(sum[2], sum[3]));
        const __m128 sums =
            _mm_cvtepi32_ps(_mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
        const __m128 step = _mm_mul_ps(_mm_set1_ps(x->step), _mm_loadu_ps(t->step + i));
        _mm_storeu_ps(out + i, _mm_mul_ps(step, sums));
    }
    sweep_portable(t, x, i, end, out);
}
#endif

void rough_sweep_on(enum thaw_score_unit unit, const struct rough *t, const struct rough_vector *x,
                    int64_t begin, int64_t end, float *out) {
#ifdef __x86_64__
    if (unit >= THAW_SCORE_AVX2) {
        sweep_avx2(t, x, begin, end, out);
        return;
    }
#endif
    (void)unit;
    sweep_portable(t, x, begin, end, out);
}

void rough_sweep(const struct rough *t, const struct rough_vector *x, int64_t begin, int64_t end,
                 float *out) {
    rough_sweep_on(thaw_score_best(), t, x, begin, end, out);
}
