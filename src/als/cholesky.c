// cholesky.c: the exact solver. Bound by flops: n d^2 for the normal matrix and d^3 / 3 for its factor, or
// n^2 d and n^3 / 3 in dual form.
//
// f32 throughout, for in the solver's coordinates nearly every row is well-conditioned. The factor tells the
// rows that are not: those are refined with residuals in f64, and where that does not help solved in f64.
#include "als/cholesky.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    CHUNK = 8 * THAW_ALS_PANEL, // interactions whose sums are f32
    // Largest diagonal element of A / smallest pivot, about the condition number:
    ILL = 1 << 6,       // from here rows are refined
    HOPELESS = 1 << 16, // from here the factor's last pivots are too much of a rounding error to refine with
    REFINEMENTS = 6,
};
static const float LEAST_WEIGHT = 1e-30f; // stands for 0: its square root can be divided by
static const float REFINED = 1e-6f;       // relative size of a correction that is the last

static int blocks(int n) {
    return (n + THAW_ALS_BLOCK - 1) / THAW_ALS_BLOCK;
}
static int columns(const struct thaw_als_config *c) {
    return THAW_ALS_BLOCK * blocks((c->biases ? THAW_ALS_BIAS_COLUMNS : 0) + c->k);
}

// ---- Scratch: the struct, then its arrays ----

static void *carve(char **at, size_t nbytes) {
    void *p = *at;
    *at += (nbytes + 63) / 64 * 64;
    return p;
}
static size_t lay_out(struct thaw_als_exact *e, const struct thaw_als_config *c, char *base) {
    const size_t n = (size_t)columns(c), width = (size_t)thaw_als_width(c), F = sizeof(float),
                 m = (size_t)(THAW_ALS_BLOCK * blocks(thaw_als_dual_most(c))), most = m > n ? m : n,
                 rows = m > THAW_ALS_PANEL ? m : THAW_ALS_PANEL;
    char *at = base;
    e->d = carve(&at, width * F);
    e->inverse = carve(&at, width * F);
    e->h = carve(&at, width * F);
    e->b = carve(&at, width * F);
    e->x = carve(&at, (most > width ? most : width) * F);
    e->scale = carve(&at, rows * F);
    e->t = carve(&at, rows * F);
    e->panel = carve(&at, rows * n * F);
    e->a = carve(&at, most * most * F);
    e->r = carve(&at, width * sizeof(double));
    e->wide = carve(&at, (n * n + n) * sizeof(double));
    return (size_t)(at - base);
}
static size_t scratch(const struct thaw_als_config *c) {
    struct thaw_als_exact e;
    return lay_out(&e, c, NULL);
}

const struct thaw_als_cholesky_kernels *thaw_als_cholesky_kernel_set(void) {
#if defined(__x86_64__)
    const char *name = thaw_als_kernel_set()->name;
    if (strcmp(name, "avx512") == 0) return &thaw_als_cholesky_avx512;
    if (strcmp(name, "avx2") == 0) return &thaw_als_cholesky_avx2;
#endif
    return &thaw_als_cholesky_portable;
}

void thaw_als_exact_begin(struct thaw_als_exact *e, struct thaw_als_work *w, const struct thaw_als_sweep *s,
                          const struct thaw_als_row *row, int64_t n) {
    lay_out(e, &s->config, w->scratch);
    e->kernels = thaw_als_cholesky_kernel_set(), e->s = s, e->row = row;
    e->nb = columns(&s->config) / THAW_ALS_BLOCK;
    e->pstride = THAW_ALS_BLOCK * THAW_ALS_PANEL;
    e->astride = THAW_ALS_BLOCK * THAW_ALS_BLOCK * (ptrdiff_t)e->nb;
    if (n == 0) return;
    thaw_als_diagonal(s, n, e->d, e->inverse);
    for (int j = 0; j < s->width; j++) e->h[j] = sqrtf(e->inverse[j]);
}

// ---- The normal matrix ----

// The part of s = y~.z that the fixed components make: b_y.
static float fixed_part(const struct thaw_als_sweep *s, const void *row) {
    if (!s->pairs) return ((const float *)row)[1] + ((const float *)row)[2];
    const uint32_t *words = row, bits[2] = {words[1] << 16, words[2] << 16};
    float v[2];
    memcpy(v, bits, sizeof v);
    return v[0] + v[1];
}

float thaw_als_exact_terms(struct thaw_als_exact *e, int64_t from, int n, double *constant) {
    const struct thaw_als_terms *f = &e->s->terms;
    const float *r = e->row->r + from;
    const uint32_t *index = e->row->index + from;
    float least = FLT_MAX;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        const float w = f->wr * r[i] + f->w0;
        float c = f->cr * r[i] + f->c0;
        if (e->s->offset) c -= fixed_part(e->s, (const char *)e->row->table + index[i] * e->s->row_bytes);
        sum += f->squares ? (double)c * c : c;
        least = w < least ? w : least;
        e->scale[i] = sqrtf(w > LEAST_WEIGHT ? w : LEAST_WEIGHT);
        e->t[i] = c / e->scale[i];
    }
    *constant += sum;
    return least;
}

static void add_panel(struct thaw_als_exact *e, int64_t from, int n, bool first) {
    const struct thaw_als_cholesky_kernels *k = e->kernels;
    k->gather(e->s->pairs, e->row->table, e->row->index + from, n, e->scale, e->nb, e->s->width, e->panel,
              e->pstride);
    if (e->s->offset)
        for (int i = 0; i < n; i++)
            for (int j = 1; j < THAW_ALS_BIAS_COLUMNS; j++) e->panel[THAW_ALS_BLOCK * i + j] = 0;
    if (first) memset(e->b, 0, (size_t)e->s->width * sizeof(float));
    k->across(e->panel, e->pstride, n, e->nb, e->t, e->b);
    k->syrk(e->panel, e->pstride, n, e->nb, e->a, e->astride, first);
}

// wide (upper triangle of blocks, by rows) and its right-hand side, behind it, += a and b; or a and b = them.
static void fold(struct thaw_als_exact *e, bool back) {
    const int order = THAW_ALS_BLOCK * e->nb;
    double *b = e->wide + (size_t)order * (size_t)order;
    for (int j = 0; j < order; j += THAW_ALS_BLOCK)
        for (int i = 0; i < j + THAW_ALS_BLOCK; i++) {
            double *wide = e->wide + (ptrdiff_t)i * order + j;
            float *a = e->a + j / THAW_ALS_BLOCK * e->astride + THAW_ALS_BLOCK * i;
            for (int c = 0; c < THAW_ALS_BLOCK; c++)
                if (back)
                    a[c] = (float)wide[c];
                else
                    wide[c] += a[c];
        }
    for (int j = 0; j < order; j++)
        if (back)
            e->b[j] = (float)b[j];
        else
            b[j] += e->b[j];
}

float thaw_als_exact_sum(struct thaw_als_exact *e, bool wide, double *constant) {
    const int64_t n = e->row->n;
    const size_t order = (size_t)(THAW_ALS_BLOCK * e->nb);
    const bool folds = wide || n > CHUNK;
    float least = FLT_MAX;
    if (folds) memset(e->wide, 0, (order * order + order) * sizeof(double));
    for (int64_t i = 0; i < n; i += THAW_ALS_PANEL) {
        const int m = (int)(n - i < THAW_ALS_PANEL ? n - i : THAW_ALS_PANEL);
        least = fminf(least, thaw_als_exact_terms(e, i, m, constant));
        add_panel(e, i, m, i % CHUNK == 0);
        if (folds && (i + THAW_ALS_PANEL >= n || (i + THAW_ALS_PANEL) % CHUNK == 0)) fold(e, false);
    }
    if (folds && !wide) fold(e, true);
    return least;
}

// ---- Solving ----

// Where z moves, it becomes x.
static void take(const struct thaw_als_exact *e, const float *x, float *z) {
    for (int j = 0; j < THAW_ALS_BLOCK * e->nb; j++)
        if (e->s->moves[j]) z[j] = x[j];
}

// The observed loss at the minimum: sum c - b'z - z'Dz, with b = A z.
static double loss_at(const struct thaw_als_exact *e, const float *z, double constant) {
    double sum = constant;
    for (int j = 0; j < THAW_ALS_BLOCK * e->nb; j++)
        if (e->s->moves[j]) sum -= z[j] * ((double)e->b[j] + (double)e->d[j] * z[j]);
    return sum;
}

static bool primal(struct thaw_als_exact *e, float *z, double *loss, float extremes[2], bool *negative) {
    const int order = THAW_ALS_BLOCK * e->nb;
    double constant = 0;
    *negative = thaw_als_exact_sum(e, false, &constant) < 0;
    if (*negative) return false;
    for (int j = 0; j < order; j++)
        e->a[j / THAW_ALS_BLOCK * e->astride + THAW_ALS_BLOCK * j + j % THAW_ALS_BLOCK] +=
            e->s->moves[j] ? e->d[j] : 1;
    memcpy(e->x, e->b, (size_t)order * sizeof(float));
    if (!e->kernels->factor(e->a, e->astride, e->nb, e->x, extremes)) return false;
    e->kernels->back(e->a, e->astride, e->nb, e->x);
    take(e, e->x, z);
    *loss = loss_at(e, z, constant);
    return true;
}

static double norm(const struct thaw_als_exact *e, const float *z) {
    double sum = 0;
    for (int j = 0; j < THAW_ALS_BLOCK * e->nb; j++)
        if (e->s->moves[j]) sum += (double)z[j] * z[j];
    return sqrt(sum);
}

// Corrections through the factor, with residuals in f64. false: they do not get small.
static bool refine(struct thaw_als_exact *e, bool dual, float *z, double *loss) {
    const int order = THAW_ALS_BLOCK * e->nb;
    double last = INFINITY;
    for (int i = 0; i < REFINEMENTS; i++) {
        thaw_als_exact_residual(e, z);
        if (dual)
            thaw_als_dual_apply(e, e->r, e->x);
        else {
            for (int j = 0; j < order; j++) e->x[j] = (float)e->r[j];
            e->kernels->forward(e->a, e->astride, e->nb, e->x);
            e->kernels->back(e->a, e->astride, e->nb, e->x);
        }
        const double change = norm(e, e->x);
        if (!(change < last / 4)) return false;
        last = change;
        for (int j = 0; j < order; j++)
            if (e->s->moves[j]) z[j] += e->x[j];
        if (!(change <= REFINED * norm(e, z))) continue;
        *loss = thaw_als_exact_residual(e, z);
        return true;
    }
    return false;
}

static int solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                 float *z, double *loss, struct thaw_err *err) {
    struct thaw_als_exact e;
    float extremes[2] = {0, 1};
    double at = 0;
    thaw_als_exact_begin(&e, w, s, row, row->n);
    const bool small = row->n <= thaw_als_dual_most(&s->config),
               dual = small && thaw_als_dual_solve(&e, z, &at, extremes);
    bool negative = false, good = dual || primal(&e, z, &at, extremes, &negative);
    const double spread = extremes[0] / extremes[1];
    if (good && spread > ILL) good = spread < HOPELESS && refine(&e, dual, z, &at);
    if (!good) {
        const int code = thaw_als_exact_wide(&e, z, err);
        if (code) return code;
        at = thaw_als_exact_residual(&e, z);
    }
    if (loss) *loss = at;
    return THAW_OK;
}

const struct thaw_als_solver_def thaw_als_cholesky = {.scratch = scratch,
                                                      .solve = solve,
                                                      .rounds = thaw_als_exact_rounds,
                                                      .sums = thaw_als_exact_sums,
                                                      .vector = thaw_als_exact_vector,
                                                      .ask = thaw_als_exact_ask,
                                                      .piece = thaw_als_exact_piece,
                                                      .step = thaw_als_exact_step};
