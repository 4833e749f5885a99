// stream.h: text of all ranks into one file, in rank order, without holding it on one rank.
#ifndef THAW_COMM_STREAM_H
#define THAW_COMM_STREAM_H

#include "base/file.h"
#include "comm/world.h"

// Collective. Rank 0 writes every rank's n bytes to `out` (its open file; NULL elsewhere), a MiB at a time.
// THAW_EIO, THAW_EMEM.
int thaw_stream(struct thaw_comm *c, const char *text, int64_t n, struct thaw_file_out *out,
                struct thaw_err *err);

#endif
