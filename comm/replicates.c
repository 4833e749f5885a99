// replicates.c: bootstrap replicates of statistics over users that are spread over ranks.
#include "comm/replicates.h"

#include "base/exact.h"
#include "base/mem.h"
#include "comm/shuffle.h"
#include "metrics/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHUFFLE_BYTES = 8 << 20 };

// ---- Weighted sums ----

struct summing {
    struct thaw_replicates *r;
    const double *values;
    const uint64_t *key;
    uint64_t seed;
    int *scale; // ncolumns
    int64_t *sums;
};

static int agree_scales(struct thaw_comm *c, const struct summing *s, struct thaw_err *err) {
    int n = s->r->ncolumns;
    double *largest = NULL;
    int64_t users = s->r->nusers;
    int code = thaw_comm_agree(c, thaw_alloc(&largest, (size_t)n, sizeof *largest, "scales", err), err);
    if (code != THAW_OK) return code;
    for (int64_t u = 0; u < users; u++)
        for (int v = 0; v < n; v++) largest[v] = fmax(largest[v], fabs(s->values[u * n + v]));
    thaw_comm_max_f64(c, largest, n);
    thaw_comm_sum_i64(c, &users, 1);
    for (int v = 0; v < n; v++) s->scale[v] = thaw_exact_scale(thaw_bootstrap_bound(largest[v], users));
    free(largest);
    return THAW_OK;
}

static void add_user(const struct summing *s, int64_t u, int64_t *sums, int64_t *fixed) {
    int n = s->r->ncolumns;
    for (int v = 0; v < n; v++) {
        fixed[v] = 0;
        thaw_exact_add(&fixed[v], &s->values[u * n + v], 1, s->scale[v]);
        sums[v] += fixed[v];
    }
    sums[n]++;
    thaw_bootstrap_add(sums + n + 1, s->r->n, fixed, n, s->seed, s->key[u]);
    // Bit 0 is everybody, so the replicates' bits move up by one.
    uint64_t *present = s->r->present + u * s->r->words;
    thaw_bootstrap_present(present, s->r->n, s->seed, s->key[u]);
    for (int w = s->r->words; w-- > 0;) present[w] = present[w] << 1 | (w > 0 ? present[w - 1] >> 63 : 1);
}

static int add_users(const struct summing *s, struct thaw_err *err) {
    size_t n = (size_t)s->r->ncolumns + 1, cells = n * ((size_t)s->r->n + 1);
    bool failed = false;
#pragma omp parallel reduction(|| : failed)
    {
        int64_t *sums = NULL, *fixed = NULL;
        struct thaw_err own = THAW_ERR_INIT;
        failed = thaw_alloc(&sums, cells, sizeof *sums, "replicates", &own) != THAW_OK ||
                 thaw_alloc(&fixed, n, sizeof *fixed, "replicates", &own) != THAW_OK;
#pragma omp for schedule(dynamic, 16)
        for (int64_t u = 0; u < s->r->nusers; u++)
            if (!failed) add_user(s, u, sums, fixed);
#pragma omp critical(thaw_replicates)
        for (size_t i = 0; !failed && i < cells; i++) s->sums[i] += sums[i]; // integers: any order
        free(sums);
        free(fixed);
    }
    return failed ? thaw_fail(err, THAW_EMEM, "not enough memory for bootstrap replicates") : THAW_OK;
}

static int reserve(struct summing *s, struct thaw_err *err) {
    struct thaw_replicates *r = s->r;
    size_t columns = (size_t)r->ncolumns + 1, rows = (size_t)r->n + 1;
    int code = thaw_alloc(&r->sums, rows * columns, sizeof *r->sums, "replicates", err);
    if (code == THAW_OK) code = thaw_alloc(&s->sums, rows * columns, sizeof *s->sums, "replicates", err);
    if (code == THAW_OK) code = thaw_alloc(&s->scale, columns, sizeof *s->scale, "replicates", err);
    if (code == THAW_OK)
        code = thaw_alloc(&r->present, (size_t)r->nusers * (size_t)r->words, sizeof *r->present, "replicates",
                          err);
    return code;
}

int thaw_replicates_new(struct thaw_replicates *r, struct thaw_comm *c, const double *values,
                        const uint64_t *key, int64_t nusers, int ncolumns, int n, uint64_t seed,
                        struct thaw_err *err) {
    *r = (struct thaw_replicates){.n = n, .ncolumns = ncolumns, .nusers = nusers, .words = n / 64 + 1};
    struct summing s = {.r = r, .values = values, .key = key, .seed = seed};
    int64_t columns = ncolumns + 1;
    int code = thaw_comm_agree(c, reserve(&s, err), err);
    if (code == THAW_OK) code = agree_scales(c, &s, err);
    if (code == THAW_OK) code = thaw_comm_agree(c, add_users(&s, err), err);
    if (code != THAW_OK) goto done;
    thaw_comm_sum_i64(c, s.sums, columns * (n + 1));
    for (int b = 0; b <= n; b++) {
        for (int v = 0; v < ncolumns; v++)
            thaw_exact_get(&r->sums[b * columns + v], &s.sums[b * columns + v], 1, s.scale[v]);
        r->sums[b * columns + ncolumns] = (double)s.sums[b * columns + ncolumns];
    }
done:
    free(s.sums);
    free(s.scale);
    if (code != THAW_OK) thaw_replicates_clear(r);
    return code;
}

void thaw_replicates_clear(struct thaw_replicates *r) {
    free(r->sums);
    free(r->present);
    *r = (struct thaw_replicates){0};
}

int thaw_replicates_estimate(const struct thaw_replicates *r, thaw_statistic *f, const void *user,
                             struct thaw_estimate *e, struct thaw_err *err) {
    double *each = NULL;
    int code = thaw_alloc(&each, (size_t)r->n, sizeof *each, "replicates", err);
    if (code != THAW_OK) return code;
    e->value = f(r->sums, r->ncolumns, user);
    for (int b = 0; b < r->n; b++)
        each[b] = f(r->sums + (b + 1) * (int64_t)(r->ncolumns + 1), r->ncolumns, user);
    thaw_bootstrap_interval(each, r->n, &e->low, &e->high);
    free(each);
    return THAW_OK;
}

// ---- Coverage ----

struct covering {
    int64_t first_row, nrows;
    int words;
    uint64_t *bits; // nrows x words: who recommends the item
};

static int mark(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct covering *v = user;
    size_t record = sizeof(int64_t) + (size_t)v->words * sizeof(uint64_t);
    (void)source;
    for (size_t at = 0; at < n; at += record) {
        int64_t row;
        memcpy(&row, (const char *)bytes + at, sizeof row);
        row -= v->first_row;
        if (row < 0 || row >= v->nrows)
            return thaw_fail(err, THAW_EBUG, "a recommendation came to the wrong rank");
        uint64_t *to = v->bits + row * v->words, word;
        const char *from = (const char *)bytes + at + sizeof row;
        for (int w = 0; w < v->words; w++) {
            memcpy(&word, from + (size_t)w * sizeof word, sizeof word);
            to[w] |= word;
        }
    }
    return THAW_OK;
}

static void count_bits(const struct covering *v, int n, int64_t *covered) {
    memset(covered, 0, (size_t)n * sizeof *covered);
    for (int64_t row = 0; row < v->nrows; row++) {
        const uint64_t *bits = v->bits + row * v->words;
        if (!(bits[0] & 1)) continue; // nobody
        for (int b = 0; b < n; b++) covered[b] += (int64_t)(bits[b / 64] >> (b % 64) & 1);
    }
}

// Collective. All recommendations to the items' owners.
static int send_lists(const struct thaw_replicates *r, struct thaw_comm *c, const struct thaw_plan *items,
                      const int64_t *top, int stride, int cutoff, struct covering *v, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    struct {
        int64_t row;
        uint64_t bits[THAW_REPLICATES_MAX / 64 + 1];
    } record;
    size_t bytes = (size_t)r->words * sizeof(uint64_t);
    bool done = false;
    int64_t at = 0, n = r->nusers * cutoff;
    int code = thaw_shuffle_new(&s, c, SHUFFLE_BYTES, mark, v, err);
    while (code == THAW_OK && !done) {
        for (; at < n && !thaw_shuffle_full(s); at++) {
            int64_t user = at / cutoff;
            record.row = top[user * stride + at % cutoff];
            if (record.row < 0) continue;
            memcpy(record.bits, r->present + user * r->words, bytes);
            thaw_shuffle_put(s, thaw_plan_rank_of(items, record.row), &record, sizeof record.row + bytes);
        }
        code = thaw_shuffle_round(s, at == n, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

int thaw_replicates_coverage(const struct thaw_replicates *r, struct thaw_comm *c,
                             const struct thaw_plan *items, const int64_t *top, int stride, int cutoff,
                             int64_t *covered, struct thaw_err *err) {
    int rank = thaw_comm_rank(c);
    struct covering v = {.first_row = items->rank_row[rank],
                         .nrows = items->rank_row[rank + 1] - items->rank_row[rank],
                         .words = r->words};
    size_t words = (size_t)v.nrows * (size_t)v.words;
    int code = thaw_comm_agree(c, thaw_alloc(&v.bits, words, sizeof *v.bits, "coverage", err), err);
    if (code == THAW_OK) code = send_lists(r, c, items, top, stride, cutoff, &v, err);
    if (code == THAW_OK) {
        count_bits(&v, r->n + 1, covered);
        thaw_comm_sum_i64(c, covered, r->n + 1);
    }
    free(v.bits);
    return code;
}
