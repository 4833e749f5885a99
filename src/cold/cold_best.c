// cold_best.c: the best items without scoring every item exactly.
//
// Each member of the blend looks at all items in its compact copy, and what a score by them may be off by is
// known. An item whose score cannot reach the k-th largest of what all others score at least is not among the
// best. The few that are left are scored in f64 from the files.
//
// A blended score is the sum over the members of slope (raw score - mean). Means and deviations over all
// items come from the compact scores (E, G, T: errors average out) or from sums over the items (P: those of
// one linear function of the factors). Bound by reading the copies and, T, by two loads for each entry of a
// list.
#include "cold/cold_impl.h"
#include "cold/cold_loops.h"

#include "base/crew.h"
#include "base/mem.h"
#include "dense/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { P, E, G, T, BLOCK = 1024 };

struct search {
    const struct thaw_cold *c;
    struct thaw_cold_work *w;
    const struct thaw_newcomer *who;
    const Thaw__Known *known;
    bool normal, fold_in;        // z-scores; P by the fold-in's system
    double weight[COLD_MEMBERS]; // 0: not asked
    double slope[COLD_MEMBERS], mean[COLD_MEMBERS];
    double largest, spread;    // of G: the largest logit, e^(what logits may be off by) - 1
    struct rough_vector query; // of P
    const int64_t *excluded;
    int64_t nexcluded;
    int threads;
    struct thaw_err why[COLD_MEMBERS]; // of the members' threads
    bool able;                         // numbers are in the range that bounds are made for
};

// ---- Raw scores ----

static int room(struct search *s, struct thaw_err *err) {
    struct thaw_cold_work *w = s->w;
    const size_t n = (size_t)s->c->nitems;
    int code = THAW_OK;
    if (!w->raw[0]) code = thaw_alloc(&w->raw[0], COLD_MEMBERS * n, sizeof *w->raw[0], "scores", err);
    for (int m = 1; !code && m < COLD_MEMBERS; m++) w->raw[m] = w->raw[0] + (size_t)m * n;
    if (!code && !w->rough && s->c->factors.q)
        code = thaw_alloc(&w->rough, (size_t)s->c->factors.width, sizeof *w->rough, "a query", err);
    s->query.q = w->rough;
    return code;
}

// What is the same for all items, and the scores of E. The longest first, as the other threads take the rest.
static void ready(void *argument, int worker, int64_t task) {
    static const int order[COLD_MEMBERS] = {T, E, G, P};
    struct search *s = argument;
    const struct thaw_cold *c = s->c;
    struct thaw_cold_work *w = s->w;
    const int m = order[task];
    (void)worker;
    if (s->weight[m] == 0) return;
    if (m == P) {
        if (s->fold_in)
            cold_solve_fold_in(c, s->known, w, &s->why[m]);
        else
            cold_solve_prior(c, s->who, s->known, w, &s->why[m]);
        for (int j = 0; j < c->k; j++) w->query[j] = (float)w->b[j];
        if (!s->why[m].code) rough_vector_set(&c->factors, w->query, &s->query);
    } else if (m == E) {
        cold_association_scores(c, s->who, w, w->raw[E], &s->why[m]);
    } else if (m == G) {
        cold_generator_latent(c, s->who, w, 1);
        cold_generator_query(c, w, 0); // the copy adds the bias by itself
    } else {
        cold_types_posterior(c, s->who, s->known, w);
        s->able = cold_types_fix(c, w);
    }
}

static int64_t blocks(const struct search *s) {
    return (s->c->nitems + BLOCK - 1) / BLOCK;
}

// Raw scores of P, of T, and logits of G, for a block of items. One member after the other: more streams at a
// time are read no faster.
static void sweep(void *argument, int worker, int64_t task) {
    static const int order[COLD_MEMBERS] = {P, T, G};
    const struct search *s = argument;
    const struct thaw_cold *c = s->c;
    const struct thaw_cold_work *w = s->w;
    const int m = order[task / blocks(s)];
    const int64_t begin = task % blocks(s) * BLOCK,
                  end = c->nitems - begin < BLOCK ? c->nitems : begin + BLOCK;
    (void)worker;
    if (s->weight[m] == 0) return;
    if (m == P) rough_sweep(&c->factors, &s->query, begin, end, w->raw[P]);
    if (m == T) cold_types_sweep(c, w, begin, end, w->raw[T]);
    if (m == G) quick_sweep(&c->latents, w->g.query, begin, end, w->raw[G]);
}

static int scores(struct search *s, struct thaw_err *err) {
    thaw_crew(s->threads, COLD_MEMBERS, ready, s);
    for (int m = 0; m < COLD_MEMBERS; m++)
        if (s->why[m].code) return thaw_fail(err, s->why[m].code, "%s", s->why[m].text);
    if (s->able) thaw_crew(s->threads, (COLD_MEMBERS - 1) * blocks(s), sweep, s);
    return THAW_OK;
}

// ---- From raw to blended scores ----

// Mean and deviation of u'y over the items, from the sum of the y and of their squares.
static void moments_of_factors(const struct search *s, double *mean, double *scale) {
    const struct thaw_cold *c = s->c;
    const double *u = s->w->b, *square_of = c->factor_sum + c->k, n = (double)c->nitems;
    double sum = 0, square = 0;
    for (int i = 0; i < c->k; i++) {
        double row = 0;
        for (int j = 0; j < c->k; j++) row += square_of[(int64_t)i * c->k + j] * u[j];
        sum += u[i] * c->factor_sum[i];
        square += u[i] * row;
    }
    *mean = sum / n;
    const double variance = square / n - *mean * *mean;
    *scale = variance > 1e-6 * square / n ? 1 / sqrt(variance) : NAN; // else too much has cancelled
}

static double exact_generator(const struct search *s, int64_t item) {
    return exp(cold_generator_logit(s->c, s->w, item) - s->largest);
}

// G's logits become e^(logit - largest); returns their sum. What the copy's rounding does to the many
// averages out, but the deviation is that of a few: those are made exact.
static double exponentials(const struct search *s) {
    enum { FEW = 64 };
    const double large = .25;
    float *raw = s->w->raw[G];
    const int64_t n = s->c->nitems;
    double sum = cold_exp(raw, n, (float)s->largest);
    int few = 0;
    for (int64_t begin = 0; begin < n; begin += BLOCK) {
        const int64_t end = n - begin < BLOCK ? n : begin + BLOCK;
        if (!((double)cold_max(raw + begin, end - begin) > large)) continue;
        for (int64_t i = begin; i < end && few < FEW; i++) {
            if (!((double)raw[i] > large)) continue;
            const float better = (float)exact_generator(s, i);
            sum += (double)better - (double)raw[i];
            raw[i] = better;
            few++;
        }
    }
    return sum;
}

// Slope and mean of a member.
static void normalize(void *argument, int worker, int64_t task) {
    static const int order[COLD_MEMBERS] = {G, T, E, P};
    struct search *s = argument;
    const struct thaw_cold *c = s->c;
    struct thaw_cold_work *w = s->w;
    const int m = order[task];
    double scale = 1;
    (void)worker;
    if (s->weight[m] == 0) return;
    if (m == G) {
        s->largest = (double)cold_max(w->raw[G], c->nitems);
        s->spread = expm1(quick_doubt(&c->latents, w->g.query));
        const double sum = exponentials(s);
        if (!s->normal) scale = 1 / sum;
    }
    if (s->normal && m == P) moments_of_factors(s, &s->mean[m], &scale);
    if (s->normal && m != P) cold_moments(w->raw[m], c->nitems, &s->mean[m], &scale);
    s->slope[m] = s->weight[m] * scale;
}

// Floats hold the slopes, and G's logits are not all over the place.
static bool in_range(const struct search *s) {
    for (int m = 0; m < COLD_MEMBERS; m++)
        if (s->weight[m] != 0 && !(fabs(s->slope[m]) < 1e30 && fabs(s->mean[m] * s->slope[m]) < 1e30))
            return false;
    return s->weight[G] == 0 || s->spread < .5;
}

// ---- The search ----

// What bounds are made of: raw scores of each member, and the rows' steps that P's scores are off by.
struct terms {
    const float *x[COLD_TERMS];
    float slope[COLD_TERMS], slack[COLD_TERMS];
};

// For a block of items from `begin` on. `round` is of a raw score and of the few sums in a bound.
static struct terms terms_at(const struct search *s, int64_t begin) {
    static const float nothing[BLOCK];
    const double round = 1e-6;
    struct terms t;
    for (int m = 0; m < COLD_MEMBERS; m++) {
        const double slope = s->weight[m] != 0 ? s->slope[m] : 0;
        t.x[m] = s->weight[m] != 0 ? s->w->raw[m] + begin : nothing;
        t.slope[m] = (float)slope;
        t.slack[m] = (float)(fabs(slope) * (m == G ? s->spread + round : round));
    }
    t.x[COLD_MEMBERS] = s->weight[P] != 0 ? s->c->factors.step + begin : nothing;
    t.slope[COLD_MEMBERS] = 0;
    t.slack[COLD_MEMBERS] = s->weight[P] != 0 ? (float)fabs(s->slope[P]) * s->query.doubt : 0;
    return t;
}

static int by_row(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static bool is_excluded(const struct search *s, int64_t row) {
    return s->nexcluded > 0 && bsearch(&row, s->excluded, (size_t)s->nexcluded, sizeof row, by_row);
}

// Leave those out that cannot reach `least` any more.
static int64_t keep(struct thaw_scored *maybe, int64_t n, double least) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (maybe[i].score >= least) maybe[kept++] = maybe[i];
    return kept;
}

// w->maybe: items that may be among the k best. Their number, -1 when they are too many.
static int64_t candidates(const struct search *s, int k, int64_t most) {
    struct thaw_scored *maybe = s->w->maybe;
    struct thaw_topk low; // the k largest lower bounds
    // T's weights are rounded: what that moves two items by at most
    const double both = s->weight[T] != 0 ? 2 * fabs(s->slope[T]) * ldexp((double)s->c->types.n, -32) : 0;
    float lower[BLOCK], upper[BLOCK];
    int64_t n = 0;
    thaw_topk_begin(&low, s->w->low, k);
    for (int64_t begin = 0; begin < s->c->nitems; begin += BLOCK) {
        const int64_t rows = s->c->nitems - begin < BLOCK ? s->c->nitems - begin : BLOCK;
        const struct terms t = terms_at(s, begin);
        cold_bounds(t.x, t.slope, t.slack, rows, lower, upper);
        if (!thaw_topk_wants(&low, (double)cold_max(upper, rows) + both)) continue;
        for (int64_t i = 0; i < rows; i++) {
            if (!thaw_topk_wants(&low, (double)upper[i] + both) || is_excluded(s, begin + i)) continue;
            if (n == most) n = keep(maybe, n, low.best[0].score);
            if (n == most) return -1;
            maybe[n++] = (struct thaw_scored){(double)upper[i] + both, begin + i};
            thaw_topk_push(&low, (double)lower[i], begin + i);
        }
    }
    return low.n < k ? n : keep(maybe, n, low.best[0].score);
}

// The blended score of an item, in f64 from the files.
static double exact(const struct search *s, int64_t item) {
    const struct thaw_cold *c = s->c;
    double sum = 0;
    for (int m = 0; m < COLD_MEMBERS; m++) {
        double raw = 0;
        int32_t part;
        if (s->weight[m] == 0) continue;
        if (m == P) {
            const float *row = cold_row(c, item, &part);
            for (int j = 0; j < c->k; j++) raw += s->w->b[j] * (double)row[j];
        } else if (m == E) {
            raw = (double)s->w->raw[E][item];
        } else if (m == G) {
            raw = exact_generator(s, item);
        } else {
            raw = cold_types_score(c, s->w, item);
        }
        sum += s->slope[m] * (raw - s->mean[m]);
    }
    return sum;
}

static int search(struct search *s, struct thaw_topk *top, bool *done, struct thaw_err *err) {
    enum { MORE = 4096 };
    struct thaw_cold_work *w = s->w;
    const int64_t most = MORE + 16 * (int64_t)top->cap;
    int code = thaw_grow(&w->maybe, &w->maybe_cap, (size_t)most, sizeof *w->maybe, "candidates", err);
    if (!code)
        code = thaw_grow(&w->low, &w->low_cap, (size_t)top->cap, sizeof *w->low, "the best items", err);
    const int64_t n = code ? -1 : candidates(s, top->cap, most);
    *done = n >= 0;
    for (int64_t i = 0; i < n; i++) thaw_topk_push(top, exact(s, w->maybe[i].row), w->maybe[i].row);
    if (*done) thaw_topk_end(top);
    return code;
}

// Which members are asked, and whether their copies are there.
static bool members(struct search *s, enum thaw_cold_method m) {
    const struct thaw_cold *c = s->c;
    if (m == THAW_COLD_ENSEMBLE) cold_weights(c, s->known, s->weight);
    for (int i = 0; i < COLD_MEMBERS && m != THAW_COLD_ENSEMBLE; i++)
        s->weight[i] = cold_member[i] == m || (i == P && m == THAW_COLD_FOLD_IN);
    return (s->weight[P] == 0 || c->factors.q) && (s->weight[G] == 0 || c->latents.q) &&
           (s->weight[T] == 0 || c->type_users);
}

int cold_best_bounded(const struct thaw_cold *c, enum thaw_cold_method m, int threads,
                      const struct thaw_newcomer *who, const Thaw__Known *known, struct thaw_cold_work *w,
                      const int64_t *excluded, int64_t nexcluded, struct thaw_topk *top, bool *done,
                      struct thaw_err *err) {
    struct search s = {.c = c,
                       .w = w,
                       .who = who,
                       .known = known,
                       .normal = m == THAW_COLD_ENSEMBLE,
                       .fold_in = m == THAW_COLD_FOLD_IN,
                       .excluded = excluded,
                       .nexcluded = nexcluded,
                       .threads = threads,
                       .able = true};
    *done = false;
    if (!c->warm || !members(&s, m) || top->cap > c->nitems / 64) return THAW_OK;
    for (int i = 0; i < COLD_MEMBERS; i++) s.why[i] = THAW_ERR_INIT;
    int code = room(&s, err);
    if (!code) code = scores(&s, err);
    if (code || !s.able) return code;
    thaw_crew(threads, COLD_MEMBERS, normalize, &s);
    return in_range(&s) ? search(&s, top, done, err) : THAW_OK;
}
