// test_associate.c: the closed forms against brute force: every choice of known items of every user is
// written out, the system added up and solved by Gauss, in double.
#include "base/npy.h"
#include "comm/associate.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

#include <math.h>

enum { PARTS = 5, FEATURES = 3 };

static struct thaw_comm *comm;

// ---- A small log that every rank can make in full ----

struct log {
    int users, items, most; // interactions of a user, at most
};

// Items of a user, rising; how many. Some have one, some none.
static int log_items(const struct log *l, int user, int64_t *item) {
    int n = 0;
    const int want = user % 11 == 7 ? 0 : user % 5 == 1 ? 1 : 1 + user * 7 % l->most;
    for (int i = 0; i < l->items && n < want; i++)
        if ((user * 31 + i * 17 + user * i * 3) % l->items < 2 * want) item[n++] = i;
    return n;
}

static bool log_held_out(int user) {
    return user % 6 == 5;
}

static double log_feature(int user, int f) {
    return f == 0 ? user % 2 : f == 1 ? (user % 3 == 1) * 0.5 : (user % 4) - 1.25;
}

// This rank's users: a run of them.
static void histories_new(struct thaw_histories *h, const struct log *l) {
    const int rank = thaw_comm_rank(comm), size = thaw_comm_size(comm);
    const int from = l->users * rank / size, to = l->users * (rank + 1) / size;
    int64_t sums[2] = {0};
    *h = (struct thaw_histories){.nusers = to - from, .first_row = from};
    const size_t n = (size_t)(to - from), most = n * (size_t)l->items;
    assert_int_equal(thaw_alloc(&h->held_out, n, 1, "", NULL), 0);
    assert_int_equal(thaw_alloc(&h->ptr, n + 1, sizeof *h->ptr, "", NULL), 0);
    assert_int_equal(thaw_alloc(&h->item, most, sizeof *h->item, "", NULL), 0);
    assert_int_equal(thaw_alloc(&h->profile.ptr, n + 1, sizeof *h->profile.ptr, "", NULL), 0);
    assert_int_equal(thaw_alloc(&h->profile.column, n * FEATURES, sizeof(uint32_t), "", NULL), 0);
    assert_int_equal(thaw_alloc(&h->profile.value, n * FEATURES, sizeof(float), "", NULL), 0);
    h->profile.nrows = to - from;
    h->profile.columns = FEATURES;
    for (int r = 0; r < to - from; r++) {
        int64_t at = h->profile.ptr[r];
        const int got = log_items(l, from + r, h->item + h->ptr[r]);
        h->held_out[r] = log_held_out(from + r);
        h->ptr[r + 1] = h->ptr[r] + got;
        for (int f = 0; f < FEATURES; f++) {
            if (log_feature(from + r, f) == 0) continue;
            h->profile.column[at] = (uint32_t)f;
            h->profile.value[at++] = (float)log_feature(from + r, f);
        }
        h->profile.ptr[r + 1] = at;
        if (h->held_out[r] || got == 0) continue;
        sums[0]++;
        sums[1] += got;
    }
    thaw_comm_sum_i64(comm, sums, 2);
    h->training_users = sums[0];
    h->training_nnz = sums[1];
}

static void items_plan(struct thaw_plan *plan, int items) {
    const int64_t rows[PARTS] = {items / 3, 0, items / 4, items - items / 3 - items / 4 - 1, 1};
    assert_int_equal(thaw_plan_new(plan, PARTS, rows, NULL, thaw_comm_size(comm), NULL), 0);
}

// ---- Brute force: a (unknowns x unknowns), y (unknowns x items), row-major ----

struct brute {
    const struct log *l;
    int known, n; // unknowns: items, 1, features
    double *a, *y;
};

static double z_of(const struct brute *b, int user, uint32_t chosen, const int64_t *item, int length, int i) {
    if (i > b->l->items) return log_feature(user, i - b->l->items - 1);
    if (i == b->l->items) return 1;
    for (int k = 0; k < length; k++)
        if (item[k] == i) return chosen >> k & 1;
    return 0;
}

// One choice of a user's known items, with its probability.
static void brute_choice(struct brute *b, int user, uint32_t chosen, double p, const int64_t *item,
                         int length) {
    double z[64];
    for (int i = 0; i < b->n; i++) z[i] = z_of(b, user, chosen, item, length, i);
    for (int i = 0; i < b->n; i++) {
        for (int j = 0; j < b->n; j++) b->a[i * b->n + j] += p * z[i] * z[j];
        for (int k = 0; k < length; k++)
            if (!(chosen >> k & 1)) b->y[i * b->l->items + item[k]] += p * z[i];
    }
}

static void brute_user(struct brute *b, int user) {
    int64_t item[64];
    const int length = log_items(b->l, user, item), known = b->known < length ? b->known : length - 1;
    int choices = 0;
    if (length == 0 || log_held_out(user)) return;
    for (uint32_t c = 0; c < 1u << length; c++) choices += __builtin_popcount(c) == known;
    for (uint32_t c = 0; c < 1u << length; c++)
        if (__builtin_popcount(c) == known) brute_choice(b, user, c, 1.0 / choices, item, length);
}

// y = a^-1 y, by Gauss and Jordan.
static void brute_solve(double *a, double *y, int n, int m) {
    for (int k = 0; k < n; k++)
        for (int i = 0; i < n; i++) {
            const double f = a[i * n + k] / a[k * n + k];
            if (i == k) continue;
            for (int j = k; j < n; j++) a[i * n + j] -= f * a[k * n + j];
            for (int j = 0; j < m; j++) y[i * m + j] -= f * y[k * m + j];
        }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < m; j++) y[i * m + j] /= a[i * n + i];
}

static void brute_new(struct brute *b, const struct log *l, int known, bool profile) {
    *b = (struct brute){.l = l, .known = known, .n = l->items + 1 + (profile ? FEATURES : 0)};
    b->a = calloc((size_t)(b->n * b->n), sizeof *b->a);
    b->y = calloc((size_t)(b->n * l->items), sizeof *b->y);
    assert_true(b->a && b->y);
}

static void brute_free(struct brute *b) {
    free(b->a);
    free(b->y);
}

static void brute_gramian(struct brute *b) { // of the items, in a's leading rows; n is its order
    int64_t item[64];
    b->n = b->l->items;
    for (int user = 0; user < b->l->users; user++) {
        const int length = log_items(b->l, user, item);
        for (int i = 0; i < length && !log_held_out(user); i++)
            for (int j = 0; j < length; j++) b->a[item[i] * b->n + item[j]]++;
    }
}

// ---- What was written ----

struct written {
    int items;
    double *b;      // items x items
    double *c;      // items x columns
    int columns;    // 0: no profile files
    int64_t stored; // entries of b
    int64_t longest;
};

static void open_array(struct thaw_npy *a, const char *dir, int known, const char *what, int part,
                       const char *ext) {
    char path[THAW_PATH_MAX];
    struct thaw_err err = THAW_ERR_INIT;
    snprintf(path, sizeof path, "%s/associate.n%03d.%s-%05d-of-%05d.%s", dir, known, what, part, PARTS, ext);
    problem_ok(thaw_npy_open(a, path, NULL, &err), &err);
}

static void read_part(struct written *w, const char *dir, int known, int part, int64_t first) {
    struct thaw_npy ptr, index, value;
    open_array(&ptr, dir, known, "items", part, "indptr.npy");
    open_array(&index, dir, known, "items", part, "indices.npy");
    open_array(&value, dir, known, "items", part, "values.npy");
    const int64_t *p = ptr.data;
    const uint32_t *j = index.data;
    const float *v = value.data;
    assert_int_equal(p[0], 0);
    assert_int_equal(p[ptr.shape.rows - 1], index.shape.rows);
    assert_int_equal(index.shape.rows, value.shape.rows);
    for (int64_t r = 0; r + 1 < ptr.shape.rows; r++) {
        if (p[r + 1] - p[r] > w->longest) w->longest = p[r + 1] - p[r];
        for (int64_t e = p[r]; e < p[r + 1]; e++) {
            assert_true(e == p[r] || j[e] > j[e - 1]);
            assert_true(v[e] != 0);
            w->b[(first + r) * w->items + j[e]] = (double)v[e];
            w->stored++;
        }
    }
    thaw_npy_close(&ptr);
    thaw_npy_close(&index);
    thaw_npy_close(&value);
}

static void read_profile(struct written *w, const char *dir, int known, int part, int64_t first) {
    struct thaw_npy a;
    open_array(&a, dir, known, "profile", part, "npy");
    assert_int_equal(a.shape.cols, w->columns);
    for (int64_t i = 0; i < a.shape.rows * a.shape.cols; i++)
        w->c[first * w->columns + i] = (double)((const float *)a.data)[i];
    thaw_npy_close(&a);
}

static void read_all(struct written *w, const char *dir, int known, int items, int columns) {
    struct thaw_plan plan;
    *w = (struct written){.items = items, .columns = columns};
    w->b = calloc((size_t)(items * items), sizeof *w->b);
    w->c = calloc((size_t)(items * columns) + 1, sizeof *w->c);
    assert_true(w->b && w->c);
    items_plan(&plan, items);
    for (int p = 0; p < PARTS; p++) {
        read_part(w, dir, known, p, plan.first_row[p]);
        if (columns) read_profile(w, dir, known, p, plan.first_row[p]);
    }
    thaw_plan_clear(&plan);
}

static void written_free(struct written *w) {
    free(w->b);
    free(w->c);
}

// ---- Fitting ----

static int fit(const struct thaw_associate_config *config, const struct log *l, const char *dir,
               double *residual, struct thaw_err *err) {
    struct thaw_histories h;
    struct thaw_plan plan;
    Thaw__Association *m = NULL;
    histories_new(&h, l);
    items_plan(&plan, l->items);
    const int code = thaw_associate_fit(comm, config, &h, &plan, dir, &m, residual, err);
    const bool episodic = config->method == THAW__ASSOCIATION__METHOD__EPISODIC;
    if (!code && thaw_comm_rank(comm) == 0) {
        assert_int_equal(m->n_files, PARTS * (episodic ? 4 : 3) * config->nknown);
        for (size_t i = 1; i < m->n_files; i++)
            assert_true(strcmp(m->files[i - 1]->name, m->files[i]->name) < 0);
        assert_int_equal(m->features, episodic && config->profile ? FEATURES : 0);
        assert_int_equal(m->n_known, config->nknown);
        assert_int_equal(m->items->n_part_rows, PARTS);
        thaw__association__free_unpacked(m, NULL);
    } else {
        assert_null(m);
    }
    thaw_histories_clear(&h);
    thaw_plan_clear(&plan);
    return code;
}

static void near(double got, double want, double eps, const char *what) {
    if (fabs(got - want) <= eps) return;
    print_error("%s: %.9g, not %.9g\n", what, got, want);
    fail();
}

static const struct log small = {60, 13, 6};

static void check_episodic(const char *dir, int known, double ridge, double profile_ridge, bool profile,
                           double eps) {
    struct brute b;
    struct written w;
    const int items = small.items;
    brute_new(&b, &small, known, profile);
    for (int user = 0; user < small.users; user++) brute_user(&b, user);
    for (int i = 0; i < b.n; i++) b.a[i * b.n + i] += i < items ? ridge : profile_ridge;
    brute_solve(b.a, b.y, b.n, items);
    read_all(&w, dir, known, items, b.n - items);
    for (int i = 0; i < items; i++) {
        for (int j = 0; j < items; j++) near(w.b[i * items + j], b.y[i * items + j], eps, "B");
        for (int f = 0; f < b.n - items; f++)
            near(w.c[i * w.columns + f], b.y[(items + f) * items + i], eps, "C");
    }
    written_free(&w);
    brute_free(&b);
}

static void test_episodic(void **state) {
    static const int known[] = {0, 1, 2, 3, 5, 9};
    static const double ridge[] = {2, 0.5, 0.7, 1, 2, 5};
    char dir[THAW_PATH_MAX];
    (void)state;
    for (int t = 0; t < 6; t++) { // precision, profiles, blocks
        const struct thaw_associate_config config = {.known = known,
                                                     .regularization = ridge,
                                                     .nknown = 6,
                                                     .profile_regularization = 3,
                                                     .single = t % 2,
                                                     .profile = t != 2,
                                                     .block = t / 2 * 3};
        double residual = -1;
        struct thaw_err err = THAW_ERR_INIT;
        tiny_folder(comm, dir);
        problem_ok(fit(&config, &small, dir, &residual, &err), &err);
        assert_true(residual >= 0 && residual < (config.single ? 1e-4 : 1e-12));
        for (int i = 0; i < 6; i++)
            check_episodic(dir, known[i], ridge[i], 3, config.profile, t % 2 ? 2e-5 : 1e-7);
        tiny_folder_remove(comm, dir);
    }
}

static void test_ease(void **state) {
    static const int known[] = {0, 4};
    static const double ridge[] = {10, 3};
    char dir[THAW_PATH_MAX];
    (void)state;
    for (int t = 0; t < 2; t++) {
        const struct thaw_associate_config config = {.method = THAW__ASSOCIATION__METHOD__EASE,
                                                     .known = known,
                                                     .regularization = ridge,
                                                     .nknown = 2,
                                                     .single = t,
                                                     .block = 3 * t};
        const int n = small.items;
        struct thaw_err err = THAW_ERR_INIT;
        double residual = -1;
        tiny_folder(comm, dir);
        problem_ok(fit(&config, &small, dir, &residual, &err), &err);
        assert_true(residual >= 0 && residual < (t ? 1e-5 : 1e-12));
        for (int k = 0; k < 2; k++) {
            struct brute b;
            struct written w;
            brute_new(&b, &small, 0, false);
            brute_gramian(&b);
            for (int i = 0; i < n; i++) {
                b.a[i * n + i] += ridge[k];
                b.y[i * n + i] = 1;
            }
            brute_solve(b.a, b.y, n, n);
            read_all(&w, dir, known[k], n, 0);
            for (int i = 0; i < n; i++)
                for (int j = 0; j < n; j++)
                    near(w.b[i * n + j], i == j ? 0 : -b.y[i * n + j] / b.y[j * n + j], t ? 1e-5 : 1e-7, "B");
            written_free(&w);
            brute_free(&b);
        }
        tiny_folder_remove(comm, dir);
    }
}

// Sums are exact, so similarities are the same bits everywhere, also where histories come in many pieces and
// memory is short.
static const struct log wide = {3000, 60, 40};

static void test_knn(void **state) {
    static const int known[] = {0};
    static const double shrink[] = {7}, power[] = {0.5};
    char dir[THAW_PATH_MAX];
    (void)state;
    for (int t = 0; t < 2; t++) {
        const struct log *l = &wide;
        const struct thaw_associate_config config = {.method = THAW__ASSOCIATION__METHOD__KNN,
                                                     .known = known,
                                                     .regularization = shrink,
                                                     .power = power,
                                                     .nknown = 1,
                                                     .single = true,
                                                     .memory = t ? 20000 : 0,
                                                     .block = 4};
        const int n = l->items;
        double residual = 0;
        struct brute b;
        struct written w;
        struct thaw_err err = THAW_ERR_INIT;
        tiny_folder(comm, dir);
        problem_ok(fit(&config, l, dir, &residual, &err), &err);
        assert_true(residual < 0);
        brute_new(&b, l, 0, false);
        brute_gramian(&b);
        read_all(&w, dir, 0, n, 0);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                const double want = b.a[i * n + j] / (pow(b.a[i * n + i] * b.a[j * n + j], 0.5) + 7);
                near(w.b[i * n + j], i == j || want == 0 ? 0 : (double)(float)want, 0, "similarity");
            }
        written_free(&w);
        brute_free(&b);
        tiny_folder_remove(comm, dir);
    }
}

// Is entry (i, j) of b among the `most` strongest of its row?
static bool strong(const double *b, int n, int i, int j, int most) {
    int before = 0;
    for (int k = 0; k < n; k++) {
        const double here = fabs(b[i * n + k]), own = fabs(b[i * n + j]);
        before += here > own || (here == own && k < j);
    }
    return before < most && b[i * n + j] != 0;
}

static void test_neighbours(void **state) {
    static const int known[] = {0};
    static const double shrink[] = {0}, power[] = {0}; // similarities are counts: many are equal
    char dir[THAW_PATH_MAX];
    (void)state;
    for (int most = 1; most <= 64; most = most * 2 + 1) {
        const struct thaw_associate_config config = {.method = THAW__ASSOCIATION__METHOD__KNN,
                                                     .known = known,
                                                     .regularization = shrink,
                                                     .power = power,
                                                     .nknown = 1,
                                                     .neighbors = most,
                                                     .block = 2};
        const int n = small.items;
        double residual;
        struct brute b;
        struct written w;
        struct thaw_err err = THAW_ERR_INIT;
        tiny_folder(comm, dir);
        problem_ok(fit(&config, &small, dir, &residual, &err), &err);
        brute_new(&b, &small, 0, false);
        brute_gramian(&b);
        for (int i = 0; i < n; i++) b.a[i * n + i] = 0;
        read_all(&w, dir, 0, n, 0);
        assert_true(w.longest <= most);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++)
                near(w.b[i * n + j], strong(b.a, n, i, j, most) ? b.a[i * n + j] : 0, 0, "neighbour");
        written_free(&w);
        brute_free(&b);
        tiny_folder_remove(comm, dir);
    }
}

static void test_refused(void **state) {
    static const int known[] = {3};
    static const double ridge[] = {1};
    struct thaw_associate_config config = {.known = known,
                                           .regularization = ridge,
                                           .nknown = 1,
                                           .profile_regularization = 1,
                                           .block = 1,
                                           .memory = 700};
    struct thaw_err err = THAW_ERR_INIT;
    double residual;
    (void)state;
    assert_int_equal(fit(&config, &small, "/nowhere", &residual, &err), THAW_EMEM);
    assert_non_null(strstr(err.text, "13 items"));
    assert_non_null(strstr(err.text, "(--memory): "));
    assert_non_null(strstr(err.text, " ranks that may take "));
    assert_non_null(strstr(err.text, "--precision single"));
    // A folder that cannot be written to fails on every rank.
    err = THAW_ERR_INIT;
    config.memory = 0;
    assert_int_equal(fit(&config, &small, "/nowhere", &residual, &err), THAW_EIO);
    // Nobody to learn from.
    const struct log empty = {0, 13, 6};
    err = THAW_ERR_INIT;
    assert_int_equal(fit(&config, &empty, "/nowhere", &residual, &err), THAW_EDATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_episodic),   cmocka_unit_test(test_ease),    cmocka_unit_test(test_knn),
        cmocka_unit_test(test_neighbours), cmocka_unit_test(test_refused),
    };
    if (thaw_comm_begin(&comm, NULL)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
