// kernels_portable.c: the loops of als/kernels.h with vectors of 4 floats, which every machine has: SSE2,
// NEON.
#define LANES   4
#define ROWS    6
#define COLUMNS 2
#define SET     thaw_als_kernels_portable
#if defined(__aarch64__)
#define LABEL "neon"
#else
#define LABEL "portable"
#endif
#include "als/kernel_template.h"
