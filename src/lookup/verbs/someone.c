// someone.c: see someone.h.
#include "lookup/verbs/someone.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int thaw_someone_new(struct thaw_someone *p, struct thaw_session *s, struct thaw_err *err) {
    *p = (struct thaw_someone){0};
    return thaw_lookup_profile_new(&p->profile, s->l, err);
}

void thaw_someone_clear(struct thaw_someone *p) {
    if (p->profile) thaw_lookup_profile_free(&p->profile);
    free(p->items);
    free(p->strengths);
    free(p->times);
    *p = (struct thaw_someone){0};
}

void thaw_someone_forget(struct thaw_someone *p) {
    thaw_lookup_profile_clear(p->profile);
    p->n = 0;
}

// ---- Profile ----

enum { LISTED = 20 }; // names or values that a warning lists

static void print_fields(const struct thaw_session *s) {
    for (int i = 0; i < s->info.user_fields; i++) {
        struct thaw_lookup_field f;
        thaw_lookup_get_field(s->l, THAW_USERS, i, &f);
        if (i < LISTED) fprintf(stderr, "%s%s", i ? ", " : "", f.name);
    }
    if (s->info.user_fields > LISTED) fprintf(stderr, " and %d more", s->info.user_fields - LISTED);
}

void thaw_someone_no_field(struct thaw_session *s, const char *name, size_t n) {
    fprintf(stderr, "thaw-lookup: warning: no profile field '%.*s' in %s", (int)n, name, s->tables);
    fprintf(stderr, s->info.user_fields ? "; there are: " : ": its users have no attributes");
    print_fields(s);
    fprintf(stderr, "\n");
}

static void no_value(struct thaw_session *s, int field, const char *value, size_t n) {
    struct thaw_lookup_field f;
    thaw_lookup_get_field(s->l, THAW_USERS, field, &f);
    fprintf(stderr, "thaw-lookup: warning: profile field '%s': '%.*s' says nothing", f.name, (int)n, value);
    if (f.nvalues == 0) fprintf(stderr, strcmp(f.kind, "numeric") ? ": no word in it" : ": it is no number");
    for (int i = 0; i < f.nvalues && i < LISTED; i++) {
        size_t length;
        const char *known = thaw_lookup_value(s->l, THAW_USERS, field, i, &length);
        fprintf(stderr, "%s%.*s", i ? ", " : "; known values: ", (int)length, known);
    }
    if (f.nvalues > LISTED) fprintf(stderr, " and %d more", f.nvalues - LISTED);
    fprintf(stderr, "\n");
}

int thaw_someone_field(struct thaw_someone *p, struct thaw_session *s, int field, const char *value, size_t n,
                       int64_t *told, struct thaw_err *err) {
    bool known = false;
    int code = thaw_lookup_profile_set(p->profile, field, value, n, &known, err);
    if (!code && !known && n > 0 && (!told || (*told)-- > 0)) no_value(s, field, value, n);
    return code;
}

// Does an entry begin here: a name, then "="?
static bool begins_entry(const char *text) {
    const size_t n = strcspn(text, "= \t,\"");
    return n > 0 && text[n] == '=';
}

// A value in quotes into `out`; returns what follows it, NULL without an end.
static const char *unquote(const char *text, char *out, size_t *n) {
    *n = 0;
    for (text++; *text; text++) {
        if (*text == '"' && text[1] != '"') return text + 1;
        if (*text == '"') text++;
        out[(*n)++] = *text;
    }
    return NULL;
}

// The end of a value that stands as it is: a comma before the next entry, or the end.
static const char *plain_end(const char *text) {
    for (; *text; text++)
        if (*text == ',' && begins_entry(text + 1)) break;
    return text;
}

static int malformed(const char *word, const char *why, struct thaw_err *err) {
    return thaw_fail(err, THAW_EUSAGE, "--profile: '%.200s': %s", word, why);
}

int thaw_someone_profile(struct thaw_someone *p, struct thaw_session *s, const char *word,
                         struct thaw_err *err) {
    char *copy = strdup(word);
    const char *at = word;
    int code = copy ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a profile");
    while (!code && *at) {
        if (!begins_entry(at)) {
            code = malformed(at, "give NAME=VALUE", err);
            break;
        }
        const size_t name = strcspn(at, "=");
        const char *value = at + name + 1, *end;
        size_t n;
        if (*value == '"') {
            end = unquote(value, copy, &n);
            if (!end || (*end && *end != ','))
                code = malformed(value, "a quote has no end, or text behind it", err);
            value = copy;
        } else {
            end = plain_end(value);
            n = (size_t)(end - value);
        }
        const int field = code ? -1 : thaw_lookup_find_field(s->l, at, name);
        if (!code && field < 0) thaw_someone_no_field(s, at, name);
        if (!code && field >= 0) code = thaw_someone_field(p, s, field, value, n, NULL, err);
        if (!code) at = *end ? end + 1 : end;
    }
    free(copy);
    return code;
}

// ---- History ----

int thaw_someone_number(const char *what, const char *word, size_t n, double *out, struct thaw_err *err) {
    char *end;
    *out = strtod(word, &end);
    if (n == 0 || end != word + n || !isfinite(*out))
        return thaw_fail(err, THAW_EUSAGE, "%s: '%.*s' is not a number", what, (int)n, word);
    return THAW_OK;
}

int thaw_someone_item(struct thaw_someone *p, int64_t item, float strength, double time,
                      struct thaw_err *err) {
    for (int64_t i = 0; i < p->n; i++)
        if (p->items[i] ==
            item) { // bought again: one interaction of both strengths, as prepare merges by default
            p->strengths[i] += strength;
            if (time < p->times[i]) p->times[i] = time;
            return THAW_OK;
        }
    const size_t n = (size_t)p->n + 1;
    int code = thaw_grow(&p->items, &p->items_cap, n, sizeof *p->items, "a history", err);
    if (!code) code = thaw_grow(&p->strengths, &p->strengths_cap, n, sizeof *p->strengths, "a history", err);
    if (!code) code = thaw_grow(&p->times, &p->times_cap, n, sizeof *p->times, "a history", err);
    if (code) return code;
    p->items[p->n] = item;
    p->times[p->n] = time;
    p->strengths[p->n++] = strength;
    return THAW_OK;
}

// Histories are short: by insertion.
void thaw_someone_sort(struct thaw_someone *p) {
    for (int64_t i = 1; i < p->n; i++)
        for (int64_t j = i; j > 0 && p->times[j] < p->times[j - 1]; j--) {
            const int64_t item = p->items[j];
            const float strength = p->strengths[j];
            const double time = p->times[j];
            p->items[j] = p->items[j - 1];
            p->strengths[j] = p->strengths[j - 1];
            p->times[j] = p->times[j - 1];
            p->items[j - 1] = item;
            p->strengths[j - 1] = strength;
            p->times[j - 1] = time;
        }
}

// ---- Method ----

int thaw_someone_method(struct thaw_session *s, int choice, enum thaw_lookup_method *m,
                        struct thaw_err *err) {
    static const struct {
        enum thaw_lookup_method method;
        const char *name, *option;
    } choices[] = {{THAW_LOOKUP_ENSEMBLE, "the ensemble", "--prior, --association or --generator"},
                   {THAW_LOOKUP_ENSEMBLE, "the ensemble", "--prior, --association or --generator"},
                   {THAW_LOOKUP_PRIOR, "P", "--prior"},
                   {THAW_LOOKUP_ASSOCIATION, "E", "--association"},
                   {THAW_LOOKUP_GENERATOR, "G", "--generator"},
                   {THAW_LOOKUP_FOLD_IN, "fold-in", ""},
                   {THAW_LOOKUP_TYPES, "T", "--prior"}};
    *m = choices[choice].method;
    if (choice == 0 && !thaw_lookup_has(s->l, *m)) *m = THAW_LOOKUP_FOLD_IN;
    if (thaw_lookup_has(s->l, *m)) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "--method: %s holds no model for %s: 'thaw tables %s' puts it there",
                     s->tables, choices[choice].name, choices[choice].option);
}
