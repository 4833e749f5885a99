// window.h: memory that the ranks of a node share: what one writes, all can read, and the node holds it once.
#ifndef THAW_COMM_WINDOW_H
#define THAW_COMM_WINDOW_H

#include "comm/world.h"

struct thaw_window;

// Collective. nbytes: size of the node's memory, the same on all its ranks. 64-byte aligned, not zeroed. A
// rank alone on its node gets memory of its own, in large pages where the system has them. THAW_EMEM.
int thaw_window_new(struct thaw_window **w, struct thaw_comm *c, int64_t nbytes, struct thaw_err *err);
void thaw_window_free(struct thaw_window **w); // collective
void *thaw_window_bytes(const struct thaw_window *w);
// Collective over the node: what was written before is seen by all after.
void thaw_window_sync(struct thaw_window *w);
// Local. Before a message is sent and after it has come: what its sender wrote before is seen by its
// receiver.
void thaw_window_fence(struct thaw_window *w);

#endif
