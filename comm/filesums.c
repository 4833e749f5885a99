#include "comm/filesums.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "comm/runinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 20 };

static int64_t pieces_of(const struct thaw_source *f) {
    return (f->nbytes + THAW_SUM_CHUNK - 1) / THAW_SUM_CHUNK;
}

static int sum_piece(int fd, const struct thaw_source *f, int64_t piece, uint8_t *buffer,
                     struct thaw_digest *d, struct thaw_err *err) {
    int64_t at = piece * THAW_SUM_CHUNK,
            end = at + THAW_SUM_CHUNK < f->nbytes ? at + THAW_SUM_CHUNK : f->nbytes;
    thaw_digest_reset(d);
    while (at < end) {
        ssize_t got = pread(fd, buffer, (size_t)(end - at < READ_BYTES ? end - at : READ_BYTES), at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read", f->path);
        if (got == 0) return thaw_fail(err, THAW_EDATA, "%s: became shorter while it was read", f->path);
        thaw_digest_add(d, buffer, (size_t)got);
        at += got;
    }
    return THAW_OK;
}

// Sums of the pieces [first, last) of all files, counted through.
static int sum_share(const struct thaw_sources *s, int64_t first, int64_t last, uint64_t *sums,
                     struct thaw_err *err) {
    uint8_t *buffer = NULL;
    struct thaw_digest *d = thaw_digest_new();
    int64_t before = 0;
    int code = d ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a checksum");
    if (!code) code = thaw_alloc(&buffer, READ_BYTES, 1, "a read buffer", err);
    for (int32_t i = 0; i < s->nfiles && !code; before += pieces_of(&s->file[i++])) {
        int64_t begin = first > before ? first : before, end = before + pieces_of(&s->file[i]);
        if (end > last) end = last;
        if (begin >= end) continue;
        int fd = open(s->file[i].path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", s->file[i].path);
        for (int64_t p = begin; p < end && !code; p++) {
            code = sum_piece(fd, &s->file[i], p - before, buffer, d, err);
            sums[p - first] = thaw_digest_value(d);
        }
        if (fd >= 0) close(fd);
    }
    thaw_digest_free(&d);
    free(buffer);
    return code;
}

int thaw_filesums_add(struct thaw_comm *c, const struct thaw_sources *s, Thaw__Run *run,
                      struct thaw_err *err) {
    int64_t rank = thaw_comm_rank(c), size = thaw_comm_size(c), pieces = 0, nbytes;
    uint64_t *mine = NULL, *all = NULL;
    for (int32_t i = 0; i < s->nfiles; i++) pieces += pieces_of(&s->file[i]);
    int64_t first = pieces * rank / size, last = pieces * (rank + 1) / size;
    int code = thaw_alloc(&mine, (size_t)(last - first), sizeof *mine, "checksums of the input", err);
    if (!code) code = sum_share(s, first, last, mine, err);
    code = thaw_comm_agree(c, code, err);
    if (!code) code = thaw_comm_gather(c, mine, (last - first) * 8, 0, (void **)&all, &nbytes, err);
    int64_t at = 0;
    for (int32_t i = 0; i < s->nfiles && !code && rank == 0; at += pieces_of(&s->file[i++]))
        code = thaw_run_info_input(run, s->file[i].path, s->file[i].nbytes,
                                   thaw_hash_id(all + at, (size_t)pieces_of(&s->file[i]) * sizeof *all), err);
    free(mine);
    free(all);
    return thaw_comm_agree(c, code, err);
}
