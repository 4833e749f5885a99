// scratch_put.h: small files in the tests' temporary folder.
#ifndef THAW_TESTS_UNIT_SCRATCH_PUT_H
#define THAW_TESTS_UNIT_SCRATCH_PUT_H

#include "scratch.h"

#include <string.h>

// Write a file and return its path. Aborts on failure: a full disk is no finding about the code.
static inline const char *scratch_put(const char *name, const void *bytes, size_t n) {
    const char *path = scratch_path(name);
    FILE *f = fopen(path, "wb");
    if (f == NULL || (n > 0 && fwrite(bytes, 1, n, f) != n) || fclose(f) != 0) abort();
    return path;
}

static inline const char *scratch_text(const char *name, const char *text) {
    return scratch_put(name, text, strlen(text));
}

#endif
