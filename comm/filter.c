// filter.c: drop users and items with few interactions until all that are left have enough (the k-core of the
// bipartite graph, which does not depend on the order of dropping: Seidman 1983, "Network structure and
// minimum degree").
//
// A round: each user part asks for the degrees of its items as the round before left them, drops pairs with
// dropped items, then users with too few pairs, and reports what items lost with them. Items are below the
// minimum or not by their degree alone.
#include "comm/shuffle.h"
#include "comm/stages.h"

#include <inttypes.h>

struct filter {
    struct thaw_prep *p;
    struct thaw_ask *ask;
    struct thaw_shuffle *reports;
    int64_t dropped[3]; // in this round: pairs, users, items below the minimum
};

static int64_t degree_of(void *user, uint64_t hash) {
    const struct thaw_prep *p = user;
    const int64_t *degree = thaw_tally_find(&p->items, hash);
    return degree ? *degree : 0;
}

// Drop from p->work[0..n) what has to go. p->local has the items' degrees and gets what they lost to dropped
// users. Returns how many pairs are left.
static int64_t drop(struct filter *f, int64_t n, int64_t ndistinct) {
    struct thaw_prep *p = f->p;
    struct thaw_tuple *w = p->work;
    int64_t alive = 0, kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (*thaw_tally_find(&p->local, w[i].b) >= p->cfg->min_item) w[alive++] = w[i];
    for (int64_t i = 0; i < ndistinct; i++) *thaw_tally_find(&p->local, p->hash[i]) = 0;
    for (int64_t i = 0, end; i < alive; i = end) {
        for (end = i + 1; end < alive && w[end].a == w[i].a;) end++;
        if (end - i >= p->cfg->min_user) {
            for (int64_t j = i; j < end; j++) w[kept++] = w[j];
            continue;
        }
        for (int64_t j = i; j < end; j++) --*thaw_tally_find(&p->local, w[j].b);
    }
    return kept;
}

static int64_t count_users(const struct thaw_tuple *t, int64_t n) {
    int64_t users = 0;
    for (int64_t i = 0; i < n; i++) users += i == 0 || t[i].a != t[i - 1].a;
    return users;
}

// Collective.
static int filter_part(struct filter *f, int32_t k, struct thaw_err *err) {
    struct thaw_prep *p = f->p;
    int64_t n = 0, ndistinct = 0;
    int code = thaw_prep_stopped(p, err);
    if (!code && k < p->own_parts) code = thaw_prep_load(p, p->pairs, k, &n, err);
    if (!code && n > 0) code = thaw_prep_distinct(p, n, &ndistinct, err);
    if ((code = thaw_comm_agree(p->comm, code, err))) return code;
    if ((code = thaw_ask(f->ask, p->hash, ndistinct, p->answer, err))) return code;
    thaw_prep_answered(p, ndistinct);
    if (n > 0) {
        int64_t users = count_users(p->work, n), kept = drop(f, n, ndistinct);
        f->dropped[0] += n - kept;
        f->dropped[1] += users - count_users(p->work, kept);
        if (kept < n) code = thaw_prep_store(p, k, kept, err);
    }
    return thaw_prep_reports_send(p, f->reports, ndistinct, code, err);
}

// Items that are below the minimum have lost all their pairs, or are about to: degree 0 says so for good.
static int64_t retire_items(struct thaw_prep *p) {
    int64_t retired = 0;
    for (int64_t i = 0; i < p->items.nslots; i++) {
        int64_t *degree = &p->items.slot[i].value;
        if (*degree == THAW_TALLY_FREE || *degree <= 0 || *degree >= p->cfg->min_item) continue;
        *degree = 0;
        retired++;
    }
    return retired;
}

static int filter_round(struct filter *f, struct thaw_err *err) {
    struct thaw_prep *p = f->p;
    int code = THAW_OK;
    f->dropped[0] = f->dropped[1] = 0;
    f->dropped[2] = retire_items(p);
    for (int32_t k = 0; k < p->most_parts && !code; k++) code = filter_part(f, k, err);
    if (!code) code = thaw_prep_apply_reports(p, err);
    if (code) return code;
    thaw_comm_sum_i64(p->comm, f->dropped, 3);
    p->ledger.filtered += f->dropped[0];
    p->ledger.filtered_rows[THAW_USERS] += f->dropped[1];
    if (f->dropped[0] + f->dropped[2] > 0) p->ledger.filter_rounds++;
    return THAW_OK;
}

// Collective. Items that have interactions.
static int64_t count_items(struct thaw_prep *p) {
    int64_t n = 0;
    for (int64_t i = 0; i < p->items.nslots; i++) n += p->items.slot[i].value > 0;
    thaw_comm_sum_i64(p->comm, &n, 1);
    return n;
}

int thaw_prep_filter(struct thaw_prep *p, struct thaw_err *err) {
    if (p->cfg->min_user <= 1 && p->cfg->min_item <= 1) return THAW_OK;
    struct filter f = {.p = p};
    int64_t items = count_items(p);
    int code = thaw_comm_agree(p->comm, thaw_prep_room(p, p->pairs, true, 0, 0, err), err);
    if (!code) code = thaw_prep_reports_open(p, &f.reports, err);
    if (!code) code = thaw_ask_new(&f.ask, p->comm, p->owner, p->nparts, p->memory.chunk, degree_of, p, err);
    do {
        if (!code) code = filter_round(&f, err);
        if (!code)
            thaw_log_note(p->log, "filter: %" PRId64 " users and %" PRId64 " interactions dropped",
                          p->ledger.filtered_rows[0], p->ledger.filtered);
    } while (!code && f.dropped[0] + f.dropped[2] > 0);
    if (!code) p->ledger.filtered_rows[THAW_ITEMS] = items - count_items(p);
    thaw_ask_free(&f.ask);
    thaw_shuffle_free(&f.reports);
    thaw_prep_room_free(p);
    return code;
}
