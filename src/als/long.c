// long.c: long rows, whatever the solver: rounds, and sums that add without rounding.
#include "als/work.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Doubles hold multiples of a grid up to 2^53 of them; two bits are left free, for the rounding of the terms.
enum { GRID_BITS = 51, GRID_LEAST = -900, GRID_MOST = 900 };

int thaw_als_grid(double bound) {
    if (!isfinite(bound)) return GRID_MOST; // it will be found to have diverged
    if (bound < ldexp(1, GRID_LEAST + GRID_BITS)) return GRID_LEAST;
    const int grid = ilogb(bound) + 1 - GRID_BITS;
    return grid < GRID_MOST ? grid : GRID_MOST;
}

// Adding 1.5 x 2^52 grids rounds to the grid, for whatever is below half of that; NaN and infinity stay.
void thaw_als_grid_add1(double *sum, double v, int grid) {
    const double shift = ldexp(1.5, 52 + grid);
    *sum += (v + shift) - shift;
}

void thaw_als_grid_add(double *sums, const float *v, size_t n, int grid) {
    const double shift = ldexp(1.5, 52 + grid);
    for (size_t i = 0; i < n; i++) sums[i] += ((double)v[i] + shift) - shift;
}

int thaw_als_long_rounds(const struct thaw_als_config *c) {
    return thaw_als_solver_of(c)->rounds(c);
}

size_t thaw_als_long_sums(const struct thaw_als_config *c) {
    return thaw_als_solver_of(c)->sums(c);
}

size_t thaw_als_long_vector(const struct thaw_als_config *c) {
    return thaw_als_solver_of(c)->vector(c);
}

size_t thaw_als_long_nbytes(const struct thaw_als_config *c) {
    const size_t vectors = 8 * (size_t)thaw_als_width(c) * sizeof(float); // what a solver keeps, at most
    return sizeof(struct thaw_als_long) + vectors + thaw_als_long_vector(c) * sizeof(float) +
           thaw_als_long_sums(c) * sizeof(double);
}

double thaw_als_long_weight(const struct thaw_als_config *c, int64_t n, double sum_abs_r) {
    const double m = (double)n;
    const double sum = c->model == THAW_ALS_EXPLICIT
                           ? m + sum_abs_r + m * fabs(c->mean)
                           : 2 * c->alpha * sum_abs_r + (c->model == THAW_ALS_HU ? m * c->unobserved : 0);
    return sum * (1 + 1e-6); // w and c are rounded to f32
}

int thaw_als_long_new(struct thaw_als_long **out, const struct thaw_als_sweep *s, int64_t n, double weight,
                      float norm2, const float *z, struct thaw_err *err) {
    struct thaw_als_long *l = NULL;
    int code = thaw_alloc(&l, 1, sizeof *l, "a long row", err);
    if (code) return code;
    l->s = s;
    l->solver = thaw_als_solver_of(&s->config);
    l->n = n;
    l->weight = weight;
    l->norm2 = norm2;
    if ((code = thaw_alloc(&l->z, (size_t)s->width, sizeof *l->z, "a long row", err))) goto done;
    memcpy(l->z, z, (size_t)s->width * sizeof *z);
    thaw_als_start(s, l->z);
    if (l->solver->begin && (code = l->solver->begin(l, err))) goto done;
    *out = l;
    l = NULL;
done:
    thaw_als_long_free(&l);
    return code;
}

void thaw_als_long_free(struct thaw_als_long **l) {
    if (!*l) return;
    free((*l)->own);
    free((*l)->z);
    free(*l);
    *l = NULL;
}

static size_t vector_bytes(const struct thaw_als_config *c) {
    return thaw_als_long_vector(c) * sizeof(float);
}

void thaw_als_long_ask(const struct thaw_als_long *l, float *vector) {
    memset(vector, 0, vector_bytes(&l->s->config));
    if (!l->done) l->solver->ask(l, vector);
}

void thaw_als_long_piece(struct thaw_als_work *w, const struct thaw_als_sweep *s,
                         const struct thaw_als_row *piece, const float *vector, double *sums) {
    const size_t n = thaw_als_long_vector(&s->config);
    size_t i = 0;
    while (i < n && vector[i] == 0) i++;
    if (i == n || piece->n == 0) return;
    const unsigned long mode = thaw_als_mode_begin();
    w->solver->piece(w, s, piece, vector, sums);
    thaw_als_mode_end(mode);
}

int thaw_als_long_step(struct thaw_als_long *l, struct thaw_als_work *w, const double *sums,
                       struct thaw_err *err) {
    if (l->done) return THAW_OK;
    const unsigned long mode = thaw_als_mode_begin();
    int code = l->solver->step(l, w, sums, err);
    if (!code) code = thaw_als_finite(l->s, l->z, l->done ? l->loss : 0, err);
    thaw_als_mode_end(mode);
    l->round++;
    return code;
}

bool thaw_als_long_done(const struct thaw_als_long *l) {
    return l->done;
}

void thaw_als_long_get(const struct thaw_als_long *l, float *z, double *loss) {
    memcpy(z, l->z, (size_t)l->s->width * sizeof *z);
    if (loss) *loss = l->loss;
}
