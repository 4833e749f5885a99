// trained.h: a model and the dataset it was trained on, opened together and compared.
#ifndef THAW_JOBS_TRAINED_H
#define THAW_JOBS_TRAINED_H

#include "comm/model.h"
#include "jobs/job.h"
#include "partition/shard.h"

// What a job asks for.
struct thaw_trained_wish {
    const char *model, *data;  // folders; data NULL: where training found it
    bool iterated;             // refuse a model without iterations, whose users are zeros
    const char *only_implicit; // what is not for models of ratings, for the message: "priors are"; NULL: any
};
// Collective. Tells of a checkpoint, and of a version that is not the newest. *data: the dataset's folder as
// it was named, borrowed of the wish or the model. THAW_EDATA: another dataset than the model's, or no
// iteration. THAW_EUSAGE: a model of ratings. THAW_ENOINPUT, THAW_EMEM.
int thaw_trained_open(struct thaw_job_ctx *ctx, const struct thaw_trained_wish *wish,
                      struct thaw_model **model, struct thaw_dataset **dataset, const char **data,
                      struct thaw_err *err);

#endif
