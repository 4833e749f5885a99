// mem.c: checked, aligned, zeroed allocation.
#include "base/mem.h"
#include "base/cgroup.h"
#include "base/fault.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ALIGN = 64, HUGE_ALIGN = 2 << 20, HUGE_FROM = 4 << 20, LIMIT_FROM = 64 << 20, FAULT_FROM = 1 << 20 };
static const size_t ADDRESS_SPACE = (size_t)1
                                    << 47; // more than this no process can have; some allocators abort on it

// A line "VmRSS:  1234 kB" of /proc/self/status in bytes, 0 when there is none.
static int64_t status_bytes(const char *name) {
    FILE *f = fopen("/proc/self/status", "re");
    if (!f) return 0;
    char line[256];
    long long kib = 0;
    size_t n = strlen(name);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, name, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%lld", &kib) == 1) break;
    fclose(f);
    return (int64_t)kib * 1024;
}

int64_t thaw_mem_peak_bytes(void) {
    return status_bytes("VmHWM");
}

static int refuse(size_t nbytes, bool overflow, const char *what, struct thaw_err *err) {
    struct rlimit rl = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_AS, &rl);
    bool limited = rl.rlim_cur != RLIM_INFINITY && rl.rlim_cur <= INT64_MAX;
    int64_t limit = limited ? (int64_t)rl.rlim_cur : (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    char want[16], have[16], used[16];
    thaw_human_bytes(want, nbytes > INT64_MAX ? INT64_MAX : (int64_t)nbytes);
    thaw_human_bytes(have, limit);
    thaw_human_bytes(used, status_bytes(limited ? "VmSize" : "VmRSS"));
    return thaw_fail(err, THAW_EMEM, "cannot allocate %s%s for %s (limit %s%s, in use %s)",
                     overflow ? "more than " : "", want, what, have,
                     limited ? " of address space" : " of memory", used);
}

int thaw_mem_refuse(size_t nbytes, const char *what, struct thaw_err *err) {
    return refuse(nbytes, false, what, err);
}

// What a control group does not let a process have kills it only when it touches it, without a word. So ask
// before: some files are read, which is nothing beside touching the block.
static int refuse_by_group(size_t nbytes, const char *what, struct thaw_err *err) {
    struct thaw_cgroup_memory m;
    char want[16], have[16], used[16];
    if (!thaw_cgroup_memory(&m) || (int64_t)nbytes <= m.limit - m.used + m.swap) return THAW_OK;
    thaw_human_bytes(want, (int64_t)nbytes);
    thaw_human_bytes(have, m.limit);
    thaw_human_bytes(used, m.used);
    return thaw_fail(err, THAW_EMEM, "cannot allocate %s for %s (limit %s of the control group, in use %s)",
                     want, what, have, used);
}

// nbytes > 0, a multiple of ALIGN. Big blocks are cut from fresh pages: zero without being touched, so that
// the thread that first writes them decides on the NUMA node.
static void *take(size_t nbytes, bool zero) {
    bool big = nbytes >= HUGE_FROM;
    void *p = NULL;
    if (posix_memalign(&p, big ? HUGE_ALIGN : ALIGN, nbytes) != 0) return NULL;
    size_t done = 0;
#ifdef __linux__
    if (big) {
        size_t pages = nbytes - nbytes % (size_t)sysconf(_SC_PAGESIZE);
        madvise(p, pages, MADV_HUGEPAGE);
        if (zero && madvise(p, pages, MADV_DONTNEED) == 0) done = pages;
    }
#endif
    if (zero) memset((char *)p + done, 0, nbytes - done);
    return p;
}

static int take_checked(void **p, size_t n, size_t size, bool zero, const char *what, struct thaw_err *err) {
    size_t nbytes;
    if (__builtin_mul_overflow(n, size, &nbytes)) return refuse(SIZE_MAX, true, what, err);
    if (nbytes > ADDRESS_SPACE) return refuse(nbytes, false, what, err);
    int code = nbytes >= LIMIT_FROM ? refuse_by_group(nbytes, what, err) : THAW_OK;
    if (code != THAW_OK) return code;
    size_t rounded = nbytes ? (nbytes + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    *p = nbytes >= FAULT_FROM && thaw_fault_call("allocate") ? NULL : take(rounded, zero);
    return *p ? THAW_OK : refuse(nbytes, false, what, err);
}

int thaw_alloc(void *out, size_t n, size_t size, const char *what, struct thaw_err *err) {
    void *p;
    int code = take_checked(&p, n, size, true, what, err);
    if (code == THAW_OK) memcpy(out, &p, sizeof p); // `out` is the address of a pointer of any type
    return code;
}

int thaw_grow(void *out, size_t *cap, size_t n, size_t size, const char *what, struct thaw_err *err) {
    void *old, *p;
    memcpy(&old, out, sizeof old);
    if (old && n <= *cap) return THAW_OK;
    size_t want = *cap + *cap / 2;
    if (want < n) want = n;
    if (want < 16) want = 16;
    int code = take_checked(&p, want, size, false, what, want > n ? NULL : err);
    if (code != THAW_OK && want > n) { // room to spare is not worth a failure
        want = n;
        code = take_checked(&p, want, size, false, what, err);
    }
    if (code != THAW_OK) return code;
    if (old) memcpy(p, old, *cap * size);
    free(old);
    memcpy(out, &p, sizeof p);
    *cap = want;
    return THAW_OK;
}

int64_t thaw_mem_free_bytes(void) {
    struct thaw_cgroup_memory m;
    char line[256];
    long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1) break;
    if (f) fclose(f);
    const int64_t machine = kib > 0 ? (int64_t)kib * 1024 : INT64_MAX;
    if (!thaw_cgroup_memory(&m)) return machine;
    const int64_t group = m.limit > m.used ? m.limit - m.used : 0;
    return group < machine ? group : machine;
}

struct thaw_mem_limit thaw_mem_limits(void) {
    struct thaw_mem_limit l = {.process = INT64_MAX};
    struct thaw_cgroup_memory m;
    struct rlimit rl;
    const int64_t pages = sysconf(_SC_PHYS_PAGES);
    l.shared = pages > 0 ? pages * sysconf(_SC_PAGESIZE) : INT64_MAX;
    l.group = thaw_cgroup_memory(&m) && m.limit < l.shared;
    if (l.group) l.shared = m.limit;
    if (getrlimit(RLIMIT_AS, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY && rl.rlim_cur <= INT64_MAX)
        l.process = (int64_t)rl.rlim_cur;
    return l;
}
