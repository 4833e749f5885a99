// cold_rank.h: rankings for held-out users by anything that scores all items for someone new, and the search
// for the numbers that rank best. Users are spread over ranks by their parts; every rank scores all items for
// its own users, its threads share them. The same bits for any number of ranks and threads.
#ifndef THAW_COMM_COLD_RANK_H
#define THAW_COMM_COLD_RANK_H

#include "cold/cold.h"
#include "comm/heldout.h"
#include "comm/histories.h"

// Held-out users and their profiles, which are borrowed.
struct thaw_cold_users {
    const struct thaw_heldout *set;
    const struct thaw_features
        *profile; // of this rank's user rows, the first of which is first_row; NULL: none
    int64_t first_row;
    float *raw; // users x max_known: values of the known items as the log has them
};
// Local. als: how values became the set's strengths. THAW_EMEM.
int thaw_cold_users_new(struct thaw_cold_users *users, const struct thaw_heldout *set,
                        const struct thaw_features *profile, int64_t first_row, const Thaw__Als *als,
                        struct thaw_err *err);
void thaw_cold_users_clear(struct thaw_cold_users *users);
// Local; thread-safe. User u of the set as a newcomer with its first n known items.
void thaw_cold_user(const struct thaw_cold_users *users, int64_t u, int n, struct thaw_newcomer *who);

// A way to score, with candidate settings 0, 1, ... Functions are called by many threads, each with its own
// work; what is NULL but score is not called.
struct thaw_scorer {
    int64_t nitems;
    const void *self;
    int (*work_new)(void **work, const void *self, struct thaw_err *err);
    void (*work_free)(void **work);
    // Before the candidates of a user: what they share.
    int (*meet)(const void *self, const struct thaw_newcomer *who, void *work, struct thaw_err *err);
    // scores[nitems]: larger is better; NaN is never ranked.
    int (*score)(const void *self, const struct thaw_newcomer *who, int candidate, void *work, float *scores,
                 struct thaw_err *err);
};

// Collective. top[users x k]: each user's best items by one candidate, folded in from the first n known
// items, all max_known left out; smaller rows first among equals, -1 where there are no more. THAW_EMEM, and
// what score fails with.
int thaw_cold_rank(struct thaw_comm *c, const struct thaw_scorer *s, const struct thaw_cold_users *users,
                   int n, int candidate, int k, int64_t *top, struct thaw_err *err);

// Collective. ndcg[ncandidates]: mean NDCG at the cutoff of each, the same on every rank; 0 for an empty set.
int thaw_cold_search(struct thaw_comm *c, const struct thaw_scorer *s, const struct thaw_cold_users *users,
                     int n, int cutoff, int ncandidates, double *ndcg, struct thaw_err *err);

// ---- Scorers over models ----

// One method of cold.h, each candidate with its numbers.
struct thaw_model_scorer {
    const struct thaw_cold *cold;
    enum thaw_cold_method method;
    const Thaw__Known *known; // of each candidate; NULL: the models' own
};
struct thaw_scorer thaw_scorer_of_model(const struct thaw_model_scorer *m);

// Weighted sums of z-scores: the ensemble with many weights at a time. Each model scores a user once.
enum { THAW_BLEND_MODELS = 4 };
struct thaw_blend_scorer {
    const struct thaw_cold *cold;
    const Thaw__Known *known;                  // of P and T
    const double (*weight)[THAW_BLEND_MODELS]; // of each candidate: P, E, G, T
    bool has[THAW_BLEND_MODELS];               // set by thaw_scorer_of_blend
};
struct thaw_scorer thaw_scorer_of_blend(struct thaw_blend_scorer *b);

// Virtual interactions: a short history is completed by the generator's best other items, at weights from .1
// to 1 by probability times virtual_weight, before it is folded in with virtual_unobserved and
// virtual_regularization.
enum { THAW_VIRTUAL_ITEMS = 50 };
struct thaw_virtual_scorer {
    const struct thaw_cold *generator;
    const struct thaw_cold *fold; // over the same items, opened with an als whose strength is RAW
    const Thaw__Known *known;     // of each candidate
};
struct thaw_scorer thaw_scorer_of_virtual(const struct thaw_virtual_scorer *v);

// Local; thread-safe. To mean 0 and deviation 1.
void thaw_z_scores(float *scores, int64_t n);

#endif
