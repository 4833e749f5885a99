// topk.h: the k best of a stream of (score, row): larger score first, smaller row among equals; NaN scores
// are never taken. Local; one thread. O(log k) per accepted, O(1) per rejected candidate.
#ifndef THAW_DENSE_TOPK_H
#define THAW_DENSE_TOPK_H

#include <stdint.h>

struct thaw_scored {
    double score;
    int64_t row;
};
struct thaw_topk {
    struct thaw_scored *best; // caller's memory, `cap` entries
    int cap, n;
};

static inline int thaw_scored_before(struct thaw_scored a, struct thaw_scored b) {
    return a.score > b.score || (a.score == b.score && a.row < b.row);
}
void thaw_topk_begin(struct thaw_topk *t, struct thaw_scored *memory, int cap);
void thaw_topk_push(struct thaw_topk *t, double score, int64_t row);
void thaw_topk_end(struct thaw_topk *t); // sorts best[0..n), best first

// Would a candidate with this score possibly be taken? The quick test for a hot loop.
static inline int thaw_topk_wants(const struct thaw_topk *t, double score) {
    return t->n < t->cap || (t->cap > 0 && score >= t->best[0].score);
}

#endif
