// dropout.h: which inputs of a row are dropped: a hash of (key, row, column), so that every rank draws the
// same mask. Header only; local; thread-safe; 32-bit arithmetic, so that loops over it become vectors.
#ifndef THAW_GAN_DROPOUT_H
#define THAW_GAN_DROPOUT_H

#include <stdint.h>

// Rounds of Murmur3's finaliser ("fmix32", Appleby 2011): a bijection in which every bit of x reaches all
// bits.
static inline uint32_t thaw_gan_mix(uint32_t x) {
    x = (x ^ (x >> 16)) * 0x85ebca6bU;
    x = (x ^ (x >> 13)) * 0xc2b2ae35U;
    return x ^ (x >> 16);
}

// Of a row; thaw_gan_dropout_draw then draws its columns.
static inline uint32_t thaw_gan_dropout_row(uint64_t key, uint32_t row) {
    return thaw_gan_mix((uint32_t)key ^ thaw_gan_mix((uint32_t)(key >> 32) + 0x9e3779b9U * (row + 1)));
}
// An input is dropped when its draw is less than this.
static inline uint32_t thaw_gan_dropout_below(float dropout) {
    return (uint32_t)((double)dropout * 4294967296.0);
}
static inline uint32_t thaw_gan_dropout_draw(uint32_t row_key, uint32_t column) {
    return thaw_gan_mix(row_key + 0x9e3779b9U * (column + 1));
}

#endif
