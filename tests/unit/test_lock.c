// test_lock.c: one holder at a time, whoever dies and however often the file comes and goes.
#include "base/lock.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int take(struct thaw_lock **lock, const char *folder, struct thaw_err *err) {
    bool unlocked = true;
    *err = THAW_ERR_INIT;
    *lock = NULL;
    const int code = thaw_lock_take(lock, folder, "thaw test, process 1 on here", &unlocked, err);
    assert_false(unlocked); // a file system of tests has locks
    return code;
}

static void one_holder_who_is_named(void **state) {
    (void)state;
    struct thaw_lock *a, *b;
    struct thaw_err err;
    const char *folder = scratch_path("model"), *file = scratch_path("model.lock");
    assert_int_equal(take(&a, folder, &err), THAW_OK);
    assert_true(thaw_path_exists(file));
    assert_false(thaw_path_exists(folder)); // it need not be there
    assert_int_equal(take(&b, folder, &err), THAW_EUSAGE);
    assert_null(b);
    assert_non_null(strstr(err.text, "model: thaw test, process 1 on here is writing here"));
    thaw_lock_release(&a);
    assert_null(a);
    assert_false(thaw_path_exists(file));
    assert_int_equal(take(&b, folder, &err), THAW_OK);
    thaw_lock_release(&b);
    thaw_lock_release(&b); // of nothing
}

// However it is reached, it is the same folder.
static void names_of_one_folder(void **state) {
    (void)state;
    struct thaw_lock *a, *b;
    struct thaw_err err;
    assert_int_equal(thaw_dir_make(scratch_path("deep/er"), &err), THAW_OK);
    assert_int_equal(symlink("deep/er", scratch_path("link")), 0);
    const char *same[] = {"deep/er", "deep/er//", "deep/./er", "deep/er/.", "deep/../deep/er", "link"};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_int_equal(take(&a, scratch_path(same[i]), &err), THAW_OK);
        for (size_t j = 0; j < sizeof same / sizeof *same; j++)
            assert_int_equal(take(&b, scratch_path(same[j]), &err), THAW_EUSAGE);
        thaw_lock_release(&a);
    }
    assert_int_equal(take(&a, scratch_path("a/b/c"), &err), THAW_OK); // its parents are made
    assert_int_equal(take(&b, scratch_path("a/b/c/"), &err), THAW_EUSAGE);
    assert_int_equal(take(&b, scratch_path("a/b"), &err), THAW_OK); // another folder
    thaw_lock_release(&a);
    thaw_lock_release(&b);
}

static void the_kernel_lets_go_for_the_dead(void **state) {
    (void)state;
    struct thaw_lock *lock = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    int ready[2];
    char byte;
    const char *folder = scratch_path("killed");
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        const int code = thaw_lock_take(&lock, folder, "the child", NULL, &err);
        if (write(ready[1], code ? "n" : "y", 1) == 1) pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(take(&lock, folder, &err), THAW_EUSAGE);
    assert_non_null(strstr(err.text, "the child"));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(thaw_path_exists(scratch_path("killed.lock"))); // harmless
    assert_int_equal(take(&lock, folder, &err), THAW_OK);
    thaw_lock_release(&lock);
    close(ready[0]);
    close(ready[1]);
}

// Processes that take and release it without pause: each adds to a number that only the holder may touch.
static void never_two_at_once(void **state) {
    (void)state;
    enum { PROCESSES = 4, TURNS = 200 };
    const char *folder = scratch_path("busy"), *path = scratch_path("number");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int64_t number = 0, went = 0;
    assert_int_equal(pwrite(fd, &number, sizeof number, 0), sizeof number);
    for (int p = 0; p < PROCESSES; p++)
        if (fork() == 0) {
            for (int turn = 0; turn < TURNS;) {
                struct thaw_lock *lock = NULL;
                const int code = thaw_lock_take(&lock, folder, "one of many", NULL, NULL);
                if (code == THAW_EUSAGE) continue;
                if (code || pread(fd, &number, sizeof number, 0) != sizeof number) _exit(1);
                usleep(10);
                number++;
                if (pwrite(fd, &number, sizeof number, 0) != sizeof number) _exit(1);
                thaw_lock_release(&lock);
                turn++;
            }
            _exit(0);
        }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_true(wait(&status) > 0);
        went += status == 0;
    }
    assert_int_equal(went, PROCESSES);
    assert_int_equal(pread(fd, &number, sizeof number, 0), sizeof number);
    assert_int_equal(number, PROCESSES * TURNS);
    assert_false(thaw_path_exists(scratch_path("busy.lock")));
    close(fd);
}

static void what_cannot_be_locked(void **state) {
    (void)state;
    struct thaw_lock *lock = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    bool unlocked = false;
    assert_int_equal(close(open(scratch_path("file"), O_WRONLY | O_CREAT, 0666)), 0);
    assert_int_equal(thaw_lock_take(&lock, scratch_path("file/model"), "x", NULL, &err), THAW_EIO);
    assert_non_null(strstr(err.text, "a file is in the way"));
    assert_null(lock);
    if (geteuid() == 0) return; // root may write anywhere
    assert_int_equal(thaw_dir_make(scratch_path("theirs/ours"), NULL), THAW_OK);
    assert_int_equal(chmod(scratch_path("theirs"), 0500), 0);
    assert_int_equal(thaw_lock_take(&lock, scratch_path("theirs/ours"), "x", &unlocked, NULL), THAW_OK);
    assert_true(unlocked);
    assert_null(lock);
    assert_int_equal(thaw_lock_take(&lock, scratch_path("theirs/new"), "x", NULL, NULL), THAW_EIO);
    assert_int_equal(chmod(scratch_path("theirs"), 0700), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_holder_who_is_named),         cmocka_unit_test(names_of_one_folder),
        cmocka_unit_test(the_kernel_lets_go_for_the_dead), cmocka_unit_test(never_two_at_once),
        cmocka_unit_test(what_cannot_be_locked),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
