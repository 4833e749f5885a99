// topk.c: a heap whose top is the worst of the best.
#include "dense/topk.h"

#include <stdlib.h>

void thaw_topk_begin(struct thaw_topk *t, struct thaw_scored *memory, int cap) {
    *t = (struct thaw_topk){.best = memory, .cap = cap};
}

// Sink the entry at `at` below all that come after it.
static void sink(struct thaw_scored *heap, int n, int at) {
    struct thaw_scored moved = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && thaw_scored_before(heap[child], heap[child + 1])) child++;
        if (!thaw_scored_before(moved, heap[child])) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void rise(struct thaw_scored *heap, int at) {
    struct thaw_scored moved = heap[at];
    for (; at > 0 && thaw_scored_before(heap[(at - 1) / 2], moved); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = moved;
}

void thaw_topk_push(struct thaw_topk *t, double score, int64_t row) {
    struct thaw_scored candidate = {score, row};
    if (score != score || t->cap <= 0) return;
    if (t->n < t->cap) {
        t->best[t->n] = candidate;
        rise(t->best, t->n++);
    } else if (thaw_scored_before(candidate, t->best[0])) {
        t->best[0] = candidate;
        sink(t->best, t->n, 0);
    }
}

static int compare(const void *a, const void *b) {
    const struct thaw_scored *left = a, *right = b;
    return thaw_scored_before(*right, *left) - thaw_scored_before(*left, *right);
}

void thaw_topk_end(struct thaw_topk *t) {
    if (t->n > 1) qsort(t->best, (size_t)t->n, sizeof *t->best, compare);
}
