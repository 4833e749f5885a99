// shuffle.c: see shuffle.h. A round exchanges byte counts, then the bytes themselves in pieces, straight
// between pairs.
#include "comm/shuffle.h"

#include "base/mem.h"
#include "comm/handle.h"

#include <stdlib.h>
#include <string.h>

enum { TAG = 11, SELF_BYTES = 1 << 20, SPARE = 1024 };

struct outbox {
    char *bytes;
    size_t used, cap;
};

struct thaw_shuffle {
    struct thaw_comm *comm;
    thaw_shuffle_deliver *deliver;
    void *user;
    struct outbox *box; // one per destination
    int64_t *out, *in;  // bytes to and from each rank in the current round
    char *received;     // what other ranks sent, in rank order
    size_t received_cap;
    struct thaw_wire wire;
    size_t most; // a box with this much is full
    bool full;
    int code; // of a put that found no memory
    struct thaw_err err;
    int64_t sent;
};

int thaw_shuffle_new(struct thaw_shuffle **out, struct thaw_comm *c, int64_t budget_bytes,
                     thaw_shuffle_deliver *deliver, void *user, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    size_t size = (size_t)c->size;
    int code = thaw_alloc(&s, 1, sizeof *s, "a shuffle", err);
    if (!code) code = thaw_alloc(&s->box, size, sizeof *s->box, "a shuffle's boxes", err);
    if (!code) code = thaw_alloc(&s->out, size, sizeof *s->out, "a shuffle's counts", err);
    if (!code) code = thaw_alloc(&s->in, size, sizeof *s->in, "a shuffle's counts", err);
    if ((code = thaw_comm_agree(c, code, err))) {
        thaw_shuffle_free(&s);
        return code;
    }
    int64_t others = c->size > 1 ? c->size - 1 : 1, most = budget_bytes / others;
    if (c->size == 1 && most > SELF_BYTES)
        most = SELF_BYTES; // rounds cost nothing then, and it stays in cache
    s->most = most > 1 ? (size_t)most : 1;
    s->comm = c;
    s->deliver = deliver;
    s->user = user;
    s->err = THAW_ERR_INIT;
    *out = s;
    return THAW_OK;
}

void thaw_shuffle_put(struct thaw_shuffle *s, int dest, const void *record, size_t n) {
    struct outbox *b = &s->box[dest];
    if (b->used + n > b->cap && !s->code) {
        size_t want = b->used + n > s->most + SPARE ? b->used + n : s->most + SPARE;
        s->code = thaw_grow(&b->bytes, &b->cap, want, 1, "records to send", &s->err);
    }
    if (s->code) {
        s->full = true; // the next round reports it
        return;
    }
    if (n == 29) // an event; a copy of a known size is a few instructions
        memcpy(b->bytes + b->used, record, 29);
    else
        memcpy(b->bytes + b->used, record, n);
    b->used += n;
    if (b->used >= s->most) s->full = true;
}

bool thaw_shuffle_full(const struct thaw_shuffle *s) {
    return s->full;
}

// Who sends how much to whom; room for what comes in.
static int plan_round(struct thaw_shuffle *s, struct thaw_err *err) {
    struct thaw_comm *c = s->comm;
    int64_t incoming = 0;
    size_t pieces = 0;
    for (int r = 0; r < c->size; r++) s->out[r] = (int64_t)s->box[r].used;
    MPI_Alltoall(s->out, 1, MPI_INT64_T, s->in, 1, MPI_INT64_T, c->all);
    for (int r = 0; r < c->size; r++) {
        if (r == c->rank) continue;
        incoming += s->in[r];
        pieces += thaw_wire_pieces(s->in[r]) + thaw_wire_pieces(s->out[r]);
    }
    int code = thaw_grow(&s->received, &s->received_cap, (size_t)incoming, 1, "records received", err);
    if (!code) code = thaw_wire_reserve(&s->wire, pieces, err);
    return code;
}

static void exchange(struct thaw_shuffle *s) {
    struct thaw_comm *c = s->comm;
    int64_t at = 0;
    for (int r = 0; r < c->size; r++) {
        if (r == c->rank) continue;
        thaw_wire_recv(&s->wire, c, s->received + at, s->in[r], r, TAG);
        at += s->in[r];
    }
    for (int step = 1; step < c->size; step++) { // everybody starts at another neighbour
        int to = (c->rank + step) % c->size;
        thaw_wire_send(&s->wire, c, s->box[to].bytes, s->out[to], to, TAG);
        s->sent += s->out[to];
    }
    thaw_wire_wait(&s->wire);
}

static int deliver_all(struct thaw_shuffle *s, struct thaw_err *err) {
    int code = THAW_OK;
    int64_t at = 0;
    for (int r = 0; r < s->comm->size && !code; r++) {
        bool self = r == s->comm->rank;
        size_t n = self ? s->box[r].used : (size_t)s->in[r];
        const char *bytes = self ? s->box[r].bytes : s->received + at;
        if (!self) at += s->in[r];
        if (n > 0) code = s->deliver(s->user, r, bytes, n, err);
    }
    return code;
}

int thaw_shuffle_round(struct thaw_shuffle *s, bool finished, bool *done, int code, struct thaw_err *err) {
    struct thaw_comm *c = s->comm;
    int64_t all_finished = finished;
    *done = false;
    if (!code && s->code) {
        if (err) *err = s->err;
        code = s->code;
    }
    if (c->size > 1) {
        int planned = plan_round(s, err);
        code = thaw_comm_agree(c, code ? code : planned, err);
        if (!code) exchange(s);
    }
    if (!code) code = deliver_all(s, err);
    code = thaw_comm_agree(c, code, err);
    if (!code) thaw_comm_min_i64(c, &all_finished, 1);
    thaw_shuffle_drop(s);
    if (!code) *done = all_finished != 0;
    return code;
}

void thaw_shuffle_drop(struct thaw_shuffle *s) {
    for (int r = 0; r < s->comm->size; r++) s->box[r].used = 0;
    s->full = false;
}

int64_t thaw_shuffle_sent(const struct thaw_shuffle *s) {
    return s->sent;
}

void thaw_shuffle_free(struct thaw_shuffle **out) {
    struct thaw_shuffle *s = *out;
    if (!s) return;
    for (int r = 0; s->box && s->comm && r < s->comm->size; r++) free(s->box[r].bytes);
    thaw_wire_free(&s->wire);
    free(s->received);
    free(s->box);
    free(s->out);
    free(s->in);
    free(s);
    *out = NULL;
}
