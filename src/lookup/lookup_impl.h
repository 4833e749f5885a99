// lookup_impl.h: what the lookup module's own files share. Private to src/lookup.
#ifndef THAW_LOOKUP_LOOKUP_IMPL_H
#define THAW_LOOKUP_LOOKUP_IMPL_H

#include "cold/cold.h"
#include "features/encoder.h"
#include "lookup/lookup.h"
#include "table/table.h"

#include <pthread.h>

// The cold-start models, opened at the first need by whoever comes first.
struct lookup_models {
    pthread_mutex_t lock;
    bool opened;
    struct thaw_cold *cold;
    struct thaw_cold_source source;
};

struct thaw_lookup {
    struct thaw_tables *tables;
    const Thaw__Als *als;
    int k, columns;
    int64_t nitems;
    struct lookup_models *models;
    struct thaw_encoder *encoder; // of the users' attributes
};

// The models; the same failure for everyone who asks.
int lookup_cold(const struct thaw_lookup *l, struct thaw_cold **c, struct thaw_err *err);
int lookup_models_new(struct lookup_models **m, struct thaw_err *err);
void lookup_models_free(struct lookup_models **m);

// A profile as the models want it: columns and values, and which field each column is of.
struct thaw_lookup_profile {
    const struct thaw_lookup *l;
    struct thaw_row *row; // of each field
    uint32_t *column;
    float *value;
    int *field;
    int64_t n;
    size_t column_cap, value_cap, field_cap;
};

#endif
