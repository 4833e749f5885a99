// associating.h: what the files of `thaw associate` share. Private to them. Local.
#ifndef THAW_JOBS_ASSOCIATING_H
#define THAW_JOBS_ASSOCIATING_H

#include "jobs/job.h"
#include "proto/thaw.pb-c.h"

enum { THAW_ASSOCIATE_KNOWN = 64 };
enum { THAW_ASSOCIATE_EPISODIC, THAW_ASSOCIATE_EASE, THAW_ASSOCIATE_KNN }; // --method

struct thaw_associate_options {
    const char *data, *model, *out, *holdout_list, *neighbors;
    int method, profiles, precision;
    struct thaw_list known, regularization, power;
    double profile_regularization, holdout;
    int64_t holdout_seed, memory, block;
    bool force;
    struct thaw_job_common common;
};

static inline Thaw__Association__Method thaw_associate_method(const struct thaw_associate_options *o) {
    return o->method == THAW_ASSOCIATE_EASE  ? THAW__ASSOCIATION__METHOD__EASE
           : o->method == THAW_ASSOCIATE_KNN ? THAW__ASSOCIATION__METHOD__KNN
                                             : THAW__ASSOCIATION__METHOD__EPISODIC;
}

// The lists of the command line, or what stands for them.
struct thaw_associate_numbers {
    int n;
    int known[THAW_ASSOCIATE_KNOWN];
    double regularization[THAW_ASSOCIATE_KNOWN], power[THAW_ASSOCIATE_KNOWN];
    int64_t neighbors; // 0: all
};
// THAW_EUSAGE.
int thaw_associate_numbers(const struct thaw_associate_options *o, struct thaw_associate_numbers *n,
                           struct thaw_err *err);
// The regularization (KNN: shrinkage) taken for so many known items when none is given.
double thaw_associate_default(Thaw__Association__Method method, int known);

#endif
