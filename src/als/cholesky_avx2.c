// cholesky_avx2.c: the exact solver's kernels for AVX2 with FMA: 16 registers of 8 floats.
#if defined(__x86_64__)
#define LANES       8
#define TILE_ROWS   6
#define TILE_BLOCKS 1
#define NAME        thaw_als_cholesky_avx2
#include "als/cholesky_kernels.h"
#endif
