// kernels_avx2.c: the loops of als/kernels.h with vectors of 8 floats. Compiled for AVX2 and FMA.
#if defined(__x86_64__)
#define LANES   8
#define ROWS    6
#define COLUMNS 2
#define SET     thaw_als_kernels_avx2
#define LABEL   "avx2"
#include "als/kernel_template.h"
#endif
