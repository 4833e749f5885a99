// half.h: one half of training: the rows of one side that this rank solves, and what it needs of the other
// side.
//
// Three ways a row is solved, chosen when a half is made:
//   - most rows by their owner, from opposite rows that the exchange brings (comm/exchange.h);
//   - pushed rows (long ones, where that is less traffic, or too long for one rank) by all ranks: each adds up
//     the pieces whose opposite rows it owns, the owner takes the sums (als.h, "Long rows");
//   - guests: rows of a rank with more work than others, lent to one with less; their vectors travel there and
//     back.
// Which way a row takes does not change its bits: rows of at least THAW_LONG_PIECE interactions per opposite
// part are always solved from sums over parts, wherever that is done.
//
// Source of the split into pulled and pushed rows: the two-dimensional view of a sparse product, where a long
// row is cheaper to reduce than to gather; e.g. Tan, Cao & Fong, "Faster and cheaper: parallelizing
// large-scale matrix factorization on GPUs", HPDC 2016, and Karypis et al.'s hypergraph models of the same
// traffic.
#ifndef THAW_COMM_HALF_H
#define THAW_COMM_HALF_H

#include "als/als.h"
#include "comm/exchange.h"
#include "comm/world.h"
#include "partition/plan.h"

enum { THAW_LONG_PIECE = 16, THAW_LONG_LEAST = 4096, THAW_LONG_BYTES = 8 << 20 };
// Interactions from which a row is solved from sums over parts: THAW_LONG_LEAST, or THAW_LONG_PIECE per
// opposite part when that is more. The environment variable THAW_LONG_ROWS replaces THAW_LONG_LEAST, so that
// tests walk these paths on small logs; it changes the last bits of results.
int64_t thaw_long_least(const struct thaw_plan *other);
// Long rows that a rank solves together, at thaw_als_long_nbytes each: what fits into THAW_LONG_BYTES and
// into a quarter of the exchange's memory, but two a thread in any case.
int64_t thaw_long_batch_rows(const struct thaw_als_config *f, int threads, int64_t exchange_bytes);

// Interactions by rows: global opposite rows (rising) and values. Arrays are from thaw_alloc or thaw_grow.
struct thaw_csr {
    int64_t nrows;
    int64_t *ptr; // nrows + 1
    int64_t *index;
    float *value;
    size_t ptr_cap, index_cap, value_cap;
};
int thaw_csr_new(struct thaw_csr *m, int64_t nrows, int64_t nnz, struct thaw_err *err); // room for so many
int thaw_csr_add(struct thaw_csr *m, const int64_t *index, const float *r, int64_t n, struct thaw_err *err);
// More interactions of the last row.
int thaw_csr_extend(struct thaw_csr *m, const int64_t *index, const float *r, int64_t n,
                    struct thaw_err *err);
void thaw_csr_clear(struct thaw_csr *m);

struct thaw_half_options {
    enum thaw_exchange_mode exchange;
    int64_t exchange_bytes; // bounds slots and messages of a rank
    bool alone;             // rows are solved where they are: neither pushed nor lent
};

struct thaw_half;
// Collective. m: this rank's rows; it is taken over and cleared, also on failure. other: who owns the
// opposite rows; borrowed. config: model, solver, k, biases and gather count; the rest may change later.
// THAW_EMEM, THAW_EUSAGE (the exchange does not fit).
int thaw_half_new(struct thaw_half **h, struct thaw_comm *c, const struct thaw_als_config *config,
                  struct thaw_csr *m, const struct thaw_plan *other, const struct thaw_half_options *o,
                  struct thaw_err *err);
void thaw_half_free(struct thaw_half **h);
// Local, on all ranks. From now on a signal ends a sweep of this half between two groups of rows: thaw_sweep
// then fails with THAW_ESTOPPED.
void thaw_half_make_stoppable(struct thaw_half *h);

// What was planned. Sums over all ranks unless it says otherwise.
struct thaw_half_facts {
    int64_t nbytes;         // this rank: interactions and lists
    int64_t exchange_bytes; // this rank: rows to send, and the lists that name them
    int64_t exchange_rows;  // rows of other nodes that are moved in a half-sweep
    int64_t window_bytes;   // this node: vectors at hand
    int64_t rounds;
    int64_t pushed_rows, pushed_nnz, lent_rows;
    int64_t push_from; // rows of so many interactions are pushed; INT64_MAX: none
    bool allgather, stream;
    double work, work_mean, work_max; // modelled: of this rank, mean and maximum
};
const struct thaw_half_facts *thaw_half_facts(const struct thaw_half *h);

#endif
