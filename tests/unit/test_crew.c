// test_crew.c: every task once, by workers of different numbers, whatever the number of threads.
#include "base/crew.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { TASKS = 5000 };

struct seen {
    atomic_int of[TASKS],
        busy[THAW_CREW_MAX]; // calls of each task; calls of each worker that have not returned
    atomic_int wrong;        // workers that were busy already, or have no number
    atomic_int most;         // the largest number of a worker
};

static void look(void *argument, int worker, int64_t task) {
    struct seen *s = argument;
    if (worker < 0 || worker >= THAW_CREW_MAX || task < 0 || task >= TASKS) {
        atomic_fetch_add(&s->wrong, 1);
        return;
    }
    if (atomic_fetch_add(&s->busy[worker], 1)) atomic_fetch_add(&s->wrong, 1);
    atomic_fetch_add(&s->of[task], 1);
    int most = atomic_load(&s->most);
    while (worker > most && !atomic_compare_exchange_weak(&s->most, &most, worker)) {
    }
    atomic_fetch_sub(&s->busy[worker], 1);
}

static void every_task_once(void **state) {
    (void)state;
    static const int threads[] = {-1, 0, 1, 2, 7, 300};
    static const int64_t tasks[] = {0, 1, 3, TASKS};
    static struct seen s;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        for (size_t j = 0; j < sizeof tasks / sizeof *tasks; j++) {
            s = (struct seen){0};
            thaw_crew(threads[i], tasks[j], look, &s);
            assert_int_equal(s.wrong, 0);
            for (int64_t t = 0; t < TASKS; t++) assert_int_equal(s.of[t], t < tasks[j]);
            assert_true(s.most == 0 || (s.most < threads[i] && s.most < tasks[j]));
        }
}

// Each of two tasks ends only once the other has begun.
static void meet(void *argument, int worker, int64_t task) {
    atomic_int *begun = argument;
    (void)worker;
    (void)task;
    atomic_fetch_add(begun, 1);
    while (atomic_load(begun) < 2) {
    }
}

static void threads_work_at_the_same_time(void **state) {
    (void)state;
    atomic_int begun = 0;
    thaw_crew(2, 2, meet, &begun);
    assert_int_equal(begun, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_once),
        cmocka_unit_test(threads_work_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
