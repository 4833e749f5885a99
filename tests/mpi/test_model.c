// test_model.c: models survive a round trip over any cut, damage, and interrupted writes.
#include "comm/model.h"
#include "tests/mpi/tiny.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

enum { PARTS = 5, K = 3 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX], out[THAW_PATH_MAX];

static const int64_t part_rows[2][PARTS] = {{7, 0, 2, 5, 1}, {1, 1, 9, 0, 4}};

static struct thaw_plan plan_new(int side, bool skew) {
    const int64_t work[PARTS] = {0, 0, 0, 0, 9};
    struct thaw_plan plan;
    assert_int_equal(
        thaw_plan_new(&plan, PARTS, part_rows[side], skew ? work : NULL, thaw_comm_size(comm), NULL), 0);
    return plan;
}

static float value_of(int number, int side, int64_t at) {
    return (float)(number * 1000 + side * 500) + (float)at;
}

static void save_beside(int number, int before, bool finished) {
    Thaw__Model m = THAW__MODEL__INIT;
    Thaw__Als als = THAW__ALS__INIT;
    Thaw__Side sides[2] = {THAW__SIDE__INIT, THAW__SIDE__INIT};
    struct thaw_plan plan[2];
    float *rows[2];
    struct thaw_err err = THAW_ERR_INIT;
    const int rank = thaw_comm_rank(comm);
    als.factors = K;
    m.format = 1;
    m.als = &als;
    m.users = &sides[0];
    m.items = &sides[1];
    m.finished = finished;
    for (int side = 0; side < 2; side++) {
        sides[side].part_rows = (int64_t *)(uintptr_t)part_rows[side];
        sides[side].n_part_rows = PARTS;
        plan[side] = plan_new(side, false);
        const int64_t first = plan[side].rank_row[rank] * K, n = plan[side].rank_row[rank + 1] * K - first;
        rows[side] = malloc((size_t)(n + 1) * sizeof(float));
        for (int64_t i = 0; i < n; i++) rows[side][i] = value_of(number, side, first + i);
    }
    assert_int_equal(
        thaw_model_save(comm, out, number, before, &m, plan, (const float *const *)rows, NULL, &err), 0);
    assert_true(m.n_files == 0);
    for (int side = 0; side < 2; side++) {
        thaw_plan_clear(&plan[side]);
        free(rows[side]);
    }
}

static void save(int number, bool finished) {
    save_beside(number, -1, finished);
}

// The model in `out` is version `number` and has its values, read on another cut.
static void check(int number, bool noted) {
    struct thaw_model *m = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    char note[256], name[32];
    const int code = thaw_model_open(&m, comm, out, true, note, &err);
    if (code) print_error("%s\n", err.text);
    assert_int_equal(code, 0);
    snprintf(name, sizeof name, "iteration-%06d", number);
    assert_non_null(strstr(m->dir, name));
    assert_int_equal(note[0] != 0, noted);
    assert_int_equal(thaw_model_columns(m), K);
    for (int side = 0; side < 2; side++) {
        struct thaw_plan plan = plan_new(side, true);
        const int rank = thaw_comm_rank(comm);
        const int64_t first = plan.rank_row[rank] * K, n = plan.rank_row[rank + 1] * K - first;
        float *rows = malloc((size_t)(n + 1) * sizeof *rows);
        assert_int_equal(thaw_model_load(m, comm, (enum thaw_side)side, &plan, rows, NULL), 0);
        for (int64_t i = 0; i < n; i++) assert_true(rows[i] == value_of(number, side, first + i));
        thaw_plan_clear(&plan);
        free(rows);
    }
    thaw_model_close(&m);
    assert_null(m);
}

static bool exists(const char *name) {
    char path[THAW_PATH_MAX];
    thaw_comm_barrier(comm);
    assert_int_equal(thaw_path_join(path, out, name, NULL), 0);
    return thaw_path_exists(path);
}

// Rank 0 flips a bit at `at` from the file's end, or cuts the file there.
static void damage(const char *name, long at, bool cut) {
    char path[THAW_PATH_MAX];
    thaw_comm_barrier(comm);
    if (thaw_comm_rank(comm) == 0) {
        assert_int_equal(thaw_path_join(path, out, name, NULL), 0);
        FILE *f = fopen(path, "r+");
        assert_non_null(f);
        fseek(f, -at, SEEK_END);
        const long place = ftell(f);
        const int byte = fgetc(f);
        fseek(f, place, SEEK_SET);
        fputc(byte ^ 1, f);
        fclose(f);
        if (cut) assert_int_equal(truncate(path, place), 0);
    }
    thaw_comm_barrier(comm);
}

static int setup(void **state) {
    (void)state;
    thaw_comm_barrier(comm);
    return thaw_model_prune(comm, out, -1, NULL);
}

static void test_absent(void **state) {
    (void)state;
    struct thaw_model *m = NULL;
    char note[256];
    assert_int_equal(thaw_model_open(&m, comm, out, true, note, NULL), THAW_ENOINPUT);
    assert_int_equal(thaw_model_open(&m, comm, "/nowhere/at/all", true, note, NULL), THAW_ENOINPUT);
}

static void test_round_trip(void **state) {
    (void)state;
    save(2, false);
    check(2, false);
    save(4, false);
    save(6, true);
    check(6, false);
    assert_true(exists("iteration-000004") && !exists("iteration-000002") && exists("current"));
    save(6, false); // again: replaced
    check(6, false);
    assert_true(exists("iteration-000004") && !exists("iteration-000006.old") &&
                !exists("iteration-000006.tmp"));
}

// A checkpoint can have another version beside it than the one before; each version opens by its number.
static void test_chosen_company(void **state) {
    (void)state;
    struct thaw_model *m = NULL;
    struct thaw_err err = THAW_ERR_INIT;
    save(2, false);
    save_beside(4, 2, false);
    save_beside(6, 2, false);
    assert_true(exists("iteration-000002") && !exists("iteration-000004") && exists("iteration-000006"));
    check(6, false);
    assert_int_equal(thaw_model_open_version(&m, comm, out, 2, true, &err), 0);
    assert_non_null(strstr(m->dir, "iteration-000002"));
    thaw_model_close(&m);
    assert_int_equal(thaw_model_open_version(&m, comm, out, 4, true, &err), THAW_ENOINPUT);
    assert_null(m);
    save(2, true); // an older one is published: newer ones go
    assert_true(exists("iteration-000002") && !exists("iteration-000006"));
    check(2, false);
}

static void test_damaged_newest(void **state) {
    (void)state;
    save(1, false);
    save(2, false);
    damage("iteration-000002/items-00002-of-00005.npy", 5, false);
    check(1, true);
    assert_int_equal(thaw_model_prune(comm, out, 1, NULL), 0);
    assert_true(!exists("iteration-000002"));
    check(1, false);
    save(3, false);
    damage("iteration-000003/manifest.pb", 7, false);
    check(1, true);
    damage("iteration-000001/manifest.pb", 7, false);
    struct thaw_model *m = NULL;
    char note[256];
    struct thaw_err err = THAW_ERR_INIT;
    assert_int_equal(thaw_model_open(&m, comm, out, true, note, &err), THAW_EDATA);
    assert_non_null(strstr(err.text, "iteration-000003"));
}

static void test_cut_file(void **state) {
    (void)state;
    save(1, false);
    save(2, false);
    damage("iteration-000002/users-00000-of-00005.npy", 4, true);
    check(1, true);
}

static void test_interrupted(void **state) {
    (void)state;
    char path[THAW_PATH_MAX];
    save(1, false);
    assert_int_equal(thaw_path_join(path, out, "iteration-000002.tmp", NULL), 0);
    if (thaw_comm_rank(comm) == 0) assert_int_equal(thaw_dir_make(path, NULL), 0);
    thaw_comm_barrier(comm);
    check(1, false);
    assert_int_equal(thaw_path_join(path, out, "iteration-000009.tmp", NULL), 0);
    if (thaw_comm_rank(comm) == 0) assert_int_equal(thaw_dir_make(path, NULL), 0);
    thaw_comm_barrier(comm);
    save(2, false);
    check(2, false);
    assert_true(!exists("iteration-000009.tmp"));
    assert_int_equal(thaw_path_join(path, out, "current", NULL), 0);
    thaw_comm_barrier(comm);
    if (thaw_comm_rank(comm) == 0) assert_int_equal(unlink(path), 0); // killed before the switch
    thaw_comm_barrier(comm);
    check(2, false);
}

static void test_other_shape(void **state) {
    (void)state;
    struct thaw_model *m = NULL;
    char note[256];
    struct thaw_plan plan = plan_new(THAW_ITEMS, false);
    float rows[64 * K];
    save(1, false);
    assert_int_equal(thaw_model_open(&m, comm, out, false, note, NULL), 0);
    assert_int_equal(thaw_model_load(m, comm, THAW_USERS, &plan, rows, NULL), THAW_EDATA);
    thaw_model_close(&m);
    thaw_plan_clear(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_absent, setup),
        cmocka_unit_test_setup(test_round_trip, setup),
        cmocka_unit_test_setup(test_chosen_company, setup),
        cmocka_unit_test_setup(test_damaged_newest, setup),
        cmocka_unit_test_setup(test_cut_file, setup),
        cmocka_unit_test_setup(test_interrupted, setup),
        cmocka_unit_test_setup(test_other_shape, setup),
    };
    struct thaw_err err = THAW_ERR_INIT;
    if (thaw_comm_begin(&comm, &err)) return 1;
    tiny_folder(comm, folder);
    snprintf(out, sizeof out, "%.4000s/model", folder);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
