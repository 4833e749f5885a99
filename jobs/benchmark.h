// benchmark.h: what `thaw bench` can measure besides kernels. Private to jobs/bench*.c.
#ifndef THAW_JOBS_BENCHMARK_H
#define THAW_JOBS_BENCHMARK_H

#include "jobs/job.h"

struct thaw_bench_linalg {
    int64_t n;     // order of the matrices
    int64_t block; // 0: chosen
    int64_t repetitions;
    bool only_single;
    const struct thaw_list *only; // names of operations; empty: all
};
// Collective. Results on stdout of rank 0. THAW_EBUG: a residual is larger than rounding explains. THAW_EMEM.
int thaw_bench_linalg(struct thaw_job_ctx *ctx, const struct thaw_bench_linalg *o, int format,
                      struct thaw_err *err);

#endif
