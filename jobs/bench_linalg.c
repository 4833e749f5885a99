// bench_linalg.c: thaw bench linalg: dense algebra on the process grid, beside what its ranks' gemm does.
#include "comm/grid_measure.h"
#include "jobs/benchmark.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct table {
    const struct thaw_bench_linalg *o;
    int format, lines;
    bool first;    // rank 0
    unsigned mask; // of what is measured
    int wrong;
    char worst[96];
};

static void print(struct table *t, const char *precision, const struct thaw_grid_measured *m, double peak) {
    const double gflops = 1e-9 * m->flops / m->seconds, share = m->flops / m->seconds / peak,
                 memory = m->grown ? (double)m->grown / (double)m->nbytes : 0;
    const bool right = m->error <= m->bound;
    switch (t->format) {
    case THAW_FORMAT_JSONL:
        printf("{\"precision\":\"%s\",\"what\":\"%s\",\"n\":%" PRId64 ",\"grid_rows\":%d,\"grid_columns\":%d,"
               "\"block\":%d,\"seconds\":%.4g,\"gflops\":%.5g,\"of_gemm\":%.4g,\"memory\":%.4g,"
               "\"error\":%.3g,\"right\":%s}\n",
               precision, m->what, t->o->n, m->nrow, m->ncol, m->nb, m->seconds, gflops, share, memory,
               m->error == m->error ? m->error : -1, right ? "true" : "false");
        break;
    case THAW_FORMAT_CSV:
        if (!t->lines)
            printf(
                "precision,what,n,grid_rows,grid_columns,block,seconds,gflops,of_gemm,memory,error,right\n");
        printf("%s,%s,%" PRId64 ",%d,%d,%d,%.4g,%.5g,%.4g,%.4g,%.3g,%d\n", precision, m->what, t->o->n,
               m->nrow, m->ncol, m->nb, m->seconds, gflops, share, memory, m->error, right);
        break;
    default:
        if (!t->lines)
            printf("%-9s %-8s %8s %7s %6s %10s %9s %8s %7s %9s\n", "precision", "what", "n", "grid", "block",
                   "seconds", "GFLOP/s", "of gemm", "memory", "error");
        printf("%-9s %-8s %8" PRId64 " %3dx%-3d %6d %10.4f %9.2f %7.1f%% ", precision, m->what, t->o->n,
               m->nrow, m->ncol, m->nb, m->seconds, gflops, 100 * share);
        if (m->grown)
            printf("%6.2fx", memory);
        else
            printf("%7s", "");
        printf(" %9.1e%s\n", m->error, right ? "" : " WRONG");
    }
    t->lines++;
}

// The bound of all the others: local gemm of all ranks at once.
static void print_peak(struct table *t, const char *precision, const struct thaw_grid_measured *all,
                       double peak) {
    struct thaw_grid_measured m = {0};
    for (int i = 0; i < THAW_GRID_MEASURES; i++)
        if (all[i].what) m = all[i]; // the grid
    m.what = "peak";
    m.flops = peak;
    m.seconds = 1;
    m.error = 0;
    m.grown = 0;
    print(t, precision, &m, peak);
}

static int measure(struct thaw_job_ctx *ctx, struct table *t, bool single, struct thaw_err *err) {
    struct thaw_grid_measured m[THAW_GRID_MEASURES];
    const char *precision = single ? "single" : "double";
    double peak;
    const int code = thaw_grid_measure(ctx->comm, t->o->n, (int)t->o->block, single, (int)t->o->repetitions,
                                       t->mask, m, &peak, err);
    if (code) return code;
    if (t->first) print_peak(t, precision, m, peak);
    for (int i = 0; i < THAW_GRID_MEASURES; i++) {
        if (!m[i].what) continue;
        if (t->first) print(t, precision, &m[i], peak);
        if (!(m[i].error <= m[i].bound) && !t->wrong++)
            snprintf(t->worst, sizeof t->worst, "%s %s: residual %.1e", precision, m[i].what, m[i].error);
    }
    return THAW_OK;
}

static int mask_of(const struct thaw_list *only, unsigned *mask, struct thaw_err *err) {
    *mask = only->n ? 0 : (1u << THAW_GRID_MEASURES) - 1;
    for (int i = 0; i < only->n; i++) {
        int at = 0;
        while (at < THAW_GRID_MEASURES && strcmp(only->item[i], thaw_grid_measures[at]) != 0) at++;
        if (at == THAW_GRID_MEASURES)
            return thaw_fail(err, THAW_EUSAGE, "--only '%s' is none of inverse, solve, gemm, potrf, potri",
                             only->item[i]);
        *mask |= 1u << at;
    }
    return THAW_OK;
}

int thaw_bench_linalg(struct thaw_job_ctx *ctx, const struct thaw_bench_linalg *o, int format,
                      struct thaw_err *err) {
    struct table t = {.o = o, .format = format, .first = thaw_comm_rank(ctx->comm) == 0};
    int code = mask_of(o->only, &t.mask, err);
    if (!code) code = measure(ctx, &t, true, err);
    if (!code && !o->only_single) code = measure(ctx, &t, false, err);
    if (!code && t.wrong)
        code = thaw_fail(err, THAW_EBUG, "%d result%s wrong: %s", t.wrong, t.wrong == 1 ? " is" : "s are",
                         t.worst);
    return code;
}
