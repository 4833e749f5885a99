// baselines.c: popularity and item neighbours as scorers.
#include "comm/baselines.h"

#include "base/mem.h"
#include "base/part.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Numbers ----

// Tuned on MovieLens 1M's validation users.
static const struct {
    int known;
    double knn_shrink, knn_power, ease;
    int ials_factors;
    double ials_unobserved, ials_regularization, unobserved_weight, regularization, virtual_weight;
} measured[] = {
    {1, 100, .25, 1e5, 32, .3, .03, .09, 3, .25},
    {3, 100, .5, 1e5, 32, .2, .015, .06, 1.5, .1},
    {5, 100, .5, 3e4, 32, .2, .015, .06, .45, .1},
    {10, 0, .5, 1e4, 64, .3, .01, .09, .1, 0},
};
enum { MEASURED = sizeof measured / sizeof *measured };

void thaw_baseline_default_known(Thaw__Known *k, int known) {
    int32_t list[MEASURED];
    for (int i = 0; i < MEASURED; i++) list[i] = measured[i].known;
    const int i = thaw_cold_nearest(list, MEASURED, known);
    k->knn_shrink = measured[i].knn_shrink;
    k->knn_power = measured[i].knn_power;
    k->ease = measured[i].ease;
    k->ials_factors = measured[i].ials_factors;
    k->ials_unobserved = measured[i].ials_unobserved;
    k->ials_regularization = measured[i].ials_regularization;
    k->unobserved_weight = measured[i].unobserved_weight;
    k->regularization = measured[i].regularization;
    k->cell_strength = 30;
    k->cell_others = 100;
    k->cell_weight = .5;
    k->virtual_weight = measured[i].virtual_weight;
    k->virtual_unobserved = .1;
    k->virtual_regularization = .3;
}

// ---- Popularity ----

int thaw_popularity_new(struct thaw_popularity *p, struct thaw_comm *c, const int64_t *degree, int64_t nrows,
                        int64_t users, struct thaw_err *err) {
    void *all = NULL;
    int64_t nbytes = 0;
    const int code = thaw_comm_gather(c, degree, nrows * (int64_t)sizeof *degree, -1, &all, &nbytes, err);
    if (code) return code;
    *p = (struct thaw_popularity){.nitems = nbytes / (int64_t)sizeof *degree, .users = users, .count = all};
    return THAW_OK;
}

void thaw_popularity_clear(struct thaw_popularity *p) {
    free(p->count);
    *p = (struct thaw_popularity){0};
}

static int popularity_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                            float *scores, struct thaw_err *err) {
    const struct thaw_popularity *p = self;
    (void)who;
    (void)candidate;
    (void)work;
    (void)err;
    for (int64_t i = 0; i < p->nitems; i++) scores[i] = (float)p->count[i];
    return THAW_OK;
}

struct thaw_scorer thaw_scorer_of_popularity(const struct thaw_popularity *p) {
    return (struct thaw_scorer){.nitems = p->nitems, .self = p, .score = popularity_score};
}

// ---- Item neighbours ----

enum { INDPTR, INDICES, VALUES, ARRAYS };
static const char *const array_name[ARRAYS] = {"indptr", "indices", "values"};
static const enum thaw_npy_type array_type[ARRAYS] = {THAW_NPY_I64, THAW_NPY_U32, THAW_NPY_F32};

// Rows, entries and their items are as they must be.
static int check_part(const struct thaw_npy a[ARRAYS], int64_t rows, int64_t nitems, const char *path,
                      struct thaw_err *err) {
    for (int i = 0; i < ARRAYS; i++)
        if (a[i].shape.type != array_type[i] || a[i].shape.ndim != 1)
            return thaw_fail(err, THAW_EDATA, "%s: %s has another type or shape", path, array_name[i]);
    const int64_t *ptr = a[INDPTR].data;
    const uint32_t *index = a[INDICES].data;
    const int64_t n = a[INDICES].shape.rows;
    bool good =
        a[INDPTR].shape.rows == rows + 1 && a[VALUES].shape.rows == n && ptr[0] == 0 && ptr[rows] == n;
    for (int64_t r = 0; good && r < rows; r++) good = ptr[r] <= ptr[r + 1] && ptr[r + 1] <= n;
    for (int64_t i = 0; good && i < n; i++) good = index[i] < nitems;
    return good ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: its rows do not fit together", path);
}

static int open_part(struct thaw_neighbors *s, const char *dir, int32_t part, const struct thaw_plan *items,
                     struct thaw_err *err) {
    char name[96], path[THAW_PATH_MAX] = "";
    int code = THAW_OK;
    for (int i = 0; !code && i < ARRAYS; i++) {
        snprintf(name, sizeof name, "associate.n000.items-%05" PRId32 "-of-%05" PRId32 ".%s.npy", part,
                 items->nparts, array_name[i]);
        code = thaw_path_join(path, dir, name, err);
        if (!code) code = thaw_npy_open(&s->part[part * ARRAYS + i], path, NULL, err);
    }
    if (code) return code;
    return check_part(s->part + part * ARRAYS, items->first_row[part + 1] - items->first_row[part],
                      thaw_plan_rows(items), path, err);
}

int thaw_neighbors_open(struct thaw_neighbors *s, const char *dir, const struct thaw_plan *items,
                        const struct thaw_popularity *p, struct thaw_err *err) {
    *s = (struct thaw_neighbors){.nparts = items->nparts, .first_row = items->first_row, .popularity = p};
    int code = thaw_alloc(&s->part, (size_t)items->nparts * ARRAYS, sizeof *s->part, "item neighbours", err);
    for (int32_t part = 0; !code && part < items->nparts; part++) code = open_part(s, dir, part, items, err);
    if (code) thaw_neighbors_close(s);
    return code;
}

void thaw_neighbors_close(struct thaw_neighbors *s) {
    for (int32_t i = 0; s->part && i < s->nparts * ARRAYS; i++) thaw_npy_close(&s->part[i]);
    free(s->part);
    *s = (struct thaw_neighbors){0};
}

int thaw_neighbors_scorer_new(struct thaw_neighbors_scorer *s, const struct thaw_neighbors *neighbors,
                              const Thaw__Known *known, int ncandidates, struct thaw_err *err) {
    const struct thaw_popularity *p = neighbors->popularity;
    *s = (struct thaw_neighbors_scorer){.neighbors = neighbors, .known = known, .ncandidates = ncandidates};
    const int code = thaw_alloc(&s->powered, (size_t)ncandidates * (size_t)p->nitems, sizeof *s->powered,
                                "item neighbours", err);
    for (int c = 0; !code && c < ncandidates; c++)
        for (int64_t i = 0; i < p->nitems; i++)
            s->powered[c * p->nitems + i] = pow((double)p->count[i], known[c].knn_power);
    return code;
}

void thaw_neighbors_scorer_clear(struct thaw_neighbors_scorer *s) {
    free(s->powered);
    *s = (struct thaw_neighbors_scorer){0};
}

static int32_t part_of(const struct thaw_neighbors *s, int64_t row) {
    int32_t low = 0, high = s->nparts - 1;
    while (low < high) {
        const int32_t middle = low + (high - low + 1) / 2;
        if (s->first_row[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static int neighbors_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                           float *scores, struct thaw_err *err) {
    const struct thaw_neighbors_scorer *s = self;
    const struct thaw_neighbors *m = s->neighbors;
    const int64_t nitems = m->popularity->nitems;
    const double *p = s->powered + candidate * nitems, shrink = s->known[candidate].knn_shrink;
    (void)work;
    (void)err;
    memset(scores, 0, (size_t)nitems * sizeof *scores);
    for (int64_t k = 0; k < who->nitems; k++) {
        const int64_t item = who->item[k];
        const int32_t part = part_of(m, item);
        const struct thaw_npy *a = m->part + part * ARRAYS;
        const int64_t *ptr = (const int64_t *)a[INDPTR].data + item - m->first_row[part];
        const uint32_t *index = a[INDICES].data;
        const float *count = a[VALUES].data;
        for (int64_t i = ptr[0]; i < ptr[1]; i++)
            scores[index[i]] += (float)((double)count[i] / (p[item] * p[index[i]] + shrink + 1e-9));
    }
    return THAW_OK;
}

struct thaw_scorer thaw_scorer_of_neighbors(const struct thaw_neighbors_scorer *s) {
    return (struct thaw_scorer){
        .nitems = s->neighbors->popularity->nitems, .self = s, .score = neighbors_score};
}
