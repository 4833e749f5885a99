// opt_man.c: option tables as man pages: man(7) roff that groff has no warnings for.
#include "base/opt_impl.h"

#include <ctype.h>
#include <string.h>

static const char *page_name(const struct thaw_cmd *cmd, char *buf, size_t cap) {
    bool verb = cmd->name && *cmd->name;
    snprintf(buf, cap, "%s%s%s", cmd->program, verb ? "-" : "", verb ? cmd->name : "");
    return buf;
}

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
    fprintf(out, "%s\n", thaw_opt_ellipsis(o));
    roff_text(out, o->help);
    thaw_opt_describe_values(o, values, sizeof values);
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

// FILES: lines "name: what it is".
static void man_files(const char *lines, FILE *out) {
    fputs(".SH FILES\n", out);
    while (*lines) {
        int n = (int)strcspn(lines, "\n"), name = (int)(strstr(lines, ": ") - lines);
        fputs(".TP\n\\fI", out);
        roff_bytes(out, lines, name, true);
        fputs("\\fR\n", out);
        roff_bytes(out, lines + name + 2, n - name - 2, false);
        fputc('\n', out);
        lines += n + (lines[n] == '\n');
    }
}

void thaw_opt_man_status(const int *codes, FILE *out) {
    static const struct {
        int code;
        const char *meaning;
    } table[] = {
        {THAW_EUSAGE, "The command line or the job file is wrong."},
        {THAW_EDATA, "An input is there but wrong: bad lines, an unknown id, a damaged file."},
        {THAW_ENOINPUT, "An input is missing or cannot be read."},
        {THAW_ESTALLED, "A rank stopped answering, or kept the others waiting longer than --stall-timeout."},
        {THAW_EBUG, "An internal error. Please report it."},
        {THAW_EMEM, "There is not enough memory."},
        {THAW_EIO, "Writing failed."},
        {THAW_ESTOPPED, "Stopped by a signal. Start the same command again: training goes on from its "
                        "checkpoint, a job without checkpoints begins anew."},
        {THAW_EDISAGREE, "The ranks of one run were given different options or inputs."},
        {THAW_EDIVERGED, "A value in training is no longer finite."},
    };
    fputs(".SH EXIT STATUS\n.TP\n.B 0\nSuccess.\n", out);
    for (; *codes; codes++) {
        fprintf(out, ".TP\n.B %d\n", *codes);
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (table[i].code == *codes) roff_text(out, table[i].meaning);
    }
}

void thaw_opt_man(const struct thaw_cmd *cmd, const char *version, const int *codes, FILE *out) {
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
    thaw_opt_man_status(codes, out);
    if (cmd->files && *cmd->files) man_files(cmd->files, out);
    if (cmd->examples && *cmd->examples) man_examples(cmd->examples, out);
    fputs(".SH SEE ALSO\n.BR thaw (1),\n.BR thaw\\-lookup (1)\n", out);
}
