// cgroup.h: memory limits of the control groups that this process is in: those of a Slurm job, a container, a
// service. Versions 1 and 2 of cgroup, or both at once. Private to base/.
#ifndef THAW_BASE_CGROUP_H
#define THAW_BASE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct thaw_cgroup_memory { // bytes
    int64_t limit;
    int64_t used; // without file cache, which goes when memory is wanted
    int64_t swap; // that is left besides
};

// The group with the least room, of this process's and those above it. False: none limits memory. Reads some
// files of /proc and /sys, tens of microseconds. Local; thread-safe.
bool thaw_cgroup_memory(struct thaw_cgroup_memory *m);

// For tests: where to read in place of /proc/self/cgroup and /sys/fs/cgroup; NULL: there again. Not
// thread-safe.
void thaw_cgroup_paths(const char *self, const char *mount);

#endif
