// evaluate_systems.c: models and baselines as lists of items.
#include "jobs/evaluation.h"

// Collective.
static int top_cells(struct thaw_study *s, int at, int k, int64_t *top, struct thaw_err *err) {
    const struct thaw_cells_scorer self = {.cells = &s->cells, .known = &s->known[at]};
    const struct thaw_scorer scorer = thaw_scorer_of_cells(&self);
    return thaw_cold_rank(s->c, &scorer, &s->test, s->e->known[at], 0, k, top, err);
}

static int top_knn(struct thaw_study *s, int at, int k, int64_t *top, struct thaw_err *err) {
    struct thaw_neighbors_scorer self = {0};
    int code = thaw_study_neighbors(s, err);
    if (code) return code;
    code = thaw_comm_agree(s->c, thaw_neighbors_scorer_new(&self, &s->neighbors, &s->known[at], 1, err), err);
    const struct thaw_scorer scorer = thaw_scorer_of_neighbors(&self);
    if (!code) code = thaw_cold_rank(s->c, &scorer, &s->test, s->e->known[at], 0, k, top, err);
    thaw_neighbors_scorer_clear(&self);
    return code;
}

static int top_ials(struct thaw_study *s, int at, int k, int64_t *top, struct thaw_err *err) {
    const Thaw__Known *n = &s->known[at];
    const int code =
        thaw_ials_train(&s->ials, n->ials_factors, n->ials_unobserved, n->ials_regularization, err);
    if (code) return code;
    const struct thaw_heldout_model m = thaw_ials_model(&s->ials, n->unobserved_weight, n->regularization);
    return thaw_heldout_top(s->c, &m, s->e->users, s->e->known[at], k, top, err);
}

static int top_model(struct thaw_study *s, const struct thaw_cold *cold, enum thaw_cold_method method, int at,
                     int k, int64_t *top, struct thaw_err *err) {
    const struct thaw_model_scorer self = {.cold = cold, .method = method, .known = &s->known[at]};
    const struct thaw_scorer scorer = thaw_scorer_of_model(&self);
    return thaw_cold_rank(s->c, &scorer, &s->test, s->e->known[at], 0, k, top, err);
}

static int top_virtual(struct thaw_study *s, int at, int seed, int k, int64_t *top, struct thaw_err *err) {
    const struct thaw_virtual_scorer self = {
        .generator = s->with.cold[seed], .fold = s->fold, .known = &s->known[at]};
    const struct thaw_scorer scorer = thaw_scorer_of_virtual(&self);
    return thaw_cold_rank(s->c, &scorer, &s->test, s->e->known[at], 0, k, top, err);
}

int thaw_study_top(struct thaw_study *s, enum thaw_system system, int at, int seed, int k, int64_t *top,
                   struct thaw_err *err) {
    struct thaw_scorer scorer;
    int code = THAW_OK;
    switch (system) {
    case THAW_SYSTEM_POPULARITY:
        scorer = thaw_scorer_of_popularity(&s->popularity);
        return thaw_cold_rank(s->c, &scorer, &s->test, s->e->known[at], 0, k, top, err);
    case THAW_SYSTEM_CELLS:
        return top_cells(s, at, k, top, err);
    case THAW_SYSTEM_KNN:
        return top_knn(s, at, k, top, err);
    case THAW_SYSTEM_EASE:
        code = thaw_study_ease(s, s->known[at].ease, err);
        return code ? code : top_model(s, s->ease, THAW_COLD_ASSOCIATION, at, k, top, err);
    case THAW_SYSTEM_IALS:
        return top_ials(s, at, k, top, err);
    case THAW_SYSTEM_PRIOR:
        return top_model(s, s->with.cold[0], THAW_COLD_PRIOR, at, k, top, err);
    case THAW_SYSTEM_ASSOCIATION:
        return top_model(s, s->with.cold[0], THAW_COLD_ASSOCIATION, at, k, top, err);
    case THAW_SYSTEM_GENERATOR:
        return top_model(s, s->with.cold[seed], THAW_COLD_GENERATOR, at, k, top, err);
    case THAW_SYSTEM_TYPES:
        return top_model(s, s->with.cold[0], THAW_COLD_TYPES, at, k, top, err);
    case THAW_SYSTEM_ENSEMBLE:
        return top_model(s, s->with.cold[seed], THAW_COLD_ENSEMBLE, at, k, top, err);
    case THAW_SYSTEM_VIRTUAL:
        return top_virtual(s, at, seed, k, top, err);
    case THAW_SYSTEM_GENERATOR_WITHOUT:
        return top_model(s, s->without.cold[seed], THAW_COLD_GENERATOR, at, k, top, err);
    case THAW_SYSTEM_ENSEMBLE_WITHOUT:
        return top_model(s, s->without.cold[seed], THAW_COLD_ENSEMBLE, at, k, top, err);
    case THAW_SYSTEMS:
        break;
    }
    return thaw_fail(err, THAW_EBUG, "no system %d", (int)system);
}
