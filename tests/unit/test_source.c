// test_source.c: any way to cut files into units gives the same lines, and damaged input is refused by name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "partition/source.h"
#include "scratch_put.h"

#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

struct text {
    char *bytes;
    size_t n, cap;
};

static void append(struct text *t, const void *bytes, size_t n) {
    if (t->n + n >= t->cap) {
        t->cap = 2 * (t->n + n) + 1;
        t->bytes = realloc(t->bytes, t->cap);
        assert_non_null(t->bytes);
    }
    if (n > 0) memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
}

// Everything the lines of an input are, as one string: offset, length, marks and bytes of each line.
static void record_line(struct text *t, const struct thaw_line *line) {
    char head[128];
    int n = snprintf(head, sizeof head, "[%lld %zu %d %d]", (long long)line->offset, line->n, line->first,
                     line->too_long);
    append(t, head, (size_t)n);
    append(t, line->text, line->n < 200 ? line->n : 200);
}

static int read_unit(const struct thaw_sources *s, int64_t unit, struct text *t, int64_t *lines,
                     struct thaw_err *err) {
    struct thaw_reader *r = NULL;
    struct thaw_line line;
    int64_t number = 0;
    int code = thaw_reader_open(&r, s, unit, err);
    while (code == THAW_OK && (code = thaw_reader_next(r, &line, err)) == THAW_OK && line.text != NULL) {
        assert_int_equal(line.number, ++number);
        assert_int_equal(line.numbered, s->unit[unit].begin == 0);
        record_line(t, &line);
    }
    *lines += number;
    thaw_reader_close(&r);
    assert_null(r);
    return code;
}

// All lines of a file under a unit length; the number of lines is returned, -1 on failure.
static int64_t read_lines(const char *path, int64_t unit_bytes, struct text *t, struct thaw_err *err) {
    struct thaw_sources *s = NULL;
    int64_t lines = 0;
    t->n = 0;
    int code = thaw_sources_open(&s, &path, 1, unit_bytes, err);
    for (int64_t i = 0; code == THAW_OK && i < s->nunits; i++) code = read_unit(s, i, t, &lines, err);
    thaw_sources_close(&s);
    return code == THAW_OK ? lines : -1;
}

static void expect_lines(const char *path, int64_t unit_bytes, const struct text *expect, int64_t nlines) {
    struct thaw_err err = THAW_ERR_INIT;
    struct text got = {0};
    int64_t n = read_lines(path, unit_bytes, &got, &err);
    if (n != nlines || got.n != expect->n || (got.n > 0 && memcmp(got.bytes, expect->bytes, got.n) != 0))
        fail_msg("%s, units of %lld: %lld lines, not %lld (%s)", path, (long long)unit_bytes, (long long)n,
                 (long long)nlines, err.text);
    free(got.bytes);
}

// The slow definition of lines.
static int64_t reference(const struct text *file, struct text *out) {
    int64_t lines = 0;
    size_t at = file->n >= 3 && memcmp(file->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    out->n = 0;
    while (at < file->n) {
        size_t end = at;
        while (end < file->n && file->bytes[end] != '\n') end++;
        struct thaw_line line = {
            .text = file->bytes + at, .n = end - at, .offset = (int64_t)at, .first = lines == 0};
        if (line.n > 0 && line.text[line.n - 1] == '\r') line.n--;
        line.too_long = line.n > THAW_LINE_MAX;
        if (line.too_long) line.n = THAW_LINE_MAX;
        record_line(out, &line);
        lines++;
        at = end + 1;
    }
    return lines;
}

static void random_text(struct text *t, struct thaw_rng *rng, bool mark) {
    static const char letters[] = "ab,\r\t\0\"\xc3\xa9 x";
    t->n = 0;
    if (mark) append(t, "\xef\xbb\xbf", 3);
    uint64_t lines = thaw_rng_below(rng, 40);
    for (uint64_t i = 0; i < lines; i++) {
        for (uint64_t n = thaw_rng_below(rng, 12); n > 0; n--)
            append(t, letters + thaw_rng_below(rng, 11), 1);
        if (i + 1 < lines || thaw_rng_below(rng, 2)) append(t, &"\r\n"[thaw_rng_below(rng, 2)], 1);
        if (t->bytes[t->n - 1] == '\r' && thaw_rng_below(rng, 2)) append(t, "\n", 1);
    }
}

static void test_units_agree(void **state) {
    (void)state;
    static const int64_t unit[] = {1, 2, 3, 4, 5, 7, 16, 63, 1000, 0};
    struct text file = {0}, expect = {0};
    for (uint64_t round = 0; round < 30; round++) {
        struct thaw_rng rng = thaw_rng_at(1, 99, round);
        random_text(&file, &rng, round % 3 == 0);
        int64_t lines = reference(&file, &expect);
        const char *path = scratch_put("a.csv", file.bytes, file.n);
        for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++) expect_lines(path, unit[i], &expect, lines);
    }
    free(file.bytes);
    free(expect.bytes);
}

static void test_edges(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t lines;
    } edge[] = {{"", 0},
                {"\n", 1},
                {"\r\n", 1},
                {"a", 1},
                {"a\r", 1},
                {"\n\n", 2},
                {"a\nb", 2},
                {"a\rb\n", 1},
                {"\xef\xbb\xbf", 0},
                {"\xef\xbb\xbf\n", 1},
                {"\xef\xbb\xbf"
                 "a",
                 1},
                {"\xef\xbb", 1}};
    struct text file = {0}, expect = {0};
    for (size_t i = 0; i < sizeof edge / sizeof edge[0]; i++) {
        file.n = 0;
        append(&file, edge[i].text, strlen(edge[i].text));
        assert_int_equal(reference(&file, &expect), edge[i].lines);
        const char *path = scratch_text("edge.csv", edge[i].text);
        for (int64_t unit = 1; unit < 6; unit++) expect_lines(path, unit, &expect, edge[i].lines);
    }
    free(file.bytes);
    free(expect.bytes);
}

// Lines about the longest length, and lines longer than the buffer, between ordinary ones.
static void test_long_lines(void **state) {
    (void)state;
    static const size_t length[] = {THAW_LINE_MAX - 1, THAW_LINE_MAX,     THAW_LINE_MAX + 1,
                                    THAW_LINE_MAX + 2, THAW_LINE_MAX + 3, 3 * THAW_LINE_MAX + 17};
    char *x = malloc(4 * THAW_LINE_MAX);
    assert_non_null(x);
    memset(x, 'x', 4 * THAW_LINE_MAX);
    struct text file = {0}, expect = {0};
    for (int crlf = 0; crlf < 2; crlf++) {
        for (size_t i = 0; i < sizeof length / sizeof length[0]; i++) {
            append(&file, x, length[i]);
            append(&file, &"\r\n"[crlf ? 0 : 1], crlf ? 2 : 1);
            append(&file, "short\n", 6);
        }
    }
    append(&file, x, THAW_LINE_MAX + 1); // and one without newline
    int64_t lines = reference(&file, &expect);
    assert_int_equal(lines, 25);
    const char *path = scratch_put("long.csv", file.bytes, file.n);
    expect_lines(path, 0, &expect, lines);
    expect_lines(path, 1000003, &expect, lines);
    free(x);
    free(file.bytes);
    free(expect.bytes);
}

// A byte order mark is one at the start of a file alone, wherever reads end (256 KiB each).
static void test_mark_inside(void **state) {
    (void)state;
    struct text file = {0}, expect = {0};
    while (file.n < 1 << 20)
        append(&file,
               "\xef\xbb\xbf"
               "1234\n",
               8);
    file.n -= 3; // of the first line, so that lines, marks and reads begin together
    memmove(file.bytes, file.bytes + 3, file.n);
    const int64_t lines = reference(&file, &expect);
    expect_lines(scratch_put("marks.csv", file.bytes, file.n), 0, &expect, lines);
    memmove(file.bytes, file.bytes + 5, file.n -= 5);
    reference(&file, &expect);
    expect_lines(scratch_put("marks.csv", file.bytes, file.n), 0, &expect, lines - 1);
    free(file.bytes);
    free(expect.bytes);
}

static void append_gzip(struct text *out, const char *bytes, size_t n) {
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t cap = deflateBound(&z, n) + 64;
    unsigned char *packed = malloc(cap), *plain = malloc(n + 1);
    assert_non_null(packed);
    assert_non_null(plain);
    memcpy(plain, bytes, n);
    z.next_in = plain;
    z.avail_in = (uInt)n;
    z.next_out = packed;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    append(out, packed, z.total_out);
    deflateEnd(&z);
    free(packed);
    free(plain);
}

static void append_zstd(struct text *out, const char *bytes, size_t n) {
    size_t cap = ZSTD_compressBound(n);
    char *packed = malloc(cap);
    ZSTD_CCtx *c = ZSTD_createCCtx();
    assert_non_null(packed);
    assert_non_null(c);
    ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, 1);
    size_t got = ZSTD_compress2(c, packed, cap, bytes, n);
    assert_false(ZSTD_isError(got));
    append(out, packed, got);
    ZSTD_freeCCtx(c);
    free(packed);
}

static void numbers(struct text *t, int n) {
    for (int i = 0; i < n; i++) {
        char line[64];
        append(t, line, (size_t)snprintf(line, sizeof line, "u%d,i%d,%d\n", i * 7919 % 1000, i % 77, i));
    }
}

// Plain, one member, and cut into three members in the middle of lines: the same lines.
static void test_compressed(void **state) {
    (void)state;
    static void (*const pack[])(struct text *, const char *, size_t) = {append_gzip, append_zstd};
    struct text plain = {0}, expect = {0}, packed = {0};
    append(&plain, "\xef\xbb\xbf", 3);
    numbers(&plain, 100000);
    int64_t lines = reference(&plain, &expect);
    for (int i = 0; i < 2; i++) {
        packed.n = 0;
        pack[i](&packed, plain.bytes, plain.n);
        expect_lines(scratch_put("one", packed.bytes, packed.n), 100, &expect, lines);
        packed.n = 0;
        size_t third = plain.n / 3;
        pack[i](&packed, plain.bytes, third);
        pack[i](&packed, "", 0);
        pack[i](&packed, plain.bytes + third, third);
        pack[i](&packed, plain.bytes + 2 * third, plain.n - 2 * third);
        expect_lines(scratch_put("three", packed.bytes, packed.n), 100, &expect, lines);
        if (i == 0) append(&packed, "\0\0\0\0", 4);                      // padding of tapes
        if (i == 1) append(&packed, "\x50\x2a\x4d\x18\x02\0\0\0hi", 10); // a skippable frame
        expect_lines(scratch_put("padded", packed.bytes, packed.n), 100, &expect, lines);
        packed.n = 0;
        pack[i](&packed, "", 0);
        expect.n = 0;
        expect_lines(scratch_put("empty", packed.bytes, packed.n), 100, &expect, 0);
        reference(&plain, &expect);
    }
    free(plain.bytes);
    free(expect.bytes);
    free(packed.bytes);
}

static void expect_refused(const char *path, int code, const char *word) {
    struct thaw_err err = THAW_ERR_INIT;
    struct text got = {0};
    assert_int_equal(read_lines(path, 0, &got, &err), -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, path) == NULL || strstr(err.text, word) == NULL)
        fail_msg("'%s' does not name %s and '%s'", err.text, path, word);
    free(got.bytes);
}

static void test_damaged(void **state) {
    (void)state;
    static void (*const pack[])(struct text *, const char *, size_t) = {append_gzip, append_zstd};
    struct text plain = {0}, packed = {0};
    numbers(&plain, 200000);
    for (int i = 0; i < 2; i++) {
        packed.n = 0;
        pack[i](&packed, plain.bytes, plain.n);
        for (size_t cut = 5; cut < packed.n; cut += packed.n / 7)
            expect_refused(scratch_put("cut", packed.bytes, cut), THAW_EDATA, "truncated");
        expect_refused(scratch_put("cut", packed.bytes, packed.n - 1), THAW_EDATA, "truncated");
        for (size_t at = packed.n / 9; at < packed.n; at += packed.n / 9) {
            packed.bytes[at] = (char)(packed.bytes[at] ^ 0x10);
            expect_refused(scratch_put("flipped", packed.bytes, packed.n), THAW_EDATA, "byte");
            packed.bytes[at] = (char)(packed.bytes[at] ^ 0x10);
        }
        append(&packed, "garbage at the end", 18);
        expect_refused(scratch_put("garbage", packed.bytes, packed.n), THAW_EDATA, "byte");
    }
    expect_refused(scratch_put("utf16", "\xff\xfeu\0,\0", 6), THAW_EDATA, "UTF-16");
    expect_refused(scratch_put("utf16be", "\xfe\xff\0u\0,", 6), THAW_EDATA, "UTF-16");
    expect_refused(scratch_path("missing.csv"), THAW_ENOINPUT, "cannot open");
    expect_refused("/dev/null", THAW_EDATA, "neither");
    free(plain.bytes);
    free(packed.bytes);
}

static void test_changed_file(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_sources *s = NULL;
    struct thaw_reader *r = NULL;
    const char *path = scratch_text("grows.csv", "a,b\n");
    assert_int_equal(thaw_sources_open(&s, &path, 1, 0, &err), THAW_OK);
    scratch_text("grows.csv", "a,b\nc,d\n");
    assert_int_equal(thaw_reader_open(&r, s, 0, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "length changed"));
    assert_null(r);
    thaw_sources_close(&s);
}

static void test_folder(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_sources *s = NULL;
    assert_int_equal(mkdir(scratch_path("logs"), 0755), 0);
    assert_int_equal(mkdir(scratch_path("logs/inner"), 0755), 0);
    const char *path = scratch_path("logs");
    assert_int_equal(thaw_sources_open(&s, &path, 1, 0, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "no files"));
    scratch_text("logs/b.csv", "2\n");
    scratch_text("logs/a.csv", "1\n");
    scratch_text("logs/B.csv", "0\n");
    scratch_text("logs/.hidden", "x\n");
    scratch_text("logs/inner/c.csv", "x\n");
    const char *paths[] = {scratch_text("z.csv", "z\n"), path};
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_sources_open(&s, paths, 2, 0, &err), THAW_OK);
    static const char *const name[] = {"/z.csv", "/logs/B.csv", "/logs/a.csv", "/logs/b.csv"};
    assert_int_equal(s->nfiles, 4);
    assert_int_equal(s->nbytes, 8);
    for (int i = 0; i < 4; i++) assert_string_equal(s->file[i].path + strlen(scratch), name[i]);
    thaw_sources_close(&s);
    assert_int_equal(thaw_sources_open(&s, NULL, 0, 0, &err), THAW_EUSAGE);
}

// Every unit belongs to one rank, in order, and no rank has more than its share and one unit.
static void test_share(void **state) {
    (void)state;
    struct thaw_source file[3] = {{.packing = THAW_PACKING_NONE}, {.packing = THAW_PACKING_ZSTD}, {0}};
    for (uint64_t round = 0; round < 50; round++) {
        struct thaw_rng rng = thaw_rng_at(2, 99, round);
        struct thaw_unit unit[40];
        struct thaw_sources s = {
            .file = file, .nfiles = 3, .unit = unit, .nunits = (int64_t)thaw_rng_below(&rng, 41)};
        int64_t total = 0, largest = 0, huge = round % 2 ? INT64_C(1) << 50 : 1;
        for (int64_t i = 0; i < s.nunits; i++) {
            unit[i].file = (int32_t)thaw_rng_below(&rng, 3);
            unit[i].begin = 0;
            unit[i].end = huge * (int64_t)(1 + thaw_rng_below(&rng, 100));
            int64_t weight = unit[i].end * (unit[i].file == 1 ? 4 : 1);
            total += weight;
            largest = weight > largest ? weight : largest;
        }
        for (int nranks = 1; nranks < 60; nranks += 1 + nranks / 4) {
            int64_t next = 0;
            for (int rank = 0; rank < nranks; rank++) {
                int64_t first, last, mine = 0;
                thaw_sources_share(&s, nranks, rank, &first, &last);
                assert_int_equal(first, next);
                assert_true(last >= first);
                for (int64_t i = first; i < last; i++) mine += unit[i].end * (unit[i].file == 1 ? 4 : 1);
                assert_true(mine <= total / nranks + largest + 1);
                next = last;
            }
            assert_int_equal(next, s.nunits);
        }
    }
}

// A unit goes to the rank in whose share its middle lies: of 10 and 8 bytes, each of two ranks gets one.
static void test_share_by_the_middle(void **state) {
    (void)state;
    struct thaw_source file = {.packing = THAW_PACKING_NONE};
    struct thaw_unit unit[2] = {{.end = 10}, {.begin = 10, .end = 18}};
    struct thaw_sources s = {.file = &file, .nfiles = 1, .unit = unit, .nunits = 2};
    for (int rank = 0; rank < 2; rank++) {
        int64_t first, last;
        thaw_sources_share(&s, 2, rank, &first, &last);
        assert_int_equal(first, rank);
        assert_int_equal(last, rank + 1);
    }
}

static void test_head(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_sources *s = NULL;
    struct thaw_head head;
    struct text plain = {0}, packed = {0};
    numbers(&plain, 1000);
    append_gzip(&packed, plain.bytes, plain.n);
    const char *paths[] = {scratch_text("nothing", ""), scratch_put("some.gz", packed.bytes, packed.n)};
    assert_int_equal(thaw_sources_open(&s, paths, 2, 0, &err), THAW_OK);
    assert_int_equal(thaw_head_read(&head, s, &err), THAW_OK);
    assert_int_equal(head.nlines, THAW_HEAD_LINES);
    assert_string_equal(head.path, paths[1]);
    assert_memory_equal(head.line[1].text, "u919,i1,1", 9);
    assert_int_equal(head.line[1].n, 9);
    thaw_head_clear(&head);
    thaw_sources_close(&s);

    assert_int_equal(thaw_sources_open(&s, paths, 1, 0, &err), THAW_OK);
    assert_int_equal(thaw_head_read(&head, s, &err), THAW_OK);
    assert_int_equal(head.nlines, 0);
    assert_string_equal(head.path, paths[0]);
    thaw_head_clear(&head);
    thaw_sources_close(&s);

    // However files are cut, the head is the same.
    const char *whole = scratch_put("plain", plain.bytes, plain.n);
    for (int64_t unit = 0; unit <= 100; unit += 50) {
        assert_int_equal(thaw_sources_open(&s, &whole, 1, unit, &err), THAW_OK);
        assert_int_equal(thaw_head_read(&head, s, &err), THAW_OK);
        assert_int_equal(head.nlines, THAW_HEAD_LINES);
        assert_memory_equal(head.line[1].text, "u919,i1,1", 9);
        thaw_head_clear(&head);
        thaw_sources_close(&s);
    }
    free(plain.bytes);
    free(packed.bytes);
}

// The offset of a line in the middle of a file leads to the line.
static void test_place(void **state) {
    (void)state;
    char buf[600];
    struct thaw_line line = {.path = "events.csv", .number = 17, .offset = 900, .numbered = true};
    assert_string_equal(thaw_line_place(buf, sizeof buf, &line), "events.csv:17");
    line.numbered = false;
    assert_string_equal(thaw_line_place(buf, sizeof buf, &line), "events.csv@900");
    assert_string_equal(thaw_line_place(buf, 7, &line), "events");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_agree),  cmocka_unit_test(test_edges),
        cmocka_unit_test(test_long_lines),   cmocka_unit_test(test_mark_inside),
        cmocka_unit_test(test_compressed),   cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_changed_file), cmocka_unit_test(test_folder),
        cmocka_unit_test(test_share),        cmocka_unit_test(test_share_by_the_middle),
        cmocka_unit_test(test_head),         cmocka_unit_test(test_place),
    };
    return cmocka_run_group_tests_name("source", tests, scratch_make, scratch_remove);
}
