// kernels_avx512.c: the loops of als/kernels.h with vectors of 16 floats. Compiled for AVX-512 F, DQ, VL and
// BW.
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
