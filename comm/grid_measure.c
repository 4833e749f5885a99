// grid_measure.c: see grid_measure.h. The matrix: symmetric, off the diagonal uniform in [-1, 1), 2 n^1/2 on
// it, which is positive definite with a condition of about 4; any rank can make any element.
#include "comm/grid_measure.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/grid.h"

#include <cblas.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PEAK_ORDER = 2048 };

struct bench {
    struct thaw_comm *c;
    struct thaw_grid *g;
    int64_t n;
    int nb, repetitions;
    bool single;
    double *x, *y, *z; // n: a random vector, and what comes of it
    double *terms;     // n: a rank's share of a product
};

// ---- The matrix ----

static double mix(uint64_t h) { // to [-1, 1); the finalizer of MurmurHash3
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    h *= 0xc4ceb9fe1a85ec53u;
    h ^= h >> 33;
    return (double)(int64_t)h * 0x1p-63;
}

static double element(const struct bench *b, int64_t i, int64_t j) {
    if (i == j) return 2 * sqrt((double)b->n);
    const uint64_t low = (uint64_t)(i < j ? i : j), high = (uint64_t)(i < j ? j : i);
    return mix((high << 32 | low) + 1);
}

static void fill(const struct bench *b, struct thaw_gridmat *m) {
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < m->lcols; j++)
        for (int64_t i = 0; i < m->lrows; i++)
            thaw_gridmat_set(m, i + j * m->desc[8],
                             element(b, thaw_gridmat_row(m, i), thaw_gridmat_col(m, j)));
}

// Collective. to = M from; M: the matrix itself (its elements made anew), or what m holds. symmetric: m's
// lower triangle stands for the whole.
static int product(const struct bench *b, const struct thaw_gridmat *m, bool made, bool symmetric,
                   const double *from, double *to, struct thaw_err *err) {
    memset(b->terms, 0, (size_t)b->n * sizeof *b->terms);
    for (int64_t j = 0; j < m->lcols; j++) {
        const int64_t col = thaw_gridmat_col(m, j);
        for (int64_t i = symmetric ? thaw_gridmat_rows_below(m, col) : 0; i < m->lrows; i++) {
            const int64_t row = thaw_gridmat_row(m, i);
            const double a = made ? element(b, row, col) : thaw_gridmat_get(m, i + j * m->desc[8]);
            b->terms[row] += a * from[col];
            if (symmetric && row != col) b->terms[col] += a * from[row];
        }
    }
    return thaw_comm_exact_sum(b->c, b->terms, 1, b->n, to, err);
}

static double distance(const struct bench *b, const double *p, const double *q) {
    double off = 0, size = 0;
    for (int64_t i = 0; i < b->n; i++) {
        off += (p[i] - q[i]) * (p[i] - q[i]);
        size += q[i] * q[i];
    }
    return sqrt(off / size);
}

// ---- Checks: out->error ----

// a holds the lower triangle of the inverse: A (a x) against x.
static int check_inverse(const struct bench *b, const struct thaw_gridmat *a, double *error,
                         struct thaw_err *err) {
    int code = product(b, a, false, true, b->x, b->y, err);
    if (!code) code = product(b, a, true, true, b->y, b->z, err);
    *error = distance(b, b->z, b->x);
    return code;
}

// r holds A^-1 A: r x against x.
static int check_solve(const struct bench *b, const struct thaw_gridmat *r, double *error,
                       struct thaw_err *err) {
    const int code = product(b, r, false, false, b->x, b->y, err);
    *error = distance(b, b->y, b->x);
    return code;
}

// r holds A A: r x against A (A x).
static int check_gemm(const struct bench *b, const struct thaw_gridmat *r, double *error,
                      struct thaw_err *err) {
    double *want = NULL;
    int code = thaw_comm_agree(b->c, thaw_alloc(&want, (size_t)b->n, sizeof *want, "a check", err), err);
    if (!code) code = product(b, r, true, true, b->x, b->y, err);
    if (!code) code = product(b, r, true, true, b->y, want, err);
    if (!code) code = product(b, r, false, false, b->x, b->z, err);
    if (!code) *error = distance(b, b->z, want);
    free(want);
    return code;
}

// a's lower triangle holds L: L (L' x) against A x.
static int check_potrf(const struct bench *b, const struct thaw_gridmat *a, double *error,
                       struct thaw_err *err) {
    memset(b->terms, 0, (size_t)b->n * sizeof *b->terms);
    for (int pass = 0; pass < 2; pass++) {
        const double *from = pass ? b->y : b->x;
        memset(b->terms, 0, (size_t)b->n * sizeof *b->terms);
        for (int64_t j = 0; j < a->lcols; j++) {
            const int64_t col = thaw_gridmat_col(a, j);
            for (int64_t i = thaw_gridmat_rows_below(a, col); i < a->lrows; i++) {
                const double l = thaw_gridmat_get(a, i + j * a->desc[8]);
                const int64_t row = thaw_gridmat_row(a, i);
                if (pass)
                    b->terms[row] += l * from[col];
                else
                    b->terms[col] += l * from[row];
            }
        }
        const int code = thaw_comm_exact_sum(b->c, b->terms, 1, b->n, pass ? b->z : b->y, err);
        if (code) return code;
    }
    const int code = product(b, a, true, true, b->x, b->y, err);
    *error = distance(b, b->z, b->y);
    return code;
}

// ---- Measurements ----

const char *const thaw_grid_measures[THAW_GRID_MEASURES] = {"inverse", "solve", "gemm", "potrf", "potri"};
enum what { INVERSE, SOLVE, GEMM, POTRF, POTRI };

// Collective. One repetition: a (and r where it is needed) filled, the operation timed.
static int once(const struct bench *b, enum what what, struct thaw_gridmat *a, struct thaw_gridmat *r,
                double *seconds, struct thaw_err *err) {
    int code = THAW_OK;
    fill(b, a);
    if (what == SOLVE) fill(b, r);
    if (what == POTRI && (code = thaw_grid_potrf(a, NULL, err))) return code;
    thaw_comm_barrier(b->c);
    *seconds = thaw_time_s();
    switch (what) {
    case INVERSE:
        code = thaw_grid_inverse(a, false, NULL, err);
        break;
    case SOLVE:
        code = thaw_grid_solve(a, r, NULL, err);
        break;
    case GEMM:
        code = thaw_grid_gemm(a, false, a, false, 1, 0, r, err);
        break;
    case POTRF:
        code = thaw_grid_potrf(a, NULL, err);
        break;
    default:
        code = thaw_grid_potri(a, false, err);
    }
    *seconds = thaw_time_s() - *seconds;
    thaw_comm_max_f64(b->c, seconds, 1);
    return code;
}

static int by_size(const void *p, const void *q) {
    const double a = *(const double *)p, b = *(const double *)q;
    return (a > b) - (a < b);
}

static int check(const struct bench *b, enum what what, const struct thaw_gridmat *a,
                 const struct thaw_gridmat *r, double *error, struct thaw_err *err) {
    switch (what) {
    case SOLVE:
        return check_solve(b, r, error, err);
    case GEMM:
        return check_gemm(b, r, error, err);
    case POTRF:
        return check_potrf(b, a, error, err);
    default:
        return check_inverse(b, a, error, err);
    }
}

// Collective.
static int measure(const struct bench *b, enum what what, struct thaw_grid_measured *out,
                   struct thaw_err *err) {
    static const double count[] = {1, 7.0 / 3, 2, 1.0 / 3, 2.0 / 3};
    struct thaw_gridmat a = {0}, r = {0};
    double *seconds = NULL;
    const double n = (double)b->n;
    int64_t before = thaw_mem_peak_bytes(), after;
    int code = thaw_alloc(&seconds, (size_t)b->repetitions, sizeof *seconds, "times", err);
    code = thaw_comm_agree(b->c, code, err);
    if (!code) code = thaw_gridmat_new(&a, b->g, b->n, b->n, b->nb, b->single, err);
    if (!code && (what == SOLVE || what == GEMM))
        code = thaw_gridmat_new(&r, b->g, b->n, b->n, a.nb, b->single, err);
    for (int i = 0; !code && i < b->repetitions; i++) code = once(b, what, &a, &r, &seconds[i], err);
    after = thaw_mem_peak_bytes() - before;
    if (!code) code = check(b, what, &a, &r, &out->error, err);
    if (!code) {
        qsort(seconds, (size_t)b->repetitions, sizeof *seconds, by_size);
        out->what = thaw_grid_measures[what];
        out->nb = a.nb;
        thaw_grid_shape(b->g, &out->nrow, &out->ncol);
        out->seconds = seconds[b->repetitions / 2];
        out->flops = count[what] * n * n * n;
        out->bound = (b->single ? (double)FLT_EPSILON : DBL_EPSILON) * sqrt(n) * 10;
        out->nbytes = thaw_grid_nbytes(thaw_comm_size(b->c), b->n, b->n, a.nb, b->single);
        thaw_comm_max_i64(b->c, &after, 1);
        out->grown = what == INVERSE ? after : 0;
    }
    thaw_gridmat_clear(&a);
    thaw_gridmat_clear(&r);
    free(seconds);
    return code;
}

// Collective. Local gemm, all ranks at once; the sum of their flops per second.
static int measure_peak(const struct bench *b, double *peak, struct thaw_err *err) {
    const int n = PEAK_ORDER;
    const size_t size = (size_t)n * (size_t)n;
    char *all = NULL;
    double best = 0;
    int code = thaw_alloc(&all, 3 * size, b->single ? sizeof(float) : sizeof(double), "matrices", err);
    if ((code = thaw_comm_agree(b->c, code, err))) goto done;
    for (size_t i = 0; i < 2 * size; i++) {
        if (b->single)
            ((float *)(void *)all)[i] = (float)mix(i);
        else
            ((double *)(void *)all)[i] = mix(i);
    }
    for (int i = 0; i < b->repetitions + 2; i++) { // the first ones warm up
        float *f = (float *)(void *)all;
        double *d = (double *)(void *)all;
        thaw_comm_barrier(b->c);
        const double began = thaw_time_s();
        if (b->single)
            cblas_sgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, f, n, f + size, n, 0,
                        f + 2 * size, n);
        else
            cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, d, n, d + size, n, 0,
                        d + 2 * size, n);
        const double rate = 2.0 * n * n * n / (thaw_time_s() - began);
        if (rate > best) best = rate;
    }
    code = thaw_comm_exact_sum(b->c, &best, 1, 1, peak, err);
done:
    free(all);
    return code;
}

int thaw_grid_measure(struct thaw_comm *c, int64_t n, int nb, bool single, int repetitions, unsigned mask,
                      struct thaw_grid_measured out[THAW_GRID_MEASURES], double *peak, struct thaw_err *err) {
    struct bench b = {.c = c, .n = n, .nb = nb, .single = single, .repetitions = repetitions};
    double *all = NULL;
    int code = thaw_alloc(&all, 4 * (size_t)n, sizeof *all, "vectors", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    b.x = all;
    b.y = all + n;
    b.z = all + 2 * n;
    b.terms = all + 3 * n;
    for (int64_t i = 0; i < n; i++) b.x[i] = mix(((uint64_t)i << 20) + 7);
    if ((code = thaw_grid_new(&b.g, c, err))) goto done;
    for (int what = 0; what < THAW_GRID_MEASURES && !code; what++) {
        out[what] = (struct thaw_grid_measured){0};
        if (mask >> what & 1) code = measure(&b, (enum what)what, &out[what], err);
    }
    if (!code) code = measure_peak(&b, peak, err);
done:
    thaw_grid_free(&b.g);
    free(all);
    return code;
}
