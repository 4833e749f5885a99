// cg.c: conjugate gradients on a row's system, from where the row was before, preconditioned by the diagonal
// that all rows share. Hestenes & Stiefel 1952; for ALS: Takacs, Pilaszy & Tikk, "Applications of the
// conjugate gradient method for implicit feedback collaborative filtering", RecSys 2011.
//
// A step is one pass over the row's opposite rows, 4 n width flops (half of that for the last step, which
// needs no new residual), and r'r/d bounds what the row's objective can still fall by: that ends a row. The
// objective itself comes free: at the start from the first pass's dots, then each step lowers it by a rho;
// less z'dz it is the observed loss.
//
// Over-relaxed, by 1 < w < 2, z goes w times as far along each direction. Directions are conjugate, so the
// objective is a sum of parabolas, one for each, and a step lowers it by w (2 - w) a rho, whatever the others
// do: a row still never gets worse. Next half-sweeps gain what this one gives up (docs/algorithms.md).
//
// The first pass reads the opposite rows from all over memory; it copies them, and later passes read the
// copy, in order: from the second cache, and faster than by gathering again even beyond it. Only rows of more
// interactions than PACK_BYTES hold are gathered in each pass.
#include "als/work.h"
#include "base/mem.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { PACK_BYTES = 2048 * 1024, PACK_LEAST = 16, VECTORS = 5 };
// f32 cannot tell smaller residuals from none, relative to the objective.
static const double TOLERANCE_LEAST = 1e-14;

static int64_t pack_rows(const struct thaw_als_config *c) {
    const int64_t rows = PACK_BYTES / (int64_t)thaw_als_row_bytes(c) / PACK_LEAST * PACK_LEAST;
    return rows < PACK_LEAST ? PACK_LEAST : rows;
}

static double tolerance2(const struct thaw_als_config *c) {
    return fmax(c->cg_tolerance * c->cg_tolerance, TOLERANCE_LEAST);
}

static size_t scratch(const struct thaw_als_config *c) {
    return VECTORS * sizeof(float) * (size_t)thaw_als_width(c) + (size_t)pack_rows(c) * thaw_als_row_bytes(c);
}

static int solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                 float *z, double *loss, struct thaw_err *err) {
    const int width = s->width;
    float *v = w->scratch;
    struct thaw_als_cg c = {
        .pass = {.table = row->table,
                 .index = row->index,
                 .r = row->r,
                 .n = row->n,
                 .width = width,
                 .terms = s->terms,
                 .pack = v + VECTORS * width},
        .lambda = (float)thaw_als_lambda(&s->config, s->other_rows, row->n),
        .base = s->base,
        .slope = s->slope,
        .moves = s->moves,
        .z = z,
        .r = v,
        .q = v + width,
        .dir = v + 2 * (ptrdiff_t)width,
        .d = v + 3 * (ptrdiff_t)width,
        .inverse = v + 4 * (ptrdiff_t)width,
        .steps = s->config.cg_steps,
        .relaxation = (float)s->config.relaxation,
        .tolerance2 = tolerance2(&s->config),
        .packs = row->n <= pack_rows(&s->config),
    };
    (void)err;
    thaw_als_kernel_set()->cg(&c, s->pairs);
    *loss = c.loss;
    return THAW_OK;
}

// ---- Long rows. A vector is width floats and then what to do and the grids; a sum is width doubles and the
// ---- total.
enum { WHAT = 0, GRID = 1, TOTAL_GRID = 2, TAIL = 16 };

struct long_cg {
    double f, rho;                // the objective and r'r/d at z
    float *r, *dir, *d, *inverse; // width
    float vectors[] __attribute__((aligned(64)));
};

static int rounds(const struct thaw_als_config *c) {
    return c->cg_steps + 1;
}

static size_t sums_of(const struct thaw_als_config *c) {
    return (size_t)thaw_als_width(c) + 1;
}

static size_t vector_of(const struct thaw_als_config *c) {
    return (size_t)thaw_als_width(c) + TAIL;
}

static int begin(struct thaw_als_long *l, struct thaw_err *err) {
    const size_t width = (size_t)l->s->width;
    struct long_cg *c = NULL;
    const int code = thaw_alloc(&c, 1, sizeof *c + 4 * width * sizeof(float), "a long row", err);
    if (code) return code;
    c->r = c->vectors, c->dir = c->r + width, c->d = c->dir + width, c->inverse = c->d + width;
    thaw_als_diagonal(l->s, l->n, c->d, c->inverse);
    l->own = c;
    return THAW_OK;
}

static double norm(const float *v, int n) {
    double s = 0;
    for (int j = 0; j < n; j++) s += (double)v[j] * (double)v[j];
    return sqrt(s);
}

static enum thaw_als_want want(const struct thaw_als_long *l) {
    if (l->round == 0) return THAW_ALS_RESIDUAL;
    return l->round < l->s->config.cg_steps ? THAW_ALS_PRODUCT : THAW_ALS_CURVATURE;
}

// |sum t y| <= sum |t| |y| <= weight (1 + |p| |y|) |y|, and the loss is at most weight (1 + |s|)^2, or its
// square where the constants are. Twice that, for rounding.
static void ask(const struct thaw_als_long *l, float *vector) {
    const struct long_cg *c = l->own;
    const int width = l->s->width;
    const float *p = l->round ? c->dir : l->z;
    const double y = sqrt((double)l->norm2), s = norm(p, width) * y, most = l->weight * (1 + s);
    const double loss = most * (l->s->terms.squares ? most : 1 + s);
    float *tail = vector + width;
    memcpy(vector, p, (size_t)width * sizeof *p);
    tail[WHAT] = (float)want(l);
    tail[GRID] = (float)thaw_als_grid(2 * (l->round ? l->weight * s : most) * y);
    tail[TOTAL_GRID] = (float)thaw_als_grid(2 * (l->round ? l->weight * s * s : loss));
}

static void piece(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                  const float *vector, double *sums) {
    const int width = s->width;
    const float *tail = vector + width;
    float *out = w->scratch;
    struct thaw_als_pass g = {.table = row->table,
                              .index = row->index,
                              .r = row->r,
                              .n = row->n,
                              .width = width,
                              .want = (enum thaw_als_want)tail[WHAT],
                              .terms = s->terms,
                              .p = vector,
                              .out = out};
    memset(out, 0, (size_t)width * sizeof *out);
    thaw_als_kernel_set()->pass(&g, s->pairs, THAW_ALS_GATHER);
    if (g.want != THAW_ALS_CURVATURE) thaw_als_grid_add(sums, out, (size_t)width, (int)tail[GRID]);
    if (g.want != THAW_ALS_PRODUCT) thaw_als_grid_add1(&sums[width], g.total, (int)tail[TOTAL_GRID]);
}

static double energy(const float *d, const float *z, int width) { // z'dz
    double s = 0;
    for (int j = 0; j < width; j++) s += (double)d[j] * (double)z[j] * (double)z[j];
    return s;
}

// r at the start, or the step that the product allows. false: at rest to the last bit.
static bool advance(struct thaw_als_long *l, const double *sums) {
    struct long_cg *c = l->own;
    const int width = l->s->width;
    if (l->round == 0) {
        for (int j = 0; j < width; j++) c->r[j] = (float)(sums[j] - (double)c->d[j] * (double)l->z[j]);
        c->f = sums[width] + energy(c->d, l->z, width);
        return true;
    }
    double along = energy(c->d, c->dir, width) + sums[width];
    for (int j = 0; j < width; j++) along += (double)c->dir[j] * sums[j];
    if (along <= 0) return false; // what is not finite goes on into z
    const double a = c->rho / along, relaxation = l->s->config.relaxation, far = relaxation * a;
    for (int j = 0; j < width; j++) {
        const double q = sums[j] + (double)c->d[j] * (double)c->dir[j];
        l->z[j] = (float)((double)l->z[j] + far * (double)c->dir[j]);
        c->r[j] = (float)((double)c->r[j] - a * q);
    }
    c->f -= relaxation * (2 - relaxation) * a * c->rho;
    return true;
}

static int step(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums, struct thaw_err *err) {
    struct long_cg *c = l->own;
    const struct thaw_als_config *f = &l->s->config;
    const int width = l->s->width;
    double rho = 0;
    (void)w;
    (void)err;
    const bool moved = advance(l, sums);
    for (int j = 0; j < width; j++) rho += (double)c->r[j] * (double)c->r[j] * (double)c->inverse[j];
    if (!moved || l->round == f->cg_steps || !(rho > tolerance2(f) * c->f)) {
        l->done = true;
        l->loss = c->f - energy(c->d, l->z, width);
        return THAW_OK;
    }
    const double beta = l->round ? rho / c->rho : 0;
    for (int j = 0; j < width; j++)
        c->dir[j] = (float)((double)c->inverse[j] * (double)c->r[j] + beta * (double)c->dir[j]);
    c->rho = rho;
    return THAW_OK;
}

const struct thaw_als_solver_def thaw_als_cg = {.scratch = scratch,
                                                .solve = solve,
                                                .rounds = rounds,
                                                .sums = sums_of,
                                                .vector = vector_of,
                                                .begin = begin,
                                                .ask = ask,
                                                .piece = piece,
                                                .step = step};
