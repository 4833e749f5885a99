// prior_types.c: see prior_types.h.
#include "comm/prior_types.h"

#include "base/mem.h"
#include "base/rng.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Who is kept ----

static int64_t count_below(const uint64_t *draw, int64_t n, uint64_t limit) {
    int64_t count = 0;
    for (int64_t u = 0; u < n; u++) count += draw[u] < limit;
    return count;
}

// Collective. keep[u]: one of the `most` users with the smallest draws, found by bisection. Returns how many
// this rank keeps.
static int choose(struct thaw_comm *c, const struct thaw_prior_types_source *s, int64_t most, uint8_t *keep,
                  int64_t *nkept, struct thaw_err *err) {
    const int64_t n = s->history->nusers;
    uint64_t *draw = NULL, limit = 0;
    int code = thaw_comm_agree(c, thaw_alloc(&draw, (size_t)n, sizeof *draw, "draws of users", err), err);
    if (code) return code;
    for (int64_t u = 0; u < n; u++) {
        struct thaw_rng rng = thaw_rng_at(0, THAW_STREAM_TYPES, s->history->key[u]);
        draw[u] = s->use[u] ? thaw_rng_u64(&rng) >> 1 : UINT64_MAX;
    }
    for (int bit = 63; bit >= 0; bit--) { // the largest limit that keeps no more than `most`
        int64_t count = count_below(draw, n, limit | 1ULL << bit);
        thaw_comm_sum_i64(c, &count, 1);
        if (count <= most) limit |= 1ULL << bit;
    }
    *nkept = 0;
    for (int64_t u = 0; u < n; u++) *nkept += keep[u] = s->use[u] && draw[u] < limit;
    free(draw);
    return THAW_OK;
}

// ---- What is known of them ----

// This rank's part of the lists, then everybody's.
struct lists {
    int64_t n, nitems, nfeatures;
    float *factors, *value;
    int64_t *length, *width; // items and features of each
    uint32_t *item, *column;
};

static void lists_clear(struct lists *l) {
    free(l->factors);
    free(l->value);
    free(l->length);
    free(l->width);
    free(l->item);
    free(l->column);
}

static int64_t attributes_of(const struct thaw_prior_types_source *s, int64_t u, int64_t *first) {
    const struct thaw_features *f = s->profile;
    int64_t n = 0;
    *first = f->columns ? f->ptr[u] : 0;
    for (int64_t at = *first; f->columns && at < f->ptr[u + 1] && f->column[at] < (uint32_t)s->attributes;
         at++)
        n++;
    return n;
}

static int lists_new(struct lists *l, const struct thaw_prior_types_source *s, const uint8_t *keep,
                     struct thaw_err *err) {
    int64_t first;
    for (int64_t u = 0; u < s->history->nusers; u++) {
        if (!keep[u]) continue;
        l->nitems += thaw_histories_length(s->history, u);
        l->nfeatures += attributes_of(s, u, &first);
    }
    const size_t n = (size_t)l->n;
    int code = thaw_alloc(&l->factors, n * (size_t)s->k, sizeof *l->factors, "types", err);
    if (!code) code = thaw_alloc(&l->length, n, sizeof *l->length, "types", err);
    if (!code) code = thaw_alloc(&l->width, n, sizeof *l->width, "types", err);
    if (!code) code = thaw_alloc(&l->item, (size_t)l->nitems, sizeof *l->item, "histories of types", err);
    if (!code)
        code = thaw_alloc(&l->column, (size_t)l->nfeatures, sizeof *l->column, "profiles of types", err);
    return code ? code
                : thaw_alloc(&l->value, (size_t)l->nfeatures, sizeof *l->value, "profiles of types", err);
}

static void take_profile(struct lists *l, const struct thaw_prior_types_source *s, int64_t u, int64_t at,
                         int64_t row) {
    int64_t first;
    double squares = 0;
    const int64_t n = l->width[row] = attributes_of(s, u, &first);
    for (int64_t i = 0; i < n; i++) squares += pow((double)s->profile->value[first + i], 2);
    for (int64_t i = 0; i < n; i++) {
        l->column[at + i] = s->profile->column[first + i];
        l->value[at + i] = squares > 0 ? (float)((double)s->profile->value[first + i] / sqrt(squares)) : 0;
    }
}

static void take(struct lists *l, const struct thaw_prior_types_source *s, const uint8_t *keep) {
    const struct thaw_histories *h = s->history;
    int64_t row = 0, item = 0, feature = 0;
    for (int64_t u = 0; u < h->nusers; u++) {
        if (!keep[u]) continue;
        memcpy(l->factors + row * s->k, s->rows[THAW_USERS] + u * s->columns, (size_t)s->k * sizeof(float));
        l->length[row] = thaw_histories_length(h, u);
        for (int64_t i = h->ptr[u]; i < h->ptr[u + 1]; i++) l->item[item++] = (uint32_t)h->item[i];
        take_profile(l, s, u, feature, row);
        feature += l->width[row++];
    }
}

// Collective. *data of every rank, on rank 0 or (root < 0) everywhere; count becomes the elements of all.
static int gather(struct thaw_comm *c, void *data, int64_t n, size_t size, int root, struct thaw_err *err) {
    void *own, *all = NULL;
    int64_t total;
    memcpy(&own, data, sizeof own);
    const int code = thaw_comm_gather(c, own, n * (int64_t)size, root, &all, &total, err);
    if (code) return code;
    free(own);
    memcpy(data, &all, sizeof all);
    return THAW_OK;
}

static int lists_gather(struct lists *l, struct thaw_comm *c, int k, struct thaw_err *err) {
    int code = gather(c, &l->factors, l->n * k, sizeof(float), -1, err);
    if (!code) code = gather(c, &l->length, l->n, sizeof(int64_t), 0, err);
    if (!code) code = gather(c, &l->width, l->n, sizeof(int64_t), 0, err);
    if (!code) code = gather(c, &l->item, l->nitems, sizeof(uint32_t), 0, err);
    if (!code) code = gather(c, &l->column, l->nfeatures, sizeof(uint32_t), 0, err);
    if (!code) code = gather(c, &l->value, l->nfeatures, sizeof(float), 0, err);
    int64_t count[3] = {l->n, l->nitems, l->nfeatures};
    thaw_comm_sum_i64(c, count, 3);
    l->n = count[0];
    l->nitems = count[1];
    l->nfeatures = count[2];
    return code;
}

// ---- What they would take ----

static const double SCALE = 0x1p24; // of a preference, as an integer

// Local. sum[u] += the preferences above 0 of type u for this rank's items, a few at a time.
static int preferences(const struct thaw_prior_types_source *s, const struct thaw_comm *c,
                       const float *factors, int64_t n, int64_t *sum, struct thaw_err *err) {
    enum { ROWS = 64 };
    const struct thaw_plan *plan = &s->plan[THAW_ITEMS];
    const int rank = thaw_comm_rank(c);
    const int64_t nitems = plan->rank_row[rank + 1] - plan->rank_row[rank];
    float *block = NULL;
    const int code = thaw_alloc(&block, (size_t)n * ROWS, sizeof *block, "preferences of types", err);
    for (int64_t at = 0; !code && at < nitems; at += ROWS) {
        const int64_t rows = nitems - at < ROWS ? nitems - at : ROWS;
        thaw_score_pitch(factors, n, s->rows[THAW_ITEMS] + at * s->columns, s->columns, rows, s->k, block);
        for (int64_t u = 0; u < n; u++)
            for (int64_t i = 0; i < rows; i++) {
                const double x = (double)block[u * rows + i];
                if (x > 0) sum[u] += llrint(fmin(x, 0x1p12) * SCALE);
            }
    }
    free(block);
    return code;
}

// ---- All of it ----

// Rank 0. From a list of items for each type to a list of types for each item.
static int turn(struct thaw_prior_types *t, const struct lists *l, int64_t nitems, struct thaw_err *err) {
    int code = thaw_alloc(&t->indptr, (size_t)nitems + 1, sizeof *t->indptr, "types of items", err);
    if (!code) code = thaw_alloc(&t->users, (size_t)l->nitems, sizeof *t->users, "types of items", err);
    if (code) return code;
    for (int64_t i = 0; i < l->nitems; i++) t->indptr[l->item[i]]++;
    int64_t end = 0;
    for (int64_t i = 0; i <= nitems; i++) t->indptr[i] = end += i < nitems ? t->indptr[i] : 0;
    for (int64_t u = l->n - 1, at = l->nitems; u >= 0; u--)
        for (int64_t i = 0; i < l->length[u]; i++) t->users[--t->indptr[l->item[--at]]] = (uint32_t)u;
    return THAW_OK;
}

// Rank 0.
static int keep_lists(struct thaw_prior_types *t, struct lists *l, const int64_t *sum, int64_t nitems,
                      struct thaw_err *err) {
    int code = thaw_alloc(&t->mass, 2 * (size_t)l->n, sizeof *t->mass, "types", err);
    if (!code)
        code = thaw_alloc(&t->profile_indptr, (size_t)l->n + 1, sizeof *t->profile_indptr, "types", err);
    if (!code) code = turn(t, l, nitems, err);
    if (code) return code;
    for (int64_t u = 0; u < l->n; u++) {
        t->mass[2 * u] = (double)l->length[u];
        t->mass[2 * u + 1] = (double)sum[u] / SCALE;
        t->profile_indptr[u + 1] = t->profile_indptr[u] + l->width[u];
    }
    t->factors = l->factors;
    t->profile_columns = l->column;
    t->profile_values = l->value;
    l->factors = l->value = NULL;
    l->column = NULL;
    return THAW_OK;
}

int thaw_prior_types_make(struct thaw_comm *c, const struct thaw_prior_types_source *s, int64_t most,
                          struct thaw_prior_types *t, struct thaw_err *err) {
    struct lists l = {0};
    uint8_t *keep = NULL;
    int64_t *sum = NULL;
    *t = (struct thaw_prior_types){0};
    int code = thaw_alloc(&keep, (size_t)s->history->nusers, 1, "a list of users", err);
    if (!(code = thaw_comm_agree(c, code, err))) code = choose(c, s, most, keep, &l.n, err);
    if (!code) code = thaw_comm_agree(c, lists_new(&l, s, keep, err), err);
    if (code) goto done;
    take(&l, s, keep);
    if ((code = lists_gather(&l, c, s->k, err))) goto done;
    code = thaw_alloc(&sum, (size_t)l.n, sizeof *sum, "types", err);
    if (!code) code = preferences(s, c, l.factors, l.n, sum, err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_sum_i64(c, sum, l.n);
    t->n = l.n;
    if (thaw_comm_rank(c) == 0) code = keep_lists(t, &l, sum, thaw_plan_rows(&s->plan[THAW_ITEMS]), err);
    code = thaw_comm_agree(c, code, err);
done:
    if (code) thaw_prior_types_clear(t);
    lists_clear(&l);
    free(keep);
    free(sum);
    return code;
}

void thaw_prior_types_clear(struct thaw_prior_types *t) {
    free(t->factors);
    free(t->mass);
    free(t->indptr);
    free(t->users);
    free(t->profile_indptr);
    free(t->profile_columns);
    free(t->profile_values);
    *t = (struct thaw_prior_types){0};
}
