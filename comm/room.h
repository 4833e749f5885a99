// room.h: how much memory the ranks may still take, asked before what is large is allocated.
#ifndef THAW_COMM_ROOM_H
#define THAW_COMM_ROOM_H

#include "comm/world.h"

// Collective. Bytes that every rank may take: what its machine has free, shared evenly by the ranks there;
// the least of all ranks. INT64_MAX when nothing tells.
int64_t thaw_comm_room(struct thaw_comm *c);

// Collective. *nbytes is what the option `name`, "memory", asks for each rank. Can they have it? The ranks of
// a machine share what it has, or what the control group they are in allows. Where it is more, `usual`, the
// option's default, becomes what a rank can have; another value is refused: THAW_EMEM with both numbers.
int thaw_comm_fit_memory(struct thaw_comm *c, const char *name, int64_t usual, int64_t *nbytes,
                         struct thaw_err *err);

#endif
