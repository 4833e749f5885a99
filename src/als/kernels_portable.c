// kernels_portable.c: the loops of als/kernels.h with vectors of 4 floats, which every machine has: SSE2,
// NEON.
//
// Bound by instructions; SSE2 multiplies and adds apart. Measured on the same core as the others: passes 17
// GF/s, rotations 22 to 28.
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
