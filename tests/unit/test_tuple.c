#include "partition/tuple.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int slow_order(const void *x, const void *y) {
    const struct thaw_tuple *a = x, *b = y;
    if (a->a != b->a) return a->a < b->a ? -1 : 1;
    if (a->b != b->b) return a->b < b->b ? -1 : 1;
    if (a->time != b->time) return a->time < b->time ? -1 : 1;
    return (a->value > b->value) - (a->value < b->value);
}

// Sort n tuples whose fields are drawn below the given limits, and compare with qsort.
static void check_sort(int64_t n, uint64_t na, uint64_t nb, uint64_t ntime, uint64_t seed) {
    struct thaw_tuple *t = malloc((size_t)(n + 1) * sizeof *t), *slow = malloc((size_t)(n + 1) * sizeof *t);
    struct thaw_rng r = thaw_rng_at(seed, 99, (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        t[i].a = na ? thaw_rng_below(&r, na) : thaw_rng_u64(&r);
        t[i].b = nb ? thaw_rng_below(&r, nb) : thaw_rng_u64(&r);
        t[i].time = (int64_t)thaw_rng_below(&r, ntime) - 2;
        t[i].value = (float)thaw_rng_below(&r, 3) - 1;
    }
    memcpy(slow, t, (size_t)n * sizeof *t);
    qsort(slow, (size_t)n, sizeof *t, slow_order);
    thaw_tuple_sort(t, n);
    assert_memory_equal(t, slow, (size_t)n * sizeof *t);
    free(t);
    free(slow);
}

static void sorts_as_qsort_does(void **state) {
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 11, 63, 64, 65, 255, 256, 257, 300, 5000, 70000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_sort(sizes[i], 0, 0, 5, 1);      // hashes
        check_sort(sizes[i], 1, 0, 5, 2);      // one user with every item
        check_sort(sizes[i], 0, 1, 5, 3);      // one item
        check_sort(sizes[i], 1, 1, 1000, 4);   // one pair
        check_sort(sizes[i], 20, 10, 3, 5);    // many repeats
        check_sort(sizes[i], 3000, 900, 3, 6); // rows
    }
}

// Ranges that shrink slowly: one far-away key in each of many powers of two.
static void hostile_keys_are_sorted(void **state) {
    (void)state;
    enum { N = 20000 };
    struct thaw_tuple *t = calloc(N, sizeof *t);
    for (int i = 0; i < N; i++) {
        t[i].a = (uint64_t)1 << (i % 64);
        t[i].b = i % 3 ? (uint64_t)i : UINT64_MAX - (uint64_t)i;
    }
    thaw_tuple_sort(t, N);
    for (int i = 1; i < N; i++) assert_true(slow_order(&t[i - 1], &t[i]) <= 0);
    free(t);
}

static void rules_merge(void **state) {
    (void)state;
    const struct thaw_tuple events[] = {{1, 1, 10, 2}, {1, 1, 20, -3}, {1, 1, 20, 5},
                                        {1, 2, 5, 1},  {2, 1, 7, -1},  {2, 1, 9, -1}};
    struct thaw_tuple t[6];
    memcpy(t, events, sizeof t);
    assert_int_equal(thaw_tuple_merge(t, 6, THAW_DUPLICATES_SUM), 3);
    assert_true(t[0].value == 4 && t[0].time == 20);
    assert_true(t[1].value == 1 && t[1].time == 5);
    assert_true(t[2].value == -2 && t[2].time == 9);
    memcpy(t, events, sizeof t);
    assert_int_equal(thaw_tuple_merge(t, 6, THAW_DUPLICATES_MAX), 3);
    assert_true(t[0].value == 5 && t[2].value == -1);
    memcpy(t, events, sizeof t);
    t[2].value = -4; // of two at the latest time, sorted by value, the larger is last
    t[1].value = -9;
    assert_int_equal(thaw_tuple_merge(t, 6, THAW_DUPLICATES_LAST), 3);
    assert_true(t[0].value == -4 && t[0].time == 20);
}

static void sums_are_taken_in_double(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    struct thaw_tuple *t = calloc(N, sizeof *t);
    for (int i = 0; i < N; i++) t[i].value = i ? 1 : 16777216; // in float, 2^24 + 1 is lost
    assert_int_equal(thaw_tuple_merge(t, N, THAW_DUPLICATES_SUM), 1);
    assert_true(t[0].value == (float)(16777216.0 + N - 1));
    struct thaw_tuple big[2] = {{1, 1, 0, 3e38f}, {1, 1, 0, 3e38f}};
    assert_int_equal(thaw_tuple_merge(big, 2, THAW_DUPLICATES_SUM), 1);
    assert_true(isinf(big[0].value));
    struct thaw_tuple zero[2] = {{1, 1, 0, 1}, {1, 1, 0, -1}};
    assert_int_equal(thaw_tuple_merge(zero, 2, THAW_DUPLICATES_SUM), 1);
    assert_false(signbit(zero[0].value));
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_as_qsort_does),
        cmocka_unit_test(hostile_keys_are_sorted),
        cmocka_unit_test(rules_merge),
        cmocka_unit_test(sums_are_taken_in_double),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
