// evaluate_model.c: one model beside simple baselines.
#include "base/mem.h"
#include "comm/interactions.h"
#include "comm/sweep.h"
#include "jobs/evaluation.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>

struct one {
    struct thaw_evaluation *e;
    float *rows;     // this rank's items x columns
    double *gramian; // k x k
    struct thaw_quality quality;
};

static int configure(struct one *m, struct thaw_err *err) {
    const struct thaw_evaluate_options *o = m->e->o;
    struct thaw_als_config config = thaw_als_config_of(m->e->als, THAW_ALS_CHOLESKY, THAW_ALS_F32, 1, 0);
    if (o->alpha >= 0) config.alpha = o->alpha;
    if (o->unobserved >= 0) config.unobserved = o->unobserved;
    if (o->regularization >= 0) config.lambda = o->regularization;
    m->quality.model =
        (struct thaw_heldout_model){.config = config,
                                    .items = &m->e->plan[THAW_ITEMS],
                                    .rows = m->rows,
                                    .gramian = config.model == THAW_ALS_EXPLICIT ? NULL : m->gramian,
                                    .budget_bytes = o->memory,
                                    .log = m->e->ctx->log,
                                    .stoppable = true};
    return thaw_als_check(&config, err);
}

// Collective. Item rows, their gramian, and what training users did.
static int load_items(struct one *m, struct thaw_err *err) {
    const struct thaw_evaluation *e = m->e;
    const struct thaw_plan *items = &e->plan[THAW_ITEMS];
    const int rank = thaw_comm_rank(e->c), columns = thaw_model_columns(e->model), k = e->als->factors;
    const size_t n = (size_t)(items->rank_row[rank + 1] - items->rank_row[rank]);
    int code = thaw_alloc(&m->rows, n * (size_t)columns, sizeof *m->rows, "item factors", err);
    if (!code) code = thaw_alloc(&m->gramian, (size_t)k * (size_t)k, sizeof *m->gramian, "the gramian", err);
    if (!code) code = configure(m, err);
    code = thaw_comm_agree(e->c, code, err);
    if (!code) code = thaw_model_load(e->model, e->c, THAW_ITEMS, items, m->rows, err);
    if (!code) code = thaw_sweep_gramian(e->c, items, m->rows, k, columns, m->gramian, err);
    return code ? code : thaw_evaluation_items(m->e, err);
}

// ---- Results ----

static void write_notes(FILE *out, const struct one *m) {
    const struct thaw_als_config *c = &m->quality.model.config;
    fprintf(out, "model: %s, %d factors; fold-in:", thaw_pack_model_name(m->e->als), c->k);
    if (c->model != THAW_ALS_EXPLICIT)
        fprintf(out, " alpha %g, unobserved weight %g,", c->alpha, c->unobserved);
    fprintf(out, " regularization %g", c->lambda);
    if (c->model != THAW_ALS_EXPLICIT) fprintf(out, ", exponent %g", c->nu);
    fprintf(out, "\n");
    thaw_evaluation_notes(m->e, out);
}

// Rank 0. Print, and keep a copy where asked.
static int print_results(const struct one *m, const struct thaw_report_row *rows, int nrows,
                         struct thaw_err *err) {
    char *notes = NULL, *text = NULL;
    size_t notes_bytes = 0, text_bytes = 0;
    int code = THAW_OK;
    FILE *memory = open_memstream(&notes, &notes_bytes);
    if (!memory) return thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    write_notes(memory, m);
    fclose(memory);
    memory = open_memstream(&text, &text_bytes);
    if (memory) {
        thaw_report_print(memory, m->e->o->common.format, notes, m->e->users->total, rows, nrows);
        fclose(memory);
    }
    if (!memory || !text)
        code = thaw_fail_errno(err, THAW_EMEM, "cannot format the results");
    else
        code = thaw_evaluation_put(m->e, text, text_bytes, err);
    free(notes);
    free(text);
    return code;
}

// Collective.
static int measure(struct one *m, struct thaw_err *err) {
    struct thaw_evaluation *e = m->e;
    struct thaw_quality *q = &m->quality;
    struct thaw_report_row *rows = NULL;
    int nrows = 0;
    q->comm = e->c;
    q->users = e->users;
    q->degree = e->degree;
    q->value_sum = e->value_sum;
    q->training_users = e->training_users;
    q->known = e->known;
    q->nknown = e->nknown;
    q->cutoff = e->cutoff;
    q->ncutoffs = e->ncutoffs;
    q->replicates = (int)e->o->replicates;
    q->seed = (uint64_t)e->o->seed;
    int code = q->model.config.model == THAW_ALS_EXPLICIT ? thaw_quality_ratings(q, &rows, &nrows, err)
                                                          : thaw_quality_ranking(q, &rows, &nrows, err);
    if (!code && thaw_comm_rank(e->c) == 0) code = print_results(m, rows, nrows, err);
    free(rows);
    return thaw_comm_agree(e->c, code, err);
}

int thaw_evaluate_model(struct thaw_evaluation *e, struct thaw_err *err) {
    struct one m = {.e = e};
    int code = thaw_comm_agree(e->c, thaw_evaluation_numbers(e, 1, err), err);
    if (!code) code = thaw_evaluation_open(e, err);
    if (!code) code = load_items(&m, err);
    if (!code) code = thaw_evaluation_users(e, &e->choice, &e->users, err);
    if (code) goto done;
    thaw_log_note(e->ctx->log,
                  "%" PRId64 " held-out users, %" PRId64 " items: ranking with %d known items at most",
                  e->users->total, thaw_plan_rows(&e->plan[THAW_ITEMS]), e->users->max_known);
    code = measure(&m, err);
done:
    free(m.rows);
    free(m.gramian);
    return code;
}
