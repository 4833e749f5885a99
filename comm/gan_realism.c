// gan_realism.c: see gan_realism.h.
#include "comm/gan_realism.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { B = THAW_APPLY_BATCH, USERS = THAW_REALISM_BATCHES * THAW_APPLY_BATCH, COMPARED = 50000 };
#define COPY .8

struct taken { // an item of a user of the batch
    int64_t item;
    int32_t sample, pad;
};

struct measure {
    struct thaw_comm *c;
    const struct thaw_virtual_plan *plan;
    struct thaw_gan_apply *a;
    struct taken *own, *all; // of the batch: found by this rank; all, by item
    size_t own_cap;
    int64_t nown, nall;
    double *count[2];  // virtual, real: users of each of this rank's items
    float *latent[2];  // USERS x k
    double sums[2][3]; // items, similarities, copies
};

static int by_item(const void *x, const void *y) {
    const struct taken *a = x, *b = y;
    if (a->item != b->item) return a->item < b->item ? -1 : 1;
    return (a->sample > b->sample) - (a->sample < b->sample);
}

static int add_taken(struct measure *m, int sample, int64_t item, struct thaw_err *err) {
    const int code =
        thaw_grow(&m->own, &m->own_cap, (size_t)m->nown + 1, sizeof *m->own, "users to compare", err);
    if (!code) m->own[m->nown++] = (struct taken){.item = item, .sample = sample};
    return code;
}

// ---- Who ----

// Items of the batch's virtual users; each rank keeps some of them.
static int take_virtual(struct measure *m, int64_t number, struct thaw_picks *picks, struct thaw_err *err) {
    int64_t want[B];
    int owner[B];
    for (int s = 0; s < B; s++) {
        want[s] = m->a->batch->n[s] + m->a->batch->nrest[s];
        owner[s] = s % thaw_comm_size(m->c);
    }
    int code = thaw_gan_apply_pick(m->a, THAW_PICK_DRAW, want, number, owner, picks, err);
    if (code) return code;
    for (int s = 0; s < B; s++)
        for (int64_t i = picks->ptr[s]; !code && i < picks->ptr[s + 1]; i++)
            code = add_taken(m, s, picks->item[i], err);
    return thaw_comm_agree(m->c, code, err);
}

// Items of the batch's real users.
static int take_real(struct measure *m, struct thaw_err *err) {
    const struct thaw_histories *h = m->plan->h;
    int code = THAW_OK;
    for (int s = 0; s < B; s++) {
        const int64_t row = m->a->batch->user[s] - h->first_row;
        if (row < 0 || row >= h->nusers) continue;
        for (int64_t i = h->ptr[row]; !code && i < h->ptr[row + 1]; i++)
            code = add_taken(m, s, h->item[i], err);
    }
    return thaw_comm_agree(m->c, code, err);
}

// Collective. What all ranks found, by item.
static int share(struct measure *m, struct thaw_err *err) {
    void *all = NULL;
    int64_t nbytes = 0;
    const int code =
        thaw_comm_gather(m->c, m->own, m->nown * (int64_t)sizeof *m->own, -1, &all, &nbytes, err);
    if (code) return code;
    free(m->all);
    m->all = all;
    m->nall = nbytes / (int64_t)sizeof *m->own;
    m->nown = 0;
    if (m->nall) qsort(m->all, (size_t)m->nall, sizeof *m->all, by_item);
    return THAW_OK;
}

// ---- Similarity ----

// Is this training user among those compared with?
static bool compared(const struct measure *m, int64_t row) {
    const struct thaw_histories *h = m->plan->h;
    struct thaw_rng rng = thaw_rng_at(m->plan->seed, THAW_STREAM_VIRTUAL, h->key[row]);
    return !h->held_out[row] && thaw_histories_length(h, row) > 0 &&
           thaw_rng_uniform(&rng) * (double)h->training_users < COMPARED;
}

// The first of the batch's entries with this item.
static int64_t find(const struct measure *m, int64_t item) {
    int64_t low = 0, high = m->nall;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (m->all[middle].item < item)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Collective. Largest Jaccard similarity of each of the batch's users with a training user; with itself not
// counted (self).
static void nearest(const struct measure *m, const int64_t *size, bool self, double best[B]) {
    const struct thaw_histories *h = m->plan->h;
    memset(best, 0, B * sizeof *best);
    for (int64_t row = 0; row < h->nusers; row++) {
        int64_t both[B] = {0};
        if (!compared(m, row)) continue;
        for (int64_t i = h->ptr[row]; i < h->ptr[row + 1]; i++)
            for (int64_t at = find(m, h->item[i]); at < m->nall && m->all[at].item == h->item[i]; at++)
                both[m->all[at].sample]++;
        for (int s = 0; s < B; s++) {
            if (self && m->a->batch->user[s] == h->first_row + row) continue;
            const double similarity =
                (double)both[s] / (double)(size[s] + thaw_histories_length(h, row) - both[s]);
            best[s] = fmax(best[s], similarity);
        }
    }
    thaw_comm_max_f64(m->c, best, B);
}

// Collective. Counts and similarities of the batch's users, virtual (0) or real (1).
static int compare(struct measure *m, int kind, struct thaw_err *err) {
    const int64_t first = m->a->items->first, rows = m->a->items->rows;
    int64_t size[B] = {0};
    double best[B];
    const int code = share(m, err);
    if (code) return code;
    for (int64_t i = 0; i < m->nall; i++) {
        const int64_t row = m->all[i].item - first;
        size[m->all[i].sample]++;
        if (row >= 0 && row < rows) m->count[kind][row]++;
    }
    nearest(m, size, kind == 1, best);
    for (int s = 0; s < B; s++) {
        m->sums[kind][0] += (double)size[s];
        m->sums[kind][1] += best[s];
        m->sums[kind][2] += best[s] >= COPY;
    }
    return THAW_OK;
}

// ---- Latents ----

// Collective. Those of the batch: virtual ones are at hand, real ones with the samples' ranks.
static int take_latents(struct measure *m, int kind, int64_t batch, struct thaw_err *err) {
    const struct thaw_batch *b = m->a->batch;
    const size_t k = (size_t)m->a->shape.k;
    float *to = m->latent[kind] + (size_t)batch * B * k;
    void *all = NULL;
    int64_t nbytes;
    if (kind == 0) {
        memcpy(to, m->a->u, B * k * sizeof *to);
        return THAW_OK;
    }
    const int code = thaw_comm_gather(m->c, b->real, (int64_t)((size_t)(b->end - b->begin) * k * sizeof *to),
                                      -1, &all, &nbytes, err);
    if (!code) memcpy(to, all, (size_t)nbytes);
    free(all);
    return code;
}

static double variance_of(const float *x, int n, int k) {
    double total = 0;
    for (int j = 0; j < k; j++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < n; i++) {
            const double v = x[(size_t)i * (size_t)k + (size_t)j];
            sum += v;
            squares += v * v;
        }
        total += squares / n - sum / n * (sum / n);
    }
    return total / k;
}

static double distance(const float *x, const float *y, int k) {
    double sum = 0;
    for (int j = 0; j < k; j++) sum += (double)(x[j] - y[j]) * (double)(x[j] - y[j]);
    return sum;
}

// Share of users whose nearest neighbour is of their own kind.
static double told_apart(const struct measure *m) {
    const int k = m->a->shape.k;
    int64_t own = 0;
#pragma omp parallel for schedule(static) reduction(+ : own)
    for (int i = 0; i < 2 * USERS; i++) {
        const float *x = m->latent[i / USERS] + (size_t)(i % USERS) * (size_t)k;
        double best = INFINITY;
        int nearest_one = 0;
        for (int j = 0; j < 2 * USERS; j++) {
            if (j == i) continue;
            const double d = distance(x, m->latent[j / USERS] + (size_t)(j % USERS) * (size_t)k, k);
            if (d < best) {
                best = d;
                nearest_one = j;
            }
        }
        own += nearest_one / USERS == i / USERS;
    }
    return (double)own / (2 * USERS);
}

// ---- All of it ----

// Collective. Total variation between shares of items: of the counted users, of all.
static int variation(const struct measure *m, int kind, const int64_t *degree, double *out,
                     struct thaw_err *err) {
    const int64_t rows = m->a->items->rows;
    double *term = NULL;
    int code = thaw_alloc(&term, (size_t)rows, sizeof *term, "popularity", err);
    int64_t all = 0;
    for (int64_t i = 0; i < rows; i++) all += degree[i];
    if ((code = thaw_comm_agree(m->c, code, err))) return code;
    thaw_comm_sum_i64(m->c, &all, 1);
    for (int64_t i = 0; i < rows; i++)
        term[i] = fabs(m->count[kind][i] / m->sums[kind][0] - (double)degree[i] / (double)all) / 2;
    code = thaw_comm_exact_sum(m->c, term, rows, 1, out, err);
    free(term);
    return code;
}

static int allocate(struct measure *m, struct thaw_err *err) {
    const size_t rows = (size_t)m->plan->item_rows->rows, k = (size_t)m->plan->shape.k;
    int code = THAW_OK;
    for (int kind = 0; !code && kind < 2; kind++) {
        code = thaw_alloc(&m->count[kind], rows, sizeof(double), "popularity", err);
        if (!code) code = thaw_alloc(&m->latent[kind], USERS * k, sizeof(float), "latents", err);
    }
    return thaw_comm_agree(m->c, code, err);
}

static void fill(const struct measure *m, struct thaw_realism *r) {
    const double n = USERS;
    const int k = m->a->shape.k;
    r->users = USERS;
    r->degree = m->sums[0][0] / n;
    r->real_degree = m->sums[1][0] / n;
    r->nearest = m->sums[0][1] / n;
    r->real_nearest = m->sums[1][1] / n;
    r->copies = m->sums[0][2] / n;
    r->real_copies = m->sums[1][2] / n;
    r->variance = variance_of(m->latent[0], USERS, k) / variance_of(m->latent[1], USERS, k);
    r->told = told_apart(m);
}

int thaw_realism_measure(struct thaw_comm *c, const struct thaw_virtual_plan *plan, const float *real,
                         const int64_t *degree, struct thaw_realism *r, struct thaw_err *err) {
    const struct thaw_episodes_config config = {.least = plan->rest,
                                                .most = INT64_MAX,
                                                .rest = plan->rest,
                                                .seed = plan->seed ^ 0x5bd1e995,
                                                .by_time = plan->by_time};
    struct measure m = {.c = c, .plan = plan};
    struct thaw_picks picks = {0};
    int code = allocate(&m, err);
    if (!code)
        code = thaw_gan_apply_new(&m.a, c, &plan->shape, plan->net, plan->item_rows, plan->h, real, config, 1,
                                  err);
    for (int64_t i = 0; !code && i < 2 * THAW_REALISM_BATCHES;
         i++) { // virtual ones first, then other real ones
        const int kind = i >= THAW_REALISM_BATCHES;
        if (!(code = thaw_gan_apply_batch(m.a, i, err)))
            code = kind ? take_real(&m, err) : take_virtual(&m, i, &picks, err);
        if (!code) code = take_latents(&m, kind, i % THAW_REALISM_BATCHES, err);
        if (!code) code = compare(&m, kind, err);
    }
    if (!code) code = variation(&m, 0, degree, &r->popularity, err);
    if (!code) code = variation(&m, 1, degree, &r->real_popularity, err);
    if (!code) fill(&m, r);
    thaw_picks_clear(&picks);
    thaw_gan_apply_free(&m.a);
    for (int kind = 0; kind < 2; kind++) {
        free(m.count[kind]);
        free(m.latent[kind]);
    }
    free(m.own);
    free(m.all);
    return code;
}
