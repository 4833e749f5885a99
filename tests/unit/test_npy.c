// test_npy.c: headers are NumPy's, byte for byte; the parser takes what NumPy may write and nothing else.
#include "base/npy.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct thaw_npy_shape vector(enum thaw_npy_type type, int64_t rows, int64_t width) {
    return (struct thaw_npy_shape){.type = type, .ndim = 1, .rows = rows, .cols = 1, .width = width};
}

static void headers_are_numpy_s(void **state) {
    (void)state;
    char buf[192], expected[128];
    struct thaw_npy_shape s = {.type = THAW_NPY_F32, .ndim = 2, .rows = 3, .cols = 4, .width = 4};
    memset(expected, ' ', sizeof expected);
    memcpy(expected, "\x93NUMPY\x01\x00\x76\x00", 10);
    const char *dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }";
    memcpy(expected + 10, dict, strlen(dict));
    expected[127] = '\n';
    assert_int_equal(thaw_npy_header(buf, &s), 128);
    assert_memory_equal(buf, expected, 128);
}

static void every_type_reads_back(void **state) {
    (void)state;
    const struct thaw_npy_shape shapes[] = {
        vector(THAW_NPY_F32, 0, 4),
        vector(THAW_NPY_F64, 1, 8),
        vector(THAW_NPY_I32, 2, 4),
        vector(THAW_NPY_I64, 3, 8),
        vector(THAW_NPY_U8, 13, 1),
        vector(THAW_NPY_U32, 5, 4),
        vector(THAW_NPY_U64, 6, 8),
        vector(THAW_NPY_BYTES, 7, 12),
        vector(THAW_NPY_BYTES, 1, 1),
        {.type = THAW_NPY_F64, .ndim = 2, .rows = 5, .cols = 3, .width = 8},
        {.type = THAW_NPY_F32, .ndim = 2, .rows = 5, .cols = 0, .width = 4},
    };
    struct thaw_err err = THAW_ERR_INIT;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char data[256];
        for (size_t b = 0; b < sizeof data; b++) data[b] = (char)(b * 7 + i);
        struct thaw_npy a;
        struct thaw_file_info info;
        assert_int_equal(thaw_npy_put(scratch_path("a.npy"), &shapes[i], data, &info, &err), THAW_OK);
        assert_int_equal(thaw_npy_open(&a, scratch_path("a.npy"), &info, &err), THAW_OK);
        assert_memory_equal(&a.shape, &shapes[i], sizeof a.shape);
        assert_int_equal((uintptr_t)a.data % 64, 0);
        assert_memory_equal(a.data, data, (size_t)thaw_npy_nbytes(&shapes[i]));
        assert_int_equal(thaw_map_check(&a.map, "a.npy", &info, &err), THAW_OK);
        thaw_npy_close(&a);
        info.nbytes++;
        assert_int_equal(thaw_npy_open(&a, scratch_path("a.npy"), &info, NULL), THAW_EDATA);
        thaw_file_info_clear(&info);
    }
    struct thaw_npy_shape big = {
        .type = THAW_NPY_BYTES, .ndim = 2, .rows = INT64_MAX, .cols = INT64_MAX, .width = INT32_MAX};
    char buf[192];
    assert_in_range(thaw_npy_header(buf, &big), 128, 192);
}

static void streams_must_have_the_length_they_announce(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npy_shape s = vector(THAW_NPY_I32, 3, 4);
    struct thaw_file_out *f;
    assert_int_equal(thaw_npy_create(&f, scratch_path("s.npy"), &s, &err), THAW_OK);
    assert_int_equal(thaw_file_write(f, (int32_t[]){1, 2}, 8, &err), THAW_OK);
    assert_int_equal(thaw_file_commit(&f, NULL, &err), THAW_EBUG);
    assert_false(thaw_path_exists(scratch_path("s.npy")));
}

// An array file with this dictionary, as version 1 or 2, and ndata bytes behind it.
static int parse(int version, const char *dict, int64_t ndata, struct thaw_npy_shape *s,
                 struct thaw_err *err) {
    int64_t start = version == 2 ? 12 : 10, n = (int64_t)strlen(dict), total = (start + n + 63) / 64 * 64, at;
    uint8_t *bytes =
        calloc(1, (size_t)(total + ndata)); // exactly: so that sanitizers see a read behind the end
    memset(bytes, ' ', (size_t)total);
    memcpy(bytes, "\x93NUMPY", 6);
    bytes[6] = (uint8_t)version;
    bytes[7] = 0;
    bytes[8] = (uint8_t)(total - start);
    bytes[9] = (uint8_t)((total - start) >> 8);
    if (version == 2) bytes[10] = bytes[11] = 0;
    memcpy(bytes + start, dict, (size_t)n);
    int code = thaw_npy_parse(bytes, total + ndata, "x", s, &at, err);
    if (code == THAW_OK) assert_int_equal(at, total);
    free(bytes);
    return code;
}

static void what_numpy_may_write_is_read(void **state) {
    (void)state;
    const struct {
        const char *dict;
        int64_t ndata, rows, cols;
    } good[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", 48, 3, 4},
        {"{'shape':(3,4),'fortran_order':False,'descr':'<f4'}", 48, 3, 4},
        {"{ \"shape\" : ( 3 , 4 , ) ,\n\t'descr':\"<i4\", 'fortran_order' : False , }\n", 48, 3, 4},
        {"{'descr': '|S12', 'fortran_order': False, 'shape': (4,), }\n", 48, 4, 1},
        {"{'descr': '<u8', 'fortran_order': False, 'shape': (0,), }\n", 0, 0, 1},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 9223372036854775807), }\n", 0, 0, INT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        for (int version = 1; version <= 2; version++) {
            struct thaw_npy_shape s;
            struct thaw_err err = THAW_ERR_INIT;
            if (parse(version, good[i].dict, good[i].ndata, &s, &err) != THAW_OK)
                fail_msg("%s: %s", good[i].dict, err.text);
            assert_true(s.rows == good[i].rows && s.cols == good[i].cols);
        }
}

#define REST ", 'fortran_order': False, 'shape': (3, 4), }"
static void all_else_is_refused(void **state) {
    (void)state;
    const char *const bad[] = {
        "",
        "{",
        "{}",
        "[]",
        "}",
        "{'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False}",
        "{'descr': '>f4'" REST,
        "{'descr': '<f2'" REST,
        "{'descr': '|O'" REST,
        "{'descr': '<U3'" REST,
        "{'descr': ''" REST,
        "{'descr': '|S'" REST,
        "{'descr': '|S0'" REST,
        "{'descr': '|S4x'" REST,
        "{'descr': '|S99999999999999999999'" REST,
        "{'descr': [('a', '<f4')]" REST,
        "{'descr': <f4" REST,
        "{'descr' '<f4'" REST,
        "{'descr': '<f4" REST,
        "{'descr': '<f4', 'descr': '<f4'" REST,
        "{'color': 1, 'descr': '<f4'" REST,
        "{'descr': '<f4'" REST " x",
        "{'descr': '<f4'" REST "}",
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (3, 4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (12), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 12, }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -4), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 5), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3,,4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3.0, 4)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775808, 0), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", // 2^62 x 4 x 4 wraps
                                                                                         // to 0
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} {",
        "{'descr': '<f4',, 'fortran_order': False, 'shape': (3,4)}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int version = 1; version <= 3; version++) {
            struct thaw_npy_shape s;
            struct thaw_err err = THAW_ERR_INIT;
            if (parse(version, bad[i], 48, &s, &err) != THAW_EDATA) fail_msg("accepted: %s", bad[i]);
            assert_true(strncmp(err.text, "x: ", 3) == 0);
        }
}

static void every_cut_is_refused(void **state) {
    (void)state;
    char header[192];
    struct thaw_npy_shape s = vector(THAW_NPY_F32, 4, 4), out;
    int64_t n = (int64_t)thaw_npy_header(header, &s) + 16, at;
    for (int64_t length = 0; length <= n + 1; length++) {
        uint8_t *bytes = calloc(1, (size_t)length + (length == 0));
        memcpy(bytes, header, (size_t)(length < n - 16 ? length : n - 16));
        assert_int_equal(thaw_npy_parse(bytes, length, "x", &out, &at, NULL),
                         length == n ? THAW_OK : THAW_EDATA);
        free(bytes);
    }
}

static void unaligned_data_is_refused(void **state) {
    (void)state;
    char header[192];
    struct thaw_npy_shape s = vector(THAW_NPY_F64, 2, 8), out;
    int64_t n = (int64_t)thaw_npy_header(header, &s), at;
    uint8_t *bytes = aligned_alloc(64, 256);
    memset(bytes, 0, 256);
    memcpy(bytes + 4, header, (size_t)n);
    assert_int_equal(thaw_npy_parse(bytes + 4, n + 16, "x", &out, &at, NULL), THAW_EDATA);
    memcpy(bytes + 8, header, (size_t)n);
    assert_int_equal(thaw_npy_parse(bytes + 8, n + 16, "x", &out, &at, NULL), THAW_OK);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_numpy_s),
        cmocka_unit_test(every_type_reads_back),
        cmocka_unit_test(streams_must_have_the_length_they_announce),
        cmocka_unit_test(what_numpy_may_write_is_read),
        cmocka_unit_test(all_else_is_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(unaligned_data_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
