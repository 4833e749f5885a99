// crew.c: see crew.h.
#include "base/crew.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct crew {
    void (*work)(void *argument, int worker, int64_t task);
    void *argument;
    int64_t tasks;
    atomic_int_fast64_t next;
};

struct member {
    struct crew *crew;
    int number;
    pthread_t thread;
    bool started;
};

static void *take(void *argument) {
    const struct member *m = argument;
    struct crew *c = m->crew;
    for (int64_t task; (task = atomic_fetch_add(&c->next, 1)) < c->tasks;)
        c->work(c->argument, m->number, task);
    return NULL;
}

void thaw_crew(int threads, int64_t tasks, void (*work)(void *argument, int worker, int64_t task),
               void *argument) {
    struct crew c = {work, argument, tasks, 0};
    struct member m[THAW_CREW_MAX] = {{.crew = &c}};
    if (threads > tasks) threads = (int)tasks;
    if (threads > THAW_CREW_MAX) threads = THAW_CREW_MAX;
    for (int i = 1; i < threads; i++) {
        m[i] = (struct member){.crew = &c, .number = i};
        m[i].started = !pthread_create(&m[i].thread, NULL, take, &m[i]);
    }
    take(&m[0]);
    for (int i = 1; i < threads; i++)
        if (m[i].started) pthread_join(m[i].thread, NULL);
}
