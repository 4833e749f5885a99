// tables_fill.c: see tables_fill.h.
#include "jobs/tables_fill.h"

#include "als/als.h"
#include "base/npy.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <math.h>

static const char NAME[] = "prior.item_weights.npy";

// ---- W ----

static int weights_check(const struct thaw_npy *a, const char *path, const Thaw__Prior *p, int64_t features,
                         int k, struct thaw_err *err) {
    const struct thaw_npy_shape *s = &a->shape;
    if (p->item_features != features)
        return thaw_fail(err, THAW_EDATA, "%s: is for %d features, the items have %" PRId64, path,
                         (int)p->item_features, features);
    if (s->type != THAW_NPY_F32 || s->ndim != 2 || s->rows != 1 + features || s->cols != k)
        return thaw_fail(err, THAW_EDATA,
                         "%s: shape (%" PRId64 ", %" PRId64 "), not the (%" PRId64 ", %d) of its manifest",
                         path, s->rows, s->cols, 1 + features, k);
    for (int64_t i = 0; i < s->rows * s->cols; i++)
        if (!isfinite(((const float *)a->data)[i]))
            return thaw_fail(err, THAW_EDATA, "%s: row %" PRId64 " is not finite", path, i / s->cols);
    return THAW_OK;
}

static int weights_open(struct thaw_npy *a, const char *dir, const Thaw__Prior *p,
                        const struct thaw_dataset *d, int k, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_file_info expect;
    if (!thaw_pack_find(p->files, p->n_files, NAME, &expect))
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: names no %s", dir, NAME);
    int code = thaw_path_join(path, dir, NAME, err);
    if (!code) code = thaw_npy_open(a, path, &expect, err);
    if (!code) code = thaw_map_check(&a->map, path, &expect, err);
    return code ? code : weights_check(a, path, p, d->manifest->items->features, k, err);
}

// ---- Rows ----

static bool is_zero(const float *row, int k) {
    for (int j = 0; j < k; j++)
        if (row[j] != 0) return false;
    return true;
}

static int64_t count_zero(const float *rows, int64_t nrows, int k) {
    int64_t n = 0;
    for (int64_t r = 0; r < nrows; r++) n += is_zero(rows + r * k, k);
    return n;
}

// row[k] = [1, the features of row r] W.
static void predict(const struct thaw_shard *s, int64_t r, const float *w, int k, float *row) {
    double sum[THAW_ALS_FACTORS_MAX];
    for (int j = 0; j < k; j++) sum[j] = w[j];
    for (int64_t at = s->feature_indptr[r]; at < s->feature_indptr[r + 1]; at++) {
        const float *own = w + (1 + (int64_t)s->feature_indices[at]) * k;
        const double z = s->feature_values[at];
        for (int j = 0; j < k; j++) sum[j] += z * own[j];
    }
    for (int j = 0; j < k; j++) row[j] = (float)sum[j];
}

static int fill_part(const struct thaw_dataset *d, int32_t part, const float *w, int k, float *rows,
                     struct thaw_err *err) {
    struct thaw_shard s;
    int code = thaw_shard_open(&s, d, THAW_ITEMS, part, true, err);
    if (code) return code;
    if (!s.feature_indptr)
        code = thaw_fail(err, THAW_EDATA, "%s: items part %d has no features", d->dir, (int)part);
    for (int64_t r = 0; !code && r < s.nrows; r++)
        if (is_zero(rows + r * k, k)) predict(&s, r, w, k, rows + r * k);
    thaw_shard_close(&s);
    return code;
}

// Local. This rank's parts; *n: its rows that were zero.
static int fill(const struct thaw_dataset *d, const struct thaw_plan *plan, int rank, const float *w, int k,
                float *rows, int64_t *n, struct thaw_err *err) {
    int code = THAW_OK;
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++) {
        float *own = rows + (plan->first_row[p] - plan->rank_row[rank]) * k;
        const int64_t zero = count_zero(own, plan->first_row[p + 1] - plan->first_row[p], k);
        if (zero && w) code = fill_part(d, p, w, k, own, err);
        *n += zero;
    }
    return code;
}

int thaw_tables_fill(struct thaw_tables_filled *filled, struct thaw_comm *c, const char *dir,
                     const Thaw__Prior *prior, const struct thaw_dataset *d, const struct thaw_plan *plan,
                     int k, float *rows, struct thaw_err *err) {
    struct thaw_npy w = {0};
    int64_t n = 0;
    *filled = (struct thaw_tables_filled){0};
    if (!prior || !prior->item_features) return THAW_OK;
    const bool lacking = prior->item_vector != 0;
    int code = lacking ? THAW_OK : weights_open(&w, dir, prior, d, k, err);
    if (!code) code = fill(d, plan, thaw_comm_rank(c), w.data, k, rows, &n, err);
    thaw_npy_close(&w);
    if ((code = thaw_comm_agree(c, code, err))) return code;
    thaw_comm_sum_i64(c, &n, 1);
    *(lacking ? &filled->lacking : &filled->items) = n;
    return THAW_OK;
}
