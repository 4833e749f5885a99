// virtual_add.c: see virtual_add.h.
#include "comm/virtual_add.h"

#include "base/mem.h"
#include "comm/shuffle.h"

#include <stdlib.h>
#include <string.h>

// Room for m more in a row.
static int row_room(struct thaw_virtual_row *to, int64_t m, struct thaw_err *err) {
    const size_t n = (size_t)(to->n + m);
    int code = thaw_grow(to->index, to->index_cap, n, sizeof **to->index, "a row", err);
    if (!code) code = thaw_grow(to->value, to->value_cap, n, sizeof **to->value, "a row", err);
    return code;
}

// The m entries that stand behind the row's n move to their places: both runs rise.
static void merge(struct thaw_virtual_row *to, int64_t *add, float *strength, int64_t m) {
    int64_t i = to->n - 1, at = to->n + m - 1;
    to->n += m;
    for (int64_t j = m - 1; j >= 0; at--) {
        const bool own = i >= 0 && (*to->index)[i] > add[j];
        (*to->index)[at] = own ? (*to->index)[i] : add[j];
        (*to->value)[at] = own ? (*to->value)[i] : strength[j];
        if (own)
            i--;
        else
            j--;
    }
}

int thaw_virtual_add_user(struct thaw_virtual_add *v, const struct thaw_virtual_rows *from, int64_t row,
                          const int64_t *has, int64_t nhas, int64_t user, struct thaw_virtual_row *to,
                          struct thaw_err *err) {
    const int64_t begin = from->indptr[row], n = from->indptr[row + 1] - begin;
    int64_t h = 0, m = 0, *add = NULL;
    float *strength = NULL;
    int code = row_room(to, n, err);
    if (!code)
        code = thaw_grow(&v->pair, &v->cap, (size_t)(v->npairs + n), sizeof *v->pair, "virtual interactions",
                         err);
    if (!code) code = thaw_alloc(&add, (size_t)n, sizeof *add, "a row", err);
    if (!code) code = thaw_alloc(&strength, (size_t)n, sizeof *strength, "a row", err);
    for (int64_t i = begin; !code && i < begin + n; i++) {
        const int64_t item = from->indices[i];
        while (h < nhas && has[h] < item) h++;
        if (h < nhas && has[h] == item) continue;
        add[m] = item;
        strength[m] = (float)(v->wish.weight * from->weights[i]);
        if (!(strength[m] > 0)) continue; // a weight so small that it vanishes
        v->pair[v->npairs++] =
            (struct thaw_virtual_pair){.item = item, .user = user, .strength = strength[m]};
        m++;
    }
    if (!code) merge(to, add, strength, m);
    free(add);
    free(strength);
    return code;
}

static int keep(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct thaw_virtual_add *v = user;
    const int64_t m = (int64_t)(n / sizeof *v->pair);
    (void)source;
    const int code =
        thaw_grow(&v->pair, &v->cap, (size_t)(v->npairs + m), sizeof *v->pair, "virtual interactions", err);
    if (code || m == 0) return code;
    memcpy(v->pair + v->npairs, bytes, n);
    v->npairs += m;
    return THAW_OK;
}

static int by_item(const void *a, const void *b) {
    const struct thaw_virtual_pair *x = a, *y = b;
    if (x->item != y->item) return x->item < y->item ? -1 : 1;
    return (x->user > y->user) - (x->user < y->user);
}

int thaw_virtual_add_exchange(struct thaw_virtual_add *v, struct thaw_comm *c, const struct thaw_plan *items,
                              int64_t budget_bytes, struct thaw_err *err) {
    struct thaw_virtual_add came = {0};
    struct thaw_shuffle *s = NULL;
    bool done = false;
    int64_t i = 0;
    int code = thaw_shuffle_new(&s, c, budget_bytes, keep, &came, err);
    while (!code && !done) {
        for (; i < v->npairs && !thaw_shuffle_full(s); i++)
            thaw_shuffle_put(s, thaw_plan_rank_of(items, v->pair[i].item), &v->pair[i], sizeof *v->pair);
        code = thaw_shuffle_round(s, i == v->npairs, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&s);
    free(v->pair);
    v->pair = came.pair;
    v->cap = came.cap;
    v->npairs = came.npairs;
    v->at = 0;
    if (!code && v->npairs) qsort(v->pair, (size_t)v->npairs, sizeof *v->pair, by_item);
    return code;
}

int thaw_virtual_add_item(struct thaw_virtual_add *v, int64_t item, struct thaw_virtual_row *to,
                          struct thaw_err *err) {
    int64_t m = 0, *add = NULL;
    float *strength = NULL;
    while (v->at + m < v->npairs && v->pair[v->at + m].item == item) m++;
    if (!m) return THAW_OK;
    int code = row_room(to, m, err);
    if (!code) code = thaw_alloc(&add, (size_t)m, sizeof *add, "a row", err);
    if (!code) code = thaw_alloc(&strength, (size_t)m, sizeof *strength, "a row", err);
    for (int64_t i = 0; !code && i < m; i++) {
        add[i] = v->pair[v->at + i].user;
        strength[i] = v->pair[v->at + i].strength;
    }
    if (!code) merge(to, add, strength, m);
    v->at += m;
    free(add);
    free(strength);
    return code;
}
