// attribute.c: what the values of an attribute look like, and its kind.
#include "partition/attribute.h"

#include "base/hash.h"
#include "features/number.h"

#include <math.h>
#include <string.h>

enum { SKETCH_BITS = 12, NUMERIC_DISTINCT = 32 };

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

void thaw_attribute_look(struct thaw_attribute_stats *s, const char *value, size_t n) {
    struct thaw_field f = thaw_field_trim((struct thaw_field){value, n});
    double number;
    if (f.n == 0) return;
    s->values++;
    s->numbers += thaw_number_parse(f.text, f.n, &number) == THAW_NUMBER_OK;
    s->barred += memchr(f.text, '|', f.n) != NULL;
    for (size_t i = 0; i < f.n; i++) s->words += !blank(f.text[i]) && (i == 0 || blank(f.text[i - 1]));
    uint64_t hash = thaw_hash_id(f.text, f.n), rest = hash << SKETCH_BITS;
    int64_t zeros = rest ? __builtin_clzll(rest) + 1 : 64 - SKETCH_BITS + 1;
    int64_t *place = &s->seen[hash >> (64 - SKETCH_BITS)];
    if (zeros > *place) *place = zeros;
}

double thaw_attribute_distinct(const struct thaw_attribute_stats *s) {
    double m = THAW_SKETCH, sum = 0;
    int empty = 0;
    for (int i = 0; i < THAW_SKETCH; i++) {
        sum += ldexp(1, -(int)s->seen[i]);
        empty += s->seen[i] == 0;
    }
    double estimate = 0.7213 / (1 + 1.079 / m) * m * m / sum;
    return estimate <= 2.5 * m && empty > 0 ? m * log(m / empty)
                                            : estimate; // few values: count the places hit
}

Thaw__Attribute__Kind thaw_attribute_guess(const struct thaw_attribute_stats *s) {
    double values = (double)s->values, distinct = thaw_attribute_distinct(s);
    if (s->values == 0) return THAW__ATTRIBUTE__KIND__CATEGORICAL;
    if ((double)s->numbers >= 0.99 * values && distinct > NUMERIC_DISTINCT + 0.5)
        return THAW__ATTRIBUTE__KIND__NUMERIC;
    if ((double)s->barred >= 0.1 * values) return THAW__ATTRIBUTE__KIND__MULTI;
    if ((double)s->words >= 3 * values && distinct >= 0.5 * values) return THAW__ATTRIBUTE__KIND__TEXT;
    return THAW__ATTRIBUTE__KIND__CATEGORICAL;
}
