// attributes.c: see attributes.h. The passes over the files; dictionaries are in attributes_values.c, rows in
// attributes_rows.c.
#include "comm/attributes_state.h"

#include "base/hash.h"
#include "base/mem.h"
#include "features/number.h"
#include "partition/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNIT_BYTES = 4 << 20, LOOK_EVERY = 4096 };
static const double LARGEST = 1e150; // its square is still a number

// ---- A walk over lines ----

int thaw_attributes_walk(struct thaw_attributes_walk *w, const struct thaw_shuffle *shuffle, bool *finished,
                         struct thaw_err *err) {
    struct thaw_attributes_state *s = w->s;
    struct thaw_line line;
    struct thaw_profile profile;
    int code = THAW_OK;
    while (!code && !(shuffle && thaw_shuffle_full(shuffle))) {
        if (!w->reader) {
            if ((*finished = w->unit == s->last_unit)) {
                thaw_log_step(w->log, w->bytes_before);
                return THAW_OK;
            }
            if ((code = thaw_reader_open(&w->reader, s->sources, w->unit, err))) return code;
        }
        if ((code = thaw_reader_next(w->reader, &line, err))) return code;
        if (!line.text) {
            w->bytes_before += thaw_reader_bytes(w->reader);
            thaw_reader_close(&w->reader);
            w->unit++;
            continue;
        }
        if ((code = thaw_profile_parse(s->parser, &line, &profile, err))) return code;
        if (w->outcome) {
            w->outcome[profile.outcome]++;
            if (s->config.bad && thaw_outcome_bad(profile.outcome))
                code = s->config.bad(s->config.user, &line, profile.outcome, err);
        }
        if (!code && profile.outcome == THAW_EVENT_OK) code = w->take(w->user, &line, &profile, err);
        if (++w->lines % LOOK_EVERY == 0) {
            thaw_log_step(w->log, w->bytes_before + thaw_reader_bytes(w->reader));
            if (!code && thaw_comm_stop_requested(w->comm))
                code = thaw_fail(err, THAW_ESTOPPED, "stopped by a signal while reading attributes");
        }
    }
    return code;
}

static int64_t share_bytes(const struct thaw_attributes_state *s) {
    int64_t n = 0;
    for (int64_t u = s->first_unit; u < s->last_unit; u++)
        n += s->sources->unit[u].end - s->sources->unit[u].begin;
    return n;
}

int thaw_attributes_pass(struct thaw_attributes_walk *w, struct thaw_shuffle *s, const char *what,
                         int (*last)(void *user, struct thaw_err *err), struct thaw_err *err) {
    bool read = false, ended = false, done = false;
    int code = THAW_OK;
    thaw_comm_phase(w->comm, "read");
    thaw_log_phase(w->log, what, share_bytes(w->s), "bytes");
    while (!code && !done) {
        int own = read ? THAW_OK : thaw_attributes_walk(w, s, &read, err);
        if (!own && read && !ended) {
            if (last) own = last(w->user, err);
            ended = true;
        }
        code = thaw_shuffle_round(s, ended, &done, own, err);
    }
    thaw_log_phase_end(w->log);
    thaw_reader_close(&w->reader);
    return code;
}

// ---- Opening ----

static void fill_defaults(struct thaw_attributes_config *c) {
    if (c->text_buckets <= 0) c->text_buckets = THAW_TEXT_BUCKETS;
    if (c->max_categories <= 0) c->max_categories = 100000;
    if (c->unit_bytes <= 0) c->unit_bytes = UNIT_BYTES;
    if (c->budget_bytes <= 0) c->budget_bytes = 64 << 20;
}

static int open_input(struct thaw_attributes *a, struct thaw_comm *c, const char *const *paths, int npaths,
                      struct thaw_err *err) {
    struct thaw_attributes_state *s = a->state;
    struct thaw_format_wish wish = s->config.wish;
    char *names = thaw_attribute_wish(s->config.spec);
    wish.columns = names;
    int code = thaw_sources_open(&s->sources, paths, npaths, s->config.unit_bytes, err);
    if (!code) code = thaw_head_read(&s->head, s->sources, err);
    if (!code) code = thaw_format_detect(&s->format, &s->head, &wish, err);
    if (!code) code = thaw_attribute_plan_find(&s->plan, s->format, s->config.side, s->config.spec, err);
    if (!code) code = thaw_profile_parser_new(&s->parser, s->format, &s->plan, s->config.side, err);
    if (!code)
        thaw_sources_share(s->sources, thaw_comm_size(c), thaw_comm_rank(c), &s->first_unit, &s->last_unit);
    if (!code)
        code =
            thaw_alloc(&s->numbers, (size_t)s->plan.n, sizeof *s->numbers, "statistics of attributes", err);
    int32_t owned = a->last_part - a->first_part;
    if (!code) code = thaw_spill_new(&s->rows, s->config.pool, owned > 0 ? owned : 1, err);
    if (!code) code = thaw_alloc(&s->part_rows, (size_t)owned, sizeof *s->part_rows, "counts of rows", err);
    free(names);
    return code;
}

static int new_handle(struct thaw_attributes **out, struct thaw_comm *c,
                      const struct thaw_attributes_config *config, struct thaw_err *err) {
    struct thaw_attributes *a = NULL;
    int code = thaw_alloc(&a, 1, sizeof *a, "attributes", err);
    if (!code) code = thaw_alloc(&a->state, 1, sizeof *a->state, "attributes", err);
    if (!code) {
        a->state->config = *config;
        fill_defaults(&a->state->config);
        a->first_part = thaw_plan_even(config->nparts, thaw_comm_size(c), thaw_comm_rank(c));
        a->last_part = thaw_plan_even(config->nparts, thaw_comm_size(c), thaw_comm_rank(c) + 1);
        if (a->state->config.text_buckets > INT32_MAX || a->state->config.max_categories > INT32_MAX)
            code = thaw_fail(err, THAW_EUSAGE, "attributes: more than 2^31 columns");
    }
    *out = a;
    return code;
}

// ---- First pass: what the values look like ----

struct look {
    struct thaw_attributes_walk walk;
    int n;
    struct thaw_attribute_stats *stats; // n
};

bool thaw_attributes_number(struct thaw_field f, double *x) {
    return f.n > 0 && thaw_number_parse(f.text, f.n, x) == THAW_NUMBER_OK && fabs(*x) <= LARGEST;
}

static int look_at_line(void *user, const struct thaw_line *line, const struct thaw_profile *profile,
                        struct thaw_err *err) {
    struct look *l = user;
    double x;
    (void)line, (void)err;
    for (int i = 0; i < l->n; i++) {
        struct thaw_attributes_numbers *numbers = &l->walk.s->numbers[i];
        thaw_attribute_look(&l->stats[i], profile->value[i].text, profile->value[i].n);
        if (!thaw_attributes_number(profile->value[i], &x)) continue;
        numbers->count++;
        if (fabs(x - numbers->shift) > numbers->largest) numbers->largest = fabs(x - numbers->shift);
    }
    return THAW_OK;
}

// The first number of each field in the first lines, which all ranks have.
static int find_shifts(const struct thaw_attributes_state *s, struct thaw_err *err) {
    struct thaw_fields fields = {0};
    int code = thaw_fields_new(&fields, s->format, err);
    for (int i = 0; i < s->plan.n && !code; i++)
        for (int at = s->format->has_header; at < s->head.nlines; at++) {
            int n = thaw_fields_split(&fields, s->format, s->head.line[at].text, s->head.line[at].n);
            if (n != s->format->nfields) continue;
            struct thaw_field f = thaw_field_trim(fields.field[s->plan.attribute[i].field]);
            if (thaw_attributes_number(f, &s->numbers[i].shift)) break;
        }
    thaw_fields_clear(&fields);
    return code;
}

static int make_attributes(struct thaw_attributes *a, struct thaw_err *err) {
    const struct thaw_attribute_plan *plan = &a->state->plan;
    int code = thaw_alloc(&a->attribute, (size_t)plan->n + 1, sizeof *a->attribute, "attributes", err);
    for (int i = 0; i < plan->n && !code; i++) {
        Thaw__Attribute *t = malloc(sizeof *t);
        if (!t) return thaw_fail(err, THAW_EMEM, "cannot allocate an attribute");
        thaw__attribute__init(t);
        a->attribute[a->n++] = t;
        if (!(t->name = strdup(plan->attribute[i].name)))
            code = thaw_fail(err, THAW_EMEM, "cannot allocate an attribute");
    }
    return code;
}

// Collective. Statistics of all ranks, and the kinds that follow.
static void decide_kinds(struct thaw_attributes *a, struct thaw_comm *c, struct look *l) {
    for (int i = 0; i < l->n; i++) {
        struct thaw_attributes_numbers *numbers = &a->state->numbers[i];
        int kind = a->state->plan.attribute[i].kind;
        thaw_comm_sum_i64(c, &l->stats[i].values, 1);
        thaw_comm_sum_i64(c, &l->stats[i].numbers, 1);
        thaw_comm_sum_i64(c, &l->stats[i].barred, 1);
        thaw_comm_sum_i64(c, &l->stats[i].words, 1);
        thaw_comm_max_i64(c, l->stats[i].seen, THAW_SKETCH);
        thaw_comm_sum_i64(c, &numbers->count, 1);
        thaw_comm_max_f64(c, &numbers->largest, 1);
        if (kind == THAW_KIND_GUESS) kind = (int)thaw_attribute_guess(&l->stats[i]);
        a->attribute[i]->kind = (Thaw__Attribute__Kind)kind;
        if (kind == THAW__ATTRIBUTE__KIND__NUMERIC) a->unread += l->stats[i].values - numbers->count;
    }
}

// Collective.
static int look_at_values(struct thaw_attributes *a, struct thaw_comm *c, struct thaw_err *err) {
    struct thaw_attributes_state *s = a->state;
    struct look l = {.n = s->plan.n};
    bool finished = false;
    l.walk = (struct thaw_attributes_walk){.s = s,
                                           .comm = c,
                                           .log = s->config.log,
                                           .unit = s->first_unit,
                                           .take = look_at_line,
                                           .user = &l,
                                           .outcome = a->outcome};
    int code = thaw_alloc(&l.stats, (size_t)l.n, sizeof *l.stats, "statistics of attributes", err);
    if (!code) code = find_shifts(s, err);
    if (!code) code = make_attributes(a, err);
    thaw_log_phase(s->config.log, "looking at attributes (rank 0's share)", share_bytes(s), "bytes");
    if (!code) code = thaw_attributes_walk(&l.walk, NULL, &finished, err);
    thaw_log_phase_end(s->config.log);
    thaw_reader_close(&l.walk.reader);
    if (!(code = thaw_comm_agree(c, code, err))) {
        thaw_comm_sum_i64(c, a->outcome, THAW_OUTCOMES);
        decide_kinds(a, c, &l);
    }
    free(l.stats);
    return code;
}

// ---- Columns ----

static int give_columns(struct thaw_attributes *a, struct thaw_err *err) {
    int64_t column = 0;
    for (size_t i = 0; i < a->n; i++) {
        Thaw__Attribute *t = a->attribute[i];
        int64_t columns = (int64_t)t->n_values;
        if (t->kind == THAW__ATTRIBUTE__KIND__NUMERIC) columns = 1;
        if (t->kind == THAW__ATTRIBUTE__KIND__TEXT) columns = a->state->config.text_buckets;
        if (column + columns > INT32_MAX)
            return thaw_fail(err, THAW_EUSAGE,
                             "%s: its attributes need more than 2^31 columns: use fewer categories",
                             a->state->format->path);
        t->first_column = (int32_t)column;
        t->columns = (int32_t)columns;
        column += columns;
    }
    a->ncolumns = (uint32_t)column;
    return THAW_OK;
}

static void announce(const struct thaw_attributes *a) {
    struct thaw_log *log = a->state->config.log;
    char format[256];
    thaw_log_note(log, "%s: %s, %u columns", a->state->format->path,
                  thaw_format_describe(a->state->format, format, sizeof format), a->ncolumns);
    for (size_t i = 0; i < a->n; i++) {
        const Thaw__Attribute *t = a->attribute[i];
        const char *kind = thaw_attribute_kind_name((int)t->kind);
        if (t->kind == THAW__ATTRIBUTE__KIND__NUMERIC)
            thaw_log_note(log, "  %s: %s, mean %g, deviation %g", t->name, kind, t->mean, t->deviation);
        else
            thaw_log_note(log, "  %s: %s, %d columns", t->name, kind, t->columns);
    }
    if (a->unread > 0)
        thaw_log_warn(log,
                      "%s: %" PRId64 " values of numeric attributes are no numbers; they count as missing",
                      a->state->format->path, a->unread);
}

// ---- Third pass: rows to their owners ----

struct encode {
    struct thaw_attributes *a;
    struct thaw_attributes_walk walk;
    struct thaw_encoder *encoder;
    struct thaw_shuffle *shuffle;
    int *owner; // nparts
    struct thaw_row row;
    uint8_t *record;
    size_t record_cap;
};

static int encode_line(void *user, const struct thaw_line *line, const struct thaw_profile *profile,
                       struct thaw_err *err) {
    struct encode *e = user;
    const struct thaw_attributes_state *s = e->a->state;
    int code = THAW_OK;
    e->row.n = 0;
    for (size_t i = 0; i < e->a->n && !code; i++)
        code = thaw_encoder_add(e->encoder, i, profile->value[i].text, profile->value[i].n, &e->row, err);
    size_t nid = thaw_attributes_padded(profile->nid), npairs = e->row.n * sizeof *e->row.pair;
    struct thaw_attributes_record r = {.hash = thaw_hash_id(profile->id, profile->nid),
                                       .offset = line->offset,
                                       .file = s->sources->unit[e->walk.unit].file,
                                       .nid = profile->nid,
                                       .npairs = (uint32_t)e->row.n};
    size_t n = sizeof r + nid + npairs;
    if (!code) code = thaw_grow(&e->record, &e->record_cap, n, 1, "a feature row", err);
    if (code) return code;
    memcpy(e->record, &r, sizeof r);
    memset(e->record + sizeof r, 0, nid);
    memcpy(e->record + sizeof r, profile->id, profile->nid);
    if (npairs > 0) memcpy(e->record + sizeof r + nid, e->row.pair, npairs);
    thaw_shuffle_put(e->shuffle, e->owner[thaw_hash_part(r.hash, s->config.nparts)], e->record, n);
    return THAW_OK;
}

static int store_rows(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct thaw_attributes *a = ((struct encode *)user)->a;
    (void)source;
    for (size_t at = 0; at < n;) {
        struct thaw_attributes_record r;
        memcpy(&r, (const char *)bytes + at, sizeof r);
        size_t length = sizeof r + thaw_attributes_padded(r.nid) + r.npairs * sizeof(struct thaw_row_pair);
        int32_t part = thaw_hash_part(r.hash, a->state->config.nparts);
        int code =
            thaw_spill_put(a->state->rows, part - a->first_part, (const char *)bytes + at, length, err);
        if (code) return code;
        a->state->part_rows[part - a->first_part]++;
        at += length;
    }
    return THAW_OK;
}

// Collective.
static int encode_rows(struct thaw_attributes *a, struct thaw_comm *c, struct thaw_err *err) {
    struct thaw_attributes_state *s = a->state;
    int32_t nparts = s->config.nparts;
    struct encode e = {.a = a};
    e.walk = (struct thaw_attributes_walk){
        .s = s, .comm = c, .log = s->config.log, .unit = s->first_unit, .take = encode_line, .user = &e};
    int code = thaw_encoder_new(&e.encoder, a->attribute, a->n, err);
    if (!code) code = thaw_alloc(&e.owner, (size_t)nparts, sizeof *e.owner, "owners of parts", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    for (int r = 0; r < thaw_comm_size(c); r++)
        for (int32_t p = thaw_plan_even(nparts, thaw_comm_size(c), r);
             p < thaw_plan_even(nparts, thaw_comm_size(c), r + 1); p++)
            e.owner[p] = r;
    if ((code = thaw_shuffle_new(&e.shuffle, c, s->config.budget_bytes, store_rows, &e, err))) goto done;
    code = thaw_attributes_pass(&e.walk, e.shuffle, "encoding attributes (rank 0's share)", NULL, err);
done:
    thaw_shuffle_free(&e.shuffle);
    thaw_encoder_free(&e.encoder);
    thaw_row_clear(&e.row);
    free(e.owner);
    free(e.record);
    return code;
}

int thaw_attributes_read(struct thaw_attributes **out, struct thaw_comm *c, const char *const *paths,
                         int npaths, const struct thaw_attributes_config *config, struct thaw_err *err) {
    struct thaw_attributes *a = NULL;
    int code = new_handle(&a, c, config, err);
    if (!code) code = open_input(a, c, paths, npaths, err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    code = thaw_comm_same(c, &a->state->sources->nbytes, sizeof a->state->sources->nbytes,
                          "the size of the input", err);
    if (!code) code = look_at_values(a, c, err);
    if (!code) code = thaw_attributes_values(a, c, err);
    if (!code) code = give_columns(a, err); // the same on every rank
    if (code) goto done;
    announce(a);
    code = encode_rows(a, c, err);
done:
    if (code)
        thaw_attributes_free(&a);
    else
        *out = a;
    return code;
}

void thaw_attributes_free(struct thaw_attributes **out) {
    struct thaw_attributes *a = *out;
    if (!a) return;
    struct thaw_attributes_state *s = a->state;
    for (size_t i = 0; i < a->n; i++) thaw__attribute__free_unpacked(a->attribute[i], NULL);
    free(a->attribute);
    if (s) {
        thaw_spill_free(&s->rows);
        thaw_profile_parser_free(&s->parser);
        thaw_attribute_plan_clear(&s->plan);
        thaw_format_free(&s->format);
        thaw_head_clear(&s->head);
        thaw_sources_close(&s->sources);
        free(s->numbers);
        free(s->part_rows);
        thaw_attributes_part_clear(a);
    }
    free(s);
    free(a);
    *out = NULL;
}
