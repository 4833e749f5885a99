// virtual_users.c: whole virtual users as rows that follow the real ones of their parts. Models are saved
// without them.
#include "base/mem.h"
#include "comm/virtual_add.h"

#include <stdlib.h>
#include <string.h>

static int grow(struct thaw_plan *users, const Thaw__Side *side, const Thaw__Virtual *v, int k,
                struct thaw_err *err) {
    const size_t n = side->n_part_rows;
    const int nranks = users->nranks;
    int64_t *rows = NULL, *work = NULL, extra = 0;
    struct thaw_plan with;
    int code = thaw_alloc(&rows, n, sizeof *rows, "the plan", err);
    if (!code) code = thaw_alloc(&work, n, sizeof *work, "the plan", err);
    for (size_t p = 0; p < n; p++) extra += v->extra_rows[p];
    const int64_t mean = extra ? v->extra_interactions / extra : 0;
    for (size_t p = 0; !code && p < n; p++) {
        rows[p] = side->part_rows[p] + v->extra_rows[p];
        work[p] = side->part_nnz[p] + v->extra_rows[p] * mean + rows[p] * (1 + k / 3);
    }
    if (!code) code = thaw_plan_new(&with, users->nparts, rows, work, nranks, err);
    if (!code) {
        thaw_plan_clear(users);
        *users = with;
    }
    free(rows);
    free(work);
    return code;
}

int thaw_virtual_plan(struct thaw_plan *users, struct thaw_plan *real, const struct thaw_dataset *d,
                      const struct thaw_virtual_wish *wish, int k, struct thaw_err *err) {
    const Thaw__Side *side = d->manifest->users;
    int code = THAW_OK;
    if (wish->files && wish->extra && thaw_virtual_has_extra(wish->files))
        code = grow(users, side, wish->files->manifest, k, err);
    if (!code) code = thaw_plan_new(real, users->nparts, side->part_rows, NULL, users->nranks, err);
    for (int r = 0; !code && r <= users->nranks; r++) {
        real->first_part[r] = users->first_part[r];
        real->rank_row[r] = real->first_row[real->first_part[r]];
    }
    return code;
}

int64_t thaw_virtual_user_row(const struct thaw_plan *users, const struct thaw_plan *real, int64_t row,
                              int32_t *part) {
    if (row < real->first_row[*part]) *part = 0;
    while (row >= real->first_row[*part + 1]) ++*part;
    return users->first_row[*part] + row - real->first_row[*part];
}

void thaw_interactions_pack(const struct thaw_interactions *in, int columns, const float *all, float *real) {
    const size_t n = (size_t)columns;
    size_t at = 0;
    for (int64_t i = 0; i < in->rows[THAW_USERS]; i++)
        if (!in->made || !in->made[i]) memmove(real + at++ * n, all + (size_t)i * n, n * sizeof *real);
}

void thaw_interactions_unpack(const struct thaw_interactions *in, int columns, const float *real,
                              float *all) {
    const size_t n = (size_t)columns;
    size_t at = 0;
    for (int64_t i = 0; i < in->rows[THAW_USERS]; i++) {
        float *to = all + (size_t)i * n;
        if (in->made && in->made[i])
            memset(to, 0, n * sizeof *to);
        else
            memmove(to, real + at++ * n, n * sizeof *to);
    }
}
