// cholesky_kernels.h: the exact solver's kernels for vectors of LANES floats; the file that includes it says
// LANES, TILE_ROWS (rows of a product's tile), TILE_BLOCKS (its blocks of columns) and NAME.
//
// All but the gathers are bound by fused multiply-adds: tiles of the result stay in registers while panels
// stream by from L1 or L2.
#include "als/cholesky.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
enum { B = THAW_ALS_BLOCK, V = B / LANES, AHEAD = 16 };
typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

INLINE vec load(const float *p) {
    return *(const vec *)p;
}
INLINE void store(float *p, vec v) {
    *(vec *)p = v;
}

// ---- Lanes across vectors. l: lane, s: a power of two; the lanes of two vectors are numbered one after the
// ---- other.
#define OWN(l, s)    (((l) & (s)) ? LANES + (l) : (l))
#define OTHER(l, s)  (((l) & (s)) ? LANES + ((l) ^ (s)) : ((l) ^ (s)))
#define LOW(l, s)    (((l) & (s)) ? LANES + ((l) ^ (s)) : (l))
#define HIGH(l, s)   (((l) & (s)) ? LANES + (l) : ((l) ^ (s)))
#define LIST4(F, s)  F(0, s), F(1, s), F(2, s), F(3, s)
#define LIST8(F, s)  LIST4(F, s), F(4, s), F(5, s), F(6, s), F(7, s)
#define LIST16(F, s) LIST8(F, s), F(8, s), F(9, s), F(10, s), F(11, s), F(12, s), F(13, s), F(14, s), F(15, s)
#if LANES == 16
#define LIST LIST16
#elif LANES == 8
#define LIST LIST8
#else
#define LIST LIST4
#endif
#define MIX(F, a, b, s) __builtin_shufflevector(a, b, LIST(F, s))
#define STAGE_SUM(s)                                                                                         \
    UNROLL for (int i = 0; i < s; i++) v[i] = MIX(OWN, v[i], v[i + s], s) + MIX(OTHER, v[i], v[i + s], s)
#define STAGE_TRANSPOSE(s)                                                                                   \
    UNROLL for (int i = 0; i < LANES; i++) if (!(i & s)) {                                                   \
        const vec low = MIX(LOW, v[i], v[i + s], s);                                                         \
        v[i + s] = MIX(HIGH, v[i], v[i + s], s);                                                             \
        v[i] = low;                                                                                          \
    }

// Lane l of the result: the sum of v[l]'s lanes.
INLINE vec sums(vec v[LANES]) {
#if LANES >= 16
    STAGE_SUM(8);
#endif
#if LANES >= 8
    STAGE_SUM(4);
#endif
    STAGE_SUM(2);
    STAGE_SUM(1);
    return v[0];
}
INLINE void transpose(vec v[LANES]) {
#if LANES >= 16
    STAGE_TRANSPOSE(8)
#endif
#if LANES >= 8
    STAGE_TRANSPOSE(4)
#endif
    STAGE_TRANSPOSE(2)
    STAGE_TRANSPOSE(1)
}

// ---- Rows of the table ----

// Vector v of block j of a row.
INLINE vec part(const bool pairs, const void *row, int j, int v) {
    if (!pairs) return load((const float *)row + B * j + LANES * v);
    const bits word = *(const bits *)((const uint32_t *)row + B * (j / 2) + LANES * v);
    return j % 2 ? (vec)word : (vec)(word << 16);
}
INLINE const void *row_at(const bool pairs, const void *table, uint32_t index, int width) {
    return (const char *)table + (size_t)index * (size_t)width * (pairs ? 2 : 4);
}
INLINE void ask(const bool pairs, const void *table, uint32_t index, int width) {
    const char *row = row_at(pairs, table, index, width);
    for (int i = 0; i < width * (pairs ? 2 : 4); i += 64) __builtin_prefetch(row + i);
}

INLINE void gather_rows(const bool pairs, const void *table, const uint32_t *index, int64_t n,
                        const float *scale, int nb, int width, float *panel, ptrdiff_t stride) {
    for (int64_t i = 0; i < n; i++) {
        const void *row = row_at(pairs, table, index[i], width);
        ask(pairs, table, index[i + AHEAD], width);
        for (int j = 0; j < nb; j++)
            UNROLL for (int v = 0; v < V; v++)
                store(panel + j * stride + B * i + LANES * v, scale[i] * part(pairs, row, j, v));
    }
}
static void gather(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *scale,
                   int nb, int width, float *panel, ptrdiff_t stride) {
    if (pairs)
        gather_rows(true, table, index, n, scale, nb, width, panel, stride);
    else
        gather_rows(false, table, index, n, scale, nb, width, panel, stride);
}

INLINE void gather_columns(const bool pairs, const void *table, const uint32_t *index, int64_t n,
                           const float *scale, const float *h, int nb, int width, float *panel,
                           ptrdiff_t stride) {
    for (int64_t i = 0; i < n; i += LANES) {
        const void *rows[LANES];
        float s[LANES];
        for (int r = 0; r < LANES; r++) {
            const int64_t q = i + r < n ? i + r : n - 1; // past the end: the last row, times zero
            rows[r] = row_at(pairs, table, index[q], width);
            s[r] = i + r < n ? scale[q] : 0;
            ask(pairs, table, index[i + r + AHEAD], width);
        }
        for (int j = 0; j < nb; j++)
            for (int v = 0; v < V; v++) {
                vec t[LANES];
                const vec hv = load(h + B * j + LANES * v);
                UNROLL for (int r = 0; r < LANES; r++) t[r] = s[r] * hv * part(pairs, rows[r], j, v);
                transpose(t);
                float *out = panel + (i / B) * stride + (ptrdiff_t)(B * j + LANES * v) * B + i % B;
                UNROLL for (int r = 0; r < LANES; r++) store(out + B * r, t[r]);
            }
    }
    for (int64_t i = (n + LANES - 1) / LANES * LANES; i % B; i += LANES) // the rest of the last block
        for (int j = 0; j < B * nb; j++) store(panel + (i / B) * stride + (ptrdiff_t)j * B + i % B, (vec){0});
}
static void gather_across(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *scale,
                          const float *h, int nb, int width, float *panel, ptrdiff_t stride) {
    if (pairs)
        gather_columns(true, table, index, n, scale, h, nb, width, panel, stride);
    else
        gather_columns(false, table, index, n, scale, h, nb, width, panel, stride);
}

INLINE void combine_rows(const bool pairs, const void *table, const uint32_t *index, int64_t n,
                         const float *t, int nb, int width, float *out) {
    for (int j = 0; j < nb; j += 2) { // two blocks: both halves of a pair
        vec a[2][V] = {{{0}}};
        const int blocks = j + 1 < nb ? 2 : 1;
        for (int64_t i = 0; i < n; i++) {
            const void *row = row_at(pairs, table, index[i], width);
            UNROLL for (int v = 0; v < V; v++) a[0][v] += t[i] * part(pairs, row, j, v);
            if (blocks == 2) UNROLL for (int v = 0; v < V; v++) a[1][v] += t[i] * part(pairs, row, j + 1, v);
        }
        for (int q = 0; q < blocks; q++)
            for (int v = 0; v < V; v++) {
                float *o = out + B * (j + q) + LANES * v;
                store(o, load(o) + a[q][v]);
            }
    }
}
static void combine(bool pairs, const void *table, const uint32_t *index, int64_t n, const float *t, int nb,
                    int width, float *out) {
    if (pairs)
        combine_rows(true, table, index, n, t, nb, width, out);
    else
        combine_rows(false, table, index, n, t, nb, width, out);
}

// ---- Products ----

static void across(const float *panel, ptrdiff_t stride, int m, int nb, const float *t, float *out) {
    for (int j = 0; j < nb; j++, panel += stride, out += B) {
        vec a[V], b[V]; // rows in turn: hides the latency
        for (int v = 0; v < V; v++) a[v] = load(out + LANES * v), b[v] = (vec){0};
        int i = 0;
        for (; i + 2 <= m; i += 2) UNROLL for (int v = 0; v < V; v++) {
                a[v] += t[i] * load(panel + B * i + LANES * v);
                b[v] += t[i + 1] * load(panel + B * i + B + LANES * v);
            }
        if (i < m)
            for (int v = 0; v < V; v++) a[v] += t[i] * load(panel + B * i + LANES * v);
        for (int v = 0; v < V; v++) store(out + LANES * v, a[v] + b[v]);
    }
}

enum how { SET, ADD, SUBTRACT };
// a (`rows` rows of `blocks` blocks) = sum_{q<m} u_q v_q', or +=, or -=. u: columns of one block.
INLINE void product(const int rows, const int blocks, const enum how how, int m, const float *u,
                    const float *v, ptrdiff_t stride, float *a, ptrdiff_t astride) {
    vec s[TILE_ROWS][TILE_BLOCKS * V];
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < blocks * V; c++) s[r][c] =
        how == SET ? (vec){0} : load(a + B * r + (c / V) * astride + (c % V) * LANES);
    for (int q = 0; q < m; q++, u += B, v += B) {
        vec right[TILE_BLOCKS * V];
        UNROLL for (int c = 0; c < blocks * V; c++) right[c] = load(v + (c / V) * stride + (c % V) * LANES);
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < blocks * V; c++) if (how == SUBTRACT)
            s[r][c] -= u[r] * right[c];
        else s[r][c] += u[r] * right[c];
    }
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < blocks * V; c++)
        store(a + B * r + (c / V) * astride + (c % V) * LANES, s[r][c]);
}
// All 16 rows.
INLINE void strip(const int blocks, const enum how how, int m, const float *u, const float *v,
                  ptrdiff_t stride, float *a, ptrdiff_t astride) {
    int h = 0;
    for (; h + TILE_ROWS <= B; h += TILE_ROWS)
        product(TILE_ROWS, blocks, how, m, u + h, v, stride, a + B * h, astride);
    if (B % TILE_ROWS) product(B % TILE_ROWS, blocks, how, m, u + h, v, stride, a + B * h, astride);
}
// The 16 rows of block i, from column block i on; the panel's column blocks are nb.
INLINE void row_of_tiles(const enum how how, const float *panel, ptrdiff_t stride, int m, int i, int nb,
                         float *a, ptrdiff_t astride) {
    int j = i;
    for (; j + TILE_BLOCKS <= nb; j += TILE_BLOCKS)
        strip(TILE_BLOCKS, how, m, panel + i * stride, panel + j * stride, stride,
              a + j * astride + B * B * i, astride);
    for (; j < nb; j++)
        strip(1, how, m, panel + i * stride, panel + j * stride, stride, a + j * astride + B * B * i,
              astride);
}
static void syrk(const float *panel, ptrdiff_t stride, int m, int nb, float *a, ptrdiff_t astride,
                 bool first) {
    for (int i = 0; i < nb; i++)
        if (first)
            row_of_tiles(SET, panel, stride, m, i, nb, a, astride);
        else
            row_of_tiles(ADD, panel, stride, m, i, nb, a, astride);
}

static void widen(double *sum, const float *a, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += a[i];
}

// ---- Cholesky ----

// a: 16 x 16, symmetric and full, becomes W = U'^-1 (lower triangle; zeros above) and b becomes W b. The
// elimination is that of LDL', with the identity alongside: one division per step is on the critical path,
// which bounds this.
static bool factor_block(float *a, float *b, float extremes[2]) {
    vec s[B][V], w[B][V], t[V];
    float pivot[B], y[B], c[B];
    UNROLL for (int r = 0; r < B; r++) UNROLL for (int v = 0; v < V; v++) {
        s[r][v] = load(a + B * r + LANES * v), w[r][v] = (vec){0};
        w[r][v][r % LANES] = r / LANES == v ? 1 : 0;
    }
    for (int r = 0; r < B; r++) extremes[0] = fmaxf(extremes[0], a[B * r + r]);
    UNROLL for (int v = 0; v < V; v++) t[v] = load(b + LANES * v);
    UNROLL for (int q = 0; q < B; q++) {
        pivot[q] = s[q][q / LANES][q % LANES];
        const float inverse = 1 / pivot[q];
        y[q] = t[q / LANES][q % LANES];
        UNROLL for (int v = 0; v < V; v++) {
            store(c + LANES * v, s[q][v] * inverse);
            t[v] -= y[q] * inverse * s[q][v];
        }
        UNROLL for (int r = q + 1; r < B; r++) UNROLL for (int v = 0; v < V; v++) {
            s[r][v] -= c[r] * s[q][v];
            if (LANES * v <= q) w[r][v] -= c[r] * w[q][v];
        }
    }
    bool good = true;
    for (int r = 0; r < B; r++) {
        const float scale = 1 / sqrtf(pivot[r]);
        good &= pivot[r] > 0 && pivot[r] <= FLT_MAX;
        extremes[1] = fminf(extremes[1], pivot[r]);
        b[r] = y[r] * scale;
        UNROLL for (int v = 0; v < V; v++) store(a + B * r + LANES * v, scale * w[r][v]);
    }
    return good;
}
// a (16 x 16) = W a.
static void solve_block(const float *w, float *a) {
    UNROLL for (int v = 0; v < V; v++) {
        vec s[B];
        UNROLL for (int r = 0; r < B; r++) s[r] = load(a + B * r + LANES * v);
        UNROLL for (int r = B - 1; r >= 0; r--) { // from below: the rows above are still a's
            vec sum = w[B * r + r] * s[r];
            UNROLL for (int q = 0; q < r; q++) sum += w[B * r + q] * s[q];
            s[r] = sum;
        }
        UNROLL for (int r = 0; r < B; r++) store(a + B * r + LANES * v, s[r]);
    }
}
static bool factor(float *a, ptrdiff_t astride, int nb, float *b, float extremes[2]) {
    extremes[0] = 0, extremes[1] = FLT_MAX;
    for (int i = 0; i < nb; i++) {
        float above[B] = {0}, *diagonal = a + i * astride + B * B * i;
        row_of_tiles(SUBTRACT, a, astride, B * i, i, nb, a, astride);
        across(a + i * astride, astride, B * i, 1, b, above);
        for (int r = 0; r < B; r++) b[B * i + r] -= above[r];
        if (!factor_block(diagonal, b + B * i, extremes)) return false;
        for (int j = i + 1; j < nb; j++) solve_block(diagonal, a + j * astride + B * B * i);
    }
    return true;
}
static void forward(const float *a, ptrdiff_t astride, int nb, float *b) {
    for (int i = 0; i < nb; i++) {
        const float *w = a + i * astride + B * B * i;
        float above[B] = {0}, t[B];
        across(a + i * astride, astride, B * i, 1, b, above);
        for (int r = 0; r < B; r++) t[r] = b[B * i + r] - above[r];
        for (int r = 0; r < B; r++) {
            float sum = 0;
            for (int q = 0; q <= r; q++) sum += w[B * r + q] * t[q];
            b[B * i + r] = sum;
        }
    }
}
static void back(const float *a, ptrdiff_t astride, int nb, float *b) {
    for (int i = nb - 1; i >= 0; i--) {
        float t[B], *x = b + B * i;
        for (int h = 0; h < B; h += LANES) {
            vec s[LANES];
            UNROLL for (int r = 0; r < LANES; r++) s[r] = (vec){0};
            for (int j = i + 1; j < nb; j++)
                for (int v = 0; v < V; v++) {
                    const vec right = load(b + B * j + LANES * v);
                    const float *u = a + j * astride + B * (B * i + h) + LANES * v;
                    UNROLL for (int r = 0; r < LANES; r++) s[r] += right * load(u + B * r);
                }
            store(t + h, load(x + h) - sums(s));
        }
        memset(x, 0, B * sizeof(float));
        across(a + i * astride + B * B * i, astride, B, 1, t, x); // W't
    }
}

const struct thaw_als_cholesky_kernels NAME = {.gather = gather,
                                               .gather_across = gather_across,
                                               .combine = combine,
                                               .across = across,
                                               .syrk = syrk,
                                               .widen = widen,
                                               .factor = factor,
                                               .forward = forward,
                                               .back = back};
