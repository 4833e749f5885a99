// trained.c: see trained.h.
#include "jobs/trained.h"

#include <inttypes.h>

static int check(const struct thaw_model *model, const struct thaw_dataset *dataset, const char *data,
                 const struct thaw_trained_wish *wish, struct thaw_err *err) {
    const Thaw__Model *m = model->manifest;
    if (m->dataset_digest != dataset->digest)
        return thaw_fail(err, THAW_EDATA,
                         "the model %s was trained on a dataset of digest %016" PRIx64
                         ", but %s has digest %016" PRIx64 ": name the right one with --data",
                         model->dir, m->dataset_digest, data, dataset->digest);
    if (wish->implicit && m->als->model == THAW__ALS__MODEL__EXPLICIT)
        return thaw_fail(err, THAW_EUSAGE,
                         "%s is a model of ratings: %s for the implicit models ('thaw train --model')",
                         model->dir, wish->implicit);
    if (wish->iterated && m->n_iterations == 0)
        return thaw_fail(err, THAW_EDATA,
                         "%s: no iteration was trained, all users are zeros: run 'thaw train --iterations'",
                         model->dir);
    return THAW_OK;
}

int thaw_trained_open(struct thaw_job_ctx *ctx, const struct thaw_trained_wish *wish,
                      struct thaw_model **model, struct thaw_dataset **dataset, const char **data,
                      struct thaw_err *err) {
    char note[256];
    int code = thaw_model_open(model, ctx->comm, wish->model, true, note, err);
    if (code) return code;
    if (*note) thaw_log_warn(ctx->log, "%s", note);
    *data = wish->data ? wish->data : (*model)->manifest->dataset;
    code = thaw_dataset_open(dataset, *data, err);
    if (!code) code = check(*model, *dataset, *data, wish, err);
    code = thaw_comm_agree(ctx->comm, code, err);
    if (!code && !(*model)->manifest->finished)
        thaw_log_warn(ctx->log, "%s is a checkpoint: its training is not finished", (*model)->dir);
    return code;
}
