// attribute.h: attributes of users and items (gender, genres, price, a description): which field of a file is
// what, and of what kind it is. features/encoder.h makes columns of their values. No MPI; local.
//
// Kinds (message Attribute of thaw.proto): CATEGORICAL and MULTI (values separated by "|") have one column
// per value of a dictionary, NUMERIC one column, TEXT a fixed number of buckets for hashed words and
// character trigrams. A value without a column (unknown, or left out of the dictionary) and an empty value
// give nothing, and are legal.
#ifndef THAW_PARTITION_ATTRIBUTE_H
#define THAW_PARTITION_ATTRIBUTE_H

#include "base/part.h"
#include "features/encoder.h"
#include "partition/fields.h"
#include "proto/thaw.pb-c.h"

enum { THAW_TEXT_BUCKETS = 4096, THAW_ATTRIBUTE_NAME_MAX = 255 };
enum { THAW_KIND_GUESS = -1 }; // beside Thaw__Attribute__Kind

// Which field of a file is the id, which are attributes.
struct thaw_attribute_plan {
    int id; // field
    int n;  // attributes, in the order of the specification or of the fields
    struct thaw_attribute_field {
        char *name; // owned, unique
        int field;
        int kind; // Thaw__Attribute__Kind or THAW_KIND_GUESS
    } * attribute;
};

// Local. spec: entries separated by commas.
//   without a header, or when an entry is "-": in the order of the fields. "id" is the id, "-" skips a field,
//     "name" or "name:kind" is an attribute; fields after the last entry are not used. Without an entry "id"
//     the id is the first field, and the entries begin with the second.
//   with a header: "column" or "name=column", each with ":kind" behind it or not, and "id=column"; columns not
//     named are not used. Without "id=" the id is found as below.
// kind: categorical, multi, numeric, text; without it the values decide (thaw_attribute_guess).
// NULL or "": every field is an attribute but the id: the column of a header that is called id, or user,
// customer_id, ... (side THAW_USERS), item, product_id, ... (THAW_ITEMS), else the first. Fields without a
// name are called field2, field3, ... THAW_EUSAGE: malformed; a name given twice. THAW_EDATA: no such column
// (names those there are), or no such field.
int thaw_attribute_plan_find(struct thaw_attribute_plan *p, const struct thaw_format *f, enum thaw_side side,
                             const char *spec, struct thaw_err *err);
void thaw_attribute_plan_clear(struct thaw_attribute_plan *p);
// The names a specification mentions, in the form struct thaw_format_wish.columns wants ("x=gender,x=age"),
// so that a header can be told by them; malloc'd, NULL when there is no specification or no memory.
char *thaw_attribute_wish(const char *spec);
// "categorical", ...
const char *thaw_attribute_kind_name(int kind);

// What the values of a field look like. Counts add up over lines; `seen` takes the larger of each place. So
// statistics can be gathered in any order and merged.
enum { THAW_SKETCH = 4096 }; // registers of the distinct-count sketch; its error is about 1.6 %
struct thaw_attribute_stats {
    int64_t values;  // not empty
    int64_t numbers; // of those, finite numbers
    int64_t barred;  // with a "|" inside
    int64_t words;   // sum over values
    int64_t seen[THAW_SKETCH];
};
void thaw_attribute_look(struct thaw_attribute_stats *s, const char *value, size_t n);
// Number of distinct values, about. Flajolet, Fusy, Gandouet & Meunier 2007 ("HyperLogLog", AofA), with
// 64-bit hashes.
double thaw_attribute_distinct(const struct thaw_attribute_stats *s);
// The kind of a field that nobody named. In this order: NUMERIC when 99 % of the values are numbers and more
// than 32 are distinct (codes such as 0..20 are categories); MULTI when 10 % have a "|"; TEXT when they have
// 3 words on average and half of them are distinct; CATEGORICAL.
Thaw__Attribute__Kind thaw_attribute_guess(const struct thaw_attribute_stats *s);

#endif
