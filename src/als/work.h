// work.h: what the solvers of als/ share; private to the module.
//
// A new solver is one file with a struct thaw_als_solver_def, and one line in als.c's table.
#ifndef THAW_ALS_WORK_H
#define THAW_ALS_WORK_H

#include "als/als.h"

#include <stddef.h>

struct thaw_als_work {
    int k, d;       // factors, columns of a row
    int dp;         // d rounded up to a multiple of THAW_ALS_LANES
    double *a;      // d x d: the normal matrix, upper triangle
    double *b;      // d: right-hand side, then the solution
    float *panel;   // THAW_ALS_PANEL x dp: gathered rows, scaled
    float *product; // d x dp: panel'panel
    float *scratch; // the solver's own, see struct thaw_als_solver_def
    const struct thaw_als_solver_def *solver;
    const struct thaw_als_sweep *begun; // what `begin` has seen
};

struct thaw_als_solver_def {
    size_t (*scratch)(const struct thaw_als_config *c); // floats it needs; NULL for none
    void (*begin)(struct thaw_als_work *w,
                  const struct thaw_als_sweep *s); // before a half-sweep's first row; may be NULL
    // As thaw_als_solve with n > 0; the caller checks that the result is finite.
    int (*solve)(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                 const uint32_t *index, const float *r, int64_t n, float *x, struct thaw_err *err);
};
extern const struct thaw_als_solver_def thaw_als_cholesky, thaw_als_cg;

// normal.c: thaw_als_long_begin and so on, in the caller's floating-point mode.
void thaw_als_normal_begin(struct thaw_als_work *w, const struct thaw_als_sweep *s, int64_t n);
void thaw_als_normal_add(struct thaw_als_work *w, const struct thaw_als_sweep *s, const float *table,
                         const uint32_t *index, const float *r, int64_t n);
int thaw_als_normal_end(struct thaw_als_work *w, float *x, struct thaw_err *err);

// Weight w and right-hand side c of one interaction of value r with the opposite row y (whose bias is taken
// off).
static inline void thaw_als_terms(const struct thaw_als_config *f, float r, const float *y, float *w,
                                  float *c) {
    if (f->model == THAW_ALS_EXPLICIT) {
        *w = 1;
        *c = (float)(r - f->mean) - (f->biases ? y[f->k] : 0);
    } else {
        *w = (float)(f->alpha * r);
        *c = (float)((f->model == THAW_ALS_HU ? f->unobserved : 0) + f->alpha * r);
    }
}

// Compile a function for wider vector units as well, chosen by the loader. Levels, not arch=<cpu>: those
// match one model only.
#if defined(__x86_64__) && __GNUC__ >= 12 && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) &&        \
    !defined(__SANITIZE_THREAD__)
#define THAW_ALS_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define THAW_ALS_CLONES
#endif

// ---- Vector loops. Lengths marked dp are multiples of THAW_ALS_LANES on 64-byte aligned rows. ----
enum { THAW_ALS_LANES = 16, THAW_ALS_TILE = 16 };

// t[i] = y_i . p for the rows of a tile (THAW_ALS_TILE x dp).
void thaw_als_dots(const float *tile, int dp, const float *p, float t[THAW_ALS_TILE]);
// out[dp] += sum_i t[i] y_i.
void thaw_als_axpys(const float *tile, int dp, const float t[THAW_ALS_TILE], float *out);
// out[dp] += sum_i t[i] y_i * y_i, element by element.
void thaw_als_squares(const float *tile, int dp, const float t[THAW_ALS_TILE], float *out);
// a . b of any length and alignment.
float thaw_als_dot(const float *a, const float *b, int n);

#endif
