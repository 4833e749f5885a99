// quick_kernel.h: dot products of a vector with rows of 16-bit integers, two in each word. Included by
// quick.c once for each vector width, with
//   LANES   floats in a vector: 4, 8 or 16
//   NAME(f) the function's name for this width
//   TARGET  the attribute that lets the compiler use the vectors
// Bound by reading the rows. Local; thread-safe. No include guard on purpose.

typedef float NAME(vec) __attribute__((vector_size(LANES * 4)));
typedef float NAME(loose) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t NAME(word) __attribute__((vector_size(LANES * 4)));
typedef int32_t NAME(loose_word) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

TARGET static inline __attribute__((always_inline)) quad NAME(quarter)(NAME(vec) v) {
    union {
        NAME(vec) v;
        quad part[LANES / 4];
    } all = {v};
    for (int half = LANES / 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) all.part[i] += all.part[i + half];
    return all.part[0];
}

// Four sums over all lanes at once, transposed on the way.
TARGET static inline __attribute__((always_inline)) quad NAME(fold)(const NAME(vec) acc[ROWS]) {
    const quad a = NAME(quarter)(acc[0]), b = NAME(quarter)(acc[1]), c = NAME(quarter)(acc[2]),
               d = NAME(quarter)(acc[3]);
    const quad ab = PICK(a, b, 0, 4, 1, 5) + PICK(a, b, 2, 6, 3, 7),
               cd = PICK(c, d, 0, 4, 1, 5) + PICK(c, d, 2, 6, 3, 7);
    return PICK(ab, cd, 0, 1, 4, 5) + PICK(ab, cd, 2, 3, 6, 7);
}

// x: width floats; a row has width / 2 words.
TARGET static void NAME(sweep)(const struct quick *t, const float *x, int64_t begin, int64_t end,
                               float *out) {
    const int words = t->width / 2;
    for (int64_t i = begin; i < end; i += ROWS) {
        const int32_t *row[ROWS];
        NAME(vec) acc[ROWS] = {{0}};
        for (int r = 0; r < ROWS; r++)
            row[r] = t->q + (i + r < end ? i + r : end - 1) * words; // the last fills up
        for (int j = 0; j < ROWS * words; j += LINE) __builtin_prefetch(row[0] + AHEAD + j);
        for (int j = 0; j < words; j += LANES) {
            const int at =
                j / BLOCK * 2 * BLOCK + j % BLOCK; // of the words' low halves; BLOCK on, of the high ones
            const NAME(vec) low = *(const NAME(loose) *)(x + at),
                            high = *(const NAME(loose) *)(x + at + BLOCK);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) {
                const NAME(word) w = *(const NAME(loose_word) *)(row[r] + j);
                acc[r] += low * __builtin_convertvector((w << 16) >> 16, NAME(vec));
                acc[r] += high * __builtin_convertvector(w >> 16, NAME(vec));
            }
        }
        const quad sums = NAME(fold)(acc);
        for (int r = 0; r < ROWS && i + r < end; r++) out[i + r] = t->step[i + r] * sums[r] + t->bias[i + r];
    }
}

#undef LANES
#undef NAME
#undef TARGET
