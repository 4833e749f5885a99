// test_cold_rank.c: rankings and searches over scorers on cases worked out by hand; popularity, profile cells
// and item neighbours on a hand-made log. Users are dealt to ranks in turn; results must not depend on how.
#include "base/file.h"
#include "base/mem.h"
#include "base/part.h"
#include "comm/baselines.h"
#include "tests/mpi/tiny.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct thaw_comm *comm;
static int rank, size;

// ---- Four users with six items each scored by hand ----

enum { ITEMS = 6, USERS = 4, KNOWN = 2 };
// The items a user has, known ones in the order in which they become known.
static const int64_t known[USERS][KNOWN] = {{0, 1}, {5, 2}, {3, 0}, {1, 4}};
static const int64_t truth[USERS][2] = {{2, 4}, {0, 1}, {1, 2}, {0, 5}};

// Candidate 0: by item number, falling; 1: the same for all items; 2: known items first, then rising.
static int hand_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                      float *scores, struct thaw_err *err) {
    (void)self;
    (void)work;
    if (candidate == 3) return thaw_fail(err, THAW_EDATA, "user %d cannot be scored", (int)who->key);
    for (int i = 0; i < ITEMS; i++) scores[i] = candidate == 1 ? 7 : (float)(candidate == 0 ? -i : i);
    for (int64_t i = 0; candidate == 2 && i < who->nitems; i++) scores[who->item[i]] = 100;
    return THAW_OK;
}

static const struct thaw_scorer hand = {.nitems = ITEMS, .score = hand_score};

static struct thaw_heldout *hand_users(void) {
    struct thaw_heldout *h = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_heldout_new(&h, KNOWN, &err), 0);
    for (int u = 0; u < USERS; u++) {
        int64_t items[4] = {known[u][0], known[u][1], truth[u][0], truth[u][1]}, order[KNOWN];
        const float values[4] = {1, 1, 1, 1};
        if (u % size != rank) continue;
        for (int i = 1; i < 4; i++) // rising
            for (int j = i; j > 0 && items[j - 1] > items[j]; j--) {
                const int64_t t = items[j];
                items[j] = items[j - 1];
                items[j - 1] = t;
            }
        for (int k = 0; k < KNOWN; k++)
            for (int i = 0; i < 4; i++)
                if (items[i] == known[u][k]) order[k] = i;
        assert_int_equal(thaw_heldout_add(h, (uint64_t)u, items, values, 4, order, &err), 0);
    }
    h->total = USERS;
    return h;
}

static void begin_users(struct thaw_cold_users *users, const struct thaw_heldout *h) {
    Thaw__Als als = THAW__ALS__INIT;
    als.model = THAW__ALS__MODEL__IMPLICIT_RENDLE;
    als.strength = THAW__ALS__STRENGTH__BINARY;
    assert_int_equal(thaw_cold_users_new(users, h, NULL, 0, &als, NULL), 0);
}

static void test_rank(void **state) {
    // Without the two known ones, rising item numbers: of candidate 0 and, by ties, of candidate 1.
    static const int64_t expected[USERS][3] = {{2, 3, 4}, {0, 1, 3}, {1, 2, 4}, {0, 2, 3}};
    struct thaw_heldout *h = hand_users();
    struct thaw_cold_users users;
    int64_t top[USERS * 5];
    struct thaw_err err = THAW_ERR_INIT;
    begin_users(&users, h);
    (void)state;
    for (int candidate = 0; candidate < 2; candidate++) {
        assert_int_equal(thaw_cold_rank(comm, &hand, &users, 1, candidate, 5, top, &err), 0);
        for (int64_t u = 0; u < h->nusers; u++) {
            for (int i = 0; i < 3; i++) assert_int_equal(top[u * 5 + i], expected[h->key[u]][i]);
            assert_true(top[u * 5 + 3] >= 0);
            assert_int_equal(top[u * 5 + 4], -1); // four items are left
        }
    }
    thaw_cold_users_clear(&users);
    thaw_heldout_free(&h);
}

static void test_search(void **state) {
    // NDCG@2, ideal 1 + 1/log2(3). Candidate 0: users 0 {2, 3}: first; 1 {0, 1}: both; 2 {1, 2}: both; 3 {0,
    // 2}: first. Candidate 2 (largest item first): user 0 {5, 4}: second; 1 {4, 3}: none; 2 {5, 4}: none; 3
    // {5, 3}: first.
    const double second = 1 / log2(3), ideal = 1 + second;
    const double expected[3] = {(2 + 2 / ideal) / 4, (2 + 2 / ideal) / 4, (second / ideal + 1 / ideal) / 4};
    struct thaw_heldout *h = hand_users();
    struct thaw_cold_users users;
    struct thaw_err err = THAW_ERR_INIT;
    double ndcg[3];
    (void)state;
    begin_users(&users, h);
    for (int n = 0; n <= KNOWN; n++) {
        assert_int_equal(thaw_cold_search(comm, &hand, &users, n, 2, 3, ndcg, &err), 0);
        for (int i = 0; i < 3; i++) assert_true(fabs(ndcg[i] - expected[i]) < 1e-15);
    }
    thaw_cold_users_clear(&users);
    thaw_heldout_free(&h);
}

// A scorer that fails on any user stops all ranks with its error.
static void test_failure(void **state) {
    struct thaw_heldout *h = hand_users();
    struct thaw_cold_users users;
    struct thaw_err err = THAW_ERR_INIT;
    int64_t top[USERS];
    (void)state;
    begin_users(&users, h);
    assert_int_equal(thaw_cold_rank(comm, &hand, &users, 1, 3, 1, top, &err), THAW_EDATA);
    assert_string_equal(err.text, "user 0 cannot be scored");
    thaw_cold_users_clear(&users);
    thaw_heldout_free(&h);
}

static void test_z_scores(void **state) {
    float x[4] = {1, 2, 3, 6}, same[3] = {5, 5, 5};
    (void)state;
    thaw_z_scores(x, 4); // mean 3, deviation sqrt(14 / 4)
    assert_true(fabs((double)x[0] + 2 / sqrt(3.5)) < 1e-6 && fabs((double)x[3] - 3 / sqrt(3.5)) < 1e-6);
    thaw_z_scores(same, 3);
    assert_true(same[0] == 0);
}

// ---- A log of eight training users and three items; two fields ----

enum { LOG_USERS = 8, LOG_ITEMS = 3 };
static const int has[LOG_USERS][LOG_ITEMS] = {{1, 1, 0}, {1, 0, 0}, {1, 1, 1}, {0, 1, 0},
                                              {0, 1, 1}, {0, 0, 1}, {1, 1, 0}, {1, 1, 1}};
// Columns: gender F 0, M 1; age young 2, old 3; user 5 has no age, user 7 is held out.
static const int gender[LOG_USERS] = {0, 0, 0, 1, 1, 1, 0, 1}, age[LOG_USERS] = {2, 3, 2, 2, 3, -1, 3, 2};

struct log {
    struct thaw_histories h;
    int64_t ptr[LOG_USERS + 1], feature_ptr[LOG_USERS + 1], item[LOG_USERS * LOG_ITEMS];
    uint32_t column[2 * LOG_USERS];
    float value[2 * LOG_USERS];
    uint8_t held_out[LOG_USERS];
    struct thaw_popularity popularity;
    struct thaw_dataset dataset;
    Thaw__Dataset manifest;
    Thaw__Attribute attribute[3], *attributes[3];
};

static void make_attributes(struct log *l) {
    static const char *const name[3] = {"gender", "age", "weight"};
    thaw__dataset__init(&l->manifest);
    for (int i = 0; i < 3; i++) {
        thaw__attribute__init(&l->attribute[i]);
        l->attribute[i].name = (char *)(uintptr_t)name[i];
        l->attribute[i].kind = i < 2 ? THAW__ATTRIBUTE__KIND__CATEGORICAL : THAW__ATTRIBUTE__KIND__NUMERIC;
        l->attribute[i].first_column = 2 * i;
        l->attribute[i].columns = i < 2 ? 2 : 1;
        l->attributes[i] = &l->attribute[i];
    }
    l->manifest.user_attributes = l->attributes;
    l->manifest.n_user_attributes = 3;
    l->dataset.manifest = &l->manifest;
}

// This rank's share: every size-th user.
static void make_log(struct log *l) {
    int64_t count[LOG_ITEMS] = {0}, users = 0, items = 0, features = 0, n = 0;
    memset(l, 0, sizeof *l);
    make_attributes(l);
    for (int u = 0; u < LOG_USERS; u++) {
        for (int i = 0; u != 7 && i < LOG_ITEMS; i++) count[i] += has[u][i];
        users += u != 7;
        if (u % size != rank) continue;
        l->held_out[n] = u == 7;
        for (int i = 0; i < LOG_ITEMS; i++)
            if (has[u][i]) l->item[items++] = i;
        l->column[features++] = (uint32_t)gender[u];
        if (age[u] >= 0) l->column[features++] = (uint32_t)age[u];
        l->ptr[++n] = items;
        l->feature_ptr[n] = features;
    }
    l->h = (struct thaw_histories){
        .nusers = n,
        .held_out = l->held_out,
        .ptr = l->ptr,
        .item = l->item,
        .profile = {.nrows = n, .columns = 5, .ptr = l->feature_ptr, .column = l->column, .value = l->value}};
    const int64_t from = LOG_ITEMS * rank / size, to = LOG_ITEMS * (rank + 1) / size;
    assert_int_equal(thaw_popularity_new(&l->popularity, comm, count + from, to - from, users, NULL), 0);
    assert_int_equal(l->popularity.nitems, LOG_ITEMS);
}

static double log_rate(int count, int users, double strength, double rate) {
    return log((count + strength * rate) / (users + strength) + 1e-6);
}

static void test_cells(void **state) {
    struct log l;
    struct thaw_cells cells;
    struct thaw_err err = THAW_ERR_INIT;
    const uint32_t young_woman[] = {0, 2};
    const struct thaw_newcomer who = {.feature = young_woman, .nfeatures = 2};
    Thaw__Known numbers = THAW__KNOWN__INIT;
    float scores[LOG_ITEMS];
    (void)state;
    make_log(&l);
    numbers.cell_strength = 2;
    numbers.cell_others = 3;
    numbers.cell_weight = .5;
    assert_int_equal(thaw_cells_new(&cells, comm, "gender,age", &l.dataset, &l.h, &l.popularity, &err), 0);
    assert_int_equal(cells.ngroups, 2);
    assert_string_equal(cells.names, "gender,age");
    const struct thaw_cells_scorer self = {.cells = &cells, .known = &numbers};
    const struct thaw_scorer scorer = thaw_scorer_of_cells(&self);
    void *work = NULL;
    assert_int_equal(scorer.work_new(&work, scorer.self, &err), 0);
    assert_int_equal(scorer.meet(scorer.self, &who, work, &err), 0);
    assert_int_equal(scorer.score(scorer.self, &who, 0, work, scores, &err), 0);
    scorer.work_free(&work);
    // Women: users 0, 1, 2, 6; the young: 0, 2, 3. Popularity of 7 users: 4, 5, 3.
    static const int of_women[3] = {4, 3, 1}, of_young[3] = {2, 3, 1}, of_all[3] = {4, 5, 3};
    for (int i = 0; i < LOG_ITEMS; i++) {
        const double rate = of_all[i] / 7.0,
                     expected = log_rate(of_women[i], 4, 2, rate) +
                                .5 * (log_rate(of_young[i], 3, 3, rate) - log(rate + 1e-6));
        assert_true(fabs((double)scores[i] - expected) < 1e-6);
    }
    thaw_cells_clear(&cells);
    assert_int_equal(thaw_cells_new(&cells, comm, "gender+age", &l.dataset, &l.h, &l.popularity, &err), 0);
    assert_int_equal(cells.group[0].ncells, 9);
    assert_int_equal(cells.group[0].users[thaw_cell_of(&cells.group[0], young_woman, 2)], 2);
    const uint32_t man_without_age[] = {1};
    assert_int_equal(cells.group[0].users[thaw_cell_of(&cells.group[0], man_without_age, 1)], 1);
    thaw_cells_clear(&cells);
    thaw_popularity_clear(&l.popularity);
}

// Which fields are taken unasked, and which words are refused.
static void test_cell_fields(void **state) {
    static const char *const wrong[] = {"zip", "weight", "gender,,age", "gender+"};
    struct log l;
    struct thaw_cells cells;
    (void)state;
    make_log(&l);
    assert_int_equal(thaw_cells_new(&cells, comm, NULL, &l.dataset, &l.h, &l.popularity, NULL), 0);
    assert_string_equal(cells.names, "gender,age"); // too few users to cross them
    thaw_cells_clear(&cells);
    l.popularity.users = 1000;
    assert_int_equal(thaw_cells_new(&cells, comm, "", &l.dataset, &l.h, &l.popularity, NULL), 0);
    assert_string_equal(cells.names, "gender+age");
    thaw_cells_clear(&cells);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(thaw_cells_new(&cells, comm, wrong[i], &l.dataset, &l.h, &l.popularity, NULL),
                         i < 3 ? THAW_EUSAGE : THAW_OK);
    thaw_cells_clear(&cells);
    l.manifest.n_user_attributes = 0;
    assert_int_equal(thaw_cells_new(&cells, comm, NULL, &l.dataset, &l.h, &l.popularity, NULL), 0);
    assert_int_equal(cells.ngroups, 0);
    thaw_cells_clear(&cells);
    thaw_popularity_clear(&l.popularity);
}

// ---- Neighbours ----

static void put(const char *dir, int part, const char *what, enum thaw_npy_type type, int64_t width,
                const void *data, int64_t n) {
    char path[THAW_PATH_MAX];
    const struct thaw_npy_shape shape = {.type = type, .ndim = 1, .rows = n, .cols = 1, .width = width};
    snprintf(path, sizeof path, "%s/associate.n000.items-%05d-of-00002.%s.npy", dir, part, what);
    assert_int_equal(thaw_npy_put(path, &shape, data, NULL, NULL), 0);
}

// Together, among training users: 0-1: 3, 0-2: 1, 1-2: 2. Part 0 has items 0 and 1, part 1 item 2.
static void put_counts(const char *dir) {
    const int64_t first_ptr[] = {0, 2, 4}, second_ptr[] = {0, 2};
    const uint32_t first[] = {1, 2, 0, 2}, second[] = {0, 1};
    const float first_count[] = {3, 1, 3, 2}, second_count[] = {1, 2};
    put(dir, 0, "indptr", THAW_NPY_I64, 8, first_ptr, 3);
    put(dir, 0, "indices", THAW_NPY_U32, 4, first, 4);
    put(dir, 0, "values", THAW_NPY_F32, 4, first_count, 4);
    put(dir, 1, "indptr", THAW_NPY_I64, 8, second_ptr, 2);
    put(dir, 1, "indices", THAW_NPY_U32, 4, second, 2);
    put(dir, 1, "values", THAW_NPY_F32, 4, second_count, 2);
}

static void test_neighbors(void **state) {
    char dir[THAW_PATH_MAX];
    const int64_t part_rows[2] = {2, 1}, items[2] = {0, 2};
    const struct thaw_newcomer who = {.item = items, .nitems = 2};
    struct thaw_plan plan = {0};
    struct thaw_neighbors neighbors;
    struct thaw_neighbors_scorer self;
    struct thaw_err err = THAW_ERR_INIT;
    Thaw__Known numbers[2] = {THAW__KNOWN__INIT, THAW__KNOWN__INIT};
    struct log l;
    float scores[LOG_ITEMS];
    (void)state;
    make_log(&l);
    tiny_folder(comm, dir);
    if (rank == 0) put_counts(dir);
    thaw_comm_barrier(comm);
    numbers[0].knn_shrink = 10;
    numbers[0].knn_power = .5;
    assert_int_equal(thaw_plan_new(&plan, 2, part_rows, NULL, size, &err), 0);
    assert_int_equal(thaw_neighbors_open(&neighbors, dir, &plan, &l.popularity, &err), 0);
    assert_int_equal(thaw_neighbors_scorer_new(&self, &neighbors, numbers, 2, &err), 0);
    const struct thaw_scorer scorer = thaw_scorer_of_neighbors(&self);
    assert_int_equal(scorer.score(scorer.self, &who, 0, NULL, scores, &err), 0);
    assert_true(fabs((double)scores[0] - 1 / (sqrt(12) + 10)) < 1e-7);
    assert_true(fabs((double)scores[1] - (3 / (sqrt(20) + 10) + 2 / (sqrt(15) + 10))) < 1e-7);
    assert_int_equal(scorer.score(scorer.self, &who, 1, NULL, scores, &err), 0); // the counts themselves
    assert_true(fabs((double)scores[1] - 5) < 1e-6);
    thaw_neighbors_scorer_clear(&self);
    thaw_neighbors_close(&neighbors);
    thaw_comm_barrier(comm);
    const uint32_t beyond[] = {0, 3}; // an item that is not there
    if (rank == 0) put(dir, 1, "indices", THAW_NPY_U32, 4, beyond, 2);
    thaw_comm_barrier(comm);
    assert_int_equal(thaw_neighbors_open(&neighbors, dir, &plan, &l.popularity, &err), THAW_EDATA);
    thaw_plan_clear(&plan);
    thaw_popularity_clear(&l.popularity);
    tiny_folder_remove(comm, dir);
}

int main(void) {
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    rank = thaw_comm_rank(comm);
    size = thaw_comm_size(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rank),      cmocka_unit_test(test_search), cmocka_unit_test(test_failure),
        cmocka_unit_test(test_z_scores),  cmocka_unit_test(test_cells),  cmocka_unit_test(test_cell_fields),
        cmocka_unit_test(test_neighbors),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
