// stream.c: see stream.h.
#include "comm/stream.h"

#include "base/mem.h"
#include "comm/handle.h"

#include <stdlib.h>

enum { PIECE = 1 << 20, TAG = 11 };

static void give(struct thaw_comm *c, const char *text, int64_t n) {
    const int64_t most = thaw_comm_count_max() < PIECE ? thaw_comm_count_max() : PIECE;
    for (int64_t at = 0; at < n; at += most)
        MPI_Send(text + at, (int)(n - at < most ? n - at : most), MPI_BYTE, 0, TAG, c->all);
}

// All pieces are received, whatever becomes of writing them.
static int take(struct thaw_comm *c, int from, int64_t n, char *piece, struct thaw_file_out *out, int code,
                struct thaw_err *err) {
    const int64_t most = thaw_comm_count_max() < PIECE ? thaw_comm_count_max() : PIECE;
    for (int64_t at = 0; at < n; at += most) {
        const int64_t m = n - at < most ? n - at : most;
        MPI_Recv(piece, (int)m, MPI_BYTE, from, TAG, c->all, MPI_STATUS_IGNORE);
        if (!code) code = thaw_file_write(out, piece, (size_t)m, err);
    }
    return code;
}

int thaw_stream(struct thaw_comm *c, const char *text, int64_t n, struct thaw_file_out *out,
                struct thaw_err *err) {
    int64_t *length = NULL;
    char *piece = NULL;
    int code = thaw_alloc(&length, (size_t)c->size, sizeof *length, "the lengths of texts", err);
    if (!code && c->rank == 0) code = thaw_alloc(&piece, PIECE, 1, "a piece of text", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_allgather_i64(c, &n, 1, length);
    if (c->rank == 0) {
        code = thaw_file_write(out, text, (size_t)n, err);
        for (int r = 1; r < c->size; r++) code = take(c, r, length[r], piece, out, code, err);
    } else {
        give(c, text, n);
    }
    code = thaw_comm_agree(c, code, err);
done:
    free(length);
    free(piece);
    return code;
}
