// csv.c: see csv.h.
#include "lookup/verbs/csv.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RECORD_MAX = 16 << 20, BUFFER = 64 << 10 };

// Fill the buffer; false at the end.
static bool refill(struct thaw_csv *c) {
    ssize_t n;
    do n = read(c->fd, c->buffer, BUFFER);
    while (n < 0 && errno == EINTR);
    if (n < 0) c->why = errno;
    c->next = 0;
    c->end = n > 0 ? (size_t)n : 0;
    return n > 0;
}

static int take_byte(struct thaw_csv *c) {
    return c->next < c->end || refill(c) ? (unsigned char)c->buffer[c->next++] : EOF;
}

bool thaw_csv_ready(const struct thaw_csv *c) {
    struct pollfd one = {.fd = c->fd, .events = POLLIN};
    return c->next < c->end || poll(&one, 1, 0) != 0;
}

int thaw_csv_open(struct thaw_csv *c, const char *path, struct thaw_err *err) {
    *c = (struct thaw_csv){.path = path, .lines = 1, .fd = STDIN_FILENO};
    int code = thaw_alloc(&c->buffer, BUFFER, 1, "input", err);
    if (!code && strcmp(path, "-")) c->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (!code && c->fd < 0) code = thaw_fail_errno(err, THAW_ENOINPUT, "%s", path);
    if (code || take_byte(c) != 0xef) {
        c->next = 0;
        return code;
    }
    return take_byte(c) == 0xbb && take_byte(c) == 0xbf
               ? THAW_OK
               : thaw_fail(err, THAW_EDATA, "%s: is not UTF-8", path);
}

void thaw_csv_close(struct thaw_csv *c) {
    if (c->buffer && c->fd > STDIN_FILENO) close(c->fd);
    free(c->buffer);
    free(c->text);
    free(c->at);
    *c = (struct thaw_csv){0};
}

static int put(struct thaw_csv *c, int byte, struct thaw_err *err) {
    if (c->used >= RECORD_MAX)
        return thaw_fail(err, THAW_EDATA,
                         "%s:%" PRId64 ": a record of more than 16 MiB: a quote without its end?", c->path,
                         c->line);
    int code = thaw_grow(&c->text, &c->text_cap, c->used + 1, 1, "a record", err);
    if (!code) c->text[c->used++] = (char)byte;
    return code;
}

static int end_field(struct thaw_csv *c, struct thaw_err *err) {
    int code = put(c, 0, err);
    if (!code) code = thaw_grow(&c->at, &c->at_cap, (size_t)c->n + 2, sizeof *c->at, "a record", err);
    if (!code) c->at[++c->n] = c->used;
    return code;
}

static int bad(const struct thaw_csv *c, const char *what, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA, "%s:%" PRId64 ": %s", c->path, c->line, what);
}

static int next_byte(struct thaw_csv *c) {
    const int byte = take_byte(c);
    c->lines += byte == '\n';
    return byte;
}

// Behind the opening quote; *byte: what follows the closing one.
static int quoted(struct thaw_csv *c, int *byte, struct thaw_err *err) {
    int code = THAW_OK;
    for (;;) {
        *byte = next_byte(c);
        if (*byte == EOF) return bad(c, "a quote without its end", err);
        if (*byte == 0) return bad(c, "a zero byte", err);
        if (*byte == '"' && (*byte = next_byte(c)) != '"') break;
        code = put(c, *byte, err);
        if (code) return code;
    }
    if (*byte == '\r') *byte = next_byte(c);
    if (*byte == ',' || *byte == '\n' || *byte == EOF) return THAW_OK;
    return bad(c, "text behind a quoted field", err);
}

static int plain(struct thaw_csv *c, int *byte, struct thaw_err *err) {
    int code = THAW_OK;
    for (; !code && *byte != ',' && *byte != '\n' && *byte != EOF; *byte = next_byte(c)) {
        if (*byte == 0) return bad(c, "a zero byte", err);
        code = put(c, *byte, err);
    }
    if (!code && *byte != ',' && c->used > c->at[c->n] && c->text[c->used - 1] == '\r') c->used--;
    return code;
}

int thaw_csv_next(struct thaw_csv *c, bool *more, struct thaw_err *err) {
    int byte, code;
    *more = false;
    do { // empty lines
        c->line = c->lines;
        byte = next_byte(c);
        if (byte == '\r') {
            byte = next_byte(c);
            if (byte != '\n') return bad(c, "a carriage return inside a line", err);
        }
    } while (byte == '\n');
    if (byte == EOF)
        return c->why ? thaw_fail(err, THAW_ENOINPUT, "%s: cannot be read: %s", c->path, strerror(c->why))
                      : THAW_OK;
    c->n = 0;
    c->used = 0;
    code = thaw_grow(&c->at, &c->at_cap, 1, sizeof *c->at, "a record", err);
    if (!code) c->at[0] = 0;
    while (!code) {
        code = byte == '"' ? quoted(c, &byte, err) : plain(c, &byte, err);
        if (!code) code = end_field(c, err);
        if (byte != ',') break;
        byte = next_byte(c);
    }
    *more = !code;
    return code;
}
