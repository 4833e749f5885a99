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
    if (wish->only_implicit && m->als->model == THAW__ALS__MODEL__EXPLICIT)
        return thaw_fail(err, THAW_EUSAGE,
                         "%s is a model of ratings: %s for the implicit models ('thaw train --model')",
                         model->dir, wish->only_implicit);
    if (wish->iterated && m->n_iterations == 0)
        return thaw_fail(err, THAW_EDATA,
                         "%s: no iteration was trained, all users are zeros: run 'thaw train --iterations'",
                         model->dir);
    return THAW_OK;
}

int thaw_trained_open(struct thaw_job_ctx *ctx, const struct thaw_trained_wish *wish,
                      struct thaw_model **model, struct thaw_dataset **dataset, const char **data,
                      struct thaw_err *err) {
    struct thaw_model *m = NULL;
    struct thaw_dataset *d = NULL;
    char note[256];
    int code = thaw_model_open(&m, ctx->comm, wish->model, true, note, err);
    if (code) return code;
    if (*note) thaw_log_warn(ctx->log, "%s", note);
    const char *folder = wish->data ? wish->data : m->manifest->dataset;
    code = thaw_dataset_open(&d, folder, err);
    if (!code) code = check(m, d, folder, wish, err);
    if ((code = thaw_comm_agree(ctx->comm, code, err))) {
        thaw_dataset_close(&d);
        thaw_model_close(&m);
        return code;
    }
    if (!m->manifest->finished)
        thaw_log_warn(ctx->log, "%s is a checkpoint: its training is not finished", m->dir);
    *model = m;
    *dataset = d;
    *data = folder;
    return THAW_OK;
}
