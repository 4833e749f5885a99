// cold_rank.c: rankings for held-out users by scorers, and the search among candidates.
#include "comm/cold_rank.h"

#include "base/mem.h"
#include "dense/topk.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int thaw_cold_users_new(struct thaw_cold_users *users, const struct thaw_heldout *set,
                        const struct thaw_features *profile, int64_t first_row, const Thaw__Als *als,
                        struct thaw_err *err) {
    const size_t n = (size_t)set->nusers * (size_t)set->max_known;
    const bool logs = als->model != THAW__ALS__MODEL__EXPLICIT && als->strength == THAW__ALS__STRENGTH__LOG;
    *users = (struct thaw_cold_users){.set = set, .profile = profile, .first_row = first_row};
    const int code = thaw_alloc(&users->raw, n, sizeof *users->raw, "known items", err);
    for (size_t i = 0; !code && i < n; i++)
        users->raw[i] = logs ? (float)(exp2((double)set->known_value[i]) - 1) : set->known_value[i];
    return code;
}

void thaw_cold_users_clear(struct thaw_cold_users *users) {
    free(users->raw);
    *users = (struct thaw_cold_users){0};
}

void thaw_cold_user(const struct thaw_cold_users *users, int64_t u, int n, struct thaw_newcomer *who) {
    const struct thaw_heldout *h = users->set;
    *who = (struct thaw_newcomer){.item = h->known + u * h->max_known,
                                  .strength = users->raw + u * h->max_known,
                                  .nitems = n,
                                  .key = h->key[u]};
    const int64_t row = h->row[u] - users->first_row;
    if (!users->profile || users->profile->columns == 0 || row < 0 || row >= users->profile->nrows) return;
    const int64_t first = users->profile->ptr[row];
    who->feature = users->profile->column + first;
    who->feature_value = users->profile->value + first;
    who->nfeatures = users->profile->ptr[row + 1] - first;
}

// ---- Users by threads ----

// One thread: its scratch, and the failure that stops it.
struct worker {
    const struct thaw_scorer *scorer;
    const struct thaw_cold_users *users;
    void *work;
    float *scores;
    struct thaw_scored *best; // k
    int64_t *row;             // k
    bool *hit;                // k
    int k;
    int64_t failed_at; // user; INT64_MAX: none
    struct thaw_err err;
};

static int worker_new(struct worker *w, const struct thaw_scorer *s, const struct thaw_cold_users *users,
                      int k) {
    const size_t n = (size_t)k;
    *w = (struct worker){.scorer = s, .users = users, .k = k, .failed_at = INT64_MAX, .err = THAW_ERR_INIT};
    int code = thaw_alloc(&w->scores, (size_t)s->nitems, sizeof *w->scores, "scores", &w->err);
    if (!code) code = thaw_alloc(&w->best, n, sizeof *w->best, "rankings", &w->err);
    if (!code) code = thaw_alloc(&w->row, n, sizeof *w->row, "rankings", &w->err);
    if (!code) code = thaw_alloc(&w->hit, n, sizeof *w->hit, "rankings", &w->err);
    if (!code && s->work_new) code = s->work_new(&w->work, s->self, &w->err);
    if (code) w->failed_at = -1;
    return code;
}

static void worker_free(struct worker *w) {
    if (w->work) w->scorer->work_free(&w->work);
    free(w->scores);
    free(w->best);
    free(w->row);
    free(w->hit);
}

// The list of user u by the scores at hand.
static void take_best(const struct worker *w, int64_t u, int64_t *top) {
    const struct thaw_heldout *h = w->users->set;
    struct thaw_topk best;
    for (int i = 0; i < h->max_known; i++) w->scores[h->known[u * h->max_known + i]] = NAN;
    thaw_topk_begin(&best, w->best, w->k);
    for (int64_t i = 0; i < w->scorer->nitems; i++)
        if (thaw_topk_wants(&best, (double)w->scores[i])) thaw_topk_push(&best, (double)w->scores[i], i);
    thaw_topk_end(&best);
    for (int i = 0; i < w->k; i++) top[i] = i < best.n ? best.best[i].row : -1;
}

static int meet(struct worker *w, int64_t u, int n, struct thaw_newcomer *who) {
    thaw_cold_user(w->users, u, n, who);
    return w->scorer->meet ? w->scorer->meet(w->scorer->self, who, w->work, &w->err) : THAW_OK;
}

static int rank_one(struct worker *w, int64_t u, const struct thaw_newcomer *who, int candidate,
                    int64_t *top) {
    const int code = w->scorer->score(w->scorer->self, who, candidate, w->work, w->scores, &w->err);
    if (!code) take_best(w, u, top);
    return code;
}

static double ndcg_of(const struct worker *w, int64_t u, const int64_t *top) {
    const struct thaw_heldout *h = w->users->set;
    struct thaw_rank_metrics m;
    const int shown = thaw_heldout_hits(h, u, top, w->k, w->hit);
    thaw_rank_metrics(w->hit, shown, w->k, h->truth_ptr[u + 1] - h->truth_ptr[u], &m);
    return m.ndcg;
}

struct task {
    struct thaw_comm *c;
    const struct thaw_scorer *scorer;
    const struct thaw_cold_users *users;
    int n, k;
    int64_t *top; // ranking with candidate `first`; NULL: searching
    double *ndcg; // users x ncandidates
    int first, ncandidates;
};

static int do_user(struct worker *w, const struct task *t, int64_t u) {
    struct thaw_newcomer who;
    if (thaw_comm_stop_requested(t->c))
        return thaw_fail(&w->err, THAW_ESTOPPED, "stopped on request: the same command begins anew");
    int code = meet(w, u, t->n, &who);
    if (t->top) return code ? code : rank_one(w, u, &who, t->first, t->top + u * t->k);
    for (int i = 0; !code && i < t->ncandidates; i++) {
        code = rank_one(w, u, &who, i, w->row);
        if (!code) t->ndcg[u * t->ncandidates + i] = ndcg_of(w, u, w->row);
    }
    return code;
}

// The failure of the lowest user is told, whatever the threads did.
static int do_users(const struct task *t, struct thaw_err *err) {
    int64_t failed_at = INT64_MAX;
    struct thaw_err first = THAW_ERR_INIT;
    thaw_comm_phase(t->c, "rank");
#pragma omp parallel
    {
        struct worker w;
        worker_new(&w, t->scorer, t->users, t->k);
#pragma omp for schedule(dynamic, 4)
        for (int64_t u = 0; u < t->users->set->nusers; u++)
            if (w.failed_at == INT64_MAX && do_user(&w, t, u)) w.failed_at = u;
#pragma omp critical(thaw_cold_rank)
        if (w.failed_at < failed_at) {
            failed_at = w.failed_at;
            first = w.err;
        }
        worker_free(&w);
    }
    return failed_at == INT64_MAX ? THAW_OK : thaw_fail(err, first.code, "%s", first.text);
}

int thaw_cold_rank(struct thaw_comm *c, const struct thaw_scorer *s, const struct thaw_cold_users *users,
                   int n, int candidate, int k, int64_t *top, struct thaw_err *err) {
    const struct task t = {
        .c = c, .scorer = s, .users = users, .n = n, .k = k, .top = top, .first = candidate};
    return thaw_comm_agree(c, do_users(&t, err), err);
}

int thaw_cold_search(struct thaw_comm *c, const struct thaw_scorer *s, const struct thaw_cold_users *users,
                     int n, int cutoff, int ncandidates, double *ndcg, struct thaw_err *err) {
    const int64_t nusers = users->set->nusers;
    struct task t = {.c = c, .scorer = s, .users = users, .n = n, .k = cutoff, .ncandidates = ncandidates};
    int code = thaw_alloc(&t.ndcg, (size_t)nusers * (size_t)ncandidates, sizeof *t.ndcg, "a search", err);
    if (!code) code = do_users(&t, err);
    code = thaw_comm_agree(c, code, err);
    if (!code) code = thaw_comm_exact_sum(c, t.ndcg, nusers, ncandidates, ndcg, err);
    for (int i = 0; !code && i < ncandidates; i++)
        ndcg[i] = users->set->total > 0 ? ndcg[i] / (double)users->set->total : 0;
    free(t.ndcg);
    return code;
}

// ---- Scorers over models ----

static int model_work_new(void **work, const void *self, struct thaw_err *err) {
    const struct thaw_model_scorer *m = self;
    return thaw_cold_work_new((struct thaw_cold_work **)work, m->cold, err);
}

static void model_work_free(void **work) {
    thaw_cold_work_free((struct thaw_cold_work **)work);
}

static int model_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                       float *scores, struct thaw_err *err) {
    const struct thaw_model_scorer *m = self;
    return thaw_cold_score(m->cold, m->method, who, m->known ? &m->known[candidate] : NULL, work, scores,
                           err);
}

struct thaw_scorer thaw_scorer_of_model(const struct thaw_model_scorer *m) {
    return (struct thaw_scorer){.nitems = thaw_cold_items(m->cold),
                                .self = m,
                                .work_new = model_work_new,
                                .work_free = model_work_free,
                                .score = model_score};
}

void thaw_z_scores(float *scores, int64_t n) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)scores[i];
    const double mean = n > 0 ? sum / (double)n : 0;
    for (int64_t i = 0; i < n; i++) squares += ((double)scores[i] - mean) * ((double)scores[i] - mean);
    const double scale = 1 / (sqrt(n > 0 ? squares / (double)n : 0) + 1e-9);
    for (int64_t i = 0; i < n; i++) scores[i] = (float)(((double)scores[i] - mean) * scale);
}

static const enum thaw_cold_method blended[THAW_BLEND_MODELS] = {THAW_COLD_PRIOR, THAW_COLD_ASSOCIATION,
                                                                 THAW_COLD_GENERATOR, THAW_COLD_TYPES};

struct blend_work {
    struct thaw_cold_work *work;
    float *z; // THAW_BLEND_MODELS x items
};

static void blend_work_free(void **work) {
    struct blend_work *b = *work;
    if (!b) return;
    thaw_cold_work_free(&b->work);
    free(b->z);
    free(b);
    *work = NULL;
}

static int blend_work_new(void **work, const void *self, struct thaw_err *err) {
    const struct thaw_blend_scorer *s = self;
    struct blend_work *b = NULL;
    int code = thaw_alloc(&b, 1, sizeof *b, "scores", err);
    if (code) return code;
    *work = b;
    code =
        thaw_alloc(&b->z, THAW_BLEND_MODELS * (size_t)thaw_cold_items(s->cold), sizeof *b->z, "scores", err);
    return code ? code : thaw_cold_work_new(&b->work, s->cold, err);
}

static int blend_meet(const void *self, const struct thaw_newcomer *who, void *work, struct thaw_err *err) {
    const struct thaw_blend_scorer *s = self;
    struct blend_work *b = work;
    const int64_t n = thaw_cold_items(s->cold);
    int code = THAW_OK;
    for (int m = 0; !code && m < THAW_BLEND_MODELS; m++) {
        if (!s->has[m]) continue;
        code = thaw_cold_score(s->cold, blended[m], who, s->known, b->work, b->z + m * n, err);
        if (!code) thaw_z_scores(b->z + m * n, n);
    }
    return code;
}

static int blend_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                       float *scores, struct thaw_err *err) {
    const struct thaw_blend_scorer *s = self;
    const struct blend_work *b = work;
    const int64_t n = thaw_cold_items(s->cold);
    (void)who;
    (void)err;
    memset(scores, 0, (size_t)n * sizeof *scores);
    for (int m = 0; m < THAW_BLEND_MODELS; m++) {
        const float weight = (float)s->weight[candidate][m];
        if (!s->has[m] || weight == 0) continue;
        for (int64_t i = 0; i < n; i++) scores[i] += weight * b->z[m * n + i];
    }
    return THAW_OK;
}

struct thaw_scorer thaw_scorer_of_blend(struct thaw_blend_scorer *b) {
    for (int m = 0; m < THAW_BLEND_MODELS; m++) b->has[m] = thaw_cold_has(b->cold, blended[m]);
    return (struct thaw_scorer){.nitems = thaw_cold_items(b->cold),
                                .self = b,
                                .work_new = blend_work_new,
                                .work_free = blend_work_free,
                                .meet = blend_meet,
                                .score = blend_score};
}
