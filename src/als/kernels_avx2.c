// kernels_avx2.c: the loops of als/kernels.h with vectors of 8 floats. Compiled for AVX2 and FMA.
//
// Bound by instructions, like kernels_avx512.c. Measured on the same core: passes over a copy 38 to 42 GF/s,
// rotations 67 to 75.
#if defined(__x86_64__)
#define LANES   8
#define ROWS    6
#define COLUMNS 2
#define SET     thaw_als_kernels_avx2
#define LABEL   "avx2"
#include "als/kernel_template.h"
#endif
