// exchange.h: encoded opposite rows on their way to the nodes that need them. Private to comm/. Not
// thread-safe.
//
// A node's ranks share one window. It begins with the node's own rows in global order; slots for rows of
// other nodes follow, each rank of the node filling its share of them. Rounds go by: round q brings the rows
// that chunk q of some rank needs first, while chunk q - 1 is being solved. Who sends what to whom is found
// once, when the plan is made; after that nothing but rows is on the wire.
//
//   keep       slots for all rows the node needs: each comes once per half-sweep
//   stream     slots for two chunks: a row comes again with each chunk that needs it
//   allgather  every row of the side, straight from where it lies: no lists of rows, no copies to send
#ifndef THAW_COMM_EXCHANGE_H
#define THAW_COMM_EXCHANGE_H

#include "comm/world.h"
#include "partition/plan.h"

enum thaw_exchange_mode { THAW_EXCHANGE_HYBRID, THAW_EXCHANGE_PULL, THAW_EXCHANGE_ALLGATHER };

// Rows of other nodes this rank needs, by number in order of first use; chunk q uses new rows
// [chunk_end[q - 1], chunk_end[q]). With stream numbers start afresh in each chunk.
struct thaw_wants {
    int64_t *row; // n global rows
    int64_t n;
    int64_t *chunk_end; // nchunks
    int64_t nchunks;
    bool stream; // the same on all ranks
};

struct thaw_exchange;
// Collective. place[n] becomes each number's row of the window. budget_bytes: of slots and messages of a
// rank; it decides whether an allgather is allowed (hybrid takes it when it moves no more rows: it saves
// lists and copies). THAW_EMEM; THAW_EUSAGE: allgather does not fit; more than 2^32 rows at a node.
int thaw_exchange_new(struct thaw_exchange **e, struct thaw_comm *c, const struct thaw_plan *plan,
                      size_t row_bytes, const struct thaw_wants *wants, enum thaw_exchange_mode mode,
                      int64_t budget_bytes, uint32_t *place, struct thaw_err *err);
void thaw_exchange_free(struct thaw_exchange **e);

int64_t thaw_exchange_rounds(const struct thaw_exchange *e);      // the same on all ranks
int64_t thaw_exchange_window_rows(const struct thaw_exchange *e); // the same on all ranks of a node
int64_t thaw_exchange_nbytes(const struct thaw_exchange *e);      // lists and send buffers
bool thaw_exchange_gathers_all(const struct thaw_exchange *e);
// Rows of other nodes that all ranks receive in a half-sweep.
int64_t thaw_exchange_rows_moved(const struct thaw_exchange *e);

struct thaw_traffic {
    int64_t sent_bytes, received_bytes, messages; // to and from other ranks; messages sent
};
// Local. Begin round q (0, 1, ...; not before all the node's ranks have solved chunk q - 2), its rows being
// in the window; poke it now and then; wait for its rows.
void thaw_exchange_start(struct thaw_exchange *e, int64_t round, char *window, struct thaw_traffic *t);
void thaw_exchange_poke(struct thaw_exchange *e);
void thaw_exchange_wait(struct thaw_exchange *e, int64_t round);

#endif
