// Rows pulled in random patterns are the rows that were asked for, whatever the budget.
#include "base/rng.h"
#include "comm/pull.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct thaw_comm *comm;
static int rank, size;

// How a rank chooses what it wants.
enum pattern { RISING, RANDOM, NOTHING, HOT_OWNER, SAME_ROW, OWN_ONLY, EVEN_RANKS_ONLY, PATTERNS };

static void fill_row(unsigned char *row, size_t row_bytes, int64_t number) {
    for (size_t i = 0; i < row_bytes; i++)
        row[i] = (unsigned char)(number * 31 + (int64_t)i * 7 + (number >> 8));
}

// Rank r owns 40 * r rows (so rank 0 has none) and the last rank 25 more.
static int64_t cut(int64_t *rank_row) {
    for (int r = 0; r < size; r++) rank_row[r + 1] = rank_row[r] + 40 * r + (r == size - 1 ? 25 : 0);
    return rank_row[size];
}

static int64_t choose(enum pattern pattern, const int64_t *rank_row, int64_t *wanted, int64_t most,
                      uint64_t seed) {
    struct thaw_rng g = thaw_rng_at(seed, 902, (uint64_t)rank);
    int64_t rows = rank_row[size], n = (int64_t)thaw_rng_below(&g, (uint64_t)most);
    int owner = pattern == OWN_ONLY ? rank : size - 1;
    if (pattern == NOTHING || (pattern == EVEN_RANKS_ONLY && rank % 2)) return 0;
    if (pattern == OWN_ONLY && rank_row[rank] == rank_row[rank + 1]) return 0;
    for (int64_t i = 0; i < n; i++) {
        wanted[i] = (int64_t)thaw_rng_below(&g, (uint64_t)rows);
        if (pattern == RISING) wanted[i] = i * rows / n; // with repeats when n is larger
        if (pattern == SAME_ROW) wanted[i] = rows - 1;
        if (pattern == HOT_OWNER || pattern == OWN_ONLY)
            wanted[i] = rank_row[owner] +
                        (int64_t)thaw_rng_below(&g, (uint64_t)(rank_row[owner + 1] - rank_row[owner]));
    }
    return n;
}

static void pull_once(enum pattern pattern, size_t row_bytes, int64_t budget, uint64_t seed) {
    enum { MOST = 600 };
    int64_t rank_row[16] = {0}, wanted[MOST], received = 5, foreign = 0;
    struct thaw_err err = THAW_ERR_INIT;
    cut(rank_row);
    int64_t own = rank_row[rank + 1] - rank_row[rank], n = choose(pattern, rank_row, wanted, MOST, seed);
    unsigned char *owned = malloc((size_t)own * row_bytes + 1), *out = malloc((size_t)n * row_bytes + 1),
                  row[64];
    for (int64_t i = 0; i < own; i++) fill_row(owned + i * (int64_t)row_bytes, row_bytes, rank_row[rank] + i);
    int code = thaw_pull(comm, rank_row, owned, row_bytes, wanted, n, out, budget, &received, &err);
    assert_int_equal(code, THAW_OK);
    for (int64_t i = 0; i < n; i++) {
        fill_row(row, row_bytes, wanted[i]);
        assert_memory_equal(out + i * (int64_t)row_bytes, row, row_bytes);
        foreign += wanted[i] < rank_row[rank] || wanted[i] >= rank_row[rank + 1];
    }
    assert_int_equal(received, 5 + foreign * (int64_t)row_bytes);
    free(owned);
    free(out);
}

static void brings_the_rows_asked_for(void **state) {
    (void)state;
    static const int64_t budgets[] = {1, 2000, 1 << 20};
    static const size_t widths[] = {1, 8, 50};
    for (int p = 0; p < PATTERNS; p++)
        for (size_t b = 0; b < 3; b++)
            for (size_t w = 0; w < 3; w++) pull_once((enum pattern)p, widths[w], budgets[b], 10 * b + w);
}

static void refuses_a_row_out_of_range(void **state) {
    (void)state;
    int64_t rank_row[16] = {0}, row;
    char out[8], *owned = calloc(1000, 8);
    for (int high = 0; high < 2; high++) {
        struct thaw_err err = THAW_ERR_INIT;
        cut(rank_row);
        row = rank < size - 1 ? 0 : high ? rank_row[size] : -1;
        int code = thaw_pull(comm, rank_row, owned, 8, &row, 1, out, 1000, NULL, &err);
        assert_int_equal(code, THAW_EBUG);
        assert_int_equal(err.rank, size - 1);
    }
    free(owned);
}

int main(void) {
    setenv("THAW_MPI_COUNT_MAX", "7", 1);
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(brings_the_rows_asked_for),
        cmocka_unit_test(refuses_a_row_out_of_range),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
