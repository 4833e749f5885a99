// associate_check.c: is the solution one? In double, and not from the matrices but from the histories: a
// user's part of the normal matrix times a vector is a few sums over its items.
#include "base/mem.h"
#include "comm/associate_impl.h"
#include "comm/handle.h"

#include <math.h>
#include <stdlib.h>

enum { SAMPLE = 8 };

struct check {
    const struct thaw_associate *a;
    const struct thaw_associate_system *s;
    int n; // columns that are looked at
    int64_t col[SAMPLE];
    double *x, *r, *y; // n x unknowns: solutions, a x, right-hand sides
};

// Collective. Columns of the solution, on every rank.
static void columns_get(struct check *k, const struct thaw_gridmat *m) {
    const int64_t n = k->a->unknowns;
    for (int c = 0; c < k->n; c++)
        for (int64_t i = 0, place; i < n; i++)
            if (thaw_gridmat_owner(m, i, k->col[c], &place) == thaw_comm_rank(k->a->c))
                k->x[c * n + i] = thaw_gridmat_get(m, place);
    thaw_comm_sum_i64(k->a->c, (int64_t *)k->x, k->n * n); // all but one are zero bits
}

struct user {
    const int64_t *item;
    int64_t length;
    const uint32_t *feature;
    const float *value;
    int64_t nfeatures;
};

// Profile part of z' v and of v += z t.
static double profile_dot(const struct user *u, const double *v) {
    double sum = v[0];
    for (int64_t i = 0; i < u->nfeatures; i++) sum += (double)u->value[i] * v[1 + u->feature[i]];
    return sum;
}

static void profile_add(const struct user *u, double t, double *v) {
    v[0] += t;
    for (int64_t i = 0; i < u->nfeatures; i++) v[1 + u->feature[i]] += (double)u->value[i] * t;
}

// One user's share of a x and y, column `col`.
static void user_add(const struct check *k, const struct user *u, const struct thaw_associate_weights *w,
                     int64_t col, const double *x, double *r, double *y) {
    const int64_t f = k->a->first_feature;
    double items = 0, profile = 0;
    bool has = false;
    for (int64_t i = 0; i < u->length; i++) {
        items += x[u->item[i]];
        has = has || u->item[i] == col;
    }
    if (k->a->episodic) profile = profile_dot(u, x + f);
    for (int64_t i = 0; i < u->length; i++) {
        const double own = x[u->item[i]];
        r[u->item[i]] += w->pair * (items - own) + w->diagonal * own + w->profile * profile;
        if (has && u->item[i] != col) y[u->item[i]] += w->target;
    }
    if (!k->a->episodic) return;
    profile_add(u, w->profile * items + profile, r + f);
    if (has) profile_add(u, w->rest, y + f);
}

static void users_add(struct check *k) {
    const struct thaw_histories *h = k->a->h;
    const int64_t n = k->a->unknowns;
    for (int64_t row = 0; row < h->nusers; row++) {
        struct user u = {.item = h->item + h->ptr[row], .length = thaw_histories_length(h, row)};
        if (h->held_out[row] || u.length == 0) continue;
        if (k->a->features) {
            u.feature = h->profile.column + h->profile.ptr[row];
            u.value = h->profile.value + h->profile.ptr[row];
            u.nfeatures = h->profile.ptr[row + 1] - h->profile.ptr[row];
        }
        const struct thaw_associate_weights w = thaw_associate_weigh(k->a->episodic, k->s->known, u.length);
        for (int c = 0; c < k->n; c++)
            user_add(k, &u, &w, k->col[c], k->x + c * n, k->r + c * n, k->y + c * n);
    }
}

// The ridge, and the largest |a x - y| / |y|.
static double worst(const struct check *k, bool inverse) {
    const int64_t n = k->a->unknowns;
    double most = 0;
    for (int c = 0; c < k->n; c++) {
        const double *x = k->x + c * n, *r = k->r + c * n, *y = k->y + c * n;
        double off = 0, size = 0;
        for (int64_t i = 0; i < n; i++) {
            const double ridge = i < k->a->nitems          ? k->s->ridge
                                 : i < k->a->first_feature ? 0
                                                           : k->a->config->profile_regularization;
            const double right = inverse ? i == k->col[c] : y[i], d = r[i] + ridge * x[i] - right;
            off += d * d;
            size += right * right;
        }
        if (size > 0) off = sqrt(off / size);
        if (!(off <= most)) most = off;
    }
    return most;
}

int thaw_associate_residual(const struct thaw_associate *a, const struct thaw_associate_system *s,
                            const struct thaw_gridmat *x, bool inverse, double *residual,
                            struct thaw_err *err) {
    struct check k = {.a = a, .s = s, .n = a->nitems < SAMPLE ? (int)a->nitems : SAMPLE};
    const size_t n = (size_t)k.n * (size_t)a->unknowns;
    double *all = NULL;
    int code = thaw_comm_agree(a->c, thaw_alloc(&all, 3 * n, sizeof *all, "a check", err), err);
    if (code) return code;
    k.x = all;
    k.r = all + n;
    k.y = all + 2 * n;
    for (int c = 0; c < k.n; c++) k.col[c] = c * a->nitems / k.n;
    columns_get(&k, x);
    users_add(&k);
    if (thaw_comm_size(a->c) > 1)
        MPI_Allreduce(MPI_IN_PLACE, k.r, (int)(2 * n), MPI_DOUBLE, MPI_SUM, a->c->all);
    *residual = worst(&k, inverse);
    free(all);
    if (!isfinite(*residual))
        return thaw_fail(err, THAW_EDIVERGED, "a solution is not finite"); // the same on all ranks
    return THAW_OK;
}
