// cholesky_portable.c: the exact solver's kernels for any machine: vectors of 4 floats (SSE2, NEON).
#define LANES 4
#if defined(__aarch64__)
#define TILE_ROWS 4
#else
#define TILE_ROWS 2
#endif
#define TILE_BLOCKS 1
#define NAME        thaw_als_cholesky_portable
#include "als/cholesky_kernels.h"
