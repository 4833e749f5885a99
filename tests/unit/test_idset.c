// The ids of a part, the map they are found by, and the cache of hashes.
#include "partition/idset.h"
#include "partition/seen.h"
#include "partition/tally.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void tally_finds_what_was_added(void **state) {
    (void)state;
    enum { N = 3000 };
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tally t = {0};
    assert_null(thaw_tally_find(&t, 5));
    assert_int_equal(thaw_tally_reset(&t, 10, &err), THAW_OK);
    for (uint64_t i = 0; i < N; i++) { // keys that differ in few bits, and 0
        assert_int_equal(thaw_tally_reserve(&t, t.n + 1, &err), THAW_OK);
        *thaw_tally_at(&t, i * 4096, 0) += (int64_t)i;
        *thaw_tally_at(&t, i * 4096, 0) += 1;
    }
    assert_int_equal(t.n, N);
    assert_true(t.n <= t.nslots / 4 * 3);
    for (uint64_t i = 0; i < N; i++) assert_int_equal(*thaw_tally_find(&t, i * 4096), i + 1);
    assert_null(thaw_tally_find(&t, 1));
    assert_int_equal(thaw_tally_reset(&t, 4, &err), THAW_OK);
    assert_int_equal(t.n, 0);
    assert_null(thaw_tally_find(&t, 4096));
    thaw_tally_clear(&t);
}

static void put(struct thaw_idset *set, uint64_t hash, int64_t count, const char *id, size_t n) {
    struct thaw_err err = THAW_ERR_INIT;
    uint8_t record[THAW_ID_RECORD_MAX];
    size_t length = thaw_id_pack(record, hash, count, id, n);
    int64_t at = set->nbytes;
    assert_int_equal(thaw_idset_room(set, at + (int64_t)length, &err), THAW_OK);
    memcpy(set->bytes + at, record, length);
}

static void repeats_are_one_id(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_idset set = {0};
    struct thaw_tally scratch = {0};
    char longest[255];
    memset(longest, 'x', sizeof longest);
    put(&set, 3, 0, "three", 5);
    put(&set, 0, 1, "nought", 6);
    put(&set, 3, 1, "three", 5);
    put(&set, 9, 2, longest, sizeof longest);
    put(&set, 3, 1, "three", 5);
    assert_int_equal(thaw_idset_load(&set, &scratch, &err), THAW_OK);
    assert_int_equal(set.n, 3);
    assert_int_equal(set.id[0].count, 2);
    assert_int_equal(set.id[1].count, 1);
    assert_int_equal(set.id[2].n, 255);
    thaw_idset_clear(&set);
    thaw_tally_clear(&scratch);
}

static void two_ids_with_one_hash_are_named(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_idset set = {0};
    struct thaw_tally scratch = {0};
    put(&set, 3, 0, "alpha", 5);
    put(&set, 4, 0, "gamma", 5);
    put(&set, 3, 0, "alphabet", 8);
    assert_int_equal(thaw_idset_load(&set, &scratch, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "'alpha'"));
    assert_non_null(strstr(err.text, "'alphabet'"));
    assert_non_null(strstr(err.text, "rename"));
    thaw_idset_clear(&set);
    thaw_tally_clear(&scratch);
}

static void rows_go_by_falling_count_then_bytes(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_idset set = {0};
    put(&set, 1, 2, "b", 1);
    put(&set, 2, 5, "z", 1);
    put(&set, 3, 2, "ab", 2);
    put(&set, 4, 2, "a", 1);
    put(&set, 5, 0, "\xc3\xa9", 2);
    put(&set, 6, 0, "e", 1);
    assert_int_equal(thaw_idset_list(&set, &err), THAW_OK);
    thaw_idset_sort(&set);
    static const uint64_t order[] = {2, 4, 3, 1, 6, 5};
    for (int i = 0; i < 6; i++) assert_int_equal(set.id[i].hash, order[i]);
    thaw_idset_clear(&set);
}

static void the_cache_never_makes_things_up(void **state) {
    (void)state;
    enum { SETS = 16, N = 20000, KEYS = 300 };
    struct thaw_seen s = thaw_seen_start(calloc(SETS * THAW_SEEN_WAYS, 8), SETS);
    struct thaw_rng r = thaw_rng_at(1, 99, 0);
    bool put_before[KEYS] = {false};
    int hits = 0;
    for (int i = 0; i < N; i++) {
        uint64_t key = thaw_rng_below(&r, KEYS);
        bool seen = thaw_seen_before(&s, key * 0x9e3779b97f4a7c15u);
        if (seen) assert_true(put_before[key] && key != 0);
        put_before[key] = true;
        hits += seen;
    }
    assert_true(hits > N / 10); // 128 places for 300 keys
    free(s.hash);
}

static void the_cache_remembers_while_it_grows(void **state) {
    (void)state;
    enum { SETS = 8 * THAW_SEEN_FIRST_SETS, N = 2 * SETS };
    struct thaw_seen s = thaw_seen_start(calloc(SETS * THAW_SEEN_WAYS, 8), SETS);
    int seen = 0;
    assert_int_equal(s.nsets, THAW_SEEN_FIRST_SETS);
    for (uint64_t key = 1; key <= N; key++) assert_false(thaw_seen_before(&s, key * 0x9e3779b97f4a7c15u));
    assert_true(s.nsets > THAW_SEEN_FIRST_SETS);
    for (uint64_t key = 1; key <= N; key++) seen += thaw_seen_before(&s, key * 0x9e3779b97f4a7c15u);
    assert_true(seen > N / 10 * 9); // a quarter full: few sets ran over
    free(s.hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tally_finds_what_was_added),
        cmocka_unit_test(repeats_are_one_id),
        cmocka_unit_test(two_ids_with_one_hash_are_named),
        cmocka_unit_test(rows_go_by_falling_count_then_bytes),
        cmocka_unit_test(the_cache_never_makes_things_up),
        cmocka_unit_test(the_cache_remembers_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
