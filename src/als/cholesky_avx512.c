// cholesky_avx512.c: the exact solver's kernels for AVX-512F: 32 registers of 16 floats.
#if defined(__x86_64__)
#define LANES       16
#define TILE_ROWS   8
#define TILE_BLOCKS 2
#define NAME        thaw_als_cholesky_avx512
#include "als/cholesky_kernels.h"
#endif
