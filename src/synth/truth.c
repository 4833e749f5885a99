#include "synth/truth.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int bits_of(int64_t n) { // the smallest b with 2^b >= n
    int b = 0;
    while (b < 62 && (INT64_C(1) << b) < n) b++;
    return b;
}

static struct synth_ids ids_make(uint64_t seed, uint64_t side, int bits) {
    struct synth_ids ids = {.bits = bits};
    struct thaw_rng rng = thaw_rng_at(seed, SYNTH_BASE, UINT64_MAX - side);
    ids.shift = thaw_rng_u64(&rng);
    for (int i = 0; i < 3; i++) ids.factor[i] = thaw_rng_u64(&rng) | 1;
    return ids;
}

uint64_t synth_ids_mix(const struct synth_ids *ids, uint64_t number) {
    uint64_t mask = (UINT64_C(1) << ids->bits) - 1;
    int half = (ids->bits + 1) / 2;
    number = (number + ids->shift) & mask;
    for (int i = 0; i < 3; i++) {
        number = (number * ids->factor[i]) & mask; // every step can be undone: a bijection
        if (half > 0) number ^= number >> half;
    }
    return number;
}

// The common logits and the effects of profile values, scaled as the model says.
static int world_draw(struct thaw_synth *s, struct thaw_err *err) {
    int cells = s->genres + s->groups;
    for (int a = 0; a < THAW_SYNTH_ATTRIBUTES; a++) {
        s->value_row[a] = s->values;
        s->values += thaw_words_attribute[a].nvalues;
    }
    int rc = thaw_alloc(&s->base, (size_t)cells, sizeof *s->base, "the common taste", err);
    if (!rc)
        rc = thaw_alloc(&s->effect, (size_t)cells * (size_t)s->values, sizeof *s->effect, "profile effects",
                        err);
    if (rc) return rc;

    for (int c = 0; c < cells; c++) {
        struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_BASE, (uint64_t)c);
        s->base[c] = (float)((c < s->genres ? 0.6 : 0.5) * thaw_rng_normal(&rng));
    }
    for (int a = 0; a < THAW_SYNTH_ATTRIBUTES; a++) {
        double strength = thaw_words_attribute[a].effect * s->o.profile_strength;
        for (int v = 0; v < thaw_words_attribute[a].nvalues; v++) {
            int row = s->value_row[a] + v;
            struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_EFFECT, (uint64_t)row);
            for (int c = 0; c < cells; c++)
                s->effect[(int64_t)row * cells + c] =
                    (float)((c < s->genres ? 1 : 0.5) * strength * thaw_rng_normal(&rng));
        }
    }
    return THAW_OK;
}

static int options_check(const struct thaw_synth_options *o, struct thaw_err *err) {
    bool sizes = o->users >= 1 && o->users <= INT64_C(1) << 40 && o->items >= 1 &&
                 o->items <= INT64_C(1) << 40 && o->interactions >= 0 && o->interactions <= INT64_C(1) << 50;
    bool shape = o->cold_fraction >= 0 && o->cold_fraction <= 1 && o->zipf >= 0 && o->zipf <= 3 &&
                 o->activity_sigma >= 0 && o->activity_sigma <= 2.5 && o->profile_strength >= 0 &&
                 o->profile_strength <= 10;
    bool rest = o->genres >= 1 && o->genres <= THAW_SYNTH_GENRES_MAX && o->styles >= 1 &&
                o->styles <= THAW_SYNTH_STYLES_MAX && o->seconds >= 1 && o->start >= 0;
    if (sizes && shape && rest) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE,
                     "synthetic log: an option is out of its range; see 'thaw synth --help'");
}

int thaw_synth_new(struct thaw_synth **out, const struct thaw_synth_options *o, struct thaw_err *err) {
    struct thaw_synth *s = NULL;
    int rc = options_check(o, err);
    if (!rc) rc = thaw_alloc(&s, 1, sizeof *s, "the synthetic world", err);
    if (rc) return rc;

    s->o = *o;
    s->genres = o->items < o->genres ? (int)o->items : o->genres;
    s->styles = o->items / s->genres < o->styles ? (int)(o->items / s->genres) : o->styles;
    s->groups = s->genres * s->styles;
    s->wide_groups = (int)(o->items % s->groups);
    s->narrow = thaw_zipf_make(o->items / s->groups, o->zipf);
    s->wide = thaw_zipf_make(o->items / s->groups + 1, o->zipf);

    // User ids are sparse (an eighth of the space or less), item ids dense.
    s->user_digits = (bits_of(o->users) + 3 + 4) / 5;
    if (s->user_digits < 5) s->user_digits = 5;
    s->user_ids = ids_make(o->seed, 0, 5 * s->user_digits);
    s->item_ids = ids_make(o->seed, 1, bits_of(o->items));
    s->item_digits = 6;
    for (int64_t top = 1000000; top < o->items; top *= 10) s->item_digits++;

    rc = world_draw(s, err);
    if (rc) {
        thaw_synth_free(&s);
        return rc;
    }
    *out = s;
    return THAW_OK;
}

void thaw_synth_free(struct thaw_synth **s) {
    if (!*s) return;
    free((*s)->base);
    free((*s)->effect);
    free(*s);
    *s = NULL;
}

int thaw_synth_item_genre(const struct thaw_synth *s, int64_t item) {
    return (int)(item % s->groups) / s->styles;
}

int thaw_synth_item_style(const struct thaw_synth *s, int64_t item) {
    return (int)(item % s->groups) % s->styles;
}

void thaw_synth_profile(const struct thaw_synth *s, int64_t user, int value[THAW_SYNTH_ATTRIBUTES]) {
    struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_PROFILE, (uint64_t)user);
    for (int a = 0; a < THAW_SYNTH_ATTRIBUTES; a++) {
        const struct thaw_words_attribute *attribute = &thaw_words_attribute[a];
        double u = thaw_rng_uniform(&rng);
        int v = 0;
        while (v + 1 < attribute->nvalues && u >= attribute->share[v]) u -= attribute->share[v++];
        value[a] = v;
    }
}

// ---- Taste ----

// Cumulated softmax of logits[n], in place; the last is exactly 1.
static void softmax_cumulate(float *logits, int n) {
    float top = logits[0];
    double sum = 0;
    for (int i = 1; i < n; i++)
        if (logits[i] > top) top = logits[i];
    for (int i = 0; i < n; i++) {
        sum += (double)expf(logits[i] - top);
        logits[i] = (float)sum;
    }
    for (int i = 0; i < n; i++) logits[i] = (float)(logits[i] / sum);
    logits[n - 1] = 1;
}

// The sum of four bytes, with mean 0 and deviation 1: near enough to normal for a taste, and many times
// cheaper.
static float bell(uint32_t x) {
    int sum = (int)((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24));
    return (float)(sum - 510) / 147.8F;
}

// Logits of cells [first, first + n): the common part, the profile's, the user's own.
static void logits_of(const struct thaw_synth *s, const int *profile, int first, int n, float own,
                      struct thaw_rng rng, float *logits) {
    int cells = s->genres + s->groups;
    memcpy(logits, s->base + first, (size_t)n * sizeof *logits);
    for (int a = 0; a < THAW_SYNTH_ATTRIBUTES; a++) {
        const float *effect = s->effect + (int64_t)(s->value_row[a] + profile[a]) * cells + first;
        for (int i = 0; i < n; i++) logits[i] += effect[i];
    }
    for (int i = 0; i < n; i++) logits[i] += own * bell(thaw_rng_u32(&rng));
    softmax_cumulate(logits, n);
}

// The first entry above u: counting those at most u needs no branch.
static int pick(const float *cumulated, int n, float u) {
    int at = 0;
    for (int i = 0; i < n; i++) at += cumulated[i] <= u;
    return at < n ? at : n - 1;
}

void synth_taste_of(const struct thaw_synth *s, int64_t user, struct synth_taste *t) {
    t->user = user;
    thaw_synth_profile(s, user, t->profile);
    memset(t->known, 0, (size_t)s->genres * sizeof t->known[0]);
    logits_of(s, t->profile, 0, s->genres, 1.2F, thaw_rng_at(s->o.seed, SYNTH_TASTE, (uint64_t)user),
              t->genre);
}

int synth_taste_genre(const struct thaw_synth *s, const struct synth_taste *t, struct thaw_rng *rng) {
    return pick(t->genre, s->genres, (float)(thaw_rng_u32(rng) >> 8) * 0x1p-24f);
}

int synth_taste_style(const struct thaw_synth *s, struct synth_taste *t, int genre, struct thaw_rng *rng) {
    if (!t->known[genre]) {
        uint64_t index = (uint64_t)t->user * (uint64_t)s->genres + (uint64_t)genre;
        logits_of(s, t->profile, s->genres + genre * s->styles, s->styles, 1.5F,
                  thaw_rng_at(s->o.seed, SYNTH_STYLE, index), t->style[genre]);
        t->known[genre] = true;
    }
    return pick(t->style[genre], s->styles, (float)(thaw_rng_u32(rng) >> 8) * 0x1p-24f);
}

double synth_taste_affinity(const struct synth_taste *t, int genre, int style) {
    const float *h = t->style[genre];
    double pg = (double)t->genre[genre] - (genre ? (double)t->genre[genre - 1] : 0);
    double ph = (double)h[style] - (style ? (double)h[style - 1] : 0);
    return sqrt(pg * ph);
}
