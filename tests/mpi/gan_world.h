// gan_world.h: a training of the generator on the dataset of tiny.h, for tests.
#ifndef THAW_TESTS_MPI_GAN_WORLD_H
#define THAW_TESTS_MPI_GAN_WORLD_H

#include "comm/gan_train.h"
#include "comm/interactions.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

enum { BATCH = 72, LONGEST = 3, K = 4, HIDDEN = 8 };

struct gan_world {
    struct thaw_comm *c;
    struct thaw_dataset *d;
    struct thaw_plan plan[2];
    struct thaw_histories h;
    float *rows[2];
    int64_t *degree;
    struct thaw_gan *g;
};

static inline struct thaw_gan_config gan_world_config(double adversary, int64_t sampled) {
    return (struct thaw_gan_config){
        .shape = {.k = K, .longest = LONGEST, .hidden = HIDDEN, .noise = adversary > 0 ? 3 : 0},
        .batch = BATCH,
        .rest = 2,
        .critic_steps = 2,
        .critic_rate = 1,
        .steps = 20,
        .sampled = sampled,
        .adversary = adversary,
        .latent_loss = .1,
        .penalty = 10,
        .rate = 1e-3,
        .averaging = .9,
        .seed = 5};
}

// Profile feature j of a user; about half of them are 0.
static inline float gan_world_feature(int64_t user, int j) {
    struct thaw_rng rng = thaw_rng_at(12, 401, (uint64_t)(user * 64 + j));
    return thaw_rng_below(&rng, 2) ? (float)thaw_rng_normal(&rng) : 0;
}

// The dataset has no profiles: they are given to the histories.
static inline void gan_world_profiles(struct thaw_histories *h, int features) {
    struct thaw_features *f = &h->profile;
    const size_t most = (size_t)(h->nusers * features);
    thaw_features_clear(f);
    f->nrows = h->nusers;
    f->columns = features;
    assert_int_equal(thaw_alloc(&f->ptr, (size_t)h->nusers + 1, sizeof *f->ptr, "profiles", NULL), 0);
    assert_int_equal(thaw_alloc(&f->column, most, sizeof *f->column, "profiles", NULL), 0);
    assert_int_equal(thaw_alloc(&f->value, most, sizeof *f->value, "profiles", NULL), 0);
    for (int64_t r = 0; r < h->nusers; r++) {
        f->ptr[r + 1] = f->ptr[r];
        for (int j = 0; j < features; j++) {
            const float x = gan_world_feature(h->first_row + r, j);
            if (x == 0) continue;
            f->column[f->ptr[r + 1]] = (uint32_t)j;
            f->value[f->ptr[r + 1]++] = x;
        }
    }
}

// Collective. folder: of tiny_write.
static inline void gan_world_begin(struct gan_world *w, struct thaw_comm *c, const char *folder,
                                   const struct thaw_gan_config *config) {
    Thaw__Als als = THAW__ALS__INIT;
    struct thaw_err err = THAW_ERR_INIT;
    const int rank = thaw_comm_rank(c), size = thaw_comm_size(c);
    *w = (struct gan_world){.c = c};
    als.factors = K;
    assert_int_equal(thaw_dataset_open(&w->d, folder, NULL), 0);
    assert_int_equal(thaw_dataset_plan(w->plan, w->d, size, K, NULL), 0);
    thaw_plan_clear(&w->plan[THAW_ITEMS]);
    assert_int_equal(thaw_gan_items_plan(&w->plan[THAW_ITEMS], w->d->manifest->items, size, NULL), 0);
    problem_ok(thaw_histories_load(&w->h, c, w->d, &w->plan[THAW_USERS], &als, false, 1, &err), &err);
    if (config->shape.features) gan_world_profiles(&w->h, config->shape.features);
    for (int side = 0; side < 2; side++)
        w->rows[side] = problem_table(w->plan[side].rank_row[rank], w->plan[side].rank_row[rank + 1], K + 1);
    const int64_t items = w->plan[THAW_ITEMS].rank_row[rank + 1] - w->plan[THAW_ITEMS].rank_row[rank];
    assert_int_equal(thaw_alloc(&w->degree, (size_t)items, sizeof *w->degree, "degrees", NULL), 0);
    for (int64_t i = 0; i < items; i++) w->degree[i] = (w->plan[THAW_ITEMS].rank_row[rank] + i) % 17;
    const struct thaw_gan_data data = {.h = &w->h,
                                       .users = &w->plan[THAW_USERS],
                                       .items = &w->plan[THAW_ITEMS],
                                       .user_rows = w->rows[THAW_USERS],
                                       .item_rows = w->rows[THAW_ITEMS],
                                       .columns = K + 1,
                                       .degree = w->degree};
    problem_ok(thaw_gan_new(&w->g, c, config, &data, &err), &err);
}

static inline void gan_world_end(struct gan_world *w) {
    thaw_gan_free(&w->g);
    thaw_dataset_close(&w->d);
    for (int side = 0; side < 2; side++) {
        thaw_plan_clear(&w->plan[side]);
        free(w->rows[side]);
    }
    thaw_histories_clear(&w->h);
    free(w->degree);
}

// Collective.
static inline void gan_world_step(struct gan_world *w) {
    struct thaw_err err = THAW_ERR_INIT;
    bool stop = true;
    problem_ok(thaw_gan_step(w->g, &stop, &err), &err);
    assert_false(stop);
}

// Collective. n floats of this rank, and those of the others, in their order.
static inline float *gan_world_gather(const struct gan_world *w, const float *own, size_t n) {
    void *all = NULL;
    int64_t nbytes;
    problem_ok(thaw_comm_gather(w->c, own, (int64_t)(n * sizeof *own), -1, &all, &nbytes, NULL), NULL);
    return all;
}

// Collective. All rows of a table of items, of which this rank has `own`.
static inline float *gan_world_table(const struct gan_world *w, int table, const float *own) {
    return gan_world_gather(w, own, (size_t)w->g->items->rows * thaw_gan_width(w->g->items, table));
}

#endif
