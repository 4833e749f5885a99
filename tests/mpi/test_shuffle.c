// Records of random lengths to random ranks: everyone gets exactly what was meant for it, in order; failures
// are agreed on.
#include "base/rng.h"
#include "comm/shuffle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct thaw_comm *comm;
static int rank, size;

enum { RECORDS = 150, LONGEST = 200 };

// Record i of a source: where it goes and what it says is a function of (source, i).
struct record {
    int32_t length, source, number;
    unsigned char text[LONGEST];
};

static int make(struct record *r, int source, int number, int longest) {
    struct thaw_rng g = thaw_rng_at(3, 901, (uint64_t)source << 32 | (uint32_t)number);
    int dest = thaw_rng_below(&g, 3) ? (int)thaw_rng_below(&g, (uint64_t)size)
                                     : 0; // rank 0 gets more than its share
    r->length = (int32_t)thaw_rng_below(&g, (uint64_t)longest);
    r->source = source;
    r->number = number;
    for (int i = 0; i < r->length; i++) r->text[i] = (unsigned char)thaw_rng_u32(&g);
    return dest;
}

static size_t nbytes(const struct record *r) {
    return offsetof(struct record, text) + (size_t)r->length;
}

struct receiver {
    int longest;
    int next[8]; // number of the next record of each source, theirs for others skipped
    int64_t records;
    int fail_after; // records, or -1
};

static int deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct receiver *to = user;
    for (size_t at = 0; at < n;) {
        struct record got, expect;
        if (to->fail_after >= 0 && to->records >= to->fail_after)
            return thaw_fail(err, THAW_EIO, "disk of rank %d is full", rank);
        memcpy(&got, (const char *)bytes + at, offsetof(struct record, text));
        if (got.source != source || got.length < 0 || got.length >= to->longest)
            return thaw_fail(err, THAW_EBUG, "bad");
        memcpy(got.text, (const char *)bytes + at + offsetof(struct record, text), (size_t)got.length);
        while (make(&expect, source, to->next[source]++, to->longest) != rank) {
        }
        if (memcmp(&got, &expect, nbytes(&expect)) != 0) return thaw_fail(err, THAW_EBUG, "record differs");
        at += nbytes(&got);
        to->records++;
    }
    return THAW_OK;
}

// Every rank with an odd number, and the last, puts nothing when `sparse`.
static int run(int64_t budget, int longest, bool sparse, int failing_receiver, int failing_producer,
               struct thaw_err *err, int64_t *total) {
    struct receiver to = {.longest = longest, .fail_after = rank == failing_receiver ? 10 : -1};
    struct thaw_shuffle *s = NULL;
    int code = thaw_shuffle_new(&s, comm, budget, deliver, &to, err), number = 0;
    int n = sparse && (rank % 2 || rank == size - 1) ? 0 : RECORDS;
    bool done = false;
    while (!code && !done) {
        int own = THAW_OK;
        for (; number < n && !thaw_shuffle_full(s); number++) {
            struct record r;
            int dest = make(&r, rank, number, longest);
            thaw_shuffle_put(s, dest, &r, nbytes(&r));
            if (rank == failing_producer && number == 30)
                own = thaw_fail(err, THAW_EDATA, "rank %d read junk", rank);
        }
        code = thaw_shuffle_round(s, number == n, &done, own, err);
    }
    *total = to.records;
    if (size == 1) assert_int_equal(thaw_shuffle_sent(s), 0);
    thaw_shuffle_free(&s);
    assert_null(s);
    return code;
}

static void delivers_everything(void **state) {
    (void)state;
    static const int64_t budgets[] = {40, 1000, 10000, 1 << 26};
    for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++)
        for (int sparse = 0; sparse < 2; sparse++) {
            struct thaw_err err = THAW_ERR_INIT;
            int64_t records = 0, expect = 0;
            assert_int_equal(run(budgets[b], LONGEST, sparse, -1, -1, &err, &records), THAW_OK);
            thaw_comm_sum_i64(comm, &records, 1);
            for (int r = 0; r < size; r++) expect += sparse && (r % 2 || r == size - 1) ? 0 : RECORDS;
            assert_int_equal(records, expect);
        }
}

static void agrees_on_failures(void **state) {
    (void)state;
    for (int bad = 0; bad < size; bad++) {
        int64_t records;
        struct thaw_err err = THAW_ERR_INIT;
        assert_int_equal(run(600, LONGEST, false, bad, -1, &err, &records), THAW_EIO);
        assert_int_equal(err.rank, bad);
        assert_non_null(strstr(err.text, "is full"));
        err = THAW_ERR_INIT;
        assert_int_equal(run(600, LONGEST, false, -1, bad, &err, &records), THAW_EDATA);
        assert_int_equal(err.rank, bad);
    }
}

static int count_bytes(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    (void)source, (void)err;
    for (size_t i = 0; i < n; i++)
        if (((const char *)bytes)[i] != 'x') return THAW_EBUG;
    *(int64_t *)user += (int64_t)n;
    return THAW_OK;
}

static void takes_records_longer_than_its_budget(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_shuffle *s = NULL;
    int64_t got = 0;
    char *big = malloc(7000);
    bool done = false;
    memset(big, 'x', 7000);
    assert_int_equal(thaw_shuffle_new(&s, comm, 100, count_bytes, &got, &err), THAW_OK);
    thaw_shuffle_put(s, (rank + 1) % size, big, 7000);
    assert_true(thaw_shuffle_full(s));
    assert_int_equal(thaw_shuffle_round(s, true, &done, THAW_OK, &err), THAW_OK);
    assert_true(done);
    assert_int_equal(got, 7000);
    assert_int_equal(thaw_shuffle_sent(s), size > 1 ? 7000 : 0);
    thaw_shuffle_free(&s);
    free(big);
}

int main(void) {
    setenv("THAW_MPI_COUNT_MAX", "7", 1);
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delivers_everything),
        cmocka_unit_test(agrees_on_failures),
        cmocka_unit_test(takes_records_longer_than_its_budget),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
