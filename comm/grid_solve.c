// grid_solve.c: factorization, solution and products: LAPACK where there is one rank, ScaLAPACK on several.
#include "comm/grid_impl.h"

#include <cblas.h>
#include <inttypes.h>

static const int one = 1;

// Where a part begins, counted from 1; on one rank as a pointer.
static int first_row(struct thaw_gridpart p) {
    return (int)p.row + 1;
}

static int first_col(struct thaw_gridpart p) {
    return (int)p.col + 1;
}

static bool alone(const struct thaw_gridmat *m) {
    return m->g->context < 0;
}

static size_t start(struct thaw_gridpart p) {
    return (size_t)p.row + (size_t)p.col * (size_t)p.m->desc[8];
}

static float *floats(struct thaw_gridpart p) {
    return (float *)p.m->a + (alone(p.m) ? start(p) : 0);
}

static double *doubles(struct thaw_gridpart p) {
    return (double *)p.m->a + (alone(p.m) ? start(p) : 0);
}

static struct thaw_gridpart whole(const struct thaw_gridmat *m) {
    return (struct thaw_gridpart){.m = m, .rows = m->rows, .cols = m->cols};
}

// ---- Factorization ----

int thaw_grid_not_positive(int64_t minor, struct thaw_err *err) {
    if (minor == 0) return THAW_OK;
    return thaw_fail(err, THAW_EDIVERGED,
                     "a matrix is not positive definite: its leading minor of order %" PRId64 " is not",
                     minor);
}

static int potrf_info(int info, int64_t *minor, struct thaw_comm *c, struct thaw_err *err) {
    int64_t found = info; // the same on all ranks, but for those that hold nothing of the matrix
    thaw_comm_max_i64(c, &found, 1);
    if (minor) *minor = found;
    return thaw_grid_not_positive(found, err);
}

int thaw_gridpart_potrf(struct thaw_gridpart a, int64_t *minor, struct thaw_err *err) {
    const int n = (int)a.rows, ia = first_row(a), ja = first_col(a), *desc = a.m->desc;
    int info = 0;
    if (n == 0) return THAW_OK;
    if (alone(a.m) && a.m->single)
        spotrf_("L", &n, floats(a), &desc[8], &info);
    else if (alone(a.m))
        dpotrf_("L", &n, doubles(a), &desc[8], &info);
    else if (a.m->single)
        pspotrf_("L", &n, floats(a), &ia, &ja, desc, &info);
    else
        pdpotrf_("L", &n, doubles(a), &ia, &ja, desc, &info);
    return potrf_info(info, minor, a.m->g->c, err);
}

int thaw_grid_potrf(struct thaw_gridmat *a, int64_t *minor, struct thaw_err *err) {
    return thaw_gridpart_potrf(whole(a), minor, err);
}

int thaw_gridpart_potrs(struct thaw_gridpart a, struct thaw_gridpart b, struct thaw_err *err) {
    const int n = (int)a.rows, nrhs = (int)b.cols, ia = first_row(a), ja = first_col(a), ib = first_row(b),
              jb = first_col(b), *da = a.m->desc, *db = b.m->desc;
    int info = 0;
    if (n == 0 || nrhs == 0) return THAW_OK;
    if (alone(a.m) && a.m->single)
        spotrs_("L", &n, &nrhs, floats(a), &da[8], floats(b), &db[8], &info);
    else if (alone(a.m))
        dpotrs_("L", &n, &nrhs, doubles(a), &da[8], doubles(b), &db[8], &info);
    else if (a.m->single)
        pspotrs_("L", &n, &nrhs, floats(a), &ia, &ja, da, floats(b), &ib, &jb, db, &info);
    else
        pdpotrs_("L", &n, &nrhs, doubles(a), &ia, &ja, da, doubles(b), &ib, &jb, db, &info);
    if (info) thaw_fail(err, THAW_EBUG, "p?potrs: argument %d is wrong", -info);
    return thaw_comm_agree(a.m->g->c, info ? THAW_EBUG : THAW_OK, err);
}

int thaw_grid_potrs(const struct thaw_gridmat *a, struct thaw_gridmat *b, struct thaw_err *err) {
    return thaw_gridpart_potrs(whole(a), whole(b), err);
}

int thaw_grid_potri(struct thaw_gridmat *a, bool full, struct thaw_err *err) {
    const int n = (int)a->rows, *desc = a->desc;
    int info = 0;
    if (n == 0) return THAW_OK;
    if (alone(a) && a->single)
        spotri_("L", &n, a->a, &desc[8], &info);
    else if (alone(a))
        dpotri_("L", &n, a->a, &desc[8], &info);
    else if (a->single)
        pspotri_("L", &n, a->a, &one, &one, desc, &info);
    else
        pdpotri_("L", &n, a->a, &one, &one, desc, &info);
    if (info) thaw_fail(err, THAW_EBUG, "p?potri: %d", info);
    int code = thaw_comm_agree(a->g->c, info ? THAW_EBUG : THAW_OK, err);
    if (!code && full) code = thaw_grid_mirror(a, a->rows, err);
    return code;
}

// ---- Products ----

static void gemm_alone(struct thaw_gridpart a, bool ta, struct thaw_gridpart b, bool tb, double alpha,
                       double beta, struct thaw_gridpart c) {
    const int m = (int)c.rows, n = (int)c.cols, k = (int)(ta ? a.rows : a.cols);
    const CBLAS_TRANSPOSE opa = ta ? CblasTrans : CblasNoTrans, opb = tb ? CblasTrans : CblasNoTrans;
    if (c.m->single)
        cblas_sgemm(CblasColMajor, opa, opb, m, n, k, (float)alpha, floats(a), a.m->desc[8], floats(b),
                    b.m->desc[8], (float)beta, floats(c), c.m->desc[8]);
    else
        cblas_dgemm(CblasColMajor, opa, opb, m, n, k, alpha, doubles(a), a.m->desc[8], doubles(b),
                    b.m->desc[8], beta, doubles(c), c.m->desc[8]);
}

void thaw_gridpart_gemm(struct thaw_gridpart a, bool ta, struct thaw_gridpart b, bool tb, double alpha,
                        double beta, struct thaw_gridpart c) {
    const int m = (int)c.rows, n = (int)c.cols, k = (int)(ta ? a.rows : a.cols);
    const int ia = first_row(a), ja = first_col(a), ib = first_row(b), jb = first_col(b), ic = first_row(c),
              jc = first_col(c);
    const char *opa = ta ? "T" : "N", *opb = tb ? "T" : "N";
    const float falpha = (float)alpha, fbeta = (float)beta;
    if (m == 0 || n == 0) return;
    if (alone(c.m))
        gemm_alone(a, ta, b, tb, alpha, beta, c);
    else if (c.m->single)
        psgemm_(opa, opb, &m, &n, &k, &falpha, floats(a), &ia, &ja, a.m->desc, floats(b), &ib, &jb, b.m->desc,
                &fbeta, floats(c), &ic, &jc, c.m->desc);
    else
        pdgemm_(opa, opb, &m, &n, &k, &alpha, doubles(a), &ia, &ja, a.m->desc, doubles(b), &ib, &jb,
                b.m->desc, &beta, doubles(c), &ic, &jc, c.m->desc);
}

int thaw_grid_gemm(const struct thaw_gridmat *a, bool ta, const struct thaw_gridmat *b, bool tb, double alpha,
                   double beta, struct thaw_gridmat *c, struct thaw_err *err) {
    const int64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols, kb = tb ? b->cols : b->rows,
                  n = tb ? b->rows : b->cols;
    if (k != kb || m != c->rows || n != c->cols || a->single != c->single || b->single != c->single)
        return thaw_fail(err, THAW_EBUG,
                         "matrices of %" PRId64 " x %" PRId64 " and %" PRId64 " x %" PRId64
                         " do not multiply",
                         m, k, kb, n);
    thaw_gridpart_gemm(whole(a), ta, whole(b), tb, alpha, beta, whole(c));
    return THAW_OK;
}

// ---- The other triangle ----

#define MIRROR_ALONE(T)                                                                                      \
    static void mirror_alone_##T(T *a, int64_t lead, int64_t n) {                                            \
        enum { TILE = 32 };                                                                                  \
        for (int64_t j0 = 0; j0 < n; j0 += TILE)                                                             \
            for (int64_t i0 = j0; i0 < n; i0 += TILE)                                                        \
                for (int64_t j = j0; j < j0 + TILE && j < n; j++)                                            \
                    for (int64_t i = i0 > j ? i0 : j + 1; i < i0 + TILE && i < n; i++)                       \
                        a[j + i * lead] = a[i + j * lead];                                                   \
    }
MIRROR_ALONE(float)
MIRROR_ALONE(double)

// Inside this rank's diagonal block of rows and columns [at, at + n).
static void mirror_block(struct thaw_gridmat *a, int64_t at, int64_t n) {
    int64_t place;
    if (thaw_gridmat_owner(a, at, at, &place) != thaw_comm_rank(a->g->c)) return;
    if (a->single)
        mirror_alone_float((float *)a->a + place, a->desc[8], n);
    else
        mirror_alone_double((double *)a->a + place, a->desc[8], n);
}

// What lies below the diagonal block of columns [at, at + w), as the rows beside it.
static void mirror_panel(struct thaw_gridmat *a, int64_t at, int w, int64_t n) {
    const int below = (int)at + w + 1, left = (int)at + 1, rest = (int)n - below + 1;
    const float fone = 1, fzero = 0;
    const double done = 1, dzero = 0;
    if (rest <= 0) return;
    if (a->single)
        pstran_(&w, &rest, &fone, a->a, &below, &left, a->desc, &fzero, a->a, &left, &below, a->desc);
    else
        pdtran_(&w, &rest, &done, a->a, &below, &left, a->desc, &dzero, a->a, &left, &below, a->desc);
}

int thaw_grid_mirror(struct thaw_gridmat *a, int64_t n, struct thaw_err *err) {
    (void)err;
    if (alone(a) && a->single)
        mirror_alone_float(a->a, a->desc[8], n);
    else if (alone(a))
        mirror_alone_double(a->a, a->desc[8], n);
    for (int64_t at = 0; !alone(a) && at < n; at += a->nb) {
        const int w = n - at < a->nb ? (int)(n - at) : a->nb;
        mirror_block(a, at, w);
        mirror_panel(a, at, w, n);
    }
    return THAW_OK;
}
