// test_opt.c: option tables parse, refuse with a helpful line, and print as help, man page and list.
#include "base/opt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct options {
    bool quiet;
    int64_t factors, memory, seed;
    double alpha, timeout_s;
    int model;
    const char *out;
    struct thaw_list inputs;
};

static const struct thaw_opt table[] = {
    {.name = "interactions",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, inputs),
     .arg = "FILE",
     .required = true,
     .help = "The files to read."},
    {.name = "out",
     .letter = 'o',
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, out),
     .arg = "DIR",
     .help = "Where to write."},
    {.name = "factors",
     .letter = 'k',
     .kind = THAW_OPT_INT,
     .offset = offsetof(struct options, factors),
     .arg = "N",
     .def = "64",
     .min = 1,
     .max = 1024,
     .help = "Length of the vectors; it is rounded to nothing, and this sentence is "
             "long so that it wraps over several lines of the help text."},
    {.name = "seed",
     .kind = THAW_OPT_INT,
     .offset = offsetof(struct options, seed),
     .arg = "N",
     .help = "Seed."},
    {.name = "alpha",
     .kind = THAW_OPT_REAL,
     .offset = offsetof(struct options, alpha),
     .arg = "X",
     .def = "0.1",
     .min = 1e-6,
     .max = 0,
     .help = "Weight."},
    {.name = "memory",
     .kind = THAW_OPT_BYTES,
     .offset = offsetof(struct options, memory),
     .arg = "SIZE",
     .def = "1G",
     .min = 1024,
     .max = 1e15,
     .help = "Memory."},
    {.name = "timeout",
     .kind = THAW_OPT_SECONDS,
     .offset = offsetof(struct options, timeout_s),
     .arg = "TIME",
     .help = "Stop after this time."},
    {.name = "model",
     .kind = THAW_OPT_CHOICE,
     .offset = offsetof(struct options, model),
     .arg = "MODEL",
     .def = "implicit",
     .choices = "implicit|explicit|implicit-hu",
     .help = "What is minimized: don't use a \\ here."},
    {.name = "quiet",
     .letter = 'q',
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct options, quiet),
     .help = "Quiet."},
};

static const struct thaw_cmd cmd = {
    .program = "thaw",
    .name = "train",
    .summary = "train a model",
    .operands = "[ID...]",
    .min_operands = 0,
    .max_operands = 2,
    .description = "Reads a dataset and trains.\n\n.Dotted words and --options survive: 'quoted', "
                   "\\backslashed, \u03bb.",
    .files = "OUT/a-file: what it is\nanother: else",
    .examples = "thaw train --interactions a.csv \\\n    --out 'm'",
    .opts = table,
    .nopts = sizeof table / sizeof *table,
    .size = sizeof(struct options),
};

struct parsed {
    struct options o;
    struct thaw_list operands;
    bool help;
    struct thaw_err err;
};

// Parse words separated by single blanks.
static int parse(struct parsed *p, const char *line) {
    static char text[512];
    char *argv[64];
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *w = strtok(text, " "); w; w = strtok(NULL, " ")) argv[argc++] = w;
    *p = (struct parsed){.err = THAW_ERR_INIT};
    return thaw_opt_parse(&cmd, argc, argv, &p->o, &p->operands, &p->help, &p->err);
}

static void done(struct parsed *p) {
    thaw_opt_clear(&cmd, &p->o, &p->operands);
}

static void defaults_and_values(void **state) {
    (void)state;
    struct parsed p;
    assert_int_equal(parse(&p, "--interactions a.csv"), THAW_OK);
    assert_true(!p.help && p.o.factors == 64 && p.o.seed == 0 && p.o.alpha == 0.1 && p.o.memory == 1 << 30 &&
                p.o.timeout_s == 0 && p.o.model == 0 && !p.o.quiet && !p.o.out && p.operands.n == 0);
    done(&p);
    assert_int_equal(
        parse(&p, "id1 -k 8 --interactions=a.csv b.csv - -5 -q --alpha=1e2 --memory 2GiB --timeout 1.5m "
                  "--model implicit-hu -o x --seed 1e6 --interactions c.csv -- --odd"),
        THAW_OK);
    assert_true(p.o.factors == 8 && p.o.seed == 1000000 && p.o.alpha == 100 && p.o.memory == 2LL << 30 &&
                p.o.timeout_s == 90 && p.o.model == 2 && p.o.quiet);
    assert_string_equal(p.o.out, "x");
    assert_int_equal(p.o.inputs.n, 5);
    assert_string_equal(p.o.inputs.item[2], "-");
    assert_string_equal(p.o.inputs.item[3], "-5");
    assert_string_equal(p.o.inputs.item[4], "c.csv");
    assert_int_equal(p.operands.n, 2);
    assert_string_equal(p.operands.item[0], "id1");
    assert_string_equal(p.operands.item[1], "--odd");
    done(&p);
    assert_null(p.o.inputs.item);
    assert_null(p.operands.item);
}

static void help_is_taken_at_once(void **state) {
    (void)state;
    const char *const lines[] = {"--help", "-h", "--factors 3 -h", "--interactions a --help --nonsense"};
    struct parsed p;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(&p, lines[i]), THAW_OK);
        assert_true(p.help);
        done(&p);
    }
}

static void numbers(void **state) {
    (void)state;
    const struct {
        const char *line;
        int64_t factors, memory;
        double timeout_s;
    } good[] = {
        {"-k 1 --memory 1K --timeout 90", 1, 1024, 90},
        {"-k 1024 --memory 1500 --timeout 90s", 1024, 1500, 90},
        {"-k 1e3 --memory 1.5M --timeout 2h", 1000, 1572864, 7200},
        {"-k 1.5e1 --memory 1e9 --timeout 0.5s", 15, 1000000000, 0.5},
        {"-k 007 --memory 2kB --timeout 1e3", 7, 2048, 1000},
        {"-k +7 --memory 2000B --timeout -1", 7, 2000, -1},
    };
    struct parsed p;
    char line[256];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(line, sizeof line, "--interactions f %s", good[i].line);
        if (parse(&p, line) != THAW_OK) fail_msg("%s: %s", line, p.err.text);
        assert_true(p.o.factors == good[i].factors && p.o.memory == good[i].memory &&
                    p.o.timeout_s == good[i].timeout_s);
        done(&p);
    }
    snprintf(line, sizeof line, "--interactions f --seed 4611686018427387903");
    assert_int_equal(parse(&p, line), THAW_OK);
    assert_true(p.o.seed == 4611686018427387903);
    done(&p);
}

static void mistakes_are_named(void **state) {
    (void)state;
    const struct {
        const char *line, *text;
    } bad[] = {
        {"", "--interactions is missing"},
        {"--interactions", "--interactions needs a value (FILE)"},
        {"--interactions --out x", "--interactions needs a value (FILE)"},
        {"-k", "--factors needs a value (N)"},
        {"--factors 0", "--factors: 0 is out of range, it must be 1 to 1024"},
        {"--factors 1025", "--factors: 1025 is out of range, it must be 1 to 1024"},
        {"--factors 8x", "--factors: expected a whole number, got \"8x\""},
        {"--factors=", "--factors: expected a whole number, got \"\""},
        {"--factors 1_000", "--factors: expected a whole number, got \"1_000\""},
        {"--factors 1.5", "--factors: expected a whole number, got \"1.5\""},
        {"--factors 0x10", "--factors: expected a whole number, got \"0x10\""},
        {"--factors 1e99", "--factors: expected a whole number, got \"1e99\""},
        {"--factors 99999999999999999999",
         "--factors: expected a whole number, got \"99999999999999999999\""},
        {"--alpha nan", "--alpha: expected a number, got \"nan\""},
        {"--alpha inf", "--alpha: expected a number, got \"inf\""},
        {"--alpha 1e999", "--alpha: expected a number, got \"1e999\""},
        {"--alpha 0", "--alpha: 0 is out of range, it must be at least 1e-06"},
        {"--memory 5X", "--memory: expected a size such as 512M or 4GiB, got \"5X\""},
        {"--memory 5Ki", "--memory: expected a size such as 512M or 4GiB, got \"5Ki\""},
        {"--timeout 5d", "--timeout: expected a time such as 90, 15m or 2h, got \"5d\""},
        {"--model hu", "--model: \"hu\" is none of implicit|explicit|implicit-hu"},
        {"--model implici", "--model: \"implici\" is none of implicit|explicit|implicit-hu"},
        {"--quiet=1", "--quiet takes no value"},
        {"--factor 8", "unknown option --factor (the nearest is --factors)"},
        {"--interaction=x", "unknown option --interaction (the nearest is --interactions)"},
        {"-z", "unknown option -z (the nearest is --out)"},
        {"-k8", "unknown option -k8 (the nearest is --out)"},
        {"--interactions a -- 1 2 3", "unexpected argument \"3\""},
    };
    struct parsed p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(parse(&p, bad[i].line), THAW_EUSAGE);
        assert_string_equal(p.err.text, bad[i].text);
        assert_null(p.o.inputs.item); // nothing is left to free
        assert_null(p.operands.item);
    }
}

static void no_operands_wanted(void **state) {
    (void)state;
    struct thaw_cmd bare = cmd;
    struct options o;
    bool help;
    struct thaw_err err = THAW_ERR_INIT;
    char *argv[] = {(char[]){"stray"}};
    bare.max_operands = 0;
    bare.nopts = 0;
    assert_int_equal(thaw_opt_parse(&bare, 1, argv, &o, NULL, &help, &err), THAW_EUSAGE);
    assert_string_equal(err.text, "unexpected argument \"stray\"");
    assert_int_equal(thaw_opt_parse(&bare, 0, argv, &o, NULL, &help, &err), THAW_OK);
    bare.min_operands = bare.max_operands = 1;
    bare.operands = "TABLES";
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_opt_parse(&bare, 0, argv, &o, NULL, &help, &err), THAW_EUSAGE);
    assert_string_equal(err.text, "TABLES is missing");
}

static char *print(void function(FILE *)) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    function(f);
    fclose(f);
    return text;
}

static void print_help(FILE *f) {
    thaw_opt_help(&cmd, f);
}

static void print_man(FILE *f) {
    static const int codes[] = {THAW_EUSAGE, THAW_EIO, 0};
    thaw_opt_man(&cmd, "0.1.0", codes, f);
}

static void help_is_complete_and_narrow(void **state) {
    (void)state;
    char *text = print(print_help);
    assert_true(strncmp(text, "Usage: thaw train [OPTION...] [ID...]\n", 38) == 0);
    for (int i = 0; i < cmd.nopts; i++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", table[i].name);
        assert_non_null(strstr(text, name));
    }
    assert_non_null(strstr(text, "\n  -k, --factors N         Length of the vectors;"));
    assert_non_null(strstr(text, "1 to 1024; default 64]\n"));
    assert_non_null(strstr(text, "[at least 1e-06; default 0.1]\n"));
    assert_non_null(strstr(text, "[1K to 1e+15; default 1G]\n"));
    assert_non_null(strstr(text, "implicit-hu"));
    assert_non_null(strstr(text, "\n  thaw train --interactions a.csv \\\n      --out 'm'\n"));
    for (const char *line = text; *line; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 80);
        assert_true(line[0] == '\n' || line[strcspn(line, "\n") - 1] != ' ');
    }
    free(text);
}

static void man_page_is_escaped(void **state) {
    (void)state;
    char *text = print(print_man);
    assert_true(strncmp(text, ".TH THAW\\-TRAIN 1 \"\" \"Thaw 0.1.0\"", 33) == 0);
    const char *const parts[] = {
        ".SH NAME\nthaw\\-train \\- train a model\n",
        "\n.SH SYNOPSIS\n",
        "\n.SH DESCRIPTION\n",
        "\n.SH OPTIONS\n",
        "\n.SH EXIT STATUS\n.TP\n.B 0\nSuccess.\n.TP\n.B 64\n",
        "\n.TP\n.B 74\nWriting failed.\n.SH FILES\n",
        "\n.SH FILES\n.TP\n\\fIOUT/a\\-file\\fR\nwhat it is\n.TP\n\\fIanother\\fR\nelse\n.SH EXAMPLES\n",
        "\n.SH SEE ALSO\n",
        "\n.PP\n\\&.Dotted words and \\-\\-options",
        "\\(aqquoted\\(aq, \\ebackslashed, \\[u03BB].",
        "\\fB\\-k\\fR, \\fB\\-\\-factors\\fR \\fIN\\fR\n",
        "\n\\fB\\-\\-interactions\\fR \\fIFILE\\fR...\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("no %s in:\n%s", parts[i], text);
    free(text);
}

static void collect(void *user, const char *name, const char *value) {
    strcat(user, name);
    strcat(user, "=");
    strcat(user, value);
    strcat(user, ";");
}

static void values_are_listed(void **state) {
    (void)state;
    struct parsed p;
    char text[1024] = "";
    assert_int_equal(parse(&p, "--interactions a b --model explicit --alpha 0.3 --timeout 1m -q"), THAW_OK);
    thaw_opt_each(&cmd, &p.o, collect, text);
    assert_string_equal(text,
                        "interactions=a b;out=;factors=64;seed=0;alpha=0.3;memory=1073741824;timeout=60;"
                        "model=explicit;quiet=true;");
    done(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_and_values),
        cmocka_unit_test(help_is_taken_at_once),
        cmocka_unit_test(numbers),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(no_operands_wanted),
        cmocka_unit_test(help_is_complete_and_narrow),
        cmocka_unit_test(man_page_is_escaped),
        cmocka_unit_test(values_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
