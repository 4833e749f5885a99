// columns.c: which field of a log is the user, the item, the event, the value and the time.
#include "partition/columns.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    EVENT_WORDS_MAX = 32
}; // a text column with more distinct values in the first lines is no event column

static const char *const role_name[THAW_ROLES] = {"user", "item", "event", "value", "time"};

// Best known first. Compared without case and separators.
static const char *const known[THAW_ROLES][16] = {
    {"user", "userid", "uid", "customerid", "customer", "visitorid", "visitor", "memberid", "accountid",
     "sessionid"},
    {"item", "itemid", "iid", "productid", "product", "stockcode", "sku", "movieid", "movie", "articleid",
     "trackid", "contentid", "songid", "bookid"},
    {"event", "eventtype", "eventname", "action", "behavior", "behaviour", "interactiontype"},
    {"value", "rating", "score", "strength", "weight", "quantity", "count", "plays"},
    {"time", "timestamp", "unixtime", "eventtime", "datetime", "date", "ts", "invoicedate", "createdat"},
};

int thaw_role_known(int role, const char *name, size_t n) {
    char plain[32];
    size_t length = 0;
    for (size_t i = 0; i < n; i++) {
        if (strchr("_-. ", name[i]) != NULL && name[i] != '\0') continue;
        if (length == sizeof plain - 1) return -1;
        plain[length++] = (char)tolower((unsigned char)name[i]);
    }
    plain[length] = '\0';
    for (int i = 0; i < (int)(sizeof known[role] / sizeof known[role][0]) && known[role][i] != NULL; i++)
        if (strcmp(plain, known[role][i]) == 0) return i;
    return -1;
}

// The next comma-separated word of a specification, blanks trimmed. False at the end.
static bool next_word(const char **spec, struct thaw_field *word) {
    if (*spec == NULL) return false;
    size_t n = strcspn(*spec, ",");
    *word = thaw_field_trim((struct thaw_field){*spec, n});
    *spec = (*spec)[n] == ',' ? *spec + n + 1 : NULL;
    return true;
}

bool thaw_columns_ask(const char *spec, const char *name, size_t n) {
    struct thaw_field word;
    while (next_word(&spec, &word)) {
        const char *equals = memchr(word.text, '=', word.n);
        if (equals == NULL) continue;
        const char *end = word.text + word.n;
        struct thaw_field asked =
            thaw_field_trim((struct thaw_field){equals + 1, (size_t)(end - equals - 1)});
        if (asked.n == n && memcmp(asked.text, name, n) == 0) return true;
    }
    return false;
}

static int *role_field(struct thaw_columns *c, int role) {
    int *const field[THAW_ROLES] = {&c->user, &c->item, &c->event, &c->value, &c->time};
    return field[role];
}

static int find_role(struct thaw_field word, struct thaw_err *err) {
    for (int role = 0; role < THAW_ROLES; role++)
        if (strlen(role_name[role]) == word.n && memcmp(role_name[role], word.text, word.n) == 0) return role;
    thaw_fail(err, THAW_EUSAGE, "columns: '%.*s' is none of user, item, event, value, time, -", (int)word.n,
              word.text);
    return -1;
}

static int set_role(struct thaw_columns *c, int role, int field, struct thaw_err *err) {
    int *at = role_field(c, role);
    if (*at >= 0) return thaw_fail(err, THAW_EUSAGE, "columns: '%s' is given twice", role_name[role]);
    *at = field;
    return THAW_OK;
}

static int find_named(const struct thaw_format *f, const char *name, int *field, struct thaw_err *err) {
    char columns[256];
    *field = thaw_format_column(f, name);
    if (*field < 0)
        return thaw_fail(err, THAW_EDATA, "%s: no column '%s'; it has: %s", f->path, name,
                         thaw_format_columns(f, columns, sizeof columns));
    for (int i = *field + 1; i < f->nfields; i++)
        if (strcmp(f->name[i], name) == 0)
            return thaw_fail(err, THAW_EDATA,
                             "%s: columns %d and %d are both called '%s'; give the columns by position",
                             f->path, *field + 1, i + 1, name);
    return THAW_OK;
}

static int set_named(struct thaw_columns *c, const struct thaw_format *f, struct thaw_field word,
                     struct thaw_err *err) {
    char name[256];
    const char *equals = memchr(word.text, '=', word.n), *end = word.text + word.n;
    struct thaw_field left = thaw_field_trim((struct thaw_field){word.text, (size_t)(equals - word.text)});
    struct thaw_field right = thaw_field_trim((struct thaw_field){equals + 1, (size_t)(end - equals - 1)});
    int role = find_role(left, err), field;
    if (role < 0) return THAW_EUSAGE;
    if (right.n == 0 || right.n >= sizeof name)
        return thaw_fail(err, THAW_EUSAGE, "columns: '%s=' needs the name of a column", role_name[role]);
    memcpy(name, right.text, right.n);
    name[right.n] = '\0';
    int code = find_named(f, name, &field, err);
    return code != THAW_OK ? code : set_role(c, role, field, err);
}

static int find_given(struct thaw_columns *c, const struct thaw_format *f, const char *spec,
                      struct thaw_err *err) {
    struct thaw_field word;
    bool by_name = strchr(spec, '=') != NULL;
    int place = 0, code = THAW_OK;
    for (const char *rest = spec; code == THAW_OK && next_word(&rest, &word); place++) {
        if (by_name != (memchr(word.text, '=', word.n) != NULL))
            return thaw_fail(err, THAW_EUSAGE,
                             "columns: give all by position (user,item,...) or all by name (user=NAME,...)");
        if (by_name) {
            code = set_named(c, f, word, err);
        } else if (word.n != 1 || *word.text != '-') {
            int role = find_role(word, err);
            code = role < 0 ? THAW_EUSAGE : set_role(c, role, place, err);
        }
    }
    if (code != THAW_OK) return code;
    if (c->user < 0 || c->item < 0)
        return thaw_fail(err, THAW_EUSAGE, "columns: '%s' must name both a user and an item column", spec);
    if (!by_name && place > f->nfields)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its lines have %d field%s, but columns '%s' names %d; is the delimiter right?",
                         f->path, f->nfields, f->nfields == 1 ? "" : "s", spec, place);
    return THAW_OK;
}

// Well-known names of the header. Each role takes its best known name.
static void find_by_known_names(struct thaw_columns *c, const struct thaw_format *f) {
    for (int role = 0; role < THAW_ROLES; role++) {
        int best = -1;
        for (int i = 0; i < f->nfields; i++) {
            int rank = thaw_role_known(role, f->name[i], strlen(f->name[i]));
            if (rank < 0 || (best >= 0 && rank >= best)) continue;
            best = rank;
            *role_field(c, role) = i;
        }
    }
}

static void find_by_looks(struct thaw_columns *c, const struct thaw_format *f) {
    *c = (struct thaw_columns){.user = 0, .item = 1, .event = -1, .value = -1, .time = -1, .guessed = true};
    for (int i = 2; i < f->nfields; i++) {
        if (f->looks[i] == THAW_LOOKS_TIME && c->time < 0) c->time = i;
        if (f->looks[i] == THAW_LOOKS_NUMBER && c->value < 0) c->value = i;
        if (f->looks[i] == THAW_LOOKS_TEXT && c->event < 0 && f->distinct[i] <= EVENT_WORDS_MAX) c->event = i;
    }
}

int thaw_columns_find(struct thaw_columns *out, const struct thaw_format *f, const char *spec,
                      struct thaw_err *err) {
    struct thaw_columns c = {.user = -1, .item = -1, .event = -1, .value = -1, .time = -1};
    if (f->lists) {
        c.user = 0;
        c.item = 1; // and all that follow
        *out = c;
        return THAW_OK;
    }
    if (f->nfields < 2)
        return thaw_fail(err, THAW_EDATA,
                         "%s: its lines have one field, an event needs two (user and item); is the "
                         "delimiter right?",
                         f->path);
    if (spec != NULL && *spec != '\0') {
        int code = find_given(&c, f, spec, err);
        if (code != THAW_OK) return code;
    } else {
        if (f->has_header) find_by_known_names(&c, f);
        if (c.user < 0 || c.item < 0) find_by_looks(&c, f);
    }
    *out = c;
    return THAW_OK;
}

char *thaw_columns_describe(const struct thaw_columns *c, const struct thaw_format *f, char *buf,
                            size_t cap) {
    struct thaw_columns copy = *c;
    size_t n = 0;
    if (cap > 0) buf[0] = '\0';
    for (int role = 0; role < THAW_ROLES && n < cap; role++) {
        int field = *role_field(&copy, role);
        const char *comma = role > 0 ? ", " : "";
        int wrote;
        if (field < 0)
            wrote = snprintf(buf + n, cap - n, "%sno %s", comma, role_name[role]);
        else if (f->has_header && field < f->nfields)
            wrote = snprintf(buf + n, cap - n, "%s%s = %s (field %d)", comma, role_name[role], f->name[field],
                             field + 1);
        else
            wrote = snprintf(buf + n, cap - n, "%s%s = field %d", comma, role_name[role], field + 1);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    if (c->guessed && n < cap) snprintf(buf + n, cap - n, " (guessed; --columns says otherwise)");
    return buf;
}
