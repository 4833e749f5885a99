// fields.c: cutting a line into fields. What bounds it is the number of bytes: one pass of eight at a time.
#include "partition/fields.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

typedef uint8_t bytes16 __attribute__((vector_size(16)));

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

// Bit i: byte i of `same`, which is all ones or all zeros, is set.
static inline uint64_t bits_of(bytes16 same) {
#ifdef __SSE2__ // of every x86-64
    typedef char signed16 __attribute__((vector_size(16)));
    return (uint32_t)__builtin_ia32_pmovmskb128((signed16)same);
#else
    uint64_t bits = 0;
    for (int i = 0; i < 16; i++) bits |= (uint64_t)(same[i] & 1) << i;
    return bits;
#endif
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

// The last n < 16 bytes of a line, which begins at `line`, then zeros: *over bytes of v come before them.
static inline bytes16 load_last(const char *line, const char *end, size_t n, size_t *over) {
    bytes16 v = {0};
    *over = 0;
    if (end - line >= 16) {
        memcpy(&v, end - 16, sizeof v);
        *over = 16 - n;
    } else {
        memcpy(&v, end - n, n);
    }
    return v;
}

// Bit i: byte i of the n <= 64 bytes at p is a delimiter. Quotes are added to *quotes.
static inline uint64_t find_delimiters(const char *p, size_t n, const char *line, bytes16 delimiter,
                                       bytes16 *quotes) {
    uint64_t hits = 0;
    size_t i = 0, over;
    bytes16 v;
    for (; i + 16 <= n; i += 16) {
        memcpy(&v, p + i, sizeof v);
        *quotes |= (bytes16)(v == '"');
        hits |= bits_of((bytes16)(v == delimiter)) << i;
    }
    if (i < n) {
        v = load_last(line, p + n, n - i, &over);
        *quotes |= (bytes16)(v == '"');
        hits |= bits_of((bytes16)(v == delimiter)) >> over << i;
    }
    return hits;
}

// False when there is a quote. Delimiters are found 64 bytes at a time, so that the loop over them runs as
// often for most lines.
static bool split_plain(struct cutter *out, const struct thaw_format *f, const char *line, size_t n) {
    struct cutter c = *out; // in registers
    const char *end = line + n;
    const bytes16 delimiter = (bytes16){0} + (uint8_t)f->delimiter[0];
    bytes16 quotes = {0};
    for (const char *p = line; p < end; p += 64) {
        size_t left = (size_t)(end - p);
        uint64_t hits = find_delimiters(p, left < 64 ? left : 64, line, delimiter, &quotes);
        for (; hits != 0; hits &= hits - 1) {
            const char *at = p + __builtin_ctzll(hits);
            cut(&c, at, at + 1);
        }
    }
    cut(&c, end, end);
    *out = c;
    return bits_of(quotes) == 0;
}

// By a delimiter of several bytes, which do not overlap.
static void split_long(struct cutter *c, const struct thaw_format *f, const char *line, size_t n) {
    const char *end = line + n, *p = line;
    size_t length = (size_t)f->ndelimiter;
    while ((p = memmem(p, (size_t)(end - p), f->delimiter, length)) != NULL) {
        cut(c, p, p + length);
        p += length;
    }
    cut(c, end, end);
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
    struct cutter c = {.field = s->field, .cap = s->cap, .start = line};
    if (f->ndelimiter == 1 && !f->blank && (split_plain(&c, f, line, n) || !f->quoting)) return c.n;
    c = (struct cutter){.field = s->field, .cap = s->cap, .start = line};
    if (f->blank) return split_blanks(&c, line, n);
    if (f->ndelimiter == 1) return split_quoted(s, &c, f->delimiter[0], line, n);
    split_long(&c, f, line, n);
    return c.n;
}

bool thaw_field_next(const struct thaw_format *f, const char **at, const char *end,
                     struct thaw_field *field) {
    const char *p = *at, *next;
    while (p && f->blank && p < end && is_blank(*p)) p++;
    if (!p || (f->blank && p == end)) return false;
    if (f->blank)
        for (next = p; next < end && !is_blank(*next);) next++;
    else
        next = memmem(p, (size_t)(end - p), f->delimiter, (size_t)f->ndelimiter);
    *field = (struct thaw_field){p, (size_t)((next ? next : end) - p)};
    *at = next && !f->blank ? next + f->ndelimiter : next;
    return true;
}
