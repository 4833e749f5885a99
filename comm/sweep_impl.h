// sweep_impl.h: one half-sweep under way; what sweep.c, push.c and guests.c share.
#ifndef THAW_COMM_SWEEP_IMPL_H
#define THAW_COMM_SWEEP_IMPL_H

#include "comm/half_impl.h"
#include "comm/sweep.h"

enum {
    THAW_SWEEP_GROUP = 32, // rows a thread takes at a time
    THAW_SWEEP_PACK = 4 << 20
};

struct thaw_sweeper {
    struct thaw_als_work *work;
    float *z;      // THAW_SWEEP_GROUP x width
    float *vector; // of a long row
    double *sums;
    char *packed;    // THAW_SWEEP_PACK bytes: a long row's opposite rows, one after the other
    uint32_t *count; // 0, 1, 2, ...: where they lie
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
    float *lent_z, *guest_z;
    double *guest_loss;
    struct thaw_sweep_stats *stats;
    bool stopped;       // of all ranks, as of the last round
    int64_t failed_row; // lowest global row that failed here; INT64_MAX when none has
    int failed;
    struct thaw_err failure;
};

// Thread-safe. Keep the failure of the lowest row.
void thaw_sweep_fail(struct thaw_sweeping *w, int64_t global_row, int code, const struct thaw_err *err);

// push.c. Collective: solve the pushed rows.
int thaw_sweep_push(struct thaw_sweeping *w, struct thaw_err *err);

// guests.c. Collective: vectors of lent rows to who solves them, before; and back, with losses, after.
int thaw_guests_begin(struct thaw_sweeping *w, struct thaw_err *err);
int thaw_guests_end(struct thaw_sweeping *w, struct thaw_err *err);

#endif
