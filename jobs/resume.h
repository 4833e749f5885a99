// resume.h: may a training go on from a model? Private to `thaw train`. Local.
#ifndef THAW_JOBS_RESUME_H
#define THAW_JOBS_RESUME_H

#include "base/err.h"
#include "proto/thaw.pb-c.h"

// Compare everything that decides the bytes of a model: the dataset, the model's numbers, the solver.
// THAW_EDATA for another dataset, THAW_EUSAGE for another option, with both values.
int thaw_resume_check(const char *dir, const Thaw__Model *old, const Thaw__Model *now, struct thaw_err *err);

#endif
