// seen.h: a cache that remembers which hashes went by lately, so that repeats need not be sent or stored
// again. It may forget, it never remembers what was not there. No MPI; local; not thread-safe. Sets of eight
// hashes, one cache line each.
#ifndef THAW_PARTITION_SEEN_H
#define THAW_PARTITION_SEEN_H

#include <stdbool.h>
#include <stdint.h>

enum { THAW_SEEN_WAYS = 8 };

struct thaw_seen {
    uint64_t *hash; // nsets x 8, zeroed; owned by whoever made it
    uint64_t nsets; // a power of two
    uint32_t turn;  // which way of a full set goes next
};

// Have the set of a hash on its way to the cache before it is asked for.
static inline void thaw_seen_prefetch(const struct thaw_seen *s, uint64_t hash) {
    __builtin_prefetch(s->hash + (hash & (s->nsets - 1)) * THAW_SEEN_WAYS, 1);
}

// Was this hash seen lately? Remembers it. (Hash 0 is never remembered.) One cache miss at most.
static inline bool thaw_seen_before(struct thaw_seen *s, uint64_t hash) {
    uint64_t *set = s->hash + (hash & (s->nsets - 1)) * THAW_SEEN_WAYS;
    for (int i = 0; i < THAW_SEEN_WAYS; i++)
        if (set[i] == hash) return hash != 0;
    for (int i = 0; i < THAW_SEEN_WAYS; i++)
        if (set[i] == 0) {
            set[i] = hash;
            return false;
        }
    set[s->turn++ % THAW_SEEN_WAYS] = hash;
    return false;
}

#endif
