// fields.h: delimited text: what a file's format is, and cutting its lines into fields. Local; no MPI.
// struct thaw_format is read-only after detection and may be shared by threads; a struct thaw_fields belongs
// to one thread.
#ifndef THAW_PARTITION_FIELDS_H
#define THAW_PARTITION_FIELDS_H

#include "features/field.h"
#include "partition/source.h"

enum thaw_header { THAW_HEADER_AUTO, THAW_HEADER_YES, THAW_HEADER_NO }; // "auto|yes|no"
enum thaw_encoding { THAW_UTF8, THAW_LATIN1 };                          // "utf-8|latin-1"
enum { THAW_DELIMITER_MAX = 7, THAW_FIELDS_MAX = 4096 };

// What a user may say about a format; zero values mean "find out".
struct thaw_format_wish {
    // NULL or "auto": detected; "tab", "\t" (also as two characters), "comma", "semicolon", "bar", "blank",
    // or itself.
    const char *delimiter;
    enum thaw_header header;
    enum thaw_encoding encoding;
    const char *columns; // a specification (thaw_columns_find) or NULL; helps to tell a header
    bool no_quoting;     // a quote is a byte like any other, whatever the delimiter
    bool lists;          // a line is a user and any number of items; no header, no quoting
};

// What the values of a column look like in the first lines.
enum thaw_looks { THAW_LOOKS_EMPTY, THAW_LOOKS_NUMBER, THAW_LOOKS_TIME, THAW_LOOKS_TEXT };

struct thaw_format {
    char *path;                             // of the file it was detected from, for messages
    char delimiter[THAW_DELIMITER_MAX + 1]; // bytes; " " stands for runs of blanks (spaces and tabs)
    int ndelimiter;
    bool blank;   // delimiter is runs of blanks; those at the ends of a line are ignored
    bool quoting; // a field that begins with " ends with "; inside, "" is "
    bool has_header;
    bool header_sure; // the user said so: every file has one
    bool lists;       // lines have a user, then any number of items; nfields is 2
    enum thaw_encoding encoding;
    int nfields;            // of the header, or the commonest number in the first lines
    char **name;            // nfields names in UTF-8, blanks trimmed, when has_header; else NULL
    enum thaw_looks *looks; // nfields; of lines that are not the header
    int *distinct;          // nfields: distinct values in the first lines
    char *header;           // the header line as it stands in the file, nheader bytes
    size_t nheader;
};

// Local. Find out the format from the first lines of the input. A delimiter is chosen among tab, "::", ",",
// ";", "|" and blanks as the one that cuts most lines into the same number (over 1) of fields; none does: one
// field a line. A header is seen when a cell of the first line is one of the wished columns' names, or when
// the line has no numbers but a usual name of ids (user_id, product, a leading id, ...), or when it has names
// over all columns of numbers or times. Of lists, the delimiter is the one that cuts most lines. THAW_EDATA:
// no lines at all, too many fields, control bytes in a header. THAW_EUSAGE: delimiter of wrong length.
int thaw_format_detect(struct thaw_format **f, const struct thaw_head *head,
                       const struct thaw_format_wish *wish, struct thaw_err *err);
void thaw_format_free(struct thaw_format **f);
// One line for people: `comma-separated, 5 fields, header, utf-8`. Returns buf, cut to cap.
char *thaw_format_describe(const struct thaw_format *f, char *buf, size_t cap);

// The number of the column `name` (exact, UTF-8), or -1.
int thaw_format_column(const struct thaw_format *f, const char *name);
// The columns a file has, for error messages: `CustomerID, StockCode, ...` or `5 columns without names`.
// Returns buf.
char *thaw_format_columns(const struct thaw_format *f, char *buf, size_t cap);

// Is this line, the first of its file, a header to be skipped? True when it equals the first file's header. A
// file of a set without header (a piece of a cut log) is fine, unless the user said that all have one.
// THAW_EDATA when it is a header other than the first file's, since columns would be mixed up; THAW_EMEM.
int thaw_format_first(const struct thaw_format *f, const struct thaw_line *line, bool *header,
                      struct thaw_err *err);

struct thaw_fields {
    struct thaw_field *field; // cap
    int cap;
    char *scratch;     // THAW_LINE_MAX bytes, only with quoting
    char *scratch_end; // used so far for this line
};
// Local. Room for the fields of a format's lines. THAW_EMEM.
int thaw_fields_new(struct thaw_fields *s, const struct thaw_format *f, struct thaw_err *err);
void thaw_fields_clear(struct thaw_fields *s);

// Cut a line (n <= THAW_LINE_MAX) into fields, valid until the next call and as long as the line. Returns how
// many it has (the first min(cap, that) are stored), or THAW_SPLIT_QUOTE for a quoted field that does not end
// or has text after its end. A line of nothing has one empty field (none when the delimiter is blanks). No
// allocation; bound by bytes.
enum { THAW_SPLIT_QUOTE = -1 };
int thaw_fields_split(struct thaw_fields *s, const struct thaw_format *f, const char *line, size_t n);

// Cut the next field off a line of a list: *at moves behind it, and is NULL behind the last one. False at the
// end. Local; thread-safe; no allocation.
bool thaw_field_next(const struct thaw_format *f, const char **at, const char *end, struct thaw_field *field);

#endif
