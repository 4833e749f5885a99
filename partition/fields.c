// fields.c: cutting a line into fields. What bounds it is the number of bytes: one pass of eight at a time.
#include "partition/fields.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t ones = UINT64_C(0x0101010101010101), lows = UINT64_C(0x7f7f7f7f7f7f7f7f);
static const uint64_t highs = UINT64_C(0x8080808080808080);

int thaw_fields_new(struct thaw_fields *s, const struct thaw_format *f, struct thaw_err *err) {
    memset(s, 0, sizeof *s);
    int code = thaw_alloc(&s->field, (size_t)f->nfields, sizeof *s->field, "the fields of a line", err);
    if (code == THAW_OK && f->quoting)
        code = thaw_alloc(&s->scratch, THAW_LINE_MAX, 1, "the fields of a line", err);
    if (code != THAW_OK) thaw_fields_clear(s);
    if (code == THAW_OK) s->cap = f->nfields;
    return code;
}

void thaw_fields_clear(struct thaw_fields *s) {
    free(s->field);
    free(s->scratch);
    memset(s, 0, sizeof *s);
}

// The bytes of a line in order from its lowest bits on.
static uint64_t load8(const char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    return w;
}

// 0x80 in exactly the bytes of w that equal the one repeated in `pattern`.
static uint64_t matches(uint64_t w, uint64_t pattern) {
    uint64_t x = w ^ pattern;
    return ~(((x & lows) + lows) | x | lows);
}

// Its high bits are not all zero exactly when some byte of w equals the one repeated in `pattern`; cheaper
// than where.
static uint64_t occurs(uint64_t w, uint64_t pattern) {
    uint64_t x = w ^ pattern;
    return (x - ones) & ~x;
}

struct cutter {
    struct thaw_field *field;
    int cap, n;
    const char *start; // of the current field
};

static inline void cut(struct cutter *c, const char *end, const char *next) {
    if (c->n < c->cap) c->field[c->n] = (struct thaw_field){c->start, (size_t)(end - c->start)};
    c->n++;
    c->start = next;
}

// The delimiter's first byte stands at p. Longer ones do not overlap and must fit.
static inline void maybe_cut(struct cutter *c, const struct thaw_format *f, bool one, const char *p,
                             const char *end) {
    if (one)
        cut(c, p, p + 1);
    else if (p >= c->start && end - p >= f->ndelimiter && memcmp(p, f->delimiter, (size_t)f->ndelimiter) == 0)
        cut(c, p, p + f->ndelimiter);
}

// Bit i: byte i of w equals the one repeated in `pattern`. (The product brings the bytes' bits together at
// the top.)
static inline uint64_t match_bits(uint64_t w, uint64_t pattern) {
    return ((matches(w, pattern) >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

// The last n < 8 bytes of a line of `length`, then zeros.
static inline uint64_t load_last(const char *end, size_t n, size_t length) {
    uint64_t w = 0;
    if (length >= 8) return load8(end - 8) >> (64 - 8 * n);
    for (size_t i = n; i > 0; i--) w = w << 8 | (unsigned char)end[-(ptrdiff_t)(n - i + 1)];
    return w;
}

// one: the delimiter is one byte; a constant, so that each kind has a loop of its own. False when there is a
// quote. Delimiters are found 64 bytes at a time, so that the loop over them runs as often for most lines.
static inline bool split_plain(struct cutter *out, const struct thaw_format *f, bool one, const char *line,
                               size_t n) {
    struct cutter c = *out; // in registers
    const char *end = line + n;
    const uint64_t pattern = ones * (unsigned char)f->delimiter[0], quote = ones * '"';
    uint64_t quotes = 0;
    for (const char *p = line; p < end; p += 64) {
        size_t left = (size_t)(end - p), i = 0, whole = left < 64 ? left & ~(size_t)7 : 64;
        uint64_t hits = 0, w;
        for (; i < whole; i += 8) {
            w = load8(p + i);
            quotes |= occurs(w, quote);
            hits |= match_bits(w, pattern) << i;
        }
        if (i < 64 && i < left) {
            w = load_last(end, left - i, n);
            quotes |= occurs(w, quote);
            hits |= match_bits(w, pattern) << i;
        }
        for (; hits != 0; hits &= hits - 1) maybe_cut(&c, f, one, p + __builtin_ctzll(hits), end);
    }
    cut(&c, end, end);
    *out = c;
    return (quotes & highs) == 0;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static int split_blanks(struct cutter *c, const char *line, size_t n) {
    const char *p = line, *end = line + n;
    for (;;) {
        while (p < end && is_blank(*p)) p++;
        if (p == end) return c->n;
        c->start = p;
        while (p < end && !is_blank(*p)) p++;
        cut(c, p, p);
    }
}

// A quoted field from p (its first quote) on; *next is behind its last quote. False when it does not end.
static bool unquote(struct thaw_fields *s, const char *p, const char *end, struct thaw_field *field,
                    const char **next) {
    const char *start = ++p;
    char *out = NULL; // in the scratch buffer once there is a doubled quote
    for (;;) {
        const char *quote = memchr(p, '"', (size_t)(end - p));
        if (quote == NULL) return false;
        bool doubled = quote + 1 < end && quote[1] == '"';
        if (doubled && out == NULL) {
            out = s->scratch_end;
            field->text = out;
        }
        size_t n = (size_t)(quote - p) + (doubled ? 1 : 0);
        if (out != NULL) {
            memcpy(out, p, n);
            out += n;
        }
        p = quote + (doubled ? 2 : 1);
        if (doubled) continue;
        if (out == NULL) {
            *field = (struct thaw_field){start, (size_t)(quote - start)};
        } else {
            field->n = (size_t)(out - field->text);
            s->scratch_end = out;
        }
        *next = p;
        return true;
    }
}

static int split_quoted(struct thaw_fields *s, struct cutter *c, char delimiter, const char *line, size_t n) {
    const char *end = line + n;
    s->scratch_end = s->scratch;
    for (;;) {
        const char *next;
        if (c->start < end && *c->start == '"') {
            struct thaw_field field;
            if (!unquote(s, c->start, end, &field, &next)) return THAW_SPLIT_QUOTE;
            if (next < end && *next != delimiter) return THAW_SPLIT_QUOTE;
            if (c->n < c->cap) c->field[c->n] = field;
            c->n++;
        } else {
            next = memchr(c->start, delimiter, (size_t)(end - c->start));
            if (next == NULL) next = end;
            cut(c, next, next);
        }
        if (next == end) return c->n;
        c->start = next + 1;
    }
}

int thaw_fields_split(struct thaw_fields *s, const struct thaw_format *f, const char *line, size_t n) {
    const struct cutter fresh = {.field = s->field, .cap = s->cap, .start = line};
    struct cutter c = fresh;
    if (f->blank) return split_blanks(&c, line, n);
    bool plain = f->ndelimiter == 1 ? split_plain(&c, f, true, line, n) : split_plain(&c, f, false, line, n);
    if (plain || !f->quoting) return c.n;
    c = fresh;
    return split_quoted(s, &c, f->delimiter[0], line, n);
}
