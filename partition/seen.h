// seen.h: a cache that remembers which hashes went by lately, so that repeats need not be sent or stored
// again. It may forget, it never remembers what was not there. No MPI; local; not thread-safe. Sets of eight
// hashes, one cache line each. It uses few sets while it holds few hashes, which keeps them near.
#ifndef THAW_PARTITION_SEEN_H
#define THAW_PARTITION_SEEN_H

#include <stdbool.h>
#include <stdint.h>

enum { THAW_SEEN_WAYS = 8, THAW_SEEN_FIRST_SETS = 512 };

struct thaw_seen {
    uint64_t *hash; // most_sets x 8, zeroed; owned by whoever made it
    uint64_t nsets; // in use: a power of two
    uint64_t most_sets;
    uint64_t n;    // hashes held
    uint32_t turn; // which way of a full set goes next
};

// hash: nsets (a power of two) x 8, zeroed; borrowed.
static inline struct thaw_seen thaw_seen_start(uint64_t *hash, uint64_t nsets) {
    uint64_t first = nsets < THAW_SEEN_FIRST_SETS ? nsets : THAW_SEEN_FIRST_SETS;
    return (struct thaw_seen){.hash = hash, .nsets = first, .most_sets = nsets};
}

// Have the set of a hash on its way to the cache before it is asked for.
static inline void thaw_seen_prefetch(const struct thaw_seen *s, uint64_t hash) {
    __builtin_prefetch(s->hash + (hash & (s->nsets - 1)) * THAW_SEEN_WAYS, 1);
}

// Twice as many sets: each set is dealt out by the next bit of its hashes.
static inline void thaw_seen_widen(struct thaw_seen *s) {
    for (uint64_t i = 0; i < s->nsets; i++) {
        uint64_t *low = s->hash + i * THAW_SEEN_WAYS, *high = low + s->nsets * THAW_SEEN_WAYS;
        int nlow = 0, nhigh = 0;
        for (int w = 0; w < THAW_SEEN_WAYS; w++) {
            uint64_t hash = low[w];
            low[w] = 0;
            if (hash & s->nsets)
                high[nhigh++] = hash;
            else
                low[nlow++] = hash; // nlow <= w
        }
    }
    s->nsets *= 2;
}

// Was this hash seen lately? Remembers it. (Hash 0 is never remembered.) One cache miss at most.
static inline bool thaw_seen_before(struct thaw_seen *s, uint64_t hash) {
    uint64_t *set = s->hash + (hash & (s->nsets - 1)) * THAW_SEEN_WAYS;
    for (int i = 0; i < THAW_SEEN_WAYS; i++)
        if (set[i] == hash) return hash != 0;
    for (int i = 0; i < THAW_SEEN_WAYS; i++)
        if (set[i] == 0) {
            set[i] = hash;
            if (++s->n * 2 > s->nsets * THAW_SEEN_WAYS && s->nsets < s->most_sets) thaw_seen_widen(s);
            return false;
        }
    set[s->turn++ % THAW_SEEN_WAYS] = hash;
    return false;
}

#endif
