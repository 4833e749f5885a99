// cholesky_long.c: the exact solver's long rows: one round, in which the pieces' normal matrices, right-hand
// sides and constants of the loss are added up. Bound by flops, as the exact solver.
//
// A sum: the upper triangle by rows of the columns that move, their right-hand side, the constant. A vector:
// 1, then the three grids' exponents.
#include "als/cholesky.h"

#include <math.h>

enum { MARK, GRID_A, GRID_B, GRID_C, VECTOR = 16 };

static int free_columns(const struct thaw_als_config *c) {
    return thaw_als_columns(c);
}
// Which component of z the i-th that moves is.
static int component(const struct thaw_als_config *c, int i) {
    return c->biases && i ? i - 1 + THAW_ALS_BIAS_COLUMNS : i;
}
size_t thaw_als_exact_sums(const struct thaw_als_config *c) {
    const size_t n = (size_t)free_columns(c);
    return n * (n + 1) / 2 + n + 1;
}
size_t thaw_als_exact_vector(const struct thaw_als_config *c) {
    (void)c;
    return VECTOR;
}
int thaw_als_exact_rounds(const struct thaw_als_config *c) {
    (void)c;
    return 1;
}

// weight bounds sum |w| and sum |c|, norm2 every |y~|^2, so also the fixed part of c.
void thaw_als_exact_ask(const struct thaw_als_long *l, float *vector) {
    const double norm2 = l->norm2, bias = l->s->offset ? 2 * sqrt(norm2) * l->weight : 0,
                 c = l->weight + bias;
    vector[MARK] = 1;
    vector[GRID_A] = (float)thaw_als_grid(l->weight * norm2);
    vector[GRID_B] = (float)thaw_als_grid(c * sqrt(norm2));
    vector[GRID_C] = (float)thaw_als_grid(l->s->terms.squares ? c * c : c);
}

void thaw_als_exact_piece(struct thaw_als_work *w, const struct thaw_als_sweep *s,
                          const struct thaw_als_row *piece, const float *vector, double *sums) {
    struct thaw_als_exact e;
    const struct thaw_als_config *f = &s->config;
    double constant = 0;
    if (piece->n == 0) return;
    thaw_als_exact_begin(&e, w, s, piece, 0);
    if (thaw_als_exact_sum(&e, true, &constant) < 0) {
        constant = 0;
        thaw_als_exact_wide_sum(&e, &constant);
    }
    const int n = free_columns(f), order = THAW_ALS_BLOCK * e.nb;
    const double *b = e.wide + (size_t)order * (size_t)order;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            thaw_als_grid_add1(sums++, e.wide[(ptrdiff_t)component(f, i) * order + component(f, j)],
                               (int)vector[GRID_A]);
    for (int i = 0; i < n; i++) thaw_als_grid_add1(sums++, b[component(f, i)], (int)vector[GRID_B]);
    thaw_als_grid_add1(sums, constant, (int)vector[GRID_C]);
}

// loss: z'(A - D) z - 2 b'z + constant, in f64 with z as it is stored.
static double loss_at(const double *sums, int n, const struct thaw_als_config *f, const float *z) {
    double loss = 0;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            loss += (i == j ? 1 : 2) * *sums++ * z[component(f, i)] * z[component(f, j)];
    for (int i = 0; i < n; i++) loss -= 2 * *sums++ * z[component(f, i)];
    return loss + *sums;
}

int thaw_als_exact_step(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums,
                        struct thaw_err *err) {
    struct thaw_als_exact e;
    const struct thaw_als_config *f = &l->s->config;
    const int n = free_columns(f);
    const double *from = sums;
    thaw_als_exact_begin(&e, w, l->s, NULL, l->n);
    double *b = e.wide + (size_t)n * (size_t)n;
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++) e.wide[(ptrdiff_t)i * n + j] = *from++;
    for (int i = 0; i < n; i++) {
        b[i] = *from++;
        e.wide[(ptrdiff_t)i * n + i] += e.d[component(f, i)];
    }
    const int code = thaw_als_wide_solve(e.wide, b, n, err);
    if (code) return code;
    for (int i = 0; i < n; i++) l->z[component(f, i)] = (float)b[i];
    l->loss = loss_at(sums, n, f, l->z);
    l->done = true;
    return THAW_OK;
}
