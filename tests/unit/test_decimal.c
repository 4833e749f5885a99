// test_decimal.c: floats as text read back as the same float, and are no longer than needed.
#include "base/decimal.h"
#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void known_texts(void **state) {
    (void)state;
    static const struct {
        float x;
        const char *text;
    } cases[] = {
        {0.1f, "0.1"},
        {-12.5f, "-12.5"},
        {3.4e-7f, "3.4e-07"},
        {1e9f, "1000000000"},
        {16777217.f, "16777216"},
        {0.00012345f, "0.00012345"},
        {1e-5f, "0.00001"},
        {9.5e-6f, "9.5e-06"},
        {0.3f, "0.3"},
        {1.f, "1"},
        {10.f, "10"},
        {0.99999994f, "0.99999994"},
        {-0.f, "-0"},
        {0.f, "0"},
        {NAN, "nan"},
        {INFINITY, "inf"},
        {-INFINITY, "-inf"},
        {1.17549435e-38f, "1.17549435e-38"},
        {1e-45f, "1.40129846e-45"},
        {3.40282347e38f, "3.40282347e+38"},
        {9.9999e14f, "999990000000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[THAW_FORMAT_F32_MAX + 1];
        text[thaw_format_f32(text, cases[i].x)] = 0;
        assert_string_equal(text, cases[i].text);
    }
}

// The fewest digits printf needs to be read back.
static int digits_needed(float x) {
    char text[64];
    for (int n = 1; n < 9; n++) {
        snprintf(text, sizeof text, "%.*e", n - 1, (double)x);
        if (strtof(text, NULL) == x) return n;
    }
    return 9;
}

static int digits_in(const char *text) {
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9') continue;
        if (n == 0 && *text == '0') continue;
        n++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return n - zeros; // of an integer's last zeros nobody knows whether they are needed
}

static void check_float(float x, int *longer) {
    char text[THAW_FORMAT_F32_MAX + 1];
    const size_t n = thaw_format_f32(text, x);
    assert_in_range(n, 1, THAW_FORMAT_F32_MAX - 16); // it may write beyond what it returns
    text[n] = 0;
    const float back = strtof(text, NULL);
    if (memcmp(&back, &x, sizeof x)) fail_msg("%.9g is written as %s", (double)x, text);
    *longer += digits_in(text) > digits_needed(x);
}

static void random_floats_read_back(void **state) {
    (void)state;
    enum { N = 200000 };
    struct thaw_rng rng = thaw_rng_at(5, 1, 0);
    int longer = 0, bits_longer = 0;
    for (int i = 0; i < N; i++) check_float((float)(thaw_rng_uniform(&rng) - 0.5), &longer);
    for (int i = 0; i < N; i++) { // of any size
        const uint32_t bits = thaw_rng_u32(&rng);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x)) check_float(x, &bits_longer);
    }
    for (int e = -126; e < 127; e++) { // around powers of two, where the gap below is half the gap above
        const float x = ldexpf(1, e);
        check_float(x, &bits_longer);
        check_float(nextafterf(x, 0), &bits_longer);
        check_float(nextafterf(x, INFINITY), &bits_longer);
    }
    assert_in_range(longer, 0, N / 100); // now and then one digit more, where the check is on the safe side
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts),
        cmocka_unit_test(random_floats_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
