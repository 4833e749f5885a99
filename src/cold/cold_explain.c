// cold_explain.c: each input's share of a score.
#include "cold/cold_impl.h"

#include "base/mem.h"
#include "dense/chol.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// Where the shares of the hits go.
struct shares {
    const int64_t *hit;
    int n;
    double *item, *feature, *constant, *score;
};

struct cold_node cold_node(int i) {
    // Eight nodes a panel, two panels.
    static const double place[4] = {0.1834346424956498, 0.5255324099163290, 0.7966664774136267,
                                    0.9602898564975363};
    static const double share[4] = {0.3626837833783620, 0.3137066458778873, 0.2223810344533745,
                                    0.1012285362903763};
    const double middle = i < 8 ? 0.25 : 0.75, side = i % 2 ? 0.25 : -0.25;
    return (struct cold_node){middle + side * place[i / 2 % 4], share[i / 2 % 4] / 4};
}

static double dot(const double *a, const double *b, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += a[j] * b[j];
    return sum;
}

static double dot_row(const double *a, const float *b, int n) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += a[j] * (double)b[j];
    return sum;
}

// A score is linear in the right side of the system: y'A^-1 of each of its terms. `pull`: a hit's A^-1 y.
static int explain_fold_in(const struct thaw_cold *c, const struct thaw_newcomer *who,
                           const Thaw__Known *known, struct thaw_cold_work *w, const struct shares *s,
                           struct thaw_err *err) {
    const int d = c->columns;
    double *pull = NULL;
    int32_t part;
    int code = cold_solve_fold_in(c, known, w, err);
    if (!code) code = thaw_alloc(&pull, (size_t)d, sizeof *pull, "an explanation", err);
    for (int h = 0; !code && h < s->n; h++) {
        const float *y = cold_row(c, s->hit[h], &part);
        s->constant[h] = c->als->mean + (d > c->k ? (double)y[c->k] : 0);
        for (int j = 0; j < c->k; j++) pull[j] = y[j];
        if (d > c->k) pull[c->k] = 1;
        if (w->n > 0) thaw_chol_apply(w->a, pull, d);
        for (int64_t i = 0; i < w->n; i++) {
            const double right = cold_fold_in_item(c, known, w, i, w->t);
            s->item[h * who->nitems + w->at[i]] = right * dot(pull, w->t, d);
        }
    }
    free(pull);
    return code;
}

static int explain_prior(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                         struct thaw_cold_work *w, const struct shares *s, struct thaw_err *err) {
    const int k = c->k;
    const double *precision = c->precision.data;
    const float *weights = c->weights.data;
    double *pull = NULL;
    int32_t part;
    int code = cold_solve_prior(c, who, known, w, err);
    if (!code) code = thaw_alloc(&pull, (size_t)k, sizeof *pull, "an explanation", err);
    for (int h = 0; !code && h < s->n; h++) {
        const float *y = cold_row(c, s->hit[h], &part);
        for (int j = 0; j < k; j++) pull[j] = y[j];
        thaw_chol_apply(w->a, pull, k);
        for (int64_t i = 0; i < w->n; i++)
            s->item[h * who->nitems + w->at[i]] =
                (double)w->strength[i] * dot_row(pull, cold_row(c, w->item[i], &part), k);
        for (int j = 0; j < k; j++) w->t[j] = w->prior_weight * dot(pull, precision + (int64_t)j * k, k);
        s->constant[h] = dot_row(w->t, weights, k);
        for (int64_t a = 0; a < who->nfeatures; a++)
            if (cold_sees(c->prior->user_features, who, a))
                s->feature[h * who->nfeatures + a] =
                    (double)cold_value(who, a) *
                    dot_row(w->t, weights + (1 + (int64_t)who->feature[a]) * k, k);
    }
    free(pull);
    return code;
}

static int explain_association(const struct thaw_cold *c, const struct thaw_newcomer *who,
                               struct thaw_cold_work *w, const struct shares *s, struct thaw_err *err) {
    const struct cold_set *set = cold_association_set(c, w);
    int code = THAW_OK;
    for (int h = 0; h < s->n; h++) {
        for (int64_t i = 0; !code && i < w->n; i++)
            code = cold_association_entry(c, set, w->item[i], s->hit[h], &s->item[h * who->nitems + w->at[i]],
                                          err);
        if (code || !set->profile) continue;
        s->constant[h] = cold_association_profile(c, set, s->hit[h], 0);
        for (int64_t a = 0; a < who->nfeatures; a++)
            if (cold_sees(c->association->features, who, a))
                s->feature[h * who->nfeatures + a] =
                    (double)cold_value(who, a) *
                    cold_association_profile(c, set, s->hit[h], 1 + (int64_t)who->feature[a]);
    }
    return code;
}

static void clear(const struct shares *s, const struct thaw_newcomer *who) {
    const size_t n = (size_t)s->n;
    memset(s->item, 0, n * (size_t)who->nitems * sizeof *s->item);
    memset(s->feature, 0, n * (size_t)who->nfeatures * sizeof *s->feature);
    memset(s->constant, 0, n * sizeof *s->constant);
}

static int explain_one(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                       const Thaw__Known *known, struct thaw_cold_work *w, const struct shares *s,
                       struct thaw_err *err) {
    int code;
    clear(s, who);
    switch (m) {
    case THAW_COLD_FOLD_IN:
        code = explain_fold_in(c, who, known, w, s, err);
        break;
    case THAW_COLD_PRIOR:
        code = explain_prior(c, who, known, w, s, err);
        break;
    case THAW_COLD_ASSOCIATION:
        code = explain_association(c, who, w, s, err);
        break;
    case THAW_COLD_TYPES:
        return cold_types_explain(c, who, known, w, s->hit, s->n, s->item, s->feature, s->constant, s->score,
                                  err);
    default:
        return cold_generator_explain(c, who, w, s->hit, s->n, s->item, s->feature, s->constant, s->score,
                                      err);
    }
    for (int h = 0; h < s->n; h++) {
        s->score[h] = s->constant[h];
        for (int64_t i = 0; i < who->nitems; i++) s->score[h] += s->item[h * who->nitems + i];
        for (int64_t a = 0; a < who->nfeatures; a++) s->score[h] += s->feature[h * who->nfeatures + a];
    }
    return code;
}

// all += times one; what the mean takes away is nobody's.
static void add(const struct shares *all, const struct shares *one, const struct thaw_newcomer *who,
                double times, double mean) {
    for (int64_t i = 0; i < all->n * who->nitems; i++) all->item[i] += times * one->item[i];
    for (int64_t i = 0; i < all->n * who->nfeatures; i++) all->feature[i] += times * one->feature[i];
    for (int h = 0; h < all->n; h++) {
        all->constant[h] += times * (one->constant[h] - mean);
        all->score[h] += times * (one->score[h] - mean);
    }
}

static int explain_ensemble(const struct thaw_cold *c, const struct thaw_newcomer *who,
                            const Thaw__Known *known, struct thaw_cold_work *w, const struct shares *s,
                            struct thaw_err *err) {
    const size_t n = (size_t)s->n, inputs = (size_t)(who->nitems + who->nfeatures) + 2;
    struct shares one = {.hit = s->hit, .n = s->n};
    double weight[COLD_MEMBERS], mean, scale;
    int code = thaw_alloc(&one.item, n * inputs, sizeof *one.item, "an explanation", err);
    if (code) return code;
    one.feature = one.item + n * (size_t)who->nitems;
    one.constant = one.feature + n * (size_t)who->nfeatures;
    one.score = one.constant + n;
    cold_weights(c, known, weight);
    clear(s, who);
    memset(s->score, 0, n * sizeof *s->score);
    for (int i = 0; !code && i < COLD_MEMBERS; i++) {
        const enum thaw_cold_method m = cold_member[i];
        if (weight[i] == 0) continue;
        code = cold_one(c, m, who, known, w, w->scores, err);
        if (code) break;
        cold_moments(w->scores, c->nitems, &mean, &scale);
        code = explain_one(c, m, who, known, w, &one, err);
        if (!code) add(s, &one, who, weight[i] * scale, mean);
    }
    free(one.item);
    return code;
}

int thaw_cold_explain(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                      const Thaw__Known *known, struct thaw_cold_work *w, const int64_t *hit, int nhits,
                      double *item_share, double *feature_share, double *constant, double *score,
                      struct thaw_err *err) {
    const struct shares s = {hit, nhits, item_share, feature_share, constant, score};
    Thaw__Known store;
    if (m >= THAW_COLD_METHODS || !thaw_cold_has(c, m))
        return thaw_fail(err, THAW_EUSAGE, "the model of %s is not there", thaw_cold_method_name(m));
    for (int h = 0; h < nhits; h++)
        if (hit[h] < 0 || hit[h] >= c->nitems)
            return thaw_fail(err, THAW_EDATA, "no item row %" PRId64, hit[h]);
    int code = cold_known(c, who, w, err);
    if (!code) code = cold_scores(c, w, err);
    if (code) return code;
    known = cold_numbers(c, w->n, known, &store);
    return m == THAW_COLD_ENSEMBLE ? explain_ensemble(c, who, known, w, &s, err)
                                   : explain_one(c, m, who, known, w, &s, err);
}
