// plan.c: dealing parts to ranks.
#include "partition/plan.h"

#include "base/mem.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// How many ranks it takes when none gets more than `share`, if at most `limit`; limit + 1 otherwise.
static int ranks_needed(const int64_t *work, int32_t nparts, int64_t share, int limit) {
    int ranks = 1;
    int64_t filled = 0;
    for (int32_t i = 0; i < nparts; i++) {
        if (work[i] > share - filled) {
            if (++ranks > limit) return ranks;
            filled = 0;
        }
        filled += work[i];
    }
    return ranks;
}

static int64_t smallest_share(const int64_t *work, int32_t nparts, int64_t total, int nranks) {
    int64_t low = 0, high = total;
    for (int32_t i = 0; i < nparts; i++)
        if (work[i] > low) low = work[i];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (ranks_needed(work, nparts, middle, nranks) <= nranks)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Fill ranks up to the share, but leave a part for each rank that follows while there are enough.
static void deal(struct thaw_plan *plan, const int64_t *work, int64_t share) {
    int32_t part = 0;
    for (int rank = 0; rank < plan->nranks; rank++) {
        int64_t filled = 0;
        plan->first_part[rank] = part;
        plan->rank_row[rank] = plan->first_row[part];
        int32_t first = part, after = plan->nranks - 1 - rank;
        while (part < plan->nparts && work[part] <= share - filled) {
            if (part > first && plan->nparts - part <= after) break;
            filled += work[part++];
        }
    }
    plan->first_part[plan->nranks] = plan->nparts;
    plan->rank_row[plan->nranks] = plan->first_row[plan->nparts];
}

static int count_rows(struct thaw_plan *plan, const int64_t *part_rows, struct thaw_err *err) {
    for (int32_t i = 0; i < plan->nparts; i++) {
        if (part_rows[i] < 0)
            return thaw_fail(err, THAW_EDATA, "part %" PRId32 " has %" PRId64 " rows", i, part_rows[i]);
        if (__builtin_add_overflow(plan->first_row[i], part_rows[i], &plan->first_row[i + 1]))
            return thaw_fail(err, THAW_EDATA, "the parts' rows add up to more than 2^63");
    }
    return THAW_OK;
}

static int count_work(const struct thaw_plan *plan, const int64_t *part_rows, const int64_t *part_work,
                      int64_t *work, int64_t *total, struct thaw_err *err) {
    *total = 0;
    for (int32_t i = 0; i < plan->nparts; i++) {
        bool over = part_work == NULL && __builtin_add_overflow(part_rows[i], 1, &work[i]);
        if (part_work != NULL) work[i] = part_work[i];
        if (work[i] < 0 && !over)
            return thaw_fail(err, THAW_EDATA, "part %" PRId32 " has %" PRId64 " units of work", i, work[i]);
        if (over || __builtin_add_overflow(*total, work[i], total))
            return thaw_fail(err, THAW_EDATA, "the parts' work adds up to more than 2^63");
    }
    return THAW_OK;
}

int thaw_plan_new(struct thaw_plan *out, int32_t nparts, const int64_t *part_rows, const int64_t *part_work,
                  int nranks, struct thaw_err *err) {
    struct thaw_plan plan = {.nparts = nparts, .nranks = nranks};
    int64_t *work = NULL, total = 0;
    if (nparts < 0 || nranks < 1)
        return thaw_fail(err, THAW_EDATA, "cannot deal %" PRId32 " parts to %d ranks", nparts, nranks);
    size_t n = (size_t)nparts, r = (size_t)nranks;
    int code = thaw_alloc(&plan.first_row, n + 1, sizeof *plan.first_row, "the plan of parts", err);
    if (code == THAW_OK)
        code = thaw_alloc(&plan.first_part, r + 1, sizeof *plan.first_part, "the plan of parts", err);
    if (code == THAW_OK)
        code = thaw_alloc(&plan.rank_row, r + 1, sizeof *plan.rank_row, "the plan of parts", err);
    if (code == THAW_OK) code = thaw_alloc(&work, n, sizeof *work, "the plan of parts", err);
    if (code == THAW_OK) code = count_rows(&plan, part_rows, err);
    if (code == THAW_OK) code = count_work(&plan, part_rows, part_work, work, &total, err);
    if (code != THAW_OK) goto done;
    deal(&plan, work, smallest_share(work, nparts, total, nranks));
    *out = plan;
done:
    free(work);
    if (code != THAW_OK) thaw_plan_clear(&plan);
    return code;
}

void thaw_plan_clear(struct thaw_plan *plan) {
    free(plan->first_row);
    free(plan->first_part);
    free(plan->rank_row);
    memset(plan, 0, sizeof *plan);
}

// The last i in [0, n) with first[i] <= row: empty ranges, which share a first row with the next, are passed
// over.
static int32_t find_range(const int64_t *first, int32_t n, int64_t row) {
    int32_t low = 0, high = n - 1;
    while (low < high) {
        int32_t middle = high - (high - low) / 2;
        if (first[middle] <= row)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

int thaw_plan_rank_of(const struct thaw_plan *plan, int64_t row) {
    return find_range(plan->rank_row, plan->nranks, row);
}
