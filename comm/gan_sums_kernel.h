// gan_sums_kernel.h: rounding terms to integers and back, for one vector unit. Included by gan_sums.c once
// for each, with LANES (doubles in a vector), TARGET (the function attribute) and NAME(f). The same bits on
// every unit: each step is exact, but for the one rounding of a term and of a sum. Local; thread-safe. No
// include guard on purpose.

typedef double NAME(wide) __attribute__((vector_size(LANES * 8)));
typedef uint64_t NAME(whole) __attribute__((vector_size(LANES * 8))); // unsigned: what is too large wraps
typedef float NAME(narrow) __attribute__((vector_size(LANES * 4)));
typedef float NAME(loose_narrow) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef uint64_t NAME(loose_unsigned) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
typedef int64_t NAME(loose_whole) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));

// acc += round(factor x), n of them, or acc = that (first: acc means nothing yet); false when one is not
// finite or not below 2^51. Adding 1.5 * 2^52 leaves the rounded term in the last bits and the exponent as it
// is, unless the term is too large. Bound by memory: 20 bytes a term, 12 of the first.
TARGET static bool NAME(add)(int64_t *acc, bool first, const float *x, size_t n, double factor) {
    NAME(whole) spoilt = {0};
    uint64_t bad = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const NAME(wide) y = __builtin_convertvector(*(const NAME(loose_narrow) *)(x + i), NAME(wide));
        const NAME(whole) bits = (NAME(whole))(y * factor + 0x1.8p52);
        spoilt |= bits ^ EXPONENT;
        NAME(loose_unsigned) *to = (NAME(loose_unsigned) *)(acc + i);
        if (first)
            *to = bits - MAGIC;
        else
            *to += bits - MAGIC;
    }
    for (int j = 0; j < LANES; j++) bad |= spoilt[j];
    for (; i < n; i++) {
        const double y = (double)x[i] * factor + 0x1.8p52;
        uint64_t bits;
        memcpy(&bits, &y, sizeof bits);
        bad |= bits ^ EXPONENT;
        acc[i] = (int64_t)((first ? 0 : (uint64_t)acc[i]) + (bits - MAGIC));
    }
    return bad >> 52 == 0;
}

// out = acc in units; returns the largest magnitude.
TARGET static double NAME(get)(float *out, const int64_t *acc, size_t n, double unit) {
    NAME(whole) most = {0};
    double largest = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        const NAME(wide) y =
            __builtin_convertvector(*(const NAME(loose_whole) *)(acc + i), NAME(wide)) * unit;
        const NAME(whole) size = (NAME(whole))y & INT64_MAX,
                          larger = size > most; // bits of doubles above 0 sort
        most = (size & larger) | (most & ~larger);
        *(NAME(loose_narrow) *)(out + i) = __builtin_convertvector(y, NAME(narrow));
    }
    for (int j = 0; j < LANES; j++) largest = fmax(largest, ((NAME(wide))most)[j]);
    for (; i < n; i++) {
        out[i] = (float)((double)acc[i] * unit);
        largest = fmax(largest, fabs((double)acc[i] * unit));
    }
    return largest;
}

#undef LANES
#undef TARGET
#undef NAME
