// explained.c: see explained.h.
#include "lookup/verbs/explained.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static void put_id(struct thaw_sink *o, int format, const char *text, size_t n) {
    if (format == THAW_CSV)
        thaw_sink_csv(o, text, n);
    else
        thaw_sink_id(o, text, n);
}

// ---- Explanations ----

// One share, called with where it comes from and its name.
typedef void share_fn(struct thaw_session *s, int format, const char *from, const char *name, size_t n,
                      double share, void *user);

static void each_share(struct thaw_session *s, int format, const struct thaw_shares *e, int h, share_fn *each,
                       void *user) {
    const struct thaw_someone *p = e->someone;
    for (int64_t i = 0; i < p->n; i++) {
        size_t n;
        const char *id = thaw_lookup_id(s->l, THAW_ITEMS, p->items[i], &n);
        each(s, format, "history", id, n, e->item[h * p->n + i], user);
    }
    for (int i = 0; i < s->info.user_fields; i++) {
        struct thaw_lookup_field f;
        const double share = e->field[(int64_t)h * s->info.user_fields + i];
        thaw_lookup_get_field(s->l, THAW_USERS, i, &f);
        if (share != 0) each(s, format, "profile", f.name, strlen(f.name), share, user);
    }
    each(s, format, "rest", "", 0, e->rest[h], user);
}

struct line {
    const struct thaw_hit *hit;
    int rank;
};

static void print_line(struct thaw_session *s, int format, const char *from, const char *name, size_t n,
                       double share, void *user) {
    const struct line *l = user;
    const char between = format == THAW_CSV ? ',' : '\t';
    size_t length;
    const char *id = thaw_lookup_id(s->l, THAW_ITEMS, l->hit->item, &length);
    thaw_sink_char(&s->out, '-');
    thaw_sink_char(&s->out, between);
    thaw_sink_i64(&s->out, l->rank);
    thaw_sink_char(&s->out, between);
    put_id(&s->out, format, id, length);
    thaw_sink_char(&s->out, between);
    thaw_sink_f64(&s->out, l->hit->score);
    thaw_sink_char(&s->out, between);
    thaw_sink_text(&s->out, from);
    thaw_sink_char(&s->out, between);
    put_id(&s->out, format, name, n);
    thaw_sink_char(&s->out, between);
    thaw_sink_f64(&s->out, share);
    thaw_sink_char(&s->out, '\n');
}

static void print_share(struct thaw_session *s, int format, const char *from, const char *name, size_t n,
                        double share, void *user) {
    bool *more = user;
    (void)format;
    thaw_sink_text(&s->out, *more ? ",{\"from\":\"" : "{\"from\":\"");
    thaw_sink_text(&s->out, from);
    thaw_sink_text(&s->out, "\",\"name\":");
    thaw_sink_json(&s->out, name, n);
    thaw_sink_text(&s->out, ",\"share\":");
    thaw_sink_f64(&s->out, share);
    thaw_sink_char(&s->out, '}');
    *more = true;
}

static void print_object(struct thaw_session *s, const struct thaw_hit *hits, int nhits,
                         const struct thaw_shares *e) {
    thaw_sink_text(&s->out, "{\"items\":[");
    for (int h = 0; h < nhits; h++) {
        size_t n;
        const char *id = thaw_lookup_id(s->l, THAW_ITEMS, hits[h].item, &n);
        bool more = false;
        thaw_sink_text(&s->out, h ? ",{\"item\":" : "{\"item\":");
        thaw_sink_json(&s->out, id, n);
        thaw_sink_text(&s->out, ",\"score\":");
        thaw_sink_f64(&s->out, hits[h].score);
        thaw_sink_text(&s->out, ",\"shares\":[");
        each_share(s, THAW_JSONL, e, h, print_share, &more);
        thaw_sink_text(&s->out, "]}");
    }
    thaw_sink_text(&s->out, "]}\n");
}

void thaw_print_explained(struct thaw_session *s, int format, const struct thaw_hit *hits, int nhits,
                          const struct thaw_shares *e) {
    if (format == THAW_JSONL) {
        print_object(s, hits, nhits, e);
        return;
    }
    for (int h = 0; h < nhits; h++) {
        struct line l = {&hits[h], h + 1};
        each_share(s, format, e, h, print_line, &l);
    }
}

// ---- Interests ----

static void print_interest(struct thaw_session *s, int format, const char *id, size_t n, int rank,
                           const struct thaw_interest *x) {
    struct thaw_sink *o = &s->out;
    struct thaw_lookup_field f;
    size_t length;
    const char *value = thaw_lookup_value(s->l, THAW_ITEMS, x->field, x->value, &length);
    const char between = format == THAW_CSV ? ',' : '\t';
    thaw_lookup_get_field(s->l, THAW_ITEMS, x->field, &f);
    if (format == THAW_JSONL) {
        thaw_sink_text(o, rank > 1 ? ",{\"field\":" : "{\"field\":");
        thaw_sink_json(o, f.name, strlen(f.name));
        thaw_sink_text(o, ",\"value\":");
        thaw_sink_json(o, value, length);
        thaw_sink_text(o, ",\"weight\":");
        thaw_sink_f64(o, x->weight);
        thaw_sink_text(o, ",\"usual\":");
        thaw_sink_f64(o, x->usual);
        thaw_sink_char(o, '}');
        return;
    }
    put_id(o, format, id, n);
    thaw_sink_char(o, between);
    thaw_sink_i64(o, rank);
    thaw_sink_char(o, between);
    put_id(o, format, f.name, strlen(f.name));
    thaw_sink_char(o, between);
    put_id(o, format, value, length);
    thaw_sink_char(o, between);
    thaw_sink_f64(o, x->weight);
    thaw_sink_char(o, between);
    thaw_sink_f64(o, x->usual);
    thaw_sink_char(o, '\n');
}

static bool has_names(const struct thaw_session *s) {
    for (int i = 0; i < s->info.item_fields; i++) {
        struct thaw_lookup_field f;
        thaw_lookup_get_field(s->l, THAW_ITEMS, i, &f);
        if (f.nvalues > 0) return true;
    }
    return false;
}

int thaw_interests_print(struct thaw_session *s, const struct thaw_list *users, int k, int format,
                         struct thaw_err *err) {
    struct thaw_interest *found = NULL;
    if (!has_names(s))
        return thaw_fail(
            err, THAW_EDATA,
            "%s: its items have no categorical or multi attributes: 'thaw prepare --items' reads them",
            s->tables);
    int code = thaw_alloc(&found, (size_t)k, sizeof *found, "interests", err);
    for (int i = 0; !code && i < users->n; i++) {
        const char *id = users->item[i];
        const int64_t user = thaw_session_find(s, THAW_USERS, id, strlen(id));
        int n = 0;
        if (user < 0) continue;
        code = thaw_lookup_interests(s->l, user, k, found, &n, err);
        if (code) break;
        if (format == THAW_JSONL) {
            thaw_sink_text(&s->out, "{\"user\":");
            thaw_sink_json(&s->out, id, strlen(id));
            thaw_sink_text(&s->out, ",\"interests\":[");
        }
        for (int r = 0; r < n; r++) print_interest(s, format, id, strlen(id), r + 1, &found[r]);
        if (format == THAW_JSONL) thaw_sink_text(&s->out, "]}\n");
    }
    free(found);
    return code;
}
