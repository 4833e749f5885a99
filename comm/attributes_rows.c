// attributes_rows.c: the rows of a part, read back and put in order.
#include "comm/attributes_state.h"

#include "base/hash.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

// The record a row was read from lies before its id.
static const struct thaw_attributes_record *record_of(const struct thaw_attributes_row *r) {
    return (const void *)(r->id - sizeof(struct thaw_attributes_record));
}

static int compare_ids(const struct thaw_attributes_row *a, const struct thaw_attributes_row *b) {
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    int order = memcmp(a->id, b->id, a->nid < b->nid ? a->nid : b->nid);
    return order ? order : (a->nid > b->nid) - (a->nid < b->nid);
}

// By id, then by the place of the line.
static int compare_rows(const void *x, const void *y) {
    const struct thaw_attributes_row *a = x, *b = y;
    int order = compare_ids(a, b);
    if (order) return order;
    const struct thaw_attributes_record *ra = record_of(a), *rb = record_of(b);
    if (ra->file != rb->file) return ra->file < rb->file ? -1 : 1;
    return (ra->offset > rb->offset) - (ra->offset < rb->offset);
}

// The largest owned part.
static void largest(const struct thaw_attributes *a, int64_t *nbytes, int64_t *nrows) {
    const struct thaw_attributes_state *s = a->state;
    *nbytes = *nrows = 0;
    for (int32_t k = 0; k < a->last_part - a->first_part; k++) {
        if (thaw_spill_nbytes(s->rows, k) > *nbytes) *nbytes = thaw_spill_nbytes(s->rows, k);
        if (s->part_rows[k] > *nrows) *nrows = s->part_rows[k];
    }
}

int64_t thaw_attributes_part_nbytes(const struct thaw_attributes *a) {
    int64_t nbytes, nrows;
    largest(a, &nbytes, &nrows);
    return 2 * nbytes + nrows * (int64_t)sizeof(struct thaw_attributes_row); // 2: the records, and as CSR
}

void thaw_attributes_part_clear(struct thaw_attributes *a) {
    struct thaw_attributes_state *s = a->state;
    free(s->bytes);
    free(s->row);
    s->bytes = NULL;
    s->row = NULL;
    s->bytes_cap = s->row_cap = 0;
}

static int load(struct thaw_attributes *a, int32_t bucket, int64_t *n, struct thaw_err *err) {
    struct thaw_attributes_state *s = a->state;
    int64_t nbytes, nrows;
    largest(a, &nbytes, &nrows); // room for any part at once: what grows would take half as much again
    int code = thaw_grow(&s->bytes, &s->bytes_cap, (size_t)nbytes, 1, "a part's attributes", err);
    if (!code)
        code = thaw_grow(&s->row, &s->row_cap, (size_t)nrows, sizeof *s->row, "a part's attributes", err);
    nbytes = thaw_spill_nbytes(s->rows, bucket);
    if (!code && nbytes > 0) code = thaw_spill_read(s->rows, bucket, 0, nbytes, s->bytes, err);
    *n = 0;
    for (int64_t at = 0; at < nbytes && !code;) {
        const struct thaw_attributes_record *r = (const void *)(s->bytes + at);
        const uint8_t *id = (const uint8_t *)(r + 1), *pair = id + thaw_attributes_padded(r->nid);
        s->row[(*n)++] = (struct thaw_attributes_row){.hash = r->hash,
                                                      .id = (const char *)id,
                                                      .nid = r->nid,
                                                      .npairs = r->npairs,
                                                      .pair = (const void *)pair};
        at = pair + r->npairs * sizeof(struct thaw_row_pair) - s->bytes;
    }
    return code;
}

int thaw_attributes_part(struct thaw_attributes *a, int32_t part, struct thaw_attributes_part *out,
                         struct thaw_err *err) {
    const struct thaw_attributes_state *s = a->state;
    int64_t n, kept = 0;
    if (part < a->first_part || part >= a->last_part)
        return thaw_fail(err, THAW_EBUG, "attributes of part %d asked of a rank that does not own it", part);
    int code = load(a, part - a->first_part, &n, err);
    if (code) return code;
    if (n > 1) qsort(s->row, (size_t)n, sizeof *s->row, compare_rows);
    for (int64_t i = 0; i < n; i++) // of equal ids the last line stays
        if (i + 1 == n || compare_ids(&s->row[i], &s->row[i + 1]) != 0) s->row[kept++] = s->row[i];
    *out = (struct thaw_attributes_part){.n = kept, .repeated = n - kept, .row = s->row};
    return THAW_OK;
}

static const struct thaw_attributes_row *find(const struct thaw_attributes_part *p, const char *id,
                                              size_t nid) {
    struct thaw_attributes_row key = {.hash = thaw_hash_id(id, nid), .id = id, .nid = (uint32_t)nid};
    int64_t low = 0, high = p->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        int order = compare_ids(&p->row[middle], &key);
        if (order == 0) return &p->row[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

int thaw_attributes_rows(struct thaw_attributes *a, int32_t part, const char *ids, int64_t nrows,
                         int32_t id_width, struct thaw_attributes_csr *out, struct thaw_err *err) {
    struct thaw_attributes_csr csr = {0};
    struct thaw_attributes_part p;
    const struct thaw_attributes_row **found = NULL;
    int code = thaw_attributes_part(a, part, &p, err);
    if (!code) code = thaw_alloc(&found, (size_t)nrows, sizeof *found, "a part's attributes", err);
    if (!code)
        code = thaw_alloc(&csr.indptr, (size_t)nrows + 1, sizeof *csr.indptr, "a part's feature rows", err);
    for (int64_t i = 0; i < nrows && !code; i++) {
        found[i] = find(&p, ids + i * id_width, strnlen(ids + i * id_width, (size_t)id_width));
        csr.indptr[i + 1] = csr.indptr[i] + (found[i] ? found[i]->npairs : 0);
        csr.matched += found[i] != NULL;
    }
    size_t n = code ? 0 : (size_t)csr.indptr[nrows];
    if (!code) code = thaw_alloc(&csr.indices, n, sizeof *csr.indices, "a part's feature rows", err);
    if (!code) code = thaw_alloc(&csr.values, n, sizeof *csr.values, "a part's feature rows", err);
    for (int64_t i = 0; i < nrows && !code; i++)
        for (uint32_t j = 0; found[i] && j < found[i]->npairs; j++) {
            csr.indices[csr.indptr[i] + j] = found[i]->pair[j].column;
            csr.values[csr.indptr[i] + j] = found[i]->pair[j].value;
        }
    free(found);
    if (code)
        thaw_attributes_csr_clear(&csr);
    else
        *out = csr;
    return code;
}

void thaw_attributes_csr_clear(struct thaw_attributes_csr *csr) {
    free(csr->indptr);
    free(csr->indices);
    free(csr->values);
    *csr = (struct thaw_attributes_csr){0};
}
