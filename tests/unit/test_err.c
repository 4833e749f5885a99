// test_err.c: the first cause wins, and a message is one line that keeps its reason.
#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void the_first_cause_wins(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    int line = __LINE__ + 1;
    assert_int_equal(thaw_fail(&err, THAW_EDATA, "%s: bad byte %d", "a.npy", 7), THAW_EDATA);
    assert_int_equal(thaw_fail(&err, THAW_EIO, "later"), THAW_EIO);
    assert_int_equal(err.code, THAW_EDATA);
    assert_int_equal(err.rank, -1);
    assert_int_equal(err.line, line);
    assert_string_equal(err.file, "test_err.c");
    assert_string_equal(err.text, "a.npy: bad byte 7");
}

static void no_place_for_the_error(void **state) {
    (void)state;
    assert_int_equal(thaw_fail(NULL, THAW_EUSAGE, "unseen"), THAW_EUSAGE);
    errno = ENOMEM;
    assert_int_equal(thaw_fail_errno(NULL, THAW_EIO, "unseen"), THAW_EMEM);
}

static void the_system_s_reason_is_kept(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    errno = ENOSPC;
    assert_int_equal(thaw_fail_errno(&err, THAW_EIO, "cannot write %s", "f"), THAW_EIO);
    assert_string_equal(err.text, "cannot write f: No space left on device");
    char path[1000];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    err = THAW_ERR_INIT;
    errno = ENOSPC;
    thaw_fail_errno(&err, THAW_EIO, "cannot write %s", path);
    const char *end = ": No space left on device";
    assert_string_equal(err.text + strlen(err.text) - strlen(end), end);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void a_message_is_one_line(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    thaw_fail(&err, THAW_EDATA, "%s", "two\nlines\x1b[31m");
    assert_string_equal(err.text, "two?lines?[31m");
}

static void every_code_has_a_name(void **state) {
    (void)state;
    const int codes[] = {0, 64, 65, 66, 69, 70, 71, 74, 75, 76, 79};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        assert_string_not_equal(thaw_code_name(codes[i]), "unknown code");
    assert_string_equal(thaw_code_name(77), "unknown code");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_cause_wins),        cmocka_unit_test(no_place_for_the_error),
        cmocka_unit_test(the_system_s_reason_is_kept), cmocka_unit_test(a_message_is_one_line),
        cmocka_unit_test(every_code_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
