// evaluate_cold.c: many models for cold users side by side.
#include "jobs/evaluation.h"
#include "jobs/hold.h"

#include <inttypes.h>
#include <stdlib.h>

// Rank 0. Table, copy and picture.
static int show(const struct thaw_study *s, const struct thaw_study_row *rows, int nrows,
                struct thaw_err *err) {
    const struct thaw_evaluate_options *o = s->e->o;
    char *text = NULL;
    size_t n = 0;
    FILE *memory = open_memstream(&text, &n);
    if (!memory) return thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    thaw_study_print(s, memory, o->common.format, rows, nrows);
    fclose(memory);
    int code = text ? thaw_evaluation_put(s->e, text, n, err)
                    : thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    if (!code && o->picture) code = thaw_study_picture(s, o->picture, rows, nrows, err);
    if (!code && o->blend_out) code = thaw_study_blend_write(s, o->blend_out, err);
    free(text);
    return code;
}

// Collective.
static int measure(struct thaw_study *s, struct thaw_err *err) {
    struct thaw_study_row *rows = NULL;
    int nrows = 0;
    int code = thaw_study_measure(s, &rows, &nrows, err);
    if (!code && thaw_comm_rank(s->c) == 0) code = show(s, rows, nrows, err);
    free(rows);
    return thaw_comm_agree(s->c, code, err);
}

static int name_generators(struct thaw_study *s, struct thaw_err *err) {
    const struct thaw_list *list = &s->e->o->generators;
    s->prior_dir = s->e->o->prior;
    s->association_dir = s->e->o->association;
    if (list->n > THAW_SEEDS_MAX)
        return thaw_fail(err, THAW_EUSAGE, "--generator: more than %d folders", THAW_SEEDS_MAX);
    s->ngenerators = list->n;
    for (int i = 0; i < list->n; i++) s->generator_dir[i] = list->item[i];
    return THAW_OK;
}

int thaw_evaluate_cold(struct thaw_evaluation *e, struct thaw_err *err) {
    struct thaw_study *s = calloc(1, sizeof *s); // too much for a stack
    int code = s ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for a study");
    if (!code) code = thaw_evaluation_numbers(e, 0, err);
    if (s) {
        s->e = e;
        s->c = e->c;
        if (!code) code = name_generators(s, err);
    }
    if ((code = thaw_comm_agree(e->c, code, err))) goto done;
    if (e->o->work) code = thaw_hold(&s->lock, e->ctx, "evaluate", e->o->work, err);
    if (!code && !e->model_dir) code = thaw_work_train(e, err);
    if (!code) code = thaw_evaluation_open(e, err);
    if (!code) code = thaw_study_open(s, err);
    if (!code) code = thaw_work_models(s, err);
    if (!code) code = thaw_study_open_models(s, err);
    if (!code)
        thaw_log_note(e->ctx->log,
                      "%" PRId64 " held-out users, %" PRId64 " items, %" PRId64 " training users",
                      e->users->total, thaw_plan_rows(&e->plan[THAW_ITEMS]), e->training_users);
    if (!code && e->o->tune) code = thaw_study_tune(s, err);
    if (!code) code = measure(s, err);
    thaw_study_close(s);
    thaw_hold_end(&s->lock);
done:
    free(s);
    return code;
}
