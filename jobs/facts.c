// facts.c: a list of named values, printed as text, CSV or a JSON object.
#include "jobs/facts.h"

#include "base/log.h"
#include "base/mem.h"
#include "jobs/job.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int add(struct thaw_facts *f, const struct thaw_fact *fact, const char *value, struct thaw_err *err) {
    int code = thaw_grow(&f->fact, &f->cap, (size_t)f->n + 1, sizeof *f->fact, "a list of facts", err);
    char *copy = code == THAW_OK ? strdup(value) : NULL;
    if (code != THAW_OK) return code;
    if (!copy) return thaw_fail(err, THAW_EMEM, "not enough memory for a list of facts");
    f->fact[f->n] = *fact;
    f->fact[f->n++].value = copy;
    return THAW_OK;
}

int thaw_facts_add(struct thaw_facts *f, const char *key, const char *value, struct thaw_err *err) {
    return add(f, &(struct thaw_fact){.key = key}, value, err);
}

int thaw_facts_add_item(struct thaw_facts *f, const char *key, const char *value, struct thaw_err *err) {
    return add(f, &(struct thaw_fact){.key = key, .list = true}, value, err);
}

int thaw_facts_add_i64(struct thaw_facts *f, const char *key, int64_t value, struct thaw_err *err) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    return add(f, &(struct thaw_fact){.key = key, .number = true}, text, err);
}

int thaw_facts_add_real(struct thaw_facts *f, const char *key, double value, struct thaw_err *err) {
    char text[40];
    snprintf(text, sizeof text, "%.9g", value);
    return add(f, &(struct thaw_fact){.key = key, .number = true}, text, err);
}

const char *thaw_facts_find(const struct thaw_facts *f, const char *key) {
    for (int i = 0; i < f->n; i++)
        if (strcmp(f->fact[i].key, key) == 0) return f->fact[i].value;
    return NULL;
}

void thaw_facts_clear(struct thaw_facts *f) {
    for (int i = 0; i < f->n; i++) free(f->fact[i].value);
    free(f->fact);
    *f = (struct thaw_facts){0};
}

// ---- Printing ----

static void print_text(FILE *out, const struct thaw_facts *f) {
    int width = 0;
    for (int i = 0; i < f->n; i++)
        if ((int)strlen(f->fact[i].key) > width) width = (int)strlen(f->fact[i].key);
    for (int i = 0; i < f->n; i++) fprintf(out, "%-*s  %s\n", width, f->fact[i].key, f->fact[i].value);
}

static void print_csv_field(FILE *out, const char *text) {
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

static void print_csv(FILE *out, const char *name, const struct thaw_facts *f) {
    for (int i = 0; i < f->n; i++) {
        if (name) fprintf(out, "%s,", name);
        fprintf(out, "%s,", f->fact[i].key);
        print_csv_field(out, f->fact[i].value);
        fputc('\n', out);
    }
}

static void print_json_value(FILE *out, const struct thaw_fact *fact) {
    const int64_t n = (int64_t)strlen(fact->value);
    char *escaped = fact->number ? NULL : malloc((size_t)n * 6 + 1); // a control byte becomes six: \u0001
    if (escaped) thaw_json_escape(escaped, n * 6 + 1, fact->value, n);
    if (fact->number && !strpbrk(fact->value, "nN")) // no nan, no inf
        fputs(fact->value, out);
    else if (escaped)
        fprintf(out, "\"%s\"", escaped);
    else
        fputs("null", out);
    free(escaped);
}

static void print_json(FILE *out, const struct thaw_facts *f) {
    for (int i = 0; i < f->n; i++) {
        const struct thaw_fact *fact = &f->fact[i];
        const bool again = i > 0 && fact->list && strcmp(fact->key, f->fact[i - 1].key) == 0;
        const bool more = i + 1 < f->n && fact->list && strcmp(fact->key, f->fact[i + 1].key) == 0;
        if (again)
            fputc(',', out);
        else
            fprintf(out, "%s\"%s\":%s", i ? "," : "{", fact->key, fact->list ? "[" : "");
        print_json_value(out, fact);
        if (fact->list && !more) fputc(']', out);
    }
    fputs(f->n ? "}\n" : "{}\n", out);
}

void thaw_facts_print(FILE *out, int format, const char *name, const struct thaw_facts *f) {
    if (format == THAW_FORMAT_JSONL)
        print_json(out, f);
    else if (format == THAW_FORMAT_CSV)
        print_csv(out, name, f);
    else
        print_text(out, f);
}
