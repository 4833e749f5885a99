// mem.h: checked allocation. Local; thread-safe.
#ifndef THAW_BASE_MEM_H
#define THAW_BASE_MEM_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Allocate n x size zeroed bytes, 64-byte aligned, never NULL on success (n = 0 included). `what` names the
// purpose in the error: "cannot allocate 12.0 GiB for user factors (limit ..., in use ...)". Free with
// free(). THAW_EMEM; also for a block from 64 MiB that no longer fits the memory limit of the control group
// (a Slurm job's, a container's): touching it would get the process killed.
int thaw_alloc(void *out, size_t n, size_t size, const char *what, struct thaw_err *err);

// Grow *out (from thaw_alloc or NULL) to hold at least n elements of `size` bytes; *cap is its capacity in
// elements and grows geometrically. New bytes are not zeroed. Alignment is kept. THAW_EMEM, *out unchanged
// then.
int thaw_grow(void *out, size_t *cap, size_t n, size_t size, const char *what, struct thaw_err *err);

// Peak resident memory of this process in bytes (VmHWM), 0 when the system does not tell.
int64_t thaw_mem_peak_bytes(void);
// Fail as thaw_alloc does, for memory that was asked for in another way: what for, how much, and what there
// is.
int thaw_mem_refuse(size_t nbytes, const char *what, struct thaw_err *err);
// What this machine, and the control groups of this process, still let processes have, file cache counted as
// free; INT64_MAX when nothing tells.
int64_t thaw_mem_free_bytes(void);

// What there is for processes in all.
struct thaw_mem_limit {
    int64_t shared;  // bytes of the machine, or of the control group with the least room; INT64_MAX: unknown
    bool group;      // it is a control group's
    int64_t process; // bytes of address space of this process alone (ulimit -v); INT64_MAX: no limit
};
struct thaw_mem_limit thaw_mem_limits(void);

// A narrowing that must not lose anything: true when the value fits and *out is set.
static inline int thaw_fits_int(int64_t v, int *out) {
    if (v < INT32_MIN || v > INT32_MAX) return 0;
    *out = (int)v;
    return 1;
}

#endif
