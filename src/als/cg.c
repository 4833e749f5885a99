// cg.c: conjugate gradients on a row's normal equations, preconditioned by their diagonal, from the row
// before as a warm start. Hestenes & Stiefel 1952; for ALS: Takacs, Pilaszy & Tikk, "Applications of the
// conjugate gradient method for implicit feedback collaborative filtering", RecSys 2011. A step costs 4 n d +
// 2 k^2 flops.
//
// The opposite rows are gathered once into tiles that later steps read from L2; rows of more tiles than that
// are gathered again in every step. A short last tile is filled with zero rows.
#include "als/work.h"

#include <math.h>
#include <string.h>

enum { PACK_FLOATS = 384 * 1024 / 4, VECTORS = 6 };

// The solver's scratch, cut up. All vectors have dp floats.
struct cg {
    const struct thaw_als_work *w;
    const struct thaw_als_sweep *s;
    const float *table;
    const uint32_t *index;
    const float *value; // n
    int64_t n;
    int dp;
    bool packed;
    float *x, *r, *p, *q, *diagonal, *b;
    const float *g; // dp x dp: a0 Y'Y, zero padded
    float *tile;    // packed: all tiles; otherwise one
};

static size_t pack_floats(int dp) {
    const size_t tile = (size_t)THAW_ALS_TILE * (size_t)dp;
    return tile > PACK_FLOATS ? tile : PACK_FLOATS;
}

static int padded(const struct thaw_als_config *c) {
    return (thaw_als_columns(c) + THAW_ALS_LANES - 1) / THAW_ALS_LANES * THAW_ALS_LANES;
}

static size_t scratch(const struct thaw_als_config *c) {
    const size_t dp = (size_t)padded(c);
    return VECTORS * dp + dp * dp + pack_floats((int)dp);
}

static void gather_tile(const struct cg *c, int64_t at, float *tile) {
    const int d = c->w->d, k = c->w->k, n = (int)(c->n - at < THAW_ALS_TILE ? c->n - at : THAW_ALS_TILE);
    for (int64_t i = at + THAW_ALS_TILE; i < at + 2 * THAW_ALS_TILE && i < c->n; i++)
        for (int j = 0; j < d; j += 16) __builtin_prefetch(c->table + (size_t)c->index[i] * (size_t)d + j);
    for (int i = 0; i < n; i++) {
        float *row = tile + (ptrdiff_t)i * c->dp;
        memcpy(row, c->table + (size_t)c->index[at + i] * (size_t)d, (size_t)d * sizeof(float));
        if (d > k) row[k] = 1; // the row's own bias goes with a constant 1
        memset(row + d, 0, (size_t)(c->dp - d) * sizeof(float));
    }
    if (n < THAW_ALS_TILE)
        memset(tile + (ptrdiff_t)n * c->dp, 0, (size_t)(THAW_ALS_TILE - n) * (size_t)c->dp * sizeof(float));
}

// Weights and right-hand sides of a tile; zeros beyond the row's end.
static void tile_terms(const struct cg *c, int64_t at, float *w, float *b) {
    for (int i = 0; i < THAW_ALS_TILE; i++) {
        w[i] = b[i] = 0;
        if (at + i < c->n)
            thaw_als_terms(c->s->config, c->value[at + i],
                           c->table + (size_t)c->index[at + i] * (size_t)c->w->d, &w[i], &b[i]);
    }
}

// out += a0 Y'Y p; g's rows are tiles too (dp is a multiple of both).
static void add_gramian(const struct cg *c, const float *p, float *out) {
    if (!c->s->gramian) return;
    for (int i = 0; i < c->dp; i += THAW_ALS_TILE)
        thaw_als_axpys(c->g + (ptrdiff_t)i * c->dp, c->dp, p + i, out);
}

// The first pass: gathers; r = b - A x, the diagonal of A, and b.
static void begin(struct cg *c, float lambda) {
    const int dp = c->dp;
    memset(c->r, 0, (size_t)dp * sizeof(float));
    memset(c->b, 0, (size_t)dp * sizeof(float));
    add_gramian(c, c->x, c->r);
    for (int j = 0; j < dp; j++) {
        c->r[j] = -c->r[j] - lambda * c->x[j];
        c->diagonal[j] = (c->s->gramian ? c->g[(ptrdiff_t)j * dp + j] : 0) + lambda;
    }
    for (int64_t at = 0; at < c->n; at += THAW_ALS_TILE) {
        float w[THAW_ALS_TILE], b[THAW_ALS_TILE], t[THAW_ALS_TILE];
        float *tile = c->tile + (c->packed ? at * dp : 0);
        gather_tile(c, at, tile);
        tile_terms(c, at, w, b);
        thaw_als_dots(tile, dp, c->x, t);
        for (int i = 0; i < THAW_ALS_TILE; i++) t[i] = b[i] - w[i] * t[i];
        thaw_als_axpys(tile, dp, t, c->r);
        thaw_als_axpys(tile, dp, b, c->b);
        thaw_als_squares(tile, dp, w, c->diagonal);
    }
}

// q = A p.
static void multiply(struct cg *c, float lambda) {
    const int dp = c->dp;
    for (int j = 0; j < dp; j++) c->q[j] = lambda * c->p[j];
    add_gramian(c, c->p, c->q);
    for (int64_t at = 0; at < c->n; at += THAW_ALS_TILE) {
        float w[THAW_ALS_TILE], b[THAW_ALS_TILE], t[THAW_ALS_TILE];
        float *tile = c->tile + (c->packed ? at * dp : 0);
        if (!c->packed) gather_tile(c, at, tile);
        tile_terms(c, at, w, b);
        thaw_als_dots(tile, dp, c->p, t);
        for (int i = 0; i < THAW_ALS_TILE; i++) t[i] *= w[i];
        thaw_als_axpys(tile, dp, t, c->q);
    }
}

static void iterate(struct cg *c, float lambda) {
    const struct thaw_als_config *f = c->s->config;
    const int dp = c->dp;
    float rho = 0;
    begin(c, lambda);
    const float enough = (float)(f->cg_tolerance * f->cg_tolerance) * thaw_als_dot(c->b, c->b, dp);
    for (int j = 0; j < dp; j++) c->p[j] = 0;
    for (int step = 0; step < f->cg_steps && !(thaw_als_dot(c->r, c->r, dp) <= enough); step++) {
        for (int j = 0; j < dp; j++) c->q[j] = c->r[j] / c->diagonal[j];
        const float next = thaw_als_dot(c->r, c->q, dp), beta = step ? next / rho : 0;
        for (int j = 0; j < dp; j++) c->p[j] = c->q[j] + beta * c->p[j];
        rho = next;
        multiply(c, lambda);
        const float along = thaw_als_dot(c->p, c->q, dp);
        if (along <= 0) break; // at rest to the last bit; a NaN goes on into x, where the caller finds it
        const float a = rho / along;
        for (int j = 0; j < dp; j++) c->x[j] += a * c->p[j];
        for (int j = 0; j < dp; j++) c->r[j] -= a * c->q[j];
    }
}

// Once per half-sweep: a0 Y'Y in f32.
static void sweep_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s) {
    float *g = w->scratch + VECTORS * w->dp;
    memset(g, 0, (size_t)w->dp * (size_t)w->dp * sizeof(float));
    if (!s->gramian) return;
    for (int i = 0; i < w->k; i++)
        for (int j = 0; j < w->k; j++)
            g[(ptrdiff_t)i * w->dp + j] =
                (float)(s->config->unobserved * s->gramian[(ptrdiff_t)i * w->k + j]);
}

static int solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                 const uint32_t *index, const float *r, int64_t n, float *x, struct thaw_err *err) {
    const int dp = w->dp;
    const size_t tiles = (size_t)((n + THAW_ALS_TILE - 1) / THAW_ALS_TILE),
                 tile = (size_t)(THAW_ALS_TILE * dp);
    float *v = w->scratch;
    struct cg c = {.w = w, .s = s, .table = table, .index = index, .value = r, .n = n, .dp = dp};
    (void)err;
    c.packed = tiles <= pack_floats(dp) / tile;
    c.x = v, c.r = v + dp, c.p = v + 2 * dp, c.q = v + 3 * dp, c.diagonal = v + 4 * dp, c.b = v + 5 * dp;
    c.g = v + VECTORS * dp;
    c.tile = v + (VECTORS + dp) * (ptrdiff_t)dp;
    memset(c.x, 0, (size_t)dp * sizeof(float));
    memcpy(c.x, x, (size_t)w->d * sizeof(float));
    iterate(&c, (float)thaw_als_lambda(s, n));
    memcpy(x, c.x, (size_t)w->d * sizeof(float));
    return THAW_OK;
}

const struct thaw_als_solver_def thaw_als_cg = {.scratch = scratch, .begin = sweep_begin, .solve = solve};
