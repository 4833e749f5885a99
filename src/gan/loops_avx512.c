// loops_avx512.c: the loops of gan/loops.h with vectors of 16 floats. Compiled for AVX-512 F, DQ, VL, BW.
#if defined(__x86_64__)
#define LANES 16
#define SET   thaw_gan_loops_avx512
#define LABEL "avx512"
#include "gan/loops_template.h"
#endif
