// loops.c: which set of loops runs here.
#include "gan/loops.h"

#include <stdlib.h>
#include <string.h>

static bool has(const struct thaw_gan_loops *l) {
#if defined(__x86_64__)
    if (l == &thaw_gan_loops_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("fma");
    if (l == &thaw_gan_loops_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return l == &thaw_gan_loops_portable;
}

static const struct thaw_gan_loops *choose(const char *wanted) {
    static const struct thaw_gan_loops *const sets[] = {
#if defined(__x86_64__)
        &thaw_gan_loops_avx512,
        &thaw_gan_loops_avx2,
#endif
        &thaw_gan_loops_portable
    };
    const size_t n = sizeof sets / sizeof *sets;
    for (size_t i = 0; wanted && i < n; i++)
        if (strcmp(wanted, sets[i]->name) == 0 && has(sets[i])) return sets[i];
    for (size_t i = 0; i < n - 1; i++)
        if (has(sets[i])) return sets[i];
    return sets[n - 1];
}

static const struct thaw_gan_loops *chosen; // threads that race here all write the same

const struct thaw_gan_loops *thaw_gan_loop_set(void) {
    const struct thaw_gan_loops *l = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (l) return l;
    l = choose(getenv("THAW_KERNELS"));
    __atomic_store_n(&chosen, l, __ATOMIC_RELAXED);
    return l;
}

void thaw_gan_loops_use(const char *name) {
    __atomic_store_n(&chosen, name ? choose(name) : NULL, __ATOMIC_RELAXED);
}
