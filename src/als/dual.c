// dual.c: the exact solver in dual form, for rows with fewer interactions than factors. With P = W^1/2 Y~
// D^-1/2, n x d:
//     (I + P P') beta = W^-1/2 c,   z = D^-1/2 P' beta = D^-1 Y~' W^1/2 beta,   w s^2 - 2 c s = beta^2 - c^2 / w
// (Woodbury's identity.) P is kept transposed, in column blocks, so that the product is the primal's.
#include "als/cholesky.h"

#include <string.h>

static const double CUT = 0.75;            // of the columns: about where their operations are as many
static const float LEAST_RATIO = 0x1p-20f; // of the least weight: W^-1/2 c must not swamp the rest

int thaw_als_dual_most(const struct thaw_als_config *c) {
    return (int)(CUT * c->k);
}

static int rows_of(const struct thaw_als_exact *e) {
    return ((int)e->row->n + THAW_ALS_BLOCK - 1) / THAW_ALS_BLOCK;
}
static ptrdiff_t across_stride(const struct thaw_als_exact *e) {
    return (ptrdiff_t)THAW_ALS_BLOCK * THAW_ALS_BLOCK * e->nb;
}
static ptrdiff_t dual_stride(const struct thaw_als_exact *e) {
    return (ptrdiff_t)THAW_ALS_BLOCK * THAW_ALS_BLOCK * rows_of(e);
}

// out[columns] = D^-1 Y~' W^1/2 beta where z moves, else 0; beta is destroyed.
static void to_primal(const struct thaw_als_exact *e, float *beta, float *out) {
    const int n = (int)e->row->n, order = THAW_ALS_BLOCK * e->nb;
    for (int i = 0; i < n; i++) beta[i] *= e->scale[i];
    memset(out, 0, (size_t)order * sizeof(float));
    e->kernels->combine(e->s->pairs, e->row->table, e->row->index, n, beta, e->nb, e->s->width, out);
    for (int j = 0; j < order; j++) out[j] *= e->inverse[j];
}

bool thaw_als_dual_solve(struct thaw_als_exact *e, float *z, double *loss, float extremes[2]) {
    const struct thaw_als_cholesky_kernels *k = e->kernels;
    const int n = (int)e->row->n, nb = rows_of(e), order = THAW_ALS_BLOCK * e->nb;
    double sum = 0;
    if (!(thaw_als_exact_terms(e, 0, n, &sum) > LEAST_RATIO)) return false;
    k->gather_across(e->s->pairs, e->row->table, e->row->index, n, e->scale, e->h, e->nb, e->s->width,
                     e->panel, across_stride(e));
    k->syrk(e->panel, across_stride(e), order, nb, e->a, dual_stride(e), true);
    for (int i = 0; i < THAW_ALS_BLOCK * nb; i++) {
        e->a[i / THAW_ALS_BLOCK * dual_stride(e) + THAW_ALS_BLOCK * i + i % THAW_ALS_BLOCK] += 1;
        e->x[i] = i < n ? e->t[i] : 0;
    }
    if (!k->factor(e->a, dual_stride(e), nb, e->x, extremes)) return false;
    k->back(e->a, dual_stride(e), nb, e->x);
    for (int i = 0; i < n; i++) sum += ((double)e->x[i] - e->t[i]) * ((double)e->x[i] + e->t[i]);
    to_primal(e, e->x, e->b);
    for (int j = 0; j < order; j++)
        if (e->s->moves[j]) z[j] = e->b[j];
    *loss = sum;
    return true;
}

// A^-1 r = D^-1/2 (g - P' (I + P P')^-1 P g), g = D^-1/2 r.
void thaw_als_dual_apply(struct thaw_als_exact *e, const double *r, float *z) {
    const struct thaw_als_cholesky_kernels *k = e->kernels;
    const int nb = rows_of(e), order = THAW_ALS_BLOCK * e->nb;
    for (int j = 0; j < order; j++) e->b[j] = e->h[j] * (float)r[j];
    memset(e->x, 0, (size_t)(THAW_ALS_BLOCK * nb) * sizeof(float));
    k->across(e->panel, across_stride(e), order, nb, e->b, e->x);
    k->forward(e->a, dual_stride(e), nb, e->x);
    k->back(e->a, dual_stride(e), nb, e->x);
    to_primal(e, e->x, e->b);
    for (int j = 0; j < order; j++) z[j] = e->inverse[j] * (float)r[j] - e->b[j];
}
