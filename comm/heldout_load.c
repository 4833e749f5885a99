// heldout_load.c: held-out users out of a dataset's shards.
#include "base/hash.h"
#include "base/mem.h"
#include "comm/heldout.h"
#include "comm/heldout_list.h"
#include "comm/interactions.h"
#include "comm/pull.h"

#include <stdlib.h>
#include <string.h>

enum { PULL_BYTES = 8 << 20, PULL_IDS = 1 << 16 };

struct loader {
    struct thaw_comm *comm;
    const struct thaw_dataset *dataset;
    const struct thaw_heldout_choice *choice;
    struct thaw_heldout *set;
    struct thaw_heldout_list list;
    double keep;            // share of eligible users that are measured
    int64_t eligible;       // of this rank
    int64_t listed;         // of the list's users, those found held out
    int64_t *items, *times; // of the row at hand
    float *values;
    int64_t *order;
    size_t items_cap, times_cap, values_cap, order_cap;
    // With a list: users waiting for the ids of their items.
    struct waiting *wait;
    int64_t nwait;
    size_t wait_cap;
    int64_t *wait_items;
    float *wait_values;
    size_t wait_items_cap, wait_values_cap;
};
struct waiting {
    const struct thaw_list_user *user;
    int64_t first, n; // in wait_items
    int64_t row;
};

// The interactions of a row that count, into items, values and times; *n of them.
static int read_row(struct loader *l, const struct thaw_shard *s, int64_t row, int64_t *n,
                    struct thaw_err *err) {
    int64_t begin = s->indptr[row], end = s->indptr[row + 1];
    size_t most = (size_t)(end - begin);
    const Thaw__Als *als = l->choice->als;
    int code = thaw_grow(&l->items, &l->items_cap, most, sizeof *l->items, "a history", err);
    if (code == THAW_OK)
        code = thaw_grow(&l->values, &l->values_cap, most, sizeof *l->values, "a history", err);
    if (code == THAW_OK) code = thaw_grow(&l->times, &l->times_cap, most, sizeof *l->times, "a history", err);
    if (code == THAW_OK) code = thaw_grow(&l->order, &l->order_cap, most, sizeof *l->order, "a history", err);
    if (code != THAW_OK) return code;
    *n = 0;
    for (int64_t at = begin; at < end; at++) {
        float strength = thaw_strength(als, s->values[at]);
        if (!thaw_strength_counts(als, strength)) continue;
        l->items[*n] = thaw_shard_index(s, at);
        l->values[*n] = strength;
        l->times[*n] = s->times ? s->times[at] : 0;
        ++*n;
    }
    return THAW_OK;
}

static bool of_set(const struct thaw_heldout_choice *choice, uint64_t key) {
    if (choice->set == THAW_HELDOUT_ALL) return true;
    return thaw_heldout_validates(choice->als, key) == (choice->set == THAW_HELDOUT_VALIDATION);
}

static int keep_waiting(struct loader *l, const struct thaw_list_user *user, int64_t n, int64_t global_row,
                        struct thaw_err *err) {
    int64_t first = l->nwait ? l->wait[l->nwait - 1].first + l->wait[l->nwait - 1].n : 0;
    size_t total = (size_t)(first + n);
    int code = thaw_grow(&l->wait, &l->wait_cap, (size_t)l->nwait + 1, sizeof *l->wait, "listed users", err);
    if (code == THAW_OK)
        code =
            thaw_grow(&l->wait_items, &l->wait_items_cap, total, sizeof *l->wait_items, "listed users", err);
    if (code == THAW_OK)
        code = thaw_grow(&l->wait_values, &l->wait_values_cap, total, sizeof *l->wait_values, "listed users",
                         err);
    if (code != THAW_OK) return code;
    memcpy(l->wait_items + first, l->items, (size_t)n * sizeof *l->items);
    memcpy(l->wait_values + first, l->values, (size_t)n * sizeof *l->values);
    l->wait[l->nwait++] = (struct waiting){.user = user, .first = first, .n = n, .row = global_row};
    return THAW_OK;
}

// A row of the users, of the part whose first global row is `first`: if held out, counted, or (add) taken
// into the set.
static int take_row(struct loader *l, const struct thaw_shard *s, int64_t first, int64_t row, bool add,
                    struct thaw_err *err) {
    const struct thaw_heldout_choice *choice = l->choice;
    const char *id = s->ids + row * s->id_width;
    size_t id_bytes = strnlen(id, (size_t)s->id_width);
    uint64_t key = thaw_hash_id(id, id_bytes);
    int64_t n = 0;
    if (!thaw_held_out(choice->als, key)) return THAW_OK;
    l->set->held_out += !add;
    const struct thaw_list_user *user = choice->list ? thaw_heldout_list_find(&l->list, id, id_bytes) : NULL;
    if (choice->list && !user) return THAW_OK;
    if (!choice->list && !of_set(choice, key)) return THAW_OK;
    l->listed += !add;
    int code = read_row(l, s, row, &n, err);
    if (code != THAW_OK) return code;
    if (n <= l->set->max_known) {
        l->set->too_short += !add;
        return THAW_OK;
    }
    l->eligible += !add;
    if (!add || (l->keep < 1 && thaw_heldout_sample(choice->als, key) >= l->keep)) return THAW_OK;
    if (user) return keep_waiting(l, user, n, first + row, err);
    code = thaw_heldout_order(l->order, choice->by_time ? l->times : NULL, n, choice->seed, key, err);
    if (code == THAW_OK) code = thaw_heldout_add(l->set, key, l->items, l->values, n, l->order, err);
    if (code == THAW_OK) l->set->row[l->set->nusers - 1] = first + row;
    return code;
}

static int scan(struct loader *l, const struct thaw_plan *users, bool verify, bool add,
                struct thaw_err *err) {
    int rank = thaw_comm_rank(l->comm), code = THAW_OK;
    for (int32_t part = users->first_part[rank]; code == THAW_OK && part < users->first_part[rank + 1];
         part++) {
        struct thaw_shard s;
        code = thaw_shard_open(&s, l->dataset, THAW_USERS, part, verify, err);
        if (code != THAW_OK) return code;
        for (int64_t row = 0; code == THAW_OK && row < s.nrows; row++)
            code = take_row(l, &s, users->first_row[part], row, add, err);
        thaw_shard_close(&s);
    }
    return code;
}

// ---- Lists: the ids of listed users' items are pulled from the items' owners and compared ----

// This rank's item ids, all of one width.
static int own_ids(struct loader *l, const struct thaw_plan *items, size_t width, char **out,
                   struct thaw_err *err) {
    int rank = thaw_comm_rank(l->comm);
    int64_t rows = items->rank_row[rank + 1] - items->rank_row[rank];
    char *ids = NULL;
    int code = thaw_alloc(&ids, (size_t)rows, width, "item ids", err);
    char *to = ids;
    for (int32_t part = items->first_part[rank]; code == THAW_OK && part < items->first_part[rank + 1];
         part++) {
        struct thaw_shard s;
        code = thaw_shard_open(&s, l->dataset, THAW_ITEMS, part, false, err);
        if (code != THAW_OK) break;
        size_t each = (size_t)s.id_width < width ? (size_t)s.id_width : width;
        for (int64_t row = 0; row < s.nrows; row++, to += width) memcpy(to, s.ids + row * s.id_width, each);
        thaw_shard_close(&s);
    }
    *out = ids;
    return code;
}

// Places of the first max_known listed items among the user's; false when one is not there.
static bool find_known(const struct loader *l, const struct waiting *w, const char *ids, size_t width,
                       int64_t *order) {
    const char *at = w->user->words, *end = at + w->user->words_bytes;
    for (int i = 0; i < l->set->max_known; i++) {
        size_t n;
        const char *word = thaw_heldout_list_word(&at, end, &n);
        int64_t place = 0;
        while (place < w->n && (n > width || strnlen(ids + (size_t)place * width, width) != n ||
                                memcmp(ids + (size_t)place * width, word, n) != 0))
            place++;
        if (place == w->n) return false;
        for (int j = 0; j < i; j++)
            if (order[j] == place) return false; // the same item twice
        order[i] = place;
    }
    return true;
}

static int match_waiting(struct loader *l, int64_t begin, int64_t end, const char *ids, size_t width,
                         struct thaw_err *err) {
    int code = THAW_OK;
    for (int64_t i = begin; code == THAW_OK && i < end; i++) {
        const struct waiting *w = &l->wait[i];
        code = thaw_grow(&l->order, &l->order_cap, (size_t)w->n, sizeof *l->order, "a history", err);
        if (code != THAW_OK) break;
        if (find_known(l, w, ids, width, l->order)) {
            code = thaw_heldout_add(l->set, w->user->key, l->wait_items + w->first, l->wait_values + w->first,
                                    w->n, l->order, err);
            if (code == THAW_OK) l->set->row[l->set->nusers - 1] = w->row;
        } else {
            l->set->lacking++;
        }
        ids += (size_t)w->n * width;
    }
    return code;
}

// Collective. One batch of waiting users after the other, until every rank has matched all of its own.
static int match_all(struct loader *l, const struct thaw_plan *items, const char *owned, size_t width,
                     struct thaw_err *err) {
    int code = THAW_OK;
    for (int64_t begin = 0, end = 0, more = 1; code == THAW_OK && more; begin = end) {
        int64_t n = 0;
        while (end < l->nwait && (n == 0 || n + l->wait[end].n <= PULL_IDS)) n += l->wait[end++].n;
        char *ids = NULL;
        code = thaw_alloc(&ids, (size_t)n, width, "ids of listed users' items", err);
        code = thaw_comm_agree(l->comm, code, err);
        const int64_t *wanted = begin < l->nwait ? l->wait_items + l->wait[begin].first : NULL;
        if (code == THAW_OK)
            code = thaw_pull(l->comm, items->rank_row, owned, width, wanted, n, ids, PULL_BYTES, NULL, err);
        if (code == THAW_OK) code = match_waiting(l, begin, end, ids, width, err);
        free(ids);
        code = thaw_comm_agree(l->comm, code, err);
        more = end < l->nwait;
        thaw_comm_max_i64(l->comm, &more, 1);
    }
    return code;
}

static int resolve_list(struct loader *l, struct thaw_err *err) {
    struct thaw_plan items = {0};
    char *owned = NULL;
    const Thaw__Side *side = l->dataset->manifest->items;
    size_t width = side->id_width > 0 ? (size_t)side->id_width : 1;
    int code = thaw_plan_new(&items, l->dataset->manifest->parts, side->part_rows, NULL,
                             thaw_comm_size(l->comm), err);
    if (code == THAW_OK) code = own_ids(l, &items, width, &owned, err);
    code = thaw_comm_agree(l->comm, code, err);
    if (code == THAW_OK) code = match_all(l, &items, owned, width, err);
    free(owned);
    thaw_plan_clear(&items);
    return code;
}

// ---- All of it ----

static int open_list(struct loader *l, const struct thaw_plan *users, struct thaw_err *err) {
    const struct thaw_heldout_choice *choice = l->choice;
    int rank = thaw_comm_rank(l->comm);
    if (!choice->list) return THAW_OK;
    return thaw_heldout_list_open(&l->list, choice->list, choice->list_set, choice->max_known, users->nparts,
                                  users->first_part[rank], users->first_part[rank + 1], err);
}

static int prepare(struct loader *l, const struct thaw_plan *users, bool verify, struct thaw_err *err) {
    if (l->choice->by_time && !l->dataset->manifest->has_time)
        return thaw_fail(err, THAW_EDATA,
                         "%s: the dataset has no times to order histories by: use a random order",
                         l->dataset->dir);
    int code = thaw_heldout_new(&l->set, l->choice->max_known, err);
    if (code == THAW_OK) code = open_list(l, users, err);
    return code == THAW_OK ? scan(l, users, verify, false, err) : code;
}

static void total_counts(struct loader *l) {
    struct thaw_heldout *h = l->set;
    int64_t counts[5] = {h->nusers, h->too_short, h->held_out, l->list.nusers - l->listed, h->lacking};
    thaw_comm_sum_i64(l->comm, counts, 5);
    h->total = counts[0];
    h->too_short = counts[1];
    h->held_out = counts[2];
    h->unknown = l->choice->list ? counts[3] : 0;
    h->lacking = counts[4];
}

int thaw_heldout_load(struct thaw_heldout **h, struct thaw_comm *c, const struct thaw_dataset *d,
                      const struct thaw_plan *users, const struct thaw_heldout_choice *choice, bool verify,
                      struct thaw_err *err) {
    struct loader l = {.comm = c, .dataset = d, .choice = choice, .keep = 1};
    thaw_comm_phase(c, "load");
    int code = thaw_comm_agree(c, prepare(&l, users, verify, err), err);
    if (code != THAW_OK) goto done;
    int64_t eligible = l.eligible;
    thaw_comm_sum_i64(c, &eligible, 1);
    if (choice->max_users > 0 && eligible > choice->max_users)
        l.keep = (double)choice->max_users / (double)eligible;
    code = thaw_comm_agree(c, scan(&l, users, false, true, err), err);
    if (code == THAW_OK && choice->list) code = resolve_list(&l, err);
    if (code != THAW_OK) goto done;
    total_counts(&l);
    *h = l.set;
    l.set = NULL;
done:
    thaw_heldout_free(&l.set);
    thaw_heldout_list_close(&l.list);
    free(l.items);
    free(l.times);
    free(l.values);
    free(l.order);
    free(l.wait);
    free(l.wait_items);
    free(l.wait_values);
    return code;
}
