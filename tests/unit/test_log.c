// test_log.c: what people read on stderr, what machines read in the log, and the texts both are made of.
#include "base/log.h"
#include "scratch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <unistd.h>

// Run with stderr going to a file; what was written there, to be freed.
static char *capture(void run(struct thaw_log *), bool quiet, const char *json) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_log *log = NULL;
    int kept = dup(STDERR_FILENO), file = open(scratch_path("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(kept >= 0 && file >= 0);
    fflush(stderr);
    dup2(file, STDERR_FILENO);
    int code = thaw_log_open(&log, quiet, json, &err);
    if (code == THAW_OK) run(log);
    thaw_log_close(&log);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_int_equal(code, THAW_OK);
    char *text = calloc(1, 65536);
    assert_true(pread(file, text, 65535, 0) >= 0);
    close(file);
    return text;
}

static void notes(struct thaw_log *log) {
    thaw_log_note(log, "%d rows", 3);
    thaw_log_warn(log, "odd \"%s\"", "name\n");
    thaw_log_event(log, "iteration", "\"number\":%d,\"loss\":%.1f", 2, 1.5);
    thaw_log_event(log, "bare", NULL);
}

static char *slurp(const char *path) {
    struct thaw_map map;
    assert_int_equal(thaw_map_open(&map, path, NULL), THAW_OK);
    char *text = calloc(1, (size_t)map.nbytes + 1);
    memcpy(text, map.base, (size_t)map.nbytes);
    thaw_map_close(&map);
    return text;
}

static void notes_go_to_people_and_machines(void **state) {
    (void)state;
    char *text = capture(notes, false, scratch_path("log"));
    assert_string_equal(text, "3 rows\nwarning: odd \"name\n\"\n");
    free(text);
    text = slurp(scratch_path("log"));
    char *line = strtok(text, "\n");
    const char *const ends[] = {"\"event\":\"note\",\"text\":\"3 rows\"}",
                                "\"event\":\"warning\",\"text\":\"odd \\\"name\\n\\\"\"}",
                                "\"event\":\"iteration\",\"number\":2,\"loss\":1.5}", "\"event\":\"bare\"}"};
    for (int i = 0; i < 4; i++, line = strtok(NULL, "\n")) {
        int year, month, day, hour, minute, second, ms, n = 0;
        assert_non_null(line);
        assert_int_equal(sscanf(line, "{\"time\":\"%4d-%2d-%2dT%2d:%2d:%2d.%3dZ\",%n", &year, &month, &day,
                                &hour, &minute, &second, &ms, &n),
                         7);
        assert_string_equal(line + n, ends[i]);
    }
    assert_null(line);
    free(text);
}

static void quiet_says_nothing_but_logs(void **state) {
    (void)state;
    char *text = capture(notes, true, scratch_path("log2"));
    assert_string_equal(text, "");
    free(text);
    text = capture(notes, true, scratch_path("log2")); // appends
    free(text);
    text = slurp(scratch_path("log2"));
    int lines = 0;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, 8);
    free(text);
}

static void phases(struct thaw_log *log) {
    thaw_log_phase(log, "solving", 1000, "rows");
    usleep(1010000);
    for (int64_t i = 0; i <= 1000; i += 5) thaw_log_step(log, i);
    thaw_log_phase_end(log);
    thaw_log_phase(log, "reading", 0, "MB");
    thaw_log_step(log, 7);
    thaw_log_note(log, "between");
}

// Not on a terminal: 10 % to 90 %, then the end with the whole.
static void progress_is_a_line_per_tenth(void **state) {
    (void)state;
    char *text = capture(phases, false, NULL);
    for (int percent = 10; percent <= 90; percent += 10) {
        char start[64];
        snprintf(start, sizeof start, "solving: %d %% (%d of 1,000 rows, ", percent, percent * 10);
        assert_non_null(strstr(text, start));
    }
    assert_null(strstr(text, "100 %"));
    assert_null(strstr(text, "\r"));
    assert_non_null(strstr(text, "\nsolving: 1,000 rows in "));
    assert_non_null(strstr(text, "\nbetween\nreading: 7 MB in ")); // closing the log ends the phase
    int lines = 0;
    for (const char *c = text; *c; c++) lines += *c == '\n';
    assert_int_equal(lines, 9 + 1 + 2);
    free(text);
}

static double quick_s; // how long it took

static void quick_phase(struct thaw_log *log) {
    const double began_s = thaw_time_s();
    thaw_log_phase(log, "solving", 1000, "rows");
    for (int64_t i = 0; i <= 1000; i += 5) thaw_log_step(log, i);
    quick_s = thaw_time_s() - began_s;
}

static void a_quick_phase_is_one_line(void **state) {
    (void)state;
    char *text = NULL;
    do {
        free(text);
        text = capture(quick_phase, false, NULL);
    } while (quick_s >= 1); // somebody held the process up
    assert_ptr_equal(strstr(text, "solving: 1,000 rows in "), text);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    free(text);
}

static void no_log_is_fine(void **state) {
    (void)state;
    struct thaw_log *none = NULL;
    notes(NULL);
    quick_phase(NULL);
    thaw_log_close(&none);
    thaw_log_close(NULL);
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_log_open(&none, true, scratch_path("no/such/log"), &err), THAW_EIO);
    assert_null(none);
}

static void a_full_log_ends_with_a_warning(void **state) {
    (void)state;
    if (!thaw_path_exists("/dev/full")) skip();
    char *text = capture(notes, false, "/dev/full");
    assert_string_equal(text, "3 rows\nwarning: cannot write the log, it ends here: No space left on device\n"
                              "warning: odd \"name\n\"\n");
    free(text);
}

static void human_texts(void **state) {
    (void)state;
    char b[16], c[32];
    assert_string_equal(thaw_human_bytes(b, 0), "0 B");
    assert_string_equal(thaw_human_bytes(b, 1023), "1023 B");
    assert_string_equal(thaw_human_bytes(b, 1024), "1.0 KiB");
    assert_string_equal(thaw_human_bytes(b, 1536LL << 20), "1.5 GiB");
    assert_string_equal(thaw_human_bytes(b, (1LL << 20) - 1), "1.0 MiB");
    assert_string_equal(thaw_human_bytes(b, INT64_MAX), "8.0 EiB");
    assert_string_equal(thaw_human_bytes(b, INT64_MIN), "-8.0 EiB");
    assert_string_equal(thaw_human_count(c, 0), "0");
    assert_string_equal(thaw_human_count(c, 999), "999");
    assert_string_equal(thaw_human_count(c, 1000209), "1,000,209");
    assert_string_equal(thaw_human_count(c, -123456), "-123,456");
    assert_string_equal(thaw_human_count(c, INT64_MIN), "-9,223,372,036,854,775,808");
    double before = thaw_time_s();
    assert_true(thaw_time_s() >= before);
}

static void escapes_are_json(void **state) {
    (void)state;
    const struct {
        const char *text;
        int64_t n;
        const char *escaped;
    } cases[] = {
        {"", 0, ""},
        {"plain", 5, "plain"},
        {"a\"b\\c/", 6, "a\\\"b\\\\c/"},
        {"\n\r\t\b\x01\x7f", 6, "\\n\\r\\t\\u0008\\u0001\\u007f"},
        {"a\0b", 3, "a\\u0000b"},
        {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 14, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xff", 1, "\\ufffd"},
        {"\xc3", 1, "\\ufffd"},
        {"\xc0\x80", 2, "\\ufffd\\ufffd"},
        {"\xed\xa0\x80", 3, "\\ufffd\\ufffd\\ufffd"},
        {"\xf4\x90\x80\x80", 4, "\\ufffd\\ufffd\\ufffd\\ufffd"},
        {"\xe2\x82", 2, "\\ufffd\\ufffd"},
        {"\x80z", 2, "\\ufffdz"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        int64_t n = (int64_t)strlen(cases[i].escaped);
        assert_int_equal(thaw_json_escape(out, sizeof out, cases[i].text, cases[i].n), n);
        assert_string_equal(out, cases[i].escaped);
        assert_int_equal(thaw_json_escape(NULL, 0, cases[i].text, cases[i].n), n);
        for (int64_t cap = 1; cap <= n; cap++) { // cut, but between characters and terminated
            memset(out, 'x', sizeof out);
            assert_int_equal(thaw_json_escape(out, cap, cases[i].text, cases[i].n), n);
            assert_true((int64_t)strlen(out) < cap);
            assert_memory_equal(out, cases[i].escaped, strlen(out));
            assert_int_equal(out[cap], 'x');
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_go_to_people_and_machines),
        cmocka_unit_test(quiet_says_nothing_but_logs),
        cmocka_unit_test(progress_is_a_line_per_tenth),
        cmocka_unit_test(a_quick_phase_is_one_line),
        cmocka_unit_test(no_log_is_fine),
        cmocka_unit_test(a_full_log_ends_with_a_warning),
        cmocka_unit_test(human_texts),
        cmocka_unit_test(escapes_are_json),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
