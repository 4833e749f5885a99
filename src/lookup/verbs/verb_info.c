// verb_info.c: thaw-lookup info and check.
#include "lookup/verbs/verb.h"

#include "base/log.h"

#include <inttypes.h>
#include <string.h>

struct options {
    int format;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_FORMAT(struct options, "text", "text|jsonl", "How results are printed."),
};

static void field_text(struct thaw_sink *o, bool json, const char *name, const char *value) {
    thaw_sink_text(o, json ? o->n ? ",\"" : "{\"" : "");
    thaw_sink_text(o, name);
    thaw_sink_text(o, json ? "\":" : "\t");
    if (json)
        thaw_sink_json(o, value, strlen(value));
    else
        thaw_sink_id(o, value, strlen(value));
    if (!json) thaw_sink_char(o, '\n');
}

static void field_number(struct thaw_sink *o, bool json, const char *name, const char *number) {
    thaw_sink_text(o, json ? ",\"" : "");
    thaw_sink_text(o, name);
    thaw_sink_text(o, json ? "\":" : "\t");
    thaw_sink_text(o, number);
    if (!json) thaw_sink_char(o, '\n');
}

static void field_i64(struct thaw_sink *o, bool json, const char *name, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    field_number(o, json, name, text);
}

static void field_real(struct thaw_sink *o, bool json, const char *name, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    field_number(o, json, name, text);
}

static void field_digest(struct thaw_sink *o, bool json, const char *name, uint64_t digest) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, digest);
    field_text(o, json, name, text);
}

// Models for users nobody knows: "P E G T", or nothing.
static void field_models(struct thaw_sink *o, const struct thaw_lookup_info *i, bool json) {
    char models[32];
    snprintf(models, sizeof models, "%s%s%s%s", i->prior ? " P" : "", i->association ? " E" : "",
             i->generator ? " G" : "", i->types ? " T" : "");
    if (!*models) return;
    field_text(o, json, "cold_start", models + 1);
    field_text(o, json, "blend", i->blend ? "tuned" : "default");
}

// Fields of a profile: "gender (categorical, 2 values)".
static void field_profile(const struct thaw_session *s, struct thaw_sink *o, bool json) {
    if (s->info.user_fields == 0) return;
    if (json) thaw_sink_text(o, ",\"profile\":[");
    for (int i = 0; i < s->info.user_fields; i++) {
        struct thaw_lookup_field f;
        char kind[64];
        thaw_lookup_get_field(s->l, THAW_USERS, i, &f);
        if (json) {
            thaw_sink_text(o, i ? ",{\"field\":" : "{\"field\":");
            thaw_sink_json(o, f.name, strlen(f.name));
            field_text(o, true, "kind", f.kind);
            field_i64(o, true, "values", f.nvalues);
            thaw_sink_char(o, '}');
            continue;
        }
        thaw_sink_text(o, "profile\t");
        thaw_sink_id(o, f.name, strlen(f.name));
        snprintf(kind, sizeof kind, f.nvalues ? " (%s, %d values)\n" : " (%s)\n", f.kind, f.nvalues);
        thaw_sink_text(o, kind);
    }
    if (json) thaw_sink_char(o, ']');
}

static void print_info(const struct thaw_session *s, struct thaw_sink *o, bool json) {
    const struct thaw_lookup_info *i = &s->info;
    field_text(o, json, "version", i->version);
    field_text(o, json, "model", i->model);
    field_i64(o, json, "factors", i->factors);
    field_i64(o, json, "columns", i->columns);
    if (i->mean != 0) field_real(o, json, "mean", i->mean);
    field_i64(o, json, "users", i->users);
    field_i64(o, json, "items", i->items);
    field_i64(o, json, "interactions", i->interactions);
    field_i64(o, json, "parts", i->parts);
    field_i64(o, json, "bytes", i->nbytes);
    field_digest(o, json, "model_digest", i->model_digest);
    field_digest(o, json, "dataset_digest", i->dataset_digest);
    field_models(o, i, json);
    field_profile(s, o, json);
    if (json) thaw_sink_text(o, "}\n");
}

static int run_info(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *given = options;
    struct thaw_session s;
    int code = thaw_session_open(&s, operands, NULL, err);
    if (!code) print_info(&s, &s.out, given->format == THAW_JSONL);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd_info = {
    .name = "info",
    .summary = "say what a tables folder holds",
    THAW_VERB_TABLES,
    .description = "Prints the version that is current, the model it comes from, its sizes and digests, "
                   "which models it holds for users nobody knows (P, E, G, T; "
                   "whether their weights were tuned) and the fields of a profile. The "
                   "manifest and "
                   "the shape of every file are verified; checksums are not, see thaw-lookup-check(1).",
    .examples = "thaw-lookup info tables\n"
                "thaw-lookup info tables/v000001 --format jsonl",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_info = {&cmd_info, run_info};

static int run_check(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *given = options;
    struct thaw_session s;
    char bytes[16];
    int code = thaw_session_open(&s, operands, NULL, err);
    if (!code) code = thaw_lookup_check(s.l, err);
    if (!code && given->format == THAW_JSONL) {
        print_info(&s, &s.out, true);
    } else if (!code) {
        thaw_sink_text(&s.out, s.info.version);
        thaw_sink_text(&s.out, ": all files are intact (");
        thaw_sink_text(&s.out, thaw_human_bytes(bytes, s.info.nbytes));
        thaw_sink_text(&s.out, ")\n");
    }
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd_check = {
    .name = "check",
    .summary = "verify every byte of a tables folder",
    THAW_VERB_TABLES,
    .description = "Reads all files, compares every checksum with the manifest, and verifies what lookups "
                   "rely on: that all "
                   "numbers are finite, every id is found at its row, and every list of seen items is in "
                   "order. The first "
                   "damaged file is named and the exit status is 65.",
    .examples = "thaw-lookup check tables",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_check = {&cmd_check, run_check};
