// idset.h: the ids of one part: packed records of (hash, id), deduplicated, and put in row order. No MPI;
// local; not thread-safe.
//
// A record is 8 bytes of hash, 8 bytes of count (little use but to carry a degree), 1 byte of length, then
// the id.
#ifndef THAW_PARTITION_IDSET_H
#define THAW_PARTITION_IDSET_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { THAW_ID_RECORD = 17, THAW_ID_RECORD_MAX = THAW_ID_RECORD + 255 };

// Pack a record into out (THAW_ID_RECORD_MAX bytes); nid in 1..255. Returns its length.
size_t thaw_id_pack(uint8_t *out, uint64_t hash, int64_t count, const void *id, size_t nid);

struct thaw_id {
    uint64_t hash;
    int64_t count;  // of the record; afterwards the caller's: the degree
    const char *id; // into the bytes
    uint8_t n;
};
// Read the record at `at`; returns the offset of the next one.
int64_t thaw_id_unpack(const uint8_t *bytes, int64_t at, struct thaw_id *id);

struct thaw_idset {
    uint8_t *bytes; // nbytes of records, owned
    int64_t nbytes;
    struct thaw_id *id; // n distinct ones; after thaw_idset_load in the order of first sight
    int64_t n;
    size_t bytes_cap, id_cap;
};
// Room for nbytes of records, at set->bytes, for the caller to fill. *set starts zeroed. THAW_EMEM.
int thaw_idset_room(struct thaw_idset *set, int64_t nbytes, struct thaw_err *err);
// Find the distinct ids among the records; counts of repeats are added up. THAW_EMEM; THAW_EDATA: two ids
// have one hash (names both).
struct thaw_tally;
int thaw_idset_load(struct thaw_idset *set, struct thaw_tally *scratch, struct thaw_err *err);
// List the records as they stand; they are known to be distinct. THAW_EMEM.
int thaw_idset_list(struct thaw_idset *set, struct thaw_err *err);
// Put the ids in row order: by falling count, then by bytes.
void thaw_idset_sort(struct thaw_idset *set);
void thaw_idset_clear(struct thaw_idset *set);

#endif
