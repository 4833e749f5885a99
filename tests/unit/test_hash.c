// test_hash.c: the hashes that file formats depend on, by known values.
#include "base/hash.h"
#include "base/part.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void known_values(void **state) {
    (void)state;
    assert_true(thaw_hash_id("", 0) == 0x2d06800538d394c2); // published by xxHash
    assert_true(thaw_hash_id("a", 1) == 0xe6c632b61e964e1f);
    assert_true(thaw_hash_id("abc", 3) == 0x78af5f94892f3950);
}

static void a_stream_hashes_like_the_whole(void **state) {
    (void)state;
    static unsigned char bytes[100000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * i >> 3);
    struct thaw_digest *d = thaw_digest_new();
    assert_non_null(d);
    for (int again = 0; again < 2; again++) {
        for (size_t at = 0, n = 1; at < sizeof bytes; at += n, n = n * 3 + 1) {
            if (n > sizeof bytes - at) n = sizeof bytes - at;
            thaw_digest_add(d, bytes + at, n);
        }
        thaw_digest_add(d, NULL, 0);
        assert_true(thaw_digest_value(d) == thaw_hash_id(bytes, sizeof bytes));
        thaw_digest_reset(d);
    }
    assert_true(thaw_digest_value(d) == thaw_hash_id("", 0));
    thaw_digest_free(&d);
    assert_null(d);
    thaw_digest_free(&d);
}

static void parts_are_even_and_in_range(void **state) {
    (void)state;
    enum { PARTS = 7, IDS = 70000 };
    int count[PARTS] = {0};
    for (int i = 0; i < IDS; i++) {
        int32_t part = thaw_hash_part(thaw_hash_id(&i, sizeof i), PARTS);
        assert_in_range(part, 0, PARTS - 1);
        count[part]++;
    }
    for (int p = 0; p < PARTS; p++) assert_in_range(count[p], IDS / PARTS - 500, IDS / PARTS + 500);
    assert_int_equal(thaw_hash_part(UINT64_MAX, 1), 0);
    assert_int_equal(thaw_hash_part(UINT64_MAX, 99999), 99998);
    assert_int_equal(thaw_hash_part(0, 99999), 0);
    assert_int_equal(thaw_hash_slot(0x123456789, 16), 9);
}

static void part_files(void **state) {
    (void)state;
    char buf[THAW_PART_FILE];
    assert_string_equal(thaw_part_file(buf, THAW_USERS, 3, 64, "npz"), "users-00003-of-00064.npz");
    assert_string_equal(thaw_part_file(buf, THAW_ITEMS, 99998, 99999, "seen_ptr.npy"),
                        "items-99998-of-99999.seen_ptr.npy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values),
        cmocka_unit_test(a_stream_hashes_like_the_whole),
        cmocka_unit_test(parts_are_even_and_in_range),
        cmocka_unit_test(part_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
