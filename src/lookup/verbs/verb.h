// verb.h: what the verbs of thaw-lookup share: their list, an opened tables folder with its output, batches
// of ids. Local; one thread.
#ifndef THAW_LOOKUP_VERB_H
#define THAW_LOOKUP_VERB_H

#include "base/crew.h"
#include "base/opt.h"
#include "lookup/lookup.h"
#include "lookup/verbs/sink.h"

struct thaw_verb {
    const struct thaw_cmd *cmd;
    // Results go to standard output. A failure that has already been told (unknown ids) leaves *err as it is.
    int (*run)(const void *options, const struct thaw_list *operands, struct thaw_err *err);
};
extern const struct thaw_verb thaw_verb_info, thaw_verb_vector, thaw_verb_recommend, thaw_verb_batch,
    thaw_verb_similar, thaw_verb_check, thaw_verb_export, thaw_verb_bench;

enum { THAW_TEXT, THAW_JSONL, THAW_CSV, THAW_NPY };

// ---- One run over one tables folder ----
struct thaw_session {
    const char *tables; // as typed
    struct thaw_lookup *l;
    struct thaw_lookup_info info;
    struct thaw_sink out;
    int64_t unknown; // ids that were not found, told on stderr
};
// path: where results go, NULL for standard output.
int thaw_session_open(struct thaw_session *s, const struct thaw_list *operands, const char *path,
                      struct thaw_err *err);
// Completes the output; THAW_EDATA when an id was unknown.
int thaw_session_close(struct thaw_session *s, int code, struct thaw_err *err);
// The row of an id; -1 after a line on stderr when there is none.
int64_t thaw_session_find(struct thaw_session *s, enum thaw_side side, const char *id, size_t n);

// ---- A batch of ids: from the command line, else one per line from standard input ----
struct thaw_ids {
    const struct thaw_list *list;
    int at;
    bool lines; // from standard input
    char *line;
    size_t cap;
};
// THAW_EUSAGE when there is neither a list nor anything but a terminal to read from. what: "--user ID..." for
// that message.
int thaw_ids_open(struct thaw_ids *ids, const struct thaw_list *list, const char *what, struct thaw_err *err);
// The next id, borrowed until the next call; false at the end. Empty lines are skipped.
bool thaw_ids_next(struct thaw_ids *ids, const char **id, size_t *n);
void thaw_ids_close(struct thaw_ids *ids);

// ---- Printing ----
// The items found for someone: one line each (text, csv: who, rank, item, score), or one object with the list
// (jsonl). name: of the JSON field that says who; who NULL: none known.
void thaw_print_hits(struct thaw_session *s, int format, const char *name, const char *who, size_t n,
                     const struct thaw_hit *hits, int nhits);

// The names of a vector's columns, as the first line of a CSV file.
void thaw_print_columns(struct thaw_session *s);
// An id and its numbers, as text, csv or jsonl.
void thaw_print_vector(struct thaw_sink *o, int format, enum thaw_side side, const char *id, size_t n,
                       const float *x, int columns);

// ---- What the tables of several verbs share: entries of struct T, and the fields of struct thaw_cmd ----
#define THAW_OPT_NUMBER(T, NAME, LETTER, FIELD, DEF, MIN, MAX, HELP)                                         \
    {                                                                                                        \
        .name = NAME, .letter = LETTER, .kind = THAW_OPT_INT, .offset = offsetof(T, FIELD), .arg = "N",      \
        .def = DEF, .min = MIN, .max = MAX, .help = HELP                                                     \
    }
#define THAW_OPT_COUNT(T, HELP) THAW_OPT_NUMBER(T, "count", 'k', k, "10", 1, 1e6, HELP)
#define THAW_OPT_THREADS(T)                                                                                  \
    THAW_OPT_NUMBER(T, "threads", 't', threads, "1", 1, THAW_CREW_MAX,                                       \
                    "Threads that scan the item table; the results do not depend on it.")
#define THAW_OPT_USERS(T, HELP)                                                                              \
    {                                                                                                        \
        .name = "user", .letter = 'u', .kind = THAW_OPT_LIST, .offset = offsetof(T, users), .arg = "ID...",  \
        .help = HELP                                                                                         \
    }
#define THAW_OPT_ITEMS(T, HELP)                                                                              \
    {                                                                                                        \
        .name = "item", .letter = 'i', .kind = THAW_OPT_LIST, .offset = offsetof(T, items), .arg = "ID...",  \
        .help = HELP                                                                                         \
    }
#define THAW_OPT_KIND(T, DEF, HELP) THAW_OPTION_CHOICE(T, "kind", kind, "KIND", DEF, "users|items", HELP)
#define THAW_OPT_FORMAT(T, DEF, CHOICES, HELP)                                                               \
    THAW_OPTION_CHOICE(T, "format", format, "FORMAT", DEF, CHOICES, HELP)

#define THAW_VERB_OPTIONS(T, TABLE) .program = "thaw-lookup", THAW_CMD_OPTIONS(T, TABLE)
#define THAW_VERB_TABLES            .operands = "TABLES", .min_operands = 1, .max_operands = 1

#endif
