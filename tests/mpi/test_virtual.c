// test_virtual.c: training with virtual interactions is training with the same events written by hand: the
// same bytes, on any cut. Weight 0 is none. Files that do not fit are refused.
// with: THAW_NODE_RANKS=1
#include "base/hash.h"
#include "comm/fit.h"
#include "comm/model.h"
#include "jobs/job.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

enum { K = 6, EXTRA = 9, HELD = 4 };
static const double WEIGHT = 0.5;

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX], data[THAW_PATH_MAX], hand[THAW_PATH_MAX], made[THAW_PATH_MAX];
static uint64_t held_ids[HELD];

static bool is_held(int64_t user) {
    return user % 30 == 3; // 3, 33, 63, 93
}

// Weight of a virtual interaction, in quarters; 0: none. Some are of pairs that are real.
static float weight_of(int64_t user, int64_t item) {
    struct thaw_rng rng = thaw_rng_at(12, 403, (uint64_t)(user * TINY_ITEMS + item));
    const double share = user >= TINY_USERS ? 0.04 : user % 3 == 0 ? 0 : 0.03;
    return thaw_rng_uniform(&rng) < share ? (float)(1 + thaw_rng_below(&rng, 4)) / 4 : 0;
}

static float by_hand(int64_t user, int64_t item) {
    const float real = user < TINY_USERS ? tiny_value(user, item) : 0;
    if (real != 0 || (user < TINY_USERS && is_held(user))) return real;
    return (float)(WEIGHT * weight_of(user, item));
}

// ---- Files ----

// Extra users of a part: all in the last one, or spread.
static int64_t extra_of(int32_t part, bool spread) {
    if (!spread) return part == TINY_PARTS - 1 ? EXTRA : 0;
    return part == 0 ? 4 : part == 2 ? 3 : part == 5 ? 2 : 0;
}

static void put_part(enum thaw_virtual_kind kind, int32_t part, int64_t first, int64_t nrows, Thaw__File *f,
                     float scale) {
    static int64_t indptr[TINY_USERS + 1];
    static uint32_t indices[TINY_USERS * TINY_ITEMS];
    static float weights[TINY_USERS * TINY_ITEMS];
    static char names[4 * TINY_PARTS][THAW_PART_FILE];
    static int used;
    struct thaw_file_info info;
    int64_t n = 0;
    for (int64_t row = 0; row < nrows; row++) {
        for (int64_t item = 0; item < TINY_ITEMS; item++) {
            if (weight_of(first + row, item) == 0) continue;
            indices[n] = (uint32_t)item;
            weights[n++] = scale * weight_of(first + row, item);
        }
        indptr[row + 1] = n;
    }
    const struct thaw_virtual_rows rows = {nrows, indptr, indices, weights};
    assert_int_equal(thaw_virtual_part_write(made, kind, part, TINY_PARTS, &rows, &info, NULL), 0);
    thaw__file__init(f);
    f->name = thaw_virtual_file(names[used++ % (4 * TINY_PARTS)], kind, part, TINY_PARTS);
    f->nbytes = info.nbytes;
    f->sums = info.sums;
    f->n_sums = (size_t)info.nsums;
}

// Collective. The folder `made` anew. scale: of the weights.
static void write_made(uint64_t digest, bool spread, float scale) {
    Thaw__Virtual m = THAW__VIRTUAL__INIT;
    Thaw__File file[2 * TINY_PARTS], *list[2 * TINY_PARTS];
    int64_t rows[TINY_PARTS], extra[TINY_PARTS], next = TINY_USERS;
    thaw_comm_barrier(comm);
    if (thaw_comm_rank(comm) == 0) {
        assert_int_equal(thaw_dir_remove(made, NULL), 0);
        assert_int_equal(thaw_dir_make(made, NULL), 0);
        for (int32_t p = 0; p < TINY_PARTS; p++) {
            rows[p] = tiny_first(THAW_USERS, p + 1) - tiny_first(THAW_USERS, p);
            extra[p] = extra_of(p, spread);
            put_part(THAW_VIRTUAL_USERS, p, tiny_first(THAW_USERS, p), rows[p], list[p] = &file[p], scale);
            list[TINY_PARTS + p] = &file[TINY_PARTS + p];
            put_part(THAW_VIRTUAL_EXTRA, p, next, extra[p], &file[TINY_PARTS + p], scale);
            next += extra[p];
        }
        m.format = 1;
        m.dataset_digest = digest;
        m.items = TINY_ITEMS;
        m.part_rows = rows;
        m.extra_rows = extra;
        m.n_part_rows = m.n_extra_rows = TINY_PARTS;
        m.files = list;
        m.n_files = 2 * TINY_PARTS;
        assert_int_equal(thaw_pack_write(made, "manifest.pb", &m.base, NULL), 0);
        for (int i = 0; i < 2 * TINY_PARTS; i++) free(file[i].sums);
    }
    thaw_comm_barrier(comm);
}

// ---- Training ----

static Thaw__Als als_new(void) {
    Thaw__Als als = tiny_als(THAW__ALS__MODEL__IMPLICIT_RENDLE, K);
    als.holdout_ids = held_ids;
    als.n_holdout_ids = HELD;
    return als;
}

struct trained {
    float *items; // all
    float *users; // real ones, all
    double objective;
    int64_t nnz, virtual, extra;
};

static float *gather(const float *rows, int64_t n) {
    void *all = NULL;
    int64_t total;
    assert_int_equal(thaw_comm_gather(comm, rows, n * K * (int64_t)sizeof *rows, -1, &all, &total, NULL), 0);
    return all;
}

static struct trained train(const char *dir, enum thaw_als_solver solver, bool virtual, bool extra) {
    const Thaw__Als als = als_new();
    const struct thaw_half_options o = {.exchange_bytes = 1 << 16};
    const struct thaw_als_config one = thaw_als_config_of(&als, solver, THAW_ALS_F32, 3, 1e-3),
                                 config[2] = {one, one};
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_dataset *d = NULL;
    struct thaw_virtual *v = NULL;
    struct thaw_interactions in;
    struct thaw_fit *fit = NULL;
    assert_int_equal(thaw_dataset_open(&d, dir, NULL), 0);
    if (virtual) problem_ok(thaw_virtual_open(&v, made, d, &err), &err);
    const struct thaw_virtual_wish wish = {v, WEIGHT, extra};
    problem_ok(thaw_interactions_load_with(&in, comm, d, &als, config, &o, &wish, &err), &err);
    problem_ok(thaw_fit_new(&fit, comm, config, &in, 3, &err), &err);
    problem_ok(thaw_fit_begin(fit, &err), &err);
    for (int i = 0; i < 2; i++) problem_ok(thaw_fit_iterate(fit, &err), &err);
    problem_ok(thaw_fit_fold_in(fit, &err), &err);
    const int64_t real = in.real.rank_row[thaw_comm_rank(comm) + 1] - in.real.rank_row[thaw_comm_rank(comm)];
    float *packed = malloc((size_t)(in.rows[THAW_USERS] * K) * sizeof *packed + 1);
    thaw_interactions_pack(&in, K, fit->rows[THAW_USERS], packed);
    struct trained t = {.items = gather(fit->rows[THAW_ITEMS], in.rows[THAW_ITEMS]),
                        .users = gather(packed, real),
                        .objective = fit->objective,
                        .nnz = in.nnz,
                        .virtual = in.virtual,
                        .extra = in.extra};
    free(packed);
    thaw_fit_free(&fit);
    thaw_interactions_clear(&in);
    thaw_virtual_close(&v);
    thaw_dataset_close(&d);
    return t;
}

static void trained_free(struct trained *t) {
    free(t->items);
    free(t->users);
}

// The dataset with the events by hand, with `users` of them.
static void write_hand(int64_t users) {
    thaw_comm_barrier(comm);
    if (thaw_comm_rank(comm) == 0) {
        tiny_users = users;
        tiny_pair = by_hand;
        assert_int_equal(thaw_dir_remove(hand, NULL), 0);
        assert_int_equal(tiny_write(hand), 0);
        tiny_users = TINY_USERS;
        tiny_pair = tiny_value;
    }
    thaw_comm_barrier(comm);
}

static uint64_t data_digest(void) {
    struct thaw_dataset *d = NULL;
    assert_int_equal(thaw_dataset_open(&d, data, NULL), 0);
    const uint64_t digest = d->digest;
    thaw_dataset_close(&d);
    return digest;
}

static void compare(const struct trained *a, const struct trained *b) {
    assert_int_equal(a->nnz, b->nnz);
    assert_true(a->objective == b->objective);
    assert_memory_equal(a->items, b->items, TINY_ITEMS * K * sizeof(float));
    assert_memory_equal(a->users, b->users, TINY_USERS * K * sizeof(float));
}

static void test_interactions(void **state) {
    (void)state;
    write_made(data_digest(), false, 1);
    write_hand(TINY_USERS);
    for (int solver = 0; solver < 2; solver++) {
        struct trained a = train(data, (enum thaw_als_solver)solver, true, false),
                       b = train(hand, (enum thaw_als_solver)solver, false, false),
                       none = train(data, (enum thaw_als_solver)solver, false, false);
        assert_true(a.virtual > 1000 && a.nnz == none.nnz + a.virtual && a.extra == 0);
        compare(&a, &b);
        assert_memory_not_equal(a.items, none.items, TINY_ITEMS * K * sizeof(float));
        trained_free(&a);
        trained_free(&b);
        trained_free(&none);
    }
}

// Virtual users of the last part stand where real ones would.
static void test_users(void **state) {
    (void)state;
    write_made(data_digest(), false, 1);
    write_hand(TINY_USERS + EXTRA);
    struct trained a = train(data, THAW_ALS_CHOLESKY, true, true),
                   b = train(hand, THAW_ALS_CHOLESKY, false, false);
    assert_int_equal(a.extra, EXTRA);
    compare(&a, &b);
    // Spread over parts they are the same users, in another order.
    write_made(data_digest(), true, 1);
    struct trained s = train(data, THAW_ALS_CHOLESKY, true, true);
    assert_int_equal(s.nnz, b.nnz);
    assert_true(fabs(s.objective / b.objective - 1) < 1e-6);
    for (int i = 0; i < TINY_ITEMS * K; i++)
        if (fabsf(s.items[i] - b.items[i]) > 2e-4f)
            fail_msg("item factor %d: %g, %g", i, s.items[i], b.items[i]);
    trained_free(&a);
    trained_free(&b);
    trained_free(&s);
}

// ---- The job ----

static int job(const char *out, const char *iterations, const char *weight, bool users, const char *more) {
    char *words[24] = {"--data",          data,
                       "--out",           (char *)(uintptr_t)out,
                       "--iterations",    (char *)(uintptr_t)iterations,
                       "--factors",       "6",
                       "--solver",        "cg",
                       "--holdout-users", "0.2",
                       "--quality-every", "1",
                       "--quality-known", "2"};
    int n = 16;
    if (weight) {
        char *virtual[] = {"--virtual", made, "--virtual-weight", (char *)(uintptr_t)weight};
        memcpy(words + n, virtual, sizeof virtual);
        n += 4;
    }
    if (users) words[n++] = "--virtual-users";
    if (more) words[n++] = (char *)(uintptr_t)more;
    const struct thaw_cmd *cmd = thaw_job_train.cmd;
    struct thaw_job_ctx ctx = {.comm = comm, .argc = n, .argv = words, .threads = 1};
    struct thaw_list operands = {0};
    struct thaw_err err = THAW_ERR_INIT;
    void *options = calloc(1, cmd->size);
    bool help;
    int code = thaw_opt_parse(cmd, n, words, options, &operands, &help, &err);
    if (!code) code = thaw_job_train.run(&ctx, options, &operands, &err);
    thaw_opt_clear(cmd, options, &operands);
    free(options);
    thaw_comm_barrier(comm);
    return code;
}

static uint64_t digest_of(const char *out) {
    char note[256];
    struct thaw_model *m = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    problem_ok(thaw_model_open(&m, comm, out, true, note, &err), &err);
    const uint64_t digest = m->digest; // covers the checksums of all files
    assert_int_equal(m->manifest->users->part_rows[0], tiny_first(THAW_USERS, 1));
    thaw_model_close(&m);
    return digest;
}

static void path_in(char path[THAW_PATH_MAX], const char *name) {
    assert_int_equal(thaw_path_join(path, folder, name, NULL), 0);
}

static void test_job(void **state) {
    char none[THAW_PATH_MAX], zero[THAW_PATH_MAX], straight[THAW_PATH_MAX], resumed[THAW_PATH_MAX];
    (void)state;
    path_in(none, "none");
    path_in(zero, "zero");
    path_in(straight, "straight");
    path_in(resumed, "resumed");
    write_made(data_digest(), true, 1);
    assert_int_equal(job(none, "2", NULL, false, NULL), 0);
    assert_int_equal(job(zero, "2", "0", true, NULL), 0);
    assert_true(digest_of(none) == digest_of(zero));
    assert_int_equal(job(straight, "3", "0.5", true, NULL), 0);
    assert_int_equal(job(resumed, "1", "0.5", true, NULL), 0);
    assert_true(digest_of(resumed) != digest_of(straight));
    assert_int_equal(job(resumed, "3", "0.5", true, NULL), 0);
    assert_true(digest_of(resumed) == digest_of(straight));
    assert_true(digest_of(straight) != digest_of(none));
    // Another weight, or no users, is another training.
    assert_int_equal(job(resumed, "4", "0.25", true, NULL), THAW_EUSAGE);
    assert_int_equal(job(resumed, "4", "0.5", false, NULL), THAW_EUSAGE);
    assert_int_equal(job(zero, "4", "0.5", false, "--model=explicit"), THAW_EUSAGE);
}

static void test_refused(void **state) {
    struct thaw_virtual *v = NULL;
    struct thaw_dataset *d = NULL;
    const Thaw__Als als = als_new();
    const struct thaw_half_options o = {.exchange_bytes = 1 << 16};
    const struct thaw_als_config one = thaw_als_config_of(&als, THAW_ALS_CG, THAW_ALS_F32, 3, 1e-3),
                                 config[2] = {one, one};
    struct thaw_interactions in;
    (void)state;
    assert_int_equal(thaw_dataset_open(&d, data, NULL), 0);
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_virtual_open(&v, folder, d, &err), THAW_ENOINPUT);
    write_made(data_digest() + 1, false, 1);
    assert_int_equal(thaw_virtual_open(&v, made, d, NULL), THAW_EDATA);
    write_made(data_digest(), false, 2); // weights up to 2
    assert_int_equal(thaw_virtual_open(&v, made, d, NULL), 0);
    const struct thaw_virtual_wish wish = {v, WEIGHT, true};
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_interactions_load_with(&in, comm, d, &als, config, &o, &wish, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "wrong item or weight"));
    thaw_virtual_close(&v);
    thaw_dataset_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_interactions), cmocka_unit_test(test_users),
                                       cmocka_unit_test(test_job), cmocka_unit_test(test_refused)};
    struct thaw_err err = THAW_ERR_INIT;
    setenv("THAW_LONG_ROWS", "1024", 1);
    thaw_blas_begin();
    if (thaw_comm_begin(&comm, &err)) return 1;
    tiny_folder(comm, folder);
    path_in(data, "data");
    path_in(hand, "hand");
    path_in(made, "made");
    for (int i = 0; i < HELD; i++) {
        char id[TINY_WIDTH];
        tiny_id(id, THAW_USERS, 30 * i + 3);
        held_ids[i] = thaw_hash_id(id, strlen(id));
    }
    for (int i = 0; i < HELD; i++) // rising, as in a manifest
        for (int j = 0; j < i; j++)
            if (held_ids[j] > held_ids[i]) {
                const uint64_t x = held_ids[i];
                held_ids[i] = held_ids[j];
                held_ids[j] = x;
            }
    int failed = thaw_comm_rank(comm) == 0 ? tiny_write(data) : 0;
    failed = thaw_comm_agree(comm, failed, &err);
    if (!failed) failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
