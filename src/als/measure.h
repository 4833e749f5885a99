// measure.h: what the ALS kernels reach on this machine, for `thaw bench kernels`. Local; one at a time (the
// kernel set of the process is switched). Every measurement is of one thread's CPU time, the median of its
// repetitions, and is checked against a slow reference in double.
#ifndef THAW_ALS_MEASURE_H
#define THAW_ALS_MEASURE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_als_measured {
    const char *set;    // "avx512", "avx2", "portable"; "machine" for the bounds
    const char *kernel; // "gather f32", "syrk", ...
    int k;              // 0: machine
    double seconds;     // of one call
    double flops;       // of one call: useful ones, symmetric products counted once; 0: none
    double nbytes;      // that one call must read and write at least
    double error;       // relative to the reference, in the 2-norm; 0: machine
    bool right;         // the error is small enough
};
struct thaw_als_measure {
    double seconds; // the least time of a measurement
    int repetitions;
    int64_t table_nbytes; // of the f32 table that rows are gathered from: beyond the caches
    void (*each)(void *user, const struct thaw_als_measured *m);
    void *user;
};

// Names of the kernel sets that this CPU has, the best one first; NULL-terminated.
const char *const *thaw_als_measure_sets(void);
// The machine's bounds for one core: "sgemm" (OpenBLAS), "stream" (triad) and "random rows of 64 B" to 512 B.
// THAW_EMEM.
int thaw_als_measure_machine(const struct thaw_als_measure *m, struct thaw_err *err);
// Every kernel of one set at k factors. THAW_EMEM.
int thaw_als_measure_kernels(const struct thaw_als_measure *m, const char *set, int k, struct thaw_err *err);

// For the two: the median seconds of a call of f(data).
double thaw_als_measure_call(const struct thaw_als_measure *m, void (*f)(void *), void *data);

#endif
