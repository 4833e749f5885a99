// test_half.c: how the rows of a half are shared out: work is even, long rows are pushed, the hybrid never
// moves more than the better of the plain exchanges.
// with: THAW_NODE_RANKS=1
// with: THAW_NODE_RANKS=2
#include "comm/half_impl.h"
#include "comm/sweep.h"
#include "tests/mpi/problem.h"

#include <omp.h>

static struct thaw_comm *comm;

// ---- Logs ----

static int64_t zipf_length(int64_t row) {
    return 3 + 20000 / (10 + row * 7919 % 3000);
}

static int64_t dense_length(int64_t row) {
    return 150 + row % 60;
}

// A retail log: few interactions of most rows, long ones of some.
static int64_t sparse_length(int64_t row) {
    return 2 + 4000 / (1 + row * 7919 % 3000);
}

// One row that everyone of the other side touched.
static int64_t heavy_length(int64_t row) {
    return row == 17 ? 8000 : 40;
}

static int64_t no_length(int64_t row) {
    (void)row;
    return 0;
}

static struct problem problem_new(int64_t (*length)(int64_t), int64_t rows, int64_t others, int32_t nparts) {
    struct problem p = {.rows = rows, .others = others, .nparts = nparts, .length = length};
    problem_open(&p, comm);
    return p;
}

static struct thaw_als_config config(enum thaw_als_solver solver) {
    return problem_config(THAW_ALS_RENDLE, solver, solver == THAW_ALS_CG ? THAW_ALS_BF16 : THAW_ALS_F32, 32,
                          false);
}

static struct thaw_half *half_new(const struct problem *p, const struct thaw_als_config *f,
                                  enum thaw_exchange_mode mode, bool alone, int64_t *nnz) {
    const struct thaw_half_options o = {mode, 64 << 20, alone};
    struct thaw_half *h = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_csr m;
    problem_csr(p, comm, &m);
    if (nnz) *nnz = problem_sum(comm, m.ptr[m.nrows]);
    problem_ok(thaw_half_new(&h, comm, f, &m, &p->other, &o, &err), &err);
    return h;
}

// ---- Work ----

static void test_work_is_even(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++)
        for (int mode = 0; mode < 3; mode++) {
            const struct thaw_als_config f = config((enum thaw_als_solver)solver);
            struct problem p = problem_new(zipf_length, 3000, 5000, 16);
            int64_t nnz;
            struct thaw_half *h = half_new(&p, &f, (enum thaw_exchange_mode)mode, false, &nnz);
            const struct thaw_half_facts *a = thaw_half_facts(h);
            if (comm->rank == 0 && getenv("VERBOSE"))
                print_message("mode %d: work %.4f of the mean, %d pushed, %d lent\n", mode,
                              a->work_max / a->work_mean, (int)a->pushed_rows, (int)a->lent_rows);
            assert_true(a->work_max <= 1.05 * a->work_mean && a->work <= a->work_max);
            double most = a->work; // the maximum is someone's
            thaw_comm_max_f64(comm, &most, 1);
            assert_true(fabs(most - a->work_max) <= 1e-9 * most);
            assert_int_equal(problem_sum(comm, h->ptr[h->rows] + h->pushed.nnz), nnz);
            assert_int_equal(problem_sum(comm, h->rows - h->own_rows), a->lent_rows);
            assert_int_equal(problem_sum(comm, h->nlent), a->lent_rows);
            assert_int_equal(problem_sum(comm, h->pushed.nnz), a->pushed_nnz);
            assert_true(problem_sum(comm, a->nbytes) <= 8 * nnz + 100 * 3000 + 16 * 5000 * comm->size);
            thaw_half_free(&h);
            problem_close(&p);
        }
}

static void test_everyones_item_is_pushed(void **state) {
    (void)state;
    for (int solver = 0; solver < 2; solver++) {
        const struct thaw_als_config f = config((enum thaw_als_solver)solver);
        struct problem p = problem_new(heavy_length, 300, 8000, 16);
        struct thaw_half *h = half_new(&p, &f, THAW_EXCHANGE_HYBRID, false, NULL);
        const struct thaw_half_facts *a = thaw_half_facts(h);
        assert_int_equal(a->pushed_rows, comm->size > 1);
        assert_true(a->work_max <= 1.2 * a->work_mean);
        thaw_half_free(&h);
        h = half_new(&p, &f, THAW_EXCHANGE_PULL, false, NULL);
        a = thaw_half_facts(h);
        assert_int_equal(a->pushed_rows, 0);
        assert_true(comm->size < 4 || a->work_max > 1.2 * a->work_mean); // one rank has it all
        thaw_half_free(&h);
        problem_close(&p);
    }
}

// The threads of a rank share its long rows without that.
static void test_threads_share_long_rows(void **state) {
    (void)state;
    const struct thaw_als_config f = config(THAW_ALS_CG);
    struct problem p = problem_new(heavy_length, 300, 8000, 16);
    omp_set_num_threads(2);
    struct thaw_half *h = half_new(&p, &f, THAW_EXCHANGE_HYBRID, false, NULL);
    assert_int_equal(thaw_half_facts(h)->pushed_rows, comm->size > 1);
    thaw_half_free(&h);
    h = half_new(&p, &f, THAW_EXCHANGE_HYBRID, true, NULL);
    assert_int_equal(thaw_half_facts(h)->pushed_rows, 0);
    assert_int_equal(thaw_half_facts(h)->lent_rows, 0);
    thaw_half_free(&h);
    omp_set_num_threads(1);
    problem_close(&p);
}

// ---- Pieces of long rows ----

// Every row has one piece with each part that it touches, in one batch; batches are of at most `most` rows
// and lie in the order that the solver wants.
static void check_pieces(const struct thaw_pieces *p, int64_t rows, int64_t nnz, int64_t most, bool by_part) {
    int64_t sum = 0;
    assert_int_equal(thaw_pieces_closed(p), rows);
    for (int64_t b = 0; b < p->nbatches; b++) {
        const struct thaw_pieces_batch *at = &p->batch[b];
        assert_true(at[1].row > at[0].row && at[1].row - at[0].row <= most);
        for (int64_t i = at[0].piece; i < at[1].piece; i++) {
            const struct thaw_piece *x = &p->piece[i], *y = x + 1;
            sum += x->n;
            assert_true(x->n > 0 && x->row >= at[0].row && x->row < at[1].row);
            if (i + 1 == at[1].piece) continue;
            if (by_part)
                assert_true(x->part < y->part || (x->part == y->part && x->row < y->row));
            else
                assert_true(x->row < y->row || (x->row == y->row && x->part < y->part));
        }
    }
    assert_int_equal(p->nbatches ? p->batch[p->nbatches].piece : 0, p->n);
    assert_int_equal(sum, nnz);
}

static void test_pieces(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        const struct thaw_als_config f = config(i % 2 ? THAW_ALS_CG : THAW_ALS_CHOLESKY);
        const struct thaw_half_options o = {THAW_EXCHANGE_HYBRID, i % 4 < 2 ? 64 << 20 : 20000, false};
        struct problem p =
            i < 4 ? problem_new(zipf_length, 3000, 5000, 16) : problem_new(heavy_length, 300, 8000, 16);
        struct thaw_half *h = NULL;
        struct thaw_csr m;
        struct thaw_err err = THAW_ERR_INIT;
        int64_t nnz = 0;
        problem_csr(&p, comm, &m);
        problem_ok(thaw_half_new(&h, comm, &f, &m, &p.other, &o, &err), &err);
        for (int64_t row = 0; row < h->rows; row++) {
            const int64_t n = h->ptr[row + 1] - h->ptr[row];
            nnz += n >= thaw_long_least(&p.other) ? n : 0;
        }
        const int64_t pushed =
            problem_sum(comm, h->pushed.n); // a long row is pushed, or is one of its rank's
        assert_true(pushed + problem_sum(comm, h->nlong) > 0);
        assert_true(i < 4 || (pushed > 0) == (comm->size > 1));
        check_pieces(&h->pieces, h->nlong, nnz, thaw_long_batch_rows(&f, 1, o.exchange_bytes), i % 2);
        check_pieces(&h->pushed.pieces, h->pushed.n, h->pushed.nnz, h->pushed.batch_rows, i % 2);
        thaw_half_free(&h);
        problem_close(&p);
    }
}

// ---- Traffic ----

// Bytes that all ranks receive in a half-sweep.
static int64_t traffic(const struct problem *p, const struct thaw_als_config *f, enum thaw_exchange_mode mode,
                       int64_t *exchanged) {
    struct thaw_half *h = half_new(p, f, mode, false, NULL);
    struct thaw_window *window = NULL;
    struct thaw_als_sweep *s = NULL;
    struct thaw_sweep_stats stats = {0};
    struct thaw_err err = THAW_ERR_INIT;
    const int d = thaw_als_columns(f);
    double gramian[32 * 32] = {0};
    const int64_t begin = p->other.rank_row[comm->rank], end = p->other.rank_row[comm->rank + 1];
    float *other = problem_table(begin, end, d), *x = NULL;
    for (int i = 0; i < f->k; i++) gramian[i * f->k + i] = 100;
    assert_int_equal(thaw_alloc(&x, (size_t)(problem_rows(p, comm) * d), sizeof *x, "rows", NULL), 0);
    problem_ok(thaw_als_sweep_new(&s, f, p->others, 10, gramian, &err), &err);
    problem_ok(thaw_window_new(&window, comm, thaw_half_facts(h)->window_bytes, &err), &err);
    problem_ok(thaw_sweep(comm, s, h, window, "rows", problem_first(p, comm), other, x, NULL, &stats, &err),
               &err);
    *exchanged = thaw_half_facts(h)->exchange_rows * (int64_t)h->row_bytes;
    if (comm->rank == 0 && getenv("VERBOSE"))
        print_message("solver %d mode %d: %d pushed, %d lent, all %d\n", (int)f->solver, (int)mode,
                      (int)thaw_half_facts(h)->pushed_rows, (int)thaw_half_facts(h)->lent_rows,
                      thaw_half_facts(h)->allgather);
    thaw_half_free(&h);
    thaw_window_free(&window);
    thaw_als_sweep_free(&s);
    free(other);
    free(x);
    assert_int_equal(problem_sum(comm, stats.traffic.sent_bytes),
                     problem_sum(comm, stats.traffic.received_bytes));
    return problem_sum(comm, stats.traffic.received_bytes);
}

static void check_traffic(int64_t (*length)(int64_t), int64_t rows, int64_t others, const char *what) {
    for (int solver = 0; solver < 2; solver++) {
        const struct thaw_als_config f = config((enum thaw_als_solver)solver);
        struct problem p = problem_new(length, rows, others, 16);
        int64_t n[3], exchanged[3];
        for (int mode = 0; mode < 3; mode++)
            n[mode] = traffic(&p, &f, (enum thaw_exchange_mode)mode, &exchanged[mode]);
        if (comm->rank == 0 && getenv("VERBOSE"))
            print_message("%s, %s: hybrid %d (%d of rows), pull %d (%d), allgather %d (%d)\n", what,
                          solver ? "cg" : "cholesky", (int)n[0], (int)exchanged[0], (int)n[1],
                          (int)exchanged[1], (int)n[2], (int)exchanged[2]);
        if (comm->nnodes > 1 || comm->size == 1) {
            assert_true(n[0] <= n[1] && n[0] <= n[2]);
            assert_true(comm->size == 1 || n[0] > 0);
        } else if (comm->nnodes == 1) {
            assert_true(exchanged[0] == 0 && exchanged[1] == 0 && exchanged[2] == 0);
        }
        problem_close(&p);
    }
}

static void test_traffic_dense(void **state) {
    (void)state;
    check_traffic(dense_length, 400, 600, "dense");
}

static void test_traffic_sparse(void **state) {
    (void)state;
    check_traffic(sparse_length, 3000, 6000, "sparse");
}

static void test_traffic_heavy(void **state) {
    (void)state;
    check_traffic(heavy_length, 300, 8000, "one heavy row");
}

// ---- Edges ----

// Ranks without parts, sides without interactions or rows.
static void test_nothing(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        const struct thaw_als_config f = config(THAW_ALS_CG);
        struct problem p = problem_new(i == 1 ? heavy_length : no_length, i == 2 ? 0 : 30, 9000, 2);
        int64_t exchanged;
        for (int mode = 0; mode < 2; mode++) {
            const int64_t n = traffic(&p, &f, (enum thaw_exchange_mode)mode, &exchanged);
            assert_true(i == 1 || n == 0);
        }
        problem_close(&p);
    }
}

static void test_allgather_without_room(void **state) {
    (void)state;
    const struct thaw_als_config f = config(THAW_ALS_CG);
    const struct thaw_half_options o = {THAW_EXCHANGE_ALLGATHER, 8192, false};
    struct problem p = problem_new(dense_length, 400, 600, 16);
    struct thaw_half *h = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_csr m;
    problem_csr(&p, comm, &m);
    const int code = thaw_half_new(&h, comm, &f, &m, &p.other, &o, &err);
    assert_int_equal(code, comm->nnodes > 1 ? THAW_EUSAGE : THAW_OK);
    assert_true(m.ptr == NULL && m.index == NULL && m.value == NULL);
    assert_true((h == NULL) == (code != 0));
    thaw_half_free(&h);
    problem_close(&p);
}

static void test_csr(void **state) {
    (void)state;
    const int64_t index[] = {3, 5, 9};
    const float r[] = {1, 2, 3};
    struct thaw_csr m;
    assert_int_equal(thaw_csr_new(&m, 0, 0, NULL), 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(thaw_csr_add(&m, index, r, i % 4, NULL), 0);
        if (i % 2) assert_int_equal(thaw_csr_extend(&m, index, r, 1, NULL), 0);
    }
    assert_int_equal(m.nrows, 100);
    for (int i = 0; i < 100; i++) assert_int_equal(m.ptr[i + 1] - m.ptr[i], i % 4 + i % 2);
    assert_true(m.index[m.ptr[3]] == 3 && m.index[m.ptr[3] + 2] == 9 && m.value[m.ptr[3] + 3] == 1);
    thaw_csr_clear(&m);
    assert_null(m.ptr);
}

int main(void) {
    setenv("THAW_LONG_ROWS", "1024", 1); // small logs, too, have long rows
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csr),
        cmocka_unit_test(test_work_is_even),
        cmocka_unit_test(test_everyones_item_is_pushed),
        cmocka_unit_test(test_threads_share_long_rows),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_traffic_dense),
        cmocka_unit_test(test_traffic_sparse),
        cmocka_unit_test(test_traffic_heavy),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_allgather_without_room),
    };
    struct thaw_err err = THAW_ERR_INIT;
    thaw_blas_begin();
    if (thaw_comm_begin(&comm, &err)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
