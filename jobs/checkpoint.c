// checkpoint.c: see checkpoint.h.
#include "jobs/checkpoint.h"

#include "base/mem.h"
#include "jobs/attempts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// ---- What is saved ----

// Rows that files have: users without virtual ones.
static size_t nvalues(const struct thaw_training *t, int side) {
    const size_t rows = side == THAW_USERS ? thaw_training_real_users(t) : (size_t)t->in.rows[side];
    return rows * (size_t)t->fit->columns;
}

// All threads: one alone does not get at all of the memory's bandwidth, and pages come where they were asked
// for.
static void copy_values(float *to, const float *from, size_t n) {
    enum { RUN = 1 << 18 };
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < n; at += RUN)
        memcpy(to + at, from + at, (n - at < RUN ? n - at : RUN) * sizeof *to);
}

// Local. The rows of a side that files have, in memory of their own.
static int copy_side(const struct thaw_training *t, int side, const float *from, float **to,
                     struct thaw_err *err) {
    const int code = thaw_alloc(to, nvalues(t, side), sizeof **to, "a copy of the factors to save", err);
    if (code) return code;
    if (side == THAW_USERS && t->in.made)
        thaw_interactions_pack(&t->in, t->fit->columns, from, *to);
    else
        copy_values(*to, from, nvalues(t, side));
    return THAW_OK;
}

// The manifest as of now: of this iteration.
static void describe(struct thaw_training *t, const char *finished) {
    t->run->seconds = thaw_time_s() - t->began;
    t->model.finished = finished != NULL;
    t->model.stop_reason = (char *)(uintptr_t)(finished ? finished : ""); // read only
}

// ---- What became of it ----

static void tell(const struct thaw_training *t, int number, double copy_s, const struct thaw_model_saved *s) {
    thaw_log_event(t->ctx->log, "checkpoint",
                   "\"iteration\":%d,\"bytes\":%" PRId64
                   ",\"copy_s\":%.6f,\"write_s\":%.6f,\"commit_s\":%.6f,"
                   "\"waited_s\":%.6f",
                   number, s->nbytes, copy_s, s->write_s, s->commit_s, s->waited_s);
}

// Collective. There is a newer checkpoint than the one this run went on from: that one is not to blame.
static int clear_attempts(struct thaw_training *t, struct thaw_err *err) {
    if (!t->counted) return THAW_OK;
    t->counted = false;
    return thaw_comm_agree(t->c, thaw_comm_rank(t->c) == 0 ? thaw_attempts_clear(t->o->out, err) : THAW_OK,
                           err);
}

// ---- While training waits ----

// Collective.
static int save_now(struct thaw_training *t, int number, int before, float *const rows[2],
                    struct thaw_err *err) {
    const struct thaw_plan plan[2] = {t->in.real, t->in.plan[THAW_ITEMS]};
    const float *from[2] = {rows[0], rows[1]};
    struct thaw_model_saved saved;
    float *packed = NULL; // the users' without virtual ones
    int code = THAW_OK;
    if (t->in.made) {
        code = thaw_comm_agree(t->c, copy_side(t, THAW_USERS, rows[THAW_USERS], &packed, err), err);
        from[THAW_USERS] = packed;
    }
    if (!code) code = thaw_model_save(t->c, t->o->out, number, before, &t->model, plan, from, &saved, err);
    if (!code) tell(t, number, 0, &saved);
    free(packed);
    return code;
}

// Collective. With --patience, the best iteration as a version of its own, with the record up to it.
static int save_best(struct thaw_training *t, struct thaw_err *err) {
    const size_t n = t->model.n_iterations;
    const int best = t->best.iteration;
    t->model.n_iterations = (size_t)best;
    const int code = save_now(t, best, -1, t->best.rows, err);
    t->model.n_iterations = n;
    t->best.saved = best;
    return code;
}

// Collective. Before a version is written: the best one is beside it. *before: its number, or -1.
static int begin_version(struct thaw_training *t, const char *finished, int *before, struct thaw_err *err) {
    const int number = thaw_train_kept(t), best = t->best.iteration;
    const bool behind = !finished && best && best < number;
    describe(t, finished);
    const int code = behind && t->best.saved != best ? save_best(t, err) : THAW_OK;
    if (best == number) t->best.saved = best;
    *before = behind ? best : -1;
    return code;
}

int thaw_checkpoint_now(struct thaw_training *t, const char *finished, struct thaw_err *err) {
    int before = -1, code = thaw_checkpoint_end(t, err);
    if (!code) code = begin_version(t, finished, &before, err);
    if (!code) code = save_now(t, thaw_train_kept(t), before, t->fit->rows, err);
    t->saved_at = thaw_time_s();
    return code ? code : clear_attempts(t, err);
}

// ---- In the background ----

bool thaw_checkpoint_in_flight(const struct thaw_training *t) {
    return t->flight.save != NULL;
}

bool thaw_checkpoint_writing(const struct thaw_training *t) {
    const char *wait = getenv("THAW_CHECKPOINT_WAIT");
    return t->flight.save && !(wait && *wait == '1') && !thaw_model_save_written(t->flight.save);
}

// Collective. A copy of the factors in rows; false where not all ranks have the memory for it: no copy then.
static bool copy_factors(const struct thaw_training *t, float *rows[2]) {
    int64_t failed = 0;
    for (int side = 0; !failed && side < 2; side++)
        failed = copy_side(t, side, t->fit->rows[side], &rows[side], NULL) != THAW_OK;
    thaw_comm_max_i64(t->c, &failed, 1);
    for (int side = 0; failed && side < 2; side++) {
        free(rows[side]);
        rows[side] = NULL;
    }
    return !failed;
}

static void say_skipped(struct thaw_training *t) {
    if (!t->flight.said_skipped)
        thaw_log_note(t->ctx->log,
                      "iteration %d is not saved: an earlier checkpoint is still being written "
                      "(not said again)",
                      thaw_train_done(t));
    t->flight.said_skipped = true;
}

static void say_no_copy(struct thaw_training *t) {
    if (!t->flight.said_no_copy)
        thaw_log_warn(t->ctx->log, "no memory for a copy of the factors: training waits for checkpoints");
    t->flight.said_no_copy = true;
}

int thaw_checkpoint_begin(struct thaw_training *t, struct thaw_err *err) {
    const struct thaw_plan plan[2] = {t->in.real, t->in.plan[THAW_ITEMS]};
    float *rows[2] = {NULL, NULL};
    int before = -1;
    if (t->flight.save) {
        say_skipped(t);
        return THAW_OK;
    }
    int code = begin_version(t, NULL, &before, err);
    if (code) return code;
    const double began = thaw_time_s();
    t->saved_at = began;
    if (!copy_factors(t, rows)) {
        say_no_copy(t);
        code = save_now(t, thaw_train_kept(t), before, t->fit->rows, err);
        return code ? code : clear_attempts(t, err);
    }
    t->flight.number = thaw_train_kept(t);
    t->flight.before = before;
    code =
        thaw_model_save_begin(&t->flight.save, t->c, t->o->out, t->flight.number, &t->model, plan, rows, err);
    t->flight.copy_s = thaw_time_s() - began;
    return code;
}

int thaw_checkpoint_end(struct thaw_training *t, struct thaw_err *err) {
    struct thaw_model_saved saved;
    if (!t->flight.save) return THAW_OK;
    const int code = thaw_model_save_commit(&t->flight.save, t->c, t->flight.before, &saved, err);
    if (code) return code;
    tell(t, t->flight.number, t->flight.copy_s, &saved);
    return clear_attempts(t, err);
}
