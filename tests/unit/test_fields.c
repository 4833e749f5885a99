// test_fields.c: cutting lines against a slow reference, and what is found out about a file's format.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "partition/event.h"
#include "partition/fields.h"
#include "scratch_put.h"

// A format made by hand: nfields is the room for fields.
static struct thaw_format made(const char *delimiter, int nfields) {
    struct thaw_format f = {.ndelimiter = (int)strlen(delimiter), .nfields = nfields};
    strcpy(f.delimiter, delimiter);
    f.blank = strcmp(delimiter, " ") == 0;
    f.quoting = f.ndelimiter == 1 && !f.blank;
    return f;
}

// The slow definition. out: the fields with 0x01 behind each. Returns their number or THAW_SPLIT_QUOTE.
static int reference(const struct thaw_format *f, const char *line, size_t n, char *out) {
    size_t at = 0, nd = (size_t)f->ndelimiter;
    int fields = 0;
    for (;;) {
        if (f->blank) {
            while (at < n && (line[at] == ' ' || line[at] == '\t')) at++;
            if (at == n) break;
            while (at < n && line[at] != ' ' && line[at] != '\t') *out++ = line[at++];
        } else if (f->quoting && at < n && line[at] == '"') {
            for (at++;; at++) {
                if (at == n) return THAW_SPLIT_QUOTE;
                if (line[at] == '"' && (at + 1 == n || line[at + 1] != '"')) break;
                if (line[at] == '"') at++;
                *out++ = line[at];
            }
            if (++at < n && line[at] != f->delimiter[0]) return THAW_SPLIT_QUOTE;
        } else {
            while (at < n && (n - at < nd || memcmp(line + at, f->delimiter, nd) != 0)) *out++ = line[at++];
        }
        *out++ = 1;
        fields++;
        if (!f->blank) {
            if (at == n) break;
            at += nd;
        }
    }
    *out = '\0';
    return fields;
}

static void expect_split(const struct thaw_format *f, struct thaw_fields *s, const char *line, size_t n) {
    char expect[512], got[512];
    int fields = reference(f, line, n, expect);
    int count = thaw_fields_split(s, f, line, n);
    if (count != fields)
        fail_msg("'%.*s' by '%s': %d fields, not %d", (int)n, line, f->delimiter, count, fields);
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        memcpy(got + at, s->field[i].text, s->field[i].n);
        at += s->field[i].n;
        got[at++] = 1;
    }
    if (fields >= 0 && memcmp(got, expect, at) != 0) fail_msg("'%.*s' by '%s'", (int)n, line, f->delimiter);
}

static void test_split_like_reference(void **state) {
    (void)state;
    static const char *const delimiter[] = {",", "\t", "::", "|", " ", "<=>", "aa"};
    static const char letters[] = "ab\"\",,,::|\t <=>\0x";
    for (size_t d = 0; d < sizeof delimiter / sizeof delimiter[0]; d++) {
        struct thaw_format f = made(delimiter[d], 64);
        struct thaw_fields s;
        assert_int_equal(thaw_fields_new(&s, &f, NULL), THAW_OK);
        for (uint64_t round = 0; round < 20000; round++) {
            struct thaw_rng rng = thaw_rng_at(d, 98, round);
            char line[64];
            size_t n = thaw_rng_below(&rng, round % 2 ? 12 : 60);
            uint64_t kinds = 2 + thaw_rng_below(&rng, sizeof letters - 3);
            for (size_t i = 0; i < n; i++) line[i] = letters[thaw_rng_below(&rng, kinds)];
            char *exact = malloc(n + 1); // so that a sanitizer sees a read behind the end
            assert_non_null(exact);
            memcpy(exact + 1, line, n);
            expect_split(&f, &s, exact + 1, n);
            free(exact);
        }
        thaw_fields_clear(&s);
    }
}

// A list is cut field by field as a line is at once, quotes being bytes like any other.
static void test_next_like_split(void **state) {
    (void)state;
    static const char *const delimiter[] = {",", "::", " ", "<=>"};
    static const char letters[] = "ab,::<=> \t\"";
    for (size_t d = 0; d < sizeof delimiter / sizeof delimiter[0]; d++) {
        struct thaw_format f = made(delimiter[d], 64);
        struct thaw_fields s;
        f.quoting = false;
        assert_int_equal(thaw_fields_new(&s, &f, NULL), THAW_OK);
        for (uint64_t round = 0; round < 5000; round++) {
            struct thaw_rng rng = thaw_rng_at(d, 97, round);
            char line[40];
            const size_t n = thaw_rng_below(&rng, sizeof line);
            for (size_t i = 0; i < n; i++) line[i] = letters[thaw_rng_below(&rng, sizeof letters - 1)];
            const int count = thaw_fields_split(&s, &f, line, n);
            const char *at = line;
            struct thaw_field field;
            int next = 0;
            for (; thaw_field_next(&f, &at, line + n, &field); next++) {
                assert_true(next < count);
                assert_ptr_equal(field.text, s.field[next].text);
                assert_int_equal(field.n, s.field[next].n);
            }
            assert_int_equal(next, count);
        }
        thaw_fields_clear(&s);
    }
}

static void test_split_cases(void **state) {
    (void)state;
    static const struct {
        const char *delimiter, *line;
        int n;
        const char *last;
    } split[] = {
        {",", "", 1, ""},
        {",", ",", 2, ""},
        {",", "a,b,c", 3, "c"},
        {",", "a,\"b,c\"", 2, "b,c"},
        {",", "\"say \"\"hi\"\"\"", 1, "say \"hi\""},
        {",", "\"\",x", 2, "x"},
        {",", "a,\"\"", 2, ""},
        {",", "a \"b\",c", 2, "c"},
        {",", "\"a", THAW_SPLIT_QUOTE, NULL},
        {",", "\"a\"b", THAW_SPLIT_QUOTE, NULL},
        {",", "a,\"", THAW_SPLIT_QUOTE, NULL},
        {",", "\"\"\"", THAW_SPLIT_QUOTE, NULL},
        {"::", "1::Toy Story::A|B", 3, "A|B"},
        {"::", ":::::", 3, ":"},
        {"::", "\"a::b\"", 2, "b\""},
        {"::", "a:b", 1, "a:b"},
        {" ", "  a \t b  ", 2, "b"},
        {" ", "   ", 0, NULL},
        {" ", "\"a b\"", 2, "b\""},
    };
    for (size_t i = 0; i < sizeof split / sizeof split[0]; i++) {
        struct thaw_format f = made(split[i].delimiter, 8);
        struct thaw_fields s;
        assert_int_equal(thaw_fields_new(&s, &f, NULL), THAW_OK);
        assert_int_equal(thaw_fields_split(&s, &f, split[i].line, strlen(split[i].line)), split[i].n);
        if (split[i].last != NULL) {
            struct thaw_field last = s.field[split[i].n - 1];
            assert_int_equal(last.n, strlen(split[i].last));
            assert_memory_equal(last.text, split[i].last, last.n);
        }
        thaw_fields_clear(&s);
    }
}

// More fields than there is room for are counted, not stored.
static void test_split_overflow(void **state) {
    (void)state;
    struct thaw_format f = made(",", 2);
    struct thaw_fields s;
    assert_int_equal(thaw_fields_new(&s, &f, NULL), THAW_OK);
    assert_int_equal(thaw_fields_split(&s, &f, "a,b,c,d", 7), 4);
    assert_int_equal(thaw_fields_split(&s, &f, "a,\"b\",c,\"d\"", 11), 4);
    thaw_fields_clear(&s);
}

static int detect(const char *text, const struct thaw_format_wish *wish, struct thaw_format **f,
                  struct thaw_err *err) {
    struct thaw_sources *s = NULL;
    struct thaw_head head = {0};
    const char *path = scratch_text("events.csv", text);
    int code = thaw_sources_open(&s, &path, 1, 0, err);
    if (code == THAW_OK) code = thaw_head_read(&head, s, err);
    if (code == THAW_OK) code = thaw_format_detect(f, &head, wish, err);
    thaw_head_clear(&head);
    thaw_sources_close(&s);
    return code;
}

static void test_detect(void **state) {
    (void)state;
    static const struct {
        const char *text, *describe;
    } file[] = {
        {"1::10::5\n1::11::3\n2::10::4\n", "'::'-separated, 3 fields, no header, utf-8"},
        {"1\t10\t5\t881250949\n2\t11\t3\t881250950\n", "tab-separated, 4 fields, no header, utf-8"},
        {"user,item,value\na,b,1\nc,d,2\n", "comma-separated, 3 fields, header, utf-8"},
        {"a;b;2011-01-01 10:00\nc;d;2011-01-02 11:00\n", "semicolon-separated, 3 fields, no header, utf-8"},
        {"1|24|M|technician|85711\n2|53|F|other|94043\n", "bar-separated, 5 fields, no header, utf-8"},
        {"u1 i1 1\nu2   i2 2 \n", "blank-separated, 3 fields, no header, utf-8"},
        {"who,what,how much\na,b,1\nc,d,2\n", "comma-separated, 3 fields, header, utf-8"},
        {"id,gender,region\na,f,north\nb,m,south\n", "comma-separated, 3 fields, header, utf-8"},
        {"a,view,ID\nb,buy,CA\n", "comma-separated, 3 fields, no header, utf-8"},
        {"user_id,item_id\n", "comma-separated, 2 fields, header, utf-8"},
        {"1::Toy Story (1995)::Animation|Children's\n2::Jumanji (1995)::Fantasy\n",
         "'::'-separated, 3 fields, no header, utf-8"},
        {"a,\"x,y\",1\nb,z,2\nc,\"1,2,3\",3\n", "comma-separated, 3 fields, no header, utf-8"},
        {"one\ntwo\nthree\n", "tab-separated, 1 field, no header, utf-8"},
        {"\n\na,b\nc,d\n", "comma-separated, 2 fields, no header, utf-8"},
        {"u1,red lamp\nu2,blue pen\nu3,big hat\nu4 x\n", "comma-separated, 2 fields, no header, utf-8"},
        {"user,item,5\nu2,i2,6\n", "comma-separated, 3 fields, no header, utf-8"}, // ids that look like names
    };
    for (size_t i = 0; i < sizeof file / sizeof file[0]; i++) {
        struct thaw_format_wish wish = {0};
        struct thaw_format *f = NULL;
        struct thaw_err err = THAW_ERR_INIT;
        char buf[200];
        assert_int_equal(detect(file[i].text, &wish, &f, &err), THAW_OK);
        assert_string_equal(thaw_format_describe(f, buf, sizeof buf), file[i].describe);
        thaw_format_free(&f);
        assert_null(f);
    }
}

static void test_detect_wishes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        struct thaw_format_wish wish;
        const char *describe;
    } file[] = {
        {"a,b|c\nd,e|f\n", {.delimiter = "|"}, "bar-separated, 2 fields, no header, utf-8"},
        {"a\\tb\n", {.delimiter = "\\t"}, "tab-separated, 1 field, no header, utf-8"},
        {"a<=>b\nc<=>d\n", {.delimiter = "<=>"}, "'<=>'-separated, 2 fields, no header, utf-8"},
        {"a,b\nc,d\n",
         {.delimiter = "auto", .header = THAW_HEADER_YES},
         "comma-separated, 2 fields, header, utf-8"},
        {"user,item\nc,d\n", {.header = THAW_HEADER_NO}, "comma-separated, 2 fields, no header, utf-8"},
        {"x,y\nc,d\n", {.columns = "user=x,item=y"}, "comma-separated, 2 fields, header, utf-8"},
        {"x,y\nc,d\n", {.columns = "user,item"}, "comma-separated, 2 fields, no header, utf-8"},
        {"u a,b\nv c,d\nw e,f\nx y\n",
         {.lists = true},
         "comma-separated, a user and their items in a line, utf-8"},
    };
    for (size_t i = 0; i < sizeof file / sizeof file[0]; i++) {
        struct thaw_format *f = NULL;
        struct thaw_err err = THAW_ERR_INIT;
        char buf[200];
        assert_int_equal(detect(file[i].text, &file[i].wish, &f, &err), THAW_OK);
        assert_string_equal(thaw_format_describe(f, buf, sizeof buf), file[i].describe);
        thaw_format_free(&f);
    }
}

// Free text with quotes that mean nothing.
static void test_no_quoting(void **state) {
    (void)state;
    const char *line = "a\t\"5\" disc\t1";
    struct thaw_format *f = NULL;
    struct thaw_fields s;
    for (int off = 0; off < 2; off++) {
        struct thaw_format_wish wish = {.no_quoting = off};
        assert_int_equal(detect("a\tb\t1\nc\td\t2\n", &wish, &f, NULL), THAW_OK);
        assert_int_equal(f->quoting, !off);
        assert_int_equal(thaw_fields_new(&s, f, NULL), THAW_OK);
        assert_int_equal(thaw_fields_split(&s, f, line, strlen(line)), off ? 3 : THAW_SPLIT_QUOTE);
        thaw_fields_clear(&s);
        thaw_format_free(&f);
    }
}

// What columns look like: times and numbers together are numbers; a value that had to be unescaped does not
// count as distinct.
static void test_looks(void **state) {
    (void)state;
    struct thaw_format *f = NULL;
    const char *text = "a,99999999,\"5\"\" disc\"\nb,100000001,\"7\"\" disc\"\na,99999998,x\n";
    assert_int_equal(detect(text, &(struct thaw_format_wish){0}, &f, NULL), THAW_OK);
    assert_int_equal(f->nfields, 3);
    assert_int_equal(f->looks[0], THAW_LOOKS_TEXT);
    assert_int_equal(f->looks[1], THAW_LOOKS_NUMBER);
    assert_int_equal(f->distinct[0], 2);
    assert_int_equal(f->distinct[1], 3);
    assert_int_equal(f->distinct[2], 1);
    thaw_format_free(&f);
}

static void expect_refused(const char *text, struct thaw_format_wish wish, int code, const char *word) {
    struct thaw_format *f = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(detect(text, &wish, &f, &err), code);
    assert_null(f);
    if (strstr(err.text, word) == NULL) fail_msg("'%s' lacks '%s'", err.text, word);
}

static void test_detect_refuses(void **state) {
    (void)state;
    expect_refused("", (struct thaw_format_wish){0}, THAW_EDATA, "no lines");
    expect_refused("a,b\n", (struct thaw_format_wish){.delimiter = ""}, THAW_EUSAGE, "delimiter");
    expect_refused("a,b\n", (struct thaw_format_wish){.delimiter = "12345678"}, THAW_EUSAGE, "delimiter");
    expect_refused("a,b\n", (struct thaw_format_wish){.delimiter = "\""}, THAW_EUSAGE, "delimiter");
    expect_refused("a,\001\nb,c\n", (struct thaw_format_wish){.header = THAW_HEADER_YES}, THAW_EDATA,
                   "control");
    expect_refused("a,\xe9\nb,c\n", (struct thaw_format_wish){.header = THAW_HEADER_YES}, THAW_EDATA,
                   "latin-1");
    expect_refused("a,\"b\nb,c\n", (struct thaw_format_wish){.header = THAW_HEADER_YES}, THAW_EDATA, "quote");
    char wide[6000];
    memset(wide, ',', sizeof wide);
    wide[sizeof wide - 1] = '\0';
    expect_refused(wide, (struct thaw_format_wish){0}, THAW_EDATA, "fields");
}

static void test_names(void **state) {
    (void)state;
    struct thaw_format_wish wish = {.encoding = THAW_LATIN1, .header = THAW_HEADER_YES};
    struct thaw_format *f = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    char buf[24];
    assert_int_equal(detect("\"user \"\"id\"\"\", pr\xe9nom ,n\n1,2,3\n", &wish, &f, &err), THAW_OK);
    assert_int_equal(thaw_format_column(f, "user \"id\""), 0);
    assert_int_equal(thaw_format_column(f, "pr\xc3\xa9nom"), 1);
    assert_int_equal(thaw_format_column(f, "absent"), -1);
    assert_string_equal(thaw_format_columns(f, buf, sizeof buf), "user \"id\", pr\xc3\xa9nom, n");
    assert_string_equal(thaw_format_columns(f, buf, 12), "user \"id...");
    assert_int_equal(f->looks[2], THAW_LOOKS_NUMBER);
    thaw_format_free(&f);
}

// The first lines of further files.
static void test_first_lines(void **state) {
    (void)state;
    static const struct {
        const char *line;
        int code;
        bool header;
    } first[] = {
        {"user,item,value", THAW_OK, true},
        {"a,b,3", THAW_OK, false},
        {"a,b,", THAW_OK, false},
        {"", THAW_OK, false},
        {"item,user,value", THAW_EDATA, false},
        {"user,item,value,time", THAW_EDATA, false},
        {"who,what,rating", THAW_EDATA, false},
    };
    struct thaw_format *f = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(detect("user,item,value\na,b,1\n", &(struct thaw_format_wish){0}, &f, &err), THAW_OK);
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        struct thaw_line line = {
            .path = "b.csv", .text = first[i].line, .n = strlen(first[i].line), .first = true};
        bool header = true;
        err = THAW_ERR_INIT;
        assert_int_equal(thaw_format_first(f, &line, &header, &err), first[i].code);
        assert_int_equal(header, first[i].header);
        if (first[i].code != THAW_OK) assert_non_null(strstr(err.text, "b.csv: its header differs"));
    }
    f->header_sure = true;
    struct thaw_line line = {.path = "b.csv", .text = "a,b,3", .n = 5, .first = true};
    bool header;
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_format_first(f, &line, &header, &err), THAW_EDATA);
    thaw_format_free(&f);
}

static void expect_columns(const char *text, const char *spec, const char *describe) {
    struct thaw_format *f = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_columns c;
    char buf[300];
    assert_int_equal(detect(text, &(struct thaw_format_wish){.columns = spec}, &f, &err), THAW_OK);
    if (thaw_columns_find(&c, f, spec, &err) != THAW_OK) fail_msg("%s: %s", spec, err.text);
    assert_string_equal(thaw_columns_describe(&c, f, buf, sizeof buf), describe);
    thaw_format_free(&f);
}

static void test_columns(void **state) {
    (void)state;
    const char *shop = "InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID\n1,A1,3,2011-12-01T08:26:00,17\n";
    const char *shop_is =
        "user = CustomerID (field 5), item = StockCode (field 2), no event, value = Quantity (field 3), "
        "time = InvoiceDate (field 4)";
    expect_columns(shop, NULL, shop_is);
    expect_columns(shop, "user=CustomerID, item = StockCode,value=Quantity,time=InvoiceDate", shop_is);
    expect_columns(shop, "-,item,value,time,user", shop_is);
    expect_columns(shop, "user,item",
                   "user = InvoiceNo (field 1), item = StockCode (field 2), no event, no value, no time");
    expect_columns("1\t10\t5\t881250949\n", NULL,
                   "user = field 1, item = field 2, no event, value = field 3, time = field 4 (guessed; "
                   "--columns says otherwise)");
    expect_columns("u1,i1,view,1,2020-01-01\n", "",
                   "user = field 1, item = field 2, event = field 3, value = field 4, time = field 5 "
                   "(guessed; --columns says otherwise)");
    expect_columns(
        "a,b\n", NULL,
        "user = field 1, item = field 2, no event, no value, no time (guessed; --columns says otherwise)");
}

// Of two columns with names known equally well the first counts; of more than 32 words none is an event.
static void test_columns_at_the_edge(void **state) {
    (void)state;
    expect_columns("UserID,user_id,item,x\n1,2,3,4\n", NULL,
                   "user = UserID (field 1), item = item (field 3), no event, no value, no time");
    for (int words = 32; words <= 33; words++) {
        char text[1024], *at = text;
        for (int i = 0; i < words; i++)
            at += sprintf(at, "u%d,i%d,w%c%c\n", i, i, 'a' + i / 26, 'a' + i % 26);
        expect_columns(text, NULL,
                       words == 32
                           ? "user = field 1, item = field 2, event = field 3, no value, no time (guessed; "
                             "--columns says otherwise)"
                           : "user = field 1, item = field 2, no event, no value, no time (guessed; "
                             "--columns says otherwise)");
    }
}

static void test_columns_refused(void **state) {
    (void)state;
    static const struct {
        const char *spec;
        int code;
        const char *word;
    } bad[] = {
        {"user=Customer,item=b", THAW_EDATA, "events.csv: no column 'Customer'; it has: a, b, b"},
        {"user=a,item=b", THAW_EDATA, "both called 'b'"},
        {"user=a,item", THAW_EUSAGE, "by position"},
        {"user=a", THAW_EUSAGE, "both a user and an item"},
        {"user,thing", THAW_EUSAGE, "'thing'"},
        {"user,user,item", THAW_EUSAGE, "twice"},
        {"user,item,", THAW_EUSAGE, "''"},
        {"user=,item=b", THAW_EUSAGE, "needs the name"},
        {"user,item,event,value", THAW_EDATA, "3 fields"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct thaw_format *f = NULL;
        struct thaw_err err = THAW_ERR_INIT;
        struct thaw_columns c;
        assert_int_equal(
            detect("a,b,b\nx,y,1\n", &(struct thaw_format_wish){.header = THAW_HEADER_YES}, &f, &err),
            THAW_OK);
        assert_int_equal(thaw_columns_find(&c, f, bad[i].spec, &err), bad[i].code);
        if (strstr(err.text, bad[i].word) == NULL) fail_msg("'%s' lacks '%s'", err.text, bad[i].word);
        thaw_format_free(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_like_reference), cmocka_unit_test(test_split_cases),
        cmocka_unit_test(test_split_overflow),       cmocka_unit_test(test_detect),
        cmocka_unit_test(test_detect_wishes),        cmocka_unit_test(test_no_quoting),
        cmocka_unit_test(test_detect_refuses),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_first_lines),          cmocka_unit_test(test_columns),
        cmocka_unit_test(test_columns_at_the_edge),  cmocka_unit_test(test_columns_refused),
        cmocka_unit_test(test_next_like_split),      cmocka_unit_test(test_looks),
    };
    return cmocka_run_group_tests_name("fields", tests, scratch_make, scratch_remove);
}
