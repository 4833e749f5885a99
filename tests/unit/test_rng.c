// test_rng.c: known answers of Philox, independence of streams, and first moments.
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void known_answers(void **state) {
    (void)state;
    // Of Random123's own list of known answers for philox4x32-10: key, counter, result.
    static const uint32_t known[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
         0xa20bc7c6, 0x6d5451fd},
        {0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xd16cfe09, 0x94fdcceb,
         0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const uint32_t *k = known[i];
        struct thaw_rng r = {.key = {k[0], k[1]}, .counter = {k[2], k[3], k[4], k[5]}};
        for (int j = 0; j < 4; j++) assert_int_equal(thaw_rng_u32(&r), k[6 + j]);
    }
}

static void the_place_decides(void **state) {
    (void)state;
    struct thaw_rng a = thaw_rng_at(0x0123456789abcdef, 3, 0xfedcba9876543210), b = a;
    assert_int_equal(a.key[0], 0x89abcdef);
    assert_int_equal(a.key[1], 0x01234567);
    assert_int_equal(a.counter[1], 3);
    assert_int_equal(a.counter[2], 0x76543210);
    assert_int_equal(a.counter[3], 0xfedcba98);
    for (int i = 0; i < 20; i++) assert_int_equal(thaw_rng_u32(&a), thaw_rng_u32(&b));
    uint64_t first = thaw_rng_u64(&(struct thaw_rng[]){thaw_rng_at(1, 1, 1)}[0]);
    struct thaw_rng others[] = {thaw_rng_at(2, 1, 1), thaw_rng_at(1, 2, 1), thaw_rng_at(1, 1, 2),
                                thaw_rng_at(1, 1, 1ULL << 32), thaw_rng_at(1ULL << 32, 1, 1)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_true(thaw_rng_u64(&others[i]) != first);
}

struct moments {
    double mean, variance, least, most;
};

static struct moments measure(double draw(struct thaw_rng *), int n) {
    struct moments m = {.least = INFINITY, .most = -INFINITY};
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        struct thaw_rng r = thaw_rng_at(42, 9, (uint64_t)i / 8);
        for (int skip = 0; skip < i % 8; skip++) draw(&r);
        double x = draw(&r);
        sum += x;
        squares += x * x;
        m.least = fmin(m.least, x);
        m.most = fmax(m.most, x);
    }
    m.mean = sum / n;
    m.variance = squares / n - m.mean * m.mean;
    return m;
}

static double poisson(struct thaw_rng *r) {
    return thaw_rng_poisson1(r);
}

static double below_six(struct thaw_rng *r) {
    return (double)thaw_rng_below(r, 6);
}

// n = 200000 draws: standard errors of the mean are about 0.002 of the deviation, and the seed is fixed.
static void first_moments(void **state) {
    (void)state;
    struct moments u = measure(thaw_rng_uniform, 200000), g = measure(thaw_rng_normal, 200000),
                   e = measure(thaw_rng_exponential, 200000), p = measure(poisson, 200000),
                   d = measure(below_six, 200000);
    assert_true(fabs(u.mean - 0.5) < 0.003 && fabs(u.variance - 1.0 / 12) < 0.001 && u.least >= 0 &&
                u.most < 1);
    assert_true(fabs(g.mean) < 0.01 && fabs(g.variance - 1) < 0.015 && g.least < -4 && g.most > 4);
    assert_true(fabs(e.mean - 1) < 0.01 && fabs(e.variance - 1) < 0.03 && e.least >= 0);
    assert_true(fabs(p.mean - 1) < 0.01 && fabs(p.variance - 1) < 0.02 && p.least == 0 && p.most < 15);
    assert_true(fabs(d.mean - 2.5) < 0.02 && fabs(d.variance - 35.0 / 12) < 0.03 && d.least == 0 &&
                d.most == 5);
}

static void below_reaches_every_value_and_stays_below(void **state) {
    (void)state;
    struct thaw_rng r = thaw_rng_at(1, 1, 1);
    int seen[7] = {0};
    for (int i = 0; i < 1000; i++) seen[thaw_rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++) assert_in_range(seen[i], 100, 190);
    uint64_t huge = (1ULL << 63) + 1; // rejects nearly half of the draws
    for (int i = 0; i < 1000; i++) {
        assert_true(thaw_rng_below(&r, huge) < huge);
        assert_int_equal(thaw_rng_below(&r, 1), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers),
        cmocka_unit_test(the_place_decides),
        cmocka_unit_test(first_moments),
        cmocka_unit_test(below_reaches_every_value_and_stays_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
