// test_gan_train.c: a step's loss against a plain computation on one rank (the whole step: test_gan_step.c);
// whitening; the sampled softmax agrees with the full one when it draws enough; saved and gone on with.
// with: THAW_NODE_RANKS=2
#include "comm/gan_store.h"
#include "tests/mpi/gan_world.h"

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

static void begin(struct gan_world *w, double adversary, int64_t sampled) {
    const struct thaw_gan_config config = gan_world_config(adversary, sampled);
    gan_world_begin(w, comm, folder, &config);
}

// The loss of the first batch, in double, all items at once, from latents of a network that is run as a
// whole.
static double loss_by_hand(struct gan_world *w, const float *decoder, const float *bias, float log_scale) {
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
    return nll / (double)b->targets + g->config.latent_loss * latent / BATCH;
}

static void the_loss_is_right(void **state) {
    struct gan_world w;
    (void)state;
    begin(&w, 0, 0);
    float *decoder = gan_world_table(&w, THAW_GAN_DECODER, w.g->items->p[THAW_GAN_DECODER]),
          *bias = gan_world_table(&w, THAW_GAN_BIAS, w.g->items->p[THAW_GAN_BIAS]);
    const float log_scale = w.g->generator.p[w.g->layout.log_scale];
    gan_world_step(&w);
    const double want = loss_by_hand(&w, decoder, bias, log_scale), got = w.g->record[0].loss;
    if (fabs(got - want) > 1e-5 * want) print_error("loss %g, by hand %g\n", got, want);
    assert_true(fabs(got - want) < 1e-5 * want);
    free(decoder);
    free(bias);
    gan_world_end(&w);
}

// A whitened user times a decoded item is the user, less the mean, times the item; covariance is I.
static void whitening_keeps_scores(void **state) {
    struct gan_world w;
    (void)state;
    begin(&w, 0, 0);
    double cov[K * K] = {0}, n = 0;
    float *decoder = gan_world_table(&w, THAW_GAN_DECODER, w.g->items->p[THAW_GAN_DECODER]),
          *items = problem_table(0, TINY_ITEMS, K + 1);
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
    gan_world_end(&w);
}

// So many draws that every item is there about as often as expected.
static void samples_agree_with_all(void **state) {
    struct gan_world all, sampled;
    (void)state;
    begin(&all, 0, 0);
    begin(&sampled, 0, 400000);
    gan_world_step(&all);
    gan_world_step(&sampled);
    const double a = all.g->record[0].nll, b = sampled.g->record[0].nll;
    assert_true(a != b && fabs(a - b) < 2e-3 * a);
    for (int64_t i = 0; i < all.g->items->rows; i++)
        assert_true(fabsf(all.g->items->m[THAW_GAN_BIAS][i] - sampled.g->items->m[THAW_GAN_BIAS][i]) < 1e-4F);
    gan_world_end(&all);
    gan_world_end(&sampled);
}

// Twelve steps; or five, saved, and seven more from there.
static void a_checkpoint_goes_on(void **state) {
    struct gan_world a, b;
    char dir[THAW_PATH_MAX], note[256];
    Thaw__Generator m = THAW__GENERATOR__INIT;
    bool found = false;
    (void)state;
    m.format = 1;
    snprintf(dir, sizeof dir, "%.4000s/checkpoints", folder);
    begin(&a, .05, 0);
    begin(&b, .05, 0);
    for (int i = 0; i < 5; i++) gan_world_step(&a);
    problem_ok(thaw_gan_save(a.g, dir, &m, NULL), NULL);
    for (int i = 0; i < 7; i++) gan_world_step(&a);
    problem_ok(thaw_gan_resume(b.g, dir, &m, &found, note, NULL), NULL);
    assert_true(found && note[0] == 0 && b.g->step == 5);
    for (int i = 0; i < 7; i++) gan_world_step(&b);
    thaw_gan_gather(a.g);
    thaw_gan_gather(b.g);
    assert_memory_equal(a.g->record, b.g->record, 12 * sizeof *a.g->record);
    assert_memory_equal(a.g->generator.averaged, b.g->generator.averaged, a.g->generator.n * sizeof(float));
    assert_memory_equal(a.g->critic.p, b.g->critic.p, a.g->critic.n * sizeof(float));
    for (int t = 0; t < THAW_GAN_TABLES; t++) {
        const size_t n = (size_t)a.g->items->rows * thaw_gan_width(a.g->items, t);
        if (n) assert_memory_equal(a.g->items->averaged[t], b.g->items->averaged[t], n * sizeof(float));
    }
    problem_ok(thaw_gan_forget(comm, dir, NULL), NULL);
    gan_world_end(&a);
    gan_world_end(&b);
}

// Weights that blow up stop all ranks.
static void blown_up_weights_stop(void **state) {
    struct gan_world w;
    struct thaw_err err = THAW_ERR_INIT;
    bool stop;
    (void)state;
    begin(&w, 0, 0);
    gan_world_step(&w);
    w.g->generator.p[w.g->layout.log_scale] = 1e30F;
    assert_int_equal(thaw_gan_step(w.g, &stop, &err), THAW_EDIVERGED);
    assert_int_equal(w.g->step, 1);
    gan_world_end(&w);
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
