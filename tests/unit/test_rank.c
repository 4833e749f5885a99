// test_rank.c: ranking metrics by hand-computed cases, and the bootstrap against what is known of it.
#include "metrics/bootstrap.h"
#include "metrics/rank.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12 * (1 + fabs(b)))) fail_msg("%.17g is not %.17g", a, b);
}

static void hits_at_first_and_third_of_five(void **state) {
    (void)state;
    const bool hit[5] = {true, false, true, false, false};
    struct thaw_rank_metrics m;
    thaw_rank_metrics(hit, 5, 5, 4, &m);
    near(m.recall, 0.5);
    // (1 + 1/2) / (1 + 1/log2 3 + 1/2 + 1/log2 5)
    near(m.ndcg, 1.5 / (1 + 0.63092975357145743 + 0.5 + 0.43067655807339306));
    near(m.hr, 1);
    near(m.map, (1.0 + 2.0 / 3) / 4);
}

static void more_relevant_than_the_cutoff(void **state) {
    (void)state;
    const bool hit[2] = {false, true};
    struct thaw_rank_metrics m;
    thaw_rank_metrics(hit, 2, 2, 100, &m);
    near(m.recall, 0.5); // of the two that fit
    near(m.ndcg, 0.63092975357145743 / 1.63092975357145743);
    near(m.map, 0.25);
}

static void perfect_none_and_empty(void **state) {
    (void)state;
    const bool all[3] = {true, true, true}, none[3] = {false, false, false};
    struct thaw_rank_metrics m;
    thaw_rank_metrics(all, 3, 3, 3, &m);
    near(m.recall, 1);
    near(m.ndcg, 1);
    near(m.hr, 1);
    near(m.map, 1);
    thaw_rank_metrics(none, 3, 3, 3, &m);
    assert_true(m.recall == 0 && m.ndcg == 0 && m.hr == 0 && m.map == 0);
    thaw_rank_metrics(all, 3, 3, 0, &m);
    assert_true(m.recall == 0 && m.ndcg == 0 && m.hr == 0 && m.map == 0);
    thaw_rank_metrics(all, 0, 3, 2, &m);
    assert_true(m.recall == 0 && m.ndcg == 0);
}

static void the_cutoff_cuts_and_short_lists_count_as_misses(void **state) {
    (void)state;
    const bool hit[4] = {false, false, false, true};
    struct thaw_rank_metrics m;
    thaw_rank_metrics(hit, 4, 3, 2, &m);
    assert_true(m.hr == 0 && m.recall == 0);
    const bool one[1] = {true};
    thaw_rank_metrics(one, 1, 10, 2, &m); // only one item could be recommended
    near(m.recall, 0.5);
    near(m.ndcg, 1 / 1.63092975357145743);
    near(m.map, 0.5);
}

static void novelty_is_bits_of_surprise(void **state) {
    (void)state;
    near(thaw_rank_novelty(25, 100), 2);
    near(thaw_rank_novelty(100, 100), 0);
    near(thaw_rank_novelty(0, 64), 6);
    near(thaw_rank_novelty(0, 0), 0);
}

enum { B = 1000, USERS = 400 };

static void bootstrap_sums_are_weighted_sums(void **state) {
    (void)state;
    static int64_t sums[B * 3], back[B * 3];
    for (int u = 0; u < USERS; u++) {
        int64_t fixed[2] = {u, -7};
        thaw_bootstrap_add(sums, B, fixed, 2, 5, 1000 + (uint64_t)u);
    }
    for (int u = USERS; u-- > 0;) {
        int64_t fixed[2] = {u, -7};
        thaw_bootstrap_add(back, B, fixed, 2, 5, 1000 + (uint64_t)u);
    }
    assert_memory_equal(sums, back, sizeof sums); // any order
    double weight = 0, square = 0;
    for (int b = 0; b < B; b++) {
        assert_int_equal(sums[b * 3 + 1], -7 * sums[b * 3 + 2]);
        weight += (double)sums[b * 3 + 2];
        square += (double)sums[b * 3 + 2] * (double)sums[b * 3 + 2];
    }
    // Total weight: mean and variance are both the number of users.
    double mean = weight / B, variance = square / B - mean * mean;
    assert_true(fabs(mean - USERS) < 4);
    assert_true(variance > 300 && variance < 500);
}

static void interval_of_a_mean_is_the_normal_one(void **state) {
    (void)state;
    static int64_t sums[B * 2];
    memset(sums, 0, sizeof sums);
    for (int u = 0; u < USERS; u++) { // half zeros, half ones: deviation of the mean 0.5 / 20
        int64_t fixed = u % 2 ? 1 << 20 : 0;
        thaw_bootstrap_add(sums, B, &fixed, 1, 9, (uint64_t)u * UINT64_C(0x9e3779b97f4a7c15));
    }
    double mean[B], low, high;
    for (int b = 0; b < B; b++) mean[b] = (double)sums[b * 2] / (1 << 20) / (double)sums[b * 2 + 1];
    thaw_bootstrap_interval(mean, B, &low, &high);
    assert_true(fabs(low - (0.5 - 1.96 * 0.025)) < 0.008);
    assert_true(fabs(high - (0.5 + 1.96 * 0.025)) < 0.008);
}

static void quantiles_by_hand(void **state) {
    (void)state;
    double x[41], low, high;
    for (int i = 0; i < 41; i++) x[i] = 40 - i; // 0..40: 2.5 % of 40 steps is 1
    thaw_bootstrap_interval(x, 41, &low, &high);
    near(low, 1);
    near(high, 39);
    for (int i = 0; i < 41; i++) x[i] = i;
    thaw_bootstrap_interval_about(50, x, 41, &low, &high); // their mean is 20
    near(low, 31);
    near(high, 69);
    double odd[3] = {NAN, 2, NAN};
    thaw_bootstrap_interval(odd, 3, &low, &high);
    near(low, 2);
    near(high, 2);
    odd[0] = odd[1] = odd[2] = NAN;
    thaw_bootstrap_interval(odd, 3, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

static void presence_agrees_with_the_weights(void **state) {
    (void)state;
    uint64_t present[2];
    int64_t sums[2 * 100] = {0}, fixed = 1;
    thaw_bootstrap_add(sums, 100, &fixed, 1, 3, 77);
    thaw_bootstrap_present(present, 100, 3, 77);
    for (int b = 0; b < 100; b++) assert_int_equal(sums[2 * b + 1] > 0, present[b / 64] >> (b % 64) & 1);
    assert_int_equal(present[1] >> 36, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_at_first_and_third_of_five),
        cmocka_unit_test(more_relevant_than_the_cutoff),
        cmocka_unit_test(perfect_none_and_empty),
        cmocka_unit_test(the_cutoff_cuts_and_short_lists_count_as_misses),
        cmocka_unit_test(novelty_is_bits_of_surprise),
        cmocka_unit_test(bootstrap_sums_are_weighted_sums),
        cmocka_unit_test(interval_of_a_mean_is_the_normal_one),
        cmocka_unit_test(quantiles_by_hand),
        cmocka_unit_test(presence_agrees_with_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
