// bench.c: thaw bench: what the kernels of training reach on this machine, beside what the machine can do;
// and the options of its other measurements (jobs/bench_*.c).
#include "als/als.h"
#include "als/measure.h"
#include "jobs/benchmark.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct thaw_list factors;
    int64_t repetitions, table;
    double time;
    struct thaw_list only;
    int64_t n, block;
    int precision;
    struct thaw_job_common common;
};

static const struct thaw_opt opts[] = {
    {.name = "factors",
     .letter = 'k',
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, factors),
     .arg = "N",
     .help = "Numbers of factors to measure; 32 64 128 256 when none is given."},
    {.name = "repetitions",
     .kind = THAW_OPT_INT,
     .offset = offsetof(struct options, repetitions),
     .arg = "N",
     .def = "5",
     .min = 1,
     .max = 1000,
     .help = "Repetitions of each measurement; their median is printed."},
    {.name = "n",
     .kind = THAW_OPT_INT,
     .offset = offsetof(struct options, n),
     .arg = "N",
     .def = "4096",
     .min = 1,
     .max = 1 << 30,
     .help = "linalg: rows and columns of the matrices."},
    {.name = "block",
     .kind = THAW_OPT_INT,
     .offset = offsetof(struct options, block),
     .arg = "N",
     .def = "0",
     .min = 0,
     .max = 4096,
     .help = "linalg: rows and columns of a block of the block-cyclic layout; 0 chooses it."},
    {.name = "only",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, only),
     .arg = "WORD",
     .help = "linalg: what to measure, of inverse, solve, gemm, potrf and potri; all when none is named."},
    {.name = "precision",
     .kind = THAW_OPT_CHOICE,
     .offset = offsetof(struct options, precision),
     .arg = "WORD",
     .def = "both",
     .choices = "both|single",
     .help = "linalg: single and double precision, or single alone."},
    {.name = "time",
     .kind = THAW_OPT_SECONDS,
     .offset = offsetof(struct options, time),
     .arg = "SECONDS",
     .def = "0.01",
     .min = 1e-6,
     .max = 100,
     .help = "CPU time of one repetition at least."},
    {.name = "table",
     .kind = THAW_OPT_BYTES,
     .offset = offsetof(struct options, table),
     .arg = "BYTES",
     .def = "64M",
     .min = 65536,
     .max = 1e12,
     .help = "Size of the table that rows are gathered from: larger than the caches shows memory, smaller "
             "the caches."},
    THAW_JOB_OPTIONS(struct options),
};

static const struct thaw_cmd cmd = {
    .program = "thaw",
    .name = "bench",
    .summary = "measure the kernels of this machine and the algebra of a process grid",
    .operands = "kernels|linalg",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "kernels: measures, on one core, every set of kernels that the CPU can run (avx512, avx2, "
        "portable): a pass over a "
        "row's interactions gathered from memory or from the packed copy in the second cache, the "
        "encoding of rows, "
        "the gramian, the exact solver's matrix product and factorization, and whole rows. The "
        "machine's bounds "
        "come first: OpenBLAS's sgemm, the triad of stream, and rows read at random.\n\n"
        "Each line: the kernel set, the kernel, the factors, billions of useful floating-point "
        "operations per second "
        "and their share of sgemm's, GB/s and their share of stream's, and the error against a "
        "slow reference in double "
        "precision. Any error above what rounding explains makes the command fail with status 70. "
        "Times are one "
        "thread's CPU time, the median of the repetitions; run it on an idle machine all the "
        "same, as caches and "
        "memory are shared.\n\n"
        "linalg: measures, on a grid of all ranks, the inverse of a positive definite matrix and "
        "the solution of as many systems as it has rows (as 'thaw associate' computes them), and "
        "ScaLAPACK's matrix product, Cholesky factorization and inverse from it (on one rank: "
        "LAPACK's), in GFLOP/s and as a share of local gemm on all ranks at once. For the inverse, "
        "what a rank's memory grew by, as a multiple of its matrix. Every result is checked "
        "against a residual in double; a wrong one makes the command fail with status 70.",
    .examples = "thaw bench kernels\nthaw bench kernels --factors 64 --format csv\n"
                "mpirun -n 2 thaw bench linalg --n 16384 --precision single --repetitions 1 --only inverse",
    .opts = opts,
    .nopts = sizeof opts / sizeof *opts,
    .size = sizeof(struct options),
};

struct table {
    int format, lines;
    double sgemm, stream; // GF/s, GB/s
    int wrong;
    char worst[96];
};

static void print(const struct table *t, const struct thaw_als_measured *m, double gflops, double gbytes) {
    const double flops_share = t->sgemm > 0 ? gflops / t->sgemm : 0,
                 bytes_share = t->stream > 0 ? gbytes / t->stream : 0;
    switch (t->format) {
    case THAW_FORMAT_JSONL:
        printf("{\"set\":\"%s\",\"kernel\":\"%s\",\"factors\":%d,\"microseconds\":%.4g,\"gflops\":%.4g,"
               "\"of_sgemm\":%.3g,\"gbytes\":%.4g,\"of_stream\":%.3g,\"error\":%.2g,\"right\":%s}\n",
               m->set, m->kernel, m->k, 1e6 * m->seconds, gflops, flops_share, gbytes, bytes_share,
               isfinite(m->error) ? m->error : -1, m->right ? "true" : "false");
        break;
    case THAW_FORMAT_CSV:
        if (!t->lines)
            printf("set,kernel,factors,microseconds,gflops,of_sgemm,gbytes,of_stream,error,right\n");
        printf("%s,%s,%d,%.4g,%.4g,%.3g,%.4g,%.3g,%.2g,%d\n", m->set, m->kernel, m->k, 1e6 * m->seconds,
               gflops, flops_share, gbytes, bytes_share, m->error, m->right);
        break;
    default:
        if (!t->lines)
            printf("%-9s %-20s %7s %12s %9s %8s %8s %9s %9s\n", "set", "kernel", "factors", "us", "GFLOP/s",
                   "of sgemm", "GB/s", "of stream", "error");
        printf("%-9s %-20s %7d %12.3f %9.2f %7.0f%% %8.2f %8.0f%% %9.1e%s\n", m->set, m->kernel, m->k,
               1e6 * m->seconds, gflops, 100 * flops_share, gbytes, 100 * bytes_share, m->error,
               m->right ? "" : " WRONG");
    }
    fflush(stdout);
}

static void each(void *user, const struct thaw_als_measured *m) {
    struct table *t = user;
    const double gflops = 1e-9 * m->flops / m->seconds, gbytes = 1e-9 * m->nbytes / m->seconds;
    if (strcmp(m->kernel, "sgemm") == 0) t->sgemm = gflops;
    if (strcmp(m->kernel, "stream") == 0) t->stream = gbytes;
    if (!m->right && !t->wrong++)
        snprintf(t->worst, sizeof t->worst, "%s %s at %d factors: error %.1e", m->set, m->kernel, m->k,
                 m->error);
    print(t, m, gflops, gbytes);
    t->lines++;
}

static int factors_of(const char *word, int *k, struct thaw_err *err) {
    char *end;
    const long v = strtol(word, &end, 10);
    if (end == word || *end || v < 1 || v > THAW_ALS_FACTORS_MAX)
        return thaw_fail(err, THAW_EUSAGE, "--factors '%s' is not a number in 1..%d", word,
                         THAW_ALS_FACTORS_MAX);
    *k = (int)v;
    return THAW_OK;
}

static int measure(struct thaw_job_ctx *ctx, const struct options *o, const int *k, int nk,
                   struct thaw_err *err) {
    struct table t = {.format = o->common.format};
    const struct thaw_als_measure m = {.seconds = o->time,
                                       .repetitions = (int)o->repetitions,
                                       .table_nbytes = o->table,
                                       .each = each,
                                       .user = &t};
    int code = thaw_als_measure_machine(&m, err);
    for (const char *const *set = thaw_als_measure_sets(); !code && *set; set++)
        for (int i = 0; !code && i < nk; i++) {
            thaw_log_note(ctx->log, "%s kernels, %d factors", *set, k[i]);
            code = thaw_als_measure_kernels(&m, *set, k[i], err);
        }
    if (!code && t.wrong)
        code = thaw_fail(err, THAW_EBUG, "%d kernel%s wrong: %s", t.wrong, t.wrong == 1 ? " is" : "s are",
                         t.worst);
    return code;
}

static int run_kernels(struct thaw_job_ctx *ctx, const struct options *o, struct thaw_err *err) {
    int k[64] = {32, 64, 128, 256}, n = o->factors.n ? o->factors.n : 4, code = THAW_OK;
    if (thaw_comm_size(ctx->comm) > 1)
        code = thaw_fail(err, THAW_EUSAGE, "it measures one core: run it on one rank, without mpirun");
    else if (n > (int)(sizeof k / sizeof *k))
        code = thaw_fail(err, THAW_EUSAGE, "--factors takes at most %d numbers", (int)(sizeof k / sizeof *k));
    for (int i = 0; !code && i < o->factors.n; i++) code = factors_of(o->factors.item[i], &k[i], err);
    return code ? code : measure(ctx, o, k, n, err);
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const struct options *o = options;
    const char *what = operands->item[0];
    int code;
    if (strcmp(what, "kernels") == 0) {
        code = run_kernels(ctx, o, err);
    } else if (strcmp(what, "linalg") == 0) {
        const struct thaw_bench_linalg l = {.n = o->n,
                                            .block = o->block,
                                            .repetitions = o->repetitions,
                                            .only_single = o->precision == 1,
                                            .only = &o->only};
        code = thaw_bench_linalg(ctx, &l, o->common.format, err);
    } else {
        code = thaw_fail(err, THAW_EUSAGE, "'%s' cannot be measured; 'kernels' and 'linalg' can", what);
    }
    return thaw_comm_agree(ctx->comm, code, err);
}

const struct thaw_job thaw_job_bench = {.cmd = &cmd, .run = run};
