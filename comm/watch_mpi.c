// watch_mpi.c: MPI's calls that wait for other ranks, marked while they wait.
//
// A program that defines MPI_X has its own called instead of the library's, by itself and by BLACS and
// ScaLAPACK alike; the library's is PMPI_X (MPI 3.1, 14.2). Calls that only look or start something do not
// wait: they need no mark, and neither does the MPI_Testall that moves messages between two rows.
#include "comm/watch.h"

#include <mpi.h>

#define WAITS(name, parameters, arguments)                                                                   \
    int MPI_##name parameters {                                                                              \
        const uint64_t before = thaw_wait_begin();                                                           \
        const int code = PMPI_##name arguments;                                                              \
        thaw_wait_end(before);                                                                               \
        return code;                                                                                         \
    }

#define IN  const void *in, int nin, MPI_Datatype tin
#define OUT void *out, int nout, MPI_Datatype tout

// ---- All ranks of a communicator ----

WAITS(Barrier, (MPI_Comm c), (c))
WAITS(Bcast, (void *x, int n, MPI_Datatype t, int root, MPI_Comm c), (x, n, t, root, c))
WAITS(Allreduce, (const void *in, void *out, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
      (in, out, n, t, op, c))
WAITS(Reduce, (const void *in, void *out, int n, MPI_Datatype t, MPI_Op op, int root, MPI_Comm c),
      (in, out, n, t, op, root, c))
WAITS(Reduce_scatter, (const void *in, void *out, const int n[], MPI_Datatype t, MPI_Op op, MPI_Comm c),
      (in, out, n, t, op, c))
WAITS(Exscan, (const void *in, void *out, int n, MPI_Datatype t, MPI_Op op, MPI_Comm c),
      (in, out, n, t, op, c))
WAITS(Allgather, (IN, OUT, MPI_Comm c), (in, nin, tin, out, nout, tout, c))
WAITS(Allgatherv, (IN, void *out, const int nout[], const int at[], MPI_Datatype tout, MPI_Comm c),
      (in, nin, tin, out, nout, at, tout, c))
WAITS(Gather, (IN, OUT, int root, MPI_Comm c), (in, nin, tin, out, nout, tout, root, c))
WAITS(Gatherv, (IN, void *out, const int nout[], const int at[], MPI_Datatype tout, int root, MPI_Comm c),
      (in, nin, tin, out, nout, at, tout, root, c))
WAITS(Scatter, (IN, OUT, int root, MPI_Comm c), (in, nin, tin, out, nout, tout, root, c))
WAITS(Scatterv,
      (const void *in, const int nin[], const int at[], MPI_Datatype tin, OUT, int root, MPI_Comm c),
      (in, nin, at, tin, out, nout, tout, root, c))
WAITS(Alltoall, (IN, OUT, MPI_Comm c), (in, nin, tin, out, nout, tout, c))
WAITS(Alltoallv,
      (const void *in, const int nin[], const int from[], MPI_Datatype tin, void *out, const int nout[],
       const int to[], MPI_Datatype tout, MPI_Comm c),
      (in, nin, from, tin, out, nout, to, tout, c))

// ---- Communicators, windows, the end ----

WAITS(Comm_create, (MPI_Comm c, MPI_Group group, MPI_Comm *out), (c, group, out))
WAITS(Comm_dup, (MPI_Comm c, MPI_Comm *out), (c, out))
WAITS(Comm_split, (MPI_Comm c, int color, int key, MPI_Comm *out), (c, color, key, out))
WAITS(Comm_split_type, (MPI_Comm c, int type, int key, MPI_Info info, MPI_Comm *out),
      (c, type, key, info, out))
WAITS(Comm_free, (MPI_Comm * c), (c))
WAITS(Win_allocate_shared, (MPI_Aint n, int unit, MPI_Info info, MPI_Comm c, void *base, MPI_Win *out),
      (n, unit, info, c, base, out))
WAITS(Win_lock_all, (int assert, MPI_Win w), (assert, w))
WAITS(Win_unlock_all, (MPI_Win w), (w))
WAITS(Win_free, (MPI_Win * w), (w))
WAITS(Finalize, (void), ())

// ---- One other rank ----

WAITS(Send, (const void *x, int n, MPI_Datatype t, int to, int tag, MPI_Comm c), (x, n, t, to, tag, c))
WAITS(Ssend, (const void *x, int n, MPI_Datatype t, int to, int tag, MPI_Comm c), (x, n, t, to, tag, c))
WAITS(Rsend, (const void *x, int n, MPI_Datatype t, int to, int tag, MPI_Comm c), (x, n, t, to, tag, c))
WAITS(Recv, (void *x, int n, MPI_Datatype t, int from, int tag, MPI_Comm c, MPI_Status *s),
      (x, n, t, from, tag, c, s))
WAITS(Sendrecv, (IN, int to, int tag_to, OUT, int from, int tag_from, MPI_Comm c, MPI_Status *s),
      (in, nin, tin, to, tag_to, out, nout, tout, from, tag_from, c, s))
WAITS(Probe, (int from, int tag, MPI_Comm c, MPI_Status *s), (from, tag, c, s))
WAITS(Wait, (MPI_Request * r, MPI_Status *s), (r, s))
WAITS(Waitall, (int n, MPI_Request r[], MPI_Status s[]), (n, r, s))
WAITS(Waitany, (int n, MPI_Request r[], int *index, MPI_Status *s), (n, r, index, s))
WAITS(Waitsome, (int n, MPI_Request r[], int *done, int index[], MPI_Status s[]), (n, r, done, index, s))
