// test_exact.c: exact sums do not depend on the order of their terms, and lose next to nothing.
#include "base/exact.h"
#include "base/rng.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_scale_fits_every_bound(void **state) {
    (void)state;
    const double bounds[] = {0, 4.9e-324, 1e-310, DBL_MIN, 1e-30, 0.5, 1, 1.5, 2, 3, 1e18, 1e300, DBL_MAX};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        int scale = thaw_exact_scale(bounds[i]);
        double ends[2] = {bounds[i], -bounds[i]}, back[2];
        int64_t acc[2] = {0, 0};
        assert_true(ldexp(bounds[i], scale) <= 0x1p62);
        if (bounds[i] > 0) assert_true(ldexp(bounds[i], scale) >= 0x1p60);
        thaw_exact_add(acc, ends, 2, scale);
        thaw_exact_get(back, acc, 2, scale);
        assert_true(back[0] == bounds[i] && back[1] == -bounds[i]);
    }
}

static void any_order_gives_the_same_bits(void **state) {
    (void)state;
    enum { N = 5000 };
    static double x[N];
    struct thaw_rng r = thaw_rng_at(5, 1, 0);
    double bound = 0;
    long double true_sum = 0;
    for (int i = 0; i < N; i++) {
        x[i] = thaw_rng_normal(&r) * exp(8 * thaw_rng_normal(&r));
        bound += fabs(x[i]);
        true_sum += x[i];
    }
    int scale = thaw_exact_scale(bound);
    double first = 0, plain_first = 0;
    int plain_differs = 0;
    for (int round = 0; round < 20; round++) {
        int64_t acc[3] = {0}; // three "ranks", each with some of the terms
        double plain = 0, sum;
        for (int i = 0; i < N; i++) {
            thaw_exact_add(&acc[thaw_rng_below(&r, 3)], &x[i], 1, scale);
            plain += x[i];
        }
        int64_t total = acc[0] + acc[1] + acc[2];
        thaw_exact_get(&sum, &total, 1, scale);
        if (round == 0) {
            first = sum;
            plain_first = plain;
        }
        assert_memory_equal(&sum, &first, sizeof sum);
        plain_differs += plain != plain_first;
        for (int i = N - 1; i > 0; i--) {
            int j = (int)thaw_rng_below(&r, (uint64_t)i + 1);
            double kept = x[i];
            x[i] = x[j];
            x[j] = kept;
        }
    }
    assert_true(plain_differs > 0); // else this test tests nothing
    assert_true(fabs((double)(first - true_sum)) <= N * bound * 0x1p-61 + fabs(first) * 0x1p-52);
}

static void arrays_add_element_by_element(void **state) {
    (void)state;
    const double x[4] = {1, -2, 0.25, 3}, y[4] = {0.5, 2, 0.25, -3};
    int64_t acc[4] = {0};
    double sum[4];
    int scale = thaw_exact_scale(8);
    thaw_exact_add(acc, x, 4, scale);
    thaw_exact_add(acc, y, 4, scale);
    thaw_exact_get(sum, acc, 4, scale);
    const double expected[4] = {1.5, 0, 0.5, 0};
    assert_memory_equal(sum, expected, sizeof sum);
}

static void terms_round_to_nearest_even(void **state) {
    (void)state;
    const double x[5] = {0.5, 1.5, 2.5, -0.5, -1.5};
    int64_t acc[5] = {0};
    thaw_exact_add(acc, x, 5, 0);
    const int64_t expected[5] = {0, 2, 2, 0, -2};
    assert_memory_equal(acc, expected, sizeof acc);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scale_fits_every_bound),
        cmocka_unit_test(any_order_gives_the_same_bits),
        cmocka_unit_test(arrays_add_element_by_element),
        cmocka_unit_test(terms_round_to_nearest_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
