// wire.c: point-to-point transfers of any length.
#include "comm/handle.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>

int64_t thaw_comm_count_max(void) {
    static int64_t most;
    if (most == 0) {
        const char *text = getenv("THAW_MPI_COUNT_MAX");
        long long v = text ? atoll(text) : 0;
        most = v > 0 && v < (1LL << 30) ? v : 1LL << 30;
    }
    return most;
}

size_t thaw_wire_pieces(int64_t nbytes) {
    int64_t most = thaw_comm_count_max();
    return (size_t)((nbytes + most - 1) / most);
}

int thaw_wire_reserve(struct thaw_wire *w, size_t npieces, struct thaw_err *err) {
    return thaw_grow(&w->request, &w->cap, npieces, sizeof *w->request, "message requests", err);
}

void thaw_wire_send(struct thaw_wire *w, const struct thaw_comm *c, const void *bytes, int64_t nbytes, int to,
                    int tag) {
    int64_t most = thaw_comm_count_max();
    for (int64_t at = 0; at < nbytes; at += most) {
        int64_t n = nbytes - at < most ? nbytes - at : most;
        MPI_Isend((const char *)bytes + at, (int)n, MPI_BYTE, to, tag, c->all, &w->request[w->n++]);
    }
}

void thaw_wire_recv(struct thaw_wire *w, const struct thaw_comm *c, void *bytes, int64_t nbytes, int from,
                    int tag) {
    int64_t most = thaw_comm_count_max();
    for (int64_t at = 0; at < nbytes; at += most) {
        int64_t n = nbytes - at < most ? nbytes - at : most;
        MPI_Irecv((char *)bytes + at, (int)n, MPI_BYTE, from, tag, c->all, &w->request[w->n++]);
    }
}

void thaw_wire_wait(struct thaw_wire *w) {
    for (size_t at = 0; at < w->n;) {
        size_t n = w->n - at < INT_MAX ? w->n - at : INT_MAX;
        MPI_Waitall((int)n, w->request + at, MPI_STATUSES_IGNORE);
        at += n;
    }
    w->n = 0;
}

void thaw_wire_free(struct thaw_wire *w) {
    free(w->request);
    *w = (struct thaw_wire){0};
}
