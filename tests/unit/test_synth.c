// The synthetic log: totals, moments and shapes follow the model in synth.h.
#include "base/rng.h"
#include "synth/synth.h"
#include "synth/truth.h"
#include "synth/zipf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct thaw_synth_options standard = {
    .users = 4000,
    .items = 2000,
    .interactions = 200000,
    .seed = 7,
    .cold_fraction = 0.25,
    .zipf = 1,
    .activity_sigma = 1,
    .profile_strength = 1,
    .start = 1000000,
    .seconds = 864000,
    .genres = 10,
    .styles = 4,
};

static struct thaw_synth *make(const struct thaw_synth_options *o, struct thaw_synth_share *all) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_synth *s = NULL;
    *all = (struct thaw_synth_share){0};
    assert_int_equal(thaw_synth_new(&s, o, &err), THAW_OK);
    thaw_synth_count(s, 0, o->users, all);
    assert_int_equal(thaw_synth_settle(s, all, &err), THAW_OK);
    return s;
}

static struct thaw_synth_walk *walk(const struct thaw_synth *s, int64_t first) {
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_synth_walk *w = NULL;
    struct thaw_synth_share before = {0};
    thaw_synth_count(s, 0, first, &before);
    assert_int_equal(thaw_synth_walk_new(&w, s, first, &before, &err), THAW_OK);
    return w;
}

// A log and a walk over all of it.
struct synth_log {
    struct thaw_synth *s;
    struct thaw_synth_share all;
    struct thaw_synth_walk *w;
    int64_t user, users; // user: whose events log_event gives, -1 before the first
};

static struct synth_log log_begin(const struct thaw_synth_options *o) {
    struct synth_log l = {.user = -1, .users = o->users};
    l.s = make(o, &l.all);
    l.w = walk(l.s, 0);
    return l;
}

// The next event of any user; false when there are no more.
static bool log_event(struct synth_log *l, struct thaw_synth_event *event) {
    while (l->user < 0 || !thaw_synth_walk_event(l->w, event)) {
        if (++l->user == l->users) return false;
        thaw_synth_walk_user(l->w);
    }
    return true;
}

static void log_end(struct synth_log *l) {
    thaw_synth_walk_free(&l->w);
    thaw_synth_free(&l->s);
}

// Frequencies of rejection-inversion against (r + 1)^-s: chi-square over the ranks, each expected 50 times or
// more.
static void zipf_frequencies(void **state) {
    (void)state;
    static const double exponents[] = {0, 0.5, 1, 1.3, 2};
    for (size_t e = 0; e < sizeof exponents / sizeof *exponents; e++) {
        enum { N = 20, DRAWS = 200000 };
        double p[N], sum = 0, chi = 0;
        int64_t seen[N] = {0};
        struct thaw_zipf z = thaw_zipf_make(N, exponents[e]);
        struct thaw_rng rng = thaw_rng_at(11, 1000, e);
        for (int i = 0; i < DRAWS; i++) {
            int64_t r = thaw_zipf_draw(&z, &rng);
            assert_true(r >= 0 && r < N);
            seen[r]++;
        }
        for (int r = 0; r < N; r++) sum += p[r] = pow(r + 1, -exponents[e]);
        for (int r = 0; r < N; r++) {
            double expected = DRAWS * p[r] / sum;
            chi += ((double)seen[r] - expected) * ((double)seen[r] - expected) / expected;
        }
        assert_true(chi < 50); // 19 degrees of freedom: above 50 once in 7,000
    }
}

static void zipf_large_and_single(void **state) {
    (void)state;
    struct thaw_rng rng = thaw_rng_at(1, 1000, 99);
    struct thaw_zipf one = thaw_zipf_make(1, 1), huge = thaw_zipf_make(INT64_C(1) << 40, 1);
    int64_t top = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(thaw_zipf_draw(&one, &rng), 0);
        int64_t r = thaw_zipf_draw(&huge, &rng);
        assert_true(r >= 0 && r < INT64_C(1) << 40);
        top += r < 1 << 20;
    }
    assert_true(top > 420 && top < 600); // half of the mass of 1/r lies below the square root
}

static void total_is_exact(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    static const int64_t totals[] = {200000, 199999, 20000, 2000};
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
        o.interactions = totals[i];
        struct synth_log l = log_begin(&o);
        int64_t sum = 0, cold = 0;
        for (int64_t u = 0; u < o.users; u++) {
            int64_t n = thaw_synth_walk_user(l.w);
            assert_true(n >= 0);
            sum += n;
            cold += n <= 3;
        }
        assert_int_equal(sum, totals[i]);
        assert_int_equal(thaw_synth_total(l.s), totals[i]);
        assert_true(fabs((double)l.all.cold_users / (double)o.users - 0.25) < 0.03);
        if (i == 0) assert_int_equal(cold, l.all.cold_users); // the others have at least 4
        log_end(&l);
    }
}

static void refusals(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    struct thaw_err err = THAW_ERR_INIT;
    struct thaw_synth *s = NULL;
    struct thaw_synth_share all = {0};
    o.items = 0;
    assert_int_equal(thaw_synth_new(&s, &o, &err), THAW_EUSAGE);
    assert_null(s);
    o = standard;
    o.interactions = 100;
    err = THAW_ERR_INIT;
    assert_int_equal(thaw_synth_new(&s, &o, &err), THAW_OK);
    thaw_synth_count(s, 0, o.users, &all);
    assert_int_equal(thaw_synth_settle(s, &all, &err), THAW_EUSAGE);
    assert_non_null(strstr(err.text, "--cold-fraction"));
    thaw_synth_free(&s);
}

// A user who is not cold has some events however little active: half of an even share, at most four.
static void everybody_has_a_few(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    const struct thaw_synth_share one = {.warm_users = 1};
    for (int64_t each = 4; each <= 64; each *= 4) {
        struct thaw_synth_share all;
        o.cold_fraction = 0;
        o.interactions = o.users * each;
        struct thaw_synth *s = make(&o, &all);
        assert_int_equal(thaw_synth_events_before(s, &one), each == 4 ? 2 : 4);
        thaw_synth_free(&s);
    }
}

static int falling(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

// With a deviation of 0 all users are as active as each other, with 1 the logarithm of their events is
// normal.
static void activity_spreads(void **state) {
    (void)state;
    enum { USERS = 4000 };
    static int64_t events[USERS];
    struct thaw_synth_options o = standard;
    o.cold_fraction = 0;
    o.interactions = 1000 * USERS;
    for (int sigma = 0; sigma < 2; sigma++) {
        o.activity_sigma = sigma;
        struct synth_log l = log_begin(&o);
        for (int64_t u = 0; u < USERS; u++) events[u] = thaw_synth_walk_user(l.w);
        qsort(events, USERS, sizeof *events, falling);
        const double ratio = (double)events[USERS / 10] / (double)events[USERS / 2];
        assert_true(fabs(log(ratio) - 1.2816 * sigma) < 0.1);
        log_end(&l);
    }
}

// Sessions are spread evenly over the time a user is there: in the last twentieth of the log are as many of
// the events as users that come at times uniform below four fifths give, a tenth.
static void sessions_spread(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    struct thaw_synth_event e;
    int64_t late = 0;
    o.cold_fraction = 0;
    struct synth_log l = log_begin(&o);
    while (log_event(&l, &e)) late += e.time >= o.start + o.seconds * 19 / 20;
    const double share = (double)late / (double)o.interactions;
    assert_true(share > 0.07 && share < 0.14);
    log_end(&l);
}

// Genres and styles are drawn as often as the taste says.
static void tastes_are_followed(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    struct thaw_synth_share all;
    struct thaw_synth *s = make(&standard, &all);
    static struct synth_taste t;
    for (int64_t user = 0; user < 5; user++) {
        int genre[THAW_SYNTH_GENRES_MAX] = {0}, style[THAW_SYNTH_STYLES_MAX] = {0}, below = 0;
        struct thaw_rng rng = thaw_rng_at(7, 99, (uint64_t)user);
        synth_taste_of(s, user, &t);
        for (int i = 0; i < DRAWS; i++) {
            genre[synth_taste_genre(s, &t, &rng)]++;
            style[synth_taste_style(s, &t, 3, &rng)]++;
        }
        for (int g = 0; g < standard.genres; g++) {
            below += genre[g];
            assert_true(fabs((double)below / DRAWS - (double)t.genre[g]) < 0.02); // 5 deviations
        }
        below = 0;
        for (int i = 0; i < standard.styles; i++) {
            below += style[i];
            assert_true(fabs((double)below / DRAWS - (double)t.style[3][i]) < 0.02);
        }
        // The affinity is the geometric mean of the two shares.
        const double pg = (double)t.genre[3] - (double)t.genre[2],
                     ph = (double)t.style[3][1] - (double)t.style[3][0];
        assert_true(fabs(synth_taste_affinity(&t, 3, 1) - sqrt(pg * ph)) < 1e-6);
    }
    thaw_synth_free(&s);
}

// Cold users have come in the last tenth of the time.
static void cold_users_are_new(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    struct thaw_synth_event e;
    int64_t events = 0;
    o.cold_fraction = 1;
    struct synth_log l = log_begin(&o);
    for (; log_event(&l, &e); events++)
        assert_true(e.time >= o.start + (int64_t)(0.9 * (double)(o.seconds - 1)));
    assert_true(events > o.users);
    log_end(&l);
}

// A walk that starts in the middle makes the same events.
static void walks_agree(void **state) {
    (void)state;
    struct thaw_synth_share all;
    struct thaw_synth *s = make(&standard, &all);
    struct thaw_synth_walk *a = walk(s, 0), *b = walk(s, 1700);
    for (int64_t u = 0; u < 1700; u++) thaw_synth_walk_user(a);
    for (int64_t u = 1700; u < 1800; u++) {
        assert_int_equal(thaw_synth_walk_user(a), thaw_synth_walk_user(b));
        struct thaw_synth_event x = {0}, y = {0};
        while (thaw_synth_walk_event(a, &x)) {
            assert_true(thaw_synth_walk_event(b, &y));
            assert_memory_equal(&x, &y, sizeof x);
        }
        assert_false(thaw_synth_walk_event(b, &y));
    }
    thaw_synth_walk_free(&a);
    thaw_synth_walk_free(&b);
    thaw_synth_free(&s);
}

// Times do not fall; carts follow views and buys follow carts of the same item.
static void events_make_sense(void **state) {
    (void)state;
    struct synth_log l = log_begin(&standard);
    int64_t kinds[THAW_SYNTH_KINDS] = {0}, several = 0;
    for (int64_t u = 0; u < standard.users; u++) {
        struct thaw_synth_event e = {0}, last = {0};
        for (thaw_synth_walk_user(l.w); thaw_synth_walk_event(l.w, &e); last = e) {
            assert_true(e.item >= 0 && e.item < standard.items && e.quantity >= 1);
            assert_true(e.time >= last.time && e.time >= standard.start);
            assert_true(e.time < standard.start + standard.seconds);
            if (e.kind != THAW_SYNTH_VIEW) {
                assert_int_equal(e.item, last.item);
                assert_int_equal(e.kind, last.kind + 1);
            }
            kinds[e.kind]++;
            several += e.quantity > 1;
        }
    }
    assert_true(kinds[THAW_SYNTH_VIEW] > 3 * kinds[THAW_SYNTH_CART]);
    assert_true(kinds[THAW_SYNTH_CART] > kinds[THAW_SYNTH_BUY] && kinds[THAW_SYNTH_BUY] > 1000);
    assert_true(several > 0 && several < kinds[THAW_SYNTH_BUY] / 4);
    log_end(&l);
}

// Large groups: the slope of log popularity over log rank is the exponent.
static void popularity_is_zipf(void **state) {
    (void)state;
    enum { ITEMS = 20000 };
    struct thaw_synth_options o = standard;
    o.items = ITEMS;
    o.genres = 2;
    o.styles = 2;
    o.interactions = 1000000;
    struct synth_log l = log_begin(&o);
    int64_t *popularity = calloc(ITEMS, sizeof *popularity);
    struct thaw_synth_event e;
    while (log_event(&l, &e)) popularity[e.item]++;
    qsort(popularity, ITEMS, sizeof *popularity, falling);
    double slope = log((double)popularity[3000] / (double)popularity[30]) / log(3001.0 / 31.0);
    assert_true(slope > -1.1 && slope < -0.9);
    free(popularity);
    log_end(&l);
}

// How far the genre shares of the genders are apart, in sum of absolute differences.
static double gender_gap(double strength) {
    struct thaw_synth_options o = standard;
    double share[2][10] = {{0}}, sum[2] = {0}, gap = 0;
    o.profile_strength = strength;
    o.activity_sigma = 0; // every user counts alike
    struct synth_log l = log_begin(&o);
    struct thaw_synth_event e;
    while (log_event(&l, &e)) {
        int profile[THAW_SYNTH_ATTRIBUTES];
        thaw_synth_profile(l.s, l.user, profile);
        if (profile[0] > 1) continue;
        share[profile[0]][thaw_synth_item_genre(l.s, e.item)]++;
        sum[profile[0]]++;
    }
    for (int g = 0; g < 10; g++) gap += fabs(share[0][g] / sum[0] - share[1][g] / sum[1]);
    log_end(&l);
    return gap;
}

static void profile_acts_on_taste(void **state) {
    (void)state;
    assert_true(gender_gap(1) > 0.25);
    assert_true(gender_gap(0) < 0.15);
}

static int by_bytes(const void *a, const void *b) {
    return memcmp(a, b, 16);
}

static void ids_are_unique(void **state) {
    (void)state;
    enum { N = 5000 };
    struct thaw_synth_options o = standard;
    struct thaw_synth_share all;
    o.users = o.items = N;
    struct thaw_synth *s = make(&o, &all);
    char(*ids)[16] = calloc(2 * N, sizeof *ids), line[THAW_SYNTH_LINE_MAX];
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(thaw_synth_user_id(s, i, ids[i]), 6);
        assert_int_equal(thaw_synth_item_id(s, i, ids[N + i]), 7);
        assert_true(ids[i][0] == 'u' && ids[N + i][0] == 'p');
        assert_true(atoi(ids[N + i] + 1) < N);
        assert_true(thaw_synth_user_line(s, i, line) < sizeof line);
        assert_true(thaw_synth_item_line(s, i, line) < sizeof line);
    }
    qsort(ids, 2 * N, sizeof *ids, by_bytes);
    for (int i = 1; i < 2 * N; i++) assert_memory_not_equal(ids[i - 1], ids[i], 16);
    free(ids);
    thaw_synth_free(&s);
}

// Groups that have one item more than others give it, too.
static void every_item_is_drawn(void **state) {
    (void)state;
    enum { ITEMS = 45 };
    struct thaw_synth_options o = standard;
    struct thaw_synth_event e;
    int seen[ITEMS] = {0}, distinct = 0;
    o.items = ITEMS;
    struct synth_log l = log_begin(&o);
    while (log_event(&l, &e)) distinct += seen[e.item]++ == 0;
    assert_int_equal(distinct, ITEMS);
    log_end(&l);
}

// Fewer items than groups, one of everything.
static void tiny_worlds(void **state) {
    (void)state;
    struct thaw_synth_options o = standard;
    for (int64_t items = 1; items <= 50; items++) {
        o.items = items;
        o.users = 3;
        o.interactions = 500;
        o.cold_fraction = 0;
        struct synth_log l = log_begin(&o);
        struct thaw_synth_event e;
        int64_t n = 0;
        for (; log_event(&l, &e); n++) assert_true(e.item >= 0 && e.item < items);
        assert_int_equal(n, 500);
        log_end(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zipf_frequencies),      cmocka_unit_test(zipf_large_and_single),
        cmocka_unit_test(total_is_exact),        cmocka_unit_test(refusals),
        cmocka_unit_test(tastes_are_followed),   cmocka_unit_test(cold_users_are_new),
        cmocka_unit_test(everybody_has_a_few),   cmocka_unit_test(walks_agree),
        cmocka_unit_test(events_make_sense),     cmocka_unit_test(popularity_is_zipf),
        cmocka_unit_test(profile_acts_on_taste), cmocka_unit_test(ids_are_unique),
        cmocka_unit_test(tiny_worlds),           cmocka_unit_test(activity_spreads),
        cmocka_unit_test(sessions_spread),       cmocka_unit_test(every_item_is_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
