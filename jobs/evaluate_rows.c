// evaluate_rows.c: measures of all systems, their intervals and paired differences.
#include "base/mem.h"
#include "comm/replicates.h"
#include "jobs/evaluation.h"
#include "metrics/bootstrap.h"
#include "metrics/rank.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum metric { NDCG, RECALL, HR, MAP, NOVELTY, PER_USER, COVERAGE = PER_USER, METRICS };
static const char *const metric_name[METRICS] = {"NDCG", "Recall", "HR", "MAP", "Novelty", "Coverage"};

// A cell is a (system, number of known items); in it there are cutoffs x PER_USER columns.
struct measuring {
    struct thaw_study *s;
    int ncutoffs, k; // k: the largest cutoff
    int nreplicates;
    int index[THAW_SYSTEMS]; // of a wanted system, -1
    int nsystems, ncolumns;
    int64_t *top;                 // users x k
    double *values;               // users x ncolumns: mean over seeds
    double *each;                 // users x (ncutoffs x PER_USER), of one seed
    double *seeds;                // (nsystems x nknown) x ncutoffs x PER_USER x seeds: means over users
    double *cover;                // (nsystems x nknown) x ncutoffs x (1 + nreplicates): mean over seeds
    bool *hit;                    // k
    struct thaw_replicates marks; // who is in which replicate
};

static int cell_of(const struct measuring *m, enum thaw_system system, int at) {
    return m->index[system] * m->s->e->nknown + at;
}
static int column_of(const struct measuring *m, int cell, int cutoff, int metric) {
    return (cell * m->ncutoffs + cutoff) * PER_USER + metric;
}
static double *seed_of(const struct measuring *m, int cell, int cutoff, int metric) {
    return m->seeds + (int64_t)column_of(m, cell, cutoff, metric) * THAW_SEEDS_MAX;
}
static double *cover_of(const struct measuring *m, int cell, int cutoff) {
    return m->cover + (int64_t)(cell * m->ncutoffs + cutoff) * (m->nreplicates + 1);
}

static bool runs(const struct measuring *m, enum thaw_system system, int at) {
    return m->index[system] >= 0 && (m->s->e->known[at] > 0 || !thaw_system_needs_items(system));
}

static int measuring_new(struct measuring *m, struct thaw_study *s, struct thaw_err *err) {
    const struct thaw_evaluation *e = s->e;
    const size_t users = (size_t)e->users->nusers;
    *m = (struct measuring){.s = s,
                            .ncutoffs = e->ncutoffs,
                            .k = e->cutoff[e->ncutoffs - 1],
                            .nreplicates = (int)e->o->replicates};
    for (int i = 0; i < THAW_SYSTEMS; i++) m->index[i] = s->wanted[i] ? m->nsystems++ : -1;
    const size_t cells = (size_t)m->nsystems * (size_t)e->nknown, cuts = cells * (size_t)m->ncutoffs;
    m->ncolumns = (int)(cuts * PER_USER);
    int code = thaw_alloc(&m->top, users * (size_t)m->k, sizeof *m->top, "rankings", err);
    if (!code)
        code =
            thaw_alloc(&m->values, users * (size_t)m->ncolumns, sizeof *m->values, "measures of users", err);
    if (!code)
        code = thaw_alloc(&m->each, users * (size_t)m->ncutoffs * PER_USER, sizeof *m->each, "measures", err);
    if (!code)
        code = thaw_alloc(&m->seeds, cuts * PER_USER * THAW_SEEDS_MAX, sizeof *m->seeds, "measures", err);
    if (!code)
        code = thaw_alloc(&m->cover, cuts * (size_t)(m->nreplicates + 1), sizeof *m->cover, "coverage", err);
    return code ? code : thaw_alloc(&m->hit, (size_t)m->k, sizeof *m->hit, "hits", err);
}

static void measuring_free(struct measuring *m) {
    free(m->top);
    free(m->values);
    free(m->each);
    free(m->seeds);
    free(m->cover);
    free(m->hit);
    thaw_replicates_clear(&m->marks);
}

// ---- Measuring lists ----

static double novelty(const struct measuring *m, const int64_t *top, int n) {
    const struct thaw_popularity *p = &m->s->popularity;
    double sum = 0;
    for (int i = 0; i < n; i++) sum += thaw_rank_novelty(p->count[top[i]], p->users);
    return n > 0 ? sum / n : 0;
}

static void measure_user(const struct measuring *m, int64_t u) {
    const struct thaw_heldout *h = m->s->e->users;
    const int64_t *top = m->top + u * m->k;
    const int shown = thaw_heldout_hits(h, u, top, m->k, m->hit);
    for (int c = 0; c < m->ncutoffs; c++) {
        const int cutoff = m->s->e->cutoff[c];
        double *v = m->each + (u * m->ncutoffs + c) * PER_USER;
        struct thaw_rank_metrics r;
        thaw_rank_metrics(m->hit, shown, cutoff, h->truth_ptr[u + 1] - h->truth_ptr[u], &r);
        v[NDCG] = r.ndcg;
        v[RECALL] = r.recall;
        v[HR] = r.hr;
        v[MAP] = r.map;
        v[NOVELTY] = novelty(m, top, shown < cutoff ? shown : cutoff);
    }
}

// Collective. How much of the catalogue a seed's lists cover, added to the cell's.
static int add_coverage(struct measuring *m, int cell, int nseeds, struct thaw_err *err) {
    const struct thaw_evaluation *e = m->s->e;
    int64_t *covered = NULL;
    int code = thaw_alloc(&covered, (size_t)m->nreplicates + 1, sizeof *covered, "coverage", err);
    code = thaw_comm_agree(m->s->c, code, err);
    for (int c = 0; !code && c < m->ncutoffs; c++) {
        code = thaw_replicates_coverage(&m->marks, m->s->c, &e->plan[THAW_ITEMS], m->top, m->k, e->cutoff[c],
                                        covered, err);
        for (int b = 0; !code && b <= m->nreplicates; b++)
            cover_of(m, cell, c)[b] += (double)covered[b] / (double)m->s->popularity.nitems / nseeds;
    }
    free(covered);
    return code;
}

// Collective. One seed of a system with entry `at` of the numbers of known items.
static int measure_seed(struct measuring *m, enum thaw_system system, int at, int seed,
                        struct thaw_err *err) {
    const struct thaw_heldout *h = m->s->e->users;
    const int cell = cell_of(m, system, at), n = m->ncutoffs * PER_USER,
              nseeds = thaw_study_seeds(m->s, system);
    double sums[THAW_CUTOFFS_MAX * PER_USER];
    int code = thaw_study_top(m->s, system, at, seed, m->k, m->top, err);
    if (code) return code;
    for (int64_t u = 0; u < h->nusers; u++) {
        measure_user(m, u);
        double *to = m->values + u * m->ncolumns + column_of(m, cell, 0, 0);
        for (int i = 0; i < n; i++) to[i] += m->each[u * n + i] / nseeds;
    }
    code = thaw_comm_exact_sum(m->s->c, m->each, h->nusers, n, sums, err);
    for (int i = 0; !code && i < n; i++)
        seed_of(m, cell, i / PER_USER, i % PER_USER)[seed] = sums[i] / (double)h->total;
    return code ? code : add_coverage(m, cell, nseeds, err);
}

// Collective. A baseline that cannot be fitted is left out, unless it was asked for.
static int measure_system(struct measuring *m, enum thaw_system system, struct thaw_err *err) {
    struct thaw_study *s = m->s;
    const double start = thaw_time_s();
    int code = THAW_OK;
    struct thaw_err why = THAW_ERR_INIT;
    for (int at = 0; !code && at < s->e->nknown; at++)
        for (int seed = 0; !code && runs(m, system, at) && seed < thaw_study_seeds(s, system); seed++)
            code = measure_seed(m, system, at, seed, &why);
    if (code == THAW_EMEM && (system == THAW_SYSTEM_KNN || system == THAW_SYSTEM_EASE) && !s->asked[system]) {
        thaw_log_warn(s->e->ctx->log, "%s is left out: %s", thaw_system_name[system], why.text);
        s->wanted[system] = false;
        m->index[system] = -1;
        return THAW_OK;
    }
    if (code) {
        *err = why;
        return code;
    }
    thaw_log_note(s->e->ctx->log, "%s: ranked in %.1f s", thaw_system_name[system], thaw_time_s() - start);
    return THAW_OK;
}

// ---- Statistics ----

struct pair {
    int of, to; // columns; to: -1 for none
};

static double statistic(const double *sums, int ncolumns, const void *user) {
    const struct pair *p = user;
    const double a = sums[p->of] / sums[ncolumns];
    return p->to < 0 ? a : a - sums[p->to] / sums[ncolumns];
}

static int estimate(const struct measuring *m, const struct thaw_replicates *r, int cell, int other,
                    int cutoff, int metric, struct thaw_estimate *e, struct thaw_err *err) {
    if (metric != COVERAGE) {
        const struct pair p = {.of = column_of(m, cell, cutoff, metric),
                               .to = other < 0 ? -1 : column_of(m, other, cutoff, metric)};
        return thaw_replicates_estimate(r, statistic, &p, e, err);
    }
    double *each = NULL;
    const double *a = cover_of(m, cell, cutoff), *b = other < 0 ? NULL : cover_of(m, other, cutoff);
    const int code = thaw_alloc(&each, (size_t)m->nreplicates, sizeof *each, "coverage", err);
    if (code) return code;
    e->value = b ? a[0] - b[0] : a[0];
    for (int i = 0; i < m->nreplicates; i++) each[i] = b ? a[i + 1] - b[i + 1] : a[i + 1];
    thaw_bootstrap_interval_about(e->value, each, m->nreplicates, &e->low, &e->high);
    if (!b) {
        e->low = fmax(e->low, 0);
        e->high = fmin(e->high, 1);
    }
    free(each);
    return THAW_OK;
}

static double deviation(const double *x, int n) {
    double mean = 0, sum = 0;
    for (int i = 0; i < n; i++) mean += x[i] / n;
    for (int i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return n > 1 ? sqrt(sum / (n - 1)) : NAN;
}

// What a system is compared with at entry `at`: the reference, or popularity where the reference cannot run.
static enum thaw_system reference_at(const struct measuring *m, int at) {
    return runs(m, m->s->reference, at) ? m->s->reference : THAW_SYSTEM_POPULARITY;
}

static int fill_row(const struct measuring *m, const struct thaw_replicates *r, enum thaw_system system,
                    int at, int cutoff, int metric, struct thaw_study_row *row, struct thaw_err *err) {
    const enum thaw_system reference = reference_at(m, at);
    const int cell = cell_of(m, system, at), without = thaw_study_without(m->s, system);
    *row = (struct thaw_study_row){.system = system,
                                   .known = m->s->e->known[at],
                                   .metric = metric_name[metric],
                                   .cutoff = m->s->e->cutoff[cutoff],
                                   .nseeds = thaw_study_seeds(m->s, system),
                                   .seed_deviation = NAN};
    if (metric != COVERAGE) row->seed_deviation = deviation(seed_of(m, cell, cutoff, metric), row->nseeds);
    int code = estimate(m, r, cell, -1, cutoff, metric, &row->value, err);
    if (!code && system != reference) {
        row->reference = thaw_system_name[reference];
        code = estimate(m, r, cell, cell_of(m, reference, at), cutoff, metric, &row->difference, err);
    }
    if (!code && without >= 0) {
        row->has_without = true;
        code = estimate(m, r, cell, cell_of(m, (enum thaw_system)without, at), cutoff, metric,
                        &row->adversary, err);
    }
    return code;
}

static int fill_rows(const struct measuring *m, const struct thaw_replicates *r, struct thaw_study_row *rows,
                     int *nrows, struct thaw_err *err) {
    int code = THAW_OK;
    *nrows = 0;
    for (int metric = 0; metric < METRICS; metric++)
        for (int c = 0; c < m->ncutoffs; c++)
            for (int system = 0; system < THAW_SYSTEMS; system++)
                for (int at = 0; !code && at < m->s->e->nknown; at++)
                    if (runs(m, (enum thaw_system)system, at))
                        code =
                            fill_row(m, r, (enum thaw_system)system, at, c, metric, &rows[(*nrows)++], err);
    return code;
}

int thaw_study_measure(struct thaw_study *s, struct thaw_study_row **rows, int *nrows, struct thaw_err *err) {
    const struct thaw_evaluation *e = s->e;
    struct measuring m;
    struct thaw_replicates r = {0};
    struct thaw_study_row *out = NULL;
    double *nothing = NULL;
    int code = measuring_new(&m, s, err);
    const size_t n = (size_t)(m.nsystems * e->nknown * m.ncutoffs) * METRICS;
    if (!code) code = thaw_alloc(&out, n, sizeof *out, "results", err);
    if (!code) code = thaw_alloc(&nothing, (size_t)e->users->nusers, sizeof *nothing, "results", err);
    code = thaw_comm_agree(s->c, code, err);
    if (!code)
        code = thaw_replicates_new(&m.marks, s->c, nothing, e->users->key, e->users->nusers, 1, m.nreplicates,
                                   (uint64_t)e->o->seed, err);
    for (int i = 0; !code && i < THAW_SYSTEMS; i++)
        if (m.index[i] >= 0) code = measure_system(&m, (enum thaw_system)i, err);
    if (!code)
        code = thaw_replicates_new(&r, s->c, m.values, e->users->key, e->users->nusers, m.ncolumns,
                                   m.nreplicates, (uint64_t)e->o->seed, err);
    if (!code) code = thaw_comm_agree(s->c, fill_rows(&m, &r, out, nrows, err), err);
    if (!code) {
        *rows = out;
        out = NULL;
    }
    thaw_replicates_clear(&r);
    measuring_free(&m);
    free(nothing);
    free(out);
    return code;
}
