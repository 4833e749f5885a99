// gan_sums.c: see gan_sums.h.
#include "comm/gan_sums.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HEADROOM = 16, BITS = 49 }; // a term within the room is below 2^BITS; thousands of the largest fit 63

struct thaw_sums {
    struct thaw_comm *c;
    int nbuckets, carried, nthreads;
    size_t *begin;   // nbuckets + 1
    double *largest; // nbuckets
    int64_t **acc; // nthreads arrays: a bucket's entries, then how many were out of range; in the end what is
                   // carried
    MPI_Request *request;
    size_t *first_request; // nbuckets + 1: places of each bucket's
    int *from, *to;        // nbuckets: the buckets that travel with this one
    double wait_s;
    int64_t nbytes;
};

// Where bucket i begins in acc; i = nbuckets: where it ends, but for what is carried.
static size_t place(const struct thaw_sums *s, int bucket) {
    return s->begin[bucket] + (size_t)bucket;
}

// Where the transfer of buckets up to `to` ends in acc.
static size_t transfer_end(const struct thaw_sums *s, int to) {
    return place(s, to) + (size_t)(to == s->nbuckets ? s->carried : 0);
}

static int scale_of(double largest) {
    int exponent;
    frexp(largest, &exponent);
    return BITS - HEADROOM - exponent;
}

int thaw_sums_new(struct thaw_sums **out, struct thaw_comm *c, const size_t *begin, int nbuckets, int carried,
                  int nthreads, struct thaw_err *err) {
    const size_t most = (size_t)thaw_comm_count_max();
    const char *what = "sums of gradients";
    struct thaw_sums *s = NULL;
    int code = thaw_alloc(&s, 1, sizeof *s, what, err);
    if (code) return code;
    *s = (struct thaw_sums){.c = c, .nbuckets = nbuckets, .carried = carried, .nthreads = nthreads};
    code = thaw_alloc(&s->begin, (size_t)nbuckets + 1, sizeof *s->begin, what, err);
    if (!code) code = thaw_alloc(&s->largest, (size_t)nbuckets, sizeof *s->largest, what, err);
    if (!code) code = thaw_alloc(&s->acc, (size_t)nthreads, sizeof *s->acc, what, err);
    if (!code)
        code = thaw_alloc(&s->first_request, (size_t)nbuckets + 1, sizeof *s->first_request, what, err);
    if (!code) code = thaw_alloc(&s->from, (size_t)nbuckets, sizeof *s->from, what, err);
    if (!code) code = thaw_alloc(&s->to, (size_t)nbuckets, sizeof *s->to, what, err);
    for (int i = 0; !code && i <= nbuckets; i++) s->begin[i] = begin[i];
    for (int t = 0; !code && t < nthreads; t++)
        code = thaw_alloc(&s->acc[t], transfer_end(s, nbuckets), sizeof **s->acc, what, err);
    for (int i = 0; !code && i < nbuckets; i++) {
        s->largest[i] = 1;
        s->first_request[i + 1] =
            s->first_request[i] + (transfer_end(s, i + 1) - place(s, i) + most - 1) / most;
    }
    if (!code) code = thaw_alloc(&s->request, s->first_request[nbuckets], sizeof *s->request, what, err);
    if (code) {
        thaw_sums_free(&s);
        return code;
    }
    for (size_t i = 0; i < s->first_request[nbuckets]; i++) s->request[i] = MPI_REQUEST_NULL;
    *out = s;
    return THAW_OK;
}

void thaw_sums_free(struct thaw_sums **s) {
    if (!*s) return;
    if ((*s)->request)
        MPI_Waitall((int)(*s)->first_request[(*s)->nbuckets], (*s)->request, MPI_STATUSES_IGNORE);
    for (int t = 0; (*s)->acc && t < (*s)->nthreads; t++) free((*s)->acc[t]);
    free((*s)->acc);
    free((*s)->begin);
    free((*s)->largest);
    free((*s)->request);
    free((*s)->first_request);
    free((*s)->from);
    free((*s)->to);
    free(*s);
    *s = NULL;
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

static bool add(int64_t *acc, const float *x, size_t n, double factor) {
#ifdef __x86_64__
    const enum thaw_score_unit unit = thaw_score_best();
    if (unit == THAW_SCORE_AVX512) return add_avx512(acc, x, n, factor);
    if (unit == THAW_SCORE_AVX2) return add_avx2(acc, x, n, factor);
#endif
    return add_portable(acc, x, n, factor);
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
    int64_t *acc = s->acc[thread] + place(s, bucket);
    acc[n] += !add(acc, x + begin, n, ldexp(1, scale_of(s->largest[bucket])));
}

// ---- Travelling ----

int64_t *thaw_sums_carried(struct thaw_sums *s) {
    return s->acc[0] + place(s, s->nbuckets);
}

void thaw_sums_start(struct thaw_sums *s, int bucket, int nbuckets) {
    const int end = bucket + nbuckets;
    const size_t at = place(s, bucket), n = transfer_end(s, end) - at, most = (size_t)thaw_comm_count_max();
    MPI_Request *request = s->request + s->first_request[bucket];
    for (int i = bucket; i < end; i++) {
        s->from[i] = bucket;
        s->to[i] = end;
    }
    for (int t = 1; t < s->nthreads; t++) {
        int64_t *own = s->acc[0] + at, *other = s->acc[t] + at;
        for (size_t i = 0; i < n; i++) // unsigned: what was out of range wraps, and is told
            own[i] = (int64_t)((uint64_t)own[i] + (uint64_t)other[i]);
        memset(other, 0, n * sizeof *other);
    }
    for (size_t i = 0; s->c->size > 1 && i < n; i += most) {
        const size_t m = n - i < most ? n - i : most;
        MPI_Iallreduce(MPI_IN_PLACE, s->acc[0] + at + i, (int)m, MPI_INT64_T, MPI_SUM, s->c->all, request++);
        s->nbytes += (int64_t)(m * sizeof **s->acc);
    }
}

void thaw_sums_poke(struct thaw_sums *s) {
    int flag;
    if (s->c->size > 1)
        MPI_Testall((int)s->first_request[s->nbuckets], s->request, &flag, MPI_STATUSES_IGNORE);
}

bool thaw_sums_wait(struct thaw_sums *s, int bucket, float *out) {
    const size_t begin = s->begin[bucket], n = s->begin[bucket + 1] - begin;
    const size_t first = s->first_request[s->from[bucket]], end = s->first_request[s->to[bucket]];
    int64_t *acc = s->acc[0] + place(s, bucket);
    const double began = thaw_time_s();
    MPI_Waitall((int)(end - first), s->request + first, MPI_STATUSES_IGNORE);
    if (s->c->size > 1) s->wait_s += thaw_time_s() - began;
    const bool good = acc[n] == 0;
    const double unit = ldexp(1, -scale_of(s->largest[bucket]));
    const double largest = good ? get(out + begin, acc, n, unit) : 0;
    memset(acc, 0, (n + 1) * sizeof *acc);
    // Scales follow a growing gradient at once and a falling one slowly.
    if (good) s->largest[bucket] = fmax(fmax(largest, s->largest[bucket] / 2), 0x1p-100);
    return good;
}

double thaw_sums_wait_s(const struct thaw_sums *s) {
    return s->wait_s;
}

int64_t thaw_sums_bytes(const struct thaw_sums *s) {
    return s->nbytes;
}
