// part.h: the names of sides and of part files. Local; thread-safe.
#ifndef THAW_BASE_PART_H
#define THAW_BASE_PART_H

#include "base/side.h"

#include <stdint.h>

extern const char *const thaw_side_name[2]; // "users", "items"

// "users-00003-of-00064.npz" into buf; ext is "npz", "npy", "ids.npy", ... Returns buf.
enum { THAW_PART_FILE = 64, THAW_PARTS_MAX = 99999 };
char *thaw_part_file(char buf[THAW_PART_FILE], enum thaw_side side, int32_t part, int32_t nparts,
                     const char *ext);

#endif
