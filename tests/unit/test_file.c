// test_file.c: files appear whole or not at all, with the right sums; damage is found and placed.
#include "base/file.h"
#include "base/hash.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void fill(uint8_t *bytes, size_t n) {
    uint64_t v = 88172645463325252;
    for (size_t i = 0; i < n; i++) {
        v ^= v << 13, v ^= v >> 7, v ^= v << 17;
        bytes[i] = (uint8_t)v;
    }
}

static void pieces_make_the_file_and_its_sums(void **state) {
    (void)state;
    const size_t n = (size_t)THAW_SUM_CHUNK * 2 + 12345;
    uint8_t *bytes = malloc(n);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_out *f;
    struct thaw_file_info info;
    struct thaw_map map;
    fill(bytes, n);
    assert_int_equal(thaw_file_create(&f, scratch_path("big"), &err), THAW_OK);
    for (size_t at = 0, piece = 1; at < n; at += piece, piece = piece * 5 + 3) {
        if (piece > n - at) piece = n - at;
        assert_int_equal(thaw_file_tell(f), at);
        assert_int_equal(thaw_file_write(f, bytes + at, piece, &err), THAW_OK);
        assert_false(thaw_path_exists(scratch_path("big")));
    }
    thaw_file_expect(f, (int64_t)n);
    assert_int_equal(thaw_file_commit(&f, &info, &err), THAW_OK);
    assert_null(f);
    assert_false(thaw_path_exists(scratch_path("big.tmp")));
    assert_int_equal(info.nbytes, n);
    assert_int_equal(info.nsums, 3);
    for (int i = 0; i < 3; i++)
        assert_true(info.sums[i] ==
                    thaw_hash_id(bytes + (size_t)i * THAW_SUM_CHUNK, i < 2 ? THAW_SUM_CHUNK : 12345));

    assert_int_equal(thaw_map_open(&map, scratch_path("big"), &err), THAW_OK);
    assert_int_equal(map.nbytes, n);
    assert_memory_equal(map.base, bytes, n);
    assert_int_equal(thaw_map_check(&map, "big", &info, &err), THAW_OK);
    thaw_map_close(&map);
    assert_null(map.base);

    uint64_t digest;
    int64_t length;
    assert_int_equal(thaw_file_digest(scratch_path("big"), &digest, &length, &err), THAW_OK);
    assert_true(digest == thaw_file_info_digest(&info) && length == (int64_t)n);
    thaw_file_info_clear(&info);
    assert_null(info.sums);
    free(bytes);
}

static void damage_is_placed(void **state) {
    (void)state;
    const size_t n = (size_t)THAW_SUM_CHUNK + 100;
    uint8_t *bytes = calloc(n, 1);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_info info;
    struct thaw_map map;
    assert_int_equal(thaw_file_put(scratch_path("f"), bytes, n, &info, &err), THAW_OK);
    bytes[n - 1] = 1;
    assert_int_equal(thaw_file_put(scratch_path("f"), bytes, n, NULL, &err), THAW_OK);
    assert_int_equal(thaw_map_open(&map, scratch_path("f"), &err), THAW_OK);
    assert_int_equal(thaw_map_check(&map, "f", &info, &err), THAW_EDATA);
    assert_string_equal(err.text, "f: checksum mismatch at byte 16777216");
    info.nbytes++;
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_map_check(&map, "f", &info, &err), THAW_EDATA);
    assert_string_equal(err.text, "f: has 16777316 bytes, its manifest says 16777317");
    info.nbytes--;
    info.nsums--; // a manifest that leaves out the damaged chunk
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_map_check(&map, "f", &info, &err), THAW_EDATA);
    thaw_map_close(&map);
    thaw_file_info_clear(&info);
    free(bytes);
}

static void empty_files_are_files(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_info info;
    struct thaw_map map;
    uint64_t digest;
    assert_int_equal(thaw_file_put(scratch_path("empty"), NULL, 0, &info, &err), THAW_OK);
    assert_int_equal(info.nbytes, 0);
    assert_int_equal(info.nsums, 0);
    assert_int_equal(thaw_map_open(&map, scratch_path("empty"), &err), THAW_OK);
    assert_non_null(map.base);
    assert_int_equal(map.nbytes, 0);
    assert_int_equal(thaw_map_check(&map, "empty", &info, &err), THAW_OK);
    thaw_map_close(&map);
    assert_int_equal(thaw_file_digest(scratch_path("empty"), &digest, NULL, &err), THAW_OK);
    assert_true(digest == thaw_file_info_digest(&info));
    thaw_file_info_clear(&info);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    struct thaw_map map;
    uint64_t digest;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_map_open(&map, scratch_path("absent"), &err), THAW_ENOINPUT);
    assert_non_null(strstr(err.text, "absent: No such file or directory"));
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_map_open(&map, scratch, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "is a folder"));
    err = THAW_ERR_INIT;
    assert_int_equal(mkfifo(scratch_path("pipe"), 0600), 0);
    assert_int_equal(thaw_map_open(&map, scratch_path("pipe"), &err),
                     THAW_EDATA); // and does not wait for a writer
    assert_int_equal(thaw_file_digest(scratch_path("pipe"), &digest, NULL, NULL), THAW_EDATA);
    assert_int_equal(thaw_file_digest(scratch_path("absent"), &digest, NULL, NULL), THAW_ENOINPUT);
}

static void a_file_given_up_leaves_nothing(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_out *f = NULL;
    assert_int_equal(thaw_file_put(scratch_path("kept"), "old", 3, NULL, &err), THAW_OK);
    assert_int_equal(thaw_file_create(&f, scratch_path("kept"), &err), THAW_OK);
    assert_int_equal(thaw_file_write(f, "new!", 4, &err), THAW_OK);
    thaw_file_discard(&f);
    assert_null(f);
    assert_false(thaw_path_exists(scratch_path("kept.tmp")));
    struct thaw_map map;
    assert_int_equal(thaw_map_open(&map, scratch_path("kept"), &err), THAW_OK);
    assert_int_equal(map.nbytes, 3);
    thaw_map_close(&map);

    assert_int_equal(thaw_file_create(&f, scratch_path("short"), &err), THAW_OK);
    thaw_file_expect(f, 5);
    assert_int_equal(thaw_file_write(f, "four", 4, &err), THAW_OK);
    assert_int_equal(thaw_file_commit(&f, NULL, &err), THAW_EBUG);
    assert_null(f);
    assert_false(thaw_path_exists(scratch_path("short")) || thaw_path_exists(scratch_path("short.tmp")));
    thaw_file_discard(&f);
}

static void what_cannot_be_written_is_an_error(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_file_put(scratch_path("no/such/folder"), "x", 1, NULL, &err), THAW_EIO);
    assert_non_null(strstr(err.text, "no/such/folder.tmp: No such file"));
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_dir_make(scratch_path("taken/x"), &err), THAW_OK);
    assert_int_equal(thaw_file_put(scratch_path("taken"), "x", 1, NULL, &err),
                     THAW_EIO); // a folder has the name
    assert_false(thaw_path_exists(scratch_path("taken.tmp")));
    char path[5000];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(thaw_file_put(path, "x", 1, NULL, NULL), THAW_EIO);
}

// A full disk, played by a limit on the size of files.
static void a_full_disk_is_an_error_that_stays(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_out *f;
    struct rlimit old, tight;
    static uint8_t bytes[3 << 20];
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    tight = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = old.rlim_max};
    assert_int_equal(thaw_file_create(&f, scratch_path("full"), &err), THAW_OK);
    setrlimit(RLIMIT_FSIZE, &tight);
    int first = thaw_file_write(f, bytes, sizeof bytes, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    assert_int_equal(first, THAW_EIO);
    assert_non_null(strstr(err.text, "full.tmp at byte 1048576: File too large"));
    assert_int_equal(thaw_file_write(f, bytes, 1, NULL), THAW_EIO);
    assert_int_equal(thaw_file_commit(&f, NULL, NULL), THAW_EIO);
    assert_false(thaw_path_exists(scratch_path("full")) || thaw_path_exists(scratch_path("full.tmp")));
}

static void paths_join(void **state) {
    (void)state;
    char out[THAW_PATH_MAX], dir[THAW_PATH_MAX];
    assert_int_equal(thaw_path_join(out, "a/b", "c", NULL), THAW_OK);
    assert_string_equal(out, "a/b/c");
    assert_int_equal(thaw_path_join(out, "/", "c", NULL), THAW_OK);
    assert_string_equal(out, "/c");
    assert_int_equal(thaw_path_join(out, "", "c", NULL), THAW_OK);
    assert_string_equal(out, "c");
    memset(dir, 'd', sizeof dir - 1);
    dir[sizeof dir - 1] = '\0';
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_path_join(out, dir, "c", &err), THAW_EUSAGE);
    dir[sizeof dir - 3] = '\0';
    assert_int_equal(thaw_path_join(out, dir, "c", &err), THAW_OK);
    assert_int_equal(thaw_path_copy(out, dir, &err), THAW_OK);
    assert_string_equal(out, dir);
    assert_int_equal(thaw_path_suffix(out, dir, ".t", &err), THAW_OK);
    assert_int_equal(thaw_path_suffix(out, dir, ".tm", &err), THAW_EUSAGE);
}

static void folders_come_and_go(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_dir_check(scratch_path("tree/of//folders/"), &err), THAW_OK);
    assert_false(thaw_path_exists(scratch_path("tree")));
    assert_int_equal(thaw_dir_make(scratch_path("tree/of//folders/"), &err), THAW_OK);
    assert_int_equal(thaw_dir_make(scratch_path("tree/of/folders"), &err), THAW_OK);
    assert_int_equal(thaw_dir_sync(scratch_path("tree/of"), &err), THAW_OK);
    assert_int_equal(thaw_file_put(scratch_path("tree/of/file"), "x", 1, NULL, &err), THAW_OK);
    assert_int_equal(thaw_file_put(scratch_path("outside"), "x", 1, NULL, &err), THAW_OK);
    assert_int_equal(thaw_dir_make(scratch_path("tree/of/file/below"), &err), THAW_EIO);
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_dir_check(scratch_path("tree/of"), &err), THAW_OK);
    assert_int_equal(thaw_dir_check(scratch_path("tree/of/file/below"), NULL), THAW_EIO);
    assert_int_equal(symlink(scratch_path("outside"), scratch_path("tree/link")), 0);
    assert_int_equal(symlink("..", scratch_path("tree/up")), 0);
    assert_int_equal(thaw_dir_remove(scratch_path("tree"), &err), THAW_OK);
    assert_false(thaw_path_exists(scratch_path("tree")));
    assert_true(thaw_path_exists(scratch_path("outside"))); // links are removed, not followed
    assert_int_equal(thaw_dir_remove(scratch_path("tree"), &err), THAW_OK);
    assert_int_equal(thaw_dir_sync(scratch_path("tree"), NULL), THAW_EIO);
}

static void a_link_switches(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    char target[64] = "";
    assert_int_equal(symlink("left-over", scratch_path("current.tmp")), 0);
    assert_int_equal(thaw_link_switch(scratch, "current", "v000001", &err), THAW_OK);
    assert_int_equal(thaw_link_switch(scratch, "current", "v000002", &err), THAW_OK);
    assert_int_equal(readlink(scratch_path("current"), target, sizeof target - 1), 7);
    assert_string_equal(target, "v000002");
    assert_int_equal(thaw_dir_make(scratch_path("real"), &err), THAW_OK);
    assert_int_equal(thaw_link_switch(scratch, "real", "v000001", &err), THAW_EIO);
    assert_int_equal(readlink(scratch_path("real.tmp"), target, sizeof target), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_make_the_file_and_its_sums),
        cmocka_unit_test(damage_is_placed),
        cmocka_unit_test(empty_files_are_files),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_file_given_up_leaves_nothing),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
        cmocka_unit_test(a_full_disk_is_an_error_that_stays),
        cmocka_unit_test(paths_join),
        cmocka_unit_test(folders_come_and_go),
        cmocka_unit_test(a_link_switches),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
