// window.c: an MPI shared window, or plain memory for a rank that is alone on its node.
#include "comm/window.h"

#include "base/mem.h"
#include "comm/handle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { LARGE_PAGE = 2 << 20 };

struct thaw_window {
    struct thaw_comm *c;
    MPI_Win win; // MPI_WIN_NULL: memory of our own
    void *own, *bytes;
};

// Rows are gathered from everywhere: small pages would miss the TLB each time.
static int own_memory(struct thaw_window *w, int64_t nbytes, struct thaw_err *err) {
    const size_t size = ((size_t)nbytes / LARGE_PAGE + 1) * LARGE_PAGE;
    if (posix_memalign(&w->own, LARGE_PAGE, size))
        return thaw_fail(err, THAW_EMEM, "cannot allocate %" PRId64 " bytes for vectors at hand", nbytes);
    madvise(w->own, size, MADV_HUGEPAGE);
    w->bytes = w->own;
    return THAW_OK;
}

// The node's first rank brings all the memory; the others look at it.
static int shared_memory(struct thaw_window *w, int64_t nbytes, struct thaw_err *err) {
    MPI_Aint size;
    int unit;
    MPI_Errhandler old;
    MPI_Comm_get_errhandler(w->c->node, &old);
    MPI_Comm_set_errhandler(w->c->node, MPI_ERRORS_RETURN);
    const int failed = MPI_Win_allocate_shared(w->c->node_rank ? 0 : (MPI_Aint)(nbytes + 64), 1,
                                               MPI_INFO_NULL, w->c->node, &w->own, &w->win);
    MPI_Comm_set_errhandler(w->c->node, old);
    MPI_Errhandler_free(&old);
    if (failed) {
        w->win = MPI_WIN_NULL;
        w->own = NULL;
        return thaw_fail(err, THAW_EMEM,
                         "no %" PRId64
                         " bytes of memory to share between the ranks of this node: make room in "
                         "/dev/shm, or start fewer ranks on a node",
                         nbytes);
    }
    void *base;
    MPI_Win_shared_query(w->win, 0, &size, &unit, &base);
    w->own = NULL;
    w->bytes =
        (void *)(((uintptr_t)base + 63) / 64 * 64); // pages are mapped at other addresses, alike mod 64
    MPI_Win_lock_all(MPI_MODE_NOCHECK, w->win);
    return THAW_OK;
}

int thaw_window_new(struct thaw_window **out, struct thaw_comm *c, int64_t nbytes, struct thaw_err *err) {
    struct thaw_window *w = NULL;
    int code = thaw_comm_agree(c, thaw_alloc(&w, 1, sizeof *w, "shared memory", err), err);
    if (code) {
        free(w);
        return code;
    }
    w->c = c;
    w->win = MPI_WIN_NULL;
    code = c->node_size > 1 ? shared_memory(w, nbytes, err) : own_memory(w, nbytes, err);
    if ((code = thaw_comm_agree(c, code, err)))
        thaw_window_free(&w);
    else
        *out = w;
    return code;
}

void thaw_window_free(struct thaw_window **w) {
    if (!*w) return;
    if ((*w)->win != MPI_WIN_NULL) {
        MPI_Win_unlock_all((*w)->win);
        MPI_Win_free(&(*w)->win);
    }
    free((*w)->own);
    free(*w);
    *w = NULL;
}

void *thaw_window_bytes(const struct thaw_window *w) {
    return w->bytes;
}

void thaw_window_sync(struct thaw_window *w) {
    if (w->win == MPI_WIN_NULL) return;
    MPI_Win_sync(w->win);
    MPI_Barrier(w->c->node);
    MPI_Win_sync(w->win);
}

void thaw_window_fence(struct thaw_window *w) {
    if (w->win != MPI_WIN_NULL) MPI_Win_sync(w->win);
}
