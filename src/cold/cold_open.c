// cold_open.c: mapping the models' files. Shapes are compared with the manifests, so that nothing read from a
// manifest is used as an offset or a size before a file agreed with it.
#include "cold/cold_impl.h"

#include "base/mem.h"
#include "base/part.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACTORS_MAX = 1 << 16 };

int cold_file_open(struct thaw_npy *a, const char *dir, const char *name, enum thaw_npy_type type, int ndim,
                   int64_t rows, int64_t cols, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    int code = thaw_path_join(path, dir, name, err);
    if (!code) code = thaw_npy_open(a, path, NULL, err);
    if (code) return code;
    const struct thaw_npy_shape *s = &a->shape;
    if (s->type != type || s->ndim != ndim || (rows >= 0 && s->rows != rows) || s->cols != cols)
        return thaw_fail(err, THAW_EDATA,
                         "%s: type %d of shape (%" PRId64 ", %" PRId64
                         ") where the manifests mean type %d of (%" PRId64 ", %" PRId64 ")",
                         path, (int)s->type, s->rows, s->cols, (int)type, rows, cols);
    if ((uintptr_t)a->data % 8) return thaw_fail(err, THAW_EDATA, "%s: its data is not aligned", path);
    return THAW_OK;
}

int cold_part_file_open(struct thaw_npy *a, const struct thaw_cold *c, const char *dir, const char *prefix,
                        int32_t part, const char *ext, enum thaw_npy_type type, int ndim, int64_t rows,
                        int64_t cols, struct thaw_err *err) {
    char name[COLD_NAME], file[THAW_PART_FILE];
    thaw_part_file(file, THAW_ITEMS, part, c->nparts, ext);
    snprintf(name, sizeof name, "%s%s", prefix, file);
    return cold_file_open(a, dir, name, type, ndim, rows, cols, err);
}

static int64_t rows_of(const struct thaw_cold *c, int32_t part) {
    return c->first_row[part + 1] - c->first_row[part];
}

// ---- Items ----

static int items_begin(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    const size_t n = s->items->n_part_rows;
    if (n < 1 || n > THAW_PARTS_MAX) return thaw_fail(err, THAW_EDATA, "a model with %zu parts of items", n);
    if (s->als->factors < 1 || s->als->factors >= FACTORS_MAX || s->als->model > THAW__ALS__MODEL__EXPLICIT)
        return thaw_fail(err, THAW_EDATA, "a model of %d factors, kind %d", s->als->factors,
                         (int)s->als->model);
    c->nparts = (int32_t)n;
    c->k = s->als->factors;
    c->columns = c->k + (s->als->biases ? 1 : 0);
    int code = thaw_alloc(&c->first_row, n + 1, sizeof *c->first_row, "the items' parts", err);
    if (!code) code = thaw_alloc(&c->rows, n, sizeof(*c->rows), "the items' parts", err);
    for (size_t p = 0; !code && p < n; p++) {
        if (s->items->part_rows[p] < 0 || s->items->part_rows[p] > UINT32_MAX)
            return thaw_fail(err, THAW_EDATA, "items part %zu has %" PRId64 " rows", p,
                             s->items->part_rows[p]);
        c->first_row[p + 1] = c->first_row[p] + s->items->part_rows[p];
    }
    c->nitems = code ? 0 : c->first_row[n];
    return code;
}

static int rows_open(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    int code = THAW_OK;
    if (!s->item_rows)
        code = thaw_alloc(&c->row_file, (size_t)c->nparts, sizeof *c->row_file, "the items' parts", err);
    for (int32_t p = 0; !code && p < c->nparts; p++) {
        if (!s->item_rows)
            code = cold_part_file_open(&c->row_file[p], c, s->items_dir, "", p, "npy", THAW_NPY_F32, 2,
                                       rows_of(c, p), c->columns, err);
        if (!code) c->rows[p] = s->item_rows ? s->item_rows[p] : c->row_file[p].data;
    }
    return code;
}

// Row by row in f64: k^2 / 2 multiply-adds an item.
static void gramian_add(double *g, const float *y, int k) {
    for (int i = 0; i < k; i++) {
        const double x = y[i];
        for (int j = 0; j <= i; j++) g[(int64_t)i * k + j] += x * (double)y[j];
    }
}

static void gramian_of_rows(const struct thaw_cold *c, double *g) {
    const int64_t k = c->k;
    for (int32_t p = 0; p < c->nparts; p++)
        for (int64_t r = 0; r < rows_of(c, p); r++) gramian_add(g, c->rows[p] + r * c->columns, c->k);
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < i; j++) g[j * k + i] = g[i * k + j];
}

static int gramian_open(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    const int64_t k = c->k;
    int code = thaw_alloc(&c->gramian, (size_t)(k * k), sizeof *c->gramian, "a gramian", err);
    if (code) return code;
    if (s->gramian) {
        memcpy(c->gramian, s->gramian, (size_t)(k * k) * sizeof *c->gramian);
        return THAW_OK;
    }
    gramian_of_rows(c, c->gramian);
    return THAW_OK;
}

// ---- What the models must have in common ----

static int side_check(const struct thaw_cold *c, const Thaw__Side *side, const char *dir,
                      struct thaw_err *err) {
    bool same = side && side->n_part_rows == (size_t)c->nparts;
    for (int32_t p = 0; same && p < c->nparts; p++) same = side->part_rows[p] == rows_of(c, p);
    return same ? THAW_OK : thaw_fail(err, THAW_EDATA, "%s: its items are not those of the model", dir);
}

static int digest_check(uint64_t *wanted, uint64_t digest, const char *dir, struct thaw_err *err) {
    if (!*wanted) *wanted = digest;
    if (*wanted == digest) return THAW_OK;
    return thaw_fail(err, THAW_EDATA,
                     "%s: belongs to a dataset of digest %016" PRIx64 ", the others to %016" PRIx64, dir,
                     digest, *wanted);
}

static int features_check(struct thaw_cold *c, int32_t features, const char *dir, struct thaw_err *err) {
    if (features < 0) return thaw_fail(err, THAW_EDATA, "%s: %d profile columns", dir, features);
    if (c->features == 0) c->features = features;
    if (c->columns_seen < features) c->columns_seen = features;
    if (features == 0 || features == c->features) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: %d profile columns, another model has %d", dir, features,
                     c->features);
}

static int implicit_check(const struct thaw_cold *c, const char *dir, struct thaw_err *err) {
    if (c->als->model != THAW__ALS__MODEL__EXPLICIT && !c->als->biases) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: goes with implicit models, not with ratings", dir);
}

// ---- The models ----

int cold_open_prior(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    const Thaw__Prior *p = s->prior;
    int code = implicit_check(c, s->prior_dir, err);
    if (!code && p->factors != c->k)
        code = thaw_fail(err, THAW_EDATA, "%s: %d factors, the model has %d", s->prior_dir, p->factors, c->k);
    if (!code && s->model_digest && p->model_digest != s->model_digest)
        code = thaw_fail(err, THAW_EDATA, "%s: was made for another model", s->prior_dir);
    if (!code && (p->user_vector < 0 || p->user_features < p->user_vector))
        code = thaw_fail(err, THAW_EDATA, "%s: %d profile columns, %d of them a vector's", s->prior_dir,
                         p->user_features, p->user_vector);
    if (!code) code = features_check(c, p->user_features - p->user_vector, s->prior_dir, err);
    if (!code && c->columns_seen < p->user_features) c->columns_seen = p->user_features;
    if (!code)
        code = cold_file_open(&c->weights, s->prior_dir, "prior.user_weights.npy", THAW_NPY_F32, 2,
                              1 + (int64_t)p->user_features, c->k, err);
    if (!code)
        code = cold_file_open(&c->precision, s->prior_dir, "prior.user_precision.npy", THAW_NPY_F64, 2, c->k,
                              c->k, err);
    if (!code) c->prior = p;
    return code || p->types == 0 ? code : cold_open_types(c, s, err);
}

// The jobs write C with a row per item, `thaw tables` with a row per profile column, of which a look-up reads
// only those that it needs.
static int profile_open(struct thaw_cold *c, struct cold_set *set, const char *dir, const char *prefix,
                        int32_t p, int64_t columns, struct thaw_err *err) {
    char name[COLD_NAME], path[THAW_PATH_MAX], file[THAW_PART_FILE];
    const int64_t n = rows_of(c, p);
    const char *part = thaw_part_file(file, THAW_ITEMS, p, c->nparts, "npy") + strlen("items");
    snprintf(name, sizeof name, "%scolumns%s", prefix, part);
    int code = thaw_path_join(path, dir, name, err);
    if (code) return code;
    if (p == 0) set->by_column = thaw_path_exists(path);
    if (!set->by_column) snprintf(name, sizeof name, "%sprofile%s", prefix, part);
    return cold_file_open(&set->profile[p], dir, name, THAW_NPY_F32, 2, set->by_column ? columns : n,
                          set->by_column ? n : columns, err);
}

static int set_part_open(struct thaw_cold *c, struct cold_set *set, const char *dir, const char *prefix,
                         int32_t p, int32_t features, struct thaw_err *err) {
    const int64_t n = rows_of(c, p);
    int code =
        cold_part_file_open(&set->indptr[p], c, dir, prefix, p, "indptr.npy", THAW_NPY_I64, 1, n + 1, 1, err);
    if (code) return code;
    const int64_t *indptr = set->indptr[p].data, count = indptr[n];
    if (count < 0 || indptr[0] != 0)
        return thaw_fail(err, THAW_EDATA, "%s: %s part %d: its rows do not begin at 0", dir, prefix, p);
    code = cold_part_file_open(&set->indices[p], c, dir, prefix, p, "indices.npy", THAW_NPY_U32, 1, count, 1,
                               err);
    if (!code)
        code = cold_part_file_open(&set->values[p], c, dir, prefix, p, "values.npy", THAW_NPY_F32, 1, count,
                                   1, err);
    return code || !set->profile ? code : profile_open(c, set, dir, prefix, p, 1 + (int64_t)features, err);
}

static int set_open(struct thaw_cold *c, struct cold_set *set, const struct thaw_cold_source *s,
                    int32_t known, struct thaw_err *err) {
    const Thaw__Association *a = s->association;
    const size_t n = (size_t)c->nparts;
    char prefix[COLD_PREFIX];
    snprintf(prefix, sizeof prefix, "associate.n%03d.", known);
    int code = thaw_alloc(&set->indptr, n, sizeof *set->indptr, "an association's parts", err);
    if (!code) code = thaw_alloc(&set->indices, n, sizeof *set->indices, "an association's parts", err);
    if (!code) code = thaw_alloc(&set->values, n, sizeof *set->values, "an association's parts", err);
    if (!code && a->method == THAW__ASSOCIATION__METHOD__EPISODIC)
        code = thaw_alloc(&set->profile, n, sizeof *set->profile, "an association's parts", err);
    for (int32_t p = 0; !code && p < c->nparts; p++)
        code = set_part_open(c, set, s->association_dir, prefix, p, a->features, err);
    return code;
}

int cold_open_association(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    const Thaw__Association *a = s->association;
    int code = side_check(c, a->items, s->association_dir, err);
    if (!code && (a->n_known < 1 || a->n_known > 1000))
        code = thaw_fail(err, THAW_EDATA, "%s: %zu numbers of known items", s->association_dir, a->n_known);
    for (size_t i = 0; !code && i < a->n_known; i++)
        if (a->known[i] < 0 || a->known[i] > 999 || (i && a->known[i] <= a->known[i - 1]))
            code = thaw_fail(err, THAW_EDATA, "%s: numbers of known items that do not rise from 0 to 999",
                             s->association_dir);
    if (!code && c->nitems > UINT32_MAX)
        code =
            thaw_fail(err, THAW_EDATA, "%s: more items than an association can number", s->association_dir);
    if (!code) code = features_check(c, a->features, s->association_dir, err);
    if (!code) code = thaw_alloc(&c->set, a->n_known, sizeof *c->set, "an association", err);
    if (code) return code;
    c->nset = (int)a->n_known;
    for (int i = 0; !code && i < c->nset; i++) code = set_open(c, &c->set[i], s, a->known[i], err);
    if (!code) c->association = a;
    return code;
}

static void transpose(const float *in, int rows, int cols, float *out) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) out[(int64_t)j * rows + i] = in[(int64_t)i * cols + j];
}

static int shape_check(const Thaw__Generator *g, const char *dir, struct thaw_err *err) {
    if (g->factors >= 1 && g->factors < FACTORS_MAX && g->features >= 0 && g->features <= INT32_MAX / 2 &&
        g->longest >= 0 && g->longest < FACTORS_MAX && g->noise >= 0 && g->noise < FACTORS_MAX &&
        g->hidden >= 1 && g->hidden < FACTORS_MAX)
        return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: a generator of an impossible shape", dir);
}

static int net_open(struct thaw_cold *c, const char *dir, struct thaw_err *err) {
    const struct thaw_gan_shape *s = &c->shape;
    const size_t hidden = (size_t)s->hidden, noise = (size_t)s->noise;
    int code =
        cold_file_open(&c->net, dir, "generator.net.npy", THAW_NPY_F32, 1, (int64_t)c->layout.n, 1, err);
    if (!code) code = thaw_alloc(&c->second_t, hidden * hidden, sizeof *c->second_t, "a generator", err);
    if (!code) code = thaw_alloc(&c->noise_t, hidden * noise, sizeof *c->noise_t, "a generator", err);
    if (code) return code;
    const float *net = c->net.data;
    transpose(net + c->layout.second_w, s->hidden, s->hidden, c->second_t);
    transpose(net + c->layout.first_w + ((size_t)thaw_gan_inputs(s) - noise) * hidden, s->noise, s->hidden,
              c->noise_t);
    return THAW_OK;
}

int cold_open_generator(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err) {
    const Thaw__Generator *g = s->generator;
    int code = implicit_check(c, s->generator_dir, err);
    if (!code) code = side_check(c, g->items, s->generator_dir, err);
    if (!code) code = shape_check(g, s->generator_dir, err);
    if (!code) code = features_check(c, g->features, s->generator_dir, err);
    if (code) return code;
    c->shape = (struct thaw_gan_shape){g->factors, g->features, g->longest, g->noise, g->hidden};
    thaw_gan_generator_layout(&c->shape, &c->layout);
    code = net_open(c, s->generator_dir, err);
    if (!code)
        code = thaw_alloc(&c->decoder, (size_t)c->nparts, sizeof *c->decoder, "a generator's items", err);
    for (int32_t p = 0; !code && p < c->nparts; p++)
        code = cold_part_file_open(&c->decoder[p], c, s->generator_dir, "generator.", p, "npy", THAW_NPY_F32,
                                   2, rows_of(c, p), 2 * (int64_t)g->factors + 1, err);
    if (!code) c->generator = g;
    return code;
}

// ---- All of it ----

static int digests_check(const struct thaw_cold_source *s, struct thaw_err *err) {
    uint64_t wanted = s->dataset_digest;
    int code = THAW_OK;
    if (s->prior) code = digest_check(&wanted, s->prior->dataset_digest, s->prior_dir, err);
    if (!code && s->association)
        code = digest_check(&wanted, s->association->dataset_digest, s->association_dir, err);
    if (!code && s->generator)
        code = digest_check(&wanted, s->generator->dataset_digest, s->generator_dir, err);
    if (!code && s->blend) code = digest_check(&wanted, s->blend->dataset_digest, "the blend", err);
    return code;
}

int thaw_cold_open(struct thaw_cold **out, const struct thaw_cold_source *s, struct thaw_err *err) {
    enum { SAMPLES = 16, SAMPLES_MAX = 4096 };
    struct thaw_cold *c = NULL;
    int code = digests_check(s, err);
    if (!code) code = thaw_alloc(&c, 1, sizeof *c, "the cold-start models", err);
    if (code) return code;
    c->als = s->als;
    c->blend = s->blend;
    code = items_begin(c, s, err);
    if (!code) code = rows_open(c, s, err);
    if (!code) code = gramian_open(c, s, err);
    if (!code && s->prior) code = cold_open_prior(c, s, err);
    if (!code && s->association) code = cold_open_association(c, s, err);
    if (!code && s->generator) code = cold_open_generator(c, s, err);
    c->samples = s->blend && s->blend->samples > 0 ? s->blend->samples : SAMPLES;
    if (c->samples > SAMPLES_MAX) c->samples = SAMPLES_MAX;
    if (c->shape.noise == 0) c->samples = 1;
    if (code)
        thaw_cold_close(&c);
    else
        *out = c;
    return code;
}

// The gramian of the files need not be that of the rows: items without interactions have got theirs later.
static int factors_warm(struct thaw_cold *c, struct thaw_err *err) {
    const size_t k = (size_t)c->k;
    if (c->factors.q) return THAW_OK;
    int code = THAW_OK;
    if (!c->factor_sum)
        code = thaw_alloc(&c->factor_sum, k + k * k, sizeof *c->factor_sum, "sums of factors", err);
    if (!code) code = rough_new(&c->factors, c->nitems, c->k, err);
    if (!code) gramian_of_rows(c, c->factor_sum + k);
    for (int32_t p = 0; !code && p < c->nparts; p++)
        for (int64_t r = 0; r < rows_of(c, p); r++) {
            const float *row = c->rows[p] + r * c->columns;
            rough_set(&c->factors, c->first_row[p] + r, row);
            for (int j = 0; j < c->k; j++) c->factor_sum[j] += (double)row[j];
        }
    return code;
}

static int latents_warm(struct thaw_cold *c, struct thaw_err *err) {
    const int k = c->shape.k;
    if (c->latents.q) return THAW_OK;
    int code = quick_new(&c->latents, c->nitems, k, err);
    for (int32_t p = 0; !code && p < c->nparts; p++)
        for (int64_t r = 0; r < rows_of(c, p); r++) {
            const float *row = (const float *)c->decoder[p].data + r * (2 * (int64_t)k + 1);
            quick_set(&c->latents, c->first_row[p] + r, row + k, row[2 * (int64_t)k]);
        }
    return code;
}

int thaw_cold_warm(struct thaw_cold *c, struct thaw_err *err) {
    const bool linear = c->als->model != THAW__ALS__MODEL__EXPLICIT && !c->als->biases;
    int code = linear ? factors_warm(c, err) : THAW_OK;
    if (!code && c->generator) code = latents_warm(c, err);
    if (!code) code = cold_types_warm(c, err);
    c->warm = !code;
    return code;
}

static void files_close(struct thaw_npy *files, int32_t n) {
    for (int32_t p = 0; files && p < n; p++) thaw_npy_close(&files[p]);
    free(files);
}

static void types_close(struct cold_types *t) {
    struct thaw_npy *const file[] = {&t->factors,       &t->mass,           &t->indptr,
                                     &t->users,         &t->profile_indptr, &t->profile_columns,
                                     &t->profile_values};
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) thaw_npy_close(file[i]);
}

void thaw_cold_close(struct thaw_cold **out) {
    struct thaw_cold *c = *out;
    if (!c) return;
    for (int i = 0; i < c->nset; i++) {
        files_close(c->set[i].indptr, c->nparts);
        files_close(c->set[i].indices, c->nparts);
        files_close(c->set[i].values, c->nparts);
        files_close(c->set[i].profile, c->nparts);
    }
    files_close(c->row_file, c->nparts);
    files_close(c->decoder, c->nparts);
    rough_clear(&c->factors);
    free(c->factor_sum);
    free(c->type_users);
    free(c->type_begin);
    quick_clear(&c->latents);
    thaw_npy_close(&c->weights);
    thaw_npy_close(&c->precision);
    types_close(&c->types);
    thaw_npy_close(&c->net);
    free(c->set);
    free(c->second_t);
    free(c->noise_t);
    free(c->gramian);
    free(c->rows);
    free(c->first_row);
    free(c);
    *out = NULL;
}
