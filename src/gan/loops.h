// loops.h: the loops of the GAN that are not products: one set per vector unit, chosen at run time. Private;
// thread-safe; nothing allocates; arrays of one call do not overlap unless it says "in place".
//
// loops_template.h holds the code; loops_avx512.c, loops_avx2.c and loops_portable.c compile it. The sets
// agree with each other to rounding; one set gives the same bits always.
#ifndef THAW_GAN_LOOPS_H
#define THAW_GAN_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_gan_moment { // one step of Adam, its corrections worked out
    float beta1, beta2, epsilon, weight_decay;
    float rate; // rate / (1 - beta1^t)
    float root; // 1 / sqrt(1 - beta2^t)
    float keep; // of the average
};

struct thaw_gan_loops {
    const char *name;
    void (*elu)(float *x, size_t n);                         // in place: x > 0 ? x : e^x - 1
    void (*elu_slope)(const float *y, float *d, size_t n);   // d *= elu', y = elu(x)
    void (*leaky)(float *x, size_t n);                       // in place: x > 0 ? x : .2 x
    void (*leaky_slope)(const float *y, float *d, size_t n); // d *= leaky', y = leaky(x)
    void (*add)(const float *x, const float *y, float *out, size_t n);
    void (*axpy)(float a, const float *x, float *y, size_t n); // y += a x
    float (*dot)(const float *x, const float *y, size_t n);
    void (*columns)(const float *x, int rows, int n, float *sum); // sum[n] += the columns of x
    // keep[n]: 0 where the input is dropped, else `scale`; columns first, first + 1, ...; gan/dropout.h
    void (*drop)(uint32_t row_key, uint32_t first, uint32_t below, float scale, float *keep, size_t n);
    void (*times)(const float *x, float *y, size_t n); // y *= x
    float (*most)(const float *x, size_t n);           // -inf for n = 0; the sum of exp tells of NaN
    double (*exp)(float *x, float most,
                  size_t n); // in place: e^(x - most), most >= x, 0 below e^-87; their sum
    void (*scale)(float a, float *x, float *sum, size_t n); // in place: x *= a, then sum += x
    bool (*adam)(const struct thaw_gan_moment *a, const float *g, float *p, float *m, float *v,
                 float *averaged,
                 size_t n); // false: a parameter is not finite; averaged may be NULL
};
extern const struct thaw_gan_loops thaw_gan_loops_portable;
#if defined(__x86_64__)
extern const struct thaw_gan_loops thaw_gan_loops_avx2, thaw_gan_loops_avx512;
#endif

// The set for this machine, or the one that the environment's THAW_KERNELS names (portable, avx2, avx512)
// where the machine has it.
const struct thaw_gan_loops *thaw_gan_loop_set(void);
void thaw_gan_loops_use(const char *name); // that set where the machine has it; NULL: as at first. For tests

#endif
