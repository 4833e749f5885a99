// attributes_state.h: what the files behind attributes.h share. Private to them.
#ifndef THAW_COMM_ATTRIBUTES_STATE_H
#define THAW_COMM_ATTRIBUTES_STATE_H

#include "comm/attributes.h"
#include "comm/shuffle.h"
#include "partition/profile.h"

enum { THAW_CATEGORY_MAX = 255 }; // bytes; a longer value is no category

// The numbers of an attribute. Sums are of x - shift, so that squares do not hide the differences.
struct thaw_attributes_numbers {
    double shift;   // a number like the others
    double largest; // |x - shift|
    int64_t count;
};
// A number that counts: finite, and its square as well.
bool thaw_attributes_number(struct thaw_field f, double *x);

struct thaw_attributes_state {
    struct thaw_attributes_config config; // defaults filled in
    struct thaw_sources *sources;
    struct thaw_head head;
    struct thaw_format *format;
    struct thaw_attribute_plan plan;
    struct thaw_profile_parser *parser;
    int64_t first_unit, last_unit;           // read by this rank
    struct thaw_attributes_numbers *numbers; // one per attribute
    struct thaw_spill *rows;                 // one bucket per owned part, of struct thaw_attributes_record
    int64_t *part_rows;                      // of owned parts: how many records each bucket has
    uint8_t *bytes;                          // of the part read back
    size_t bytes_cap;
    struct thaw_attributes_row *row;
    size_t row_cap;
};

// A row on its way and in store; the id, padded to 8 bytes, and the pairs follow.
struct thaw_attributes_record {
    uint64_t hash;
    int64_t offset; // of the line in its file
    int32_t file;
    uint32_t nid, npairs, reserved;
};
static inline size_t thaw_attributes_padded(size_t n) {
    return (n + 7) / 8 * 8;
}

// A walk over the lines of this rank's units.
struct thaw_attributes_walk {
    struct thaw_attributes_state *s;
    struct thaw_comm *comm;
    struct thaw_log *log;
    int64_t unit;
    struct thaw_reader *reader;
    int64_t lines, bytes_before;
    // Called for each line that is a profile.
    int (*take)(void *user, const struct thaw_line *line, const struct thaw_profile *profile,
                struct thaw_err *err);
    void *user;
    int64_t *outcome; // THAW_OUTCOMES; counts lines and keeps bad ones when not NULL
};
// Local. Go on until the units end (*finished) or s's space is full; s may be NULL.
int thaw_attributes_walk(struct thaw_attributes_walk *w, const struct thaw_shuffle *s, bool *finished,
                         struct thaw_err *err);
// Collective. A whole pass whose lines put records into s. Closes the walk.
int thaw_attributes_pass(struct thaw_attributes_walk *w, struct thaw_shuffle *s, const char *what,
                         int (*last)(void *user, struct thaw_err *err), struct thaw_err *err);

// Collective. The second pass: values and counts of CATEGORICAL and MULTI attributes, mean and deviation of
// NUMERIC ones.
int thaw_attributes_values(struct thaw_attributes *a, struct thaw_comm *c, struct thaw_err *err);

#endif
