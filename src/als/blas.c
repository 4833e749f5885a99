// blas.c: BLAS set-up.
#include "als/als.h"

#include <cblas.h>

const char *thaw_blas_begin(void) {
    openblas_set_num_threads(1);
    return openblas_get_corename();
}
