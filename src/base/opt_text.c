// opt_text.c: option tables as text: help, man pages, lists of resolved values. Parsing is in opt.c.
#include "base/opt.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 80, HELP_COLUMN = 26 };

// ---- Pieces that help and man page share ----

static const char *page_name(const struct thaw_cmd *cmd, char *buf, size_t cap) {
    bool verb = cmd->name && *cmd->name;
    snprintf(buf, cap, "%s%s%s", cmd->program, verb ? "-" : "", verb ? cmd->name : "");
    return buf;
}

// An end of a range; sizes in powers of 1024 where that is shorter.
static const char *format_end(const struct thaw_opt *o, double v, char buf[32]) {
    char other[32];
    snprintf(buf, 32, "%.12g", v);
    if (o->kind != THAW_OPT_BYTES) return buf;
    for (int power = 1; power <= 4; power++) {
        snprintf(other, sizeof other, "%.12g%c", ldexp(v, -10 * power), " KMGT"[power]);
        if (strlen(other) < strlen(buf)) memcpy(buf, other, sizeof other);
    }
    return buf;
}

// "1 to 1024; required; default 64", "" when there is nothing to say.
static void describe_values(const struct thaw_opt *o, char *buf, size_t cap) {
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

// A list takes several words, unless its placeholder says so itself.
static const char *ellipsis(const struct thaw_opt *o) {
    return o->kind == THAW_OPT_LIST && o->arg && !strstr(o->arg, "...") ? "..." : "";
}

static void help_option(const struct thaw_opt *o, FILE *out) {
    char values[512], text[4096], letter[8] = "    ";
    if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
    int at =
        fprintf(out, "  %s--%s%s%s%s", letter, o->name, o->arg ? " " : "", o->arg ? o->arg : "", ellipsis(o));
    if (at >= HELP_COLUMN) {
        fputc('\n', out);
        at = 0;
    }
    describe_values(o, values, sizeof values);
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

// ---- Man page ----

// One character of ASCII text in roff. Hyphens of options and of verbatim text are minus signs, to be copied
// from the page.
static void roff_char(FILE *out, const char *text, const char *at, bool verbatim) {
    switch (*at) {
    case '\\':
        fputs("\\e", out);
        return;
    case '\'':
        fputs("\\(aq", out);
        return;
    case '`':
        fputs("\\(ga", out);
        return;
    case '^':
        fputs("\\(ha", out);
        return;
    case '~':
        fputs("\\(ti", out);
        return;
    case '"':
        fputs("\\(dq", out);
        return;
    case '-':
        if (verbatim || at == text || !isalpha((unsigned char)at[-1])) {
            fputs("\\-", out);
            return;
        }
    }
    fputc(*at, out);
}

// n bytes of text; UTF-8 becomes \[uXXXX].
static void roff_bytes(FILE *out, const char *text, int n, bool verbatim) {
    if (n > 0 && text[0] == '.') fputs("\\&", out); // not a request
    for (int i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x80) {
            roff_char(out, text, text + i, verbatim);
            continue;
        }
        unsigned code = c >= 0xf0 ? c & 7U : c >= 0xe0 ? c & 15U : c & 31U;
        while (i + 1 < n && ((unsigned char)text[i + 1] & 0xc0) == 0x80)
            code = (code << 6) | ((unsigned char)text[++i] & 0x3fU);
        fprintf(out, "\\[u%04X]", code);
    }
}

static void roff(FILE *out, const char *text, bool verbatim) {
    roff_bytes(out, text, (int)strlen(text), verbatim);
}

// Paragraphs, one word after the other, a line per sentence-sized piece.
static void roff_text(FILE *out, const char *text) {
    bool first = true;
    int at = 0;
    while (*text) {
        int breaks = 0;
        for (; isspace((unsigned char)*text); text++) breaks += *text == '\n';
        int n = (int)strcspn(text, " \t\n");
        if (n == 0) break;
        if (!first && breaks > 1) fputs("\n.PP", out);
        if (!first && (breaks > 1 || at + n > 72)) {
            fputc('\n', out);
            at = 0;
        } else if (!first) {
            fputc(' ', out);
        }
        roff_bytes(out, text, n, false);
        at += n + 1;
        text += n;
        first = false;
    }
    fputc('\n', out);
}

static void man_option(const struct thaw_opt *o, FILE *out) {
    char values[512];
    fputs(".TP\n", out);
    if (o->letter) fprintf(out, "\\fB\\-%c\\fR, ", o->letter);
    fputs("\\fB\\-\\-", out);
    roff(out, o->name, true);
    fputs("\\fR", out);
    if (o->arg) {
        fputs(" \\fI", out);
        roff(out, o->arg, true);
        fputs("\\fR", out);
    }
    fprintf(out, "%s\n", ellipsis(o));
    roff_text(out, o->help);
    describe_values(o, values, sizeof values);
    if (!*values) return;
    values[0] = (char)toupper((unsigned char)values[0]);
    roff(out, values, false);
    fputs(".\n", out);
}

static void man_examples(const char *lines, FILE *out) {
    fputs(".SH EXAMPLES\n.nf\n", out);
    while (*lines) {
        int n = (int)strcspn(lines, "\n");
        roff_bytes(out, lines, n, true);
        fputc('\n', out);
        lines += n + (lines[n] == '\n');
    }
    fputs(".fi\n", out);
}

static void man_status(FILE *out) {
    static const struct {
        int code;
        const char *meaning;
    } codes[] = {
        {THAW_OK, "Success."},
        {THAW_EUSAGE, "The command line or job file is wrong."},
        {THAW_EDATA, "An input is there but wrong: bad lines, an unknown id, a damaged file."},
        {THAW_ENOINPUT, "An input is missing or cannot be read."},
        {THAW_EBUG, "An internal error. Please report it."},
        {THAW_EMEM, "There is not enough memory."},
        {THAW_EIO, "Writing failed."},
        {THAW_ESTOPPED, "Stopped on request, with a checkpoint: start the same command again to go on."},
        {THAW_EDISAGREE, "The ranks of one run were given different options or inputs."},
        {THAW_EDIVERGED, "A value in training is no longer finite."},
    };
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fprintf(out, ".TP\n.B %d\n", codes[i].code);
        roff_text(out, codes[i].meaning);
    }
}

void thaw_opt_man(const struct thaw_cmd *cmd, const char *version, FILE *out) {
    char page[128];
    page_name(cmd, page, sizeof page);
    fputs(".TH ", out);
    for (const char *c = page; *c; c++)
        *c == '-' ? (void)fputs("\\-", out) : (void)fputc(toupper((unsigned char)*c), out);
    fprintf(out, " 1 \"\" \"Thaw %s\" \"Thaw Manual\"\n.SH NAME\n", version);
    roff(out, page, true);
    fputs(" \\- ", out);
    roff(out, cmd->summary, false);
    fputs("\n.SH SYNOPSIS\n\\fB", out);
    roff(out, cmd->program, true);
    if (cmd->name && *cmd->name) {
        fputc(' ', out);
        roff(out, cmd->name, true);
    }
    fputs("\\fR [\\fIOPTION\\fR...]", out);
    if (cmd->operands && *cmd->operands) {
        fputs(" \\fI", out);
        roff(out, cmd->operands, true);
        fputs("\\fR", out);
    }
    fputs("\n.SH DESCRIPTION\n", out);
    roff_text(out, cmd->description && *cmd->description ? cmd->description : cmd->summary);
    fputs(".SH OPTIONS\n", out);
    for (int i = 0; i < cmd->nopts; i++) man_option(&cmd->opts[i], out);
    man_option(&(struct thaw_opt){.name = "help", .letter = 'h', .help = "Print a short help and exit."},
               out);
    if (cmd->examples && *cmd->examples) man_examples(cmd->examples, out);
    man_status(out);
    fputs(".SH SEE ALSO\n.BR thaw (1),\n.BR thaw\\-lookup (1)\n", out);
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
