// random_cold.h: cold-start models of any size full of random numbers, to measure and test lookups on. Local;
// one thread.
#ifndef THAW_COLD_RANDOM_COLD_H
#define THAW_COLD_RANDOM_COLD_H

#include "base/err.h"
#include "proto/thaw.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

struct thaw_random_cold {
    int32_t factors, features;
    const int32_t *known; // nknown, rising
    int nknown;
    int64_t neighbors; // per item, at most the items
    int64_t types;     // kept with P; 0: none
    int longest, noise, hidden;
    uint64_t seed, dataset_digest, model_digest;
    bool columns; // profile parts by columns, as tables have them
};
// Write the files of P (with T's), E and G for these items into dir, which exists. The messages are owned:
// each thaw__prior__free_unpacked(..., NULL) and so on; their `files` list what was written. THAW_EMEM,
// THAW_EIO.
int thaw_random_cold_write(const char *dir, const Thaw__Side *items, const struct thaw_random_cold *r,
                           Thaw__Prior **prior, Thaw__Association **association, Thaw__Generator **generator,
                           struct thaw_err *err);

// Give them to a version of tables in dir (thaw_random_tables_write): the files by column, the manifest
// written anew, and four user attributes, gender, age, occupation and zip, with the values "0", "1", ...,
// which are all the features there are. `features`, the digests and `columns` of r are not looked at.
// THAW_EMEM, THAW_EIO, THAW_EDATA.
int thaw_random_cold_add(const char *dir, const struct thaw_random_cold *r, struct thaw_err *err);

#endif
