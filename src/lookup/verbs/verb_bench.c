// verb_bench.c: thaw-lookup bench: what a lookup costs, beside what it cannot cost less than. Results are
// checked in the run.
#include "cold/random_cold.h"
#include "lookup/verbs/verb.h"
#include "table/random_tables.h"

#include "base/crew.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STREAM_IDS = 900, STREAM_USERS = 901, STREAM_SOMEONE = 902, REPEATS_MAX = 1000, KNOWN = 5 };

struct options {
    int64_t ids, k, repeats, threads, users, items, factors, seed;
    const char *scratch;
    int format;
    bool cold;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_NUMBER(struct options, "ids", 0, ids, "100000", 1, 1e9,
                    "Random known users whose vectors are looked up and printed."),
    THAW_OPT_COUNT(struct options, "How many items are recommended."),
    THAW_OPT_NUMBER(struct options, "repeats", 0, repeats, "20", 1, REPEATS_MAX,
                    "How often each measurement is taken."),
    THAW_OPT_THREADS(struct options),
    THAW_OPT_NUMBER(struct options, "users", 0, users, "200000", 1, 1e9,
                    "Without TABLES: users of the random tables that are made."),
    THAW_OPT_NUMBER(struct options, "items", 0, items, "1000000", 10, 1e9, "Without TABLES: their items."),
    THAW_OPT_NUMBER(struct options, "factors", 0, factors, "64", 1, 4096, "Without TABLES: their factors."),
    THAW_OPT_NUMBER(struct options, "seed", 0, seed, "1", 0, 1e15, "Seed of everything random."),
    {.name = "scratch",
     .kind = THAW_OPT_TEXT,
     .offset = offsetof(struct options, scratch),
     .arg = "DIR",
     .def = "/tmp",
     .help = "Without TABLES: where the random tables lie while they are measured."},
    {.name = "cold",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct options, cold),
     .help =
         "Without TABLES: make models for users nobody knows as well, about 8 times the bytes of the items."},
    THAW_OPT_FORMAT(struct options, "text", "text|jsonl", "How results are printed."),
};

// Times of one measurement, in seconds.
struct times {
    double s[REPEATS_MAX];
    int n;
};

static int by_time(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(struct times *t, double q) {
    qsort(t->s, (size_t)t->n, sizeof *t->s, by_time);
    const int at = (int)(q * t->n);
    return t->s[at < t->n ? at : t->n - 1];
}

static void report(struct thaw_session *s, int format, const char *what, int threads, struct times *t,
                   double unit, const char *unit_name, double bound) {
    char line[400];
    const double median = quantile(t, 0.5), p95 = quantile(t, 0.95), most = quantile(t, 1);
    if (format == THAW_JSONL)
        snprintf(line, sizeof line,
                 "{\"what\":\"%s\",\"threads\":%d,\"unit\":\"%s\",\"median\":%.4g,\"p95\":%.4g,\"max\":%.4g,"
                 "\"ratio\":%.4g}\n",
                 what, threads, unit_name, median * unit, p95 * unit, most * unit,
                 bound > 0 ? median / bound : 0);
    else
        snprintf(line, sizeof line, "%-28s %7d %10.4g %10.4g %10.4g %-6s", what, threads, median * unit,
                 p95 * unit, most * unit, unit_name);
    thaw_sink_text(&s->out, line);
    if (format == THAW_JSONL) return;
    if (bound > 0) snprintf(line, sizeof line, " %.3f x the stream\n", median / bound);
    thaw_sink_text(&s->out, bound > 0 ? line : "\n");
}

// ---- vector: a batch of ids, found and printed as the verb prints them ----

struct batch {
    char *text; // ids, zero-terminated, 256 bytes each
    int64_t n;
};

static int batch_new(struct batch *b, const struct thaw_session *s, int64_t n, uint64_t seed,
                     struct thaw_err *err) {
    int code = thaw_alloc(&b->text, (size_t)n, 256, "ids", err);
    if (code) return code;
    struct thaw_rng rng = thaw_rng_at(seed, STREAM_IDS, 0);
    for (b->n = 0; b->n < n; b->n++) {
        size_t length;
        const char *id =
            thaw_lookup_id(s->l, THAW_USERS, (int64_t)thaw_rng_below(&rng, (uint64_t)s->info.users), &length);
        memcpy(b->text + b->n * 256, id, length);
    }
    return THAW_OK;
}

static int look_up(const struct batch *b, const struct thaw_session *s, bool print, struct thaw_err *err) {
    struct thaw_sink null = {0};
    volatile float touched = 0;
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0) return thaw_fail_errno(err, THAW_EIO, "/dev/null");
    int code = thaw_sink_open_fd(&null, fd, err);
    for (int64_t i = 0; !code && i < b->n; i++) {
        const char *id = b->text + i * 256;
        const size_t n = strlen(id);
        const int64_t row = thaw_lookup_find(s->l, THAW_USERS, id, n);
        if (row < 0) {
            code = thaw_fail(err, THAW_EBUG, "wrong result: user '%s' is not found", id);
            break;
        }
        const float *x = thaw_lookup_vector(s->l, THAW_USERS, row);
        if (print)
            thaw_print_vector(&null, THAW_TEXT, THAW_USERS, id, n, x, s->info.columns);
        else
            touched = touched + x[0];
    }
    code = thaw_sink_close(&null, code, err);
    close(fd);
    return code;
}

static int bench_vector(struct thaw_session *s, const struct options *o, struct thaw_err *err) {
    struct batch b = {0};
    int code = batch_new(&b, s, o->ids, (uint64_t)o->seed, err);
    for (int print = 0; !code && print < 2; print++) {
        struct times t = {.n = 0};
        code = look_up(&b, s, print, err); // warms caches and the page table
        while (!code && t.n < o->repeats) {
            const double start = thaw_time_s();
            code = look_up(&b, s, print, err);
            t.s[t.n++] = (thaw_time_s() - start) / (double)b.n;
        }
        if (!code) report(s, o->format, print ? "vector, printed" : "vector, found", 1, &t, 1e6, "us/id", 0);
    }
    free(b.text);
    return code;
}

// ---- recommend, beside reading the same bytes once with as many threads ----

typedef uint64_t wide __attribute__((vector_size(64), may_alias));
enum { RUN_BYTES = 2 << 20 };

struct stream {
    const struct thaw_session *s;
    atomic_uint_fast64_t sum; // so that no read can be left out
};

static uint64_t sum_bytes(const wide *at, int64_t n) {
    wide a = {0}, b = {0}, c = {0}, d = {0};
    for (; n >= 4; n -= 4, at += 4) {
        a ^= at[0];
        b ^= at[1];
        c ^= at[2];
        d ^= at[3];
    }
    a ^= b ^ c ^ d;
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) sum ^= a[i];
    return sum;
}

static int64_t part_bytes(const struct thaw_session *s, int part, const char **rows) {
    int64_t nrows;
    *rows = (const char *)thaw_lookup_part(s->l, part, &nrows);
    return nrows * s->info.columns * 4;
}

// Parts' rows are cut into runs, as for a scan.
static int64_t part_runs(const struct thaw_session *s, int part) {
    const char *rows;
    return (part_bytes(s, part, &rows) + RUN_BYTES - 1) / RUN_BYTES;
}

static void stream_run(void *argument, int worker, int64_t run) {
    struct stream *w = argument;
    const char *rows;
    int part = 0;
    (void)worker;
    for (; run >= part_runs(w->s, part); part++) run -= part_runs(w->s, part);
    const int64_t left = part_bytes(w->s, part, &rows) - run * RUN_BYTES;
    const int64_t n = left < RUN_BYTES ? left : RUN_BYTES;
    atomic_fetch_xor(
        &w->sum, sum_bytes((const wide *)(const void *)(rows + run * RUN_BYTES), n / (int64_t)sizeof(wide)));
}

static double stream_once(const struct thaw_session *s, int threads) {
    struct stream w = {.s = s};
    int64_t runs = 0;
    const double start = thaw_time_s();
    for (int p = 0; p < s->info.parts; p++) runs += part_runs(s, p);
    thaw_crew(threads, runs, stream_run, &w);
    return thaw_time_s() - start;
}

// The k-th hit must score what f64 says, and no item that is left out may score more.
static int check_hits(const struct thaw_session *s, const float *x, const struct thaw_hit *hits, int nhits,
                      struct thaw_err *err) {
    const int columns = s->info.columns;
    const double tolerance = 1e-5 * columns;
    for (int64_t row = 0; row < s->info.items && nhits > 0; row++) {
        const float *y = thaw_lookup_vector(s->l, THAW_ITEMS, row);
        double score = s->info.biases ? s->info.mean + x[columns - 1] + y[columns - 1] : s->info.mean;
        for (int j = 0; j < s->info.factors; j++) score += (double)x[j] * y[j];
        int at = 0;
        while (at < nhits && hits[at].item != row) at++;
        if (at < nhits ? fabs(hits[at].score - score) > tolerance : score > hits[nhits - 1].score + tolerance)
            return thaw_fail(err, THAW_EBUG, "wrong result: item row %" PRId64 " scores %g", row, score);
    }
    return THAW_OK;
}

// *streamed: the median time of reading the item table once.
static int bench_recommend(struct thaw_session *s, const struct options *o, int threads, double *streamed,
                           struct thaw_err *err) {
    struct times stream = {.n = 0}, recommend = {.n = 0};
    struct thaw_hit *hits = NULL;
    int nhits = 0;
    struct thaw_rng rng = thaw_rng_at((uint64_t)o->seed, STREAM_USERS, 0);
    int code = thaw_alloc(&hits, (size_t)o->k, sizeof *hits, "recommendations", err);
    for (int i = -1; !code && i < o->repeats; i++) { // the first of each warms up
        const float *x =
            thaw_lookup_vector(s->l, THAW_USERS, (int64_t)thaw_rng_below(&rng, (uint64_t)s->info.users));
        const double a = stream_once(s, threads), start = thaw_time_s();
        code = thaw_lookup_recommend(s->l, x, (int)o->k, NULL, 0, threads, hits, &nhits, err);
        const double b = thaw_time_s() - start;
        if (!code && i < 0) code = check_hits(s, x, hits, nhits, err);
        if (i < 0) continue;
        stream.s[stream.n++] = a;
        recommend.s[recommend.n++] = b;
    }
    free(hits);
    if (code) return code;
    report(s, o->format, "stream of the item table", threads, &stream, 1e3, "ms", 0);
    *streamed = quantile(&stream, 0.5);
    report(s, o->format, "recommend", threads, &recommend, 1e3, "ms", *streamed);
    return THAW_OK;
}

// ---- Someone new: five known items, one value of each field, the seed's noise ----

struct someone {
    struct thaw_lookup_profile *profile;
    int64_t item[KNOWN];
};

static int someone_draw(struct someone *p, const struct thaw_session *s, struct thaw_rng *rng,
                        struct thaw_err *err) {
    int code = THAW_OK;
    for (int i = 0; i < KNOWN; i++) // one of each fifth of the items
        p->item[i] = s->info.items * i / KNOWN +
                     (int64_t)thaw_rng_below(
                         rng, (uint64_t)(s->info.items * (i + 1) / KNOWN - s->info.items * i / KNOWN));
    for (int f = 0; !code && f < s->info.user_fields; f++) {
        struct thaw_lookup_field field;
        bool known;
        size_t n;
        thaw_lookup_get_field(s->l, THAW_USERS, f, &field);
        if (field.nvalues == 0) continue;
        const char *value =
            thaw_lookup_value(s->l, THAW_USERS, f, (int)thaw_rng_below(rng, (uint64_t)field.nvalues), &n);
        code = thaw_lookup_profile_set(p->profile, f, value, n, &known, err);
    }
    return code;
}

// A hit's score must be what its shares add up to, in f64 along another way.
static int check_answer(struct thaw_lookup_work *w, const struct thaw_newcomer_query *who,
                        const struct thaw_lookup_how *how, const struct thaw_session *s,
                        const struct thaw_hit *hits, int nhits, struct thaw_err *err) {
    double item[KNOWN], rest, score, *field = NULL;
    int code = thaw_alloc(&field, (size_t)s->info.user_fields, sizeof *field, "shares", err);
    for (int i = 0; !code && i<nhits; i += nhits> 1 ? nhits - 1 : 1) { // the first and the last
        code = thaw_lookup_explain(w, who, how, &hits[i].item, 1, item, field, &rest, &score, err);
        if (!code && !(fabs(score - hits[i].score) <= 1e-4 * (1 + fabs(score))))
            code = thaw_fail(err, THAW_EBUG, "wrong result: item row %" PRId64 " scores %g, not %g",
                             hits[i].item, hits[i].score, score);
    }
    free(field);
    return code;
}

static int bench_method(struct thaw_session *s, const struct options *o, enum thaw_lookup_method m,
                        int threads, const char *what, double streamed, struct thaw_err *err) {
    struct times t = {.n = 0};
    struct someone p = {0};
    struct thaw_lookup_work *w = NULL;
    struct thaw_hit *hits = NULL;
    int nhits = 0;
    const struct thaw_lookup_how how = {.method = m, .threads = threads};
    struct thaw_rng rng = thaw_rng_at((uint64_t)o->seed, STREAM_SOMEONE, 0);
    int code = thaw_lookup_work_new(&w, s->l, err);
    if (!code) code = thaw_lookup_profile_new(&p.profile, s->l, err);
    if (!code) code = thaw_alloc(&hits, (size_t)o->k, sizeof *hits, "recommendations", err);
    for (int i = -1; !code && i < o->repeats; i++) { // the first warms up and is checked
        code = someone_draw(&p, s, &rng, err);
        if (code) break;
        const struct thaw_newcomer_query who = {p.profile, p.item, NULL, KNOWN, (uint64_t)o->seed};
        const double start = thaw_time_s();
        code = thaw_lookup_answer(w, &who, &how, (int)o->k, false, hits, &nhits, err);
        const double seconds = thaw_time_s() - start;
        if (!code && i < 0) code = check_answer(w, &who, &how, s, hits, nhits, err);
        if (i >= 0) t.s[t.n++] = seconds;
    }
    if (!code) report(s, o->format, what, threads, &t, 1e3, "ms", streamed);
    free(hits);
    if (p.profile) thaw_lookup_profile_free(&p.profile);
    thaw_lookup_work_free(&w);
    return code;
}

static int bench_cold(struct thaw_session *s, const struct options *o, bool warm, double streamed,
                      struct thaw_err *err) {
    static const struct {
        enum thaw_lookup_method method;
        const char *what[2];
    } methods[] = {{THAW_LOOKUP_PRIOR, {"someone new, P", "P, compact"}},
                   {THAW_LOOKUP_ASSOCIATION, {"someone new, E", "E, compact"}},
                   {THAW_LOOKUP_GENERATOR, {"someone new, G", "G, compact"}},
                   {THAW_LOOKUP_TYPES, {"someone new, T", "T, compact"}},
                   {THAW_LOOKUP_ENSEMBLE, {"someone new, ensemble", "ensemble, compact"}}};
    const int most = warm ? (int)o->threads : 1;
    if (s->info.items < 2 * KNOWN) return THAW_OK;
    int code = warm ? thaw_lookup_warm(s->l, err) : THAW_OK;
    for (int threads = 1; !code && threads <= most; threads = threads < most ? most : most + 1)
        for (size_t i = 0; !code && i < sizeof methods / sizeof *methods; i++)
            if (thaw_lookup_has(s->l, methods[i].method))
                code = bench_method(s, o, methods[i].method, threads, methods[i].what[warm], streamed, err);
    return code;
}

static int bench(const char *tables, const struct options *o, struct thaw_err *err) {
    struct thaw_session s;
    const struct thaw_list operands = {.item = &tables, .n = 1};
    double streamed = 0, ignored;
    char line[200], bytes[16];
    int code = thaw_session_open(&s, &operands, NULL, err);
    if (!code && (s.info.users == 0 || s.info.items == 0))
        code = thaw_fail(err, THAW_EDATA, "%s: nothing to measure: %" PRId64 " users, %" PRId64 " items",
                         tables, s.info.users, s.info.items);
    if (!code && o->format == THAW_TEXT) {
        snprintf(line, sizeof line, "%" PRId64 " users, %" PRId64 " items, %d columns; item table %s\n",
                 s.info.users, s.info.items, s.info.columns,
                 thaw_human_bytes(bytes, s.info.items * s.info.columns * 4));
        thaw_sink_text(&s.out, line);
        snprintf(line, sizeof line, "%-28s %7s %10s %10s %10s\n", "", "threads", "median", "p95", "max");
        thaw_sink_text(&s.out, line);
    }
    if (!code) code = bench_vector(&s, o, err);
    if (!code) code = bench_recommend(&s, o, 1, &streamed, err);
    if (!code && o->threads > 1) code = bench_recommend(&s, o, (int)o->threads, &ignored, err);
    for (int warm = 0; !code && warm < 2 && thaw_lookup_has(s.l, THAW_LOOKUP_ENSEMBLE); warm++)
        code = bench_cold(&s, o, warm, streamed, err);
    return thaw_session_close(&s, code, err);
}

static int bench_random(const struct options *o, struct thaw_err *err) {
    char dir[THAW_PATH_MAX];
    int code = thaw_path_join(dir, o->scratch, "thaw-bench-XXXXXX", err);
    if (code) return code;
    if (!mkdtemp(dir)) return thaw_fail_errno(err, THAW_EIO, "%s", dir);
    const struct thaw_random_tables s = {o->users, o->items, (int)o->factors, 64, (uint64_t)o->seed};
    static const int32_t known[] = {0, 5};
    const struct thaw_random_cold cold = {.factors = (int32_t)o->factors,
                                          .known = known,
                                          .nknown = 2,
                                          .neighbors = 100,
                                          .types = 8192,
                                          .longest = 10,
                                          .noise = 64,
                                          .hidden = 256,
                                          .seed = (uint64_t)o->seed};
    code = thaw_random_tables_write(dir, &s, err);
    if (!code && o->cold) code = thaw_random_cold_add(dir, &cold, err);
    if (!code) code = bench(dir, o, err);
    struct thaw_err ignored = THAW_ERR_INIT;
    thaw_dir_remove(dir, code ? &ignored : err);
    return code;
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    return operands->n > 0 ? bench(operands->item[0], options, err) : bench_random(options, err);
}

static const struct thaw_cmd cmd = {
    .name = "bench",
    .summary = "measure lookups against the speed of memory",
    .operands = "[TABLES]",
    .min_operands = 0,
    .max_operands = 1,
    .description =
        "Times vector lookups of a warm batch, and exact recommendations beside reading the item table once "
        "from "
        "memory with as many threads: nothing exact can be faster. Where the tables hold cold-start models, "
        "also answers for "
        "someone new with five known items: from the mapped files on one thread, then from compact copies "
        "in memory, on one thread and on all. "
        "Results are checked against f64; a wrong one ends "
        "the run with a non-zero status. Without TABLES random ones are made and removed again.\n\n"
        "A ratio says something when the item table is larger than the processor's caches.",
    .examples = "thaw-lookup bench\n"
                "thaw-lookup bench --items 100000 --cold\n"
                "thaw-lookup bench tables --threads 8 --format jsonl",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_bench = {&cmd, run};
