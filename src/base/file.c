// file.c: writing durable files. Reading is in map.c, folders in dir.c.
#include "base/file.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian and mapped as they are");

enum { BUFFER = 1 << 20 };

struct thaw_file_out {
    int fd;
    bool broken;                // a write failed: the file can only be discarded
    int64_t flushed;            // bytes given to the system and summed
    int64_t expect;             // what commit insists on, -1: anything
    size_t used;                // bytes in the buffer
    uint8_t *buffer;            // BUFFER
    struct thaw_digest *digest; // of the current chunk
    uint64_t *sums;             // finished chunks
    size_t nsums, cap;
    char path[THAW_PATH_MAX], temp[THAW_PATH_MAX];
};

void thaw_file_info_clear(struct thaw_file_info *info) {
    free(info->sums);
    *info = (struct thaw_file_info){0};
}

uint64_t thaw_file_info_digest(const struct thaw_file_info *info) {
    return thaw_hash_id(info->sums, (size_t)info->nsums * sizeof *info->sums);
}

static int open_temp(struct thaw_file_out *f, const char *path, struct thaw_err *err) {
    int n = snprintf(f->temp, sizeof f->temp, "%s.tmp", path);
    if (n < 0 || (size_t)n >= sizeof f->temp)
        return thaw_fail(err, THAW_EIO, "%.200s...: the path is longer than %d bytes", path,
                         THAW_PATH_MAX - 1);
    memcpy(f->path, f->temp, (size_t)n - 4);
    int code = thaw_alloc(&f->buffer, BUFFER, 1, "a write buffer", err);
    if (code != THAW_OK) return code;
    f->digest = thaw_digest_new();
    if (!f->digest) return thaw_fail(err, THAW_EMEM, "cannot allocate a checksum for %s", path);
    f->fd = thaw_fault_call("create") ? -1 : open(f->temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) return thaw_fail_errno(err, THAW_EIO, "cannot create %s", f->temp);
    return THAW_OK;
}

int thaw_file_create(struct thaw_file_out **out, const char *path, struct thaw_err *err) {
    struct thaw_file_out *f = NULL;
    int code = thaw_alloc(&f, 1, sizeof *f, "a file", err);
    if (code != THAW_OK) return code;
    f->fd = -1;
    f->expect = -1;
    code = open_temp(f, path, err);
    if (code != THAW_OK)
        thaw_file_discard(&f);
    else
        *out = f;
    return code;
}

void thaw_file_expect(struct thaw_file_out *f, int64_t nbytes) {
    f->expect = nbytes;
}

static int end_chunk(struct thaw_file_out *f, struct thaw_err *err) {
    int code = thaw_grow(&f->sums, &f->cap, f->nsums + 1, sizeof *f->sums, "checksums", err);
    if (code != THAW_OK) return code;
    f->sums[f->nsums++] = thaw_digest_value(f->digest);
    thaw_digest_reset(f->digest);
    return THAW_OK;
}

// Write to the system and add to the sums, cut at the ends of chunks.
static int emit(struct thaw_file_out *f, const uint8_t *bytes, size_t n, struct thaw_err *err) {
    while (n > 0) {
        size_t room = (size_t)(THAW_SUM_CHUNK - f->flushed % THAW_SUM_CHUNK);
        ssize_t done = thaw_fault_call("write") ? -1 : write(f->fd, bytes, n < room ? n : room);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) {
            f->broken = true;
            return thaw_fail_errno(err, THAW_EIO, "cannot write %s at byte %" PRId64, f->temp, f->flushed);
        }
        thaw_digest_add(f->digest, bytes, (size_t)done);
        f->flushed += done;
        bytes += done;
        n -= (size_t)done;
        if (f->flushed % THAW_SUM_CHUNK == 0) {
            int code = end_chunk(f, err);
            if (code != THAW_OK) {
                f->broken = true;
                return code;
            }
        }
    }
    return THAW_OK;
}

static int flush(struct thaw_file_out *f, struct thaw_err *err) {
    size_t n = f->used;
    f->used = 0;
    return emit(f, f->buffer, n, err);
}

int thaw_file_write(struct thaw_file_out *f, const void *bytes, size_t n, struct thaw_err *err) {
    if (f->broken) return thaw_fail(err, THAW_EIO, "%s: an earlier write failed", f->temp);
    if (n == 0) return THAW_OK;
    if (n > BUFFER - f->used) {
        int code = flush(f, err);
        if (code != THAW_OK) return code;
        if (n >= BUFFER) return emit(f, bytes, n, err);
    }
    memcpy(f->buffer + f->used, bytes, n);
    f->used += n;
    return THAW_OK;
}

int64_t thaw_file_tell(const struct thaw_file_out *f) {
    return f->flushed + (int64_t)f->used;
}

static int sync_parent(const char *path, struct thaw_err *err) {
    char dir[THAW_PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n == 0) return thaw_dir_sync(slash ? "/" : ".", err);
    memcpy(dir, path, n);
    dir[n] = '\0';
    return thaw_dir_sync(dir, err);
}

// Everything up to the rename, which makes the file appear.
static int finish(struct thaw_file_out *f, struct thaw_err *err) {
    if (f->broken) return thaw_fail(err, THAW_EIO, "%s: an earlier write failed", f->temp);
    int code = flush(f, err);
    if (code != THAW_OK) return code;
    if (f->expect >= 0 && f->flushed != f->expect)
        return thaw_fail(err, THAW_EBUG, "%s: %" PRId64 " bytes written, %" PRId64 " announced", f->path,
                         f->flushed, f->expect);
    if (f->flushed % THAW_SUM_CHUNK != 0 && (code = end_chunk(f, err)) != THAW_OK) return code;
    if (thaw_fault_call("sync") || fsync(f->fd) != 0)
        return thaw_fail_errno(err, THAW_EIO, "cannot sync %s", f->temp);
    int fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0) {
        code = thaw_fail_errno(err, THAW_EIO, "cannot close %s", f->temp);
        unlink(f->temp);
        return code;
    }
    if (thaw_fault_call("rename") || rename(f->temp, f->path) != 0) {
        code = thaw_fail_errno(err, THAW_EIO, "cannot rename %s to its final name", f->temp);
        unlink(f->temp);
        return code;
    }
    return sync_parent(f->path, err);
}

int thaw_file_commit(struct thaw_file_out **out, struct thaw_file_info *info, struct thaw_err *err) {
    struct thaw_file_out *f = *out;
    int code = finish(f, err);
    if (code == THAW_OK && info) {
        *info = (struct thaw_file_info){.nbytes = f->flushed, .sums = f->sums, .nsums = (int32_t)f->nsums};
        f->sums = NULL;
    }
    thaw_file_discard(out);
    return code;
}

void thaw_file_discard(struct thaw_file_out **out) {
    struct thaw_file_out *f = out ? *out : NULL;
    if (!f) return;
    if (f->fd >= 0) {
        close(f->fd);
        unlink(f->temp);
    }
    thaw_digest_free(&f->digest);
    free(f->sums);
    free(f->buffer);
    free(f);
    *out = NULL;
}

int thaw_file_put(const char *path, const void *bytes, size_t n, struct thaw_file_info *info,
                  struct thaw_err *err) {
    struct thaw_file_out *f;
    int code = thaw_file_create(&f, path, err);
    if (code != THAW_OK) return code;
    code = thaw_file_write(f, bytes, n, err);
    if (code == THAW_OK) return thaw_file_commit(&f, info, err);
    thaw_file_discard(&f);
    return code;
}
