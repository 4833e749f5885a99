// quality.c: how well a model does for held-out users, beside simple baselines.
#include "jobs/quality.h"

#include "base/mem.h"
#include "comm/pull.h"
#include "comm/ranking.h"
#include "metrics/bootstrap.h"
#include "metrics/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PULL_BYTES = 8 << 20 };

// ---- Statistics: a model's column against a baseline's ----

struct pair {
    int model, base; // columns
    int per;         // column they are divided by
    bool root;       // of the mean: RMSE
};

static double column_value(const double *sums, int column, const struct pair *p) {
    double mean = sums[column] / sums[p->per];
    return p->root ? sqrt(mean) : mean;
}
static double of_model(const double *sums, int ncolumns, const void *user) {
    (void)ncolumns;
    return column_value(sums, ((const struct pair *)user)->model, user);
}
static double of_base(const double *sums, int ncolumns, const void *user) {
    (void)ncolumns;
    return column_value(sums, ((const struct pair *)user)->base, user);
}
static double of_difference(const double *sums, int ncolumns, const void *user) {
    return of_model(sums, ncolumns, user) - of_base(sums, ncolumns, user);
}
static double of_ratio(const double *sums, int ncolumns, const void *user) {
    return of_model(sums, ncolumns, user) / of_base(sums, ncolumns, user);
}

static int estimate_row(const struct thaw_replicates *r, const struct pair *p, struct thaw_report_row *row,
                        struct thaw_err *err) {
    int code = thaw_replicates_estimate(r, of_model, p, &row->model, err);
    if (code == THAW_OK) code = thaw_replicates_estimate(r, of_base, p, &row->base, err);
    if (code == THAW_OK) code = thaw_replicates_estimate(r, of_difference, p, &row->difference, err);
    if (code == THAW_OK) code = thaw_replicates_estimate(r, of_ratio, p, &row->ratio, err);
    return code;
}

// ---- Ranking ----

enum metric { NDCG, RECALL, HR, MAP, NOVELTY, PER_USER, COVERAGE = PER_USER, METRICS };
static const char *const metric_name[METRICS] = {"NDCG", "Recall", "HR", "MAP", "Novelty", "Coverage"};

// System s < nknown is the model with known[s] items, system nknown popularity.
struct ranking {
    const struct thaw_quality *q;
    int nsystems, ncolumns, k; // k: the largest cutoff
    int64_t **top;             // nsystems: nusers x k item rows
    double *values;            // nusers x ncolumns
    bool *hit;                 // k
};

static int column_of(const struct ranking *g, int system, int cutoff, enum metric m) {
    return (system * g->q->ncutoffs + cutoff) * PER_USER + (int)m;
}

static int ranking_new(struct ranking *g, const struct thaw_quality *q, struct thaw_err *err) {
    size_t users = (size_t)q->users->nusers;
    *g = (struct ranking){.q = q, .nsystems = q->nknown + 1, .k = q->cutoff[q->ncutoffs - 1]};
    g->ncolumns = g->nsystems * q->ncutoffs * PER_USER;
    int code = thaw_alloc(&g->top, (size_t)g->nsystems, sizeof *g->top, "rankings", err);
    for (int s = 0; code == THAW_OK && s < g->nsystems; s++)
        code = thaw_alloc(&g->top[s], users * (size_t)g->k, sizeof **g->top, "rankings", err);
    if (code == THAW_OK)
        code =
            thaw_alloc(&g->values, users * (size_t)g->ncolumns, sizeof *g->values, "metrics of users", err);
    if (code == THAW_OK) code = thaw_alloc(&g->hit, (size_t)g->k, sizeof *g->hit, "hits", err);
    return code;
}

static void ranking_free(struct ranking *g) {
    for (int s = 0; g->top && s < g->nsystems; s++) free(g->top[s]);
    free(g->top);
    free(g->values);
    free(g->hit);
}

// Collective. The most popular items a user does not know yet; the same list serves everybody but for what
// they know.
static int rank_by_popularity(struct ranking *g, struct thaw_err *err) {
    const struct thaw_heldout *h = g->q->users;
    int all = g->k + h->max_known;
    int64_t *popular = NULL;
    int code = thaw_alloc(&popular, (size_t)all, sizeof *popular, "popular items", err);
    code = thaw_comm_agree(g->q->comm, code, err);
    if (code == THAW_OK)
        code = thaw_ranking_popular(g->q->comm, g->q->model.items, g->q->degree, all, popular, err);
    for (int64_t u = 0; code == THAW_OK && u < h->nusers; u++) {
        int64_t *top = g->top[g->q->nknown] + u * g->k;
        const int64_t *known = h->known + u * h->max_known;
        int n = 0;
        for (int i = 0; i < all && n < g->k; i++) {
            bool has = false;
            for (int j = 0; j < h->max_known; j++) has |= known[j] == popular[i];
            if (!has) top[n++] = popular[i];
        }
        while (n < g->k) top[n++] = -1;
    }
    free(popular);
    return code;
}

// Collective. degree[nusers x k] of a system's recommendations, from the items' owners.
static int pull_degrees(const struct ranking *g, const int64_t *top, int64_t *degree, struct thaw_err *err) {
    int64_t *wanted = NULL, *got = NULL, n = g->q->users->nusers * g->k, nwanted = 0;
    int code = thaw_alloc(&wanted, (size_t)n, sizeof *wanted, "degrees", err);
    if (code == THAW_OK) code = thaw_alloc(&got, (size_t)n, sizeof *got, "degrees", err);
    code = thaw_comm_agree(g->q->comm, code, err);
    if (code != THAW_OK) goto done;
    for (int64_t i = 0; i < n; i++)
        if (top[i] >= 0) wanted[nwanted++] = top[i];
    code = thaw_pull(g->q->comm, g->q->model.items->rank_row, g->q->degree, sizeof *got, wanted, nwanted, got,
                     PULL_BYTES, NULL, err);
    if (code != THAW_OK) goto done;
    for (int64_t i = n; i-- > 0;) degree[i] = top[i] >= 0 ? got[--nwanted] : 0;
done:
    free(wanted);
    free(got);
    return code;
}

static double mean_novelty(const int64_t *degree, int n, int64_t users) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += thaw_rank_novelty(degree[i], users);
    return n > 0 ? sum / n : 0;
}

static void measure_user(const struct ranking *g, int system, int64_t u, const int64_t *degree) {
    const struct thaw_quality *q = g->q;
    int n = thaw_heldout_hits(q->users, u, g->top[system] + u * g->k, g->k, g->hit);
    int64_t relevant = q->users->truth_ptr[u + 1] - q->users->truth_ptr[u];
    for (int c = 0; c < q->ncutoffs; c++) {
        struct thaw_rank_metrics m;
        double *v = g->values + u * g->ncolumns + column_of(g, system, c, NDCG);
        thaw_rank_metrics(g->hit, n, q->cutoff[c], relevant, &m);
        v[NDCG] = m.ndcg;
        v[RECALL] = m.recall;
        v[HR] = m.hr;
        v[MAP] = m.map;
        v[NOVELTY] = mean_novelty(degree + u * g->k, n < q->cutoff[c] ? n : q->cutoff[c], q->training_users);
    }
}

// Collective. The lists of all systems and the per-user metrics.
static int rank_all(struct ranking *g, struct thaw_err *err) {
    const struct thaw_quality *q = g->q;
    int64_t *degree = NULL;
    int code = thaw_alloc(&degree, (size_t)q->users->nusers * (size_t)g->k, sizeof *degree, "degrees", err);
    code = thaw_comm_agree(q->comm, code, err);
    for (int s = 0; code == THAW_OK && s < g->nsystems; s++) {
        code = s == q->nknown
                   ? rank_by_popularity(g, err)
                   : thaw_heldout_top(q->comm, &q->model, q->users, q->known[s], g->k, g->top[s], err);
        if (code == THAW_OK) code = pull_degrees(g, g->top[s], degree, err);
        for (int64_t u = 0; code == THAW_OK && u < q->users->nusers; u++) measure_user(g, s, u, degree);
    }
    free(degree);
    return code;
}

// f of two coverages per replicate, with the interval moved onto the value.
static void coverage_estimate(const int64_t *model, const int64_t *base, int n, double items, int what,
                              double *each, struct thaw_estimate *e) {
    for (int b = 0; b <= n; b++) {
        double x = (double)model[b] / items, y = (double)base[b] / items;
        double f = what == 0 ? x : what == 1 ? y : what == 2 ? x - y : x / y;
        if (b == 0)
            e->value = f;
        else
            each[b - 1] = f;
    }
    thaw_bootstrap_interval_about(e->value, each, n, &e->low, &e->high);
    if (what < 2) {
        e->low = fmax(e->low, 0);
        e->high = fmin(e->high, 1);
    }
}

// Collective.
static int coverage_row(const struct ranking *g, const struct thaw_replicates *r, int system, int cutoff,
                        struct thaw_report_row *row, struct thaw_err *err) {
    const struct thaw_quality *q = g->q;
    size_t n = (size_t)r->n + 1;
    int64_t *model = NULL, *base = NULL;
    double *each = NULL, items = (double)thaw_plan_rows(q->model.items);
    int code = thaw_alloc(&model, n, sizeof *model, "coverage", err);
    if (code == THAW_OK) code = thaw_alloc(&base, n, sizeof *base, "coverage", err);
    if (code == THAW_OK) code = thaw_alloc(&each, n, sizeof *each, "coverage", err);
    code = thaw_comm_agree(q->comm, code, err);
    if (code == THAW_OK)
        code = thaw_replicates_coverage(r, q->comm, q->model.items, g->top[system], g->k, cutoff, model, err);
    if (code == THAW_OK)
        code =
            thaw_replicates_coverage(r, q->comm, q->model.items, g->top[q->nknown], g->k, cutoff, base, err);
    struct thaw_estimate *parts[4] = {&row->model, &row->base, &row->difference, &row->ratio};
    for (int p = 0; code == THAW_OK && p < 4; p++)
        coverage_estimate(model, base, r->n, items, p, each, parts[p]);
    free(model);
    free(base);
    free(each);
    return code;
}

// Collective.
static int ranking_rows(const struct ranking *g, const struct thaw_replicates *r, struct thaw_report_row *row,
                        struct thaw_err *err) {
    const struct thaw_quality *q = g->q;
    int code = THAW_OK;
    for (int s = 0; s < q->nknown; s++)
        for (int c = 0; c < q->ncutoffs; c++)
            for (int m = 0; code == THAW_OK && m < METRICS; m++, row++) {
                row->known = q->known[s];
                row->metric = metric_name[m];
                row->cutoff = q->cutoff[c];
                row->baseline = "popularity";
                if (m == COVERAGE) {
                    code = coverage_row(g, r, s, q->cutoff[c], row, err);
                } else {
                    struct pair p = {.model = column_of(g, s, c, (enum metric)m),
                                     .base = column_of(g, q->nknown, c, (enum metric)m),
                                     .per = g->ncolumns};
                    code = thaw_comm_agree(q->comm, estimate_row(r, &p, row, err), err);
                }
            }
    return code;
}

int thaw_quality_ranking(const struct thaw_quality *q, struct thaw_report_row **rows, int *nrows,
                         struct thaw_err *err) {
    struct ranking g;
    struct thaw_replicates r = {0};
    struct thaw_report_row *out = NULL;
    int n = q->nknown * q->ncutoffs * METRICS;
    int code = ranking_new(&g, q, err);
    if (code == THAW_OK) code = thaw_alloc(&out, (size_t)n, sizeof *out, "results", err);
    code = thaw_comm_agree(q->comm, code, err);
    if (code == THAW_OK) code = rank_all(&g, err);
    if (code == THAW_OK)
        code = thaw_replicates_new(&r, q->comm, g.values, q->users->key, q->users->nusers, g.ncolumns,
                                   q->replicates, q->seed, err);
    if (code == THAW_OK) code = ranking_rows(&g, &r, out, err);
    if (code == THAW_OK) {
        *rows = out;
        *nrows = n;
        out = NULL;
    }
    thaw_replicates_clear(&r);
    ranking_free(&g);
    free(out);
    return code;
}

// ---- Ratings ----

enum { ERRORS = 6, COUNT = 6, RATING_COLUMNS = 7 }; // of thaw_heldout_errors, and the number of ratings

struct rating {
    const struct thaw_quality *q;
    float *x;       // nusers x columns
    double overall; // mean of the training ratings
    double *mean;   // of this rank's items
    double *errors; // nusers x ERRORS
    double *values; // nusers x RATING_COLUMNS
};

static int rating_new(struct rating *g, const struct thaw_quality *q, struct thaw_err *err) {
    size_t users = (size_t)q->users->nusers;
    int rank = thaw_comm_rank(q->comm);
    int64_t items = q->model.items->rank_row[rank + 1] - q->model.items->rank_row[rank];
    *g = (struct rating){.q = q};
    int code = thaw_alloc(&g->x, users * (size_t)thaw_als_columns(&q->model.config), sizeof *g->x,
                          "held-out users", err);
    if (code == THAW_OK) code = thaw_alloc(&g->mean, (size_t)items, sizeof *g->mean, "item means", err);
    if (code == THAW_OK) code = thaw_alloc(&g->errors, users * ERRORS, sizeof *g->errors, "errors", err);
    if (code == THAW_OK)
        code = thaw_alloc(&g->values, users * RATING_COLUMNS, sizeof *g->values, "errors", err);
    return code;
}

// Collective. The means of the training ratings; an item without any gets the mean of all.
static int rating_means(struct rating *g, struct thaw_err *err) {
    const struct thaw_quality *q = g->q;
    int rank = thaw_comm_rank(q->comm);
    int64_t items = q->model.items->rank_row[rank + 1] - q->model.items->rank_row[rank], ratings = 0;
    double sum = 0;
    int code = thaw_comm_exact_sum(q->comm, q->value_sum, items, 1, &sum, err);
    if (code != THAW_OK) return code;
    for (int64_t i = 0; i < items; i++) ratings += q->degree[i];
    thaw_comm_sum_i64(q->comm, &ratings, 1);
    g->overall = ratings > 0 ? sum / (double)ratings : 0;
    for (int64_t i = 0; i < items; i++)
        g->mean[i] = q->degree[i] > 0 ? q->value_sum[i] / (double)q->degree[i] : g->overall;
    return THAW_OK;
}

// Collective. Fold in from n known items, and the rows for it.
static int rating_rows(const struct rating *g, int n, struct thaw_report_row *row, struct thaw_err *err) {
    static const char *const baseline[2] = {"mean", "item mean"};
    const struct thaw_quality *q = g->q;
    struct thaw_replicates r = {0};
    int code = thaw_heldout_fold_in(q->comm, &q->model, q->users, n, g->x, err);
    if (code == THAW_OK)
        code = thaw_heldout_errors(q->comm, &q->model, q->users, g->x, g->overall, g->mean, g->errors, err);
    if (code != THAW_OK) return code;
    for (int64_t u = 0; u < q->users->nusers; u++) {
        memcpy(g->values + u * RATING_COLUMNS, g->errors + u * ERRORS, ERRORS * sizeof *g->errors);
        g->values[u * RATING_COLUMNS + COUNT] = (double)(q->users->truth_ptr[u + 1] - q->users->truth_ptr[u]);
    }
    code = thaw_replicates_new(&r, q->comm, g->values, q->users->key, q->users->nusers, RATING_COLUMNS,
                               q->replicates, q->seed, err);
    for (int i = 0; code == THAW_OK && i < 4; i++, row++) {
        struct pair p = {.model = i / 2, .base = 2 + 2 * (i % 2) + i / 2, .per = COUNT, .root = i < 2};
        row->known = n;
        row->metric = i < 2 ? "RMSE" : "MAE";
        row->baseline = baseline[i % 2];
        code = thaw_comm_agree(q->comm, estimate_row(&r, &p, row, err), err);
    }
    thaw_replicates_clear(&r);
    return code;
}

int thaw_quality_ratings(const struct thaw_quality *q, struct thaw_report_row **rows, int *nrows,
                         struct thaw_err *err) {
    struct rating g;
    struct thaw_report_row *out = NULL;
    int code = rating_new(&g, q, err);
    if (code == THAW_OK) code = thaw_alloc(&out, (size_t)q->nknown * 4, sizeof *out, "results", err);
    code = thaw_comm_agree(q->comm, code, err);
    if (code == THAW_OK) code = rating_means(&g, err);
    for (int s = 0; code == THAW_OK && s < q->nknown; s++)
        code = rating_rows(&g, q->known[s], out + s * 4, err);
    if (code == THAW_OK) {
        *rows = out;
        *nrows = q->nknown * 4;
        out = NULL;
    }
    free(g.x);
    free(g.mean);
    free(g.errors);
    free(g.values);
    free(out);
    return code;
}
