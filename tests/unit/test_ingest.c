// test_ingest.c: files of mutated lines through the whole path from bytes to events: nothing breaks, every
// line has one outcome, and the events do not depend on how the file is cut.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/rng.h"
#include "partition/event.h"
#include "scratch_put.h"

#include <string.h>

struct found {
    int64_t lines, outcome[THAW_OUTCOMES];
    uint64_t digest; // of all events, in any order
};

static uint64_t event_digest(const struct thaw_event *e) {
    struct {
        uint64_t user, item;
        int64_t time;
        float value, zero;
    } key = {thaw_hash_id(e->user, e->nuser), thaw_hash_id(e->item, e->nitem), e->time, e->value, 0};
    return thaw_hash_id(&key, sizeof key);
}

static int read_unit(const struct thaw_sources *s, int64_t unit, struct thaw_parser *p, struct found *found,
                     struct thaw_err *err) {
    static char record[THAW_QUARANTINE_MAX];
    struct thaw_reader *r = NULL;
    struct thaw_line line;
    struct thaw_event e;
    int code = thaw_reader_open(&r, s, unit, err);
    while (code == THAW_OK && (code = thaw_reader_next(r, &line, err)) == THAW_OK && line.text != NULL) {
        if ((code = thaw_parser_parse(p, &line, &e, err)) != THAW_OK) break;
        assert_true(e.outcome < THAW_OUTCOMES);
        found->lines++;
        found->outcome[e.outcome]++;
        if (e.outcome == THAW_EVENT_OK) found->digest += event_digest(&e);
        size_t n = thaw_quarantine_format(record, &line, e.outcome);
        assert_true(n <= sizeof record && record[n - 1] == '\n' && memchr(record, '\n', n) == record + n - 1);
    }
    thaw_reader_close(&r);
    return code;
}

static int ingest(const char *path, int64_t unit_bytes, const struct thaw_format_wish *wish,
                  struct found *found, struct thaw_err *err) {
    struct thaw_sources *s = NULL;
    struct thaw_head head = {0};
    struct thaw_format *f = NULL;
    struct thaw_columns c;
    struct thaw_parser *p = NULL;
    char text[400];
    memset(found, 0, sizeof *found);
    int code = thaw_sources_open(&s, &path, 1, unit_bytes, err);
    if (code == THAW_OK) code = thaw_head_read(&head, s, err);
    if (code == THAW_OK) code = thaw_format_detect(&f, &head, wish, err);
    if (code == THAW_OK) code = thaw_columns_find(&c, f, wish->columns, err);
    if (code == THAW_OK) code = thaw_parser_new(&p, f, &c, NULL, THAW_NEGATIVE_MERGE, err);
    if (code == THAW_OK) {
        assert_true(strlen(thaw_format_describe(f, text, sizeof text)) > 0);
        assert_true(strlen(thaw_columns_describe(&c, f, text, 40)) < 40);
    }
    for (int64_t i = 0; code == THAW_OK && i < s->nunits; i++) code = read_unit(s, i, p, found, err);
    thaw_parser_free(&p);
    thaw_format_free(&f);
    thaw_head_clear(&head);
    thaw_sources_close(&s);
    return code;
}

// A small log in one of several dialects.
static size_t write_log(char *out, size_t cap, struct thaw_rng *r) {
    static const char *const dialect[] = {"u%d,i%d,%d,%d\n",     "%d::%d::%d::%d\n", "%d\t%d\t%d\t%d\r\n",
                                          "\"u%d\",i%d,%d,%d\n", "%d %d  %d %d\n",   "%d|%d|%d|%d\n"};
    const char *line = dialect[thaw_rng_below(r, 6)];
    size_t n = 0;
    if (thaw_rng_below(r, 3) == 0) n += (size_t)snprintf(out, cap, "user,item,value,time\n");
    for (uint64_t i = 5 + thaw_rng_below(r, 30); i > 0; i--)
        n += (size_t)snprintf(out + n, cap - n, line, (int)thaw_rng_below(r, 50), (int)thaw_rng_below(r, 50),
                              (int)thaw_rng_below(r, 9), 1000000000 + (int)thaw_rng_below(r, 1000));
    return n;
}

static void mutate(char *bytes, size_t n, struct thaw_rng *r) {
    static const char likely[] = "\n\r,\t\"\"::| .-e\0\xff\xc3\x1f\x8b";
    for (uint64_t i = thaw_rng_below(r, 12); i > 0; i--) {
        size_t at = thaw_rng_below(r, n);
        bytes[at] =
            thaw_rng_below(r, 2) ? likely[thaw_rng_below(r, sizeof likely - 1)] : (char)thaw_rng_u32(r);
    }
}

static void test_mutated_logs(void **state) {
    (void)state;
    static char bytes[4096];
    int read = 0;
    for (uint64_t round = 0; round < 200; round++) {
        struct thaw_rng r = thaw_rng_at(7, 94, round);
        struct thaw_format_wish wish = {.encoding = round % 5 == 0 ? THAW_LATIN1 : THAW_UTF8};
        size_t n = write_log(bytes, sizeof bytes, &r);
        if (round % 4 != 0) mutate(bytes, n, &r);
        const char *path = scratch_put("log", bytes, n - (round % 3 == 0));
        struct found whole, cut;
        struct thaw_err err = THAW_ERR_INIT, again = THAW_ERR_INIT;
        int code = ingest(path, 0, &wish, &whole, &err);
        if (code != THAW_OK && code != THAW_EDATA) fail_msg("round %d: %s", (int)round, err.text);
        assert_int_equal(ingest(path, 1 + (int64_t)thaw_rng_below(&r, 200), &wish, &cut, &again), code);
        if (code != THAW_OK) continue;
        read++;
        assert_memory_equal(&whole, &cut, sizeof whole);
        int64_t sum = 0;
        for (int i = 0; i < THAW_OUTCOMES; i++) sum += whole.outcome[i];
        assert_int_equal(sum, whole.lines);
        if (round % 4 == 0)
            assert_int_equal(whole.lines, whole.outcome[THAW_EVENT_OK] + whole.outcome[THAW_EVENT_HEADER] +
                                              whole.outcome[THAW_EVENT_BAD_FIELDS]);
    }
    assert_true(read > 150);
}

// Binary garbage of any kind.
static void test_garbage(void **state) {
    (void)state;
    static char bytes[3000];
    for (uint64_t round = 0; round < 200; round++) {
        struct thaw_rng r = thaw_rng_at(8, 94, round);
        size_t n = thaw_rng_below(&r, sizeof bytes);
        for (size_t i = 0; i < n; i++) bytes[i] = (char)thaw_rng_u32(&r);
        if (round % 4 == 1 && n > 8) memcpy(bytes, "\x1f\x8b\x08\0\0\0\0\0", 8);
        if (round % 4 == 2 && n > 8) memcpy(bytes, "\x28\xb5\x2f\xfd", 4);
        struct found found;
        struct thaw_err err = THAW_ERR_INIT;
        int code = ingest(scratch_put("noise", bytes, n), 100, &(struct thaw_format_wish){0}, &found, &err);
        if (code != THAW_OK && code != THAW_EDATA) fail_msg("round %d: %d %s", (int)round, code, err.text);
        if (code != THAW_OK) assert_non_null(strstr(err.text, "noise"));
        assert_int_equal(err.code, code);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated_logs), cmocka_unit_test(test_garbage)};
    return cmocka_run_group_tests_name("ingest", tests, scratch_make, scratch_remove);
}
