// kernels_avx512.c: the loops of als/kernels.h with vectors of 16 floats. Compiled for AVX-512 F, DQ, VL, BW.
//
// A pass over a copy in the cache is bound by the two vector ports: per 32 columns two multiply-adds and a
// shift, and 3 more instructions a row for its sum; so at most 1/2 (k = 32) to 2/3 (k = 256) of sgemm's
// speed. Measured on a core whose sgemm runs at 105 to 110 GF/s: 41, 57, 65, 73 GF/s at k = 32, 64, 128, 256.
// The first pass waits for memory: 27 to 40 GF/s from a table in the cache, and what latency allows beyond.
// Rotations reach 80 to 90 % of sgemm.
#if defined(__x86_64__)
#define LANES   16
#define ROWS    14
#define COLUMNS 2
#define SET     thaw_als_kernels_avx512
#define LABEL   "avx512"
// A shift that reads memory itself, so that the multiply-add of the high halves can, too: one instruction
// less in four.
#define LOW(at)                                                                                              \
    ({                                                                                                       \
        vec lo_;                                                                                             \
        __asm__("vpslld $16, %1, %0" : "=v"(lo_) : "m"(*(const words *)(at)));                               \
        lo_;                                                                                                 \
    })
#include "als/kernel_template.h"
#endif
