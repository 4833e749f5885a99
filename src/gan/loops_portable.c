// loops_portable.c: the loops of gan/loops.h with vectors of 4 floats, which every machine has: SSE2, NEON.
#define LANES 4
#define SET   thaw_gan_loops_portable
#define LABEL "portable"
#include "gan/loops_template.h"
