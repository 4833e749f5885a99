// fault.h: failures on demand, for tests. Compiled in by -DTHAW_FAULTS=ON alone; elsewhere every site is
// nothing.
//
//   THAW_FAULT=RANK:SITE:N[:WHAT][,RANK:SITE:N...]
//
// acts when RANK passes SITE for the N-th time (N counts from 1 in each process; N+ means the N-th and every
// later one). WHAT:
//   kill   SIGKILL to itself (the default)
//   stop   SIGSTOP to itself: the process is there and does nothing
//   hang   the same three seconds after it came to the site: its watchdog has told where it is (comm/watch.h)
//   slow   sleeps an hour in the site: a rank far behind the others
//   eio, enospc, edquot, erofs, enoent, enomem   the call at this site fails with this errno
//   nan    the site's numbers become NaN, where it has numbers
// A text that does not parse, or a site that cannot fail in this way, ends the program with 64 and one line:
// a test must not pass for a typing error.
//
// Sites are the phases of jobs (comm/world.h, thaw_comm_phase) and, in base/: "create", "write", "sync",
// "rename" of files, "allocate" of blocks from 1 MiB; in comm/, "beat", a watchdog's datagram. Only these
// take errnos, and "solve" alone has numbers. "write" is a phase and a call: errnos count the calls, the
// others both. Local; thread-safe.
#ifndef THAW_BASE_FAULT_H
#define THAW_BASE_FAULT_H

#include <stdbool.h>

enum { THAW_FAULT_NAN = -1 };

#ifdef THAW_FAULTS
// This process's rank; before it is called it is 0. Reads THAW_FAULT.
void thaw_fault_begin(int rank);
// Passes the site of a phase: 0, or THAW_FAULT_NAN; may not return.
int thaw_fault(const char *site);
// Passes the site of a call: true, and errno set, when the call is to fail; may not return.
bool thaw_fault_call(const char *site);
#else
static inline void thaw_fault_begin(int rank) {
    (void)rank;
}
static inline int thaw_fault(const char *site) {
    (void)site;
    return 0;
}
static inline bool thaw_fault_call(const char *site) {
    (void)site;
    return false;
}
#endif

#endif
