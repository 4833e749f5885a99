// Specifications, guesses, parsing and encoding of attributes.
#include "base/hash.h"
#include "partition/attribute.h"
#include "partition/profile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// ---- Specifications ----

static char *names[] = {"UserID", "gender", "age", "about"};
static struct thaw_format with_header = {
    .path = "users.csv", .nfields = 4, .has_header = true, .name = names};
static struct thaw_format without = {.path = "users.dat", .nfields = 5};

static int find(struct thaw_attribute_plan *p, const struct thaw_format *f, const char *spec,
                struct thaw_err *err) {
    *err = THAW_ERR_INIT;
    return thaw_attribute_plan_find(p, f, THAW_USERS, spec, err);
}

static void expect(const struct thaw_format *f, const char *spec, int id, const char *plan) {
    struct thaw_attribute_plan p;
    struct thaw_err err;
    char text[400] = "";
    assert_int_equal(find(&p, f, spec, &err), THAW_OK);
    assert_int_equal(p.id, id);
    for (int i = 0; i < p.n; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s@%d:%s", i ? " " : "",
                 p.attribute[i].name, p.attribute[i].field,
                 p.attribute[i].kind == THAW_KIND_GUESS ? "?"
                                                        : thaw_attribute_kind_name(p.attribute[i].kind));
    assert_string_equal(text, plan);
    thaw_attribute_plan_clear(&p);
}

static void reads_specifications(void **state) {
    (void)state;
    expect(&without, "gender:categorical,age:numeric,-,zip", 0, "gender@1:categorical age@2:numeric zip@4:?");
    expect(&without, "-,gender,id,age:multi", 2, "gender@1:? age@3:multi");
    expect(&without, NULL, 0, "field2@1:? field3@2:? field4@3:? field5@4:?");
    expect(&with_header, "", 0, "gender@1:? age@2:? about@3:?");
    expect(&with_header, "id=UserID, age:numeric", 0, "age@2:numeric");
    expect(&with_header, "years=age:numeric,about:text", 0, "years@2:numeric about@3:text");
    expect(&with_header, "id=about,sex=gender", 3, "sex@1:?");
    expect(&with_header, "id,sex,-,words:text", 0, "sex@1:? words@3:text");
}

static void refuses_wrong_specifications(void **state) {
    (void)state;
    static const struct {
        bool header;
        const char *spec;
        int code;
        const char *word;
    } bad[] = {
        {true, "height", THAW_EDATA, "UserID, gender, age, about"},
        {true, "id=Nobody", THAW_EDATA, "Nobody"},
        {true, "age:colour", THAW_EUSAGE, "colour"},
        {true, "age,age", THAW_EUSAGE, "twice"},
        {true, "id=age,id=about", THAW_EUSAGE, "twice"},
        {true, "=age", THAW_EUSAGE, "without a name"},
        {true, "x=", THAW_EUSAGE, "without a name"},
        {false, "a,,b", THAW_EUSAGE, "without a name"},
        {false, "a,b,c,d,e", THAW_EDATA, "no field 6"},
        {false, "sex=gender", THAW_EUSAGE, "no header"},
        {false, "id,id", THAW_EUSAGE, "twice"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct thaw_attribute_plan p = {0};
        struct thaw_err err;
        assert_int_equal(find(&p, bad[i].header ? &with_header : &without, bad[i].spec, &err), bad[i].code);
        assert_non_null(strstr(err.text, bad[i].word));
        assert_null(p.attribute);
    }
    char *wish = thaw_attribute_wish("id=UserID,gender:categorical,-,x=age:numeric");
    assert_string_equal(wish, "x=UserID,x=gender,x=age");
    free(wish);
    assert_null(thaw_attribute_wish(NULL));
}

// ---- Guesses ----

static Thaw__Attribute__Kind guess(const char *format, int n, int distinct) {
    struct thaw_attribute_stats *s = calloc(1, sizeof *s);
    for (int i = 0; i < n; i++) {
        char value[200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        int length = snprintf(value, sizeof value, format, i % distinct);
#pragma GCC diagnostic pop
        thaw_attribute_look(s, value, (size_t)length);
    }
    double about = thaw_attribute_distinct(s);
    assert_true(fabs(about - distinct) < 0.07 * distinct + 0.5);
    Thaw__Attribute__Kind kind = thaw_attribute_guess(s);
    free(s);
    return kind;
}

static void guesses_kinds(void **state) {
    (void)state;
    assert_int_equal(guess("%d", 10000, 5000), THAW__ATTRIBUTE__KIND__NUMERIC);
    assert_int_equal(guess("%d.5", 100000, 100000), THAW__ATTRIBUTE__KIND__NUMERIC);
    assert_int_equal(guess("%d", 1000, 21), THAW__ATTRIBUTE__KIND__CATEGORICAL); // codes
    assert_int_equal(guess("city %d", 1000, 300), THAW__ATTRIBUTE__KIND__CATEGORICAL);
    assert_int_equal(guess("a%d|b", 1000, 30), THAW__ATTRIBUTE__KIND__MULTI);
    assert_int_equal(guess("The story of %d (1995)", 1000, 900), THAW__ATTRIBUTE__KIND__TEXT);
    assert_int_equal(guess("one of few %d", 1000, 10), THAW__ATTRIBUTE__KIND__CATEGORICAL);
    struct thaw_attribute_stats *s = calloc(1, sizeof *s);
    thaw_attribute_look(s, "  ", 2);
    assert_int_equal(s->values, 0);
    assert_int_equal(thaw_attribute_guess(s), THAW__ATTRIBUTE__KIND__CATEGORICAL);
    free(s);
}

// ---- Encoding ----

#define BYTES(text)                                                                                          \
    { .len = sizeof(text) - 1, .data = (uint8_t *)(text) }

enum { BUCKETS = 1 << 20 };

static ProtobufCBinaryData sexes[] = {BYTES("F"), BYTES("M")};
static ProtobufCBinaryData genres[] = {BYTES("Drama"), BYTES("Comedy"), BYTES("Sci-Fi"), BYTES("Horror")};
static Thaw__Attribute sex = {.base = PROTOBUF_C_MESSAGE_INIT(&thaw__attribute__descriptor),
                              .kind = THAW__ATTRIBUTE__KIND__CATEGORICAL,
                              .first_column = 0,
                              .columns = 2,
                              .n_values = 2,
                              .values = sexes};
static Thaw__Attribute genre = {
    .kind = THAW__ATTRIBUTE__KIND__MULTI, .first_column = 2, .columns = 4, .n_values = 4, .values = genres};
static Thaw__Attribute age = {
    .kind = THAW__ATTRIBUTE__KIND__NUMERIC, .first_column = 6, .columns = 1, .mean = 30, .deviation = 10};
static Thaw__Attribute about = {.kind = THAW__ATTRIBUTE__KIND__TEXT, .first_column = 7, .columns = BUCKETS};
static Thaw__Attribute *all[] = {&sex, &genre, &age, &about};

static void encode(struct thaw_row *r, const char *const values[4]) {
    struct thaw_encoder *e = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_encoder_new(&e, all, 4, &err), THAW_OK);
    r->n = 0;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(thaw_encoder_add(e, i, values[i], strlen(values[i]), r, &err), THAW_OK);
    for (size_t i = 1; i < r->n; i++) assert_true(r->pair[i - 1].column < r->pair[i].column);
    thaw_encoder_free(&e);
    assert_null(e);
}

static void encodes_values(void **state) {
    (void)state;
    struct thaw_row r = {0};
    encode(&r, (const char *const[]){" M ", "Horror| Comedy |Horror||Unknown", "45", ""});
    assert_int_equal(r.n, 4);
    assert_int_equal(r.pair[0].column, 1);
    assert_true(r.pair[0].value == 1);
    assert_int_equal(r.pair[1].column, 3);
    assert_int_equal(r.pair[2].column, 5);
    assert_true(r.pair[1].value == (float)(1 / sqrt(2)) && r.pair[2].value == r.pair[1].value);
    assert_int_equal(r.pair[3].column, 6);
    assert_true(r.pair[3].value == 1.5f);
    encode(&r, (const char *const[]){"X", "|", "old",
                                     "-- !"}); // unknown, empty, no number, no words: legal, and nothing
    assert_int_equal(r.n, 0);
    encode(&r, (const char *const[]){"", "", "nan", ""});
    assert_int_equal(r.n, 0);
    thaw_row_clear(&r);
}

static uint32_t bucket(const char *feature) {
    return 7 + (uint32_t)thaw_hash_part(thaw_hash_id(feature, strlen(feature)), BUCKETS);
}

static void expect_text(const char *text, const char *const *feature, const int *count, int n) {
    struct thaw_row r = {0};
    double squares = 0;
    encode(&r, (const char *const[]){"", "", "", text});
    assert_int_equal(r.n, n);
    for (int i = 0; i < n; i++) squares += count[i] * count[i];
    for (int i = 0; i < n; i++) {
        bool found = false;
        for (size_t j = 0; j < r.n; j++)
            if (r.pair[j].column == bucket(feature[i])) {
                found = true;
                assert_true(r.pair[j].value == (float)(count[i] / sqrt(squares)));
            }
        assert_true(found);
    }
    thaw_row_clear(&r);
}

static void hashes_text(void **state) {
    (void)state;
    // "\x02" and "\x03" stand before and behind a word.
    static const char *const hello[] = {"whi", "t\x02hi", "thi\x03"};
    expect_text("Hi", hello, (int[]){1, 1, 1}, 3);
    expect_text("hi, HI - hi!", hello, (int[]){3, 3, 3}, 3);
    static const char *const two[] = {"wa",
                                      "t\x02"
                                      "a\x03",
                                      "wbc",
                                      "t\x02"
                                      "bc",
                                      "tbc\x03"};
    expect_text("bc a bc", two, (int[]){1, 1, 2, 2, 2}, 5);
    static const char *const script[] = {"wкот", "t\x02ко", "tкот", "tот\x03"}; // two bytes a letter
    expect_text("«кот»", script, (int[]){1, 1, 1, 1}, 4);
    static const char *const wide[] = {"w猫犬", "t\x02猫犬",
                                       "t猫犬\x03"}; // three bytes; U+3002 ends the word
    expect_text("猫犬。", wide, (int[]){1, 1, 1}, 3);
    char longest[2000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    struct thaw_row r = {0};
    encode(&r, (const char *const[]){"", "", "", longest});
    assert_int_equal(r.n, 4); // word, start, middle, end
    thaw_row_clear(&r);
}

// ---- Lines ----

static void expect_line(enum thaw_encoding encoding, const char *text, enum thaw_outcome outcome,
                        const char *id, const char *title) {
    struct thaw_format f = {
        .path = "x", .delimiter = "::", .ndelimiter = 2, .nfields = 3, .encoding = encoding};
    struct thaw_attribute_plan plan;
    struct thaw_profile_parser *p = NULL;
    struct thaw_profile out;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_line line = {
        .path = "x", .text = text, .n = strlen(text), .number = 1, .first = true, .numbered = true};
    assert_int_equal(thaw_attribute_plan_find(&plan, &f, THAW_ITEMS, "title,genres", &err), THAW_OK);
    assert_int_equal(thaw_profile_parser_new(&p, &f, &plan, THAW_ITEMS, &err), THAW_OK);
    assert_int_equal(thaw_profile_parse(p, &line, &out, &err), THAW_OK);
    assert_int_equal(out.outcome, outcome);
    if (outcome == THAW_EVENT_OK) {
        assert_int_equal(out.nid, strlen(id));
        assert_memory_equal(out.id, id, out.nid);
        assert_int_equal(out.value[0].n, strlen(title));
        assert_memory_equal(out.value[0].text, title, strlen(title));
    }
    thaw_profile_parser_free(&p);
    thaw_attribute_plan_clear(&plan);
}

static void parses_lines(void **state) {
    (void)state;
    char longest[400];
    memset(longest, 'i', sizeof longest);
    strcpy(longest + 256, "::a::b");
    expect_line(THAW_UTF8, "1::Toy Story (1995)::Comedy", THAW_EVENT_OK, "1", "Toy Story (1995)");
    expect_line(THAW_UTF8, " 7 :: :: ", THAW_EVENT_OK, "7", "");
    expect_line(THAW_UTF8, "  ", THAW_EVENT_BLANK, "", "");
    expect_line(THAW_UTF8, "::a::b", THAW_EVENT_NO_ITEM, "", "");
    expect_line(THAW_UTF8, "1::a", THAW_EVENT_BAD_FIELDS, "", "");
    expect_line(THAW_UTF8, "1::a::b::c", THAW_EVENT_BAD_FIELDS, "", "");
    expect_line(THAW_UTF8, longest, THAW_EVENT_BAD_ID_LENGTH, "", "");
    expect_line(THAW_UTF8, "1\x01::a::b", THAW_EVENT_BAD_CONTROL, "", "");
    expect_line(THAW_UTF8, "1::Mis\xe9rables::b", THAW_EVENT_BAD_UTF8, "", "");
    expect_line(THAW_LATIN1, "caf\xe9::Mis\xe9rables::b", THAW_EVENT_OK, "café", "Misérables");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_specifications), cmocka_unit_test(refuses_wrong_specifications),
        cmocka_unit_test(guesses_kinds),        cmocka_unit_test(encodes_values),
        cmocka_unit_test(hashes_text),          cmocka_unit_test(parses_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
