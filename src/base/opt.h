// opt.h: one table per command gives the parser, the range check, --help, the man page, the job file's keys
// and the manifest's lines. Local; thread-safe on distinct objects.
#ifndef THAW_BASE_OPT_H
#define THAW_BASE_OPT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum thaw_opt_kind {
    THAW_OPT_FLAG,    // bool; no argument
    THAW_OPT_INT,     // int64_t; accepts 1000000 and 1e6
    THAW_OPT_REAL,    // double; finite
    THAW_OPT_BYTES,   // int64_t; 512M, 4GiB, 1e9 (K, M, G, T are powers of 1024)
    THAW_OPT_SECONDS, // double; 90, 90s, 15m, 2h
    THAW_OPT_CHOICE,  // int: index into choices
    THAW_OPT_TEXT,    // const char *; NULL when not given and no default
    THAW_OPT_LIST,    // struct thaw_list: this word and all that follow up to the next option; may be given
                      // again
};

struct thaw_list {
    const char **item; // owned array of borrowed words
    int n;
};

struct thaw_opt {
    const char *name; // long name without dashes
    char letter;      // short name or 0
    enum thaw_opt_kind kind;
    size_t offset;   // of the field in the command's options struct
    const char *arg; // placeholder in the help: "N", "DIR", ...; NULL for flags
    const char *def; // default as the user would type it; NULL: zero / none; may lie outside the range
    double min, max; // inclusive, for INT, REAL, BYTES, SECONDS; both 0: unchecked; max < min: no upper end
    const char *choices; // "implicit|explicit" for CHOICE
    bool required;
    const char *help; // one sentence or two, no default in it (it is appended)
};

// Operands are words that are not options ("TABLES", "ID..."): min_operands..max_operands (-1: any number).
struct thaw_cmd {
    const char *program;  // "thaw" or "thaw-lookup"
    const char *name;     // "train"; the man page is thaw-train(1)
    const char *summary;  // after NAME - in the man page, and in the program's list
    const char *operands; // usage text of the operands, "" for none
    int min_operands, max_operands;
    const char *description; // paragraphs separated by blank lines
    const char *files;       // lines "name: what it is", for the man page; may be NULL
    const char *examples;    // lines, shown verbatim; may be NULL
    const struct thaw_opt *opts;
    int nopts;
    size_t size; // sizeof the options struct
};

// Entries of a table whose options are the fields of struct T, and the fields of struct thaw_cmd for TABLE.
#define THAW_OPTION(T, KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)                                          \
    {                                                                                                        \
        .name = NAME, .kind = THAW_OPT_##KIND, .offset = offsetof(T, FIELD), .arg = ARG, .def = DEF,         \
        .min = MIN, .max = MAX, .help = HELP                                                                 \
    }
#define THAW_OPTION_REQUIRED(T, KIND, NAME, FIELD, ARG, HELP)                                                \
    {                                                                                                        \
        .name = NAME, .kind = THAW_OPT_##KIND, .offset = offsetof(T, FIELD), .arg = ARG, .required = true,   \
        .help = HELP                                                                                         \
    }
#define THAW_OPTION_CHOICE(T, NAME, FIELD, ARG, DEF, CHOICES, HELP)                                          \
    {                                                                                                        \
        .name = NAME, .kind = THAW_OPT_CHOICE, .offset = offsetof(T, FIELD), .arg = ARG, .def = DEF,         \
        .choices = CHOICES, .help = HELP                                                                     \
    }
#define THAW_CMD_OPTIONS(T, TABLE)                                                                           \
    .opts = TABLE, .nopts = (int)(sizeof TABLE / sizeof *TABLE), .size = sizeof(T)

// Parse argv[0..argc) (the words after the command's name) into *options, which is zeroed and given the
// defaults first. "--name value", "--name=value", "-k value"; "--" ends options; unique prefixes are NOT
// accepted. Operands go to *operands. --help sets *help and returns THAW_OK at once. Strings are borrowed
// from argv; lists are owned: thaw_opt_clear, which takes the same three. THAW_EUSAGE with a line that names
// the option, what was wrong and, for an unknown name, the nearest known one; THAW_EMEM.
int thaw_opt_parse(const struct thaw_cmd *cmd, int argc, char **argv, void *options,
                   struct thaw_list *operands, bool *help, struct thaw_err *err);
void thaw_opt_clear(const struct thaw_cmd *cmd, void *options, struct thaw_list *operands);

// Print usage, options with defaults and ranges, examples.
void thaw_opt_help(const struct thaw_cmd *cmd, FILE *out);
// The same as a man page (man(7) roff). version e.g. "0.1.0"; codes: the exit statuses of the program besides
// 0, ended by 0.
void thaw_opt_man(const struct thaw_cmd *cmd, const char *version, const int *codes, FILE *out);
// The section EXIT STATUS alone, for the page of the program itself.
void thaw_opt_man_status(const int *codes, FILE *out);
// Each option as name and resolved value text, for manifests and job plans; `each` is called in table order.
void thaw_opt_each(const struct thaw_cmd *cmd, const void *options,
                   void (*each)(void *user, const char *name, const char *value), void *user);

#endif
