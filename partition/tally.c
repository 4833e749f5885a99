#include "partition/tally.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int64_t slots_for(int64_t n) {
    int64_t nslots = 16;
    while (nslots / 4 * 3 < n) nslots *= 2;
    return nslots;
}

int64_t thaw_tally_nbytes(int64_t n) {
    return slots_for(n) * (int64_t)sizeof(struct thaw_tally_slot);
}

int thaw_tally_reset(struct thaw_tally *t, int64_t n, struct thaw_err *err) {
    int64_t nslots = slots_for(n);
    if (nslots > t->cap) {
        thaw_tally_clear(t);
        int code = thaw_alloc(&t->slot, (size_t)nslots, sizeof *t->slot, "a map of ids", err);
        if (code) return code;
        t->cap = nslots;
    }
    t->nslots = nslots; // a small use of a large map stays in cache
    for (int64_t i = 0; i < t->nslots; i++) t->slot[i].value = THAW_TALLY_FREE;
    t->n = 0;
    return THAW_OK;
}

void thaw_tally_clear(struct thaw_tally *t) {
    free(t->slot);
    memset(t, 0, sizeof *t);
}

int64_t *thaw_tally_at(struct thaw_tally *t, uint64_t key, int64_t initial) {
    uint64_t mask = (uint64_t)t->nslots - 1;
    for (uint64_t i = key & mask;; i = (i + 1) & mask) {
        struct thaw_tally_slot *s = &t->slot[i];
        if (s->value == THAW_TALLY_FREE) {
            *s = (struct thaw_tally_slot){key, initial};
            t->n++;
            return &s->value;
        }
        if (s->key == key) return &s->value;
    }
}

int thaw_tally_reserve(struct thaw_tally *t, int64_t n, struct thaw_err *err) {
    struct thaw_tally larger = {0};
    if (slots_for(n) <= t->nslots) return THAW_OK;
    int code = thaw_tally_reset(&larger, n, err);
    if (code) return code;
    for (int64_t i = 0; i < t->nslots; i++)
        if (t->slot[i].value != THAW_TALLY_FREE) thaw_tally_at(&larger, t->slot[i].key, t->slot[i].value);
    thaw_tally_clear(t);
    *t = larger;
    return THAW_OK;
}
