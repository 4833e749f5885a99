// test_cold_best.c: the best items by bounds from compact copies are those of a scan of all scores, with its
// scores, on random models and on awkward ones; and bounds hold.
#include "base/mem.h"
#include "base/npy.h"
#include "base/rng.h"
#include "cold/cold_impl.h"
#include "cold/random_cold.h"
#include "dense/topk.h"
#include "tests/unit/scratch_put.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { K = 21, ITEMS = 2100, FEATURES = 9, TYPES = 1300, KNOWN = 6, MOST = 40 };
static int64_t part_rows[] = {700, 0, 903, 497};
static const int32_t set_known[] = {0, 3};
static Thaw__Side items = THAW__SIDE__INIT;
static Thaw__Als als = THAW__ALS__INIT;
static Thaw__Known numbers = THAW__KNOWN__INIT;
static Thaw__Prior *prior;
static Thaw__Association *association;
static Thaw__Generator *generator;
static struct thaw_cold_source source;
static float rows[ITEMS][K];

static const uint32_t feature[] = {1, 4, 6};
static const int64_t item[KNOWN] = {1333, 5, 661, 2040, 7, 12};
static const int64_t excluded[] = {5, 7, 12, 661, 1333, 2040}; // the same, rising

// Lists of types of all lengths, one longer than what is added up at a time, in place of those of equal
// length.
static int put_lists(struct thaw_err *err) {
    static int64_t indptr[ITEMS + 1];
    static uint32_t user[ITEMS * 23 + TYPES];
    for (int64_t i = 0; i < ITEMS; i++) {
        const int64_t n = i == 50 ? TYPES : i * i % 23;
        indptr[i + 1] = indptr[i] + n;
        for (int64_t j = 0; j < n; j++) user[indptr[i] + j] = (uint32_t)(i == 50 ? j : 37 * i % 50 + 51 * j);
    }
    const struct thaw_npy_shape begins = {THAW_NPY_I64, 1, ITEMS + 1, 1, 8},
                                entries = {THAW_NPY_U32, 1, indptr[ITEMS], 1, 4};
    const int code = thaw_npy_put(scratch_path("prior.types_indptr.npy"), &begins, indptr, NULL, err);
    return code ? code : thaw_npy_put(scratch_path("prior.types_users.npy"), &entries, user, NULL, err);
}

static int set_up(void **state) {
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_random_cold r = {.factors = K,
                                       .features = FEATURES,
                                       .known = set_known,
                                       .nknown = 2,
                                       .neighbors = 30,
                                       .types = TYPES,
                                       .longest = 4,
                                       .noise = 5,
                                       .hidden = 24,
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
    als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    thaw_cold_default_known(&numbers, 5);
    return thaw_random_cold_write(scratch, &items, &r, &prior, &association, &generator, &err) ||
           put_lists(&err);
}

static int tear_down(void **state) {
    thaw__prior__free_unpacked(prior, NULL);
    thaw__association__free_unpacked(association, NULL);
    thaw__generator__free_unpacked(generator, NULL);
    return scratch_remove(state);
}

static struct thaw_newcomer newcomer(int64_t n) {
    return (struct thaw_newcomer){
        .feature = feature, .nfeatures = 3, .item = item, .nitems = n, .key = (uint64_t)n};
}

// ---- Comparing ----

struct handle {
    struct thaw_cold *c;
    struct thaw_cold_work *w;
};

static struct handle handle_open(bool warm) {
    struct thaw_err err = THAW_ERR_INIT;
    struct handle h = {0};
    const float *parts[4] = {rows[0], rows[700], rows[700], rows[1603]};
    source = (struct thaw_cold_source){.items_dir = scratch,
                                       .item_rows = parts,
                                       .items = &items,
                                       .als = &als,
                                       .prior_dir = scratch,
                                       .association_dir = scratch,
                                       .generator_dir = scratch,
                                       .prior = prior,
                                       .association = association,
                                       .generator = generator};
    if (thaw_cold_open(&h.c, &source, &err) || (warm && thaw_cold_warm(h.c, &err)) ||
        thaw_cold_work_new(&h.w, h.c, &err))
        fail_msg("%s", err.text);
    return h;
}

static void handle_close(struct handle *h) {
    thaw_cold_work_free(&h->w);
    thaw_cold_close(&h->c);
}

static int best(struct handle *h, enum thaw_cold_method m, int threads, int64_t n, int k, float *scores,
                struct thaw_scored *out) {
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(n);
    const struct thaw_cold_how how = {.explore = THAW_COLD_EXPLOIT, .threads = threads};
    struct thaw_topk top;
    thaw_topk_begin(&top, out, k);
    if (thaw_cold_best(h->c, m, &how, &who, &numbers, h->w, excluded, KNOWN, scores, &top, &err))
        fail_msg("%s", err.text);
    return top.n;
}

// The same scores in the same places, each of them its item's, and no item twice. Items whose scores are as
// good as equal may stand in any order. Any number of threads gives the same bits.
static void compare(struct handle *plain, struct handle *warm, enum thaw_cold_method m, int64_t n, int k) {
    static float scores[ITEMS], scratch_scores[ITEMS];
    struct thaw_scored want[MOST], got[MOST], together[MOST];
    const int nwant = best(plain, m, 1, n, k, scores, want),
              ngot = best(warm, m, 1, n, k, scratch_scores, got);
    assert_int_equal(ngot, nwant);
    if (warm->w->raw[0]) memset(warm->w->raw[0], 0xff, COLD_MEMBERS * ITEMS * sizeof(float)); // NaN
    assert_int_equal(best(warm, m, 3, n, k, scratch_scores, together), ngot);
    for (int i = 0; i < ngot; i++)
        if (together[i].row != got[i].row || memcmp(&together[i].score, &got[i].score, sizeof got[i].score))
            fail_msg("%s of %d known, %d of %d: %.17g on 3 threads, %.17g on 1", thaw_cold_method_name(m),
                     (int)n, i, k, together[i].score, got[i].score);
    for (int i = 0; i < ngot; i++) {
        const double near = 1e-5 * (fabs(want[i].score) + fabs(want[0].score));
        if (!(fabs(got[i].score - want[i].score) <= near) ||
            !(fabs((double)scores[got[i].row] - got[i].score) <= near))
            fail_msg("%s of %d known, %d of %d: item %d scores %.9g, not %.9g of item %d",
                     thaw_cold_method_name(m), (int)n, i, k, (int)got[i].row, got[i].score, want[i].score,
                     (int)want[i].row);
        for (int x = 0; x < KNOWN; x++) assert_int_not_equal(got[i].row, item[x]);
        for (int j = 0; j < i; j++) assert_int_not_equal(got[i].row, got[j].row);
    }
}

static bool by_bounds(struct handle *h, enum thaw_cold_method m, int k) {
    struct thaw_err err = THAW_ERR_INIT;
    const struct thaw_newcomer who = newcomer(4);
    struct thaw_scored out[MOST];
    struct thaw_topk top;
    bool done = false;
    thaw_topk_begin(&top, out, k);
    assert_int_equal(cold_known(h->c, &who, h->w, &err), THAW_OK);
    assert_int_equal(cold_best_bounded(h->c, m, 1, &who, &numbers, h->w, excluded, KNOWN, &top, &done, &err),
                     THAW_OK);
    return done;
}

static void compare_all(bool bounded) {
    static const int ks[] = {1, 10, 32, MOST};
    struct handle plain = handle_open(false), warm = handle_open(true);
    for (int m = 0; m < THAW_COLD_METHODS; m++)
        for (int64_t n = m == THAW_COLD_FOLD_IN; n <= KNOWN; n++)
            for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
                compare(&plain, &warm, (enum thaw_cold_method)m, n, ks[k]);
    assert_int_equal(by_bounds(&warm, THAW_COLD_ENSEMBLE, 10), bounded);
    assert_false(by_bounds(&warm, THAW_COLD_ENSEMBLE, MOST)); // so many are found by scoring all
    assert_false(by_bounds(&plain, THAW_COLD_ENSEMBLE, 10));
    handle_close(&plain);
    handle_close(&warm);
}

static void fill(double scale) {
    struct thaw_rng rng = thaw_rng_at(3, 900, 0);
    for (int i = 0; i < ITEMS; i++)
        for (int j = 0; j < K; j++) rows[i][j] = (float)(scale * thaw_rng_normal(&rng));
}

// ---- Tests ----

static void random_factors(void **state) {
    (void)state;
    fill(.4);
    compare_all(true);
}

static void large_and_small_factors(void **state) {
    (void)state;
    fill(1e8);
    compare_all(true);
    fill(1e-8);
    compare_all(true);
}

// Scores whose mean is large beside their deviation, one long row, rows of zeros.
static void uneven_factors(void **state) {
    (void)state;
    fill(.1);
    for (int i = 0; i < ITEMS; i++) rows[i][3] += 4;
    compare_all(true);
    fill(.3);
    for (int j = 0; j < K; j++) rows[77][j] *= 1e4F;
    for (int i = 0; i < ITEMS; i += 3) memset(rows[i], 0, sizeof rows[i]);
    compare_all(true);
}

static void equal_factors(void **state) {
    (void)state;
    fill(.4);
    for (int i = 5; i < ITEMS; i++) memcpy(rows[i], rows[i / 7 % 5], sizeof rows[i]);
    compare_all(true);
    for (int i = 1; i < ITEMS; i++) memcpy(rows[i], rows[0], sizeof rows[i]);
    compare_all(false); // no deviation to divide by
    memset(rows, 0, sizeof rows);
    struct handle plain = handle_open(false), warm = handle_open(true);
    for (int64_t n = 0; n <= KNOWN; n++) {
        compare(&plain, &warm, THAW_COLD_PRIOR, n, 10);
        compare(&plain, &warm, THAW_COLD_ENSEMBLE, n, 10);
    }
    handle_close(&plain);
    handle_close(&warm);
}

// No product is off by more than is said, on each vector unit with the same bits.
static void products_are_within_their_doubt(void **state) {
    (void)state;
    enum { N = 67, WIDEST = 700 };
    static const int ks[] = {1, 3, 15, 16, 17, 33, 64, 100, WIDEST};
    static float y[N][WIDEST], x[WIDEST];
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_rng rng = thaw_rng_at(9, 900, 0);
    for (size_t at = 0; at < sizeof ks / sizeof *ks; at++) {
        const int k = ks[at];
        int16_t q[WIDEST + 16];
        struct rough t;
        struct rough_vector v = {.q = q};
        float out[N], other[N];
        assert_int_equal(rough_new(&t, N, k, &err), THAW_OK);
        for (int j = 0; j < k; j++) x[j] = (float)thaw_rng_normal(&rng);
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < k; j++) y[i][j] = (float)(pow(10, i % 9 - 4) * thaw_rng_normal(&rng));
            for (int j = 0; j < k && i % 11 == 0; j++) y[i][j] = x[j] > 0 ? .4951F : -.4951F; // all round up
            if (i % 11 == 0) y[i][0] = 1;
            rough_set(&t, i, y[i]);
        }
        rough_vector_set(&t, x, &v);
        rough_sweep(&t, &v, 0, 9, out); // in two pieces
        rough_sweep(&t, &v, 9, N, out);
        for (int i = 0; i < N; i++) {
            double product = 0;
            for (int j = 0; j < k; j++) product += (double)x[j] * (double)y[i][j];
            assert_true(fabs(product - (double)out[i]) <= (double)v.doubt * (double)t.step[i]);
        }
        for (int unit = 0; unit <= (int)thaw_score_best(); unit++) {
            rough_sweep_on((enum thaw_score_unit)unit, &t, &v, 0, N, other);
            assert_memory_equal(out, other, sizeof out);
        }
        rough_clear(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_factors),
        cmocka_unit_test(large_and_small_factors),
        cmocka_unit_test(uneven_factors),
        cmocka_unit_test(equal_factors),
        cmocka_unit_test(products_are_within_their_doubt),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
