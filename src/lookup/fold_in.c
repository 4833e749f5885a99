// fold_in.c: the vector of someone the tables do not know: one row problem of training (als/als.h), in f64.
#include "lookup/lookup_impl.h"

#include "base/mem.h"
#include "dense/chol.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// The normal equations of one row: a (d x d, lower triangle) x = b.
struct normal {
    double *a, *b, *z; // z: one opposite row, d
    int d;
};

// a += w z z', b += c z
static void add(struct normal *s, double w, double c) {
    for (int i = 0; i < s->d; i++) {
        const double wz = w * s->z[i];
        double *row = s->a + (int64_t)i * s->d;
        for (int j = 0; j <= i; j++) row[j] += wz * s->z[j];
        s->b[i] += c * s->z[i];
    }
}

// What training takes for a value of the log.
static float strength_of(const Thaw__Als *als, float r) {
    if (als->model == THAW__ALS__MODEL__EXPLICIT || als->strength == THAW__ALS__STRENGTH__RAW) return r;
    if (r <= 0) return 0;
    return als->strength == THAW__ALS__STRENGTH__LOG ? (float)log2(1 + (double)r) : 1;
}

// Training leaves these out: an implicit strength that is not above 0 (returns that outweigh purchases).
static bool counts(const Thaw__Als *als, float strength) {
    return als->model == THAW__ALS__MODEL__EXPLICIT || strength > 0;
}

static void add_implicit(struct normal *s, const Thaw__Als *als, const float *y, double r) {
    const double w = als->alpha * r;
    for (int i = 0; i < s->d; i++) s->z[i] = y[i];
    add(s, w, als->model == THAW__ALS__MODEL__IMPLICIT_HU ? als->unobserved_weight + w : w);
}

// Unknowns are the factors and, with biases, the row's own bias, whose opposite is 1.
static void add_explicit(struct normal *s, const Thaw__Als *als, const float *y, double r) {
    const int k = als->factors;
    for (int i = 0; i < k; i++) s->z[i] = y[i];
    if (als->biases) s->z[k] = 1;
    add(s, 1, r - als->mean - (als->biases ? y[k] : 0));
}

static double lambda_of(const struct thaw_lookup *l, int64_t n) {
    const Thaw__Als *als = l->als;
    if (als->model == THAW__ALS__MODEL__EXPLICIT) return als->regularization * (double)n;
    return als->regularization *
           pow((double)n + als->unobserved_weight * (double)l->nitems, als->reg_exponent);
}

static int history_check(const struct thaw_lookup *l, const int64_t *items, const float *strengths, int64_t n,
                         struct thaw_err *err) {
    for (int64_t i = 0; i < n; i++) {
        if (items[i] < 0 || items[i] >= l->nitems)
            return thaw_fail(err, THAW_EDATA, "history entry %" PRId64 ": no item row %" PRId64, i, items[i]);
        if (strengths && !isfinite(strengths[i]))
            return thaw_fail(err, THAW_EDATA,
                             "history entry %" PRId64 ": its strength is not a finite number", i);
    }
    return THAW_OK;
}

// Gramian and regularization; n is the number of interactions that count.
static void begin(struct normal *s, const struct thaw_lookup *l, int64_t n) {
    const bool implicit = l->als->model != THAW__ALS__MODEL__EXPLICIT;
    const double lambda = lambda_of(l, n), *gramian = thaw_tables_gramian(l->tables);
    for (int i = 0; i < s->d; i++) {
        for (int j = 0; j <= i && implicit; j++)
            s->a[i * s->d + j] = l->als->unobserved_weight * gramian[i * s->d + j];
        s->a[i * s->d + i] += lambda;
    }
}

static void add_history(struct normal *s, const struct thaw_lookup *l, const int64_t *items,
                        const float *strengths, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float *y = thaw_tables_vector(l->tables, THAW_ITEMS, items[i]);
        const float r = strength_of(l->als, strengths ? strengths[i] : 1);
        if (l->als->model == THAW__ALS__MODEL__EXPLICIT)
            add_explicit(s, l->als, y, r);
        else if (counts(l->als, r))
            add_implicit(s, l->als, y, r);
    }
}

int thaw_lookup_fold_in(const struct thaw_lookup *l, const int64_t *items, const float *strengths, int64_t n,
                        float *user, struct thaw_err *err) {
    const int d = l->columns;
    double *memory = NULL;
    int64_t counting = 0;
    int code = history_check(l, items, strengths, n, err);
    if (!code) code = thaw_alloc(&memory, (size_t)d * (size_t)(d + 2), sizeof *memory, "a fold-in", err);
    if (code) return code;
    struct normal s = {.a = memory, .b = memory + (int64_t)d * d, .z = memory + (int64_t)d * (d + 1), .d = d};
    for (int64_t i = 0; i < n; i++)
        counting += counts(l->als, strength_of(l->als, strengths ? strengths[i] : 1));
    if (counting) {
        begin(&s, l, counting);
        add_history(&s, l, items, strengths, n);
    }
    if (!counting)
        memset(user, 0, (size_t)d * sizeof *user);
    else if (thaw_chol_solve(s.a, s.b, d))
        for (int i = 0; i < d; i++) user[i] = (float)s.b[i];
    else
        code =
            thaw_fail(err, THAW_EDATA,
                      "the fold-in of %" PRId64
                      " interactions has no solution: their strengths or the tables in %s are out of range",
                      n, thaw_tables_dir(l->tables));
    free(memory);
    return code;
}
