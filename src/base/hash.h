// hash.h: the hash functions the file formats depend on (all XXH3, seed 0, canonical on every machine).
// Local; thread-safe.
#ifndef THAW_BASE_HASH_H
#define THAW_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

// 64-bit hash of an id's bytes: XXH3_64bits.
uint64_t thaw_hash_id(const void *id, size_t nbytes);

// The part of V parts that owns an id: the hash's high 32 bits, scaled to [0, V) by a multiply and a shift.
static inline int32_t thaw_hash_part(uint64_t hash, int32_t nparts) {
    return (int32_t)(((hash >> 32) * (uint64_t)nparts) >> 32);
}

// Where an id starts probing in an index of nslots (a power of two): the hash's low bits.
static inline uint64_t thaw_hash_slot(uint64_t hash, uint64_t nslots) {
    return hash & (nslots - 1);
}

// Running XXH3_64bits over a stream.
struct thaw_digest;
struct thaw_digest *thaw_digest_new(void); // NULL when out of memory
void thaw_digest_reset(struct thaw_digest *d);
void thaw_digest_add(struct thaw_digest *d, const void *bytes, size_t n);
uint64_t thaw_digest_value(const struct thaw_digest *d);
void thaw_digest_free(struct thaw_digest **d);

#endif
