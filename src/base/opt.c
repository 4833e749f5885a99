// opt.c: parsing options. Help, man pages and listings are in opt_text.c.
#include "base/opt.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Values ----

static bool in_range(const struct thaw_opt *o, double v) {
    if (o->min == 0 && o->max == 0) return true;
    return v >= o->min && (v <= o->max || o->max < o->min);
}

static int fail_range(const struct thaw_opt *o, const char *word, struct thaw_err *err) {
    if (o->max < o->min)
        return thaw_fail(err, THAW_EUSAGE, "--%s: %s is out of range, it must be at least %.12g", o->name,
                         word, o->min);
    return thaw_fail(err, THAW_EUSAGE, "--%s: %s is out of range, it must be %.12g to %.12g", o->name, word,
                     o->min, o->max);
}

// A decimal number at the start of word: strtod without its blanks, hexadecimals, infinities and names. NULL
// when there is none, else where it ends.
static const char *take_number(const char *word, double *value) {
    size_t n = strspn(word, "0123456789.+-eE");
    if (n == 0 || !(isdigit((unsigned char)word[n - 1]) || word[n - 1] == '.')) return NULL;
    char *end;
    *value = strtod(word, &end);
    return end == word + n && isfinite(*value) ? end : NULL;
}

static bool take_int(const char *word, int64_t *value) {
    double v;
    const char *end = take_number(word, &v);
    if (!end || *end) return false;
    if (strpbrk(word, ".eE")) {
        if (v != floor(v) || fabs(v) > 0x1p53) return false;
        *value = (int64_t)v;
        return true;
    }
    if (fabs(v) > 0x1p62) return false;
    *value = strtoll(word, NULL, 10);
    return true;
}

// Is unit one of "", "K", "KB", "KiB" and so on? Then the power of 1024 it stands for, else -1.
static int bytes_power(const char *unit) {
    static const char letters[] = "KMGT";
    int power = 0;
    const char *letter = *unit ? strchr(letters, toupper((unsigned char)*unit)) : NULL;
    if (letter) {
        power = (int)(letter - letters) + 1;
        unit++;
        if (strcmp(unit, "iB") == 0) return power;
    }
    return !*unit || strcmp(unit, "B") == 0 ? power : -1;
}

static bool take_bytes(const char *word, int64_t *value) {
    double v;
    const char *end = take_number(word, &v);
    int power = end ? bytes_power(end) : -1;
    if (power < 0) return false;
    v = floor(ldexp(v, 10 * power));
    if (fabs(v) > 0x1p62) return false;
    *value = (int64_t)v;
    return true;
}

static bool take_seconds(const char *word, double *value) {
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}};
    const char *end = take_number(word, value);
    for (size_t i = 0; end && i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].unit) != 0) continue;
        *value *= units[i].seconds;
        return true;
    }
    return false;
}

static int choice_index(const char *choices, const char *word) {
    size_t n = strlen(word);
    for (int index = 0;; index++) {
        size_t length = strcspn(choices, "|");
        if (length == n && memcmp(choices, word, n) == 0) return index;
        if (!choices[length]) return -1;
        choices += length + 1;
    }
}

static int add_item(struct thaw_list *list, const char *word, struct thaw_err *err) {
    const char **grown = realloc(list->item, ((size_t)list->n + 1) * sizeof *grown);
    if (!grown) return thaw_fail(err, THAW_EMEM, "cannot allocate a list of %d words", list->n + 1);
    list->item = grown;
    list->item[list->n++] = word;
    return THAW_OK;
}

static int set_number(const struct thaw_opt *o, void *field, const char *word, bool check,
                      struct thaw_err *err) {
    int64_t whole = 0;
    double real = 0;
    const char *end, *expected;
    bool ok;
    if (o->kind == THAW_OPT_INT) {
        ok = take_int(word, &whole);
        expected = "a whole number";
    } else if (o->kind == THAW_OPT_BYTES) {
        ok = take_bytes(word, &whole);
        expected = "a size such as 512M or 4GiB";
    } else if (o->kind == THAW_OPT_SECONDS) {
        ok = take_seconds(word, &real);
        expected = "a time such as 90, 15m or 2h";
    } else {
        ok = (end = take_number(word, &real)) && !*end;
        expected = "a number";
    }
    if (!ok) return thaw_fail(err, THAW_EUSAGE, "--%s: expected %s, got \"%s\"", o->name, expected, word);
    bool is_whole = o->kind == THAW_OPT_INT || o->kind == THAW_OPT_BYTES;
    if (check && !in_range(o, is_whole ? (double)whole : real)) return fail_range(o, word, err);
    if (is_whole)
        *(int64_t *)field = whole;
    else
        *(double *)field = real;
    return THAW_OK;
}

// Set one option from a word. Defaults are not range-checked: they may stand for "choose for me".
static int set(const struct thaw_opt *o, void *options, const char *word, bool check, struct thaw_err *err) {
    void *field = (char *)options + o->offset;
    int index;
    switch (o->kind) {
    case THAW_OPT_FLAG:
        *(bool *)field = strcmp(word, "true") == 0;
        return THAW_OK;
    case THAW_OPT_TEXT:
        *(const char **)field = word;
        return THAW_OK;
    case THAW_OPT_LIST:
        return add_item(field, word, err);
    case THAW_OPT_CHOICE:
        index = choice_index(o->choices, word);
        if (index < 0)
            return thaw_fail(err, THAW_EUSAGE, "--%s: \"%s\" is none of %s", o->name, word, o->choices);
        *(int *)field = index;
        return THAW_OK;
    default:
        return set_number(o, field, word, check, err);
    }
}

// ---- Names ----

static const struct thaw_opt *find_name(const struct thaw_cmd *cmd, const char *name, size_t n) {
    for (int i = 0; i < cmd->nopts; i++)
        if (strlen(cmd->opts[i].name) == n && memcmp(cmd->opts[i].name, name, n) == 0) return &cmd->opts[i];
    return NULL;
}

static const struct thaw_opt *find_letter(const struct thaw_cmd *cmd, char letter) {
    for (int i = 0; i < cmd->nopts; i++)
        if (letter && cmd->opts[i].letter == letter) return &cmd->opts[i];
    return NULL;
}

// Levenshtein distance of a (na bytes) and b, both cut at 63 bytes.
static int distance(const char *a, size_t na, const char *b) {
    enum { CUT = 63 };
    int row[CUT + 1];
    size_t nb = strnlen(b, CUT);
    if (na > CUT) na = CUT;
    for (size_t j = 0; j <= nb; j++) row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int corner = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int change = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            int gap = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = gap < change ? gap : change;
        }
    }
    return row[nb];
}

static int fail_unknown(const struct thaw_cmd *cmd, const char *word, struct thaw_err *err) {
    const char *name = word + strspn(word, "-"), *nearest = "help";
    size_t n = strcspn(name, "=");
    int least = distance(name, n, nearest);
    for (int i = 0; i < cmd->nopts; i++) {
        int d = distance(name, n, cmd->opts[i].name);
        if (d >= least) continue;
        least = d;
        nearest = cmd->opts[i].name;
    }
    return thaw_fail(err, THAW_EUSAGE, "unknown option %.*s (the nearest is --%s)",
                     (int)(name - word) + (int)n, word, nearest);
}

// "--name", "-k", and what only looks like one; but not "-", "-5" or "-.5".
static bool looks_like_option(const char *word) {
    return word[0] == '-' && (word[1] == '-' || isalpha((unsigned char)word[1]));
}

// ---- The parser ----

struct parser {
    const struct thaw_cmd *cmd;
    void *options;
    struct thaw_list operands;
    int argc, at; // words, the next one
    char **argv;
    bool *given; // by option
    bool help;
};

static const char *next_word(const struct parser *p) {
    return p->at < p->argc ? p->argv[p->at] : NULL;
}

// Step over option o and its argument; value is what follows "=", or NULL.
static int take_option(struct parser *p, const struct thaw_opt *o, const char *value, struct thaw_err *err) {
    p->at++;
    p->given[o - p->cmd->opts] = true;
    if (o->kind == THAW_OPT_FLAG) {
        if (value) return thaw_fail(err, THAW_EUSAGE, "--%s takes no value", o->name);
        return set(o, p->options, "true", true, err);
    }
    if (!value) {
        value = next_word(p);
        if (!value || strncmp(value, "--", 2) == 0)
            return thaw_fail(err, THAW_EUSAGE, "--%s needs a value (%s)", o->name,
                             o->arg ? o->arg : "a word");
        p->at++;
    }
    int code = set(o, p->options, value, true, err);
    if (o->kind == THAW_OPT_LIST)
        while (code == THAW_OK && (value = next_word(p)) && !looks_like_option(value)) {
            code = set(o, p->options, value, true, err);
            p->at++;
        }
    return code;
}

static int take_word(struct parser *p, const char *word, struct thaw_err *err) {
    const struct thaw_opt *o;
    const char *value = NULL;
    if (!looks_like_option(word)) {
        p->at++;
        return add_item(&p->operands, word, err);
    }
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        o = find_name(p->cmd, word + 2, n);
        if (word[2 + n] == '=') value = word + 2 + n + 1;
    } else {
        o = word[2] ? NULL : find_letter(p->cmd, word[1]);
    }
    if (o) return take_option(p, o, value, err);
    p->help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    return p->help ? THAW_OK : fail_unknown(p->cmd, word, err);
}

static int take_words(struct parser *p, struct thaw_err *err) {
    int code = THAW_OK;
    const char *word;
    while (code == THAW_OK && !p->help && (word = next_word(p)) && strcmp(word, "--") != 0)
        code = take_word(p, word, err);
    for (p->at++; code == THAW_OK && !p->help && (word = next_word(p)); p->at++)
        code = add_item(&p->operands, word, err);
    return code;
}

static int check_required(const struct parser *p, struct thaw_err *err) {
    const struct thaw_cmd *cmd = p->cmd;
    for (int i = 0; i < cmd->nopts; i++) {
        const struct thaw_opt *o = &cmd->opts[i];
        if (!o->required) continue;
        if (!p->given[i]) return thaw_fail(err, THAW_EUSAGE, "--%s is missing", o->name);
        if (o->kind == THAW_OPT_TEXT && !**(const char *const *)((const char *)p->options + o->offset))
            return thaw_fail(err, THAW_EUSAGE, "--%s is empty", o->name);
    }
    if (p->operands.n < cmd->min_operands)
        return thaw_fail(err, THAW_EUSAGE, "%s is missing",
                         cmd->operands && *cmd->operands ? cmd->operands : "an argument");
    if (cmd->max_operands >= 0 && p->operands.n > cmd->max_operands)
        return thaw_fail(err, THAW_EUSAGE, "unexpected argument \"%s\"", p->operands.item[cmd->max_operands]);
    return THAW_OK;
}

// Of all but the lists before parsing, and after it of the lists that were not given.
static int set_defaults(const struct parser *p, bool lists, struct thaw_err *err) {
    int code = THAW_OK;
    for (int i = 0; code == THAW_OK && i < p->cmd->nopts; i++) {
        const struct thaw_opt *o = &p->cmd->opts[i];
        if (o->def && !p->given[i] && lists == (o->kind == THAW_OPT_LIST))
            code = set(o, p->options, o->def, false, err);
    }
    return code;
}

int thaw_opt_parse(const struct thaw_cmd *cmd, int argc, char **argv, void *options,
                   struct thaw_list *operands, bool *help, struct thaw_err *err) {
    struct parser p = {.cmd = cmd, .options = options, .argc = argc, .argv = argv};
    memset(options, 0, cmd->size);
    p.given = calloc((size_t)cmd->nopts + 1, sizeof *p.given);
    if (!p.given) return thaw_fail(err, THAW_EMEM, "cannot allocate the options of %s", cmd->program);
    int code = set_defaults(&p, false, err);
    if (code == THAW_OK) code = take_words(&p, err);
    if (code == THAW_OK && !p.help) code = check_required(&p, err);
    if (code == THAW_OK) code = set_defaults(&p, true, err);
    free(p.given);
    if (code != THAW_OK || !operands) thaw_opt_clear(cmd, code != THAW_OK ? options : NULL, &p.operands);
    if (code != THAW_OK) return code;
    *help = p.help;
    if (operands) *operands = p.operands;
    return THAW_OK;
}

void thaw_opt_clear(const struct thaw_cmd *cmd, void *options, struct thaw_list *operands) {
    for (int i = 0; options && i < cmd->nopts; i++)
        if (cmd->opts[i].kind == THAW_OPT_LIST) {
            struct thaw_list *list = (void *)((char *)options + cmd->opts[i].offset);
            free(list->item);
        }
    if (options) memset(options, 0, cmd->size);
    if (!operands) return;
    free(operands->item);
    *operands = (struct thaw_list){0};
}
