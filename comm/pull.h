// pull.h: fetch rows of a table whose rows are spread over ranks: the factor exchange, and the look-up of row
// numbers.
#ifndef THAW_COMM_PULL_H
#define THAW_COMM_PULL_H

#include "comm/world.h"

// Collective. rank_row[size + 1]: rank r owns global rows [rank_row[r], rank_row[r+1]); owned: this rank's
// rows, row_bytes each. wanted[nwanted] (0 allowed; any order, repeats allowed; rising order is fastest):
// out[i] becomes row wanted[i] (nwanted x row_bytes). Messages are cut so that this rank's send and receive
// buffers stay under about budget_bytes in all, whatever is asked of it (an order of 8 bytes per wanted row
// comes on top when wanted does not rise). Own rows are copied without a message. THAW_EMEM; THAW_EBUG when a
// row is out of range. *received (may be NULL) grows by the bytes of rows that came from other ranks.
int thaw_pull(struct thaw_comm *c, const int64_t *rank_row, const void *owned, size_t row_bytes,
              const int64_t *wanted, int64_t nwanted, void *out, int64_t budget_bytes, int64_t *received,
              struct thaw_err *err);

#endif
