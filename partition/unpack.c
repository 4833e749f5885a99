// unpack.c: reading plain, gzip and zstd files. Members and frames that follow each other are one stream.
#include "partition/unpack.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { PACKED_BYTES = 256 << 10 };

struct thaw_unpack {
    const struct thaw_source *file;
    int fd;
    int64_t at;            // next byte to read from disk
    int64_t read;          // bytes read from disk
    unsigned char *packed; // PACKED_BYTES; NULL for a plain file
    size_t begin, end;     // what of it is not yet decoded
    bool inside;           // a member or frame is begun and not ended
    bool inflating;        // z is initialised
    z_stream z;
    ZSTD_DStream *zstd;
};

enum thaw_packing thaw_unpack_tell(const unsigned char *head, size_t n) {
    if (n >= 2 && head[0] == 0x1f && head[1] == 0x8b) return THAW_PACKING_GZIP;
    if (n < 4) return THAW_PACKING_NONE;
    if (memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0) return THAW_PACKING_ZSTD;
    if ((head[0] & 0xf0) == 0x50 && memcmp(head + 1, "\x2a\x4d\x18", 3) == 0)
        return THAW_PACKING_ZSTD; // skippable
    return THAW_PACKING_NONE;
}

static int read_disk(struct thaw_unpack *u, void *buf, size_t cap, size_t *got, struct thaw_err *err) {
    size_t n = 0;
    while (n < cap) {
        ssize_t r = pread(u->fd, (char *)buf + n, cap - n, u->at);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0)
            return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read at byte %" PRId64, u->file->path,
                                   u->at);
        if (r == 0) break;
        n += (size_t)r;
        u->at += r;
        u->read += r;
    }
    if (n < cap && u->at < u->file->nbytes)
        return thaw_fail(err, THAW_ENOINPUT,
                         "%s: ended at byte %" PRId64 " of %" PRId64 ": it shrank while being read",
                         u->file->path, u->at, u->file->nbytes);
    *got = n;
    return THAW_OK;
}

static int start_decoder(struct thaw_unpack *u, struct thaw_err *err) {
    if (u->file->packing == THAW_PACKING_NONE) return THAW_OK;
    int code = thaw_alloc(&u->packed, PACKED_BYTES, 1, "compressed input", err);
    if (code != THAW_OK) return code;
    if (u->file->packing == THAW_PACKING_GZIP) {
        if (inflateInit2(&u->z, 15 + 16) != Z_OK)
            return thaw_fail(err, THAW_EMEM, "%s: cannot start the gzip decoder", u->file->path);
        u->inflating = true;
    } else if ((u->zstd = ZSTD_createDStream()) == NULL) {
        return thaw_fail(err, THAW_EMEM, "%s: cannot start the zstd decoder", u->file->path);
    }
    return THAW_OK;
}

int thaw_unpack_open(struct thaw_unpack **out, const struct thaw_source *file, int64_t begin,
                     struct thaw_err *err) {
    struct thaw_unpack *u = NULL;
    struct stat st;
    int code = thaw_alloc(&u, 1, sizeof *u, "an input file", err);
    if (code != THAW_OK) return code;
    u->file = file;
    u->at = begin;
    u->fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (u->fd < 0 || fstat(u->fd, &st) != 0) {
        code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", file->path);
        goto done;
    }
    if (st.st_size != file->nbytes) {
        code = thaw_fail(err, THAW_EDATA,
                         "%s: its length changed from %" PRId64 " to %" PRId64 " bytes during the run",
                         file->path, file->nbytes, (int64_t)st.st_size);
        goto done;
    }
    (void)posix_fadvise(u->fd, begin, 0, POSIX_FADV_SEQUENTIAL);
    code = start_decoder(u, err);
done:
    if (code == THAW_OK)
        *out = u;
    else
        thaw_unpack_close(&u);
    return code;
}

void thaw_unpack_close(struct thaw_unpack **pu) {
    struct thaw_unpack *u = *pu;
    if (u == NULL) return;
    if (u->fd >= 0) close(u->fd);
    if (u->inflating) inflateEnd(&u->z);
    ZSTD_freeDStream(u->zstd);
    free(u->packed);
    free(u);
    *pu = NULL;
}

int64_t thaw_unpack_disk_bytes(const struct thaw_unpack *u) {
    return u->read;
}

// Have undecoded bytes, unless the file has ended.
static int refill(struct thaw_unpack *u, struct thaw_err *err) {
    if (u->begin < u->end) return THAW_OK;
    u->begin = u->end = 0;
    return read_disk(u, u->packed, PACKED_BYTES, &u->end, err);
}

// Byte of the compressed file that is decoded next.
static int64_t packed_at(const struct thaw_unpack *u) {
    return u->at - (int64_t)(u->end - u->begin);
}

static int damaged(const struct thaw_unpack *u, const char *why, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA, "%s: %s near byte %" PRId64 " of the compressed file", u->file->path,
                     why, packed_at(u));
}

// Zero padding may follow a gzip member; anything else must be another member.
static int next_member(struct thaw_unpack *u, bool *ended, struct thaw_err *err) {
    for (;;) {
        int code = refill(u, err);
        if (code != THAW_OK) return code;
        if (u->begin == u->end) {
            *ended = true;
            return THAW_OK;
        }
        if (u->packed[u->begin] == 0) {
            u->begin++;
            continue;
        }
        if (u->packed[u->begin] != 0x1f) return damaged(u, "garbage after the gzip data", err);
        if (inflateReset(&u->z) != Z_OK) return thaw_fail(err, THAW_EBUG, "%s: inflateReset", u->file->path);
        u->inside = true;
        return THAW_OK;
    }
}

static int read_gzip(struct thaw_unpack *u, char *buf, size_t cap, size_t *got, struct thaw_err *err) {
    size_t n = 0;
    while (n < cap) {
        bool ended = false;
        int code = u->inside ? refill(u, err) : next_member(u, &ended, err);
        if (code != THAW_OK) return code;
        if (ended) break;
        if (u->begin == u->end) return damaged(u, "truncated gzip data: it ends inside a member", err);
        u->z.next_in = u->packed + u->begin;
        u->z.avail_in = (uInt)(u->end - u->begin);
        u->z.next_out = (unsigned char *)buf + n;
        u->z.avail_out = (uInt)(cap - n);
        int status = inflate(&u->z, Z_NO_FLUSH);
        u->begin = u->end - u->z.avail_in;
        n = cap - u->z.avail_out;
        if (status == Z_STREAM_END) {
            u->inside = false;
        } else if (status != Z_OK && status != Z_BUF_ERROR) {
            if (status == Z_MEM_ERROR)
                return thaw_fail(err, THAW_EMEM, "%s: no memory to inflate", u->file->path);
            return damaged(u, u->z.msg != NULL ? u->z.msg : "damaged gzip data", err);
        }
    }
    *got = n;
    return THAW_OK;
}

static int read_zstd(struct thaw_unpack *u, char *buf, size_t cap, size_t *got, struct thaw_err *err) {
    ZSTD_outBuffer out = {buf, cap, 0};
    while (out.pos < cap) {
        int code = refill(u, err);
        if (code != THAW_OK) return code;
        bool ended = u->begin == u->end;
        if (ended && !u->inside) break;
        ZSTD_inBuffer in = {u->packed, u->end, u->begin};
        size_t before = out.pos;
        size_t status = ZSTD_decompressStream(u->zstd, &out, &in);
        u->begin = in.pos;
        if (ZSTD_isError(status)) return damaged(u, ZSTD_getErrorName(status), err);
        u->inside = status != 0;
        if (ended && u->inside && out.pos == before)
            return damaged(u, "truncated zstd data: it ends inside a frame", err);
    }
    *got = out.pos;
    return THAW_OK;
}

int thaw_unpack_read(struct thaw_unpack *u, char *buf, size_t cap, size_t *got, struct thaw_err *err) {
    switch (u->file->packing) {
    case THAW_PACKING_GZIP:
        return read_gzip(u, buf, cap, got, err);
    case THAW_PACKING_ZSTD:
        return read_zstd(u, buf, cap, got, err);
    case THAW_PACKING_NONE:
        break;
    }
    return read_disk(u, buf, cap, got, err);
}
