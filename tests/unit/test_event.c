// test_event.c: what becomes of each kind of line.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "partition/event.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *names[] = {"user", "item", "event", "value", "time"};
static enum thaw_looks looks[] = {THAW_LOOKS_TEXT, THAW_LOOKS_TEXT, THAW_LOOKS_TEXT, THAW_LOOKS_NUMBER,
                                  THAW_LOOKS_TIME};
static char header[] = "user,item,event,value,time";
static char path[] = "a.csv";
static struct thaw_format csv = {.path = path,
                                 .delimiter = ",",
                                 .ndelimiter = 1,
                                 .quoting = true,
                                 .has_header = true,
                                 .nfields = 5,
                                 .name = names,
                                 .looks = looks,
                                 .header = header,
                                 .nheader = sizeof header - 1};
static const struct thaw_columns all = {.user = 0, .item = 1, .event = 2, .value = 3, .time = 4};

static struct thaw_line line_of(const char *text, size_t n) {
    return (struct thaw_line){.path = "b.csv", .text = text, .n = n, .number = 2, .numbered = true};
}

static struct thaw_parser *new_parser(const struct thaw_format *f, const struct thaw_columns *c,
                                      const char *weights, enum thaw_negative negative) {
    struct thaw_parser *p = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_parser_new(&p, f, c, weights, negative, &err) != THAW_OK) fail_msg("%s", err.text);
    return p;
}

static struct thaw_event parse(struct thaw_parser *p, const char *text, size_t n) {
    struct thaw_event e = {0};
    struct thaw_line line = line_of(text, n);
    assert_int_equal(thaw_parser_parse(p, &line, &e, NULL), THAW_OK);
    return e;
}

static void test_good(void **state) {
    (void)state;
    static const struct {
        const char *text, *user, *item;
        float value;
        int64_t time;
    } good[] = {
        {"u1,i1,view,2,100", "u1", "i1", 2, 100},
        {" u1 ,\ti1 , cart , 1.5 , 100 ", "u1", "i1", 4.5f, 100},
        {"\"u,1\",\"i\"\"1\",buy,,2011-12-01", "u,1", "i\"1", 5, 1322697600},
        {"\xd0\xb8\xd0\xbc\xd1\x8f,\xe5\x95\x86\xe5\x93\x81,view,-3,-1", "\xd0\xb8\xd0\xbc\xd1\x8f",
         "\xe5\x95\x86\xe5\x93\x81", -3, -1},
        {"a b,c d,view,0,0", "a b", "c d", 0, 0},
        {"\" u\",i,view,\"1\",\"1\"", "u", "i", 1, 1},
    };
    struct thaw_parser *p = new_parser(&csv, &all, "view=1,cart=3, buy = 5", THAW_NEGATIVE_MERGE);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct thaw_event e = parse(p, good[i].text, strlen(good[i].text));
        if (e.outcome != THAW_EVENT_OK) fail_msg("%s: %s", good[i].text, thaw_outcome_name(e.outcome));
        assert_int_equal(e.nuser, strlen(good[i].user));
        assert_memory_equal(e.user, good[i].user, e.nuser);
        assert_int_equal(e.nitem, strlen(good[i].item));
        assert_memory_equal(e.item, good[i].item, e.nitem);
        assert_true(e.value == good[i].value);
        assert_int_equal(e.time, good[i].time);
    }
    thaw_parser_free(&p);
    assert_null(p);
    thaw_parser_free(&p);
}

#define LINE(text) text, sizeof text - 1

static void test_outcomes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        enum thaw_outcome outcome;
    } bad[] = {
        {LINE(""), THAW_EVENT_BLANK},
        {LINE(" \t "), THAW_EVENT_BLANK},
        {LINE(",i,view,1,1"), THAW_EVENT_NO_USER},
        {LINE("  ,i,view,nan,1"), THAW_EVENT_NO_USER},
        {LINE("\"\",i,view,1,1"), THAW_EVENT_NO_USER},
        {LINE("u,,view,1,1"), THAW_EVENT_NO_ITEM},
        {LINE("u,i,view,1"), THAW_EVENT_BAD_FIELDS},
        {LINE("u,i,view,1,1,"), THAW_EVENT_BAD_FIELDS},
        {LINE("u"), THAW_EVENT_BAD_FIELDS},
        {LINE("\"u,i,view,1,1"), THAW_EVENT_BAD_QUOTE},
        {LINE("\"u\"x,i,view,1,1"), THAW_EVENT_BAD_QUOTE},
        {LINE("u\xff,i,view,1,1"), THAW_EVENT_BAD_UTF8},
        {LINE("u,caf\xe9,view,1,1"), THAW_EVENT_BAD_UTF8},
        {LINE("u\0,i,view,1,1"), THAW_EVENT_BAD_CONTROL},
        {LINE("u,a\tb,view,1,1"), THAW_EVENT_BAD_CONTROL},
        {LINE("u,i\x7f,view,1,1"), THAW_EVENT_BAD_CONTROL},
        {LINE("u,i,View,1,1"), THAW_EVENT_BAD_EVENT},
        {LINE("u,i,,1,1"), THAW_EVENT_BAD_EVENT},
        {LINE("u,i,vie,1,1"), THAW_EVENT_BAD_EVENT},
        {LINE("u,i,view,one,1"), THAW_EVENT_BAD_NUMBER},
        {LINE("u,i,view,1\0,1"), THAW_EVENT_BAD_NUMBER},
        {LINE("u,i,view,NaN,1"), THAW_EVENT_BAD_NOT_FINITE},
        {LINE("u,i,view,-inf,1"), THAW_EVENT_BAD_NOT_FINITE},
        {LINE("u,i,view,1e39,1"), THAW_EVENT_BAD_NOT_FINITE},
        {LINE("u,i,buy,1e38,1"), THAW_EVENT_BAD_NOT_FINITE},
        {LINE("u,i,view,1,"), THAW_EVENT_BAD_TIME},
        {LINE("u,i,view,1,yesterday"), THAW_EVENT_BAD_TIME},
        {LINE("u,i,view,1,1322697600000"), THAW_EVENT_BAD_TIME},
        {LINE("u,i,view,0,1"), THAW_EVENT_NEGATIVE},
        {LINE("u,i,view,-0.5,1"), THAW_EVENT_NEGATIVE},
        {LINE("u,i,none,1,1"), THAW_EVENT_NEGATIVE},
        {LINE("u,i,view,0.5,1"), THAW_EVENT_OK},
    };
    struct thaw_parser *p = new_parser(&csv, &all, "view=1,buy=5,none=0", THAW_NEGATIVE_SKIP);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct thaw_event e = parse(p, bad[i].text, bad[i].n);
        if (e.outcome != bad[i].outcome)
            fail_msg("%s: %s instead of %s", bad[i].text, thaw_outcome_name(e.outcome),
                     thaw_outcome_name(bad[i].outcome));
        assert_int_equal(thaw_outcome_bad(e.outcome), e.outcome >= THAW_EVENT_BAD_LENGTH);
    }
    struct thaw_line line = line_of("u,i,view,1,1", 12);
    struct thaw_event e;
    line.too_long = true;
    assert_int_equal(thaw_parser_parse(p, &line, &e, NULL), THAW_OK);
    assert_int_equal(e.outcome, THAW_EVENT_BAD_LENGTH);
    thaw_parser_free(&p);
}

static void test_id_length(void **state) {
    (void)state;
    char text[600];
    struct thaw_columns c = {.user = 1, .item = 0, .event = -1, .value = -1, .time = -1};
    struct thaw_format f = csv;
    f.nfields = 2;
    f.has_header = false;
    for (int latin = 0; latin < 2; latin++) {
        f.encoding = latin ? THAW_LATIN1 : THAW_UTF8;
        struct thaw_parser *p = new_parser(&f, &c, NULL, THAW_NEGATIVE_MERGE);
        memset(text, 'x', sizeof text);
        text[255] = ',';
        assert_int_equal(parse(p, text, 511).outcome, THAW_EVENT_OK);
        assert_int_equal(parse(p, text, 512).outcome, THAW_EVENT_BAD_ID_LENGTH);
        assert_int_equal(parse(p, text, 511).value, 1);
        text[0] = (char)0xe9; // a byte more in UTF-8
        assert_int_equal(parse(p, text, 511).outcome, latin ? THAW_EVENT_BAD_ID_LENGTH : THAW_EVENT_BAD_UTF8);
        memset(text, 0xe9, 255);
        assert_int_equal(parse(p, text, 511).outcome, latin ? THAW_EVENT_BAD_ID_LENGTH : THAW_EVENT_BAD_UTF8);
        thaw_parser_free(&p);
    }
}

static void test_latin1(void **state) {
    (void)state;
    struct thaw_format f = csv;
    f.encoding = THAW_LATIN1;
    struct thaw_parser *p = new_parser(&f, &all, "\xc3\xa9=2", THAW_NEGATIVE_MERGE);
    struct thaw_event e = parse(p, LINE("caf\xe9,\xc3\xa9,\xe9,3,1"));
    assert_int_equal(e.outcome, THAW_EVENT_OK);
    assert_int_equal(e.nuser, 5);
    assert_memory_equal(e.user, "caf\xc3\xa9", 5);
    assert_int_equal(e.nitem, 4); // two letters, although the bytes would be one of UTF-8
    assert_memory_equal(e.item, "\xc3\x83\xc2\xa9", 4);
    assert_true(e.value == 6);
    assert_int_equal(parse(p, LINE("a,b\x01,\xe9,3,1")).outcome, THAW_EVENT_BAD_CONTROL);
    thaw_parser_free(&p);
}

static void test_rules(void **state) {
    (void)state;
    static const enum thaw_negative rule[] = {THAW_NEGATIVE_MERGE, THAW_NEGATIVE_KEEP};
    for (int i = 0; i < 2; i++) {
        struct thaw_parser *p = new_parser(&csv, &all, NULL, rule[i]);
        assert_true(parse(p, LINE("u,i,return,-2,1")).value == -2);
        assert_true(parse(p, LINE("u,i,,0,1")).value == 0);
        thaw_parser_free(&p);
    }
    struct thaw_parser *p = new_parser(&csv, &all, "return=-1", THAW_NEGATIVE_MERGE);
    assert_true(parse(p, LINE("u,i,return,2,1")).value == -2);
    thaw_parser_free(&p);
}

static void test_headers(void **state) {
    (void)state;
    struct thaw_parser *p = new_parser(&csv, &all, NULL, THAW_NEGATIVE_MERGE);
    struct thaw_event e;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_line line = line_of(header, sizeof header - 1);
    assert_int_equal(thaw_parser_parse(p, &line, &e, &err), THAW_OK);
    assert_int_equal(e.outcome, THAW_EVENT_BAD_TIME); // in the middle of a file it is a bad line
    line.first = true;
    assert_int_equal(thaw_parser_parse(p, &line, &e, &err), THAW_OK);
    assert_int_equal(e.outcome, THAW_EVENT_HEADER);
    line = line_of(LINE("u,i,view,1,1"));
    line.first = true;
    assert_int_equal(thaw_parser_parse(p, &line, &e, &err), THAW_OK);
    assert_int_equal(e.outcome, THAW_EVENT_OK);
    line = line_of(LINE("item,user,event,value,time"));
    line.first = true;
    assert_int_equal(thaw_parser_parse(p, &line, &e, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "b.csv: its header differs from that of a.csv"));
    thaw_parser_free(&p);
}

static void test_weights_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"view",     "view=",   "=1", "view=x", "view=1,view=2",
                                      "view=inf", "view=1,", ",",  "a\x01=1"};
    struct thaw_parser *p = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct thaw_err err = THAW_ERR_INIT;
        if (thaw_parser_new(&p, &csv, &all, bad[i], THAW_NEGATIVE_MERGE, &err) != THAW_EUSAGE)
            fail_msg("'%s'", bad[i]);
        assert_non_null(strstr(err.text, "event weights"));
        assert_null(p);
    }
    struct thaw_columns c = all;
    struct thaw_err err = THAW_ERR_INIT;
    c.event = -1;
    assert_int_equal(thaw_parser_new(&p, &csv, &c, "view=1", THAW_NEGATIVE_MERGE, &err), THAW_EUSAGE);
    assert_non_null(strstr(err.text, "event column"));
    struct thaw_parser *many =
        new_parser(&csv, &all, "a=b=2,c=3", THAW_NEGATIVE_MERGE); // the last '=' counts
    assert_true(parse(many, LINE("u,i,a=b,1,1")).value == 2);
    thaw_parser_free(&many);
}

// Random bytes do nothing worse than be bad; what is good keeps its promises.
static void test_garbage(void **state) {
    (void)state;
    static const char letters[] = "u1,,,\"\t \0-.e9\xc3\xa9\xff";
    struct thaw_parser *p = new_parser(&csv, &all, NULL, THAW_NEGATIVE_SKIP);
    int good = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        struct thaw_rng r = thaw_rng_at(5, 96, i);
        char text[40];
        size_t n = thaw_rng_below(&r, sizeof text);
        for (size_t j = 0; j < n; j++) text[j] = letters[thaw_rng_below(&r, sizeof letters - 1)];
        char *exact = malloc(n + 1);
        assert_non_null(exact);
        memcpy(exact + 1, text, n);
        struct thaw_event e = parse(p, exact + 1, n);
        assert_true(e.outcome < THAW_OUTCOMES);
        if (e.outcome == THAW_EVENT_OK) {
            good++;
            assert_true(e.nuser > 0 && e.nuser <= THAW_ID_MAX && e.nitem > 0 && e.nitem <= THAW_ID_MAX);
            assert_true(isfinite(e.value) && e.value > 0);
        }
        free(exact);
    }
    assert_true(good > 0);
    thaw_parser_free(&p);
}

static void test_lists(void **state) {
    (void)state;
    static const struct thaw_columns columns = {.user = 0, .item = 1, .event = -1, .value = -1, .time = -1};
    static const char *const delimiters[] = {" ", ",", "::"};
    for (int d = 0; d < 3; d++) {
        struct thaw_format f = {.path = path, .lists = true, .nfields = 2, .blank = d == 0};
        f.ndelimiter = (int)strlen(strcpy(f.delimiter, delimiters[d]));
        struct thaw_parser *p = new_parser(&f, &columns, NULL, THAW_NEGATIVE_MERGE);
        char text[200];
        int n = snprintf(text, sizeof text, "ann%spen%s\xff%sink", f.delimiter, f.delimiter, f.delimiter);
        struct thaw_line line = line_of(text, (size_t)n);
        struct thaw_event e;
        struct thaw_field item;
        thaw_parser_list(p, &line, &e);
        assert_int_equal(e.outcome, THAW_EVENT_OK);
        static const char *const want[] = {"pen", "\xff", "ink"};
        for (int i = 0; i < 3; i++) {
            assert_true(thaw_parser_item(p, &e, &item));
            assert_int_equal(e.outcome, i == 1 ? THAW_EVENT_BAD_UTF8 : THAW_EVENT_OK);
            assert_int_equal(item.n, strlen(want[i]));
            assert_memory_equal(item.text, want[i], item.n);
            if (i == 1) continue;
            assert_true(e.nuser == 3 && memcmp(e.user, "ann", 3) == 0 && e.value == 1 && e.time == 0);
            assert_true(e.nitem == 3 && memcmp(e.item, want[i], 3) == 0);
        }
        assert_false(thaw_parser_item(p, &e, &item));
        line = line_of("ann", 3);
        thaw_parser_list(p, &line, &e);
        assert_int_equal(e.outcome, THAW_EVENT_NO_ITEM);
        line = line_of("  ", 2);
        thaw_parser_list(p, &line, &e);
        assert_int_equal(e.outcome, THAW_EVENT_BLANK);
        line = line_of("a\1", 2);
        thaw_parser_list(p, &line, &e);
        assert_int_equal(e.outcome, THAW_EVENT_BAD_CONTROL);
        thaw_parser_free(&p);
    }
}

static void test_outcome_names(void **state) {
    (void)state;
    for (int i = 0; i < THAW_OUTCOMES; i++) {
        const char *name = thaw_outcome_name((enum thaw_outcome)i);
        assert_non_null(name);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(name));
        assert_non_null(thaw_outcome_about((enum thaw_outcome)i));
        for (int j = 0; j < i; j++) assert_string_not_equal(name, thaw_outcome_name((enum thaw_outcome)j));
    }
}

static void test_quarantine(void **state) {
    (void)state;
    static char out[THAW_QUARANTINE_MAX];
    struct thaw_line line = line_of(LINE("a\tb\\c\0d\x7f\xff,\x1b[m"));
    size_t n = thaw_quarantine_format(out, &line, THAW_EVENT_BAD_UTF8);
    const char *expect = "b.csv:2\tutf-8\ta\\tb\\\\c\\x00d\\x7f\xff,\\x1b[m\n";
    assert_int_equal(n, strlen(expect));
    assert_memory_equal(out, expect, n);
    char *ugly = malloc(THAW_LINE_MAX), *long_path = malloc(5000);
    assert_non_null(ugly);
    assert_non_null(long_path);
    memset(ugly, 1, THAW_LINE_MAX);
    memset(long_path, 2, 5000);
    long_path[4999] = '\0';
    line = line_of(ugly, THAW_LINE_MAX);
    n = thaw_quarantine_format(out, &line, THAW_EVENT_BAD_LENGTH);
    assert_int_equal(n, strlen("b.csv:2\tline-too-long\t") + (size_t)4 * 4096 + 1);
    line.path = long_path;
    assert_true(thaw_quarantine_format(out, &line, THAW_EVENT_BAD_LENGTH) <= THAW_QUARANTINE_MAX);
    free(ugly);
    free(long_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_id_length),
        cmocka_unit_test(test_latin1),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_weights_refused),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_outcome_names),
        cmocka_unit_test(test_quarantine),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
