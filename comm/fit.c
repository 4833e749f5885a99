// fit.c: one iteration of alternating least squares over ranks, and its exact objective.
#include "comm/fit.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "dense/norm.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static enum thaw_side opposite(enum thaw_side side) {
    return side == THAW_USERS ? THAW_ITEMS : THAW_USERS;
}

static int64_t other_rows(const struct thaw_fit *f, enum thaw_side side) {
    const enum thaw_side other = opposite(side);
    return thaw_plan_rows(&f->in->plan[other]) - (other == THAW_USERS ? f->in->held_users : 0);
}

// What the rows of a half-sweep over `side` share.
static int sweep_new(struct thaw_als_sweep **s, const struct thaw_fit *f,
                     const struct thaw_als_config *config, enum thaw_side side, struct thaw_err *err) {
    const double rows = (double)other_rows(f, opposite(side));
    const int threads = thaw_blas_alone_begin();
    const int code =
        thaw_als_sweep_new(s, config, other_rows(f, side), rows > 0 ? (double)f->in->nnz / rows : 0,
                           f->gramian[opposite(side)], err);
    thaw_blas_alone_end(threads);
    return code;
}

static void init_items(struct thaw_fit *f, uint64_t seed) {
    const double scale = 0.1 / sqrt(f->config[0].k);
    const struct thaw_interactions *in = f->in;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < in->rows[THAW_ITEMS]; i++)
        if (in->degree[THAW_ITEMS][i])
            thaw_als_init_row(f->rows[THAW_ITEMS] + i * f->columns, f->columns, seed,
                              THAW_STREAM_FACTORS_ITEMS, in->first_row[THAW_ITEMS] + i, scale);
}

int thaw_fit_new(struct thaw_fit **out, struct thaw_comm *c, const struct thaw_als_config config[2],
                 const struct thaw_interactions *in, uint64_t seed, struct thaw_err *err) {
    struct thaw_fit *f = NULL;
    const size_t kk = (size_t)config->k * (size_t)config->k;
    int code = thaw_alloc(&f, 1, sizeof *f, "training", err);
    for (int side = 0; !code && side < 2; side++) {
        code = thaw_alloc(&f->rows[side], (size_t)in->rows[side] * (size_t)thaw_als_columns(config),
                          sizeof(float), side ? "item factors" : "user factors", err);
        if (!code && config->model != THAW_ALS_EXPLICIT)
            code = thaw_alloc(&f->gramian[side], kk, sizeof(double), "a gramian", err);
    }
    if (!code)
        code = thaw_alloc(&f->row_loss, (size_t)in->rows[THAW_ITEMS], sizeof(double), "row losses", err);
    int64_t nbytes = 0;
    const struct thaw_half *halves[] = {in->half[0], in->half[1], in->held};
    for (int i = 0; i < 3; i++)
        if (halves[i] && thaw_half_facts(halves[i])->window_bytes > nbytes)
            nbytes = thaw_half_facts(halves[i])->window_bytes;
    code = thaw_comm_agree(c, code, err);
    if (!code) code = thaw_window_new(&f->window, c, nbytes, err);
    if (code) {
        thaw_fit_free(&f);
        return code;
    }
    f->c = c;
    for (int side = 0; side < 2; side++) f->config[side] = config[side];
    f->in = in;
    f->columns = thaw_als_columns(config);
    init_items(f, seed);
    *out = f;
    return THAW_OK;
}

void thaw_fit_free(struct thaw_fit **f) {
    if (!*f) return;
    for (int side = 0; side < 2; side++) {
        free((*f)->rows[side]);
        free((*f)->gramian[side]);
    }
    free((*f)->row_loss);
    thaw_window_free(&(*f)->window);
    free(*f);
    *f = NULL;
}

// Collective. Something is not finite though every solve was: the first such row is named.
static int diverged(const struct thaw_fit *f, struct thaw_err *err) {
    int64_t row[2] = {INT64_MAX, INT64_MAX};
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; row[side] == INT64_MAX && i < f->in->rows[side]; i++)
            if (!isfinite(thaw_norm2(f->rows[side] + i * f->columns, f->columns)))
                row[side] = f->in->first_row[side] + i;
    thaw_comm_min_i64(f->c, row, 2);
    for (int side = 0; side < 2; side++)
        if (row[side] != INT64_MAX)
            return thaw_fail(err, THAW_EDIVERGED,
                             "row %" PRId64 " of %s is not finite: raise --regularization or lower --alpha",
                             row[side], thaw_side_name[side]);
    return thaw_fail(err, THAW_EDIVERGED,
                     "the objective is not finite: raise --regularization or lower --alpha");
}

static int update_gramian(struct thaw_fit *f, enum thaw_side side, struct thaw_err *err) {
    struct thaw_err own = THAW_ERR_INIT;
    if (!f->gramian[side]) return THAW_OK;
    const int code = thaw_sweep_gramian(f->c, &f->in->plan[side], f->rows[side], f->config[0].k, f->columns,
                                        f->gramian[side], &own);
    if (code == THAW_EDIVERGED) return diverged(f, err);
    if (code && err) *err = own;
    return code;
}

int thaw_fit_begin(struct thaw_fit *f, struct thaw_err *err) {
    for (int64_t i = 0; i < f->in->rows[THAW_USERS]; i++) // a finished model has them folded in
        if (f->in->held_out[i])
            memset(f->rows[THAW_USERS] + i * f->columns, 0, (size_t)f->columns * sizeof(float));
    return update_gramian(f, THAW_ITEMS, err);
}

static double user_cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)r.ru_utime.tv_sec + 1e-6 * (double)r.ru_utime.tv_usec;
}

static int half_sweep(struct thaw_fit *f, enum thaw_side side, struct thaw_err *err) {
    const double start = thaw_time_s(), cpu = user_cpu_s();
    struct thaw_als_sweep *s = NULL;
    f->stats[side] = (struct thaw_sweep_stats){0};
    int code = thaw_comm_agree(f->c, sweep_new(&s, f, &f->config[side], side, err), err);
    if (!code)
        code = thaw_sweep(f->c, s, f->in->half[side], f->window, thaw_side_name[side], f->in->first_row[side],
                          f->rows[opposite(side)], f->rows[side], side == THAW_ITEMS ? f->row_loss : NULL,
                          &f->stats[side], err);
    thaw_als_sweep_free(&s);
    if (!code) code = update_gramian(f, side, err);
    f->seconds[side] = thaw_time_s() - start;
    f->cpu_s += user_cpu_s() - cpu;
    return code;
}

// The terms of one part in the objective, in row order: terms[0] observed, terms[1] regularization.
static void part_terms(const struct thaw_fit *f, enum thaw_side side, int64_t begin, int64_t end,
                       double terms[2]) {
    const int64_t m = other_rows(f, side);
    terms[0] = terms[1] = 0;
    for (int64_t i = begin; i < end; i++) {
        const double norm2 = thaw_norm2(f->rows[side] + i * f->columns, f->columns);
        terms[1] += thaw_als_lambda(&f->config[side], m, f->in->degree[side][i]) * norm2;
        if (side == THAW_ITEMS) terms[0] += f->row_loss[i];
    }
}

static int measure(struct thaw_fit *f, struct thaw_err *err) {
    const int rank = thaw_comm_rank(f->c);
    const struct thaw_plan *plan = f->in->plan;
    const int32_t first[2] = {plan[0].first_part[rank], plan[1].first_part[rank]};
    const int32_t n[2] = {plan[0].first_part[rank + 1] - first[0], plan[1].first_part[rank + 1] - first[1]};
    double *terms = NULL, sum[2];
    int code = thaw_alloc(&terms, 2 * (size_t)(n[0] + n[1]), sizeof *terms, "the objective", err);
    if ((code = thaw_comm_agree(f->c, code, err))) goto done;
#pragma omp parallel for schedule(dynamic, 1)
    for (int32_t i = 0; i < n[0] + n[1]; i++) {
        const enum thaw_side side = i < n[0] ? THAW_USERS : THAW_ITEMS;
        const int64_t *row = plan[side].first_row + first[side] + (side == THAW_USERS ? i : i - n[0]);
        part_terms(f, side, row[0] - f->in->first_row[side], row[1] - f->in->first_row[side], terms + 2 * i);
    }
    if ((code = thaw_comm_exact_sum(f->c, terms, n[0] + n[1], 2, sum, err))) goto done;
    double pairs = 0; // sum over all pairs of s^2 = <X'X, Y'Y>
    for (int i = 0; f->gramian[0] && i < f->config[0].k * f->config[0].k; i++)
        pairs += f->gramian[0][i] * f->gramian[1][i];
    f->objective = sum[0] + sum[1] + f->config[0].unobserved * pairs;
    if (!isfinite(f->objective)) code = diverged(f, err);
done:
    free(terms);
    return code;
}

// Virtual users are saved nowhere: they start anew each time, so that a resumed run ends with the same bytes.
static void forget_made(struct thaw_fit *f) {
    for (int64_t i = 0; f->in->made && i < f->in->rows[THAW_USERS]; i++)
        if (f->in->made[i])
            memset(f->rows[THAW_USERS] + i * f->columns, 0, (size_t)f->columns * sizeof(float));
}

int thaw_fit_iterate(struct thaw_fit *f, struct thaw_err *err) {
    f->cpu_s = 0;
    forget_made(f);
    int code = half_sweep(f, THAW_USERS, err);
    if (!code) code = half_sweep(f, THAW_ITEMS, err);
    if (!code) code = measure(f, err);
    return code;
}

int thaw_fit_fold_in(struct thaw_fit *f, struct thaw_err *err) {
    const struct thaw_als_config config = thaw_fold_in_config(&f->config[THAW_USERS]);
    struct thaw_sweep_stats stats = {0};
    struct thaw_als_sweep *s = NULL;
    float *x = NULL;
    int64_t at = 0;
    const size_t d = (size_t)f->columns;
    if (!f->in->held_users) return THAW_OK;
    int code = thaw_alloc(&x, (size_t)f->in->nheld * d, sizeof *x, "held-out users", err);
    if (!code) code = sweep_new(&s, f, &config, THAW_USERS, err);
    if ((code = thaw_comm_agree(f->c, code, err))) goto done;
    code = thaw_sweep(f->c, s, f->in->held, f->window, "held-out users", 0, f->rows[THAW_ITEMS], x, NULL,
                      &stats, err);
    for (int64_t i = 0; !code && i < f->in->rows[THAW_USERS]; i++)
        if (f->in->held_out[i])
            memcpy(f->rows[THAW_USERS] + (size_t)i * d, x + (size_t)at++ * d, d * sizeof *x);
done:
    thaw_als_sweep_free(&s);
    free(x);
    return code;
}
