// lock.h: one writer for a folder. The lock is advisory (an open file description's, so NFS takes part) on a
// small file beside the folder, FOLDER.lock, whose text says who holds it. The kernel lets go of it when its
// holder dies, however it dies; the file goes with a proper end. Local; thread-safe on distinct locks.
#ifndef THAW_BASE_LOCK_H
#define THAW_BASE_LOCK_H

#include "base/err.h"

#include <stdbool.h>

struct thaw_lock;

// Take the lock of `folder`, without waiting. The folder need not exist; the one it lies in is made. who: one
// line for others to read, such as "thaw train, process 4711 on node3, Slurm job 1234, since
// 2026-01-31T12:00:00Z". THAW_EUSAGE: held, naming the holder: "model: thaw train, process ... is writing
// here: wait for it, or name another folder", or a path that is too long. THAW_EIO: cannot be made.
// THAW_EMEM. *lock is left alone on failure. *unlocked (may be NULL): the call succeeds with *lock NULL, as
// the file system has no locks, or the folder lies in one that cannot be written.
int thaw_lock_take(struct thaw_lock **lock, const char *folder, const char *who, bool *unlocked,
                   struct thaw_err *err);
void thaw_lock_release(struct thaw_lock **lock); // removes the file; NULL is fine

#endif
