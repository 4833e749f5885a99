// heldout_stats.c: what training users did with each item, and how far predicted ratings of held-out users
// are off.
#include "base/exact.h"
#include "base/hash.h"
#include "base/mem.h"
#include "comm/heldout.h"
#include "comm/interactions.h"
#include "comm/pull.h"
#include "comm/shuffle.h"
#include "dense/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHUFFLE_BYTES = 8 << 20, PULL_BYTES = 16 << 20, PULL_ROWS = 1 << 15 };

// ---- Degrees ----

struct counting {
    struct thaw_comm *comm;
    const struct thaw_dataset *dataset;
    const struct thaw_plan *plan;
    const Thaw__Als *als;
    int64_t *degree,
        *sum; // this rank's items; sums are integers scaled by 2^scale, so that taking off is exact
    int64_t first_row, nrows;
    int scale;
    int64_t held_out;
    struct thaw_shuffle *shuffle;
    bool done;
};
struct visit { // one interaction of a held-out user
    int64_t item;
    float value;
    int32_t pad;
};

static void count(struct counting *k, int64_t local, float value, int64_t sign) {
    int64_t fixed = 0;
    double x = value;
    thaw_exact_add(&fixed, &x, 1, k->scale);
    k->degree[local] += sign;
    k->sum[local] += sign * fixed;
}

static int take_off(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct counting *k = user;
    (void)source;
    for (size_t at = 0; at < n; at += sizeof(struct visit)) {
        struct visit v;
        memcpy(&v, (const char *)bytes + at, sizeof v);
        int64_t local = v.item - k->first_row;
        if (local < 0 || local >= k->nrows)
            return thaw_fail(err, THAW_EBUG, "an interaction came to the wrong rank");
        count(k, local, v.value, -1);
    }
    return THAW_OK;
}

static int count_items(struct counting *k, struct thaw_err *err) {
    const struct thaw_plan *p = &k->plan[THAW_ITEMS];
    int rank = thaw_comm_rank(k->comm), code = THAW_OK;
    for (int32_t part = p->first_part[rank]; code == THAW_OK && part < p->first_part[rank + 1]; part++) {
        struct thaw_shard s;
        code = thaw_shard_open(&s, k->dataset, THAW_ITEMS, part, true, err);
        if (code != THAW_OK) break;
        int64_t local = p->first_row[part] - k->first_row;
        for (int64_t row = 0; row < s.nrows; row++, local++)
            for (int64_t at = s.indptr[row]; at < s.indptr[row + 1]; at++) {
                float r = thaw_strength(k->als, s.values[at]);
                if (thaw_strength_counts(k->als, r)) count(k, local, r, 1);
            }
        thaw_shard_close(&s);
    }
    return code;
}

// Collective round when the send space is full.
static int send_row(struct counting *k, const struct thaw_shard *s, int64_t row, struct thaw_err *err) {
    int code = THAW_OK;
    for (int64_t at = s->indptr[row]; code == THAW_OK && at < s->indptr[row + 1]; at++) {
        struct visit v = {.item = thaw_shard_index(s, at), .value = thaw_strength(k->als, s->values[at])};
        if (!thaw_strength_counts(k->als, v.value)) continue;
        thaw_shuffle_put(k->shuffle, thaw_plan_rank_of(&k->plan[THAW_ITEMS], v.item), &v, sizeof v);
        if (thaw_shuffle_full(k->shuffle))
            code = thaw_shuffle_round(k->shuffle, false, &k->done, THAW_OK, err);
    }
    return code;
}

// Collective. Every rank sends what its held-out users did, then takes part in rounds until all are through.
// A rank whose shard fails says so in its next round, and all stop there.
static int send_held_out(struct counting *k, struct thaw_err *err) {
    const struct thaw_plan *p = &k->plan[THAW_USERS];
    int rank = thaw_comm_rank(k->comm), code = THAW_OK, round = THAW_OK;
    for (int32_t part = p->first_part[rank];
         code == THAW_OK && round == THAW_OK && part < p->first_part[rank + 1]; part++) {
        struct thaw_shard s;
        code = thaw_shard_open(&s, k->dataset, THAW_USERS, part, false, err);
        if (code != THAW_OK) break;
        for (int64_t row = 0; round == THAW_OK && row < s.nrows; row++) {
            if (!thaw_shard_held_out(&s, k->als, row)) continue;
            k->held_out++;
            round = send_row(k, &s, row, err);
        }
        thaw_shard_close(&s);
    }
    while (round == THAW_OK && !k->done) round = thaw_shuffle_round(k->shuffle, true, &k->done, code, err);
    return round;
}

static void set_scale(struct counting *k) {
    const Thaw__Dataset *m = k->dataset->manifest;
    double low = fabs((double)thaw_strength(k->als, (float)m->value_min));
    double high = fabs((double)thaw_strength(k->als, (float)m->value_max));
    k->scale = thaw_exact_scale(fmax(low, high) * (double)m->interactions);
}

int thaw_heldout_item_degrees(struct thaw_comm *c, const struct thaw_dataset *d,
                              const struct thaw_plan plan[2], const Thaw__Als *als, int64_t *degree,
                              double *value_sum, int64_t *training_users, struct thaw_err *err) {
    const struct thaw_plan *items = &plan[THAW_ITEMS];
    int rank = thaw_comm_rank(c);
    struct counting k = {.comm = c,
                         .dataset = d,
                         .plan = plan,
                         .als = als,
                         .degree = degree,
                         .first_row = items->rank_row[rank],
                         .nrows = items->rank_row[rank + 1] - items->rank_row[rank]};
    set_scale(&k);
    memset(degree, 0, (size_t)k.nrows * sizeof *degree);
    int code = thaw_alloc(&k.sum, (size_t)k.nrows, sizeof *k.sum, "item sums", err);
    if (code == THAW_OK) code = count_items(&k, err);
    code = thaw_comm_agree(c, code, err);
    if (code == THAW_OK) code = thaw_shuffle_new(&k.shuffle, c, SHUFFLE_BYTES, take_off, &k, err);
    if (code == THAW_OK) code = send_held_out(&k, err);
    thaw_shuffle_free(&k.shuffle);
    if (code == THAW_OK) {
        thaw_comm_sum_i64(c, &k.held_out, 1);
        *training_users = thaw_dataset_rows(d, THAW_USERS) - k.held_out;
        if (value_sum) thaw_exact_get(value_sum, k.sum, k.nrows, k.scale);
    }
    free(k.sum);
    return code;
}

// ---- Errors of predicted ratings ----

struct judging {
    const struct thaw_heldout_model *model;
    const struct thaw_heldout *set;
    int columns;
    double mean; // of the training ratings
    float *rows; // of the batch's items
    double *means;
    float *dots;
};

// errors: 6 sums of one user. rows, means, dots: of the user's items.
static void judge(const struct judging *j, int64_t user, const float *x, const float *rows,
                  const double *means, float *dots, double *errors) {
    const struct thaw_als_config *config = &j->model->config;
    const float *truth = j->set->truth_value + j->set->truth_ptr[user];
    int64_t n = j->set->truth_ptr[user + 1] - j->set->truth_ptr[user];
    double base = config->mean + (config->biases ? (double)x[j->columns] : 0);
    thaw_score(x, 1, rows, n, j->columns, dots);
    for (int64_t i = 0; i < n; i++) {
        const double predicted[3] = {base + (double)dots[i], j->mean, means[i]};
        for (int p = 0; p < 3; p++) {
            double e = (double)truth[i] - predicted[p];
            errors[2 * p] += e * e;
            errors[2 * p + 1] += fabs(e);
        }
    }
}

static void judge_batch(const struct judging *j, int64_t begin, int64_t end, const float *x, double *errors) {
    int columns = j->columns, biases = j->model->config.biases;
    int64_t first = j->set->truth_ptr[begin];
#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t u = begin; u < end; u++) {
        int64_t at = j->set->truth_ptr[u] - first;
        float vector[columns + 1]; // with biases the item's enters as it is, and the user's is kept behind
        memcpy(vector, x + u * columns, (size_t)columns * sizeof *x);
        if (biases) {
            vector[columns] = vector[columns - 1];
            vector[columns - 1] = 1;
        }
        judge(j, u, vector, j->rows + at * columns, j->means + at, j->dots + at, errors + u * 6);
    }
}

static int judge_reserve(struct judging *j, int64_t n, struct thaw_err *err) {
    int code =
        thaw_alloc(&j->rows, (size_t)n * (size_t)j->columns, sizeof *j->rows, "items of held-out users", err);
    if (code == THAW_OK) code = thaw_alloc(&j->means, (size_t)n, sizeof *j->means, "item means", err);
    if (code == THAW_OK) code = thaw_alloc(&j->dots, (size_t)n, sizeof *j->dots, "predictions", err);
    return code;
}

int thaw_heldout_errors(struct thaw_comm *c, const struct thaw_heldout_model *m, const struct thaw_heldout *h,
                        const float *x, double mean, const double *item_mean, double *errors,
                        struct thaw_err *err) {
    struct judging j = {.model = m, .set = h, .columns = thaw_als_columns(&m->config), .mean = mean};
    const int64_t *owners = m->items->rank_row;
    size_t row_bytes = (size_t)j.columns * sizeof(float);
    int code = THAW_OK;
    memset(errors, 0, (size_t)h->nusers * 6 * sizeof *errors);
    for (int64_t begin = 0, end = 0, more = 1; code == THAW_OK && more; begin = end) {
        while (end < h->nusers && (end == begin || h->truth_ptr[end + 1] - h->truth_ptr[begin] <= PULL_ROWS))
            end++;
        int64_t n = h->truth_ptr[end] - h->truth_ptr[begin];
        const int64_t *wanted = h->truth + h->truth_ptr[begin];
        code = thaw_comm_agree(c, judge_reserve(&j, n, err), err);
        if (code == THAW_OK)
            code = thaw_pull(c, owners, m->rows, row_bytes, wanted, n, j.rows, PULL_BYTES, NULL, err);
        if (code == THAW_OK)
            code = thaw_pull(c, owners, item_mean, sizeof(double), wanted, n, j.means, PULL_BYTES, NULL, err);
        if (code == THAW_OK) judge_batch(&j, begin, end, x, errors);
        free(j.rows);
        free(j.means);
        free(j.dots);
        j.rows = NULL;
        j.means = NULL;
        j.dots = NULL;
        more = end < h->nusers;
        thaw_comm_max_i64(c, &more, 1);
    }
    return code;
}
