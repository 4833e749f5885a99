// Attributes read by any number of ranks: the dictionary and the rows are those a plain loop over the lines
// gives.
#include "base/file.h"
#include "base/hash.h"
#include "comm/attributes.h"
#include "partition/plan.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct thaw_comm *comm;
static int rank, size;
static char dir[64];

enum { LINES = 900, USERS = 600, PARTS = 7, ATTRIBUTES = 5, BAD = 9 };

// Line i of the two files: the user's id and its values.
static void make_line(int i, char id[32], char value[ATTRIBUTES][80]) {
    sprintf(id, "user-%d", i * 37 % USERS); // a third of the users come twice
    int city = i * i % 31;
    sprintf(value[0], "%s%d", city % 3 ? "Łódź " : "city ", city);
    if (i % 10 == 0) value[0][0] = 0;
    sprintf(value[1], "t%d|t%d||t%d", i % 5, i % 3, i % 7);
    sprintf(value[2], "%d.25", 1000000000 + i * i);
    if (i % 150 == 7) strcpy(value[2], "unknown");
    sprintf(value[3], "the %d words of user", i);
    sprintf(value[4], "%d", i < 300 ? i % 40 : i); // many values once, 40 of them often
}

static void write_file(const char *name, int first, int last) {
    struct thaw_err err = THAW_ERR_INIT;
    char path[THAW_PATH_MAX], *text = malloc(1 << 20);
    size_t n = (size_t)sprintf(text, "user,city,tags,since,about,badge\n");
    for (int i = first; i < last; i++) {
        char id[32], value[ATTRIBUTES][80];
        make_line(i, id, value);
        n += (size_t)sprintf(text + n, "%s,%s,%s,%s,%s,%s\n", id, value[0], value[1], value[2], value[3],
                             value[4]);
        if (i % 100 == 99) n += (size_t)sprintf(text + n, "%s", "user-1,too few\n"); // BAD of these
        if (i % 300 == 299) n += (size_t)sprintf(text + n, "%s", ",no,id,1,at,all\n\n");
    }
    assert_int_equal(thaw_path_join(path, dir, name, &err), THAW_OK);
    assert_int_equal(thaw_file_put(path, text, n, NULL, &err), THAW_OK);
    free(text);
}

static int set_up(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    if (rank == 0) {
        strcpy(dir, "/tmp/thaw-attributes-XXXXXX");
        if (!mkdtemp(dir)) return 1;
        write_file("a.csv", 0, 500);
        write_file("b.csv", 500, LINES);
        char path[THAW_PATH_MAX];
        if (thaw_path_join(path, dir, "empty", &err) || thaw_file_put(path, "", 0, NULL, &err)) return 1;
    }
    thaw_comm_bcast(comm, dir, sizeof dir, 0);
    thaw_comm_barrier(comm);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    thaw_comm_barrier(comm);
    return rank == 0 ? thaw_dir_remove(dir, &err) : 0;
}

static int count_bad(void *count, const struct thaw_line *line, enum thaw_outcome o, struct thaw_err *err) {
    (void)err;
    assert_int_equal(o, THAW_EVENT_BAD_FIELDS);
    assert_int_equal(line->n, strlen("user-1,too few"));
    ++*(int64_t *)count;
    return THAW_OK;
}

static int64_t bad_lines;

static struct thaw_attributes_config config_of(struct thaw_spill_pool *pool) {
    bad_lines = 0;
    return (struct thaw_attributes_config){.side = THAW_USERS,
                                           .nparts = PARTS,
                                           .text_buckets = 64,
                                           .max_categories = 100,
                                           .unit_bytes = 700,
                                           .budget_bytes = 3000,
                                           .pool = pool,
                                           .bad = count_bad,
                                           .user = &bad_lines};
}

// Collective. nfiles of the names, with a pool so small that rows are spilled.
static int read_files(struct thaw_attributes **a, struct thaw_spill_pool **pool, const char *const *names,
                      int nfiles, const char *spec, struct thaw_err *err) {
    char path[2][THAW_PATH_MAX];
    const char *paths[2] = {path[0], path[1]};
    *err = THAW_ERR_INIT;
    for (int i = 0; i < nfiles; i++) assert_int_equal(thaw_path_join(path[i], dir, names[i], err), THAW_OK);
    assert_int_equal(thaw_spill_pool_new(pool, dir, 8192, 256, err), THAW_OK);
    struct thaw_attributes_config config = config_of(*pool);
    config.spec = spec;
    return thaw_attributes_read(a, comm, paths, nfiles, &config, err);
}

static int64_t times_seen(int attribute, const char *value, size_t n) {
    int64_t count = 0;
    for (int i = 0; i < LINES; i++) {
        char id[32], values[ATTRIBUTES][80];
        make_line(i, id, values);
        size_t at = 0;
        struct thaw_field part = {values[attribute], strlen(values[attribute])};
        if (attribute == 1) {
            while (thaw_attribute_part(values[1], strlen(values[1]), &at, &part))
                count += part.n == n && memcmp(part.text, value, n) == 0;
        } else {
            count += part.n == n && memcmp(part.text, value, n) == 0;
        }
    }
    return count;
}

static void check_dictionary(const Thaw__Attribute *t, int attribute, size_t expected) {
    assert_int_equal(t->n_values, expected);
    assert_int_equal(t->columns, expected);
    for (size_t i = 0; i < t->n_values; i++) {
        const ProtobufCBinaryData *v = &t->values[i], *before = i ? &t->values[i - 1] : NULL;
        assert_int_equal(t->counts[i], times_seen(attribute, (const char *)v->data, v->len));
        if (!before) continue;
        assert_true(t->counts[i - 1] >= t->counts[i]);
        if (t->counts[i - 1] > t->counts[i]) continue;
        int order = memcmp(before->data, v->data, before->len < v->len ? before->len : v->len);
        assert_true(order < 0 || (order == 0 && before->len < v->len));
    }
}

// By a loop in double: the sums may differ in the last bits.
static void check_mean(const Thaw__Attribute *t) {
    double n = 0, mean = 0, squares = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < LINES; i++) {
            double x = 1000000000.25 + i * i;
            if (i % 150 == 7) continue;
            if (pass == 0) {
                n++;
                mean += x - 1e9;
            } else {
                squares += (x - mean) * (x - mean);
            }
        }
        if (pass == 0) mean = 1e9 + mean / n;
    }
    assert_true(fabs(t->mean - mean) < 1e-12 * mean);
    assert_true(fabs(t->deviation - sqrt(squares / n)) < 1e-9 * t->deviation);
}

// The row of a user as its last line has it.
static void expected_row(const struct thaw_attributes *a, struct thaw_encoder *e, int number,
                         struct thaw_row *row) {
    struct thaw_err err = THAW_ERR_INIT;
    row->n = 0;
    for (int i = LINES - 1; i >= 0; i--) {
        char id[32], value[ATTRIBUTES][80], wanted[32];
        make_line(i, id, value);
        sprintf(wanted, "user-%d", number);
        if (strcmp(id, wanted) != 0) continue;
        for (size_t k = 0; k < a->n; k++)
            assert_int_equal(thaw_encoder_add(e, k, value[k], strlen(value[k]), row, &err), THAW_OK);
        return;
    }
}

enum { WIDTH = 12 };
static char ids[USERS + 2][WIDTH];
static int user[USERS + 2];

// The part's users, falling, behind one that has no attributes. Returns how many ids.
static int users_of(int32_t part) {
    int n = 1;
    memset(ids, 0, sizeof ids);
    memcpy(ids[0], "stranger", 8);
    for (int u = USERS - 1; u >= 0; u--) {
        int length = snprintf(ids[n], WIDTH, "user-%d", u);
        user[n] = u;
        if (thaw_hash_part(thaw_hash_id(ids[n], (size_t)length), PARTS) == part) n++;
    }
    memset(ids[n], 0, WIDTH);
    return n;
}

static int64_t check_part(struct thaw_attributes *a, struct thaw_encoder *e, int32_t part) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_attributes_csr csr;
    struct thaw_attributes_part rows;
    struct thaw_row row = {0};
    int n = users_of(part);
    assert_int_equal(thaw_attributes_part(a, part, &rows, &err), THAW_OK);
    assert_int_equal(rows.n, n - 1);
    for (int64_t i = 1; i < rows.n; i++) assert_true(rows.row[i - 1].hash <= rows.row[i].hash);
    int64_t seen = rows.n + rows.repeated;
    assert_int_equal(thaw_attributes_rows(a, part, ids[0], n, WIDTH, &csr, &err), THAW_OK);
    assert_int_equal(csr.matched, n - 1);
    assert_int_equal(csr.indptr[1], 0);
    for (int i = 1; i < n; i++) {
        expected_row(a, e, user[i], &row);
        assert_int_equal(csr.indptr[i + 1] - csr.indptr[i], row.n);
        for (size_t j = 0; j < row.n; j++) {
            assert_int_equal(csr.indices[csr.indptr[i] + (int64_t)j], row.pair[j].column);
            assert_true(csr.values[csr.indptr[i] + (int64_t)j] == row.pair[j].value);
        }
    }
    thaw_attributes_csr_clear(&csr);
    thaw_row_clear(&row);
    return seen;
}

static int64_t check_rows(struct thaw_attributes *a) {
    struct thaw_encoder *e = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    int64_t seen = 0;
    assert_int_equal(thaw_encoder_new(&e, a->attribute, a->n, &err), THAW_OK);
    for (int32_t part = a->first_part; part < a->last_part; part++) seen += check_part(a, e, part);
    thaw_encoder_free(&e);
    return seen;
}

static void reads_attributes(void **state) {
    (void)state;
    static const char *const names[] = {"a.csv", "b.csv"};
    struct thaw_attributes *a = NULL;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_err err;
    assert_int_equal(read_files(&a, &pool, names, 2, NULL, &err), THAW_OK);
    assert_int_equal(a->n, ATTRIBUTES);
    static const int kinds[] = {THAW__ATTRIBUTE__KIND__CATEGORICAL, THAW__ATTRIBUTE__KIND__MULTI,
                                THAW__ATTRIBUTE__KIND__NUMERIC, THAW__ATTRIBUTE__KIND__TEXT,
                                THAW__ATTRIBUTE__KIND__NUMERIC};
    int32_t column = 0;
    for (size_t i = 0; i < a->n; i++) {
        assert_int_equal(a->attribute[i]->kind, kinds[i]);
        assert_int_equal(a->attribute[i]->first_column, column);
        column += a->attribute[i]->columns;
    }
    assert_int_equal(a->ncolumns, column);
    check_dictionary(a->attribute[0], 0, 16);
    check_dictionary(a->attribute[1], 1, 7);
    check_mean(a->attribute[2]);
    assert_int_equal(a->unread, LINES / 150);
    assert_int_equal(a->outcome[THAW_EVENT_OK], LINES);
    assert_int_equal(a->outcome[THAW_EVENT_HEADER], 2);
    assert_int_equal(a->outcome[THAW_EVENT_NO_USER], 3);
    assert_int_equal(a->outcome[THAW_EVENT_BLANK], 3);
    assert_int_equal(a->outcome[THAW_EVENT_BAD_FIELDS], BAD);
    thaw_comm_sum_i64(comm, &bad_lines, 1);
    assert_int_equal(bad_lines, BAD);
    int64_t seen = check_rows(a);
    thaw_comm_sum_i64(comm, &seen, 1);
    assert_int_equal(seen, LINES);
    thaw_attributes_free(&a);
    thaw_spill_pool_free(&pool);
}

static void cuts_dictionaries(void **state) {
    (void)state;
    static const char *const names[] = {"a.csv", "b.csv"};
    struct thaw_attributes *a = NULL;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_err err;
    assert_int_equal(read_files(&a, &pool, names, 2, "badge:categorical", &err), THAW_OK);
    assert_int_equal(a->n, 1);
    check_dictionary(a->attribute[0], 4,
                     40); // 600 values that occur once do not fit into 100: none of them stays
    thaw_attributes_free(&a);
    thaw_spill_pool_free(&pool);
}

// The same bits from any number of ranks: a digest that every run of this test compares with.
static void gives_the_same_bits(void **state) {
    (void)state;
    static const char *const names[] = {"a.csv", "b.csv"};
    struct thaw_attributes *a = NULL;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_err err;
    uint64_t sum = 0;
    assert_int_equal(read_files(&a, &pool, names, 2, NULL, &err), THAW_OK);
    for (int32_t part = a->first_part; part < a->last_part; part++) {
        struct thaw_attributes_part rows;
        assert_int_equal(thaw_attributes_part(a, part, &rows, &err), THAW_OK);
        for (int64_t i = 0; i < rows.n; i++)
            sum += rows.row[i].hash ^
                   thaw_hash_id(rows.row[i].pair, rows.row[i].npairs * sizeof *rows.row[i].pair);
    }
    thaw_comm_sum_i64(comm, (int64_t *)&sum, 1);
    for (size_t i = 0; i < a->n; i++) {
        uint8_t *bytes = malloc(thaw__attribute__get_packed_size(a->attribute[i]));
        size_t n = thaw__attribute__pack(a->attribute[i], bytes);
        sum = sum * 3 + thaw_hash_id(bytes, n);
        free(bytes);
    }
    assert_true(sum == UINT64_C(0xcc99c01b2d360f45));
    thaw_attributes_free(&a);
    thaw_spill_pool_free(&pool);
}

static int fail_on_bad(void *unused, const struct thaw_line *line, enum thaw_outcome o,
                       struct thaw_err *err) {
    (void)unused, (void)line, (void)o;
    return thaw_fail(err, THAW_EIO, "no space");
}

static void agrees_on_failures(void **state) {
    (void)state;
    static const char *const wrong[] = {"a.csv", "nothing.csv"}, *const empty[] = {"empty"};
    struct thaw_attributes *a = NULL;
    struct thaw_spill_pool *pool = NULL;
    struct thaw_err err;
    assert_int_equal(read_files(&a, &pool, wrong, 2, NULL, &err), THAW_ENOINPUT);
    thaw_spill_pool_free(&pool);
    assert_int_equal(read_files(&a, &pool, empty, 1, NULL, &err), THAW_EDATA);
    thaw_spill_pool_free(&pool);
    assert_int_equal(read_files(&a, &pool, wrong, 1, "height", &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "no column 'height'"));
    assert_null(a);
    char path[THAW_PATH_MAX];
    const char *paths[] = {path};
    err = THAW_ERR_INIT;
    struct thaw_attributes_config config = config_of(pool);
    config.bad = fail_on_bad; // the rank that reads the first bad line
    assert_int_equal(thaw_path_join(path, dir, "a.csv", &err), THAW_OK);
    assert_int_equal(thaw_attributes_read(&a, comm, paths, 1, &config, &err), THAW_EIO);
    assert_null(a);
    thaw_spill_pool_free(&pool);
}

int main(void) {
    setenv("THAW_MPI_COUNT_MAX", "700", 1);
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_attributes),
        cmocka_unit_test(cuts_dictionaries),
        cmocka_unit_test(gives_the_same_bits),
        cmocka_unit_test(agrees_on_failures),
    };
    int failed = cmocka_run_group_tests(tests, set_up, tear_down);
    thaw_comm_end(&comm);
    return failed;
}
