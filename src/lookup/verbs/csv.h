// csv.h: records of a CSV file (RFC 4180; lines end with LF or CRLF; the last one may lack its end), read one
// by one. Local; one thread.
#ifndef THAW_LOOKUP_CSV_H
#define THAW_LOOKUP_CSV_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_csv {
    const char *path;
    int fd;
    char *buffer; // what was read: bytes [next, end) are still to be taken
    size_t next, end;
    int why;       // errno of a read that failed
    int64_t line;  // where the record begins
    int64_t lines; // read so far
    int n;         // fields of the record
    char *text;    // the fields, each ended by a zero byte
    size_t *at;    // n + 1 places in text
    size_t used, text_cap, at_cap;
};
// path "-": standard input. A UTF-8 byte order mark is skipped. THAW_ENOINPUT.
int thaw_csv_open(struct thaw_csv *c, const char *path, struct thaw_err *err);
void thaw_csv_close(struct thaw_csv *c);
// The next record that is not an empty line; *more false at the end. THAW_EDATA: a quote without its end or
// text behind it, zero bytes, a record of more than 16 MiB. THAW_EMEM, THAW_ENOINPUT: reading failed.
int thaw_csv_next(struct thaw_csv *c, bool *more, struct thaw_err *err);
// Is there something to read at once, if only the end? Else the next record may be a while in coming.
bool thaw_csv_ready(const struct thaw_csv *c);
static inline const char *thaw_csv_field(const struct thaw_csv *c, int i, size_t *n) {
    *n = c->at[i + 1] - c->at[i] - 1;
    return c->text + c->at[i];
}

#endif
