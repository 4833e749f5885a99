// opt_text.c: option tables as text: help, and lists of resolved values. Parsing is in opt.c, man pages in
// opt_man.c.
#include "base/opt_impl.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, HELP_COLUMN = 26 };

// ---- Pieces that help and man page share (opt_impl.h) ----

// An end of a range; sizes in powers of 1024 where that is shorter, other large powers of 2 as such.
static const char *format_end(const struct thaw_opt *o, double v, char buf[32]) {
    char other[32];
    int exponent;
    snprintf(buf, 32, "%.12g", v);
    for (int power = 1; o->kind == THAW_OPT_BYTES && power <= 4; power++) {
        snprintf(other, sizeof other, "%.12g%c", ldexp(v, -10 * power), " KMGT"[power]);
        if (strlen(other) < strlen(buf)) memcpy(buf, other, sizeof other);
    }
    if (o->kind == THAW_OPT_INT && v > 1e6 && frexp(v, &exponent) == 0.5)
        snprintf(buf, 32, "2^%d", exponent - 1);
    return buf;
}

void thaw_opt_describe_values(const struct thaw_opt *o, char *buf, size_t cap) {
    char min[32], max[32];
    FILE *out = fmemopen(buf, cap, "w");
    buf[0] = '\0';
    if (!out) return;
    const char *between = "";
    if (o->kind == THAW_OPT_CHOICE) {
        fputs("one of ", out);
        for (const char *c = o->choices; *c; c++) *c == '|' ? fputs(", ", out) : fputc(*c, out);
        between = "; ";
    } else if (o->min != 0 || o->max != 0) {
        bool open = o->max < o->min;
        fprintf(out, "%s%s%s%s", open ? "at least " : "", format_end(o, o->min, min), open ? "" : " to ",
                open ? "" : format_end(o, o->max, max));
        between = "; ";
    }
    if (o->required) fprintf(out, "%srequired", between);
    if (o->required) between = "; ";
    if (o->def && *o->def) fprintf(out, "%sdefault %s", between, o->def);
    fclose(out);
}

const char *thaw_opt_ellipsis(const struct thaw_opt *o) {
    return o->kind == THAW_OPT_LIST && o->arg && !strstr(o->arg, "...") ? "..." : "";
}

// ---- Help ----

static void spaces(FILE *out, int n) {
    fprintf(out, "%*s", n, "");
}

// Print text wrapped, indented by `indent`; the cursor stands in column `at`. "\n\n" parts paragraphs, other
// blanks are equal.
static void wrap(FILE *out, const char *text, int indent, int at) {
    bool first = true;
    while (*text) {
        int breaks = 0;
        for (; isspace((unsigned char)*text); text++) breaks += *text == '\n';
        int n = (int)strcspn(text, " \t\n");
        if (n == 0) break;
        if (breaks > 1 && !first) fputc('\n', out);
        if (!first && (breaks > 1 || at + 1 + n > WIDTH)) {
            fputc('\n', out);
            at = 0;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        if (at < indent) spaces(out, indent - at);
        at = (at < indent ? indent : at) + n;
        fwrite(text, 1, (size_t)n, out);
        text += n;
        first = false;
    }
    fputc('\n', out);
}

static void help_option(const struct thaw_opt *o, FILE *out) {
    char values[512], text[4096], letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int at = fprintf(out, "  %s--%s%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "",
                     thaw_opt_ellipsis(o));
    if (at >= HELP_COLUMN) {
        fputc('\n', out);
        at = 0;
    }
    thaw_opt_describe_values(o, values, sizeof values);
    snprintf(text, sizeof text, "%s%s%s%s", o->help, *values ? " [" : "", values, *values ? "]" : "");
    wrap(out, text, HELP_COLUMN, at);
}

static void print_examples(const char *lines, const char *indent, FILE *out) {
    while (*lines) {
        int n = (int)strcspn(lines, "\n");
        fprintf(out, "%s%.*s\n", n ? indent : "", n, lines);
        lines += n + (lines[n] == '\n');
    }
}

void thaw_opt_help(const struct thaw_cmd *cmd, FILE *out) {
    bool verb = cmd->name && *cmd->name, operands = cmd->operands && *cmd->operands;
    fprintf(out, "Usage: %s%s%s [OPTION...]%s%s\n\n", cmd->program, verb ? " " : "", verb ? cmd->name : "",
            operands ? " " : "", operands ? cmd->operands : "");
    wrap(out, cmd->description && *cmd->description ? cmd->description : cmd->summary, 0, 0);
    fputs("\nOptions:\n", out);
    for (int i = 0; i < cmd->nopts; i++) help_option(&cmd->opts[i], out);
    help_option(&(struct thaw_opt){.name = "help", .letter = 'h', .help = "Print this text and exit."}, out);
    if (!cmd->examples || !*cmd->examples) return;
    fputs("\nExamples:\n", out);
    print_examples(cmd->examples, "  ", out);
}

// ---- Resolved values ----

// The shortest text that reads back as the same double.
static void format_real(char *buf, size_t cap, double v) {
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buf, cap, "%.*g", digits, v);
        if (strtod(buf, NULL) == v) return;
    }
}

static void format_choice(char *buf, size_t cap, const char *choices, int index) {
    for (; index > 0 && *choices; index--) {
        choices += strcspn(choices, "|");
        choices += *choices == '|';
    }
    snprintf(buf, cap, "%.*s", (int)strcspn(choices, "|"), choices);
}

// The words with a blank between; NULL when out of memory.
static char *join(const struct thaw_list *list) {
    size_t n = 1;
    for (int i = 0; i < list->n; i++) n += strlen(list->item[i]) + 1;
    char *text = malloc(n), *end = text;
    if (!text) return NULL;
    *text = '\0';
    for (int i = 0; i < list->n; i++) end += sprintf(end, "%s%s", i ? " " : "", list->item[i]);
    return text;
}

void thaw_opt_each(const struct thaw_cmd *cmd, const void *options,
                   void (*each)(void *user, const char *name, const char *value), void *user) {
    for (int i = 0; i < cmd->nopts; i++) {
        const struct thaw_opt *o = &cmd->opts[i];
        const void *field = (const char *)options + o->offset;
        char buf[128], *joined = NULL;
        const char *value = buf;
        switch (o->kind) {
        case THAW_OPT_FLAG:
            value = *(const bool *)field ? "true" : "false";
            break;
        case THAW_OPT_INT:
        case THAW_OPT_BYTES:
            snprintf(buf, sizeof buf, "%" PRId64, *(const int64_t *)field);
            break;
        case THAW_OPT_REAL:
        case THAW_OPT_SECONDS:
            format_real(buf, sizeof buf, *(const double *)field);
            break;
        case THAW_OPT_CHOICE:
            format_choice(buf, sizeof buf, o->choices, *(const int *)field);
            break;
        case THAW_OPT_TEXT:
            value = *(const char *const *)field;
            break;
        case THAW_OPT_LIST:
            value = joined = join(field);
            break;
        }
        each(user, o->name, value ? value : "");
        free(joined);
    }
}
