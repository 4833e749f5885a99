// test_utf8.c: UTF-8 against a table-free decoder, at every place of a string.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "partition/utf8.h"

#include <stdlib.h>
#include <string.h>

static enum thaw_text check(const unsigned char *text, size_t n) {
    char *exact = malloc(n + 1);
    assert_non_null(exact);
    memcpy(exact + 1, text, n);
    enum thaw_text got = thaw_utf8_check(exact + 1, n);
    free(exact);
    return got;
}

// The slow definition: decode, then ask whether the value needed that many bytes.
static bool valid(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t length = p[i] < 0x80   ? 1
                        : p[i] < 0xc0 ? 0
                        : p[i] < 0xe0 ? 2
                        : p[i] < 0xf0 ? 3
                        : p[i] < 0xf8 ? 4
                                      : 0;
        if (length == 0 || i + length > n) return false;
        uint32_t value = length == 1 ? p[i] : p[i] & (0x7fu >> length);
        for (size_t j = 1; j < length; j++) {
            if ((p[i + j] & 0xc0) != 0x80) return false;
            value = value << 6 | (p[i + j] & 0x3f);
        }
        if (length > 1 && value < (length == 2 ? 0x80u : length == 3 ? 0x800u : 0x10000u)) return false;
        if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return false;
        i += length;
    }
    return true;
}

static bool has_control(const unsigned char *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (p[i] < 0x20 || p[i] == 0x7f) return true;
    return false;
}

static void expect(const unsigned char *text, size_t n) {
    enum thaw_text got = check(text, n);
    bool control = has_control(text, n), bad = !valid(text, n);
    bool right = (got == THAW_TEXT_OK && !control && !bad) || (got == THAW_TEXT_CONTROL && control) ||
                 (got == THAW_TEXT_BAD && bad);
    if (!right) fail_msg("%zu bytes from %02x %02x: %d", n, text[0], n > 1 ? text[1] : 0, (int)got);
}

// All pairs of bytes, with bytes behind them that make longer sequences whole, in strings of each length up
// to 20.
static void test_pairs(void **state) {
    (void)state;
    unsigned char text[24];
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++)
            for (size_t n = 2; n < 20; n += 3) {
                memset(text, 'x', sizeof text);
                size_t at = (size_t)(a + b) % (n - 1);
                text[at] = (unsigned char)a;
                text[at + 1] = (unsigned char)b;
                for (size_t more = 0; more < 3; more++) {
                    if (more > 0) text[at + 1 + more] = 0xbf;
                    expect(text, n);
                }
            }
}

static void test_single_bytes(void **state) {
    (void)state;
    unsigned char text[24];
    assert_int_equal(thaw_utf8_check("", 0), THAW_TEXT_OK);
    for (int c = 0; c < 256; c++)
        for (size_t n = 1; n < 20; n++)
            for (size_t at = 0; at < n; at++) {
                memset(text, '~', sizeof text);
                text[at] = (unsigned char)c;
                expect(text, n);
            }
}

static void test_latin1(void **state) {
    (void)state;
    char in[256], out[512];
    for (int i = 0; i < 256; i++) in[i] = (char)i;
    assert_int_equal(thaw_latin1_to_utf8(out, 383, in, 256), 384);
    assert_int_equal(thaw_latin1_to_utf8(out, sizeof out, in, 256), 384);
    assert_int_equal(thaw_utf8_check(out + 0x20, 0x7f - 0x20), THAW_TEXT_OK);
    assert_int_equal(thaw_utf8_check(out + 128, 256), THAW_TEXT_OK);
    assert_memory_equal(out + 128, "\xc2\x80", 2);
    assert_memory_equal(out + 382, "\xc3\xbf", 2);
    assert_memory_equal(out, in, 128);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_bytes),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_latin1),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
