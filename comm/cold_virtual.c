// cold_virtual.c: short histories completed by the generator before they are folded in.
#include "base/mem.h"
#include "comm/cold_rank.h"
#include "dense/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// One thread: the completed history of the user at hand.
struct virtual_work {
    struct thaw_cold_work *generator, *fold;
    float *scores;
    int64_t *item; // known ones, then virtual ones
    float *strength;
    size_t item_cap, strength_cap;
    struct thaw_scored best[THAW_VIRTUAL_ITEMS];
    int nbest;
    int64_t nknown;
};

static void work_free(void **work) {
    struct virtual_work *w = *work;
    if (!w) return;
    thaw_cold_work_free(&w->generator);
    thaw_cold_work_free(&w->fold);
    free(w->scores);
    free(w->item);
    free(w->strength);
    free(w);
    *work = NULL;
}

static int work_new(void **work, const void *self, struct thaw_err *err) {
    const struct thaw_virtual_scorer *v = self;
    struct virtual_work *w = NULL;
    int code = thaw_alloc(&w, 1, sizeof *w, "virtual interactions", err);
    if (code) return code;
    *work = w;
    code = thaw_alloc(&w->scores, (size_t)thaw_cold_items(v->generator), sizeof *w->scores, "scores", err);
    if (!code) code = thaw_cold_work_new(&w->generator, v->generator, err);
    return code ? code : thaw_cold_work_new(&w->fold, v->fold, err);
}

// The generator's best items that are not known, as a continuation of the history.
static int meet(const void *self, const struct thaw_newcomer *who, void *work, struct thaw_err *err) {
    const struct thaw_virtual_scorer *v = self;
    struct virtual_work *w = work;
    const int64_t nitems = thaw_cold_items(v->generator);
    const size_t most = (size_t)who->nitems + THAW_VIRTUAL_ITEMS;
    struct thaw_topk top;
    int code = thaw_grow(&w->item, &w->item_cap, most, sizeof *w->item, "virtual interactions", err);
    if (!code)
        code =
            thaw_grow(&w->strength, &w->strength_cap, most, sizeof *w->strength, "virtual interactions", err);
    if (!code)
        code = thaw_cold_score(v->generator, THAW_COLD_GENERATOR, who, NULL, w->generator, w->scores, err);
    if (code) return code;
    for (int64_t i = 0; i < who->nitems; i++) {
        w->item[i] = who->item[i];
        w->strength[i] = 1;
        w->scores[who->item[i]] = NAN;
    }
    thaw_topk_begin(&top, w->best, THAW_VIRTUAL_ITEMS);
    for (int64_t i = 0; i < nitems; i++)
        if (thaw_topk_wants(&top, (double)w->scores[i])) thaw_topk_push(&top, (double)w->scores[i], i);
    thaw_topk_end(&top);
    w->nbest = top.n;
    w->nknown = who->nitems;
    for (int i = 0; i < w->nbest; i++) w->item[w->nknown + i] = w->best[i].row;
    return THAW_OK;
}

static int score(const void *self, const struct thaw_newcomer *who, int candidate, void *work, float *scores,
                 struct thaw_err *err) {
    const struct thaw_virtual_scorer *v = self;
    struct virtual_work *w = work;
    const Thaw__Known *k = &v->known[candidate];
    Thaw__Known numbers = *k;
    struct thaw_newcomer completed = *who;
    const double most = w->nbest ? w->best[0].score : 1;
    numbers.unobserved_weight = k->virtual_unobserved;
    numbers.regularization = k->virtual_regularization;
    for (int i = 0; i < w->nbest; i++)
        w->strength[w->nknown + i] = (float)(k->virtual_weight * fmax(.1, w->best[i].score / most));
    completed.item = w->item;
    completed.strength = w->strength;
    completed.nitems = w->nknown + (k->virtual_weight > 0 ? w->nbest : 0);
    return thaw_cold_score(v->fold, THAW_COLD_FOLD_IN, &completed, &numbers, w->fold, scores, err);
}

struct thaw_scorer thaw_scorer_of_virtual(const struct thaw_virtual_scorer *v) {
    return (struct thaw_scorer){.nitems = thaw_cold_items(v->fold),
                                .self = v,
                                .work_new = work_new,
                                .work_free = work_free,
                                .meet = meet,
                                .score = score};
}
