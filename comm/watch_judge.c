// watch_judge.c: who keeps the others waiting.
#include "comm/watch.h"

enum standing { GONE, UNHEARD, SILENT, UNSURE, WAITS, BUSY };

static enum standing standing_of(const struct thaw_watched *s, const struct thaw_watch_limits *l) {
    if (s->gone) return GONE;
    if (!s->heard) return UNHEARD;
    if (s->silent_s >= l->quiet_s) return SILENT;
    if (s->silent_s >= l->fresh_s) return UNSURE;
    return s->waited_s < l->timeout_s / 2 ? BUSY : WAITS;
}

// All ranks hang in something that is not MPI, a file system as a rule. *shortest: how long all of them have.
static bool all_still(const struct thaw_watched *ranks, int n, const struct thaw_watch_limits *limits,
                      int *first, double *shortest) {
    *first = -1;
    for (int r = n - 1; r >= 0; r--) {
        const struct thaw_watched *s = &ranks[r];
        if (s->gone) continue;
        if (!s->heard || s->silent_s >= limits->fresh_s || s->still_s < limits->timeout_s) return false;
        if (*first < 0 || s->still_s < *shortest) *shortest = s->still_s;
        *first = r;
    }
    return *first >= 0;
}

// Who is to blame, in this order: one that is gone without a word, whatever the others do, as they wait for
// it in the end; one that works on; one that was never heard of, when all that were heard of wait. Else all
// wait for each other.
static const struct {
    enum standing standing;
    enum thaw_stall stall;
} blamed[] = {{SILENT, THAW_STALL_SILENT},
              {BUSY, THAW_STALL_BUSY},
              {UNHEARD, THAW_STALL_UNHEARD},
              {WAITS, THAW_STALL_ALL}};

struct thaw_verdict thaw_watch_judge(const struct thaw_watched *ranks, int n,
                                     const struct thaw_watch_limits *limits) {
    int first[BUSY + 1], count[BUSY + 1] = {0}, idle = 0;
    struct thaw_verdict v = {.stall = THAW_STALL_NONE, .waited_s = 0};
    for (int r = 0; r < n; r++) {
        const struct thaw_watched *s = &ranks[r];
        const enum standing is = standing_of(s, limits);
        if (count[is]++ == 0 || s->waited_s < ranks[first[is]].waited_s) first[is] = r;
        if (is == BUSY) idle += s->waited_s == 0;
        if ((is == WAITS || is == BUSY) && s->waited_s > v.waited_s) v.waited_s = s->waited_s;
    }
    if (v.waited_s < limits->timeout_s) {
        if (all_still(ranks, n, limits, &v.rank, &v.waited_s)) {
            v.stall = THAW_STALL_STILL;
            v.more = n - count[GONE] - 1;
        }
        return v;
    }
    // Soon it is known whether these are there; but a bad network must not put it off for ever.
    if (count[UNSURE] && v.waited_s < limits->timeout_s + 2 * limits->quiet_s) return v;
    for (size_t i = 0; i < sizeof blamed / sizeof *blamed && v.stall == THAW_STALL_NONE; i++) {
        const enum standing is = blamed[i].standing;
        if (!count[is]) continue;
        v.stall = blamed[i].stall;
        v.rank = first[is];
        v.more = count[is] - 1;
        if (is == BUSY && idle) v.more = idle - 1; // ranks in short waits are not to blame
    }
    return v;
}
