// encoder.h: values of attributes of users and items (gender, genres, price, a description) as columns of a
// sparse feature row. docs/formats.md has the columns' definition. No MPI; local.
#ifndef THAW_FEATURES_ENCODER_H
#define THAW_FEATURES_ENCODER_H

#include "base/err.h"
#include "features/field.h"
#include "proto/thaw.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

// The parts of a MULTI value: the next one, blanks trimmed, empty ones skipped. *at starts as 0; false at the
// end.
bool thaw_attribute_part(const char *value, size_t n, size_t *at, struct thaw_field *part);

// An encoder: attributes with their dictionaries ready for look-up. Read-only after creation; borrows the
// attributes.
struct thaw_encoder;
int thaw_encoder_new(struct thaw_encoder **e, Thaw__Attribute *const *attribute, size_t n,
                     struct thaw_err *err);
void thaw_encoder_free(struct thaw_encoder **e);

// A sparse row under construction; one thread's own. Starts zeroed; thaw_row_clear frees it.
struct thaw_row {
    struct thaw_row_pair {
        uint32_t column;
        float value;
    } * pair; // n, columns rising inside an attribute; attributes added in order give a rising row
    size_t n, cap;
    uint64_t *bucket; // scratch
    size_t bucket_cap;
};
void thaw_row_clear(struct thaw_row *r);

// Local. Append attribute `which` of a row with this value (UTF-8; blanks around it are ignored). Set r->n =
// 0 before a new row.
//   CATEGORICAL 1; MULTI 1 / sqrt(m) at each of the m distinct parts that have a column; NUMERIC (x - mean) /
//   deviation, nothing for what is no number or a deviation of 0; TEXT as below. THAW_EMEM.
int thaw_encoder_add(const struct thaw_encoder *e, size_t which, const char *value, size_t n,
                     struct thaw_row *r, struct thaw_err *err);

// The features of a text: words, which are runs of letters, digits and all other code points from U+0080 on
// but blanks and punctuation of U+0080-U+00BF (except ª, µ, º), U+2000-U+206F, U+3000-U+303F, U+FF00-U+FF0F;
// A-Z become a-z. Each word gives one feature "w" + word, and one feature "t" + trigram for every three code
// points in a row of ^word$ (that is, with a byte 0x02 before and 0x03 behind). A feature's bucket: the high
// 32 bits of its XXH3-64, scaled to [0, buckets) (thaw_hash_part). Value of a bucket: its count, divided by
// the root of the sum of squared counts.

#endif
