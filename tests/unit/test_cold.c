// test_cold.c: scores for someone new against slow references written out here, in f64, from the models'
// files.
#include "base/mem.h"
#include "base/npy.h"
#include "base/rng.h"
#include "cold/cold.h"
#include "cold/random_cold.h"
#include "dense/topk.h"
#include "gan/layout.h"
#include "tests/unit/scratch_put.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum {
    K = 10,
    ITEMS = 70,
    FEATURES = 7,
    LONGEST = 4,
    NOISE = 5,
    HIDDEN = 24,
    SAMPLES = 3,
    SETS = 3,
    TYPES = 40,
    HITS = 6
};
static int64_t part_rows[] = {31, 0, 20, 19};
static const int32_t set_known[SETS] = {0, 2, 5};
static Thaw__Side items = THAW__SIDE__INIT;
static Thaw__Als als = THAW__ALS__INIT;
static Thaw__Known known[2] = {THAW__KNOWN__INIT, THAW__KNOWN__INIT};
static Thaw__Known *known_list[2] = {&known[0], &known[1]};
static Thaw__Blend blend = THAW__BLEND__INIT;
static Thaw__Prior *prior;
static Thaw__Association *association;
static Thaw__Generator *generator;
static struct thaw_cold_source source;
static struct thaw_cold *c;
static struct thaw_cold_work *w;
static float *rows[4]; // by part

// What the references read.
static double v[ITEMS][K], weights[1 + FEATURES][K], precision[K][K];
static double embedding[ITEMS][K], decoder[ITEMS][K], bias[ITEMS];
static double b[SETS][ITEMS][ITEMS], profile[SETS][ITEMS][1 + FEATURES];
static double *net;
static double type_factors[TYPES][K], type_mass[TYPES][2], type_profile[TYPES][FEATURES];
static bool type_has[TYPES][ITEMS];
static int64_t types_entries;

static const uint32_t feature[] = {1, 4, 6};
static const float feature_value[] = {1, .5F, -.25F};
static const int64_t item[] = {33, 5, 61, 40, 7, 12};
static const float strength[] = {1, 1, 1, 1, 1, 1};

static struct thaw_newcomer newcomer(int64_t n) {
    return (struct thaw_newcomer){.feature = feature,
                                  .feature_value = feature_value,
                                  .nfeatures = 3,
                                  .item = item,
                                  .strength = strength,
                                  .nitems = n,
                                  .key = 77};
}

// ---- The files, read into plain arrays ----

static struct thaw_npy map(const char *name) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_npy a;
    if (thaw_npy_open(&a, scratch_path(name), NULL, &err)) fail_msg("%s", err.text);
    return a;
}

static void read_floats(const char *name, double *out) {
    struct thaw_npy a = map(name);
    for (int64_t i = 0; i < a.shape.rows * a.shape.cols; i++)
        out[i] =
            a.shape.type == THAW_NPY_F64 ? ((const double *)a.data)[i] : (double)((const float *)a.data)[i];
    thaw_npy_close(&a);
}

static void read_set(int s, int p, int64_t first) {
    char name[96];
    snprintf(name, sizeof name, "associate.n%03d.items-%05d-of-00004.indptr.npy", set_known[s], p);
    struct thaw_npy ptr = map(name);
    snprintf(name, sizeof name, "associate.n%03d.items-%05d-of-00004.indices.npy", set_known[s], p);
    struct thaw_npy index = map(name);
    snprintf(name, sizeof name, "associate.n%03d.items-%05d-of-00004.values.npy", set_known[s], p);
    struct thaw_npy value = map(name);
    snprintf(name, sizeof name, "associate.n%03d.profile-%05d-of-00004.npy", set_known[s], p);
    read_floats(name, profile[s][first]);
    for (int64_t r = 0; r < part_rows[p]; r++)
        for (int64_t i = ((const int64_t *)ptr.data)[r]; i < ((const int64_t *)ptr.data)[r + 1]; i++)
            b[s][first + r][((const uint32_t *)index.data)[i]] = (double)((const float *)value.data)[i];
    thaw_npy_close(&ptr);
    thaw_npy_close(&index);
    thaw_npy_close(&value);
}

static void read_types(void) {
    struct thaw_npy ptr = map("prior.types_indptr.npy"), user = map("prior.types_users.npy");
    read_floats("prior.types_factors.npy", type_factors[0]);
    read_floats("prior.types_mass.npy", type_mass[0]);
    types_entries = user.shape.rows;
    for (int i = 0; i < ITEMS; i++)
        for (int64_t at = ((const int64_t *)ptr.data)[i]; at < ((const int64_t *)ptr.data)[i + 1]; at++)
            type_has[((const uint32_t *)user.data)[at]][i] = true;
    thaw_npy_close(&ptr);
    thaw_npy_close(&user);
    struct thaw_npy column = map("prior.types_profile_columns.npy"),
                    value = map("prior.types_profile_values.npy");
    ptr = map("prior.types_profile_indptr.npy");
    for (int t = 0; t < TYPES; t++)
        for (int64_t at = ((const int64_t *)ptr.data)[t]; at < ((const int64_t *)ptr.data)[t + 1]; at++)
            type_profile[t][((const uint32_t *)column.data)[at]] = (double)((const float *)value.data)[at];
    thaw_npy_close(&ptr);
    thaw_npy_close(&column);
    thaw_npy_close(&value);
}

static void read_all(void) {
    struct thaw_gan_layout at;
    const struct thaw_gan_shape shape = {K, FEATURES, LONGEST, NOISE, HIDDEN};
    int64_t first = 0;
    thaw_gan_generator_layout(&shape, &at);
    net = calloc(at.n, sizeof *net);
    read_floats("generator.net.npy", net);
    read_floats("prior.user_weights.npy", weights[0]);
    read_floats("prior.user_precision.npy", precision[0]);
    for (int p = 0; p < 4; first += part_rows[p++]) {
        double rows_of_part[ITEMS][2 * K + 1];
        char name[96];
        snprintf(name, sizeof name, "generator.items-%05d-of-00004.npy", p);
        read_floats(name, rows_of_part[0]);
        for (int64_t r = 0; r < part_rows[p]; r++) {
            memcpy(embedding[first + r], rows_of_part[r], sizeof embedding[0]);
            memcpy(decoder[first + r], rows_of_part[r] + K, sizeof decoder[0]);
            bias[first + r] = rows_of_part[r][2 * K];
            for (int j = 0; j < K; j++) v[first + r][j] = (double)rows[p][r * K + j];
        }
        for (int s = 0; s < SETS; s++) read_set(s, p, first);
    }
    read_types();
}

static int set_up(void **state) {
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_random_cold r = {.factors = K,
                                       .features = FEATURES,
                                       .known = set_known,
                                       .nknown = SETS,
                                       .neighbors = 9,
                                       .types = TYPES,
                                       .longest = LONGEST,
                                       .noise = NOISE,
                                       .hidden = HIDDEN,
                                       .seed = 5,
                                       .dataset_digest = 11,
                                       .model_digest = 12};
    if (scratch_make(state)) return -1;
    items.part_rows = part_rows;
    items.n_part_rows = 4;
    als.factors = K;
    als.alpha = 1.5;
    als.unobserved_weight = .1;
    als.regularization = .02;
    als.reg_exponent = .5;
    als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    known[1].known = 4;
    for (int i = 0; i < 2; i++) {
        known[i].prior_unobserved = .01 * i;
        known[i].prior_weight = .05 + .02 * i;
        known[i].prior = .5 + i;
        known[i].association = 1;
        known[i].generator = .7;
        known[i].types = .4;
        known[i].types_own = .3 - .1 * i;
        known[i].types_background = .5;
        known[i].types_sharpness = .8 + i;
        known[i].types_profile = 1.5;
    }
    known[1].unobserved_weight = .3;
    known[1].regularization = .4;
    blend.known = known_list;
    blend.n_known = 2;
    blend.samples = SAMPLES;
    blend.dataset_digest = 11;
    if (thaw_random_cold_write(scratch, &items, &r, &prior, &association, &generator, &err)) return -1;
    for (int p = 0; p < 4; p++) {
        char name[64];
        struct thaw_rng rng = thaw_rng_at(3, 900, (uint64_t)p);
        rows[p] = calloc((size_t)(part_rows[p] * K + 1), sizeof(float));
        for (int64_t i = 0; i < part_rows[p] * K; i++) rows[p][i] = (float)(.4 * thaw_rng_normal(&rng));
        snprintf(name, sizeof name, "items-%05d-of-00004.npy", p);
        const struct thaw_npy_shape shape = {THAW_NPY_F32, 2, part_rows[p], K, 4};
        if (thaw_npy_put(scratch_path(name), &shape, rows[p], NULL, &err)) return -1;
    }
    source = (struct thaw_cold_source){.items_dir = scratch,
                                       .items = &items,
                                       .als = &als,
                                       .prior_dir = scratch,
                                       .association_dir = scratch,
                                       .generator_dir = scratch,
                                       .prior = prior,
                                       .association = association,
                                       .generator = generator,
                                       .blend = &blend,
                                       .model_digest = 12};
    if (thaw_cold_open(&c, &source, &err) || thaw_cold_work_new(&w, c, &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    read_all();
    return 0;
}

static int tear_down(void **state) {
    thaw_cold_work_free(&w);
    thaw_cold_close(&c);
    thaw__prior__free_unpacked(prior, NULL);
    thaw__association__free_unpacked(association, NULL);
    thaw__generator__free_unpacked(generator, NULL);
    for (int p = 0; p < 4; p++) free(rows[p]);
    free(net);
    return scratch_remove(state);
}

// ---- References ----

static const Thaw__Known *numbers(int64_t n) {
    return &known[n >= 2]; // 2 lies between 0 and 4: the larger one
}

// Gauss without pivoting, on a copy: the systems are positive definite.
static void solve(const double *a_in, const double *right, double *x, int n) {
    double a[K * K];
    memcpy(a, a_in, sizeof(double) * (size_t)(n * n));
    memmove(x, right, sizeof(double) * (size_t)n);
    for (int i = 0; i < n; i++)
        for (int r = i + 1; r < n; r++) {
            const double f = a[r * n + i] / a[i * n + i];
            for (int j = i; j < n; j++) a[r * n + j] -= f * a[i * n + j];
            x[r] -= f * x[i];
        }
    for (int i = n - 1; i >= 0; i--) {
        for (int j = i + 1; j < n; j++) x[i] -= a[i * n + j] * x[j];
        x[i] /= a[i * n + i];
    }
}

static void prior_system(int64_t n, double a[K * K], double right[K]) {
    const Thaw__Known *k = numbers(n);
    double mean[K];
    for (int j = 0; j < K; j++) {
        mean[j] = weights[0][j];
        for (int f = 0; f < 3; f++) mean[j] += (double)feature_value[f] * weights[1 + feature[f]][j];
    }
    for (int i = 0; i < K; i++) {
        right[i] = 0;
        for (int j = 0; j < K; j++) {
            a[i * K + j] = k->prior_weight * precision[i][j];
            right[i] += k->prior_weight * precision[i][j] * mean[j];
            for (int x = 0; x < ITEMS; x++) a[i * K + j] += k->prior_unobserved * v[x][i] * v[x][j];
            for (int s = 0; s < n; s++) a[i * K + j] += v[item[s]][i] * v[item[s]][j];
        }
        for (int s = 0; s < n; s++) right[i] += v[item[s]][i];
    }
}

static void prior_scores(int64_t n, double out[ITEMS]) {
    double a[K * K], right[K], u[K];
    prior_system(n, a, right);
    solve(a, right, u, K);
    for (int i = 0; i < ITEMS; i++) {
        out[i] = 0;
        for (int j = 0; j < K; j++) out[i] += u[j] * v[i][j];
    }
}

static void fold_in_scores(int64_t n, double out[ITEMS]) {
    const Thaw__Known *k = numbers(n);
    const bool own = k->regularization > 0;
    const double a0 = own ? k->unobserved_weight : als.unobserved_weight,
                 l = (own ? k->regularization : als.regularization) *
                     pow((double)n + a0 * ITEMS, als.reg_exponent);
    double a[K * K], right[K] = {0}, u[K];
    for (int i = 0; i < K; i++) {
        for (int j = 0; j < K; j++) {
            a[i * K + j] = i == j ? l : 0;
            for (int x = 0; x < ITEMS; x++) a[i * K + j] += a0 * v[x][i] * v[x][j];
            for (int s = 0; s < n; s++) a[i * K + j] += als.alpha * v[item[s]][i] * v[item[s]][j];
        }
        for (int s = 0; s < n; s++) right[i] += als.alpha * v[item[s]][i];
    }
    solve(a, right, u, K);
    for (int i = 0; i < ITEMS; i++) {
        out[i] = 0;
        for (int j = 0; j < K; j++) out[i] += u[j] * v[i][j];
    }
}

static void association_scores(int64_t n, double out[ITEMS]) {
    const int s = n >= 4 ? 2 : n >= 1 ? 1 : 0; // 0, 2, 5
    for (int i = 0; i < ITEMS; i++) {
        out[i] = profile[s][i][0];
        for (int f = 0; f < 3; f++) out[i] += (double)feature_value[f] * profile[s][i][1 + feature[f]];
        for (int64_t x = 0; x < n; x++) out[i] += b[s][item[x]][i];
    }
}

static double elu(double x) {
    return x > 0 ? x : exp(x) - 1;
}

// out[n] = bias + in w
static void layer(const double *in, int m, const double *matrix, const double *offset, int n, double *out) {
    for (int j = 0; j < n; j++) {
        out[j] = offset[j];
        for (int i = 0; i < m; i++) out[j] += in[i] * matrix[i * n + j];
    }
}

// As the equations stand: one sample at a time. nfeatures 0: no profile.
static void latent(int64_t all, int nfeatures, double u[K]) {
    const struct thaw_gan_shape shape = {K, FEATURES, LONGEST, NOISE, HIDDEN};
    const int inputs = thaw_gan_inputs(&shape);
    const int64_t n = all > LONGEST ? LONGEST : all, *seen = item + (all - n);
    struct thaw_gan_layout at;
    double f[FEATURES] = {0}, query[K], in[FEATURES + 2 * K + LONGEST + 1 + NOISE] = {0}, match[LONGEST + 1],
           sum = 0;
    thaw_gan_generator_layout(&shape, &at);
    for (int i = 0; i < nfeatures; i++) f[feature[i]] = (double)feature_value[i];
    memcpy(in, f, sizeof f);
    layer(f, FEATURES, net + at.query_w, net + at.query_b, K, query);
    for (int64_t i = 0; i < n; i++) {
        double key[K], zero[K] = {0}, dot = 0;
        layer(embedding[seen[i]], K, net + at.key_w, zero, K, key);
        for (int j = 0; j < K; j++) dot += key[j] * query[j];
        sum += match[i] = exp(dot / sqrt(K));
    }
    for (int64_t i = 0; i < n; i++) {
        double value[K];
        layer(embedding[seen[i]], K, net + at.value_w, net + at.value_b, K, value);
        for (int j = 0; j < K; j++) {
            in[FEATURES + j] += embedding[seen[i]][j] / sqrt((double)n);
            in[FEATURES + K + j] += match[i] / sum * value[j] * sqrt((double)n);
        }
    }
    in[FEATURES + 2 * K + n] = 1;
    memset(u, 0, K * sizeof *u);
    for (int s = 0; s < SAMPLES; s++) {
        double one[HIDDEN], two[HIDDEN], out[K];
        for (int j = 0; j < NOISE; j++) {
            struct thaw_rng rng = thaw_rng_at(77, THAW_STREAM_NOISE, (uint64_t)s << 32 | (uint64_t)j);
            in[inputs - NOISE + j] = thaw_rng_normal(&rng);
        }
        layer(in, inputs, net + at.first_w, net + at.first_b, HIDDEN, one);
        for (int i = 0; i < HIDDEN; i++) one[i] = elu(one[i]);
        layer(one, HIDDEN, net + at.second_w, net + at.second_b, HIDDEN, two);
        for (int i = 0; i < HIDDEN; i++) two[i] = elu(two[i]) + one[i];
        layer(two, HIDDEN, net + at.last_w, net + at.last_b, K, out);
        for (int j = 0; j < K; j++) u[j] += out[j] / SAMPLES;
    }
}

static void generator_scores(int64_t n, int nfeatures, double out[ITEMS]) {
    const struct thaw_gan_shape shape = {K, FEATURES, LONGEST, NOISE, HIDDEN};
    struct thaw_gan_layout at;
    double u[K], sum = 0;
    thaw_gan_generator_layout(&shape, &at);
    latent(n, nfeatures, u);
    for (int i = 0; i < ITEMS; i++) {
        out[i] = bias[i];
        for (int j = 0; j < K; j++) out[i] += exp(net[at.log_scale]) * u[j] * decoder[i][j];
        sum += out[i] = exp(out[i]);
    }
    for (int i = 0; i < ITEMS; i++) out[i] /= sum;
}

// What a type would take of an item, and of all items.
static double type_takes(int t, int i, const Thaw__Known *k) {
    double preference = 0, users = .5;
    for (int j = 0; j < K; j++) preference += type_factors[t][j] * v[i][j];
    for (int u = 0; u < TYPES; u++) users += type_has[u][i];
    return k->types_own * type_has[t][i] +
           (1 - k->types_own) * (fmax(preference, 0) + k->types_background * users / TYPES);
}

static double type_takes_all(int t, const Thaw__Known *k) {
    const double users = (double)types_entries + .5 * ITEMS;
    return k->types_own * type_mass[t][0] +
           (1 - k->types_own) * (type_mass[t][1] + k->types_background * users / TYPES);
}

static double type_cosine(int t) {
    double sum = 0, squares = 0;
    for (int a = 0; a < 3; a++) {
        sum += (double)feature_value[a] * type_profile[t][feature[a]];
        squares += (double)feature_value[a] * (double)feature_value[a];
    }
    return sum / sqrt(squares);
}

static void types_scores(int64_t n, double out[ITEMS]) {
    const Thaw__Known *k = numbers(n);
    double weight[TYPES], all = 0;
    for (int t = 0; t < TYPES; t++) {
        double chance = 1;
        for (int64_t i = 0; i < n; i++) chance *= type_takes(t, (int)item[i], k) / type_takes_all(t, k);
        all += weight[t] = pow(chance, k->types_sharpness) * exp(k->types_profile * type_cosine(t));
    }
    for (int i = 0; i < ITEMS; i++) {
        out[i] = 0;
        for (int t = 0; t < TYPES; t++) out[i] += type_has[t][i] * weight[t] / all;
    }
}

static void reference(enum thaw_cold_method m, int64_t n, double out[ITEMS]) {
    const Thaw__Known *k = numbers(n);
    static const enum thaw_cold_method member[] = {THAW_COLD_PRIOR, THAW_COLD_ASSOCIATION,
                                                   THAW_COLD_GENERATOR, THAW_COLD_TYPES};
    const double weight[] = {k->prior, k->association, k->generator, k->types};
    if (m == THAW_COLD_FOLD_IN) fold_in_scores(n, out);
    if (m == THAW_COLD_PRIOR) prior_scores(n, out);
    if (m == THAW_COLD_ASSOCIATION) association_scores(n, out);
    if (m == THAW_COLD_GENERATOR) generator_scores(n, 3, out);
    if (m == THAW_COLD_TYPES) types_scores(n, out);
    if (m != THAW_COLD_ENSEMBLE) return;
    memset(out, 0, ITEMS * sizeof *out);
    for (int i = 0; i < 4; i++) {
        double one[ITEMS], mean = 0, square = 0;
        reference(member[i], n, one);
        for (int x = 0; x < ITEMS; x++) mean += one[x] / ITEMS;
        for (int x = 0; x < ITEMS; x++) square += (one[x] - mean) * (one[x] - mean) / ITEMS;
        for (int x = 0; x < ITEMS; x++) out[x] += weight[i] * (one[x] - mean) / sqrt(square);
    }
}

static void compare(enum thaw_cold_method m, int64_t n, double tolerance) {
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(n);
    float scores[ITEMS];
    double want[ITEMS], most = 0;
    if (thaw_cold_score(c, m, &who, NULL, w, scores, &err)) fail_msg("%s", err.text);
    reference(m, n, want);
    for (int i = 0; i < ITEMS; i++) most = fmax(most, fabs(want[i]));
    for (int i = 0; i < ITEMS; i++)
        if (!(fabs((double)scores[i] - want[i]) <= tolerance * most))
            fail_msg("%s of %d known: item %d scores %g, not %g", thaw_cold_method_name(m), (int)n, i,
                     (double)scores[i], want[i]);
}

// ---- Tests ----

static void scores_are_those_of_the_equations(void **state) {
    (void)state;
    for (int m = 0; m < THAW_COLD_METHODS; m++)
        for (int64_t n = 0; n <= 6; n++)
            if (n > 0 || m != THAW_COLD_FOLD_IN) compare((enum thaw_cold_method)m, n, 2e-6 * K);
}

static void compact_copies_leave_scores_alone(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_cold *plain = c;
    struct thaw_cold_work *work = w;
    if (thaw_cold_open(&c, &source, &err) || thaw_cold_warm(c, &err) || thaw_cold_work_new(&w, c, &err))
        fail_msg("%s", err.text);
    for (int m = 0; m < THAW_COLD_METHODS; m++)
        for (int64_t n = 1; n <= 6; n++) compare((enum thaw_cold_method)m, n, 2e-6 * K);
    thaw_cold_work_free(&w);
    thaw_cold_close(&c);
    c = plain;
    w = work;
}

static void nothing_known_folds_in_to_nothing(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(0);
    float scores[ITEMS], zero[ITEMS] = {0};
    assert_int_equal(thaw_cold_score(c, THAW_COLD_FOLD_IN, &who, NULL, w, scores, &err), THAW_OK);
    assert_memory_equal(scores, zero, sizeof zero);
}

static void shares_add_up(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const int64_t hit[HITS] = {0, 5, 33, 69, 50, 12};
    double item_share[HITS * 6], feature_share[HITS * 3], constant[HITS], score[HITS];
    for (int m = 0; m < THAW_COLD_METHODS; m++)
        for (int64_t n = m == THAW_COLD_FOLD_IN; n <= 6; n++) {
            const struct thaw_newcomer who = newcomer(n);
            double want[ITEMS];
            reference((enum thaw_cold_method)m, n, want);
            if (thaw_cold_explain(c, (enum thaw_cold_method)m, &who, NULL, w, hit, HITS, item_share,
                                  feature_share, constant, score, &err))
                fail_msg("%s", err.text);
            for (int h = 0; h < HITS; h++) {
                double sum = constant[h];
                for (int64_t i = 0; i < n; i++) sum += item_share[h * n + i];
                for (int i = 0; i < 3; i++) sum += feature_share[h * 3 + i];
                assert_true(fabs(sum - score[h]) <= 1e-9 * (1 + fabs(sum)));
                assert_true(fabs(score[h] - want[hit[h]]) <= 3e-5 * (1 + fabs(want[hit[h]])));
            }
        }
}

// What stays with neither item nor field: the score of nobody in particular.
static void constants_are_what_nothing_known_scores(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const int64_t hit[] = {3, 44, 66};
    const struct thaw_newcomer who = newcomer(4);
    double item_share[3 * 4], feature_share[3 * 3], constant[3], score[3], nobody[ITEMS];
    generator_scores(0, 0, nobody);
    if (thaw_cold_explain(c, THAW_COLD_GENERATOR, &who, NULL, w, hit, 3, item_share, feature_share, constant,
                          score, &err))
        fail_msg("%s", err.text);
    for (int h = 0; h < 3; h++) {
        assert_true(fabs(constant[h] - nobody[hit[h]]) <= 2e-4 * (nobody[hit[h]] + score[h]));
        double moved = 0; // and the path is no empty one
        for (int i = 0; i < 4; i++) moved += fabs(item_share[h * 4 + i]);
        assert_true(moved > 1e-4 * score[h]);
    }
}

static void posterior_is_that_of_the_system(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(3);
    double mean[K], covariance[K * K], a[K * K], right[K], u[K], column[K], unit[K];
    if (thaw_cold_posterior(c, &who, NULL, w, mean, covariance, &err)) fail_msg("%s", err.text);
    prior_system(3, a, right);
    solve(a, right, u, K);
    for (int j = 0; j < K; j++) assert_true(fabs(mean[j] - u[j]) < 1e-6 * (1 + fabs(u[j])));
    for (int i = 0; i < K; i++) {
        memset(unit, 0, sizeof unit);
        unit[i] = numbers(3)->prior_weight;
        solve(a, unit, column, K);
        for (int j = 0; j < K; j++) assert_true(fabs(covariance[j * K + i] - column[j]) < 1e-6);
    }
}

static void exploring_adds_the_posterior_s_doubt(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(3);
    float plain[ITEMS], explored[ITEMS];
    double mean[K], covariance[K * K], sum[ITEMS] = {0}, square[ITEMS] = {0};
    enum { DRAWS = 4000 };
    assert_int_equal(thaw_cold_score(c, THAW_COLD_PRIOR, &who, NULL, w, plain, &err), THAW_OK);
    assert_int_equal(thaw_cold_posterior(c, &who, NULL, w, mean, covariance, &err), THAW_OK);
    assert_int_equal(
        thaw_cold_explore(c, THAW_COLD_PRIOR, THAW_COLD_UCB, 2, 0, &who, NULL, w, explored, &err), THAW_OK);
    for (int d = 0; d < DRAWS; d++) {
        float drawn[ITEMS];
        thaw_cold_explore(c, THAW_COLD_PRIOR, THAW_COLD_THOMPSON, 1, (uint64_t)d, &who, NULL, w, drawn, &err);
        for (int i = 0; i < ITEMS; i++) {
            sum[i] += ((double)drawn[i] - (double)plain[i]) / DRAWS;
            square[i] += pow((double)drawn[i] - (double)plain[i], 2) / DRAWS;
        }
    }
    for (int i = 0; i < ITEMS; i++) {
        double variance = 0;
        for (int j = 0; j < K; j++)
            for (int l = 0; l < K; l++) variance += v[i][j] * covariance[j * K + l] * v[i][l];
        assert_true(fabs((double)explored[i] - (double)plain[i] - 2 * sqrt(variance)) < 1e-5);
        assert_true(fabs(sum[i]) < 5 * sqrt(variance / DRAWS));
        assert_true(fabs(square[i] / variance - 1) < .15);
    }
    // The same seed, the same draw; of the ensemble, in units of P's deviation.
    float one[ITEMS], two[ITEMS];
    assert_int_equal(thaw_cold_score(c, THAW_COLD_ENSEMBLE, &who, NULL, w, plain, &err), THAW_OK);
    thaw_cold_explore(c, THAW_COLD_ENSEMBLE, THAW_COLD_THOMPSON, 1, 9, &who, NULL, w, one, &err);
    thaw_cold_explore(c, THAW_COLD_ENSEMBLE, THAW_COLD_THOMPSON, 1, 9, &who, NULL, w, two, &err);
    assert_memory_equal(one, two, sizeof one);
    thaw_cold_explore(c, THAW_COLD_ENSEMBLE, THAW_COLD_THOMPSON, 1, 10, &who, NULL, w, two, &err);
    assert_memory_not_equal(one, two, sizeof one);
    assert_int_equal(
        thaw_cold_explore(c, THAW_COLD_ASSOCIATION, THAW_COLD_UCB, 1, 0, &who, NULL, w, one, &err),
        THAW_EUSAGE);
}

static void missing_models(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_cold_source s = source;
    struct thaw_cold *some = NULL;
    struct thaw_cold_work *work = NULL;
    const struct thaw_newcomer who = newcomer(2);
    float one[ITEMS], two[ITEMS];
    s.generator = NULL;
    s.prior = NULL;
    s.blend = NULL;
    assert_int_equal(thaw_cold_open(&some, &s, &err), THAW_OK);
    assert_int_equal(thaw_cold_work_new(&work, some, &err), THAW_OK);
    assert_false(thaw_cold_has(some, THAW_COLD_PRIOR));
    assert_true(thaw_cold_has(some, THAW_COLD_ENSEMBLE));
    assert_int_equal(thaw_cold_score(some, THAW_COLD_GENERATOR, &who, NULL, work, one, &err), THAW_EUSAGE);
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_cold_score(some, THAW_COLD_ENSEMBLE, &who, NULL, work, one, &err), THAW_OK);
    assert_int_equal(thaw_cold_score(some, THAW_COLD_ASSOCIATION, &who, NULL, work, two, &err), THAW_OK);
    for (int i = 1; i < ITEMS; i++) assert_int_equal(one[i] > one[0], two[i] > two[0]);
    thaw_cold_work_free(&work);
    thaw_cold_close(&some);
}

static void bad_questions(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    float scores[ITEMS];
    const uint32_t column = FEATURES;
    const int64_t row = ITEMS;
    struct thaw_newcomer who = newcomer(0);
    who.feature = &column;
    who.nfeatures = 1;
    assert_int_equal(thaw_cold_score(c, THAW_COLD_PRIOR, &who, NULL, w, scores, &err), THAW_EDATA);
    err = THAW_ERR_INIT;
    who = newcomer(1);
    who.item = &row;
    assert_int_equal(thaw_cold_score(c, THAW_COLD_PRIOR, &who, NULL, w, scores, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "70"));
    err = THAW_ERR_INIT;
    const float nan[] = {NAN};
    who = newcomer(1);
    who.strength = nan;
    assert_int_equal(thaw_cold_score(c, THAW_COLD_PRIOR, &who, NULL, w, scores, &err), THAW_EDATA);
    // What does not count is left out everywhere.
    const float gone[] = {0, 0};
    struct thaw_newcomer none = newcomer(0);
    float other[ITEMS];
    who = newcomer(2);
    who.strength = gone;
    for (int m = 0; m < THAW_COLD_METHODS; m++) {
        assert_int_equal(thaw_cold_score(c, (enum thaw_cold_method)m, &who, NULL, w, scores, &err), THAW_OK);
        assert_int_equal(thaw_cold_score(c, (enum thaw_cold_method)m, &none, NULL, w, other, &err), THAW_OK);
        assert_memory_equal(scores, other, sizeof scores);
    }
}

// Open with one thing wrong: it is refused, and the message says which folder or file.
static void refuse(const struct thaw_cold_source *s, int want, const char *word) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_cold *other = NULL;
    assert_int_equal(thaw_cold_open(&other, s, &err), want);
    assert_null(other);
    if (!strstr(err.text, word)) fail_msg("'%s' does not say '%s'", err.text, word);
}

static void wrong_manifests(void **state) {
    (void)state;
    struct thaw_cold_source s = source;
    s.dataset_digest = 99;
    refuse(&s, THAW_EDATA, "dataset");
    s = source;
    s.model_digest = 99;
    refuse(&s, THAW_EDATA, "another model");
    prior->factors = K + 1;
    refuse(&source, THAW_EDATA, "factors");
    prior->factors = K;
    prior->user_features = FEATURES + 1;
    refuse(&source, THAW_EDATA, "prior.user_weights.npy");
    prior->user_features = FEATURES;
    generator->hidden = 1 << 15;
    refuse(&source, THAW_EDATA, "generator.net.npy");
    generator->hidden = -1;
    refuse(&source, THAW_EDATA, "impossible");
    generator->hidden = HIDDEN;
    association->known[1] = 0;
    refuse(&source, THAW_EDATA, "rise");
    association->known[1] = 3;
    refuse(&source, THAW_ENOINPUT, "n003");
    association->known[1] = 2;
    part_rows[0]++;
    refuse(&source, THAW_EDATA, "items");
    part_rows[0]--;
    als.model = THAW__ALS__MODEL__EXPLICIT;
    refuse(&source, THAW_EDATA, "implicit");
    als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
}

// A damaged association is found when a row of it is used.
static void damaged_rows(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const char *name = "associate.n002.items-00002-of-00004.indices.npy"; // of item 33
    struct thaw_npy a = map(name);
    uint32_t *index = malloc((size_t)a.shape.rows * sizeof *index);
    const struct thaw_npy_shape shape = a.shape;
    memcpy(index, a.data, (size_t)shape.rows * sizeof *index);
    thaw_npy_close(&a);
    const uint32_t before = index[2 * 9 + 4];
    index[2 * 9 + 4] = ITEMS;
    assert_int_equal(thaw_npy_put(scratch_path(name), &shape, index, NULL, &err), THAW_OK);
    struct thaw_cold *other = NULL;
    struct thaw_cold_work *work = NULL;
    const struct thaw_newcomer who = newcomer(2);
    float scores[ITEMS];
    assert_int_equal(thaw_cold_open(&other, &source, &err), THAW_OK);
    assert_int_equal(thaw_cold_work_new(&work, other, &err), THAW_OK);
    assert_int_equal(thaw_cold_score(other, THAW_COLD_ENSEMBLE, &who, NULL, work, scores, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "damaged"));
    thaw_cold_work_free(&work);
    thaw_cold_close(&other);
    index[2 * 9 + 4] = before;
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_npy_put(scratch_path(name), &shape, index, NULL, &err), THAW_OK);
    free(index);
}

// Open damaged models and ask them everything: an error or an answer, nothing else.
static void ask(void) {
    const int64_t hit[] = {0, 40};
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_cold *other = NULL;
    struct thaw_cold_work *work = NULL;
    float scores[ITEMS];
    double item_share[2 * 6], feature_share[2 * 3], constant[2], score[2], mean[K], covariance[K * K];
    if (thaw_cold_open(&other, &source, &err) == THAW_OK && thaw_cold_work_new(&work, other, &err) == THAW_OK)
        for (int m = 0; m < THAW_COLD_METHODS; m++) {
            const struct thaw_newcomer who = newcomer(m + 2 > 6 ? 6 : m + 2);
            thaw_cold_score(other, (enum thaw_cold_method)m, &who, NULL, work, scores, &err);
            thaw_cold_explain(other, (enum thaw_cold_method)m, &who, NULL, work, hit, 2, item_share,
                              feature_share, constant, score, &err);
            thaw_cold_explore(other, THAW_COLD_PRIOR, THAW_COLD_THOMPSON, 1, 1, &who, NULL, work, scores,
                              &err);
            thaw_cold_posterior(other, &who, NULL, work, mean, covariance, &err);
        }
    if (other && thaw_cold_warm(other, &err) == THAW_OK && work) {
        const struct thaw_newcomer who = newcomer(2);
        const struct thaw_cold_how how = {.explore = THAW_COLD_EXPLOIT};
        for (int m = 0; m < THAW_COLD_METHODS; m++) {
            struct thaw_scored best;
            struct thaw_topk top;
            thaw_topk_begin(&top, &best, 1); // of so few items one alone is looked for by bounds
            thaw_cold_best(other, (enum thaw_cold_method)m, &how, &who, NULL, work, NULL, 0, scores, &top,
                           &err);
        }
    }
    thaw_cold_work_free(&work);
    thaw_cold_close(&other);
}

static void hostile_files(void **state) {
    (void)state;
    static const char *const names[] = {"prior.user_weights.npy",
                                        "prior.user_precision.npy",
                                        "prior.types_factors.npy",
                                        "prior.types_indptr.npy",
                                        "prior.types_users.npy",
                                        "prior.types_profile_indptr.npy",
                                        "prior.types_profile_columns.npy",
                                        "associate.n002.items-00000-of-00004.indptr.npy",
                                        "associate.n002.items-00002-of-00004.indices.npy",
                                        "associate.n002.items-00002-of-00004.values.npy",
                                        "associate.n002.profile-00003-of-00004.npy",
                                        "generator.net.npy",
                                        "generator.items-00000-of-00004.npy",
                                        "items-00002-of-00004.npy"};
    enum { ROUNDS = 40 };
    for (size_t f = 0; f < sizeof names / sizeof *names; f++) {
        struct thaw_npy a = map(names[f]);
        const size_t n = (size_t)a.map.nbytes;
        uint8_t *whole = malloc(n), *bad = malloc(n);
        memcpy(whole, a.map.base, n);
        thaw_npy_close(&a);
        for (uint64_t round = 0; round < ROUNDS; round++) {
            struct thaw_rng rng = thaw_rng_at(round, 901, f);
            memcpy(bad, whole, n);
            // In the header, in the data, or a file that ends early
            const size_t from = round % 4 == 0 ? 0 : 128, span = round % 4 == 0 ? 128 : n - 128;
            for (int i = 0; i < 8; i++) bad[from + thaw_rng_below(&rng, span)] = (uint8_t)thaw_rng_u32(&rng);
            unlink(scratch_path(names[f])); // some other reader may have it mapped
            scratch_put(names[f], bad, round % 8 == 7 ? (size_t)thaw_rng_below(&rng, n) : n);
            ask();
        }
        unlink(scratch_path(names[f]));
        scratch_put(names[f], whole, n);
        free(whole);
        free(bad);
    }
    compare(THAW_COLD_ENSEMBLE, 3, 2e-6 * K); // the handle that was open all the time
}

static void nearest_numbers(void **state) {
    (void)state;
    const int32_t list[] = {0, 1, 3, 5, 10};
    Thaw__Known k;
    assert_int_equal(thaw_cold_nearest(list, 5, 0), 0);
    assert_int_equal(thaw_cold_nearest(list, 5, 2), 2);
    assert_int_equal(thaw_cold_nearest(list, 5, 7), 3);
    assert_int_equal(thaw_cold_nearest(list, 5, 1000), 4);
    assert_int_equal(thaw_cold_nearest(list, 0, 3), -1);
    thaw_cold_default_known(&k, 4);
    assert_int_equal(k.known, 4);
    assert_true(k.prior_unobserved == .003 && k.prior_weight == .06 && k.association == .5 &&
                k.regularization == .45);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_those_of_the_equations),
        cmocka_unit_test(compact_copies_leave_scores_alone),
        cmocka_unit_test(nothing_known_folds_in_to_nothing),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(constants_are_what_nothing_known_scores),
        cmocka_unit_test(posterior_is_that_of_the_system),
        cmocka_unit_test(exploring_adds_the_posterior_s_doubt),
        cmocka_unit_test(missing_models),
        cmocka_unit_test(bad_questions),
        cmocka_unit_test(wrong_manifests),
        cmocka_unit_test(damaged_rows),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(nearest_numbers),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
