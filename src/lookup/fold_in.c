// fold_in.c: the vector of someone the tables do not know: one row problem of training (cold/cold.h).
#include "lookup/lookup_impl.h"

int thaw_lookup_fold_in(const struct thaw_lookup *l, const int64_t *items, const float *strengths, int64_t n,
                        float *user, struct thaw_err *err) {
    const struct thaw_newcomer who = {.item = items, .strength = strengths, .nitems = n};
    struct thaw_cold *c = NULL;
    struct thaw_cold_work *w = NULL;
    Thaw__Known known = THAW__KNOWN__INIT; // no regularization: that of training
    int code = lookup_cold(l, &c, err);
    if (!code) code = thaw_cold_work_new(&w, c, err);
    if (!code) code = thaw_cold_fold_in(c, &who, &known, w, user, err);
    thaw_cold_work_free(&w);
    return code;
}
