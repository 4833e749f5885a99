// profile.h: the lines of an attribute file as an id and its values. No MPI; local; a parser belongs to one
// thread.
#ifndef THAW_PARTITION_PROFILE_H
#define THAW_PARTITION_PROFILE_H

#include "partition/attribute.h"
#include "partition/event.h"

struct thaw_profile {
    enum thaw_outcome outcome; // the rest is set only when it is THAW_EVENT_OK
    const char *id;            // UTF-8, trimmed, 1..THAW_ID_MAX bytes; not terminated
    uint32_t nid;
    const struct thaw_field
        *value; // one per attribute of the plan, UTF-8, trimmed; control bytes may be inside
};

// f and plan must outlive the parser. An empty id is NO_USER or NO_ITEM by the side. THAW_EMEM.
struct thaw_profile_parser;
int thaw_profile_parser_new(struct thaw_profile_parser **p, const struct thaw_format *f,
                            const struct thaw_attribute_plan *plan, enum thaw_side side,
                            struct thaw_err *err);
void thaw_profile_parser_free(struct thaw_profile_parser **p);

// Local. Parse one line of a reader; *out says what became of it and is valid until the next call. A value
// that is not UTF-8 makes the line bad. Fails where a whole file is wrong: THAW_EDATA, a header other than
// the first file's. Allocates nothing.
int thaw_profile_parse(struct thaw_profile_parser *p, const struct thaw_line *line, struct thaw_profile *out,
                       struct thaw_err *err);

#endif
