// test_gan_episodes.c: minibatches: every eligible user once an epoch, what is known and what is asked, the
// same for any ranks; draws; whole blocks of items.
// with: THAW_NODE_RANKS=2
#include "base/mem.h"
#include "base/rng.h"
#include "comm/gan_items.h"
#include "comm/interactions.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

enum { BATCH = 50, LONGEST = 4, REST = 5, K = 3 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

struct world {
    struct thaw_dataset *d;
    struct thaw_plan plan[2];
    struct thaw_histories h;
    float *real;
};

static void begin(struct world *w) {
    Thaw__Als als = THAW__ALS__INIT;
    struct thaw_err err = THAW_ERR_INIT;
    als.holdout = .2;
    als.holdout_seed = 3;
    als.factors = K;
    assert_int_equal(thaw_dataset_open(&w->d, folder, NULL), 0);
    assert_int_equal(thaw_dataset_plan(w->plan, w->d, thaw_comm_size(comm), K, NULL), 0);
    thaw_plan_clear(&w->plan[THAW_ITEMS]);
    assert_int_equal(
        thaw_gan_items_plan(&w->plan[THAW_ITEMS], w->d->manifest->items, thaw_comm_size(comm), NULL), 0);
    problem_ok(thaw_histories_load(&w->h, comm, w->d, &w->plan[THAW_USERS], &als, false, 1, &err), &err);
    assert_int_equal(thaw_alloc(&w->real, (size_t)w->h.nusers * K, sizeof(float), "real", NULL), 0);
    for (int64_t i = 0; i < w->h.nusers * K; i++) w->real[i] = (float)(w->h.first_row * K + i);
}

static void end(struct world *w) {
    thaw_dataset_close(&w->d);
    for (int side = 0; side < 2; side++) thaw_plan_clear(&w->plan[side]);
    thaw_histories_clear(&w->h);
    free(w->real);
}

static const struct thaw_episodes_config walk = {
    .batch = BATCH, .longest = LONGEST, .least = REST, .most = INT64_MAX, .rest = REST, .seed = 9};

// Known items, then what is asked of this rank's items; all ranks' together are the user's history, each item
// once.
static void check_sample(const struct world *w, const struct thaw_batch *b, int s, bool drawn) {
    static int64_t seen[TINY_ITEMS];
    int64_t n = 0, length = 0;
    memset(seen, 0, sizeof seen);
    for (int i = 0; i < LONGEST; i++) {
        assert_int_equal(b->known[s * LONGEST + i] >= 0, i < b->n[s]);
        if (i < b->n[s] && thaw_comm_rank(comm) == 0) seen[b->known[s * LONGEST + i]]++;
    }
    for (int64_t i = b->rest_ptr[s]; i < b->rest_ptr[s + 1]; i++)
        seen[w->plan[THAW_ITEMS].rank_row[thaw_comm_rank(comm)] + b->rest[i]]++;
    thaw_comm_sum_i64(comm, seen, TINY_ITEMS);
    for (int64_t i = 0; i < TINY_ITEMS; i++) {
        const int has = tiny_value(b->user[s], i) > 0;
        assert_int_equal(seen[i], has);
        n += has;
    }
    length = b->n[s] + b->nrest[s];
    assert_int_equal(length, n);
    if (drawn) assert_true(b->nrest[s] >= REST);
    if (s >= b->begin && s < b->end)
        for (int j = 0; j < K; j++)
            assert_true(b->real[(s - b->begin) * K + j] == (float)(b->user[s] * K + j));
}

static void an_epoch_visits_all(void **state) {
    struct world w = {0};
    struct thaw_episodes *e = NULL;
    static int visits[TINY_USERS];
    int counts[LONGEST + 1] = {0};
    (void)state;
    begin(&w);
    problem_ok(thaw_episodes_new(&e, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &walk, NULL), NULL);
    const int64_t users = thaw_episodes_users(e);
    memset(visits, 0, sizeof visits);
    for (int64_t t = 0; t < 2 * users; t++) { // 2 BATCH epochs
        const struct thaw_batch *b;
        problem_ok(thaw_episodes_batch(e, t, &b, NULL), NULL);
        assert_int_equal(b->count, BATCH);
        for (int s = 0; s < BATCH; s++) {
            visits[b->user[s]]++;
            counts[b->n[s]]++;
            if (t == 3) check_sample(&w, b, s, true);
        }
    }
    int64_t visited = 0;
    for (int u = 0; u < TINY_USERS; u++) {
        assert_true(visits[u] == 0 || visits[u] == 2 * BATCH);
        visited += visits[u] > 0;
    }
    assert_int_equal(visited, users);
    for (int n = 0; n <= LONGEST; n++) assert_true(counts[n] > users * BATCH / 4);
    thaw_episodes_free(&e);
    end(&w);
}

static void same_batch(const struct thaw_batch *a, const struct thaw_batch *b) {
    const size_t samples = BATCH, own = (size_t)(a->end - a->begin);
    assert_memory_equal(a->user, b->user, samples * sizeof *a->user);
    assert_memory_equal(a->n, b->n, samples * sizeof *a->n);
    assert_memory_equal(a->known, b->known, samples * LONGEST * sizeof *a->known);
    assert_memory_equal(a->rest_ptr, b->rest_ptr, (samples + 1) * sizeof *a->rest_ptr);
    assert_memory_equal(a->rest, b->rest, (size_t)a->rest_ptr[BATCH] * sizeof *a->rest);
    assert_memory_equal(a->real, b->real, own * K * sizeof *a->real);
}

// Preparing, often or not, more on some ranks than on others, changes no batch; nor does it when the batch
// that is asked for is not the next.
static void work_ahead_changes_nothing(void **state) {
    struct world w = {0};
    struct thaw_episodes *at_once = NULL, *ahead = NULL;
    const int64_t skip = 40;
    (void)state;
    begin(&w);
    problem_ok(thaw_episodes_new(&at_once, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &walk, NULL), NULL);
    problem_ok(thaw_episodes_new(&ahead, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &walk, NULL), NULL);
    for (int64_t t = 0; t < 2 * skip; t++) {
        const struct thaw_batch *a, *b;
        const int64_t number = t < skip ? t : t + skip;
        problem_ok(thaw_episodes_batch(at_once, number, &a, NULL), NULL);
        problem_ok(thaw_episodes_batch(ahead, number, &b, NULL), NULL);
        same_batch(a, b);
        for (int64_t i = 0; i < (t / 8 + thaw_comm_rank(comm)) % 4; i++) thaw_episodes_prepare(ahead);
    }
    thaw_episodes_free(&at_once);
    thaw_episodes_free(&ahead);
    end(&w);
}

static void a_list_ends(void **state) {
    struct world w = {0};
    struct thaw_episodes *e = NULL;
    struct thaw_episodes_config config = walk;
    int64_t last = -1, taken = 0;
    (void)state;
    config.listed = config.held_out = true;
    config.known = THAW_KNOWN_HALF;
    config.least = 2;
    begin(&w);
    problem_ok(thaw_episodes_new(&e, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &config, NULL), NULL);
    for (int64_t t = 0; t < thaw_episodes_batches(e); t++) {
        const struct thaw_batch *b;
        problem_ok(thaw_episodes_batch(e, t, &b, NULL), NULL);
        for (int s = 0; s < b->count; s++) {
            const int64_t length = b->n[s] + b->nrest[s];
            assert_true(b->user[s] > last);
            last = b->user[s];
            assert_int_equal(b->n[s], length / 2 < LONGEST ? length / 2 : LONGEST);
            if (t == 0) check_sample(&w, b, s, false);
        }
        taken += b->count;
    }
    assert_int_equal(taken, thaw_episodes_users(e));
    thaw_episodes_free(&e);
    end(&w);
}

static void nobody_is_eligible(void **state) {
    struct world w = {0};
    struct thaw_episodes *e = NULL;
    struct thaw_episodes_config config = walk;
    (void)state;
    config.least = 100000;
    begin(&w);
    assert_int_equal(thaw_episodes_new(&e, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &config, NULL),
                     THAW_EDATA);
    end(&w);
}

// Rows of known items arrive, and gradients go home, as if all were on one rank.
static void rows_travel(void **state) {
    struct world w = {0};
    struct thaw_episodes *e = NULL;
    struct thaw_gan_items *t = NULL;
    const struct thaw_batch *b;
    float *known = NULL, *fixed = NULL;
    (void)state;
    begin(&w);
    problem_ok(thaw_episodes_new(&e, comm, &w.h, w.real, K, &w.plan[THAW_ITEMS], &walk, NULL), NULL);
    problem_ok(thaw_gan_items_new(&t, comm, &w.plan[THAW_ITEMS], K, BATCH, LONGEST, true, true, NULL), NULL);
    for (int64_t i = 0; i < t->rows * K; i++) {
        t->p[THAW_GAN_EMBEDDING][i] = (float)(t->first * K + i);
        t->fixed[i] = -(float)(t->first * K + i);
    }
    thaw_gan_items_show(t);
    assert_int_equal(thaw_alloc(&known, BATCH * LONGEST * K, sizeof *known, "known", NULL), 0);
    assert_int_equal(thaw_alloc(&fixed, BATCH * LONGEST * K, sizeof *fixed, "fixed", NULL), 0);
    problem_ok(thaw_episodes_batch(e, 2, &b, NULL), NULL);
    thaw_gan_items_fetch(t, b, known, fixed);
    for (int s = b->begin; s < b->end; s++)
        for (int i = 0; i < b->n[s]; i++)
            for (int j = 0; j < K; j++) {
                const size_t at = (size_t)((s - b->begin) * LONGEST + i) * K + (size_t)j;
                const float want = (float)(b->known[s * LONGEST + i] * K + j);
                assert_true(known[at] == want && fixed[at] == -want);
                t->dknown[at] = (float)(s + 1) * 0.1F; // a sum that depends on the order
            }
    thaw_gan_items_give(t, b);
    thaw_gan_items_take(t, b);
    for (int64_t r = 0; r < t->rows; r++) {
        float want = 0;
        for (int s = 0; s < BATCH; s++)
            for (int i = 0; i < b->n[s]; i++)
                if (b->known[s * LONGEST + i] == t->first + r) want += (float)(s + 1) * 0.1F;
        assert_true(t->gradient[THAW_GAN_EMBEDDING][r * K] == want);
    }
    for (int64_t i = 0; i < t->rows * K; i++)
        t->averaged[THAW_GAN_EMBEDDING][i] = (float)(t->first * K + i) / 2;
    thaw_gan_items_swap(t);
    thaw_gan_items_fetch(t, b, known, fixed);
    for (int s = b->begin; s < b->end; s++)
        for (int i = 0; i < b->n[s]; i++) {
            const size_t at = (size_t)((s - b->begin) * LONGEST + i) * K;
            assert_true(known[at] == (float)(b->known[s * LONGEST + i] * K) / 2);
        }
    free(known);
    free(fixed);
    thaw_gan_items_free(&t);
    thaw_episodes_free(&e);
    end(&w);
}

static void shuffles_are_permutations(void **state) {
    (void)state;
    for (int64_t n = 1; n < 300; n += 7) {
        static uint8_t seen[300];
        int64_t moved = 0;
        memset(seen, 0, sizeof seen);
        for (int64_t i = 0; i < n; i++) {
            const int64_t x = thaw_shuffled(4, (uint64_t)n, i, n);
            assert_true(x >= 0 && x < n && !seen[x]);
            seen[x] = 1;
            moved += x != i;
        }
        if (n > 20) assert_true(moved > n / 2);
    }
    struct thaw_rng rng = thaw_rng_at(1, 300, 0);
    int hits[6] = {0};
    for (int i = 0; i < 6000; i++) {
        int64_t out[3];
        thaw_draw_distinct(&rng, 6, 3, out);
        assert_true(out[0] != out[1] && out[0] != out[2] && out[1] != out[2]);
        for (int j = 0; j < 3; j++) hits[out[j]]++;
    }
    for (int i = 0; i < 6; i++) assert_true(abs(hits[i] - 3000) < 200);
}

// Blocks do not depend on the ranks: equally many parts.
static void ranks_own_whole_blocks(void **state) {
    enum { PARTS = 40, RUN = 2 };
    int64_t rows[PARTS], total = 0;
    Thaw__Side side = THAW__SIDE__INIT;
    (void)state;
    for (int p = 0; p < PARTS; p++) total += rows[p] = p % 5 == 3 ? 0 : 25 + 3 * p;
    assert_true(total < THAW_GAN_BLOCK * PARTS && total * RUN >= THAW_GAN_BLOCK * PARTS);
    side.part_rows = rows;
    side.n_part_rows = PARTS;
    for (int nranks = 1; nranks < 60; nranks++) {
        struct thaw_plan plan;
        assert_int_equal(thaw_gan_items_plan(&plan, &side, nranks, NULL), 0);
        assert_int_equal(plan.first_part[0], 0);
        assert_int_equal(plan.first_part[nranks], PARTS);
        for (int r = 0; r < nranks; r++) {
            assert_int_equal(plan.first_part[r] % RUN, 0);
            assert_true(plan.first_part[r] <= plan.first_part[r + 1]);
            assert_int_equal(plan.rank_row[r], plan.first_row[plan.first_part[r]]);
        }
        thaw_plan_clear(&plan);
    }
}

int main(void) {
    if (thaw_comm_begin(&comm, NULL)) return 1;
    tiny_folder(comm, folder);
    if (thaw_comm_rank(comm) == 0 && tiny_write(folder)) return 1;
    thaw_comm_barrier(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_visits_all),
        cmocka_unit_test(work_ahead_changes_nothing),
        cmocka_unit_test(a_list_ends),
        cmocka_unit_test(nobody_is_eligible),
        cmocka_unit_test(rows_travel),
        cmocka_unit_test(shuffles_are_permutations),
        cmocka_unit_test(ranks_own_whole_blocks),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
