// event.h: an event of a log, why a line is not one, and the quarantine's records. Local; no MPI.
// struct thaw_columns is plain data; a parser belongs to one thread.
#ifndef THAW_PARTITION_EVENT_H
#define THAW_PARTITION_EVENT_H

#include "partition/fields.h"

enum { THAW_ID_MAX = 255 }; // bytes of an id

// Which field is what; -1 when the log has none (user and item are always there).
struct thaw_columns {
    int user, item, event, value, time;
    bool guessed; // by position and looks, not by name or by the user
};

// Local. spec: "user,item,event,value,time" by position ("-" skips a field; fields after the last are not
// used), or by name when the log has a header
// ("user=CustomerID,item=StockCode,value=Quantity,time=InvoiceDate"). NULL or "": by the names in the header
// that are well known (user, user_id, CustomerID, ...; item, product_id, movieId, ...; event; value, rating,
// ...; time, timestamp, ...); when user or item is not among them, user and item are the first two fields and
// the others are told by their looks in the first lines (times, numbers, few distinct words). THAW_EUSAGE:
// malformed spec. Of lists, the user is the first field and all others are items, whatever spec says.
// THAW_EDATA: "events.csv: no column 'CustomerID'; it has: ...", or too few fields.
int thaw_columns_find(struct thaw_columns *c, const struct thaw_format *f, const char *spec,
                      struct thaw_err *err);
// What was decided, for people: `user = CustomerID (field 7), item = ..., no event`. Returns buf, cut to cap.
char *thaw_columns_describe(const struct thaw_columns *c, const struct thaw_format *f, char *buf, size_t cap);

// What became of a line. Exactly one outcome per line, so the counts add up to the lines read.
enum thaw_outcome {
    THAW_EVENT_OK,
    // neither events nor bad
    THAW_EVENT_BLANK,  // nothing but blanks
    THAW_EVENT_HEADER, // the header of its file
    // left out by a rule, not bad
    THAW_EVENT_NO_USER,  // empty user id
    THAW_EVENT_NO_ITEM,  // empty item id
    THAW_EVENT_NEGATIVE, // strength not positive, under THAW_NEGATIVE_SKIP
    // bad
    THAW_EVENT_BAD_LENGTH,     // the line is longer than THAW_LINE_MAX
    THAW_EVENT_BAD_FIELDS,     // number of fields
    THAW_EVENT_BAD_QUOTE,      // a quoted field that does not end, or goes on after its end
    THAW_EVENT_BAD_ID_LENGTH,  // id longer than THAW_ID_MAX
    THAW_EVENT_BAD_UTF8,       // id is not UTF-8
    THAW_EVENT_BAD_CONTROL,    // control byte (NUL included) in an id
    THAW_EVENT_BAD_EVENT,      // event name without a weight
    THAW_EVENT_BAD_NUMBER,     // value is not a number
    THAW_EVENT_BAD_NOT_FINITE, // value (or value x weight) is NaN, infinite, or too large for a float
    THAW_EVENT_BAD_TIME,       // not a time, or outside 1900-01-01 .. 2200-01-01
    THAW_OUTCOMES
};
// "ok", "no-user", "field-count", "not-finite", ...: stable, [a-z0-9-]
const char *thaw_outcome_name(enum thaw_outcome o);
const char *thaw_outcome_about(enum thaw_outcome o); // "the user id is empty": for people
static inline bool thaw_outcome_bad(enum thaw_outcome o) {
    return o >= THAW_EVENT_BAD_LENGTH;
}

struct thaw_event {
    // UTF-8, trimmed, 1..THAW_ID_MAX bytes, not terminated; valid until the next parse
    const char *user, *item;
    uint32_t nuser, nitem;
    float value;               // strength: weight of the event's name x value
    int64_t time;              // unix seconds; 0 when the log has no times
    enum thaw_outcome outcome; // the rest is set only when it is THAW_EVENT_OK
};

// What to do with a strength that is not positive: hand it out (what merges events sums them and leaves out
// pairs that end up not positive), leave it out here, or hand it out and keep it (explicit ratings). MERGE
// and KEEP are the same to the parser.
enum thaw_negative { THAW_NEGATIVE_MERGE, THAW_NEGATIVE_SKIP, THAW_NEGATIVE_KEEP }; // "merge|skip|keep"

// Local. weights: "view=1,cart=3,buy=5", names exact; NULL or "": every event weighs 1, whatever its name.
// With weights but no event column, or a name given twice, or a weight that is not a finite number:
// THAW_EUSAGE. f must outlive the parser.
struct thaw_parser;
int thaw_parser_new(struct thaw_parser **p, const struct thaw_format *f, const struct thaw_columns *c,
                    const char *weights, enum thaw_negative negative, struct thaw_err *err);
void thaw_parser_free(struct thaw_parser **p);

// Local. Parse one line of a reader; *e says what became of it. Fails only where a whole file is wrong:
// THAW_EDATA, a header other than the first file's. An empty value field counts as 1. Ids in Latin-1 come out
// in UTF-8. Allocates nothing.
int thaw_parser_parse(struct thaw_parser *p, const struct thaw_line *line, struct thaw_event *e,
                      struct thaw_err *err);

// Local. A line of lists: *e says what became of it (THAW_EVENT_NO_ITEM for a user alone); THAW_EVENT_OK: its
// items follow, one event each of value 1 and no time, from calls of thaw_parser_item while it returns true.
// *e says what became of each, so a bad item spoils its own event alone; *item: its bytes, as they are in the
// line, which must stay until the last item. Allocates nothing.
void thaw_parser_list(struct thaw_parser *p, const struct thaw_line *line, struct thaw_event *e);
bool thaw_parser_item(struct thaw_parser *p, struct thaw_event *e, struct thaw_field *item);

// The quarantine's record of a line: `place<TAB>reason<TAB>line<LF>`; in place and line, tabs, control bytes
// and backslashes are escaped (\t, \x00, \\), and the line is cut to its first 4096 bytes. Returns its
// length, at most THAW_QUARANTINE_MAX. Local; thread-safe.
enum { THAW_QUARANTINE_MAX = 4 * (4096 + 4096 + 64) };
size_t thaw_quarantine_format(char out[THAW_QUARANTINE_MAX], const struct thaw_line *line,
                              enum thaw_outcome o);

#endif
