// tuple.h: interactions as fixed-size records, sorted and merged. No MPI; local; thread-safe on distinct
// arrays.
//
// The same record serves every stage of `thaw prepare`: a and b are hashes of user and item ids while events
// travel, and row numbers later.
#ifndef THAW_PARTITION_TUPLE_H
#define THAW_PARTITION_TUPLE_H

#include <stdint.h>

struct __attribute__((packed, aligned(4))) thaw_tuple { // 28 bytes
    uint64_t a, b;
    int64_t time; // unix seconds, or the event's place in the input
    float value;  // finite, never -0
};

// Sort by (a, b, time, value), in place. O(n log n) whatever the input.
void thaw_tuple_sort(struct thaw_tuple *t, int64_t n);

// What becomes of several events of one pair. LAST keeps the value of the latest time, the larger one among
// equals.
enum thaw_duplicates { THAW_DUPLICATES_SUM, THAW_DUPLICATES_MAX, THAW_DUPLICATES_LAST };

// Merge sorted tuples of equal (a, b) in place; the time becomes the latest. Sums are taken in double, in
// sorted order. Returns how many are left. A sum beyond a float becomes infinite: the caller checks.
int64_t thaw_tuple_merge(struct thaw_tuple *t, int64_t n, enum thaw_duplicates rule);

#endif
