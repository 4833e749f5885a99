// sweep_impl.h: one half-sweep under way; what sweep.c, long_rows.c, push.c and guests.c share.
#ifndef THAW_COMM_SWEEP_IMPL_H
#define THAW_COMM_SWEEP_IMPL_H

#include "comm/half_impl.h"
#include "comm/sweep.h"

#include <omp.h>

enum {
    THAW_SWEEP_GROUP = 32, // rows a thread takes at a time
    THAW_SWEEP_LOCKS = 64
};

struct thaw_sweeper {
    struct thaw_als_work *work;
    float *z;     // THAW_SWEEP_GROUP x width
    double *sums; // of a long row; 0 between them
};

// Long rows that go through their rounds together. Some of them are our own: they are stepped here.
struct thaw_long_batch {
    const struct thaw_long_row *own; // nown
    int64_t nown;
    size_t nvector, nsums;
    float *vector;                // rows x nvector
    double *sums;                 // rows x nsums
    struct thaw_als_long **state; // nown; NULL: failed
};

struct thaw_sweeping {
    struct thaw_comm *c;
    const struct thaw_als_sweep *s;
    struct thaw_half *h;
    char *window;
    float *x;
    double *row_loss;
    int64_t first_row;
    size_t d, width;
    float norm2; // largest |y~|^2 of the side
    struct thaw_sweeper *thread;
    int nthreads;
    int64_t least;                // interactions of a long row
    struct thaw_long_batch batch; // of long rows that are not pushed
    int64_t next_batch;
    omp_lock_t lock[THAW_SWEEP_LOCKS]; // of a batch's sums, by row
    float *lent_z, *guest_z;
    double *guest_loss;
    struct thaw_sweep_stats *stats;
    bool stopped;       // of all ranks, as of the last round
    int64_t failed_row; // lowest global row that failed here; INT64_MAX when none has
    int failed;
    struct thaw_err failure;
};

// Thread-safe. The sweep is to end early: no further rows are begun.
bool thaw_sweep_stopping(const struct thaw_sweeping *w);
// Thread-safe. A row of the half failed: keep the failure of the lowest one, counted over all ranks.
void thaw_sweep_fail(struct thaw_sweeping *w, int64_t row, int code, const struct thaw_err *err);

// ---- long_rows.c. Local; threads share the work ----
// Room for so many rows. THAW_EMEM.
int thaw_long_new(struct thaw_long_batch *b, const struct thaw_als_config *f, int64_t rows,
                  struct thaw_err *err);
void thaw_long_clear(struct thaw_long_batch *b);
void thaw_long_begin(struct thaw_sweeping *w, struct thaw_long_batch *b); // own rows, from where they are
// Own rows' vectors, one after the other from `vector` on; true when one of them is not done.
bool thaw_long_ask(struct thaw_long_batch *b, float *vector);
// b->sums = the sums of a batch's pieces. all: the interactions that they are of.
void thaw_long_add(struct thaw_sweeping *w, struct thaw_long_batch *b, const struct thaw_als_row *all,
                   const struct thaw_pieces *p, int64_t batch);
void thaw_long_step(struct thaw_sweeping *w, struct thaw_long_batch *b, const double *sums); // of own rows
void thaw_long_end(struct thaw_sweeping *w, struct thaw_long_batch *b); // own rows are in their places
// Solve the long rows before row `end` that have not been.
void thaw_sweep_long(struct thaw_sweeping *w, int64_t end);

// push.c. Collective: solve the pushed rows.
int thaw_sweep_push(struct thaw_sweeping *w, struct thaw_err *err);

// guests.c. Collective: vectors of lent rows to who solves them, before; and back, with losses, after.
int thaw_guests_begin(struct thaw_sweeping *w, struct thaw_err *err);
int thaw_guests_end(struct thaw_sweeping *w, struct thaw_err *err);

#endif
