// collective.c: small collectives of world.h, cut to the largest MPI count.
#include "comm/handle.h"

#include "base/exact.h"
#include "base/mem.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void reduce_all(struct thaw_comm *c, void *x, int64_t n, MPI_Datatype type, size_t width, MPI_Op op) {
    int64_t most = thaw_comm_count_max();
    if (c->size == 1) return;
    for (int64_t at = 0; at < n; at += most) {
        int64_t m = n - at < most ? n - at : most;
        MPI_Allreduce(MPI_IN_PLACE, (char *)x + at * (int64_t)width, (int)m, type, op, c->all);
    }
}

void thaw_comm_sum_i64(struct thaw_comm *c, int64_t *x, int64_t n) {
    reduce_all(c, x, n, MPI_INT64_T, sizeof *x, MPI_SUM);
}

void thaw_comm_max_i64(struct thaw_comm *c, int64_t *x, int64_t n) {
    reduce_all(c, x, n, MPI_INT64_T, sizeof *x, MPI_MAX);
}

void thaw_comm_min_i64(struct thaw_comm *c, int64_t *x, int64_t n) {
    reduce_all(c, x, n, MPI_INT64_T, sizeof *x, MPI_MIN);
}

void thaw_comm_max_f64(struct thaw_comm *c, double *x, int64_t n) {
    reduce_all(c, x, n, MPI_DOUBLE, sizeof *x, MPI_MAX);
}

bool thaw_comm_stop_agreed(struct thaw_comm *c) {
    int64_t stop = thaw_comm_stop_requested(c);
    thaw_comm_max_i64(c, &stop, 1);
    return stop != 0;
}

void thaw_comm_exscan_i64(struct thaw_comm *c, int64_t *x, int64_t n) {
    int64_t most = thaw_comm_count_max();
    for (int64_t at = 0; c->size > 1 && at < n; at += most) {
        int64_t m = n - at < most ? n - at : most;
        MPI_Exscan(MPI_IN_PLACE, x + at, (int)m, MPI_INT64_T, MPI_SUM, c->all);
    }
    if (c->rank == 0) memset(x, 0, (size_t)n * sizeof *x); // MPI leaves rank 0's undefined
}

void thaw_comm_bcast(struct thaw_comm *c, void *bytes, int64_t n, int root) {
    int64_t most = thaw_comm_count_max();
    for (int64_t at = 0; c->size > 1 && at < n; at += most) {
        int64_t m = n - at < most ? n - at : most;
        MPI_Bcast((char *)bytes + at, (int)m, MPI_BYTE, root, c->all);
    }
}

void thaw_comm_barrier(struct thaw_comm *c) {
    MPI_Barrier(c->all);
}

void thaw_comm_allgather_i64(struct thaw_comm *c, const int64_t *x, int64_t n, int64_t *all) {
    if (n * c->size <= thaw_comm_count_max()) {
        MPI_Allgather(x, (int)n, MPI_INT64_T, all, (int)n, MPI_INT64_T, c->all);
        return;
    }
    memmove(all + n * c->rank, x, (size_t)n * sizeof *x);
    for (int r = 0; r < c->size; r++) thaw_comm_bcast(c, all + n * r, n * (int64_t)sizeof *x, r);
}

// Everybody's pieces to everybody, or to root, when a single call can name them all.
static void gather_at_once(struct thaw_comm *c, const void *bytes, const int64_t *lengths, int root,
                           void *out, int *count) {
    int *place = count + c->size, at = 0;
    for (int r = 0; r < c->size; r++) {
        count[r] = (int)lengths[r];
        place[r] = at;
        at += count[r];
    }
    if (root < 0)
        MPI_Allgatherv(bytes, count[c->rank], MPI_BYTE, out, count, place, MPI_BYTE, c->all);
    else
        MPI_Gatherv(bytes, count[c->rank], MPI_BYTE, out, count, place, MPI_BYTE, root, c->all);
}

// The same one rank after the other, each in pieces.
static void gather_in_turn(struct thaw_comm *c, const void *bytes, const int64_t *lengths, int root,
                           char *out, struct thaw_wire *wire) {
    int64_t at = 0;
    for (int r = 0; r < c->size; r++) {
        bool kept = root < 0 || root == c->rank;
        if (r == c->rank && kept && lengths[r]) memcpy(out + at, bytes, (size_t)lengths[r]);
        if (root < 0) thaw_comm_bcast(c, out + at, lengths[r], r);
        if (root >= 0 && r != root && r == c->rank) thaw_wire_send(wire, c, bytes, lengths[r], root, 0);
        if (root >= 0 && r != root && root == c->rank) thaw_wire_recv(wire, c, out + at, lengths[r], r, 0);
        thaw_wire_wait(wire);
        at += lengths[r];
    }
}

int thaw_comm_gather(struct thaw_comm *c, const void *bytes, int64_t n, int root, void **out, int64_t *total,
                     struct thaw_err *err) {
    int code = THAW_OK, *count = NULL;
    int64_t *lengths = NULL, sum = 0, longest = 0;
    char *all = NULL;
    struct thaw_wire wire = {0};
    bool kept = root < 0 || root == c->rank;
    code = thaw_alloc(&lengths, (size_t)c->size, sizeof *lengths, "lengths of all ranks", err);
    if (!code) code = thaw_alloc(&count, 2 * (size_t)c->size, sizeof *count, "lengths of all ranks", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_allgather_i64(c, &n, 1, lengths);
    for (int r = 0; r < c->size; r++) {
        sum += lengths[r];
        if (lengths[r] > longest) longest = lengths[r];
    }
    if (kept) code = thaw_alloc(&all, (size_t)sum + 1, 1, "the gathered pieces of all ranks", err);
    if (!code) code = thaw_wire_reserve(&wire, thaw_wire_pieces(longest), err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    if (sum <= thaw_comm_count_max())
        gather_at_once(c, bytes, lengths, root, all, count);
    else
        gather_in_turn(c, bytes, lengths, root, all, &wire);
    *out = all;
    *total = sum;
    all = NULL;
done:
    free(all);
    free(count);
    free(lengths);
    thaw_wire_free(&wire);
    return code;
}

// bound[i] = largest |terms[.][i]|, infinite when one is not finite; MPI_MAX does not order NaN.
static void largest_terms(const double *terms, int64_t nterms, int64_t n, double *bound) {
    for (int64_t t = 0; t < nterms; t++)
        for (int64_t i = 0; i < n; i++) {
            double size = fabs(terms[t * n + i]);
            if (!(size <= bound[i])) bound[i] = isfinite(size) ? size : INFINITY;
        }
}

// Column i of the terms as one integer. Any part of the terms stays inside the scale's bound.
static int64_t add_column(const double *terms, int64_t nterms, int64_t n, int64_t i, int scale) {
    enum { BLOCK = 256 };
    int64_t total = 0;
    for (int64_t t = 0; t < nterms; t += BLOCK) {
        double x[BLOCK];
        int64_t whole[BLOCK] = {0}, m = nterms - t < BLOCK ? nterms - t : BLOCK;
        for (int64_t j = 0; j < m; j++) x[j] = terms[(t + j) * n + i];
        thaw_exact_add(whole, x, m, scale);
        for (int64_t j = 0; j < m; j++) total += whole[j];
    }
    return total;
}

int thaw_comm_exact_sum(struct thaw_comm *c, const double *terms, int64_t nterms, int64_t n, double *out,
                        struct thaw_err *err) {
    double *bound = NULL; // n
    int64_t *sum = NULL;  // n
    int64_t all_terms = nterms;
    int code = thaw_alloc(&bound, (size_t)n, sizeof *bound, "bounds of a sum", err);
    if (!code) code = thaw_alloc(&sum, (size_t)n, sizeof *sum, "a sum", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    largest_terms(terms, nterms, n, bound);
    thaw_comm_max_f64(c, bound, n);
    thaw_comm_sum_i64(c, &all_terms, 1);
    for (int64_t i = 0; i < n; i++) {
        bound[i] *= (double)all_terms;
        if (!isfinite(bound[i])) continue;
        sum[i] = add_column(terms, nterms, n, i, thaw_exact_scale(bound[i]));
    }
    thaw_comm_sum_i64(c, sum, n);
    for (int64_t i = 0; i < n; i++)
        if (isfinite(bound[i]))
            thaw_exact_get(&out[i], &sum[i], 1, thaw_exact_scale(bound[i]));
        else
            out[i] = NAN;
done:
    free(bound);
    free(sum);
    return code;
}
