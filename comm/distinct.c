// distinct.c: an open-addressing table over the list of rows.
#include "comm/distinct.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static size_t slot_of(const struct thaw_distinct *d, int64_t row) {
    size_t at = (size_t)((uint64_t)row * 0x9e3779b97f4a7c15u >> 20) & (d->slots - 1);
    while (d->slot[at] && d->row[d->base + d->slot[at] - 1] != row) at = (at + 1) & (d->slots - 1);
    return at;
}

int thaw_distinct_reserve(struct thaw_distinct *d, int64_t n, struct thaw_err *err) {
    const size_t need = 2 * (size_t)(d->n - d->base + n);
    int code = thaw_grow(&d->row, &d->cap, (size_t)(d->n + n), sizeof *d->row, "distinct rows", err);
    if (code || need <= d->slots) return code;
    size_t slots = d->slots ? d->slots : 1024;
    while (slots < need) slots *= 2;
    uint32_t *slot = NULL;
    if ((code = thaw_alloc(&slot, slots, sizeof *slot, "distinct rows", err))) return code;
    free(d->slot);
    d->slot = slot;
    d->slots = slots;
    for (int64_t i = d->base; i < d->n; i++) d->slot[slot_of(d, d->row[i])] = (uint32_t)(i - d->base) + 1;
    return THAW_OK;
}

int64_t thaw_distinct_add(struct thaw_distinct *d, int64_t row) {
    const size_t at = slot_of(d, row);
    if (!d->slot[at]) {
        d->row[d->n++] = row;
        d->slot[at] = (uint32_t)(d->n - d->base);
    }
    return d->base + d->slot[at] - 1;
}

int thaw_distinct_has(const struct thaw_distinct *d, int64_t row) {
    return d->slots && d->slot[slot_of(d, row)];
}

void thaw_distinct_forget(struct thaw_distinct *d) {
    d->base = d->n;
    if (d->slots) memset(d->slot, 0, d->slots * sizeof *d->slot);
}

void thaw_distinct_clear(struct thaw_distinct *d) {
    free(d->row);
    free(d->slot);
    *d = (struct thaw_distinct){0};
}
