// test_gan_step.c: a whole step of training, moments and weights of everything it moves, against the
// definition once more: in double, all of it on every rank, sample by sample, without slices, tiles or
// buckets. The generator's gradients are central differences of the loss; the critic's follow the chain rule
// in plain loops, because differences would step over the kinks of its penalty.
#include "tests/mpi/gan_world.h"
#include "tests/unit/gan_reference.h"

enum { FEATURES = 3, INPUTS = FEATURES + 2 * K + LONGEST + 1, BEFORE = 2 };

static struct thaw_comm *comm;
static char folder[THAW_PATH_MAX];

// ---- Arrays that learn ----

struct array {
    size_t n;
    double *p, *m, *v, *averaged, *gradient; // averaged: NULL where there is none
    double *old;                             // p before the step
};

static void array_new(struct array *a, size_t n, const float *p, const float *m, const float *v,
                      const float *averaged) {
    *a = (struct array){.n = n, .p = case_doubles(p, n), .m = case_doubles(m, n), .v = case_doubles(v, n)};
    if (averaged) a->averaged = case_doubles(averaged, n);
    a->old = case_doubles(p, n);
    a->gradient = calloc(n + 1, sizeof *a->gradient);
}

static void array_clear(struct array *a) {
    free(a->p);
    free(a->m);
    free(a->v);
    free(a->averaged);
    free(a->gradient);
    free(a->old);
}

// Kingma & Ba 2015, and the running average.
static void array_learn(struct array *a, double beta1, double beta2, double decay, double rate, int64_t t,
                        double keep) {
    for (size_t i = 0; i < a->n; i++) {
        const double g = a->gradient[i] + decay * a->p[i];
        a->m[i] = beta1 * a->m[i] + (1 - beta1) * g;
        a->v[i] = beta2 * a->v[i] + (1 - beta2) * g * g;
        a->p[i] -= rate * (a->m[i] / (1 - pow(beta1, (double)t))) /
                   (sqrt(a->v[i] / (1 - pow(beta2, (double)t))) + 1e-8);
        if (a->averaged) a->averaged[i] = keep * a->averaged[i] + (1 - keep) * a->p[i];
        a->gradient[i] = 0;
    }
}

// ---- The step ----

struct sample {
    struct gan_case c; // of one user, whose rows are the draws
    int64_t known[LONGEST];
    bool asked[TINY_ITEMS];
    double nasked, real[K];
};

struct reference {
    const struct thaw_gan_config *config;
    struct thaw_gan_layout at, critic_at;
    struct array generator, critic, table[THAW_GAN_TABLES];
    float *fixed; // NULL without a critic
    struct sample sample[BATCH];
    double targets; // of the batch
    struct thaw_gan_record record;
};

static void reference_new(struct reference *r, const struct gan_world *w) {
    const struct thaw_gan *g = w->g;
    const struct thaw_gan_net *net = &g->generator, *critic = &g->critic;
    *r = (struct reference){.config = &g->config, .at = g->layout, .critic_at = g->critic_layout};
    array_new(&r->generator, net->n, net->p, net->m, net->v, net->averaged);
    if (g->items->fixed) {
        array_new(&r->critic, critic->n, critic->p, critic->m, critic->v, NULL);
        r->fixed = gan_world_table(w, THAW_GAN_EMBEDDING, g->items->fixed);
    }
    for (int i = 0; i < THAW_GAN_TABLES; i++) {
        const float *const own[] = {g->items->p[i], g->items->m[i], g->items->v[i], g->items->averaged[i]};
        float *all[4];
        for (int j = 0; j < 4; j++) all[j] = gan_world_table(w, i, own[j]);
        array_new(&r->table[i], TINY_ITEMS * thaw_gan_width(g->items, i), all[0], all[1], all[2], all[3]);
        for (int j = 0; j < 4; j++) free(all[j]);
    }
}

static void samples_clear(struct reference *r) {
    for (int i = 0; i < BATCH; i++) case_clear(&r->sample[i].c);
    memset(r->sample, 0, sizeof r->sample);
}

static void reference_clear(struct reference *r) {
    samples_clear(r);
    array_clear(&r->generator);
    array_clear(&r->critic);
    for (int i = 0; i < THAW_GAN_TABLES; i++) array_clear(&r->table[i]);
    free(r->fixed);
}

static void sample_new(struct sample *s, const struct reference *r, const struct thaw_batch *batch, int i,
                       int64_t number) {
    const struct thaw_gan_config *config = r->config;
    const int noise = config->shape.noise;
    const int64_t user = batch->user[i];
    struct gan_case *c = &s->c;
    c->shape = config->shape;
    c->slice = (struct thaw_gan_slice){.b = 1, .draws = noise ? THAW_GAN_DRAWS : 1};
    c->n[0] = batch->n[i];
    for (int j = 0; j < FEATURES; j++) {
        c->feature[c->feature_ptr[1]] = (uint32_t)j;
        c->feature_value[c->feature_ptr[1]++] = gan_world_feature(user, j);
    }
    c->z = calloc((size_t)(c->slice.draws * noise) + 1, sizeof *c->z);
    for (int d = 0; d < c->slice.draws; d++)
        thaw_gan_noise(c->z + d * noise, noise, config->seed,
                       (uint64_t)((number * BATCH + i) * THAW_GAN_DRAWS + d));
    c->exact_known = calloc(LONGEST * K, sizeof *c->exact_known);
    c->fixed = calloc(CASE_USERS * LONGEST * K, sizeof *c->fixed);
    for (int item = 0; item < TINY_ITEMS; item++) s->asked[item] = tiny_value(user, item) > 0;
    for (int j = 0; j < c->n[0]; j++) {
        const int64_t item = s->known[j] = batch->known[i * LONGEST + j];
        s->asked[item] = false;
        memcpy(c->exact_known + j * K, r->table[THAW_GAN_EMBEDDING].p + item * K, K * sizeof(double));
        if (r->fixed) memcpy(c->fixed + j * K, r->fixed + item * K, K * sizeof(float));
    }
    for (int item = 0; item < TINY_ITEMS; item++) s->nasked += s->asked[item];
}

// Collective. The samples of batch `number`.
static void samples_new(struct reference *r, const struct gan_world *w, int64_t number) {
    const struct thaw_batch *b;
    problem_ok(thaw_episodes_batch(w->g->episodes, number, &b, NULL), NULL);
    float *real = gan_world_gather(w, b->real, (size_t)(b->end - b->begin) * K);
    samples_clear(r);
    r->targets = 0;
    for (int i = 0; i < BATCH; i++) {
        sample_new(&r->sample[i], r, b, i, number);
        for (int j = 0; j < K; j++) r->sample[i].real[j] = (double)real[i * K + j];
        r->targets += r->sample[i].nasked;
    }
    free(real);
}

// ---- The generator ----

// The mean latent; first: that of the first draw.
static void sample_latent(const struct reference *r, const struct sample *s, double first[K], double u[K]) {
    const int draws = s->c.slice.draws;
    double drawn[K];
    exact_generate(&s->c, r->generator.p, 0, first);
    memcpy(u, first, K * sizeof *u);
    for (int d = 1; d < draws; d++) {
        exact_generate(&s->c, r->generator.p, d, drawn);
        for (int j = 0; j < K; j++) u[j] += drawn[j];
    }
    for (int j = 0; j < K; j++) u[j] /= draws;
}

// exp of the logits; their sum. likelihood: of the items asked for, logarithms added.
static double sample_exp(const struct reference *r, const struct sample *s, const double u[K],
                         double e[TINY_ITEMS], double *likelihood) {
    const double *decoder = r->table[THAW_GAN_DECODER].p, *bias = r->table[THAW_GAN_BIAS].p;
    const double scale = exp(r->generator.p[r->at.log_scale]);
    double sum = 0, asked = 0;
    for (int i = 0; i < TINY_ITEMS; i++) {
        double logit = bias[i];
        for (int j = 0; j < K; j++) logit += scale * u[j] * decoder[i * K + j];
        sum += e[i] = exp(logit);
        if (s->asked[i]) asked += logit;
    }
    *likelihood = asked - s->nasked * log(sum);
    return sum;
}

// What a sample adds to the loss; with record, to its parts as well.
static double sample_loss(const struct reference *r, const struct sample *s, struct thaw_gan_record *record) {
    const struct thaw_gan_config *config = r->config;
    double first[K], u[K], e[TINY_ITEMS], likelihood, latent = 0, judged = 0;
    sample_latent(r, s, first, u);
    sample_exp(r, s, u, e, &likelihood);
    for (int j = 0; j < K; j++) latent += (u[j] - s->real[j]) * (u[j] - s->real[j]) / BATCH;
    if (config->adversary > 0) judged = exact_critic(&s->c, r->critic.p, 0, first) / BATCH;
    if (record) {
        record->nll -= likelihood / r->targets;
        record->latent += latent;
        record->judged += judged;
    }
    return -likelihood / r->targets + config->latent_loss * latent - config->adversary * judged;
}

static double batch_loss(const struct reference *r) {
    double sum = 0;
    for (int i = 0; i < BATCH; i++) sum += sample_loss(r, &r->sample[i], NULL);
    return sum;
}

// Collective, to save time: a rank takes every size-th number, and integers put their bits together.
static void network_gradient(struct reference *r) {
    const double step = 1e-5;
    const size_t first = (size_t)thaw_comm_rank(comm), stride = (size_t)thaw_comm_size(comm);
    for (size_t i = first; i < r->generator.n; i += stride) {
        double *at = &r->generator.p[i];
        const double was = *at;
        *at = was + step;
        const double above = batch_loss(r);
        *at = was - step;
        r->generator.gradient[i] = (above - batch_loss(r)) / (2 * step);
        *at = was;
    }
    thaw_comm_sum_i64(comm, (int64_t *)(void *)r->generator.gradient, (int64_t)r->generator.n);
}

static void embedding_gradient(struct reference *r, struct sample *s) {
    const double step = 1e-5;
    for (int i = 0; i < s->c.n[0] * K; i++) {
        double *at = &s->c.exact_known[i];
        const double was = *at;
        *at = was + step;
        const double above = sample_loss(r, s, NULL);
        *at = was - step;
        const double below = sample_loss(r, s, NULL);
        *at = was;
        r->table[THAW_GAN_EMBEDDING].gradient[s->known[i / K] * K + i % K] += (above - below) / (2 * step);
    }
}

// Of decoder and bias: a softmax's, probability less what was asked for.
static void decoder_gradient(struct reference *r, const struct sample *s) {
    const double scale = exp(r->generator.p[r->at.log_scale]);
    double first[K], u[K], e[TINY_ITEMS], likelihood;
    sample_latent(r, s, first, u);
    const double sum = sample_exp(r, s, u, e, &likelihood);
    for (int i = 0; i < TINY_ITEMS; i++) {
        const double d = (s->nasked * e[i] / sum - s->asked[i]) / r->targets;
        r->table[THAW_GAN_BIAS].gradient[i] += d;
        for (int j = 0; j < K; j++) r->table[THAW_GAN_DECODER].gradient[i * K + j] += d * scale * u[j];
    }
}

// Collective.
static void generator_step(struct reference *r, int64_t step) {
    const struct thaw_gan_config *config = r->config;
    const bool adversary = config->adversary > 0;
    const double beta1 = adversary ? .5 : .9, beta2 = adversary ? .9 : .999;
    const double rate = config->rate * (.525 + .475 * cos(M_PI * (double)step / (double)config->steps));
    const double keep = fmin(config->averaging, (1 + (double)step) / (10 + (double)step));
    r->record.loss = 0;
    for (int i = 0; i < BATCH; i++) r->record.loss += sample_loss(r, &r->sample[i], &r->record);
    network_gradient(r);
    for (int i = 0; i < BATCH; i++) {
        embedding_gradient(r, &r->sample[i]);
        decoder_gradient(r, &r->sample[i]);
    }
    array_learn(&r->generator, beta1, beta2, config->weight_decay, rate, step + 1, keep);
    for (int i = 0; i < THAW_GAN_TABLES; i++)
        array_learn(&r->table[i], beta1, beta2, config->weight_decay, rate, step + 1, keep);
}

// ---- The critic ----

// A latent on its way through the critic: layers, slopes, and D's gradients before them.
struct point {
    double x[INPUTS], h1[HIDDEN], s1[HIDDEN], h2[HIDDEN], s2[HIDDEN], d1[HIDDEN], d2[HIDDEN], value;
};

static void point_at(struct point *q, const struct reference *r, const struct gan_case *c,
                     const double u[K]) {
    const struct thaw_gan_layout *at = &r->critic_at;
    const double *p = r->critic.p, *w2 = p + at->second_w, *w3 = p + at->last_w;
    double fixed[LONGEST * K];
    for (int i = 0; i < LONGEST * K; i++) fixed[i] = (double)c->fixed[i];
    memcpy(q->x, u, K * sizeof *u);
    exact_features(c, 0, q->x + K);
    exact_mean(c, fixed, 0, q->x + K + FEATURES);
    for (int n = 0; n <= LONGEST; n++) q->x[2 * K + FEATURES + n] = n == c->n[0];
    exact_linear(q->x, INPUTS, p + at->first_w, p + at->first_b, HIDDEN, q->h1);
    for (int j = 0; j < HIDDEN; j++) q->h1[j] *= q->s1[j] = q->h1[j] > 0 ? 1 : .2;
    exact_linear(q->h1, HIDDEN, w2, p + at->second_b, HIDDEN, q->h2);
    for (int j = 0; j < HIDDEN; j++) q->h2[j] *= q->s2[j] = q->h2[j] > 0 ? 1 : .2;
    exact_linear(q->h2, HIDDEN, w3, p + at->last_b, 1, &q->value);
    for (int j = 0; j < HIDDEN; j++) q->d2[j] = q->s2[j] * w3[j];
    for (int i = 0; i < HIDDEN; i++) {
        q->d1[i] = 0;
        for (int j = 0; j < HIDDEN; j++) q->d1[i] += q->s1[i] * w2[i * HIDDEN + j] * q->d2[j];
    }
}

// w[rows x HIDDEN] += scale x y'
static void outer_add(double *w, const double *x, int rows, const double *y, double scale) {
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < HIDDEN; j++) w[i * HIDDEN + j] += scale * x[i] * y[j];
}

// The gradient of scale D.
static void value_back(struct reference *r, const struct point *q, double scale) {
    const struct thaw_gan_layout *at = &r->critic_at;
    const double one = 1;
    double *g = r->critic.gradient;
    outer_add(g + at->first_w, q->x, INPUTS, q->d1, scale);
    outer_add(g + at->first_b, &one, 1, q->d1, scale);
    outer_add(g + at->second_w, q->h1, HIDDEN, q->d2, scale);
    outer_add(g + at->second_b, &one, 1, q->d2, scale);
    outer_add(g + at->last_w, &one, 1, q->h2, scale);
}

// The gradient of scale (|g| - 1)^2, g = dD/du, whose slopes stay; returns (|g| - 1)^2.
static double penalty_back(struct reference *r, const struct point *q, double scale) {
    const struct thaw_gan_layout *at = &r->critic_at;
    const double *w1 = r->critic.p + at->first_w, *w2 = r->critic.p + at->second_w, one = 1;
    double dg[K], square = 0, t1[HIDDEN] = {0}, t2[HIDDEN] = {0};
    for (int i = 0; i < K; i++) {
        dg[i] = 0;
        for (int j = 0; j < HIDDEN; j++) dg[i] += w1[i * HIDDEN + j] * q->d1[j];
        square += dg[i] * dg[i];
    }
    const double norm = sqrt(square);
    for (int i = 0; i < K; i++) dg[i] *= 2 * (norm - 1) / norm;
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < K; i++) t1[j] += q->s1[j] * dg[i] * w1[i * HIDDEN + j];
    for (int j = 0; j < HIDDEN; j++)
        for (int i = 0; i < HIDDEN; i++) t2[j] += q->s2[j] * t1[i] * w2[i * HIDDEN + j];
    outer_add(r->critic.gradient + at->first_w, dg, K, q->d1, scale);
    outer_add(r->critic.gradient + at->second_w, t1, HIDDEN, q->d2, scale);
    outer_add(r->critic.gradient + at->last_w, &one, 1, t2, scale);
    return (norm - 1) * (norm - 1);
}

static void critic_step(struct reference *r, int64_t number, int64_t step, int turn) {
    const struct thaw_gan_config *config = r->config;
    const double rate = config->rate * (.525 + .475 * cos(M_PI * (double)step / (double)config->steps));
    r->record.fake = r->record.real = r->record.penalty = 0;
    for (int i = 0; i < BATCH; i++) {
        const struct sample *s = &r->sample[i];
        struct thaw_rng rng = thaw_rng_at(config->seed, THAW_STREAM_MIX, (uint64_t)(number * BATCH + i));
        const double share = (double)(thaw_rng_u32(&rng) >> 8) * 0x1p-24;
        double fake[K], mix[K];
        struct point q;
        exact_generate(&s->c, r->generator.p, 0, fake);
        for (int j = 0; j < K; j++) mix[j] = share * s->real[j] + (1 - share) * fake[j];
        point_at(&q, r, &s->c, s->real);
        value_back(r, &q, -1.0 / BATCH);
        r->record.real += q.value / BATCH;
        point_at(&q, r, &s->c, fake);
        value_back(r, &q, 1.0 / BATCH);
        r->record.fake += q.value / BATCH;
        point_at(&q, r, &s->c, mix);
        r->record.penalty += config->penalty / BATCH * penalty_back(r, &q, config->penalty / BATCH);
    }
    array_learn(&r->critic, .5, .9, 0, rate * config->critic_rate, step * config->critic_steps + turn + 1, 1);
}

// ---- Comparison ----

// Entries [begin, end): how far off beside how far the step went.
static void near(const char *what, const float *got, const double *want, const double *old, size_t begin,
                 size_t end, double tolerance) {
    double off = 0, size = 0;
    for (size_t i = begin; i < end; i++) {
        const double went = want[i] - (old ? old[i] : 0), d = (double)got[i] - want[i];
        off += d * d;
        size += went * went;
    }
    if (!(sqrt(off) <= tolerance * sqrt(size)))
        print_error("%s, [%zu, %zu): off by %g of %g\n", what, begin, end, sqrt(off), sqrt(size));
    assert_true(sqrt(off) <= tolerance * sqrt(size));
}

// Where a gradient is nearly 0, Adam's step is its sign, which rounding may turn: weights are compared less
// closely than moments.
static void array_near(const char *what, const struct array *a, const float *p, const float *m,
                       const float *v, const float *averaged, size_t begin, size_t end) {
    char text[64];
    snprintf(text, sizeof text, "%s: gradient", what);
    near(text, m, a->m, NULL, begin, end, 1e-4);
    near(text, v, a->v, NULL, begin, end, 1e-4);
    snprintf(text, sizeof text, "%s: weights", what);
    near(text, p, a->p, a->old, begin, end, 1e-2);
    if (averaged) near(text, averaged, a->averaged, a->old, begin, end, 1e-2);
}

static void nets_near(const struct reference *r, const struct thaw_gan *g) {
    const struct thaw_gan_layout *c = &g->critic_layout;
    const struct thaw_gan_net *net = &g->generator, *critic = &g->critic;
    const size_t cut[] = {0, c->second_w, c->last_w, c->last_b}; // the constant at the end does nothing
    for (enum thaw_gan_stage i = 0; i < THAW_GAN_STAGES; i++)
        array_near("generator", &r->generator, net->p, net->m, net->v, net->averaged,
                   thaw_gan_stage_begin(&g->layout, i), thaw_gan_stage_end(&g->layout, i));
    for (int i = 0; critic->n && i < 3; i++)
        array_near("critic", &r->critic, critic->p, critic->m, critic->v, NULL, cut[i], cut[i + 1]);
}

// Collective.
static void tables_near(const struct reference *r, const struct gan_world *w) {
    const struct thaw_gan_items *t = w->g->items;
    static const char *const name[] = {"embedding", "decoder", "bias"};
    for (int i = 0; i < THAW_GAN_TABLES; i++) {
        float *p = gan_world_table(w, i, t->p[i]), *m = gan_world_table(w, i, t->m[i]);
        float *v = gan_world_table(w, i, t->v[i]), *averaged = gan_world_table(w, i, t->averaged[i]);
        array_near(name[i], &r->table[i], p, m, v, averaged, 0, r->table[i].n);
        free(p);
        free(m);
        free(v);
        free(averaged);
    }
}

static void record_near(const struct thaw_gan_record *got, const struct thaw_gan_record *want) {
    const float x[] = {(float)got->loss, (float)got->nll,  (float)got->latent, (float)got->judged,
                       (float)got->fake, (float)got->real, (float)got->penalty};
    const double y[] = {want->loss, want->nll,  want->latent, want->judged,
                        want->fake, want->real, want->penalty};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (fabs((double)x[i] - y[i]) > 1e-5 * (1 + fabs(y[i])))
            fail_msg("number %zu of the record: %g, by hand %g", i, (double)x[i], y[i]);
}

// The step after BEFORE others.
static void check(double adversary) {
    static struct reference r; // too much for a stack
    struct thaw_gan_config config = gan_world_config(adversary, 0);
    struct gan_world w;
    config.shape.features = FEATURES;
    config.weight_decay = 1e-3;
    config.critic_rate = .7;
    gan_world_begin(&w, comm, folder, &config);
    for (int i = 0; i < BEFORE; i++) gan_world_step(&w);
    thaw_gan_gather(w.g);
    reference_new(&r, &w);
    const int turns = adversary > 0 ? config.critic_steps : 0;
    const int64_t first = BEFORE * (turns + 1);
    for (int i = 0; i < turns; i++) {
        samples_new(&r, &w, first + i);
        critic_step(&r, first + i, BEFORE, i);
    }
    samples_new(&r, &w, first + turns);
    generator_step(&r, BEFORE);
    gan_world_step(&w);
    record_near(&w.g->record[BEFORE], &r.record);
    thaw_gan_gather(w.g);
    nets_near(&r, w.g);
    tables_near(&r, &w);
    reference_clear(&r);
    gan_world_end(&w);
}

static void by_likelihood_alone(void **state) {
    (void)state;
    check(0);
}

static void with_a_critic(void **state) {
    (void)state;
    check(.5);
}

int main(void) {
    if (thaw_comm_begin(&comm, NULL)) return 1;
    tiny_folder(comm, folder);
    if (thaw_comm_rank(comm) == 0 && tiny_write(folder)) return 1;
    thaw_comm_barrier(comm);
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_likelihood_alone),
                                       cmocka_unit_test(with_a_critic)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_folder_remove(comm, folder);
    thaw_comm_end(&comm);
    return failed;
}
