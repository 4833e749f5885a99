// test_fault.c: failures on demand happen where and when they were asked for, and in no other build.
#include "base/fault.h"
#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "scratch.h"

// The variable is read once in a process: every try is a process of its own. Returns its wait status.
static int try(const char *fault, int rank, int (*body)(void)) {
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        setenv("THAW_FAULT", fault, 1);
        thaw_fault_begin(rank);
        _exit(body());
    }
    int status = -1;
    assert_true(child > 0 && waitpid(child, &status, WUNTRACED) == child);
    return status;
}

static int exit_of(const char *fault, int rank, int (*body)(void)) {
    const int status = try(fault, rank, body);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

// ---- What a process does ----

static int pass_solve(void) {
    for (int i = 0; i < 3; i++)
        if (thaw_fault("solve") != 0) return i + 1;
    return 0;
}

static int put_twice(void) {
    struct thaw_err err = THAW_ERR_INIT;
    unlink(scratch_path("second")); // of another try
    int code = thaw_file_put(scratch_path("first"), "text", 4, NULL, &err);
    if (code == THAW_OK) code = thaw_file_put(scratch_path("second"), "text", 4, NULL, &err);
    if (code != THAW_OK && thaw_path_exists(scratch_path("second"))) return 98;
    return code;
}

// An error of the system is told as such, and no file of any name is left.
static int put_on_full_disk(void) {
    struct thaw_err err = THAW_ERR_INIT;
    const int code = thaw_file_put(scratch_path("file"), "text", 4, NULL, &err);
    if (thaw_path_exists(scratch_path("file")) || thaw_path_exists(scratch_path("file.tmp"))) return 98;
    return code == THAW_EIO && strstr(err.text, strerror(ENOSPC)) ? 1 : 0;
}

static int take_memory(void) {
    struct thaw_err err = THAW_ERR_INIT;
    void *small = NULL, *big = NULL;
    int code = thaw_alloc(&small, 1000, 1000, "a small block", &err);
    if (code == THAW_OK) code = thaw_alloc(&big, 1 << 20, 1, "a big block", &err);
    free(small);
    free(big);
    return code;
}

// ---- Tests ----

#ifdef THAW_FAULTS
static void numbers_spoil_at_the_pass_and_rank(void **state) {
    (void)state;
    assert_int_equal(exit_of("1:solve:2:nan", 1, pass_solve), 2);
    assert_int_equal(exit_of("1:solve:2:nan", 0, pass_solve), 0);
    assert_int_equal(exit_of("1:solve:4:nan", 1, pass_solve), 0);
    assert_int_equal(exit_of("1:exchange:1,1:solve:3:nan", 1, pass_solve), 3);
}

static void calls_fail_with_the_errno(void **state) {
    (void)state;
    static const char *const sites[] = {"create", "write", "sync", "rename"};
    for (size_t i = 0; i < 4; i++) {
        char fault[64];
        snprintf(fault, sizeof fault, "0:%s:1:enospc", sites[i]);
        assert_int_equal(exit_of(fault, 0, put_on_full_disk), 1);
        snprintf(fault, sizeof fault, "0:%s:2:eio", sites[i]);
        assert_int_equal(exit_of(fault, 0, put_twice), THAW_EIO);
        snprintf(fault, sizeof fault, "0:%s:2+:enomem", sites[i]);
        assert_int_equal(exit_of(fault, 0, put_twice), THAW_EMEM);
        snprintf(fault, sizeof fault, "0:%s:3:eio", sites[i]);
        assert_int_equal(exit_of(fault, 0, put_twice), THAW_OK);
    }
    assert_int_equal(exit_of("0:allocate:1:enomem", 0, take_memory), THAW_EMEM);
    assert_int_equal(exit_of("0:allocate:2:enomem", 0, take_memory), THAW_OK);
}

static void processes_die_and_stop(void **state) {
    (void)state;
    int status = try("0:solve:2", 0, pass_solve);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    status = try("2:write:1:kill", 2, put_twice);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_stopped_process_goes_on(void **state) {
    (void)state;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        setenv("THAW_FAULT", "0:solve:1:stop", 1);
        _exit(thaw_fault("solve") == 0 ? 3 : 4); // without thaw_fault_begin: rank 0
    }
    int status;
    assert_true(waitpid(child, &status, WUNTRACED) == child && WIFSTOPPED(status));
    kill(child, SIGCONT);
    assert_true(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

static void other_texts_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"x",
                                      "0",
                                      "0:solve",
                                      "0:solve:",
                                      "0:solve:0",
                                      "0:solve:-1",
                                      "0:solve:1x",
                                      "0:solve:1:",
                                      "0:solve:1:kil",
                                      "0:solve:1:kill:2",
                                      "-1:solve:1",
                                      ":solve:1",
                                      "0:sovle:1",
                                      "0:solve:1:eio",
                                      "0:write:1:nan",
                                      "0:solve:1,",
                                      "0:solve:1,,0:read:1",
                                      "0:a_much_too_long_name:1",
                                      "0:solve:1:a_much_too_long_name"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const int status = try(bad[i], 0, pass_solve);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != THAW_EUSAGE) fail_msg("taken: '%s'", bad[i]);
    }
    assert_int_equal(exit_of("x", 3, pass_solve), THAW_EUSAGE);
    assert_int_equal(exit_of("", 0, pass_solve), 0);
}
#else
static void nothing_fails_on_demand(void **state) {
    (void)state;
    assert_int_equal(exit_of("0:solve:1+:nan", 0, pass_solve), 0);
    assert_int_equal(exit_of("0:solve:1+", 0, pass_solve), 0);
    assert_int_equal(exit_of("0:write:1+:eio", 0, put_twice), THAW_OK);
    assert_int_equal(exit_of("0:write:1+:enospc", 0, put_on_full_disk), 98); // it is there
    assert_int_equal(exit_of("0:allocate:1+:enomem", 0, take_memory), THAW_OK);
    assert_int_equal(exit_of("nonsense", 0, pass_solve), 0);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
#ifdef THAW_FAULTS
        cmocka_unit_test(numbers_spoil_at_the_pass_and_rank),
        cmocka_unit_test(calls_fail_with_the_errno),
        cmocka_unit_test(processes_die_and_stop),
        cmocka_unit_test(a_stopped_process_goes_on),
        cmocka_unit_test(other_texts_are_refused),
#else
        cmocka_unit_test(nothing_fails_on_demand),
#endif
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
