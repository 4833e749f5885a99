// half_impl.h: what half.c, share.c, route.c, chunks.c and the files of a half-sweep know of a half.
#ifndef THAW_COMM_HALF_IMPL_H
#define THAW_COMM_HALF_IMPL_H

#include "comm/half.h"
#include "comm/handle.h"

// A long row that is solved here, whoever adds up its pieces.
struct thaw_long_row {
    int64_t row, n; // of the half; interactions
    double abs;     // sum of their |r|
};

// ---- Pieces of long rows ----
// A piece is all interactions of a row with one opposite part. Rows go through their rounds in batches, and
// the pieces of a batch are visited part by part (by_part), so that the part's opposite rows are read from
// the second-level cache by all rows of the batch but the first. The exact solver is bound by flops, not by
// reads, and has large sums: it goes row by row.
struct thaw_piece {
    int64_t at;      // its first interaction
    uint32_t row, n; // number of the row, over all batches; interactions
    int32_t part;
};
struct thaw_pieces_batch {
    int64_t row, piece; // the first ones
};
struct thaw_pieces {
    bool by_part;
    struct thaw_piece *piece; // batch by batch
    int64_t n;
    struct thaw_pieces_batch *batch; // nbatches + 1
    int64_t nbatches;
    size_t piece_cap, batch_cap;
};
// pieces.c. Pieces are added by row and part; close makes a batch of the rows before `end` that are in none.
int thaw_pieces_add(struct thaw_pieces *p, struct thaw_piece piece, struct thaw_err *err);
int thaw_pieces_close(struct thaw_pieces *p, int64_t end, struct thaw_err *err);
int64_t thaw_pieces_closed(const struct thaw_pieces *p); // rows that are in a batch
int64_t thaw_pieces_nbytes(const struct thaw_pieces *p);
void thaw_pieces_clear(struct thaw_pieces *p);

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

// Pushed rows, and this rank's pieces of them. They are numbered over all ranks by owner, then row.
struct thaw_pushed {
    int64_t n;                 // rows, of all ranks
    int64_t *first;            // ranks + 1: rows owned by each
    struct thaw_long_row *own; // this rank's
    struct thaw_pieces pieces; // of n rows, in batches of at most batch_rows
    int64_t nnz;               // of the pieces
    uint32_t *index;           // window rows; THAW_ALS_AHEAD more
    float *value;
    int64_t batch_rows;
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
    struct thaw_long_row *long_row; // by row; those that are not pushed
    int64_t nlong;
    struct thaw_pieces pieces; // of theirs; no batch has rows of two chunks
    struct thaw_lent *lent;    // by rank, row
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
