// test_realism.c: the area under the ROC curve, and telling samples apart whose difference is known.
#include "base/mem.h"
#include "base/rng.h"
#include "metrics/auc.h"
#include "metrics/realism.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 400, K = 12 };

static void normal(float *rows, int64_t n, uint64_t seed, double deviation, double shift) {
    struct thaw_rng r = thaw_rng_at(seed, 98, 0);
    for (int64_t i = 0; i < n * K; i++) rows[i] = (float)(thaw_rng_normal(&r) * deviation + shift);
}

static void test_auc(void **state) {
    (void)state;
    enum { HIGH = 60, LOW = 45 };
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_rng r = thaw_rng_at(1, 98, 1);
    double high[HIGH], low[LOW], auc, pairs = 0;
    for (int i = 0; i < HIGH; i++) high[i] = (double)thaw_rng_below(&r, 10) + 2;
    for (int i = 0; i < LOW; i++) low[i] = (double)thaw_rng_below(&r, 10); // many ties
    for (int i = 0; i < HIGH; i++)
        for (int j = 0; j < LOW; j++) pairs += high[i] > low[j] ? 1 : high[i] == low[j] ? .5 : 0;
    assert_int_equal(thaw_auc(high, HIGH, low, LOW, &auc, &err), THAW_OK);
    assert_true(fabs(auc - pairs / (HIGH * LOW)) < 1e-12);
    assert_int_equal(thaw_auc(low, LOW, high, HIGH, &auc, &err), THAW_OK);
    assert_true(fabs(auc - (1 - pairs / (HIGH * LOW))) < 1e-12);
    assert_int_equal(thaw_auc(high, HIGH, low, 0, &auc, &err), THAW_OK);
    assert_true(auc == .5);
}

static double told(double deviation, double shift) {
    struct thaw_err err = THAW_ERR_INIT;
    static float made[N * K], real[N * K];
    double auc;
    normal(real, N, 5, 1, 0);
    normal(made, N, 6, deviation, shift);
    assert_int_equal(thaw_two_sample_auc(made, N, real, N, K, &auc, &err), THAW_OK);
    return auc;
}

static void test_two_samples(void **state) {
    (void)state;
    assert_true(fabs(told(1, 0) - .5) < .06);
    assert_true(told(1, .5) > .85);
    assert_true(told(.3, 0) > .95); // collapsed: means are the same
    assert_true(told(0, 0) > .99);
    const double slight = told(.9, 0);
    assert_true(slight > .55 && slight < .8);
    struct thaw_err err = THAW_ERR_INIT;
    float bad[10 * K] = {0}, good[10 * K] = {0};
    double auc;
    bad[7] = NAN;
    assert_int_equal(thaw_two_sample_auc(bad, 10, good, 10, K, &auc, &err), THAW_EDIVERGED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auc),
        cmocka_unit_test(test_two_samples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
