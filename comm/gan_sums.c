// gan_sums.c: see gan_sums.h.
#include "comm/gan_sums.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"
#include "comm/window.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADROOM = 16, BITS = 49 }; // a term within the room is below 2^BITS; thousands of the largest fit 63

enum { TERMS = 20, SHARES }; // tags
enum { CHUNK = 1024 };       // sums at a time: they stay in the first-level cache

struct thaw_sums {
    struct thaw_comm *c;
    int nbuckets, carried, nthreads;
    size_t *begin;   // nbuckets + 1
    size_t *share;   // nbuckets x (size + 1)
    double *largest; // nbuckets: of earlier sums
    double *found;   // nbuckets: of this rank's share of this round's
    int64_t **acc;   // nthreads arrays; what a bucket of them holds means nothing until its first term
    bool *touched;   // nthreads x nbuckets: it has had it
    bool *spoilt;    // nthreads: a term was out of range
    // Terms of other ranks for this rank's shares:
    struct thaw_window *window; // acc[0] of the ranks of this node, one after the other
    const int64_t *near;        // its memory
    int near_first;             // the first of these ranks
    char *token;                // size: what they send instead of their terms
    int64_t *far;               // terms of the ranks of other nodes, one after the other
    size_t *far_begin;          // nbuckets
    struct thaw_wire *come;     // nbuckets: what brings them
    struct thaw_wire wire;      // everything else that is under way
    int64_t *told, *all; // what settle says, and of all ranks: bits of found, then spoilt, then carried
    double wait_s;
    int64_t nbytes;
};

static int scale_of(double largest) {
    int exponent;
    frexp(largest, &exponent);
    return BITS - HEADROOM - exponent;
}

static const size_t *share_of(const struct thaw_sums *s, int bucket, int rank) {
    return s->share + (size_t)bucket * ((size_t)s->c->size + 1) + rank;
}

void thaw_sums_own(const struct thaw_sums *s, int bucket, size_t *begin, size_t *end) {
    const size_t *own = share_of(s, bucket, s->c->rank);
    *begin = own[0];
    *end = own[1];
}

static size_t own_length(const struct thaw_sums *s, int bucket) {
    size_t begin, end;
    thaw_sums_own(s, bucket, &begin, &end);
    return end - begin;
}

// ---- Begin and end ----

static void share_equally(struct thaw_sums *s) {
    const size_t size = (size_t)s->c->size;
    for (int i = 0; i < s->nbuckets; i++) {
        const size_t n = s->begin[i + 1] - s->begin[i];
        size_t *share = s->share + (size_t)i * (size + 1);
        for (size_t r = 0; r <= size; r++)
            share[r] = s->begin[i] + (r == size ? n : n * r / size / THAW_SUMS_RUN * THAW_SUMS_RUN);
    }
}

static size_t told_words(const struct thaw_sums *s) {
    return (size_t)(s->nbuckets + 1 + s->carried);
}

static int allocate(struct thaw_sums *s, struct thaw_err *err) {
    const size_t nbuckets = (size_t)s->nbuckets, nthreads = (size_t)s->nthreads, size = (size_t)s->c->size;
    const char *what = "sums of gradients";
    int code = thaw_alloc(&s->begin, nbuckets + 1, sizeof *s->begin, what, err);
    if (!code) code = thaw_alloc(&s->share, nbuckets * (size + 1), sizeof *s->share, what, err);
    if (!code) code = thaw_alloc(&s->largest, nbuckets, sizeof *s->largest, what, err);
    if (!code) code = thaw_alloc(&s->found, nbuckets, sizeof *s->found, what, err);
    if (!code) code = thaw_alloc(&s->acc, nthreads, sizeof *s->acc, what, err);
    if (!code) code = thaw_alloc(&s->touched, nthreads * nbuckets, sizeof *s->touched, what, err);
    if (!code) code = thaw_alloc(&s->spoilt, nthreads, sizeof *s->spoilt, what, err);
    if (!code) code = thaw_alloc(&s->token, size, 1, what, err);
    if (!code) code = thaw_alloc(&s->far_begin, nbuckets, sizeof *s->far_begin, what, err);
    if (!code) code = thaw_alloc(&s->come, nbuckets, sizeof *s->come, what, err);
    if (!code) code = thaw_alloc(&s->told, told_words(s), sizeof *s->told, what, err);
    if (!code) code = thaw_alloc(&s->all, told_words(s) * size, sizeof *s->all, what, err);
    return code;
}

// Once shares are known: the other threads' accumulators, and room for what travels.
static int allocate_shares(struct thaw_sums *s, struct thaw_err *err) {
    const size_t others = (size_t)s->c->size - 1, strangers = (size_t)(s->c->size - s->c->node_size);
    size_t far = 0, pieces = 0;
    int code = THAW_OK;
    for (int i = 0; !code && i < s->nbuckets; i++) {
        const size_t own = own_length(s, i), bucket = s->begin[i + 1] - s->begin[i];
        const size_t most = others * (thaw_wire_pieces((int64_t)(bucket * sizeof **s->acc)) + 1);
        s->far_begin[i] = far;
        far += strangers * own;
        pieces += 3 * most; // terms out; shares out and in
        code = thaw_wire_reserve(&s->come[i], most, err);
    }
    if (!code) code = thaw_wire_reserve(&s->wire, pieces, err);
    if (!code) code = thaw_alloc(&s->far, far, sizeof *s->far, "sums of gradients", err);
    for (int t = 1; !code && t < s->nthreads; t++)
        code = thaw_alloc(&s->acc[t], s->begin[s->nbuckets], sizeof **s->acc, "sums of gradients", err);
    return code;
}

// Collective. The first thread's accumulator, which the node sees.
static int open_window(struct thaw_sums *s, struct thaw_err *err) {
    const size_t n = s->begin[s->nbuckets];
    const int64_t nbytes = (int64_t)((size_t)s->c->node_size * n * sizeof **s->acc);
    const int code = thaw_window_new(&s->window, s->c, nbytes, err);
    if (code) return code;
    int64_t *memory = thaw_window_bytes(s->window);
    s->near = memory;
    s->near_first = s->c->rank - s->c->node_rank;
    s->acc[0] = memory + (size_t)s->c->node_rank * n;
    return THAW_OK;
}

int thaw_sums_new(struct thaw_sums **out, struct thaw_comm *c, const size_t *begin, int nbuckets,
                  const size_t *share, int carried, int nthreads, struct thaw_err *err) {
    struct thaw_sums *s = NULL;
    int code = thaw_alloc(&s, 1, sizeof *s, "sums of gradients", err);
    if (!code) {
        *s = (struct thaw_sums){.c = c, .nbuckets = nbuckets, .carried = carried, .nthreads = nthreads};
        code = allocate(s, err);
    }
    if (!code) {
        memcpy(s->begin, begin, ((size_t)nbuckets + 1) * sizeof *begin);
        for (int i = 0; i < nbuckets; i++) s->largest[i] = 1;
        if (share)
            memcpy(s->share, share, (size_t)nbuckets * ((size_t)c->size + 1) * sizeof *share);
        else
            share_equally(s);
        code = allocate_shares(s, err);
    }
    if (!(code = thaw_comm_agree(c, code, err))) code = open_window(s, err);
    if (code)
        thaw_sums_free(&s);
    else
        *out = s;
    return code;
}

void thaw_sums_free(struct thaw_sums **out) {
    struct thaw_sums *s = *out;
    if (!s) return;
    for (int i = 0; s->come && i < s->nbuckets; i++) {
        thaw_wire_wait(&s->come[i]);
        thaw_wire_free(&s->come[i]);
    }
    thaw_wire_wait(&s->wire);
    thaw_wire_free(&s->wire);
    thaw_window_free(&s->window);
    for (int t = 1; s->acc && t < s->nthreads; t++) free(s->acc[t]);
    free(s->acc);
    free(s->token);
    free(s->begin);
    free(s->share);
    free(s->largest);
    free(s->found);
    free(s->touched);
    free(s->spoilt);
    free(s->far);
    free(s->far_begin);
    free(s->told);
    free(s->all);
    free(s->come);
    free(s);
    *out = NULL;
}

double *thaw_sums_largest(struct thaw_sums *s) {
    return s->largest;
}

// ---- Adding ----

#define EXPONENT 0x4330000000000000U // of doubles from 2^52 to 2^53
#define MAGIC    0x4338000000000000U // the bits of 1.5 * 2^52

#define LANES 2
#define TARGET
#define NAME(f) f##_portable
#include "comm/gan_sums_kernel.h"

#ifdef __x86_64__
#define LANES   4
#define TARGET  __attribute__((target("avx2")))
#define NAME(f) f##_avx2
#include "comm/gan_sums_kernel.h"

#define LANES   8
#define TARGET  __attribute__((target("avx512f,avx512vl,avx512dq,avx2")))
#define NAME(f) f##_avx512
#include "comm/gan_sums_kernel.h"
#endif

static bool add(int64_t *acc, bool first, const float *x, size_t n, double factor) {
#ifdef __x86_64__
    const enum thaw_score_unit unit = thaw_score_best();
    if (unit == THAW_SCORE_AVX512) return add_avx512(acc, first, x, n, factor);
    if (unit == THAW_SCORE_AVX2) return add_avx2(acc, first, x, n, factor);
#endif
    return add_portable(acc, first, x, n, factor);
}

static double get(float *out, const int64_t *acc, size_t n, double unit) {
#ifdef __x86_64__
    const enum thaw_score_unit best = thaw_score_best();
    if (best == THAW_SCORE_AVX512) return get_avx512(out, acc, n, unit);
    if (best == THAW_SCORE_AVX2) return get_avx2(out, acc, n, unit);
#endif
    return get_portable(out, acc, n, unit);
}

void thaw_sums_add(struct thaw_sums *s, int thread, int bucket, const float *x) {
    const size_t begin = s->begin[bucket], n = s->begin[bucket + 1] - begin;
    bool *touched = &s->touched[thread * s->nbuckets + bucket];
    if (!add(s->acc[thread] + begin, !*touched, x + begin, n, ldexp(1, scale_of(s->largest[bucket]))))
        s->spoilt[thread] = true;
    *touched = true;
}

// acc += terms. Unsigned: what was out of range wraps, and is told.
static void add_terms(int64_t *acc, const int64_t *term, size_t n) {
    for (size_t i = 0; i < n; i++) acc[i] = (int64_t)((uint64_t)acc[i] + (uint64_t)term[i]);
}

// The first thread's accumulator of a bucket becomes the sum of all threads'.
static void join_threads(struct thaw_sums *s, int bucket) {
    const size_t begin = s->begin[bucket], n = s->begin[bucket + 1] - begin;
    int64_t *own = s->acc[0] + begin;
    if (!s->touched[bucket]) memset(own, 0, n * sizeof *own);
    for (int t = 1; t < s->nthreads; t++)
        if (s->touched[t * s->nbuckets + bucket]) add_terms(own, s->acc[t] + begin, n);
}

// ---- Travelling ----

int64_t *thaw_sums_carried(struct thaw_sums *s) {
    return s->told + s->nbuckets + 1;
}

// The i-th of the other ranks, from the next one on: not all send to the same one at a time.
static int peer(const struct thaw_sums *s, int i) {
    return (s->c->rank + i) % s->c->size;
}

static bool is_near(const struct thaw_sums *s, int rank) {
    return rank >= s->near_first && rank < s->near_first + s->c->node_size;
}

void thaw_sums_start(struct thaw_sums *s, int bucket) {
    static const char token = 0;
    const size_t own = own_length(s, bucket);
    struct thaw_wire *come = &s->come[bucket];
    int64_t *far = s->far + s->far_begin[bucket];
    join_threads(s, bucket);
    thaw_window_fence(s->window);
    for (int i = 1; i < s->c->size; i++) {
        const int other = peer(s, i);
        const size_t *share = share_of(s, bucket, other);
        const int64_t nbytes = (int64_t)((share[1] - share[0]) * sizeof *far);
        if (is_near(s, other)) {
            thaw_wire_recv(come, s->c, &s->token[other], 1, other, TERMS);
            thaw_wire_send(&s->wire, s->c, &token, 1, other, TERMS);
            continue;
        }
        thaw_wire_recv(come, s->c, far, (int64_t)(own * sizeof *far), other, TERMS);
        thaw_wire_send(&s->wire, s->c, s->acc[0] + share[0], nbytes, other, TERMS);
        s->nbytes += nbytes;
        far += own;
    }
}

static void poke(struct thaw_wire *w) {
    int flag;
    if (w->n > 0) MPI_Testall((int)w->n, w->request, &flag, MPI_STATUSES_IGNORE);
}

void thaw_sums_poke(struct thaw_sums *s) {
    for (int i = 0; i < s->nbuckets; i++) poke(&s->come[i]);
    poke(&s->wire);
}

static void wait_for(struct thaw_sums *s, struct thaw_wire *w) {
    const double began = thaw_time_s();
    thaw_wire_wait(w);
    if (s->c->size > 1) s->wait_s += thaw_time_s() - began;
}

// sum[n]: of the others' terms and this rank's, from entry `at` of this rank's share of a bucket.
static void add_ranks(const struct thaw_sums *s, int bucket, size_t at, size_t n, int64_t *sum) {
    const size_t all = s->begin[s->nbuckets], own = own_length(s, bucket);
    const size_t place = share_of(s, bucket, s->c->rank)[0] + at;
    const int64_t *far = s->far + s->far_begin[bucket] + at;
    memcpy(sum, s->acc[0] + place, n * sizeof *sum);
    for (int i = 0; i < s->c->node_size; i++)
        if (i != s->c->node_rank) add_terms(sum, s->near + (size_t)i * all + place, n);
    for (int i = s->c->node_size; i < s->c->size; i++, far += own) add_terms(sum, far, n);
}

void thaw_sums_wait(struct thaw_sums *s, int bucket, float *out) {
    const size_t begin = share_of(s, bucket, s->c->rank)[0], own = own_length(s, bucket);
    const double unit = ldexp(1, -scale_of(s->largest[bucket]));
    int64_t sum[CHUNK];
    wait_for(s, &s->come[bucket]);
    thaw_window_fence(s->window);
    s->found[bucket] = 0;
    for (size_t at = 0; at < own; at += CHUNK) {
        const size_t n = own - at < CHUNK ? own - at : CHUNK;
        add_ranks(s, bucket, at, n, sum);
        s->found[bucket] = fmax(s->found[bucket], get(out + begin + at, sum, n, unit));
    }
}

void thaw_sums_share(struct thaw_sums *s, int bucket, float *x) {
    const size_t *own = share_of(s, bucket, s->c->rank);
    const int64_t nbytes = (int64_t)((own[1] - own[0]) * sizeof *x);
    for (int i = 1; i < s->c->size; i++) {
        const size_t *share = share_of(s, bucket, peer(s, i));
        thaw_wire_recv(&s->wire, s->c, x + share[0], (int64_t)((share[1] - share[0]) * sizeof *x), peer(s, i),
                       SHARES);
        thaw_wire_send(&s->wire, s->c, x + own[0], nbytes, peer(s, i), SHARES);
        s->nbytes += nbytes;
    }
}

// Which rank of a node takes what a rank of another node shows.
static int taker(const struct thaw_comm *c, int node, int rank) {
    return c->node_first[node] + rank % (c->node_first[node + 1] - c->node_first[node]);
}

void thaw_sums_show(struct thaw_sums *s, int bucket, float *x) {
    const struct thaw_comm *c = s->c;
    const size_t *own = share_of(s, bucket, c->rank);
    const int64_t nbytes = (int64_t)((own[1] - own[0]) * sizeof *x);
    for (int r = 0; r < c->size; r++) {
        const size_t *share = share_of(s, bucket, r);
        if (!is_near(s, r) && taker(c, c->node_number, r) == c->rank)
            thaw_wire_recv(&s->wire, c, x + share[0], (int64_t)((share[1] - share[0]) * sizeof *x), r,
                           SHARES);
    }
    for (int i = 1; i < c->nnodes; i++) {
        thaw_wire_send(&s->wire, c, x + own[0], nbytes, taker(c, (c->node_number + i) % c->nnodes, c->rank),
                       SHARES);
        s->nbytes += nbytes;
    }
}

void thaw_sums_finish(struct thaw_sums *s) {
    wait_for(s, &s->wire);
}

// What every rank has to say of its shares, to all.
static void tell(struct thaw_sums *s) {
    const size_t words = told_words(s);
    int64_t *spoilt = s->told + s->nbuckets;
    memcpy(s->told, s->found, (size_t)s->nbuckets * sizeof *s->found);
    *spoilt = 0;
    for (int t = 0; t < s->nthreads; t++) *spoilt += s->spoilt[t];
    const double began = thaw_time_s();
    if (s->c->size > 1)
        MPI_Allgather(s->told, (int)words, MPI_INT64_T, s->all, (int)words, MPI_INT64_T, s->c->all);
    else
        memcpy(s->all, s->told, words * sizeof *s->told);
    if (s->c->size > 1) s->wait_s += thaw_time_s() - began;
    s->nbytes += (int64_t)(words * sizeof *s->told);
}

bool thaw_sums_settle(struct thaw_sums *s) {
    const size_t words = told_words(s), nbuckets = (size_t)s->nbuckets;
    thaw_sums_finish(s);
    thaw_window_fence(s->window);
    tell(s);
    thaw_window_fence(s->window);
    memset(s->told + nbuckets, 0, (words - nbuckets) * sizeof *s->told);
    memset(s->found, 0, nbuckets * sizeof *s->found);
    for (int r = 0; r < s->c->size; r++) {
        const int64_t *said = s->all + (size_t)r * words;
        for (size_t i = 0; i < nbuckets; i++) {
            double found;
            memcpy(&found, said + i, sizeof found);
            s->found[i] = fmax(s->found[i], found);
        }
        for (size_t i = nbuckets; i < words; i++) s->told[i] += said[i];
    }
    const bool good = s->told[nbuckets] == 0;
    // Scales follow a growing gradient at once and a falling one slowly.
    for (size_t i = 0; good && i < nbuckets; i++)
        s->largest[i] = fmax(fmax(s->found[i], s->largest[i] / 2), 0x1p-100);
    memset(s->touched, 0, (size_t)s->nthreads * nbuckets * sizeof *s->touched);
    memset(s->spoilt, 0, (size_t)s->nthreads * sizeof *s->spoilt);
    return good;
}

double thaw_sums_wait_s(const struct thaw_sums *s) {
    return s->wait_s;
}

int64_t thaw_sums_bytes(const struct thaw_sums *s) {
    return s->nbytes;
}
