// exchange_plan.c: who sends which rows to whom in which round.
//
// Of the ranks of a node, the one a row's number hashes to gets it for all of them. The others ask it, in one
// exchange inside the node; it learns which rows the node needs, gives them slots, and asks their owners.
#include "comm/exchange_impl.h"

#include "base/mem.h"
#include "comm/shuffle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_WANT = 32, TAG_PLACE = 33, SHUFFLE_BYTES = 4 << 20 };

// A row wanted by someone of the node, at the rank that gets it.
struct want {
    int64_t row;
    int32_t round;
    uint32_t slot; // position among this rank's slots
};

struct planner {
    struct thaw_exchange *e;
    struct thaw_comm *c;
    const struct thaw_plan *plan;
    const struct thaw_wants *wants;
    int64_t node_begin, node_end; // global rows of the node
    int64_t *first;               // node_size + 1: numbers by the node's rank that gets them
    int64_t *order;               // n: numbers in that order
    struct want *want;            // asked of this rank, by asking rank, then number
    int64_t *asked;               // node_size + 1
    int64_t nwant;
    int64_t nslots, stream_slots; // this rank's; of one round when streaming
    int64_t first_slot;           // window row of the first
    struct want *got;             // rows to ask of owners, by round and row
    int64_t ngot;
    int *sources; // of entries of e->send_row, while they come in
    int32_t *rounds;
    size_t sources_cap, rounds_cap, send_cap;
};

int thaw_segments_add(struct thaw_segments *s, int64_t round, int peer, int64_t first, int64_t n,
                      struct thaw_err *err) {
    const int code = thaw_grow(&s->at, &s->cap, s->n + 1, sizeof *s->at, "the exchange's plan", err);
    if (!code) s->at[s->n++] = (struct thaw_segment){round, first, n, peer};
    return code;
}

static int getter(const struct planner *p, int64_t row) {
    return (int)(((uint64_t)row * 0x9e3779b97f4a7c15u >> 32) % (uint64_t)p->c->node_size);
}

// ---- Inside the node: requests to the ranks that get the rows ----

static int64_t round_of(const struct thaw_wants *w, int64_t number, int64_t *chunk) {
    while (number >= w->chunk_end[*chunk]) ++*chunk;
    return *chunk;
}

static int sort_numbers(struct planner *p, struct thaw_err *err) {
    const int n = p->c->node_size;
    int code = thaw_alloc(&p->first, (size_t)n + 1, sizeof *p->first, "the exchange's plan", err);
    if (!code) code = thaw_alloc(&p->asked, (size_t)n + 1, sizeof *p->asked, "the exchange's plan", err);
    if (!code)
        code = thaw_alloc(&p->order, (size_t)p->wants->n, sizeof *p->order, "the exchange's plan", err);
    if (code) return code;
    for (int64_t i = 0; i < p->wants->n; i++) p->first[getter(p, p->wants->row[i]) + 1]++;
    for (int r = 0; r < n; r++) p->first[r + 1] += p->first[r];
    for (int64_t i = 0; i < p->wants->n; i++) p->order[p->first[getter(p, p->wants->row[i])]++] = i;
    for (int r = n; r > 0; r--) p->first[r] = p->first[r - 1];
    p->first[0] = 0;
    return THAW_OK;
}

static int ask_node(struct planner *p, struct thaw_err *err) {
    const int n = p->c->node_size, base = p->c->rank - p->c->node_rank;
    struct want *ask = NULL;
    struct thaw_wire wire = {0};
    int64_t count[2] = {0};
    size_t pieces = 0;
    for (int r = 0; r < n; r++) { // counts first
        count[0] = p->first[r + 1] - p->first[r];
        MPI_Gather(count, 1, MPI_INT64_T, p->asked + 1, 1, MPI_INT64_T, r, p->c->node);
    }
    for (int r = 0; r < n; r++) {
        pieces += thaw_wire_pieces(p->asked[r + 1] * (int64_t)sizeof *ask) +
                  thaw_wire_pieces((p->first[r + 1] - p->first[r]) * (int64_t)sizeof *ask);
        p->asked[r + 1] += p->asked[r];
    }
    p->nwant = p->asked[n];
    int code = thaw_alloc(&ask, (size_t)p->wants->n, sizeof *ask, "the exchange's plan", err);
    if (!code) code = thaw_alloc(&p->want, (size_t)p->nwant, sizeof *p->want, "the exchange's plan", err);
    if (!code) code = thaw_wire_reserve(&wire, pieces, err);
    if ((code = thaw_comm_agree(p->c, code, err))) goto done;
    int64_t chunk = 0, last = -1;
    for (int64_t i = 0; i < p->wants->n; i++) {
        const int64_t number = p->order[i];
        if (number < last) chunk = 0; // numbers rise within one getter
        last = number;
        ask[i] = (struct want){p->wants->row[number], (int32_t)round_of(p->wants, number, &chunk), 0};
    }
    for (int r = 0; r < n; r++)
        thaw_wire_recv(&wire, p->c, p->want + p->asked[r],
                       (p->asked[r + 1] - p->asked[r]) * (int64_t)sizeof *ask, base + r, TAG_WANT);
    for (int r = 0; r < n; r++)
        thaw_wire_send(&wire, p->c, ask + p->first[r], (p->first[r + 1] - p->first[r]) * (int64_t)sizeof *ask,
                       base + r, TAG_WANT);
    thaw_wire_wait(&wire);
done:
    free(ask);
    thaw_wire_free(&wire);
    return code;
}

// ---- Slots ----

static int by_row_round(const void *a, const void *b) {
    const struct want *x = a, *y = b;
    if (x->row != y->row) return x->row < y->row ? -1 : 1;
    return (x->round > y->round) - (x->round < y->round);
}

static int by_round_row(const void *a, const void *b) {
    const struct want *x = a, *y = b;
    if (x->round != y->round) return x->round < y->round ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

// p->got: each row once (keep: in the first round that needs it), or once per round, in the order they come.
static int unite(struct planner *p, struct thaw_err *err) {
    const bool stream = p->wants->stream;
    int code = thaw_alloc(&p->got, (size_t)p->nwant, sizeof *p->got, "the exchange's plan", err);
    if (code) return code;
    memcpy(p->got, p->want, (size_t)p->nwant * sizeof *p->got);
    qsort(p->got, (size_t)p->nwant, sizeof *p->got, by_row_round);
    for (int64_t i = 0; i < p->nwant; i++) {
        const struct want *last = p->ngot ? &p->got[p->ngot - 1] : NULL;
        if (last && last->row == p->got[i].row && (!stream || last->round == p->got[i].round)) continue;
        p->got[p->ngot++] = p->got[i];
    }
    qsort(p->got, (size_t)p->ngot, sizeof *p->got, by_round_row);
    return THAW_OK;
}

static void give_slots(struct planner *p) {
    int64_t most = 0;
    for (int64_t i = 0, start = 0; i < p->ngot; i++) {
        if (i > 0 && p->got[i].round != p->got[i - 1].round) start = i;
        p->got[i].slot = (uint32_t)(p->wants->stream ? i - start : i);
        if (i - start + 1 > most) most = i - start + 1;
    }
    p->stream_slots = most;
    p->nslots = p->wants->stream ? 2 * most : p->ngot;
    for (int64_t i = 0; p->wants->stream && i < p->ngot; i++)
        if (p->got[i].round % 2) p->got[i].slot += (uint32_t)most;
}

// Where each rank of the node begins in the window.
static int lay_out(struct planner *p, struct thaw_err *err) {
    int64_t before = 0, all = p->nslots;
    MPI_Exscan(&p->nslots, &before, 1, MPI_INT64_T, MPI_SUM, p->c->node);
    if (p->c->node_rank == 0) before = 0;
    MPI_Allreduce(MPI_IN_PLACE, &all, 1, MPI_INT64_T, MPI_SUM, p->c->node);
    p->first_slot = p->node_end - p->node_begin + before;
    p->e->window_rows = p->node_end - p->node_begin + all;
    if (p->e->window_rows > (int64_t)UINT32_MAX)
        return thaw_fail(err, THAW_EUSAGE, "a node needs %" PRId64 " rows at a time: run on more nodes",
                         p->e->window_rows);
    return THAW_OK;
}

// ---- Answers: the window row of every number ----

// The slot of a want; got is by round and row, so keep needs the row's own round.
static uint32_t slot_of(const struct planner *p, const struct want *sorted, const struct want *w) {
    int64_t low = 0, high = p->ngot;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        const int after =
            p->wants->stream ? by_round_row(&sorted[middle], w) > 0 : sorted[middle].row > w->row;
        if (after)
            high = middle;
        else
            low = middle;
    }
    return sorted[low].slot;
}

static int answer(struct planner *p, uint32_t *place, struct thaw_err *err) {
    const int n = p->c->node_size, base = p->c->rank - p->c->node_rank;
    struct want *sorted = NULL;
    uint32_t *told = NULL, *heard = NULL;
    struct thaw_wire wire = {0};
    int code = thaw_alloc(&sorted, (size_t)p->ngot, sizeof *sorted, "the exchange's plan", err);
    if (!code) code = thaw_alloc(&told, (size_t)p->nwant, sizeof *told, "the exchange's plan", err);
    if (!code) code = thaw_alloc(&heard, (size_t)p->wants->n, sizeof *heard, "the exchange's plan", err);
    size_t pieces = 0;
    for (int r = 0; r < n; r++)
        pieces += thaw_wire_pieces((p->asked[r + 1] - p->asked[r]) * 4) +
                  thaw_wire_pieces((p->first[r + 1] - p->first[r]) * 4);
    if (!code) code = thaw_wire_reserve(&wire, pieces, err);
    if ((code = thaw_comm_agree(p->c, code, err))) goto done;
    memcpy(sorted, p->got, (size_t)p->ngot * sizeof *sorted);
    if (!p->wants->stream) qsort(sorted, (size_t)p->ngot, sizeof *sorted, by_row_round);
    for (int64_t i = 0; i < p->nwant; i++)
        told[i] = (uint32_t)p->first_slot + slot_of(p, sorted, &p->want[i]);
    for (int r = 0; r < n; r++)
        thaw_wire_recv(&wire, p->c, heard + p->first[r], (p->first[r + 1] - p->first[r]) * 4, base + r,
                       TAG_PLACE);
    for (int r = 0; r < n; r++)
        thaw_wire_send(&wire, p->c, told + p->asked[r], (p->asked[r + 1] - p->asked[r]) * 4, base + r,
                       TAG_PLACE);
    thaw_wire_wait(&wire);
    for (int64_t i = 0; i < p->wants->n; i++) place[p->order[i]] = heard[i];
done:
    free(sorted);
    free(told);
    free(heard);
    thaw_wire_free(&wire);
    return code;
}

// ---- Owners learn what to send ----

struct request {
    int32_t round;
    uint32_t row; // counted from the owner's first
};

static int take_requests(void *user, int source, const void *bytes, size_t nbytes, struct thaw_err *err) {
    struct planner *p = user;
    struct thaw_exchange *e = p->e;
    const size_t n = nbytes / sizeof(struct request), at = (size_t)e->nsend;
    const struct request *r = bytes;
    int code = thaw_grow(&e->send_row, &p->send_cap, at + n, sizeof *e->send_row, "the exchange's plan", err);
    if (!code) code = thaw_grow(&p->sources, &p->sources_cap, at + n, sizeof *p->sources, "the plan", err);
    if (!code) code = thaw_grow(&p->rounds, &p->rounds_cap, at + n, sizeof *p->rounds, "the plan", err);
    for (size_t i = 0; !code && i < n; i++) {
        e->send_row[at + i] = r[i].row;
        p->sources[at + i] = source;
        p->rounds[at + i] = r[i].round;
    }
    if (!code) e->nsend += (int64_t)n;
    return code;
}

static int receive_segments(struct planner *p, struct thaw_err *err) {
    int code = THAW_OK;
    int64_t first = 0;
    int owner = 0, last = -1;
    for (int64_t i = 0; !code && i <= p->ngot; i++) {
        if (i < p->ngot) owner = thaw_plan_rank_of(p->plan, p->got[i].row);
        const bool same = i > 0 && i < p->ngot && owner == last && p->got[i].round == p->got[i - 1].round;
        if (same) continue;
        if (i > first)
            code = thaw_segments_add(&p->e->receives, p->got[first].round, last,
                                     p->first_slot + p->got[first].slot, i - first, err);
        first = i;
        last = owner;
    }
    return code;
}

static int tell_owners(struct planner *p, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    bool done = false;
    int64_t i = 0;
    int code = receive_segments(p, err);
    if ((code = thaw_comm_agree(p->c, code, err))) return code;
    code = thaw_shuffle_new(&s, p->c, SHUFFLE_BYTES, take_requests, p, err);
    while (!code && !done) {
        for (; i < p->ngot && !thaw_shuffle_full(s); i++) {
            const int owner = thaw_plan_rank_of(p->plan, p->got[i].row);
            const struct request r = {p->got[i].round, (uint32_t)(p->got[i].row - p->plan->rank_row[owner])};
            thaw_shuffle_put(s, owner, &r, sizeof r);
        }
        code = thaw_shuffle_round(s, i == p->ngot, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

struct sent {
    int64_t at;
    int32_t round;
    int source;
};

static int by_round_source(const void *a, const void *b) {
    const struct sent *x = a, *y = b;
    if (x->round != y->round) return x->round < y->round ? -1 : 1;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

// Bring send_row into the order of rounds and receivers, in each as the receiver asked.
static int send_segments(struct planner *p, struct thaw_err *err) {
    struct thaw_exchange *e = p->e;
    const size_t n = (size_t)e->nsend;
    struct sent *order = NULL;
    uint32_t *row = NULL;
    int64_t most[2] = {0}, now = 0, first = 0;
    int code = thaw_alloc(&order, n, sizeof *order, "the exchange's plan", err);
    if (!code) code = thaw_alloc(&row, n, sizeof *row, "the exchange's plan", err);
    if (code) goto done;
    for (size_t i = 0; i < n; i++) order[i] = (struct sent){(int64_t)i, p->rounds[i], p->sources[i]};
    qsort(order, n, sizeof *order, by_round_source);
    for (size_t i = 0; i < n; i++) row[i] = e->send_row[order[i].at];
    for (size_t i = 0; !code && i < n; i++) {
        const bool last = i + 1 == n, turn = last || order[i].round != order[i + 1].round;
        now++;
        if (turn || order[i].source != order[i + 1].source) {
            code = thaw_segments_add(&e->sends, order[i].round, order[i].source, first,
                                     (int64_t)i + 1 - first, err);
            first = (int64_t)i + 1;
        }
        if (!turn) continue;
        if (now > most[order[i].round % 2]) most[order[i].round % 2] = now;
        now = 0;
    }
    for (int i = 0; !code && i < 2; i++)
        code = thaw_alloc(&e->buffer[i], (size_t)most[i] * e->row_bytes, 1, "rows to send", err);
    free(e->send_row);
    e->send_row = row;
    row = NULL;
done:
    free(order);
    free(row);
    return code;
}

// Room for the requests of two rounds.
static int reserve_wires(struct thaw_exchange *e, struct thaw_err *err) {
    size_t most = 0, i = 0, j = 0;
    for (int64_t round = 0; round < e->rounds; round++) {
        size_t pieces = 0;
        for (; i < e->sends.n && e->sends.at[i].round == round; i++)
            pieces += thaw_wire_pieces(e->sends.at[i].n * (int64_t)e->row_bytes);
        for (; j < e->receives.n && e->receives.at[j].round == round; j++)
            pieces += thaw_wire_pieces(e->receives.at[j].n * (int64_t)e->row_bytes);
        if (pieces > most) most = pieces;
    }
    int code = thaw_wire_reserve(&e->wire[0], most, err);
    if (!code) code = thaw_wire_reserve(&e->wire[1], most, err);
    return code;
}

// ---- Allgather ----

// Of node k's ranks, the one that gets rank r's rows.
static int getter_of_rank(const struct thaw_comm *c, int k, int r) {
    return c->node_first[k] + r % (c->node_first[k + 1] - c->node_first[k]);
}

static int gather_all(struct planner *p, uint32_t *place, struct thaw_err *err) {
    struct thaw_exchange *e = p->e;
    struct thaw_comm *c = p->c;
    const int64_t *rank_row = p->plan->rank_row;
    const int k = c->node_number;
    int64_t *at = NULL, next = p->node_end - p->node_begin; // window row of each rank's first row
    int code = thaw_alloc(&at, (size_t)c->size, sizeof *at, "the exchange's plan", err);
    e->all = true;
    for (int g = c->node_first[k]; !code && g < c->node_first[k + 1]; g++)
        for (int r = 0; !code && r < c->size; r++) {
            const int64_t n = rank_row[r + 1] - rank_row[r];
            if ((r >= c->node_first[k] && r < c->node_first[k + 1]) || getter_of_rank(c, k, r) != g) continue;
            at[r] = next;
            next += n;
            if (n && g == c->rank) code = thaw_segments_add(&e->receives, 0, r, at[r], n, err);
        }
    const int64_t own = rank_row[c->rank + 1] - rank_row[c->rank];
    for (int other = 0; !code && own && other < c->nnodes; other++)
        if (other != k)
            code = thaw_segments_add(&e->sends, 0, getter_of_rank(c, other, c->rank), e->own_place, own, err);
    e->window_rows = next;
    if (!code && next > (int64_t)UINT32_MAX)
        code =
            thaw_fail(err, THAW_EUSAGE, "a node needs %" PRId64 " rows at a time: run on more nodes", next);
    for (int64_t i = 0; !code && i < p->wants->n; i++) {
        const int r = thaw_plan_rank_of(p->plan, p->wants->row[i]);
        place[i] = (uint32_t)(at[r] + p->wants->row[i] - rank_row[r]);
    }
    free(at);
    return code;
}

// ---- The whole plan ----

static int choose(struct planner *p, enum thaw_exchange_mode mode, int64_t budget, bool *all,
                  struct thaw_err *err) {
    const int64_t rows = thaw_plan_rows(p->plan), other = rows - (p->node_end - p->node_begin);
    int64_t most = other * (int64_t)p->e->row_bytes / p->c->node_size;
    int64_t moved[2] = {p->ngot, p->c->node_rank == 0 ? other : 0}; // pulled; gathered
    thaw_comm_max_i64(p->c, &most, 1);
    thaw_comm_sum_i64(p->c, moved, 2);
    *all = mode == THAW_EXCHANGE_ALLGATHER;
    if (mode == THAW_EXCHANGE_HYBRID) *all = most <= budget && moved[1] > 0 && moved[0] >= moved[1];
    p->e->rows_moved = moved[*all ? 1 : 0];
    if (mode == THAW_EXCHANGE_ALLGATHER && most > budget)
        return thaw_fail(err, THAW_EUSAGE,
                         "--exchange allgather needs --exchange-bytes %" PRId64 " (it is %" PRId64
                         "), or take another --exchange",
                         2 * most, 2 * budget);
    return THAW_OK;
}

static int plan_pull(struct planner *p, uint32_t *place, struct thaw_err *err) {
    give_slots(p);
    int code = thaw_comm_agree(p->c, lay_out(p, err), err);
    if (!code) code = answer(p, place, err);
    if (!code) code = tell_owners(p, err);
    if (!code) code = thaw_comm_agree(p->c, send_segments(p, err), err);
    return code;
}

static void planner_clear(struct planner *p) {
    free(p->first);
    free(p->order);
    free(p->want);
    free(p->asked);
    free(p->got);
    free(p->sources);
    free(p->rounds);
}

int thaw_exchange_new(struct thaw_exchange **out, struct thaw_comm *c, const struct thaw_plan *plan,
                      size_t row_bytes, const struct thaw_wants *wants, enum thaw_exchange_mode mode,
                      int64_t budget_bytes, uint32_t *place, struct thaw_err *err) {
    struct planner p = {.c = c, .plan = plan, .wants = wants};
    bool all;
    int code = thaw_alloc(&p.e, 1, sizeof *p.e, "the exchange's plan", err);
    if (!code) {
        p.node_begin = plan->rank_row[c->node_first[c->node_number]];
        p.node_end = plan->rank_row[c->node_first[c->node_number + 1]];
        p.e->c = c;
        p.e->row_bytes = row_bytes;
        p.e->rounds = wants->nchunks;
        p.e->own_place = plan->rank_row[c->rank] - p.node_begin;
        code = sort_numbers(&p, err);
    }
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_max_i64(c, &p.e->rounds, 1);
    if ((code = ask_node(&p, err)) || (code = thaw_comm_agree(c, unite(&p, err), err)) ||
        (code = choose(&p, mode, budget_bytes / 2, &all, err)))
        goto done;
    code = all ? thaw_comm_agree(c, gather_all(&p, place, err), err) : plan_pull(&p, place, err);
    if (!code) code = thaw_comm_agree(c, reserve_wires(p.e, err), err);
done:
    if (code) thaw_exchange_free(&p.e);
    if (!code) *out = p.e;
    planner_clear(&p);
    return code;
}

int64_t thaw_exchange_nbytes(const struct thaw_exchange *e) {
    int64_t n = e->nsend * (int64_t)sizeof *e->send_row +
                (int64_t)((e->sends.cap + e->receives.cap) * sizeof(struct thaw_segment));
    int64_t rows[2] = {0}, now = 0;
    for (size_t i = 0; !e->all && i < e->sends.n; i++) {
        now += e->sends.at[i].n;
        if (i + 1 < e->sends.n && e->sends.at[i + 1].round == e->sends.at[i].round) continue;
        if (now > rows[e->sends.at[i].round % 2]) rows[e->sends.at[i].round % 2] = now;
        now = 0;
    }
    return n + (rows[0] + rows[1]) * (int64_t)e->row_bytes;
}
