#include "comm/degrees.h"

#include <string.h>

const char *const thaw_quantile_name[THAW_QUANTILES] = {"min", "p10", "median", "p90", "p99", "max"};
static const int percent[THAW_QUANTILES] = {0, 10, 50, 90, 99, 100};

// How many rows have at most limit[j]; and, when it is given, how many there are and the largest degree.
static void count_rows(struct thaw_comm *c, const struct thaw_tally *rows, const int64_t *limit,
                       int64_t *atmost) {
    memset(atmost, 0, THAW_QUANTILES * sizeof *atmost);
    for (int64_t i = 0; i < rows->nslots; i++) {
        const struct thaw_tally_slot *s = &rows->slot[i];
        if (s->value == THAW_TALLY_FREE) continue;
        for (int j = 0; j < THAW_QUANTILES; j++)
            if ((int64_t)s->key <= limit[j]) atmost[j] += s->value;
    }
    thaw_comm_sum_i64(c, atmost, THAW_QUANTILES);
}

void thaw_degree_quantiles(struct thaw_comm *c, const struct thaw_tally *rows, int64_t out[THAW_QUANTILES]) {
    int64_t total = 0, most = 0, low[THAW_QUANTILES], high[THAW_QUANTILES], want[THAW_QUANTILES];
    for (int64_t i = 0; i < rows->nslots; i++) {
        const struct thaw_tally_slot *s = &rows->slot[i];
        if (s->value == THAW_TALLY_FREE) continue;
        total += s->value;
        if ((int64_t)s->key > most) most = (int64_t)s->key;
    }
    thaw_comm_sum_i64(c, &total, 1);
    thaw_comm_max_i64(c, &most, 1);
    for (int j = 0; j < THAW_QUANTILES; j++) {
        want[j] = total / 100 * percent[j] + (total % 100 * percent[j] + 99) / 100;
        if (want[j] < 1) want[j] = 1;
        low[j] = 1; // the quantile is in [low, high]
        high[j] = most;
    }
    for (int64_t width = most; width > 1; width -= width / 2) { // the same number of steps on every rank
        int64_t middle[THAW_QUANTILES], atmost[THAW_QUANTILES];
        for (int j = 0; j < THAW_QUANTILES; j++) middle[j] = low[j] + (high[j] - low[j]) / 2;
        count_rows(c, rows, middle, atmost);
        for (int j = 0; j < THAW_QUANTILES; j++)
            if (atmost[j] >= want[j])
                high[j] = middle[j];
            else if (low[j] < high[j])
                low[j] = middle[j] + 1;
    }
    for (int j = 0; j < THAW_QUANTILES; j++) out[j] = total > 0 ? high[j] : 0;
}
