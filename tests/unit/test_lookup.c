// test_lookup.c: the lookup library against slow references written out here.
#include "lookup/lookup.h"
#include "table/random_tables.h"
#include "tests/unit/hand_tables.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct hand hand;
static struct thaw_lookup *l;

static void make(Thaw__Als__Model model, bool biases) {
    struct thaw_err err = THAW_ERR_INIT;
    hand = (struct hand){.als = hand_als(model, biases)};
    if (hand_write(&hand, &err) || thaw_lookup_open(&l, hand.dir, &err)) fail_msg("%s", err.text);
}

static void drop(void) {
    thaw_lookup_close(&l);
    hand_remove(&hand);
}

static int item_at(int64_t row) {
    for (int i = 0; i < HAND_ITEMS; i++)
        if (hand.row[1][i] == row) return i;
    return -1;
}

// ---- recommend ----

static double score_of(const float *x, int item) {
    double s = 0;
    for (int j = 0; j < HAND_K; j++) s += (double)x[j] * hand.x[1][item][j];
    if (hand.als.biases) s += (double)x[HAND_K] + hand.x[1][item][HAND_K];
    return s + hand.als.mean;
}

static bool is_seen(int u, int64_t row) {
    for (int j = 0; j < hand.nseen[u]; j++)
        if (hand.seen[u][j] == row) return true;
    return false;
}

static void check_recommendations(int u, int k, bool exclude, int threads) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_hit hits[HAND_ITEMS + 5];
    int n = -1, allowed = 0;
    const int nexclude = exclude ? hand.nseen[u] : 0;
    int64_t reversed[HAND_ITEMS]; // any order will do
    for (int j = 0; j < nexclude; j++) reversed[j] = hand.seen[u][nexclude - 1 - j];
    if (thaw_lookup_recommend(l, hand.x[0][u], k, reversed, nexclude, threads, hits, &n, &err))
        fail_msg("%s", err.text);
    for (int i = 0; i < HAND_ITEMS; i++) allowed += !(exclude && is_seen(u, hand.row[1][i]));
    assert_int_equal(n, k < allowed ? k : allowed);
    for (int i = 0; i < n; i++) {
        assert_float_equal(hits[i].score, score_of(hand.x[0][u], item_at(hits[i].item)), 1e-5);
        if (exclude) assert_false(is_seen(u, hits[i].item));
        if (i == 0) continue;
        assert_true(hits[i - 1].score > hits[i].score ||
                    (hits[i - 1].score == hits[i].score && hits[i - 1].item < hits[i].item));
    }
    for (int i = 0; i < HAND_ITEMS && n > 0; i++) { // no item left out is better than the last
        bool taken = exclude && is_seen(u, hand.row[1][i]);
        for (int j = 0; j < n; j++) taken = taken || hits[j].item == hand.row[1][i];
        if (!taken) assert_true(score_of(hand.x[0][u], i) <= hits[n - 1].score + 1e-5);
    }
}

static void recommend_all_kinds(void **state) {
    (void)state;
    static const int ks[] = {1, 10, HAND_ITEMS, HAND_ITEMS + 5};
    for (int model = 0; model < 4; model++) {
        make(model < 2 ? (Thaw__Als__Model)model : THAW__ALS__MODEL__EXPLICIT, model == 3);
        for (int u = 0; u < HAND_USERS; u += 3)
            for (int i = 0; i < 8; i++) check_recommendations(u, ks[i % 4], i < 4, 1 + u % 3);
        drop();
    }
}

static void twins_tie_by_row(void **state) {
    (void)state;
    make(THAW__ALS__MODEL__IMPLICIT_HU, false);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_hit hits[HAND_ITEMS];
    int n, a = -1, b = -1;
    thaw_lookup_recommend(l, hand.x[0][3], HAND_ITEMS, NULL, 0, 1, hits, &n, &err);
    for (int i = 0; i < n; i++) {
        if (item_at(hits[i].item) == 20) a = i;
        if (item_at(hits[i].item) == 21) b = i;
    }
    assert_true(hits[a].score == hits[b].score);
    assert_int_equal(b - a, hand.row[1][20] < hand.row[1][21] ? 1 : -1);
    drop();
}

static void nan_scores_are_never_returned(void **state) {
    (void)state;
    make(THAW__ALS__MODEL__IMPLICIT_HU, false);
    struct thaw_err err = THAW_ERR_INIT;
    float x[HAND_K] = {NAN};
    struct thaw_hit hits[5];
    int n = -1;
    assert_int_equal(thaw_lookup_recommend(l, x, 5, NULL, 0, 1, hits, &n, &err), THAW_OK);
    assert_int_equal(n, 0);
    assert_int_equal(thaw_lookup_recommend(l, x, 0, NULL, 0, 1, hits, &n, &err), THAW_EUSAGE);
    drop();
}

static void a_batch_is_the_same_as_one_by_one(void **state) {
    (void)state;
    enum { N = HAND_USERS, K = 7 };
    make(THAW__ALS__MODEL__EXPLICIT, true);
    struct thaw_err err = THAW_ERR_INIT;
    static float x[N * (HAND_K + 1)];
    static struct thaw_hit hits[N * K], one[K];
    const int64_t *exclude[N];
    int64_t nexclude[N];
    int nhits[N], n;
    for (int u = 0; u < N; u++) {
        memcpy(x + u * (HAND_K + 1), hand.x[0][u], sizeof hand.x[0][u]);
        exclude[u] = hand.seen[u];
        nexclude[u] = hand.nseen[u];
    }
    assert_int_equal(thaw_lookup_recommend_batch(l, x, N, K, exclude, nexclude, 3, hits, nhits, &err),
                     THAW_OK);
    for (int u = 0; u < N; u++) {
        thaw_lookup_recommend(l, hand.x[0][u], K, exclude[u], nexclude[u], 1, one, &n, &err);
        assert_int_equal(n, nhits[u]);
        for (int i = 0; i < n; i++) {
            assert_int_equal(one[i].item, hits[u * K + i].item);
            assert_true(one[i].score == hits[u * K + i].score);
        }
    }
    drop();
}

// Enough items that several threads share them.
static void threads_change_nothing(void **state) {
    (void)state;
    enum { K = 50, ITEMS = 40000 };
    struct thaw_err err = THAW_ERR_INIT;
    char dir[] = "/tmp/thaw-lookup-XXXXXX";
    const struct thaw_random_tables size = {.users = 20, .items = ITEMS, .factors = 9, .parts = 7, .seed = 3};
    static struct thaw_hit one[K], many[K];
    assert_non_null(mkdtemp(dir));
    if (thaw_random_tables_write(dir, &size, &err) || thaw_lookup_open(&l, dir, &err))
        fail_msg("%s", err.text);
    assert_int_equal(thaw_lookup_check(l, &err), THAW_OK);
    for (int64_t u = 0; u < 20; u++) {
        const float *x = thaw_lookup_vector(l, THAW_USERS, u);
        int64_t *seen = NULL, nseen = 0;
        int n, m;
        thaw_lookup_seen(l, u, &seen, &nseen, &err);
        assert_int_equal(nseen, 10);
        thaw_lookup_recommend(l, x, K, seen, nseen, 1, one, &n, &err);
        thaw_lookup_recommend(l, x, K, seen, nseen, 2 + (int)u % 3, many, &m, &err);
        assert_int_equal(n, K);
        assert_int_equal(m, K);
        assert_memory_equal(one, many, sizeof one);
        thaw_lookup_similar(l, u * 1000, K, 1, one, &n, &err);
        thaw_lookup_similar(l, u * 1000, K, 4, many, &m, &err);
        assert_memory_equal(one, many, sizeof one);
        free(seen);
    }
    assert_int_equal(err.code, THAW_OK);
    thaw_lookup_close(&l);
    thaw_dir_remove(dir, NULL);
}

// ---- similar ----

static double cosine_of(int a, int b) {
    double ab = 0, aa = 0, bb = 0;
    for (int j = 0; j < HAND_K; j++) {
        ab += (double)hand.x[1][a][j] * hand.x[1][b][j];
        aa += (double)hand.x[1][a][j] * hand.x[1][a][j];
        bb += (double)hand.x[1][b][j] * hand.x[1][b][j];
    }
    return ab / sqrt(aa * bb);
}

static void check_similar(bool biases) {
    make(THAW__ALS__MODEL__EXPLICIT, biases);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_hit hits[HAND_ITEMS];
    int n = -1;
    for (int item = 0; item < HAND_ITEMS; item++) {
        assert_int_equal(thaw_lookup_similar(l, hand.row[1][item], HAND_ITEMS, 2, hits, &n, &err), THAW_OK);
        assert_int_equal(n,
                         item == 11 ? 0 : HAND_ITEMS - 2); // neither itself nor the one without a direction
        for (int i = 0; i < n; i++) {
            assert_float_equal(hits[i].score, cosine_of(item, item_at(hits[i].item)), 1e-5);
            assert_int_not_equal(hits[i].item, hand.row[1][item]);
            if (i) assert_true(hits[i - 1].score >= hits[i].score);
        }
    }
    assert_int_equal(thaw_lookup_similar(l, HAND_ITEMS, 3, 1, hits, &n, &err), THAW_EUSAGE);
    drop();
}

static void similar_is_the_cosine(void **state) {
    (void)state;
    check_similar(false);
    check_similar(true);
}

// ---- fold-in ----

// Gaussian elimination with pivoting: another method than the library's.
static void eliminate(double *a, double *b, int n) {
    for (int c = 0; c < n; c++) {
        int p = c;
        for (int r = c + 1; r < n; r++)
            if (fabs(a[r * n + c]) > fabs(a[p * n + c])) p = r;
        for (int j = 0; j < n; j++) {
            const double t = a[c * n + j];
            a[c * n + j] = a[p * n + j];
            a[p * n + j] = t;
        }
        const double t = b[c];
        b[c] = b[p];
        b[p] = t;
        for (int r = c + 1; r < n; r++) {
            const double f = a[r * n + c] / a[c * n + c];
            for (int j = c; j < n; j++) a[r * n + j] -= f * a[c * n + j];
            b[r] -= f * b[c];
        }
    }
    for (int r = n - 1; r >= 0; r--) {
        for (int j = r + 1; j < n; j++) b[r] -= a[r * n + j] * b[j];
        b[r] /= a[r * n + r];
    }
}

// The system of als.h, written out over all items: every pair has a weight and a target.
static void reference(const double strength[HAND_ITEMS], double *x) {
    const Thaw__Als *s = &hand.als;
    const int d = hand.columns;
    const bool ratings = s->model == THAW__ALS__MODEL__EXPLICIT;
    double a[49] = {0}, n = 0;
    memset(x, 0, sizeof(double) * 7);
    for (int i = 0; i < HAND_ITEMS; i++) {
        double z[7], r = strength[i], w, c;
        for (int j = 0; j < HAND_K; j++) z[j] = hand.x[1][i][j];
        z[HAND_K] = 1;
        if (ratings) {
            w = r != 0;
            c = r != 0 ? r - s->mean - (s->biases ? hand.x[1][i][HAND_K] : 0) : 0;
        } else {
            w = s->unobserved_weight + s->alpha * r;
            c = r == 0 ? 0 : s->model == THAW__ALS__MODEL__IMPLICIT_HU ? w : s->alpha * r;
        }
        n += r != 0;
        for (int p = 0; p < d; p++) {
            for (int q = 0; q < d; q++) a[p * d + q] += w * z[p] * z[q];
            x[p] += c * z[p];
        }
    }
    const double lambda =
        ratings ? s->regularization * n
                : s->regularization * pow(n + s->unobserved_weight * HAND_ITEMS, s->reg_exponent);
    for (int p = 0; p < d; p++) a[p * d + p] += lambda;
    eliminate(a, x, d);
}

static void check_fold_in(Thaw__Als__Model model, bool biases, Thaw__Als__Strength strength_kind) {
    static const int items[] = {4, 9, 30, 59, 11};
    static const float given[] = {1, 3, 0.5f, 5, 2};
    struct thaw_err err = THAW_ERR_INIT;
    hand = (struct hand){.als = hand_als(model, biases)};
    hand.als.strength = strength_kind;
    if (hand_write(&hand, &err) || thaw_lookup_open(&l, hand.dir, &err)) fail_msg("%s", err.text);
    double strength[HAND_ITEMS] = {0}, want[7];
    int64_t rows[5];
    float got[HAND_K + 1];
    for (int i = 0; i < 5; i++) {
        rows[i] = hand.row[1][items[i]];
        strength[items[i]] = model == THAW__ALS__MODEL__EXPLICIT || strength_kind == THAW__ALS__STRENGTH__RAW
                                 ? given[i]
                             : strength_kind == THAW__ALS__STRENGTH__LOG ? log2(1 + (double)given[i])
                                                                         : 1;
    }
    reference(strength, want);
    if (thaw_lookup_fold_in(l, rows, given, 5, got, &err)) fail_msg("%s", err.text);
    for (int j = 0; j < hand.columns; j++) assert_float_equal(got[j], want[j], 2e-6);
    drop();
}

static void fold_in_solves_the_row_of_training(void **state) {
    (void)state;
    check_fold_in(THAW__ALS__MODEL__IMPLICIT_HU, false, THAW__ALS__STRENGTH__RAW);
    check_fold_in(THAW__ALS__MODEL__IMPLICIT_HU, false, THAW__ALS__STRENGTH__BINARY);
    check_fold_in(THAW__ALS__MODEL__IMPLICIT_RENDLE, false, THAW__ALS__STRENGTH__RAW);
    check_fold_in(THAW__ALS__MODEL__IMPLICIT_RENDLE, false, THAW__ALS__STRENGTH__LOG);
    check_fold_in(THAW__ALS__MODEL__EXPLICIT, false, THAW__ALS__STRENGTH__RAW);
    check_fold_in(THAW__ALS__MODEL__EXPLICIT, true, THAW__ALS__STRENGTH__RAW);
}

static void fold_in_of_odd_histories(void **state) {
    (void)state;
    make(THAW__ALS__MODEL__IMPLICIT_HU, false);
    struct thaw_err err = THAW_ERR_INIT, err2 = THAW_ERR_INIT;
    float x[HAND_K] = {1}, y[HAND_K];
    const int64_t two[] = {3, 4}, one[] = {3}, wrong[] = {HAND_ITEMS};
    const float returned[] = {2, -1}, kept[] = {2}, nan = NAN;
    assert_int_equal(thaw_lookup_fold_in(l, NULL, NULL, 0, x, &err), THAW_OK);
    for (int j = 0; j < HAND_K; j++) assert_true(x[j] == 0);
    // A strength that is not above 0 is no interaction.
    assert_int_equal(thaw_lookup_fold_in(l, two, returned, 2, x, &err), THAW_OK);
    assert_int_equal(thaw_lookup_fold_in(l, one, kept, 1, y, &err), THAW_OK);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(thaw_lookup_fold_in(l, wrong, NULL, 1, x, &err), THAW_EDATA);
    assert_int_equal(thaw_lookup_fold_in(l, one, &nan, 1, x, &err2), THAW_EDATA);
    assert_memory_equal(x, y, sizeof x); // outputs are set on success only
    drop();
}

// ---- the rest ----

static void info_and_seen(void **state) {
    (void)state;
    make(THAW__ALS__MODEL__EXPLICIT, true);
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_lookup_info info;
    int64_t *items = NULL, n = 0, total = 0;
    thaw_lookup_get_info(l, &info);
    assert_int_equal(info.users, HAND_USERS);
    assert_int_equal(info.items, HAND_ITEMS);
    assert_int_equal(info.columns, HAND_K + 1);
    assert_true(info.biases && info.ratings);
    for (int u = 0; u < HAND_USERS; u++) {
        assert_int_equal(thaw_lookup_seen(l, hand.row[0][u], &items, &n, &err), THAW_OK);
        assert_int_equal(n, hand.nseen[u]);
        assert_memory_equal(items, hand.seen[u], (size_t)n * sizeof *items);
        free(items);
        total += n;
    }
    assert_int_equal(info.interactions, total);
    for (int p = 0; p < info.parts; p++) {
        int64_t nrows;
        assert_int_equal((uintptr_t)thaw_lookup_part(l, p, &nrows) % 64, 0);
        total -= nrows;
    }
    assert_int_equal(total, info.interactions - info.items);
    assert_int_equal(thaw_lookup_check(l, &err), THAW_OK);
    assert_int_equal(thaw_lookup_seen(l, -1, &items, &n, &err), THAW_EUSAGE);
    drop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recommend_all_kinds),
        cmocka_unit_test(twins_tie_by_row),
        cmocka_unit_test(nan_scores_are_never_returned),
        cmocka_unit_test(a_batch_is_the_same_as_one_by_one),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(similar_is_the_cosine),
        cmocka_unit_test(fold_in_solves_the_row_of_training),
        cmocka_unit_test(fold_in_of_odd_histories),
        cmocka_unit_test(info_and_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
