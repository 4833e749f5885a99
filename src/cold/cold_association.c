// cold_association.c: E. Rows of B of what is known, rows of C of the profile. Indices are checked at each
// use: opening does not read them.
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const struct cold_set *cold_association_set(const struct thaw_cold *c, const struct thaw_cold_work *w) {
    return &c->set[thaw_cold_nearest(c->association->known, c->association->n_known, w->n)];
}

int cold_association_row(const struct thaw_cold *c, const struct cold_set *set, int64_t i,
                         const uint32_t **index, const float **value, int64_t *n, struct thaw_err *err) {
    int32_t p;
    cold_row(c, i, &p);
    const int64_t *ptr = (const int64_t *)set->indptr[p].data + (i - c->first_row[p]);
    const int64_t count = set->indices[p].shape.rows;
    if (ptr[0] < 0 || ptr[1] < ptr[0] || ptr[1] > count)
        return thaw_fail(err, THAW_EDATA,
                         "the association is damaged: its row of item %" PRId64 " is out of range", i);
    *index = (const uint32_t *)set->indices[p].data + ptr[0];
    *value = (const float *)set->values[p].data + ptr[0];
    *n = ptr[1] - ptr[0];
    return THAW_OK;
}

static int bad_index(int64_t i, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA,
                     "the association is damaged: item %" PRId64 " has a neighbour that is no item", i);
}

int cold_association_entry(const struct thaw_cold *c, const struct cold_set *set, int64_t i, int64_t j,
                           double *value, struct thaw_err *err) {
    const uint32_t *index;
    const float *values;
    int64_t n;
    int code = cold_association_row(c, set, i, &index, &values, &n, err);
    *value = 0;
    for (int64_t at = 0; !code && at < n; at++)
        if (index[at] == j) *value += (double)values[at];
    return code;
}

// C of a part's item r at a column: 0 the constant, then the features.
static const float *entry(const struct thaw_cold *c, const struct cold_set *set, int32_t p, int64_t r,
                          int64_t column) {
    const int64_t nrows = c->first_row[p + 1] - c->first_row[p],
                  columns = 1 + (int64_t)c->association->features;
    return (const float *)set->profile[p].data + (set->by_column ? column * nrows + r : r * columns + column);
}

double cold_association_profile(const struct thaw_cold *c, const struct cold_set *set, int64_t item,
                                int64_t column) {
    int32_t p;
    cold_row(c, item, &p);
    return (double)*entry(c, set, p, item - c->first_row[p], column);
}

// scores of one part = [1, profile] C, by columns: a block of the scores stays in the cache for all of them.
static void add_columns(const struct thaw_cold *c, const struct cold_set *set, int32_t p,
                        const struct thaw_newcomer *who, float *scores) {
    enum { BLOCK = 2048 };
    const int64_t nrows = c->first_row[p + 1] - c->first_row[p];
    for (int64_t r = 0; r < nrows; r += BLOCK) {
        const int64_t n = nrows - r < BLOCK ? nrows - r : BLOCK;
        memcpy(scores + r, entry(c, set, p, r, 0), (size_t)n * sizeof *scores);
        for (int64_t a = 0; a < who->nfeatures; a++)
            if (cold_sees(c->association->features, who, a))
                cold_axpy(scores + r, entry(c, set, p, r, 1 + (int64_t)who->feature[a]), cold_value(who, a),
                          n);
    }
}

// The same by rows.
static void add_rows(const struct thaw_cold *c, const struct cold_set *set, int32_t p,
                     const struct thaw_newcomer *who, float *scores) {
    const int64_t nrows = c->first_row[p + 1] - c->first_row[p];
    for (int64_t r = 0; r < nrows; r++) {
        const float *row = entry(c, set, p, r, 0);
        float sum = row[0];
        for (int64_t a = 0; a < who->nfeatures; a++)
            if (cold_sees(c->association->features, who, a))
                sum += cold_value(who, a) * row[1 + (int64_t)who->feature[a]];
        scores[r] = sum;
    }
}

static int add_item(const struct thaw_cold *c, const struct cold_set *set, int64_t i, float *scores,
                    struct thaw_err *err) {
    const uint32_t *index;
    const float *value;
    int64_t n;
    int code = cold_association_row(c, set, i, &index, &value, &n, err);
    for (int64_t at = 0; !code && at < n; at++) {
        if (index[at] >= c->nitems) return bad_index(i, err);
        scores[index[at]] += value[at];
    }
    return code;
}

int cold_association_scores(const struct thaw_cold *c, const struct thaw_newcomer *who,
                            struct thaw_cold_work *w, float *scores, struct thaw_err *err) {
    const struct cold_set *set = cold_association_set(c, w);
    int code = THAW_OK;
    for (int32_t p = 0; set->profile && p < c->nparts; p++)
        (set->by_column ? add_columns : add_rows)(c, set, p, who, scores + c->first_row[p]);
    if (!set->profile) memset(scores, 0, (size_t)c->nitems * sizeof *scores);
    for (int64_t i = 0; !code && i < w->n; i++) code = add_item(c, set, w->item[i], scores, err);
    return code;
}
