// sink.c: buffered output of the tool, and numbers as text.
#include "lookup/verbs/sink.h"

#include "base/decimal.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 20, ROOM = 64 }; // ROOM: most that one of the number writers needs

int thaw_sink_open_fd(struct thaw_sink *s, int fd, struct thaw_err *err) {
    *s = (struct thaw_sink){.fd = fd, .err = THAW_ERR_INIT};
    return thaw_alloc(&s->buffer, BUFFER, 1, "output", err);
}

int thaw_sink_open(struct thaw_sink *s, const char *path, struct thaw_err *err) {
    int code = thaw_sink_open_fd(s, STDOUT_FILENO, err);
    if (!code && path) code = thaw_file_create(&s->file, path, err);
    return code;
}

static void write_out(struct thaw_sink *s, const char *bytes, size_t n) {
    s->total += (int64_t)n;
    if (s->err.code || n == 0) return;
    if (s->file) {
        thaw_file_write(s->file, bytes, n, &s->err);
        return;
    }
    while (n > 0) {
        const ssize_t done = write(s->fd, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) {
            thaw_fail_errno(&s->err, THAW_EIO, "cannot write results to standard output");
            return;
        }
        bytes += done;
        n -= (size_t)done;
    }
}

void thaw_sink_flush(struct thaw_sink *s) {
    write_out(s, s->buffer, s->n);
    s->n = 0;
}

int thaw_sink_close(struct thaw_sink *s, int code, struct thaw_err *err) {
    if (!s->buffer) return code;
    thaw_sink_flush(s);
    if (!code && s->err.code) code = thaw_fail(err, s->err.code, "%s", s->err.text);
    if (!code && s->file)
        code = thaw_file_commit(&s->file, NULL, err);
    else
        thaw_file_discard(&s->file);
    free(s->buffer);
    *s = (struct thaw_sink){0};
    return code;
}

void thaw_sink_bytes(struct thaw_sink *s, const void *bytes, size_t n) {
    if (s->n + n > BUFFER) thaw_sink_flush(s);
    if (n > BUFFER) {
        write_out(s, bytes, n);
        return;
    }
    memcpy(s->buffer + s->n, bytes, n);
    s->n += n;
}

void thaw_sink_text(struct thaw_sink *s, const char *text) {
    thaw_sink_bytes(s, text, strlen(text));
}

void thaw_sink_char(struct thaw_sink *s, char c) {
    if (s->n == BUFFER) thaw_sink_flush(s);
    s->buffer[s->n++] = c;
}

void thaw_sink_i64(struct thaw_sink *s, int64_t x) {
    char text[ROOM];
    thaw_sink_bytes(s, text, (size_t)snprintf(text, sizeof text, "%" PRId64, x));
}

void thaw_sink_f64(struct thaw_sink *s, double x) {
    char text[400]; // 1e308 has 309 digits before the point
    thaw_sink_bytes(s, text, (size_t)snprintf(text, sizeof text, "%.6f", x));
}

void thaw_sink_f32s(struct thaw_sink *s, const float *x, int n, char between) {
    for (int i = 0; i < n; i++) {
        if (s->n + ROOM > BUFFER) thaw_sink_flush(s);
        s->n += thaw_format_f32(s->buffer + s->n, x[i]);
        s->buffer[s->n++] = between;
    }
    s->n -= n > 0; // a number was just put: it cannot have been flushed
}

// ---- Ids ----

void thaw_sink_id(struct thaw_sink *s, const char *id, size_t n) {
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)id[i];
        if (c >= 0x20 && c != 0x7f) continue;
        char hex[8];
        snprintf(hex, sizeof hex, "\\x%02X", c);
        thaw_sink_bytes(s, id + from, i - from);
        thaw_sink_text(s, hex);
        from = i + 1;
    }
    thaw_sink_bytes(s, id + from, n - from);
}

void thaw_sink_csv(struct thaw_sink *s, const char *id, size_t n) {
    bool quote = false;
    for (size_t i = 0; i < n && !quote; i++)
        quote = id[i] == '"' || id[i] == ',' || id[i] == '\n' || id[i] == '\r';
    if (!quote) {
        thaw_sink_bytes(s, id, n);
        return;
    }
    thaw_sink_char(s, '"');
    for (size_t i = 0; i < n; i++) {
        if (id[i] == '"') thaw_sink_char(s, '"');
        thaw_sink_char(s, id[i]);
    }
    thaw_sink_char(s, '"');
}

// Bytes that are not UTF-8 become U+FFFD: the line stays valid JSON. A text of a sixth of the buffer, which
// no id is, may be cut.
void thaw_sink_json(struct thaw_sink *s, const char *id, size_t n) {
    thaw_sink_char(s, '"');
    if (6 * n >= BUFFER - s->n) thaw_sink_flush(s);
    char *at = s->buffer + s->n;
    thaw_json_escape(at, (int64_t)(BUFFER - s->n), id, (int64_t)n);
    s->n += strlen(at);
    thaw_sink_char(s, '"');
}
