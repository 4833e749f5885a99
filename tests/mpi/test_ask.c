// Look-ups by hash where their owners keep the numbers, and quantiles of spread counts; at any number of
// ranks, in tiny chunks.
#include "comm/ask.h"

#include "base/hash.h"
#include "base/mem.h"
#include "comm/degrees.h"
#include "partition/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PARTS = 13 };

struct check {
    struct thaw_comm *c;
    int32_t owner[PARTS];
    int failures;
    int64_t answered;
};

static void expect(struct check *k, bool ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "rank %d: %s\n", thaw_comm_rank(k->c), what);
    k->failures++;
}

static int64_t answer_of(uint64_t hash) {
    return (int64_t)(hash * 3 + 1) / 2;
}

static int64_t lookup(void *user, uint64_t hash) {
    struct check *k = user;
    expect(k, k->owner[thaw_hash_part(hash, PARTS)] == thaw_comm_rank(k->c), "asked about what others own");
    k->answered++;
    return answer_of(hash);
}

static void ask_some(struct check *k, struct thaw_ask *a, int64_t n, uint64_t salt) {
    struct thaw_err err = THAW_ERR_INIT;
    uint64_t *hash = malloc((size_t)(n + 1) * 8);
    int64_t *answer = malloc((size_t)(n + 1) * 8);
    uint64_t sum = 0, after = 0;
    for (int64_t i = 0; i < n; i++) sum += hash[i] = thaw_hash_id(&(uint64_t){(uint64_t)i * 2 + salt}, 8);
    expect(k, thaw_ask(a, hash, n, answer, &err) == THAW_OK, "ask failed");
    for (int64_t i = 0; i < n; i++) {
        after += hash[i];
        if (answer[i] != answer_of(hash[i])) {
            expect(k, false, "wrong answer");
            break;
        }
    }
    expect(k, sum == after, "hashes changed");
    free(hash);
    free(answer);
}

static void check_ask(struct check *k, int64_t budget) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_ask *a = NULL;
    int rank = thaw_comm_rank(k->c), size = thaw_comm_size(k->c);
    for (int r = 0; r < size; r++)
        for (int32_t p = thaw_plan_even(PARTS, size, r); p < thaw_plan_even(PARTS, size, r + 1); p++)
            k->owner[p] = r;
    expect(k, thaw_ask_new(&a, k->c, k->owner, PARTS, budget, lookup, k, &err) == THAW_OK, "cannot make");
    ask_some(k, a, 1000 * (rank + 1), 1);          // different numbers on ranks
    ask_some(k, a, rank == size - 1 ? 0 : 777, 2); // none on one
    ask_some(k, a, 0, 3);
    thaw_ask_free(&a);
    int64_t answered = k->answered;
    thaw_comm_sum_i64(k->c, &answered, 1);
    expect(k, answered == 1000 * size * (size + 1) / 2 + 777 * (size - 1), "wrong number of look-ups");
    k->answered = 0;
}

// Degrees 1..n, degree d has d rows; row i of all lies on rank i % size.
static void check_quantiles(struct check *k, int64_t n) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tally rows = {0};
    int64_t out[THAW_QUANTILES], total = n * (n + 1) / 2, seen = 0;
    static const int percent[THAW_QUANTILES] = {0, 10, 50, 90, 99, 100};
    expect(k, thaw_tally_reset(&rows, n + 1, &err) == THAW_OK, "no memory");
    int64_t *all = malloc((size_t)(total + 1) * sizeof *all);
    for (int64_t d = 1; d <= n; d++)
        for (int64_t i = 0; i < d; i++) {
            if (seen % thaw_comm_size(k->c) == thaw_comm_rank(k->c)) ++*thaw_tally_at(&rows, (uint64_t)d, 0);
            all[seen++] = d;
        }
    thaw_degree_quantiles(k->c, &rows, out);
    for (int q = 0; q < THAW_QUANTILES; q++) {
        int64_t place = (total * percent[q] + 99) / 100;
        int64_t want = total == 0 ? 0 : all[(place > 0 ? place : 1) - 1];
        if (out[q] != want) {
            fprintf(stderr, "%s of 1..%" PRId64 ": %" PRId64 ", not %" PRId64 "\n", thaw_quantile_name[q], n,
                    out[q], want);
            k->failures++;
        }
    }
    free(all);
    thaw_tally_clear(&rows);
}

int main(void) {
    struct thaw_err err = THAW_ERR_INIT;
    struct check k = {0};
    if (thaw_comm_begin(&k.c, &err)) return 1;
    check_ask(&k, 1 << 20);
    check_ask(&k, 64);
    static const int64_t sizes[] = {0, 1, 2, 3, 10, 100, 257};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) check_quantiles(&k, sizes[i]);
    int64_t failures = k.failures;
    thaw_comm_sum_i64(k.c, &failures, 1);
    thaw_comm_end(&k.c);
    return failures != 0;
}
