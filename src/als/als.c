// als.c: the row problem's numbers, working memory and dispatch to solvers.
#include "als/als.h"

#include "als/work.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

static const struct thaw_als_solver_def *const solvers[] = {
    [THAW_ALS_CHOLESKY] = &thaw_als_cholesky,
    [THAW_ALS_CG] = &thaw_als_cg,
};

const struct thaw_als_solver_def *thaw_als_solver_of(const struct thaw_als_config *c) {
    return solvers[c->solver];
}

unsigned long thaw_als_mode_begin(void) {
#if defined(__SSE2__)
    enum { FLUSH = 0x8040 }; // MXCSR: results to zero, operands as zero
    const unsigned old = _mm_getcsr();
    if ((old & FLUSH) != FLUSH) _mm_setcsr(old | FLUSH);
    return old;
#elif defined(__aarch64__)
    enum { FLUSH = 1 << 24 }; // FPCR.FZ: both
    unsigned long old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    if (!(old & FLUSH)) __asm__ volatile("msr fpcr, %0" : : "r"(old | FLUSH));
    return old;
#else
    return 0;
#endif
}

void thaw_als_mode_end(unsigned long before) {
#if defined(__SSE2__)
    if (_mm_getcsr() != (unsigned)before) _mm_setcsr((unsigned)before);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
#else
    (void)before;
#endif
}

int thaw_als_width(const struct thaw_als_config *c) {
    const int d = c->k + (c->biases ? THAW_ALS_BIAS_COLUMNS : 0);
    return (d + THAW_ALS_GROUP - 1) / THAW_ALS_GROUP * THAW_ALS_GROUP;
}

size_t thaw_als_row_bytes(const struct thaw_als_config *c) {
    return (size_t)thaw_als_width(c) * (c->gather == THAW_ALS_BF16 ? sizeof(uint16_t) : sizeof(float));
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
    if (!(c->relaxation > 0 && c->relaxation < 2))
        return thaw_fail(err, THAW_EUSAGE, "--relaxation %g must be above 0 and below 2", c->relaxation);
    return THAW_OK;
}

double thaw_als_lambda_at(const struct thaw_als_config *c, int64_t other_rows, double n) {
    if (c->model == THAW_ALS_EXPLICIT) return c->lambda * n;
    if (c->nu == 0) return c->lambda;
    const double weight = n + c->unobserved * (double)other_rows;
    return c->lambda * (c->nu == 1 ? weight : pow(weight, c->nu));
}

double thaw_als_lambda(const struct thaw_als_config *c, int64_t other_rows, int64_t n) {
    return thaw_als_lambda_at(c, other_rows, (double)n);
}

// In flops: the CG solver's passes take 4 width each per interaction, and vectors of a block's rest; the
// exact solver adds k^2 per interaction and factors, or does so with n for k. Both rotate the row, encode it
// for the other side and add it to the gramian (at about twice the speed), 3.5 k^2.
double thaw_als_row_work(const struct thaw_als_config *c, int64_t rows) {
    const double k = thaw_als_columns(c), n = (double)rows;
    if (c->solver == THAW_ALS_CHOLESKY) {
        const double dual = (n * n + n * n * n / (3 * k)) / k;
        const double primal = n + k / 3;
        return (n < 0.75 * k && dual < primal ? dual : primal) + 4;
    }
    return n + 8 + (c->model == THAW_ALS_EXPLICIT ? 0 : 0.25 * k);
}

int thaw_als_work_new(struct thaw_als_work **out, const struct thaw_als_config *c, struct thaw_err *err) {
    struct thaw_als_work *w = NULL;
    int code = thaw_alloc(&w, 1, sizeof *w, "a solver", err);
    if (code) return code;
    w->solver = solvers[c->solver];
    w->width = thaw_als_width(c);
    w->row_bytes = thaw_als_row_bytes(c);
    if ((code = thaw_alloc(&w->scratch, w->solver->scratch(c), 1, "a solver", err))) goto done;
    *out = w;
    w = NULL;
done:
    thaw_als_work_free(&w);
    return code;
}

size_t thaw_als_work_nbytes(const struct thaw_als_config *c) {
    return sizeof(struct thaw_als_work) + thaw_als_solver_of(c)->scratch(c);
}

void thaw_als_work_free(struct thaw_als_work **w) {
    if (!*w) return;
    free((*w)->scratch);
    free(*w);
    *w = NULL;
}

int thaw_als_finite(const struct thaw_als_sweep *s, const float *z, double loss, struct thaw_err *err) {
    uint32_t bad = 0;
    if (!isfinite(loss)) bad = 1;
    for (int j = 0; j < s->width; j++) {
        uint32_t bits;
        memcpy(&bits, z + j, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    if (!bad) return THAW_OK;
    return thaw_fail(err, THAW_EDIVERGED,
                     "its solution is not finite: raise --regularization or lower --alpha");
}

int thaw_als_solve(struct thaw_als_work *w, const struct thaw_als_sweep *s, const struct thaw_als_row *row,
                   float *z, double *loss, struct thaw_err *err) {
    double observed = 0;
    if (row->n == 0) {
        memset(z, 0, (size_t)s->width * sizeof *z);
        if (loss) *loss = 0;
        return THAW_OK;
    }
    const unsigned long mode = thaw_als_mode_begin();
    thaw_als_start(s, z);
    int code = w->solver->solve(w, s, row, z, &observed, err);
    if (!code) code = thaw_als_finite(s, z, observed, err);
    thaw_als_mode_end(mode);
    if (!code && loss) *loss = observed;
    return code;
}

void thaw_als_init_row(float *x, int columns, uint64_t seed, uint32_t stream, int64_t row, double scale) {
    struct thaw_rng rng = thaw_rng_at(seed, stream, (uint64_t)row);
    for (int j = 0; j < columns; j++) x[j] = (float)(scale * thaw_rng_normal(&rng));
}
