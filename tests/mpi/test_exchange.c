// test_exchange.c: every wanted row arrives at its place in its round, bit for bit; what is moved is counted.
// with: THAW_NODE_RANKS=1
// with: THAW_NODE_RANKS=2
// with: THAW_NODE_RANKS=1 THAW_MPI_COUNT_MAX=100
#include "comm/exchange.h"
#include "comm/handle.h"
#include "comm/window.h"
#include "tests/mpi/problem.h"

enum { ROWS = 900, PARTS = 7, ROW_BYTES = 64 };

static struct thaw_comm *comm;

// ---- What ranks want, as every rank knows it ----

static int node_of(int rank) {
    int k = 0;
    while (comm->node_first[k + 1] <= rank) k++;
    return k;
}

static bool is_remote(const struct thaw_plan *plan, int rank, int64_t row) {
    const int k = node_of(rank);
    return row < plan->rank_row[comm->node_first[k]] || row >= plan->rank_row[comm->node_first[k + 1]];
}

struct choice {
    double share; // of all rows that a rank wants
    int64_t nchunks;
    bool stream;
};

// Chunks of a rank: the last rank has fewer; rank 1 wants nothing in chunk 1.
static int64_t chunks_of(const struct choice *c, int rank) {
    return c->nchunks > 2 && rank == comm->size - 1 ? c->nchunks - 2 : c->nchunks;
}

static bool wants_in(const struct choice *c, int rank, int64_t chunk, int64_t row) {
    struct thaw_rng rng = thaw_rng_at(8, 90 + (uint32_t)rank, (uint64_t)(chunk * ROWS + row));
    if (chunk >= chunks_of(c, rank) || (rank == 1 && chunk == 1)) return false;
    return thaw_rng_uniform(&rng) < c->share;
}

// The first chunk that wants the row; -1: none.
static int64_t first_chunk(const struct choice *c, int rank, int64_t row) {
    for (int64_t q = 0; q < c->nchunks; q++)
        if (wants_in(c, rank, q, row)) return q;
    return -1;
}

static struct thaw_wants wants_new(const struct choice *c, const struct thaw_plan *plan, int rank) {
    struct thaw_wants w = {.nchunks = chunks_of(c, rank), .stream = c->stream};
    w.row = malloc((size_t)(ROWS * c->nchunks) * sizeof *w.row);
    w.chunk_end = malloc((size_t)c->nchunks * sizeof *w.chunk_end);
    for (int64_t q = 0; q < w.nchunks; q++) {
        for (int64_t i = ROWS; i-- > 0;) // in no particular order: backwards
            if (is_remote(plan, rank, i) &&
                (c->stream ? wants_in(c, rank, q, i) : first_chunk(c, rank, i) == q))
                w.row[w.n++] = i;
        w.chunk_end[q] = w.n;
    }
    return w;
}

static void wants_clear(struct thaw_wants *w) {
    free(w->row);
    free(w->chunk_end);
}

// Rows that all nodes together have to get: once per node, or once per node and round.
static int64_t rows_to_move(const struct choice *c, const struct thaw_plan *plan) {
    int64_t n = 0;
    for (int k = 0; k < comm->nnodes; k++)
        for (int64_t row = 0; row < ROWS; row++) {
            int64_t times = 0;
            for (int64_t q = 0; q < c->nchunks; q++) {
                bool wanted = false;
                for (int r = comm->node_first[k]; r < comm->node_first[k + 1]; r++)
                    wanted = wanted || (is_remote(plan, r, row) && wants_in(c, r, q, row));
                times += wanted;
            }
            n += c->stream ? times : times > 0;
        }
    return n;
}

static int64_t rows_elsewhere(const struct thaw_plan *plan) {
    int64_t n = 0;
    for (int k = 0; k < comm->nnodes; k++)
        n += ROWS - (plan->rank_row[comm->node_first[k + 1]] - plan->rank_row[comm->node_first[k]]);
    return n;
}

// ---- Half-sweeps ----

static void row_content(int64_t row, int sweep, unsigned char *to) {
    for (int i = 0; i < ROW_BYTES; i++)
        to[i] = (unsigned char)(row * 7 + row / 256 + 31 * sweep + i * (row % 5 + 1));
}

// Rows of chunk q lie where the plan says.
static void check_chunk(const struct thaw_wants *w, const uint32_t *place, const char *window, int64_t q,
                        int sweep) {
    unsigned char want[ROW_BYTES];
    for (int64_t i = q ? w->chunk_end[q - 1] : 0; i < w->chunk_end[q]; i++) {
        row_content(w->row[i], sweep, want);
        assert_memory_equal(window + (size_t)place[i] * ROW_BYTES, want, ROW_BYTES);
    }
}

// As a half-sweep does it: the next round is under way while a chunk is used.
static void half_sweep(struct thaw_exchange *e, struct thaw_window *window, const struct thaw_plan *plan,
                       const struct thaw_wants *w, const uint32_t *place, int sweep, struct thaw_traffic *t) {
    char *bytes = thaw_window_bytes(window);
    const int64_t rounds = thaw_exchange_rounds(e),
                  begin = plan->rank_row[comm->node_first[comm->node_number]];
    for (int64_t row = plan->rank_row[comm->rank]; row < plan->rank_row[comm->rank + 1]; row++)
        row_content(row, sweep, (unsigned char *)bytes + (row - begin) * ROW_BYTES);
    thaw_window_sync(window);
    thaw_exchange_start(e, 0, bytes, t);
    for (int64_t q = 0; q < rounds; q++) {
        thaw_exchange_wait(e, q);
        thaw_window_sync(window);
        if (q + 1 < rounds) thaw_exchange_start(e, q + 1, bytes, t);
        thaw_exchange_poke(e);
        if (q < w->nchunks) check_chunk(w, place, bytes, q, sweep);
    }
    for (int64_t q = 0; !w->stream && q < w->nchunks; q++) check_chunk(w, place, bytes, q, sweep);
    thaw_comm_barrier(comm);
}

static struct thaw_plan plan_new(bool uneven) {
    const struct problem p = {.nparts = PARTS, .uneven = uneven};
    return problem_plan(&p, ROWS, false, comm->size);
}

static void check(const struct choice *c, enum thaw_exchange_mode mode, bool uneven) {
    struct thaw_plan plan = plan_new(uneven);
    struct thaw_wants w = wants_new(c, &plan, comm->rank);
    struct thaw_exchange *e = NULL;
    struct thaw_window *window = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_traffic t = {0};
    uint32_t *place = malloc((size_t)(w.n + 1) * sizeof *place);
    problem_ok(thaw_exchange_new(&e, comm, &plan, ROW_BYTES, &w, mode, 1 << 20, place, &err), &err);
    problem_ok(thaw_window_new(&window, comm, thaw_exchange_window_rows(e) * ROW_BYTES, &err), &err);
    const int64_t pulled = rows_to_move(c, &plan), gathered = rows_elsewhere(&plan);
    const bool all = thaw_exchange_gathers_all(e);
    assert_true(mode == THAW_EXCHANGE_HYBRID || all == (mode == THAW_EXCHANGE_ALLGATHER));
    assert_int_equal(thaw_exchange_rows_moved(e), all ? gathered : pulled);
    if (mode == THAW_EXCHANGE_HYBRID)
        assert_true(thaw_exchange_rows_moved(e) <= (pulled < gathered ? pulled : gathered));
    int64_t most = w.nchunks;
    thaw_comm_max_i64(comm, &most, 1);
    assert_int_equal(thaw_exchange_rounds(e), most);
    for (int sweep = 0; sweep < 2; sweep++) half_sweep(e, window, &plan, &w, place, sweep, &t);
    assert_int_equal(problem_sum(comm, t.received_bytes), 2 * ROW_BYTES * (all ? gathered : pulled));
    assert_int_equal(problem_sum(comm, t.sent_bytes), problem_sum(comm, t.received_bytes));
    assert_true(problem_sum(comm, t.messages) >= (comm->nnodes > 1 && pulled > 0));
    assert_true(thaw_exchange_nbytes(e) >= 0 && thaw_exchange_nbytes(e) < 1 << 20);
    thaw_exchange_free(&e);
    thaw_window_free(&window);
    wants_clear(&w);
    thaw_plan_clear(&plan);
    free(place);
}

static void test_rows_arrive(void **state) {
    (void)state;
    static const struct choice choices[] = {{0.1, 1, false},  {0.1, 5, false}, {0.3, 4, true},
                                            {0.97, 1, false}, {1, 3, false},   {1, 3, true},
                                            {0, 2, false}};
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++)
        for (int mode = 0; mode < 3; mode++)
            check(&choices[i], (enum thaw_exchange_mode)mode, (i + (size_t)mode) % 2);
}

// The hybrid takes an allgather when every row is wanted everywhere, and not when few are.
static void test_hybrid_gathers(void **state) {
    (void)state;
    for (int dense = 0; dense < 2; dense++) {
        const struct choice c = {dense ? 1 : 0.2, 1, false};
        struct thaw_plan plan = plan_new(true);
        struct thaw_wants w = wants_new(&c, &plan, comm->rank);
        uint32_t *place = malloc((size_t)(w.n + 1) * sizeof *place);
        struct thaw_exchange *e = NULL;
        assert_int_equal(
            thaw_exchange_new(&e, comm, &plan, ROW_BYTES, &w, THAW_EXCHANGE_HYBRID, 1 << 20, place, NULL), 0);
        assert_int_equal(thaw_exchange_gathers_all(e), dense && comm->nnodes > 1);
        thaw_exchange_free(&e);
        // Not when there is no room for it.
        assert_int_equal(
            thaw_exchange_new(&e, comm, &plan, ROW_BYTES, &w, THAW_EXCHANGE_HYBRID, 4096, place, NULL), 0);
        assert_false(thaw_exchange_gathers_all(e));
        thaw_exchange_free(&e);
        wants_clear(&w);
        thaw_plan_clear(&plan);
        free(place);
    }
}

static void test_allgather_without_room(void **state) {
    (void)state;
    const struct choice c = {0.2, 1, false};
    struct thaw_plan plan = plan_new(true);
    struct thaw_wants w = wants_new(&c, &plan, comm->rank);
    uint32_t *place = malloc((size_t)(w.n + 1) * sizeof *place);
    struct thaw_exchange *e = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    const int code =
        thaw_exchange_new(&e, comm, &plan, ROW_BYTES, &w, THAW_EXCHANGE_ALLGATHER, 4096, place, &err);
    assert_int_equal(code, comm->nnodes > 1 ? THAW_EUSAGE : THAW_OK);
    if (code) assert_non_null(strstr(err.text, "--exchange-bytes"));
    thaw_exchange_free(&e);
    wants_clear(&w);
    thaw_plan_clear(&plan);
    free(place);
}

// What one rank of a node writes, the others read.
static void test_window(void **state) {
    (void)state;
    struct thaw_window *w = NULL;
    const size_t n = 5000;
    assert_int_equal(thaw_window_new(&w, comm, (int64_t)(n * sizeof(int)) * comm->node_size, NULL), 0);
    int *x = thaw_window_bytes(w);
    assert_int_equal((uintptr_t)x % 64, 0);
    for (int turn = 0; turn < 3; turn++) {
        for (size_t i = 0; i < n; i++) x[(size_t)comm->node_rank * n + i] = (int)i + comm->rank + turn;
        thaw_window_sync(w);
        for (int r = 0; r < comm->node_size; r++)
            for (size_t i = 0; i < n; i++)
                assert_true(x[(size_t)r * n + i] == (int)i + comm->rank - comm->node_rank + r + turn);
        thaw_window_sync(w);
    }
    thaw_window_free(&w);
    assert_null(w);
    assert_int_equal(thaw_window_new(&w, comm, 0, NULL), 0);
    thaw_window_free(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_arrive),
        cmocka_unit_test(test_hybrid_gathers),
        cmocka_unit_test(test_allgather_without_room),
        cmocka_unit_test(test_window),
    };
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    thaw_comm_end(&comm);
    return failed;
}
