// Held-out users of a small dataset: who they are, how they are ranked and predicted, and what the bootstrap
// says, against a serial evaluation by brute force in double precision.
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "comm/heldout.h"
#include "comm/interactions.h"
#include "comm/ranking.h"
#include "comm/replicates.h"
#include "comm/sweep.h"
#include "metrics/rank.h"
#include "proto/pack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { USERS = 60, ITEMS = 45, PARTS = 5, WIDTH = 8, K = 4, KNOWN = 3, CUTOFF = 6 };

static struct thaw_comm *comm;
static int rank, size;
static char dir[128];
static struct thaw_dataset *dataset;
static struct thaw_plan plan[2];
static Thaw__Als als = THAW__ALS__INIT;

// ---- The world: value[u][i] > 0 where user row u has item row i ----
static char ids[2][USERS][WIDTH]; // by row
static int64_t part_rows[2][PARTS];
static float value[USERS][ITEMS];
static int64_t when[USERS][ITEMS];
static float factors[ITEMS][K + 1];

static int rows_of(int side) {
    return side == THAW_USERS ? USERS : ITEMS;
}

static void make_ids(int side) {
    int row = 0;
    for (int part = 0; part < PARTS; part++)
        for (int i = 0; i < rows_of(side); i++) {
            char id[16] = "";
            snprintf(id, sizeof id, "%c%d", side == THAW_USERS ? 'u' : 'i', i);
            if (thaw_hash_part(thaw_hash_id(id, strlen(id)), PARTS) != part) continue;
            memcpy(ids[side][row++], id, WIDTH);
            part_rows[side][part]++;
        }
}

static void make_world(void) {
    make_ids(THAW_USERS);
    make_ids(THAW_ITEMS);
    struct thaw_rng r = thaw_rng_at(3, 900, 0);
    for (int u = 0; u < USERS; u++)
        for (int i = 0; i < ITEMS; i++) {
            double chance = u % 7 == 0 ? 0.04 : 0.25; // some have too little
            value[u][i] = thaw_rng_uniform(&r) < chance ? (float)(1 + thaw_rng_below(&r, 5)) : 0;
            when[u][i] = 1000 + (int64_t)thaw_rng_below(&r, 20); // with ties
        }
    for (int i = 0; i < ITEMS; i++)
        for (int j = 0; j <= K; j++) factors[i][j] = (float)(0.4 * thaw_rng_normal(&r));
}

static uint64_t key_of(int user) {
    return thaw_hash_id(ids[THAW_USERS][user], strlen(ids[THAW_USERS][user]));
}

static void write_part(int side, int part, int first, Thaw__Dataset *m) {
    static int64_t indptr[USERS + 1], indices[USERS * ITEMS], times[USERS * ITEMS];
    static float values[USERS * ITEMS];
    struct thaw_err err = THAW_ERR_INIT;
    int64_t n = 0, nrows = part_rows[side][part];
    for (int64_t row = 0; row < nrows; row++) {
        for (int o = 0; o < rows_of(1 - side); o++) {
            int u = side == THAW_USERS ? first + (int)row : o, i = side == THAW_USERS ? o : first + (int)row;
            if (value[u][i] == 0) continue;
            indices[n] = o;
            times[n] = when[u][i];
            values[n++] = value[u][i];
        }
        indptr[row + 1] = n;
    }
    struct thaw_shard_data data = {.nrows = nrows,
                                   .nnz = n,
                                   .other_rows = rows_of(1 - side),
                                   .id_width = WIDTH,
                                   .ids = ids[side][first],
                                   .indptr = indptr,
                                   .indices = indices,
                                   .values = values,
                                   .times = times};
    struct thaw_file_info info;
    char name[THAW_PART_FILE];
    assert_int_equal(thaw_shard_write(dir, (enum thaw_side)side, part, PARTS, &data, &info, &err), THAW_OK);
    Thaw__File *file = calloc(1, sizeof *file);
    thaw__file__init(file);
    file->name = strdup(thaw_part_file(name, (enum thaw_side)side, part, PARTS, "npz"));
    file->nbytes = info.nbytes;
    file->n_sums = (size_t)info.nsums;
    file->sums = info.sums;
    m->files[m->n_files++] = file;
    Thaw__Side *s = side == THAW_USERS ? m->users : m->items;
    s->part_rows[part] = nrows;
    s->part_nnz[part] = n;
    if (side == THAW_USERS) m->interactions += n;
}

static void write_dataset(void) {
    struct thaw_err err = THAW_ERR_INIT;
    Thaw__Dataset m = THAW__DATASET__INIT;
    Thaw__Side sides[2] = {THAW__SIDE__INIT, THAW__SIDE__INIT};
    int64_t rows[2][PARTS], nnz[2][PARTS];
    Thaw__File *files[2 * PARTS];
    m.format = 1;
    m.parts = PARTS;
    m.has_time = true;
    m.users = &sides[0];
    m.items = &sides[1];
    m.files = files;
    m.value_min = 1;
    m.value_max = 5;
    assert_int_equal(thaw_dir_make(dir, &err), THAW_OK);
    for (int side = 0; side < 2; side++) {
        sides[side].id_width = WIDTH;
        sides[side].n_part_rows = sides[side].n_part_nnz = PARTS;
        sides[side].part_rows = rows[side];
        sides[side].part_nnz = nnz[side];
        for (int part = 0, first = 0; part < PARTS; first += (int)part_rows[side][part++])
            write_part(side, part, first, &m);
    }
    assert_int_equal(thaw_pack_write(dir, "manifest.pb", &m.base, &err), THAW_OK);
    for (size_t i = 0; i < m.n_files; i++) thaw__file__free_unpacked(files[i], NULL);
}

// ---- Brute force ----

static bool held(int user) {
    struct thaw_rng r = thaw_rng_at(als.holdout_seed, THAW_STREAM_HOLDOUT, key_of(user));
    return thaw_rng_uniform(&r) < als.holdout;
}

static int user_of(uint64_t key) {
    for (int u = 0; u < USERS; u++)
        if (key_of(u) == key) return u;
    fail_msg("no user has this key");
    return -1;
}

// The Rendle fold-in: (a0 Y'Y + lambda (n + a0 m)^nu I + alpha sum y y') x = alpha sum y, Gauss-Jordan in
// double.
static void brute_fold_in(const int64_t *items, const float *r, int n, double *x) {
    double a[K][K + 1] = {{0}};
    double ridge = als.regularization * pow(n + als.unobserved_weight * ITEMS, als.reg_exponent);
    for (int j = 0; j < K; j++) {
        for (int l = 0; l < K; l++)
            for (int i = 0; i < ITEMS; i++)
                a[j][l] += als.unobserved_weight * (double)factors[i][j] * (double)factors[i][l];
        a[j][j] += ridge;
        for (int i = 0; i < n; i++) {
            const float *y = factors[items[i]];
            double w = als.alpha * (double)r[i];
            for (int l = 0; l < K; l++) a[j][l] += w * (double)y[j] * (double)y[l];
            a[j][K] += w * (double)y[j];
        }
    }
    for (int j = 0; j < K; j++)
        for (int l = 0; l < K; l++) {
            if (l == j) continue;
            double f = a[l][j] / a[j][j];
            for (int c = 0; c <= K; c++) a[l][c] -= f * a[j][c];
        }
    for (int j = 0; j < K; j++) x[j] = a[j][K] / a[j][j];
}

static bool contains(const int64_t *list, int n, int64_t item) {
    for (int i = 0; i < n; i++)
        if (list[i] == item) return true;
    return false;
}

// The best items not excluded by score, smaller rows first.
static void brute_top(const double *score, const int64_t *exclude, int nexclude, int k, int64_t *top) {
    for (int i = 0; i < k; i++) {
        int64_t best = -1;
        for (int j = 0; j < ITEMS; j++)
            if (!contains(exclude, nexclude, j) && !contains(top, i, j) &&
                (best < 0 || score[j] > score[best]))
                best = j;
        top[i] = best;
    }
}

// ---- Tests ----

static struct thaw_heldout *load(const struct thaw_heldout_choice *choice) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_heldout *h = NULL;
    int code = thaw_heldout_load(&h, comm, dataset, &plan[THAW_USERS], choice, true, &err);
    if (code != THAW_OK) fail_msg("%s", err.text);
    return h;
}

static struct thaw_heldout_choice by_rules(void) {
    return (struct thaw_heldout_choice){.als = &als, .max_known = KNOWN, .by_time = true, .seed = 11};
}

static void make_model(struct thaw_heldout_model *m, double *gramian, int columns, float *rows) {
    struct thaw_err err = THAW_ERR_INIT;
    int64_t first = plan[THAW_ITEMS].rank_row[rank], n = plan[THAW_ITEMS].rank_row[rank + 1] - first;
    for (int64_t i = 0; i < n; i++)
        memcpy(rows + i * columns, factors[first + i], (size_t)columns * sizeof *rows);
    *m =
        (struct thaw_heldout_model){.config = thaw_als_config_of(&als, THAW_ALS_CHOLESKY, THAW_ALS_F32, 1, 0),
                                    .items = &plan[THAW_ITEMS],
                                    .rows = rows,
                                    .gramian = gramian,
                                    .budget_bytes = 1 << 16};
    if (gramian)
        assert_int_equal(thaw_sweep_gramian(comm, &plan[THAW_ITEMS], rows, K, columns, gramian, &err),
                         THAW_OK);
}

static void users_are_the_held_out_ones(void **state) {
    (void)state;
    struct thaw_heldout_choice choice = by_rules();
    struct thaw_heldout *h = load(&choice);
    int64_t measured = 0, too_short = 0, all = 0;
    for (int u = 0; u < USERS; u++) {
        int degree = 0;
        for (int i = 0; i < ITEMS; i++) degree += value[u][i] > 0;
        all += held(u);
        measured += held(u) && degree > KNOWN;
        too_short += held(u) && degree <= KNOWN;
    }
    assert_true(measured > 10 && too_short > 0);
    assert_int_equal(h->total, measured);
    assert_int_equal(h->too_short, too_short);
    assert_int_equal(h->held_out, all);
    for (int64_t n = 0; n < h->nusers; n++) {
        int u = user_of(h->key[n]), places = KNOWN;
        const int64_t *known = h->known + n * KNOWN;
        assert_true(held(u));
        for (int64_t t = h->truth_ptr[n]; t < h->truth_ptr[n + 1]; t++, places++) {
            assert_true(value[u][h->truth[t]] == h->truth_value[t] && !contains(known, KNOWN, h->truth[t]));
            // in time: nothing asked for lies before anything known
            for (int i = 0; i < KNOWN; i++) assert_true(when[u][known[i]] <= when[u][h->truth[t]]);
            if (t > h->truth_ptr[n]) assert_true(h->truth[t] > h->truth[t - 1]);
        }
        for (int i = 0; i < KNOWN; i++) assert_true(value[u][known[i]] == h->known_value[n * KNOWN + i]);
        for (int i = 0; i < ITEMS; i++) places -= value[u][i] > 0;
        assert_int_equal(places, 0);
    }
    thaw_heldout_free(&h);
}

static void sets_and_samples_split_them(void **state) {
    (void)state;
    struct thaw_heldout_choice choice = by_rules();
    struct thaw_heldout *all = load(&choice), *part;
    choice.set = THAW_HELDOUT_VALIDATION;
    part = load(&choice);
    int64_t validation = part->total;
    thaw_heldout_free(&part);
    choice.set = THAW_HELDOUT_TEST;
    part = load(&choice);
    assert_true(validation > 0 && part->total > 0);
    assert_int_equal(validation + part->total, all->total);
    thaw_heldout_free(&part);
    choice.set = THAW_HELDOUT_ALL;
    choice.max_users = all->total / 2;
    part = load(&choice);
    assert_true(part->total > 0 && part->total < all->total);
    thaw_heldout_free(&part);
    thaw_heldout_free(&all);
}

// Random orders are a user's own: another seed gives another, and no time rules.
static void random_orders_depend_on_the_seed(void **state) {
    (void)state;
    struct thaw_heldout_choice choice = by_rules();
    choice.by_time = false;
    struct thaw_heldout *a = load(&choice), *b = load(&choice), *c;
    choice.seed++;
    c = load(&choice);
    assert_int_equal(a->nusers, b->nusers);
    size_t n = (size_t)a->nusers * KNOWN * sizeof *a->known;
    assert_memory_equal(a->known, b->known, n);
    int64_t differ = memcmp(a->known, c->known, n) != 0;
    thaw_comm_max_i64(comm, &differ, 1);
    assert_int_equal(differ, 1);
    thaw_heldout_free(&a);
    thaw_heldout_free(&b);
    thaw_heldout_free(&c);
}

static void rankings_and_ndcg_are_the_brute_ones(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_heldout_choice choice = by_rules();
    struct thaw_heldout *h = load(&choice);
    struct thaw_heldout_model m;
    double gramian[K * K], expected = 0, ndcg = -1;
    float rows[ITEMS * K];
    int64_t *top = malloc(((size_t)h->nusers * CUTOFF + 1) * sizeof *top);
    make_model(&m, gramian, K, rows);
    assert_int_equal(thaw_heldout_top(comm, &m, h, 2, CUTOFF, top, &err), THAW_OK);
    for (int64_t n = 0; n < h->nusers; n++) {
        double x[K], score[ITEMS] = {0};
        int64_t brute[CUTOFF];
        bool hit[CUTOFF];
        struct thaw_rank_metrics metrics;
        brute_fold_in(h->known + n * KNOWN, h->known_value + n * KNOWN, 2, x);
        for (int i = 0; i < ITEMS; i++)
            for (int j = 0; j < K; j++) score[i] += x[j] * (double)factors[i][j];
        brute_top(score, h->known + n * KNOWN, KNOWN, CUTOFF, brute);
        assert_memory_equal(brute, top + n * CUTOFF, sizeof brute);
        for (int i = 0; i < CUTOFF; i++) hit[i] = value[user_of(h->key[n])][brute[i]] > 0;
        thaw_rank_metrics(hit, CUTOFF, CUTOFF, h->truth_ptr[n + 1] - h->truth_ptr[n], &metrics);
        expected += metrics.ndcg;
    }
    double sum = 0;
    assert_int_equal(thaw_comm_exact_sum(comm, &expected, 1, 1, &sum, &err), THAW_OK);
    assert_int_equal(thaw_heldout_ndcg(comm, &m, h, 2, CUTOFF, &ndcg, &err), THAW_OK);
    assert_true(fabs(ndcg - sum / (double)h->total) < 1e-12 && ndcg > 0);
    free(top);
    thaw_heldout_free(&h);
}

// More asked for than there are items: the lists end with -1.
static void lists_longer_than_the_items_end(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    float rows[ITEMS * K], x[K] = {1, 0, 0, 0};
    int64_t exclude[2] = {4, -1}, top[ITEMS + 5];
    double gramian[K * K];
    struct thaw_heldout_model m;
    make_model(&m, gramian, K, rows);
    struct thaw_ranking_task task = {.items = &plan[THAW_ITEMS],
                                     .rows = rows,
                                     .columns = K,
                                     .x = x,
                                     .nusers = rank == size - 1, // one user in all
                                     .exclude = exclude,
                                     .nexclude = 2,
                                     .k = ITEMS + 5};
    assert_int_equal(thaw_ranking_top(comm, &task, top, &err), THAW_OK);
    for (int i = 0; task.nusers && i < ITEMS + 5; i++) {
        if (i >= ITEMS - 1) assert_int_equal(top[i], -1);
        if (i > 0 && i < ITEMS - 1) assert_true(factors[top[i]][0] <= factors[top[i - 1]][0]);
        assert_int_not_equal(top[i], 4);
    }
}

static void degrees_and_popularity_leave_held_out_users_out(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    int64_t first = plan[THAW_ITEMS].rank_row[rank], n = plan[THAW_ITEMS].rank_row[rank + 1] - first;
    int64_t degree[ITEMS], users = 0, training = 0, top[CUTOFF], brute[CUTOFF];
    double sum[ITEMS], count[ITEMS] = {0};
    assert_int_equal(thaw_heldout_item_degrees(comm, dataset, plan, &als, degree, sum, &users, &err),
                     THAW_OK);
    for (int u = 0; u < USERS; u++) training += !held(u);
    assert_int_equal(users, training);
    for (int i = 0; i < ITEMS; i++) {
        double total = 0;
        for (int u = 0; u < USERS; u++) {
            if (held(u) || value[u][i] == 0) continue;
            count[i]++;
            total += (double)value[u][i];
        }
        if (i < first || i >= first + n) continue;
        assert_int_equal(degree[i - first], (int64_t)count[i]);
        assert_true(fabs(sum[i - first] - total) < 1e-9);
    }
    assert_int_equal(thaw_ranking_popular(comm, &plan[THAW_ITEMS], degree, CUTOFF, top, &err), THAW_OK);
    brute_top(count, NULL, 0, CUTOFF, brute);
    assert_memory_equal(top, brute, sizeof top);
}

static void rating_errors_are_the_brute_ones(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    Thaw__Als implicit = als;
    als.model = THAW__ALS__MODEL__EXPLICIT;
    als.biases = true;
    als.mean = 2.5;
    struct thaw_heldout_choice choice = by_rules();
    struct thaw_heldout *h = load(&choice);
    struct thaw_heldout_model m;
    float rows[ITEMS * (K + 1)];
    make_model(&m, NULL, K + 1, rows);
    int64_t first = plan[THAW_ITEMS].rank_row[rank], n = plan[THAW_ITEMS].rank_row[rank + 1] - first;
    double mean[ITEMS], *errors = malloc((size_t)(h->nusers * 6 + 1) * sizeof *errors);
    float *x = malloc((size_t)(h->nusers * (K + 1) + 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) mean[i] = 1 + (double)(first + i) / 20;
    assert_int_equal(thaw_heldout_fold_in(comm, &m, h, KNOWN, x, &err), THAW_OK);
    assert_int_equal(thaw_heldout_errors(comm, &m, h, x, 2.25, mean, errors, &err), THAW_OK);
    for (int64_t u = 0; u < h->nusers; u++) {
        double brute[6] = {0};
        for (int64_t t = h->truth_ptr[u]; t < h->truth_ptr[u + 1]; t++) {
            const float *y = factors[h->truth[t]], *xu = x + u * (K + 1);
            double p[3] = {als.mean + (double)xu[K] + (double)y[K], 2.25, 1 + (double)h->truth[t] / 20};
            for (int j = 0; j < K; j++) p[0] += (double)xu[j] * (double)y[j];
            for (int b = 0; b < 3; b++) {
                double e = (double)h->truth_value[t] - p[b];
                brute[2 * b] += e * e;
                brute[2 * b + 1] += fabs(e);
            }
        }
        for (int b = 0; b < 6; b++) assert_true(fabs(brute[b] - errors[u * 6 + b]) < 1e-4 * (1 + brute[b]));
    }
    free(errors);
    free(x);
    thaw_heldout_free(&h);
    als = implicit;
}

static double mean_of_first(const double *sums, int ncolumns, const void *user) {
    (void)user;
    return sums[0] / sums[ncolumns];
}

// Sums, intervals and coverage are those of one rank: every rank computes the whole itself and compares bits.
static void replicates_do_not_depend_on_ranks(void **state) {
    (void)state;
    enum { N = 90, ALL = 37, COLUMNS = 2, STRIDE = 4 };
    struct thaw_err err = THAW_ERR_INIT;
    double values[ALL][COLUMNS];
    uint64_t key[ALL];
    int64_t top[ALL][STRIDE], covered[N + 1], brute[N + 1];
    struct thaw_rng r = thaw_rng_at(8, 901, 0);
    for (int u = 0; u < ALL; u++) {
        key[u] = thaw_rng_u64(&r);
        for (int v = 0; v < COLUMNS; v++) values[u][v] = thaw_rng_normal(&r);
        for (int i = 0; i < STRIDE; i++)
            top[u][i] = u % 5 == 0 && i == 2 ? -1 : (int64_t)thaw_rng_below(&r, ITEMS);
    }
    int first = ALL * rank / size, n = ALL * (rank + 1) / size - first;
    struct thaw_replicates a;
    assert_int_equal(thaw_replicates_new(&a, comm, values[first], key + first, n, COLUMNS, N, 4, &err),
                     THAW_OK);
    double total = 0;
    for (int u = 0; u < ALL; u++) total += values[u][0];
    assert_true(fabs(a.sums[0] - total) < 1e-12 && a.sums[COLUMNS] == ALL);
    for (int b = 1; b <= N; b++) {
        double sum = 0, weight = 0;
        memset(brute, 0, sizeof brute);
        for (int u = 0; u < ALL; u++) {
            struct thaw_rng draw = thaw_rng_at(4, THAW_STREAM_BOOTSTRAP, key[u]);
            uint32_t w = 0;
            for (int i = 0; i < b; i++) w = thaw_rng_poisson1(&draw);
            weight += w;
            sum += w * values[u][1];
        }
        assert_true(a.sums[b * 3 + 2] == weight && fabs(a.sums[b * 3 + 1] - sum) < 1e-12);
    }
    struct thaw_estimate e;
    assert_int_equal(thaw_replicates_estimate(&a, mean_of_first, NULL, &e, &err), THAW_OK);
    assert_true(e.low < e.value && e.value < e.high && fabs(e.value - total / ALL) < 1e-12);
    assert_int_equal(
        thaw_replicates_coverage(&a, comm, &plan[THAW_ITEMS], top[first], STRIDE, 3, covered, &err), THAW_OK);
    for (int b = 0; b <= N; b++) {
        bool seen[ITEMS] = {false};
        brute[b] = 0;
        for (int u = 0; u < ALL; u++) {
            struct thaw_rng draw = thaw_rng_at(4, THAW_STREAM_BOOTSTRAP, key[u]);
            uint32_t w = 1;
            for (int i = 0; i < b; i++) w = thaw_rng_poisson1(&draw);
            for (int i = 0; w && i < 3; i++)
                if (top[u][i] >= 0) seen[top[u][i]] = true;
        }
        for (int i = 0; i < ITEMS; i++) brute[b] += seen[i];
    }
    assert_memory_equal(covered, brute, sizeof covered);
    thaw_replicates_clear(&a);
}

// ---- Lists ----

static void write_list(const char *path, const char *text) {
    struct thaw_err err = THAW_ERR_INIT;
    if (rank == 0) assert_int_equal(thaw_file_put(path, text, strlen(text), NULL, &err), THAW_OK);
    thaw_comm_barrier(comm);
}

// The users with at least n interactions that are held out (or not), `nth` of them.
static int pick(bool out, int n, int nth) {
    for (int u = 0; u < USERS; u++) {
        int degree = 0;
        for (int i = 0; i < ITEMS; i++) degree += value[u][i] > 0;
        if (held(u) == out && degree > n && nth-- == 0) return u;
    }
    fail_msg("the world is too small");
    return -1;
}

// "user set item item item": the last items of the user, backwards.
static int list_line(char *to, int u, const char *set, int64_t known[KNOWN]) {
    int n = sprintf(to, "%s %s", ids[THAW_USERS][u], set), found = 0;
    for (int i = ITEMS; i-- > 0 && found < KNOWN;)
        if (value[u][i] > 0) {
            known[found++] = i;
            n += sprintf(to + n, " %s", ids[THAW_ITEMS][i]);
        }
    return n + sprintf(to + n, "\n");
}

static void lists_say_who_and_what(void **state) {
    (void)state;
    char text[2048], path[160];
    int64_t known[3][KNOWN], other[KNOWN];
    int n = sprintf(text, "# comment\n");
    int users[3] = {pick(true, 8, 0), pick(true, 8, 1), pick(true, 8, 2)};
    n += list_line(text + n, users[0], "test", known[0]);
    n += list_line(text + n, users[1], "val", known[1]);
    n += list_line(text + n, users[2], "test", known[2]);
    n += list_line(text + n, pick(false, 8, 0), "test", other); // in training
    n += sprintf(text + n, "nobody test a b c\n");
    sprintf(text + n, "%s test i0 nothing i1\n", ids[THAW_USERS][pick(true, 8, 3)]);
    snprintf(path, sizeof path, "%s/list.txt", dir);
    write_list(path, text);
    struct thaw_heldout_choice choice = {.als = &als, .max_known = KNOWN, .list = path, .list_set = "test"};
    struct thaw_heldout *h = load(&choice);
    assert_int_equal(h->total, 2);
    assert_int_equal(h->unknown, 2);
    assert_int_equal(h->lacking, 1);
    for (int64_t u = 0; u < h->nusers; u++) {
        int which = h->key[u] == key_of(users[0]) ? 0 : 2;
        assert_true(h->key[u] == key_of(users[which]));
        assert_memory_equal(h->known + u * KNOWN, known[which], sizeof known[0]);
    }
    thaw_heldout_free(&h);
}

static void bad_lists_are_refused_by_line(void **state) {
    (void)state;
    char text[512], path[160];
    struct thaw_heldout *h = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    snprintf(path, sizeof path, "%s/bad.txt", dir);
    struct thaw_heldout_choice choice = {.als = &als, .max_known = KNOWN, .list = path, .list_set = "test"};
    snprintf(text, sizeof text, "u1 val\n%s test i1 i2\n", ids[THAW_USERS][pick(true, 8, 0)]);
    write_list(path, text);
    assert_int_equal(thaw_heldout_load(&h, comm, dataset, &plan[THAW_USERS], &choice, false, &err),
                     THAW_EDATA);
    assert_non_null(strstr(err.text, "bad.txt:2: "));
    write_list(path, "u1 test i1 i2 i3\nu1 test i1 i2 i3\n");
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_heldout_load(&h, comm, dataset, &plan[THAW_USERS], &choice, false, &err),
                     THAW_EDATA);
    assert_non_null(strstr(err.text, "listed twice"));
    choice.list = "/nonexistent/list";
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_heldout_load(&h, comm, dataset, &plan[THAW_USERS], &choice, false, &err),
                     THAW_ENOINPUT);
}

// ---- ----

static int begin(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    const Thaw__Dataset *m;
    make_world();
    int64_t pid = getpid();
    thaw_comm_bcast(comm, &pid, sizeof pid, 0);
    snprintf(dir, sizeof dir, "heldout-%lld.tmp", (long long)pid);
    if (rank == 0) write_dataset();
    thaw_comm_barrier(comm);
    if (thaw_dataset_open(&dataset, dir, &err) != THAW_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    m = dataset->manifest;
    als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    als.factors = K;
    als.alpha = 1.5;
    als.unobserved_weight = 0.2;
    als.regularization = 0.05;
    als.reg_exponent = 0.7;
    als.holdout = 0.5;
    als.holdout_seed = 21;
    return thaw_plan_new(&plan[0], PARTS, m->users->part_rows, m->users->part_nnz, size, &err) ||
           thaw_plan_new(&plan[1], PARTS, m->items->part_rows, NULL, size, &err);
}

static int end(void **state) {
    (void)state;
    struct thaw_err err = THAW_ERR_INIT;
    thaw_dataset_close(&dataset);
    thaw_plan_clear(&plan[0]);
    thaw_plan_clear(&plan[1]);
    thaw_comm_barrier(comm);
    return rank == 0 ? thaw_dir_remove(dir, &err) : 0;
}

int main(void) {
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err) != THAW_OK) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_the_held_out_ones),
        cmocka_unit_test(sets_and_samples_split_them),
        cmocka_unit_test(random_orders_depend_on_the_seed),
        cmocka_unit_test(rankings_and_ndcg_are_the_brute_ones),
        cmocka_unit_test(lists_longer_than_the_items_end),
        cmocka_unit_test(degrees_and_popularity_leave_held_out_users_out),
        cmocka_unit_test(rating_errors_are_the_brute_ones),
        cmocka_unit_test(replicates_do_not_depend_on_ranks),
        cmocka_unit_test(lists_say_who_and_what),
        cmocka_unit_test(bad_lists_are_refused_by_line),
    };
    int failed = cmocka_run_group_tests(tests, begin, end);
    thaw_comm_end(&comm);
    return failed;
}
