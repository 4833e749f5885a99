// tool.c: the program thaw-lookup. Chooses a verb, parses its options, runs it.
#include "lookup/verbs/verb.h"

#include "base/mem.h"
#include "base/version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct thaw_verb *const verbs[] = {
    &thaw_verb_info,   &thaw_verb_vector,  &thaw_verb_recommend,
    &thaw_verb_batch,  &thaw_verb_similar, &thaw_verb_check,
    &thaw_verb_export, &thaw_verb_bench,   NULL,
};

static const int exit_codes[] = {THAW_EUSAGE, THAW_EDATA, THAW_ENOINPUT, THAW_EBUG, THAW_EMEM, THAW_EIO, 0};

static void print_usage(FILE *out) {
    fprintf(out,
            "usage: thaw-lookup VERB TABLES [options]\n\n"
            "Looks things up in the embedding tables that 'thaw tables' wrote. Needs no MPI.\n\nVerbs:\n");
    for (const struct thaw_verb *const *v = verbs; *v; v++)
        fprintf(out, "  %-10s %s\n", (*v)->cmd->name, (*v)->cmd->summary);
    fprintf(
        out,
        "\n'thaw-lookup VERB --help' lists the options of a verb, 'thaw-lookup --version' the version.\n");
}

// thaw-lookup(1), from the same tables as the help.
static void print_overview_man(FILE *out) {
    fprintf(out,
            ".TH THAW\\-LOOKUP 1 \"\" \"thaw %s\" \"Thaw\"\n.SH NAME\n"
            "thaw\\-lookup \\- look things up in embedding tables\n.SH SYNOPSIS\n.B thaw\\-lookup\n.I VERB "
            "TABLES\n"
            ".RI [ options ]\n.SH DESCRIPTION\n"
            "Reads the tables that\n.BR thaw\\-tables (1)\nwrote: a tables folder, of which the current\n"
            "version is taken, or one version of it.\n"
            "Files are memory-mapped, so processes share them and nothing is loaded.\n.SH VERBS\n",
            THAW_VERSION);
    for (const struct thaw_verb *const *v = verbs; *v; v++)
        fprintf(out, ".TP\n.BR thaw\\-lookup\\-%s (1)\n%s\n", (*v)->cmd->name, (*v)->cmd->summary);
    thaw_opt_man_status(exit_codes, out);
    fprintf(out, ".SH SEE ALSO\n.BR thaw (1)\n");
}

static const struct thaw_verb *find_verb(const char *name) {
    for (const struct thaw_verb *const *v = verbs; *v; v++)
        if (strcmp((*v)->cmd->name, name) == 0) return *v;
    return NULL;
}

static int run_verb(const struct thaw_verb *verb, int argc, char **argv, struct thaw_err *err) {
    void *options = NULL;
    struct thaw_list operands = {0};
    bool help = false;
    int code = thaw_alloc(&options, 1, verb->cmd->size, "options", err);
    if (!code) code = thaw_opt_parse(verb->cmd, argc, argv, options, &operands, &help, err);
    if (help)
        thaw_opt_help(verb->cmd, stdout);
    else if (!code)
        code = verb->run(options, &operands, err);
    if (options) thaw_opt_clear(verb->cmd, options, &operands);
    free(options);
    return code;
}

// --help, --version and --man. False: nothing of the kind was asked for.
static bool answered(int argc, char **argv) {
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_usage(stdout);
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("thaw-lookup %s%s%s%s\n", THAW_VERSION, *THAW_GIT ? " (" : "", THAW_GIT, *THAW_GIT ? ")" : "");
    } else if (strcmp(argv[1], "--man") == 0) {
        const struct thaw_verb *verb = argc > 2 ? find_verb(argv[2]) : NULL;
        if (verb)
            thaw_opt_man(verb->cmd, THAW_VERSION, exit_codes, stdout);
        else
            print_overview_man(stdout);
    } else {
        return false;
    }
    return true;
}

int main(int argc, char **argv) {
    struct thaw_err err = THAW_ERR_INIT;
    int code = THAW_OK;
    if (argc < 2) {
        print_usage(stderr);
        return THAW_EUSAGE;
    }
    if (!answered(argc, argv)) {
        const struct thaw_verb *verb = find_verb(argv[1]);
        if (verb)
            code = run_verb(verb, argc - 2, argv + 2, &err);
        else
            code = thaw_fail(&err, THAW_EUSAGE, "no such verb; 'thaw-lookup --help' lists them");
        if (err.code) fprintf(stderr, "thaw-lookup %s: error: %s\n", argv[1], err.text);
    }
    errno = 0;
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "thaw-lookup: error: cannot write results to standard output\n");
        if (!code) code = THAW_EIO;
    }
    return code;
}
