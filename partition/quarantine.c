// quarantine.c: records of lines that were refused.
#include "partition/event.h"

#include <string.h>

enum { SHOWN_BYTES = 4096 };

static char *escape(char *out, const char *text, size_t n) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n && i < SHOWN_BYTES; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\t' || c == '\\') {
            *out++ = '\\';
            *out++ = c == '\t' ? 't' : '\\';
        } else if (c < 0x20 || c == 0x7f) {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        } else {
            *out++ = (char)c;
        }
    }
    return out;
}

size_t thaw_quarantine_format(char out[THAW_QUARANTINE_MAX], const struct thaw_line *line,
                              enum thaw_outcome o) {
    char place[SHOWN_BYTES];
    const char *reason = thaw_outcome_name(o);
    char *p = out;
    thaw_line_place(place, sizeof place, line);
    p = escape(p, place, strlen(place));
    *p++ = '\t';
    memcpy(p, reason, strlen(reason));
    p += strlen(reason);
    *p++ = '\t';
    p = escape(p, line->text, line->n);
    *p++ = '\n';
    return (size_t)(p - out);
}
