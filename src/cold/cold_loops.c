// cold_loops.c: see cold_loops.h. Each loop is written once and compiled for each vector unit.
#include "cold/cold_loops.h"

#include "cold/expf.h"
#include "dense/score.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

enum { LANES = 16, RUN = 1024 }; // floats are summed for a run at most, then in double

#define INLINE static inline __attribute__((always_inline))

INLINE float max_loop(const float *x, int64_t n) {
    float most[LANES], all = -INFINITY;
    int64_t i = 0;
    for (int l = 0; l < LANES; l++) most[l] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) most[l] = x[i + l] > most[l] ? x[i + l] : most[l];
    for (int l = 0; l < LANES; l++) all = most[l] > all ? most[l] : all;
    for (; i < n; i++) all = x[i] > all ? x[i] : all;
    return all;
}

INLINE double exp_loop(float *x, int64_t n, float most) {
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += RUN) {
        const int64_t end = begin + RUN < n ? begin + RUN : n;
        float sum[LANES] = {0}, rest = 0;
        int64_t i = begin;
        for (; i + LANES <= end; i += LANES)
            for (int l = 0; l < LANES; l++) {
                const float e = thaw_expf(x[i + l] - most);
                x[i + l] = e;
                sum[l] += e;
            }
        for (; i < end; i++) rest += x[i] = thaw_expf(x[i] - most);
        for (int l = 0; l < LANES; l++) total += (double)sum[l];
        total += (double)rest;
    }
    return total;
}

INLINE void elu_loop(float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float e = thaw_expf(x[i]) - 1;
        x[i] = x[i] > 0 ? x[i] : e;
    }
}

INLINE void sums_loop(const float *x, int64_t n, double about, double sum[2]) {
    double one[LANES] = {0}, two[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const double d = (double)x[i + l] - about;
            one[l] += (double)x[i + l];
            two[l] += d * d;
        }
    sum[0] = sum[1] = 0;
    for (int l = 0; l < LANES; l++) {
        sum[0] += one[l];
        sum[1] += two[l];
    }
    for (; i < n; i++) {
        sum[0] += (double)x[i];
        sum[1] += ((double)x[i] - about) * ((double)x[i] - about);
    }
}

INLINE void scaled_loop(const float *x, int64_t n, double a, double b, int add, float *y) {
    const float slope = (float)a, offset = (float)b;
    if (add)
        for (int64_t i = 0; i < n; i++) y[i] += slope * (x[i] - offset);
    else
        for (int64_t i = 0; i < n; i++) y[i] = slope * (x[i] - offset);
}

INLINE void bounds_loop(const float *const x[COLD_TERMS], const float slope[COLD_TERMS],
                        const float slack[COLD_TERMS], int64_t n, float *restrict lower,
                        float *restrict upper) {
    const float *const a = x[0], *const b = x[1], *const c = x[2], *const d = x[3], *const e = x[4];
    for (int64_t i = 0; i < n; i++) {
        const float middle =
            slope[0] * a[i] + slope[1] * b[i] + slope[2] * c[i] + slope[3] * d[i] + slope[4] * e[i];
        const float off = slack[0] * fabsf(a[i]) + slack[1] * fabsf(b[i]) + slack[2] * fabsf(c[i]) +
                          slack[3] * fabsf(d[i]) + slack[4] * fabsf(e[i]);
        lower[i] = middle - off;
        upper[i] = middle + off;
    }
}

INLINE void log_loop(double *y, const double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += thaw_log(x[i] > DBL_MIN ? x[i] : DBL_MIN);
}

INLINE void exp_wide_loop(double *x, int64_t n, double most) {
    for (int64_t i = 0; i < n; i++) x[i] = thaw_exp(x[i] - most);
}

INLINE void axpy_loop(float *y, const float *x, float a, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

#define FOR_UNIT(unit, TARGET)                                                                               \
    TARGET static float max_##unit(const float *x, int64_t n) {                                              \
        return max_loop(x, n);                                                                               \
    }                                                                                                        \
    TARGET static double exp_##unit(float *x, int64_t n, float most) {                                       \
        return exp_loop(x, n, most);                                                                         \
    }                                                                                                        \
    TARGET static void elu_##unit(float *x, int64_t n) {                                                     \
        elu_loop(x, n);                                                                                      \
    }                                                                                                        \
    TARGET static void sums_##unit(const float *x, int64_t n, double about, double sum[2]) {                 \
        sums_loop(x, n, about, sum);                                                                         \
    }                                                                                                        \
    TARGET static void scaled_##unit(const float *x, int64_t n, double a, double b, int add, float *y) {     \
        scaled_loop(x, n, a, b, add, y);                                                                     \
    }                                                                                                        \
    TARGET static void bounds_##unit(const float *const x[COLD_TERMS], const float slope[COLD_TERMS],        \
                                     const float slack[COLD_TERMS], int64_t n, float *lower, float *upper) { \
        bounds_loop(x, slope, slack, n, lower, upper);                                                       \
    }                                                                                                        \
    TARGET static void log_##unit(double *y, const double *x, int64_t n) {                                   \
        log_loop(y, x, n);                                                                                   \
    }                                                                                                        \
    TARGET static void exp_wide_##unit(double *x, int64_t n, double most) {                                  \
        exp_wide_loop(x, n, most);                                                                           \
    }                                                                                                        \
    TARGET static void axpy_##unit(float *y, const float *x, float a, int64_t n) {                           \
        axpy_loop(y, x, a, n);                                                                               \
    }

FOR_UNIT(portable, )
#ifdef __x86_64__
FOR_UNIT(avx2, __attribute__((target("avx2,fma"))))
FOR_UNIT(avx512, __attribute__((target("avx512f,avx512vl,avx512dq,avx2,fma,prefer-vector-width=512"))))

#define DISPATCH(f, ...)                                                                                     \
    switch (thaw_score_best()) {                                                                             \
    case THAW_SCORE_AVX512:                                                                                  \
        return f##_avx512(__VA_ARGS__);                                                                      \
    case THAW_SCORE_AVX2:                                                                                    \
        return f##_avx2(__VA_ARGS__);                                                                        \
    default:                                                                                                 \
        return f##_portable(__VA_ARGS__);                                                                    \
    }
#else
#define DISPATCH(f, ...) return f##_portable(__VA_ARGS__)
#endif

float cold_max(const float *x, int64_t n) {
    DISPATCH(max, x, n);
}

double cold_exp(float *x, int64_t n, float most) {
    DISPATCH(exp, x, n, most);
}

void cold_elu(float *x, int64_t n) {
    DISPATCH(elu, x, n);
}

void cold_sums(const float *x, int64_t n, double about, double sum[2]) {
    DISPATCH(sums, x, n, about, sum);
}

void cold_scaled(const float *x, int64_t n, double a, double b, int add, float *y) {
    DISPATCH(scaled, x, n, a, b, add, y);
}

void cold_bounds(const float *const x[COLD_TERMS], const float slope[COLD_TERMS],
                 const float slack[COLD_TERMS], int64_t n, float *lower, float *upper) {
    DISPATCH(bounds, x, slope, slack, n, lower, upper);
}

void cold_log(double *y, const double *x, int64_t n) {
    DISPATCH(log, y, x, n);
}

void cold_exp_wide(double *x, int64_t n, double most) {
    DISPATCH(exp_wide, x, n, most);
}

void cold_axpy(float *y, const float *x, float a, int64_t n) {
    DISPATCH(axpy, y, x, a, n);
}
