// reader.c: the lines of a unit, and the first lines of an input.
#include "base/mem.h"
#include "partition/source.h"
#include "partition/unpack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    READ_BYTES = 256 << 10,                       // stays in a core's cache
    TAIL_BYTES = 64 << 10,                        // a read beyond the unit's end, for its last line
    BUFFER_BYTES = THAW_LINE_MAX + 2 + READ_BYTES // a longest line with CRLF, and a read behind it
};

struct thaw_reader {
    const struct thaw_source *file;
    const struct thaw_unit *unit;
    struct thaw_unpack *in;
    char *buf;      // cap
    size_t cap;     // BUFFER_BYTES, or enough for what is left of a short file
    size_t at, end; // the next line starts at buf + at; buf + end is the end of what was read
    size_t scanned; // no newline in buf[at .. at + scanned)
    int64_t offset; // of buf in the (decompressed) file
    int64_t number; // lines handed out
    bool ended;     // the file has no bytes after buf + end
    bool skipping;  // the rest of a line belongs to nobody here
};

static bool reads_range(const struct thaw_reader *r) {
    return r->file->packing == THAW_PACKING_NONE;
}

int thaw_reader_open(struct thaw_reader **out, const struct thaw_sources *s, int64_t unit,
                     struct thaw_err *err) {
    struct thaw_reader *r = NULL;
    int code = thaw_alloc(&r, 1, sizeof *r, "a reader", err);
    if (code != THAW_OK) return code;
    r->unit = &s->unit[unit];
    r->file = &s->file[r->unit->file];
    // A unit inside a file starts with the byte before it: when that is no newline, the line there is another
    // unit's.
    r->skipping = r->unit->begin > 0;
    r->offset = r->unit->begin - (r->skipping ? 1 : 0);
    r->cap = BUFFER_BYTES;
    int64_t left = r->file->nbytes - r->offset;
    if (reads_range(r) && left < BUFFER_BYTES)
        r->cap = (size_t)left + 1; // 1: a read shows that the file ends
    code = thaw_alloc(&r->buf, r->cap, 1, "a reader", err);
    if (code == THAW_OK) code = thaw_unpack_open(&r->in, r->file, r->offset, err);
    if (code == THAW_OK)
        *out = r;
    else
        thaw_reader_close(&r);
    return code;
}

void thaw_reader_close(struct thaw_reader **pr) {
    struct thaw_reader *r = *pr;
    if (r == NULL) return;
    thaw_unpack_close(&r->in);
    free(r->buf);
    free(r);
    *pr = NULL;
}

int64_t thaw_reader_bytes(const struct thaw_reader *r) {
    const int64_t all = r->unit->end - r->unit->begin, got = thaw_unpack_disk_bytes(r->in);
    return got < all ? got : all; // reads go beyond the unit, for its last line
}

// Read more behind what is left. Only called with less than a longest line left, so there is room for a read.
static int fill(struct thaw_reader *r, struct thaw_err *err) {
    size_t left = r->end - r->at, got = 0, want = READ_BYTES;
    memmove(r->buf, r->buf + r->at, left);
    r->offset += (int64_t)r->at;
    r->at = 0;
    r->end = left;
    bool first = r->offset == 0 && left == 0;
    if (reads_range(r)) {
        int64_t inside = r->unit->end - (r->offset + (int64_t)left);
        want = inside >= READ_BYTES ? READ_BYTES
               : inside > 3         ? (size_t)inside
                                    : TAIL_BYTES; // 3: a mark is read whole
    }
    if (want > r->cap - left) want = r->cap - left;
    int code = thaw_unpack_read(r->in, r->buf + left, want, &got, err);
    if (code != THAW_OK) return code;
    r->end += got;
    r->ended = got < want || want == 0; // 0: the file has grown since it was listed
    if (first && got >= 3 && memcmp(r->buf, "\xef\xbb\xbf", 3) == 0) r->at = 3;
    return THAW_OK;
}

static int skip_rest(struct thaw_reader *r, struct thaw_err *err) {
    while (r->skipping) {
        char *newline = memchr(r->buf + r->at, '\n', r->end - r->at);
        if (newline != NULL) {
            r->at = (size_t)(newline + 1 - r->buf);
            r->skipping = false;
            return THAW_OK;
        }
        r->at = r->end;
        if (r->ended) return THAW_OK;
        int code = fill(r, err);
        if (code != THAW_OK) return code;
    }
    return THAW_OK;
}

// The line of `length` bytes at r->at. One that is cut is too long also without a CR at the cut.
static void hand_out(struct thaw_reader *r, size_t length, struct thaw_line *line) {
    line->path = r->file->path;
    line->text = r->buf + r->at;
    line->n = length;
    if (length > 0 && line->text[length - 1] == '\r') line->n--;
    line->too_long = line->n > THAW_LINE_MAX;
    if (line->too_long) line->n = THAW_LINE_MAX;
    line->offset = r->offset + (int64_t)r->at;
    line->number = ++r->number;
    line->numbered = r->unit->begin == 0;
    line->first = line->numbered && line->number == 1;
}

// Does the line at r->at start inside the unit? The first of a file does, also behind a byte order mark.
static bool is_mine(const struct thaw_reader *r) {
    bool first = r->unit->begin == 0 && r->number == 0;
    return first || !reads_range(r) || r->offset + (int64_t)r->at < r->unit->end;
}

int thaw_reader_next(struct thaw_reader *r, struct thaw_line *line, struct thaw_err *err) {
    int code = r->skipping ? skip_rest(r, err) : THAW_OK;
    if (code != THAW_OK) return code;
    for (r->scanned = 0;;) {
        size_t left = r->end - r->at;
        if (!is_mine(r) || (r->ended && left == 0)) {
            line->text = NULL;
            return THAW_OK;
        }
        char *newline = memchr(r->buf + r->at + r->scanned, '\n', left - r->scanned);
        if (newline != NULL) {
            size_t length = (size_t)(newline - (r->buf + r->at));
            hand_out(r, length, line);
            r->at += length + 1;
            return THAW_OK;
        }
        if (left >= THAW_LINE_MAX + 2 || r->ended) {
            hand_out(r, left, line);
            r->at += left;
            r->skipping = !r->ended;
            return THAW_OK;
        }
        r->scanned = left;
        if ((code = fill(r, err)) != THAW_OK) return code;
    }
}

// Keep the lines that fit.
static int keep_lines(struct thaw_head *head, struct thaw_reader *r, struct thaw_err *err) {
    struct thaw_line line;
    size_t used = 0;
    while (head->nlines < THAW_HEAD_LINES) {
        int code = thaw_reader_next(r, &line, err);
        if (code != THAW_OK) return code;
        if (line.text == NULL) break;
        if (line.n > THAW_HEAD_BYTES - used) {
            if (head->nlines > 0) break;
            line.n = THAW_HEAD_BYTES;
        }
        memcpy(head->bytes + used, line.text, line.n);
        head->line[head->nlines].text = head->bytes + used;
        head->line[head->nlines++].n = line.n;
        used += line.n;
    }
    return THAW_OK;
}

// The lines of a file as one unit: what is found must not depend on how files are cut.
static int keep_file(struct thaw_head *head, const struct thaw_sources *s, int32_t file,
                     struct thaw_err *err) {
    struct thaw_unit all = {.file = file, .begin = 0, .end = s->file[file].nbytes};
    struct thaw_sources whole = *s;
    struct thaw_reader *r = NULL;
    whole.unit = &all;
    whole.nunits = 1;
    int code = thaw_reader_open(&r, &whole, 0, err);
    if (code == THAW_OK) code = keep_lines(head, r, err);
    if (head->nlines > 0) head->path = s->file[file].path;
    thaw_reader_close(&r);
    return code;
}

int thaw_head_read(struct thaw_head *head, const struct thaw_sources *s, struct thaw_err *err) {
    memset(head, 0, sizeof *head);
    head->path = s->file[0].path;
    int code = thaw_alloc(&head->bytes, THAW_HEAD_BYTES, 1, "the first lines of the input", err);
    for (int32_t i = 0; i < s->nfiles && code == THAW_OK && head->nlines == 0; i++)
        if (s->file[i].nbytes > 0) code = keep_file(head, s, i, err);
    if (code != THAW_OK) thaw_head_clear(head);
    return code;
}

void thaw_head_clear(struct thaw_head *head) {
    free(head->bytes);
    memset(head, 0, sizeof *head);
}

char *thaw_line_place(char *buf, size_t cap, const struct thaw_line *line) {
    if (line->numbered)
        snprintf(buf, cap, "%s:%" PRId64, line->path, line->number);
    else
        snprintf(buf, cap, "%s@%" PRId64, line->path, line->offset);
    return buf;
}
