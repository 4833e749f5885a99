// blocks.h: the layout of a rank's interactions; private to blocks.c and sweep.c.
#ifndef THAW_COMM_BLOCKS_H
#define THAW_COMM_BLOCKS_H

#include "comm/sweep.h"

// Consecutive rows and the opposite rows they need: nlist entries of the list from `list`, each an offset
// from `base` in 32 bits; where the offsets do not fit, nlist high words follow (`wide`).
struct thaw_block {
    int64_t row, nrows;
    int64_t base, list, nlist;
    bool wide;
    bool is_long; // one row, solved in pieces of max_rows opposite rows
};

struct thaw_blocks {
    int64_t max_rows;
    int64_t nrows, nnz, nblocks, nlist;
    int64_t most_rows;   // opposite rows that any block or piece needs
    int64_t most_of_row; // interactions of any row or piece
    int64_t *ptr;        // nrows + 1
    uint32_t *place;     // nnz: in the block's list; of a long row in its piece
    float *value;        // nnz
    uint32_t *list;      // nlist
    struct thaw_block *block;
    size_t ptr_cap, place_cap, value_cap, list_cap, block_cap;
    struct thaw_distinct *distinct; // of the open block, while rows are added
    int64_t open_row;               // first row of the open block
};

// Global row of a list entry.
static inline int64_t thaw_block_row(const struct thaw_blocks *b, const struct thaw_block *k, int64_t at) {
    const int64_t low = b->list[k->list + at];
    return k->base + low + (k->wide ? (int64_t)b->list[k->list + k->nlist + at] << 32 : 0);
}
static inline int64_t thaw_block_pieces(const struct thaw_blocks *b, const struct thaw_block *k) {
    return k->is_long ? (k->nlist + b->max_rows - 1) / b->max_rows : 1;
}

#endif
