// half_impl.h: what half.c, share.c, route.c, push.c and sweep.c know of a half.
#ifndef THAW_COMM_HALF_IMPL_H
#define THAW_COMM_HALF_IMPL_H

#include "comm/half.h"
#include "comm/handle.h"

// A long row solved here, by its pieces: all interactions with one opposite part.
struct thaw_long_row {
    int64_t row, piece, npieces; // pieces [piece, piece + npieces) of half.piece
};

// A row of ours that another rank solves.
struct thaw_lent {
    int64_t row;
    int to;
};

// Rows of one other rank that are solved here.
struct thaw_guests {
    int from;
    int64_t n;
};

// This rank's pieces of pushed rows, by row. Rows are numbered over all ranks by owner, then row.
struct thaw_pushed {
    int64_t n;            // rows, of all ranks
    int64_t *first;       // ranks + 1: rows owned by each
    int64_t *row;         // own rows
    int64_t *row_n;       // interactions of own rows
    double *row_abs;      // sum of |r| of own rows
    int64_t npieces, nnz; // here
    int64_t *piece_row;   // npieces: number of the row
    int64_t *piece_ptr;   // npieces + 1
    uint32_t *index;      // window rows; THAW_ALS_AHEAD more
    float *value;
    int64_t batch; // rows at a time
};

struct thaw_half {
    struct thaw_comm *c;
    struct thaw_als_config config;
    const struct thaw_plan *other;
    size_t row_bytes;
    bool stoppable;
    int64_t own_rows, rows; // rows - own_rows guests follow
    int64_t *ptr;           // rows + 1; rows solved elsewhere are empty
    uint32_t *place;        // window rows; THAW_ALS_AHEAD more
    float *value;
    int64_t *chunk_row; // nchunks + 1
    int64_t nchunks;
    struct thaw_long_row *long_row; // by row
    int64_t nlong;
    uint32_t *piece;
    struct thaw_lent *lent; // by rank, row
    int64_t nlent;
    struct thaw_guests *guests; // by rank
    int64_t nguests;
    int64_t *guest_row; // their numbers, counted over all ranks' own rows
    struct thaw_pushed pushed;
    struct thaw_exchange *exchange;
    struct thaw_half_facts facts;
};

// share.c. Collective. Sets facts.push_from, work*, lent; of m nothing changes.
int thaw_half_share(struct thaw_half *h, const struct thaw_csr *m, const struct thaw_half_options *o,
                    struct thaw_err *err);
// route.c. Collective. Moves interactions of pushed and lent rows to who solves them; m keeps what is solved
// here, guests appended.
int thaw_half_route(struct thaw_half *h, struct thaw_csr *m, struct thaw_err *err);
// chunks.c. Collective. Cuts m into chunks, plans the exchange, takes m's arrays over with window rows for
// global ones.
int thaw_half_chunks(struct thaw_half *h, struct thaw_csr *m, const struct thaw_half_options *o,
                     struct thaw_err *err);

#endif
