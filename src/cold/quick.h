// quick.h: compact copies of rows of floats, 16 bits a number with one step a row, for sweeps that are bound
// by reading them. A score's error is about 3e-6 of the product of the norms. Private to src/cold. Local;
// sweeps are thread-safe.
#ifndef THAW_COLD_QUICK_H
#define THAW_COLD_QUICK_H

#include "base/err.h"

#include <stdint.h>

struct quick {
    int k, width; // width: k, filled up with zeros to a multiple of 32
    int64_t n;
    int32_t *q;  // n x width / 2: in each block of 32 numbers, word l holds number l (low half) and l + 16;
                 // NULL: there is no copy
    float *step; // n: what a row's numbers are multiplied by
    float *bias; // n: added to a row's product
    float most_step, most_bias; // the largest
};
int quick_new(struct quick *t, int64_t n, int k, struct thaw_err *err);
void quick_clear(struct quick *t);
// Row i from k floats.
void quick_set(struct quick *t, int64_t i, const float *row, float bias);
// out[begin, end) = rows . x + bias, of all out[n]. x: width floats, those from k on are 0.
void quick_sweep(const struct quick *t, const float *x, int64_t begin, int64_t end, float *out);
// No score of x is off by more than this.
double quick_doubt(const struct quick *t, const float *x);
static inline int quick_width(int k) {
    return (k + 31) / 32 * 32;
}

#endif
