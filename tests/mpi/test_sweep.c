// test_sweep.c: half-sweeps give the bits of a direct solve by one thread, however rows are cut, pushed, lent
// and exchanged.
// with: THAW_NODE_RANKS=1
// with: THAW_NODE_RANKS=2
// with: THAW_NODE_RANKS=1 THAW_MPI_COUNT_MAX=1000
#include "comm/handle.h"
#include "comm/sweep.h"
#include "tests/mpi/problem.h"

#include <omp.h>
#include <signal.h>

enum { ROWS = 300, OTHERS = 2600, PARTS = 6, K = 9 };

static struct thaw_comm *comm;
static bool stoppable; // of sweeps

// Five long rows, four of them at both ends; empty rows, short ones. On one rank with the smallest exchange
// they are solved in three batches.
static int64_t row_length(int64_t row) {
    switch (row) {
    case 0:
        return 2500;
    case 2:
        return 1300;
    case 140:
        return 1400;
    case ROWS - 40:
        return 1900;
    case ROWS - 3:
        return 1500;
    default:
        return row % 7 == 1 ? 0 : 2 + 300 / (1 + row % 50);
    }
}

static struct problem problem_new(bool skew) {
    struct problem p = {
        .rows = ROWS, .others = OTHERS, .nparts = PARTS, .length = row_length, .uneven = true, .skew = skew};
    problem_open(&p, comm);
    return p;
}

// ---- The expected rows, from the whole table ----

struct expected {
    struct thaw_als_sweep *sweep;
    struct thaw_als_work *work;
    char *table; // OTHERS encoded rows
    float norm2;
};

static struct thaw_als_sweep *sweep_new(const struct thaw_als_config *f) {
    const int d = thaw_als_columns(f);
    struct thaw_als_sweep *s = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    double gramian[K * K] = {0};
    float *table = problem_table(0, OTHERS, d);
    assert_int_equal(thaw_als_gramian(gramian, table, OTHERS, f->k, d, NULL), 0);
    problem_ok(thaw_als_sweep_new(&s, f, OTHERS, 20, f->model == THAW_ALS_EXPLICIT ? NULL : gramian, &err),
               &err);
    free(table);
    return s;
}

static void expected_open(struct expected *e, const struct thaw_als_config *f) {
    float *table = problem_table(0, OTHERS, thaw_als_columns(f));
    *e = (struct expected){.sweep = sweep_new(f)};
    assert_int_equal(thaw_als_work_new(&e->work, f, NULL), 0);
    assert_int_equal(thaw_alloc(&e->table, OTHERS, thaw_als_row_bytes(f), "a table", NULL), 0);
    thaw_als_encode(e->sweep, table, OTHERS, e->table, &e->norm2);
    free(table);
}

static void expected_close(struct expected *e) {
    thaw_als_sweep_free(&e->sweep);
    thaw_als_work_free(&e->work);
    free(e->table);
}

// A long row from the sums of its parts, added up from the last part to the first.
static void expect_long(struct expected *e, const struct thaw_plan *other, const struct thaw_als_row *row,
                        float *z, double *loss) {
    const struct thaw_als_config *f = thaw_als_sweep_config(e->sweep);
    struct thaw_als_long *l = NULL;
    double sum = 0, *sums = malloc(thaw_als_long_sums(f) * sizeof *sums);
    float *vector = NULL;
    int rounds = 0;
    for (int64_t j = 0; j < row->n; j++) sum += fabs(row->r[j]);
    assert_int_equal(thaw_alloc(&vector, thaw_als_long_vector(f), sizeof *vector, "a vector", NULL), 0);
    assert_int_equal(
        thaw_als_long_new(&l, e->sweep, row->n, thaw_als_long_weight(f, row->n, sum), e->norm2, z, NULL), 0);
    for (; !thaw_als_long_done(l); rounds++) {
        thaw_als_long_ask(l, vector);
        memset(sums, 0, thaw_als_long_sums(f) * sizeof *sums);
        int64_t end = row->n;
        for (int32_t p = other->nparts - 1; p >= 0; p--) {
            int64_t begin = end;
            while (begin > 0 && row->index[begin - 1] >= other->first_row[p]) begin--;
            const struct thaw_als_row piece = {e->table, row->index + begin, row->r + begin, end - begin};
            thaw_als_long_piece(e->work, e->sweep, &piece, vector, sums);
            end = begin;
        }
        assert_int_equal(thaw_als_long_step(l, e->work, sums, NULL), 0);
    }
    assert_true(rounds <= thaw_als_long_rounds(f));
    thaw_als_long_get(l, z, loss);
    thaw_als_long_free(&l);
    free(vector);
    free(sums);
}

static void expect_row(struct expected *e, const struct problem *p, int64_t number, float *x, double *loss) {
    static int64_t wide[OTHERS];
    static uint32_t index[OTHERS + THAW_ALS_AHEAD];
    static float r[OTHERS];
    const struct thaw_als_row row = {e->table, index, r, problem_row(p, number, wide, r)};
    float *z = NULL;
    *loss = 0;
    if (row.n == 0) return;
    for (int64_t j = 0; j < row.n; j++) index[j] = (uint32_t)wide[j];
    const int width = thaw_als_width(thaw_als_sweep_config(e->sweep));
    assert_int_equal(thaw_alloc(&z, (size_t)width, sizeof *z, "a row", NULL), 0);
    thaw_als_enter(e->sweep, x, 1, z);
    if (row.n >= thaw_long_least(&p->other))
        expect_long(e, &p->other, &row, z, loss);
    else
        assert_int_equal(thaw_als_solve(e->work, e->sweep, &row, z, loss, NULL), 0);
    thaw_als_leave(e->sweep, z, 1, x);
    free(z);
}

// ---- Over ranks ----

struct setting {
    enum thaw_exchange_mode exchange;
    int64_t exchange_bytes;
    bool alone;
    int threads;
};

struct result {
    float *x;     // this rank's rows x d
    double *loss; // this rank's rows
    struct thaw_sweep_stats stats;
    struct thaw_half_facts facts;
    int code;
    struct thaw_err err;
};

static void result_clear(struct result *r) {
    free(r->x);
    free(r->loss);
    *r = (struct result){0};
}

// table: all opposite rows.
static struct result solve(const struct thaw_als_sweep *sweep, struct problem *p, const struct setting *s,
                           const float *table) {
    const struct thaw_als_config *f = thaw_als_sweep_config(sweep);
    const int64_t first = problem_first(p, comm), rows = problem_rows(p, comm);
    const int d = thaw_als_columns(f);
    const struct thaw_half_options o = {s->exchange, s->exchange_bytes, s->alone};
    struct result r = {.err = THAW_ERR_INIT};
    struct thaw_csr m;
    struct thaw_half *h = NULL;
    struct thaw_window *w = NULL;
    omp_set_num_threads(s->threads);
    problem_csr(p, comm, &m);
    problem_ok(thaw_half_new(&h, comm, f, &m, &p->other, &o, &r.err), &r.err);
    if (stoppable) thaw_half_make_stoppable(h);
    assert_true(m.ptr == NULL && m.index == NULL && m.value == NULL);
    r.facts = *thaw_half_facts(h);
    problem_ok(thaw_window_new(&w, comm, r.facts.window_bytes, &r.err), &r.err);
    assert_int_equal(thaw_alloc(&r.x, (size_t)(rows * d), sizeof *r.x, "rows", NULL), 0);
    assert_int_equal(thaw_alloc(&r.loss, (size_t)rows, sizeof *r.loss, "losses", NULL), 0);
    for (int64_t i = 0; i < rows; i++) thaw_als_init_row(r.x + i * d, d, 6, 2, first + i, 0.3);
    r.code = thaw_sweep(comm, sweep, h, w, "users", first, table + p->other.rank_row[comm->rank] * d, r.x,
                        r.loss, &r.stats, &r.err);
    thaw_half_free(&h);
    thaw_window_free(&w);
    return r;
}

static void compare(const struct expected *e, const struct problem *p, const struct result *r, const float *x,
                    const double *loss, const char *what) {
    const int64_t first = problem_first(p, comm), rows = problem_rows(p, comm);
    const size_t d = (size_t)thaw_als_columns(thaw_als_sweep_config(e->sweep));
    problem_ok(r->code, &r->err);
    for (int64_t i = 0; i < rows; i++) {
        const bool same = memcmp(r->x + (size_t)i * d, x + (size_t)i * d, d * sizeof *x) == 0;
        if (!same || r->loss[i] != loss[i])
            print_error("%s: row %d (%d interactions): x %s; loss %.17g, not %.17g\n", what, (int)(first + i),
                        (int)row_length(first + i), same ? "same" : "differs", r->loss[i], loss[i]);
        assert_true(same && r->loss[i] == loss[i]);
    }
    assert_int_equal(problem_sum(comm, r->stats.traffic.sent_bytes),
                     problem_sum(comm, r->stats.traffic.received_bytes));
}

static void check_facts(const struct setting *s, const struct result *r, const char *what) {
    const struct thaw_half_facts *f = &r->facts;
    const bool may_push = s->exchange == THAW_EXCHANGE_HYBRID && !s->alone && comm->size > 1;
    if (getenv("VERBOSE") && comm->rank == 0)
        print_message("%s: %d pushed, %d lent, work %.0f of %.0f, rounds %d\n", what, (int)f->pushed_rows,
                      (int)f->lent_rows, f->work_max, f->work_mean, (int)f->rounds);
    assert_true(may_push ? f->pushed_rows >= 2 : f->pushed_rows == 0);
    assert_true((f->lent_rows > 0) == (!s->alone && comm->size > 1));
    assert_true(f->work_max <= 1.02 * f->work_mean || s->alone || s->exchange != THAW_EXCHANGE_HYBRID);
    if (s->exchange_bytes < 100000 && comm->nnodes > 1)
        assert_true(f->stream && f->rounds > 1);
    else
        assert_false(f->stream);
    assert_true(comm->nnodes > 1 || f->exchange_rows == 0);
}

// turn: 0 and 1 take half of the settings each, others all.
static void check(const struct thaw_als_config *f, bool skew, size_t turn) {
    static const struct setting settings[] = {
        {THAW_EXCHANGE_HYBRID, 64 << 20, false, 1},    {THAW_EXCHANGE_HYBRID, 20000, false, 2},
        {THAW_EXCHANGE_PULL, 64 << 20, false, 2},      {THAW_EXCHANGE_PULL, 4096, false, 1},
        {THAW_EXCHANGE_ALLGATHER, 64 << 20, false, 2}, {THAW_EXCHANGE_PULL, 64 << 20, true, 2},
    };
    struct problem p = problem_new(skew);
    const int64_t first = problem_first(&p, comm), rows = problem_rows(&p, comm);
    const int d = thaw_als_columns(f);
    float *table = problem_table(0, OTHERS, d), *x = NULL;
    double *loss = NULL;
    struct expected e;
    expected_open(&e, f);
    assert_int_equal(thaw_alloc(&x, (size_t)(rows * d), sizeof *x, "rows", NULL), 0);
    assert_int_equal(thaw_alloc(&loss, (size_t)rows, sizeof *loss, "losses", NULL), 0);
    for (int64_t i = 0; i < rows; i++) {
        thaw_als_init_row(x + i * d, d, 6, 2, first + i, 0.3);
        expect_row(&e, &p, first + i, x + i * d, &loss[i]);
    }
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char what[96];
        if (turn == 1 - i % 2) continue;
        snprintf(what, sizeof what, "model %d, biases %d, solver %d, gather %d, skew %d, setting %d",
                 (int)f->model, f->biases, (int)f->solver, (int)f->gather, skew, (int)i);
        struct result r = solve(e.sweep, &p, &settings[i], table);
        compare(&e, &p, &r, x, loss, what);
        check_facts(&settings[i], &r, what);
        result_clear(&r);
    }
    expected_close(&e);
    problem_close(&p);
    free(table);
    free(x);
    free(loss);
}

static void check_models(enum thaw_als_solver solver) {
    for (int i = 0; i < 5; i++) {
        const enum thaw_als_model models[] = {THAW_ALS_HU, THAW_ALS_RENDLE, THAW_ALS_EXPLICIT,
                                              THAW_ALS_EXPLICIT, THAW_ALS_RENDLE};
        const enum thaw_als_gather gather = (i + (int)solver) % 2 ? THAW_ALS_BF16 : THAW_ALS_F32;
        const struct thaw_als_config f = problem_config(models[i], solver, gather, K - i, i == 3);
        check(&f, i % 3 == 0, i < 4 ? (size_t)(i + (int)solver) % 2 : 2);
    }
}

static void test_same_bits_cg(void **state) {
    (void)state;
    check_models(THAW_ALS_CG);
}

static void test_same_bits_cholesky(void **state) {
    (void)state;
    check_models(THAW_ALS_CHOLESKY);
}

// Many steps of CG end where the exact solver does, for rows of every kind.
static void test_cg_is_exact_in_the_end(void **state) {
    (void)state;
    const struct setting s = {THAW_EXCHANGE_HYBRID, 64 << 20, false, 1};
    struct thaw_als_config f = problem_config(THAW_ALS_RENDLE, THAW_ALS_CHOLESKY, THAW_ALS_F32, K, false);
    struct problem p = problem_new(true);
    float *table = problem_table(0, OTHERS, K);
    struct thaw_als_sweep *sweep = sweep_new(&f);
    struct result exact = solve(sweep, &p, &s, table);
    thaw_als_sweep_free(&sweep);
    f.solver = THAW_ALS_CG;
    f.cg_steps = 40;
    f.cg_tolerance = 1e-7;
    sweep = sweep_new(&f);
    struct result cg = solve(sweep, &p, &s, table);
    thaw_als_sweep_free(&sweep);
    problem_ok(exact.code, &exact.err);
    problem_ok(cg.code, &cg.err);
    for (int64_t i = 0; i < problem_rows(&p, comm); i++) {
        double difference = 0, size = 0;
        for (int j = 0; j < K; j++) {
            difference = fmax(difference, fabs((double)exact.x[i * K + j] - (double)cg.x[i * K + j]));
            size = fmax(size, fabs((double)exact.x[i * K + j]));
        }
        assert_true(difference <= 1e-3 * size);
        assert_true(fabs(exact.loss[i] - cg.loss[i]) <= 1e-4 * fabs(exact.loss[i]));
    }
    result_clear(&exact);
    result_clear(&cg);
    problem_close(&p);
    free(table);
}

// ---- The gramian ----

// It does not depend on who owns what, nor on threads, and is right.
static void test_gramian(void **state) {
    (void)state;
    const int d = K + 1;
    struct problem p = {.nparts = PARTS, .uneven = true};
    float *table = problem_table(0, OTHERS, d);
    double got[2][K * K], want[K * K] = {0};
    for (int skew = 0; skew < 2; skew++) {
        struct thaw_plan plan = problem_plan(&p, OTHERS, skew, comm->size);
        omp_set_num_threads(1 + skew);
        assert_int_equal(
            thaw_sweep_gramian(comm, &plan, table + plan.rank_row[comm->rank] * d, K, d, got[skew], NULL), 0);
        thaw_plan_clear(&plan);
    }
    for (int64_t n = 0; n < OTHERS; n++)
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++) want[i * K + j] += (double)table[n * d + i] * table[n * d + j];
    assert_memory_equal(got[0], got[1], sizeof want);
    for (int i = 0; i < K * K; i++) assert_true(fabs(got[0][i] - want[i]) <= 1e-7 * want[0]);
    free(table);
}

static void test_gramian_not_finite(void **state) {
    (void)state;
    struct problem p = problem_new(false);
    float *table = problem_table(0, OTHERS, K);
    double g[K * K];
    struct thaw_err err = THAW_ERR_INIT;
    table[OTHERS * K - 1] = INFINITY;
    assert_int_equal(
        thaw_sweep_gramian(comm, &p.other, table + p.other.rank_row[comm->rank] * K, K, K, g, &err),
        THAW_EDIVERGED);
    problem_close(&p);
    free(table);
}

// ---- Failures ----

static int64_t lowest_with(const struct problem *p, int64_t bad, bool long_only) {
    static int64_t index[OTHERS];
    static float r[OTHERS];
    for (int64_t row = 0; row < ROWS; row++) {
        const int64_t n = problem_row(p, row, index, r);
        for (int64_t j = 0; j < n && (!long_only || n >= thaw_long_least(&p->other)); j++)
            if (index[j] == bad) return row;
    }
    return -1;
}

// An opposite row that only long rows want, when there is one.
static int64_t wanted_by_long_rows(const struct problem *p) {
    for (int64_t i = OTHERS - 1; i >= 0; i--)
        if (lowest_with(p, i, true) >= 0 && lowest_with(p, i, false) == lowest_with(p, i, true)) return i;
    return 0;
}

// A row that does not come out finite stops every rank with the lowest such row's number, wherever it is
// solved.
static void test_not_finite(void **state) {
    (void)state;
    static const struct setting settings[] = {{THAW_EXCHANGE_HYBRID, 64 << 20, false, 2},
                                              {THAW_EXCHANGE_PULL, 8000, false, 1},
                                              {THAW_EXCHANGE_ALLGATHER, 64 << 20, true, 2}};
    for (int variant = 0; variant < 12; variant++) {
        const enum thaw_als_solver solver = variant % 2 ? THAW_ALS_CG : THAW_ALS_CHOLESKY;
        const struct thaw_als_config f =
            problem_config(THAW_ALS_HU, solver, (enum thaw_als_gather)(variant / 2 % 2), K, false);
        struct problem p = problem_new(variant % 3 != 0);
        float *table = problem_table(0, OTHERS, K);
        const int64_t bad = variant < 6 ? 40 : wanted_by_long_rows(&p);
        table[bad * K + 1] = variant % 4 ? NAN : INFINITY;
        struct thaw_als_sweep *sweep = sweep_new(&f);
        struct result r = solve(sweep, &p, &settings[variant % 3], table);
        thaw_als_sweep_free(&sweep);
        char want[64];
        snprintf(want, sizeof want, "row %d of users: ", (int)lowest_with(&p, bad, false));
        if (r.code != THAW_EDIVERGED || strncmp(r.err.text, want, strlen(want)) != 0)
            print_error("variant %d: code %d: %s, not %s\n", variant, r.code, r.err.text, want);
        assert_int_equal(r.code, THAW_EDIVERGED);
        assert_memory_equal(r.err.text, want, strlen(want));
        result_clear(&r);
        problem_close(&p);
        free(table);
    }
}

// A signal on one rank ends a sweep that it may end, before the next group of rows: here the first. The last
// test: the signal stays.
static void test_stopped(void **state) {
    static const struct setting settings[] = {{THAW_EXCHANGE_HYBRID, 64 << 20, true, 1},
                                              {THAW_EXCHANGE_PULL, 4096, true, 2},
                                              {THAW_EXCHANGE_HYBRID, 64 << 20, true, 1}};
    const struct thaw_als_config f =
        problem_config(THAW_ALS_RENDLE, THAW_ALS_CHOLESKY, THAW_ALS_F32, K, false);
    const bool signalled = comm->rank == comm->size - 1;
    struct problem p = problem_new(false);
    struct thaw_als_sweep *sweep = sweep_new(&f);
    float *table = problem_table(0, OTHERS, K);
    (void)state;
    if (signalled) raise(SIGTERM);
    for (int i = 0; i < 3; i++) {
        stoppable = i < 2;
        struct result r = solve(sweep, &p, &settings[i], table);
        assert_int_equal(r.code, stoppable ? THAW_ESTOPPED : THAW_OK);
        if (stoppable)
            assert_string_equal(r.err.text,
                                "stopped on request while solving users: the same command begins anew");
        for (int64_t row = 0; signalled && stoppable && row < problem_rows(&p, comm); row++)
            assert_true(r.loss[row] == 0); // not solved
        result_clear(&r);
    }
    thaw_als_sweep_free(&sweep);
    problem_close(&p);
    free(table);
}

int main(void) {
    setenv("THAW_LONG_ROWS", "1024", 1); // small logs, too, have long rows
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits_cg),
        cmocka_unit_test(test_same_bits_cholesky),
        cmocka_unit_test(test_cg_is_exact_in_the_end),
        cmocka_unit_test(test_gramian),
        cmocka_unit_test(test_gramian_not_finite),
        cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_stopped),
    };
    struct thaw_err err = THAW_ERR_INIT;
    thaw_blas_begin();
    if (thaw_comm_begin(&comm, &err)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
