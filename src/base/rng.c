// rng.c: draws from Philox4x32-10.
#include "base/rng.h"

#include <Random123/philox.h>
#include <math.h>

struct thaw_rng thaw_rng_at(uint64_t seed, uint32_t stream, uint64_t index) {
    return (struct thaw_rng){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                             .counter = {0, stream, (uint32_t)index, (uint32_t)(index >> 32)}};
}

uint32_t thaw_rng_u32(struct thaw_rng *r) {
    if (r->left == 0) {
        philox4x32_ctr_t counter = {{r->counter[0], r->counter[1], r->counter[2], r->counter[3]}};
        philox4x32_key_t key = {{r->key[0], r->key[1]}};
        philox4x32_ctr_t drawn = philox4x32(counter, key);
        for (int i = 0; i < 4; i++) r->buffer[i] = drawn.v[i];
        r->counter[0]++;
        r->left = 4;
    }
    return r->buffer[4 - r->left--];
}

uint64_t thaw_rng_u64(struct thaw_rng *r) {
    uint64_t low = thaw_rng_u32(r);
    return low | (uint64_t)thaw_rng_u32(r) << 32;
}

double thaw_rng_uniform(struct thaw_rng *r) {
    return (double)(thaw_rng_u64(r) >> 11) * 0x1p-53;
}

double thaw_rng_normal(struct thaw_rng *r) {
    double radius = sqrt(2.0 * thaw_rng_exponential(r));
    return radius * cos(2.0 * M_PI * thaw_rng_uniform(r));
}

// Lemire, "Fast random integer generation in an interval", ACM TOMACS 2019.
uint64_t thaw_rng_below(struct thaw_rng *r, uint64_t n) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)thaw_rng_u64(r) * n;
    if ((uint64_t)product < n)
        for (uint64_t reject = (0 - n) % n; (uint64_t)product < reject;) product = (wide)thaw_rng_u64(r) * n;
    return (uint64_t)(product >> 64);
}

double thaw_rng_exponential(struct thaw_rng *r) {
    return -log1p(-thaw_rng_uniform(r)); // of 1 - u, in (0, 1]
}

uint32_t thaw_rng_poisson1(struct thaw_rng *r) {
    double u = thaw_rng_uniform(r), p = exp(-1.0), sum = p;
    uint32_t k = 0;
    while (u >= sum && k < 20) { // beyond 20 lies less than 2^-64
        k++;
        p /= k;
        sum += p;
    }
    return k;
}
