// test_gan_train.c: a step's loss and the gradient of everything it moves, against a plain computation on one
// rank; whitening; the sampled softmax agrees with the full one when it draws enough; saved and gone on with.
#include "comm/gan_store.h"
#include "comm/interactions.h"
#include "tests/mpi/problem.h"
#include "tests/mpi/tiny.h"

enum { BATCH = 40, LONGEST = 3, K = 4, HIDDEN = 8 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

struct world {
    struct thaw_dataset *d;
    struct thaw_plan plan[2];
    struct thaw_histories h;
    float *rows[2];
    int64_t *degree;
    struct thaw_gan_config config;
    struct thaw_gan *g;
};

static void begin(struct world *w, double adversary, int64_t sampled) {
    Thaw__Als als = THAW__ALS__INIT;
    struct thaw_err err = THAW_ERR_INIT;
    const int rank = thaw_comm_rank(comm), size = thaw_comm_size(comm);
    *w = (struct world){0};
    als.factors = K;
    assert_int_equal(thaw_dataset_open(&w->d, folder, NULL), 0);
    assert_int_equal(thaw_dataset_plan(w->plan, w->d, size, K, NULL), 0);
    thaw_plan_clear(&w->plan[THAW_ITEMS]);
    assert_int_equal(thaw_gan_items_plan(&w->plan[THAW_ITEMS], w->d->manifest->items, size, NULL), 0);
    problem_ok(thaw_histories_load(&w->h, comm, w->d, &w->plan[THAW_USERS], &als, false, 1, &err), &err);
    for (int side = 0; side < 2; side++)
        w->rows[side] = problem_table(w->plan[side].rank_row[rank], w->plan[side].rank_row[rank + 1], K + 1);
    const int64_t items = w->plan[THAW_ITEMS].rank_row[rank + 1] - w->plan[THAW_ITEMS].rank_row[rank];
    assert_int_equal(thaw_alloc(&w->degree, (size_t)items, sizeof *w->degree, "degrees", NULL), 0);
    for (int64_t i = 0; i < items; i++) w->degree[i] = (w->plan[THAW_ITEMS].rank_row[rank] + i) % 17;
    w->config = (struct thaw_gan_config){
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
    const struct thaw_gan_data data = {.h = &w->h,
                                       .users = &w->plan[THAW_USERS],
                                       .items = &w->plan[THAW_ITEMS],
                                       .user_rows = w->rows[THAW_USERS],
                                       .item_rows = w->rows[THAW_ITEMS],
                                       .columns = K + 1,
                                       .degree = w->degree};
    problem_ok(thaw_gan_new(&w->g, comm, &w->config, &data, &err), &err);
}

static void end(struct world *w) {
    thaw_gan_free(&w->g);
    thaw_dataset_close(&w->d);
    for (int side = 0; side < 2; side++) {
        thaw_plan_clear(&w->plan[side]);
        free(w->rows[side]);
    }
    thaw_histories_clear(&w->h);
    free(w->degree);
}

static void step(struct world *w) {
    struct thaw_err err = THAW_ERR_INIT;
    bool stop = true;
    problem_ok(thaw_gan_step(w->g, &stop, &err), &err);
    assert_false(stop);
}

// All rows of a table, on every rank.
static float *everybodys(const struct world *w, int table) {
    void *all = NULL;
    int64_t nbytes;
    const size_t n = (size_t)w->g->items->rows * thaw_gan_width(w->g->items, table);
    problem_ok(
        thaw_comm_gather(comm, w->g->items->p[table], (int64_t)(n * sizeof(float)), -1, &all, &nbytes, NULL),
        NULL);
    return all;
}

// The loss of the first batch, in double, all items at once, from latents of a network that is run as a
// whole.
static double loss_by_hand(struct world *w, const float *decoder, const float *bias, float log_scale) {
    const struct thaw_gan *g = w->g;
    const struct thaw_batch *b;
    const double scale = exp((double)log_scale);
    double *logit = NULL, nll = 0, latent = 0;
    problem_ok(thaw_episodes_batch(g->episodes, 0, &b, NULL), NULL);
    assert_int_equal(thaw_alloc(&logit, TINY_ITEMS, sizeof *logit, "logits", NULL), 0);
    for (int s = 0; s < BATCH; s++) {
        const float *u = g->scratch->u + s * K;
        double sum = 0;
        for (int i = 0; i < TINY_ITEMS; i++) {
            logit[i] = (double)bias[i];
            for (int j = 0; j < K; j++) logit[i] += scale * (double)u[j] * (double)decoder[i * K + j];
            sum += exp(logit[i]);
        }
        for (int i = 0; i < TINY_ITEMS; i++) {
            bool asked = tiny_value(b->user[s], i) > 0;
            for (int j = 0; j < b->n[s]; j++) asked &= b->known[s * LONGEST + j] != i;
            if (asked) nll += log(sum) - logit[i];
        }
        if (s < b->begin || s >= b->end) continue;
        for (int j = 0; j < K; j++) latent += pow((double)(u[j] - b->real[(s - b->begin) * K + j]), 2);
    }
    problem_ok(thaw_comm_exact_sum(comm, &latent, 1, 1, &latent, NULL), NULL);
    free(logit);
    return nll / (double)b->targets + w->config.latent_loss * latent / BATCH;
}

static void the_loss_is_right(void **state) {
    struct world w;
    (void)state;
    begin(&w, 0, 0);
    float *decoder = everybodys(&w, THAW_GAN_DECODER), *bias = everybodys(&w, THAW_GAN_BIAS);
    const float log_scale = w.g->generator.p[w.g->layout.log_scale];
    step(&w);
    const double want = loss_by_hand(&w, decoder, bias, log_scale), got = w.g->record[0].loss;
    if (fabs(got - want) > 1e-5 * want) print_error("loss %g, by hand %g\n", got, want);
    assert_true(fabs(got - want) < 1e-5 * want);
    free(decoder);
    free(bias);
    end(&w);
}

// A whitened user times a decoded item is the user, less the mean, times the item; covariance is I.
static void whitening_keeps_scores(void **state) {
    struct world w;
    (void)state;
    begin(&w, 0, 0);
    double cov[K * K] = {0}, n = 0;
    float *decoder = everybodys(&w, THAW_GAN_DECODER), *items = problem_table(0, TINY_ITEMS, K + 1);
    float *users = problem_table(0, TINY_USERS, K + 1);
    double mean[K] = {0};
    for (int u = 0; u < TINY_USERS; u++) {
        int has = 0;
        for (int i = 0; i < TINY_ITEMS; i++) has |= tiny_value(u, i) > 0;
        if (!has) continue;
        n++;
        for (int j = 0; j < K; j++) mean[j] += (double)users[u * (K + 1) + j];
    }
    for (int j = 0; j < K; j++) mean[j] /= n;
    for (int64_t r = 0; r < w.h.nusers; r++) {
        const float *real = w.g->real + r * K, *u = users + (w.h.first_row + r) * (K + 1);
        if (thaw_histories_length(&w.h, r) == 0) continue;
        for (int i = 0; i < TINY_ITEMS; i += 31) {
            double got = 0, want = 0;
            for (int j = 0; j < K; j++) {
                got += (double)real[j] * (double)decoder[i * K + j];
                want += ((double)u[j] - mean[j]) * (double)items[i * (K + 1) + j];
            }
            assert_true(fabs(got - want) < 1e-5);
        }
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++) cov[i * K + j] += (double)real[i] * (double)real[j] / (n - 1);
    }
    for (int i = 0; i < K * K; i++) {
        problem_ok(thaw_comm_exact_sum(comm, &cov[i], 1, 1, &cov[i], NULL), NULL);
        assert_true(fabs(cov[i] - (i % (K + 1) == 0)) < 1e-4);
    }
    free(decoder);
    free(items);
    free(users);
    end(&w);
}

// So many draws that every item is there about as often as expected.
static void samples_agree_with_all(void **state) {
    struct world all, sampled;
    (void)state;
    begin(&all, 0, 0);
    begin(&sampled, 0, 400000);
    step(&all);
    step(&sampled);
    const double a = all.g->record[0].nll, b = sampled.g->record[0].nll;
    assert_true(a != b && fabs(a - b) < 2e-3 * a);
    for (int64_t i = 0; i < all.g->items->rows; i++)
        assert_true(fabsf(all.g->items->m[THAW_GAN_BIAS][i] - sampled.g->items->m[THAW_GAN_BIAS][i]) < 1e-4F);
    end(&all);
    end(&sampled);
}

// Twelve steps; or five, saved, and seven more from there.
static void a_checkpoint_goes_on(void **state) {
    struct world a, b;
    char dir[THAW_PATH_MAX], note[256];
    Thaw__Generator m = THAW__GENERATOR__INIT;
    bool found = false;
    (void)state;
    snprintf(dir, sizeof dir, "%.4000s/checkpoints", folder);
    begin(&a, .05, 0);
    begin(&b, .05, 0);
    for (int i = 0; i < 5; i++) step(&a);
    problem_ok(thaw_gan_save(a.g, dir, &m, NULL), NULL);
    for (int i = 0; i < 7; i++) step(&a);
    problem_ok(thaw_gan_resume(b.g, dir, &m, &found, note, NULL), NULL);
    assert_true(found && note[0] == 0 && b.g->step == 5);
    for (int i = 0; i < 7; i++) step(&b);
    assert_memory_equal(a.g->record, b.g->record, 12 * sizeof *a.g->record);
    assert_memory_equal(a.g->generator.averaged, b.g->generator.averaged, a.g->generator.n * sizeof(float));
    assert_memory_equal(a.g->critic.p, b.g->critic.p, a.g->critic.n * sizeof(float));
    for (int t = 0; t < THAW_GAN_TABLES; t++) {
        const size_t n = (size_t)a.g->items->rows * thaw_gan_width(a.g->items, t);
        if (n) assert_memory_equal(a.g->items->averaged[t], b.g->items->averaged[t], n * sizeof(float));
    }
    problem_ok(thaw_gan_forget(comm, dir, NULL), NULL);
    end(&a);
    end(&b);
}

// Weights that blow up stop all ranks.
static void blown_up_weights_stop(void **state) {
    struct world w;
    struct thaw_err err = THAW_ERR_INIT;
    bool stop;
    (void)state;
    begin(&w, 0, 0);
    step(&w);
    w.g->generator.p[w.g->layout.log_scale] = 1e30F;
    assert_int_equal(thaw_gan_step(w.g, &stop, &err), THAW_EDIVERGED);
    assert_int_equal(w.g->step, 1);
    end(&w);
}

int main(void) {
    if (thaw_comm_begin(&comm, NULL)) return 1;
    tiny_folder(comm, folder);
    if (thaw_comm_rank(comm) == 0 && tiny_write(folder)) return 1;
    thaw_comm_barrier(comm);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_right),      cmocka_unit_test(whitening_keeps_scores),
        cmocka_unit_test(samples_agree_with_all), cmocka_unit_test(a_checkpoint_goes_on),
        cmocka_unit_test(blown_up_weights_stop),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
