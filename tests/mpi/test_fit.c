// test_fit.c: training on a small dataset: the objective against brute force, held-out users, the same bits
// on any cut.
// with: THAW_NODE_RANKS=1
// with: THAW_NODE_RANKS=2
#include "base/hash.h"
#include "comm/fit.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

#include <omp.h>

enum { K = 6 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

struct run {
    Thaw__Als als;
    struct thaw_als_config config[2];
    struct thaw_dataset *dataset;
    struct thaw_interactions in;
    struct thaw_fit *fit;
    float *all[2]; // every rank's rows x columns
};

struct setting {
    Thaw__Als__Model model;
    enum thaw_als_solver solver;
    enum thaw_als_gather gather;
    double holdout;
    struct thaw_half_options half;
    double relaxation; // of the items, which then take one CG step; 0: they are solved as users are
};

static void begin(struct run *r, const struct setting *s) {
    r->als = tiny_als(s->model, K);
    r->als.biases = s->model == THAW__ALS__MODEL__EXPLICIT;
    r->als.seed = 3;
    r->als.holdout = s->holdout;
    r->als.holdout_seed = 5;
    assert_int_equal(thaw_dataset_open(&r->dataset, folder, NULL), 0);
    r->config[0] = r->config[1] = thaw_als_config_of(&r->als, s->solver, s->gather, 3, 1e-3);
    if (s->relaxation > 0)
        r->config[THAW_ITEMS].cg_steps = 1, r->config[THAW_ITEMS].relaxation = s->relaxation;
    struct thaw_err err = THAW_ERR_INIT;
    problem_ok(thaw_interactions_load(&r->in, comm, r->dataset, &r->als, r->config, &s->half, &err), &err);
    if (r->als.biases) r->config[0].mean = r->config[1].mean = r->in.mean;
    assert_int_equal(thaw_fit_new(&r->fit, comm, r->config, &r->in, r->als.seed, NULL), 0);
    assert_int_equal(thaw_fit_begin(r->fit, NULL), 0);
}

static void collect(struct run *r) {
    for (int side = 0; side < 2; side++) {
        int64_t total;
        void *all = NULL;
        free(r->all[side]);
        assert_int_equal(thaw_comm_gather(comm, r->fit->rows[side],
                                          r->in.rows[side] * r->fit->columns * (int64_t)sizeof(float), -1,
                                          &all, &total, NULL),
                         0);
        r->all[side] = all;
    }
}

static void end(struct run *r) {
    thaw_fit_free(&r->fit);
    thaw_interactions_clear(&r->in);
    thaw_dataset_close(&r->dataset);
    free(r->all[0]);
    free(r->all[1]);
    *r = (struct run){0};
}

static uint64_t hash_of(int64_t user) {
    char id[TINY_WIDTH];
    tiny_id(id, THAW_USERS, user);
    return thaw_hash_id(id, strlen(id));
}

static bool is_held(const struct run *r, int64_t user) {
    return thaw_held_out(&r->als, hash_of(user));
}

// The definition of the objective, pair by pair, in double.
static double brute_force(const struct run *r) {
    const struct thaw_als_config *f = &r->config[0];
    const int d = r->fit->columns;
    double sum = 0, norm[2] = {0, 0};
    int64_t degree[2][TINY_ITEMS] = {{0}}, users = 0;
    for (int64_t u = 0; u < TINY_USERS; u++) {
        if (is_held(r, u)) continue;
        users++;
        for (int64_t i = 0; i < TINY_ITEMS; i++) {
            const float v = tiny_value(u, i), *x = r->all[0] + u * d, *y = r->all[1] + i * d;
            double s = 0;
            for (int j = 0; j < K; j++) s += (double)x[j] * y[j];
            degree[0][u] += v > 0;
            degree[1][i] += v > 0;
            if (f->model == THAW_ALS_EXPLICIT) {
                if (v > 0) sum += pow(v - f->mean - x[K] - y[K] - s, 2);
                continue;
            }
            sum += f->unobserved * s * s;
            const double w = f->alpha * v, c = w + (f->model == THAW_ALS_HU ? f->unobserved : 0);
            if (v > 0) sum += w * s * s - 2 * c * s + c;
        }
    }
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < (side ? TINY_ITEMS : TINY_USERS); i++) {
            const double n = (double)degree[side][i], m = side ? (double)users : TINY_ITEMS;
            const double lambda = f->lambda * (f->model == THAW_ALS_EXPLICIT ? n : n + f->unobserved * m);
            for (int j = 0; j < d; j++) norm[side] += lambda * pow(r->all[side][i * d + j], 2);
        }
    return sum + norm[0] + norm[1];
}

static void check_objective(const struct setting *s) {
    struct run r = {0};
    struct thaw_err err = THAW_ERR_INIT;
    double before = INFINITY;
    begin(&r, s);
    for (int i = 0; i < 4; i++) {
        problem_ok(thaw_fit_iterate(r.fit, &err), &err);
        collect(&r);
        const double want = brute_force(&r), bound = s->gather == THAW_ALS_BF16 ? 1e-3 : 1e-6;
        if (getenv("VERBOSE") && thaw_comm_rank(comm) == 0)
            print_message("model %d, solver %d, gather %d: %.10g, off by %.2g\n", (int)s->model,
                          (int)s->solver, (int)s->gather, r.fit->objective, r.fit->objective / want - 1);
        assert_true(fabs(r.fit->objective - want) <= bound * want);
        // The rounding of 16-bit rows averages out over users; there are few of them here.
        assert_true((s->solver == THAW_ALS_CG && !s->relaxation) ||
                    r.fit->objective <= before * (s->gather ? 1 + bound : 1));
        before = r.fit->objective;
    }
    end(&r);
}

static void test_objective(void **state) {
    (void)state;
    const Thaw__Als__Model models[3] = {THAW__ALS__MODEL__IMPLICIT_HU, THAW__ALS__MODEL__IMPLICIT_RENDLE,
                                        THAW__ALS__MODEL__EXPLICIT};
    for (int m = 0; m < 3; m++)
        for (int solver = 0; solver < 2; solver++)
            for (int gather = 0; gather < 2; gather++) {
                const struct setting s = {
                    models[m],        (enum thaw_als_solver)solver, (enum thaw_als_gather)gather,
                    m == 1 ? 0.3 : 0, {.exchange_bytes = 1 << 16},  0};
                check_objective(&s);
            }
}

// Over-relaxed steps: the objective is still that of the definition, and never rises.
static void test_relaxation(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const struct setting s = {i / 2 ? THAW__ALS__MODEL__EXPLICIT : THAW__ALS__MODEL__IMPLICIT_RENDLE,
                                  THAW_ALS_CG,
                                  THAW_ALS_F32,
                                  0,
                                  {.exchange_bytes = 1 << 16},
                                  i % 2 ? 1.9 : 1.5};
        check_objective(&s);
    }
}

// Other exchanges, their sizes and threads give the same bits, of the objective too.
static void test_same_bits(void **state) {
    (void)state;
    static const struct thaw_half_options others[] = {{THAW_EXCHANGE_HYBRID, 4096, false},
                                                      {THAW_EXCHANGE_ALLGATHER, 1 << 24, false},
                                                      {THAW_EXCHANGE_PULL, 16384, true}};
    struct run a = {0}, b = {0};
    for (int i = 0; i < 6; i++) {
        struct setting s = {i / 2 % 3 == 2 ? THAW__ALS__MODEL__EXPLICIT : THAW__ALS__MODEL__IMPLICIT_RENDLE,
                            (enum thaw_als_solver)(i % 2),
                            i == 3 ? THAW_ALS_F32 : THAW_ALS_BF16,
                            0.2,
                            {THAW_EXCHANGE_PULL, 1 << 24, false},
                            i == 5 ? 1.7 : 0};
        omp_set_num_threads(1);
        begin(&a, &s);
        omp_set_num_threads(2);
        s.half = others[i / 2];
        begin(&b, &s);
        for (int iteration = 0; iteration < 2; iteration++) {
            omp_set_num_threads(1);
            assert_int_equal(thaw_fit_iterate(a.fit, NULL), 0);
            omp_set_num_threads(2);
            assert_int_equal(thaw_fit_iterate(b.fit, NULL), 0);
        }
        collect(&a);
        collect(&b);
        assert_memory_equal(a.all[0], b.all[0], (size_t)(TINY_USERS * a.fit->columns) * sizeof(float));
        assert_memory_equal(a.all[1], b.all[1], (size_t)(TINY_ITEMS * a.fit->columns) * sizeof(float));
        assert_true(a.fit->objective == b.fit->objective);
        end(&a);
        end(&b);
    }
    omp_set_num_threads(1);
}

// Held-out users' rows are those of the exact solver, from f32 rows.
static void check_folded_in(const struct run *r, const float *items) {
    struct thaw_als_config config = r->config[THAW_USERS];
    struct thaw_als_sweep *s = NULL;
    struct thaw_als_work *w = NULL;
    char *table = NULL;
    float *z = NULL;
    config.solver = THAW_ALS_CHOLESKY;
    config.gather = THAW_ALS_F32;
    const double mean = (double)r->in.nnz / (double)(TINY_USERS - r->in.held_users);
    assert_int_equal(thaw_als_sweep_new(&s, &config, TINY_ITEMS, mean, r->fit->gramian[THAW_ITEMS], NULL), 0);
    assert_int_equal(thaw_als_work_new(&w, &config, NULL), 0);
    assert_int_equal(thaw_alloc(&table, TINY_ITEMS, thaw_als_row_bytes(&config), "a table", NULL), 0);
    assert_int_equal(thaw_alloc(&z, (size_t)thaw_als_width(&config), sizeof *z, "a row", NULL), 0);
    thaw_als_encode(s, items, TINY_ITEMS, table, NULL);
    for (int64_t u = 0; u < TINY_USERS; u++) {
        uint32_t index[TINY_ITEMS + THAW_ALS_AHEAD] = {0};
        float value[TINY_ITEMS], want[K] = {0};
        int64_t n = 0;
        if (!is_held(r, u)) continue;
        for (uint32_t i = 0; i < TINY_ITEMS; i++) {
            if ((value[n] = tiny_value(u, i)) == 0) continue;
            index[n++] = i;
        }
        const struct thaw_als_row row = {table, index, value, n};
        thaw_als_enter(s, want, 1, z);
        assert_int_equal(thaw_als_solve(w, s, &row, z, NULL, NULL), 0);
        thaw_als_leave(s, z, 1, want);
        if (n) assert_memory_equal(want, r->all[0] + u * K, sizeof want);
    }
    free(table);
    free(z);
    thaw_als_work_free(&w);
    thaw_als_sweep_free(&s);
}

// Held-out users: no part in training, then folded in exactly; items do not move.
static void test_held_out(void **state) {
    (void)state;
    struct run r = {0};
    int64_t held = 0, nnz = 0;
    const struct setting setting = {
        THAW__ALS__MODEL__IMPLICIT_RENDLE, THAW_ALS_CG, THAW_ALS_BF16, 0.3, {.exchange_bytes = 1 << 20}, 0};
    begin(&r, &setting);
    for (int64_t u = 0; u < TINY_USERS; u++) {
        held += is_held(&r, u);
        for (int64_t i = 0; i < TINY_ITEMS; i++) nnz += !is_held(&r, u) && tiny_value(u, i) > 0;
    }
    assert_true(held > 10 && held < TINY_USERS / 2);
    assert_int_equal(r.in.held_users, held);
    assert_int_equal(r.in.nnz, nnz);
    assert_int_equal(thaw_fit_iterate(r.fit, NULL), 0);
    collect(&r);
    for (int64_t u = 0; u < TINY_USERS; u++)
        for (int j = 0; is_held(&r, u) && j < K; j++) assert_true(r.all[0][u * K + j] == 0);
    float *items = malloc(TINY_ITEMS * K * sizeof *items);
    memcpy(items, r.all[1], TINY_ITEMS * K * sizeof *items);
    assert_int_equal(thaw_fit_fold_in(r.fit, NULL), 0);
    collect(&r);
    assert_memory_equal(items, r.all[1], TINY_ITEMS * K * sizeof *items);
    check_folded_in(&r, items);
    free(items);
    end(&r);
}

// Users named by hash are held out as well; a strength that is not above 0 is left out and counted.
static void test_listed_and_strength(void **state) {
    (void)state;
    Thaw__Als als = THAW__ALS__INIT;
    uint64_t ids[2] = {hash_of(0), hash_of(7)};
    if (ids[0] > ids[1]) {
        const uint64_t t = ids[0];
        ids[0] = ids[1];
        ids[1] = t;
    }
    als.holdout_ids = ids;
    als.n_holdout_ids = 2;
    for (int64_t u = 0; u < TINY_USERS; u++)
        assert_int_equal(thaw_held_out(&als, hash_of(u)), u == 0 || u == 7);
    als.strength = THAW__ALS__STRENGTH__LOG;
    assert_true(thaw_strength(&als, 1) == 1 && thaw_strength(&als, 3) == 2 && thaw_strength(&als, -2) == 0);
    als.strength = THAW__ALS__STRENGTH__BINARY;
    assert_true(thaw_strength(&als, 9) == 1 && !thaw_strength_counts(&als, thaw_strength(&als, 0)));
}

static void test_listed_file(void **state) {
    (void)state;
    char path[THAW_PATH_MAX];
    const char text[] = "# a list\n\nu7 later words\n  u0\r\nu7\nu9#x";
    uint64_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(thaw_path_join(path, folder, "list", NULL), 0);
    if (thaw_comm_rank(comm) == 0)
        assert_int_equal(thaw_file_put(path, text, sizeof text - 1, NULL, NULL), 0);
    thaw_comm_barrier(comm);
    assert_int_equal(thaw_holdout_list_read(path, &ids, &n, NULL), 0);
    assert_int_equal(n, 3);
    assert_true(ids[0] < ids[1] && ids[1] < ids[2]);
    free(ids);
    assert_int_equal(thaw_holdout_list_read("/nowhere/at/all", &ids, &n, NULL), THAW_ENOINPUT);
}

static void test_damaged_shard(void **state) {
    (void)state;
    char path[THAW_PATH_MAX], name[THAW_PART_FILE];
    struct run r = {0};
    struct thaw_err err = THAW_ERR_INIT;
    thaw_part_file(name, THAW_ITEMS, TINY_PARTS - 1, TINY_PARTS, "npz");
    assert_int_equal(thaw_path_join(path, folder, name, NULL), 0);
    thaw_comm_barrier(comm);
    if (thaw_comm_rank(comm) == 0) {
        FILE *f = fopen(path, "r+");
        fseek(f, 900, SEEK_SET);
        const int byte = fgetc(f);
        fseek(f, 900, SEEK_SET);
        fputc(byte ^ 4, f);
        fclose(f);
    }
    thaw_comm_barrier(comm);
    thaw__als__init(&r.als);
    r.als.factors = K;
    r.als.holdout = 0.2; // the other ranks are asked for flags while this one fails
    assert_int_equal(thaw_dataset_open(&r.dataset, folder, NULL), 0);
    const struct thaw_half_options o = {.exchange_bytes = 1 << 16};
    r.config[0] = r.config[1] = thaw_als_config_of(&r.als, THAW_ALS_CG, THAW_ALS_BF16, 3, 1e-3);
    assert_int_equal(thaw_interactions_load(&r.in, comm, r.dataset, &r.als, r.config, &o, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, name));
    thaw_dataset_close(&r.dataset);
}

int main(void) {
    setenv("THAW_LONG_ROWS", "1024", 1); // small logs, too, have long rows
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objective),           cmocka_unit_test(test_relaxation),
        cmocka_unit_test(test_same_bits),           cmocka_unit_test(test_held_out),
        cmocka_unit_test(test_listed_and_strength), cmocka_unit_test(test_listed_file),
        cmocka_unit_test(test_damaged_shard),
    };
    struct thaw_err err = THAW_ERR_INIT;
    thaw_blas_begin();
    if (thaw_comm_begin(&comm, &err)) return 1;
    tiny_folder(comm, folder);
    int failed = thaw_comm_rank(comm) == 0 ? tiny_write(folder) : 0;
    failed = thaw_comm_agree(comm, failed, &err);
    if (!failed) failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
