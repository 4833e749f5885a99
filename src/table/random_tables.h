// random_tables.h: tables of any size full of random numbers, to measure and test lookups on. Local; one
// thread.
#ifndef THAW_TABLE_RANDOM_TABLES_H
#define THAW_TABLE_RANDOM_TABLES_H

#include "base/err.h"

#include <stdint.h>

struct thaw_random_tables {
    int64_t users, items;
    int factors;
    int32_t parts;
    uint64_t seed;
};
// Write a version of tables into dir, which exists: users "u0", "u1", ..., items "i0", ..., uniform factors,
// 10 seen items per user. THAW_EMEM, THAW_EIO.
int thaw_random_tables_write(const char *dir, const struct thaw_random_tables *s, struct thaw_err *err);

#endif
