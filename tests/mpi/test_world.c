// Agreement, small collectives, exact sums, run records; with MPI counts cut to 7.
#include "base/rng.h"
#include "comm/runinfo.h"
#include "comm/spread.h"
#include "comm/world.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct thaw_comm *comm;
static int rank, size;

static void agrees_on_the_lowest_failing_rank(void **state) {
    (void)state;
    for (int bad = 0; bad < size; bad++) {
        struct thaw_err err = THAW_ERR_INIT;
        int code = rank >= bad ? thaw_fail(&err, THAW_EDATA + rank % 2, "failure of rank %d", rank) : THAW_OK;
        code = thaw_comm_agree(comm, code, &err);
        char text[64];
        snprintf(text, sizeof text, "failure of rank %d", bad);
        assert_int_equal(code, THAW_EDATA + bad % 2);
        assert_int_equal(err.code, code);
        assert_int_equal(err.rank, bad);
        assert_string_equal(err.text, text);
        assert_int_equal(thaw_comm_agree(comm, code, &err), code); // a second agreement keeps the rank
        assert_int_equal(err.rank, bad);
    }
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_comm_agree(comm, THAW_OK, &err), THAW_OK);
    assert_int_equal(err.code, THAW_OK);
    assert_int_equal(thaw_comm_agree(comm, rank == size - 1 ? THAW_EIO : THAW_OK, NULL), THAW_EIO);
}

static void compares_bytes(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    char text[] = "--factors 64";
    assert_int_equal(thaw_comm_same(comm, text, sizeof text, "the options", &err), THAW_OK);
    if (rank == size - 1) text[10] = '7';
    int code = thaw_comm_same(comm, text, sizeof text, "the options", &err);
    assert_int_equal(code, size > 1 ? THAW_EDISAGREE : THAW_OK);
    if (size > 1) {
        assert_int_equal(err.rank, size - 1);
        assert_non_null(strstr(err.text, "the options"));
    }
}

static void sums_and_extremes(void **state) {
    (void)state;
    int64_t sum[20], most[20], least[20], before[20], wide = (int64_t)1 << 40;
    double top[20];
    for (int i = 0; i < 20; i++) {
        sum[i] = most[i] = least[i] = before[i] = wide * (i + 1) + rank;
        top[i] = -1.5 * i - rank;
    }
    thaw_comm_sum_i64(comm, sum, 20);
    thaw_comm_max_i64(comm, most, 20);
    thaw_comm_min_i64(comm, least, 20);
    thaw_comm_max_f64(comm, top, 20);
    thaw_comm_exscan_i64(comm, before, 20);
    for (int i = 0; i < 20; i++) {
        int64_t base = wide * (i + 1);
        assert_int_equal(sum[i], base * size + size * (size - 1) / 2);
        assert_int_equal(most[i], base + size - 1);
        assert_int_equal(least[i], base);
        assert_true(top[i] == -1.5 * i);
        assert_int_equal(before[i], base * rank + rank * (rank - 1) / 2);
    }
}

static void spreads(void **state) {
    (void)state;
    double own[20];
    struct thaw_spread all[20];
    struct thaw_err err = THAW_ERR_INIT;
    for (int i = 0; i < 20; i++) own[i] = i - 10 + 4.0 * rank;
    assert_int_equal(thaw_spread(comm, own, 20, all, &err), THAW_OK);
    for (int i = 0; i < 20; i++) {
        assert_true(all[i].min == i - 10 && all[i].max == i - 10 + 4.0 * (size - 1));
        assert_true(all[i].mean == i - 10 + 2.0 * (size - 1));
    }
    assert_true(thaw_spread_imbalance(&all[10]) == (size > 1 ? 2 : 1));
    assert_true(thaw_spread_imbalance(&all[11]) == all[11].max / all[11].mean);
}

static void broadcasts_and_gathers(void **state) {
    (void)state;
    for (int root = 0; root < size; root++) {
        char text[50] = "";
        if (rank == root) snprintf(text, sizeof text, "a text of rank %d, longer than a piece", rank);
        thaw_comm_bcast(comm, text, sizeof text, root);
        char expect[50];
        snprintf(expect, sizeof expect, "a text of rank %d, longer than a piece", root);
        assert_string_equal(text, expect);
    }
    int64_t own[3] = {rank, 10 * rank, -rank}, all[3 * 8];
    thaw_comm_allgather_i64(comm, own, 3, all);
    for (int r = 0; r < size; r++) {
        assert_int_equal(all[3 * r], r);
        assert_int_equal(all[3 * r + 1], 10 * r);
        assert_int_equal(all[3 * r + 2], -r);
    }
}

// Rank r brings r * 5 bytes, so rank 0 brings none.
static void gathers_pieces_of_any_length(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    char own[64];
    memset(own, 'a' + rank, sizeof own);
    for (int root = -1; root < size; root++) {
        char *out = NULL;
        int64_t total = -1;
        assert_int_equal(thaw_comm_gather(comm, own, rank * 5, root, (void **)&out, &total, &err), THAW_OK);
        assert_int_equal(total, 5 * size * (size - 1) / 2);
        assert_true((out != NULL) == (root < 0 || root == rank));
        int64_t at = 0;
        for (int r = 0; out && r < size; r++)
            for (int i = 0; i < r * 5; i++) assert_int_equal(out[at++], 'a' + r);
        free(out);
    }
}

enum { TERMS = 101, WIDTH = 9 };

// Term t, element i; magnitudes over 40 decades so that plain sums depend on their order.
static double term(int t, int i) {
    struct thaw_rng r = thaw_rng_at(5, 900, (uint64_t)(t * WIDTH + i));
    return thaw_rng_normal(&r) * pow(10, (double)thaw_rng_below(&r, 20)) * (i == 3 ? 1e-30 : 1);
}

static void exact_sum_of(int owners, double *out) {
    double *terms = malloc(sizeof *terms * TERMS * WIDTH);
    int64_t n = 0;
    struct thaw_err err = THAW_ERR_INIT;
    for (int t = 0; t < TERMS; t++) {
        if (t % owners != rank) continue;
        for (int i = 0; i < WIDTH; i++) terms[n * WIDTH + i] = term(t, i);
        n++;
    }
    assert_int_equal(thaw_comm_exact_sum(comm, terms, n, WIDTH, out, &err), THAW_OK);
    free(terms);
}

static void sums_do_not_depend_on_who_holds_what(void **state) {
    (void)state;
    double spread[WIDTH], alone[WIDTH];
    exact_sum_of(size, spread);
    exact_sum_of(1, alone); // all terms on rank 0, none elsewhere
    assert_memory_equal(spread, alone, sizeof spread);
    for (int i = 0; i < WIDTH; i++) {
        double sum = 0, bound = 0;
        for (int t = 0; t < TERMS; t++) {
            sum += term(t, i);
            bound += fabs(term(t, i));
        }
        assert_true(fabs(sum - spread[i]) <= 1e-13 * bound);
    }
    struct thaw_err err = THAW_ERR_INIT;
    double bad[2] = {rank == size - 1 ? NAN : 1, 1}, out[2];
    assert_int_equal(thaw_comm_exact_sum(comm, bad, 1, 2, out, &err), THAW_OK);
    assert_true(isnan(out[0]));
    assert_true(out[1] == size);
    assert_int_equal(thaw_comm_exact_sum(comm, bad, 0, 2, out, &err), THAW_OK);
    assert_true(out[0] == 0 && out[1] == 0);
}

static void records_the_run(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    Thaw__Run *run = NULL;
    char *argv[] = {"--data", "x", NULL};
    char value[16];
    snprintf(value, sizeof value, "%d", rank);
    setenv("OMP_THAW_TEST", value, 1);
    setenv("THAW_SECRET", "1", 1);
    setenv("SLURM_JWT", "key", 1);
    assert_int_equal(thaw_run_info_new(&run, comm, NULL, NULL, 2, argv, "SkylakeX", &err), THAW_OK);
    assert_int_equal(thaw_run_info_input(run, "events.csv", 1234, 77, &err), THAW_OK);
    assert_int_equal(run->ranks, size);
    assert_int_equal(run->n_argv, 2);
    assert_string_equal(run->argv[1], "x");
    assert_int_equal(run->n_hosts, 1);
    assert_string_equal(run->hosts[0], thaw_comm_host(comm));
    assert_string_equal(run->blas, "SkylakeX");
    assert_int_equal(strlen(run->started), 20);
    bool seen = false;
    for (size_t i = 0; i < run->n_environment; i++) {
        const Thaw__Option *o = run->environment[i];
        assert_null(strstr(o->name, "SECRET"));
        assert_null(strstr(o->name, "JWT"));
        if (strcmp(o->name, "OMP_THAW_TEST") == 0) {
            seen = true;
            assert_string_equal(o->value, "0"); // everybody holds rank 0's record
        }
    }
    assert_true(seen);
    assert_int_equal(run->n_inputs, 1);
    assert_int_equal(run->inputs[0]->nbytes, 1234);
    thaw__run__free_unpacked(run, NULL);
}

static void notes_stop_signals(void **state) {
    (void)state;
    assert_true(thaw_comm_cores(comm) >= 1);
    assert_false(thaw_comm_stop_requested(comm));
    raise(SIGUSR1);
    assert_true(thaw_comm_stop_requested(comm));
}

int main(void) {
    setenv("THAW_MPI_COUNT_MAX", "7", 1);
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_the_lowest_failing_rank),
        cmocka_unit_test(compares_bytes),
        cmocka_unit_test(sums_and_extremes),
        cmocka_unit_test(spreads),
        cmocka_unit_test(broadcasts_and_gathers),
        cmocka_unit_test(gathers_pieces_of_any_length),
        cmocka_unit_test(sums_do_not_depend_on_who_holds_what),
        cmocka_unit_test(records_the_run),
        cmocka_unit_test(notes_stop_signals),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
