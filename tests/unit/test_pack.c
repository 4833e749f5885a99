// test_pack.c: manifests read back, damage is found, and the digest knows the files but not the run.
#include "base/hash.h"
#include "proto/pack.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char users_name[] = "users-00000-of-00001.npz", items_name[] = "items-00000-of-00001.npz",
            version[] = "0.1.0";
static uint64_t sums[2] = {11, 12};
static Thaw__File file = THAW__FILE__INIT, other = THAW__FILE__INIT;
static Thaw__File *files[] = {&file, &other};
static Thaw__Run run = THAW__RUN__INIT;
static Thaw__Dataset dataset = THAW__DATASET__INIT;

static int setup(void **state) {
    file.name = users_name;
    file.nbytes = 20 << 20;
    file.sums = sums;
    file.n_sums = 2;
    other.name = items_name;
    run.version = version;
    run.ranks = 3;
    dataset.format = 1;
    dataset.run = &run;
    dataset.parts = 1;
    dataset.files = files;
    dataset.n_files = 2;
    dataset.value_sum = 2.5;
    return scratch_make(state);
}

static void manifests_read_back(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    ProtobufCMessage *m = NULL;
    assert_int_equal(thaw_pack_write(scratch, "manifest.pb", &dataset.base, &err), THAW_OK);
    assert_int_equal(thaw_pack_read(scratch, "manifest.pb", &thaw__dataset__descriptor, &m, &err), THAW_OK);
    const Thaw__Dataset *read = (const Thaw__Dataset *)m;
    assert_true(read->parts == 1 && read->value_sum == 2.5 && read->n_files == 2 && read->run->ranks == 3);
    assert_string_equal(read->files[0]->name, file.name);
    assert_true(read->files[0]->sums[1] == 12);
    uint64_t a, b;
    assert_int_equal(thaw_pack_digest(&dataset.base, &a, &err), THAW_OK);
    assert_int_equal(thaw_pack_digest(m, &b, &err), THAW_OK);
    assert_true(a == b);
    protobuf_c_message_free_unpacked(m, NULL);

    struct thaw_map map;
    uint64_t sum;
    assert_int_equal(thaw_map_open(&map, scratch_path("manifest.pb"), &err), THAW_OK);
    assert_memory_equal(map.base, "THAWPB1\n", 8);
    memcpy(&sum, map.base + 8, sizeof sum);
    assert_true(sum == thaw_hash_id(map.base + 16, (size_t)map.nbytes - 16));
    thaw_map_close(&map);
}

static void damage_is_found_anywhere(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_map map;
    ProtobufCMessage *m = NULL;
    assert_int_equal(thaw_pack_write(scratch, "m.pb", &dataset.base, &err), THAW_OK);
    assert_int_equal(thaw_map_open(&map, scratch_path("m.pb"), &err), THAW_OK);
    size_t n = (size_t)map.nbytes;
    uint8_t *bytes = malloc(n);
    memcpy(bytes, map.base, n);
    thaw_map_close(&map);
    for (size_t at = 0; at < n; at++) {
        bytes[at] ^= 4;
        assert_int_equal(thaw_pack_read("", scratch_image(bytes, n), &thaw__dataset__descriptor, &m, NULL),
                         THAW_EDATA);
        bytes[at] ^= 4;
        assert_int_equal(thaw_pack_read("", scratch_image(bytes, at), &thaw__dataset__descriptor, &m, NULL),
                         THAW_EDATA);
    }
    memset(bytes + 16, 0xff, n - 16); // no message, with a right sum
    uint64_t sum = thaw_hash_id(bytes + 16, n - 16);
    memcpy(bytes + 8, &sum, sizeof sum);
    assert_int_equal(thaw_pack_read("", scratch_image(bytes, n), &thaw__dataset__descriptor, &m, &err),
                     THAW_EDATA);
    assert_non_null(strstr(err.text, ": another kind of manifest, not thaw.Dataset"));
    assert_null(m);
    free(bytes);
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_pack_read(scratch, "none.pb", &thaw__dataset__descriptor, &m, &err), THAW_ENOINPUT);
    assert_non_null(strstr(err.text, "none.pb"));
    err = THAW_ERR_INIT;
    assert_int_equal(
        thaw_pack_read(scratch_path("empty"), "manifest.pb", &thaw__dataset__descriptor, &m, &err),
        THAW_ENOINPUT);
    assert_non_null(strstr(err.text, "empty: no manifest.pb here"));
}

static void the_digest_leaves_the_run_out(void **state) {
    (void)state;
    uint64_t a, b, c, d;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_pack_digest(&dataset.base, &a, &err), THAW_OK);
    assert_ptr_equal(dataset.run, &run); // the caller's message is as it was
    run.ranks = 7;
    assert_int_equal(thaw_pack_digest(&dataset.base, &b, &err), THAW_OK);
    run.ranks = 3;
    dataset.run = NULL;
    assert_int_equal(thaw_pack_digest(&dataset.base, &c, &err), THAW_OK);
    dataset.run = &run;
    sums[1]++;
    assert_int_equal(thaw_pack_digest(&dataset.base, &d, &err), THAW_OK);
    sums[1]--;
    assert_true(a == b && a == c && a != d);
    Thaw__Model model = THAW__MODEL__INIT;
    assert_int_equal(thaw_pack_digest(&model.base, &a, &err), THAW_OK);
    model.dataset = (char *)(uintptr_t) "where/it/lay";
    assert_int_equal(thaw_pack_digest(&model.base, &b, &err), THAW_OK);
    assert_string_equal(model.dataset, "where/it/lay");
    model.dataset_digest = 1;
    assert_int_equal(thaw_pack_digest(&model.base, &c, &err), THAW_OK);
    assert_true(a == b && a != c);
    Thaw__Job job = THAW__JOB__INIT; // has no run
    assert_int_equal(thaw_pack_digest(&job.base, &d, &err), THAW_OK);
    assert_true(d == thaw_hash_id("", 0));
}

static void files_are_found_by_name(void **state) {
    (void)state;
    struct thaw_file_info info;
    assert_ptr_equal(thaw_pack_find(files, 2, "users-00000-of-00001.npz", &info), &file);
    assert_true(info.nbytes == 20 << 20 && info.nsums == 2 && info.sums == sums);
    assert_ptr_equal(thaw_pack_find(files, 2, "items-00000-of-00001.npz", NULL), &other);
    assert_null(thaw_pack_find(files, 2, "items", &info));
    assert_null(thaw_pack_find(NULL, 0, "items", &info));
}

static void names_must_stay_in_their_folder(void **state) {
    (void)state;
    const char *const good[] = {"a", "users-00000-of-00001.npz", "...", ".hidden", "caf\xc3\xa9"};
    const char *const bad[] = {"", ".", "..", "/", "a/b", "../a", "a\nb", "\x1b[m", "a\x7f"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(thaw_pack_check_name(good[i], "m.pb", NULL), THAW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct thaw_err err = THAW_ERR_INIT;
        assert_int_equal(thaw_pack_check_name(bad[i], "m.pb", &err), THAW_EDATA);
        assert_true(strncmp(err.text, "m.pb: ", 6) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_read_back),
        cmocka_unit_test(damage_is_found_anywhere),
        cmocka_unit_test(the_digest_leaves_the_run_out),
        cmocka_unit_test(files_are_found_by_name),
        cmocka_unit_test(names_must_stay_in_their_folder),
    };
    return cmocka_run_group_tests(tests, setup, scratch_remove);
}
