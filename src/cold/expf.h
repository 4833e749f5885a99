// expf.h: e^x of floats without calls or branches, so that loops over it become vectors. Header only; local;
// thread-safe. Relative error below 3e-7 for x in [-87, 88]; beyond them x is taken for the end of the range.
// NaN stays NaN.
#ifndef THAW_COLD_EXPF_H
#define THAW_COLD_EXPF_H

#include <stdint.h>
#include <string.h>

// x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its series' first terms, 2^n by the exponent's bits. Adding and
// subtracting 1.5 2^23 rounds to a whole number, whose low bits then stand in the sum.
static inline __attribute__((always_inline)) float thaw_expf(float x) {
    const float low = -87.0F, high = 88.0F, whole = 12582912.0F;
    x = x < low ? low : x;
    x = x > high ? high : x;
    const float sum = x * 1.44269504F + whole, n = sum - whole;
    const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
    float p = 1.0F / 5040;
    p = p * r + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r + 1.0F;
    p = p * r + 1.0F;
    uint32_t bits;
    float scale;
    memcpy(&bits, &sum, sizeof bits);
    bits = (bits + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

#endif
