// cold.c: which numbers apply, who is asked about, and a thread's scratch.
#include "cold/cold_impl.h"

#include "base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

enum { DOUBT_ROWS = 512 }; // of a block of items whose doubt is computed at a time

const enum thaw_cold_method cold_member[COLD_MEMBERS] = {THAW_COLD_PRIOR, THAW_COLD_ASSOCIATION,
                                                         THAW_COLD_GENERATOR, THAW_COLD_TYPES};

const char *thaw_cold_method_name(enum thaw_cold_method m) {
    static const char *const name[THAW_COLD_METHODS] = {"iALS", "P", "E", "G", "ensemble", "T"};
    return m < THAW_COLD_METHODS ? name[m] : "unknown";
}

bool thaw_cold_has(const struct thaw_cold *c, enum thaw_cold_method m) {
    switch (m) {
    case THAW_COLD_FOLD_IN:
        return true;
    case THAW_COLD_PRIOR:
        return c->prior;
    case THAW_COLD_ASSOCIATION:
        return c->association;
    case THAW_COLD_GENERATOR:
        return c->generator;
    case THAW_COLD_TYPES:
        return c->types.n > 0;
    case THAW_COLD_ENSEMBLE:
        return c->prior || c->association || c->generator;
    default:
        return false;
    }
}

int64_t thaw_cold_items(const struct thaw_cold *c) {
    return c->nitems;
}

int32_t thaw_cold_features(const struct thaw_cold *c) {
    return c->features;
}

int thaw_cold_nearest(const int32_t *known, size_t nknown, int64_t n) {
    int best = -1;
    for (size_t i = 0; i < nknown; i++)
        if (best < 0 || llabs(known[i] - n) <= llabs(known[best] - n)) best = (int)i;
    return best;
}

void thaw_cold_default_known(Thaw__Known *k, int known) {
    static const int32_t number[] = {0, 1, 3, 5, 10};
    // a and b of P; weights of P, E, G, T; weight of the unobserved and regularization of the fold-in; own,
    // background, sharpness and profile of T
    static const double value[][12] = {{0, .03, 0, .5, .5, 0, .09, 3, .1, .05, .75, 2},
                                       {0, .03, .5, 1, .5, 0, .09, 3, .3, .05, 1.25, 2},
                                       {.003, .03, 1, .5, .5, .5, .06, 1.5, .3, .05, 1.25, 2},
                                       {.003, .06, .5, .5, 1, 1, .06, .45, .3, 1, 1.25, 2},
                                       {.01, .06, .5, 1, .5, .5, .09, .1, .3, 1, 1, 2}};
    const int at = thaw_cold_nearest(number, sizeof number / sizeof *number, known);
    thaw__known__init(k);
    k->known = known;
    k->prior_unobserved = value[at][0];
    k->prior_weight = value[at][1];
    k->prior = value[at][2];
    k->association = value[at][3];
    k->generator = value[at][4];
    k->types = value[at][5];
    k->unobserved_weight = value[at][6];
    k->regularization = value[at][7];
    k->types_own = value[at][8];
    k->types_background = value[at][9];
    k->types_sharpness = value[at][10];
    k->types_profile = value[at][11];
}

const Thaw__Known *cold_numbers(const struct thaw_cold *c, int64_t n, const Thaw__Known *known,
                                Thaw__Known *store) {
    if (known) return known;
    if (!c->blend || c->blend->n_known == 0) {
        thaw_cold_default_known(store, n > INT32_MAX ? INT32_MAX : (int)n);
        store->regularization = 0; // a fold-in as training would do it
        return store;
    }
    const Thaw__Known *best = c->blend->known[0];
    for (size_t i = 1; i < c->blend->n_known; i++) {
        const Thaw__Known *k = c->blend->known[i];
        const int64_t far = llabs(k->known - n), near = llabs(best->known - n);
        if (far < near || (far == near && k->known > best->known)) best = k;
    }
    return best;
}

void cold_weights(const struct thaw_cold *c, const Thaw__Known *known, double weight[COLD_MEMBERS]) {
    const double wanted[COLD_MEMBERS] = {known->prior, known->association, known->generator, known->types};
    double sum = 0;
    for (int m = 0; m < COLD_MEMBERS; m++)
        sum += fabs(weight[m] = thaw_cold_has(c, cold_member[m]) ? wanted[m] : 0);
    for (int m = 0; m < COLD_MEMBERS && !(sum > 0); m++) weight[m] = thaw_cold_has(c, cold_member[m]);
}

// ---- Scratch ----

static int generator_work(struct thaw_cold_work *w, const struct thaw_cold *c, struct thaw_err *err) {
    struct gen_work *g = &w->g;
    const size_t samples = (size_t)c->samples, hidden = (size_t)c->shape.hidden, k = (size_t)c->shape.k;
    int code = thaw_alloc(&g->noise, samples * (size_t)c->shape.noise, sizeof *g->noise, "noise", err);
    if (!code) code = thaw_alloc(&g->one, samples * hidden, sizeof *g->one, "a layer", err);
    if (!code) code = thaw_alloc(&g->two, samples * hidden, sizeof *g->two, "a layer", err);
    if (!code) code = thaw_alloc(&g->hidden, samples * hidden, sizeof *g->hidden, "a layer", err);
    if (!code) code = thaw_alloc(&g->base, hidden, sizeof *g->base, "a layer", err);
    if (!code) code = thaw_alloc(&g->pooled, 2 * k, sizeof *g->pooled, "pooled items", err);
    if (!code) code = thaw_alloc(&g->latent, k, sizeof *g->latent, "a latent", err);
    if (!code)
        code = thaw_alloc(&g->query, (size_t)quick_width(c->shape.k + 1), sizeof *g->query, "a query", err);
    if (!code) code = thaw_alloc(&g->attend, k, sizeof *g->attend, "a query", err);
    if (!code) code = thaw_alloc(&g->match, k, sizeof *g->match, "a query", err);
    if (!code) code = thaw_alloc(&g->weight, (size_t)c->shape.longest, sizeof *g->weight, "attention", err);
    return code;
}

static int types_work(struct thaw_cold_work *w, const struct thaw_cold *c, struct thaw_err *err) {
    const size_t n = (size_t)c->types.n, k = (size_t)c->k;
    int code = thaw_alloc(&w->type_weight, n, sizeof *w->type_weight, "types", err);
    if (!code) code = thaw_alloc(&w->type_all, n, sizeof *w->type_all, "types", err);
    if (!code) code = thaw_alloc(&w->type_share, n, sizeof *w->type_share, "types", err);
    if (!code) code = thaw_alloc(&w->type_fixed, n + 1, sizeof *w->type_fixed, "types", err);
    if (!code)
        code = thaw_alloc(&w->type_profile, (size_t)cold_types_features(c) + 1, sizeof *w->type_profile,
                          "a profile", err);
    if (!code)
        code = thaw_alloc(&w->type_match, COLD_TYPES_TOGETHER * n, sizeof *w->type_match, "types", err);
    return code ? code
                : thaw_alloc(&w->type_rows, COLD_TYPES_TOGETHER * k, sizeof *w->type_rows, "types", err);
}

int thaw_cold_work_new(struct thaw_cold_work **out, const struct thaw_cold *c, struct thaw_err *err) {
    struct thaw_cold_work *w = NULL;
    const size_t d = (size_t)c->columns;
    int code = thaw_alloc(&w, 1, sizeof *w, "scratch for scores", err);
    if (code) return code;
    w->c = c;
    code = thaw_alloc(&w->a, d * d, sizeof *w->a, "a system", err);
    if (!code) code = thaw_alloc(&w->b, d, sizeof *w->b, "a system", err);
    if (!code) code = thaw_alloc(&w->t, d, sizeof *w->t, "a system", err);
    if (!code) code = thaw_alloc(&w->mean, d, sizeof *w->mean, "a system", err);
    if (!code) code = thaw_alloc(&w->query, (size_t)c->columns + 1, sizeof *w->query, "a query", err);
    if (!code) code = thaw_alloc(&w->doubt, DOUBT_ROWS * d, sizeof *w->doubt, "a block of scores", err);
    if (!code && c->generator) code = generator_work(w, c, err);
    if (!code && c->types.n) code = types_work(w, c, err);
    if (code)
        thaw_cold_work_free(&w);
    else
        *out = w;
    return code;
}

int cold_scores(const struct thaw_cold *c, struct thaw_cold_work *w, struct thaw_err *err) {
    return w->scores ? THAW_OK : thaw_alloc(&w->scores, (size_t)c->nitems, sizeof *w->scores, "scores", err);
}

void thaw_cold_work_free(struct thaw_cold_work **out) {
    struct thaw_cold_work *w = *out;
    if (!w) return;
    void *const owned[] = {w->item,      w->at,          w->strength,     w->a,          w->b,
                           w->t,         w->mean,        w->query,        w->scores,     w->doubt,
                           w->g.noise,   w->g.one,       w->g.two,        w->g.hidden,   w->g.base,
                           w->g.pooled,  w->g.latent,    w->g.query,      w->g.attend,   w->g.match,
                           w->g.weight,  w->type_weight, w->type_all,     w->type_share, w->type_match,
                           w->type_rows, w->type_fixed,  w->type_profile, w->raw[0],     w->rough,
                           w->maybe,     w->low};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) free(owned[i]);
    free(w);
    *out = NULL;
}

// ---- Who it is ----

// What training takes for a value of the log.
static float strength_of(const Thaw__Als *als, float r) {
    if (als->model == THAW__ALS__MODEL__EXPLICIT || als->strength == THAW__ALS__STRENGTH__RAW) return r;
    if (r <= 0) return 0;
    return als->strength == THAW__ALS__STRENGTH__LOG ? (float)log2(1 + (double)r) : 1;
}

static int features_known(const struct thaw_cold *c, const struct thaw_newcomer *who, struct thaw_err *err) {
    for (int64_t i = 0; i < who->nfeatures; i++)
        if (who->feature[i] >= (uint32_t)c->columns_seen || !isfinite(cold_value(who, i)))
            return thaw_fail(err, THAW_EDATA, "feature column %u of %d, value %g", who->feature[i],
                             c->features, (double)cold_value(who, i));
    return THAW_OK;
}

int cold_known(const struct thaw_cold *c, const struct thaw_newcomer *who, struct thaw_cold_work *w,
               struct thaw_err *err) {
    const size_t n = (size_t)who->nitems;
    int code = who->nfeatures && c->columns_seen ? features_known(c, who, err) : THAW_OK;
    w->n = 0;
    if (!code) code = thaw_grow(&w->item, &w->item_cap, n, sizeof *w->item, "a history", err);
    if (!code) code = thaw_grow(&w->at, &w->at_cap, n, sizeof *w->at, "a history", err);
    if (!code) code = thaw_grow(&w->strength, &w->strength_cap, n, sizeof *w->strength, "a history", err);
    for (int64_t i = 0; !code && i < who->nitems; i++) {
        if (who->item[i] < 0 || who->item[i] >= c->nitems)
            return thaw_fail(err, THAW_EDATA, "history entry %" PRId64 ": no item row %" PRId64, i,
                             who->item[i]);
        if (who->strength && !isfinite(who->strength[i]))
            return thaw_fail(err, THAW_EDATA,
                             "history entry %" PRId64 ": its strength is not a finite number", i);
        const float s = strength_of(c->als, who->strength ? who->strength[i] : 1);
        if (c->als->model != THAW__ALS__MODEL__EXPLICIT && !(s > 0)) continue;
        w->item[w->n] = who->item[i];
        w->strength[w->n] = s;
        w->at[w->n++] = i;
    }
    return code;
}
