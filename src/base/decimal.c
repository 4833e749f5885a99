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

// v = digits * 10^-q with at most 9 digits, the fewest that lie nearer to v than half the way to its
// neighbours. v in [1e-14, 1e15).
static inline uint32_t shortest(float v, int *q) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const int exponent2 = (int)(bits >> 23) - 127;
    *q = DIGITS - 1 - ((exponent2 * 1233) >> 12); // for floor(log10(v)), or one less
    *q -= (double)v * scaled_by(*q) >= 1e9;
    const double scale = scaled_by(*q), x = (double)v * scale;
    // Half the gap below v, which is the smaller one at powers of two; less what x may be off.
    const double half = power2(exponent2 - (bits & 0x7fffff ? 24 : 25)) * scale - 1e-6;
    const uint32_t nine = (uint32_t)(x + 0.5);
    const uint32_t choice[] = {nine, (nine + 5) / 10, (nine + 50) / 100, (nine + 500) / 1000};
    const int one = fabs(choice[1] * 1e1 - x) < half, two = one & (fabs(choice[2] * 1e2 - x) < half);
    const int cut =
        one + two + (two & (fabs(choice[3] * 1e3 - x) < half)); // sums, not jumps: they are not predictable
    *q -= cut;
    return choice[cut];
}

static const char pairs[] =
    "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
    "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

// The digits without trailing zeros; q follows. Digits land at the end of text, which has COPY bytes beyond
// them.
static inline const char *put_digits(char text[2 * COPY], uint32_t x, int *n, int *q) {
    char *first = text + COPY;
    while (x >= 100) {
        const uint32_t rest = x % 100;
        x /= 100;
        first -= 2;
        memcpy(first, pairs + 2 * rest, 2);
    }
    first -= 2;
    memcpy(first, pairs + 2 * x, 2);
    first += x < 10;
    *n = (int)(text + COPY - first);
    while (first[*n - 1] == '0') {
        --*n;
        --*q;
    }
    return first;
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

size_t thaw_format_f32(char out[THAW_FORMAT_F32_MAX], float x) {
    const float v = fabsf(x);
    if (!(v >= 1e-14f && v < 1e15f)) return (size_t)snprintf(out, THAW_FORMAT_F32_MAX, "%.9g", (double)x);
    char room[2 * COPY];
    int q, n;
    const uint32_t digits = shortest(v, &q);
    const char *text = put_digits(room, digits, &n, &q);
    const int whole = n - q; // digits before the point
    *out = '-';
    const size_t sign = x < 0;
    out += sign;
    if (whole <= -5) return sign + put_exponent(out, text, n, 1 - whole);
    if (whole <= 0) {
        memcpy(out, "0.0000", 6);
        memcpy(out + 2 - whole, text, COPY);
        return sign + (size_t)(2 - whole + n);
    }
    memcpy(out, text, COPY);
    if (q <= 0) {
        memset(out + n, '0', (size_t)-q);
        return sign + (size_t)whole;
    }
    out[whole] = '.';
    memcpy(out + whole + 1, text + whole, (size_t)q);
    return sign + (size_t)n + 1;
}
