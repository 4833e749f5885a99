// associate_solve.c: the closed forms, once their matrices are there.
#include "base/mem.h"
#include "comm/associate_impl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Diagonals ----

// Collective. d[n]: the first n diagonal elements, on every rank. Bits of doubles add like numbers where all
// but one are zero.
static void diagonal_get(const struct thaw_associate *a, const struct thaw_gridmat *m, int64_t n, double *d) {
    const int rank = thaw_comm_rank(a->c);
    int64_t place;
    for (int64_t i = 0; i < n; i++)
        d[i] = thaw_gridmat_owner(m, i, i, &place) == rank ? thaw_gridmat_get(m, place) : 0;
    thaw_comm_sum_i64(a->c, (int64_t *)d, n);
}

// Local.
static void diagonal_add(const struct thaw_associate *a, struct thaw_gridmat *m, int64_t from, int64_t to,
                         double x) {
    const int rank = thaw_comm_rank(a->c);
    int64_t place;
    for (int64_t i = from; i < to; i++)
        if (thaw_gridmat_owner(m, i, i, &place) == rank)
            thaw_gridmat_set(m, place, thaw_gridmat_get(m, place) + x);
}

// Local. Element (i, j) of rows [from, to) is multiplied by rows[i] (or 1) times cols[j] (or 1).
static void scale(struct thaw_gridmat *m, int64_t from, int64_t to, const double *rows, const double *cols) {
    const int64_t first = thaw_gridmat_rows_below(m, from), last = thaw_gridmat_rows_below(m, to);
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < m->lcols; j++) {
        const int64_t z = thaw_gridmat_col(m, j), at = j * m->desc[8];
        const double c = cols ? cols[z] : 1;
        for (int64_t i = first; i < last; i++)
            thaw_gridmat_set(m, at + i,
                             thaw_gridmat_get(m, at + i) * c * (rows ? rows[thaw_gridmat_row(m, i)] : 1));
    }
}

static int not_definite(const struct thaw_associate *a, const struct thaw_associate_system *s,
                        struct thaw_err *err) {
    char known[64] = "";
    if (a->episodic) snprintf(known, sizeof known, " of %d known items", s->known);
    struct thaw_err own = THAW_ERR_INIT;
    thaw_fail(&own, THAW_EDIVERGED,
              "the system%s is not positive definite at regularization %g: raise --regularization%s", known,
              s->ridge, a->config->single ? ", or take --precision double" : "");
    *err = own;
    return THAW_EDIVERGED;
}

// ---- EPISODIC ----

// With at most one item known, no two items meet in the normal matrix: its item block is the diagonal d, and
// what is left to factorize is the profile's Schur complement. g = a's profile rows times d^-1/2; sizes as in
//   (S - g g') C = Y_profile - g d^-1/2 Y_items,   B = d^-1/2 (d^-1/2 Y_items - g' C).
static int solve_diagonal(const struct thaw_associate *a, struct thaw_associate_system *s, double *d,
                          struct thaw_err *err) {
    const int64_t n = a->nitems, f = a->first_feature, z = a->unknowns - f;
    const struct thaw_gridpart g = {&s->a, f, 0, z, n}, schur = {&s->a, f, f, z, z}, yi = {&s->y, 0, 0, n, n},
                               yp = {&s->y, f, 0, z, n};
    diagonal_get(a, &s->a, n, d);
    for (int64_t i = 0; i < n; i++) d[i] = 1 / sqrt(d[i]);
    if (s->known > 0) {
        // Columns beyond the items are the Schur block's: they stay as they are.
        for (int64_t j = 0; j < thaw_gridmat_cols_below(&s->a, n); j++) {
            const int64_t at = j * s->a.desc[8];
            const double c = d[thaw_gridmat_col(&s->a, j)];
            for (int64_t i = thaw_gridmat_rows_below(&s->a, f); i < s->a.lrows; i++)
                thaw_gridmat_set(&s->a, at + i, thaw_gridmat_get(&s->a, at + i) * c);
        }
        scale(&s->y, 0, n, d, NULL);
        thaw_gridpart_gemm(g, false, g, true, -1, 1, schur);
        thaw_gridpart_gemm(g, false, yi, false, -1, 1, yp);
    }
    int code = thaw_gridpart_potrf(schur, NULL, err);
    if (!code) code = thaw_gridpart_potrs(schur, yp, err);
    if (!code && s->known > 0) {
        thaw_gridpart_gemm(g, true, yp, false, -1, 1, yi);
        scale(&s->y, 0, n, d, NULL);
    }
    return code;
}

static int solve_episodic(const struct thaw_associate *a, struct thaw_associate_system *s, double *d,
                          double *residual, struct thaw_err *err) {
    diagonal_add(a, &s->a, 0, a->nitems, s->ridge);
    diagonal_add(a, &s->a, a->nitems, a->first_feature, 1);
    diagonal_add(a, &s->a, a->first_feature, a->unknowns, a->config->profile_regularization);
    int code = thaw_grid_mirror(&s->y, a->nitems, err);
    if (!code && s->known <= 1) {
        code = solve_diagonal(a, s, d, err);
    } else if (!code) {
        code = thaw_grid_solve(&s->a, &s->y, NULL, err);
    }
    if (!code) code = thaw_associate_residual(a, s, &s->y, false, residual, err);
    return code;
}

// ---- EASE, KNN ----

// B_ij = - P_ij / P_jj, zero on the diagonal.
static int solve_ease(const struct thaw_associate *a, struct thaw_associate_system *s, double *d,
                      double *residual, struct thaw_err *err) {
    diagonal_add(a, &s->a, 0, a->nitems, s->ridge);
    int code = thaw_grid_inverse(&s->a, true, NULL, err);
    if (!code) code = thaw_associate_residual(a, s, &s->a, true, residual, err);
    if (code) return code;
    diagonal_get(a, &s->a, a->nitems, d);
    for (int64_t i = 0; i < a->nitems; i++) d[i] = -1 / d[i];
    scale(&s->a, 0, a->nitems, NULL, d);
    diagonal_add(a, &s->a, 0, a->nitems, 1); // -P_jj / P_jj is -1
    return THAW_OK;
}

static int solve_knn(const struct thaw_associate *a, struct thaw_associate_system *s, double *d,
                     struct thaw_err *err) {
    struct thaw_gridmat *m = &s->a;
    diagonal_get(a, m, a->nitems, d);
    int code = thaw_grid_mirror(m, a->nitems, err);
    if (code) return code;
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < m->lcols; j++) {
        const int64_t z = thaw_gridmat_col(m, j), at = j * m->desc[8];
        for (int64_t i = 0; i < m->lrows; i++) {
            const int64_t row = thaw_gridmat_row(m, i);
            const double g = thaw_gridmat_get(m, at + i);
            const double under = pow(d[row] * d[z], s->power) + s->ridge;
            thaw_gridmat_set(m, at + i, row == z || g == 0 ? 0 : g / under);
        }
    }
    return THAW_OK;
}

int thaw_associate_solve(struct thaw_associate *a, struct thaw_associate_system *s, double *residual,
                         struct thaw_err *err) {
    double *d = NULL;
    thaw_comm_phase(a->c, "factor");
    int code = thaw_alloc(&d, (size_t)a->nitems, sizeof *d, "a diagonal", err);
    *residual = -1;
    if ((code = thaw_comm_agree(a->c, code, err))) return code;
    switch (a->config->method) {
    case THAW__ASSOCIATION__METHOD__EASE:
        code = solve_ease(a, s, d, residual, err);
        break;
    case THAW__ASSOCIATION__METHOD__KNN:
        code = solve_knn(a, s, d, err);
        break;
    default:
        code = solve_episodic(a, s, d, residual, err);
    }
    if (code == THAW_EDIVERGED) code = not_definite(a, s, err);
    free(d);
    return code;
}
