// test_table.c: tables written part by part are read back as they were; damage is refused by name and never
// followed.
#include "tests/unit/hand_tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static struct hand hand;

static void make(bool wide) {
    struct thaw_err err = THAW_ERR_INIT;
    hand = (struct hand){.als = hand_als(THAW__ALS__MODEL__IMPLICIT_HU, false), .wide = wide};
    if (hand_write(&hand, &err)) fail_msg("%s", err.text);
}

static int set_up(void **state) {
    (void)state;
    make(false);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    hand_remove(&hand);
    return 0;
}

static struct thaw_tables *open_or_fail(const char *dir) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tables *t = NULL;
    if (thaw_tables_open(&t, dir, &err)) fail_msg("%s", err.text);
    return t;
}

static void rows_come_back(void **state) {
    (void)state;
    struct thaw_tables *t = open_or_fail(hand.dir);
    assert_int_equal(thaw_tables_columns(t), HAND_K);
    for (int side = 0; side < 2; side++) {
        assert_int_equal(thaw_tables_rows(t, (enum thaw_side)side), hand_count(side));
        for (int i = 0; i < hand_count(side); i++) {
            char id[HAND_WIDTH + 1];
            size_t n;
            hand_id(id, side, i);
            const int64_t row = thaw_tables_find(t, (enum thaw_side)side, id, strlen(id));
            assert_int_equal(row, hand.row[side][i]);
            assert_memory_equal(thaw_tables_vector(t, (enum thaw_side)side, row), hand.x[side][i],
                                HAND_K * sizeof(float));
            assert_memory_equal(thaw_tables_id(t, (enum thaw_side)side, row, &n), id, strlen(id));
            assert_int_equal(n, strlen(id));
        }
    }
    thaw_tables_close(&t);
    assert_null(t);
    thaw_tables_close(&t);
}

static void unknown_ids_are_not_found(void **state) {
    (void)state;
    struct thaw_tables *t = open_or_fail(hand.version);
    static const char *const ids[] = {"", "u", "u40", "u1 ", "U1", "a very long id that no row has", "i1"};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_int_equal(thaw_tables_find(t, THAW_USERS, ids[i], strlen(ids[i])), -1);
    assert_int_equal(thaw_tables_find(t, THAW_USERS, "u1\0", 3), -1); // padding is not part of an id
    thaw_tables_close(&t);
}

static void check_seen(void) {
    struct thaw_tables *t = open_or_fail(hand.dir);
    struct thaw_err err = THAW_ERR_INIT;
    for (int u = 0; u < HAND_USERS; u++) {
        int64_t first, row = hand.row[0][u];
        assert_int_equal(thaw_tables_seen(t, row, &first), hand.nseen[u]);
        assert_int_equal(thaw_tables_degree(t, THAW_USERS, row), hand.nseen[u]);
        for (int j = 0; j < hand.nseen[u]; j++)
            assert_int_equal(thaw_tables_seen_item(t, row, first, j), hand.seen[u][j]);
    }
    if (thaw_tables_check(t, &err)) fail_msg("%s", err.text);
    thaw_tables_close(&t);
}

static void seen_items_come_back(void **state) {
    (void)state;
    check_seen();
    hand_remove(&hand);
    make(true);
    check_seen();
}

// ---- Damage ----

static void path_of(char path[256], const char *name) {
    snprintf(path, 256, "%s/%s", hand.version, name);
}

// Write one byte over another at `at` (from the end when negative).
static void overwrite(const char *name, long at, int byte) {
    char path[256];
    path_of(path, name);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
    fputc(byte, f);
    fclose(f);
}

static void expect_refusal(int code, const char *name) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tables *t = NULL;
    assert_int_equal(thaw_tables_open(&t, hand.dir, &err), code);
    assert_null(t);
    if (!strstr(err.text, name)) fail_msg("'%s' does not name %s", err.text, name);
}

static void a_truncated_file_is_named(void **state) {
    (void)state;
    char path[256];
    path_of(path, "items-00002-of-00005.npy");
    assert_int_equal(truncate(path, 130), 0);
    expect_refusal(THAW_EDATA, "items-00002-of-00005.npy");
}

static void a_missing_file_is_named(void **state) {
    (void)state;
    char path[256];
    path_of(path, "users-00001-of-00005.index.npy");
    assert_int_equal(unlink(path), 0);
    expect_refusal(THAW_ENOINPUT, "users-00001-of-00005.index.npy");
}

static void another_shape_is_named(void **state) {
    (void)state;
    char path[256];
    path_of(path, "items-00000-of-00005.npy");
    FILE *f = fopen(path, "r+b");
    char header[129] = {0};
    assert_int_equal(fread(header, 1, 128, f), 128);
    char *comma = strstr(header + 10, ", 6)");
    assert_non_null(comma);
    comma[2] = '5';
    rewind(f);
    fwrite(header, 1, 128, f);
    fclose(f);
    expect_refusal(THAW_EDATA, "items-00000-of-00005.npy");
}

static void a_damaged_manifest_is_named(void **state) {
    (void)state;
    overwrite("manifest.pb", 40, 0x5a);
    expect_refusal(THAW_EDATA, "manifest.pb");
}

static void nothing_there_is_said(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tables *t = NULL;
    assert_int_equal(thaw_tables_open(&t, "/nowhere/at/all", &err), THAW_ENOINPUT);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static void current_may_not_leave_the_folder(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_tables *t = NULL;
    char link[256];
    snprintf(link, sizeof link, "%s/current", hand.dir);
    unlink(link);
    assert_int_equal(symlink("../../etc", link), 0);
    assert_int_equal(thaw_tables_open(&t, hand.dir, &err), THAW_EDATA);
}

static void every_flipped_file_is_found_by_check(void **state) {
    (void)state;
    static const char *const names[] = {
        "users-00000-of-00005.npy",          "users-00000-of-00005.ids.npy",
        "users-00000-of-00005.index.npy",    "users-00000-of-00005.degree.npy",
        "users-00000-of-00005.seen_ptr.npy", "users-00000-of-00005.seen.npy",
        "items-00004-of-00005.npy",          "items.gramian.npy"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        hand_remove(&hand);
        make(false);
        overwrite(names[i], -3, 0x7e);
        struct thaw_err err = THAW_ERR_INIT;
        struct thaw_tables *t = open_or_fail(hand.dir);
        assert_int_equal(thaw_tables_check(t, &err), THAW_EDATA);
        if (!strstr(err.text, names[i])) fail_msg("'%s' does not name %s", err.text, names[i]);
        thaw_tables_close(&t);
    }
}

// Opening does not read every byte, so what lies inside is not believed when it is used either.
static void lookups_survive_what_open_did_not_read(void **state) {
    (void)state;
    for (int p = 0; p < HAND_PARTS; p++) {
        static const char *const ext[] = {"index.npy", "seen.npy", "seen_ptr.npy"};
        for (int e = 0; e < 3; e++) {
            char name[THAW_PART_FILE], path[256];
            thaw_part_file(name, THAW_USERS, p, HAND_PARTS, ext[e]);
            path_of(path, name);
            FILE *f = fopen(path, "r+b");
            fseek(f, 0, SEEK_END);
            const long n = ftell(f);
            fseek(f, 128, SEEK_SET);
            for (long i = 128; i < n; i++) fputc(0xff, f);
            fclose(f);
        }
    }
    struct thaw_tables *t = open_or_fail(hand.dir);
    for (int u = 0; u < HAND_USERS; u++) {
        char id[HAND_WIDTH + 1];
        int64_t first;
        hand_id(id, 0, u);
        assert_int_equal(thaw_tables_find(t, THAW_USERS, id, strlen(id)), -1);
        assert_int_equal(thaw_tables_seen(t, u, &first), -1);
        if (hand.nseen[u]) assert_int_equal(thaw_tables_seen_item(t, hand.row[0][u], 0, 0), -1);
    }
    thaw_tables_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(unknown_ids_are_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(seen_items_come_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_truncated_file_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_shape_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_manifest_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_there_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(current_may_not_leave_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_flipped_file_is_found_by_check, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lookups_survive_what_open_did_not_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
