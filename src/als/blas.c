// blas.c: BLAS set-up.
#include "als/als.h"

#include <cblas.h>

void thaw_blas_begin(void) {
    openblas_set_num_threads(1);
}

const char *thaw_blas_core(void) {
    return openblas_get_corename();
}
