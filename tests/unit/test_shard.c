// test_shard.c: a dataset is read as it was written, and a damaged or hostile one is refused by name.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "partition/shard.h"
#include "proto/pack.h"
#include "scratch_put.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

// Two parts of users (3 and 0 rows) and of items (1 and 2 rows), 5 interactions, times, 4 feature columns of
// users.
static const char user_ids[] = "ann\0\0bob\0\0carol";
static const int64_t user_indptr[] = {0, 2, 2, 5};
static const int64_t user_indices[] = {0, 2, 0, 1, 2};
static const float user_values[] = {1, 2, -3, 0.5f, 5};
static const int64_t user_times[] = {10, 20, -30, 40, 50};
static const int64_t feature_indptr[] = {0, 2, 2, 3};
static const uint32_t feature_indices[] = {0, 3, 1};
static const float feature_values[] = {1, 0.5f, 1};
static const int64_t no_indptr[1] = {0};
static const char item_ids[] = "axby";

static struct thaw_shard_data users_0(void) {
    return (struct thaw_shard_data){.nrows = 3,
                                    .nnz = 5,
                                    .other_rows = 3,
                                    .id_width = 5,
                                    .ids = user_ids,
                                    .indptr = user_indptr,
                                    .indices = user_indices,
                                    .values = user_values,
                                    .times = user_times,
                                    .feature_indptr = feature_indptr,
                                    .feature_indices = feature_indices,
                                    .feature_values = feature_values};
}

static struct thaw_shard_data users_1(void) {
    return (struct thaw_shard_data){.other_rows = 3,
                                    .ids = "",
                                    .indptr = no_indptr,
                                    .indices = user_indices,
                                    .values = user_values,
                                    .times = user_times,
                                    .feature_indptr = no_indptr,
                                    .feature_indices = feature_indices,
                                    .feature_values = feature_values};
}

static const int64_t items_0_indptr[] = {0, 2}, items_0_indices[] = {0, 2};
static const int64_t items_1_indptr[] = {0, 1, 3}, items_1_indices[] = {2, 0, 2};

static struct thaw_shard_data items_0(void) {
    return (struct thaw_shard_data){.nrows = 1,
                                    .nnz = 2,
                                    .other_rows = 3,
                                    .id_width = 2,
                                    .ids = item_ids,
                                    .indptr = items_0_indptr,
                                    .indices = items_0_indices,
                                    .values = user_values,
                                    .times = user_times};
}

static struct thaw_shard_data items_1(void) {
    return (struct thaw_shard_data){.nrows = 2,
                                    .nnz = 3,
                                    .other_rows = 3,
                                    .id_width = 1,
                                    .ids = item_ids + 2,
                                    .indptr = items_1_indptr,
                                    .indices = items_1_indices,
                                    .values = user_values,
                                    .times = user_times};
}

// A manifest and what it points to.
struct made {
    Thaw__Dataset m;
    Thaw__Side users, items;
    Thaw__File file[4], *files[4];
    int64_t user_rows[2], user_nnz[2], item_rows[2], item_nnz[2];
    struct thaw_file_info info[4];
    char name[4][THAW_PART_FILE];
};

static void make_manifest(struct made *d) {
    *d = (struct made){.m = THAW__DATASET__INIT,
                       .users = THAW__SIDE__INIT,
                       .items = THAW__SIDE__INIT,
                       .user_rows = {3, 0},
                       .user_nnz = {5, 0},
                       .item_rows = {1, 2},
                       .item_nnz = {2, 3}};
    d->users.n_part_rows = d->users.n_part_nnz = d->items.n_part_rows = d->items.n_part_nnz = 2;
    d->users.part_rows = d->user_rows;
    d->users.part_nnz = d->user_nnz;
    d->items.part_rows = d->item_rows;
    d->items.part_nnz = d->item_nnz;
    d->users.id_width = 5;
    d->users.features = 4;
    d->items.id_width = 2;
    d->m.format = 1;
    d->m.parts = 2;
    d->m.users = &d->users;
    d->m.items = &d->items;
    d->m.interactions = 5;
    d->m.has_time = 1;
    d->m.files = d->files;
    d->m.n_files = 4;
}

static void list_file(struct made *d, int i) {
    Thaw__File init = THAW__FILE__INIT;
    thaw_part_file(d->name[i], (enum thaw_side)(i / 2), i % 2, 2, "npz");
    d->file[i] = init;
    d->file[i].name = d->name[i];
    d->file[i].nbytes = d->info[i].nbytes;
    d->file[i].n_sums = (size_t)d->info[i].nsums;
    d->file[i].sums = d->info[i].sums;
    d->files[i] = &d->file[i];
}

static void write_manifest(const struct made *d) {
    assert_int_equal(thaw_pack_write(scratch, "manifest.pb", &d->m.base, NULL), THAW_OK);
}

static void make_dataset(struct made *d) {
    const struct thaw_shard_data part[4] = {users_0(), users_1(), items_0(), items_1()};
    struct thaw_err err = THAW_ERR_INIT;
    make_manifest(d);
    for (int i = 0; i < 4; i++) {
        if (thaw_shard_write(scratch, (enum thaw_side)(i / 2), i % 2, 2, &part[i], &d->info[i], &err) !=
            THAW_OK)
            fail_msg("%s", err.text);
        list_file(d, i);
    }
    write_manifest(d);
}

static void clear_dataset(struct made *d) {
    for (int i = 0; i < 4; i++) thaw_file_info_clear(&d->info[i]);
}

static void expect_users_0(const struct thaw_shard *s, bool wide) {
    assert_int_equal(s->nrows, 3);
    assert_int_equal(s->nnz, 5);
    assert_int_equal(s->wide, wide);
    assert_int_equal(s->id_width, 5);
    assert_memory_equal(s->ids, user_ids, 15);
    assert_memory_equal(s->indptr, user_indptr, sizeof user_indptr);
    for (int64_t i = 0; i < 5; i++) assert_int_equal(thaw_shard_index(s, i), user_indices[i]);
    assert_memory_equal(s->values, user_values, sizeof user_values);
    assert_memory_equal(s->times, user_times, sizeof user_times);
    assert_memory_equal(s->feature_indptr, feature_indptr, sizeof feature_indptr);
    assert_memory_equal(s->feature_indices, feature_indices, sizeof feature_indices);
    assert_memory_equal(s->feature_values, feature_values, sizeof feature_values);
    assert_int_equal((uintptr_t)s->values % 64, 0);
}

static void check_round_trip(bool wide) {
    struct made made;
    struct thaw_dataset *d = NULL;
    struct thaw_shard s;
    struct thaw_err err = THAW_ERR_INIT;
    make_dataset(&made);
    if (thaw_dataset_open(&d, scratch, &err) != THAW_OK) fail_msg("%s", err.text);
    assert_int_equal(thaw_dataset_rows(d, THAW_USERS), 3);
    assert_int_equal(thaw_dataset_rows(d, THAW_ITEMS), 3);
    for (int verify = 0; verify < 2; verify++) {
        if (thaw_shard_open(&s, d, THAW_USERS, 0, verify, &err) != THAW_OK) fail_msg("%s", err.text);
        expect_users_0(&s, wide);
        thaw_shard_close(&s);
        if (thaw_shard_open(&s, d, THAW_USERS, 1, verify, &err) != THAW_OK) fail_msg("%s", err.text);
        assert_int_equal(s.nrows, 0);
        thaw_shard_close(&s);
        if (thaw_shard_open(&s, d, THAW_ITEMS, 1, verify, &err) != THAW_OK) fail_msg("%s", err.text);
        assert_null(s.feature_indptr);
        assert_int_equal(s.id_width, 1);
        assert_int_equal(thaw_shard_index(&s, 2), 2);
        thaw_shard_close(&s);
        thaw_shard_close(&s);
    }
    assert_int_equal(thaw_shard_open(&s, d, THAW_USERS, 2, false, NULL), THAW_EBUG);
    thaw_dataset_close(&d);
    assert_null(d);
    clear_dataset(&made);
}

static void test_round_trip(void **state) {
    (void)state;
    check_round_trip(false);
}

static void test_wide_round_trip(void **state) {
    (void)state;
    setenv("THAW_WIDE_INDICES", "1", 1);
    check_round_trip(true);
    unsetenv("THAW_WIDE_INDICES");
}

// Up to 2^32 rows of the other side, u4 holds every index; one more and it does not.
static void test_width(void **state) {
    (void)state;
    static const int64_t last[2] = {(INT64_C(1) << 32) - 1, INT64_C(1) << 32};
    const int64_t indptr[] = {0, 1};
    for (int wide = 0; wide < 2; wide++) {
        struct thaw_shard_data data = items_0();
        struct thaw_npz *z = NULL;
        struct thaw_npy_shape shape;
        const void *bytes;
        data.nnz = 1;
        data.indptr = indptr;
        data.indices = &last[wide];
        data.other_rows = last[wide] + 1;
        assert_int_equal(thaw_shard_write(scratch, THAW_ITEMS, 7, 9, &data, NULL, NULL), THAW_OK);
        assert_int_equal(thaw_npz_open(&z, scratch_path("items-00007-of-00009.npz"), NULL, NULL), THAW_OK);
        assert_int_equal(thaw_npz_get(z, "indices", &shape, &bytes, NULL), THAW_OK);
        assert_int_equal(shape.type, wide ? THAW_NPY_U64 : THAW_NPY_U32);
        assert_int_equal(wide ? (int64_t) * (const uint64_t *)bytes : (int64_t) * (const uint32_t *)bytes,
                         last[wide]);
        thaw_npz_close(&z);
        data.other_rows--;
        assert_int_equal(thaw_shard_write(scratch, THAW_ITEMS, 7, 9, &data, NULL, NULL), THAW_EBUG);
        assert_false(thaw_path_exists(scratch_path("items-00007-of-00009.npz.tmp")));
    }
}

// Open the dataset, then (when that works) part 0 of users with verification; the failure must hold `word`.
static void expect_refused(int code, const char *word) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_dataset *d = NULL;
    struct thaw_shard s = {0};
    int got = thaw_dataset_open(&d, scratch, &err);
    if (got == THAW_OK) got = thaw_shard_open(&s, d, THAW_USERS, 0, true, &err);
    if (got != code || strstr(err.text, word) == NULL)
        fail_msg("%d '%s' instead of %d '%s'", got, err.text, code, word);
    thaw_shard_close(&s);
    thaw_dataset_close(&d);
}

static void test_damaged_files(void **state) {
    (void)state;
    static const char name[] = "users-00000-of-00002.npz";
    struct made made;
    struct thaw_map map;
    char *copy;
    make_dataset(&made);
    assert_int_equal(thaw_map_open(&map, scratch_path(name), NULL), THAW_OK);
    size_t n = (size_t)map.nbytes;
    copy = malloc(n);
    assert_non_null(copy);
    memcpy(copy, map.base, n);
    thaw_map_close(&map);
    for (size_t at = 0; at < n; at += 13) {
        copy[at] = (char)(copy[at] ^ 4);
        scratch_put(name, copy, n);
        expect_refused(THAW_EDATA, name);
        copy[at] = (char)(copy[at] ^ 4);
    }
    for (size_t cut = 0; cut < n; cut += 101) {
        scratch_put(name, copy, cut);
        expect_refused(THAW_EDATA, name);
    }
    unlink(scratch_path(name));
    expect_refused(THAW_ENOINPUT, name);
    unlink(scratch_path("manifest.pb"));
    expect_refused(THAW_ENOINPUT, "no dataset here (no manifest.pb): 'thaw prepare' makes one");
    scratch_text("manifest.pb", "THAWPB1\nxxxxxxxxyyyyyyyy");
    expect_refused(THAW_EDATA, "manifest.pb");
    free(copy);
    clear_dataset(&made);
}

// Write part 0 of users anew from data that breaks one rule, with a manifest whose checksums are right.
static void expect_hostile(const struct thaw_shard_data *data, const char *word) {
    struct made made;
    struct thaw_err err = THAW_ERR_INIT;
    make_dataset(&made);
    thaw_file_info_clear(&made.info[0]);
    if (thaw_shard_write(scratch, THAW_USERS, 0, 2, data, &made.info[0], &err) != THAW_OK)
        fail_msg("%s", err.text);
    list_file(&made, 0);
    write_manifest(&made);
    expect_refused(THAW_EDATA, word);
    expect_refused(THAW_EDATA, "users-00000-of-00002.npz");
    clear_dataset(&made);
}

static void test_hostile_rows(void **state) {
    (void)state;
    const int64_t falling[] = {0, 4, 2, 5}, late[] = {1, 2, 2, 5}, over[] = {0, 9, 2, 5};
    const int64_t outside[] = {0, 2, 0, 1, 3}, repeated[] = {0, 2, 0, 1, 1}, unordered[] = {2, 0, 0, 1, 2};
    const float infinite[] = {1, INFINITY, 3, 4, 5}, nan[] = {1, 2, 3, 4, NAN};
    struct thaw_shard_data d = users_0();
    d.indptr = falling;
    expect_hostile(&d, "indptr falls");
    d.indptr = over;
    expect_hostile(&d, "indptr falls");
    d.indptr = late;
    expect_hostile(&d, "indptr does not go from 0");
    d = users_0();
    d.indices = outside;
    d.other_rows = 4;
    expect_hostile(&d, "outside the other side");
    d = users_0();
    d.indices = repeated;
    expect_hostile(&d, "indices do not rise");
    d.indices = unordered;
    expect_hostile(&d, "indices do not rise");
    d = users_0();
    d.values = infinite;
    expect_hostile(&d, "not finite");
    d.values = nan;
    expect_hostile(&d, "not finite");
    d = users_0();
    d.ids = "ann\0\0\0\0\0\0\0carol";
    expect_hostile(&d, "an id is empty");
    d.ids = "ann\0xbob\0\0carol";
    expect_hostile(&d, "not padded");
}

static void test_hostile_shapes(void **state) {
    (void)state;
    static const int64_t indptr_2[] = {0, 2, 5}, indptr_4[] = {0, 2, 5, 6}, indices_6[] = {0, 2, 0, 1, 2, 0};
    static const float values_6[6] = {1, 1, 1, 1, 1, 1};
    struct thaw_shard_data d = users_0();
    d.nrows = 2;
    d.indptr = indptr_2;
    expect_hostile(&d, "\"ids\" is not 3 ids");
    d = users_0();
    d.nnz = 6;
    d.indptr = indptr_4;
    d.indices = indices_6;
    d.values = values_6;
    d.times = indices_6;
    expect_hostile(&d, "\"indices\" has 6 elements instead of 5");
    d = users_0();
    d.times = NULL;
    expect_hostile(&d, "no array \"times\"");
    d = users_0();
    d.feature_indptr = NULL;
    expect_hostile(&d, "disagree on whether there are attributes");
    d = users_0();
    d.ids = "ann\0\0\0bob\0\0\0carol\0";
    d.id_width = 6;
    expect_hostile(&d, "at most 5 bytes");
}

static void test_hostile_features(void **state) {
    (void)state;
    const uint32_t outside[] = {0, 4, 1}, repeated[] = {3, 3, 1};
    const float infinite[] = {1, -INFINITY, 1};
    const int64_t falling[] = {0, 2, 1, 3}, late[] = {1, 2, 2, 3};
    struct thaw_shard_data d = users_0();
    d.feature_indices = outside;
    expect_hostile(&d, "outside the columns");
    d.feature_indices = repeated;
    expect_hostile(&d, "features do not rise");
    d = users_0();
    d.feature_values = infinite;
    expect_hostile(&d, "feature value is not finite");
    d = users_0();
    d.feature_indptr = falling;
    expect_hostile(&d, "feature_indptr falls");
    d.feature_indptr = late;
    expect_hostile(&d, "feature_indptr does not go");
}

static void test_hostile_manifests(void **state) {
    (void)state;
    struct made good;
    make_dataset(&good);
    char evil[] = "../users-00000-of-00002.npz";
    const int64_t negative = -1;
    struct made d;
#define SPOIL(change, word)                                                                                  \
    do {                                                                                                     \
        make_manifest(&d);                                                                                   \
        memcpy(d.info, good.info, sizeof d.info);                                                            \
        for (int i = 0; i < 4; i++) list_file(&d, i);                                                        \
        change;                                                                                              \
        write_manifest(&d);                                                                                  \
        expect_refused(THAW_EDATA, word);                                                                    \
    } while (0)
    SPOIL(d.m.format = 2, "format 2");
    SPOIL(d.m.parts = 0, "number of parts");
    SPOIL(d.m.parts = -5, "number of parts");
    SPOIL(d.m.parts = 100000, "number of parts");
    SPOIL(d.m.parts = 3, "number of parts");
    SPOIL(d.m.users = NULL, "side");
    SPOIL(d.users.n_part_rows = 1, "number of parts");
    SPOIL(d.user_rows[1] = negative, "rows do not add up");
    SPOIL((d.user_rows[0] = INT64_MAX, d.user_rows[1] = 1), "rows do not add up");
    SPOIL(d.user_nnz[0] = 4, "interactions do not add up");
    SPOIL(d.m.interactions = negative, "interactions");
    SPOIL(d.items.id_width = 0, "id width");
    SPOIL(d.items.id_width = 256, "id width");
    SPOIL(d.users.features = -1, "features");
    SPOIL(d.m.n_files = 3, "does not list items-00001");
    SPOIL(d.file[1].name = d.name[0], "listed twice");
    SPOIL(d.file[0].name = evil, "cannot lie in its folder");
    SPOIL(d.file[0].nbytes = INT64_MAX, "checksums do not cover");
    SPOIL(d.file[0].nbytes = negative, "checksums do not cover");
    SPOIL(d.file[0].n_sums = 0, "checksums do not cover");
    SPOIL(d.file[0].nbytes += 1, "users-00000-of-00002.npz");
    SPOIL((d.user_rows[0] = 4), "users-00000-of-00002.npz");
#undef SPOIL
    clear_dataset(&good);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_wide_round_trip),
        cmocka_unit_test(test_width),
        cmocka_unit_test(test_damaged_files),
        cmocka_unit_test(test_hostile_rows),
        cmocka_unit_test(test_hostile_shapes),
        cmocka_unit_test(test_hostile_features),
        cmocka_unit_test(test_hostile_manifests),
    };
    return cmocka_run_group_tests_name("shard", tests, scratch_make, scratch_remove);
}
