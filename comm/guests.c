// guests.c: vectors of lent rows, to the rank that solves them and back.
#include "comm/sweep_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_THERE = 41, TAG_BACK = 42, TAG_LOSS = 43 };

// Messages with everyone who solves our rows (lent) and whose rows we solve (guests), each n values of `size`
// bytes a row; there: lent -> guests, or back.
static int exchange(struct thaw_sweeping *w, void *lent, void *guest, size_t size, bool there, int tag,
                    struct thaw_err *err) {
    const struct thaw_half *h = w->h;
    struct thaw_wire wire = {0};
    struct thaw_traffic *t = &w->stats->traffic;
    size_t pieces = 0;
    for (int64_t i = 0; i < h->nguests; i++) pieces += thaw_wire_pieces(h->guests[i].n * (int64_t)size);
    for (int64_t i = 0, n = 0; i < h->nlent; i += n, pieces += thaw_wire_pieces(n * (int64_t)size))
        for (n = 1; i + n < h->nlent && h->lent[i + n].to == h->lent[i].to;) n++;
    int code = thaw_comm_agree(w->c, thaw_wire_reserve(&wire, pieces, err), err);
    if (code) return code;
    for (int pass = 0; pass < 2; pass++) { // receives first
        char *at = guest;
        for (int64_t i = 0; i < h->nguests; i++) {
            const int64_t n = h->guests[i].n * (int64_t)size;
            if (pass == 0 && there) thaw_wire_recv(&wire, w->c, at, n, h->guests[i].from, tag);
            if (pass == 1 && !there) thaw_wire_send(&wire, w->c, at, n, h->guests[i].from, tag);
            *(there ? &t->received_bytes : &t->sent_bytes) += pass ? n : 0;
            t->messages += pass == 1 && !there;
            at += n;
        }
        at = lent;
        for (int64_t i = 0, n = 0; i < h->nlent; i += n) {
            for (n = 1; i + n < h->nlent && h->lent[i + n].to == h->lent[i].to;) n++;
            const int64_t nbytes = n * (int64_t)size;
            if (pass == 0 && !there) thaw_wire_recv(&wire, w->c, at, nbytes, h->lent[i].to, tag);
            if (pass == 1 && there) thaw_wire_send(&wire, w->c, at, nbytes, h->lent[i].to, tag);
            *(there ? &t->sent_bytes : &t->received_bytes) += pass ? nbytes : 0;
            t->messages += pass == 1 && there;
            at += nbytes;
        }
    }
    thaw_wire_wait(&wire);
    thaw_wire_free(&wire);
    return THAW_OK;
}

static bool nobody_lends(const struct thaw_half *h) {
    return h->facts.lent_rows == 0;
}

int thaw_guests_begin(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_half *h = w->h;
    const size_t guests = (size_t)(h->rows - h->own_rows);
    if (nobody_lends(h)) return THAW_OK;
    int code = thaw_alloc(&w->lent_z, (size_t)h->nlent * w->width, sizeof(float), "lent rows", err);
    if (!code) code = thaw_alloc(&w->guest_z, guests * w->width, sizeof(float), "guests", err);
    if (!code) code = thaw_alloc(&w->guest_loss, guests, sizeof(double), "guests", err);
    if ((code = thaw_comm_agree(w->c, code, err))) return code;
    for (int64_t i = 0; i < h->nlent; i++)
        thaw_als_enter(w->s, w->x + (size_t)h->lent[i].row * w->d, 1, w->lent_z + (size_t)i * w->width);
    return exchange(w, w->lent_z, w->guest_z, w->width * sizeof(float), true, TAG_THERE, err);
}

int thaw_guests_end(struct thaw_sweeping *w, struct thaw_err *err) {
    const struct thaw_half *h = w->h;
    double *loss = NULL;
    if (nobody_lends(h)) return THAW_OK;
    int code = exchange(w, w->lent_z, w->guest_z, w->width * sizeof(float), false, TAG_BACK, err);
    if (code) return code;
    for (int64_t i = 0; i < h->nlent; i++)
        thaw_als_leave(w->s, w->lent_z + (size_t)i * w->width, 1, w->x + (size_t)h->lent[i].row * w->d);
    if (!w->row_loss) return THAW_OK;
    code = thaw_comm_agree(w->c, thaw_alloc(&loss, (size_t)h->nlent, sizeof *loss, "lent rows", err), err);
    if (!code) code = exchange(w, loss, w->guest_loss, sizeof *loss, false, TAG_LOSS, err);
    for (int64_t i = 0; !code && i < h->nlent; i++) w->row_loss[h->lent[i].row] = loss[i];
    free(loss);
    return code;
}
