// session.c: what the verbs of thaw-lookup share.
#include "lookup/verbs/verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int thaw_session_open(struct thaw_session *s, const struct thaw_list *operands, const char *path,
                      struct thaw_err *err) {
    *s = (struct thaw_session){.tables = operands->item[0]};
    int code = thaw_lookup_open(&s->l, s->tables, err);
    if (code) return code;
    thaw_lookup_get_info(s->l, &s->info);
    return thaw_sink_open(&s->out, path, err);
}

int thaw_session_close(struct thaw_session *s, int code, struct thaw_err *err) {
    code = thaw_sink_close(&s->out, code, err);
    thaw_lookup_close(&s->l);
    return !code && s->unknown ? THAW_EDATA : code;
}

int64_t thaw_session_find(struct thaw_session *s, enum thaw_side side, const char *id, size_t n) {
    const int64_t row = thaw_lookup_find(s->l, side, id, n);
    if (row < 0) {
        s->unknown++;
        fprintf(stderr, "thaw-lookup: no %s '%.*s' in %s\n", side == THAW_USERS ? "user" : "item", (int)n, id,
                s->tables);
    }
    return row;
}

int thaw_ids_open(struct thaw_ids *ids, const struct thaw_list *list, const char *what,
                  struct thaw_err *err) {
    *ids = (struct thaw_ids){.list = list, .lines = list->n == 0};
    if (ids->lines && isatty(STDIN_FILENO))
        return thaw_fail(err, THAW_EUSAGE, "no ids: give %s, or one id per line on standard input", what);
    return THAW_OK;
}

bool thaw_ids_next(struct thaw_ids *ids, const char **id, size_t *n) {
    if (!ids->lines) {
        if (ids->at >= ids->list->n) return false;
        *id = ids->list->item[ids->at++];
        *n = strlen(*id);
        return true;
    }
    for (;;) {
        ssize_t length = getline(&ids->line, &ids->cap, stdin);
        if (length < 0) return false;
        while (length > 0 && (ids->line[length - 1] == '\n' || ids->line[length - 1] == '\r')) length--;
        if (length == 0) continue;
        *id = ids->line;
        *n = (size_t)length;
        return true;
    }
}

void thaw_ids_close(struct thaw_ids *ids) {
    free(ids->line);
    ids->line = NULL;
}

static void print_object(struct thaw_session *s, const char *name, const char *who, size_t n,
                         const struct thaw_hit *hits, int nhits) {
    struct thaw_sink *o = &s->out;
    thaw_sink_char(o, '{');
    if (who) {
        thaw_sink_char(o, '"');
        thaw_sink_text(o, name);
        thaw_sink_text(o, "\":");
        thaw_sink_json(o, who, n);
        thaw_sink_char(o, ',');
    }
    thaw_sink_text(o, "\"items\":[");
    for (int i = 0; i < nhits; i++) {
        size_t length;
        const char *id = thaw_lookup_id(s->l, THAW_ITEMS, hits[i].item, &length);
        thaw_sink_text(o, i ? ",{\"item\":" : "{\"item\":");
        thaw_sink_json(o, id, length);
        thaw_sink_text(o, ",\"score\":");
        thaw_sink_f64(o, hits[i].score);
        thaw_sink_char(o, '}');
    }
    thaw_sink_text(o, "]}\n");
}

void thaw_print_hits(struct thaw_session *s, int format, const char *name, const char *who, size_t n,
                     const struct thaw_hit *hits, int nhits) {
    struct thaw_sink *o = &s->out;
    if (format == THAW_JSONL) {
        print_object(s, name, who, n, hits, nhits);
        return;
    }
    void (*put)(struct thaw_sink *, const char *, size_t) = format == THAW_CSV ? thaw_sink_csv : thaw_sink_id;
    const char between = format == THAW_CSV ? ',' : '\t';
    for (int i = 0; i < nhits; i++) {
        size_t length;
        const char *id = thaw_lookup_id(s->l, THAW_ITEMS, hits[i].item, &length);
        put(o, who ? who : "-", who ? n : 1);
        thaw_sink_char(o, between);
        thaw_sink_i64(o, i + 1);
        thaw_sink_char(o, between);
        put(o, id, length);
        thaw_sink_char(o, between);
        thaw_sink_f64(o, hits[i].score);
        thaw_sink_char(o, '\n');
    }
}
