// map.c: reading whole files: mappings, their checks, digests.
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// O_NONBLOCK: opening a pipe nobody writes to must not wait.
static int open_regular(const char *path, int *fd, int64_t *nbytes, struct thaw_err *err) {
    struct stat st;
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "cannot open %s", path);
    int code = THAW_OK;
    if (fstat(*fd, &st) != 0)
        code = thaw_fail_errno(err, THAW_ENOINPUT, "cannot open %s", path);
    else if (!S_ISREG(st.st_mode))
        code = thaw_fail(err, THAW_EDATA, "%s: %s, expected a regular file", path,
                         S_ISDIR(st.st_mode) ? "is a folder" : "is a special file");
    if (code != THAW_OK)
        close(*fd);
    else
        *nbytes = st.st_size;
    return code;
}

int thaw_map_open(struct thaw_map *map, const char *path, struct thaw_err *err) {
    int fd;
    int64_t nbytes = 0;
    int code = open_regular(path, &fd, &nbytes, err);
    if (code != THAW_OK) return code;
    const void *base = "";
    if (nbytes > 0) base = mmap(NULL, (size_t)nbytes, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) code = thaw_fail_errno(err, THAW_ENOINPUT, "cannot map %s", path);
    close(fd);
    if (code == THAW_OK) *map = (struct thaw_map){.base = base, .nbytes = nbytes};
    return code;
}

void thaw_map_close(struct thaw_map *map) {
    if (map->nbytes > 0) munmap((void *)(uintptr_t)map->base, (size_t)map->nbytes);
    *map = (struct thaw_map){0};
}

static int64_t chunks(int64_t nbytes) {
    return nbytes / THAW_SUM_CHUNK + (nbytes % THAW_SUM_CHUNK != 0);
}

int thaw_map_check(const struct thaw_map *map, const char *path, const struct thaw_file_info *expect,
                   struct thaw_err *err) {
    if (map->nbytes != expect->nbytes)
        return thaw_fail(err, THAW_EDATA, "%s: has %" PRId64 " bytes, its manifest says %" PRId64, path,
                         map->nbytes, expect->nbytes);
    if (expect->nsums != chunks(map->nbytes))
        return thaw_fail(err, THAW_EDATA, "%s: its manifest has %" PRId32 " checksums for %" PRId64 " bytes",
                         path, expect->nsums, map->nbytes);
    for (int32_t i = 0; i < expect->nsums; i++) {
        int64_t at = (int64_t)i * THAW_SUM_CHUNK, left = map->nbytes - at;
        size_t n = (size_t)(left < THAW_SUM_CHUNK ? left : THAW_SUM_CHUNK);
        if (thaw_hash_id(map->base + at, n) != expect->sums[i])
            return thaw_fail(err, THAW_EDATA, "%s: checksum mismatch at byte %" PRId64, path, at);
    }
    return THAW_OK;
}

// Fill the buffer as far as the file goes; -1 with errno set.
static ssize_t read_full(int fd, uint8_t *buffer, size_t n) {
    size_t got = 0;
    while (got < n) {
        ssize_t done = read(fd, buffer + got, n - got);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        if (done == 0) break;
        got += (size_t)done;
    }
    return (ssize_t)got;
}

static int sum_file(int fd, const char *path, uint8_t *buffer, struct thaw_digest *total, int64_t *nbytes,
                    struct thaw_err *err) {
    *nbytes = 0;
    for (;;) {
        ssize_t n = read_full(fd, buffer, THAW_SUM_CHUNK);
        if (n < 0) return thaw_fail_errno(err, THAW_EDATA, "cannot read %s at byte %" PRId64, path, *nbytes);
        if (n == 0) return THAW_OK;
        uint64_t sum = thaw_hash_id(buffer, (size_t)n);
        thaw_digest_add(total, &sum, sizeof sum);
        *nbytes += n;
    }
}

int thaw_file_digest(const char *path, uint64_t *digest, int64_t *nbytes, struct thaw_err *err) {
    int fd;
    int64_t size = 0, total = 0;
    uint8_t *buffer = NULL;
    struct thaw_digest *sums = NULL;
    int code = open_regular(path, &fd, &size, err);
    if (code != THAW_OK) return code;
    code = thaw_alloc(&buffer, THAW_SUM_CHUNK, 1, "a read buffer", err);
    if (code != THAW_OK) goto done;
    sums = thaw_digest_new();
    if (!sums) code = thaw_fail(err, THAW_EMEM, "cannot allocate a checksum for %s", path);
    if (code == THAW_OK) code = sum_file(fd, path, buffer, sums, &total, err);
    if (code == THAW_OK) {
        *digest = thaw_digest_value(sums);
        if (nbytes) *nbytes = total;
    }
done:
    thaw_digest_free(&sums);
    free(buffer);
    close(fd);
    return code;
}
