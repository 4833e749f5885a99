// route.c: interactions of pushed and lent rows go to the ranks that work on them; once, when a half is made.
#include "comm/half_impl.h"

#include "base/mem.h"
#include "comm/shuffle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD = 512, SHUFFLE_BYTES = 8 << 20, PUSHED = 1, LENT = 2 };

struct entry {
    int64_t row; // opposite row: of the receiver's own when pushed, global when lent
    float value;
};
struct record {
    int64_t number; // of a pushed row; of a lent one over all ranks' rows
    int32_t kind, n;
    struct entry entry[RECORD];
};

// Consecutive interactions as they came in.
struct run {
    int64_t number, at, n, order;
    int source; // 0 when pushed: numbers tell
};

struct inbox {
    struct run *run;
    int64_t nruns, n;
    int64_t *index;
    float *value;
    size_t run_cap, index_cap, value_cap;
};

struct router {
    struct thaw_half *h;
    int64_t first; // number of our first row, counted over all ranks
    struct thaw_csr *m;
    struct inbox in[3];
};

// ---- Receiving ----

static int add_record(struct inbox *b, int source, const struct record *r, struct thaw_err *err) {
    int code = thaw_grow(&b->run, &b->run_cap, (size_t)b->nruns + 1, sizeof *b->run, "interactions", err);
    const size_t need = (size_t)(b->n + r->n);
    if (!code) code = thaw_grow(&b->index, &b->index_cap, need, sizeof *b->index, "interactions", err);
    if (!code) code = thaw_grow(&b->value, &b->value_cap, need, sizeof *b->value, "interactions", err);
    if (code) return code;
    struct run *last = b->nruns ? &b->run[b->nruns - 1] : NULL;
    if (last && last->number == r->number && last->source == source)
        last->n += r->n;
    else {
        b->run[b->nruns] = (struct run){r->number, b->n, r->n, b->nruns, source};
        b->nruns++;
    }
    for (int i = 0; i < r->n; i++) {
        b->index[b->n] = r->entry[i].row;
        b->value[b->n++] = r->entry[i].value;
    }
    return THAW_OK;
}

static int deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct router *t = user;
    const size_t head = offsetof(struct record, entry);
    struct record r;
    int code = THAW_OK;
    for (size_t at = 0; !code && at < n;) {
        memcpy(&r, (const char *)bytes + at, head);
        memcpy(r.entry, (const char *)bytes + at + head, (size_t)r.n * sizeof *r.entry);
        at += head + (size_t)r.n * sizeof *r.entry;
        code = add_record(&t->in[r.kind], r.kind == LENT ? source : 0, &r, err);
    }
    return code;
}

static int by_number(const void *a, const void *b) {
    const struct run *x = a, *y = b;
    if (x->source != y->source) return x->source < y->source ? -1 : 1;
    if (x->number != y->number) return x->number < y->number ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

// ---- Sending ----

struct cursor {
    int64_t row, at; // next interaction
    int64_t npushed; // own pushed rows before this one
};

static void put_run(struct router *t, struct thaw_shuffle *s, int kind, int64_t number, int to, int64_t at,
                    int64_t n) {
    struct record r = {.number = number, .kind = kind, .n = (int32_t)n};
    const int64_t base = kind == PUSHED ? t->h->other->rank_row[to] : 0;
    for (int64_t i = 0; i < n; i++)
        r.entry[i] = (struct entry){t->m->index[at + i] - base, t->m->value[at + i]};
    thaw_shuffle_put(s, to, &r, offsetof(struct record, entry) + (size_t)n * sizeof *r.entry);
}

static void put_pushed(struct router *t, struct thaw_shuffle *s, struct cursor *at) {
    const struct thaw_half *h = t->h;
    const int64_t end = t->m->ptr[at->row + 1];
    while (at->at < end && !thaw_shuffle_full(s)) {
        const int to = thaw_plan_rank_of(h->other, t->m->index[at->at]);
        int64_t n = 1;
        while (n < RECORD && at->at + n < end && t->m->index[at->at + n] < h->other->rank_row[to + 1]) n++;
        put_run(t, s, PUSHED, h->pushed.first[h->c->rank] + at->npushed, to, at->at, n);
        at->at += n;
    }
    if (at->at == end) at->npushed++;
}

static void put_lent(struct router *t, struct thaw_shuffle *s, struct cursor *at, int to) {
    const int64_t end = t->m->ptr[at->row + 1];
    while (at->at < end && !thaw_shuffle_full(s)) {
        const int64_t n = end - at->at < RECORD ? end - at->at : RECORD;
        put_run(t, s, LENT, t->first + at->row, to, at->at, n);
        at->at += n;
    }
}

// To whom each row is lent; -1: kept. Pushed: -2.
static int destinations(const struct router *t, int **out, struct thaw_err *err) {
    const struct thaw_half *h = t->h;
    const int code = thaw_alloc(out, (size_t)t->m->nrows, sizeof **out, "rows to lend", err);
    for (int64_t i = 0; !code && i < t->m->nrows; i++)
        (*out)[i] = t->m->ptr[i + 1] - t->m->ptr[i] >= h->facts.push_from ? -2 : -1;
    for (int64_t i = 0; !code && i < h->nlent; i++) (*out)[h->lent[i].row] = h->lent[i].to;
    return code;
}

static int send_all(struct router *t, const int *to, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    struct cursor at = {0};
    bool done = false;
    int code = thaw_shuffle_new(&s, t->h->c, SHUFFLE_BYTES, deliver, t, err);
    while (!code && !done) {
        while (at.row < t->m->nrows && !thaw_shuffle_full(s)) {
            if (to[at.row] == -1) at.at = t->m->ptr[at.row + 1];
            if (to[at.row] == -2) put_pushed(t, s, &at);
            if (to[at.row] >= 0) put_lent(t, s, &at, to[at.row]);
            if (at.at == t->m->ptr[at.row + 1]) at.row++;
        }
        code = thaw_shuffle_round(s, at.row == t->m->nrows, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

// ---- What stays ----

static void compact(struct thaw_csr *m, const int *to) {
    int64_t end = 0;
    for (int64_t i = 0, begin = 0; i < m->nrows; i++) {
        const int64_t n = m->ptr[i + 1] - begin, from = begin;
        begin = m->ptr[i + 1];
        if (to[i] == -1) {
            memmove(m->index + end, m->index + from, (size_t)n * sizeof *m->index);
            memmove(m->value + end, m->value + from, (size_t)n * sizeof *m->value);
            end += n;
        }
        m->ptr[i + 1] = end;
    }
}

// Guests, by rank and row, behind our own rows.
static int take_guests(struct router *t, struct thaw_err *err) {
    struct thaw_half *h = t->h;
    struct inbox *b = &t->in[LENT];
    size_t rows_cap = 0, guests_cap = 0;
    int code = THAW_OK;
    int64_t n = 0;
    if (b->nruns) qsort(b->run, (size_t)b->nruns, sizeof *b->run, by_number);
    for (int64_t i = 0; !code && i < b->nruns; i++) {
        const struct run *r = &b->run[i], *last = i ? r - 1 : NULL;
        if (last && last->source == r->source && last->number == r->number) {
            code = thaw_csr_extend(t->m, b->index + r->at, b->value + r->at, r->n, err);
            continue;
        }
        code = thaw_csr_add(t->m, b->index + r->at, b->value + r->at, r->n, err);
        if (!code)
            code = thaw_grow(&h->guest_row, &rows_cap, (size_t)n + 1, sizeof *h->guest_row, "guests", err);
        if (code) break;
        h->guest_row[n++] = r->number;
        if (!last || last->source != r->source) {
            code =
                thaw_grow(&h->guests, &guests_cap, (size_t)h->nguests + 1, sizeof *h->guests, "guests", err);
            if (code) break;
            h->guests[h->nguests++] = (struct thaw_guests){r->source, 0};
        }
        h->guests[h->nguests - 1].n++;
    }
    h->rows = h->own_rows + n;
    return code;
}

// ---- Pieces of pushed rows ----

// Every batch before the one of row `number` ends.
static int close_batches(struct thaw_pushed *p, int64_t number, struct thaw_err *err) {
    int code = THAW_OK;
    for (int64_t end; !code && (end = thaw_pieces_closed(&p->pieces) + p->batch_rows) <= number;)
        code = thaw_pieces_close(&p->pieces, end, err);
    return code;
}

// The interactions of a run; `part` is that of the last piece.
static int take_run(struct thaw_half *h, const struct inbox *b, const struct run *r, int32_t *part,
                    struct thaw_err *err) {
    struct thaw_pushed *p = &h->pushed;
    const int rank = h->c->rank;
    const int64_t own = h->other->rank_row[rank],
                  base = own - h->other->rank_row[h->c->node_first[h->c->node_number]];
    const struct thaw_pieces *all = &p->pieces;
    int code = close_batches(p, r->number, err);
    for (int64_t j = r->at; !code && j < r->at + r->n; j++) {
        const int64_t row = own + b->index[j];
        const bool goes_on = all->n && all->piece[all->n - 1].row == r->number;
        if (!goes_on) *part = h->other->first_part[rank];
        if (!goes_on || row >= h->other->first_row[*part + 1]) {
            while (row >= h->other->first_row[*part + 1]) (*part)++;
            const struct thaw_piece piece = {p->nnz, (uint32_t)r->number, 0, *part};
            code = thaw_pieces_add(&p->pieces, piece, err);
        }
        if (code) break;
        all->piece[all->n - 1].n++;
        p->index[p->nnz] = (uint32_t)(base + b->index[j]);
        p->value[p->nnz++] = b->value[j];
    }
    return code;
}

static int take_pieces(struct router *t, struct thaw_err *err) {
    struct thaw_half *h = t->h;
    struct thaw_pushed *p = &h->pushed;
    const struct inbox *b = &t->in[PUSHED];
    int32_t part = 0;
    int code = thaw_alloc(&p->index, (size_t)b->n + THAW_ALS_AHEAD, sizeof *p->index, "pieces of rows", err);
    if (!code) code = thaw_alloc(&p->value, (size_t)b->n, sizeof *p->value, "pieces of rows", err);
    if (b->nruns) qsort(b->run, (size_t)b->nruns, sizeof *b->run, by_number);
    for (int64_t i = 0; !code && i < b->nruns; i++) code = take_run(h, b, &b->run[i], &part, err);
    if (!code) code = close_batches(p, p->n, err);
    if (!code && thaw_pieces_closed(&p->pieces) < p->n) code = thaw_pieces_close(&p->pieces, p->n, err);
    return code;
}

static int number_pushed(struct thaw_half *h, const struct thaw_csr *m, struct thaw_err *err) {
    struct thaw_pushed *p = &h->pushed;
    int64_t n = 0;
    for (int64_t i = 0; i < m->nrows; i++) n += m->ptr[i + 1] - m->ptr[i] >= h->facts.push_from;
    int code = thaw_alloc(&p->first, (size_t)h->c->size + 1, sizeof *p->first, "pushed rows", err);
    if (!code) code = thaw_alloc(&p->own, (size_t)n, sizeof *p->own, "pushed rows", err);
    if ((code = thaw_comm_agree(h->c, code, err))) return code;
    thaw_comm_allgather_i64(h->c, &n, 1, p->first + 1);
    for (int r = 0; r < h->c->size; r++) p->first[r + 1] += p->first[r];
    p->n = p->first[h->c->size];
    struct thaw_long_row *own = p->own;
    for (int64_t i = 0; i < m->nrows; i++) {
        if (m->ptr[i + 1] - m->ptr[i] < h->facts.push_from) continue;
        *own = (struct thaw_long_row){i, m->ptr[i + 1] - m->ptr[i], 0};
        for (int64_t j = m->ptr[i]; j < m->ptr[i + 1]; j++) own->abs += fabs(m->value[j]);
        own++;
    }
    return THAW_OK;
}

int thaw_half_route(struct thaw_half *h, struct thaw_csr *m, struct thaw_err *err) {
    struct router t = {.h = h, .m = m, .first = m->nrows};
    int *to = NULL;
    int64_t moving = h->nlent;
    int code = number_pushed(h, m, err);
    if (code) return code;
    thaw_comm_sum_i64(h->c, &moving, 1);
    if (moving + h->pushed.n == 0) return THAW_OK;
    thaw_comm_exscan_i64(h->c, &t.first, 1);
    if ((code = thaw_comm_agree(h->c, destinations(&t, &to, err), err))) goto done;
    if ((code = send_all(&t, to, err))) goto done;
    compact(m, to);
    code = take_guests(&t, err);
    if (!code) code = take_pieces(&t, err);
    code = thaw_comm_agree(h->c, code, err);
done:
    free(to);
    for (int i = 0; i < 3; i++) {
        free(t.in[i].run);
        free(t.in[i].index);
        free(t.in[i].value);
    }
    return code;
}
