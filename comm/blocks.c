// blocks.c: cut a rank's interactions into blocks that need few enough opposite rows at a time.
#include "comm/blocks.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

// The distinct opposite rows of the open block, by order of first use.
struct distinct_row {
    int64_t row;
    uint32_t number; // order of first use
};
struct thaw_distinct {
    struct distinct_row *row; // n
    uint32_t *slot;           // a power of two: number + 1, 0 for empty
    uint32_t *place;          // number -> place in the sorted list
    size_t cap, slots, place_cap;
    int64_t n;
};

static size_t slot_of(const struct thaw_distinct *d, int64_t row) {
    size_t at = (size_t)(((uint64_t)row * 0x9e3779b97f4a7c15u) >> 20) & (d->slots - 1);
    while (d->slot[at] && d->row[d->slot[at] - 1].row != row) at = (at + 1) & (d->slots - 1);
    return at;
}

static int distinct_reserve(struct thaw_distinct *d, int64_t n, struct thaw_err *err) {
    const size_t need = 2 * ((size_t)d->n + (size_t)n);
    int code = thaw_grow(&d->row, &d->cap, (size_t)d->n + (size_t)n, sizeof *d->row, "a block's rows", err);
    if (code || need <= d->slots) return code;
    size_t slots = d->slots ? d->slots : 1024;
    while (slots < need) slots *= 2;
    free(d->slot);
    d->slot = NULL;
    d->slots = 0;
    if ((code = thaw_alloc(&d->slot, slots, sizeof *d->slot, "a block's rows", err))) return code;
    d->slots = slots;
    for (int64_t i = 0; i < d->n; i++) d->slot[slot_of(d, d->row[i].row)] = (uint32_t)i + 1;
    return THAW_OK;
}

static uint32_t distinct_add(struct thaw_distinct *d, int64_t row) {
    const size_t at = slot_of(d, row);
    if (!d->slot[at]) {
        d->row[d->n] = (struct distinct_row){row, (uint32_t)d->n};
        d->slot[at] = (uint32_t)++d->n;
    }
    return d->slot[at] - 1;
}

static int64_t distinct_count_new(const struct thaw_distinct *d, const int64_t *index, int64_t n) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) count += !d->slots || !d->slot[slot_of(d, index[i])];
    return count;
}

static void distinct_free(struct thaw_distinct **d) {
    if (!*d) return;
    free((*d)->row);
    free((*d)->slot);
    free((*d)->place);
    free(*d);
    *d = NULL;
}

int thaw_blocks_new(struct thaw_blocks **out, int64_t max_rows, struct thaw_err *err) {
    struct thaw_blocks *b = NULL;
    int code = thaw_alloc(&b, 1, sizeof *b, "interactions", err);
    if (code) return code;
    const int64_t panels = (max_rows + THAW_ALS_PANEL - 1) / THAW_ALS_PANEL;
    b->max_rows = THAW_ALS_PANEL * (panels < 1 ? 1 : panels > (1 << 22) ? (1 << 22) : panels);
    if ((code = thaw_alloc(&b->distinct, 1, sizeof *b->distinct, "a block's rows", err)) ||
        (code = thaw_grow(&b->ptr, &b->ptr_cap, 1, sizeof *b->ptr, "interactions", err))) {
        thaw_blocks_free(&b);
        return code;
    }
    b->ptr[0] = 0;
    *out = b;
    return THAW_OK;
}

int thaw_blocks_reserve(struct thaw_blocks *b, int64_t nrows, int64_t nnz, struct thaw_err *err) {
    int code = thaw_grow(&b->ptr, &b->ptr_cap, (size_t)nrows + 1, sizeof *b->ptr, "interactions", err);
    if (!code) code = thaw_grow(&b->place, &b->place_cap, (size_t)nnz, sizeof *b->place, "interactions", err);
    if (!code) code = thaw_grow(&b->value, &b->value_cap, (size_t)nnz, sizeof *b->value, "interactions", err);
    return code;
}

// Append a block with room for its list, which list_set fills; last: the greatest row of the list.
static int block_append(struct thaw_blocks *b, struct thaw_block k, int64_t last, struct thaw_err *err) {
    k.wide = last - k.base > (int64_t)UINT32_MAX;
    const int64_t words = k.wide ? 2 * k.nlist : k.nlist;
    int code =
        thaw_grow(&b->list, &b->list_cap, (size_t)(b->nlist + words), sizeof *b->list, "block lists", err);
    if (!code)
        code =
            thaw_grow(&b->block, &b->block_cap, (size_t)b->nblocks + 1, sizeof *b->block, "block lists", err);
    if (code) return code;
    const int64_t at_hand = k.nlist < b->max_rows ? k.nlist : b->max_rows;
    if (at_hand > b->most_rows) b->most_rows = at_hand;
    k.list = b->nlist;
    b->nlist += words;
    b->block[b->nblocks++] = k;
    return THAW_OK;
}

static void list_set(struct thaw_blocks *b, int64_t at, int64_t row) {
    const struct thaw_block *k = &b->block[b->nblocks - 1];
    const uint64_t offset = (uint64_t)(row - k->base);
    b->list[k->list + at] = (uint32_t)offset;
    if (k->wide) b->list[k->list + k->nlist + at] = (uint32_t)(offset >> 32);
}

static int by_row(const void *a, const void *b) {
    const int64_t x = ((const struct distinct_row *)a)->row, y = ((const struct distinct_row *)b)->row;
    return (x > y) - (x < y);
}

// Close the open block: sort its list and turn its interactions' numbers into places.
static int close_block(struct thaw_blocks *b, struct thaw_err *err) {
    struct thaw_distinct *d = b->distinct;
    const size_t n = (size_t)d->n;
    if (b->open_row == b->nrows) return THAW_OK;
    int code = thaw_grow(&d->place, &d->place_cap, n, sizeof *d->place, "a block's rows", err);
    if (code) return code;
    qsort(d->row, n, sizeof *d->row, by_row);
    const struct thaw_block k = {
        .row = b->open_row, .nrows = b->nrows - b->open_row, .base = n ? d->row[0].row : 0, .nlist = d->n};
    if ((code = block_append(b, k, n ? d->row[n - 1].row : 0, err))) return code;
    for (size_t i = 0; i < n; i++) {
        list_set(b, (int64_t)i, d->row[i].row);
        d->place[d->row[i].number] = (uint32_t)i;
    }
    for (int64_t i = b->ptr[b->open_row]; i < b->ptr[b->nrows]; i++) b->place[i] = d->place[b->place[i]];
    if (d->slots) memset(d->slot, 0, d->slots * sizeof *d->slot);
    d->n = 0;
    b->open_row = b->nrows;
    return THAW_OK;
}

static int add_long(struct thaw_blocks *b, const int64_t *index, int64_t n, struct thaw_err *err) {
    int code = close_block(b, err);
    const struct thaw_block k = {.row = b->nrows, .nrows = 1, .base = index[0], .nlist = n, .is_long = true};
    if (!code) code = block_append(b, k, index[n - 1], err);
    if (code) return code;
    for (int64_t i = 0; i < n; i++) {
        list_set(b, i, index[i]);
        b->place[b->nnz + i] = (uint32_t)(i % b->max_rows);
    }
    b->open_row = b->nrows + 1;
    return THAW_OK;
}

static int add_short(struct thaw_blocks *b, const int64_t *index, int64_t n, struct thaw_err *err) {
    struct thaw_distinct *d = b->distinct;
    int code = THAW_OK;
    if (d->n + n > b->max_rows && d->n + distinct_count_new(d, index, n) > b->max_rows)
        code = close_block(b, err);
    if (!code) code = distinct_reserve(d, n, err);
    for (int64_t i = 0; !code && i < n; i++) b->place[b->nnz + i] = distinct_add(d, index[i]);
    return code;
}

int thaw_blocks_add(struct thaw_blocks *b, const int64_t *index, const float *r, int64_t n,
                    struct thaw_err *err) {
    int code;
    if ((code = thaw_grow(&b->ptr, &b->ptr_cap, (size_t)b->nrows + 2, sizeof *b->ptr, "interactions", err)) ||
        (code = thaw_grow(&b->place, &b->place_cap, (size_t)(b->nnz + n), sizeof *b->place, "interactions",
                          err)) ||
        (code = thaw_grow(&b->value, &b->value_cap, (size_t)(b->nnz + n), sizeof *b->value, "interactions",
                          err)))
        return code;
    code = n > b->max_rows ? add_long(b, index, n, err) : add_short(b, index, n, err);
    if (code) return code;
    if (n) memcpy(b->value + b->nnz, r, (size_t)n * sizeof *r);
    const int64_t at_once = n < b->max_rows ? n : b->max_rows;
    if (at_once > b->most_of_row) b->most_of_row = at_once;
    b->nnz += n;
    b->ptr[++b->nrows] = b->nnz;
    return THAW_OK;
}

int thaw_blocks_finish(struct thaw_blocks *b, struct thaw_err *err) {
    const int code = close_block(b, err);
    distinct_free(&b->distinct);
    return code;
}

int64_t thaw_blocks_rows(const struct thaw_blocks *b) {
    return b->nrows;
}

int64_t thaw_blocks_nnz(const struct thaw_blocks *b) {
    return b->nnz;
}

int64_t thaw_blocks_nbytes(const struct thaw_blocks *b) {
    return (int64_t)(b->ptr_cap * sizeof *b->ptr + b->place_cap * sizeof *b->place +
                     b->value_cap * sizeof *b->value + b->list_cap * sizeof *b->list +
                     b->block_cap * sizeof *b->block);
}

void thaw_blocks_free(struct thaw_blocks **b) {
    if (!*b) return;
    distinct_free(&(*b)->distinct);
    free((*b)->ptr);
    free((*b)->place);
    free((*b)->value);
    free((*b)->list);
    free((*b)->block);
    free(*b);
    *b = NULL;
}
