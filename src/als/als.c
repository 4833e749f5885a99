// als.c: the row problem's numbers, working memory and dispatch to solvers.
#include "als/als.h"

#include "als/work.h"
#include "base/mem.h"
#include "base/rng.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

enum { FLUSH_DENORMALS = 0x8040 }; // MXCSR: flush results to zero, take operands as zero

static const struct thaw_als_solver_def *const solvers[] = {
    [THAW_ALS_CHOLESKY] = &thaw_als_cholesky,
    [THAW_ALS_CG] = &thaw_als_cg,
};

static unsigned float_mode_begin(void) {
#if defined(__SSE2__)
    const unsigned old = _mm_getcsr();
    _mm_setcsr(old | FLUSH_DENORMALS);
    return old;
#else
    return 0;
#endif
}

static void float_mode_end(unsigned old) {
#if defined(__SSE2__)
    _mm_setcsr(old);
#else
    (void)old;
#endif
}

const char *thaw_blas_begin(void) {
    openblas_set_num_threads(1);
    return openblas_get_corename();
}

int thaw_als_check(const struct thaw_als_config *c, struct thaw_err *err) {
    const bool implicit = c->model != THAW_ALS_EXPLICIT;
    if (c->k < 1 || c->k > THAW_ALS_FACTORS_MAX)
        return thaw_fail(err, THAW_EUSAGE, "--factors %d is not in 1..%d", c->k, THAW_ALS_FACTORS_MAX);
    if (!(c->lambda > 0) || !isfinite(c->lambda))
        return thaw_fail(err, THAW_EUSAGE, "--regularization %g must be above 0", c->lambda);
    if (!isfinite(c->nu) || c->nu < 0)
        return thaw_fail(err, THAW_EUSAGE, "--reg-exponent %g must not be negative", c->nu);
    if (implicit && (!(c->alpha > 0) || !isfinite(c->alpha)))
        return thaw_fail(err, THAW_EUSAGE, "--alpha %g must be above 0", c->alpha);
    if (implicit && (!(c->unobserved >= 0) || !isfinite(c->unobserved)))
        return thaw_fail(err, THAW_EUSAGE, "--unobserved-weight %g must not be negative", c->unobserved);
    if (implicit && c->biases)
        return thaw_fail(err, THAW_EUSAGE, "biases belong to the explicit model; leave --biases out");
    if (c->cg_steps < 1 || !(c->cg_tolerance >= 0))
        return thaw_fail(err, THAW_EUSAGE, "--cg-steps must be at least 1, --cg-tolerance at least 0");
    return THAW_OK;
}

double thaw_als_lambda(const struct thaw_als_sweep *s, int64_t n) {
    const struct thaw_als_config *f = s->config;
    if (f->model == THAW_ALS_EXPLICIT) return f->lambda * (double)n;
    if (f->nu == 0) return f->lambda;
    const double weight = (double)n + f->unobserved * (double)s->other_rows;
    return f->lambda * (f->nu == 1 ? weight : pow(weight, f->nu));
}

int thaw_als_work_new(struct thaw_als_work **out, const struct thaw_als_config *c, struct thaw_err *err) {
    const int d = thaw_als_columns(c), dp = (d + THAW_ALS_LANES - 1) / THAW_ALS_LANES * THAW_ALS_LANES;
    const struct thaw_als_solver_def *solver = solvers[c->solver];
    struct thaw_als_work *w = NULL;
    int code = thaw_alloc(&w, 1, sizeof *w, "a solver", err);
    if (code) return code;
    w->k = c->k, w->d = d, w->dp = dp, w->solver = solver;
    const size_t n = (size_t)d, p = (size_t)dp;
    if ((code = thaw_alloc(&w->a, n * n, sizeof(double), "a normal matrix", err)) ||
        (code = thaw_alloc(&w->b, n, sizeof(double), "a right-hand side", err)) ||
        (code = thaw_alloc(&w->panel, THAW_ALS_PANEL * p, sizeof(float), "gathered rows", err)) ||
        (code = thaw_alloc(&w->product, n * p, sizeof(float), "a normal matrix", err)) ||
        (code = thaw_alloc(&w->scratch, solver->scratch ? solver->scratch(c) : 0, sizeof(float), "a solver",
                           err)))
        goto done;
    *out = w;
    w = NULL;
done:
    thaw_als_work_free(&w);
    return code;
}

void thaw_als_work_free(struct thaw_als_work **w) {
    if (!*w) return;
    free((*w)->a);
    free((*w)->b);
    free((*w)->panel);
    free((*w)->product);
    free((*w)->scratch);
    free(*w);
    *w = NULL;
}

void thaw_als_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s) {
    if (w->solver->begin) w->solver->begin(w, s);
    w->begun = s;
}

int thaw_als_solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                   const uint32_t *index, const float *r, int64_t n, float *x, struct thaw_err *err) {
    if (w->begun != s) thaw_als_begin(w, s);
    if (n == 0) {
        memset(x, 0, (size_t)w->d * sizeof(float));
        return THAW_OK;
    }
    const unsigned mode = float_mode_begin();
    int code = w->solver->solve(w, s, table, index, r, n, x, err);
    float_mode_end(mode);
    for (int j = 0; !code && j < w->d; j++)
        if (!isfinite(x[j]))
            code = thaw_fail(err, THAW_EDIVERGED,
                             "its solution is not finite: raise --regularization or lower --alpha");
    return code;
}

void thaw_als_long_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s, int64_t n) {
    thaw_als_normal_begin(w, s, n);
}

void thaw_als_long_add(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                       const uint32_t *index, const float *r, int64_t n) {
    const unsigned mode = float_mode_begin();
    thaw_als_normal_add(w, s, table, index, r, n);
    float_mode_end(mode);
}

int thaw_als_long_end(struct thaw_als_work *w, float *x, struct thaw_err *err) {
    const unsigned mode = float_mode_begin();
    const int code = thaw_als_normal_end(w, x, err);
    float_mode_end(mode);
    return code;
}

double thaw_als_observed_loss(const struct thaw_als_sweep *s, const float *table, const uint32_t *index,
                              const float *r, int64_t n, const float *x) {
    const struct thaw_als_config *f = s->config;
    const int d = thaw_als_columns(f);
    const unsigned mode = float_mode_begin();
    double loss = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *y = table + (size_t)index[i] * (size_t)d;
        float weight, c;
        thaw_als_terms(f, r[i], y, &weight, &c);
        const double score = (double)thaw_als_dot(x, y, f->k) + (d > f->k ? x[f->k] : 0);
        if (f->model == THAW_ALS_EXPLICIT)
            loss += (c - score) * (c - score);
        else
            loss += weight * score * score - 2 * c * score + c;
    }
    float_mode_end(mode);
    return loss;
}

void thaw_als_init_row(float *x, int columns, uint64_t seed, uint32_t stream, int64_t row, double scale) {
    struct thaw_rng rng = thaw_rng_at(seed, stream, (uint64_t)row);
    for (int j = 0; j < columns; j++) x[j] = (float)(scale * thaw_rng_normal(&rng));
}

int thaw_als_gramian(double *g, const float *y, int64_t nrows, int k, int columns, struct thaw_err *err) {
    double *panel = NULL, *sum = NULL; // THAW_ALS_PANEL x k; k x k, upper
    const size_t n = (size_t)k;
    int code;
    if ((code = thaw_alloc(&panel, THAW_ALS_PANEL * n, sizeof *panel, "a gramian", err)) ||
        (code = thaw_alloc(&sum, n * n, sizeof *sum, "a gramian", err)))
        goto done;
    for (int64_t at = 0; at < nrows; at += THAW_ALS_PANEL) {
        const int m = (int)(nrows - at < THAW_ALS_PANEL ? nrows - at : THAW_ALS_PANEL);
        for (int i = 0; i < m; i++)
            for (int j = 0; j < k; j++) panel[(ptrdiff_t)i * k + j] = y[(at + i) * columns + j];
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, k, m, 1, panel, k, 1, sum, k);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) g[i * n + j] += i <= j ? sum[i * n + j] : sum[j * n + i];
done:
    free(panel);
    free(sum);
    return code;
}
