// room.h: how much memory the ranks may still take, asked before what is large is allocated.
#ifndef THAW_COMM_ROOM_H
#define THAW_COMM_ROOM_H

#include "comm/world.h"

// Collective. Bytes that every rank may take: what its machine has free, shared evenly by the ranks there;
// the least of all ranks. INT64_MAX when nothing tells.
int64_t thaw_comm_room(struct thaw_comm *c);

#endif
