// test_npz.c: archives read back, aligned; zip64 is understood; damage gets an error.
#include "base/npz.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct thaw_npy_shape vector3 = {THAW_NPY_I32, 1, 3, 1, 4}, matrix = {THAW_NPY_F64, 2, 2, 2, 8},
                                   nothing = {THAW_NPY_F32, 2, 0, 7, 4}, ids = {THAW_NPY_BYTES, 1, 2, 1, 5};
static const int32_t three[3] = {7, 8, 9};
static const double four[4] = {0.5, 1.5, 2.5, 3.5};

static void write_archive(const char *path, struct thaw_file_info *info) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npz_out *z;
    assert_int_equal(thaw_npz_create(&z, path, &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "indptr", &vector3, three, &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "empty", &nothing, NULL, &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "ids", &ids, "ab\0\0\0cdefg", &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "features", &matrix, four, &err), THAW_OK);
    assert_int_equal(thaw_npz_commit(&z, info, &err), THAW_OK);
    assert_null(z);
}

static void check_array(const struct thaw_npz *z, const char *name, const struct thaw_npy_shape *shape,
                        const void *data) {
    struct thaw_npy_shape s;
    const void *found;
    struct thaw_err err = THAW_ERR_INIT;
    assert_true(thaw_npz_has(z, name));
    assert_int_equal(thaw_npz_get(z, name, &s, &found, &err), THAW_OK);
    assert_memory_equal(&s, shape, sizeof s);
    assert_int_equal((uintptr_t)found % 64, 0);
    if (data) assert_memory_equal(found, data, (size_t)thaw_npy_nbytes(shape));
}

static void archives_read_back(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_file_info info;
    struct thaw_npz *z;
    struct thaw_npy_shape s;
    const void *data;
    write_archive(scratch_path("a.npz"), &info);
    assert_int_equal(thaw_npz_open(&z, scratch_path("a.npz"), &info, &err), THAW_OK);
    check_array(z, "indptr", &vector3, three);
    check_array(z, "empty", &nothing, NULL);
    check_array(z, "ids", &ids, "ab\0\0\0cdefg");
    check_array(z, "features", &matrix, four);
    assert_int_equal(thaw_npz_check(z, &info, &err), THAW_OK);
    assert_false(thaw_npz_has(z, "feature") || thaw_npz_has(z, "features.npy") || thaw_npz_has(z, ""));
    assert_int_equal(thaw_npz_get(z, "seen", &s, &data, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "a.npz: has no array \"seen\""));
    thaw_npz_close(&z);
    assert_null(z);
    info.nbytes--;
    assert_int_equal(thaw_npz_open(&z, scratch_path("a.npz"), &info, NULL), THAW_EDATA);
    assert_int_equal(thaw_npz_open(&z, scratch_path("none.npz"), NULL, NULL), THAW_ENOINPUT);
    thaw_file_info_clear(&info);
}

static void the_same_arrays_make_the_same_bytes(void **state) {
    (void)state;
    struct thaw_file_info a, b;
    write_archive(scratch_path("1.npz"), &a);
    write_archive(scratch_path("2.npz"), &b);
    assert_true(thaw_file_info_digest(&a) == thaw_file_info_digest(&b));
    thaw_file_info_clear(&a);
    thaw_file_info_clear(&b);
}

static void names_are_checked(void **state) {
    (void)state;
    struct thaw_npz_out *z;
    struct thaw_err err = THAW_ERR_INIT;
    char name[100];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_int_equal(thaw_npz_create(&z, scratch_path("n.npz"), &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "x", &vector3, three, &err), THAW_OK);
    assert_int_equal(thaw_npz_add(z, "x", &vector3, three, &err), THAW_EBUG);
    assert_int_equal(thaw_npz_add(z, "", &vector3, three, NULL), THAW_EBUG);
    assert_int_equal(thaw_npz_add(z, name, &vector3, three, NULL), THAW_EBUG);
    thaw_npz_discard(&z);
    assert_null(z);
    thaw_npz_discard(&z);
    assert_false(thaw_path_exists(scratch_path("n.npz")) || thaw_path_exists(scratch_path("n.npz.tmp")));
}

static void many_members(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npz_out *z;
    struct thaw_npz *in;
    char name[24];
    assert_int_equal(thaw_npz_create(&z, scratch_path("many.npz"), &err), THAW_OK);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%0*d", i % 17 + 1, i); // names of many lengths: alignment must not care
        int32_t v[3] = {i, i, i};
        assert_int_equal(thaw_npz_add(z, name, &vector3, v, &err), THAW_OK);
    }
    assert_int_equal(thaw_npz_commit(&z, NULL, &err), THAW_OK);
    assert_int_equal(thaw_npz_open(&in, scratch_path("many.npz"), NULL, &err), THAW_OK);
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%0*d", i % 17 + 1, i);
        check_array(in, name, &vector3, (int32_t[]){i, i, i});
    }
    thaw_npz_close(&in);
}

// ---- Archives made by hand ----

struct image {
    uint8_t bytes[1024];
    size_t n;
};

static void put(struct image *m, uint64_t v, size_t width) {
    memcpy(m->bytes + m->n, &v, width);
    m->n += width;
}

// One member "a.npy" of three numbers, with every size and offset in zip64 fields. Data at a multiple of 64.
static struct image zip64_image(void) {
    struct image m = {.n = 0};
    char header[192];
    uint64_t nheader = thaw_npy_header(header, &vector3), nbytes = nheader + sizeof three;
    const uint64_t common[] = {45, 0, 0, 0, 0x21};
    put(&m, 0x04034b50, 4);
    for (int i = 0; i < 5; i++) put(&m, common[i], 2);
    put(&m, 0x12345678, 4); // CRC, not verified
    put(&m, UINT32_MAX, 4);
    put(&m, UINT32_MAX, 4);
    put(&m, 5, 2);
    put(&m, 128 - 30 - 5, 2);
    memcpy(m.bytes + m.n, "a.npy", 5);
    m.n += 5;
    put(&m, 0xbeef, 2); // a field to be skipped comes first
    put(&m, 128 - 30 - 5 - 4 - 20, 2);
    m.n = 128 - 20;
    put(&m, 1, 2);
    put(&m, 16, 2);
    put(&m, nbytes, 8);
    put(&m, nbytes, 8);
    memcpy(m.bytes + m.n, header, nheader);
    memcpy(m.bytes + m.n + nheader, three, sizeof three);
    m.n += nbytes;
    uint64_t directory = m.n;
    put(&m, 0x02014b50, 4);
    put(&m, 45, 2);
    for (int i = 0; i < 5; i++) put(&m, common[i], 2);
    put(&m, 0x12345678, 4);
    put(&m, UINT32_MAX, 4);
    put(&m, UINT32_MAX, 4);
    put(&m, 5, 2);
    put(&m, 28, 2);
    m.n += 2 + 2 + 2 + 4;
    put(&m, UINT32_MAX, 4);
    memcpy(m.bytes + m.n, "a.npy", 5);
    m.n += 5;
    put(&m, 1, 2);
    put(&m, 24, 2);
    put(&m, nbytes, 8);
    put(&m, nbytes, 8);
    put(&m, 0, 8);
    uint64_t end = m.n;
    put(&m, 0x06064b50, 4);
    put(&m, 44, 8);
    put(&m, 45, 2);
    put(&m, 45, 2);
    put(&m, 0, 8);
    put(&m, 1, 8);
    put(&m, 1, 8);
    put(&m, end - directory, 8);
    put(&m, directory, 8);
    put(&m, 0x07064b50, 4);
    put(&m, 0, 4);
    put(&m, end, 8);
    put(&m, 1, 4);
    put(&m, 0x06054b50, 4);
    put(&m, 0, 4);
    put(&m, UINT16_MAX, 2);
    put(&m, UINT16_MAX, 2);
    put(&m, UINT32_MAX, 4);
    put(&m, UINT32_MAX, 4);
    put(&m, 3, 2);
    memcpy(m.bytes + m.n, "hey", 3); // a comment
    m.n += 3;
    return m;
}

// Open an image and touch every byte of its array; what happened.
static int try_image(const uint8_t *bytes, size_t n, const char *name, struct thaw_err *err) {
    struct thaw_npz *z = NULL;
    struct thaw_npy_shape s;
    const void *data;
    int code = thaw_npz_open(&z, scratch_image(bytes, n), NULL, err);
    if (code == THAW_OK) code = thaw_npz_get(z, name, &s, &data, err);
    if (code == THAW_OK) {
        unsigned sum = 0;
        for (int64_t i = 0; i < thaw_npy_nbytes(&s); i++) sum += ((const uint8_t *)data)[i];
        if (sum == 7777) code = THAW_EBUG; // so that the reads happen
    }
    thaw_npz_close(&z);
    return code;
}

static void zip64_is_understood(void **state) {
    (void)state;
    struct image m = zip64_image();
    struct thaw_err err = THAW_ERR_INIT;
    if (try_image(m.bytes, m.n, "a", &err) != THAW_OK) fail_msg("%s", err.text);
}

static void every_cut_and_every_wrong_byte_is_survived(void **state) {
    (void)state;
    struct image m = zip64_image();
    for (size_t n = 0; n < m.n; n++) assert_int_equal(try_image(m.bytes, n, "a", NULL), THAW_EDATA);
    int refused = 0;
    for (size_t at = 0; at < m.n; at++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xff};
        for (size_t i = 0; i < sizeof flips; i++) {
            m.bytes[at] ^= flips[i];
            int code = try_image(m.bytes, m.n, "a", NULL);
            assert_true(code == THAW_OK || code == THAW_EDATA);
            refused += code != THAW_OK;
            m.bytes[at] ^= flips[i];
        }
    }
    assert_in_range(refused, 500, 3 * m.n - 1);
}

static void ordinary_archives_survive_wrong_bytes_too(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_map map;
    write_archive(scratch_path("o.npz"), NULL);
    assert_int_equal(thaw_map_open(&map, scratch_path("o.npz"), &err), THAW_OK);
    uint8_t *bytes = malloc((size_t)map.nbytes);
    memcpy(bytes, map.base, (size_t)map.nbytes);
    assert_int_equal(try_image(bytes, (size_t)map.nbytes, "features", &err), THAW_OK);
    for (int64_t at = 0; at < map.nbytes; at++) {
        bytes[at] ^= 0xff;
        int code = try_image(bytes, (size_t)map.nbytes, "features", NULL);
        assert_true(code == THAW_OK || code == THAW_EDATA);
        bytes[at] ^= 0xff;
    }
    free(bytes);
    thaw_map_close(&map);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(archives_read_back),
        cmocka_unit_test(the_same_arrays_make_the_same_bytes),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(many_members),
        cmocka_unit_test(zip64_is_understood),
        cmocka_unit_test(every_cut_and_every_wrong_byte_is_survived),
        cmocka_unit_test(ordinary_archives_survive_wrong_bytes_too),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
