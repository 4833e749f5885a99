// verb_vector.c: thaw-lookup vector.
#include "lookup/verbs/verb.h"

#include "base/mem.h"
#include "base/npy.h"

#include <math.h>
#include <stdlib.h>

struct options {
    struct thaw_list users, items;
    int kind, format;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_USERS(struct options, "Users to look up."),
    THAW_OPT_ITEMS(struct options, "Items to look up."),
    THAW_OPT_KIND(struct options, "users",
                  "What the ids on standard input are, when no --user and no --item is given."),
    THAW_OPT_FORMAT(
        struct options, "text", "text|jsonl|csv|npy",
        "text: the id and its numbers between tabs; npy: a NumPy array of 32-bit floats, one row per id "
        "asked for, NaN "
        "where the id is unknown."),
};

static bool all_finite(const float *x, int n) {
    for (int j = 0; j < n; j++)
        if (!isfinite(x[j])) return false;
    return true;
}

void thaw_print_columns(struct thaw_session *s) {
    thaw_sink_text(&s->out, "id");
    for (int j = 0; j < s->info.factors; j++) {
        thaw_sink_text(&s->out, ",f");
        thaw_sink_i64(&s->out, j);
    }
    thaw_sink_text(&s->out, s->info.biases ? ",bias\n" : "\n");
}

void thaw_print_vector(struct thaw_sink *o, int format, enum thaw_side side, const char *id, size_t n,
                       const float *x, int columns) {
    const char between = format == THAW_TEXT ? '\t' : ',';
    if (format == THAW_JSONL) {
        thaw_sink_text(o, side == THAW_USERS ? "{\"user\":" : "{\"item\":");
        thaw_sink_json(o, id, n);
        thaw_sink_text(o, ",\"vector\":[");
    } else if (format == THAW_CSV) {
        thaw_sink_csv(o, id, n);
    } else {
        thaw_sink_id(o, id, n);
    }
    if (format != THAW_JSONL) thaw_sink_char(o, between);
    if (format != THAW_JSONL || all_finite(x, columns)) {
        thaw_sink_f32s(o, x, columns, between);
    } else { // JSON has no word for what is not finite
        for (int j = 0; j < columns; j++) {
            if (j > 0) thaw_sink_char(o, between);
            if (isfinite(x[j]))
                thaw_sink_f32s(o, x + j, 1, between);
            else
                thaw_sink_text(o, "null");
        }
    }
    thaw_sink_text(o, format == THAW_JSONL ? "]}\n" : "\n");
}

static void print_ids(struct thaw_session *s, int format, enum thaw_side side, struct thaw_ids *ids) {
    const char *id;
    size_t n;
    while (thaw_ids_next(ids, &id, &n)) {
        const int64_t row = thaw_session_find(s, side, id, n);
        if (row >= 0)
            thaw_print_vector(&s->out, format, side, id, n, thaw_lookup_vector(s->l, side, row),
                              s->info.columns);
    }
}

// The header of an array says how many rows follow, so rows are found first and written then.
struct found {
    const float **row; // NULL: unknown
    size_t n, cap;
};

static int find_ids(struct found *f, struct thaw_session *s, enum thaw_side side, struct thaw_ids *ids,
                    struct thaw_err *err) {
    const char *id;
    size_t n;
    int code = THAW_OK;
    while (!code && thaw_ids_next(ids, &id, &n)) {
        code = thaw_grow(&f->row, &f->cap, f->n + 1, sizeof *f->row, "the rows found", err);
        if (code) return code;
        const int64_t row = thaw_session_find(s, side, id, n);
        f->row[f->n++] = row < 0 ? NULL : thaw_lookup_vector(s->l, side, row);
    }
    return code;
}

static int write_array(struct thaw_session *s, const struct found *f, struct thaw_err *err) {
    char header[192];
    float *unknown = NULL;
    const size_t columns = (size_t)s->info.columns;
    int code = thaw_alloc(&unknown, columns, sizeof *unknown, "a row", err);
    if (code) return code;
    for (size_t j = 0; j < columns; j++) unknown[j] = NAN;
    const struct thaw_npy_shape shape = {THAW_NPY_F32, 2, (int64_t)f->n, s->info.columns, 4};
    thaw_sink_bytes(&s->out, header, thaw_npy_header(header, &shape));
    for (size_t i = 0; i < f->n; i++)
        thaw_sink_bytes(&s->out, f->row[i] ? f->row[i] : unknown, columns * sizeof(float));
    free(unknown);
    return THAW_OK;
}

static int run_side(struct thaw_session *s, const struct options *o, enum thaw_side side,
                    const struct thaw_list *list, struct found *f, struct thaw_err *err) {
    struct thaw_ids ids;
    int code = thaw_ids_open(&ids, list, "--user ID... or --item ID...", err);
    if (!code && o->format == THAW_NPY)
        code = find_ids(f, s, side, &ids, err);
    else if (!code)
        print_ids(s, o->format, side, &ids);
    thaw_ids_close(&ids);
    return code;
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *o = options;
    struct thaw_session s;
    struct found found = {0};
    int code = thaw_session_open(&s, operands, NULL, err);
    if (code) goto done;
    if (o->format == THAW_CSV) thaw_print_columns(&s);
    if (o->users.n == 0 && o->items.n == 0)
        code = run_side(&s, o, (enum thaw_side)o->kind, &o->users, &found, err);
    if (!code && o->users.n > 0) code = run_side(&s, o, THAW_USERS, &o->users, &found, err);
    if (!code && o->items.n > 0) code = run_side(&s, o, THAW_ITEMS, &o->items, &found, err);
    if (!code && o->format == THAW_NPY) code = write_array(&s, &found, err);
done:
    free(found.row);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "vector",
    .summary = "print the vectors of users or items",
    THAW_VERB_TABLES,
    .description = "Looks up ids given as options or, when there are none, one per line on standard input, "
                   "and prints their "
                   "vectors: the factors and, where the model has biases, the bias as the last number. "
                   "Numbers are printed "
                   "with as few digits as read back as the same 32-bit float.\n\n"
                   "An unknown id is named on standard error, the others are printed all the same, and the "
                   "exit status is 65.",
    .examples = "thaw-lookup vector tables --user alice bob\n"
                "thaw-lookup vector tables --kind items --format npy < ids.txt > vectors.npy",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_vector = {&cmd, run};
