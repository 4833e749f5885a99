// world.h: the set of ranks a job runs on, agreement on errors, and small collectives. The only MPI handle
// the rest of Thaw sees is struct thaw_comm; mpi.h stays inside comm/.
//
// Collective functions must be called by all ranks in the same order. They return the same code on every
// rank. Not thread-safe: call from the thread that called thaw_comm_begin (MPI_THREAD_FUNNELED).
#ifndef THAW_COMM_WORLD_H
#define THAW_COMM_WORLD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct thaw_comm;

// Collective over all processes of the launch. A program started as N singletons by a wrong launcher (the
// environment says N > 1 tasks, MPI says 1) fails with THAW_EUSAGE and the launch line that would have been
// right. Also installs handlers for SIGTERM and SIGUSR1 that only set a flag (thaw_comm_stop_requested).
int thaw_comm_begin(struct thaw_comm **comm, struct thaw_err *err);
void thaw_comm_end(struct thaw_comm **comm); // collective; finalizes MPI

// Collective. From now on a watchdog ends the job with THAW_ESTALLED when a rank has waited in MPI for others
// longer than timeout_s: the one line names the rank that keeps them waiting (or was not heard of) and its
// phase (watch.h). Each rank's watchdog is a thread that calls no MPI: it tells rank 0's by UDP once a second
// where its rank is. job: for the message. timeout_s <= 0, or one rank: none. quiet: no warning about ranks
// that the watchdog cannot reach. Ends with thaw_comm_end. A second call replaces the first. THAW_EMEM.
int thaw_comm_watch(struct thaw_comm *c, const char *job, double timeout_s, bool quiet, struct thaw_err *err);

int thaw_comm_rank(const struct thaw_comm *c);
int thaw_comm_size(const struct thaw_comm *c);
const char *thaw_comm_host(const struct thaw_comm *c);
const char *thaw_comm_mpi_version(const struct thaw_comm *c);
// Local: a stop was asked for by a signal on this rank.
bool thaw_comm_stop_requested(const struct thaw_comm *c);
// Collective: on any rank.
bool thaw_comm_stop_agreed(struct thaw_comm *c);

// Local; a store of a pointer. This rank enters a phase, and is in it until it enters another: what a
// watchdog names when the job stands still, and a site of base/fault.h. name: a string literal, one of
//   "read" "shuffle" "merge" "write" (prepare)   "load" "exchange" "solve" "measure" (train)
//   "count" "factor" (association, prior)   "step" (augment)   "rank" (evaluate)   "write" (synth, tables)
//   "checkpoint" (files of a version)   "commit" (its manifest and rename)
//   "publish" (the switch of `current`, of a folder's name)   "end" (a job is done; MPI is not)
void thaw_comm_phase(struct thaw_comm *c, const char *name);

// Collective. The one way a phase ends: every rank brings its code (and err); all leave with the code and err
// of the lowest failing rank, its number filled in unless an earlier agreement did. One allreduce when nobody
// failed.
int thaw_comm_agree(struct thaw_comm *c, int code, struct thaw_err *err);

// Collective: do all ranks hold the same bytes (options, digests of inputs)? THAW_EDISAGREE naming `what` and
// a rank.
int thaw_comm_same(struct thaw_comm *c, const void *bytes, size_t n, const char *what, struct thaw_err *err);

// Collective; n small. In place, the same on every rank.
void thaw_comm_sum_i64(struct thaw_comm *c, int64_t *x, int64_t n);
void thaw_comm_max_i64(struct thaw_comm *c, int64_t *x, int64_t n);
void thaw_comm_min_i64(struct thaw_comm *c, int64_t *x, int64_t n);
void thaw_comm_max_f64(struct thaw_comm *c, double *x, int64_t n);
// *x becomes the sum of the x of lower ranks (0 on rank 0).
void thaw_comm_exscan_i64(struct thaw_comm *c, int64_t *x, int64_t n);
void thaw_comm_bcast(struct thaw_comm *c, void *bytes, int64_t n, int root);
void thaw_comm_barrier(struct thaw_comm *c);
// all: size x n, rank-major.
void thaw_comm_allgather_i64(struct thaw_comm *c, const int64_t *x, int64_t n, int64_t *all);

// Collective. Concatenation of every rank's bytes in rank order, on every rank (root < 0) or on root alone;
// *out is malloc'd (NULL elsewhere), for small structures such as manifests' file entries: the sum must fit
// the memory. THAW_EMEM.
int thaw_comm_gather(struct thaw_comm *c, const void *bytes, int64_t n, int root, void **out, int64_t *total,
                     struct thaw_err *err);

// Collective. Sum over terms that does not depend on which rank holds which term (base/exact.h): terms is
// nterms x n on this rank (nterms may differ and be 0), out[n] the same on every rank. Non-finite terms give
// NaN. THAW_EMEM.
int thaw_comm_exact_sum(struct thaw_comm *c, const double *terms, int64_t nterms, int64_t n, double *out,
                        struct thaw_err *err);

// Collective. Cores this rank may use: those of its affinity mask, divided by the ranks on this host that
// share them; >= 1.
int thaw_comm_cores(struct thaw_comm *c);
// Collective. The hosts' names, each ended by a zero byte, in the order of their first ranks; *names is
// malloc'd on rank 0 and NULL elsewhere. THAW_EMEM.
int thaw_comm_hosts(struct thaw_comm *c, char **names, int64_t *nbytes, struct thaw_err *err);

// Largest number of elements one MPI call is given; 2^30 unless the environment variable THAW_MPI_COUNT_MAX
// lowers it so that tests walk the large-count paths. All functions of comm/ cut longer transfers.
int64_t thaw_comm_count_max(void);

#endif
