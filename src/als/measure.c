// measure.c: the kernels one by one, each timed and then checked.
#include "als/measure.h"

#include "als/cholesky.h"
#include "als/work.h"
#include "base/mem.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROW = 128,
    STEPS = 3,
    BATCH = 512,
    INDICES = 1 << 16
}; // interactions of a row; CG steps; rows encoded by a call

struct bench {
    const struct thaw_als_measure *m;
    const char *set;
    int k, width;
    int64_t nrows; // of the table
    struct thaw_als_config config;
    struct thaw_als_sweep *sweep[2]; // f32, bf16: the same but for the encoding
    void *table[2];
    struct thaw_als_work *cg[2], *exact;
    float *y; // nrows x k
    uint32_t *index;
    float *r, *p, *z, *out; // INDICES; width; width; BATCH x width or k x k
    void *pack;
    double *g, *want, *a, *b;  // k x k; BATCH x width; width x width; width
    float *panel, *matrix, *x; // ROW rows in column blocks; a matrix; a right-hand side
    // the call that is being measured
    int gather;
    enum thaw_als_mode mode;
    enum thaw_als_want of; // what a pass is for
    int64_t n, at;
};

// ---- References, in double ----

static double apart(const float *got, const double *want, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return sqrt(difference / (norm > 0 ? norm : 1));
}

// a = diag(d) + sum w y~ y~', b = sum c y~ of the first n interactions.
static void system_of(struct bench *b, int64_t n) {
    const struct thaw_als_sweep *s = b->sweep[b->gather];
    const size_t width = (size_t)b->width;
    float *y = b->out, *d = y + width, *inverse = d + width;
    memset(b->a, 0, width * width * sizeof *b->a);
    memset(b->b, 0, width * sizeof *b->b);
    thaw_als_diagonal(s, n, d, inverse);
    for (size_t j = 0; j < width; j++) b->a[j * width + j] = s->moves[j] ? d[j] : 1;
    for (int64_t q = 0; q < n; q++) {
        const double w = s->terms.wr * (double)b->r[q] + (double)s->terms.w0,
                     c = s->terms.cr * (double)b->r[q] + (double)s->terms.c0;
        thaw_als_decode(s, (const char *)b->table[b->gather] + b->index[q] * s->row_bytes, y);
        for (size_t i = 0; i < width; i++) {
            b->b[i] += c * y[i];
            for (size_t j = 0; j < width; j++) b->a[i * width + j] += w * y[i] * y[j];
        }
    }
}
static void multiply(const double *a, const double *x, size_t n, double *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = 0;
        for (size_t j = 0; j < n; j++) out[i] += a[i * n + j] * x[j];
    }
}
static double dot(const double *x, const double *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}
// `steps` conjugate gradient steps from 0, preconditioned by the solvers' diagonal, on the system of
// `system_of`; the solution to b->want.
static void iterate(struct bench *b, int64_t n, int steps) {
    const struct thaw_als_sweep *s = b->sweep[b->gather];
    const size_t width = (size_t)b->width;
    double *z = b->want, *r = z + width, *p = r + width, *q = p + width, *u = q + width, rho = 0;
    float *d = b->out, *inverse = d + width;
    thaw_als_diagonal(s, n, d, inverse);
    memcpy(r, b->b, width * sizeof *r);
    memset(z, 0, width * sizeof *z);
    memset(p, 0, width * sizeof *p);
    for (int step = 0; step < steps; step++) {
        for (size_t j = 0; j < width; j++) u[j] = inverse[j] * r[j];
        const double next = dot(r, u, width), beta = rho > 0 ? next / rho : 0;
        if (next <= DBL_MIN) break;
        for (size_t j = 0; j < width; j++) p[j] = u[j] + beta * p[j];
        multiply(b->a, p, width, q);
        const double along = next / dot(p, q, width);
        for (size_t j = 0; j < width; j++) z[j] += along * p[j], r[j] -= along * q[j];
        rho = next;
    }
}

// ---- Calls ----

static void next_rows(struct bench *b) {
    b->at = b->at + 2 * b->n + THAW_ALS_AHEAD <= INDICES ? b->at + b->n : 0;
}
static struct thaw_als_pass pass_of(struct bench *b) {
    const struct thaw_als_sweep *s = b->sweep[b->gather];
    return (struct thaw_als_pass){.table = b->table[b->gather],
                                  .index = b->index + b->at,
                                  .r = b->r,
                                  .n = b->n,
                                  .width = b->width,
                                  .want = b->of,
                                  .terms = s->terms,
                                  .pack = b->pack,
                                  .p = b->p,
                                  .out = b->out};
}
static void call_pass(void *data) {
    struct bench *b = data;
    struct thaw_als_pass g = pass_of(b);
    thaw_als_kernel_set()->pass(&g, b->gather, b->mode);
    if (b->mode != THAW_ALS_PACKED) next_rows(b);
}
static void call_encode(void *data) {
    struct bench *b = data;
    thaw_als_encode(b->sweep[b->gather], b->y, BATCH, b->table[b->gather], NULL);
}
static int blocks(const struct bench *b) {
    return (b->k + THAW_ALS_BLOCK - 1) / THAW_ALS_BLOCK;
}
static ptrdiff_t matrix_stride(const struct bench *b) {
    return (ptrdiff_t)THAW_ALS_BLOCK * THAW_ALS_BLOCK * blocks(b);
}
static void call_syrk(void *data) {
    struct bench *b = data;
    thaw_als_cholesky_kernel_set()->syrk(b->panel, THAW_ALS_BLOCK * ROW, ROW, blocks(b), b->matrix,
                                         matrix_stride(b), true);
}
static void call_factor(void *data) {
    struct bench *b = data;
    const size_t n = (size_t)(THAW_ALS_BLOCK * blocks(b));
    float *a = b->matrix + n * n, extremes[2];
    memcpy(a, b->matrix, n * n * sizeof *a);
    for (size_t j = 0; j < n; j++) b->x[j] = (float)b->b[j];
    thaw_als_cholesky_kernel_set()->factor(a, matrix_stride(b), blocks(b), b->x, extremes);
    thaw_als_cholesky_kernel_set()->back(a, matrix_stride(b), blocks(b), b->x);
}
static void call_row(struct bench *b, struct thaw_als_work *w) {
    const struct thaw_als_row row = {b->table[b->gather], b->index + b->at, b->r, b->n};
    memset(b->z, 0, sizeof(float) * (size_t)b->width);
    thaw_als_solve(w, b->sweep[b->gather], &row, b->z, NULL, NULL);
    next_rows(b);
}
static void call_cg(void *data) {
    struct bench *b = data;
    call_row(b, b->cg[b->gather]);
}
static void call_exact(void *data) {
    struct bench *b = data;
    call_row(b, b->exact);
}
static void call_gramian(void *data) {
    struct bench *b = data;
    memset(b->g, 0, sizeof(double) * (size_t)b->k * (size_t)b->k);
    thaw_als_gramian(b->g, b->y, BATCH, b->k, b->k, NULL);
}

// ---- Measurements: time, work, error ----

static void report(const struct bench *b, const char *kernel, double seconds, double flops, double nbytes,
                   double error, double tolerance) {
    const struct thaw_als_measured r = {b->set, kernel, b->k,  seconds,
                                        flops,  nbytes, error, error <= tolerance};
    b->m->each(b->m->user, &r);
}

static void measure_pass(struct bench *b, const char *kernel, int gather, enum thaw_als_mode mode) {
    const double n = ROW, k = b->k, nbytes = n * (double)thaw_als_row_bytes(&b->sweep[gather]->config);
    b->gather = gather, b->n = ROW, b->at = 0, b->mode = THAW_ALS_GATHER_PACK;
    call_pass(b);
    b->mode = mode;
    const double seconds = thaw_als_measure_call(b->m, call_pass, b);
    system_of(b, ROW);
    for (int j = 0; j < b->width; j++) b->want[b->width + j] = b->p[j];
    multiply(b->a, b->want + b->width, (size_t)b->width, b->want);
    float *d = b->x, *inverse = d + b->width;
    thaw_als_diagonal(b->sweep[gather], ROW, d, inverse);
    for (int j = 0; j < b->width; j++) b->out[j] = d[j] * b->p[j];
    b->at = 0;
    call_pass(b);
    report(b, kernel, seconds, 4 * n * k, nbytes, apart(b->out, b->want, (size_t)b->width), 1e-5);
}

// What the last direction needs: sum w s^2 = p'A p less what the diagonal adds.
static void measure_curvature(struct bench *b) {
    const double n = ROW, k = b->k, nbytes = n * (double)thaw_als_row_bytes(&b->sweep[1]->config);
    struct thaw_als_pass g;
    b->gather = 1, b->n = ROW, b->at = 0, b->mode = THAW_ALS_GATHER_PACK;
    call_pass(b);
    b->mode = THAW_ALS_PACKED, b->of = THAW_ALS_CURVATURE;
    const double seconds = thaw_als_measure_call(b->m, call_pass, b);
    b->of = THAW_ALS_PRODUCT;
    system_of(b, ROW);
    for (int j = 0; j < b->width; j++) b->want[b->width + j] = b->p[j];
    multiply(b->a, b->want + b->width, (size_t)b->width, b->want);
    float *d = b->x, *inverse = d + b->width;
    double want = 0;
    thaw_als_diagonal(b->sweep[1], ROW, d, inverse);
    for (int j = 0; j < b->width; j++)
        want += (double)b->p[j] * (b->want[j] - (double)d[j] * (double)b->p[j]);
    b->at = 0;
    g = pass_of(b);
    g.want = THAW_ALS_CURVATURE;
    thaw_als_kernel_set()->pass(&g, true, THAW_ALS_PACKED);
    report(b, "curvature bf16", seconds, 2 * n * k, nbytes, fabs(g.total - want) / fabs(want), 1e-5);
}

static void measure_encode(struct bench *b) {
    const struct thaw_als_sweep *s = b->sweep[0];
    const double k = b->k;
    const size_t width = (size_t)b->width;
    b->gather = 0;
    const double seconds = thaw_als_measure_call(b->m, call_encode, b);
    memset(b->want, 0, BATCH * width * sizeof *b->want);
    for (size_t q = 0; q < BATCH; q++)
        for (size_t j = 0; j < width; j++)
            for (size_t i = 0; i < (size_t)b->k; i++)
                b->want[q * width + j] +=
                    (double)b->y[q * (size_t)b->k + i] * s->encode[(j / 16 * (size_t)b->k + i) * 16 + j % 16];
    report(b, "encode", seconds, 2 * BATCH * k * k, BATCH * 4 * (k + b->width),
           apart(b->table[0], b->want, BATCH * width), 1e-5);
}

static void measure_syrk(struct bench *b) {
    const size_t n = (size_t)(THAW_ALS_BLOCK * blocks(b)), stride = (size_t)matrix_stride(b);
    const double k = b->k;
    const double seconds = thaw_als_measure_call(b->m, call_syrk, b);
    size_t at = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i <= j; i++, at++) {
            double sum = 0;
            for (size_t q = 0; q < ROW; q++)
                sum += (double)b->panel[i / 16 * 16 * ROW + q * 16 + i % 16] *
                       b->panel[j / 16 * 16 * ROW + q * 16 + j % 16];
            b->a[at] = sum;
            b->out[at] = b->matrix[j / 16 * stride + i * 16 + j % 16];
        }
    report(b, "syrk", seconds, ROW * k * (k + 1), 4 * k * (ROW + k / 2), apart(b->out, b->a, at), 1e-5);
}

// After measure_syrk: its matrix, made well-conditioned.
static void measure_factor(struct bench *b) {
    const size_t n = (size_t)(THAW_ALS_BLOCK * blocks(b)), stride = (size_t)matrix_stride(b);
    const double k = b->k;
    double *residual = b->want;
    for (size_t j = 0; j < n; j++) b->matrix[j / 16 * stride + j * 16 + j % 16] += 10, b->b[j] = 1;
    const double seconds = thaw_als_measure_call(b->m, call_factor, b);
    for (size_t i = 0; i < n; i++) {
        residual[i] = 0;
        for (size_t j = 0; j < n; j++) {
            const size_t row = i < j ? i : j, column = i < j ? j : i;
            residual[i] += (double)b->matrix[column / 16 * stride + row * 16 + column % 16] * b->x[j];
        }
        b->out[i] = (float)residual[i];
    }
    report(b, "cholesky", seconds, k * k * k / 3 + 2 * k * k, 4 * k * k, apart(b->out, b->b, n), 1e-4);
}

static void measure_row(struct bench *b, const char *kernel, int gather, bool exact, int64_t rows) {
    const double n = (double)rows, k = b->k,
                 nbytes = n * (double)thaw_als_row_bytes(&b->sweep[gather]->config);
    const bool dual = exact && rows <= thaw_als_dual_most(&b->config);
    const double flops = !exact ? 4 * n * k * (STEPS + 1)
                         : dual ? n * n * k + n * n * n / 3 + 4 * n * k
                                : n * k * k + k * k * k / 3 + 2 * n * k;
    b->gather = gather, b->n = rows, b->at = 0;
    const double seconds = thaw_als_measure_call(b->m, exact ? call_exact : call_cg, b);
    system_of(b, rows);
    iterate(b, rows, exact ? 4 * b->k + 40 : STEPS);
    b->at = 0;
    (exact ? call_exact : call_cg)(b);
    report(b, kernel, seconds, flops, nbytes, apart(b->z, b->want, (size_t)b->width), exact ? 1e-4 : 1e-3);
}

static void measure_gramian(struct bench *b) {
    const size_t k = (size_t)b->k;
    double difference = 0, norm = 0;
    const double seconds = thaw_als_measure_call(b->m, call_gramian, b);
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++) {
            double sum = 0;
            for (size_t q = 0; q < BATCH; q++) sum += (double)b->y[q * k + i] * b->y[q * k + j];
            difference += (sum - b->g[i * k + j]) * (sum - b->g[i * k + j]);
            norm += sum * sum;
        }
    report(b, "gramian", seconds, BATCH * (double)k * (double)(k + 1), 4.0 * BATCH * (double)k,
           sqrt(difference / norm), 1e-7);
}

// ---- All of them ----

static void bench_end(struct bench *b) {
    for (int i = 0; i < 2; i++) {
        thaw_als_work_free(&b->cg[i]);
        thaw_als_sweep_free(&b->sweep[i]);
        free(b->table[i]);
    }
    thaw_als_work_free(&b->exact);
    free(b->y), free(b->index), free(b->r), free(b->p), free(b->z), free(b->out), free(b->pack), free(b->g);
    free(b->want), free(b->a), free(b->b), free(b->panel), free(b->matrix), free(b->x);
}

static int allocate(struct bench *b, struct thaw_err *err) {
    static const char what[] = "a benchmark";
    const size_t F = sizeof(float), D = sizeof(double), k = (size_t)b->k, width = (size_t)b->width,
                 rows = (size_t)b->nrows, most = width > BATCH ? width : BATCH;
    int code;
    if ((code = thaw_alloc(&b->y, rows * k, F, what, err)) ||
        (code = thaw_alloc(&b->table[0], rows * width, F, what, err)) ||
        (code = thaw_alloc(&b->table[1], rows * width, F / 2, what, err)) ||
        (code = thaw_alloc(&b->index, INDICES, sizeof *b->index, what, err)) ||
        (code = thaw_alloc(&b->r, 2 * THAW_ALS_FACTORS_MAX + ROW, F, what, err)) ||
        (code = thaw_alloc(&b->p, width, F, what, err)) || (code = thaw_alloc(&b->z, width, F, what, err)) ||
        (code = thaw_alloc(&b->out, most * width, F, what, err)) ||
        (code = thaw_alloc(&b->pack, ROW * width, F, what, err)) ||
        (code = thaw_alloc(&b->g, k * k, D, what, err)) ||
        (code = thaw_alloc(&b->want, most * width, D, what, err)) ||
        (code = thaw_alloc(&b->a, width * width, D, what, err)) ||
        (code = thaw_alloc(&b->b, width, D, what, err)) ||
        (code = thaw_alloc(&b->panel, ROW * width, F, what, err)) ||
        (code = thaw_alloc(&b->matrix, 2 * width * width, F, what, err)))
        return code;
    return thaw_alloc(&b->x, 2 * width, F, what, err);
}

static int bench_begin(struct bench *b, struct thaw_err *err) {
    const size_t width = (size_t)thaw_als_width(&b->config), k = (size_t)b->k;
    struct thaw_rng rng = thaw_rng_at(1, 0, 0);
    b->width = (int)width;
    b->nrows = b->m->table_nbytes / (int64_t)(sizeof(float) * width);
    if (b->nrows < BATCH) b->nrows = BATCH;
    int code = allocate(b, err);
    if (code) return code;
    for (int64_t i = 0; i < b->nrows * b->k; i++) b->y[i] = (float)(thaw_rng_uniform(&rng) - 0.4);
    for (int i = 0; i < INDICES; i++)
        b->index[i] = (uint32_t)(thaw_rng_uniform(&rng) * (double)b->nrows) % (uint32_t)b->nrows;
    for (int i = 0; i < 2 * THAW_ALS_FACTORS_MAX + ROW; i++) b->r[i] = (float)(1 + i % 5);
    for (size_t j = 0; j < k; j++) b->p[j] = (float)thaw_rng_uniform(&rng);
    for (int q = 0; q < ROW; q++)
        for (size_t j = 0; j < k; j++)
            b->panel[j / 16 * 16 * ROW + (size_t)q * 16 + j % 16] = (float)(thaw_rng_uniform(&rng) - 0.5);
    if ((code = thaw_als_gramian(b->g, b->y, b->nrows, b->k, b->k, err))) return code;
    for (int i = 0; i < 2; i++) {
        struct thaw_als_config c = b->config;
        c.gather = (enum thaw_als_gather)i;
        if ((code = thaw_als_sweep_new(&b->sweep[i], &c, b->nrows, ROW, b->g, err)) ||
            (code = thaw_als_work_new(&b->cg[i], &c, err)))
            return code;
        thaw_als_encode(b->sweep[i], b->y, b->nrows, b->table[i], NULL);
    }
    b->config.solver = THAW_ALS_CHOLESKY;
    return thaw_als_work_new(&b->exact, &b->config, err);
}

const char *const *thaw_als_measure_sets(void) {
    static const char *names[4];
    static const char *const all[] = {"avx512", "avx2", "portable"};
    int n = 0;
    for (int i = 0; i < 3; i++) {
        thaw_als_kernels_use(all[i]);
        if (i == 2 || strcmp(thaw_als_kernels(), all[i]) == 0) names[n++] = thaw_als_kernels();
    }
    thaw_als_kernels_use(NULL);
    return names;
}

int thaw_als_measure_kernels(const struct thaw_als_measure *m, const char *set, int k, struct thaw_err *err) {
    struct bench b = {.m = m,
                      .set = set,
                      .k = k,
                      .config = {.model = THAW_ALS_HU,
                                 .solver = THAW_ALS_CG,
                                 .k = k,
                                 .alpha = 10,
                                 .unobserved = 1,
                                 .lambda = 10,
                                 .cg_steps = STEPS,
                                 .relaxation = 1}};
    thaw_als_kernels_use(set);
    const int code = bench_begin(&b, err);
    if (!code) {
        const unsigned long mode = thaw_als_mode_begin();
        measure_pass(&b, "gather f32", 0, THAW_ALS_GATHER);
        measure_pass(&b, "gather bf16", 1, THAW_ALS_GATHER);
        measure_pass(&b, "packed f32", 0, THAW_ALS_PACKED);
        measure_pass(&b, "packed bf16", 1, THAW_ALS_PACKED);
        measure_curvature(&b);
        measure_encode(&b);
        measure_gramian(&b);
        measure_syrk(&b);
        measure_factor(&b);
        measure_row(&b, "row cg f32", 0, false, ROW);
        measure_row(&b, "row cg bf16", 1, false, ROW);
        measure_row(&b, "row dual", 0, true, k / 2 > 0 ? k / 2 : 1);
        measure_row(&b, "row exact", 0, true, 2 * (int64_t)k);
        thaw_als_mode_end(mode);
    }
    bench_end(&b);
    thaw_als_kernels_use(NULL);
    return code;
}
