// verb_batch.c: thaw-lookup batch: answers for many people the tables do not know, from a table of them.
//
// One thread reads rows in chunks; all threads answer the rows of a chunk; then they are printed in their
// order. So the output is the same for any number of threads. A chunk ends where no row is waiting, so that
// whoever asks through a pipe has the answer before the next question; its threads then answer it together.
#include "lookup/verbs/csv.h"
#include "lookup/verbs/someone.h"

#include "base/crew.h"
#include "base/hash.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 512, WARNINGS = 20, HITS_MAX = 1 << 22 };

struct options {
    const char *input, *out, *separator;
    int64_t k, threads, seed;
    double scale;
    int format, method, explore;
    bool with_seen;
};

static const struct thaw_opt opts[] = {
    {.name = "input",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, input),
     .arg = "FILE",
     .def = "-",
     .help = "CSV with a header: id, history, and profile fields by their names; - is standard input."},
    {.name = "out",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, out),
     .arg = "FILE",
     .help = "Where answers go, whole or not at all; without it standard output."},
    {.name = "separator",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, separator),
     .arg = "TEXT",
     .def = "|",
     .help = "What stands between the items of a history, and between its strengths and times."},
    THAW_OPT_COUNT(struct options, "How many items to print for each."),
    THAW_SOMEONE_OPTIONS(struct options, "As of 'thaw-lookup recommend'.",
                         "As of 'thaw-lookup recommend'; every row has its own draw.",
                         "Also recommend items of the history."),
    THAW_OPT_NUMBER(struct options, "threads", 't', threads, "1", 1, THAW_CREW_MAX,
                    "Threads that answer; the results do not depend on it."),
    THAW_OPT_FORMAT(struct options, "csv", "text|jsonl|csv",
                    "text and csv: id, rank, item, score; jsonl: one object per row."),
};

// What a column of the input is: a field's number, or
enum { ID = -1, HISTORY = -2, STRENGTHS = -3, TIMES = -4, UNKNOWN = -5 };

struct row {
    char *id;
    struct thaw_someone who;
    struct thaw_hit *hits; // k, the batch's
    int nhits;
};

struct batch {
    struct thaw_session *s;
    const struct options *o;
    struct thaw_csv csv;
    int *column; // of the input
    int ncolumns;
    struct thaw_lookup_how how;
    int k, room; // hits of a row; rows of a chunk
    struct row row[CHUNK];
    int n;
    struct thaw_hit *hits;
    int64_t warnings;
    // Of the threads that answer a chunk
    struct thaw_lookup_work *work[THAW_CREW_MAX];
    atomic_int failed;
    struct thaw_err err[THAW_CREW_MAX];
};

// ---- Reading ----

static int column_of(struct thaw_session *s, const char *name, size_t n) {
    static const struct {
        const char *name;
        int column;
    } own[] = {{"id", ID}, {"history", HISTORY}, {"strengths", STRENGTHS}, {"known_times", TIMES}};
    const int field = thaw_lookup_find_field(s->l, name, n);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (strlen(own[i].name) == n && !memcmp(own[i].name, name, n)) return own[i].column;
    if (field < 0) thaw_someone_no_field(s, name, n);
    return field < 0 ? UNKNOWN : field;
}

static int read_header(struct batch *b, struct thaw_err *err) {
    bool more;
    int ids = 0;
    int code = thaw_csv_next(&b->csv, &more, err);
    if (!code && !more) code = thaw_fail(err, THAW_EDATA, "%s: is empty: give a header", b->o->input);
    if (!code) code = thaw_alloc(&b->column, (size_t)b->csv.n, sizeof *b->column, "columns", err);
    if (code) return code;
    b->ncolumns = b->csv.n;
    for (int i = 0; i < b->ncolumns; i++) {
        size_t n;
        const char *name = thaw_csv_field(&b->csv, i, &n);
        b->column[i] = column_of(b->s, name, n);
        ids += b->column[i] == ID;
        for (int j = 0; j < i; j++)
            if (b->column[j] == b->column[i] && b->column[i] != UNKNOWN)
                return thaw_fail(err, THAW_EDATA, "%s: column '%.*s' is there twice", b->o->input, (int)n,
                                 name);
    }
    return ids == 1 ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: its header has no column id", b->o->input);
}

// The next piece of a list; false at the end.
static bool next_piece(const char **at, const char *separator, const char **piece, size_t *n) {
    if (!*at || !**at) return false;
    const char *end = strstr(*at, separator);
    *piece = *at;
    *n = end ? (size_t)(end - *at) : strlen(*at);
    *at = end ? end + strlen(separator) : NULL;
    return true;
}

static int next_number(struct batch *b, const char **at, bool given, const char *what, double *out,
                       struct thaw_err *err) {
    const char *piece;
    size_t n;
    struct thaw_err why = THAW_ERR_INIT;
    if (!given) return THAW_OK;
    if (!next_piece(at, b->o->separator, &piece, &n))
        return thaw_fail(err, THAW_EDATA, "%s:%" PRId64 ": fewer %s than items", b->o->input, b->csv.line,
                         what);
    if (thaw_someone_number(what, piece, n, out, &why))
        return thaw_fail(err, THAW_EDATA, "%s:%" PRId64 ": %s", b->o->input, b->csv.line, why.text);
    return THAW_OK;
}

static int read_history(struct batch *b, struct thaw_someone *p, const char *const text[3],
                        struct thaw_err *err) {
    const char *items = text[0], *strengths = text[1], *times = text[2], *piece;
    const bool with_strengths = strengths && *strengths, with_times = times && *times;
    size_t n;
    int code = THAW_OK;
    while (!code && next_piece(&items, b->o->separator, &piece, &n)) {
        double strength = 1, time = 0;
        code = next_number(b, &strengths, with_strengths, "strengths", &strength, err);
        if (!code) code = next_number(b, &times, with_times, "known_times", &time, err);
        if (code || n == 0) continue;
        const int64_t item = thaw_lookup_find(b->s->l, THAW_ITEMS, piece, n);
        if (item >= 0) {
            code = thaw_someone_item(p, item, (float)strength, time, err);
        } else {
            b->s->unknown++;
            if (b->warnings-- > 0)
                fprintf(stderr, "thaw-lookup: %s:%" PRId64 ": no item '%.*s'\n", b->o->input, b->csv.line,
                        (int)n, piece);
        }
    }
    thaw_someone_sort(p);
    return code;
}

static int read_row(struct batch *b, struct row *r, struct thaw_err *err) {
    const char *text[3] = {NULL, NULL, NULL};
    int code = THAW_OK;
    if (b->csv.n != b->ncolumns)
        return thaw_fail(err, THAW_EDATA, "%s:%" PRId64 ": %d fields, the header has %d", b->o->input,
                         b->csv.line, b->csv.n, b->ncolumns);
    thaw_someone_forget(&r->who);
    for (int i = 0; !code && i < b->ncolumns; i++) {
        size_t n;
        const char *value = thaw_csv_field(&b->csv, i, &n);
        const int column = b->column[i];
        if (column == ID) {
            free(r->id);
            r->id = strdup(value);
            if (!r->id) code = thaw_fail(err, THAW_EMEM, "no memory for an id");
        } else if (column <= HISTORY && column >= TIMES) {
            text[HISTORY - column] = value;
        } else if (column >= 0) {
            code = thaw_someone_field(&r->who, b->s, column, value, n, &b->warnings, err);
        }
    }
    return code ? code : read_history(b, &r->who, text, err);
}

static int read_chunk(struct batch *b, bool *more, struct thaw_err *err) {
    int code = THAW_OK;
    *more = true;
    for (b->n = 0; !code && b->n < b->room; b->n++) {
        code = thaw_csv_next(&b->csv, more, err);
        if (code || !*more) break;
        struct row *r = &b->row[b->n];
        if (!r->who.profile) code = thaw_someone_new(&r->who, b->s, err);
        if (!code) code = read_row(b, r, err);
        r->hits = b->hits + (int64_t)b->n * b->k;
        if (!thaw_csv_ready(&b->csv)) {
            b->n++;
            break;
        }
    }
    return code;
}

// ---- Answering ----

static int answer(struct batch *b, struct thaw_lookup_work *w, struct row *r, struct thaw_err *err) {
    const uint64_t key = thaw_hash_id(r->id, strlen(r->id)) ^ (uint64_t)b->o->seed;
    const struct thaw_newcomer_query who = {r->who.profile, r->who.items, r->who.strengths, r->who.n,
                                            (uint64_t)b->o->seed};
    struct thaw_lookup_how how = b->how;
    how.seed = key;
    how.threads = (int)b->o->threads / b->n;
    r->nhits = 0;
    if (how.method == THAW_LOOKUP_FOLD_IN && who.n == 0) return THAW_OK;
    return thaw_lookup_answer(w, &who, &how, b->k, b->o->with_seen, r->hits, &r->nhits, err);
}

static void work(void *argument, int worker, int64_t row) {
    struct batch *b = argument;
    if (atomic_load(&b->failed)) return;
    if (answer(b, b->work[worker], &b->row[row], &b->err[worker])) atomic_store(&b->failed, 1);
}

static int answer_chunk(struct batch *b, struct thaw_err *err) {
    int code = THAW_OK;
    thaw_crew((int)b->o->threads, b->n, work, b);
    for (int i = 0; !code && i < b->o->threads; i++)
        if (b->err[i].code) code = thaw_fail(err, b->err[i].code, "%s", b->err[i].text);
    return code;
}

static void print_chunk(struct batch *b) {
    for (int i = 0; i < b->n; i++) {
        const struct row *r = &b->row[i];
        if (r->nhits == 0) {
            b->s->unknown++;
            if (b->warnings-- > 0) fprintf(stderr, "thaw-lookup: '%s': nothing to go by\n", r->id);
            continue;
        }
        thaw_print_hits(b->s, b->o->format, "id", r->id, strlen(r->id), r->hits, r->nhits);
    }
}

static int batch_new(struct batch *b, struct thaw_err *err) {
    const int64_t items = b->s->info.items > 0 ? b->s->info.items : 1;
    b->k = (int)(b->o->k < items ? b->o->k : items);
    b->room = HITS_MAX / b->k < CHUNK ? HITS_MAX / b->k : CHUNK;
    if (b->room < 1) b->room = 1;
    b->warnings = WARNINGS;
    b->how.explore = b->o->explore;
    b->how.scale = b->o->scale;
    int code = *b->o->separator ? THAW_OK : thaw_fail(err, THAW_EUSAGE, "--separator: may not be empty");
    if (!code) code = thaw_someone_method(b->s, b->o->method, &b->how.method, err);
    if (!code)
        code = thaw_alloc(&b->hits, (size_t)b->room * (size_t)b->k, sizeof *b->hits, "recommendations", err);
    if (!code) code = thaw_lookup_warm(b->s->l, err);
    for (int i = 0; !code && i < b->o->threads; i++) {
        b->err[i] = THAW_ERR_INIT;
        code = thaw_lookup_work_new(&b->work[i], b->s->l, err);
    }
    if (!code) code = thaw_csv_open(&b->csv, b->o->input, err);
    return code ? code : read_header(b, err);
}

static void batch_clear(struct batch *b) {
    for (int i = 0; i < CHUNK; i++) {
        free(b->row[i].id);
        thaw_someone_clear(&b->row[i].who);
    }
    for (int i = 0; i < THAW_CREW_MAX; i++) thaw_lookup_work_free(&b->work[i]);
    thaw_csv_close(&b->csv);
    free(b->column);
    free(b->hits);
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    struct thaw_session s;
    struct batch *b = NULL;
    bool more = true;
    const struct options *o = options;
    int code = thaw_session_open(&s, operands, o->out, err);
    if (!code) code = thaw_alloc(&b, 1, sizeof *b, "a batch", err);
    if (b) {
        b->s = &s;
        b->o = o;
    }
    if (!code) code = batch_new(b, err);
    if (!code && o->format == THAW_CSV) thaw_sink_text(&s.out, "id,rank,item,score\n");
    while (!code && more && !s.out.err.code) {
        thaw_sink_flush(&s.out);
        code = read_chunk(b, &more, err);
        if (!code) code = answer_chunk(b, err);
        if (!code) print_chunk(b);
    }
    if (b && b->warnings < 0) fprintf(stderr, "thaw-lookup: %" PRId64 " more warnings\n", -b->warnings);
    if (b) batch_clear(b);
    free(b);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "batch",
    .summary = "print the best items for many people the tables do not know",
    THAW_VERB_TABLES,
    .description =
        "Reads a CSV file (RFC 4180) with a header and answers every row as 'thaw-lookup recommend' would "
        "someone with "
        "that profile and history. Columns: id, which is printed with the answer; history, items between | "
        "(see "
        "--separator); strengths and known_times, numbers that go with the history; and profile fields by "
        "their names, "
        "empty where a value is not known. Other columns are told on standard error and not used.\n\n"
        "Answers are in the order of the rows, and printed as soon as no other row is waiting: a service may "
        "keep one running and ask through a pipe. Compact copies of the models are made in memory first; "
        "scores keep 5 digits.\n\n"
        "Unknown items and values are told on standard error (the first 20) and contribute nothing; where an "
        "item was "
        "unknown, or nothing could be said for a row, the exit status is 65.",
    .examples = "thaw-lookup batch tables --input newcomers.csv --out answers.csv --threads 4\n"
                "printf 'id,gender,history\\nnew1,F,\\nnew2,M,1193|661\\n' | thaw-lookup batch tables -k 5 "
                "--format jsonl",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_batch = {&cmd, run};
