#include "partition/spill.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { BUCKETS = 7, MOST = 60000 };

struct model { // what a bucket should hold
    uint8_t bytes[MOST];
    size_t n;
};

static char dir[64];

static int setup(void **state) {
    (void)state;
    strcpy(dir, "spill-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    return rmdir(dir); // fails when a spill file was left behind
}

static void check(const struct thaw_spill *s, const struct model *m) {
    uint8_t *back = malloc(MOST);
    struct thaw_err err = THAW_ERR_INIT;
    for (int b = 0; b < BUCKETS; b++) {
        assert_int_equal(thaw_spill_nbytes(s, b), m[b].n);
        assert_int_equal(thaw_spill_read(s, b, 0, (int64_t)m[b].n, back, &err), THAW_OK);
        assert_memory_equal(back, m[b].bytes, m[b].n);
        for (size_t at = 0; at < m[b].n; at += 977) { // windows
            size_t n = m[b].n - at < 1500 ? m[b].n - at : 1500;
            assert_int_equal(thaw_spill_read(s, b, (int64_t)at, (int64_t)n, back, &err), THAW_OK);
            assert_memory_equal(back, m[b].bytes + at, n);
        }
    }
    free(back);
}

// Two stores of one pool against plain arrays, with puts, clears and a falling limit.
static void comes_back_as_put(int64_t limit, int64_t block, bool spills) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_spill *s[2] = {NULL, NULL};
    struct model *m[2] = {calloc(BUCKETS, sizeof **m), calloc(BUCKETS, sizeof **m)};
    struct thaw_rng r = thaw_rng_at(7, 99, (uint64_t)limit);
    assert_int_equal(thaw_spill_pool_new(&pool, dir, limit, block, &err), THAW_OK);
    for (int i = 0; i < 2; i++) assert_int_equal(thaw_spill_new(&s[i], pool, BUCKETS, &err), THAW_OK);
    for (int step = 0; step < 6000; step++) {
        int which = (int)thaw_rng_below(&r, 2), b = (int)thaw_rng_below(&r, BUCKETS);
        uint8_t record[300];
        size_t n = (size_t)thaw_rng_below(&r, sizeof record);
        for (size_t i = 0; i < n; i++) record[i] = (uint8_t)thaw_rng_u32(&r);
        if (step % 1000 == 999) thaw_spill_clear(s[which], b), m[which][b].n = 0;
        if (step == 3000) assert_int_equal(thaw_spill_pool_limit(pool, limit / 3, &err), THAW_OK);
        if (step == 5000) assert_int_equal(thaw_spill_pool_limit(pool, limit, &err), THAW_OK);
        if (m[which][b].n + n > MOST) continue;
        assert_int_equal(thaw_spill_put(s[which], b, record, n, &err), THAW_OK);
        memcpy(m[which][b].bytes + m[which][b].n, record, n);
        m[which][b].n += n;
        if (step % 500 == 0) check(s[which], m[which]);
    }
    for (int i = 0; i < 2; i++) check(s[i], m[i]);
    assert_int_equal(thaw_spill_pool_spilled(pool) > 0, spills);
    if (spills) assert_true(thaw_spill_pool_peak(pool) <= (limit > 16 * block ? limit : 16 * block));
    for (int i = 0; i < 2; i++) thaw_spill_free(&s[i]), free(m[i]);
    thaw_spill_pool_free(&pool);
    assert_null(pool);
}

static void all_in_memory(void **state) {
    (void)state;
    comes_back_as_put(64 << 20, 4096, false);
}

static void small_blocks_spill(void **state) {
    (void)state;
    comes_back_as_put(20000, 256, true);
}

static void whole_pages_spill(void **state) {
    (void)state;
    comes_back_as_put(200000, 4096, true);
}

static void no_file_has_a_name(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_spill *s = NULL;
    char bytes[1000] = {0};
    assert_int_equal(thaw_spill_pool_new(&pool, dir, 4096, 256, &err), THAW_OK);
    assert_int_equal(thaw_spill_new(&s, pool, 1, &err), THAW_OK);
    for (int i = 0; i < 100; i++) assert_int_equal(thaw_spill_put(s, 0, bytes, sizeof bytes, &err), THAW_OK);
    assert_true(thaw_spill_pool_spilled(pool) > 0);
    assert_int_equal(rmdir(dir), 0); // empty although spilled to
    assert_int_equal(mkdir(dir, 0777), 0);
    thaw_spill_free(&s);
    thaw_spill_pool_free(&pool);
}

static void a_missing_folder_is_an_error(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_spill *s = NULL;
    char bytes[1000] = {0};
    int code = THAW_OK;
    assert_int_equal(thaw_spill_pool_new(&pool, "no/such/folder", 4096, 256, &err), THAW_OK);
    assert_int_equal(thaw_spill_new(&s, pool, 1, &err), THAW_OK);
    for (int i = 0; i < 100 && !code; i++) code = thaw_spill_put(s, 0, bytes, sizeof bytes, &err);
    assert_int_equal(code, THAW_EIO);
    assert_non_null(strstr(err.text, "no/such/folder"));
    thaw_spill_free(&s);
    thaw_spill_pool_free(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_in_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(small_blocks_spill, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_pages_spill, setup, teardown),
        cmocka_unit_test_setup_teardown(no_file_has_a_name, setup, teardown),
        cmocka_unit_test(a_missing_folder_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
