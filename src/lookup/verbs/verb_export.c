// verb_export.c: thaw-lookup export.
#include "lookup/verbs/verb.h"

#include "base/mem.h"
#include "base/npy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXPORT_CSV, EXPORT_NPY, EXPORT_WORD2VEC };

struct options {
    int kind, format;
    const char *out, *ids;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_KIND(struct options, "items", "Which table to export."),
    THAW_OPT_FORMAT(
        struct options, "csv", "csv|npy|word2vec",
        "csv: id, factors, bias; npy: a NumPy array of 32-bit floats without ids; word2vec: its text "
        "format, factors only."),
    {.name = "out",
     .letter = 'o',
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, out),
     .arg = "FILE",
     .help = "Write to FILE, which appears when it is complete, instead of standard output."},
    {.name = "ids",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, ids),
     .arg = "FILE",
     .help = "Also write the ids, in the order of the rows, as a NumPy array of byte strings."},
};

static void export_csv(struct thaw_session *s, enum thaw_side side, int64_t nrows) {
    thaw_print_columns(s);
    for (int64_t row = 0; row < nrows; row++) {
        size_t n;
        const char *id = thaw_lookup_id(s->l, side, row, &n);
        thaw_print_vector(&s->out, THAW_CSV, side, id, n, thaw_lookup_vector(s->l, side, row),
                          s->info.columns);
    }
}

static void export_npy(struct thaw_session *s, enum thaw_side side, int64_t nrows) {
    const struct thaw_npy_shape shape = {THAW_NPY_F32, 2, nrows, s->info.columns, 4};
    char header[192];
    thaw_sink_bytes(&s->out, header, thaw_npy_header(header, &shape));
    for (int64_t row = 0; row < nrows; row++)
        thaw_sink_bytes(&s->out, thaw_lookup_vector(s->l, side, row),
                        (size_t)s->info.columns * sizeof(float));
}

// The format has no quoting, so white space in an id becomes an underscore; how often is told.
static void export_word2vec(struct thaw_session *s, enum thaw_side side, int64_t nrows) {
    struct thaw_sink *o = &s->out;
    int64_t changed = 0;
    thaw_sink_i64(o, nrows);
    thaw_sink_char(o, ' ');
    thaw_sink_i64(o, s->info.factors);
    thaw_sink_char(o, '\n');
    for (int64_t row = 0; row < nrows; row++) {
        size_t n;
        const char *id = thaw_lookup_id(s->l, side, row, &n);
        const float *x = thaw_lookup_vector(s->l, side, row);
        bool clean = true;
        for (size_t i = 0; i < n; i++) {
            const bool space = (unsigned char)id[i] <= ' ';
            thaw_sink_char(o, space ? '_' : id[i]);
            clean = clean && !space;
        }
        changed += !clean;
        thaw_sink_char(o, ' ');
        thaw_sink_f32s(o, x, s->info.factors, ' ');
        thaw_sink_char(o, '\n');
    }
    if (changed) fprintf(stderr, "thaw-lookup: %" PRId64 " ids have white space, written as '_'\n", changed);
}

static int export_ids(struct thaw_session *s, enum thaw_side side, int64_t nrows, const char *path,
                      struct thaw_err *err) {
    struct thaw_sink sink;
    char header[192];
    size_t n, width = 1;
    static const char zeros[256];
    int code = thaw_sink_open(&sink, path, err);
    if (code) return code;
    for (int64_t row = 0; row < nrows; row++) {
        thaw_lookup_id(s->l, side, row, &n);
        if (n > width) width = n;
    }
    const struct thaw_npy_shape shape = {THAW_NPY_BYTES, 1, nrows, 1, (int64_t)width};
    thaw_sink_bytes(&sink, header, thaw_npy_header(header, &shape));
    for (int64_t row = 0; row < nrows; row++) {
        const char *id = thaw_lookup_id(s->l, side, row, &n);
        thaw_sink_bytes(&sink, id, n);
        thaw_sink_bytes(&sink, zeros, width - n);
    }
    return thaw_sink_close(&sink, THAW_OK, err);
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *o = options;
    const enum thaw_side side = (enum thaw_side)o->kind;
    struct thaw_session s;
    int code = thaw_session_open(&s, operands, o->out, err);
    const int64_t nrows = side == THAW_USERS ? s.info.users : s.info.items;
    if (!code && o->ids) code = export_ids(&s, side, nrows, o->ids, err);
    if (!code && o->format == EXPORT_CSV) export_csv(&s, side, nrows);
    if (!code && o->format == EXPORT_NPY) export_npy(&s, side, nrows);
    if (!code && o->format == EXPORT_WORD2VEC) export_word2vec(&s, side, nrows);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "export",
    .summary = "write a whole table as CSV, NumPy array or word2vec text",
    THAW_VERB_TABLES,
    .description =
        "Streams the vectors of all users or items, in the order of their rows: by part, the busiest first.",
    .examples = "thaw-lookup export tables --kind items --format npy --out items.npy --ids item-ids.npy\n"
                "thaw-lookup export tables --kind users | gzip > users.csv.gz",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_export = {&cmd, run};
