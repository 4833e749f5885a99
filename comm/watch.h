// watch.h: the watchdog of a job: who keeps the others waiting. Private to comm/.
//
// Every rank marks itself while an MPI call waits (watch_mpi.c) and when it enters a phase. A thread of its
// own, which calls no MPI, looks at the marks once a second and tells rank 0's thread by UDP; rank 0's
// answers, so that both know of the other. When a rank has waited in one call longer than the time limit, or
// all ranks have stood still for so long, rank 0 judges who is to blame, prints one line, tells the others to
// end, and ends; the launcher ends whom that does not reach. A rank that waits too long and gets no answer
// does the same by itself.
//
// Time is counted in steps of at most two seconds: what a job spends stopped (a suspended Slurm job) is not
// time somebody waited.
#ifndef THAW_COMM_WATCH_H
#define THAW_COMM_WATCH_H

#include "comm/world.h"

#include <stdint.h>

struct thaw_watch;

enum { THAW_PHASE_NAME = 16 };

// Collective. See thaw_comm_watch; needs two ranks or more.
int thaw_watch_start(struct thaw_watch **w, struct thaw_comm *c, const char *job, double timeout_s,
                     bool quiet, struct thaw_err *err);
// Local; after MPI_Finalize, so that its end is watched as well. NULL is fine.
void thaw_watch_stop(struct thaw_watch **w);

// ---- Marks: local, a few instructions, of the thread that calls MPI ----

void thaw_watch_phase(const char *name); // a string literal
// A call that may wait begins. Returns what thaw_wait_end takes: a call within such a call leaves the mark.
uint64_t thaw_wait_begin(void);
void thaw_wait_end(uint64_t before);

// ---- Beats ----

// When a rank's watchdog tells of itself, counted from its start: at first at once, so that even a rank that
// dies early has been heard of. One rank after the other, about a thousand a second, as rank 0 answers each.
struct thaw_beats {
    double first_s, interval_s;
};
struct thaw_beats thaw_watch_beats(int rank, int size); // local

// ---- Judging ----

// What rank 0 knows of a rank.
struct thaw_watched {
    bool heard;      // ever
    bool gone;       // it said that it is done
    double silent_s; // since it was last heard of
    double waited_s; // in its current MPI call, as last heard; 0: in none
    double still_s;  // without a sign of work, as last heard: no MPI call, no time on a core, no I/O
    char phase[THAW_PHASE_NAME]; // as last heard
};

enum thaw_stall {
    THAW_STALL_NONE,
    THAW_STALL_SILENT,  // a rank that was heard of has gone silent
    THAW_STALL_BUSY,    // a rank does not wait, or not for long
    THAW_STALL_UNHEARD, // all that are heard of wait; others never were
    THAW_STALL_ALL,     // every rank waits
    THAW_STALL_STILL    // no rank waits for another, and none does anything
};

struct thaw_watch_limits {
    double timeout_s;
    double fresh_s; // heard of within this: certainly there
    double quiet_s; // not heard of for this: silent
};

struct thaw_verdict {
    enum thaw_stall stall;
    int rank;        // to blame; of several the lowest, or the one that waits least
    int more;        // others to blame
    double waited_s; // the longest wait
};

// Local. The state of all n ranks.
struct thaw_verdict thaw_watch_judge(const struct thaw_watched *ranks, int n,
                                     const struct thaw_watch_limits *limits);

#endif
