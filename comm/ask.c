#include "comm/ask.h"

#include "base/hash.h"
#include "base/mem.h"
#include "comm/shuffle.h"

#include <stdlib.h>
#include <string.h>

struct thaw_ask {
    struct thaw_comm *comm;
    struct thaw_shuffle *questions, *answers;
    const int32_t *owner;
    int32_t nparts;
    thaw_ask_lookup *lookup;
    void *user;
    int64_t *begin; // size + 1: hashes of rank r are [begin[r], begin[r + 1]) of the caller's
    int64_t *sent;  // size: next to be asked
    int64_t *got;   // size: next to be answered
    int64_t *answer;
};

// Questions of one source: answer them, in order.
static int on_questions(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct thaw_ask *a = user;
    (void)err;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t hash;
        memcpy(&hash, (const char *)bytes + i, sizeof hash);
        int64_t value = a->lookup(a->user, hash);
        thaw_shuffle_put(a->answers, source, &value, sizeof value);
    }
    return THAW_OK;
}

// A source answers in the order it was asked.
static int on_answers(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct thaw_ask *a = user;
    int64_t count = (int64_t)(n / sizeof(int64_t));
    if (count > a->sent[source] - a->got[source])
        return thaw_fail(err, THAW_EBUG, "more answers than questions from rank %d", source);
    memcpy(a->answer + a->got[source], bytes, n);
    a->got[source] += count;
    return THAW_OK;
}

int thaw_ask_new(struct thaw_ask **out, struct thaw_comm *c, const int32_t *owner, int32_t nparts,
                 int64_t budget_bytes, thaw_ask_lookup *lookup, void *user, struct thaw_err *err) {
    struct thaw_ask *a = NULL;
    size_t size = (size_t)thaw_comm_size(c);
    int code = thaw_alloc(&a, 1, sizeof *a, "look-ups", err);
    if (!code) {
        *a = (struct thaw_ask){.comm = c, .owner = owner, .nparts = nparts, .lookup = lookup, .user = user};
        code = thaw_alloc(&a->begin, size + 1, sizeof *a->begin, "look-ups", err);
    }
    if (!code) code = thaw_alloc(&a->sent, size, sizeof *a->sent, "look-ups", err);
    if (!code) code = thaw_alloc(&a->got, size, sizeof *a->got, "look-ups", err);
    code = thaw_comm_agree(c, code, err);
    if (!code) code = thaw_shuffle_new(&a->questions, c, budget_bytes / 4, on_questions, a, err);
    if (!code) code = thaw_shuffle_new(&a->answers, c, budget_bytes / 4, on_answers, a, err);
    if (!code) {
        *out = a;
        a = NULL;
    }
    thaw_ask_free(&a);
    return code;
}

void thaw_ask_free(struct thaw_ask **out) {
    struct thaw_ask *a = *out;
    if (!a) return;
    thaw_shuffle_free(&a->questions);
    thaw_shuffle_free(&a->answers);
    free(a->begin);
    free(a->sent);
    free(a->got);
    free(a);
    *out = NULL;
}

static int owner_of(const struct thaw_ask *a, uint64_t hash) {
    return a->owner[thaw_hash_part(hash, a->nparts)];
}

// Put the hashes into the order of their owners, in place: each one is swapped to where its owner's run has
// room.
static void group(struct thaw_ask *a, uint64_t *hash, int64_t n) {
    int size = thaw_comm_size(a->comm);
    memset(a->begin, 0, (size_t)(size + 1) * sizeof *a->begin);
    for (int64_t i = 0; i < n; i++) a->begin[owner_of(a, hash[i]) + 1]++;
    for (int r = 0; r < size; r++) a->begin[r + 1] += a->begin[r];
    memcpy(a->sent, a->begin, (size_t)size * sizeof *a->sent);
    for (int r = 0; r < size; r++)
        while (a->sent[r] < a->begin[r + 1]) {
            uint64_t *here = &hash[a->sent[r]];
            int to = owner_of(a, *here);
            uint64_t *there = &hash[a->sent[to]++];
            uint64_t t = *here;
            *here = *there;
            *there = t;
        }
    memcpy(a->sent, a->begin, (size_t)size * sizeof *a->sent);
    memcpy(a->got, a->begin, (size_t)size * sizeof *a->got);
}

// Questions for all owners in turn, so that a round carries some for each of them. Returns whether all are
// put.
static bool put_questions(struct thaw_ask *a, const uint64_t *hash) {
    int size = thaw_comm_size(a->comm);
    for (bool more = true; more;) {
        more = false;
        for (int r = 0; r < size; r++) {
            if (a->sent[r] == a->begin[r + 1]) continue;
            if (thaw_shuffle_full(a->questions)) return false;
            thaw_shuffle_put(a->questions, r, &hash[a->sent[r]++], sizeof *hash);
            more = true;
        }
    }
    return true;
}

int thaw_ask(struct thaw_ask *a, uint64_t *hash, int64_t n, int64_t *answer, struct thaw_err *err) {
    int self = thaw_comm_rank(a->comm), code = THAW_OK;
    group(a, hash, n);
    a->answer = answer;
    for (int64_t i = a->begin[self]; i < a->begin[self + 1]; i++) answer[i] = a->lookup(a->user, hash[i]);
    a->sent[self] = a->got[self] = a->begin[self + 1];
    if (thaw_comm_size(a->comm) == 1) return THAW_OK;
    for (bool done = false, ignored; !done && !code;) {
        bool all_put = put_questions(a, hash);
        code = thaw_shuffle_round(a->questions, all_put, &done, THAW_OK, err);
        if (!code) code = thaw_shuffle_round(a->answers, all_put, &ignored, THAW_OK, err);
    }
    return code;
}
