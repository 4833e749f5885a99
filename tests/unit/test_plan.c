// test_plan.c: parts dealt to ranks, against all ways to cut them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "partition/plan.h"

#include <string.h>

enum { PARTS = 10 };

// The smallest largest share of any way to cut nparts into nranks runs.
static int64_t best_share(const int64_t *work, int nparts, int nranks) {
    if (nranks == 1) {
        int64_t sum = 0;
        for (int i = 0; i < nparts; i++) sum += work[i];
        return sum;
    }
    int64_t best = INT64_MAX, mine = 0;
    for (int i = 0; i <= nparts; i++) {
        int64_t rest = best_share(work + i, nparts - i, nranks - 1);
        int64_t largest = rest > mine ? rest : mine;
        best = largest < best ? largest : best;
        if (i < nparts) mine += work[i];
    }
    return best;
}

static void check_owners(const struct thaw_plan *plan) {
    for (int64_t row = 0; row < thaw_plan_rows(plan); row++) {
        int rank = thaw_plan_rank_of(plan, row);
        assert_true(plan->rank_row[rank] <= row && row < plan->rank_row[rank + 1]);
        assert_int_equal(plan->rank_row[rank], plan->first_row[plan->first_part[rank]]);
    }
}

static int64_t largest_share(const struct thaw_plan *plan, const int64_t *work) {
    int64_t largest = 0;
    assert_int_equal(plan->first_part[0], 0);
    assert_int_equal(plan->first_part[plan->nranks], plan->nparts);
    for (int rank = 0; rank < plan->nranks; rank++) {
        int64_t mine = 0;
        assert_true(plan->first_part[rank] <= plan->first_part[rank + 1]);
        for (int32_t i = plan->first_part[rank]; i < plan->first_part[rank + 1]; i++) mine += work[i];
        assert_int_equal(plan->rank_row[rank], plan->first_row[plan->first_part[rank]]);
        if (plan->nparts >= plan->nranks) assert_true(plan->first_part[rank] < plan->first_part[rank + 1]);
        largest = mine > largest ? mine : largest;
    }
    assert_int_equal(plan->rank_row[plan->nranks], thaw_plan_rows(plan));
    return largest;
}

static void test_best_cut(void **state) {
    (void)state;
    for (uint64_t round = 0; round < 200; round++) {
        struct thaw_rng rng = thaw_rng_at(6, 95, round);
        int64_t rows[PARTS], work[PARTS], scale = round % 4 == 3 ? INT64_C(1) << 58 : 1;
        int32_t nparts = (int32_t)thaw_rng_below(&rng, PARTS) + 1;
        for (int i = 0; i < nparts; i++) {
            rows[i] = (int64_t)thaw_rng_below(&rng, 4);
            work[i] = scale * (int64_t)thaw_rng_below(&rng, round % 2 ? 3 : 60) / (scale > 1 ? 60 : 1);
        }
        for (int nranks = 1; nranks < 6; nranks++) {
            struct thaw_plan plan;
            assert_int_equal(thaw_plan_new(&plan, nparts, rows, work, nranks, NULL), THAW_OK);
            assert_int_equal(largest_share(&plan, work), best_share(work, nparts, nranks));
            check_owners(&plan);
            thaw_plan_clear(&plan);
        }
    }
}

static void test_more_ranks_than_parts(void **state) {
    (void)state;
    const int64_t rows[3] = {2, 0, 3};
    struct thaw_plan plan;
    assert_int_equal(thaw_plan_new(&plan, 3, rows, NULL, 7, NULL), THAW_OK);
    const int64_t work[3] = {3, 1, 4};
    assert_int_equal(largest_share(&plan, work), 4);
    check_owners(&plan);
    thaw_plan_clear(&plan);
    assert_null(plan.first_row);
}

static void test_no_rows(void **state) {
    (void)state;
    const int64_t rows[4] = {0};
    struct thaw_plan plan;
    assert_int_equal(thaw_plan_new(&plan, 4, rows, NULL, 2, NULL), THAW_OK);
    assert_int_equal(thaw_plan_rows(&plan), 0);
    assert_int_equal(plan.first_part[1], 2);
    thaw_plan_clear(&plan);
}

static void test_many_parts(void **state) {
    (void)state;
    static int64_t rows[99999];
    for (int i = 0; i < 99999; i++) rows[i] = INT64_C(1) << 40;
    struct thaw_plan plan;
    assert_int_equal(thaw_plan_new(&plan, 99999, rows, NULL, 1000, NULL), THAW_OK);
    assert_int_equal(thaw_plan_rows(&plan), 99999 * (INT64_C(1) << 40));
    for (int32_t part = 0; part < 99999; part += 997) {
        int rank = thaw_plan_rank_of(&plan, plan.first_row[part]);
        assert_int_equal(thaw_plan_rank_of(&plan, plan.first_row[part + 1] - 1), rank);
        assert_true(plan.first_part[rank] <= part && part < plan.first_part[rank + 1]);
    }
    thaw_plan_clear(&plan);
}

static void test_refused(void **state) {
    (void)state;
    struct thaw_plan plan = {.nparts = 77};
    struct thaw_err err = THAW_ERR_INIT;
    const int64_t negative[2] = {1, -1}, huge[2] = {INT64_MAX, 1}, fine[2] = {1, 1};
    assert_int_equal(thaw_plan_new(&plan, 2, negative, NULL, 2, &err), THAW_EDATA);
    assert_int_equal(thaw_plan_new(&plan, 2, huge, NULL, 2, NULL), THAW_EDATA);
    assert_int_equal(thaw_plan_new(&plan, 2, fine, negative, 2, NULL), THAW_EDATA);
    assert_int_equal(thaw_plan_new(&plan, 2, fine, huge, 2, NULL), THAW_EDATA);
    assert_int_equal(thaw_plan_new(&plan, 1, huge, NULL, 2, NULL), THAW_EDATA);
    assert_int_equal(thaw_plan_new(&plan, 2, fine, NULL, 0, NULL), THAW_EDATA);
    assert_int_equal(plan.nparts, 77);
    assert_non_null(strstr(err.text, "part 1 has -1 rows"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_best_cut), cmocka_unit_test(test_more_ranks_than_parts),
        cmocka_unit_test(test_no_rows),  cmocka_unit_test(test_many_parts),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
