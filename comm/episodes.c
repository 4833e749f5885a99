// episodes.c: users and what is known of them, brought to all ranks some batches at a time.
//
// Everybody gets all known items, and of the targets those among its items; profiles and latents go to those
// whose samples they are.
#include "comm/episodes.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comm/shuffle.h"
#include "gan/gan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ROUND = 8 };             // batches that travel together
enum { ROUND_BYTES = 8 << 20 }; // at a time

// A record in 64-bit words: these, then known items, features (column << 32 | value's bits), the latent, two
// floats a word, and the rank's targets, two 32-bit rows a word. LATENT: words of it; TARGETS: of all ranks.
enum { PLACE, USER, KNOWN, TARGETS, FEATURES, LATENT, REST, HEAD };

struct thaw_episodes {
    struct thaw_comm *c;
    struct thaw_episodes_config config;
    const struct thaw_histories *h;
    const float *real;
    int k;
    const struct thaw_plan *items;
    int64_t neligible, first_eligible;
    int64_t *eligible; // of this rank: local user rows
    int64_t own;       // how many
    int64_t round;     // at hand; -1: none
    int64_t filling;   // the round whose episodes are put; -1: none
    int64_t place;     // the first of them that is not there
    int code;          // of putting them
    struct thaw_err err;
    struct thaw_shuffle *shuffle;
    uint64_t *sent; // a record on its way
    int64_t *left;  // items of an episode
    size_t sent_cap, left_cap;
    uint64_t *word; // the round's records
    size_t word_n, word_cap;
    const uint64_t **record; // ROUND x batch
    double wait_s;
    struct thaw_batch at; // views into what follows
    int64_t *user, *known, *nrest, *rest_ptr, *feature_ptr;
    int32_t *n, *rest;
    uint32_t *feature;
    float *feature_value, *latent;
    size_t rest_cap, feature_cap, value_cap;
};

// ---- Draws ----

// Four rounds of Feistel over twice `half` bits, walked until the value is below n (Black & Rogaway 2002,
// "Ciphers with arbitrary finite domains").
int64_t thaw_shuffled(uint64_t seed, uint64_t epoch, int64_t i, int64_t n) {
    struct thaw_rng keys = thaw_rng_at(seed, THAW_STREAM_EPOCH, epoch);
    uint64_t key[4], x = (uint64_t)i;
    int half = 1;
    while (half < 31 && ((int64_t)1 << (2 * half)) < n) half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    for (int r = 0; r < 4; r++) key[r] = thaw_rng_u64(&keys);
    do {
        uint64_t left = x >> half, right = x & mask;
        for (int r = 0; r < 4; r++) {
            uint64_t f = (right + key[r]) * 0x9e3779b97f4a7c15u;
            f = (f ^ f >> 29) * 0xbf58476d1ce4e5b9u;
            const uint64_t next = left ^ ((f >> 32) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= (uint64_t)n);
    return (int64_t)x;
}

// Floyd's sampling (Bentley & Floyd 1987, "A sample of brilliance").
void thaw_draw_distinct(struct thaw_rng *rng, int64_t n, int m, int64_t *out) {
    for (int i = 0; i < m; i++) {
        const int64_t top = n - m + i;
        int64_t drawn = (int64_t)thaw_rng_below(rng, (uint64_t)top + 1);
        for (int j = 0; j < i; j++)
            if (out[j] == drawn) {
                drawn = top;
                break;
            }
        out[i] = drawn;
    }
}

int thaw_batch_begin(int b, int size, int rank) {
    const int64_t slices = (b + THAW_GAN_SLICE - 1) / THAW_GAN_SLICE;
    const int64_t at = slices * rank / size * THAW_GAN_SLICE;
    return at < b ? (int)at : b;
}

// ---- Begin and end ----

// Records of the round, as they come.
static int arrive(void *user, int source, const void *bytes, size_t nbytes, struct thaw_err *err) {
    struct thaw_episodes *e = user;
    const size_t n = nbytes / sizeof *e->word;
    const int code = thaw_grow(&e->word, &e->word_cap, e->word_n + n, sizeof *e->word, "episodes", err);
    (void)source;
    if (code) return code;
    memcpy(e->word + e->word_n, bytes, nbytes);
    e->word_n += n;
    return THAW_OK;
}

static int find_eligible(struct thaw_episodes *e, struct thaw_err *err) {
    const struct thaw_histories *h = e->h;
    int code = thaw_alloc(&e->eligible, (size_t)h->nusers, sizeof *e->eligible, "eligible users", err);
    for (int64_t r = 0; !code && r < h->nusers; r++) {
        const int64_t length = thaw_histories_length(h, r);
        if ((e->config.held_out || !h->held_out[r]) && length >= e->config.least && length <= e->config.most)
            e->eligible[e->own++] = r;
    }
    return code;
}

static int allocate(struct thaw_episodes *e, struct thaw_err *err) {
    const size_t b = (size_t)e->config.batch, longest = (size_t)e->config.longest;
    const char *what = "a minibatch";
    int code = thaw_alloc(&e->record, ROUND * b, sizeof *e->record, what, err);
    if (!code) code = thaw_alloc(&e->user, b, sizeof *e->user, what, err);
    if (!code) code = thaw_alloc(&e->known, b * longest, sizeof *e->known, what, err);
    if (!code) code = thaw_alloc(&e->nrest, b, sizeof *e->nrest, what, err);
    if (!code) code = thaw_alloc(&e->rest_ptr, b + 1, sizeof *e->rest_ptr, what, err);
    if (!code) code = thaw_alloc(&e->feature_ptr, b + 1, sizeof *e->feature_ptr, what, err);
    if (!code) code = thaw_alloc(&e->n, b, sizeof *e->n, what, err);
    if (!code) code = thaw_alloc(&e->latent, b * (size_t)e->k, sizeof *e->latent, what, err);
    return code;
}

int thaw_episodes_new(struct thaw_episodes **out, struct thaw_comm *c, const struct thaw_histories *h,
                      const float *real, int k, const struct thaw_plan *items,
                      const struct thaw_episodes_config *config, struct thaw_err *err) {
    struct thaw_episodes *e = NULL;
    int code = thaw_alloc(&e, 1, sizeof *e, "episodes", err);
    if (!code) {
        *e = (struct thaw_episodes){.c = c,
                                    .config = *config,
                                    .h = h,
                                    .real = real,
                                    .k = k,
                                    .items = items,
                                    .round = -1,
                                    .filling = -1};
        code = find_eligible(e, err);
    }
    if (!code) code = allocate(e, err);
    if ((code = thaw_comm_agree(c, code, err)) ||
        (code = thaw_shuffle_new(&e->shuffle, c, ROUND_BYTES, arrive, e, err)))
        goto done;
    e->neligible = e->first_eligible = e->own;
    thaw_comm_sum_i64(c, &e->neligible, 1);
    thaw_comm_exscan_i64(c, &e->first_eligible, 1);
    if (e->neligible == 0 && !config->listed) {
        code = thaw_fail(err, THAW_EDATA, "no training user has %" PRId64 " interactions: lower --rest",
                         config->least);
        goto done;
    }
    *out = e;
    e = NULL;
done:
    thaw_episodes_free(&e);
    return code;
}

void thaw_episodes_free(struct thaw_episodes **e) {
    struct thaw_episodes *x = *e;
    if (!x) return;
    thaw_shuffle_free(&x->shuffle);
    free(x->eligible);
    free(x->sent);
    free(x->left);
    free(x->word);
    free(x->record);
    free(x->user);
    free(x->known);
    free(x->nrest);
    free(x->rest_ptr);
    free(x->rest);
    free(x->feature_ptr);
    free(x->n);
    free(x->feature);
    free(x->feature_value);
    free(x->latent);
    free(x);
    *e = NULL;
}

int64_t thaw_episodes_users(const struct thaw_episodes *e) {
    return e->neligible;
}

int64_t thaw_episodes_batches(const struct thaw_episodes *e) {
    return (e->neligible + e->config.batch - 1) / e->config.batch;
}

double thaw_episodes_wait_s(const struct thaw_episodes *e) {
    return e->wait_s;
}

// ---- A round ----

static size_t record_words(const uint64_t *r) {
    return (size_t)(HEAD + r[KNOWN] + r[FEATURES] + r[LATENT] + (r[REST] + 1) / 2);
}
static const uint64_t *record_profile(const uint64_t *r) {
    return r + HEAD + r[KNOWN];
}
static const int32_t *record_rest(const uint64_t *r) {
    return (const int32_t *)(r + HEAD + r[KNOWN] + r[FEATURES] + r[LATENT]);
}

// Known items first, in the order in which they became known, then the rest in history order.
static void put_items(const struct thaw_episodes *e, int64_t row, int n, struct thaw_rng *rng, int64_t *out) {
    const int64_t *item = e->h->item + e->h->ptr[row], length = thaw_histories_length(e->h, row);
    int64_t drawn[n + 1];
    if (!e->config.by_time) thaw_draw_distinct(rng, length, n, drawn);
    for (int i = 0; i < n; i++) {
        if (e->config.by_time) drawn[i] = i;
        out[i] = item[drawn[i]];
    }
    for (int i = 1; i < n; i++) // rising: what lies between them is the rest
        for (int j = i; j > 0 && drawn[j - 1] > drawn[j]; j--) {
            const int64_t next = drawn[j];
            drawn[j] = drawn[j - 1];
            drawn[j - 1] = next;
        }
    drawn[n] = length;
    out += n;
    for (int64_t i = 0, begin = 0; i <= n; begin = drawn[i++] + 1) {
        memcpy(out, item + begin, (size_t)(drawn[i] - begin) * sizeof *out);
        out += drawn[i] - begin;
    }
}

static int64_t known_of(const struct thaw_episodes_config *c, int64_t length, struct thaw_rng *rng) {
    int64_t n = c->known == THAW_KNOWN_HALF ? length / 2 : length;
    if (c->known == THAW_KNOWN_DRAWN) {
        n = (int64_t)thaw_rng_below(rng, (uint64_t)c->longest + 1);
        if (n > length - c->rest) n = length - c->rest;
    }
    return n < c->longest ? n : c->longest;
}

// Profile and latent of a user, behind the head of a record; how many words.
static size_t put_profile(const struct thaw_episodes *e, int64_t row, uint64_t *r, uint64_t *out) {
    const struct thaw_features *f = &e->h->profile;
    const int64_t begin = f->ptr[row], n = f->ptr[row + 1] - begin;
    r[FEATURES] = (uint64_t)n;
    r[LATENT] = (uint64_t)(e->k + 1) / 2;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, f->value + begin + i, sizeof bits);
        out[i] = (uint64_t)f->column[begin + i] << 32 | bits;
    }
    if (e->k) {
        out[r[FEATURES] + r[LATENT] - 1] = 0; // half of it may be left
        memcpy(out + n, e->real + row * e->k, (size_t)e->k * sizeof *e->real);
    }
    return (size_t)(r[FEATURES] + r[LATENT]);
}

// Those of n items that a rank owns, by their place among its rows; how many. No branches: whose an item is
// cannot be foretold.
static size_t put_rest(const struct thaw_plan *items, int rank, const int64_t *item, int64_t n,
                       int32_t *out) {
    const int64_t first = items->rank_row[rank], end = items->rank_row[rank + 1];
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        out[at] = (int32_t)(item[i] - first);
        at += (item[i] >= first) & (item[i] < end);
    }
    return at;
}

// The episode at `position` of the walk, to all ranks.
static int put_episode(struct thaw_episodes *e, int64_t place, int64_t position, int64_t row,
                       struct thaw_err *err) {
    const struct thaw_features *f = &e->h->profile;
    const int64_t length = thaw_histories_length(e->h, row), sample = place % e->config.batch;
    const int size = thaw_comm_size(e->c);
    struct thaw_rng rng = thaw_rng_at(e->config.seed, THAW_STREAM_EPISODE, (uint64_t)position);
    const int64_t n = known_of(&e->config, length, &rng);
    const size_t most = (size_t)(HEAD + length + f->ptr[row + 1] - f->ptr[row] + (e->k + 1) / 2 + 1);
    int code = thaw_grow(&e->sent, &e->sent_cap, most, sizeof *e->sent, "episodes", err);
    if (!code) code = thaw_grow(&e->left, &e->left_cap, (size_t)length, sizeof *e->left, "episodes", err);
    if (code) return code;
    uint64_t *r = e->sent;
    put_items(e, row, (int)n, &rng, e->left);
    r[PLACE] = (uint64_t)place;
    r[USER] = (uint64_t)(e->h->first_row + row);
    r[KNOWN] = (uint64_t)n;
    r[TARGETS] = (uint64_t)(length - n);
    memcpy(r + HEAD, e->left, (size_t)n * sizeof *r);
    for (int to = 0; to < size; to++) {
        uint64_t *end = r + HEAD + n;
        r[FEATURES] = r[LATENT] = 0;
        if (sample >= thaw_batch_begin(e->config.batch, size, to) &&
            sample < thaw_batch_begin(e->config.batch, size, to + 1))
            end += put_profile(e, row, r, end);
        r[REST] = put_rest(e->items, to, e->left + n, length - n, (int32_t *)end);
        if (r[REST] % 2) ((int32_t *)end)[r[REST]] = 0;
        thaw_shuffle_put(e->shuffle, to, r, record_words(r) * sizeof *r);
    }
    return THAW_OK;
}

// Which of the eligible users is at this position. A list's last one fills up its last batches.
static int64_t user_at(const struct thaw_episodes *e, int64_t position) {
    const int64_t n = e->neligible;
    if (e->config.listed) return position < n ? position : n - 1;
    return thaw_shuffled(e->config.seed, (uint64_t)(position / n), position % n, n);
}

// Puts this rank's next `most` episodes of the round that is filled, while there is space. A failure stays
// in e->code.
static void fill_round(struct thaw_episodes *e, int64_t most) {
    const int64_t n = (int64_t)ROUND * e->config.batch, end = n - e->place < most ? n : e->place + most;
    for (; !e->code && e->place < end && !thaw_shuffle_full(e->shuffle); e->place++) {
        const int64_t position = e->filling * n + e->place;
        const int64_t who = user_at(e, position) - e->first_eligible;
        if (who >= 0 && who < e->own) e->code = put_episode(e, e->place, position, e->eligible[who], &e->err);
    }
}

static void begin_round(struct thaw_episodes *e, int64_t round) {
    if (e->filling >= 0) thaw_shuffle_drop(e->shuffle);
    e->filling = round;
    e->place = 0;
    e->code = THAW_OK;
    e->err = THAW_ERR_INIT;
}

void thaw_episodes_prepare(struct thaw_episodes *e) {
    if (e->filling != e->round + 1) begin_round(e, e->round + 1);
    fill_round(e, e->config.batch);
}

// Room for the largest batch of the round, and for one target more (take_rest), so that taking one cannot
// fail.
static int reserve(struct thaw_episodes *e, struct thaw_err *err) {
    size_t rest = 0, features = 0;
    for (int i = 0; i < ROUND; i++) {
        size_t r = 0, f = 0;
        for (int s = 0; s < e->config.batch; s++) {
            const uint64_t *x = e->record[(size_t)i * (size_t)e->config.batch + (size_t)s];
            r += (size_t)x[REST];
            f += (size_t)x[FEATURES];
        }
        rest = r > rest ? r : rest;
        features = f > features ? f : features;
    }
    int code = thaw_grow(&e->rest, &e->rest_cap, rest, sizeof *e->rest, "a minibatch", err);
    if (!code)
        code = thaw_grow(&e->feature, &e->feature_cap, features, sizeof *e->feature, "a minibatch", err);
    if (!code)
        code = thaw_grow(&e->feature_value, &e->value_cap, features, sizeof *e->feature_value, "a minibatch",
                         err);
    return code;
}

static int gather_round(struct thaw_episodes *e, int64_t round, struct thaw_err *err) {
    const int64_t n = (int64_t)ROUND * e->config.batch;
    bool done = false;
    if (e->filling != round) begin_round(e, round);
    e->word_n = 0;
    while (!done) {
        fill_round(e, n);
        if (e->code && err) *err = e->err;
        const double began = thaw_time_s();
        const int code = thaw_shuffle_round(e->shuffle, e->place == n, &done, e->code, err);
        if (thaw_comm_size(e->c) > 1) e->wait_s += thaw_time_s() - began;
        if (code) return code;
    }
    e->round = round;
    e->filling = -1;
    for (size_t at = 0; at < e->word_n; at += record_words(e->word + at))
        e->record[e->word[at + PLACE]] = e->word + at;
    return thaw_comm_agree(e->c, reserve(e, err), err);
}

// ---- A batch ----

// This rank's targets of one sample.
static void take_rest(struct thaw_episodes *e, int s, const uint64_t *r) {
    memcpy(e->rest + e->rest_ptr[s], record_rest(r), r[REST] * sizeof *e->rest);
    e->rest_ptr[s + 1] = e->rest_ptr[s] + (int64_t)r[REST];
}

// Profile and latent of one of this rank's samples, the i-th.
static void take_own(struct thaw_episodes *e, int i, const uint64_t *r) {
    const int64_t n = (int64_t)r[FEATURES], before = e->feature_ptr[i];
    const uint64_t *packed = record_profile(r);
    for (int64_t j = 0; j < n; j++) {
        const uint32_t bits = (uint32_t)packed[j];
        e->feature[before + j] = (uint32_t)(packed[j] >> 32);
        memcpy(&e->feature_value[before + j], &bits, sizeof bits);
    }
    e->feature_ptr[i + 1] = before + n;
    if (e->k) memcpy(e->latent + (int64_t)i * e->k, packed + n, (size_t)e->k * sizeof *e->latent);
}

static void take_batch(struct thaw_episodes *e, int64_t inside) {
    const int b = e->config.batch, longest = e->config.longest;
    const uint64_t *const *record = e->record + inside * b;
    e->at.targets = 0;
    for (int s = 0; s < b; s++) {
        const uint64_t *r = record[s];
        e->user[s] = (int64_t)r[USER];
        e->n[s] = (int32_t)r[KNOWN];
        e->nrest[s] = (int64_t)r[TARGETS];
        e->at.targets += e->nrest[s];
        for (int i = 0; i < longest; i++) e->known[s * longest + i] = i < e->n[s] ? (int64_t)r[HEAD + i] : -1;
        take_rest(e, s, r);
        if (s >= e->at.begin && s < e->at.end) take_own(e, s - e->at.begin, r);
    }
}

int thaw_episodes_batch(struct thaw_episodes *e, int64_t number, const struct thaw_batch **batch,
                        struct thaw_err *err) {
    const int size = thaw_comm_size(e->c), rank = thaw_comm_rank(e->c), b = e->config.batch;
    if (number / ROUND != e->round) {
        const int code = gather_round(e, number / ROUND, err);
        if (code) return code;
    }
    e->at = (struct thaw_batch){.b = b,
                                .longest = e->config.longest,
                                .begin = thaw_batch_begin(b, size, rank),
                                .end = thaw_batch_begin(b, size, rank + 1)};
    const int64_t left = e->neligible - number * b;
    e->at.count = !e->config.listed || left >= b ? b : left > 0 ? (int)left : 0;
    take_batch(e, number % ROUND);
    e->at.user = e->user;
    e->at.n = e->n;
    e->at.known = e->known;
    e->at.nrest = e->nrest;
    e->at.rest_ptr = e->rest_ptr;
    e->at.rest = e->rest;
    e->at.feature_ptr = e->feature_ptr;
    e->at.feature = e->feature;
    e->at.feature_value = e->feature_value;
    e->at.real = e->latent;
    *batch = &e->at;
    return THAW_OK;
}
