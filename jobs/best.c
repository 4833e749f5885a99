// best.c: see best.h.
#include "jobs/best.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

int thaw_best_of(const struct thaw_training *t) {
    int best = 0;
    for (int i = 0; i < thaw_train_done(t); i++)
        if (t->iteration[i].quality > (best ? t->iteration[best - 1].quality : 0)) best = i + 1;
    return best;
}

static size_t side_bytes(const struct thaw_training *t, int side) {
    return (size_t)t->in.rows[side] * (size_t)t->fit->columns * sizeof(float);
}

static void copy_rows(const struct thaw_training *t, float *const to[2], float *const from[2]) {
    for (int side = 0; side < 2; side++)
        if (side_bytes(t, side)) memcpy(to[side], from[side], side_bytes(t, side));
}

// The version `best` must be of this very training.
static int check(const struct thaw_training *t, const struct thaw_model *m, int best, struct thaw_err *err) {
    const Thaw__Model *f = m->manifest;
    if (f->dataset_digest == t->model.dataset_digest && f->als->factors == t->als.factors &&
        f->als->biases == t->als.biases && f->n_iterations == (size_t)best &&
        f->iterations[best - 1]->quality == t->iteration[best - 1].quality)
        return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s is of another training", m->dir);
}

static int load_saved(struct thaw_training *t, int best, struct thaw_err *err) {
    struct thaw_model *m = NULL;
    struct thaw_err own = THAW_ERR_INIT;
    int code = thaw_model_open_version(&m, t->c, t->o->out, best, true, &own);
    if (!code) code = check(t, m, best, &own); // the same on all ranks
    for (int side = 0; !code && side < 2; side++)
        code = thaw_training_load(t, m, (enum thaw_side)side, t->best.rows[side], &own);
    thaw_model_close(&m);
    if (!code) {
        t->best.iteration = t->best.saved = best;
    } else if (code == THAW_EDATA || code == THAW_ENOINPUT) {
        thaw_log_warn(t->ctx->log, "the factors of iteration %d, the best so far, are not at hand: %s", best,
                      own.text);
        code = THAW_OK;
    } else {
        *err = own;
    }
    return code;
}

int thaw_best_begin(struct thaw_training *t, struct thaw_err *err) {
    const int best = thaw_best_of(t);
    int code = THAW_OK;
    if (!t->o->patience) return THAW_OK;
    for (int side = 0; !code && side < 2; side++)
        code = thaw_alloc(&t->best.rows[side], side_bytes(t, side), 1, "the best factors", err);
    if ((code = thaw_comm_agree(t->c, code, err))) return code;
    if (!best) return THAW_OK;
    if (best < thaw_train_done(t)) return load_saved(t, best, err);
    thaw_best_note(t);
    t->best.saved = best;
    return THAW_OK;
}

void thaw_best_clear(struct thaw_training *t) {
    for (int side = 0; side < 2; side++) free(t->best.rows[side]);
}

void thaw_best_note(struct thaw_training *t) {
    const int done = thaw_train_done(t);
    if (!t->o->patience || thaw_best_of(t) != done) return;
    copy_rows(t, t->best.rows, t->fit->rows);
    t->best.iteration = done;
}

int thaw_best_restore(struct thaw_training *t, struct thaw_err *err) {
    copy_rows(t, t->fit->rows, t->best.rows);
    return thaw_fit_begin(t->fit, err);
}
