// profiles.c: attributes of users and items as `thaw prepare` takes them in: who has some is a row, with or
// without events.
#include "base/mem.h"
#include "comm/stages.h"

#include <inttypes.h>
#include <stdio.h>

struct bad_lines {
    struct thaw_badlines *to;
    int input;
};

static int on_bad(void *user, const struct thaw_line *line, enum thaw_outcome o, struct thaw_err *err) {
    struct bad_lines *b = user;
    return thaw_badlines_put_profile(b->to, b->input, line, o, err);
}

// The ids that have attributes join those of the events, marked by a count.
static int add_ids(struct thaw_prep *p, int side, int32_t k, struct thaw_err *err) {
    struct thaw_attributes_part part;
    uint8_t record[THAW_ID_RECORD_MAX];
    int code = thaw_attributes_part(p->attributes[side], p->first_part + k, &part, err);
    if (!code) p->ledger.profile_replaced[side] += part.repeated;
    for (int64_t i = 0; !code && i < part.n; i++) {
        size_t n = thaw_id_pack(record, part.row[i].hash, 1, part.row[i].id, part.row[i].nid);
        code = thaw_spill_put(p->ids[side], k, record, n, err);
    }
    return code;
}

// Local.
static int add_all_ids(struct thaw_prep *p, int side, struct thaw_err *err) {
    char what[64];
    snprintf(what, sizeof what, "the attributes of %s", thaw_side_name[side]);
    int code = thaw_prep_reserve(p, thaw_attributes_part_nbytes(p->attributes[side]), what, err);
    for (int32_t k = 0; k < p->own_parts && !code; k++) code = add_ids(p, side, k, err);
    thaw_attributes_part_clear(p->attributes[side]);
    return code;
}

static int read_side(struct thaw_prep *p, int side, struct thaw_err *err) {
    const struct thaw_prep_config *cfg = p->cfg;
    struct bad_lines bad = {&p->bad, side == THAW_USERS ? THAW_BADLINES_USERS : THAW_BADLINES_ITEMS};
    struct thaw_attributes_config config = {
        .side = (enum thaw_side)side,
        .wish = {.encoding = cfg->format.encoding},
        .spec = cfg->attribute_spec[side],
        .nparts = p->nparts,
        .text_buckets = cfg->text_buckets,
        .max_categories = cfg->max_categories,
        .budget_bytes = p->memory.chunk,
        .pool = p->pool,
        .bad = on_bad,
        .user = &bad,
        .log = p->log,
    };
    struct thaw_attributes *a = NULL;
    int code = thaw_attributes_read(&a, p->comm, &cfg->attributes[side], 1, &config, err);
    if (code) return code;
    p->attributes[side] = a;
    for (int o = 0; o < THAW_OUTCOMES; o++) {
        p->ledger.profile_lines[side] += a->outcome[o];
        if (thaw_outcome_bad((enum thaw_outcome)o))
            p->ledger.profile_bad[side] += a->outcome[o];
        else if (o != THAW_EVENT_OK)
            p->ledger.profile_skipped[side] += a->outcome[o];
    }
    if (p->ledger.profile_bad[side] > 0)
        thaw_log_warn(p->log, "%s: %" PRId64 " bad lines, see the quarantine", cfg->attributes[side],
                      p->ledger.profile_bad[side]);
    if ((code = thaw_comm_agree(p->comm, add_all_ids(p, side, err), err))) return code;
    thaw_comm_sum_i64(p->comm, &p->ledger.profile_replaced[side], 1);
    return THAW_OK;
}

int thaw_prep_profiles(struct thaw_prep *p, struct thaw_err *err) {
    int code = THAW_OK;
    for (int side = 0; side < 2 && !code; side++)
        if (p->cfg->attributes[side]) code = read_side(p, side, err);
    return code;
}
