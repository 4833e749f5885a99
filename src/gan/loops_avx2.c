// loops_avx2.c: the loops of gan/loops.h with vectors of 8 floats. Compiled for AVX2 and FMA.
#if defined(__x86_64__)
#define LANES 8
#define SET   thaw_gan_loops_avx2
#define LABEL "avx2"
#include "gan/loops_template.h"
#endif
