// decimal.c: see decimal.h. An embedding row is some 64 numbers and has to be printed in a few microseconds:
// no division, no call, copies of fixed sizes.
#include "base/decimal.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 9, POWERS = 24, COPY = 16 };
static const double power10[POWERS] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                       1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                       1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22, 1e23};
static const double power01[] = {1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};

static inline double scaled_by(int q) {
    return q >= 0 ? power10[q] : power01[-q];
}

// 2^e, |e| < 1023
static inline double power2(int e) {
    const uint64_t bits = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

// v = nine * 10^(exponent - 8) with nine in [10^8, 10^9), as many of its last digits zero as leave it nearer
// to v than half the way to v's neighbours, up to three. v in [1e-14, 1e15).
static inline uint32_t shortest(float v, int *exponent) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const int exponent2 = (int)(bits >> 23) - 127;
    int q = DIGITS - 1 - ((exponent2 * 1233) >> 12); // for floor(log10(v)), or one less
    q -= (double)v * scaled_by(q) >= 1e9;
    const double scale = scaled_by(q), x = (double)v * scale;
    // Half the gap below v, which is the smaller one at powers of two; less what x may be off.
    const double half = power2(exponent2 - (bits & 0x7fffff ? 24 : 25)) * scale - 1e-6;
    const uint32_t nine = (uint32_t)(x + 0.5);
    const uint32_t choice[] = {nine, (nine + 5) / 10 * 10, (nine + 50) / 100 * 100,
                               (nine + 500) / 1000 * 1000};
    const int one = fabs(choice[1] - x) < half, two = one & (fabs(choice[2] - x) < half);
    uint32_t chosen =
        choice[one + two + (two & (fabs(choice[3] - x) < half))]; // sums, not jumps: nobody can predict them
    *exponent = DIGITS - 1 - q;
    if (chosen == 1000000000) { // rounded up
        chosen = 100000000;
        ++*exponent;
    }
    return chosen;
}

// The eight digits of x < 10^8 as bytes 0-9, the first one lowest: two halves of four, four of two, eight,
// all at once.
static inline uint64_t eight_digits(uint32_t x) {
    uint64_t v = x / 10000 | (uint64_t)(x % 10000) << 32;
    const uint64_t hundreds = (v * 10486 >> 20) & 0x7f0000007f;
    v = (v - 100 * hundreds) << 16 | hundreds;
    const uint64_t tens = (v * 103 >> 10) & 0x000f000f000f000f;
    return (v - 10 * tens) << 8 | tens;
}

static size_t put_exponent(char *out, const char *digits, int n, int exponent) {
    size_t at = 0;
    out[at++] = digits[0];
    if (n > 1) {
        out[at++] = '.';
        memcpy(out + at, digits + 1, (size_t)n - 1);
        at += (size_t)n - 1;
    }
    out[at++] = 'e';
    out[at++] = '-';
    out[at++] = (char)('0' + exponent / 10);
    out[at++] = (char)('0' + exponent % 10);
    return at;
}

// n digits, with the point behind the first `whole` of them; digits has room for as many more.
static size_t put_digits(char *out, const char *digits, int n, int whole) {
    if (whole <= -5) return put_exponent(out, digits, n, 1 - whole);
    memcpy(out, digits, COPY);
    if (whole >= n) {
        memset(out + n, '0', (size_t)(whole - n));
        return (size_t)whole;
    }
    out[whole] = '.';
    memcpy(out + whole + 1, digits + whole, DIGITS);
    return (size_t)n + 1;
}

size_t thaw_format_f32(char out[THAW_FORMAT_F32_MAX], float x) {
    const float v = fabsf(x);
    if (!(v >= 1e-14f && v < 1e15f)) return (size_t)snprintf(out, THAW_FORMAT_F32_MAX, "%.9g", (double)x);
    int exponent;
    const uint32_t nine = shortest(v, &exponent), first = nine / 100000000;
    const uint64_t rest = eight_digits(nine - first * 100000000), text = rest | 0x3030303030303030;
    const int n = rest ? DIGITS - __builtin_clzll(rest) / 8 : 1, whole = exponent + 1;
    *out = '-';
    const size_t sign = x < 0;
    out += sign;
    if (whole <= 0 && whole > -5) { // most numbers of a factor: 0.0...
        memcpy(out, "0.00000", 8);
        out[2 - whole] = (char)('0' + first);
        memcpy(out + 3 - whole, &text, sizeof text);
        return sign + (size_t)(2 - whole + n);
    }
    char digits[COPY + DIGITS] = {(char)('0' + first)};
    memcpy(digits + 1, &text, sizeof text);
    return sign + put_digits(out, digits, n, whole);
}
