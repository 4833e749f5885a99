// ranking.c: the best items for many users when neither users nor items fit one rank.
#include "comm/ranking.h"

#include "base/mem.h"
#include "comm/shuffle.h"
#include "dense/score.h"
#include "dense/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BATCH_USERS = 4096, // of all ranks together, that are scored at a time
    BLOCK_USERS = 16,   // one thread's share: their scores of a chunk of items stay in its cache
    CHUNK_ITEMS = 512,
    RECORD_BEST = 60, // candidates in a record of the shuffle
    SHUFFLE_BYTES = 8 << 20,
};

// One batch: the users of all ranks (rank after rank) and this rank's candidates for them.
struct batch {
    const struct thaw_ranking_task *task;
    int64_t first_row, nrows; // this rank's items
    int64_t own;              // users of this rank in a batch, at most
    int64_t *counts;          // size: users of each rank in this batch
    char *users;              // of all ranks: user_bytes each, gathered
    size_t user_bytes;
    int64_t nusers;
    struct thaw_scored *best; // nusers x k
    int *nbest;               // nusers
    size_t best_cap, nbest_cap;
    struct thaw_topk *merge; // own: results of this rank's users
    struct thaw_scored *merged;
};

// A user as it travels: columns floats, then nexclude item rows.
static const float *user_vector(const struct batch *b, int64_t u) {
    return (const float *)(const void *)(b->users + (size_t)u * b->user_bytes);
}

static void user_excludes(const struct batch *b, int64_t u, float *scores, int64_t first, int64_t n) {
    const char *at = b->users + (size_t)u * b->user_bytes + (size_t)b->task->columns * sizeof(float);
    for (int i = 0; i < b->task->nexclude; i++) {
        int64_t row;
        memcpy(&row, at + (size_t)i * sizeof row, sizeof row);
        if (row >= first && row < first + n) scores[row - first] = NAN; // never taken
    }
}

struct record {
    int32_t user; // place in the batch of its rank
    int32_t n;
    struct thaw_scored best[RECORD_BEST];
};

// Score the items of this rank for users [begin, end) of the batch, at most BLOCK_USERS.
static void score_block(const struct batch *b, int64_t begin, int64_t end, float *x, float *scores) {
    const struct thaw_ranking_task *t = b->task;
    size_t columns = (size_t)t->columns;
    struct thaw_topk best[BLOCK_USERS];
    for (int64_t u = begin; u < end; u++) {
        memcpy(x + (size_t)(u - begin) * columns, user_vector(b, u), columns * sizeof *x);
        thaw_topk_begin(&best[u - begin], b->best + u * t->k, t->k);
    }
    for (int64_t at = 0; at < b->nrows; at += CHUNK_ITEMS) {
        int64_t n = b->nrows - at < CHUNK_ITEMS ? b->nrows - at : CHUNK_ITEMS;
        thaw_score(x, end - begin, t->rows + (size_t)at * columns, n, t->columns, scores);
        for (int64_t u = begin; u < end; u++) {
            float *s = scores + (u - begin) * n;
            struct thaw_topk *top = &best[u - begin];
            user_excludes(b, u, s, b->first_row + at, n);
            for (int64_t i = 0; i < n; i++)
                if (thaw_topk_wants(top, s[i])) thaw_topk_push(top, s[i], b->first_row + at + i);
        }
    }
    for (int64_t u = begin; u < end; u++) {
        thaw_topk_end(&best[u - begin]);
        b->nbest[u] = best[u - begin].n;
    }
}

static int score_batch(struct batch *b, struct thaw_err *err) {
    size_t users = (size_t)b->nusers, k = (size_t)b->task->k;
    int code = thaw_grow(&b->best, &b->best_cap, users * k, sizeof *b->best, "rankings", err);
    if (code == THAW_OK) code = thaw_grow(&b->nbest, &b->nbest_cap, users, sizeof *b->nbest, "rankings", err);
    if (code != THAW_OK) return code;
    bool failed = false;
#pragma omp parallel reduction(|| : failed)
    {
        float *x = NULL, *scores = NULL;
        struct thaw_err own = THAW_ERR_INIT;
        failed =
            thaw_alloc(&x, BLOCK_USERS * (size_t)b->task->columns, sizeof *x, "scores", &own) != THAW_OK ||
            thaw_alloc(&scores, BLOCK_USERS * CHUNK_ITEMS, sizeof *scores, "scores", &own) != THAW_OK;
#pragma omp for schedule(dynamic)
        for (int64_t u = 0; u < b->nusers; u += BLOCK_USERS)
            if (!failed)
                score_block(b, u, u + BLOCK_USERS < b->nusers ? u + BLOCK_USERS : b->nusers, x, scores);
        free(x);
        free(scores);
    }
    return failed ? thaw_fail(err, THAW_EMEM, "not enough memory to score a batch of users") : THAW_OK;
}

static int deliver(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct batch *b = user;
    const size_t head = offsetof(struct record, best);
    const char *p = bytes;
    (void)source;
    for (size_t at = 0; at < n;) {
        struct record r;
        memcpy(&r, p + at, head);
        if (r.n < 0 || r.n > RECORD_BEST || r.user < 0 || r.user >= b->own)
            return thaw_fail(err, THAW_EBUG, "a ranking came back damaged");
        memcpy(r.best, p + at + head, (size_t)r.n * sizeof *r.best);
        for (int i = 0; i < r.n; i++) thaw_topk_push(&b->merge[r.user], r.best[i].score, r.best[i].row);
        at += head + (size_t)r.n * sizeof *r.best;
    }
    return THAW_OK;
}

// Where the sending stands: user `user` of rank `rank` (number `all` of the batch), candidate `from`.
struct cursor {
    int rank, from;
    int64_t user, all;
};

static bool put_next(struct batch *b, struct thaw_shuffle *s, struct cursor *at, int size) {
    while (at->rank < size && at->user == b->counts[at->rank]) {
        at->rank++;
        at->user = 0;
    }
    if (at->rank == size) return false;
    int left = b->nbest[at->all] - at->from;
    struct record r = {.user = (int32_t)at->user, .n = left < RECORD_BEST ? left : RECORD_BEST};
    memcpy(r.best, b->best + at->all * b->task->k + at->from, (size_t)r.n * sizeof *r.best);
    if (r.n > 0)
        thaw_shuffle_put(s, at->rank, &r, offsetof(struct record, best) + (size_t)r.n * sizeof *r.best);
    at->from += r.n;
    if (at->from == b->nbest[at->all]) {
        at->from = 0;
        at->user++;
        at->all++;
    }
    return true;
}

// Collective. Candidates to the users' ranks, merged there.
static int merge_batch(struct thaw_comm *c, struct batch *b, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    struct cursor at = {0};
    bool more = true, done = false;
    int code = thaw_shuffle_new(&s, c, SHUFFLE_BYTES, deliver, b, err);
    while (code == THAW_OK && !done) {
        while (more && !thaw_shuffle_full(s)) more = put_next(b, s, &at, thaw_comm_size(c));
        code = thaw_shuffle_round(s, !more, &done, THAW_OK, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

// Collective. This rank's users [begin, end) and those of the others, on every rank.
static int gather_batch(struct thaw_comm *c, struct batch *b, int64_t begin, int64_t end,
                        struct thaw_err *err) {
    const struct thaw_ranking_task *t = b->task;
    char *own = NULL;
    int64_t n = end - begin, total = 0;
    size_t vector = (size_t)t->columns * sizeof(float), rows = (size_t)t->nexclude * sizeof(int64_t);
    int code = thaw_alloc(&own, (size_t)n, b->user_bytes, "a batch of users", err);
    code = thaw_comm_agree(c, code, err);
    if (code != THAW_OK) return code;
    for (int64_t i = 0; i < n; i++) {
        char *to = own + (size_t)i * b->user_bytes;
        memcpy(to, t->x + (begin + i) * t->columns, vector);
        if (rows) memcpy(to + vector, t->exclude + (begin + i) * t->nexclude, rows);
    }
    void *users = NULL;
    thaw_comm_allgather_i64(c, &n, 1, b->counts);
    code = thaw_comm_gather(c, own, n * (int64_t)b->user_bytes, -1, &users, &total, err);
    free(own);
    b->users = users;
    b->nusers = total / (int64_t)b->user_bytes;
    return code;
}

static int run_batch(struct thaw_comm *c, struct batch *b, int64_t begin, int64_t end, int64_t *top,
                     struct thaw_err *err) {
    int k = b->task->k;
    int code = gather_batch(c, b, begin, end, err);
    if (code != THAW_OK) return code;
    code = thaw_comm_agree(c, score_batch(b, err), err);
    for (int64_t i = 0; i < end - begin; i++) thaw_topk_begin(&b->merge[i], b->merged + i * k, k);
    if (code == THAW_OK) code = merge_batch(c, b, err);
    for (int64_t i = 0; code == THAW_OK && i < end - begin; i++) {
        thaw_topk_end(&b->merge[i]);
        for (int j = 0; j < k; j++)
            top[(begin + i) * k + j] = j < b->merge[i].n ? b->merge[i].best[j].row : -1;
    }
    free(b->users);
    b->users = NULL;
    return code;
}

// Collective.
static int check_stop(struct thaw_comm *c, const struct thaw_ranking_task *t, struct thaw_err *err) {
    if (!t->stoppable || !thaw_comm_stop_agreed(c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED, "stopped on request: the same command begins anew");
}

int thaw_ranking_top(struct thaw_comm *c, const struct thaw_ranking_task *t, int64_t *top,
                     struct thaw_err *err) {
    int rank = thaw_comm_rank(c), size = thaw_comm_size(c);
    int64_t own = BATCH_USERS / size > BLOCK_USERS ? BATCH_USERS / size : BLOCK_USERS, most = t->nusers;
    size_t bytes = (size_t)t->columns * sizeof(float) + (size_t)t->nexclude * sizeof(int64_t);
    struct batch b = {.task = t,
                      .first_row = t->items->rank_row[rank],
                      .nrows = t->items->rank_row[rank + 1] - t->items->rank_row[rank],
                      .own = own,
                      .user_bytes = bytes};
    size_t k = (size_t)t->k;
    thaw_comm_phase(c, "rank");
    int code = thaw_alloc(&b.counts, (size_t)size, sizeof *b.counts, "rankings", err);
    if (code == THAW_OK) code = thaw_alloc(&b.merge, (size_t)own, sizeof *b.merge, "rankings", err);
    if (code == THAW_OK) code = thaw_alloc(&b.merged, (size_t)own * k, sizeof *b.merged, "rankings", err);
    code = thaw_comm_agree(c, code, err);
    thaw_comm_max_i64(c, &most, 1);
    if (most > own) thaw_log_phase(t->log, "ranking (users of a rank)", most, "users");
    for (int64_t at = 0; code == THAW_OK && at < most; at += own) {
        int64_t begin = at < t->nusers ? at : t->nusers;
        int64_t end = at + own < t->nusers ? at + own : t->nusers;
        code = check_stop(c, t, err);
        if (code == THAW_OK) code = run_batch(c, &b, begin, end, top, err);
        if (most > own) thaw_log_step(t->log, at + own < most ? at + own : most);
    }
    if (most > own) thaw_log_phase_end(t->log);
    free(b.counts);
    free(b.merge);
    free(b.merged);
    free(b.best);
    free(b.nbest);
    return code;
}

int thaw_ranking_popular(struct thaw_comm *c, const struct thaw_plan *items, const int64_t *count, int k,
                         int64_t *top, struct thaw_err *err) {
    int rank = thaw_comm_rank(c);
    int64_t first = items->rank_row[rank], n = items->rank_row[rank + 1] - first, bytes = 0;
    struct thaw_topk best;
    struct thaw_scored *own = NULL;
    void *all = NULL;
    int code = thaw_alloc(&own, (size_t)k, sizeof *own, "popular items", err);
    code = thaw_comm_agree(c, code, err);
    if (code != THAW_OK) goto done;
    thaw_topk_begin(&best, own, k);
    for (int64_t i = 0; i < n; i++) thaw_topk_push(&best, (double)count[i], first + i);
    thaw_topk_end(&best);
    code = thaw_comm_gather(c, own, (int64_t)best.n * (int64_t)sizeof *own, -1, &all, &bytes, err);
    if (code != THAW_OK) goto done;
    const struct thaw_scored *candidate = all;
    thaw_topk_begin(&best, own, k);
    for (int64_t i = 0; i < bytes / (int64_t)sizeof *own; i++)
        thaw_topk_push(&best, candidate[i].score, candidate[i].row);
    thaw_topk_end(&best);
    for (int i = 0; i < k; i++) top[i] = i < best.n ? best.best[i].row : -1;
done:
    free(own);
    free(all);
    return code;
}
