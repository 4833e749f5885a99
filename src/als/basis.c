// basis.c: the coordinates in which rows are solved: whitening once per half-sweep, and rows on their way in
// and out.
//
// Encoding a table, entering and leaving are 2 k width flops a row each: at k = 256 a quarter of an
// iteration. The rotation kernel keeps a tile of the result in registers; it is bound by flops.
#include "als/work.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_FLOATS = 16 * 1024 }; // of rotated rows on the stack: at least 14 rows of the greatest width

void dsyevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w,
             double *work, const int *lwork, int *iwork, const int *liwork, int *info, size_t, size_t);

// g (k x k, destroyed) = Q E Q': eigenvalues, rising, to e; row j of g becomes vector j.
static int eigen(double *g, double *e, int k, struct thaw_err *err) {
    const int lwork = 1 + 6 * k + 2 * k * k, liwork = 3 + 5 * k;
    double *work = NULL;
    int *iwork = NULL, info = 0, code;
    if ((code = thaw_alloc(&work, (size_t)lwork, sizeof *work, "eigenvectors", err)) ||
        (code = thaw_alloc(&iwork, (size_t)liwork, sizeof *iwork, "eigenvectors", err)))
        goto done;
    dsyevd_("V", "U", &k, g, &k, e, work, &lwork, iwork, &liwork, &info, 1, 1);
    if (info)
        code = thaw_fail(err, THAW_EDIVERGED, "the eigenvalues of the factors' gramian cannot be found");
done:
    free(work);
    free(iwork);
    return code;
}

// Where entry (i, j) of a matrix with nin rows stands in panels of 16 columns.
static size_t in_panels(int nin, int i, int j) {
    return ((size_t)(j / 16) * (size_t)nin + (size_t)i) * 16 + (size_t)(j % 16);
}

// The three matrices and the shared diagonal from eigenvectors q (row j: vector j) and s->eig.
static void fill(struct thaw_als_sweep *s, const double *q) {
    const int k = s->config.k;
    const double a0 = s->config.unobserved;
    for (int j = 0; j < k; j++) {
        s->eig[j] = fmax(s->eig[j], 0);
        const double scale2 = a0 * s->eig[j] + s->typical, scale = sqrt(scale2);
        s->base[j] = (float)(a0 * s->eig[j] / scale2);
        s->slope[j] = (float)(1 / scale2);
        s->moves[j] = ~0u;
        for (int i = 0; i < k; i++) {
            const double v = q[(size_t)j * (size_t)k + (size_t)i];
            s->encode[in_panels(k, i, j)] = (float)(v / scale);
            s->enter[in_panels(k, i, j)] = (float)(v * scale);
            s->leave[in_panels(k, j, i)] = (float)(v / scale);
        }
    }
}

static int whiten(struct thaw_als_sweep *s, const double *gramian, double mean_degree, struct thaw_err *err) {
    const size_t k = (size_t)s->config.k, width = (size_t)s->width;
    double *q = NULL;
    int code;
    for (size_t i = 0; i < k * k; i++)
        if (!isfinite(gramian[i]))
            return thaw_fail(err, THAW_EDIVERGED,
                             "the factors are not finite: raise --regularization or lower --alpha");
    if ((code = thaw_alloc(&q, k * k, sizeof *q, "eigenvectors", err)) ||
        (code = thaw_alloc(&s->eig, k, sizeof *s->eig, "eigenvalues", err)) ||
        (code = thaw_alloc(&s->encode, k * width, sizeof(float), "a rotation", err)) ||
        (code = thaw_alloc(&s->enter, k * width, sizeof(float), "a rotation", err)) ||
        (code = thaw_alloc(&s->leave, k * width, sizeof(float), "a rotation", err)))
        goto done;
    memcpy(q, gramian, k * k * sizeof *q);
    s->typical = thaw_als_lambda_at(&s->config, s->other_rows, mean_degree);
    if ((code = eigen(q, s->eig, s->config.k, err))) goto done;
    fill(s, q);
done:
    free(q);
    return code;
}

static struct thaw_als_terms terms_of(const struct thaw_als_config *c) {
    if (c->model == THAW_ALS_EXPLICIT)
        return (struct thaw_als_terms){.w0 = 1, .cr = 1, .c0 = (float)-c->mean, .squares = true};
    const float alpha = (float)c->alpha;
    return (struct thaw_als_terms){
        .wr = alpha, .cr = alpha, .c0 = c->model == THAW_ALS_HU ? (float)c->unobserved : 0};
}

int thaw_als_sweep_new(struct thaw_als_sweep **out, const struct thaw_als_config *c, int64_t other_rows,
                       double mean_degree, const double *gramian, struct thaw_err *err) {
    struct thaw_als_sweep *s = NULL;
    const size_t width = (size_t)thaw_als_width(c);
    int code = thaw_alloc(&s, 1, sizeof *s, "a half-sweep", err);
    if (code) return code;
    s->config = *c;
    s->other_rows = other_rows;
    s->width = (int)width;
    s->offset = c->biases ? THAW_ALS_BIAS_COLUMNS : 0;
    s->pairs = c->gather == THAW_ALS_BF16;
    s->row_bytes = thaw_als_row_bytes(c);
    s->terms = terms_of(c);
    if ((code = thaw_alloc(&s->base, width, sizeof *s->base, "a half-sweep", err)) ||
        (code = thaw_alloc(&s->slope, width, sizeof *s->slope, "a half-sweep", err)) ||
        (code = thaw_alloc(&s->moves, width, sizeof *s->moves, "a half-sweep", err)))
        goto done;
    if (c->model != THAW_ALS_EXPLICIT) {
        if ((code = whiten(s, gramian, mean_degree, err))) goto done;
    } else
        for (int j = 0; j < s->offset + c->k; j++)
            if (!s->offset || j == 0 || j >= s->offset) s->slope[j] = 1, s->moves[j] = ~0u;
    *out = s;
    s = NULL;
done:
    thaw_als_sweep_free(&s);
    return code;
}

void thaw_als_sweep_free(struct thaw_als_sweep **s) {
    if (!*s) return;
    free((*s)->eig);
    free((*s)->base);
    free((*s)->slope);
    free((*s)->moves);
    free((*s)->encode);
    free((*s)->enter);
    free((*s)->leave);
    free(*s);
    *s = NULL;
}

const struct thaw_als_config *thaw_als_sweep_config(const struct thaw_als_sweep *s) {
    return &s->config;
}

void thaw_als_diagonal(const struct thaw_als_sweep *s, int64_t n, float *d, float *inverse) {
    const float lambda = (float)thaw_als_lambda(&s->config, s->other_rows, n);
    for (int j = 0; j < s->width; j++) {
        d[j] = s->base[j] + lambda * s->slope[j];
        inverse[j] = s->moves[j] ? 1 / d[j] : 0;
    }
}

void thaw_als_start(const struct thaw_als_sweep *s, float *z) {
    if (s->offset) z[1] = z[2] = 1;
}

void thaw_als_decode(const struct thaw_als_sweep *s, const void *row, float *out) {
    if (s->pairs)
        thaw_als_kernel_set()->unpack(row, out, s->width);
    else
        memcpy(out, row, s->row_bytes);
}

// The part of b that a bf16 holds.
static float upper(float b) {
    uint32_t bits;
    memcpy(&bits, &b, sizeof bits);
    bits = (bits + 0x8000) & 0xffff0000u;
    memcpy(&b, &bits, sizeof b);
    return b;
}

// The explicit models: y (k, and a bias) to its columns.
static void spread(const struct thaw_als_sweep *s, const float *y, float *out) {
    const int k = s->config.k, end = s->offset + k;
    if (s->offset) {
        out[0] = 1;
        out[1] = s->pairs ? upper(y[k]) : y[k];
        out[2] = y[k] - out[1];
    }
    memcpy(out + s->offset, y, (size_t)k * sizeof *out);
    memset(out + end, 0, (size_t)(s->width - end) * sizeof *out);
}

static float greatest(const struct thaw_als_sweep *s, const char *rows, int64_t nrows, float most) {
    float y[THAW_ALS_FACTORS_MAX + THAW_ALS_GROUP] __attribute__((aligned(64)));
    for (int64_t i = 0; i < nrows; i++) {
        thaw_als_decode(s, rows + (size_t)i * s->row_bytes, y);
        const float norm2 = thaw_als_kernel_set()->norm2(y, s->width);
        if (norm2 > most || norm2 != norm2) most = norm2; // what is not a number stays
    }
    return most;
}

static int64_t chunk_rows(const struct thaw_als_sweep *s) {
    return CHUNK_FLOATS / s->width;
}

void thaw_als_encode(const struct thaw_als_sweep *s, const float *y, int64_t nrows, void *rows,
                     float *norm2) {
    float chunk[CHUNK_FLOATS] __attribute__((aligned(64)));
    const struct thaw_als_kernels *kernels = thaw_als_kernel_set();
    const int d = thaw_als_columns(&s->config);
    const unsigned long mode = thaw_als_mode_begin();
    for (int64_t at = 0, n; at < nrows; at += n) {
        n = nrows - at < chunk_rows(s) ? nrows - at : chunk_rows(s);
        char *out = (char *)rows + (size_t)at * s->row_bytes;
        float *to = s->pairs ? chunk : (float *)(void *)out;
        if (s->encode)
            kernels->rotate(y + at * d, d, n, d, s->encode, s->width, to);
        else
            for (int64_t i = 0; i < n; i++) spread(s, y + (at + i) * d, to + i * s->width);
        if (s->pairs) kernels->pack(chunk, (uint32_t *)(void *)out, n * s->width);
        if (norm2) *norm2 = greatest(s, out, n, *norm2);
    }
    thaw_als_mode_end(mode);
}

void thaw_als_enter(const struct thaw_als_sweep *s, const float *x, int64_t nrows, float *z) {
    const int k = s->config.k, d = thaw_als_columns(&s->config);
    const unsigned long mode = thaw_als_mode_begin();
    if (s->enter)
        for (int64_t at = 0, n; at < nrows; at += n) { // in chunks that stay in the cache
            n = nrows - at < chunk_rows(s) ? nrows - at : chunk_rows(s);
            thaw_als_kernel_set()->rotate(x + at * d, d, n, k, s->enter, s->width, z + at * s->width);
        }
    else
        for (int64_t i = 0; i < nrows; i++, x += d, z += s->width) {
            memcpy(z + s->offset, x, (size_t)k * sizeof *z);
            memset(z + s->offset + k, 0, (size_t)(s->width - s->offset - k) * sizeof *z);
            if (s->offset) z[0] = x[k], z[1] = z[2] = 1;
        }
    thaw_als_mode_end(mode);
}

void thaw_als_leave(const struct thaw_als_sweep *s, const float *z, int64_t nrows, float *x) {
    float chunk[CHUNK_FLOATS] __attribute__((aligned(64)));
    const int k = s->config.k, d = thaw_als_columns(&s->config);
    const unsigned long mode = thaw_als_mode_begin();
    for (int64_t at = 0, n; at < nrows; at += n) {
        n = nrows - at < chunk_rows(s) ? nrows - at : chunk_rows(s);
        const float *from = z + at * s->width;
        if (s->leave) {
            thaw_als_kernel_set()->rotate(from, s->width, n, k, s->leave, s->width, chunk);
            from = chunk;
        }
        for (int64_t i = 0; i < n; i++, from += s->width) {
            memcpy(x + (at + i) * d, from + s->offset, (size_t)k * sizeof *x);
            if (s->offset) x[(at + i) * d + k] = from[0];
        }
    }
    thaw_als_mode_end(mode);
}
