// profile.c: see profile.h.
#include "partition/profile.h"

#include "base/mem.h"
#include "partition/utf8.h"

#include <stdlib.h>

struct thaw_profile_parser {
    const struct thaw_format *format;
    const struct thaw_attribute_plan *plan;
    enum thaw_side side;
    struct thaw_fields fields;
    struct thaw_field *value; // plan->n
    char *text;               // Latin-1 lines in UTF-8, at most twice as long; NULL without
    size_t used;
};

int thaw_profile_parser_new(struct thaw_profile_parser **out, const struct thaw_format *f,
                            const struct thaw_attribute_plan *plan, enum thaw_side side,
                            struct thaw_err *err) {
    struct thaw_profile_parser *p = NULL;
    int code = thaw_alloc(&p, 1, sizeof *p, "a parser", err);
    if (code) return code;
    p->format = f;
    p->plan = plan;
    p->side = side;
    code = thaw_fields_new(&p->fields, f, err);
    if (!code) code = thaw_alloc(&p->value, (size_t)plan->n, sizeof *p->value, "a line's values", err);
    if (!code && f->encoding == THAW_LATIN1)
        code = thaw_alloc(&p->text, 2 * (size_t)THAW_LINE_MAX, 1, "a line in UTF-8", err);
    if (code)
        thaw_profile_parser_free(&p);
    else
        *out = p;
    return code;
}

void thaw_profile_parser_free(struct thaw_profile_parser **out) {
    struct thaw_profile_parser *p = *out;
    if (!p) return;
    thaw_fields_clear(&p->fields);
    free(p->value);
    free(p->text);
    free(p);
    *out = NULL;
}

// A field of the line in UTF-8, trimmed.
static struct thaw_field take(struct thaw_profile_parser *p, int field) {
    struct thaw_field f = thaw_field_trim(p->fields.field[field]);
    if (!p->text) return f;
    char *to = p->text + p->used;
    size_t n = thaw_latin1_to_utf8(to, 2 * (size_t)THAW_LINE_MAX - p->used, f.text, f.n);
    p->used += n;
    return (struct thaw_field){to, n};
}

static enum thaw_outcome parse_fields(struct thaw_profile_parser *p, struct thaw_profile *out) {
    p->used = 0;
    struct thaw_field id = take(p, p->plan->id);
    if (id.n == 0) return p->side == THAW_USERS ? THAW_EVENT_NO_USER : THAW_EVENT_NO_ITEM;
    if (id.n > THAW_ID_MAX) return THAW_EVENT_BAD_ID_LENGTH;
    enum thaw_text text = thaw_utf8_check(id.text, id.n);
    if (text != THAW_TEXT_OK) return text == THAW_TEXT_CONTROL ? THAW_EVENT_BAD_CONTROL : THAW_EVENT_BAD_UTF8;
    out->id = id.text;
    out->nid = (uint32_t)id.n;
    out->value = p->value;
    for (int i = 0; i < p->plan->n; i++) {
        p->value[i] = take(p, p->plan->attribute[i].field);
        if (thaw_utf8_check(p->value[i].text, p->value[i].n) == THAW_TEXT_BAD) return THAW_EVENT_BAD_UTF8;
    }
    return THAW_EVENT_OK;
}

int thaw_profile_parse(struct thaw_profile_parser *p, const struct thaw_line *line, struct thaw_profile *out,
                       struct thaw_err *err) {
    if (line->first && p->format->has_header) {
        bool header;
        int code = thaw_format_first(p->format, line, &header, err);
        if (code) return code;
        out->outcome = THAW_EVENT_HEADER;
        if (header) return THAW_OK;
    }
    if (line->too_long) {
        out->outcome = THAW_EVENT_BAD_LENGTH;
    } else if (thaw_field_trim((struct thaw_field){line->text, line->n}).n == 0) {
        out->outcome = THAW_EVENT_BLANK;
    } else {
        int n = thaw_fields_split(&p->fields, p->format, line->text, line->n);
        out->outcome = n == THAW_SPLIT_QUOTE     ? THAW_EVENT_BAD_QUOTE
                       : n != p->format->nfields ? THAW_EVENT_BAD_FIELDS
                                                 : parse_fields(p, out);
    }
    return THAW_OK;
}
