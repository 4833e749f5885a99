// room.c: see room.h.
#include "comm/room.h"

#include "base/mem.h"
#include "comm/handle.h"

int64_t thaw_comm_room(struct thaw_comm *c) {
    int64_t nbytes = thaw_mem_free_bytes();
    int sharing = 1;
    MPI_Comm_size(c->machine, &sharing);
    nbytes /= sharing;
    thaw_comm_min_i64(c, &nbytes, 1);
    return nbytes;
}
