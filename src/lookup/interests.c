// interests.c: a known user's interests as categories: whose part of their items exceeds its part of
// everybody's interactions.
#include "lookup/lookup_impl.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BEST = 100 }; // items that stand for a user who has seen none

// Columns of the items' attributes, with their field; field -1: no name.
struct columns {
    const struct thaw_lookup *l;
    int32_t n;
    int *field;
    int64_t *here; // of a field: columns of the item at hand
};

static const Thaw__Attribute *attribute(const struct columns *c, int field) {
    return thaw_tables_manifest(c->l->tables)->item_attributes[field];
}

static int columns_new(struct columns *c, const struct thaw_lookup *l, struct thaw_err *err) {
    const Thaw__Tables *m = thaw_tables_manifest(l->tables);
    *c = (struct columns){.l = l};
    int64_t values = 0;
    for (size_t f = 0; f < m->n_item_attributes; f++) {
        const Thaw__Attribute *a = m->item_attributes[f];
        if (a->n_values == 0) continue;
        if (a->first_column + (int32_t)a->n_values > c->n) c->n = a->first_column + (int32_t)a->n_values;
        values += (int64_t)a->n_values;
    }
    if (c->n > values + ((int64_t)1 << 24)) // numbers and texts have columns without names between them
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: attributes of %d columns",
                         thaw_tables_dir(l->tables), c->n);
    int code = thaw_alloc(&c->field, (size_t)c->n, sizeof *c->field, "attributes", err);
    if (!code) code = thaw_alloc(&c->here, m->n_item_attributes, sizeof *c->here, "attributes", err);
    for (int32_t i = 0; !code && i < c->n; i++) c->field[i] = -1;
    for (size_t f = 0; !code && f < m->n_item_attributes; f++)
        for (size_t v = 0; v < m->item_attributes[f]->n_values; v++)
            c->field[m->item_attributes[f]->first_column + (int32_t)v] = (int)f;
    return code;
}

static void columns_clear(struct columns *c) {
    free(c->field);
    free(c->here);
}

// part[column] += weight / (values the item has of the column's field)
static int item_add(const struct columns *c, int64_t item, double weight, double *part,
                    struct thaw_err *err) {
    const uint32_t *column;
    const int64_t n = thaw_tables_attributes(c->l->tables, item, &column);
    if (n < 0)
        return thaw_fail(err, THAW_EDATA,
                         "%s: the attributes of item row %" PRId64
                         " are out of range: run 'thaw-lookup check'",
                         thaw_tables_dir(c->l->tables), item);
    for (int pass = 0; pass < 3; pass++) // clear, count, add
        for (int64_t i = 0; i < n; i++) {
            const int field = column[i] < (uint32_t)c->n ? c->field[column[i]] : -1;
            if (field < 0) continue;
            if (pass == 0) c->here[field] = 0;
            if (pass == 1) c->here[field]++;
            if (pass == 2) part[column[i]] += weight / (double)c->here[field];
        }
    return THAW_OK;
}

// What everybody interacts with. *total: their interactions.
static int usual(const struct columns *c, double *part, struct thaw_err *err) {
    double total = 0;
    int code = THAW_OK;
    for (int64_t i = 0; !code && i < c->l->nitems; i++) {
        const double degree = (double)thaw_tables_degree(c->l->tables, THAW_ITEMS, i);
        code = item_add(c, i, degree, part, err);
        total += degree;
    }
    for (int32_t i = 0; i < c->n && total > 0; i++) part[i] /= total;
    return code;
}

static int of_user(const struct columns *c, int64_t user, double *part, struct thaw_err *err) {
    int64_t *seen = NULL, n = 0;
    struct thaw_hit hits[BEST];
    int nhits = 0;
    int code = thaw_lookup_seen(c->l, user, &seen, &n, err);
    if (!code && n == 0) {
        code = thaw_lookup_recommend(c->l, thaw_lookup_vector(c->l, THAW_USERS, user), BEST, NULL, 0, 1, hits,
                                     &nhits, err);
        n = nhits;
    }
    for (int64_t i = 0; !code && i < n; i++)
        code = item_add(c, nhits ? hits[i].item : seen[i], 1 / (double)n, part, err);
    free(seen);
    return code;
}

static int by_excess(const void *a, const void *b) {
    const struct thaw_interest *x = a, *y = b;
    const double left = x->weight - x->usual, right = y->weight - y->usual;
    if (left != right) return left < right ? 1 : -1;
    return x->field != y->field ? x->field - y->field : x->value - y->value;
}

static int pick(const struct columns *c, const double *own, const double *all, int k,
                struct thaw_interest *out, int *n, struct thaw_err *err) {
    struct thaw_interest *found = NULL;
    int count = 0;
    int code = thaw_alloc(&found, (size_t)c->n, sizeof *found, "interests", err);
    for (int32_t i = 0; !code && i < c->n; i++)
        if (c->field[i] >= 0 && own[i] > all[i])
            found[count++] = (struct thaw_interest){c->field[i], i - attribute(c, c->field[i])->first_column,
                                                    own[i], all[i]};
    if (code) return code;
    if (count > 1) qsort(found, (size_t)count, sizeof *found, by_excess);
    *n = count < k ? count : k;
    if (*n > 0) memcpy(out, found, (size_t)*n * sizeof *out);
    free(found);
    return THAW_OK;
}

int thaw_lookup_interests(const struct thaw_lookup *l, int64_t user, int k, struct thaw_interest *out, int *n,
                          struct thaw_err *err) {
    struct columns c;
    double *own = NULL, *all = NULL;
    if (k < 1) return thaw_fail(err, THAW_EUSAGE, "%d interests asked for: at least 1", k);
    if (user < 0 || user >= thaw_tables_rows(l->tables, THAW_USERS))
        return thaw_fail(err, THAW_EUSAGE, "no user row %" PRId64, user);
    int code = columns_new(&c, l, err);
    if (!code) code = thaw_alloc(&own, (size_t)c.n, sizeof *own, "interests", err);
    if (!code) code = thaw_alloc(&all, (size_t)c.n, sizeof *all, "interests", err);
    if (!code) code = usual(&c, all, err);
    if (!code) code = of_user(&c, user, own, err);
    if (!code) code = pick(&c, own, all, k, out, n, err);
    free(own);
    free(all);
    columns_clear(&c);
    return code;
}
