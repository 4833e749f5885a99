// exchange_impl.h: what exchange.c and exchange_plan.c share.
#ifndef THAW_COMM_EXCHANGE_IMPL_H
#define THAW_COMM_EXCHANGE_IMPL_H

#include "comm/exchange.h"
#include "comm/handle.h"

// Rows of one round to or from one rank.
struct thaw_segment {
    int64_t round, first,
        n; // received: window rows from `first`; sent: list entries, or window rows (in place)
    int peer;
};

struct thaw_segments {
    struct thaw_segment *at; // by round
    size_t n, cap;
};

struct thaw_exchange {
    struct thaw_comm *c;
    size_t row_bytes;
    int64_t rounds;
    int64_t window_rows;
    int64_t rows_moved;
    int64_t own_place;  // window row of this rank's first row
    bool all;           // allgather: what is sent lies in the window
    uint32_t *send_row; // rows to send, counted from this rank's first
    int64_t nsend;
    struct thaw_segments sends, receives;
    size_t next_send, next_receive; // of the round that starts next
    char *buffer[2];                // rows copied together to be sent, of odd and even rounds
    struct thaw_wire wire[2];
};

int thaw_segments_add(struct thaw_segments *s, int64_t round, int peer, int64_t first, int64_t n,
                      struct thaw_err *err);

#endif
