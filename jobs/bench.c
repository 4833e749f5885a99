// bench.c: thaw bench: what the kernels of training reach on this machine, beside what the machine can do.
#include "als/als.h"
#include "als/measure.h"
#include "jobs/job.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    struct thaw_list factors;
    int64_t repetitions, table;
    double time;
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
    .summary = "measure the training kernels of this machine",
    .operands = "kernels",
    .min_operands = 1,
    .max_operands = 1,
    .description = "Measures, on one core, every set of kernels that the CPU can run (avx512, avx2, "
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
                   "memory are shared.",
    .examples = "thaw bench kernels\nthaw bench kernels --factors 64 --format csv",
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

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const struct options *o = options;
    int k[64] = {32, 64, 128, 256}, n = o->factors.n ? o->factors.n : 4, code = THAW_OK;
    if (strcmp(operands->item[0], "kernels") != 0)
        code = thaw_fail(err, THAW_EUSAGE, "'%s' cannot be measured; 'kernels' can", operands->item[0]);
    else if (thaw_comm_size(ctx->comm) > 1)
        code = thaw_fail(err, THAW_EUSAGE, "it measures one core: run it on one rank, without mpirun");
    else if (n > (int)(sizeof k / sizeof *k))
        code = thaw_fail(err, THAW_EUSAGE, "--factors takes at most %d numbers", (int)(sizeof k / sizeof *k));
    for (int i = 0; !code && i < o->factors.n; i++) code = factors_of(o->factors.item[i], &k[i], err);
    if (!code) code = measure(ctx, o, k, n, err);
    return thaw_comm_agree(ctx->comm, code, err);
}

const struct thaw_job thaw_job_bench = {.cmd = &cmd, .run = run};
