// lookup_impl.h: what the lookup module's own files share. Private to src/lookup.
#ifndef THAW_LOOKUP_LOOKUP_IMPL_H
#define THAW_LOOKUP_LOOKUP_IMPL_H

#include "lookup/lookup.h"
#include "table/table.h"

struct thaw_lookup {
    struct thaw_tables *tables;
    const Thaw__Als *als;
    int k, columns;
    int64_t nitems;
};

#endif
