// tally.h: a map from 64-bit hashes to 64-bit numbers: degrees while counting, row numbers later. No MPI;
// local; not thread-safe. Open addressing by the low bits of the hash; 16 bytes a slot, at most 3 of 4 slots
// used.
#ifndef THAW_PARTITION_TALLY_H
#define THAW_PARTITION_TALLY_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct thaw_tally_slot {
    uint64_t key;
    int64_t value; // THAW_TALLY_FREE: nothing here
};
#define THAW_TALLY_FREE INT64_MIN

struct thaw_tally {
    struct thaw_tally_slot *slot; // cap allocated, nslots (a power of two) in use
    int64_t cap, nslots;
    int64_t n; // keys
};

// Bytes a tally of n keys takes.
int64_t thaw_tally_nbytes(int64_t n);
// Forget all keys and make room for n; memory is kept from one use to the next when it is enough. *t starts
// zeroed. THAW_EMEM.
int thaw_tally_reset(struct thaw_tally *t, int64_t n, struct thaw_err *err);
// Make room for n keys, keeping those there are. THAW_EMEM.
int thaw_tally_reserve(struct thaw_tally *t, int64_t n, struct thaw_err *err);
void thaw_tally_clear(struct thaw_tally *t);

// The value of a key, added with `initial` when it is new (at most as many as reset made room for).
int64_t *thaw_tally_at(struct thaw_tally *t, uint64_t key, int64_t initial);
// Have a key's slot on its way to the cache: worth it some THAW_TALLY_AHEAD keys before it is asked for.
enum { THAW_TALLY_AHEAD = 12 };
static inline void thaw_tally_prefetch(const struct thaw_tally *t, uint64_t key) {
    if (t->nslots > 0) __builtin_prefetch(&t->slot[key & ((uint64_t)t->nslots - 1)], 1);
}

// The value of a key, or NULL. (Here, because most of its callers do little else.)
static inline int64_t *thaw_tally_find(const struct thaw_tally *t, uint64_t key) {
    uint64_t mask = (uint64_t)t->nslots - 1;
    if (t->nslots == 0) return NULL;
    for (uint64_t i = key & mask;; i = (i + 1) & mask) {
        struct thaw_tally_slot *s = &t->slot[i];
        if (s->value == THAW_TALLY_FREE) return NULL;
        if (s->key == key) return &s->value;
    }
}

#endif
