// err.c: filling a thaw_err.
#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// A message is one line whatever the names in it hold.
static void keep_one_line(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 127) *text = '?';
}

static void fill(struct thaw_err *err, int code, const char *file, int line, const char *format,
                 va_list args) {
    err->code = code;
    err->line = line;
    snprintf(err->file, sizeof err->file, "%s", base_name(file));
    vsnprintf(err->text, sizeof err->text, format, args);
    keep_one_line(err->text);
}

int thaw_fail_at(struct thaw_err *err, int code, const char *file, int line, const char *format, ...) {
    if (!err || err->code != THAW_OK) return code;
    va_list args;
    va_start(args, format);
    fill(err, code, file, line, format, args);
    va_end(args);
    return code;
}

int thaw_fail_errno_at(struct thaw_err *err, int code, const char *file, int line, const char *format, ...) {
    int cause = errno;
    if (cause == ENOMEM) code = THAW_EMEM;
    if (!err || err->code != THAW_OK) return code;
    va_list args;
    va_start(args, format);
    fill(err, code, file, line, format, args);
    va_end(args);
    char reason[128];
    errno = cause;
    snprintf(reason, sizeof reason, ": %m"); // unlike strerror, safe with threads
    // The reason must not be what a long path pushes out.
    size_t used = strnlen(err->text, sizeof err->text - strlen(reason) - 1);
    memcpy(err->text + used, reason, strlen(reason) + 1);
    return code;
}

const char *thaw_code_name(int code) {
    switch (code) {
    case THAW_OK:
        return "success";
    case THAW_EUSAGE:
        return "usage";
    case THAW_EDATA:
        return "bad data";
    case THAW_ENOINPUT:
        return "missing input";
    case THAW_ESTALLED:
        return "stalled";
    case THAW_EBUG:
        return "internal error";
    case THAW_EMEM:
        return "out of memory";
    case THAW_EIO:
        return "write error";
    case THAW_ESTOPPED:
        return "stopped";
    case THAW_EDISAGREE:
        return "ranks disagree";
    case THAW_EDIVERGED:
        return "diverged";
    default:
        return "unknown code";
    }
}
