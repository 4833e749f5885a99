// exchange.c: the rounds of the factor exchange.
#include "comm/exchange_impl.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { TAG = 31 };

static void receive(struct thaw_exchange *e, int64_t round, char *window, struct thaw_traffic *t) {
    struct thaw_wire *w = &e->wire[round % 2];
    for (; e->next_receive < e->receives.n && e->receives.at[e->next_receive].round == round;
         e->next_receive++) {
        const struct thaw_segment *s = &e->receives.at[e->next_receive];
        const int64_t nbytes = s->n * (int64_t)e->row_bytes;
        thaw_wire_recv(w, e->c, window + s->first * (int64_t)e->row_bytes, nbytes, s->peer, TAG);
        t->received_bytes += nbytes;
    }
}

// Rows of a segment together in `to`.
static void pack(const struct thaw_exchange *e, const struct thaw_segment *s, const char *window, char *to) {
    const char *own = window + e->own_place * (int64_t)e->row_bytes;
    for (int64_t i = 0; i < s->n; i++)
        memcpy(to + (size_t)i * e->row_bytes, own + e->send_row[s->first + i] * e->row_bytes, e->row_bytes);
}

static void send(struct thaw_exchange *e, int64_t round, const char *window, struct thaw_traffic *t) {
    struct thaw_wire *w = &e->wire[round % 2];
    char *to = e->buffer[round % 2];
    for (; e->next_send < e->sends.n && e->sends.at[e->next_send].round == round; e->next_send++) {
        const struct thaw_segment *s = &e->sends.at[e->next_send];
        const int64_t nbytes = s->n * (int64_t)e->row_bytes;
        const char *from = e->all ? window + s->first * (int64_t)e->row_bytes : to;
        if (!e->all) {
            pack(e, s, window, to);
            to += nbytes;
        }
        thaw_wire_send(w, e->c, from, nbytes, s->peer, TAG);
        t->sent_bytes += nbytes;
        t->messages += (int64_t)thaw_wire_pieces(nbytes);
    }
}

void thaw_exchange_start(struct thaw_exchange *e, int64_t round, char *window, struct thaw_traffic *t) {
    if (round == 0) e->next_send = e->next_receive = 0;
    receive(e, round, window, t);
    send(e, round, window, t);
}

// The library moves long messages only while it is called.
void thaw_exchange_poke(struct thaw_exchange *e) {
    for (int i = 0; i < 2; i++) {
        struct thaw_wire *w = &e->wire[i];
        int done = 0;
        if (w->n == 0 || w->n > INT_MAX) continue;
        MPI_Testall((int)w->n, w->request, &done, MPI_STATUSES_IGNORE);
        if (done) w->n = 0;
    }
}

void thaw_exchange_wait(struct thaw_exchange *e, int64_t round) {
    thaw_wire_wait(&e->wire[round % 2]);
}

int64_t thaw_exchange_rounds(const struct thaw_exchange *e) {
    return e->rounds;
}

int64_t thaw_exchange_window_rows(const struct thaw_exchange *e) {
    return e->window_rows;
}

bool thaw_exchange_gathers_all(const struct thaw_exchange *e) {
    return e->all;
}

int64_t thaw_exchange_rows_moved(const struct thaw_exchange *e) {
    return e->rows_moved;
}

void thaw_exchange_free(struct thaw_exchange **out) {
    struct thaw_exchange *e = *out;
    if (!e) return;
    for (int i = 0; i < 2; i++) {
        free(e->buffer[i]);
        thaw_wire_free(&e->wire[i]);
    }
    free(e->send_row);
    free(e->sends.at);
    free(e->receives.at);
    free(e);
    *out = NULL;
}
