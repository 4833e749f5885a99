// random_cold.c: see random_cold.h.
#include "cold/random_cold.h"

#include "base/mem.h"
#include "base/npy.h"
#include "base/part.h"
#include "base/rng.h"
#include "gan/layout.h"
#include "table/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 1100, NAME = 160 };

// One folder being written: its files so far.
struct work {
    const char *dir;
    const Thaw__Side *items;
    const struct thaw_random_cold *r;
    Thaw__File **files;
    size_t n, cap;
    uint32_t stream; // of the next array
};

static int put(struct work *w, const char *name, enum thaw_npy_type type, int ndim, int64_t rows,
               int64_t cols, const void *data, struct thaw_err *err) {
    const int64_t width = type == THAW_NPY_F32 || type == THAW_NPY_U32 ? 4 : 8;
    const struct thaw_npy_shape shape = {type, ndim, rows, cols, width};
    struct thaw_file_info info = {0};
    char path[THAW_PATH_MAX];
    int code = thaw_grow(&w->files, &w->cap, w->n + 1, sizeof(*w->files), "file entries", err);
    if (!code) code = thaw_path_join(path, w->dir, name, err);
    if (!code) code = thaw_npy_put(path, &shape, data, &info, err);
    if (!code) code = thaw_table_file_new(&w->files[w->n], name, &info, err);
    if (!code) w->n++;
    thaw_file_info_clear(&info);
    return code;
}

// rows x cols normal numbers of deviation `scale`.
static int put_normal(struct work *w, const char *name, int ndim, int64_t rows, int64_t cols, double scale,
                      struct thaw_err *err) {
    float *x = NULL;
    const size_t n = (size_t)rows * (size_t)cols;
    int code = thaw_alloc(&x, n, sizeof *x, "random numbers", err);
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    for (size_t i = 0; !code && i < n; i++) x[i] = (float)(scale * thaw_rng_normal(&rng));
    if (!code) code = put(w, name, THAW_NPY_F32, ndim, rows, cols, x, err);
    free(x);
    return code;
}

static int code_with(int code, void *message, struct thaw_err *err) {
    return code ? code : message ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a manifest");
}

// ---- P ----

// precision = 4 I + v v', covariance its inverse (Sherman-Morrison).
static int put_precision(struct work *w, struct thaw_err *err) {
    const int64_t k = w->r->factors;
    double *m = NULL, *v = NULL, square = 0;
    int code = thaw_alloc(&m, (size_t)(2 * k * k), sizeof *m, "a precision", err);
    if (!code) code = thaw_alloc(&v, (size_t)k, sizeof *v, "a precision", err);
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    for (int64_t i = 0; !code && i < k; i++) {
        v[i] = thaw_rng_normal(&rng);
        square += v[i] * v[i];
    }
    for (int64_t i = 0; !code && i < k; i++)
        for (int64_t j = 0; j < k; j++) {
            m[i * k + j] = (i == j ? 4 : 0) + v[i] * v[j];
            m[k * k + i * k + j] = (i == j ? .25 : 0) - v[i] * v[j] / 16 / (1 + square / 4);
        }
    if (!code) code = put(w, "prior.user_precision.npy", THAW_NPY_F64, 2, k, k, m, err);
    if (!code) code = put(w, "prior.user_covariance.npy", THAW_NPY_F64, 2, k, k, m + k * k, err);
    free(m);
    free(v);
    return code;
}

// Rows 0, 1, ... of `each` rising numbers below n, one of each run of n / each.
static int put_lists(struct work *w, const char *indptr_name, const char *name, int64_t rows, int64_t each,
                     int64_t n, struct thaw_err *err) {
    int64_t *indptr = NULL;
    uint32_t *index = NULL;
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    int code = thaw_alloc(&indptr, (size_t)rows + 1, sizeof *indptr, "lists", err);
    if (!code) code = thaw_alloc(&index, (size_t)(rows * each), sizeof *index, "lists", err);
    for (int64_t i = 0; !code && i < rows; i++) {
        indptr[i + 1] = indptr[i] + each;
        for (int64_t j = 0; j < each; j++) {
            const int64_t first = j * n / each, end = (j + 1) * n / each;
            index[i * each + j] = (uint32_t)(first + (int64_t)thaw_rng_below(&rng, (uint64_t)(end - first)));
        }
    }
    if (!code) code = put(w, indptr_name, THAW_NPY_I64, 1, rows + 1, 1, indptr, err);
    if (!code) code = put(w, name, THAW_NPY_U32, 1, rows * each, 1, index, err);
    free(indptr);
    free(index);
    return code;
}

static int put_types(struct work *w, struct thaw_err *err) {
    const int64_t n = w->r->types, users = n < 16 ? n : 16,
                  features = w->r->features < 4 ? w->r->features : 4;
    int64_t nitems = 0;
    double *mass = NULL;
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    for (size_t p = 0; p < w->items->n_part_rows; p++) nitems += w->items->part_rows[p];
    int code = thaw_alloc(&mass, 2 * (size_t)n, sizeof *mass, "types", err);
    for (int64_t i = 0; !code && i < 2 * n; i++)
        mass[i] = (.5 + thaw_rng_uniform(&rng)) * (double)(nitems * users) / (double)n;
    if (!code) code = put(w, "prior.types_mass.npy", THAW_NPY_F64, 2, n, 2, mass, err);
    if (!code) code = put_normal(w, "prior.types_factors.npy", 2, n, w->r->factors, .4, err);
    if (!code) code = put_lists(w, "prior.types_indptr.npy", "prior.types_users.npy", nitems, users, n, err);
    if (!code && features)
        code = put_lists(w, "prior.types_profile_indptr.npy", "prior.types_profile_columns.npy", n, features,
                         w->r->features, err);
    if (!code && features)
        code = put_normal(w, "prior.types_profile_values.npy", 1, n * features, 1, .5, err);
    free(mass);
    return code;
}

static int write_prior(struct work *w, Thaw__Prior **out, struct thaw_err *err) {
    const struct thaw_random_cold *r = w->r;
    int code = put_normal(w, "prior.user_weights.npy", 2, 1 + (int64_t)r->features, r->factors, .2, err);
    if (!code) code = put_precision(w, err);
    if (!code && r->types) code = put_types(w, err);
    Thaw__Prior *m = code ? NULL : malloc(sizeof *m);
    if ((code = code_with(code, m, err))) return code;
    thaw__prior__init(m);
    m->format = 1;
    m->dataset_digest = r->dataset_digest;
    m->model_digest = r->model_digest;
    m->factors = r->factors;
    m->user_features = r->features;
    m->ridge = 30;
    m->types = r->types;
    m->files = w->files;
    m->n_files = w->n;
    *out = m;
    return THAW_OK;
}

static int side_copy(Thaw__Side **out, const Thaw__Side *side, struct thaw_err *err) {
    Thaw__Side *s = malloc(sizeof *s);
    const size_t n = side->n_part_rows;
    if (!s) return thaw_fail(err, THAW_EMEM, "no memory for a manifest");
    thaw__side__init(s);
    s->part_rows = malloc((n ? n : 1) * sizeof *s->part_rows);
    if (!s->part_rows) {
        free(s);
        return thaw_fail(err, THAW_EMEM, "no memory for a manifest");
    }
    memcpy(s->part_rows, side->part_rows, n * sizeof *s->part_rows);
    s->n_part_rows = n;
    *out = s;
    return THAW_OK;
}

// ---- E ----

static void part_name(char name[NAME], const struct work *w, const char *prefix, size_t p, const char *ext) {
    snprintf(name, NAME, "%s-%05zu-of-%05zu.%s", prefix, p, w->items->n_part_rows, ext);
}

// Each row: one neighbour of each of `neighbors` runs of items.
static int put_neighbours(struct work *w, const char *prefix, size_t p, int64_t nitems,
                          struct thaw_err *err) {
    const int64_t m = w->r->neighbors < nitems ? w->r->neighbors : nitems, rows = w->items->part_rows[p];
    const size_t n = (size_t)(rows * m);
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    char name[NAME];
    int64_t *indptr = NULL;
    uint32_t *index = NULL;
    float *value = NULL;
    int code = thaw_alloc(&indptr, (size_t)rows + 1, sizeof *indptr, "neighbours", err);
    if (!code) code = thaw_alloc(&index, n, sizeof *index, "neighbours", err);
    if (!code) code = thaw_alloc(&value, n, sizeof *value, "neighbours", err);
    for (int64_t i = 0; !code && i < rows; i++) {
        indptr[i + 1] = indptr[i] + m;
        for (int64_t j = 0; j < m; j++) {
            const int64_t first = j * nitems / m, end = (j + 1) * nitems / m;
            index[i * m + j] = (uint32_t)(first + (int64_t)thaw_rng_below(&rng, (uint64_t)(end - first)));
            value[i * m + j] = (float)(.1 * (thaw_rng_uniform(&rng) - .3));
        }
    }
    part_name(name, w, prefix, p, "indptr.npy");
    if (!code) code = put(w, name, THAW_NPY_I64, 1, rows + 1, 1, indptr, err);
    part_name(name, w, prefix, p, "indices.npy");
    if (!code) code = put(w, name, THAW_NPY_U32, 1, rows * m, 1, index, err);
    part_name(name, w, prefix, p, "values.npy");
    if (!code) code = put(w, name, THAW_NPY_F32, 1, rows * m, 1, value, err);
    free(indptr);
    free(index);
    free(value);
    return code;
}

static int write_set(struct work *w, int32_t known, int64_t nitems, struct thaw_err *err) {
    const int64_t columns = 1 + (int64_t)w->r->features;
    int code = THAW_OK;
    for (size_t p = 0; !code && p < w->items->n_part_rows; p++) {
        char prefix[NAME / 2], name[NAME];
        const int64_t rows = w->items->part_rows[p];
        snprintf(prefix, sizeof prefix, "associate.n%03d.items", known);
        code = put_neighbours(w, prefix, p, nitems, err);
        snprintf(prefix, sizeof prefix, "associate.n%03d.%s", known, w->r->columns ? "columns" : "profile");
        part_name(name, w, prefix, p, "npy");
        if (!code)
            code = put_normal(w, name, 2, w->r->columns ? columns : rows, w->r->columns ? rows : columns, .05,
                              err);
    }
    return code;
}

static int write_association(struct work *w, Thaw__Association **out, struct thaw_err *err) {
    const struct thaw_random_cold *r = w->r;
    int64_t nitems = 0;
    int code = THAW_OK;
    for (size_t p = 0; p < w->items->n_part_rows; p++) nitems += w->items->part_rows[p];
    for (int i = 0; !code && i < r->nknown; i++) code = write_set(w, r->known[i], nitems, err);
    Thaw__Association *m = code ? NULL : malloc(sizeof *m);
    if ((code = code_with(code, m, err))) return code;
    thaw__association__init(m);
    m->format = 1;
    m->dataset_digest = r->dataset_digest;
    m->features = r->features;
    m->neighbors = r->neighbors;
    m->known = malloc((size_t)r->nknown * sizeof *m->known);
    if (m->known) memcpy(m->known, r->known, (size_t)r->nknown * sizeof *m->known);
    m->n_known = m->known ? (size_t)r->nknown : 0;
    code = code_with(side_copy(&m->items, w->items, err), m->known, err);
    if (code) {
        thaw__association__free_unpacked(m, NULL);
        return code;
    }
    m->files = w->files;
    m->n_files = w->n;
    *out = m;
    return THAW_OK;
}

// ---- G ----

// Uniform +-1 / sqrt(inputs), as a network starts.
static int put_net(struct work *w, const struct thaw_gan_shape *s, struct thaw_err *err) {
    struct thaw_gan_layout at;
    float *x = NULL;
    thaw_gan_generator_layout(s, &at);
    const size_t ends[] = {at.key_w, at.value_w, at.first_w, at.second_w, at.last_w, at.log_scale, at.n};
    const int inputs[] = {s->features, s->k, s->k, thaw_gan_inputs(s), s->hidden, s->hidden, 1};
    int code = thaw_alloc(&x, at.n, sizeof *x, "a network", err);
    struct thaw_rng rng = thaw_rng_at(w->r->seed, STREAM, w->stream++);
    size_t i = 0;
    for (int part = 0; !code && part < 7; part++) {
        const double scale = 2 / sqrt(inputs[part] > 0 ? inputs[part] : 1);
        for (; i < ends[part]; i++) x[i] = (float)(scale * (thaw_rng_uniform(&rng) - .5));
    }
    if (!code) {
        x[at.log_scale] = .7F;
        code = put(w, "generator.net.npy", THAW_NPY_F32, 1, (int64_t)at.n, 1, x, err);
    }
    free(x);
    return code;
}

static int write_generator(struct work *w, Thaw__Generator **out, struct thaw_err *err) {
    const struct thaw_random_cold *r = w->r;
    const struct thaw_gan_shape shape = {r->factors, r->features, r->longest, r->noise, r->hidden};
    int code = put_net(w, &shape, err);
    for (size_t p = 0; !code && p < w->items->n_part_rows; p++) {
        char name[NAME];
        part_name(name, w, "generator.items", p, "npy");
        code = put_normal(w, name, 2, w->items->part_rows[p], 2 * (int64_t)r->factors + 1, .5, err);
    }
    Thaw__Generator *m = code ? NULL : malloc(sizeof *m);
    if ((code = code_with(code, m, err))) return code;
    thaw__generator__init(m);
    m->format = 1;
    m->dataset_digest = r->dataset_digest;
    m->model_digest = r->model_digest;
    m->factors = r->factors;
    m->features = r->features;
    m->longest = r->longest;
    m->noise = r->noise;
    m->hidden = r->hidden;
    m->log_scale = (double).7F;
    code = side_copy(&m->items, w->items, err);
    if (code) {
        thaw__generator__free_unpacked(m, NULL);
        return code;
    }
    m->files = w->files;
    m->n_files = w->n;
    *out = m;
    return THAW_OK;
}

// What was written goes to the message, or nowhere.
static void work_next(struct work *w, bool failed) {
    for (size_t i = 0; failed && i < w->n; i++) thaw__file__free_unpacked(w->files[i], NULL);
    if (failed) free(w->files);
    w->files = NULL;
    w->n = w->cap = 0;
}

int thaw_random_cold_write(const char *dir, const Thaw__Side *items, const struct thaw_random_cold *r,
                           Thaw__Prior **prior, Thaw__Association **association, Thaw__Generator **generator,
                           struct thaw_err *err) {
    struct work w = {.dir = dir, .items = items, .r = r};
    Thaw__Prior *p = NULL;
    Thaw__Association *a = NULL;
    Thaw__Generator *g = NULL;
    int code = write_prior(&w, &p, err);
    work_next(&w, code);
    if (!code) {
        code = write_association(&w, &a, err);
        work_next(&w, code);
    }
    if (!code) {
        code = write_generator(&w, &g, err);
        work_next(&w, code);
    }
    if (code) {
        if (p) thaw__prior__free_unpacked(p, NULL);
        if (a) thaw__association__free_unpacked(a, NULL);
        return code;
    }
    *prior = p;
    *association = a;
    *generator = g;
    return THAW_OK;
}
