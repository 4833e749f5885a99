// attributes_values.c: how often each value of an attribute occurs, over all ranks, and the dictionaries that
// come of it. A rank counts what it reads in a small table, sends it to the values' owners when it is full,
// and the owners add up. The owners agree on the least count that leaves few enough values; those go to
// everybody.
#include "comm/attributes_state.h"

#include "base/exact.h"
#include "base/hash.h"
#include "base/mem.h"
#include "partition/tally.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_VALUES = 1 << 16 }; // of the small table

struct value {
    uint64_t hash; // of attribute and bytes
    int64_t count;
    uint32_t attribute, n;
    size_t at; // of its bytes
};

// Values and their counts; grows as needed.
struct counter {
    struct thaw_tally place; // hash -> index
    int64_t room;
    struct value *value;
    int64_t n;
    size_t value_cap;
    char *bytes;
    size_t nbytes, bytes_cap;
};

// A value on its way; its n bytes follow.
struct record {
    uint64_t hash;
    int64_t count;
    uint32_t attribute, n;
};

static uint64_t value_hash(uint32_t attribute, const char *text, size_t n) {
    return thaw_hash_id(text, n) ^ (attribute + 1) * UINT64_C(0x9E3779B97F4A7C15);
}

static int make_room(struct counter *c, int64_t room, struct thaw_err *err) {
    int code = thaw_tally_reset(&c->place, room, err);
    for (int64_t i = 0; i < c->n && !code; i++) *thaw_tally_at(&c->place, c->value[i].hash, i) = i;
    if (!code) c->room = room;
    return code;
}

static void empty(struct counter *c) {
    c->n = 0;
    c->nbytes = 0;
}

static void counter_clear(struct counter *c) {
    thaw_tally_clear(&c->place);
    free(c->value);
    free(c->bytes);
}

static int count_value(struct counter *c, uint64_t hash, uint32_t attribute, const char *text, uint32_t n,
                       int64_t count, struct thaw_err *err) {
    int code = c->n < c->room ? THAW_OK : make_room(c, 2 * c->room + 1024, err);
    if (code) return code;
    int64_t *place = thaw_tally_at(&c->place, hash, c->n);
    if (*place < c->n) {
        struct value *v = &c->value[*place];
        if (v->attribute != attribute || v->n != n || memcmp(c->bytes + v->at, text, n) != 0)
            return thaw_fail(err, THAW_EDATA,
                             "attribute values '%.*s' and '%.*s' have the same hash: leave one out",
                             (int)v->n, c->bytes + v->at, (int)n, text);
        v->count += count;
        return THAW_OK;
    }
    code = thaw_grow(&c->value, &c->value_cap, (size_t)c->n + 1, sizeof *c->value, "attribute values", err);
    if (!code) code = thaw_grow(&c->bytes, &c->bytes_cap, c->nbytes + n, 1, "attribute values", err);
    if (code) return code;
    c->value[c->n++] =
        (struct value){.hash = hash, .count = count, .attribute = attribute, .n = n, .at = c->nbytes};
    memcpy(c->bytes + c->nbytes, text, n);
    c->nbytes += n;
    return THAW_OK;
}

// ---- The pass ----

struct count {
    struct thaw_attributes *a;
    struct thaw_comm *comm;
    struct thaw_shuffle *shuffle;
    struct counter table; // of what was read lately
    struct counter owned; // of all ranks' readings, for the values this rank owns
    struct sums {
        int64_t sum[2]; // of x - shift and of its square, as integers
        int scale[2];
    } * sums; // one per attribute
};

static int send_table(void *user, struct thaw_err *err) {
    struct count *c = user;
    char buffer[sizeof(struct record) + THAW_CATEGORY_MAX];
    for (int64_t i = 0; i < c->table.n; i++) {
        const struct value *v = &c->table.value[i];
        struct record r = {.hash = v->hash, .count = v->count, .attribute = v->attribute, .n = v->n};
        memcpy(buffer, &r, sizeof r);
        memcpy(buffer + sizeof r, c->table.bytes + v->at, v->n);
        thaw_shuffle_put(c->shuffle, thaw_hash_part(v->hash, thaw_comm_size(c->comm)), buffer,
                         sizeof r + v->n);
    }
    empty(&c->table);
    return make_room(&c->table, TABLE_VALUES, err);
}

static int count_one(struct count *c, uint32_t attribute, struct thaw_field value, struct thaw_err *err) {
    int code = THAW_OK;
    if (value.n == 0 || value.n > THAW_CATEGORY_MAX) return THAW_OK;
    if (c->table.n == TABLE_VALUES) code = send_table(c, err);
    uint64_t hash = value_hash(attribute, value.text, value.n);
    return code ? code : count_value(&c->table, hash, attribute, value.text, (uint32_t)value.n, 1, err);
}

static void add_number(struct count *c, uint32_t i, struct thaw_field value) {
    double x;
    if (!thaw_attributes_number(value, &x)) return;
    x -= c->a->state->numbers[i].shift;
    double term[2] = {x, x * x};
    for (int k = 0; k < 2; k++) thaw_exact_add(&c->sums[i].sum[k], &term[k], 1, c->sums[i].scale[k]);
}

static int count_line(void *user, const struct thaw_line *line, const struct thaw_profile *profile,
                      struct thaw_err *err) {
    struct count *c = user;
    int code = THAW_OK;
    (void)line;
    for (uint32_t i = 0; i < c->a->n && !code; i++) {
        const Thaw__Attribute *t = c->a->attribute[i];
        struct thaw_field value = profile->value[i], part;
        if (t->kind == THAW__ATTRIBUTE__KIND__NUMERIC) add_number(c, i, value);
        if (t->kind == THAW__ATTRIBUTE__KIND__CATEGORICAL) code = count_one(c, i, value, err);
        if (t->kind != THAW__ATTRIBUTE__KIND__MULTI) continue;
        for (size_t at = 0; !code && thaw_attribute_part(value.text, value.n, &at, &part);)
            code = count_one(c, i, part, err);
    }
    return code;
}

static int add_counts(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct count *c = user;
    int code = THAW_OK;
    (void)source;
    for (size_t at = 0; at < n && !code;) {
        struct record r;
        memcpy(&r, (const char *)bytes + at, sizeof r);
        at += sizeof r;
        code = count_value(&c->owned, r.hash, r.attribute, (const char *)bytes + at, r.n, r.count, err);
        at += r.n;
    }
    return code;
}

// ---- The cut ----

// Collective. Values of each attribute that occur at least least[i] times, on all ranks.
static void count_above(const struct count *c, const int64_t *least, int64_t *above) {
    memset(above, 0, c->a->n * sizeof *above);
    for (int64_t i = 0; i < c->owned.n; i++) {
        const struct value *v = &c->owned.value[i];
        above[v->attribute] += v->count >= least[v->attribute];
    }
    thaw_comm_sum_i64(c->comm, above, (int64_t)c->a->n);
}

// Collective. For each attribute the smallest least count that leaves no more than max_categories values, by
// bisection. work: 3 x n.
static void find_cut(const struct count *c, int64_t *low, int64_t *work) {
    size_t n = c->a->n;
    int64_t *high = work, *middle = work + n, *above = work + 2 * n,
            most = c->a->state->config.max_categories;
    bool open = true;
    for (size_t i = 0; i < n; i++) low[i] = high[i] = 1;
    for (int64_t i = 0; i < c->owned.n; i++) {
        const struct value *v = &c->owned.value[i];
        if (v->count >= high[v->attribute]) high[v->attribute] = v->count + 1;
    }
    thaw_comm_max_i64(c->comm, high, (int64_t)n);
    while (open) { // the cut is in [low, high]; high leaves few enough
        open = false;
        for (size_t i = 0; i < n; i++) middle[i] = low[i] + (high[i] - low[i]) / 2;
        count_above(c, middle, above);
        for (size_t i = 0; i < n; i++) {
            if (low[i] == high[i]) continue;
            if (above[i] <= most)
                high[i] = middle[i];
            else
                low[i] = middle[i] + 1;
            open = open || low[i] < high[i];
        }
    }
}

// This rank's values at or above the cut, as records.
static int pack_kept(const struct count *c, const int64_t *least, char **out, int64_t *nbytes,
                     struct thaw_err *err) {
    size_t total = 0, at = 0;
    for (int64_t i = 0; i < c->owned.n; i++) {
        const struct value *v = &c->owned.value[i];
        if (v->count >= least[v->attribute]) total += sizeof(struct record) + v->n;
    }
    int code = thaw_alloc(out, total, 1, "kept attribute values", err);
    for (int64_t i = 0; i < c->owned.n && !code; i++) {
        const struct value *v = &c->owned.value[i];
        struct record r = {.hash = v->hash, .count = v->count, .attribute = v->attribute, .n = v->n};
        if (v->count < least[v->attribute]) continue;
        memcpy(*out + at, &r, sizeof r);
        memcpy(*out + at + sizeof r, c->owned.bytes + v->at, v->n);
        at += sizeof r + v->n;
    }
    *nbytes = (int64_t)total;
    return code;
}

// ---- The dictionaries ----

struct kept {
    struct record r;
    const char *text;
};

static int compare_kept(const void *x, const void *y) {
    const struct kept *a = x, *b = y;
    if (a->r.attribute != b->r.attribute) return a->r.attribute < b->r.attribute ? -1 : 1;
    if (a->r.count != b->r.count) return a->r.count > b->r.count ? -1 : 1;
    int order = memcmp(a->text, b->text, a->r.n < b->r.n ? a->r.n : b->r.n);
    return order ? order : (a->r.n > b->r.n) - (a->r.n < b->r.n);
}

// The values of one attribute, in order.
static int fill_attribute(Thaw__Attribute *t, const struct kept *k, size_t n, struct thaw_err *err) {
    t->values = calloc(n + 1, sizeof *t->values);
    t->counts = calloc(n + 1, sizeof *t->counts);
    bool ok = t->values && t->counts;
    for (size_t i = 0; i < n && ok; i++) {
        t->counts[i] = k[i].r.count;
        t->values[i].data = malloc(k[i].r.n);
        if (!(ok = t->values[i].data != NULL)) break;
        memcpy(t->values[i].data, k[i].text, k[i].r.n);
        t->values[i].len = k[i].r.n;
        t->n_values = i + 1;
        t->n_counts = i + 1;
    }
    return ok ? THAW_OK
              : thaw_fail(err, THAW_EMEM, "cannot allocate %zu values of attribute '%s'", n, t->name);
}

static int fill_dictionaries(struct thaw_attributes *a, const char *bytes, int64_t nbytes,
                             struct thaw_err *err) {
    struct kept *kept = NULL;
    size_t n = 0, cap = 0;
    int code = THAW_OK;
    for (int64_t at = 0; at < nbytes && !code; n++) {
        if ((code = thaw_grow(&kept, &cap, n + 1, sizeof *kept, "kept attribute values", err))) break;
        memcpy(&kept[n].r, bytes + at, sizeof kept[n].r);
        kept[n].text = bytes + at + sizeof kept[n].r;
        at += (int64_t)(sizeof kept[n].r + kept[n].r.n);
    }
    if (!code && n > 1) qsort(kept, n, sizeof *kept, compare_kept);
    for (size_t first = 0, last; first < n && !code; first = last) {
        for (last = first; last < n && kept[last].r.attribute == kept[first].r.attribute; last++) {
        }
        code = fill_attribute(a->attribute[kept[first].r.attribute], kept + first, last - first, err);
    }
    free(kept);
    return code;
}

// Room for sums that cannot overflow: all terms together are no larger than count times the largest.
static int make_sums(struct count *c, struct thaw_err *err) {
    int code = thaw_alloc(&c->sums, c->a->n, sizeof *c->sums, "sums of attributes", err);
    for (size_t i = 0; i < c->a->n && !code; i++) {
        const struct thaw_attributes_numbers *n = &c->a->state->numbers[i];
        c->sums[i].scale[0] = thaw_exact_scale((double)n->count * n->largest);
        c->sums[i].scale[1] = thaw_exact_scale((double)n->count * n->largest * n->largest);
    }
    return code;
}

// Collective.
static void finish_numbers(struct count *c) {
    for (size_t i = 0; i < c->a->n; i++) {
        const struct thaw_attributes_numbers *n = &c->a->state->numbers[i];
        double sum[2], count = n->count > 0 ? (double)n->count : 1;
        if (c->a->attribute[i]->kind != THAW__ATTRIBUTE__KIND__NUMERIC) continue;
        thaw_comm_sum_i64(c->comm, c->sums[i].sum, 2);
        for (int k = 0; k < 2; k++) thaw_exact_get(&sum[k], &c->sums[i].sum[k], 1, c->sums[i].scale[k]);
        double mean = sum[0] / count,
               variance = fma(-mean, mean, sum[1] / count); // the same on every machine
        c->a->attribute[i]->mean = n->count > 0 ? n->shift + mean : 0;
        c->a->attribute[i]->deviation = variance > 0 && n->largest > 0 ? sqrt(variance) : 0;
    }
}

// Collective. From counted values to dictionaries.
static int share_values(struct count *c, struct thaw_err *err) {
    struct thaw_attributes *a = c->a;
    int64_t *least = NULL, own_bytes = 0, all_bytes = 0; // least: 4 x n
    char *own = NULL, *all = NULL;
    int code = thaw_comm_agree(c->comm, thaw_alloc(&least, 4 * a->n, sizeof *least, "counts", err), err);
    if (code) goto done;
    find_cut(c, least, least + a->n);
    code = thaw_comm_agree(c->comm, pack_kept(c, least, &own, &own_bytes, err), err);
    if (!code) code = thaw_comm_gather(c->comm, own, own_bytes, -1, (void **)&all, &all_bytes, err);
    if (!code) code = thaw_comm_agree(c->comm, fill_dictionaries(a, all, all_bytes, err), err);
done:
    free(least);
    free(own);
    free(all);
    return code;
}

int thaw_attributes_values(struct thaw_attributes *a, struct thaw_comm *comm, struct thaw_err *err) {
    struct thaw_attributes_state *s = a->state;
    struct count c = {.a = a, .comm = comm};
    struct thaw_attributes_walk w = {
        .s = s, .comm = comm, .log = s->config.log, .unit = s->first_unit, .take = count_line, .user = &c};
    int code = make_room(&c.table, TABLE_VALUES, err);
    if (!code) code = make_sums(&c, err);
    code = thaw_comm_agree(comm, code, err);
    if (!code) code = thaw_shuffle_new(&c.shuffle, comm, s->config.budget_bytes, add_counts, &c, err);
    if (!code)
        code = thaw_attributes_pass(&w, c.shuffle, "counting attribute values (rank 0's share)", send_table,
                                    err);
    thaw_shuffle_free(&c.shuffle);
    counter_clear(&c.table);
    if (!code) finish_numbers(&c);
    if (!code) code = share_values(&c, err);
    free(c.sums);
    counter_clear(&c.owned);
    return code;
}
