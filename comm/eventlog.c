// eventlog.c: the first stage of `thaw prepare`: every rank reads its share of the logs; events and ids go to
// their owners.
//
// An event travels as 1 + 28 bytes to the owner of its user; an id goes along when it was not seen lately.
// What a rank owns itself goes straight to its bucket.
#include "base/hash.h"
#include "base/mem.h"
#include "comm/badlines.h"
#include "comm/shuffle.h"
#include "comm/stages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KIND_EVENT, KIND_ID }; // KIND_ID + side
enum { FILE_BITS = 20, OFFSET_BITS = 43, LOOK_EVERY = 4096, UNIT_LEAST = 64 << 10 };
enum { LATE = 16, RECENT = 1024 }; // powers of two

// An id that waits for the set of a cache it is looked up in to come from memory.
struct late_id {
    uint64_t hash;
    int side, to;
    size_t n; // of the record; 0: nobody waits here
    uint8_t record[1 + THAW_ID_RECORD_MAX];
};

struct eventlog {
    struct thaw_prep *p;
    struct thaw_head head;
    struct thaw_format *format;
    struct thaw_columns columns;
    struct thaw_parser *parser;
    struct thaw_shuffle *out;
    struct thaw_seen sent[2], stored[2];
    uint64_t recent[2][RECENT]; // the last id at each place: one look at what is near spares most long ones
    struct late_id late[LATE];  // a ring
    unsigned turn;
    struct thaw_reader *reader;
    int64_t unit, last_unit; // next or current, and end of this rank's share
    int64_t bytes_before;    // of finished units
    int64_t lines;
    struct thaw_line line; // of lists: whose items are being taken
    bool listing;
    bool by_place; // without times, the latest event of a pair is the one that comes last in the input
    int self;
};

static int store_id(struct eventlog *e, int side, const uint8_t *record, size_t n, uint64_t hash,
                    struct thaw_err *err) {
    int32_t bucket = thaw_hash_part(hash, e->p->nparts) - e->p->first_part;
    return thaw_spill_put(e->p->ids[side], bucket, record, n, err);
}

static int keep_event(struct eventlog *e, const struct thaw_tuple *t, struct thaw_err *err) {
    int32_t bucket = thaw_hash_part(t->a, e->p->nparts) - e->p->first_part;
    return thaw_spill_put(e->p->pairs, bucket, t, sizeof *t, err);
}

static int on_records(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct eventlog *e = user;
    const uint8_t *at = bytes, *end = at + n;
    int code = THAW_OK;
    (void)source;
    while (at < end && !code) {
        int kind = *at++;
        if (kind == KIND_EVENT) {
            struct thaw_tuple t;
            memcpy(&t, at, sizeof t);
            code = keep_event(e, &t, err);
            at += sizeof t;
        } else {
            struct thaw_id id;
            size_t length = (size_t)thaw_id_unpack(at, 0, &id);
            if (!thaw_seen_before(&e->stored[kind - KIND_ID], id.hash))
                code = store_id(e, kind - KIND_ID, at, length, id.hash, err);
            at += length;
        }
    }
    return code;
}

// To its owner, unless it was lately.
static int send_id(struct eventlog *e, struct late_id *id, struct thaw_err *err) {
    bool mine = id->to == e->self;
    size_t n = id->n;
    id->n = 0;
    if (n == 0 || thaw_seen_before(mine ? &e->stored[id->side] : &e->sent[id->side], id->hash))
        return THAW_OK;
    if (mine) return store_id(e, id->side, id->record + 1, n - 1, id->hash, err);
    thaw_shuffle_put(e->out, id->to, id->record, n);
    return THAW_OK;
}

static int send_late(struct eventlog *e, struct thaw_err *err) {
    int code = THAW_OK;
    for (int i = 0; i < LATE && !code; i++) code = send_id(e, &e->late[i], err);
    return code;
}

static int put_id(struct eventlog *e, int side, int to, uint64_t hash, const char *text, size_t n,
                  struct thaw_err *err) {
    uint64_t *recent = &e->recent[side][hash % RECENT];
    if (*recent == hash && hash != 0) return THAW_OK;
    *recent = hash;
    thaw_seen_prefetch(to == e->self ? &e->stored[side] : &e->sent[side], hash);
    struct late_id *id = &e->late[e->turn++ % LATE];
    int code = send_id(e, id, err);
    id->hash = hash;
    id->side = side;
    id->to = to;
    id->record[0] = (uint8_t)(KIND_ID + side);
    id->n = 1 + thaw_id_pack(id->record + 1, hash, 0, text, n);
    return code;
}

static int owner_of(const struct eventlog *e, uint64_t hash) {
    return e->p->owner[thaw_hash_part(hash, e->p->nparts)];
}

static inline int put_event(struct eventlog *e, const struct thaw_line *line, const struct thaw_event *ev,
                            struct thaw_err *err) {
    uint8_t record[1 + sizeof(struct thaw_tuple)] = {KIND_EVENT};
    struct thaw_tuple t = {thaw_hash_id(ev->user, ev->nuser), thaw_hash_id(ev->item, ev->nitem), ev->time,
                           ev->value + 0.0f}; // + 0: never -0
    int to_user = owner_of(e, t.a), code = THAW_OK;
    if (e->by_place) {
        int64_t file = e->p->files->unit[e->unit].file;
        if (file >> FILE_BITS || line->offset >> OFFSET_BITS)
            return thaw_fail(err, THAW_EDATA,
                             "%s: too large, or too many files, for --duplicates last without times",
                             line->path);
        t.time = file << OFFSET_BITS | line->offset;
    }
    if (to_user == e->self) {
        code = keep_event(e, &t, err);
    } else {
        memcpy(record + 1, &t, sizeof t);
        thaw_shuffle_put(e->out, to_user, record, sizeof record);
    }
    if (!code) code = put_id(e, THAW_USERS, to_user, t.a, ev->user, ev->nuser, err);
    if (!code) code = put_id(e, THAW_ITEMS, owner_of(e, t.b), t.b, ev->item, ev->nitem, err);
    return code;
}

static int take_line(struct eventlog *e, const struct thaw_line *line, struct thaw_err *err) {
    struct thaw_event ev;
    int code = thaw_parser_parse(e->parser, line, &ev, err);
    if (code) return code;
    e->p->bad.unit_lines[e->unit - e->p->bad.first_unit]++;
    e->p->ledger.outcome[ev.outcome]++;
    if (ev.outcome == THAW_EVENT_OK) return put_event(e, line, &ev, err);
    return thaw_outcome_bad(ev.outcome) ? thaw_badlines_put(&e->p->bad, e->unit, line, ev.outcome, err)
                                        : THAW_OK;
}

// The items of a list, until it ends or a round is due. A bad one is shown alone in the quarantine.
static int take_items(struct eventlog *e, struct thaw_err *err) {
    struct thaw_event ev;
    struct thaw_field item;
    struct thaw_line shown = e->line;
    int code = THAW_OK;
    while (!code && !thaw_shuffle_full(e->out)) {
        if (!(e->listing = thaw_parser_item(e->parser, &ev, &item))) return THAW_OK;
        shown.text = item.text;
        shown.n = item.n;
        e->p->ledger.outcome[ev.outcome]++;
        if (ev.outcome == THAW_EVENT_OK) code = put_event(e, &shown, &ev, err);
        if (thaw_outcome_bad(ev.outcome))
            code = thaw_badlines_put(&e->p->bad, e->unit, &shown, ev.outcome, err);
    }
    return code;
}

static int take_list(struct eventlog *e, const struct thaw_line *line, struct thaw_err *err) {
    struct thaw_event ev;
    thaw_parser_list(e->parser, line, &ev);
    e->p->bad.unit_lines[e->unit - e->p->bad.first_unit]++;
    e->line = *line;
    e->listing = ev.outcome == THAW_EVENT_OK;
    if (e->listing) return take_items(e, err);
    e->p->ledger.outcome[ev.outcome]++;
    return thaw_outcome_bad(ev.outcome) ? thaw_badlines_put(&e->p->bad, e->unit, line, ev.outcome, err)
                                        : THAW_OK;
}

// Read until a round is due or the share is read.
static int produce(struct eventlog *e, bool *finished, struct thaw_err *err) {
    struct thaw_line line;
    while (!thaw_shuffle_full(e->out)) {
        int code = THAW_OK;
        if (e->listing && ((code = take_items(e, err)) || e->listing)) return code;
        if (!e->reader) {
            if ((*finished = e->unit == e->last_unit)) {
                thaw_log_step(e->p->log, e->bytes_before);
                return send_late(e, err);
            }
            if ((code = thaw_reader_open(&e->reader, e->p->files, e->unit, err))) return code;
        }
        if ((code = thaw_reader_next(e->reader, &line, err))) return code;
        if (!line.text) {
            e->bytes_before += thaw_reader_bytes(e->reader);
            thaw_reader_close(&e->reader);
            e->unit++;
            continue;
        }
        if ((code = e->format->lists ? take_list(e, &line, err) : take_line(e, &line, err))) return code;
        if (++e->lines % LOOK_EVERY == 0) {
            thaw_log_step(e->p->log, e->bytes_before + thaw_reader_bytes(e->reader));
            if ((code = thaw_prep_stopped(e->p, err))) return code;
        }
    }
    return THAW_OK;
}

static int make_seen(struct thaw_seen *s, int64_t nbytes, struct thaw_err *err) {
    uint64_t *hash;
    int code = thaw_alloc(&hash, (size_t)nbytes, 1, "the cache of ids", err);
    if (!code) *s = thaw_seen_start(hash, (uint64_t)nbytes / (THAW_SEEN_WAYS * sizeof *hash));
    return code;
}

// Units so small that ranks share the work evenly, and no smaller than pays.
static int open_files(struct eventlog *e, struct thaw_err *err) {
    const struct thaw_prep_config *cfg = e->p->cfg;
    int code = thaw_sources_open(&e->p->files, cfg->events, cfg->nevents, 0, err);
    if (code) return code;
    int64_t unit = e->p->files->nbytes / (16 * (int64_t)thaw_comm_size(e->p->comm));
    if (unit > THAW_UNIT_BYTES) unit = THAW_UNIT_BYTES;
    if (unit < UNIT_LEAST) unit = UNIT_LEAST;
    if (cfg->chunk_bytes > 0 && unit > 4 * cfg->chunk_bytes) unit = 4 * cfg->chunk_bytes;
    thaw_sources_close(&e->p->files);
    return thaw_sources_open(&e->p->files, cfg->events, cfg->nevents, unit, err);
}

// Local. Everything but the shuffle.
static int prepare_reading(struct eventlog *e, struct thaw_err *err) {
    struct thaw_prep *p = e->p;
    const struct thaw_prep_config *cfg = p->cfg;
    int code = open_files(e, err);
    if (!code) code = thaw_head_read(&e->head, e->p->files, err);
    if (!code) code = thaw_format_detect(&e->format, &e->head, &cfg->format, err);
    if (!code) code = thaw_columns_find(&e->columns, e->format, cfg->format.columns, err);
    if (!code) code = thaw_parser_new(&e->parser, e->format, &e->columns, cfg->weights, cfg->negative, err);
    for (int side = 0; side < 2 && !code; side++) {
        code = make_seen(&e->sent[side], p->memory.seen, err);
        if (!code) code = make_seen(&e->stored[side], p->memory.seen, err);
    }
    if (code) return code;
    p->has_time = e->columns.time >= 0;
    e->by_place = !p->has_time && cfg->duplicates == THAW_DUPLICATES_LAST;
    p->totals.read_bytes = e->p->files->nbytes;
    thaw_sources_share(e->p->files, thaw_comm_size(p->comm), thaw_comm_rank(p->comm), &e->unit,
                       &e->last_unit);
    return thaw_badlines_new(&e->p->bad, p->pool, e->p->files, e->unit, e->last_unit - e->unit, err);
}

static void close_reading(struct eventlog *e) {
    thaw_reader_close(&e->reader);
    thaw_shuffle_free(&e->out);
    thaw_parser_free(&e->parser);
    thaw_format_free(&e->format);
    thaw_head_clear(&e->head);
    for (int side = 0; side < 2; side++) {
        free(e->sent[side].hash);
        free(e->stored[side].hash);
    }
}

static void describe(const struct eventlog *e) {
    char format[256], columns[512];
    thaw_log_note(e->p->log, "%s: %s", e->format->path,
                  thaw_format_describe(e->format, format, sizeof format));
    thaw_log_note(e->p->log, "columns: %s",
                  thaw_columns_describe(&e->columns, e->format, columns, sizeof columns));
}

static int64_t share_bytes(const struct eventlog *e) {
    int64_t n = 0;
    for (int64_t u = e->unit; u < e->last_unit; u++)
        n += e->p->files->unit[u].end - e->p->files->unit[u].begin;
    return n;
}

static int read_all(struct eventlog *e, struct thaw_err *err) {
    int code = THAW_OK;
    bool finished = false, done = false;
    thaw_log_phase(e->p->log, "reading (rank 0's share)", share_bytes(e), "bytes");
    while (!code && !done) {
        thaw_comm_phase(e->p->comm, "read");
        int local = finished ? THAW_OK : produce(e, &finished, err);
        thaw_comm_phase(e->p->comm, "shuffle");
        code = thaw_shuffle_round(e->out, finished, &done, local, err);
    }
    thaw_log_phase_end(e->p->log);
    return code;
}

// The bad outcomes that occurred most often, for one line of text.
static void biggest_reasons(const int64_t outcome[THAW_OUTCOMES], char *text, size_t cap) {
    bool told[THAW_OUTCOMES] = {false};
    size_t used = 0;
    text[0] = 0;
    for (int shown = 0; shown < 3; shown++) {
        int most = -1;
        for (int o = THAW_EVENT_BAD_LENGTH; o < THAW_OUTCOMES; o++)
            if (!told[o] && outcome[o] > 0 && (most < 0 || outcome[o] > outcome[most])) most = o;
        if (most < 0) return;
        told[most] = true;
        int n = snprintf(text + used, cap - used, "%s%" PRId64 " x %s", shown ? ", " : "", outcome[most],
                         thaw_outcome_about((enum thaw_outcome)most));
        used += (size_t)n < cap - used ? (size_t)n : cap - used - 1;
    }
}

// Are there too many bad lines in this input? outcome: its lines by what became of them.
static int judge_input(const struct thaw_prep *p, const char *input, int64_t lines,
                       const int64_t outcome[THAW_OUTCOMES], struct thaw_err *err) {
    int64_t bad = 0;
    char reasons[300];
    for (int o = THAW_EVENT_BAD_LENGTH; o < THAW_OUTCOMES; o++) bad += outcome[o];
    if (bad == 0 || (double)bad <= p->cfg->max_bad_fraction * (double)lines) return THAW_OK;
    biggest_reasons(outcome, reasons, sizeof reasons);
    return thaw_fail(err, THAW_EDATA,
                     "%s%s%" PRId64 " of %" PRId64
                     " lines are bad, more than --max-bad-fraction %g allows: %s; see %s/quarantine.tsv",
                     input, *input ? ": " : "", bad, lines, p->cfg->max_bad_fraction, reasons, p->cfg->out);
}

static int judge(const struct thaw_prep *p, struct thaw_err *err) {
    const struct thaw_prep_ledger *l = &p->ledger;
    const char *path = p->files->file[0].path;
    int code = judge_input(p, "", l->entries, l->outcome, err);
    for (int side = 0; side < 2 && !code; side++)
        if (p->attributes[side])
            code = judge_input(p, p->cfg->attributes[side], l->profile_lines[side],
                               p->attributes[side]->outcome, err);
    if (code || l->outcome[THAW_EVENT_OK] > 0) return code;
    if (l->outcome[THAW_EVENT_HEADER] > 0 &&
        l->outcome[THAW_EVENT_HEADER] + l->outcome[THAW_EVENT_BLANK] == l->lines)
        return thaw_fail(err, THAW_EDATA, "%s: a header and no events%s", path,
                         p->files->nfiles > 1 ? ", as the other files" : "");
    return thaw_fail(err, THAW_EDATA,
                     "%s: no usable events among %" PRId64 " %s (%" PRId64 " without user, %" PRId64
                     " without item, %" PRId64 " not above zero): check --columns",
                     path, l->entries, p->cfg->format.lists ? "items" : "lines",
                     l->outcome[THAW_EVENT_NO_USER], l->outcome[THAW_EVENT_NO_ITEM],
                     l->outcome[THAW_EVENT_NEGATIVE]);
}

int thaw_prep_judge(struct thaw_prep *p, struct thaw_err *err) {
    int code = thaw_badlines_write(&p->bad, p->comm, p->log, p->cfg->out, "quarantine.tsv", err);
    if (!code) code = thaw_comm_agree(p->comm, judge(p, err), err);
    thaw_badlines_clear(&p->bad);
    return code;
}

int thaw_prep_read(struct thaw_prep *p, struct thaw_err *err) {
    struct eventlog e = {.p = p, .self = thaw_comm_rank(p->comm)};
    int code = thaw_comm_agree(p->comm, prepare_reading(&e, err), err);
    if (code) goto done;
    describe(&e);
    code = thaw_comm_same(p->comm, &p->files->nbytes, sizeof p->files->nbytes, "the size of the input", err);
    if (!code) code = thaw_shuffle_new(&e.out, p->comm, p->memory.chunk, on_records, &e, err);
    if (!code) code = read_all(&e, err);
    if (code) goto done;
    for (int64_t u = 0; u < p->bad.nunits; u++) p->ledger.lines += p->bad.unit_lines[u];
    thaw_comm_sum_i64(p->comm, &p->ledger.lines, 1);
    thaw_comm_sum_i64(p->comm, p->ledger.outcome, THAW_OUTCOMES);
    for (int o = 0; o < THAW_OUTCOMES; o++) p->ledger.entries += p->ledger.outcome[o];
done:
    close_reading(&e);
    return code;
}
