// score_kernel.h: the scoring kernel for one width of vectors. Included by score.c once for each, with
//   LANES   floats in a vector: 4, 8 or 16
//   SPREAD  the lanes of PICK for as many quads as there are
//   USERS   users scored together at most: accumulators are USERS x ROWS registers
//   NAME(f) the function's name for this width
//   TARGET  the attribute that lets the compiler use the vectors
// Local; thread-safe. No include guard on purpose.

typedef float NAME(vec) __attribute__((vector_size(LANES * 4)));
typedef float NAME(loose)
    __attribute__((vector_size(LANES * 4), aligned(4), may_alias)); // loads from anywhere
typedef int32_t NAME(mask) __attribute__((vector_size(LANES * 4)));
typedef int32_t NAME(loose_mask) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

// Four sums over all lanes at once, transposed on the way. The order is that of one sum: in each quad lanes 0
// + 2 and 1 + 3, these two, then the quads, halves first.
TARGET static inline __attribute__((always_inline)) quad NAME(fold)(const NAME(vec) acc[ROWS]) {
    NAME(vec) ab = PICK(acc[0], acc[1], 0, 4, 1, 5) + PICK(acc[0], acc[1], 2, 6, 3, 7);
    NAME(vec) cd = PICK(acc[2], acc[3], 0, 4, 1, 5) + PICK(acc[2], acc[3], 2, 6, 3, 7);
    union {
        NAME(vec) v;
        quad part[4];
    } all = {PICK(ab, cd, 0, 1, 4, 5) + PICK(ab, cd, 2, 3, 6, 7)};
    if (LANES == 16) return (all.part[0] + all.part[2]) + (all.part[1] + all.part[3]);
    return LANES == 8 ? all.part[0] + all.part[1] : all.part[0];
}

// Scores of `users` (a constant) users with ROWS rows; sums run over the columns in steps of LANES, then the
// tail, whose vector ends with the row and has its first lanes, which were taken already, masked out. columns
// >= LANES.
TARGET static inline __attribute__((always_inline)) void
NAME(block)(int users, const float *x, const float *const y[ROWS], int columns, quad out[USERS]) {
    NAME(vec) acc[USERS][ROWS] = {{{0}}};
    int j = 0;
    for (; j + LANES <= columns; j += LANES) {
        NAME(vec) row[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) row[r] = *(const NAME(loose) *)(y[r] + j);
#pragma GCC unroll 4
        for (int u = 0; u < users; u++) {
            NAME(vec) user = *(const NAME(loose) *)(x + (int64_t)u * columns + j);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) acc[u][r] += user * row[r];
        }
    }
    if (j < columns) {
        int at = columns - LANES;
        NAME(mask) keep = *(const NAME(loose_mask) *)(window + 16 - LANES + columns - j);
        NAME(vec) row[ROWS];
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++)
            row[r] = (NAME(vec))((NAME(mask)) * (const NAME(loose) *)(y[r] + at) & keep);
#pragma GCC unroll 4
        for (int u = 0; u < users; u++) {
            NAME(vec)
            user = (NAME(vec))((NAME(mask)) * (const NAME(loose) *)(x + (int64_t)u * columns + at) & keep);
#pragma GCC unroll 4
            for (int r = 0; r < ROWS; r++) acc[u][r] += user * row[r];
        }
    }
#pragma GCC unroll 4
    for (int u = 0; u < users; u++) out[u] = NAME(fold)(acc[u]);
}

// Scores of `users` (a constant) users with all rows, which are `pitch` apart; out's rows are `stride` apart.
TARGET static inline __attribute__((always_inline)) void NAME(rows)(int users, const float *x, const float *y,
                                                                    int64_t pitch, int64_t nrows, int columns,
                                                                    float *out, int64_t stride) {
    const float *row[ROWS];
    quad scores[USERS];
    int64_t i = 0;
    for (; i + ROWS <= nrows; i += ROWS) {
        for (int r = 0; r < ROWS; r++) row[r] = y + (i + r) * pitch;
        NAME(block)(users, x, row, columns, scores);
        for (int u = 0; u < users; u++) *(loose_quad *)(out + u * stride + i) = scores[u];
    }
    if (i == nrows) return;
    for (int r = 0; r < ROWS; r++)
        row[r] = y + (i + r < nrows ? i + r : nrows - 1) * pitch; // the last fills up
    NAME(block)(users, x, row, columns, scores);
    for (int u = 0; u < users; u++)
        for (int r = 0; i + r < nrows; r++) out[u * stride + i + r] = scores[u][r];
}

TARGET static void NAME(score)(const float *x, int64_t nx, const float *y, int64_t pitch, int64_t nrows,
                               int columns, float *out, int64_t stride) {
    int64_t u = 0;
    for (; u + USERS <= nx; u += USERS)
        NAME(rows)(USERS, x + u * columns, y, pitch, nrows, columns, out + u * stride, stride);
    for (; u < nx; u++) NAME(rows)(1, x + u * columns, y, pitch, nrows, columns, out + u * stride, stride);
}

// Squares are summed in double: they may overflow or vanish in float.
TARGET static void NAME(norms)(const float *y, int64_t nrows, int k, int columns, float *out) {
    for (int64_t i = 0; i < nrows; i++) {
        const float *row = y + i * columns;
        wide acc[2] = {{0}};
        double sum = 0;
        int j = 0;
        for (; j + 8 <= k; j += 8) {
            wide a = __builtin_convertvector(*(const loose_quad *)(row + j), wide);
            wide b = __builtin_convertvector(*(const loose_quad *)(row + j + 4), wide);
            acc[0] += a * a;
            acc[1] += b * b;
        }
        for (; j < k; j++) sum += (double)row[j] * (double)row[j];
        for (int l = 0; l < 4; l++) sum += acc[0][l] + acc[1][l];
        out[i] = (float)sqrt(sum);
    }
}

#undef LANES
#undef SPREAD
#undef USERS
#undef NAME
#undef TARGET
