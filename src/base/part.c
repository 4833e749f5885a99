// part.c: names of part files.
#include "base/part.h"

#include <inttypes.h>
#include <stdio.h>

const char *const thaw_side_name[2] = {"users", "items"};

char *thaw_part_file(char buf[THAW_PART_FILE], enum thaw_side side, int32_t part, int32_t nparts,
                     const char *ext) {
    snprintf(buf, THAW_PART_FILE, "%s-%05" PRId32 "-of-%05" PRId32 ".%s", thaw_side_name[side], part, nparts,
             ext);
    return buf;
}
