// expf.h: e^x and log x without calls or branches, so that loops over them become vectors. Header only;
// local; thread-safe. NaN stays NaN.
//   thaw_expf  relative error below 3e-7 for x in [-87, 88]; beyond them x is taken for the end of the range
//   thaw_exp   relative error below 1e-13 for x in [-708, 708], likewise
//   thaw_log   relative error below 1e-13, or 1e-15 where the logarithm is smaller; normal x above 0 only
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

static inline __attribute__((always_inline)) double thaw_exp(double x) {
    const double low = -708, high = 708, whole = 6755399441055744.0; // 1.5 2^52
    x = x < low ? low : x;
    x = x > high ? high : x;
    const double sum = x * 1.4426950408889634 + whole, n = sum - whole;
    const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    double scale;
    memcpy(&bits, &sum, sizeof bits);
    bits = (bits + 1023) << 52;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

// x = 2^n m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh(s) with s = (m - 1) / (m + 1), by its series. The
// exponent becomes a number by standing in the last bits of 2^52.
static inline __attribute__((always_inline)) double thaw_log(double x) {
    const uint64_t half_root = 0x3fe6a09e667f3bcdULL, exponent = 0x7ff0000000000000ULL;
    uint64_t bits, up;
    double m, n;
    memcpy(&bits, &x, sizeof bits);
    up = bits - half_root + 0x3ff0000000000000ULL; // its exponent is n + 1023
    bits -= (up & exponent) - 0x3ff0000000000000ULL;
    memcpy(&m, &bits, sizeof m);
    up = up >> 52 | 0x4330000000000000ULL;
    memcpy(&n, &up, sizeof n);
    n -= 4503599627370496.0 + 1023;
    const double s = (m - 1) / (m + 1), q = s * s;
    double p = 1.0 / 19;
    p = p * q + 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    p = p * q + 1.0;
    return n * 0.693147180559945309417 + 2 * s * p;
}

#endif
