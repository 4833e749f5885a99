// ask.h: look up numbers by hash where the hashes' owners keep them: item degrees, and row numbers.
#ifndef THAW_COMM_ASK_H
#define THAW_COMM_ASK_H

#include "comm/world.h"

struct thaw_ask;

// The owner's answer to a hash of its own.
typedef int64_t thaw_ask_lookup(void *user, uint64_t hash);

// Collective. owner[nparts]: the rank that owns each part, rising. Buffers stay under about budget_bytes.
// Borrows owner and user. THAW_EMEM.
int thaw_ask_new(struct thaw_ask **a, struct thaw_comm *c, const int32_t *owner, int32_t nparts,
                 int64_t budget_bytes, thaw_ask_lookup *lookup, void *user, struct thaw_err *err);
// Collective. hash[n] (distinct; n may differ and be 0) is put into the order of owners, and answer[i]
// becomes the owner's answer to hash[i]. Bounded messages. THAW_EMEM.
int thaw_ask(struct thaw_ask *a, uint64_t *hash, int64_t n, int64_t *answer, struct thaw_err *err);
void thaw_ask_free(struct thaw_ask **a);

#endif
