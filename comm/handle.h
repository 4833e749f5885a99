// handle.h: what the files of comm/ know about struct thaw_comm, and transfers cut to the largest MPI count.
// Private to comm/. Not thread-safe.
#ifndef THAW_COMM_HANDLE_H
#define THAW_COMM_HANDLE_H

#include "comm/world.h"

#include <mpi.h>

struct thaw_watch;

enum { THAW_HOST_MAX = 64 };

struct thaw_comm {
    MPI_Comm all;     // every rank of the job, the ranks of a node one after the other
    MPI_Comm machine; // the ranks that share memory
    MPI_Comm node;    // the ranks of this node: the same, or fewer (THAW_NODE_RANKS)
    int rank, size;
    int node_rank, node_size;
    int nnodes;
    int *node_first; // nnodes + 1: first rank of each node
    int node_number; // of this rank's
    char host[THAW_HOST_MAX];
    char mpi_version[128];
    struct thaw_watch *watch; // NULL: none
    int fault;                // what base/fault.h had for the phase entered last
};

// Requests in flight. Reserve room before an agreement, so that posting cannot fail after it.
struct thaw_wire {
    MPI_Request *request;
    size_t n, cap;
};

// Local. Number of messages a transfer of nbytes is cut into.
size_t thaw_wire_pieces(int64_t nbytes);
int thaw_wire_reserve(struct thaw_wire *w, size_t npieces, struct thaw_err *err);
// Local. Post a transfer in pieces; both ends must name the same nbytes. Needs thaw_wire_pieces(nbytes)
// reserved places.
void thaw_wire_send(struct thaw_wire *w, const struct thaw_comm *c, const void *bytes, int64_t nbytes, int to,
                    int tag);
void thaw_wire_recv(struct thaw_wire *w, const struct thaw_comm *c, void *bytes, int64_t nbytes, int from,
                    int tag);
// Local. Wait for all that was posted.
void thaw_wire_wait(struct thaw_wire *w);
void thaw_wire_free(struct thaw_wire *w);

#endif
