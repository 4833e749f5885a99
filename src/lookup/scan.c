// scan.c: scoring every item for a few queries: recommendations and similar items.
//
// Threads claim runs of items and keep their own k best; the order of (score, row) is
// total, so the merged result does not depend on who scored what. Bound by reading the item table from memory
// once per four queries.
#include "lookup/lookup_impl.h"

#include "base/crew.h"
#include "base/mem.h"
#include "dense/score.h"
#include "dense/topk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES =
        128 << 10, // of item rows scored at a time: they stay in the L2 cache for the next four queries
    BLOCK_ROWS_MAX = 1024,
    RUN_ROWS = 8192,   // claimed by a thread at a time
    QUERIES_MAX = 32,  // of a batch at a time
    HITS_MAX = 1 << 20 // kept by a thread, all queries together, unless one query alone wants more
};

struct query {
    const int64_t *exclude; // rising
    int64_t nexclude;
    double offset; // added to every score, or what cosines divide by
};

struct scan {
    const struct thaw_lookup *l;
    const float *x; // nq x columns
    const struct query *query;
    int nq, k, block;
    bool cosine;
    struct worker *worker;
};

struct worker {
    struct scan *scan;
    struct thaw_topk top[QUERIES_MAX];
    struct thaw_scored *memory; // nq x k
    float *scores;              // nq x block
    float *norms;               // block
};

static bool excluded(const struct query *q, int64_t row) {
    int64_t low = 0, high = q->nexclude;
    while (low < high) {
        const int64_t mid = low + (high - low) / 2;
        if (q->exclude[mid] < row)
            low = mid + 1;
        else
            high = mid;
    }
    return low < q->nexclude && q->exclude[low] == row;
}

static void take_scores(struct thaw_topk *top, const struct query *q, const float *score, int64_t n,
                        int64_t first) {
    for (int64_t i = 0; i < n; i++)
        if (thaw_topk_wants(top, score[i]) && !excluded(q, first + i))
            thaw_topk_push(top, score[i], first + i);
}

static void take_cosines(struct thaw_topk *top, const struct query *q, const float *dot, const float *norm,
                         int64_t n, int64_t first) {
    for (int64_t i = 0; i < n; i++) {
        if (!(norm[i] > 0)) continue;
        const double cosine = (double)dot[i] / ((double)norm[i] * q->offset);
        if (thaw_topk_wants(top, cosine) && !excluded(q, first + i)) thaw_topk_push(top, cosine, first + i);
    }
}

static void score_block(struct worker *w, const float *y, int64_t n, int64_t first) {
    const struct scan *s = w->scan;
    thaw_score(s->x, s->nq, y, n, s->l->columns, w->scores);
    if (s->cosine) thaw_norms(y, n, s->l->k, s->l->columns, w->norms);
    for (int u = 0; u < s->nq; u++) {
        if (s->cosine)
            take_cosines(&w->top[u], &s->query[u], w->scores + u * n, w->norms, n, first);
        else
            take_scores(&w->top[u], &s->query[u], w->scores + u * n, n, first);
    }
}

// Score the items [begin, end), which may lie in several parts.
static void score_run(struct worker *w, int64_t begin, int64_t end) {
    const struct thaw_tables *t = w->scan->l->tables;
    int32_t part = thaw_tables_part_of(t, THAW_ITEMS, begin);
    while (begin < end) {
        int64_t nrows, first;
        const float *rows = thaw_tables_part(t, THAW_ITEMS, part++, &nrows, &first);
        const int64_t stop = end < first + nrows ? end : first + nrows;
        while (begin < stop) {
            const int64_t n = stop - begin < w->scan->block ? stop - begin : w->scan->block;
            score_block(w, rows + (begin - first) * w->scan->l->columns, n, begin);
            begin += n;
        }
    }
}

static void work(void *argument, int worker, int64_t run) {
    const struct scan *s = argument;
    const int64_t begin = run * RUN_ROWS, end = begin + RUN_ROWS;
    score_run(&s->worker[worker], begin, end < s->l->nitems ? end : s->l->nitems);
}

static int worker_new(struct worker *w, struct scan *s, struct thaw_err *err) {
    const size_t nq = (size_t)s->nq, block = (size_t)s->block;
    w->scan = s;
    int code = thaw_alloc(&w->memory, nq * (size_t)s->k, sizeof *w->memory, "the best items", err);
    if (!code) code = thaw_alloc(&w->scores, nq * block, sizeof *w->scores, "a block of scores", err);
    if (!code) code = thaw_alloc(&w->norms, block, sizeof *w->norms, "a block of norms", err);
    for (int u = 0; !code && u < s->nq; u++) thaw_topk_begin(&w->top[u], w->memory + (int64_t)u * s->k, s->k);
    return code;
}

static void worker_clear(struct worker *w) {
    free(w->memory);
    free(w->scores);
    free(w->norms);
}

// Put the best of all workers into hits (nq x stride) by way of the first worker's heap.
static void merge(struct worker *w, int nworkers, const struct scan *s, int stride, struct thaw_hit *hits,
                  int *nhits) {
    for (int u = 0; u < s->nq; u++) {
        struct thaw_topk *top = &w[0].top[u];
        for (int i = 1; i < nworkers; i++)
            for (int j = 0; j < w[i].top[u].n; j++)
                thaw_topk_push(top, w[i].top[u].best[j].score, w[i].top[u].best[j].row);
        thaw_topk_end(top);
        const double offset = s->cosine ? 0 : s->query[u].offset;
        for (int j = 0; j < top->n; j++)
            hits[(int64_t)u * stride + j] = (struct thaw_hit){top->best[j].row, top->best[j].score + offset};
        nhits[u] = top->n;
    }
}

static int scan_run(struct scan *s, int threads, int stride, struct thaw_hit *hits, int *nhits,
                    struct thaw_err *err) {
    const int64_t nruns = (s->l->nitems + RUN_ROWS - 1) / RUN_ROWS, row_bytes = 4 * (int64_t)s->l->columns;
    const int64_t block = BLOCK_BYTES / row_bytes;
    s->block = block < 16 ? 16 : block > BLOCK_ROWS_MAX ? BLOCK_ROWS_MAX : (int)block;
    int nworkers = threads < 1 ? 1 : threads > THAW_CREW_MAX ? THAW_CREW_MAX : threads, code = THAW_OK;
    if (nworkers > nruns) nworkers = nruns < 1 ? 1 : (int)nruns;
    code = thaw_alloc(&s->worker, (size_t)nworkers, sizeof *s->worker, "the threads of a scan", err);
    for (int i = 0; !code && i < nworkers; i++) code = worker_new(&s->worker[i], s, err);
    if (code) goto done;
    thaw_crew(nworkers, nruns, work, s);
    merge(s->worker, nworkers, s, stride, hits, nhits);
done:
    for (int i = 0; s->worker && i < nworkers; i++) worker_clear(&s->worker[i]);
    free(s->worker);
    return code;
}

// ---- Recommendations ----

static int by_row(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int exclude_sorted(int64_t **out, const int64_t *rows, int64_t n, struct thaw_err *err) {
    int code = thaw_alloc(out, (size_t)n, sizeof **out, "the items to exclude", err);
    if (code || n == 0) return code;
    memcpy(*out, rows, (size_t)n * sizeof **out);
    bool sorted = true;
    for (int64_t i = 1; i < n && sorted; i++) sorted = rows[i - 1] <= rows[i];
    if (!sorted) qsort(*out, (size_t)n, sizeof **out, by_row);
    return THAW_OK;
}

// The bias of an item is its last column: a query that ends in 1 adds it to the dot product.
static double query_of_user(const struct thaw_lookup *l, const float *user, float *x) {
    memcpy(x, user, (size_t)l->columns * sizeof *x);
    if (l->als->model != THAW__ALS__MODEL__EXPLICIT) return 0;
    if (!l->als->biases) return l->als->mean;
    x[l->k] = 1;
    return l->als->mean + user[l->k];
}

static int some_users(const struct thaw_lookup *l, const float *users, int n, int k,
                      const int64_t *const *exclude, const int64_t *nexclude, int threads, int stride,
                      struct thaw_hit *hits, int *nhits, struct thaw_err *err) {
    struct query query[QUERIES_MAX] = {{0}};
    int64_t *sorted[QUERIES_MAX] = {0};
    float *x = NULL;
    int code = thaw_alloc(&x, (size_t)n * (size_t)l->columns, sizeof *x, "query vectors", err);
    for (int u = 0; !code && u < n; u++) {
        if (exclude && nexclude[u] > 0) code = exclude_sorted(&sorted[u], exclude[u], nexclude[u], err);
        query[u].offset = query_of_user(l, users + (int64_t)u * l->columns, x + (int64_t)u * l->columns);
        query[u].exclude = sorted[u];
        query[u].nexclude = sorted[u] ? nexclude[u] : 0;
    }
    struct scan s = {.l = l, .x = x, .query = query, .nq = n, .k = k};
    if (!code) code = scan_run(&s, threads, stride, hits, nhits, err);
    for (int u = 0; u < n; u++) free(sorted[u]);
    free(x);
    return code;
}

static int check_k(int k, struct thaw_err *err) {
    return k < 1 ? thaw_fail(err, THAW_EUSAGE, "%d items asked for: at least 1", k) : THAW_OK;
}

int thaw_lookup_recommend_batch(const struct thaw_lookup *l, const float *users, int nusers, int k,
                                const int64_t *const *exclude, const int64_t *nexclude, int threads,
                                struct thaw_hit *hits, int *nhits, struct thaw_err *err) {
    int code = check_k(k, err);
    const int stride = k;
    if (k > l->nitems) k = l->nitems < 1 ? 1 : (int)l->nitems;
    const int fit = k < 1 || HITS_MAX / k > QUERIES_MAX ? QUERIES_MAX : k > HITS_MAX ? 1 : HITS_MAX / k;
    for (int u = 0, n; !code && u < nusers; u += n) {
        n = nusers - u < fit ? nusers - u : fit;
        code = some_users(l, users + (int64_t)u * l->columns, n, k, exclude ? exclude + u : NULL,
                          exclude ? nexclude + u : NULL, threads, stride, hits + (int64_t)u * stride,
                          nhits + u, err);
    }
    return code;
}

int thaw_lookup_recommend(const struct thaw_lookup *l, const float *user, int k, const int64_t *exclude,
                          int64_t nexclude, int threads, struct thaw_hit *hits, int *nhits,
                          struct thaw_err *err) {
    return thaw_lookup_recommend_batch(l, user, 1, k, &exclude, &nexclude, threads, hits, nhits, err);
}

// ---- Similar items ----

int thaw_lookup_similar(const struct thaw_lookup *l, int64_t item, int k, int threads, struct thaw_hit *hits,
                        int *nhits, struct thaw_err *err) {
    int code = check_k(k, err);
    if (!code && (item < 0 || item >= l->nitems))
        code = thaw_fail(err, THAW_EUSAGE, "no item row %" PRId64, item);
    float *x = NULL, norm = 0;
    if (!code) code = thaw_alloc(&x, (size_t)l->columns, sizeof *x, "a query vector", err);
    if (code) return code;
    memcpy(x, thaw_tables_vector(l->tables, THAW_ITEMS, item), (size_t)l->k * sizeof *x); // the bias stays 0
    thaw_norms(x, 1, l->k, l->columns, &norm);
    const struct query query = {.exclude = &item, .nexclude = 1, .offset = norm};
    const int most = k > l->nitems ? (int)l->nitems : k;
    struct scan s = {.l = l, .x = x, .query = &query, .nq = 1, .k = most, .cosine = true};
    if (norm > 0)
        code = scan_run(&s, threads, most, hits, nhits, err);
    else
        *nhits = 0;
    free(x);
    return code;
}
