// kernels.c: which set of kernels runs here.
#include "als/kernels.h"

#include "als/als.h"

#include <stdlib.h>
#include <string.h>

static bool has(const struct thaw_als_kernels *k) {
#if defined(__x86_64__)
    if (k == &thaw_als_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("fma");
    if (k == &thaw_als_kernels_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return k == &thaw_als_kernels_portable;
}

static const struct thaw_als_kernels *choose(const char *wanted) {
    static const struct thaw_als_kernels *const sets[] = {
#if defined(__x86_64__)
        &thaw_als_kernels_avx512,
        &thaw_als_kernels_avx2,
#endif
        &thaw_als_kernels_portable
    };
    const size_t n = sizeof sets / sizeof *sets;
    for (size_t i = 0; wanted && i < n; i++)
        if ((strcmp(wanted, sets[i]->name) == 0 || (i == n - 1 && strcmp(wanted, "portable") == 0)) &&
            has(sets[i]))
            return sets[i];
    for (size_t i = 0; i < n - 1; i++)
        if (has(sets[i])) return sets[i];
    return sets[n - 1];
}

static const struct thaw_als_kernels *chosen; // threads that race here all write the same

const struct thaw_als_kernels *thaw_als_kernel_set(void) {
    const struct thaw_als_kernels *k = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (k) return k;
    k = choose(getenv("THAW_KERNELS"));
    __atomic_store_n(&chosen, k, __ATOMIC_RELAXED);
    return k;
}

void thaw_als_kernels_use(const char *name) {
    __atomic_store_n(&chosen, name ? choose(name) : NULL, __ATOMIC_RELAXED);
}

void thaw_als_kernels_choose(void) {
    __atomic_store_n(&chosen, NULL, __ATOMIC_RELAXED);
}

const char *thaw_als_kernels(void) {
    return thaw_als_kernel_set()->name;
}
