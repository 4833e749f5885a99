// scratch.h: a temporary folder for the tests of one program, made and removed as a group's setup and
// teardown.
#ifndef THAW_TESTS_UNIT_SCRATCH_H
#define THAW_TESTS_UNIT_SCRATCH_H

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char scratch[THAW_PATH_MAX];

static inline int scratch_make(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/thaw-test-XXXXXX", tmp != NULL && *tmp != '\0' ? tmp : "/tmp");
    return mkdtemp(scratch) != NULL ? 0 : -1;
}

static inline int scratch_remove(void **state) {
    (void)state;
    return thaw_dir_remove(scratch, NULL);
}

// The path of `name` in the folder; valid for the next seven calls.
static inline const char *scratch_path(const char *name) {
    static char paths[8][THAW_PATH_MAX + 256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

// A file in memory with these bytes, until the next call; its path. For tests that try thousands of damaged
// files.
static inline const char *scratch_image(const void *bytes, size_t n) {
    static int fd = -1;
    static char path[32];
    if (fd < 0) fd = memfd_create("image", MFD_CLOEXEC);
    if (ftruncate(fd, 0) != 0 || pwrite(fd, bytes, n, 0) != (ssize_t)n) return "";
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

#endif
