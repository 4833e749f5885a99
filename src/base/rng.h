// rng.h: counter-based random numbers (Philox4x32-10, Salmon et al., "Parallel random numbers: as easy as 1,
// 2, 3", SC 2011; from the Random123 library). A draw is a pure function of (seed, stream, index): the same
// on any rank and thread. Local; thread-safe; no state is shared.
#ifndef THAW_BASE_RNG_H
#define THAW_BASE_RNG_H

#include <stdint.h>

// What a stream of draws is for; part of the key, so that two uses never share numbers.
enum thaw_stream {
    THAW_STREAM_FACTORS_ITEMS = 2, // users' rows start at zero
    THAW_STREAM_HOLDOUT = 3,
    THAW_STREAM_HISTORY = 4,
    THAW_STREAM_BOOTSTRAP = 5,
    THAW_STREAM_GENERATOR = 6, // first weights
    THAW_STREAM_CRITIC = 7,
    THAW_STREAM_SYNTH = 16, // and the following 16 are synth's
    THAW_STREAM_EPOCH = 40, // minibatches of the generator: which users, what of them is known
    THAW_STREAM_EPISODE = 41,
    THAW_STREAM_NOISE = 42,     // z
    THAW_STREAM_MIX = 43,       // between real and made, for the gradient penalty
    THAW_STREAM_NEGATIVES = 44, // of the sampled softmax
    THAW_STREAM_VIRTUAL = 45,
    THAW_STREAM_DROPOUT = 46,
    THAW_STREAM_TYPES = 47,   // which training users a prior keeps
    THAW_STREAM_EXPLORE = 56, // Thompson sampling of recommendations
};

// A small generator over one (seed, stream, index): successive draws step an inner counter.
struct thaw_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t buffer[4];
    int left;
};

struct thaw_rng thaw_rng_at(uint64_t seed, uint32_t stream, uint64_t index);
uint32_t thaw_rng_u32(struct thaw_rng *r);
uint64_t thaw_rng_u64(struct thaw_rng *r);
double thaw_rng_uniform(struct thaw_rng *r);             // [0, 1), 53 bits
double thaw_rng_normal(struct thaw_rng *r);              // standard normal (Box-Muller, the cosine half)
uint64_t thaw_rng_below(struct thaw_rng *r, uint64_t n); // uniform in [0, n), n > 0, unbiased
double thaw_rng_exponential(struct thaw_rng *r);         // mean 1
uint32_t thaw_rng_poisson1(struct thaw_rng *r);          // Poisson with mean 1 (bootstrap weights)

#endif
