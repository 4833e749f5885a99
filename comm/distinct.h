// distinct.h: numbers for distinct rows, in order of first use. Private to comm/; local; not thread-safe.
#ifndef THAW_COMM_DISTINCT_H
#define THAW_COMM_DISTINCT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct thaw_distinct {
    int64_t *row; // n
    int64_t n;
    size_t cap;
    uint32_t *slot; // a power of two: number + 1, counted from `base`; 0 for empty
    size_t slots;
    int64_t base; // numbers below it are forgotten
};

int thaw_distinct_reserve(struct thaw_distinct *d, int64_t n, struct thaw_err *err); // room for n more
int64_t thaw_distinct_add(struct thaw_distinct *d, int64_t row);                     // its number
int thaw_distinct_has(const struct thaw_distinct *d, int64_t row);
void thaw_distinct_forget(struct thaw_distinct *d); // rows come again with new numbers
void thaw_distinct_clear(struct thaw_distinct *d);

#endif
