// How many events each user has, and what they are.
#include "base/mem.h"
#include "synth/truth.h"

#include <math.h>
#include <stdlib.h>

enum { SESSION_EVENTS = 7, VISIT_SECONDS = 40, WEIGHT_ONE = 1 << 20 };

struct thaw_synth_walk {
    const struct thaw_synth *s;
    struct thaw_synth_share before; // of users below `next`
    int64_t next;
    int64_t left;   // events the user still has
    int64_t visits; // left in the session
    double now, end;
    struct thaw_rng rng;
    struct synth_taste taste;
    struct thaw_synth_event last;
    int genre, deepest; // of the visit: its genre, and how far its funnel goes
};

struct synth_activity synth_activity_of(const struct thaw_synth *s, int64_t user) {
    struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_ACTIVITY, (uint64_t)user);
    struct synth_activity a = {0};
    a.cold = thaw_rng_uniform(&rng) < s->o.cold_fraction;
    if (a.cold) {
        a.events = (int64_t)thaw_rng_below(&rng, 4);
    } else {
        double n = thaw_rng_normal(&rng);
        if (n > 6) n = 6; // keeps the sum of weights inside 64 bits for a trillion users
        a.weight = llround(exp(s->o.activity_sigma * (n - 3)) * WEIGHT_ONE) + 1;
    }
    return a;
}

static void share_add(struct thaw_synth_share *share, const struct synth_activity *a) {
    share->cold_users += a->cold;
    share->warm_users += !a->cold;
    share->cold_events += a->events;
    share->weight += a->weight;
}

void thaw_synth_count(const struct thaw_synth *s, int64_t first, int64_t last,
                      struct thaw_synth_share *share) {
    for (int64_t user = first; user < last; user++) {
        struct synth_activity a = synth_activity_of(s, user);
        share_add(share, &a);
    }
}

int thaw_synth_settle(struct thaw_synth *s, const struct thaw_synth_share *all, struct thaw_err *err) {
    int64_t warm_events = s->o.interactions - all->cold_events;
    if (warm_events < 0)
        return thaw_fail(
            err, THAW_EUSAGE,
            "--interactions %lld is less than the %lld events of the cold users alone: raise it or lower "
            "--cold-fraction",
            (long long)s->o.interactions, (long long)all->cold_events);
    s->all = *all;
    s->floor = all->warm_users ? warm_events / all->warm_users / 2 : 0;
    if (s->floor > 4) s->floor = 4;
    s->rest = all->warm_users ? warm_events - s->floor * all->warm_users : 0;
    return THAW_OK;
}

int64_t thaw_synth_events_before(const struct thaw_synth *s, const struct thaw_synth_share *before) {
    int64_t n = before->cold_events + s->floor * before->warm_users;
    if (s->all.weight) n += (int64_t)((__int128)s->rest * before->weight / s->all.weight);
    return n;
}

int64_t thaw_synth_total(const struct thaw_synth *s) {
    return thaw_synth_events_before(s, &s->all);
}

int thaw_synth_walk_new(struct thaw_synth_walk **out, const struct thaw_synth *s, int64_t first,
                        const struct thaw_synth_share *before, struct thaw_err *err) {
    struct thaw_synth_walk *w = NULL;
    int rc = thaw_alloc(&w, 1, sizeof *w, "a walk through the users", err);
    if (rc) return rc;
    w->s = s;
    w->next = first;
    w->before = *before;
    *out = w;
    return THAW_OK;
}

void thaw_synth_walk_free(struct thaw_synth_walk **w) {
    free(*w);
    *w = NULL;
}

int64_t thaw_synth_walk_user(struct thaw_synth_walk *w) {
    const struct thaw_synth *s = w->s;
    int64_t user = w->next++;
    struct synth_activity a = synth_activity_of(s, user);
    int64_t done = thaw_synth_events_before(s, &w->before);
    share_add(&w->before, &a);
    w->left = thaw_synth_events_before(s, &w->before) - done;
    w->visits = 0;
    w->deepest = THAW_SYNTH_VIEW;
    w->last = (struct thaw_synth_event){.kind = THAW_SYNTH_VIEW};
    if (w->left == 0) return 0;

    w->rng = thaw_rng_at(s->o.seed, SYNTH_EVENTS, (uint64_t)user);
    synth_taste_of(s, user, &w->taste);
    double from = thaw_rng_uniform(&w->rng);
    from = a.cold ? 0.9 + 0.1 * from : 0.8 * from; // cold users have come lately
    w->end = (double)(s->o.seconds - 1);
    w->now = from * w->end;
    return w->left;
}

// The least of as many uniform times between now and the end as sessions are still to come.
static void session_begin(struct thaw_synth_walk *w) {
    double sessions = (double)(w->left / SESSION_EVENTS + 1);
    double u = 1 - thaw_rng_uniform(&w->rng);
    w->now += (1 - pow(u, 1 / sessions)) * (w->end - w->now);
    w->visits = 1 + (int64_t)(5 * thaw_rng_exponential(&w->rng));
    w->genre = synth_taste_genre(w->s, &w->taste, &w->rng);
}

static void visit(struct thaw_synth_walk *w) {
    const struct thaw_synth *s = w->s;
    if (w->visits == 0)
        session_begin(w);
    else if (thaw_rng_u32(&w->rng) & 1)
        w->genre = synth_taste_genre(s, &w->taste, &w->rng);
    w->visits--;

    int style = synth_taste_style(s, &w->taste, w->genre, &w->rng);
    int group = w->genre * s->styles + style;
    int64_t rank = thaw_zipf_draw(group < s->wide_groups ? &s->wide : &s->narrow, &w->rng);
    double affinity = synth_taste_affinity(&w->taste, w->genre, style);

    w->deepest = THAW_SYNTH_VIEW;
    if (thaw_rng_uniform(&w->rng) < 0.05 + 0.35 * affinity) {
        w->deepest = THAW_SYNTH_CART;
        if (thaw_rng_uniform(&w->rng) < 0.35 + 0.40 * affinity) w->deepest = THAW_SYNTH_BUY;
    }
    w->last.item = rank * s->groups + group;
    w->last.kind = THAW_SYNTH_VIEW;
}

bool thaw_synth_walk_event(struct thaw_synth_walk *w, struct thaw_synth_event *event) {
    if (w->left == 0) return false;
    if ((int)w->last.kind < w->deepest)
        w->last.kind++;
    else
        visit(w);
    w->left--;

    w->now += 1 + (double)thaw_rng_u32(&w->rng) * (0x1p-31 * VISIT_SECONDS);
    if (w->now > w->end) w->now = w->end;
    w->last.time = w->s->o.start + (int64_t)w->now;
    w->last.quantity = 1;
    if (w->last.kind == THAW_SYNTH_BUY)
        while (w->last.quantity < 20 && thaw_rng_u32(&w->rng) < UINT32_MAX / 7) w->last.quantity++;
    *event = w->last;
    return true;
}
