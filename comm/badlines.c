#include "comm/badlines.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    KEEP_BYTES = 4097,
    SHOWN = 5,
    WINDOW = 64 << 10
}; // a line is cut to one byte more than the record shows

struct record {
    int64_t unit, number, offset;
    uint32_t n, outcome; // n bytes of text follow
};

int thaw_badlines_new(struct thaw_badlines *q, struct thaw_spill_pool *pool, const struct thaw_sources *files,
                      int64_t first_unit, int64_t nunits, struct thaw_err *err) {
    memset(q, 0, sizeof *q);
    q->files = files;
    q->first_unit = first_unit;
    q->nunits = nunits;
    int code = thaw_alloc(&q->unit_lines, (size_t)nunits, sizeof *q->unit_lines, "line counts", err);
    if (!code) code = thaw_spill_new(&q->lines, pool, THAW_BADLINES_INPUTS, err);
    return code;
}

void thaw_badlines_clear(struct thaw_badlines *q) {
    thaw_spill_free(&q->lines);
    free(q->unit_lines);
    memset(q, 0, sizeof *q);
}

int thaw_badlines_put(struct thaw_badlines *q, int64_t unit, const struct thaw_line *line,
                      enum thaw_outcome o, struct thaw_err *err) {
    struct record r = {unit, line->number, line->offset,
                       (uint32_t)(line->n < KEEP_BYTES ? line->n : KEEP_BYTES), (uint32_t)o};
    q->count++;
    int code = thaw_spill_put(q->lines, 0, &r, sizeof r, err);
    return code ? code : thaw_spill_put(q->lines, 0, line->text, r.n, err);
}

int thaw_badlines_put_profile(struct thaw_badlines *q, int input, const struct thaw_line *line,
                              enum thaw_outcome o, struct thaw_err *err) {
    char text[THAW_QUARANTINE_MAX];
    size_t n = thaw_quarantine_format(text, line, o);
    return thaw_spill_put(q->lines, input, text, n, err);
}

// Turn the counts of lines into the number of lines of the file before each unit. A file may begin on a lower
// rank.
static int number_units(struct thaw_badlines *q, struct thaw_comm *c, struct thaw_err *err) {
    int rank = thaw_comm_rank(c), size = thaw_comm_size(c);
    int64_t last[2] = {-1, 0}; // the file this rank's units end in, and their lines of it
    for (int64_t u = 0; u < q->nunits; u++) {
        int64_t file = q->files->unit[q->first_unit + u].file;
        last[1] = (file == last[0] ? last[1] : 0) + q->unit_lines[u];
        last[0] = file;
    }
    int64_t *all = NULL;
    int code = thaw_alloc(&all, (size_t)size, sizeof last, "line counts", err);
    code = thaw_comm_agree(c, code, err);
    if (!code) {
        thaw_comm_allgather_i64(c, last, 2, all);
        int64_t file = q->nunits ? q->files->unit[q->first_unit].file : -1, before = 0;
        for (int r = 0; r < rank; r++)
            if (all[2 * r] == file) before += all[2 * r + 1];
        for (int64_t u = 0; u < q->nunits; u++) {
            int64_t here = q->files->unit[q->first_unit + u].file, lines = q->unit_lines[u];
            if (here != file) before = 0;
            file = here;
            q->unit_lines[u] = before;
            before += lines;
        }
    }
    free(all);
    return code;
}

// A walk over the kept lines, formatted as they go to the file.
struct walk {
    const struct thaw_badlines *q;
    int64_t at;                // of the next record
    int64_t window_at, window; // bytes [window_at, + window) of the records are in `bytes`
    char bytes[WINDOW];
    char out[THAW_QUARANTINE_MAX];
    size_t nout; // of the formatted record; 0 at the end
    char place[600];
    enum thaw_outcome outcome;
};

static void walk_start(struct walk *w, const struct thaw_badlines *q) {
    w->q = q;
    w->at = w->window_at = w->window = 0;
}

// The next n bytes of records.
static int fetch(struct walk *w, int64_t n, const char **bytes, struct thaw_err *err) {
    int64_t total = thaw_spill_nbytes(w->q->lines, 0);
    if (w->at + n > w->window_at + w->window) {
        w->window_at = w->at;
        w->window = total - w->at < WINDOW ? total - w->at : WINDOW;
        int code = thaw_spill_read(w->q->lines, 0, w->at, w->window, w->bytes, err);
        if (code) return code;
    }
    *bytes = w->bytes + (w->at - w->window_at);
    w->at += n;
    return THAW_OK;
}

static int step(struct walk *w, struct thaw_err *err) {
    const struct thaw_badlines *q = w->q;
    const char *bytes;
    struct record r;
    w->nout = 0;
    if (w->at == thaw_spill_nbytes(q->lines, 0)) return THAW_OK;
    int code = fetch(w, sizeof r, &bytes, err);
    if (code) return code;
    memcpy(&r, bytes, sizeof r);
    if ((code = fetch(w, r.n, &bytes, err))) return code;
    struct thaw_line line = {.path = q->files->file[q->files->unit[r.unit].file].path,
                             .text = bytes,
                             .n = r.n,
                             .offset = r.offset,
                             .number = q->unit_lines[r.unit - q->first_unit] + r.number,
                             .numbered = true};
    w->outcome = (enum thaw_outcome)r.outcome;
    w->nout = thaw_quarantine_format(w->out, &line, w->outcome);
    thaw_line_place(w->place, sizeof w->place, &line);
    return THAW_OK;
}

static int put_at(int fd, int64_t at, const char *bytes, size_t n, const char *path, struct thaw_err *err) {
    while (n > 0) {
        ssize_t wrote = pwrite(fd, bytes, n, at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot write", path);
        bytes += wrote;
        at += wrote;
        n -= (size_t)wrote;
    }
    return THAW_OK;
}

static int write_log(const struct thaw_badlines *q, struct walk *w, int fd, int64_t at, char *buffer,
                     const char *path, struct thaw_err *err) {
    size_t used = 0;
    int code = THAW_OK;
    walk_start(w, q);
    while (!code && !(code = step(w, err)) && w->nout > 0) {
        memcpy(buffer + used, w->out, w->nout);
        used += w->nout;
        if (used < WINDOW) continue;
        code = put_at(fd, at, buffer, used, path, err);
        at += (int64_t)used;
        used = 0;
    }
    return code ? code : put_at(fd, at, buffer, used, path, err);
}

static int write_profile(const struct thaw_badlines *q, int input, int fd, int64_t at, char *buffer,
                         const char *path, struct thaw_err *err) {
    int64_t total = thaw_spill_nbytes(q->lines, input);
    for (int64_t done = 0, n; done < total; done += n) {
        n = total - done < WINDOW ? total - done : WINDOW;
        int code = thaw_spill_read(q->lines, input, done, n, buffer, err);
        if (!code) code = put_at(fd, at + done, buffer, (size_t)n, path, err);
        if (code) return code;
    }
    return THAW_OK;
}

// Write this rank's pieces, input i's from byte at[i] of the file on.
static int write_pieces(const struct thaw_badlines *q, struct walk *w, const char *path, const int64_t *at,
                        struct thaw_err *err) {
    char *buffer = NULL;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot open", path);
    int code = thaw_alloc(&buffer, WINDOW + THAW_QUARANTINE_MAX, 1, "quarantined lines", err);
    if (!code) code = write_log(q, w, fd, at[0], buffer, path, err);
    for (int i = 1; i < THAW_BADLINES_INPUTS && !code; i++)
        code = write_profile(q, i, fd, at[i], buffer, path, err);
    if (!code && fsync(fd) != 0) code = thaw_fail_errno(err, THAW_EIO, "%s: cannot sync", path);
    if (close(fd) != 0 && !code) code = thaw_fail_errno(err, THAW_EIO, "%s: cannot close", path);
    free(buffer);
    return code;
}

// Collective. The first few bad lines of the input, for people.
static int show_first(const struct thaw_badlines *q, struct walk *w, struct thaw_comm *c,
                      struct thaw_log *log, struct thaw_err *err) {
    char text[SHOWN * 1024];
    size_t used = 0;
    int64_t before = q->count;
    int code = THAW_OK;
    thaw_comm_exscan_i64(c, &before, 1);
    walk_start(w, q);
    for (int64_t i = before; i < SHOWN && !code; i++) {
        if ((code = step(w, err)) || w->nout == 0) break;
        int n = snprintf(text + used, 1024, "%s: %s", w->place, thaw_outcome_about(w->outcome));
        used += (size_t)(n < 1024 ? n : 1023) + 1;
    }
    code = thaw_comm_agree(c, code, err);
    char *all = NULL;
    int64_t total = 0;
    if (!code) code = thaw_comm_gather(c, text, (int64_t)used, 0, (void **)&all, &total, err);
    for (int64_t at = 0; all && at < total; at += (int64_t)strlen(all + at) + 1)
        thaw_log_warn(log, "%s", all + at);
    free(all);
    return code;
}

// Rank 0: make room for what all ranks write, or take away what an earlier run left.
static int begin_file(const char *path, const char *temporary, int64_t total, struct thaw_err *err) {
    if (total == 0) {
        if (unlink(path) != 0 && errno != ENOENT)
            return thaw_fail_errno(err, THAW_EIO, "%s: cannot remove", path);
        return THAW_OK;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot make this file", temporary);
    close(fd);
    return THAW_OK;
}

// Collective. Where in the file each of this rank's pieces goes; returns the length of the whole.
static int64_t place_pieces(struct thaw_comm *c, int64_t nbytes[THAW_BADLINES_INPUTS]) {
    int64_t totals[THAW_BADLINES_INPUTS], before = 0;
    memcpy(totals, nbytes, sizeof totals);
    thaw_comm_sum_i64(c, totals, THAW_BADLINES_INPUTS);
    thaw_comm_exscan_i64(c, nbytes, THAW_BADLINES_INPUTS);
    for (int i = 0; i < THAW_BADLINES_INPUTS; i++) {
        nbytes[i] += before;
        before += totals[i];
    }
    return before;
}

int thaw_badlines_write(struct thaw_badlines *q, struct thaw_comm *c, struct thaw_log *log, const char *dir,
                        const char *name, struct thaw_err *err) {
    char path[THAW_PATH_MAX], temporary[THAW_PATH_MAX];
    bool first = thaw_comm_rank(c) == 0, made = false;
    struct walk *w = NULL;
    int64_t at[THAW_BADLINES_INPUTS] = {0};
    int code = number_units(q, c, err);
    if (code) return code;
    code = thaw_alloc(&w, 1, sizeof *w, "quarantined lines", err);
    if (!code) code = thaw_path_join(path, dir, name, err);
    if (!code && snprintf(temporary, sizeof temporary, "%s.tmp", path) >= (int)sizeof temporary)
        code = thaw_fail(err, THAW_EUSAGE, "%.80s...: the path is too long", path);
    if (!code) walk_start(w, q);
    while (!code && !(code = step(w, err)) && w->nout > 0) at[0] += (int64_t)w->nout;
    for (int i = 1; i < THAW_BADLINES_INPUTS; i++) at[i] = thaw_spill_nbytes(q->lines, i);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    int64_t total = place_pieces(c, at);
    if (first) code = begin_file(path, temporary, total, err);
    made = first && !code && total > 0;
    if ((code = thaw_comm_agree(c, code, err)) || total == 0) goto done;
    code = thaw_comm_agree(c, write_pieces(q, w, temporary, at, err), err);
    if (code) goto done;
    if (first && rename(temporary, path) != 0)
        code = thaw_fail_errno(err, THAW_EIO, "%s: cannot rename", temporary);
    if (first && !code) code = thaw_dir_sync(dir, err);
    if (!(code = thaw_comm_agree(c, code, err))) code = show_first(q, w, c, log, err);
done:
    if (code && made) unlink(temporary);
    free(w);
    return code;
}
