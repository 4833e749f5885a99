// test_watch.c: who the watchdog blames; jobs that progress are left alone. What it does to a job that stands
// still is in tests/fault/test_stall.sh.
#include "comm/watch_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct thaw_comm *comm;

static const struct thaw_watch_limits limits = {.timeout_s = 30, .fresh_s = 3, .quiet_s = 7.5};

static struct thaw_watched heard(double silent_s, double waited_s) {
    return (struct thaw_watched){.heard = true, .silent_s = silent_s, .waited_s = waited_s, .phase = "solve"};
}

static void check(const struct thaw_watched *ranks, int n, enum thaw_stall stall, int rank, int more) {
    const struct thaw_verdict v = thaw_watch_judge(ranks, n, &limits);
    assert_int_equal(v.stall, stall);
    if (stall == THAW_STALL_NONE) return;
    assert_int_equal(v.rank, rank);
    assert_int_equal(v.more, more);
}

static void who_does_not_wait_is_to_blame(void **state) {
    (void)state;
    struct thaw_watched r[4] = {heard(0, 29), heard(1, 0), heard(1, 29), heard(1, 29)};
    check(r, 4, THAW_STALL_NONE, 0, 0);
    r[3] = heard(1, 30);
    check(r, 4, THAW_STALL_BUSY, 1, 0);
    r[2] = heard(1, 0);
    check(r, 4, THAW_STALL_BUSY, 1, 1);
    r[1] = heard(1, 5); // a call a while ago, which rank 2 holds up as well
    check(r, 4, THAW_STALL_BUSY, 2, 0);
    r[2] = heard(1, 9);
    check(r, 4, THAW_STALL_BUSY, 1, 1);
    r[1] = r[2] = heard(1, 20);
    check(r, 4, THAW_STALL_ALL, 1, 3);
}

static void who_went_silent_is_to_blame_first(void **state) {
    (void)state;
    struct thaw_watched r[4] = {heard(0, 30), heard(1, 0), heard(5, 0), heard(1, 30)};
    check(r, 4, THAW_STALL_NONE, 0, 0); // rank 2 may be late or gone
    r[2] = heard(7.5, 0);
    check(r, 4, THAW_STALL_SILENT, 2, 0);
    r[3] = heard(9, 2);
    check(r, 4, THAW_STALL_SILENT, 2, 1);
    r[2] = heard(5, 0);
    r[0] = heard(0, 45); // enough doubt
    check(r, 4, THAW_STALL_SILENT, 3, 0);
    r[3] = heard(1, 40);
    check(r, 4, THAW_STALL_BUSY, 1, 0);
    r[0] = r[1] = r[3] = heard(100, 100); // what was heard long ago does not stall a job
    r[2] = heard(1, 0);
    check(r, 4, THAW_STALL_NONE, 0, 0);
}

static void who_was_never_heard_is_not_called_silent(void **state) {
    (void)state;
    struct thaw_watched r[3] = {heard(0, 31), heard(1, 0), {.silent_s = 31}};
    check(r, 3, THAW_STALL_BUSY, 1, 0);
    r[1] = heard(1, 31);
    check(r, 3, THAW_STALL_UNHEARD, 2, 0);
    r[2].gone = true;
    check(r, 3, THAW_STALL_ALL, 0, 1);
}

// Nobody waits, and nobody does anything; one that works, or is not heard of, makes it no stall.
static void who_stands_still_is_found_when_all_do(void **state) {
    (void)state;
    struct thaw_watched r[3] = {heard(0, 0), heard(1, 0), heard(1, 5)};
    for (int i = 0; i < 3; i++) r[i].still_s = 40 - i;
    check(r, 3, THAW_STALL_STILL, 0, 2);
    r[1].still_s = 29;
    check(r, 3, THAW_STALL_NONE, 0, 0);
    r[1].still_s = 40;
    r[2].silent_s = 4;
    check(r, 3, THAW_STALL_NONE, 0, 0);
    r[2].gone = true;
    check(r, 3, THAW_STALL_STILL, 0, 1);
    r[0].waited_s = 31; // then there is somebody to blame
    check(r, 3, THAW_STALL_BUSY, 1, 0);
}

// A rank that dies in the first moments has been heard of; and rank 0 is not asked for more answers than it
// gives.
static void beats_begin_at_once_and_not_all_together(void **state) {
    const int sizes[] = {2, 3, 100, 1000, 30000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct thaw_beats all = thaw_watch_beats(0, sizes[i]);
        assert_true(all.first_s == 0 && all.interval_s >= 1);
        for (int r = 1; r < sizes[i]; r++) {
            const struct thaw_beats before = thaw_watch_beats(r - 1, sizes[i]),
                                    b = thaw_watch_beats(r, sizes[i]);
            assert_true(b.interval_s == all.interval_s);
            assert_true(b.first_s - before.first_s > 0.0009 && b.first_s - before.first_s < 0.0011);
        }
        // The last of a round comes before the first of the next.
        assert_true(thaw_watch_beats(sizes[i] - 1, sizes[i]).first_s < all.interval_s);
    }
}

static void a_call_within_a_call_is_one_wait(void **state) {
    (void)state;
    const uint64_t outer = thaw_wait_begin();
    const uint64_t inner = thaw_wait_begin();
    assert_true(inner % 2 == 1 && inner != outer);
    thaw_wait_end(inner);
    const uint64_t still = thaw_wait_begin();
    assert_true(still % 2 == 1 && still != inner);
    thaw_wait_end(still);
    thaw_wait_end(outer);
    const uint64_t after = thaw_wait_begin();
    assert_true(after % 2 == 0);
    thaw_wait_end(after);
}

// ---- All ranks ----

static void nap(double s) {
    const struct timespec t = {.tv_sec = (time_t)s, .tv_nsec = (long)(1e9 * (s - (double)(time_t)s))};
    nanosleep(&t, NULL);
}

// A datagram that was sent on its own host is mostly there at once, but a busy kernel may deliver it later.
static bool comes(struct thaw_net *n, struct thaw_beat *beat, struct thaw_address *from) {
    for (int i = 0; i < 300; i++) {
        if (thaw_net_receive(n, beat, from)) return true;
        nap(0.01);
    }
    return false;
}

// A datagram and its answer between two nets of a host that has no IPv4.
static void ipv6_alone_is_enough(void **state) {
    struct thaw_net home, other;
    struct thaw_address list[THAW_ADDRESSES_MAX], from;
    struct thaw_beat beat = {.kind = THAW_BEAT_STATE, .rank = 1, .waited_s = 5}, got;
    (void)state;
    thaw_net_open(&home);
    thaw_net_open(&other);
    for (int i = 0; i < 2; i++) {
        struct thaw_net *n = i ? &other : &home;
        if (n->fd[0] >= 0) close(n->fd[0]);
        n->fd[0] = -1;
        n->nonce[0] = n->nonce[1] = 7;
    }
    const int count = thaw_net_addresses(&home, list);
    for (int i = 0; i < count; i++) assert_true(list[i].v6);
    int heard = 0;
    for (int i = 0; i < count; i++) {
        thaw_net_send(&other, &list[i], &beat);
        if (!comes(&home, &got, &from)) continue; // an address may be too new to answer
        assert_true(from.v6 && got.rank == 1 && got.waited_s == 5);
        thaw_net_send(&home, &from, &got);
        assert_true(comes(&other, &got, &from));
        heard++;
    }
    assert_true(heard > 0 || count == 0);
    thaw_net_close(&home);
    thaw_net_close(&other);
    if (count == 0) skip(); // a host without IPv6
}

// Not quick, and no rank waits for long: the limit is far above what any machine needs.
static void a_job_that_progresses_is_left_alone(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const int rank = thaw_comm_rank(comm), size = thaw_comm_size(comm);
    assert_int_equal(thaw_comm_watch(comm, "test", 600, false, &err), THAW_OK);
    for (int i = 0; i < size; i++) {
        thaw_comm_phase(comm, i % 2 ? "exchange" : "solve");
        if (i == rank) nap(1.2);
        thaw_comm_barrier(comm);
    }
}

static void a_watchdog_ends_and_another_begins(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    for (int i = 0; i < 20; i++)
        assert_int_equal(thaw_comm_watch(comm, "test", i % 4 == 3 ? 0 : 600, true, &err), THAW_OK);
    nap(1.2);
    thaw_comm_barrier(comm);
}

int main(void) {
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_wait_is_to_blame),
        cmocka_unit_test(who_went_silent_is_to_blame_first),
        cmocka_unit_test(who_was_never_heard_is_not_called_silent),
        cmocka_unit_test(who_stands_still_is_found_when_all_do),
        cmocka_unit_test(beats_begin_at_once_and_not_all_together),
        cmocka_unit_test(ipv6_alone_is_enough),
        cmocka_unit_test(a_call_within_a_call_is_one_wait),
        cmocka_unit_test(a_job_that_progresses_is_left_alone),
        cmocka_unit_test(a_watchdog_ends_and_another_begins),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
