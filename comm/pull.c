// pull.c: see pull.h. Every rank tells each owner once how many rows it wants in all; then rounds of at most
// `most` rows a pair go by, whose lengths both ends know, so a round is requests out, rows back, and nothing
// else.
#include "comm/pull.h"

#include "base/mem.h"
#include "comm/handle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_REQUEST = 21, TAG_ROWS = 22 };

struct pull {
    struct thaw_comm *c;
    const int64_t *rank_row;
    const char *owned;
    size_t row_bytes;
    const int64_t *wanted;
    int64_t nwanted;
    char *out;
    int64_t *order;   // places in wanted, grouped by owner; NULL when wanted rises and so is grouped already
    int64_t *first;   // size + 1: owner o's are order[first[o]] .. order[first[o + 1]]
    int64_t *asked;   // size: rows each rank wants of this one
    int64_t most;     // rows a pair exchanges in a round
    uint32_t *ask;    // rows asked of owners in a round, counted from the owner's first
    uint32_t *told;   // rows asked of this rank
    char *reply, *in; // rows sent; rows received when they cannot go straight into out
    struct thaw_wire wire;
};

static int owner_of(const struct pull *p, int64_t row) {
    int low = 0, high = p->c->size; // rank_row[low] <= row < rank_row[high]
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (p->rank_row[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// Rows of a pair in round r.
static int64_t share(int64_t total, int64_t most, int64_t round) {
    int64_t left = total - round * most;
    return left < 0 ? 0 : left < most ? left : most;
}

static int64_t wanted_of(const struct pull *p, int owner) {
    return p->first[owner + 1] - p->first[owner];
}

// Count the wanted rows of each owner and group their places by owner (a counting sort, so order is kept
// within one).
static int group_by_owner(struct pull *p, struct thaw_err *err) {
    int size = p->c->size, owner = 0;
    bool rising = true;
    for (int64_t i = 0; i < p->nwanted; i++) {
        int64_t row = p->wanted[i];
        if (row < 0 || row >= p->rank_row[size])
            return thaw_fail(err, THAW_EBUG, "row %" PRId64 " asked of a table of %" PRId64 " rows", row,
                             p->rank_row[size]);
        if (row < p->rank_row[owner] || row >= p->rank_row[owner + 1]) owner = owner_of(p, row);
        rising = rising && (i == 0 || p->wanted[i - 1] <= row);
        p->first[owner + 1]++;
    }
    for (int r = 0; r < size; r++) p->first[r + 1] += p->first[r];
    if (rising) return THAW_OK;
    int code = thaw_alloc(&p->order, (size_t)p->nwanted, sizeof *p->order, "the order of wanted rows", err);
    if (code) return code;
    for (int64_t i = 0; i < p->nwanted; i++) p->order[p->first[owner_of(p, p->wanted[i])]++] = i;
    for (int r = size; r > 0; r--) p->first[r] = p->first[r - 1];
    p->first[0] = 0;
    return THAW_OK;
}

static void copy_own(struct pull *p) {
    int self = p->c->rank;
    for (int64_t i = p->first[self]; i < p->first[self + 1]; i++) {
        int64_t place = p->order ? p->order[i] : i;
        memcpy(p->out + place * (int64_t)p->row_bytes,
               p->owned + (p->wanted[place] - p->rank_row[self]) * (int64_t)p->row_bytes, p->row_bytes);
    }
}

// Agree on the rows of a pair and round, from the budget and the busiest rank's number of partners; sets
// *rounds.
static void plan_rounds(struct pull *p, int64_t budget, int64_t *rounds) {
    struct thaw_comm *c = p->c;
    int64_t own[4] = {0, 0, 0, -budget}; // owners asked, ranks asking, longest pair, budget
    for (int r = 0; r < c->size; r++) {
        if (r == c->rank) continue;
        own[0] += wanted_of(p, r) > 0;
        own[1] += p->asked[r] > 0;
        if (wanted_of(p, r) > own[2]) own[2] = wanted_of(p, r);
    }
    thaw_comm_max_i64(c, own, 4);
    int64_t bytes = (own[0] + own[1]) * (int64_t)(p->row_bytes + sizeof *p->ask);
    p->most = bytes > 0 ? -own[3] / bytes : 1;
    if (p->most < 1) p->most = 1;
    if (p->most > own[2]) p->most = own[2];
    *rounds = p->most > 0 ? (own[2] + p->most - 1) / p->most : 0;
}

static int make_room(struct pull *p, struct thaw_err *err) {
    size_t asks = 0, tells = 0, pieces = 0;
    for (int r = 0; r < p->c->size; r++) {
        if (r == p->c->rank) continue;
        int64_t ask = share(wanted_of(p, r), p->most, 0), tell = share(p->asked[r], p->most, 0);
        asks += (size_t)ask;
        tells += (size_t)tell;
        pieces +=
            thaw_wire_pieces(ask * (int64_t)sizeof *p->ask) + thaw_wire_pieces(ask * (int64_t)p->row_bytes);
        pieces +=
            thaw_wire_pieces(tell * (int64_t)sizeof *p->ask) + thaw_wire_pieces(tell * (int64_t)p->row_bytes);
    }
    size_t in = p->order ? asks * p->row_bytes : 0;
    int code = thaw_wire_reserve(&p->wire, pieces, err);
    size_t cap[4] = {0};
    if (!code) code = thaw_grow(&p->ask, &cap[0], asks, sizeof *p->ask, "rows to ask for", err);
    if (!code) code = thaw_grow(&p->told, &cap[1], tells, sizeof *p->told, "rows asked for", err);
    if (!code) code = thaw_grow(&p->reply, &cap[2], tells * p->row_bytes, 1, "rows to send", err);
    if (!code) code = thaw_grow(&p->in, &cap[3], in, 1, "rows to receive", err);
    return code;
}

static void exchange_requests(struct pull *p, int64_t round) {
    uint32_t *ask = p->ask, *told = p->told;
    int size = p->c->size, self = p->c->rank;
    for (int step = 1; step < size; step++) {
        int from = (self + size - step) % size;
        int64_t n = share(p->asked[from], p->most, round);
        thaw_wire_recv(&p->wire, p->c, told, n * (int64_t)sizeof *told, from, TAG_REQUEST);
        told += n;
    }
    for (int step = 1; step < size; step++) {
        int to = (self + step) % size;
        int64_t n = share(wanted_of(p, to), p->most, round), at = p->first[to] + round * p->most;
        for (int64_t i = 0; i < n; i++)
            ask[i] = (uint32_t)(p->wanted[p->order ? p->order[at + i] : at + i] - p->rank_row[to]);
        thaw_wire_send(&p->wire, p->c, ask, n * (int64_t)sizeof *ask, to, TAG_REQUEST);
        ask += n;
    }
    thaw_wire_wait(&p->wire);
}

// Rows of the round: from each owner into place (or into p->in), to each asking rank from p->owned.
static int64_t exchange_rows(struct pull *p, int64_t round) {
    const uint32_t *told = p->told;
    char *reply = p->reply, *in = p->in;
    int size = p->c->size, self = p->c->rank;
    int64_t bytes = (int64_t)p->row_bytes, received = 0;
    for (int step = 1; step < size; step++) {
        int owner = (self + step) % size;
        int64_t n = share(wanted_of(p, owner), p->most, round), at = p->first[owner] + round * p->most;
        thaw_wire_recv(&p->wire, p->c, p->order ? in : p->out + at * bytes, n * bytes, owner, TAG_ROWS);
        if (p->order) in += n * bytes;
        received += n * bytes;
    }
    for (int step = 1; step < size; step++) {
        int to = (self + size - step) % size;
        int64_t n = share(p->asked[to], p->most, round);
        for (int64_t i = 0; i < n; i++) memcpy(reply + i * bytes, p->owned + told[i] * bytes, p->row_bytes);
        thaw_wire_send(&p->wire, p->c, reply, n * bytes, to, TAG_ROWS);
        told += n;
        reply += n * bytes;
    }
    thaw_wire_wait(&p->wire);
    return received;
}

// Received rows of the round to their places in out.
static void scatter(struct pull *p, int64_t round) {
    const char *in = p->in;
    int size = p->c->size, self = p->c->rank;
    for (int step = 1; step < size; step++) {
        int owner = (self + step) % size;
        int64_t n = share(wanted_of(p, owner), p->most, round), at = p->first[owner] + round * p->most;
        for (int64_t i = 0; i < n; i++, in += p->row_bytes)
            memcpy(p->out + p->order[at + i] * (int64_t)p->row_bytes, in, p->row_bytes);
    }
}

static int prepare_pull(struct pull *p, struct thaw_err *err) {
    size_t size = (size_t)p->c->size;
    int code = thaw_alloc(&p->first, size + 1, sizeof *p->first, "rows per owner", err);
    if (!code) code = thaw_alloc(&p->asked, 2 * size, sizeof *p->asked, "rows per rank", err);
    for (size_t r = 0; r < size && !code; r++)
        if (p->rank_row[r + 1] - p->rank_row[r] > (int64_t)UINT32_MAX)
            code = thaw_fail(err, THAW_EUSAGE, "a rank owns more than 2^32 rows: run on more ranks");
    if (!code) code = group_by_owner(p, err);
    return thaw_comm_agree(p->c, code, err);
}

int thaw_pull(struct thaw_comm *c, const int64_t *rank_row, const void *owned, size_t row_bytes,
              const int64_t *wanted, int64_t nwanted, void *out, int64_t budget_bytes, int64_t *received,
              struct thaw_err *err) {
    struct pull p = {.c = c,
                     .rank_row = rank_row,
                     .owned = owned,
                     .row_bytes = row_bytes,
                     .wanted = wanted,
                     .nwanted = nwanted,
                     .out = out};
    int64_t rounds = 0;
    int code = prepare_pull(&p, err);
    if (code) goto done;
    copy_own(&p);
    if (c->size == 1) goto done;
    for (int r = 0; r < c->size; r++) p.asked[c->size + r] = wanted_of(&p, r);
    MPI_Alltoall(p.asked + c->size, 1, MPI_INT64_T, p.asked, 1, MPI_INT64_T, c->all);
    plan_rounds(&p, budget_bytes, &rounds);
    if ((code = thaw_comm_agree(c, make_room(&p, err), err))) goto done;
    for (int64_t round = 0; round < rounds; round++) {
        exchange_requests(&p, round);
        int64_t n = exchange_rows(&p, round);
        if (p.order) scatter(&p, round);
        if (received) *received += n;
    }
done:
    thaw_wire_free(&p.wire);
    free(p.order);
    free(p.first);
    free(p.asked);
    free(p.ask);
    free(p.told);
    free(p.reply);
    free(p.in);
    return code;
}
