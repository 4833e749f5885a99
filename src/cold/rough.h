// rough.h: rows of floats in 8 bits a number with one step a row, and how far their products may be off: a
// first look at all rows that tells which ones are worth an exact look. Private to src/cold. Local; sweeps
// are thread-safe.
#ifndef THAW_COLD_ROUGH_H
#define THAW_COLD_ROUGH_H

#include "base/err.h"
#include "dense/score.h"

#include <stdint.h>

struct rough {
    int k, width; // width: k, filled up with zeros to a multiple of 16
    int64_t n;
    int8_t *q;   // n x width; NULL: there is no copy
    float *step; // n: what a row's numbers are multiplied by
};
int rough_new(struct rough *t, int64_t n, int k, struct thaw_err *err);
void rough_clear(struct rough *t);
// Row i from k finite floats.
void rough_set(struct rough *t, int64_t i, const float *row);

// A vector to multiply rows with, as whole numbers times a step.
struct rough_vector {
    int16_t *q; // width
    float step;
    float doubt; // a product is off by no more than this times the row's step
};
// From k finite floats; v->q is the caller's memory.
void rough_vector_set(const struct rough *t, const float *x, struct rough_vector *v);

// out[begin, end) = rows . x, of all out[n]. Bound by reading the rows.
void rough_sweep(const struct rough *t, const struct rough_vector *x, int64_t begin, int64_t end, float *out);
// On a chosen vector unit, which the machine must have, for tests: the same bits on all.
void rough_sweep_on(enum thaw_score_unit unit, const struct rough *t, const struct rough_vector *x,
                    int64_t begin, int64_t end, float *out);

#endif
