// cholesky_wide.c: the exact solver in f64, for rows whose normal matrix is too ill-conditioned for f32.
// Bound by flops; slow and rare.
#include "als/cholesky.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info, size_t);
void dpotrs_(const char *uplo, const int *n, const int *nrhs, const double *a, const int *lda, double *b,
             const int *ldb, int *info, size_t);

enum { ROWS = 8 }; // interactions per product: two arrays of so many rows fit into the panel

int thaw_als_wide_solve(double *a, double *b, int order, struct thaw_err *err) {
    const int one = 1;
    int info = 0;
    dpotrf_("L", &order, a, &order, &info, 1);
    if (info)
        return thaw_fail(
            err, THAW_EDIVERGED,
            "its normal matrix is not positive definite (pivot %d): raise --regularization or lower --alpha",
            info);
    dpotrs_("L", &order, &one, a, &order, b, &order, &info, 1);
    return THAW_OK;
}

// w and c of interaction i, its row decoded to out (width) with the fixed columns taken out and put into c.
static void interaction(const struct thaw_als_exact *e, int64_t i, float *out, double *w, double *c) {
    const struct thaw_als_sweep *s = e->s;
    const double r = e->row->r[i];
    thaw_als_decode(s, (const char *)e->row->table + e->row->index[i] * s->row_bytes, out);
    *w = s->terms.wr * r + (double)s->terms.w0;
    *c = s->terms.cr * r + (double)s->terms.c0;
    if (!s->offset) return;
    for (int j = 1; j < THAW_ALS_BIAS_COLUMNS; j++) *c -= out[j], out[j] = 0;
}

double thaw_als_exact_residual(struct thaw_als_exact *e, const float *z) {
    const int order = THAW_ALS_BLOCK * e->nb;
    float *y = e->b;
    double loss = 0, w, c;
    for (int j = 0; j < order; j++) e->r[j] = -(double)e->d[j] * z[j];
    for (int64_t i = 0; i < e->row->n; i++) {
        double s = 0;
        interaction(e, i, y, &w, &c);
        for (int j = 0; j < order; j++) s += (double)y[j] * z[j];
        loss += w * s * s - 2 * c * s + (e->s->terms.squares ? c * c : c);
        for (int j = 0; j < order; j++) e->r[j] += (c - w * s) * y[j];
    }
    for (int j = 0; j < order; j++)
        if (!e->s->moves[j]) e->r[j] = 0;
    return loss;
}

void thaw_als_exact_wide_sum(struct thaw_als_exact *e, double *constant) {
    const int order = THAW_ALS_BLOCK * e->nb;
    double *a = e->wide, *b = a + (size_t)order * (size_t)order, w, c, *left = (double *)e->panel,
           *right = left + ROWS * (ptrdiff_t)order;
    memset(a, 0, ((size_t)order * (size_t)order + (size_t)order) * sizeof *a);
    for (int64_t from = 0; from < e->row->n; from += ROWS) {
        const int n = (int)(e->row->n - from < ROWS ? e->row->n - from : ROWS);
        for (int i = 0; i < n; i++) {
            interaction(e, from + i, e->b, &w, &c);
            *constant += e->s->terms.squares ? c * c : c;
            for (int j = 0; j < order; j++) {
                left[(ptrdiff_t)i * order + j] = w * e->b[j];
                right[(ptrdiff_t)i * order + j] = e->b[j];
                b[j] += c * e->b[j];
            }
        }
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, order, order, n, 1, left, order, right, order, 1,
                    a, order);
    }
}

int thaw_als_exact_wide(struct thaw_als_exact *e, float *z, struct thaw_err *err) {
    const int order = THAW_ALS_BLOCK * e->nb;
    double *b = e->wide + (size_t)order * (size_t)order, constant = 0;
    thaw_als_exact_wide_sum(e, &constant);
    for (int j = 0; j < order; j++) e->wide[(ptrdiff_t)j * order + j] += e->s->moves[j] ? (double)e->d[j] : 1;
    const int code = thaw_als_wide_solve(e->wide, b, order, err);
    if (code) return code;
    for (int j = 0; j < order; j++)
        if (e->s->moves[j]) z[j] = (float)b[j];
    return THAW_OK;
}
