// half.c: see half.h.
#include "comm/half_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int thaw_csr_new(struct thaw_csr *m, int64_t nrows, int64_t nnz, struct thaw_err *err) {
    *m = (struct thaw_csr){0};
    int code = thaw_grow(&m->ptr, &m->ptr_cap, (size_t)nrows + 1, sizeof *m->ptr, "interactions", err);
    if (!code) code = thaw_grow(&m->index, &m->index_cap, (size_t)nnz, sizeof *m->index, "interactions", err);
    if (!code) code = thaw_grow(&m->value, &m->value_cap, (size_t)nnz, sizeof *m->value, "interactions", err);
    if (!code) m->ptr[0] = 0;
    return code;
}

int thaw_csr_extend(struct thaw_csr *m, const int64_t *index, const float *r, int64_t n,
                    struct thaw_err *err) {
    const int64_t at = m->ptr[m->nrows];
    const size_t need = (size_t)(at + n);
    int code = thaw_grow(&m->index, &m->index_cap, need, sizeof *m->index, "interactions", err);
    if (!code) code = thaw_grow(&m->value, &m->value_cap, need, sizeof *m->value, "interactions", err);
    if (code || n == 0) return code;
    memcpy(m->index + at, index, (size_t)n * sizeof *index);
    memcpy(m->value + at, r, (size_t)n * sizeof *r);
    m->ptr[m->nrows] = at + n;
    return THAW_OK;
}

int thaw_csr_add(struct thaw_csr *m, const int64_t *index, const float *r, int64_t n, struct thaw_err *err) {
    int code = thaw_grow(&m->ptr, &m->ptr_cap, (size_t)m->nrows + 2, sizeof *m->ptr, "interactions", err);
    if (code) return code;
    m->ptr[m->nrows + 1] = m->ptr[m->nrows];
    m->nrows++;
    if ((code = thaw_csr_extend(m, index, r, n, err))) m->nrows--;
    return code;
}

void thaw_csr_clear(struct thaw_csr *m) {
    free(m->ptr);
    free(m->index);
    free(m->value);
    *m = (struct thaw_csr){0};
}

int64_t thaw_long_least(const struct thaw_plan *other) {
    static int64_t least;
    if (least == 0) {
        const char *text = getenv("THAW_LONG_ROWS");
        const long long v = text ? atoll(text) : 0;
        least = v > 0 ? v : THAW_LONG_LEAST;
    }
    const int64_t n = (int64_t)THAW_LONG_PIECE * other->nparts;
    return n > least ? n : least;
}

int64_t thaw_long_batch_rows(const struct thaw_als_config *f, int threads, int64_t exchange_bytes) {
    const int64_t most = exchange_bytes / 4 < THAW_LONG_BYTES ? exchange_bytes / 4 : THAW_LONG_BYTES,
                  fit = most / (int64_t)thaw_als_long_nbytes(f), busy = 2 * (int64_t)threads;
    return fit > busy ? fit : busy;
}

static int64_t nbytes(const struct thaw_half *h) {
    const struct thaw_pushed *p = &h->pushed;
    int64_t n = 8 * (h->rows + 1) + 8 * h->ptr[h->rows] + 8 * (h->nchunks + 1);
    const int64_t pushed = p->first ? p->first[h->c->rank + 1] - p->first[h->c->rank] : 0;
    n += (int64_t)sizeof *h->long_row * (h->nlong + pushed) + (int64_t)sizeof *h->lent * h->nlent;
    return n + thaw_pieces_nbytes(&h->pieces) + thaw_pieces_nbytes(&p->pieces) + 8 * p->nnz;
}

// Pushed rows whose vectors and sums fit into a quarter of the exchange's memory, and into one MPI call.
static int64_t pushed_batch_rows(const struct thaw_als_config *f, int64_t exchange_bytes) {
    const int64_t sums = (int64_t)thaw_als_long_sums(f), vector = (int64_t)thaw_als_long_vector(f);
    const int64_t fit = exchange_bytes / 4 / (16 * sums + 4 * vector), call = thaw_comm_count_max() / sums;
    const int64_t n = fit < call ? fit : call;
    return n > 1 ? n : 1;
}

static void gather_facts(struct thaw_half *h) {
    struct thaw_half_facts *f = &h->facts;
    int64_t sum[2] = {h->pushed.nnz, h->nlent};
    thaw_comm_sum_i64(h->c, sum, 2);
    f->pushed_rows = h->pushed.n;
    f->pushed_nnz = sum[0];
    f->lent_rows = sum[1];
    f->exchange_rows = thaw_exchange_rows_moved(h->exchange);
    f->window_bytes = thaw_exchange_window_rows(h->exchange) * (int64_t)h->row_bytes;
    f->rounds = thaw_exchange_rounds(h->exchange);
    f->allgather = thaw_exchange_gathers_all(h->exchange) && h->c->nnodes > 1;
    f->nbytes = nbytes(h);
    f->exchange_bytes = thaw_exchange_nbytes(h->exchange);
}

int thaw_half_new(struct thaw_half **out, struct thaw_comm *c, const struct thaw_als_config *config,
                  struct thaw_csr *m, const struct thaw_plan *other, const struct thaw_half_options *o,
                  struct thaw_err *err) {
    struct thaw_half *h = NULL;
    int code = thaw_comm_agree(c, thaw_alloc(&h, 1, sizeof *h, "interactions", err), err);
    if (code) goto done;
    h->c = c;
    h->config = *config;
    h->other = other;
    h->row_bytes = thaw_als_row_bytes(config);
    h->own_rows = h->rows = m->nrows;
    h->pieces.by_part = h->pushed.pieces.by_part = config->solver == THAW_ALS_CG;
    h->pushed.batch_rows = pushed_batch_rows(config, o->exchange_bytes);
    code = thaw_half_share(h, m, o, err);
    if (!code) code = thaw_half_route(h, m, err);
    if (!code) code = thaw_half_chunks(h, m, o, err);
    if (!code) gather_facts(h);
done:
    thaw_csr_clear(m);
    if (code) thaw_half_free(&h);
    if (!code) *out = h;
    return code;
}

void thaw_half_make_stoppable(struct thaw_half *h) {
    h->stoppable = true;
}

const struct thaw_half_facts *thaw_half_facts(const struct thaw_half *h) {
    return &h->facts;
}

void thaw_half_free(struct thaw_half **out) {
    struct thaw_half *h = *out;
    if (!h) return;
    void *own[] = {h->ptr,    h->place,     h->value,        h->chunk_row,  h->long_row,     h->lent,
                   h->guests, h->guest_row, h->pushed.first, h->pushed.own, h->pushed.index, h->pushed.value};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) free(own[i]);
    thaw_pieces_clear(&h->pieces);
    thaw_pieces_clear(&h->pushed.pieces);
    thaw_exchange_free(&h->exchange);
    free(h);
    *out = NULL;
}
