// cold_types.c: T. Which of the training users kept with the prior is the newcomer like? Each of them, a
// type, would take an item with a probability that its own history, its factors and the item's popularity
// give; Bayes' rule over the types (Pennock et al. 2000, "Collaborative filtering by personality diagnosis")
// weighs their histories. Opening reads the lists once, to check them.
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include "base/mem.h"
#include "dense/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Files ----

// Lists that rise from 0 to the end of their entries, which are below `limit`.
static int lists_check(const struct thaw_npy *indptr, const struct thaw_npy *entries, int64_t limit,
                       const char *dir, const char *what, struct thaw_err *err) {
    const int64_t *ptr = indptr->data, rows = indptr->shape.rows - 1;
    const uint32_t *entry = entries->data;
    bool good = ptr[0] == 0 && ptr[rows] == entries->shape.rows;
    for (int64_t r = 0; good && r < rows; r++) good = ptr[r] <= ptr[r + 1];
    for (int64_t i = 0; good && i < entries->shape.rows; i++) good = entry[i] < limit;
    return good ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: the %s of its types are damaged", dir, what);
}

// A list for each row: its file of beginnings, then what they begin in.
static int lists_open(struct thaw_npy *indptr, const char *indptr_name, struct thaw_npy *entries,
                      const char *name, const char *dir, int64_t rows, struct thaw_err *err) {
    const int code = cold_file_open(indptr, dir, indptr_name, THAW_NPY_I64, 1, rows + 1, 1, err);
    return code ? code : cold_file_open(entries, dir, name, THAW_NPY_U32, 1, -1, 1, err);
}

static int profile_open(struct thaw_cold *c, const char *dir, struct thaw_err *err) {
    struct cold_types *t = &c->types;
    int code = lists_open(&t->profile_indptr, "prior.types_profile_indptr.npy", &t->profile_columns,
                          "prior.types_profile_columns.npy", dir, t->n, err);
    if (!code)
        code = cold_file_open(&t->profile_values, dir, "prior.types_profile_values.npy", THAW_NPY_F32, 1,
                              t->profile_columns.shape.rows, 1, err);
    return code ? code
                : lists_check(&t->profile_indptr, &t->profile_columns, UINT32_MAX, dir, "profiles", err);
}

int cold_open_types(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    struct cold_types *t = &c->types;
    const char *dir = s->prior_dir;
    const int64_t n = s->prior->types;
    if (n < 1 || n > INT32_MAX) return thaw_fail(err, THAW_EDATA, "%s: %" PRId64 " types", dir, n);
    t->n = n;
    int code = cold_file_open(&t->factors, dir, "prior.types_factors.npy", THAW_NPY_F32, 2, n, c->k, err);
    if (!code) code = cold_file_open(&t->mass, dir, "prior.types_mass.npy", THAW_NPY_F64, 2, n, 2, err);
    if (!code)
        code = lists_open(&t->indptr, "prior.types_indptr.npy", &t->users, "prior.types_users.npy", dir,
                          c->nitems, err);
    if (!code) code = lists_check(&t->indptr, &t->users, n, dir, "histories", err);
    return code || s->prior->user_features == s->prior->user_vector ? code : profile_open(c, dir, err);
}

// The types that have an item.
static int64_t users_of(const struct thaw_cold *c, int64_t item, const uint32_t **user) {
    const int64_t *ptr = (const int64_t *)c->types.indptr.data + item;
    *user = (const uint32_t *)c->types.users.data + ptr[0];
    return ptr[1] - ptr[0];
}

// ---- How well a type explains what is known ----

// Probabilities that are multiplied before a logarithm is taken: they cannot underflow, as each is a float.
enum { TOGETHER = COLD_TYPES_TOGETHER };

// type_all[u] = 1 / what type u would take of all items.
static void take_all(const struct thaw_cold *c, const Thaw__Known *k, struct thaw_cold_work *w) {
    const struct cold_types *t = &c->types;
    const double own = k->types_own, others = (double)t->users.shape.rows + .5 * (double)c->nitems;
    const double *mass = t->mass.data, background = k->types_background / (double)t->n;
    for (int64_t u = 0; u < t->n; u++)
        w->type_all[u] = 1 / (own * mass[2 * u] + (1 - own) * (mass[2 * u + 1] + background * others));
}

// match[u] += log of type u's probability of taking the m items, of all that it would take.
static void add_items(const struct thaw_cold *c, const Thaw__Known *k, const int64_t *item, int m,
                      struct thaw_cold_work *w, double *match) {
    const struct cold_types *t = &c->types;
    const float own = (float)k->types_own;
    const double background = k->types_background / (double)t->n;
    float *rows = w->type_rows;
    int32_t part;
    for (int j = 0; j < m; j++)
        memcpy(rows + j * c->k, cold_row(c, item[j], &part), (size_t)c->k * sizeof *rows);
    thaw_score(rows, m, t->factors.data, t->n, c->k, w->type_match);
    for (int64_t u = 0; u < t->n; u++) w->type_share[u] = 1;
    for (int j = 0; j < m; j++) {
        float *taste = w->type_match + j * t->n;
        const uint32_t *user;
        const int64_t n = users_of(c, item[j], &user);
        const float popular = (float)(background * ((double)n + .5)); // nobody counts as half a type
        for (int64_t u = 0; u < t->n; u++) taste[u] = (1 - own) * ((taste[u] > 0 ? taste[u] : 0) + popular);
        for (int64_t i = 0; i < n; i++) taste[user[i]] += own;
        for (int64_t u = 0; u < t->n; u++) w->type_share[u] *= (double)taste[u] * w->type_all[u];
    }
    cold_log(match, w->type_share, t->n);
}

// match[u] += times the product of type u's profile and the newcomer's features [from, to).
// profile: zeros, as they are again afterwards; the last is for columns of damaged files.
static void add_features(const struct thaw_cold *c, double times, const struct thaw_newcomer *who,
                         int64_t from, int64_t to, double *profile, double *match) {
    const struct cold_types *t = &c->types;
    const int64_t *ptr = t->profile_indptr.data;
    const uint32_t *column = t->profile_columns.data, features = (uint32_t)cold_types_features(c);
    const float *value = t->profile_values.data;
    for (int64_t a = from; a < to; a++)
        if (who->feature[a] < features) profile[who->feature[a]] = times * (double)cold_value(who, a);
    for (int64_t u = 0; u < t->n; u++) {
        double sum = 0;
        for (int64_t i = ptr[u]; i < ptr[u + 1]; i++)
            sum += profile[column[i] < features ? column[i] : features] * (double)value[i];
        match[u] += sum;
    }
    for (int64_t a = from; a < to; a++)
        if (who->feature[a] < features) profile[who->feature[a]] = 0;
}

// match[a * pitch + u] += times the a-th feature's part of the cosine of the profiles of newcomer and type u.
static void add_profile(const struct thaw_cold *c, double times, const struct thaw_newcomer *who,
                        struct thaw_cold_work *w, double *match, int64_t pitch) {
    double squares = 0;
    for (int64_t a = 0; a < who->nfeatures; a++)
        if (cold_sees(cold_types_features(c), who, a))
            squares += (double)cold_value(who, a) * (double)cold_value(who, a);
    if (!(squares > 0)) return;
    times /= sqrt(squares);
    for (int64_t a = 0; a < who->nfeatures && pitch; a++)
        add_features(c, times, who, a, a + 1, w->type_profile, match + a * pitch);
    if (!pitch) add_features(c, times, who, 0, who->nfeatures, w->type_profile, match);
}

// What each input adds to the log-likelihood of each type: match[input * pitch + type], the w->n known items
// before the features; pitch 0: their sum. match comes in zero.
static void likelihoods(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                        struct thaw_cold_work *w, double *match, int64_t pitch) {
    Thaw__Known store;
    if (!(known->types_sharpness > 0)) { // a blend that was tuned without T has no numbers for it
        thaw_cold_default_known(&store, known->known);
        known = &store;
    }
    take_all(c, known, w);
    for (int64_t i = 0, m; i < w->n; i += m) {
        m = pitch ? 1 : w->n - i < TOGETHER ? w->n - i : TOGETHER;
        add_items(c, known, w->item + i, (int)m, w, match + i * pitch);
    }
    for (int64_t at = 0; at < (pitch ? w->n * pitch : c->types.n); at++) match[at] *= known->types_sharpness;
    if (c->types.profile_indptr.data && known->types_profile > 0)
        add_profile(c, known->types_profile, who, w, match + w->n * pitch, pitch);
}

// weight = e^match, to sum 1; equal where nothing can be told.
static void weigh(double *weight, int64_t n) {
    double most = -INFINITY, sum = 0;
    for (int64_t u = 0; u < n; u++) most = weight[u] > most ? weight[u] : most;
    if (isfinite(most)) cold_exp_wide(weight, n, most);
    for (int64_t u = 0; u < n && !isfinite(most); u++) weight[u] = 1;
    for (int64_t u = 0; u < n; u++) sum += weight[u];
    for (int64_t u = 0; u < n; u++) weight[u] /= sum;
}

// ---- Scores ----

static double score_of(const struct thaw_cold *c, const double *weight, int64_t item) {
    const uint32_t *user;
    const int64_t n = users_of(c, item, &user);
    double sum[4] = {0}; // four at a time: the additions do not wait for each other
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) sum[j] += weight[user[i + j]];
    for (; i < n; i++) sum[0] += weight[user[i]];
    return sum[0] + sum[1] + sum[2] + sum[3];
}

double cold_types_score(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t item) {
    return score_of(c, w->type_weight, item);
}

void cold_types_posterior(const struct thaw_cold *c, const struct thaw_newcomer *who,
                          const Thaw__Known *known, struct thaw_cold_work *w) {
    memset(w->type_weight, 0, (size_t)c->types.n * sizeof *w->type_weight);
    likelihoods(c, who, known, w, w->type_weight, 0);
    weigh(w->type_weight, c->types.n);
}

void cold_types_scores(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                       struct thaw_cold_work *w, float *scores) {
    cold_types_posterior(c, who, known, w);
    for (int64_t i = 0; i < c->nitems; i++) scores[i] = (float)score_of(c, w->type_weight, i);
}

// ---- Scores of many items at once ----
//
// Lists differ in length, and a loop over each would guess wrong where every one ends. So weights become
// whole numbers and are added up over the lists as they lie behind each other, each filled up to a multiple
// of four; an item's score is the difference of the sums at the end and at the beginning of its list, exact
// although the sums run over. Bound by two loads an entry.

int cold_types_warm(struct thaw_cold *c, struct thaw_err *err) {
    static const char what[] = "a compact copy of the types";
    const struct cold_types *t = &c->types;
    const uint32_t *user;
    int64_t fours = 0;
    if (t->n < 1 || t->n > UINT16_MAX || c->type_users) return THAW_OK;
    for (int64_t i = 0; i < c->nitems; i++) fours += (users_of(c, i, &user) + 3) / 4;
    if (fours > UINT32_MAX) return THAW_OK;
    int code = THAW_OK;
    if (!c->type_begin)
        code = thaw_alloc(&c->type_begin, (size_t)c->nitems + 1, sizeof *c->type_begin, what, err);
    if (!code) code = thaw_alloc(&c->type_users, 4 * (size_t)fours, sizeof *c->type_users, what, err);
    for (int64_t i = 0; !code && i < c->nitems; i++) {
        const int64_t n = users_of(c, i, &user), filled = (n + 3) / 4 * 4;
        uint16_t *to = c->type_users + 4 * (size_t)c->type_begin[i];
        for (int64_t j = 0; j < filled; j++) to[j] = (uint16_t)(j < n ? user[j] : t->n);
        c->type_begin[i + 1] = c->type_begin[i] + (uint32_t)(filled / 4);
    }
    return code;
}

bool cold_types_fix(const struct thaw_cold *c, struct thaw_cold_work *w) {
    double sum = 0;
    for (int64_t u = 0; u < c->types.n; u++) sum += w->type_weight[u];
    if (!(sum > .99 && sum < 1.01)) return false;
    for (int64_t u = 0; u < c->types.n; u++)
        w->type_fixed[u] = (uint32_t)(int64_t)(w->type_weight[u] * 0x1p31 + .5);
    w->type_fixed[c->types.n] = 0; // nobody, who fills lists up
    return true;
}

void cold_types_sweep(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t begin, int64_t end,
                      float *scores) {
    enum { SOME = 256 };
    const uint32_t *list_end = c->type_begin + 1, *weight = w->type_fixed;
    const int64_t stop = c->type_begin[end];
    int64_t item = begin, from = c->type_begin[begin];
    const uint16_t *user = c->type_users + 4 * from;
    uint32_t sum[SOME + 1], last = 0;
    sum[0] = 0;
    for (int64_t n; item < end; from += n) {
        n = stop - from < SOME ? stop - from : SOME;
        for (int64_t i = 0; i < n; i++, user += 4)
            sum[i + 1] = sum[i] + ((weight[user[0]] + weight[user[1]]) + (weight[user[2]] + weight[user[3]]));
        for (; item < end && list_end[item] <= from + n; item++) {
            const uint32_t now = sum[list_end[item] - from];
            scores[item] = (float)(now - last) * 0x1p-31F;
            last = now;
        }
        sum[0] = sum[n];
    }
}

// ---- Shares ----

// Where on the path from nothing known to what is known, and what the inputs have added to the hits so far.
struct path {
    const struct thaw_cold *c;
    struct thaw_cold_work *w;
    const struct thaw_newcomer *who;
    double *match; // of each input and type
    int64_t inputs;
    const int64_t *hit;
    int nhits;
    double *item_share, *feature_share;
};

// Posterior weights at this place of the path.
static void weights_at(const struct path *p, double place) {
    const int64_t n = p->c->types.n;
    memset(p->w->type_weight, 0, (size_t)n * sizeof *p->w->type_weight);
    for (int64_t a = 0; a < p->inputs; a++)
        for (int64_t u = 0; u < n; u++) p->w->type_weight[u] += place * p->match[a * n + u];
    weigh(p->w->type_weight, n);
}

// A score's gradient by an input: the covariance, over the types, of having the item and of the input's part
// of the log-likelihood.
static void node(const struct path *p, double times) {
    const int64_t n = p->c->types.n, known = p->w->n;
    const double *weight = p->w->type_weight;
    for (int64_t a = 0; a < p->inputs; a++) {
        const double *match = p->match + a * n;
        double mean = 0;
        for (int64_t u = 0; u < n; u++) mean += weight[u] * match[u];
        for (int h = 0; h < p->nhits; h++) {
            const uint32_t *user;
            const int64_t nusers = users_of(p->c, p->hit[h], &user);
            double sum = 0;
            for (int64_t i = 0; i < nusers; i++) sum += weight[user[i]] * (match[user[i]] - mean);
            double *share = a < known ? &p->item_share[h * p->who->nitems + p->w->at[a]]
                                      : &p->feature_share[h * p->who->nfeatures + a - known];
            *share += times * sum;
        }
    }
}

int cold_types_explain(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                       struct thaw_cold_work *w, const int64_t *hit, int nhits, double *item_share,
                       double *feature_share, double *constant, double *score, struct thaw_err *err) {
    struct path p = {.c = c,
                     .w = w,
                     .who = who,
                     .inputs = w->n + who->nfeatures,
                     .hit = hit,
                     .nhits = nhits,
                     .item_share = item_share,
                     .feature_share = feature_share};
    const int code =
        thaw_alloc(&p.match, (size_t)(p.inputs * c->types.n), sizeof *p.match, "an explanation", err);
    if (code) return code;
    likelihoods(c, who, known, w, p.match, c->types.n);
    for (int i = 0; i < COLD_NODES; i++) {
        const struct cold_node at = cold_node(i);
        weights_at(&p, at.place);
        node(&p, at.weight);
    }
    weights_at(&p, 1);
    for (int h = 0; h < nhits; h++) {
        constant[h] = score[h] = score_of(c, w->type_weight, hit[h]);
        for (int64_t i = 0; i < who->nitems; i++) constant[h] -= item_share[h * who->nitems + i];
        for (int64_t a = 0; a < who->nfeatures; a++) constant[h] -= feature_share[h * who->nfeatures + a];
    }
    free(p.match);
    return THAW_OK;
}
