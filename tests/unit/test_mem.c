// test_mem.c: allocations are aligned, zeroed, checked; growing keeps what was there.
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/resource.h>

static void blocks_are_aligned_and_zero(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 63, 64, 65, 4096, (4 << 20) - 1, 4 << 20, (5 << 20) + 13, 40 << 20};
    struct thaw_err err = THAW_ERR_INIT;
    for (int again = 0; again < 3; again++) // later rounds get memory that was used
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            unsigned char *p = NULL;
            assert_int_equal(thaw_alloc(&p, sizes[i], 1, "a test", &err), THAW_OK);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % 64, 0);
            for (size_t b = 0; b < sizes[i]; b++)
                if (p[b]) fail_msg("byte %zu of %zu is not zero", b, sizes[i]);
            memset(p, 0xab, sizes[i]);
            free(p);
        }
}

static void overflow_is_refused(void **state) {
    (void)state;
    void *p = &p;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_alloc(&p, SIZE_MAX / 4, 8, "too many", &err), THAW_EMEM);
    assert_ptr_equal(p, &p); // set only on success
    assert_non_null(strstr(err.text, "for too many"));
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_alloc(&p, SIZE_MAX, 1, "all there is", &err), THAW_EMEM);
    assert_ptr_equal(p, &p);
}

static void the_limit_is_named(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); // its shadow memory needs more address space than any limit
#endif
    struct rlimit old, tight;
    getrlimit(RLIMIT_AS, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)2 << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &tight), 0);
    void *p = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    int code = thaw_alloc(&p, (size_t)3 << 28, 4, "user factors", &err);
    setrlimit(RLIMIT_AS, &old);
    assert_int_equal(code, THAW_EMEM);
    const char *start = "cannot allocate 3.0 GiB for user factors (limit 2.0 GiB";
    if (strncmp(err.text, start, strlen(start)) != 0) fail_msg("%s", err.text);
}

static void growing_keeps_contents_and_alignment(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    int32_t *p = NULL;
    size_t cap = 0, moves = 0;
    for (int32_t n = 0; n < 200000; n++) {
        const int32_t *before = p;
        assert_int_equal(thaw_grow(&p, &cap, (size_t)n + 1, sizeof *p, "numbers", &err), THAW_OK);
        moves += p != before;
        p[n] = n;
    }
    assert_true(cap >= 200000 && moves < 60);
    assert_int_equal((uintptr_t)p % 64, 0);
    for (int32_t n = 0; n < 200000; n++)
        if (p[n] != n) fail_msg("element %d holds %d", n, p[n]);
    const int32_t *kept = p;
    size_t kept_cap = cap;
    assert_int_equal(thaw_grow(&p, &cap, SIZE_MAX / 2, sizeof *p, "numbers", &err), THAW_EMEM);
    assert_ptr_equal(p, kept);
    assert_int_equal(cap, kept_cap);
    free(p);
}

static void peak_is_told(void **state) {
    (void)state;
    assert_true(thaw_mem_peak_bytes() > 100000);
}

static void narrowing(void **state) {
    (void)state;
    int i = 7;
    assert_true(thaw_fits_int(INT32_MIN, &i) && i == INT32_MIN);
    assert_false(thaw_fits_int((int64_t)INT32_MAX + 1, &i) || thaw_fits_int((int64_t)INT32_MIN - 1, &i));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_zero),
        cmocka_unit_test(overflow_is_refused),
        cmocka_unit_test(the_limit_is_named),
        cmocka_unit_test(growing_keeps_contents_and_alignment),
        cmocka_unit_test(peak_is_told),
        cmocka_unit_test(narrowing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
