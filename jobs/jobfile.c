// jobfile.c: job files of `thaw run`.
#include "jobs/jobfile.h"

#include "base/mem.h"

#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Words ----

int thaw_words_add(struct thaw_words *w, struct thaw_err *err, const char *format, ...) {
    va_list args;
    char *text = NULL;
    int code = thaw_grow(&w->word, &w->cap, (size_t)w->n + 2, sizeof *w->word, "a command line", err);
    if (code != THAW_OK) return code;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return thaw_fail(err, THAW_EMEM, "not enough memory for a command line");
    w->word[w->n++] = text;
    w->word[w->n] = NULL;
    return THAW_OK;
}

void thaw_words_clear(struct thaw_words *w) {
    for (int i = 0; i < w->n; i++) free(w->word[i]);
    free(w->word);
    *w = (struct thaw_words){0};
}

// ---- Reading: libinih parses; lines are counted on their way to it, because it does not tell them ----

struct reading {
    struct thaw_jobfile *file;
    FILE *in;
    int line;
    bool indented; // a blank starts this line
    struct thaw_err *err;
    int code;
};

// [name] alone already asks for a step, and the parser does not report sections without keys.
static void note_section(struct reading *r, const char *line) {
    struct thaw_jobfile *f = r->file;
    line += strspn(line, " \t");
    const char *end = *line == '[' ? strchr(line, ']') : NULL;
    if (!end) return;
    size_t n = (size_t)f->sections.n;
    r->code =
        thaw_grow(&f->section_line, &f->section_cap, n + 1, sizeof *f->section_line, "a job file", r->err);
    if (r->code == THAW_OK) f->section_line[n] = r->line;
    if (r->code == THAW_OK)
        r->code = thaw_words_add(&f->sections, r->err, "%.*s", (int)(end - line - 1), line + 1);
}

static char *read_line(char *buffer, int size, void *user) {
    struct reading *r = user;
    if (r->code != THAW_OK || !fgets(buffer, size, r->in)) return NULL;
    r->line++;
    size_t n = strlen(buffer);
    if (n + 1 >= (size_t)size && buffer[n - 1] != '\n' && !feof(r->in)) {
        r->code = thaw_fail(r->err, THAW_EUSAGE,
                            "%s:%d: longer than %d bytes: go on in the next line, indented, for lists",
                            r->file->path, r->line, size - 2);
        return NULL;
    }
    r->indented = *buffer == ' ' || *buffer == '\t';
    note_section(r, buffer);
    return r->code == THAW_OK ? buffer : NULL;
}

static struct thaw_jobfile_entry *find(const struct thaw_jobfile *f, const char *section, const char *key) {
    for (int i = 0; i < f->nentries; i++)
        if (strcmp(f->entry[i].section, section) == 0 && strcmp(f->entry[i].key, key) == 0)
            return &f->entry[i];
    return NULL;
}

static int add_entry(struct thaw_jobfile *f, const char *section, const char *key, const char *value,
                     int line, struct thaw_err *err) {
    int code =
        thaw_grow(&f->entry, &f->entry_cap, (size_t)f->nentries + 1, sizeof *f->entry, "a job file", err);
    if (code != THAW_OK) return code;
    struct thaw_jobfile_entry e = {strdup(section), strdup(key), strdup(value), line};
    if (!e.section || !e.key || !e.value) {
        free(e.section);
        free(e.key);
        free(e.value);
        return thaw_fail(err, THAW_EMEM, "not enough memory for a job file");
    }
    f->entry[f->nentries++] = e;
    return THAW_OK;
}

// An indented line goes on with the value before it.
static int extend(struct thaw_jobfile_entry *e, const char *value, struct thaw_err *err) {
    char *longer = NULL;
    if (asprintf(&longer, "%s %s", e->value, value) < 0)
        return thaw_fail(err, THAW_EMEM, "not enough memory for a job file");
    free(e->value);
    e->value = longer;
    return THAW_OK;
}

static int handle(void *user, const char *section, const char *key, const char *value) {
    struct reading *r = user;
    struct thaw_jobfile *f = r->file;
    if (r->code != THAW_OK) return 1;
    struct thaw_jobfile_entry *e = find(f, section, key);
    if (!*section) {
        r->code = thaw_fail(r->err, THAW_EUSAGE, "%s:%d: '%s' stands before the first [section]", f->path,
                            r->line, key);
    } else if (!e) {
        r->code = add_entry(f, section, key, value, r->line, r->err);
    } else if (r->indented && e == &f->entry[f->nentries - 1]) {
        r->code = extend(e, value, r->err);
    } else {
        r->code = thaw_fail(r->err, THAW_EUSAGE, "%s:%d: [%s] %s was given in line %d already", f->path,
                            r->line, section, key, e->line);
    }
    return 1;
}

int thaw_jobfile_read(struct thaw_jobfile *f, const char *path, struct thaw_err *err) {
    const char *slash = strrchr(path, '/');
    size_t dir = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    *f = (struct thaw_jobfile){.path = strdup(path), .dir = dir ? strndup(path, dir) : strdup(".")};
    if (!f->path || !f->dir) return thaw_fail(err, THAW_EMEM, "not enough memory for a job file");
    struct reading r = {.file = f, .err = err, .in = fopen(path, "re")};
    if (!r.in) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read the job file", path);
    int bad = ini_parse_stream(read_line, &r, handle, &r);
    if (ferror(r.in) && r.code == THAW_OK)
        r.code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read", path);
    fclose(r.in);
    if (r.code == THAW_OK && bad != 0)
        r.code = thaw_fail(err, THAW_EUSAGE, "%s:%d: neither a [section], nor 'key = value', nor a comment",
                           path, bad);
    return r.code;
}

int thaw_jobfile_set(struct thaw_jobfile *f, const char *assignment, struct thaw_err *err) {
    const char *dot = strchr(assignment, '.'), *equals = strchr(assignment, '=');
    if (!dot || !equals || dot > equals || dot == assignment || equals == dot + 1)
        return thaw_fail(err, THAW_EUSAGE, "--set %s: not section.key=value", assignment);
    char *section = strndup(assignment, (size_t)(dot - assignment)),
         *key = strndup(dot + 1, (size_t)(equals - dot - 1));
    char *value = strdup(equals + 1);
    int code =
        section && key && value ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for a job file");
    struct thaw_jobfile_entry *e = code == THAW_OK ? find(f, section, key) : NULL;
    if (e) {
        free(e->value);
        e->value = value;
        e->line = 0;
        value = NULL;
    } else if (code == THAW_OK) {
        code = add_entry(f, section, key, value, 0, err);
    }
    free(section);
    free(key);
    free(value);
    return code;
}

void thaw_jobfile_clear(struct thaw_jobfile *f) {
    for (int i = 0; i < f->nentries; i++) {
        free(f->entry[i].section);
        free(f->entry[i].key);
        free(f->entry[i].value);
    }
    free(f->entry);
    free(f->path);
    free(f->dir);
    free(f->section_line);
    thaw_words_clear(&f->sections);
    *f = (struct thaw_jobfile){0};
}

bool thaw_jobfile_has(const struct thaw_jobfile *f, const char *section) {
    for (int i = 0; i < f->sections.n; i++)
        if (strcmp(f->sections.word[i], section) == 0) return true;
    for (int i = 0; i < f->nentries; i++)
        if (strcmp(f->entry[i].section, section) == 0) return true;
    return false;
}

const struct thaw_jobfile_entry *thaw_jobfile_find(const struct thaw_jobfile *f, const char *section,
                                                   const char *key) {
    return find(f, section, key);
}

int thaw_jobfile_path(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e, const char *word,
                      struct thaw_words *out, struct thaw_err *err) {
    if (*word == '/' || e->line == 0 || strcmp(f->dir, ".") == 0) return thaw_words_add(out, err, "%s", word);
    if (strcmp(word, ".") == 0) return thaw_words_add(out, err, "%s", f->dir);
    return thaw_words_add(out, err, "%s/%s", f->dir, word);
}

// ---- Options ----

bool thaw_opt_is_path(const struct thaw_opt *o) {
    if (o->kind != THAW_OPT_TEXT && o->kind != THAW_OPT_LIST) return false;
    return o->arg && (strncmp(o->arg, "FILE", 4) == 0 || strncmp(o->arg, "DIR", 3) == 0);
}

const struct thaw_opt *thaw_opt_find(const struct thaw_cmd *cmd, const char *name) {
    for (int i = 0; i < cmd->nopts; i++)
        if (strcmp(cmd->opts[i].name, name) == 0) return &cmd->opts[i];
    return NULL;
}

int thaw_words_add_files(struct thaw_words *out, const char *name, const char *pattern,
                         struct thaw_err *err) {
    glob_t found = {0};
    int code = THAW_OK;
    int rc = glob(pattern, 0, NULL, &found);
    if (rc == GLOB_NOSPACE)
        code = thaw_fail(err, THAW_EMEM, "not enough memory for the files of %s", pattern);
    if (rc == GLOB_NOMATCH || rc == GLOB_ABORTED) code = thaw_words_add(out, err, "--%s=%s", name, pattern);
    for (size_t i = 0; rc == 0 && code == THAW_OK && i < found.gl_pathc; i++)
        code = thaw_words_add(out, err, "--%s=%s", name, found.gl_pathv[i]);
    globfree(&found);
    return code;
}

static int add_path(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e,
                    const struct thaw_opt *o, const char *word, struct thaw_words *out,
                    struct thaw_err *err) {
    struct thaw_words path = {0};
    int code = thaw_jobfile_path(f, e, word, &path, err);
    if (code == THAW_OK && o->kind == THAW_OPT_LIST)
        code = thaw_words_add_files(out, o->name, path.word[0], err);
    if (code == THAW_OK && o->kind != THAW_OPT_LIST)
        code = thaw_words_add(out, err, "--%s=%s", o->name, path.word[0]);
    thaw_words_clear(&path);
    return code;
}

static int add_list(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e,
                    const struct thaw_opt *o, struct thaw_words *out, struct thaw_err *err) {
    char *copy = strdup(e->value), *rest = NULL;
    int code = copy ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for a job file");
    for (char *word = copy ? strtok_r(copy, " \t", &rest) : NULL; code == THAW_OK && word;
         word = strtok_r(NULL, " \t", &rest)) {
        if (thaw_opt_is_path(o))
            code = add_path(f, e, o, word, out, err);
        else
            code = thaw_words_add(out, err, "--%s=%s", o->name, word);
    }
    free(copy);
    return code;
}

static int flag_value(const char *text) {
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (int i = 0; i < 8; i++)
        if (strcmp(text, words[i]) == 0) return i % 2;
    return -1;
}

static int add_words(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e,
                     const struct thaw_opt *o, struct thaw_words *out, struct thaw_err *err) {
    if (o->kind == THAW_OPT_FLAG)
        return flag_value(e->value) > 0 ? thaw_words_add(out, err, "--%s", o->name) : THAW_OK;
    if (o->kind == THAW_OPT_LIST) return add_list(f, e, o, out, err);
    if (thaw_opt_is_path(o)) return add_path(f, e, o, e->value, out, err);
    return thaw_words_add(out, err, "--%s=%s", o->name, e->value);
}

int thaw_jobfile_words(const struct thaw_jobfile *f, const struct thaw_cmd *cmd, struct thaw_words *out,
                       struct thaw_err *err) {
    int code = THAW_OK;
    for (int i = 0; code == THAW_OK && i < f->nentries; i++) {
        const struct thaw_jobfile_entry *e = &f->entry[i];
        const struct thaw_opt *o = thaw_opt_find(cmd, e->key);
        if (strcmp(e->section, cmd->name) == 0 && o) code = add_words(f, e, o, out, err);
    }
    return code;
}

// ---- Checking ----

static int fail_at(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e, const char *why,
                   struct thaw_err *err) {
    if (e->line == 0)
        return thaw_fail(err, THAW_EUSAGE, "--set %s.%s=%s: %s", e->section, e->key, e->value, why);
    return thaw_fail(err, THAW_EUSAGE, "%s:%d: [%s] %s: %s", f->path, e->line, e->section, e->key, why);
}

// One entry alone, against the job's options with none of them required.
static int check_entry(const struct thaw_jobfile *f, const struct thaw_jobfile_entry *e,
                       const struct thaw_cmd *loose, void *options, struct thaw_err *err) {
    static const char *const ours[] = {"threads", "log", "quiet", "stall-timeout"};
    const struct thaw_opt *o = thaw_opt_find(loose, e->key);
    struct thaw_words words = {0};
    struct thaw_err why = THAW_ERR_INIT;
    bool help;
    for (int i = 0; i < 4; i++)
        if (strcmp(e->key, ours[i]) == 0)
            return fail_at(f, e, "belongs on the command line of thaw run", err);
    if (o && o->kind == THAW_OPT_FLAG && flag_value(e->value) < 0)
        return fail_at(f, e, "expected yes or no", err);
    // An unknown key makes a word, too: the parser names the nearest option.
    int code = o ? add_words(f, e, o, &words, err) : thaw_words_add(&words, err, "--%s=%s", e->key, e->value);
    if (code == THAW_OK && thaw_opt_parse(loose, words.n, words.word, options, NULL, &help, &why) != THAW_OK)
        code = fail_at(f, e, why.text, err);
    thaw_opt_clear(loose, options, NULL);
    thaw_words_clear(&words);
    return code;
}

int thaw_jobfile_check(const struct thaw_jobfile *f, const struct thaw_cmd *cmd, struct thaw_err *err) {
    struct thaw_cmd loose = *cmd;
    struct thaw_opt *opts = NULL;
    void *options = NULL;
    int code = thaw_alloc(&opts, (size_t)cmd->nopts, sizeof *opts, "options", err);
    if (code == THAW_OK) code = thaw_alloc(&options, 1, cmd->size, "options", err);
    if (code != THAW_OK) goto done;
    memcpy(opts, cmd->opts, (size_t)cmd->nopts * sizeof *opts);
    for (int i = 0; i < cmd->nopts; i++) opts[i].required = false;
    loose.opts = opts;
    loose.min_operands = 0;
    for (int i = 0; code == THAW_OK && i < f->nentries; i++)
        if (strcmp(f->entry[i].section, cmd->name) == 0)
            code = check_entry(f, &f->entry[i], &loose, options, err);
done:
    free(opts);
    free(options);
    return code;
}
