// baselines_cells.c: popularity within cells of the profile.
#include "base/mem.h"
#include "comm/baselines.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CELL_USERS = 100 }; // in the mean, where fields are crossed unasked

int32_t thaw_cell_of(const struct thaw_cell_group *g, const uint32_t *feature, int64_t nfeatures) {
    int32_t cell = 0;
    for (int f = 0; f < g->nfields; f++) {
        const uint32_t first = (uint32_t)g->field[f].first_column;
        const int32_t columns = g->field[f].columns;
        int32_t value = columns; // none
        for (int64_t i = 0; i < nfeatures && value == columns; i++)
            if (feature[i] >= first && feature[i] - first < (uint32_t)columns)
                value = (int32_t)(feature[i] - first);
        cell = cell * (columns + 1) + value;
    }
    return cell;
}

// ---- Which cells ----

static const Thaw__Attribute *find_field(const Thaw__Dataset *d, const char *name, size_t n) {
    for (size_t i = 0; i < d->n_user_attributes; i++)
        if (strlen(d->user_attributes[i]->name) == n && memcmp(d->user_attributes[i]->name, name, n) == 0)
            return d->user_attributes[i];
    return NULL;
}

static int add_field(struct thaw_cells *cells, struct thaw_cell_group *g, const Thaw__Attribute *a,
                     struct thaw_err *err) {
    if (a->kind != THAW__ATTRIBUTE__KIND__CATEGORICAL)
        return thaw_fail(err, THAW_EUSAGE, "--cell-fields: '%s' is not a categorical field", a->name);
    if (g->nfields == THAW_CELL_FIELDS)
        return thaw_fail(err, THAW_EUSAGE, "--cell-fields: more than %d fields crossed", THAW_CELL_FIELDS);
    if ((int64_t)g->ncells * (a->columns + 1) > THAW_CELLS_MAX)
        return thaw_fail(err, THAW_EUSAGE, "--cell-fields: '%s' makes more than %d cells: cross fewer fields",
                         a->name, THAW_CELLS_MAX);
    const size_t at = strlen(cells->names);
    const char *between = g->nfields ? "+" : cells->ngroups > 1 ? "," : "";
    snprintf(cells->names + at, sizeof cells->names - at, "%s%s", between, a->name);
    g->field[g->nfields].first_column = a->first_column;
    g->field[g->nfields++].columns = a->columns;
    g->ncells *= a->columns + 1;
    return THAW_OK;
}

static struct thaw_cell_group *add_group(struct thaw_cells *cells, struct thaw_err *err) {
    if (cells->ngroups == THAW_CELL_GROUPS) {
        thaw_fail(err, THAW_EUSAGE, "--cell-fields: more than %d groups", THAW_CELL_GROUPS);
        return NULL;
    }
    struct thaw_cell_group *g = &cells->group[cells->ngroups++];
    g->ncells = 1;
    return g;
}

static int read_fields(struct thaw_cells *cells, const Thaw__Dataset *d, const char *fields,
                       struct thaw_err *err) {
    struct thaw_cell_group *g = NULL;
    int code = THAW_OK;
    for (const char *at = fields; !code && *at;) {
        const size_t n = strcspn(at, "+,");
        const Thaw__Attribute *a = find_field(d, at, n);
        if (!a) return thaw_fail(err, THAW_EUSAGE, "--cell-fields: users have no field '%.*s'", (int)n, at);
        if (!g && !(g = add_group(cells, err))) return THAW_EUSAGE;
        code = add_field(cells, g, a, err);
        at += n;
        if (*at == ',') g = NULL;
        at += *at != 0;
    }
    return code;
}

// Crossed from the first field on while cells have enough users; what does not fit stands alone.
static int choose_fields(struct thaw_cells *cells, const Thaw__Dataset *d, int64_t users,
                         struct thaw_err *err) {
    int code = THAW_OK;
    bool alone = false;
    for (size_t i = 0; !code && i < d->n_user_attributes; i++) {
        const Thaw__Attribute *a = d->user_attributes[i];
        if (a->kind != THAW__ATTRIBUTE__KIND__CATEGORICAL || a->columns + 1 > THAW_CELLS_MAX) continue;
        struct thaw_cell_group *g = cells->ngroups && !alone ? &cells->group[0] : NULL;
        if (g && (int64_t)g->ncells * a->columns * CELL_USERS > users) g = NULL;
        if (cells->ngroups && !g) alone = true;
        if (!g && cells->ngroups == THAW_CELL_GROUPS) break;
        if (!g) g = add_group(cells, err);
        code = add_field(cells, g, a, err);
    }
    return code;
}

// ---- Counts ----

static double rate_of(const struct thaw_popularity *p, int64_t item) {
    return p->users > 0 ? (double)p->count[item] / (double)p->users : 0;
}

static void count_users(struct thaw_cell_group *g, const struct thaw_histories *h, int64_t nitems) {
    for (int64_t u = 0; u < h->nusers; u++) {
        if (h->held_out[u]) continue;
        const int64_t first = h->profile.ptr[u];
        const int32_t cell = thaw_cell_of(g, h->profile.column + first, h->profile.ptr[u + 1] - first);
        g->users[cell]++;
        for (int64_t i = h->ptr[u]; i < h->ptr[u + 1]; i++) g->count[cell * nitems + h->item[i]]++;
    }
}

int thaw_cells_new(struct thaw_cells *cells, struct thaw_comm *c, const char *fields,
                   const struct thaw_dataset *d, const struct thaw_histories *h,
                   const struct thaw_popularity *p, struct thaw_err *err) {
    *cells = (struct thaw_cells){.popularity = p};
    int code = fields && *fields ? read_fields(cells, d->manifest, fields, err)
                                 : choose_fields(cells, d->manifest, p->users, err);
    if (!code)
        code = thaw_alloc(&cells->log_rate, (size_t)p->nitems, sizeof *cells->log_rate, "profile cells", err);
    for (int64_t i = 0; !code && i < p->nitems; i++) cells->log_rate[i] = log(rate_of(p, i) + 1e-6);
    for (int i = 0; !code && i < cells->ngroups; i++) {
        struct thaw_cell_group *g = &cells->group[i];
        code = thaw_alloc(&g->users, (size_t)g->ncells, sizeof *g->users, "profile cells", err);
        if (!code)
            code = thaw_alloc(&g->count, (size_t)g->ncells * (size_t)p->nitems, sizeof *g->count,
                              "counts of profile cells", err);
        if (!code) count_users(g, h, p->nitems);
    }
    if ((code = thaw_comm_agree(c, code, err))) {
        thaw_cells_clear(cells);
        return code;
    }
    for (int i = 0; i < cells->ngroups; i++) {
        thaw_comm_sum_i64(c, cells->group[i].users, cells->group[i].ncells);
        thaw_comm_sum_i64(c, cells->group[i].count, cells->group[i].ncells * p->nitems);
    }
    return THAW_OK;
}

void thaw_cells_clear(struct thaw_cells *cells) {
    for (int i = 0; i < cells->ngroups; i++) {
        free(cells->group[i].users);
        free(cells->group[i].count);
    }
    free(cells->log_rate);
    *cells = (struct thaw_cells){0};
}

// ---- Scores ----

static double log_rate(int64_t count, int64_t users, double strength, double rate) {
    const double total = (double)users + strength;
    return log((total > 0 ? ((double)count + strength * rate) / total : rate) + 1e-6);
}

// One thread: the log rates of a user's cells at the strengths at hand, which most candidates share.
struct cells_work {
    double *own[THAW_CELL_GROUPS]; // nitems
    double strength[THAW_CELL_GROUPS];
    bool there[THAW_CELL_GROUPS];
};

static void cells_work_free(void **work) {
    struct cells_work *w = *work;
    if (!w) return;
    for (int g = 0; g < THAW_CELL_GROUPS; g++) free(w->own[g]);
    free(w);
    *work = NULL;
}

static int cells_work_new(void **work, const void *self, struct thaw_err *err) {
    const struct thaw_cells *cells = ((const struct thaw_cells_scorer *)self)->cells;
    struct cells_work *w = NULL;
    int code = thaw_alloc(&w, 1, sizeof *w, "profile cells", err);
    if (code) return code;
    *work = w;
    for (int g = 0; !code && g < cells->ngroups; g++)
        code = thaw_alloc(&w->own[g], (size_t)cells->popularity->nitems, sizeof *w->own[g], "profile cells",
                          err);
    return code;
}

static int cells_meet(const void *self, const struct thaw_newcomer *who, void *work, struct thaw_err *err) {
    struct cells_work *w = work;
    (void)self;
    (void)who;
    (void)err;
    memset(w->there, 0, sizeof w->there);
    return THAW_OK;
}

static void fill_group(const struct thaw_cells *cells, int g, int32_t cell, double strength,
                       struct cells_work *w) {
    const struct thaw_cell_group *group = &cells->group[g];
    const struct thaw_popularity *p = cells->popularity;
    const int64_t *count = group->count + cell * p->nitems;
    if (w->there[g] && w->strength[g] == strength) return;
    for (int64_t i = 0; i < p->nitems; i++)
        w->own[g][i] = log_rate(count[i], group->users[cell], strength, rate_of(p, i));
    w->there[g] = true;
    w->strength[g] = strength;
}

static int cells_score(const void *self, const struct thaw_newcomer *who, int candidate, void *work,
                       float *scores, struct thaw_err *err) {
    const struct thaw_cells_scorer *s = self;
    const struct thaw_cells *cells = s->cells;
    const Thaw__Known *k = &s->known[candidate];
    struct cells_work *w = work;
    (void)err;
    for (int g = 0; g < cells->ngroups; g++)
        fill_group(cells, g, thaw_cell_of(&cells->group[g], who->feature, who->nfeatures),
                   g ? k->cell_others : k->cell_strength, w);
    for (int64_t i = 0; i < cells->popularity->nitems; i++) {
        double sum = w->own[0][i];
        for (int g = 1; g < cells->ngroups; g++) sum += k->cell_weight * (w->own[g][i] - cells->log_rate[i]);
        scores[i] = (float)sum;
    }
    return THAW_OK;
}

struct thaw_scorer thaw_scorer_of_cells(const struct thaw_cells_scorer *s) {
    return (struct thaw_scorer){.nitems = s->cells->popularity->nitems,
                                .self = s,
                                .work_new = cells_work_new,
                                .work_free = cells_work_free,
                                .meet = cells_meet,
                                .score = cells_score};
}
