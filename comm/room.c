// room.c: see room.h.
#include "comm/room.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/handle.h"

#include <inttypes.h>

int64_t thaw_comm_room(struct thaw_comm *c) {
    int64_t nbytes = thaw_mem_free_bytes();
    int sharing = 1;
    MPI_Comm_size(c->machine, &sharing);
    nbytes /= sharing;
    thaw_comm_min_i64(c, &nbytes, 1);
    return nbytes;
}

// Local. `asked` is more than this rank can have.
static int refuse(const struct thaw_comm *c, const char *name, int64_t asked, int sharing, int64_t share,
                  const struct thaw_mem_limit *l, struct thaw_err *err) {
    char want[16], have[16];
    thaw_human_bytes(want, asked);
    if (l->process < asked)
        return thaw_fail(err, THAW_EMEM,
                         "--%s asks for %s, and this rank may have %s of address space (ulimit -v): give at "
                         "most --%s %" PRId64 "M",
                         name, want, thaw_human_bytes(have, l->process), name, share >> 20);
    return thaw_fail(err, THAW_EMEM,
                     "--%s asks for %s for each of %d rank%s on %s, %s %s in all: give at most --%s %" PRId64
                     "M",
                     name, want, sharing, sharing == 1 ? "" : "s", c->host,
                     l->group ? "whose control group allows" : "which has", thaw_human_bytes(have, l->shared),
                     name, share >> 20);
}

int thaw_comm_fit_memory(struct thaw_comm *c, const char *name, int64_t usual, int64_t *nbytes,
                         struct thaw_err *err) {
    const struct thaw_mem_limit l = thaw_mem_limits();
    int sharing = 1, code = THAW_OK;
    MPI_Comm_size(c->machine, &sharing);
    int64_t share = l.shared / sharing;
    if (share > l.process) share = l.process;
    if (*nbytes > share && *nbytes != usual) code = refuse(c, name, *nbytes, sharing, share, &l, err);
    if ((code = thaw_comm_agree(c, code, err))) return code;
    thaw_comm_min_i64(c, &share, 1);
    if (*nbytes > share) *nbytes = share;
    return THAW_OK;
}
