// source.h: input files, cut into units of work, and the lines of a unit. No MPI.
//
// A unit is what one reader reads from start to end: a byte range of a plain file, which owns the lines that
// START in it, or a whole compressed file. Units depend on the files and on unit_bytes alone, never on the
// number of ranks. Local. struct thaw_sources is read-only after opening and may be shared by threads; a
// reader belongs to one thread.
#ifndef THAW_PARTITION_SOURCE_H
#define THAW_PARTITION_SOURCE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    THAW_LINE_MAX = 1 << 20,   // bytes; longer lines are handed out cut and marked
    THAW_UNIT_BYTES = 32 << 20 // default length of a plain unit
};

enum thaw_packing { THAW_PACKING_NONE, THAW_PACKING_GZIP, THAW_PACKING_ZSTD };

struct thaw_source {
    char *path;     // as given; for a file of a folder, folder/name
    int64_t nbytes; // on disk
    enum thaw_packing packing;
};

struct thaw_unit {
    int32_t file;       // index into thaw_sources.file
    int64_t begin, end; // bytes of the file; a compressed unit is all of it
};

struct thaw_sources {
    struct thaw_source *file; // nfiles, in the order given
    int32_t nfiles;
    struct thaw_unit *unit; // nunits, by file, then by begin; an empty file has none
    int64_t nunits;
    int64_t nbytes; // of all files, on disk
};

// Local; the same result on every rank that sees the same files. Each path is a file, or a folder, which
// stands for the regular files in it, sorted by name, hidden ones (".x") left out. Packing is told by
// content, not by name. unit_bytes <= 0: THAW_UNIT_BYTES. THAW_ENOINPUT: missing or unreadable, named.
// THAW_EDATA: a folder without files, something that is neither file nor folder, UTF-16 text. Opens each file
// once.
int thaw_sources_open(struct thaw_sources **s, const char *const *paths, int npaths, int64_t unit_bytes,
                      struct thaw_err *err);
void thaw_sources_close(struct thaw_sources **s);

// Local. Rank `rank` of nranks reads units [*first, *last): consecutive, all units once over the ranks,
// balanced by bytes (compressed ones count four times). May be empty.
void thaw_sources_share(const struct thaw_sources *s, int nranks, int rank, int64_t *first, int64_t *last);

// A line. Everything is borrowed from the reader and valid until the next call of thaw_reader_next.
struct thaw_line {
    const char *path;
    const char *text; // without its LF or CRLF; not terminated; any byte but LF may be in it. NULL: the unit
                      // has ended
    size_t n;         // bytes of text; at most THAW_LINE_MAX
    int64_t offset;   // of text in the file (decompressed)
    int64_t number;   // inside the unit, from 1
    bool first;       // the first line of its file
    bool numbered;    // number counts from the start of the file: the unit began there
    bool too_long;    // text is only the first THAW_LINE_MAX bytes of the line
};

// Local. Read the lines of one unit, in order. Memory is bounded (about 2 MiB, plus a decoder's window). A
// UTF-8 byte order mark at the start of the file is skipped; a last line without newline is a line; an empty
// file has none. gzip files of several members and zstd files of several frames are read whole. s must
// outlive the reader. THAW_ENOINPUT: cannot open or read. THAW_EDATA: damaged or truncated compressed data,
// naming the file and where. THAW_EMEM.
struct thaw_reader;
int thaw_reader_open(struct thaw_reader **r, const struct thaw_sources *s, int64_t unit,
                     struct thaw_err *err);
int thaw_reader_next(struct thaw_reader *r, struct thaw_line *line, struct thaw_err *err);
int64_t thaw_reader_bytes(const struct thaw_reader *r); // of the unit, so far, for progress
void thaw_reader_close(struct thaw_reader **r);

// The first lines of the first file that has any, for the detection of its format: at most THAW_HEAD_LINES
// lines and THAW_HEAD_BYTES bytes, whole lines only (but a longer first line is there, cut).
enum { THAW_HEAD_LINES = 200, THAW_HEAD_BYTES = 256 << 10 };
struct thaw_head {
    const char *path; // borrowed from the sources; the first file when all are empty
    int nlines;       // 0 when all files are empty
    struct {
        const char *text;
        size_t n;
    } line[THAW_HEAD_LINES];
    char *bytes; // what the lines point into
};
// Local. THAW_ENOINPUT, THAW_EDATA, THAW_EMEM as the reader.
int thaw_head_read(struct thaw_head *head, const struct thaw_sources *s, struct thaw_err *err);
void thaw_head_clear(struct thaw_head *head);

// Where a line is, for people: "events.csv:17", or, in a unit that does not begin its file,
// "events.csv@33554500" (the byte offset: `tail -c +33554501 events.csv | head -1` shows it). Returns buf,
// cut to cap.
char *thaw_line_place(char *buf, size_t cap, const struct thaw_line *line);

#endif
