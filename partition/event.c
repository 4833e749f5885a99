// event.c: from the fields of a line to an event, or to the reason why it is none.
#include "partition/event.h"

#include "base/mem.h"
#include "features/number.h"
#include "partition/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct weight {
    char *name;
    size_t n;
    double weight;
};

struct thaw_parser {
    const struct thaw_format *format;
    struct thaw_columns columns;
    enum thaw_negative negative;
    struct thaw_fields fields;
    struct weight *weight; // nweights; none: every event weighs 1
    size_t nweights, weight_cap;
    struct thaw_field list_user; // of the list in work
    const char *list_at, *list_end;
    char user[2 * THAW_ID_MAX], item[2 * THAW_ID_MAX], name[2 * THAW_ID_MAX]; // converted from Latin-1
};

static const struct {
    const char *name, *about;
} outcome[THAW_OUTCOMES] = {
    [THAW_EVENT_OK] = {"ok", "an event"},
    [THAW_EVENT_BLANK] = {"blank", "the line is blank"},
    [THAW_EVENT_HEADER] = {"header", "the header of its file"},
    [THAW_EVENT_NO_USER] = {"no-user", "the user id is empty"},
    [THAW_EVENT_NO_ITEM] = {"no-item", "the item id is empty"},
    [THAW_EVENT_NEGATIVE] = {"negative", "the value is not positive"},
    [THAW_EVENT_BAD_LENGTH] = {"line-too-long", "the line is longer than 1 MiB"},
    [THAW_EVENT_BAD_FIELDS] = {"field-count", "the line has too few or too many fields"},
    [THAW_EVENT_BAD_QUOTE] = {"quote", "a quoted field does not end, or goes on after its end"},
    [THAW_EVENT_BAD_ID_LENGTH] = {"id-too-long", "an id is longer than 255 bytes"},
    [THAW_EVENT_BAD_UTF8] = {"utf-8", "the text is not UTF-8 (see --encoding)"},
    [THAW_EVENT_BAD_CONTROL] = {"control", "an id has a control byte in it"},
    [THAW_EVENT_BAD_EVENT] = {"event", "the event has no weight"},
    [THAW_EVENT_BAD_NUMBER] = {"number", "the value is not a number"},
    [THAW_EVENT_BAD_NOT_FINITE] = {"not-finite", "the value is NaN, infinite, or too large"},
    [THAW_EVENT_BAD_TIME] = {"time",
                             "the time is neither unix seconds nor ISO 8601, or not within 1900 to 2199"},
};

const char *thaw_outcome_name(enum thaw_outcome o) {
    return o < THAW_OUTCOMES ? outcome[o].name : "unknown";
}

const char *thaw_outcome_about(enum thaw_outcome o) {
    return o < THAW_OUTCOMES ? outcome[o].about : "unknown";
}

static const struct weight *find_weight(const struct thaw_parser *p, struct thaw_field name) {
    for (size_t i = 0; i < p->nweights; i++)
        if (p->weight[i].n == name.n && p->weight[i].name[0] == name.text[0] &&
            memcmp(p->weight[i].name, name.text, name.n) == 0)
            return &p->weight[i];
    return NULL;
}

// One "name=weight".
static int add_weight(struct thaw_parser *p, struct thaw_field word, struct thaw_err *err) {
    const char *equals = memrchr(word.text, '=', word.n), *end = word.text + word.n;
    if (equals == NULL)
        return thaw_fail(err, THAW_EUSAGE, "event weights: '%.*s' should be name=weight", (int)word.n,
                         word.text);
    struct thaw_field name = thaw_field_trim((struct thaw_field){word.text, (size_t)(equals - word.text)});
    struct thaw_field value = thaw_field_trim((struct thaw_field){equals + 1, (size_t)(end - equals - 1)});
    double weight;
    if (name.n == 0 || name.n > THAW_ID_MAX || thaw_utf8_check(name.text, name.n) != THAW_TEXT_OK)
        return thaw_fail(err, THAW_EUSAGE, "event weights: '%.*s' has no usable event name", (int)word.n,
                         word.text);
    if (thaw_number_parse(value.text, value.n, &weight) != THAW_NUMBER_OK)
        return thaw_fail(err, THAW_EUSAGE, "event weights: the weight of '%.*s' is not a number: '%.*s'",
                         (int)name.n, name.text, (int)value.n, value.text);
    if (find_weight(p, name) != NULL)
        return thaw_fail(err, THAW_EUSAGE, "event weights: '%.*s' is given twice", (int)name.n, name.text);
    int code =
        thaw_grow(&p->weight, &p->weight_cap, p->nweights + 1, sizeof *p->weight, "event weights", err);
    if (code != THAW_OK) return code;
    char *copy = strndup(name.text, name.n);
    if (copy == NULL) return thaw_fail(err, THAW_EMEM, "cannot allocate event weights");
    p->weight[p->nweights++] = (struct weight){copy, name.n, weight};
    return THAW_OK;
}

static int set_weights(struct thaw_parser *p, const char *weights, struct thaw_err *err) {
    if (weights == NULL || *weights == '\0') return THAW_OK;
    if (p->columns.event < 0)
        return thaw_fail(err, THAW_EUSAGE,
                         "event weights '%s' need an event column, and '%s' has none: name it in the columns",
                         weights, p->format->path);
    int code = THAW_OK;
    for (const char *at = weights; at != NULL && code == THAW_OK;) {
        size_t n = strcspn(at, ",");
        code = add_weight(p, (struct thaw_field){at, n}, err);
        at = at[n] == ',' ? at + n + 1 : NULL;
    }
    return code;
}

int thaw_parser_new(struct thaw_parser **out, const struct thaw_format *f, const struct thaw_columns *c,
                    const char *weights, enum thaw_negative negative, struct thaw_err *err) {
    struct thaw_parser *p = NULL;
    int code = thaw_alloc(&p, 1, sizeof *p, "a line parser", err);
    if (code != THAW_OK) return code;
    p->format = f;
    p->columns = *c;
    p->negative = negative;
    code = thaw_fields_new(&p->fields, f, err);
    if (code == THAW_OK) code = set_weights(p, weights, err);
    if (code == THAW_OK)
        *out = p;
    else
        thaw_parser_free(&p);
    return code;
}

void thaw_parser_free(struct thaw_parser **pp) {
    struct thaw_parser *p = *pp;
    if (p == NULL) return;
    for (size_t i = 0; i < p->nweights; i++) free(p->weight[i].name);
    free(p->weight);
    thaw_fields_clear(&p->fields);
    free(p);
    *pp = NULL;
}

// Trim, convert and check an id; `empty` is the outcome of an empty one. buf: 2 * THAW_ID_MAX bytes.
static inline enum thaw_outcome take_id(const struct thaw_parser *p, struct thaw_field *id, char *buf,
                                        enum thaw_outcome empty) {
    *id = thaw_field_trim(*id);
    if (id->n == 0) return empty;
    if (id->n > THAW_ID_MAX) return THAW_EVENT_BAD_ID_LENGTH;
    if (p->format->encoding == THAW_LATIN1) {
        size_t n = thaw_latin1_to_utf8(buf, 2 * THAW_ID_MAX, id->text, id->n);
        if (n > THAW_ID_MAX) return THAW_EVENT_BAD_ID_LENGTH;
        *id = (struct thaw_field){buf, n};
    }
    switch (thaw_utf8_check(id->text, id->n)) {
    case THAW_TEXT_OK:
        return THAW_EVENT_OK;
    case THAW_TEXT_CONTROL:
        return THAW_EVENT_BAD_CONTROL;
    case THAW_TEXT_BAD:
        break;
    }
    return THAW_EVENT_BAD_UTF8;
}

static enum thaw_outcome event_weight(struct thaw_parser *p, double *weight) {
    *weight = 1;
    if (p->nweights == 0) return THAW_EVENT_OK;
    struct thaw_field name = thaw_field_trim(p->fields.field[p->columns.event]);
    if (p->format->encoding == THAW_LATIN1 && name.n <= THAW_ID_MAX)
        name = (struct thaw_field){p->name, thaw_latin1_to_utf8(p->name, sizeof p->name, name.text, name.n)};
    const struct weight *w = find_weight(p, name);
    if (w == NULL) return THAW_EVENT_BAD_EVENT;
    *weight = w->weight;
    return THAW_EVENT_OK;
}

// The event's strength, weight x value, as a finite float.
static enum thaw_outcome take_value(struct thaw_parser *p, double weight, float *out) {
    double value = 1;
    if (p->columns.value >= 0) {
        struct thaw_field v = thaw_field_trim(p->fields.field[p->columns.value]);
        enum thaw_number number = v.n == 0 ? THAW_NUMBER_OK : thaw_number_parse(v.text, v.n, &value);
        if (number == THAW_NUMBER_BAD) return THAW_EVENT_BAD_NUMBER;
        if (number == THAW_NUMBER_NOT_FINITE) return THAW_EVENT_BAD_NOT_FINITE;
    }
    *out = (float)(weight * value);
    if (!isfinite(*out)) return THAW_EVENT_BAD_NOT_FINITE;
    return *out <= 0 && p->negative == THAW_NEGATIVE_SKIP ? THAW_EVENT_NEGATIVE : THAW_EVENT_OK;
}

static enum thaw_outcome parse_fields(struct thaw_parser *p, struct thaw_event *e) {
    const struct thaw_columns *c = &p->columns;
    struct thaw_field user = p->fields.field[c->user], item = p->fields.field[c->item];
    double weight;
    enum thaw_outcome o = take_id(p, &user, p->user, THAW_EVENT_NO_USER);
    if (o == THAW_EVENT_OK) o = take_id(p, &item, p->item, THAW_EVENT_NO_ITEM);
    if (o == THAW_EVENT_OK) o = event_weight(p, &weight);
    if (o != THAW_EVENT_OK) return o;
    e->user = user.text;
    e->nuser = (uint32_t)user.n;
    e->item = item.text;
    e->nitem = (uint32_t)item.n;
    e->time = 0;
    if (c->time >= 0) {
        struct thaw_field t = thaw_field_trim(p->fields.field[c->time]);
        if (!thaw_time_parse(t.text, t.n, &e->time)) return THAW_EVENT_BAD_TIME;
    }
    return take_value(p, weight, &e->value);
}

static bool is_blank_line(const struct thaw_line *line) {
    return thaw_field_trim((struct thaw_field){line->text, line->n}).n == 0;
}

int thaw_parser_parse(struct thaw_parser *p, const struct thaw_line *line, struct thaw_event *e,
                      struct thaw_err *err) {
    if (line->first && p->format->has_header) {
        bool header;
        int code = thaw_format_first(p->format, line, &header, err);
        if (code != THAW_OK) return code;
        e->outcome = THAW_EVENT_HEADER;
        if (header) return THAW_OK;
    }
    if (line->too_long) {
        e->outcome = THAW_EVENT_BAD_LENGTH;
    } else if (is_blank_line(line)) {
        e->outcome = THAW_EVENT_BLANK;
    } else {
        int n = thaw_fields_split(&p->fields, p->format, line->text, line->n);
        if (n == THAW_SPLIT_QUOTE)
            e->outcome = THAW_EVENT_BAD_QUOTE;
        else if (n != p->format->nfields)
            e->outcome = THAW_EVENT_BAD_FIELDS;
        else
            e->outcome = parse_fields(p, e);
    }
    return THAW_OK;
}

// ---- Lists ----

void thaw_parser_list(struct thaw_parser *p, const struct thaw_line *line, struct thaw_event *e) {
    p->list_at = line->text;
    p->list_end = line->text + line->n;
    if (line->too_long)
        e->outcome = THAW_EVENT_BAD_LENGTH;
    else if (is_blank_line(line) || !thaw_field_next(p->format, &p->list_at, p->list_end, &p->list_user))
        e->outcome = THAW_EVENT_BLANK;
    else
        e->outcome = take_id(p, &p->list_user, p->user, THAW_EVENT_NO_USER);
    if (e->outcome != THAW_EVENT_OK) return;
    const char *at = p->list_at;
    struct thaw_field item;
    if (!thaw_field_next(p->format, &at, p->list_end, &item)) e->outcome = THAW_EVENT_NO_ITEM;
}

bool thaw_parser_item(struct thaw_parser *p, struct thaw_event *e, struct thaw_field *item) {
    if (!thaw_field_next(p->format, &p->list_at, p->list_end, item)) return false;
    struct thaw_field id = *item;
    e->outcome = take_id(p, &id, p->item, THAW_EVENT_NO_ITEM);
    e->user = p->list_user.text;
    e->nuser = (uint32_t)p->list_user.n;
    e->item = id.text;
    e->nitem = (uint32_t)id.n;
    e->value = 1;
    e->time = 0;
    return true;
}
