// test_number.c: numbers against strtod, times against timegm.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "features/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// On a copy of exactly its length, so that a sanitizer sees a read behind the end.
static enum thaw_number parse(const char *text, size_t n, double *out) {
    char *exact = malloc(n + 1);
    assert_non_null(exact);
    memcpy(exact + 1, text, n);
    enum thaw_number got = thaw_number_parse(exact + 1, n, out);
    free(exact);
    return got;
}

static void expect_number(const char *text) {
    double got = 0, expect = strtod(text, NULL);
    if (parse(text, strlen(text), &got) != THAW_NUMBER_OK || memcmp(&got, &expect, sizeof got) != 0)
        fail_msg("%s: %.17g instead of %.17g", text, got, expect);
}

static void test_numbers(void **state) {
    (void)state;
    static const char *const good[] = {"0",
                                       "-0",
                                       "+7",
                                       "5.",
                                       ".5",
                                       "-.25",
                                       "007",
                                       "1e3",
                                       "2.5E-3",
                                       "123456789012345",
                                       "1234567890123456",
                                       "12345678.87654321",
                                       "0.1",
                                       "1e-400",
                                       "4.9e-324",
                                       "99999999",
                                       "100000000",
                                       "0.30000000000000004",
                                       "1e22",
                                       "000000000000000000000000000001"};
    static const char *const bad[] = {
        "",    "-",  "+",   ".",  "-.",    "e5",   "1e", "1e+",   "0x10",      "1,5",
        "1 ",  " 1", "--1", "1-", "1.2.3", "five", "na", "1_000", "12345678x", "1234567890123456789x",
        "\xff"};
    static const char *const infinite[] = {"nan",  "NaN",       "-nan",  "inf",
                                           "-Inf", "+INFINITY", "1e999", "-1e999"};
    double out = 42;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) expect_number(good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (parse(bad[i], strlen(bad[i]), &out) != THAW_NUMBER_BAD)
            fail_msg("'%s' is taken for a number", bad[i]);
    for (size_t i = 0; i < sizeof infinite / sizeof infinite[0]; i++)
        if (parse(infinite[i], strlen(infinite[i]), &out) != THAW_NUMBER_NOT_FINITE)
            fail_msg("'%s'", infinite[i]);
    assert_int_equal(parse("1\0002", 3, &out), THAW_NUMBER_BAD);
    assert_true(out == 42);
    char many[600];
    memset(many, '1', sizeof many);
    assert_int_equal(parse(many, 300, &out), THAW_NUMBER_OK);
    assert_int_equal(parse(many, sizeof many, &out), THAW_NUMBER_BAD);
}

static void test_random_numbers(void **state) {
    (void)state;
    static const char *const format[] = {"%.0f", "%.1f", "%.3f", "%.7f", "%.17g", "%.6g", "%e"};
    for (uint64_t i = 0; i < 40000; i++) {
        struct thaw_rng r = thaw_rng_at(3, 97, i);
        double v = (thaw_rng_uniform(&r) - 0.5) * pow(10, (double)thaw_rng_below(&r, 16));
        char text[64];
        snprintf(text, sizeof text, format[i % 7], v);
        expect_number(text);
    }
}

// A byte that is no digit, at every place, next to the ends of the digits' range and to both ends of a
// byte's.
static void test_every_byte(void **state) {
    (void)state;
    for (int at = 0; at < 9; at++)
        for (int c = 0; c < 256; c++) {
            char text[] = "123456789";
            double out;
            text[at] = (char)c;
            bool good = (c >= '0' && c <= '9') || (c == '.') || (at == 0 && (c == '-' || c == '+')) ||
                        (at > 0 && at < 8 && (c == 'e' || c == 'E'));
            enum thaw_number got = parse(text, 9, &out);
            if (at > 0 && at < 8 && (c == 'e' || c == 'E')) continue; // in or out of range
            if ((got == THAW_NUMBER_OK) != good) fail_msg("byte %d at %d", c, at);
        }
}

static void expect_time(const char *text, int64_t expect) {
    int64_t got = -1;
    size_t n = strlen(text);
    char *exact = malloc(n + 1);
    assert_non_null(exact);
    memcpy(exact + 1, text, n);
    if (!thaw_time_parse(exact + 1, n, &got) || got != expect)
        fail_msg("%s: %lld instead of %lld", text, (long long)got, (long long)expect);
    free(exact);
}

static void test_times_like_timegm(void **state) {
    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        struct thaw_rng r = thaw_rng_at(4, 97, i);
        time_t t =
            (time_t)(THAW_TIME_MIN + (int64_t)thaw_rng_below(&r, (uint64_t)(THAW_TIME_MAX - THAW_TIME_MIN)));
        struct tm tm;
        char text[64];
        assert_non_null(gmtime_r(&t, &tm));
        assert_int_equal(timegm(&tm), t);
        strftime(text, sizeof text, i % 2 ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
        expect_time(text, t);
        strcat(text, i % 3 ? "Z" : ".999Z");
        expect_time(text, t);
        strftime(text, sizeof text, "%Y-%m-%d", &tm);
        expect_time(text, t - ((t % 86400) + 86400) % 86400);
        snprintf(text, sizeof text, "%lld", (long long)t);
        expect_time(text, t);
        snprintf(text, sizeof text, "%lld.000", (long long)t);
        expect_time(text, t);
    }
}

static void test_times(void **state) {
    (void)state;
    expect_time("0", 0);
    expect_time("-0.5", -1);
    expect_time("-1.0", -1);
    expect_time("874965758.99", 874965758);
    expect_time("1900-01-01", THAW_TIME_MIN);
    expect_time("2200-01-01T00:00:00Z", THAW_TIME_MAX);
    expect_time("2000-02-29 12:00", 951825600);
    expect_time("2011-12-01T08:26:00+01:00", 1322724360);
    expect_time("2011-12-01T08:26:00+0100", 1322724360);
    expect_time("2011-12-01T08:26:00-05", 1322745960);
    expect_time("2011-12-01t08:26:00,25z", 1322727960);
    expect_time("2016-12-31T23:59:60Z", 1483228800);
    expect_time("2199-12-31T23:00:00-01:00", THAW_TIME_MAX);
    static const char *const bad[] = {"",
                                      "-",
                                      "x",
                                      "1e9",
                                      "12.",
                                      ".5",
                                      "9999999999999",
                                      "99999999999999999999",
                                      "7258118401",
                                      "-2208988801",
                                      "2011",
                                      "2011-02-29",
                                      "2100-02-29",
                                      "2011-13-01",
                                      "2011-00-01",
                                      "2011-01-00",
                                      "2011-01-32",
                                      "2011-1-1",
                                      "2011-01-01T",
                                      "2011-01-01T8:00",
                                      "2011-01-01T24:00",
                                      "2011-01-01T10:60",
                                      "2011-01-01T10:00:61",
                                      "2011-01-01T10",
                                      "2011-01-01T10:00:",
                                      "2011-01-01T10:00:00.",
                                      "2011-01-01T10:00:00+",
                                      "2011-01-01T10:00:00+1",
                                      "2011-01-01T10:00:00+24:00",
                                      "2011-01-01T10:00:00Zx",
                                      "2011-01-01X10:00",
                                      "2011-01-01 10:00 ",
                                      "1899-12-31",
                                      "2200-01-01T00:00:01",
                                      "2200-01-01T00:00:00-00:01",
                                      "01/02/2011",
                                      "2011-01-01T10:00:00+01:"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t t = 7;
        bool expected = strcmp(bad[i], "2011") == 0; // unix seconds, early in 1970
        if (thaw_time_parse(bad[i], strlen(bad[i]), &t) != expected) fail_msg("'%s'", bad[i]);
        if (!expected) assert_int_equal(t, 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),    cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_every_byte), cmocka_unit_test(test_times_like_timegm),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
