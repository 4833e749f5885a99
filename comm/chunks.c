// chunks.c: cut the rows that are solved here into chunks, each with the opposite rows it is first to need;
// have the exchange planned; and say window rows instead of global ones from then on.
#include "comm/half_impl.h"

#include "base/mem.h"
#include "comm/distinct.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { KEEP_CHUNKS = 8, KEEP_ROWS = 1024 }; // when all rows are kept: chunks, of at least so many new rows

// The same memory as 64-bit global rows and, from the front, 32-bit numbers.
typedef uint32_t number32 __attribute__((may_alias));

struct cutter {
    struct thaw_half *h;
    struct thaw_csr *m;
    int64_t node_begin, node_end;
    int64_t limit; // new rows of a chunk
    bool stream;
    struct thaw_distinct seen;
    struct thaw_wants wants;
    size_t end_cap, row_cap, long_cap;
    int64_t batch_rows; // most long rows of a batch
};

static bool is_remote(const struct cutter *k, int64_t row) {
    return row < k->node_begin || row >= k->node_end;
}

// Opposite rows of other nodes that are needed here at all.
static int count_remote(struct cutter *k, int64_t *n, struct thaw_err *err) {
    const struct thaw_csr *m = k->m;
    int code = THAW_OK;
    for (int64_t i = 0; !code && i < m->nrows; i++) {
        code = thaw_distinct_reserve(&k->seen, m->ptr[i + 1] - m->ptr[i], err);
        for (int64_t j = m->ptr[i]; !code && j < m->ptr[i + 1]; j++)
            if (is_remote(k, m->index[j])) thaw_distinct_add(&k->seen, m->index[j]);
    }
    *n = k->seen.n;
    thaw_distinct_clear(&k->seen);
    return code;
}

// Keep all rows at hand when they fit into every rank's half of the memory.
static int choose(struct cutter *k, int64_t exchange_bytes, struct thaw_err *err) {
    const int64_t slots = exchange_bytes / 2 / (int64_t)k->h->row_bytes;
    int64_t n = 0, most;
    int code = k->h->c->nnodes > 1 ? count_remote(k, &n, err) : THAW_OK;
    if ((code = thaw_comm_agree(k->h->c, code, err))) return code;
    most = n;
    thaw_comm_max_i64(k->h->c, &most, 1);
    k->stream = most > slots;
    k->limit = k->stream ? slots / 2 : n / KEEP_CHUNKS;
    if (k->limit < 1 || (!k->stream && k->limit < KEEP_ROWS)) k->limit = k->stream ? 1 : KEEP_ROWS;
    return THAW_OK;
}

static int close_batch(struct thaw_half *h, struct thaw_err *err) {
    return h->nlong > thaw_pieces_closed(&h->pieces) ? thaw_pieces_close(&h->pieces, h->nlong, err) : THAW_OK;
}

static int close_chunk(struct cutter *k, int64_t row, struct thaw_err *err) {
    struct thaw_half *h = k->h;
    const size_t n = (size_t)h->nchunks;
    int code = close_batch(h, err);
    if (!code) code = thaw_grow(&h->chunk_row, &k->row_cap, n + 2, sizeof *h->chunk_row, "chunks", err);
    if (!code)
        code = thaw_grow(&k->wants.chunk_end, &k->end_cap, n + 1, sizeof *k->wants.chunk_end, "chunks", err);
    if (code) return code;
    h->chunk_row[n + 1] = row;
    k->wants.chunk_end[n] = k->seen.n;
    h->nchunks++;
    if (k->stream) thaw_distinct_forget(&k->seen);
    return THAW_OK;
}

static int64_t count_new(const struct cutter *k, int64_t at, int64_t n) {
    int64_t count = 0;
    for (int64_t j = at; j < at + n; j++)
        count += is_remote(k, k->m->index[j]) && !thaw_distinct_has(&k->seen, k->m->index[j]);
    return count;
}

// A long row and its pieces, while its opposite rows are known.
static int note_long(struct cutter *k, int64_t row, int64_t at, int64_t n, struct thaw_err *err) {
    struct thaw_half *h = k->h;
    const int64_t *first_row = h->other->first_row, *index = k->m->index;
    double abs = 0;
    int32_t part = 0;
    int code = THAW_OK;
    if (h->nlong - thaw_pieces_closed(&h->pieces) == k->batch_rows) code = close_batch(h, err);
    if (!code)
        code = thaw_grow(&h->long_row, &k->long_cap, (size_t)h->nlong + 1, sizeof *h->long_row, "long rows",
                         err);
    for (int64_t j = at, end; !code && j < at + n; j = end) {
        while (index[j] >= first_row[part + 1]) part++;
        for (end = j; end < at + n && index[end] < first_row[part + 1]; end++) abs += fabs(k->m->value[end]);
        const struct thaw_piece piece = {j, (uint32_t)h->nlong, (uint32_t)(end - j), part};
        code = thaw_pieces_add(&h->pieces, piece, err);
    }
    if (!code) h->long_row[h->nlong++] = (struct thaw_long_row){row, n, abs};
    return code;
}

static int number_row(struct cutter *k, int64_t row, int64_t at, int64_t n, struct thaw_err *err) {
    struct thaw_half *h = k->h;
    const int64_t chunk_first = h->nchunks ? k->wants.chunk_end[h->nchunks - 1] : 0;
    const int64_t now = k->seen.n - chunk_first;
    int code = THAW_OK;
    if (now > 0 &&
        (now >= k->limit || (k->stream && now + n > k->limit && now + count_new(k, at, n) > k->limit)))
        code = close_chunk(k, row, err);
    if (!code && n >= thaw_long_least(h->other)) code = note_long(k, row, at, n, err);
    if (!code) code = thaw_distinct_reserve(&k->seen, n, err);
    number32 *number = (number32 *)k->m->index;
    for (int64_t j = at; !code && j < at + n; j++) {
        const int64_t index = k->m->index[j];
        int64_t place = index - k->node_begin;
        if (is_remote(k, index)) place = k->node_end - k->node_begin + thaw_distinct_add(&k->seen, index);
        if (place > (int64_t)UINT32_MAX)
            code = thaw_fail(err, THAW_EUSAGE, "a rank needs more than 2^32 rows: run on more ranks");
        number[j] = (uint32_t)place;
    }
    return code;
}

static int cut(struct cutter *k, struct thaw_err *err) {
    struct thaw_csr *m = k->m;
    int code = thaw_grow(&k->h->chunk_row, &k->row_cap, 1, sizeof *k->h->chunk_row, "chunks", err);
    if (!code) k->h->chunk_row[0] = 0;
    for (int64_t i = 0; !code && i < m->nrows; i++)
        code = number_row(k, i, m->ptr[i], m->ptr[i + 1] - m->ptr[i], err);
    if (!code) code = close_chunk(k, m->nrows, err);
    k->wants.row = k->seen.row;
    k->wants.n = k->seen.n;
    k->wants.nchunks = k->h->nchunks;
    k->wants.stream = k->stream;
    return code;
}

// m's arrays become the half's, cut to size.
static int take_over(struct thaw_half *h, struct thaw_csr *m, struct thaw_err *err) {
    const size_t n = (size_t)m->ptr[m->nrows];
    h->ptr = m->ptr;
    h->value = m->value;
    h->place = realloc(m->index, (n + THAW_ALS_AHEAD) * sizeof *h->place);
    m->ptr = NULL;
    m->value = NULL;
    if (!h->place) return thaw_fail(err, THAW_EMEM, "no memory for interactions");
    m->index = NULL;
    memset(h->place + n, 0, THAW_ALS_AHEAD * sizeof *h->place);
    float *value = realloc(h->value, (n + 1) * sizeof *value);
    if (value) h->value = value;
    return THAW_OK;
}

int thaw_half_chunks(struct thaw_half *h, struct thaw_csr *m, const struct thaw_half_options *o,
                     struct thaw_err *err) {
    const struct thaw_comm *c = h->c;
    struct cutter k = {.h = h,
                       .m = m,
                       .batch_rows =
                           thaw_long_batch_rows(&h->config, omp_get_max_threads(), o->exchange_bytes),
                       .node_begin = h->other->rank_row[c->node_first[c->node_number]],
                       .node_end = h->other->rank_row[c->node_first[c->node_number + 1]]};
    const int64_t node_rows = k.node_end - k.node_begin;
    uint32_t *place = NULL;
    int code = choose(&k, o->exchange_bytes, err);
    if (code) goto done;
    code = cut(&k, err);
    if (!code) code = thaw_alloc(&place, (size_t)k.wants.n, sizeof *place, "places of rows", err);
    if ((code = thaw_comm_agree(h->c, code, err))) goto done;
    h->facts.stream = k.stream;
    code = thaw_exchange_new(&h->exchange, h->c, h->other, h->row_bytes, &k.wants, o->exchange,
                             o->exchange_bytes, place, err);
    if (code) goto done;
    number32 *number = (number32 *)m->index;
    for (int64_t j = 0; j < m->ptr[m->nrows]; j++)
        if (number[j] >= node_rows) number[j] = place[number[j] - node_rows];
    code = thaw_comm_agree(h->c, take_over(h, m, err), err);
done:
    thaw_distinct_clear(&k.seen);
    free(k.wants.chunk_end);
    free(place);
    return code;
}
