// kernel_template.h: the vector loops of kernels.h for vectors of LANES floats. Each kernels_*.c defines
//   LANES   4, 8 or 16
//   ROWS    rows of a rotation's register tile
//   COLUMNS vectors across it: a divisor of 32 / LANES
//   SET     the name of the struct thaw_als_kernels, LABEL its name for people
// and includes this file. No include guard on purpose; no code above knows the width of a vector.
//
// A group is 32 columns: 16 words of bf16 pairs (columns j and j + 16 of the group in a word's low and high
// half) or 32 floats. A pass works on blocks of 16 rows, first all the dots, then all the axpys, so that no
// horizontal sum stalls the next row; 16 dots are summed across lanes at once, by transposing (45
// instructions for 16 lanes). The first pass asks for rows ahead of it from memory and copies what it reads
// for the later ones.
#include "als/kernels.h"

#define INLINE static inline __attribute__((always_inline))
#if defined(__SANITIZE_ADDRESS__) // which makes each load a check: unrolled, that takes minutes to compile
#define UNROLL
#define TUNED 0
#else
#define UNROLL _Pragma("GCC unroll 16")
#define TUNED  1
#endif
#if LANES == 16 // narrower vectors make longer code: enough of it without these
#define UNROLL_GROUPS UNROLL
#else
#define UNROLL_GROUPS
#endif
#ifndef LOW // the low halves of the words at an address, as floats
#define LOW(at) ((vec)(*(const words *)(at) << 16))
#endif

enum {
    BLOCK = 16,            // rows of a block
    HALF = 16,             // columns of half a group
    V = HALF / LANES,      // vectors of half a group
    TILE = LANES / 4,      // groups of an axpy tile: 8 or more accumulators
    AHEAD = 32,            // rows from the one that is read to the one that is asked for;
    AHEAD_LONG = 12,       // of more than AHEAD_FULL bytes: more of them would push a block and its copy
    AHEAD_FULL = 256,      // out of the first cache
    LINE = 64,             // bytes of a cache line
    DEPTH = 128,           // steps of a rotation before its tile goes back to memory
    NVECTORS = 32 / LANES, // of 32 columns
};

typedef float vec __attribute__((vector_size(4 * LANES), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES), may_alias));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef float half_vec __attribute__((vector_size(2 * LANES), may_alias));
typedef double wide __attribute__((vector_size(4 * LANES), may_alias)); // half the lanes

INLINE vec load(const float *p) {
    return *(const loose *)p;
}
INLINE void store(float *p, vec v) {
    *(loose *)p = v;
}

// Vectors made of two others' floats, the same in each quad: 0..3 name a's, 4..7 b's.
#define FROM(i, q)          ((i) < 4 ? (i) + 4 * (q) : LANES + (i)-4 + 4 * (q))
#define QUAD(q, i, j, k, l) FROM(i, q), FROM(j, q), FROM(k, q), FROM(l, q)
#if LANES == 16
#define PICK(a, b, i, j, k, l)                                                                               \
    __builtin_shufflevector(a, b, QUAD(0, i, j, k, l), QUAD(1, i, j, k, l), QUAD(2, i, j, k, l),             \
                            QUAD(3, i, j, k, l))
#elif LANES == 8
#define PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, QUAD(0, i, j, k, l), QUAD(1, i, j, k, l))
#else
#define PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, QUAD(0, i, j, k, l))
#endif

// Quad q of the result: the four vectors' sums over their quad q.
INLINE vec fold(const vec d[4]) {
    const vec a = PICK(d[0], d[1], 0, 4, 1, 5) + PICK(d[0], d[1], 2, 6, 3, 7);
    const vec b = PICK(d[2], d[3], 0, 4, 1, 5) + PICK(d[2], d[3], 2, 6, 3, 7);
    return PICK(a, b, 0, 1, 4, 5) + PICK(a, b, 2, 3, 6, 7);
}
#if LANES == 16
#define QUADS(a, b, i, j, k, l)                                                                              \
    __builtin_shufflevector(a, b, 4 * (i), 4 * (i) + 1, 4 * (i) + 2, 4 * (i) + 3, 4 * (j), 4 * (j) + 1,      \
                            4 * (j) + 2, 4 * (j) + 3, 4 * (k), 4 * (k) + 1, 4 * (k) + 2, 4 * (k) + 3,        \
                            4 * (l), 4 * (l) + 1, 4 * (l) + 2, 4 * (l) + 3)
#endif
// f[g]: folds of rows 4 g .. 4 g + 3; s: the 16 rows' sums.
INLINE void fold_block(const vec f[4], vec s[V]) {
#if LANES == 16
    const vec a = QUADS(f[0], f[1], 0, 2, 4, 6) + QUADS(f[0], f[1], 1, 3, 5, 7);
    const vec b = QUADS(f[2], f[3], 0, 2, 4, 6) + QUADS(f[2], f[3], 1, 3, 5, 7);
    s[0] = QUADS(a, b, 0, 2, 4, 6) + QUADS(a, b, 1, 3, 5, 7);
#elif LANES == 8
    for (int h = 0; h < 2; h++)
        s[h] = __builtin_shufflevector(f[2 * h], f[2 * h + 1], 0, 1, 2, 3, 8, 9, 10, 11) +
               __builtin_shufflevector(f[2 * h], f[2 * h + 1], 4, 5, 6, 7, 12, 13, 14, 15);
#else
    for (int g = 0; g < 4; g++) s[g] = f[g];
#endif
}
INLINE float sum(vec a) {
    const vec all[4] = {a, a, a, a}, f = fold(all);
    float s = f[0];
    for (int q = 1; q < LANES / 4; q++) s += f[4 * q];
    return s;
}

// ---- Pairs ----
// A high value is rounded so that its word, low half included, is nearest to it. Without `keep` a high value
// of 0 minus a low half would wrap around to NaN; what is left then is a denormal, which counts as zero.
static void pack(const float *in, uint32_t *out, int64_t n) {
    for (int64_t i = 0; i < n; i += 32)
        for (int v = 0; v < V; v++) {
            words lo = (words)load(in + i + v * LANES), hi = (words)load(in + i + HALF + v * LANES);
            lo = (lo + 0x8000) >> 16;
            const words keep = (words)((hi & 0x7fffffffu) >= 0x10000u);
            *(words *)(out + i / 2 + v * LANES) = ((hi - lo + 0x8000) & 0xffff0000u & keep) | lo;
        }
}
static void unpack(const uint32_t *in, float *out, int64_t n) {
    for (int64_t i = 0; i < n; i += 32)
        for (int v = 0; v < V; v++) {
            const words a = *(const words *)(in + i / 2 + v * LANES);
            store(out + i + v * LANES, (vec)(a << 16));
            store(out + i + HALF + v * LANES, (vec)a);
        }
}

static float norm2(const float *y, int width) {
    vec s = {0};
    for (int j = 0; j < width; j += LANES) s += load(y + j) * load(y + j);
    return sum(s);
}

// ---- Passes ----
// Where a block's rows are: anywhere (y), or one after the other from `copy` on.
struct rows {
    const char *const *y;
    const char *copy;
};
INLINE const char *row_of(const struct rows *at, const ptrdiff_t bytes, int r) {
    return at->y ? at->y[r] : at->copy + r * bytes;
}
// Vector v of both halves of group g of an encoded row.
INLINE void columns(const bool pairs, const char *row, int g, int v, vec *a, vec *b) {
    if (pairs) {
        const char *at = row + 64 * g + 4 * LANES * v;
        *a = LOW(at), *b = *(const vec *)at; // the low half of a word is part of its rounding
    } else {
        *a = *(const vec *)(row + 128 * g + 4 * LANES * v);
        *b = *(const vec *)(row + 128 * g + 64 + 4 * LANES * v);
    }
}
INLINE void copy_columns(const bool pairs, const char *row, char *to, int g, int v) {
    if (pairs) {
        *(vec *)(to + 64 * g + 4 * LANES * v) = *(const vec *)(row + 64 * g + 4 * LANES * v);
    } else {
        *(vec *)(to + 128 * g + 4 * LANES * v) = *(const vec *)(row + 128 * g + 4 * LANES * v);
        *(vec *)(to + 128 * g + 64 + 4 * LANES * v) = *(const vec *)(row + 128 * g + 64 + 4 * LANES * v);
    }
}
// The dots of four rows from r on with p, folded; the rows are copied to `to` (or NULL).
INLINE vec dots(const int groups, const bool pairs, const struct rows at, int r, char *to, const float *p) {
    const ptrdiff_t bytes = (pairs ? 64 : 128) * (ptrdiff_t)groups;
    const char *y[4];
    vec d[4], e[4]; // even and odd halves: 8 chains
    UNROLL for (int i = 0; i < 4; i++) {
        d[i] = e[i] = (vec){0};
        y[i] = row_of(&at, bytes, r + i);
    }
    UNROLL_GROUPS for (int g = 0; g < groups; g++) UNROLL for (int v = 0; v < V; v++) {
        const vec p0 = load(p + 32 * g + LANES * v), p1 = load(p + 32 * g + HALF + LANES * v);
        UNROLL for (int i = 0; i < 4; i++) {
            vec a, b;
            columns(pairs, y[i], g, v, &a, &b);
            if (to) copy_columns(pairs, y[i], to + (r + i) * bytes, g, v);
            d[i] += a * p0;
            e[i] += b * p1;
        }
    }
    UNROLL for (int i = 0; i < 4; i++) d[i] += e[i];
    return fold(d);
}
typedef vec sums[4][2 * V * TILE]; // of an axpy tile: some sets of it
// a += t y for the rows r, r + 1, ... of as many sets.
INLINE void axpy_rows(const int tile, const int sets, const bool pairs, const ptrdiff_t bytes, const float *t,
                      const struct rows at, int r, int g, sums a) {
    UNROLL for (int s = 0; s < sets; s++) {
        const char *y = row_of(&at, bytes, r + s);
        UNROLL for (int h = 0; h < tile; h++) UNROLL for (int v = 0; v < V; v++) {
            vec lo, hi;
            columns(pairs, y, g + h, v, &lo, &hi);
            a[s][2 * V * h + v] += t[r + s] * lo;
            a[s][2 * V * h + V + v] += t[r + s] * hi;
        }
    }
}
// out[0 .. 32 tile) += sum_{r<m} t[r] y_r, m % 4 == 0, the columns from group g on. Narrow tiles keep several
// sums per column, which hides the latency of a multiply-add.
INLINE void axpys(const int tile, const int groups, const bool pairs, const bool full, int m, const float *t,
                  const struct rows at, int g, float *out) {
    const ptrdiff_t bytes = (pairs ? 64 : 128) * (ptrdiff_t)groups;
    const int sets = tile * 4 <= TILE ? 4 : tile * 2 <= TILE ? 2 : 1;
    sums a;
    UNROLL for (int j = 0; j < 2 * V * tile; j++) {
        a[0][j] = load(out + LANES * j);
        UNROLL for (int s = 1; s < sets; s++) a[s][j] = (vec){0};
    }
    if (full && LANES == 16)
        _Pragma("GCC unroll 4") for (int r = 0; r < BLOCK; r += sets)
            axpy_rows(tile, sets, pairs, bytes, t, at, r, g, a);
    else
        for (int r = 0; r < m; r += sets) axpy_rows(tile, sets, pairs, bytes, t, at, r, g, a);
    UNROLL for (int j = 0; j < 2 * V * tile; j++) {
        vec all = a[0][j];
        if (sets == 2) all += a[1][j];
        if (sets == 4) all = (all + a[1][j]) + (a[2][j] + a[3][j]);
        store(out + LANES * j, all);
    }
}
INLINE void all_axpys(const int groups, const bool pairs, const bool full, int m, const float *t,
                      const struct rows at, float *out) {
    int g = 0;
    for (; g + TILE <= groups; g += TILE) axpys(TILE, groups, pairs, full, m, t, at, g, out + 32 * g);
    if (TILE > 2)
        for (; g + 2 <= groups; g += 2) axpys(2, groups, pairs, full, m, t, at, g, out + 32 * g);
    if (TILE > 1)
        for (; g < groups; g++) axpys(1, groups, pairs, full, m, t, at, g, out + 32 * g);
}
// From the dots s of a block of m rows to the factors t of its axpys, and the total.
INLINE void factors(const struct thaw_als_pass *g, const enum thaw_als_want want, const float *r, const int m,
                    const vec s[V], float *t, wide total[2]) {
    float some[BLOCK] = {0}, term[BLOCK] __attribute__((aligned(64)));
    const struct thaw_als_terms f = g->terms;
    if (m < BLOCK) {
        for (int i = 0; i < m; i++) some[i] = r[i];
        r = some;
    }
    UNROLL for (int v = 0; v < V; v++) {
        const vec value = load(r + LANES * v), w = f.wr * value + f.w0;
        vec u = w * s[v];
        if (want == THAW_ALS_RESIDUAL) {
            const vec c = f.cr * value + f.c0;
            u = c - u;
            store(term + LANES * v, f.squares ? u * u : c - s[v] * (u + c));
        }
        if (want == THAW_ALS_CURVATURE) store(term + LANES * v, u * s[v]);
        store(t + LANES * v, u);
    }
    for (int i = m; i < BLOCK; i++) t[i] = term[i] = 0;
    if (want != THAW_ALS_PRODUCT)
        UNROLL for (int v = 0; v < 2 * V; v++) total[v & 1] +=
            __builtin_convertvector(*(const half_vec *)(term + LANES / 2 * v), wide);
}
// One block of m rows (m4: rounded up to 4; the rows that it adds count nothing) from interaction i on.
INLINE void block(const int groups, const bool pairs, const enum thaw_als_mode mode,
                  const struct thaw_als_pass *g, const enum thaw_als_want want, int64_t i, const int m,
                  const int m4, char *copy, wide total[2]) {
    const ptrdiff_t bytes = (pairs ? 64 : 128) * (ptrdiff_t)groups;
    const int ahead = bytes > AHEAD_FULL ? AHEAD_LONG : AHEAD;
    const char *table = g->table, *y[BLOCK];
    float t[BLOCK] __attribute__((aligned(64)));
    struct rows at = {NULL, copy};
    vec f[4] = {{0}}, s[V];
    if (mode != THAW_ALS_PACKED) {
        at.y = y;
        for (int r = 0; r < m; r++) y[r] = table + (ptrdiff_t)g->index[i + r] * bytes;
        for (int r = m; r < m4; r++) y[r] = y[m - 1];
    }
    for (int r = 0; r < m; r += 4) {
        if (mode != THAW_ALS_PACKED)
            UNROLL for (int q = r; q < r + 4; q++) UNROLL for (int b = 0; b < bytes; b += LINE)
                __builtin_prefetch(table + (ptrdiff_t)g->index[i + q + ahead] * bytes + b);
        f[r / 4] = dots(groups, pairs, at, r, mode == THAW_ALS_GATHER_PACK ? copy : NULL, g->p);
    }
    if (mode == THAW_ALS_GATHER_PACK) at = (struct rows){NULL, copy};
    fold_block(f, s);
    factors(g, want, g->r + i, m, s, t, total);
    if (want == THAW_ALS_CURVATURE) return;
    all_axpys(groups, pairs, m == BLOCK, m4, t, at, g->out);
}
INLINE void wanted_pass(const int groups, const bool pairs, const enum thaw_als_mode mode,
                        struct thaw_als_pass *g, const enum thaw_als_want want) {
    const ptrdiff_t bytes = (pairs ? 64 : 128) * (ptrdiff_t)groups;
    char *copy = g->pack;
    wide total[2] = {{0}, {0}};
    int64_t i = 0;
    for (; i + BLOCK <= g->n; i += BLOCK, copy += BLOCK * bytes)
        block(groups, pairs, mode, g, want, i, BLOCK, BLOCK, copy, total);
    const int m = (int)(g->n - i);
    if (m) block(groups, pairs, mode, g, want, i, m, (m + 3) & ~3, copy, total);
    total[0] += total[1];
    for (int q = 0; q < LANES / 2; q++) g->total += total[0][q];
}
INLINE void pass(const int groups, const bool pairs, const enum thaw_als_mode mode, struct thaw_als_pass *g) {
    if (mode == THAW_ALS_GATHER_PACK)
        wanted_pass(groups, pairs, mode, g, THAW_ALS_RESIDUAL);
    else if (g->want == THAW_ALS_CURVATURE)
        wanted_pass(groups, pairs, mode, g, THAW_ALS_CURVATURE);
    else
        wanted_pass(groups, pairs, mode, g, mode == THAW_ALS_PACKED ? THAW_ALS_PRODUCT : g->want);
}
// One function per storage and mode, the tuned widths with code of their own.
#define PASS(NAME, PAIRS, MODE)                                                                              \
    static __attribute__((noinline)) void NAME(struct thaw_als_pass *g) {                                    \
        const int groups = g->width / 32;                                                                    \
        if (TUNED && groups == 1)                                                                            \
            pass(1, PAIRS, MODE, g);                                                                         \
        else if (TUNED && groups == 2)                                                                       \
            pass(2, PAIRS, MODE, g);                                                                         \
        else if (TUNED && groups == 4)                                                                       \
            pass(4, PAIRS, MODE, g);                                                                         \
        else if (TUNED && PAIRS && groups == 8)                                                              \
            pass(8, PAIRS, MODE, g);                                                                         \
        else                                                                                                 \
            pass(groups, PAIRS, MODE, g);                                                                    \
    }
PASS(gather_pairs, true, THAW_ALS_GATHER)
PASS(gather_pack_pairs, true, THAW_ALS_GATHER_PACK)
PASS(packed_pairs, true, THAW_ALS_PACKED)
PASS(gather_floats, false, THAW_ALS_GATHER)
PASS(gather_pack_floats, false, THAW_ALS_GATHER_PACK)
PASS(packed_floats, false, THAW_ALS_PACKED)
static void any_pass(struct thaw_als_pass *g, bool pairs, enum thaw_als_mode mode) {
    if (mode == THAW_ALS_GATHER)
        (pairs ? gather_pairs : gather_floats)(g);
    else if (mode == THAW_ALS_GATHER_PACK)
        (pairs ? gather_pack_pairs : gather_pack_floats)(g);
    else
        (pairs ? packed_pairs : packed_floats)(g);
}

// ---- Conjugate gradients ----
// The start: d, 1/d, r = -d z; returns z'dz.
INLINE float cg_begin(struct thaw_als_cg *c, const int width) {
    vec zdz = {0};
    for (int j = 0; j < width; j += LANES) {
        const vec d = load(c->base + j) + c->lambda * load(c->slope + j), z = load(c->z + j), dz = d * z;
        store(c->d + j, d);
        store(c->inverse + j, (vec)((words)(1 / d) & *(const words *)(c->moves + j)));
        store(c->r + j, -dz);
        zdz += dz * z;
    }
    return sum(zdz);
}
INLINE float cg_energy(const struct thaw_als_cg *c, const int width) { // z'dz
    vec zdz = {0};
    for (int j = 0; j < width; j += LANES) {
        const vec z = load(c->z + j);
        zdz += load(c->d + j) * z * z;
    }
    return sum(zdz);
}
// dir = r/d + beta dir; q = d dir. With beta = 0 the first direction.
INLINE void cg_turn(struct thaw_als_cg *c, const int width, float beta) {
    for (int j = 0; j < width; j += LANES) {
        const vec p = load(c->inverse + j) * load(c->r + j) + beta * load(c->dir + j);
        store(c->dir + j, p);
        store(c->q + j, load(c->d + j) * p);
    }
}
INLINE float cg_norm(const struct thaw_als_cg *c, const int width) { // r'r/d
    vec rho = {0};
    for (int j = 0; j < width; j += LANES) {
        const vec r = load(c->r + j);
        rho += r * r * load(c->inverse + j);
    }
    return sum(rho);
}
INLINE float cg_curvature(const struct thaw_als_cg *c, const int width) { // dir'q
    vec pq = {0};
    for (int j = 0; j < width; j += LANES) pq += load(c->dir + j) * load(c->q + j);
    return sum(pq);
}
// z, relaxed, and r as it is without relaxation, which the next direction needs.
INLINE void cg_move(struct thaw_als_cg *c, const int width, float a) {
    const float far = c->relaxation * a;
    for (int j = 0; j < width; j += LANES) {
        store(c->z + j, load(c->z + j) + far * load(c->dir + j));
        store(c->r + j, load(c->r + j) - a * load(c->q + j));
    }
}
INLINE void cg_row(struct thaw_als_cg *c, const int width, void (*first)(struct thaw_als_pass *),
                   void (*later)(struct thaw_als_pass *)) {
    double f = cg_begin(c, width); // the objective at z
    for (int j = 0; j < width; j += LANES) store(c->dir + j, (vec){0});
    c->pass.want = THAW_ALS_RESIDUAL, c->pass.p = c->z, c->pass.out = c->r, c->pass.total = 0;
    first(&c->pass); // r = b - A z
    f += c->pass.total;
    c->pass.p = c->dir, c->pass.out = c->q;
    float rho = cg_norm(c, width), beta = 0;
    const double lowers = (double)c->relaxation * (2 - (double)c->relaxation);
    for (int left = c->steps; left > 0 && rho > c->tolerance2 * f; left--) {
        cg_turn(c, width, beta);
        c->pass.want = left > 1 ? THAW_ALS_PRODUCT : THAW_ALS_CURVATURE, c->pass.total = 0;
        later(&c->pass); // q = A dir; at the end q = d dir alone, and the rest of dir'A dir
        const float along = cg_curvature(c, width) + (float)c->pass.total;
        if (along <= 0) break; // at rest to the last bit; what is not finite goes on into z
        const float a = rho / along;
        cg_move(c, width, a);
        f -= lowers * (double)a * (double)rho;
        const float next = cg_norm(c, width);
        beta = next / rho, rho = next;
    }
    c->loss = f - (double)cg_energy(c, width);
}
static void cg(struct thaw_als_cg *c, bool pairs) {
    void (*const first)(struct thaw_als_pass *) = pairs      ? c->packs ? gather_pack_pairs : gather_pairs
                                                  : c->packs ? gather_pack_floats
                                                             : gather_floats;
    void (*const later)(struct thaw_als_pass *) = pairs      ? c->packs ? packed_pairs : gather_pairs
                                                  : c->packs ? packed_floats
                                                             : gather_floats;
    switch (c->pass.width) {
    case 32:
        cg_row(c, 32, first, later);
        break;
    case 64:
        cg_row(c, 64, first, later);
        break;
    case 128:
        cg_row(c, 128, first, later);
        break;
    default:
        cg_row(c, c->pass.width, first, later);
    }
}

// ---- Rotation ----
// `rows` x 32 columns of out, steps i0..i1 of their sums; t: two panels, `panel` floats apart.
INLINE void rotate_tile(const int rows, const float *in, ptrdiff_t in_stride, const float *t, ptrdiff_t panel,
                        int i0, int i1, float *out, ptrdiff_t out_stride) {
    for (int c = 0; c < NVECTORS; c += COLUMNS) {
        vec a[ROWS][COLUMNS];
        const float *at[COLUMNS];
        UNROLL for (int v = 0; v < COLUMNS; v++) at[v] = t + (c + v) / V * panel + (c + v) % V * LANES;
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < COLUMNS; v++) a[r][v] =
            i0 ? load(out + r * out_stride + (c + v) * LANES) : (vec){0};
        for (int i = i0; i < i1; i++) {
            vec u[COLUMNS];
            UNROLL for (int v = 0; v < COLUMNS; v++) u[v] = *(const vec *)(at[v] + HALF * (ptrdiff_t)i);
            UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < COLUMNS; v++) a[r][v] +=
                in[r * in_stride + i] * u[v];
        }
        UNROLL for (int r = 0; r < rows; r++) UNROLL for (int v = 0; v < COLUMNS; v++)
            store(out + r * out_stride + (c + v) * LANES, a[r][v]);
    }
}
static void rotate(const float *in, ptrdiff_t in_stride, int64_t nrows, int nin, const float *t, int width,
                   float *out) {
    const ptrdiff_t panel = (ptrdiff_t)nin * HALF;
    for (int j = 0; j < width; j += 32)
        for (int i0 = 0; i0 < nin; i0 += DEPTH) {
            const int i1 = nin - i0 < DEPTH ? nin : i0 + DEPTH;
            const float *tile = t + j / HALF * panel;
            int64_t r = 0;
            for (; r + ROWS <= nrows; r += ROWS)
                rotate_tile(ROWS, in + r * in_stride, in_stride, tile, panel, i0, i1, out + r * width + j,
                            width);
            for (; r + 4 <= nrows; r += 4)
                rotate_tile(4, in + r * in_stride, in_stride, tile, panel, i0, i1, out + r * width + j,
                            width);
            for (; r < nrows; r++)
                rotate_tile(1, in + r * in_stride, in_stride, tile, panel, i0, i1, out + r * width + j,
                            width);
        }
}

const struct thaw_als_kernels SET = {.name = LABEL,
                                     .rotate = rotate,
                                     .pack = pack,
                                     .unpack = unpack,
                                     .norm2 = norm2,
                                     .pass = any_pass,
                                     .cg = cg};
