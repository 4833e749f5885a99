// share.c: which rows are pushed, and which are lent so that all ranks have the same work.
//
// Pushing: for each candidate length T the bytes on the wire are modelled for a half-sweep in which rows of
// at least T interactions are pushed. What is pulled then is the number of (node, opposite row) pairs that a
// shorter row needs; it is counted exactly on a sample of opposite rows. A pushed row costs its vector and
// sums per round and rank. The cheapest T wins. Rows so long that their owner would have more than its share
// to do are pushed in any case.
#include "comm/half_impl.h"

#include "base/mem.h"
#include "comm/shuffle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLASSES = 48,          // lengths T: from the least, each 2^1/2 of the one before
    SAMPLE_ROWS = 1 << 18, // opposite rows that are counted, about
    SHARE_PARTS = 8,       // a row is pushed when it is more than 1 / so much of a rank's share
    SHUFFLE_BYTES = 4 << 20
};
// Work of a rank above the mean that is left where it is.
static const double SLACK = 0.002;

// ---- Pushing ----

// The shortest class of rows that need an opposite row, by row.
struct need {
    int64_t row; // -1: empty
    int class;
};
struct needs {
    struct need *at;
    size_t slots, n;
};

static struct need *find(const struct needs *s, int64_t row) {
    size_t at = (size_t)((uint64_t)row * 0x9e3779b97f4a7c15u >> 20) & (s->slots - 1);
    while (s->at[at].row >= 0 && s->at[at].row != row) at = (at + 1) & (s->slots - 1);
    return &s->at[at];
}

static int needs_grow(struct needs *s, struct thaw_err *err) {
    struct needs next = {.slots = s->slots ? 2 * s->slots : 4096, .n = s->n};
    const int code = thaw_alloc(&next.at, next.slots, sizeof *next.at, "a sample of rows", err);
    if (code) return code;
    for (size_t i = 0; i < next.slots; i++) next.at[i].row = -1;
    for (size_t i = 0; i < s->slots; i++)
        if (s->at[i].row >= 0) *find(&next, s->at[i].row) = s->at[i];
    free(s->at);
    *s = next;
    return THAW_OK;
}

// 0 for rows that are never pushed; T of class c is least * 2^((c - 1) / 2).
static int class_of(int64_t n, int64_t least) {
    if (n < least) return 0;
    const int c = 1 + (int)floor(2 * log2((double)n / (double)least) + 1e-9);
    return c < CLASSES - 1 ? c : CLASSES - 1;
}

static int64_t class_length(int c, int64_t least) {
    return (int64_t)ceil((double)least * pow(2, (c - 1) / 2.0) - 1e-6);
}

static int needs_add(struct needs *s, struct need need, struct thaw_err *err) {
    struct need *n = find(s, need.row);
    if (n->row >= 0) {
        if (need.class < n->class) n->class = need.class;
        return THAW_OK;
    }
    *n = need;
    return 2 * ++s->n > s->slots ? needs_grow(s, err) : THAW_OK;
}

static int take_needs(void *user, int source, const void *bytes, size_t nbytes, struct thaw_err *err) {
    int code = THAW_OK;
    (void)source;
    for (size_t at = 0; !code && at < nbytes; at += sizeof(struct need)) {
        struct need need;
        memcpy(&need, (const char *)bytes + at, sizeof need);
        code = needs_add(user, need, err);
    }
    return code;
}

// Collective. What the ranks of a node need, each row at one of them.
static int unite(struct thaw_comm *c, struct needs *s, struct thaw_err *err) {
    struct thaw_shuffle *shuffle = NULL;
    struct needs all = {0};
    bool done = false;
    size_t i = 0;
    int code = thaw_comm_agree(c, needs_grow(&all, err), err);
    if (!code) code = thaw_shuffle_new(&shuffle, c, SHUFFLE_BYTES, take_needs, &all, err);
    while (!code && !done) {
        for (; i < s->slots && !thaw_shuffle_full(shuffle); i++) {
            if (s->at[i].row < 0) continue;
            const uint64_t hash = (uint64_t)s->at[i].row * 0x9e3779b97f4a7c15u >> 32;
            thaw_shuffle_put(shuffle, c->node_first[c->node_number] + (int)(hash % (uint64_t)c->node_size),
                             &s->at[i], sizeof s->at[i]);
        }
        code = thaw_shuffle_round(shuffle, i == s->slots, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&shuffle);
    free(s->at);
    *s = all;
    return code;
}

// Collective.
static int sample(const struct thaw_half *h, const struct thaw_csr *m, int64_t least, uint64_t every,
                  int64_t pulled[CLASSES], struct thaw_err *err) {
    const int node = h->c->node_number;
    const int64_t begin = h->other->rank_row[h->c->node_first[node]],
                  end = h->other->rank_row[h->c->node_first[node + 1]];
    struct needs s = {0};
    int code = needs_grow(&s, err);
    for (int64_t i = 0; !code && i < m->nrows; i++) {
        const int class = class_of(m->ptr[i + 1] - m->ptr[i], least);
        for (int64_t j = m->ptr[i]; !code && j < m->ptr[i + 1]; j++) {
            const int64_t row = m->index[j];
            if ((row >= begin && row < end) || ((uint64_t)row * 0xd6e8feb86659fd93u >> 32) % every) continue;
            code = needs_add(&s, (struct need){row, class}, err);
        }
    }
    code = thaw_comm_agree(h->c, code, err);
    if (!code && h->c->nnodes < h->c->size) code = unite(h->c, &s, err);
    for (size_t i = 0; !code && i < s.slots; i++)
        if (s.at[i].row >= 0) pulled[s.at[i].class]++;
    free(s.at);
    return code;
}

// The length from which pushing moves the fewest bytes; INT64_MAX: never.
static int cheapest(struct thaw_half *h, const struct thaw_csr *m, int64_t least, int64_t *from,
                    struct thaw_err *err) {
    const struct thaw_als_config *f = &h->config;
    const int64_t every = thaw_plan_rows(h->other) / SAMPLE_ROWS + 1;
    int64_t count[2 * CLASSES] = {0}, *rows = count + CLASSES; // pulled pairs; rows
    const int code = sample(h, m, least, (uint64_t)every, count, err);
    if (code) return code;
    for (int64_t i = 0; i < m->nrows; i++) rows[class_of(m->ptr[i + 1] - m->ptr[i], least)]++;
    thaw_comm_sum_i64(h->c, count, 2 * CLASSES);
    const double push = (double)(h->c->size - 1) * thaw_als_long_rounds(f) *
                        (8 * (double)thaw_als_long_sums(f) + 4 * (double)thaw_als_long_vector(f));
    const double pull = (double)every * (double)h->row_bytes;
    double best = 0, pushed = 0;
    for (int c = 0; c < CLASSES; c++) best += pull * (double)count[c];
    double pulled = best;
    for (int c = CLASSES - 1; c > 0; c--) {
        pulled -= pull * (double)count[c];
        pushed += push * (double)rows[c];
        if (pulled + pushed >= best) continue;
        best = pulled + pushed;
        *from = class_length(c, least);
    }
    return THAW_OK;
}

// ---- Lending ----

// Work of this rank when rows of at least h->facts.push_from are pushed; adds theirs to where it will be.
static double own_work(const struct thaw_half *h, const struct thaw_csr *m, int64_t *pushed_to) {
    double work = 0;
    for (int64_t i = 0; i < m->nrows; i++) {
        const int64_t n = m->ptr[i + 1] - m->ptr[i];
        if (n == 0) continue;
        work += n < h->facts.push_from ? thaw_als_row_work(&h->config, n) : thaw_als_row_work(&h->config, 0);
        if (n < h->facts.push_from) continue;
        int to = 0;
        for (int64_t j = m->ptr[i]; j < m->ptr[i + 1]; j++) {
            while (m->index[j] >= h->other->rank_row[to + 1]) to++;
            pushed_to[to]++;
        }
    }
    return work;
}

struct candidate {
    int64_t row;
    double work;
};

static int by_work(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->work != y->work) return x->work > y->work ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int by_rank_row(const void *a, const void *b) {
    const struct thaw_lent *x = a, *y = b;
    if (x->to != y->to) return x->to < y->to ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

// Rows worth about `amount` to rank `to`, longest first.
static int lend(struct thaw_half *h, struct candidate *c, size_t n, double amount, double slack, int to,
                size_t *cap, double *given, struct thaw_err *err) {
    int code = THAW_OK;
    for (size_t i = 0; !code && i < n && amount > slack; i++) {
        if (c[i].work == 0 || c[i].work > amount + slack) continue;
        code = thaw_grow(&h->lent, cap, (size_t)h->nlent + 1, sizeof *h->lent, "rows to lend", err);
        if (code) break;
        h->lent[h->nlent++] = (struct thaw_lent){c[i].row, to};
        amount -= c[i].work;
        *given += c[i].work;
        c[i].work = 0;
    }
    return code;
}

// Lay the surpluses of all ranks end to end, and the deficits beside them: who stands opposite gets the rows.
static int lend_surplus(struct thaw_half *h, const struct thaw_csr *m, const double *load, double mean,
                        double *change, struct thaw_err *err) {
    const int size = h->c->size, rank = h->c->rank;
    const double slack = SLACK * mean;
    double begin = 0, at = 0;
    struct candidate *c = NULL;
    size_t n = 0, cap = 0;
    if (!(load[rank] > mean + slack)) return THAW_OK;
    for (int r = 0; r < rank; r++)
        if (load[r] > mean + slack) begin += load[r] - mean;
    const double end = begin + load[rank] - mean;
    int code = thaw_alloc(&c, (size_t)m->nrows, sizeof *c, "rows to lend", err);
    if (code) return code;
    for (int64_t i = 0; i < m->nrows; i++) {
        const int64_t nnz = m->ptr[i + 1] - m->ptr[i];
        if (nnz > 0 && nnz < h->facts.push_from)
            c[n++] = (struct candidate){i, thaw_als_row_work(&h->config, nnz)};
    }
    qsort(c, n, sizeof *c, by_work);
    for (int r = 0; !code && r < size && at < end; r++) {
        if (!(load[r] < mean)) continue;
        const double from = at > begin ? at : begin,
                     to = at + mean - load[r] < end ? at + mean - load[r] : end;
        at += mean - load[r];
        double given = 0;
        if (to > from) code = lend(h, c, n, to - from, slack, r, &cap, &given, err);
        change[r] += given;
        change[rank] -= given;
    }
    if (h->nlent) qsort(h->lent, (size_t)h->nlent, sizeof *h->lent, by_rank_row);
    free(c);
    return code;
}

// ---- Both ----

static double sum_f64(struct thaw_comm *c, double x) {
    MPI_Allreduce(MPI_IN_PLACE, &x, 1, MPI_DOUBLE, MPI_SUM, c->all);
    return x;
}

static int balance(struct thaw_half *h, const struct thaw_csr *m, bool lending, struct thaw_err *err) {
    const int size = h->c->size, rank = h->c->rank;
    int64_t *pushed = NULL;
    double *load = NULL, *change = NULL;
    int code = thaw_alloc(&pushed, (size_t)size, sizeof *pushed, "the ranks' work", err);
    if (!code) code = thaw_alloc(&load, 2 * (size_t)size, sizeof *load, "the ranks' work", err);
    if ((code = thaw_comm_agree(h->c, code, err))) goto done;
    change = load + size;
    const double own = own_work(h, m, pushed);
    thaw_comm_sum_i64(h->c, pushed, size);
    const double mine = own + (double)pushed[rank];
    MPI_Allgather(&mine, 1, MPI_DOUBLE, load, 1, MPI_DOUBLE, h->c->all);
    double mean = 0;
    for (int r = 0; r < size; r++) mean += load[r] / size;
    if (lending) code = lend_surplus(h, m, load, mean, change, err);
    MPI_Allreduce(MPI_IN_PLACE, change, size, MPI_DOUBLE, MPI_SUM, h->c->all);
    h->facts.work_mean = mean;
    h->facts.work = mine + change[rank];
    for (int r = 0; r < size; r++)
        if (load[r] + change[r] > h->facts.work_max) h->facts.work_max = load[r] + change[r];
    code = thaw_comm_agree(h->c, code, err);
done:
    free(pushed);
    free(load);
    return code;
}

int thaw_half_share(struct thaw_half *h, const struct thaw_csr *m, const struct thaw_half_options *o,
                    struct thaw_err *err) {
    const int64_t least = thaw_long_least(h->other);
    int64_t from = INT64_MAX;
    double work = 0;
    int code = THAW_OK;
    for (int64_t i = 0; i < m->nrows; i++)
        if (m->ptr[i + 1] > m->ptr[i]) work += thaw_als_row_work(&h->config, m->ptr[i + 1] - m->ptr[i]);
    work = sum_f64(h->c, work);
    if (!o->alone && o->exchange == THAW_EXCHANGE_HYBRID && h->c->nnodes > 1)
        code = cheapest(h, m, least, &from, err);
    if (code) return code;
    if (!o->alone && o->exchange == THAW_EXCHANGE_HYBRID && h->c->size > 1) {
        const double share = work / (double)h->c->size / SHARE_PARTS;
        if (share < (double)from) from = share > (double)least ? (int64_t)share : least;
    }
    const int64_t slots = o->exchange_bytes / 4 / (int64_t)h->row_bytes; // of a chunk
    if (!o->alone && o->exchange == THAW_EXCHANGE_HYBRID && h->c->nnodes > 1 && from > slots)
        from = slots > least ? slots : least;
    h->facts.push_from = from;
    return balance(h, m, !o->alone && h->c->size > 1, err);
}
