// pieces.c: see half_impl.h, "Pieces of long rows".
#include "comm/half_impl.h"

#include "base/mem.h"

#include <stdlib.h>

int thaw_pieces_add(struct thaw_pieces *p, struct thaw_piece piece, struct thaw_err *err) {
    const int code =
        thaw_grow(&p->piece, &p->piece_cap, (size_t)p->n + 1, sizeof *p->piece, "pieces of long rows", err);
    if (!code) p->piece[p->n++] = piece;
    return code;
}

static int by_part_and_row(const void *a, const void *b) {
    const struct thaw_piece *x = a, *y = b;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

int thaw_pieces_close(struct thaw_pieces *p, int64_t end, struct thaw_err *err) {
    const size_t n = (size_t)p->nbatches;
    const int code =
        thaw_grow(&p->batch, &p->batch_cap, n + 2, sizeof *p->batch, "batches of long rows", err);
    if (code) return code;
    if (n == 0) p->batch[0] = (struct thaw_pieces_batch){0, 0};
    const int64_t first = p->batch[n].piece;
    if (p->by_part && p->n > first)
        qsort(p->piece + first, (size_t)(p->n - first), sizeof *p->piece, by_part_and_row);
    p->batch[n + 1] = (struct thaw_pieces_batch){end, p->n};
    p->nbatches++;
    return THAW_OK;
}

int64_t thaw_pieces_closed(const struct thaw_pieces *p) {
    return p->nbatches ? p->batch[p->nbatches].row : 0;
}

int64_t thaw_pieces_nbytes(const struct thaw_pieces *p) {
    return (int64_t)sizeof *p->piece * p->n + (int64_t)sizeof *p->batch * (p->nbatches + 1);
}

void thaw_pieces_clear(struct thaw_pieces *p) {
    free(p->piece);
    free(p->batch);
    *p = (struct thaw_pieces){0};
}
