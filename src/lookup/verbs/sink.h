// sink.h: buffered output of the tool: standard output, or a file that appears under its name when it is
// complete. Failures are kept and reported at the end. Not thread-safe.
#ifndef THAW_LOOKUP_SINK_H
#define THAW_LOOKUP_SINK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct thaw_sink {
    struct thaw_file_out *file; // NULL: fd
    int fd;
    char *buffer;
    size_t n;
    int64_t total;
    struct thaw_err err;
};

// path NULL: standard output. THAW_EMEM, THAW_EIO.
int thaw_sink_open(struct thaw_sink *s, const char *path, struct thaw_err *err);
// As open, to a descriptor the caller keeps.
int thaw_sink_open_fd(struct thaw_sink *s, int fd, struct thaw_err *err);
// Flush and, when code is THAW_OK, complete the file; otherwise discard it. Returns code or the first
// failure.
int thaw_sink_close(struct thaw_sink *s, int code, struct thaw_err *err);

// What is buffered becomes visible (of a file: nothing does before its end).
void thaw_sink_flush(struct thaw_sink *s);
void thaw_sink_bytes(struct thaw_sink *s, const void *bytes, size_t n);
void thaw_sink_text(struct thaw_sink *s, const char *text);
void thaw_sink_char(struct thaw_sink *s, char c);
void thaw_sink_i64(struct thaw_sink *s, int64_t x);
void thaw_sink_f64(struct thaw_sink *s, double x); // 6 decimals
// n numbers with `between` between them, each with the fewest digits that read back as the same float
// (base/decimal.h).
void thaw_sink_f32s(struct thaw_sink *s, const float *x, int n, char between);
// An id: control bytes as \xHH; quoted where CSV needs it; as a JSON string with its quotes.
void thaw_sink_id(struct thaw_sink *s, const char *id, size_t n);
void thaw_sink_csv(struct thaw_sink *s, const char *id, size_t n);
void thaw_sink_json(struct thaw_sink *s, const char *id, size_t n);

#endif
