// encoder.c: values of attributes as columns of a sparse row.
#include "features/encoder.h"
#include "base/hash.h"
#include "base/mem.h"
#include "features/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Open addressing over an attribute's values; 1 + index, 0 is free.
struct dictionary {
    uint32_t *slot;
    uint64_t nslots; // a power of two, at least twice the values
};

struct thaw_encoder {
    Thaw__Attribute *const *attribute;
    size_t n;
    struct dictionary *dictionary; // n
};

static int build(struct dictionary *d, const Thaw__Attribute *a, struct thaw_err *err) {
    uint64_t nslots = 4;
    while (nslots < 2 * (uint64_t)a->n_values) nslots *= 2;
    int code = thaw_alloc(&d->slot, nslots, sizeof *d->slot, "an attribute's values", err);
    if (code) return code;
    d->nslots = nslots;
    for (size_t i = 0; i < a->n_values; i++) {
        uint64_t at = thaw_hash_slot(thaw_hash_id(a->values[i].data, a->values[i].len), nslots);
        while (d->slot[at]) at = (at + 1) & (nslots - 1);
        d->slot[at] = (uint32_t)i + 1;
    }
    return THAW_OK;
}

// The place of a value among the attribute's values, or -1.
static int64_t find(const struct dictionary *d, const Thaw__Attribute *a, struct thaw_field value) {
    uint64_t at = thaw_hash_slot(thaw_hash_id(value.text, value.n), d->nslots);
    for (; d->slot[at]; at = (at + 1) & (d->nslots - 1)) {
        const ProtobufCBinaryData *known = &a->values[d->slot[at] - 1];
        if (known->len == value.n && memcmp(known->data, value.text, value.n) == 0) return d->slot[at] - 1;
    }
    return -1;
}

int thaw_encoder_new(struct thaw_encoder **out, Thaw__Attribute *const *attribute, size_t n,
                     struct thaw_err *err) {
    struct thaw_encoder *e = NULL;
    int code = thaw_alloc(&e, 1, sizeof *e, "an encoder", err);
    if (code) return code;
    e->attribute = attribute;
    code = thaw_alloc(&e->dictionary, n, sizeof *e->dictionary, "an encoder", err);
    if (!code) e->n = n;
    for (size_t i = 0; i < n && !code; i++) code = build(&e->dictionary[i], attribute[i], err);
    if (code)
        thaw_encoder_free(&e);
    else
        *out = e;
    return code;
}

void thaw_encoder_free(struct thaw_encoder **out) {
    struct thaw_encoder *e = *out;
    if (!e) return;
    for (size_t i = 0; i < e->n; i++) free(e->dictionary[i].slot);
    free(e->dictionary);
    free(e);
    *out = NULL;
}

void thaw_row_clear(struct thaw_row *r) {
    free(r->pair);
    free(r->bucket);
    *r = (struct thaw_row){0};
}

bool thaw_attribute_part(const char *value, size_t n, size_t *at, struct thaw_field *part) {
    while (*at < n) {
        const char *bar = memchr(value + *at, '|', n - *at);
        size_t end = bar ? (size_t)(bar - value) : n;
        *part = thaw_field_trim((struct thaw_field){value + *at, end - *at});
        *at = end + 1;
        if (part->n > 0) return true;
    }
    return false;
}

static int append(struct thaw_row *r, uint64_t column, double value, struct thaw_err *err) {
    int code = thaw_grow(&r->pair, &r->cap, r->n + 1, sizeof *r->pair, "a feature row", err);
    if (!code) r->pair[r->n++] = (struct thaw_row_pair){(uint32_t)column, (float)value};
    return code;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Keep a column for later: they may come in any order and more than once.
static int note(struct thaw_row *r, size_t *n, uint64_t column, struct thaw_err *err) {
    int code = thaw_grow(&r->bucket, &r->bucket_cap, *n + 1, sizeof *r->bucket, "a feature row", err);
    if (!code) r->bucket[(*n)++] = column;
    return code;
}

// The noted columns, each once and rising: its count or 1, scaled so that the row has length 1.
static int append_noted(struct thaw_row *r, size_t n, uint64_t first_column, bool counted,
                        struct thaw_err *err) {
    double squares = 0;
    int code = THAW_OK;
    if (n > 1) qsort(r->bucket, n, sizeof *r->bucket, by_number);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0, run; i < n && !code; i += run) {
            for (run = 1; i + run < n && r->bucket[i + run] == r->bucket[i]; run++) {
            }
            double count = counted ? (double)run : 1;
            if (pass == 0)
                squares += count * count; // whole numbers: exact in any order
            else
                code = append(r, first_column + r->bucket[i], count / sqrt(squares), err);
        }
    return code;
}

static int add_values(const struct thaw_encoder *e, size_t which, struct thaw_field value, struct thaw_row *r,
                      struct thaw_err *err) {
    const Thaw__Attribute *a = e->attribute[which];
    struct thaw_field part = value;
    size_t at = 0, n = 0;
    bool multi = a->kind == THAW__ATTRIBUTE__KIND__MULTI;
    int code = THAW_OK;
    while (!code && (multi ? thaw_attribute_part(value.text, value.n, &at, &part) : at++ == 0)) {
        int64_t place = find(&e->dictionary[which], a, part);
        if (place >= 0) code = note(r, &n, (uint64_t)place, err);
    }
    return code ? code : append_noted(r, n, (uint64_t)a->first_column, false, err);
}

static int add_number(const Thaw__Attribute *a, struct thaw_field value, struct thaw_row *r,
                      struct thaw_err *err) {
    double x;
    if (thaw_number_parse(value.text, value.n, &x) != THAW_NUMBER_OK || !(a->deviation > 0)) return THAW_OK;
    x = (x - a->mean) / a->deviation;
    return isfinite((float)x) ? append(r, (uint64_t)a->first_column, x, err) : THAW_OK;
}

// ---- Text ----

// Bytes of the code point at text[0] of valid UTF-8, at most n; its number is left in *point.
static size_t code_point(const char *text, size_t n, uint32_t *point) {
    const unsigned char *t = (const unsigned char *)text;
    size_t want = t[0] < 0x80 ? 1 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : 4;
    if (want > n) want = n;
    *point = want == 1 ? t[0] : t[0] & (0xffu >> (want + 1));
    for (size_t i = 1; i < want; i++) *point = *point << 6 | (t[i] & 0x3f);
    return want;
}

static bool in_word(uint32_t point) {
    if (point < 0x80)
        return (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') ||
               (point >= 'A' && point <= 'Z');
    if (point < 0xc0) return point == 0xaa || point == 0xb5 || point == 0xba;
    return !(point >= 0x2000 && point <= 0x206f) && !(point >= 0x3000 && point <= 0x303f) &&
           !(point >= 0xff00 && point <= 0xff0f);
}

enum { WORD_BYTES = 256 }; // longer words are cut for hashing: nobody means them

// A word between its marks, as features.
static int note_word(struct thaw_row *r, size_t *n, const char *word, size_t nbytes, int32_t buckets,
                     struct thaw_err *err) {
    char text[WORD_BYTES + 8] = "w";
    memcpy(text + 1, word, nbytes);
    int code = note(r, n, (uint64_t)thaw_hash_part(thaw_hash_id(text, nbytes + 1), buckets), err);
    text[0] = 2;
    text[nbytes + 1] = 3;
    size_t total = nbytes + 2, start[3] = {0}; // starts of the last three code points
    uint32_t point;
    int seen = 0;
    for (size_t at = 0; at < total && !code; seen++) {
        start[seen % 3] = at;
        at += code_point(text + at, total - at, &point);
        if (seen < 2) continue;
        size_t first = start[(seen + 1) % 3];
        char trigram[16] = "t";
        memcpy(trigram + 1, text + first, at - first);
        code = note(r, n, (uint64_t)thaw_hash_part(thaw_hash_id(trigram, at - first + 1), buckets), err);
    }
    return code;
}

static int add_text(const Thaw__Attribute *a, struct thaw_field value, struct thaw_row *r,
                    struct thaw_err *err) {
    char word[WORD_BYTES];
    size_t nword = 0, n = 0;
    bool cut = false;
    int code = THAW_OK;
    for (size_t at = 0; at <= value.n && !code;) {
        uint32_t point = ' ';
        size_t length = at < value.n ? code_point(value.text + at, value.n - at, &point) : 1;
        if (in_word(point)) {
            cut = cut || nword + length > sizeof word;
            for (size_t i = 0; i < length && !cut; i++) {
                char c = value.text[at + i];
                word[nword++] = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
            }
        } else if (nword > 0) {
            code = note_word(r, &n, word, nword, a->columns, err);
            nword = 0;
            cut = false;
        }
        at += length;
    }
    return code ? code : append_noted(r, n, (uint64_t)a->first_column, true, err);
}

int thaw_encoder_add(const struct thaw_encoder *e, size_t which, const char *value, size_t n,
                     struct thaw_row *r, struct thaw_err *err) {
    const Thaw__Attribute *a = e->attribute[which];
    struct thaw_field f = thaw_field_trim((struct thaw_field){value, n});
    if (f.n == 0) return THAW_OK;
    switch (a->kind) {
    case THAW__ATTRIBUTE__KIND__NUMERIC:
        return add_number(a, f, r, err);
    case THAW__ATTRIBUTE__KIND__TEXT:
        return add_text(a, f, r, err);
    default:
        return add_values(e, which, f, r, err);
    }
}
