// badlines.h: the lines that are not events: kept in order, then written to one file with their exact line
// numbers.
#ifndef THAW_COMM_BADLINES_H
#define THAW_COMM_BADLINES_H

#include "base/log.h"
#include "comm/world.h"
#include "partition/event.h"
#include "partition/spill.h"

enum { THAW_BADLINES_LOG, THAW_BADLINES_USERS, THAW_BADLINES_ITEMS, THAW_BADLINES_INPUTS };

// The bad lines a rank has read: of the log, where its units are consecutive, then of the attribute files.
struct thaw_badlines {
    struct thaw_spill *lines;         // bucket 0: records of the log; then lines as they go to the file
    const struct thaw_sources *files; // borrowed
    int64_t first_unit, nunits;       // of this rank
    int64_t *unit_lines;              // nunits: lines of each unit
    int64_t count;                    // bad lines of the log
};

// Local. Borrows pool and sources. THAW_EMEM.
int thaw_badlines_new(struct thaw_badlines *q, struct thaw_spill_pool *pool, const struct thaw_sources *files,
                      int64_t first_unit, int64_t nunits, struct thaw_err *err);
void thaw_badlines_clear(struct thaw_badlines *q);
// Local. Keep a bad line of unit `unit`.
int thaw_badlines_put(struct thaw_badlines *q, int64_t unit, const struct thaw_line *line,
                      enum thaw_outcome o, struct thaw_err *err);
// Local. Keep a bad line of an attribute file (input: of users or items).
int thaw_badlines_put_profile(struct thaw_badlines *q, int input, const struct thaw_line *line,
                              enum thaw_outcome o, struct thaw_err *err);
// Collective. Number the lines and write DIR/NAME in the order of the input, the same bytes for any ranks;
// nothing when there are no bad lines (a file of an earlier run is removed). The first few go to the log.
// THAW_EIO.
int thaw_badlines_write(struct thaw_badlines *q, struct thaw_comm *c, struct thaw_log *log, const char *dir,
                        const char *name, struct thaw_err *err);

#endif
