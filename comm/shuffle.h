// shuffle.h: many-to-many streams of records in bounded memory. Every rank puts records for any rank; rounds
// move them.
//
// Bulk-synchronous: ranks produce until their send space is full or they have nothing left, then all take
// part in a round.
//
//     while (!done) {
//         while (more && !thaw_shuffle_full(s)) more = produce one batch, thaw_shuffle_put(...)
//         code = thaw_shuffle_round(s, !more, &done, code, err);
//     }
//
// Memory: at most 2 x (budget + 1 KiB per rank), plus what was put beyond "full" and what a rank puts for
// itself. Records arrive grouped by source rank, in rising order, and in the order put by that source;
// deliver is called inside the round, on the receiving rank. One rank alone costs a copy: no message, and its
// space is small enough to stay in cache. Collective: new, round, free. Not thread-safe.
#ifndef THAW_COMM_SHUFFLE_H
#define THAW_COMM_SHUFFLE_H

#include "comm/world.h"

struct thaw_shuffle;

// deliver: gets whole records, concatenated as put (n bytes from one source). Returns a code; a failure on
// any rank is agreed at the end of the round.
typedef int thaw_shuffle_deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err);

int thaw_shuffle_new(struct thaw_shuffle **s, struct thaw_comm *c, int64_t budget_bytes,
                     thaw_shuffle_deliver *deliver, void *user, struct thaw_err *err);
// Local. Append a record for rank dest, of any length; more than one record after "full" is fine too, and
// costs memory. A failure to find that memory is reported by the next round.
void thaw_shuffle_put(struct thaw_shuffle *s, int dest, const void *record, size_t n);
// Local. Is any destination's space used up, so that a round is due?
bool thaw_shuffle_full(const struct thaw_shuffle *s);
// Collective. Move everything put so far. `finished` is this rank's word that it will put no more; *done is
// set when all said so. `code`: this rank's own state so far: a failure (with err filled) is agreed here, so
// producers fail through the round.
int thaw_shuffle_round(struct thaw_shuffle *s, bool finished, bool *done, int code, struct thaw_err *err);
// Local. Forget what was put since the last round.
void thaw_shuffle_drop(struct thaw_shuffle *s);
// Bytes sent to other ranks so far by this rank.
int64_t thaw_shuffle_sent(const struct thaw_shuffle *s);
void thaw_shuffle_free(struct thaw_shuffle **s);

#endif
