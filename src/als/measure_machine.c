// measure_machine.c: the machine's bounds, and how calls are timed.
#include "als/measure.h"

#include "base/mem.h"
#include "base/rng.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ORDER = 1024, REPETITIONS_MOST = 1000 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int rising(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double thaw_als_measure_call(const struct thaw_als_measure *m, void (*f)(void *), void *data) {
    double times[REPETITIONS_MOST], took = 0;
    const int n = m->repetitions < REPETITIONS_MOST ? m->repetitions : REPETITIONS_MOST;
    int64_t calls = 1;
    f(data);
    for (;; calls *= 2) { // as many as fill the time asked for
        const double begin = now();
        for (int64_t i = 0; i < calls; i++) f(data);
        took = now() - begin;
        if (took >= m->seconds || calls > INT64_MAX / 4) break;
    }
    for (int r = 0; r < n; r++) {
        const double begin = now();
        for (int64_t i = 0; i < calls; i++) f(data);
        times[r] = (now() - begin) / (double)calls;
    }
    qsort(times, (size_t)n, sizeof *times, rising);
    return times[n / 2];
}

struct bounds {
    float *a, *b, *c;
    size_t n; // floats of each
    int lines;
    uint64_t at;
};

static void sgemm(void *data) {
    const struct bounds *d = data;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ORDER, ORDER, ORDER, 1, d->a, ORDER, d->b, ORDER,
                0, d->c, ORDER);
}

static void triad(void *data) {
    const struct bounds *d = data;
    for (size_t i = 0; i < d->n; i++) d->c[i] = d->a[i] + 0.5f * d->b[i];
}

enum {
    ROWS = 4096,
    AHEAD = 32
}; // rows read by a call; from the row that is read to the one that is asked for
static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 31)) * 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}
static void random_rows(void *data) {
    struct bounds *d = data;
    const size_t floats = (size_t)d->lines * 16, rows = d->n / floats;
    float sum = 0;
    for (int i = 0; i < ROWS; i++, d->at++) {
        const float *row = d->a + mixed(d->at) % rows * floats,
                    *ask = d->a + mixed(d->at + AHEAD) % rows * floats;
        for (int j = 0; j < d->lines; j++) __builtin_prefetch(ask + 16 * j);
        for (int j = 0; j < d->lines; j++) sum += row[16 * j];
    }
    d->c[0] = sum;
}

static void report(const struct thaw_als_measure *m, const char *kernel, double seconds, double flops,
                   double nbytes) {
    const struct thaw_als_measured r = {.set = "machine",
                                        .kernel = kernel,
                                        .seconds = seconds,
                                        .flops = flops,
                                        .nbytes = nbytes,
                                        .right = true};
    m->each(m->user, &r);
}

int thaw_als_measure_machine(const struct thaw_als_measure *m, struct thaw_err *err) {
    static const char *const names[] = {"random rows of 64 B", "random rows of 128 B", "random rows of 256 B",
                                        "random rows of 512 B"};
    struct bounds d = {.n = (size_t)m->table_nbytes / sizeof(float)};
    int code;
    if (d.n < (size_t)ORDER * ORDER) d.n = (size_t)ORDER * ORDER;
    if ((code = thaw_alloc(&d.a, d.n, sizeof *d.a, "a benchmark", err)) ||
        (code = thaw_alloc(&d.b, d.n, sizeof *d.b, "a benchmark", err)) ||
        (code = thaw_alloc(&d.c, d.n, sizeof *d.c, "a benchmark", err)))
        goto done;
    for (size_t i = 0; i < d.n; i++) d.a[i] = d.b[i] = (float)(i % 7);
    report(m, "sgemm", thaw_als_measure_call(m, sgemm, &d), 2.0 * ORDER * ORDER * ORDER, 0);
    report(m, "stream", thaw_als_measure_call(m, triad, &d), 0, 3 * sizeof(float) * (double)d.n);
    for (int i = 0; i < 4; i++) {
        d.lines = 1 << i;
        report(m, names[i], thaw_als_measure_call(m, random_rows, &d), 0, 64.0 * d.lines * ROWS);
    }
done:
    free(d.a), free(d.b), free(d.c);
    return code;
}
