// norm.c: eight sums side by side, so that the compiler can keep them in vectors.
#include "dense/norm.h"

enum { LANES = 8 };

double thaw_norm2(const float *x, int n) {
    double sum[LANES] = {0};
    int j = 0;
    for (; j + LANES <= n; j += LANES)
        for (int i = 0; i < LANES; i++) sum[i] += (double)x[j + i] * x[j + i];
    for (int i = 0; j < n; i++, j++) sum[i] += (double)x[j] * x[j];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}
