// test_gan_sums.c: sums of gradients: right, the same bits whoever adds what, and terms that are too large
// noticed by all ranks.
// with: THAW_NODE_RANKS=2
// with: THAW_NODE_RANKS=1 THAW_MPI_COUNT_MAX=7
#include "base/rng.h"
#include "comm/gan_sums.h"
#include "comm/window.h"
#include "comm/world.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 1003, TERMS = 24, BUCKETS = 3, THREADS = 2, CARRIED = 2, MOST = 8 };
static const size_t begin[BUCKETS + 1] = {0, 5, 500, N};
static struct thaw_comm *comm;

// Term t: sizes differ by many orders.
static void term(int t, float x[N]) {
    struct thaw_rng rng = thaw_rng_at(5, 300, (uint64_t)t);
    for (int i = 0; i < N; i++)
        x[i] = (float)(thaw_rng_normal(&rng) * ldexp(1, -(int)thaw_rng_below(&rng, 20)));
}

// Collective. All sums to all ranks; false when a term was not sound.
static bool round_trip(struct thaw_sums *s, float out[N]) {
    for (int b = BUCKETS - 1; b >= 0; b--) thaw_sums_start(s, b);
    thaw_sums_poke(s);
    for (int b = 0; b < BUCKETS; b++) {
        thaw_sums_wait(s, b, out);
        thaw_sums_share(s, b, out);
    }
    return thaw_sums_settle(s);
}

// Every rank adds the terms that it owns when they are dealt to `dealt` of them.
static bool sum_of(struct thaw_sums *s, int dealt, float out[N]) {
    static float x[N];
    for (int t = 0; t < TERMS; t++) {
        if (t % dealt != thaw_comm_rank(comm)) continue;
        term(t, x);
        for (int b = 0; b < BUCKETS; b++) thaw_sums_add(s, t % THREADS, b, x);
    }
    return round_trip(s, out);
}

static void same_sum_for_any_cut(void **state) {
    static float one[N], all[N], again[N], x[N];
    static double exact[N];
    struct thaw_sums *s = NULL;
    (void)state;
    for (int t = 0; t < TERMS; t++) {
        term(t, x);
        for (int i = 0; i < N; i++) exact[i] += (double)x[i];
    }
    for (int round = 0; round < 2; round++) {
        float *out = round ? all : one;
        assert_int_equal(thaw_sums_new(&s, comm, begin, BUCKETS, NULL, CARRIED, THREADS, NULL), 0);
        assert_true(sum_of(s, round ? thaw_comm_size(comm) : 1, out));
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)out[i] - exact[i]) < 1e-6 * fabs(exact[i]) + 1e-8);
        if (round) {
            assert_true(sum_of(s, thaw_comm_size(comm), again)); // at a scale that has followed the sums
            for (int i = 0; i < N; i++)
                assert_true(fabs((double)again[i] - exact[i]) < 1e-6 * fabs(exact[i]) + 1e-8);
        }
        thaw_sums_free(&s);
    }
    assert_memory_equal(one, all, sizeof one);
}

static void spoilt_terms_are_noticed(void **state) {
    static float x[N], out[N];
    const float bad[] = {NAN, INFINITY, -INFINITY, 1e30F, -1e30F};
    struct thaw_sums *s = NULL;
    (void)state;
    assert_int_equal(thaw_sums_new(&s, comm, begin, BUCKETS, NULL, CARRIED, THREADS, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int at = 0; at < N; at += 498) { // in a vector, and in the rest after the last
            memset(x, 0, sizeof x);
            if (thaw_comm_rank(comm) == thaw_comm_size(comm) - 1) x[at] = bad[i];
            for (int b = 0; b < BUCKETS; b++) thaw_sums_add(s, 0, b, x);
            assert_false(round_trip(s, out));
        }
    assert_true(sum_of(s, thaw_comm_size(comm), out)); // and forgotten
    thaw_sums_free(&s);
}

// A rank gets the sums of its share and no others, of equal shares or of such as were asked for.
static void shares_stay_apart(void **state) {
    static float x[N], out[N], whole[N];
    const int size = thaw_comm_size(comm), rank = thaw_comm_rank(comm);
    size_t share[BUCKETS * (MOST + 1)];
    struct thaw_sums *s = NULL;
    (void)state;
    assert_true(size <= MOST);
    for (int b = 0; b < BUCKETS; b++) // all of bucket b to rank b, or to the last one
        for (int r = 0; r <= size; r++)
            share[b * (size + 1) + r] = begin[b + (r > (b < size ? b : size - 1))];
    for (int asked = 0; asked < 2; asked++) {
        assert_int_equal(
            thaw_sums_new(&s, comm, begin, BUCKETS, asked ? share : NULL, CARRIED, THREADS, NULL), 0);
        assert_true(sum_of(s, size, whole));
        thaw_sums_free(&s);
        assert_int_equal(
            thaw_sums_new(&s, comm, begin, BUCKETS, asked ? share : NULL, CARRIED, THREADS, NULL), 0);
        for (int i = 0; i < N; i++) out[i] = 7;
        for (int t = rank; t < TERMS; t += size) {
            term(t, x);
            for (int b = 0; b < BUCKETS; b++) thaw_sums_add(s, 0, b, x);
        }
        size_t told = 0;
        for (int b = 0; b < BUCKETS; b++) {
            size_t from, to;
            thaw_sums_own(s, b, &from, &to);
            thaw_sums_start(s, b);
            thaw_sums_wait(s, b, out);
            if (to > from) assert_memory_equal(out + from, whole + from, (to - from) * sizeof *out);
            told += to - from;
            if (asked)
                assert_int_equal(to - from, share[b * (size + 1) + rank + 1] - share[b * (size + 1) + rank]);
        }
        for (int i = 0; i < N; i++) told += out[i] == 7;
        assert_int_equal(told, N);
        thaw_sums_free(&s); // with terms that nobody settled
    }
}

// Numbers beside the sums, of two rounds; what is shared is the owners'.
static void what_is_carried_and_shared(void **state) {
    static float x[N], out[N];
    struct thaw_sums *s = NULL;
    const int size = thaw_comm_size(comm);
    (void)state;
    assert_int_equal(thaw_sums_new(&s, comm, begin, BUCKETS, NULL, CARRIED, THREADS, NULL), 0);
    term(0, x);
    for (int round = 0; round < 2; round++) {
        for (int b = 0; b < BUCKETS; b++) thaw_sums_add(s, b % THREADS, b, x);
        thaw_sums_carried(s)[0] = thaw_comm_rank(comm);
        thaw_sums_carried(s)[1] = -1;
        assert_true(round_trip(s, out));
        assert_int_equal(thaw_sums_carried(s)[0], size * (size - 1) / 2);
        assert_int_equal(thaw_sums_carried(s)[1], -size);
    }
    for (int i = 0; i < N; i++) out[i] = (float)thaw_comm_rank(comm);
    for (int b = 0; b < BUCKETS; b++) thaw_sums_share(s, b, out);
    thaw_sums_finish(s);
    assert_true(out[0] == (float)(size - 1)); // too short to be cut
    for (int b = 1; b < BUCKETS; b++) {
        assert_true(out[begin[b]] == 0 && out[begin[b + 1] - 1] == (float)(size - 1));
        for (size_t i = begin[b] + 1; i < begin[b + 1]; i++) assert_true(out[i] >= out[i - 1]);
    }
    thaw_sums_free(&s);
}

// What the ranks of a node have in common: the shares of all ranks are in it, for two rounds.
static void what_is_shown(void **state) {
    struct thaw_sums *s = NULL;
    struct thaw_window *window = NULL;
    const int size = thaw_comm_size(comm);
    (void)state;
    assert_int_equal(thaw_sums_new(&s, comm, begin, BUCKETS, NULL, CARRIED, THREADS, NULL), 0);
    assert_int_equal(thaw_window_new(&window, comm, N * sizeof(float), NULL), 0);
    float *x = thaw_window_bytes(window);
    for (int round = 0; round < 2; round++) {
        int64_t wrong = 0;
        for (int b = 0; b < BUCKETS; b++) {
            size_t from, to;
            thaw_sums_own(s, b, &from, &to);
            for (size_t i = from; i < to; i++) x[i] = (float)(thaw_comm_rank(comm) + 100 * round);
            thaw_sums_show(s, b, x);
        }
        assert_true(thaw_sums_settle(s));
        for (int b = 1; b < BUCKETS; b++) {
            wrong += x[begin[b]] != (float)(100 * round);
            wrong += x[begin[b + 1] - 1] != (float)(size - 1 + 100 * round);
            for (size_t i = begin[b] + 1; i < begin[b + 1]; i++) wrong += x[i] < x[i - 1];
        }
        thaw_comm_sum_i64(comm, &wrong, 1); // and nobody writes before all have looked
        assert_int_equal(wrong, 0);
    }
    thaw_window_free(&window);
    thaw_sums_free(&s);
}

// Gradients that fall or grow from step to step keep their precision.
static void scale_follows(void **state) {
    static float x[N], out[N];
    struct thaw_sums *s = NULL;
    (void)state;
    assert_int_equal(thaw_sums_new(&s, comm, begin, BUCKETS, NULL, CARRIED, THREADS, NULL), 0);
    for (int step = 0; step < 120; step++) {
        const double size = step < 60 ? ldexp(1, -step) : ldexp(1, -60 + 8 * (step - 60) / 8);
        for (int i = 0; i < N; i++) x[i] = (float)(size * (1 + i % 7) / 7);
        for (int b = 0; b < BUCKETS; b++) thaw_sums_add(s, 0, b, x);
        assert_true(round_trip(s, out));
        for (int i = 0; i < N; i++) {
            const double want = (double)x[i] * thaw_comm_size(comm);
            assert_true(fabs((double)out[i] - want) <= 1e-6 * want);
        }
    }
    thaw_sums_free(&s);
}

int main(void) {
    if (thaw_comm_begin(&comm, NULL)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_sum_for_any_cut), cmocka_unit_test(spoilt_terms_are_noticed),
        cmocka_unit_test(shares_stay_apart),    cmocka_unit_test(what_is_carried_and_shared),
        cmocka_unit_test(what_is_shown),        cmocka_unit_test(scale_follows),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
