// merge.c: events of one (user, item) become one interaction, part of users by part of users.
#include "comm/shuffle.h"
#include "comm/stages.h"

#include <inttypes.h>
#include <math.h>

// Leave out pairs that are not above zero, unless they are to be kept. Times that are only places are
// forgotten.
static int settle(struct thaw_prep *p, int64_t *n, struct thaw_err *err) {
    int64_t kept = 0;
    bool keep = p->cfg->negative == THAW_NEGATIVE_KEEP;
    for (int64_t i = 0; i < *n; i++) {
        struct thaw_tuple t = p->work[i];
        if (!isfinite(t.value))
            return thaw_fail(
                err, THAW_EDATA,
                "the values of one pair of user and item add up beyond 3.4e38: use --duplicates max or last");
        if (!p->has_time) t.time = 0;
        if (keep || t.value > 0) p->work[kept++] = t;
    }
    p->ledger.not_positive += *n - kept;
    *n = kept;
    return THAW_OK;
}

int thaw_prep_store(struct thaw_prep *p, int32_t k, int64_t n, struct thaw_err *err) {
    thaw_spill_clear(p->pairs, k);
    thaw_spill_clear(p->degrees, k);
    int code = thaw_spill_put(p->pairs, k, p->work, (size_t)n * sizeof *p->work, err);
    for (int64_t i = 0, end; i < n && !code; i = end) {
        for (end = i + 1; end < n && p->work[end].a == p->work[i].a;) end++;
        struct thaw_prep_count row = {p->work[i].a, end - i};
        code = thaw_spill_put(p->degrees, k, &row, sizeof row, err);
    }
    return code;
}

static int merge_part(struct thaw_prep *p, int32_t k, int64_t *ndistinct, struct thaw_err *err) {
    int64_t n, events;
    int code = thaw_prep_stopped(p, err);
    if (!code) code = thaw_prep_load(p, p->pairs, k, &events, err);
    if (code) return code;
    thaw_tuple_sort(p->work, events);
    n = thaw_tuple_merge(p->work, events, p->cfg->duplicates);
    p->ledger.merged += events - n;
    if ((code = settle(p, &n, err))) return code;
    if ((code = thaw_prep_store(p, k, n, err))) return code;
    return thaw_prep_distinct(p, n, ndistinct, err);
}

int thaw_prep_merge(struct thaw_prep *p, struct thaw_err *err) {
    struct thaw_shuffle *reports = NULL;
    thaw_comm_phase(p->comm, "merge");
    int code = thaw_comm_agree(p->comm, thaw_prep_room(p, p->pairs, true, 0, 0, err), err);
    if (!code) code = thaw_prep_reports_open(p, &reports, err);
    thaw_log_phase(p->log, "merging (rank 0's parts)", p->own_parts, "parts");
    for (int32_t k = 0; k < p->most_parts && !code; k++) {
        int64_t ndistinct = 0;
        int local = k < p->own_parts ? merge_part(p, k, &ndistinct, err) : THAW_OK;
        code = thaw_prep_reports_send(p, reports, ndistinct, local, err);
        thaw_log_step(p->log, k + 1);
    }
    thaw_log_phase_end(p->log);
    thaw_shuffle_free(&reports);
    thaw_prep_room_free(p);
    if (!code) code = thaw_prep_apply_reports(p, err);
    if (code) return code;
    int64_t sums[2] = {p->ledger.merged, p->ledger.not_positive};
    thaw_comm_sum_i64(p->comm, sums, 2);
    p->ledger.merged = sums[0];
    p->ledger.not_positive = sums[1];
    return THAW_OK;
}
