// evaluate_tune.c: the search for the numbers of models and baselines, on validation users alone.
//
// Every number of known items has its own. A search is one pass over the users for all candidates of a grid,
// users spread over ranks and threads; a model that must be fitted anew is one pass for each fit. The first
// of equals wins, so the choice is the same for any number of ranks.
#include "base/mem.h"
#include "jobs/evaluation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- The grids ----

#define N(array) ((int)(sizeof(array) / sizeof *(array)))

static const double cell_strengths[] = {10, 30, 100, 300}, cell_others[] = {30, 100, 300},
                    cell_weights[] = {0, .25, .5, 1};
static const double knn_shrinks[] = {0, 10, 30, 100, 300, 1000}, knn_powers[] = {0, .25, .5, .75};
static const double ease_ridges[] = {1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6};
static const struct {
    int factors;
    double unobserved, regularization;
} ials_trainings[] = {{32, .1, .01},   {32, .2, .015}, {32, .3, .03}, {64, .1, .005},
                      {64, .1, .01},   {64, .2, .01},  {64, .3, .01}, {128, .3, .01},
                      {64, .003, .02}, {64, .01, .02}, {64, .03, .02}}; // the last three for sparse logs
static const double ials_unobserved[] = {.001, .003, .01, .03, .06, .09, .15},
                    ials_regularizations[] = {.01, .03, .1, .2, .45, .8, 1.5, 3, 5};
static const double prior_unobserved[] = {0, .001, .003, .01, .03}, prior_weights[] = {.01, .03, .06, .1, .2};
static const double episodic_ridges[] = {.25, .5, 1, 2, 5, 10};
static const double types_own[] = {.1, .3}, types_background[] = {.05, .2, 1},
                    types_sharpness[] = {.75, 1, 1.25}, types_profile[] = {0, 2};
static const double blend_weights[] = {0, .5, 1};
static const double virtual_weights[] = {0, .1, .25, .5, 1},
                    virtual_unobserved[] = {.001, .003, .01, .03, .1},
                    virtual_regularizations[] = {.03, .1, .3, 1, 3};

enum { CANDIDATES = 128 };

// ---- A search ----

struct search {
    struct thaw_study *s;
    int cutoff;
    Thaw__Known candidate[CANDIDATES];
    double weight[CANDIDATES][THAW_BLEND_MODELS];
    double ndcg[CANDIDATES], sum[CANDIDATES];
    int n;
    double best[THAW_KNOWN_MAX]; // of what is searched now, for each number of known items
};

static void restart(struct search *q) {
    for (int i = 0; i < THAW_KNOWN_MAX; i++) q->best[i] = -1;
}

static int best_of(const double *ndcg, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (ndcg[i] > ndcg[best]) best = i;
    return best;
}

static Thaw__Known *add(struct search *q, int at) {
    q->candidate[q->n] = q->s->known[at];
    return &q->candidate[q->n++];
}

// Collective. All candidates for entry `at`; the best becomes the entry's.
static int pass(struct search *q, const struct thaw_scorer *scorer, int at, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    const int code =
        thaw_cold_search(s->c, scorer, &s->validation, s->e->known[at], q->cutoff, q->n, q->ndcg, err);
    if (code) return code;
    const int best = best_of(q->ndcg, q->n);
    s->known[at] = q->candidate[best];
    q->best[at] = q->ndcg[best];
    return THAW_OK;
}

static void say(const struct search *q, const char *name, double start) {
    char line[256];
    int n =
        snprintf(line, sizeof line, "tuned %s in %.1f s: NDCG@%d", name, thaw_time_s() - start, q->cutoff);
    for (int i = 0; i < q->s->e->nknown && n < (int)sizeof line - 24; i++)
        if (q->best[i] >= 0)
            n += snprintf(line + n, sizeof line - (size_t)n, " %.4f", q->best[i]);
        else
            n += snprintf(line + n, sizeof line - (size_t)n, " -");
    thaw_log_note(q->s->e->ctx->log, "%s of validation users", line);
}

// ---- Baselines ----

static int tune_cells(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    int code = THAW_OK;
    if (!s->wanted[THAW_SYSTEM_CELLS]) return THAW_OK;
    q->n = 0;
    for (int i = 0; i < N(cell_strengths); i++)
        for (int j = 0; j < (s->cells.ngroups > 1 ? N(cell_others) : 1); j++)
            for (int k = 0; k < (s->cells.ngroups > 1 ? N(cell_weights) : 1); k++) {
                Thaw__Known *c = add(q, 0);
                c->cell_strength = cell_strengths[i];
                c->cell_others = cell_others[j];
                c->cell_weight = cell_weights[k];
            }
    const struct thaw_cells_scorer self = {.cells = &s->cells, .known = q->candidate};
    const struct thaw_scorer scorer = thaw_scorer_of_cells(&self);
    code = pass(q, &scorer, 0, err);
    for (int at = 1; at < s->e->nknown; at++) { // known items make no difference to it
        q->best[at] = q->best[0];
        s->known[at].cell_strength = s->known[0].cell_strength;
        s->known[at].cell_others = s->known[0].cell_others;
        s->known[at].cell_weight = s->known[0].cell_weight;
    }
    return code;
}

static int tune_knn(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    int code = thaw_study_neighbors(s, err);
    for (int at = 0; !code && at < s->e->nknown; at++) {
        struct thaw_neighbors_scorer self = {0};
        if (s->e->known[at] == 0) continue;
        q->n = 0;
        for (int i = 0; i < N(knn_shrinks); i++)
            for (int j = 0; j < N(knn_powers); j++) {
                Thaw__Known *c = add(q, at);
                c->knn_shrink = knn_shrinks[i];
                c->knn_power = knn_powers[j];
            }
        code = thaw_neighbors_scorer_new(&self, &s->neighbors, q->candidate, q->n, err);
        code = thaw_comm_agree(s->c, code, err);
        const struct thaw_scorer scorer = thaw_scorer_of_neighbors(&self);
        if (!code) code = pass(q, &scorer, at, err);
        thaw_neighbors_scorer_clear(&self);
    }
    return code;
}

// Collective. What an association ranks at entry `at`.
static int try_association(struct search *q, const struct thaw_cold *cold, int at, double *ndcg,
                           struct thaw_err *err) {
    const struct thaw_model_scorer self = {
        .cold = cold, .method = THAW_COLD_ASSOCIATION, .known = &q->s->known[at]};
    const struct thaw_scorer scorer = thaw_scorer_of_model(&self);
    return thaw_cold_search(q->s->c, &scorer, &q->s->validation, q->s->e->known[at], q->cutoff, 1, ndcg, err);
}

static int tune_ease(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    double chosen[THAW_KNOWN_MAX] = {0}, ndcg = 0;
    int code = THAW_OK;
    for (int i = 0; !code && i < N(ease_ridges); i++) {
        code = thaw_study_ease(s, ease_ridges[i], err);
        for (int at = 0; !code && at < s->e->nknown; at++) {
            if (s->e->known[at] == 0) continue;
            code = try_association(q, s->ease, at, &ndcg, err);
            if (code || ndcg <= q->best[at]) continue;
            q->best[at] = ndcg;
            chosen[at] = ease_ridges[i];
        }
    }
    for (int at = 0; !code && at < s->e->nknown; at++)
        if (s->e->known[at] > 0) s->known[at].ease = chosen[at];
    return code;
}

// Collective. One training with all fold-ins.
static int try_ials(struct search *q, int training, Thaw__Known *chosen, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    double ndcg = 0;
    int code =
        thaw_ials_train(&s->ials, ials_trainings[training].factors, ials_trainings[training].unobserved,
                        ials_trainings[training].regularization, err);
    for (int at = 0; at < s->e->nknown; at++)
        for (int i = 0; s->e->known[at] > 0 && i < N(ials_unobserved); i++)
            for (int j = 0; !code && j < N(ials_regularizations); j++) {
                const struct thaw_heldout_model m =
                    thaw_ials_model(&s->ials, ials_unobserved[i], ials_regularizations[j]);
                code = thaw_heldout_ndcg(s->c, &m, s->validation_set, s->e->known[at], q->cutoff, &ndcg, err);
                if (code || ndcg <= q->best[at]) continue;
                q->best[at] = ndcg;
                chosen[at] = s->known[at];
                chosen[at].ials_factors = ials_trainings[training].factors;
                chosen[at].ials_unobserved = ials_trainings[training].unobserved;
                chosen[at].ials_regularization = ials_trainings[training].regularization;
                chosen[at].unobserved_weight = ials_unobserved[i];
                chosen[at].regularization = ials_regularizations[j];
            }
    return code;
}

static int tune_ials(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    Thaw__Known chosen[THAW_KNOWN_MAX];
    int code = THAW_OK;
    memcpy(chosen, s->known, sizeof chosen);
    for (int i = 0; !code && i < N(ials_trainings); i++) code = try_ials(q, i, chosen, err);
    if (!code) memcpy(s->known, chosen, sizeof chosen);
    return code;
}

// ---- Models ----

static int tune_prior(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    const struct thaw_model_scorer self = {
        .cold = s->with.cold[0], .method = THAW_COLD_PRIOR, .known = q->candidate};
    const struct thaw_scorer scorer = thaw_scorer_of_model(&self);
    int code = THAW_OK;
    for (int at = 0; !code && at < s->e->nknown; at++) {
        q->n = 0;
        for (int i = 0; i < N(prior_unobserved); i++)
            for (int j = 0; j < N(prior_weights); j++) {
                Thaw__Known *c = add(q, at);
                c->prior_unobserved = prior_unobserved[i];
                c->prior_weight = prior_weights[j];
            }
        code = pass(q, &scorer, at, err);
    }
    return code;
}

static void types_candidates(struct search *q, int at) {
    q->n = 0;
    for (int o = 0; o < N(types_own); o++)
        for (int b = 0; b < N(types_background); b++)
            for (int s = 0; s < N(types_sharpness); s++)
                for (int p = 0; p < N(types_profile); p++) {
                    Thaw__Known *c = add(q, at);
                    c->types_own = types_own[o];
                    c->types_background = types_background[b];
                    c->types_sharpness = types_sharpness[s];
                    c->types_profile = types_profile[p];
                }
}

static int tune_types(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    const struct thaw_model_scorer self = {
        .cold = s->with.cold[0], .method = THAW_COLD_TYPES, .known = q->candidate};
    const struct thaw_scorer scorer = thaw_scorer_of_model(&self);
    int code = THAW_OK;
    for (int at = 0; !code && at < s->e->nknown; at++) {
        types_candidates(q, at);
        code = pass(q, &scorer, at, err);
    }
    return code;
}

static bool is_blend(const double w[THAW_BLEND_MODELS], const bool has[THAW_BLEND_MODELS]) {
    double most = 0;
    for (int m = 0; m < THAW_BLEND_MODELS; m++) {
        if (w[m] > 0 && !has[m]) return false;
        most = fmax(most, w[m]);
    }
    return most == 1;
}

static void blend_candidate(struct search *q, int at, const double w[THAW_BLEND_MODELS]) {
    memcpy(q->weight[q->n], w, sizeof q->weight[0]);
    Thaw__Known *c = add(q, at);
    c->prior = w[0];
    c->association = w[1];
    c->generator = w[2];
    c->types = w[3];
}

// All ratios of weights of the models there are.
static void blend_candidates(struct search *q, int at, const bool has[THAW_BLEND_MODELS]) {
    q->n = 0;
    for (int p = N(blend_weights) - 1; p >= 0; p--)
        for (int e = N(blend_weights) - 1; e >= 0; e--)
            for (int g = N(blend_weights) - 1; g >= 0; g--)
                for (int t = N(blend_weights) - 1; t >= 0; t--) {
                    const double w[] = {blend_weights[p], blend_weights[e], blend_weights[g],
                                        blend_weights[t]};
                    if (is_blend(w, has)) blend_candidate(q, at, w);
                }
}

static int tune_blend(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    int code = THAW_OK;
    for (int at = 0; !code && at < s->e->nknown; at++) {
        const Thaw__Known known = s->known[at];
        memset(q->sum, 0, sizeof q->sum);
        for (int seed = 0; !code && seed < s->with.n; seed++) {
            struct thaw_blend_scorer self = {.cold = s->with.cold[seed],
                                             .known = &known,
                                             .weight = (const double(*)[THAW_BLEND_MODELS])q->weight};
            const struct thaw_scorer scorer = thaw_scorer_of_blend(&self);
            blend_candidates(q, at, self.has);
            code = thaw_cold_search(s->c, &scorer, &s->validation, s->e->known[at], q->cutoff, q->n, q->ndcg,
                                    err);
            for (int i = 0; i < q->n; i++) q->sum[i] += q->ndcg[i] / s->with.n;
        }
        if (code) break;
        const int best = best_of(q->sum, q->n);
        s->known[at] = q->candidate[best];
        q->best[at] = q->sum[best];
    }
    return code;
}

static void virtual_candidates(struct search *q, int at) {
    q->n = 0;
    for (int w = 0; w < N(virtual_weights); w++)
        for (int a = 0; a < N(virtual_unobserved); a++)
            for (int l = 0; l < N(virtual_regularizations); l++) {
                Thaw__Known *c = add(q, at);
                c->virtual_weight = virtual_weights[w];
                c->virtual_unobserved = virtual_unobserved[a];
                c->virtual_regularization = virtual_regularizations[l];
            }
}

// By the first generator's items: the weight of others' is the same.
static int tune_virtual(struct search *q, struct thaw_err *err) {
    struct thaw_study *s = q->s;
    const struct thaw_virtual_scorer self = {
        .generator = s->with.cold[0], .fold = s->fold, .known = q->candidate};
    const struct thaw_scorer scorer = thaw_scorer_of_virtual(&self);
    int code = THAW_OK;
    for (int at = 0; !code && at < s->e->nknown; at++) {
        virtual_candidates(q, at);
        code = pass(q, &scorer, at, err);
    }
    return code;
}

// E must be fitted for every ridge.
int thaw_study_tune_episodic(struct thaw_study *s, struct thaw_err *err) {
    struct search *q = calloc(1, sizeof *q);
    double ridge[THAW_KNOWN_MAX], chosen[THAW_KNOWN_MAX] = {0}, ndcg = 0;
    const double start = thaw_time_s();
    int code = thaw_comm_agree(s->c, q ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a search"), err);
    if (code) goto done;
    q->s = s;
    q->cutoff = s->e->cutoff[s->e->ncutoffs - 1];
    restart(q);
    for (int i = 0; !code && i < N(episodic_ridges); i++) {
        Thaw__Association *manifest = NULL;
        struct thaw_cold *cold = NULL;
        for (int at = 0; at < s->e->nknown; at++) ridge[at] = episodic_ridges[i];
        code = thaw_study_fit(s, THAW__ASSOCIATION__METHOD__EPISODIC, s->e->known, ridge, s->e->nknown,
                              "episodic", &manifest, &cold, err);
        for (int at = 0; !code && at < s->e->nknown; at++) {
            code = try_association(q, cold, at, &ndcg, err);
            if (code || ndcg <= q->best[at]) continue;
            q->best[at] = ndcg;
            chosen[at] = ridge[at];
        }
        thaw_study_drop(s, "episodic", &manifest, &cold);
    }
    for (int at = 0; !code && at < s->e->nknown; at++) s->known[at].episodic = chosen[at];
    if (!code) say(q, "E", start);
done:
    free(q);
    return code;
}

// ---- All of it ----

int thaw_study_tune(struct thaw_study *s, struct thaw_err *err) {
    static const struct {
        enum thaw_system system;
        const char *name;
        int (*search)(struct search *q, struct thaw_err *err);
    } step[] = {
        {THAW_SYSTEM_CELLS, "cells", tune_cells},       {THAW_SYSTEM_KNN, "knn", tune_knn},
        {THAW_SYSTEM_EASE, "EASE", tune_ease},          {THAW_SYSTEM_IALS, "iALS", tune_ials},
        {THAW_SYSTEM_PRIOR, "P", tune_prior},           {THAW_SYSTEM_TYPES, "T", tune_types},
        {THAW_SYSTEM_ENSEMBLE, "ensemble", tune_blend}, {THAW_SYSTEM_VIRTUAL, "virtual", tune_virtual}};
    struct search *q = calloc(1, sizeof *q);
    int code = thaw_comm_agree(s->c, q ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a search"), err);
    if (code) goto done;
    q->s = s;
    q->cutoff = s->e->cutoff[s->e->ncutoffs - 1];
    for (int i = 0; !code && i < N(step); i++) {
        const double start = thaw_time_s();
        struct thaw_err why = THAW_ERR_INIT;
        if (!s->wanted[step[i].system]) continue;
        restart(q);
        code = step[i].search(q, &why);
        if (code == THAW_EMEM && thaw_system_needs_items(step[i].system) && !s->asked[step[i].system]) {
            thaw_log_warn(s->e->ctx->log, "%s is not tuned: %s", step[i].name, why.text);
            code = THAW_OK;
        } else if (code) {
            *err = why;
        } else {
            say(q, step[i].name, start);
        }
    }
    s->tuned = !code;
done:
    free(q);
    return code;
}
