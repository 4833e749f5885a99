// crew.h: numbered tasks on a few threads. Local.
#ifndef THAW_BASE_CREW_H
#define THAW_BASE_CREW_H

#include <stdint.h>

// Calls work(argument, worker, task) once for each task of [0, tasks) and returns when all have returned. Up
// to `threads` threads, of which the caller is worker 0 and no two have the same number, claim tasks in
// rising order. A thread that cannot be started is done without. No more threads than tasks; threads < 1: 1.
void thaw_crew(int threads, int64_t tasks, void (*work)(void *argument, int worker, int64_t task),
               void *argument);
enum { THAW_CREW_MAX = 256 }; // threads beyond it are not started

#endif
