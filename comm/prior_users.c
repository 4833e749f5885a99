// prior_users.c: all users' factors, exact for the item factors as they are.
#include "base/mem.h"
#include "comm/interactions.h"
#include "comm/prior.h"
#include "comm/sweep.h"

#include <stdlib.h>
#include <string.h>

// The histories' rows as training solves them.
static int take_rows(struct thaw_csr *m, struct thaw_histories *h, struct thaw_err *err) {
    int code = thaw_csr_new(m, h->nusers, h->ptr[h->nusers], err);
    for (int64_t u = 0; !code && u < h->nusers; u++)
        code =
            thaw_csr_add(m, h->item + h->ptr[u], h->strength + h->ptr[u], thaw_histories_length(h, u), err);
    thaw_histories_clear(h);
    return code;
}

// Collective. What all rows share.
static int make_sweep(struct thaw_als_sweep **s, struct thaw_comm *c, const struct thaw_als_config *config,
                      const struct thaw_plan *items, const float *item_rows, double mean_degree,
                      struct thaw_err *err) {
    double *gramian = NULL;
    const size_t k = (size_t)config->k;
    const bool explicit = config->model == THAW_ALS_EXPLICIT; // which has no part that all rows share
    int code = explicit ? THAW_OK : thaw_alloc(&gramian, k * k, sizeof *gramian, "a gramian", err);
    code = thaw_comm_agree(c, code, err);
    if (!code && gramian)
        code = thaw_sweep_gramian(c, items, item_rows, config->k, thaw_als_columns(config), gramian, err);
    if (!code) {
        const int threads = thaw_blas_alone_begin();
        code = thaw_als_sweep_new(s, config, thaw_plan_rows(items), mean_degree, gramian, err);
        thaw_blas_alone_end(threads);
        code = thaw_comm_agree(c, code, err);
    }
    free(gramian);
    return code;
}

int thaw_users_solve(struct thaw_comm *c, const struct thaw_dataset *d, const Thaw__Als *als,
                     const struct thaw_plan plan[2], const float *item_rows, float *rows,
                     int64_t exchange_bytes, struct thaw_err *err) {
    const struct thaw_als_config config = thaw_als_config_of(als, THAW_ALS_CHOLESKY, THAW_ALS_F32, 0, 0);
    const struct thaw_half_options options = {.exchange_bytes = exchange_bytes, .alone = true};
    struct thaw_sweep_stats stats = {0};
    struct thaw_histories h;
    struct thaw_csr m = {0};
    struct thaw_half *half = NULL;
    struct thaw_als_sweep *s = NULL;
    struct thaw_window *window = NULL;
    int code = thaw_histories_load(&h, c, d, &plan[THAW_USERS], als, false, 0, err);
    if (code) return code;
    const int64_t first_row = h.first_row, nusers = h.nusers;
    const double users = h.training_users > 0 ? (double)h.training_users : 1;
    const double mean_degree = (double)h.training_nnz / users;
    code = thaw_comm_agree(c, take_rows(&m, &h, err), err);
    if (!code) code = thaw_half_new(&half, c, &config, &m, &plan[THAW_ITEMS], &options, err);
    if (!code) thaw_half_make_stoppable(half);
    if (!code) code = thaw_window_new(&window, c, thaw_half_facts(half)->window_bytes, err);
    if (!code) code = make_sweep(&s, c, &config, &plan[THAW_ITEMS], item_rows, mean_degree, err);
    memset(rows, 0, (size_t)nusers * (size_t)thaw_als_columns(&config) * sizeof *rows);
    if (!code) code = thaw_sweep(c, s, half, window, "users", first_row, item_rows, rows, NULL, &stats, err);
    thaw_csr_clear(&m);
    thaw_half_free(&half);
    thaw_window_free(&window);
    thaw_als_sweep_free(&s);
    return code;
}
