// attribute_plan.c: which field of a file is the id and which are attributes of what kind.
#include "partition/attribute.h"

#include "base/mem.h"
#include "partition/columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_name[] = {"categorical", "multi", "numeric", "text"};

const char *thaw_attribute_kind_name(int kind) {
    return kind >= 0 && kind < 4 ? kind_name[kind] : "unknown";
}

// An entry of a specification: name[=column][:kind]. Borrowed.
struct entry {
    struct thaw_field name, column; // column.text NULL without "="
    int kind;
};

static bool equals(struct thaw_field f, const char *text) {
    return f.n == strlen(text) && memcmp(f.text, text, f.n) == 0;
}

// The next entry; false at the end of the specification.
static bool next_word(const char **spec, struct thaw_field *word) {
    if (!*spec) return false;
    size_t n = strcspn(*spec, ",");
    *word = thaw_field_trim((struct thaw_field){*spec, n});
    *spec = (*spec)[n] ? *spec + n + 1 : NULL;
    return true;
}

static int split_entry(struct entry *e, struct thaw_field word, struct thaw_err *err) {
    *e = (struct entry){.kind = THAW_KIND_GUESS};
    const char *colon = word.n ? memrchr(word.text, ':', word.n) : NULL;
    if (colon) {
        struct thaw_field kind = {colon + 1, word.n - (size_t)(colon + 1 - word.text)};
        for (int k = 0; k < 4; k++)
            if (equals(thaw_field_trim(kind), kind_name[k])) e->kind = k;
        if (e->kind == THAW_KIND_GUESS)
            return thaw_fail(err, THAW_EUSAGE,
                             "attributes: '%.*s' is no kind; kinds are categorical, multi, numeric, text",
                             (int)kind.n, kind.text);
        word.n = (size_t)(colon - word.text);
    }
    const char *equal = word.n ? memchr(word.text, '=', word.n) : NULL;
    if (equal) {
        e->column = thaw_field_trim((struct thaw_field){equal + 1, word.n - (size_t)(equal + 1 - word.text)});
        word.n = (size_t)(equal - word.text);
    }
    e->name = thaw_field_trim(word);
    if (e->name.n == 0 || (equal && e->column.n == 0))
        return thaw_fail(err, THAW_EUSAGE,
                         "attributes: an entry without a name; use name, name=column or name:kind");
    if (e->name.n > THAW_ATTRIBUTE_NAME_MAX)
        return thaw_fail(err, THAW_EUSAGE, "attributes: a name is longer than %d bytes",
                         THAW_ATTRIBUTE_NAME_MAX);
    return THAW_OK;
}

char *thaw_attribute_wish(const char *spec) {
    if (!spec || !*spec) return NULL;
    char *out = malloc(strlen(spec) * 3 + 3);
    size_t n = 0;
    struct thaw_field word;
    struct entry e;
    while (out && next_word(&spec, &word)) {
        if (split_entry(&e, word, NULL) || equals(e.name, "-")) continue;
        struct thaw_field name = e.column.text ? e.column : e.name;
        n += (size_t)sprintf(out + n, "%sx=%.*s", n ? "," : "", (int)name.n, name.text);
    }
    if (out) out[n] = 0;
    return out;
}

static int add(struct thaw_attribute_plan *p, struct thaw_field name, int field, int kind,
               struct thaw_err *err) {
    for (int i = 0; i < p->n; i++)
        if (equals(name, p->attribute[i].name))
            return thaw_fail(err, THAW_EUSAGE, "attributes: '%s' is there twice", p->attribute[i].name);
    char *copy = NULL;
    int code = thaw_alloc(&copy, name.n + 1, 1, "an attribute's name", err);
    if (code) return code;
    memcpy(copy, name.text, name.n);
    p->attribute[p->n++] = (struct thaw_attribute_field){.name = copy, .field = field, .kind = kind};
    return THAW_OK;
}

static int no_column(const struct thaw_format *f, struct thaw_field name, struct thaw_err *err) {
    char columns[300];
    return thaw_fail(err, THAW_EDATA, "%s: no column '%.*s'; it has: %s", f->path, (int)name.n, name.text,
                     thaw_format_columns(f, columns, sizeof columns));
}

static int column_of(const struct thaw_format *f, struct thaw_field name) {
    for (int i = 0; i < f->nfields; i++)
        if (equals(name, f->name[i])) return i;
    return -1;
}

// The column a header calls the id, else the first.
static int find_id(const struct thaw_format *f, enum thaw_side side) {
    int best = -1, best_rank = 0, role = side == THAW_USERS ? THAW_ROLE_USER : THAW_ROLE_ITEM;
    for (int i = 0; i < f->nfields && f->has_header; i++) {
        if (strcasecmp(f->name[i], "id") == 0) return i;
        int rank = thaw_role_known(role, f->name[i], strlen(f->name[i]));
        if (rank >= 0 && (best < 0 || rank < best_rank)) {
            best = i;
            best_rank = rank;
        }
    }
    return best >= 0 ? best : 0;
}

static int plan_by_name(struct thaw_attribute_plan *p, const struct thaw_format *f, enum thaw_side side,
                        const char *spec, struct thaw_err *err) {
    struct thaw_field word;
    struct entry e;
    p->id = -1;
    while (next_word(&spec, &word)) {
        int code = split_entry(&e, word, err);
        if (code) return code;
        struct thaw_field name = e.column.text ? e.column : e.name;
        int column = column_of(f, name);
        if (column < 0 && !e.column.text && equals(e.name, "id")) continue; // found by its usual names
        if (column < 0) return no_column(f, name, err);
        if (!equals(e.name, "id")) {
            code = add(p, e.name, column, e.kind, err);
        } else if (p->id >= 0) {
            code = thaw_fail(err, THAW_EUSAGE, "attributes: the id is given twice");
        } else {
            p->id = column;
        }
        if (code) return code;
    }
    if (p->id < 0) p->id = find_id(f, side);
    return THAW_OK;
}

static bool names_id(const char *spec) {
    struct thaw_field word;
    while (next_word(&spec, &word))
        if (equals(word, "id")) return true;
    return false;
}

static int plan_by_place(struct thaw_attribute_plan *p, const struct thaw_format *f, const char *spec,
                         struct thaw_err *err) {
    struct thaw_field word;
    struct entry e;
    int field = 0;
    p->id = -1;
    if (!names_id(spec)) p->id = field++;
    for (; next_word(&spec, &word); field++) {
        if (equals(word, "-")) continue;
        int code = split_entry(&e, word, err);
        if (code) return code;
        if (e.column.text)
            return thaw_fail(
                err, THAW_EUSAGE, "attributes: '%.*s' names a column, but %s", (int)word.n, word.text,
                f->has_header ? "a '-' in the list makes it one of places" : "the file has no header");
        if (field >= f->nfields)
            return thaw_fail(err, THAW_EDATA, "%s: attributes: no field %d for '%.*s'; it has %d fields",
                             f->path, field + 1, (int)e.name.n, e.name.text, f->nfields);
        if (!equals(e.name, "id")) {
            code = add(p, e.name, field, e.kind, err);
        } else if (p->id >= 0) {
            code = thaw_fail(err, THAW_EUSAGE, "attributes: the id is given twice");
        } else {
            p->id = field;
        }
        if (code) return code;
    }
    return THAW_OK;
}

// Every field but the id.
static int plan_all(struct thaw_attribute_plan *p, const struct thaw_format *f, enum thaw_side side,
                    struct thaw_err *err) {
    p->id = find_id(f, side);
    for (int i = 0; i < f->nfields; i++) {
        char plain[32];
        if (i == p->id) continue;
        snprintf(plain, sizeof plain, "field%d", i + 1);
        const char *name = f->has_header && *f->name[i] ? f->name[i] : plain;
        size_t n = strnlen(name, THAW_ATTRIBUTE_NAME_MAX);
        int code = add(p, (struct thaw_field){name, n}, i, THAW_KIND_GUESS, err);
        if (code) return code;
    }
    return THAW_OK;
}

static bool has_skip(const char *spec) {
    struct thaw_field word;
    while (next_word(&spec, &word))
        if (equals(word, "-")) return true;
    return false;
}

int thaw_attribute_plan_find(struct thaw_attribute_plan *out, const struct thaw_format *f,
                             enum thaw_side side, const char *spec, struct thaw_err *err) {
    struct thaw_attribute_plan p = {0};
    size_t most = (size_t)f->nfields;
    for (const char *c = spec; c && *c; c++) most += *c == ',';
    int code = thaw_alloc(&p.attribute, most + 1, sizeof *p.attribute, "the attributes of a file", err);
    if (code) return code;
    if (!spec || !*spec)
        code = plan_all(&p, f, side, err);
    else if (f->has_header && !has_skip(spec))
        code = plan_by_name(&p, f, side, spec, err);
    else
        code = plan_by_place(&p, f, spec, err);
    if (code)
        thaw_attribute_plan_clear(&p);
    else
        *out = p;
    return code;
}

void thaw_attribute_plan_clear(struct thaw_attribute_plan *p) {
    for (int i = 0; i < p->n; i++) free(p->attribute[i].name);
    free(p->attribute);
    *p = (struct thaw_attribute_plan){0};
}
