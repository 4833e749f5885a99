// lanes.c: the vector loops of the solvers. Bound by loads from L1/L2: two flops per float read.
//
// Vectors of 8 floats serve AVX2 and AVX-512 alike (16 lanes lower badly to AVX2). The sums' order is fixed
// by the lengths, but a machine with fused multiply-add rounds differently from one without: the same bits
// mean the same kind of CPU.
#include "als/work.h"

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));

#define LOAD(p) (*(const v8 *)(p))
#define FOLD(v) ((((v)[0] + (v)[4]) + ((v)[2] + (v)[6])) + (((v)[1] + (v)[5]) + ((v)[3] + (v)[7])))

THAW_ALS_CLONES void thaw_als_dots(const float *tile, int dp, const float *p, float t[THAW_ALS_TILE]) {
    for (int i = 0; i < THAW_ALS_TILE; i += 4) { // four rows at once: eight independent chains
        const float *y = tile + (ptrdiff_t)i * dp;
        v8 a[4] = {{0}}, b[4] = {{0}};
        for (int j = 0; j < dp; j += THAW_ALS_LANES) {
            const v8 p0 = LOAD(p + j), p1 = LOAD(p + j + 8);
            for (int q = 0; q < 4; q++) {
                a[q] += LOAD(y + (ptrdiff_t)q * dp + j) * p0;
                b[q] += LOAD(y + (ptrdiff_t)q * dp + j + 8) * p1;
            }
        }
        for (int q = 0; q < 4; q++) {
            const v8 s = a[q] + b[q];
            t[i + q] = FOLD(s);
        }
    }
}

THAW_ALS_CLONES void thaw_als_axpys(const float *tile, int dp, const float t[THAW_ALS_TILE], float *out) {
    for (int j = 0; j < dp; j += THAW_ALS_LANES) {
        v8 a = LOAD(out + j), b = LOAD(out + j + 8), c = {0},
           d = {0}; // two chains per column hide the latency
        for (int i = 0; i < THAW_ALS_TILE; i += 2) {
            const float *y = tile + (ptrdiff_t)i * dp + j;
            a += t[i] * LOAD(y);
            b += t[i] * LOAD(y + 8);
            c += t[i + 1] * LOAD(y + dp);
            d += t[i + 1] * LOAD(y + dp + 8);
        }
        *(v8 *)(out + j) = a + c;
        *(v8 *)(out + j + 8) = b + d;
    }
}

THAW_ALS_CLONES void thaw_als_squares(const float *tile, int dp, const float t[THAW_ALS_TILE], float *out) {
    for (int j = 0; j < dp; j += 8) {
        v8 a = LOAD(out + j);
        for (int i = 0; i < THAW_ALS_TILE; i++) {
            const v8 y = LOAD(tile + (ptrdiff_t)i * dp + j);
            a += t[i] * y * y;
        }
        *(v8 *)(out + j) = a;
    }
}

THAW_ALS_CLONES float thaw_als_dot(const float *a, const float *b, int n) {
    v8 s = {0}, t = {0};
    int j = 0;
    for (; j + THAW_ALS_LANES <= n; j += THAW_ALS_LANES) {
        s += LOAD(a + j) * LOAD(b + j);
        t += LOAD(a + j + 8) * LOAD(b + j + 8);
    }
    float tail = 0;
    for (; j < n; j++) tail += a[j] * b[j];
    const v8 sum = s + t;
    return FOLD(sum) + tail;
}
