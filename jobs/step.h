// step.h: one step of `thaw run`: its command line, what it depends on, and whether it is up to date. Rank 0
// only; local.
#ifndef THAW_JOBS_STEP_H
#define THAW_JOBS_STEP_H

#include "jobs/facts.h"
#include "jobs/job.h"
#include "jobs/jobfile.h"
#include "proto/thaw.pb-c.h"

enum thaw_step_state {
    THAW_STEP_ABSENT,  // not in the job file
    THAW_STEP_LEFT,    // left out by --steps: taken as it is
    THAW_STEP_CURRENT, // up to date
    THAW_STEP_RUN,
    THAW_STEP_RESUME, // a training with the same options and inputs did not finish
};

struct thaw_step {
    const struct thaw_job *job;
    struct thaw_words words; // its command line
    enum thaw_step_state state;
    char why[128];
    uint64_t key; // digest of what decides its result
    char *out;    // what it writes
};

// The jobs that can be steps, in order.
enum { THAW_STEP_JOBS = 8 };
extern const struct thaw_job *const thaw_step_jobs[THAW_STEP_JOBS];

// Fill the command line of s->job from its section, adding where OUT's data, model and tables are for options
// not named, and
// --format when format is not text. THAW_EUSAGE.
int thaw_step_words(struct thaw_step *s, const struct thaw_jobfile *f, const char *out, int format,
                    struct thaw_err *err);

// Decide by the record of what was done. THAW_ENOINPUT when an input is missing.
int thaw_step_decide(struct thaw_step *s, const Thaw__Job *done, const char *out, bool force,
                     struct thaw_err *err);
// Digest of what the step has written; *present false (and THAW_OK) when it is not there or incomplete.
int thaw_step_output(const struct thaw_step *s, uint64_t *digest, bool *present, struct thaw_err *err);
// Did the job itself leave its whole result there, with the options and inputs as they are now? (Only the
// record of it may be missing.)
bool thaw_step_is_made(const struct thaw_step *s);
// The record of a step, NULL when there is none. The path it is kept under: below OUT without OUT, so that
// OUT can be moved.
const Thaw__Step *thaw_step_done(const Thaw__Job *done, const char *name);
const char *thaw_step_path(const struct thaw_step *s, const char *out);
// Does it read what the other writes?
bool thaw_step_follows(const struct thaw_step *s, const struct thaw_step *other);
// Its name, state and reason, and all its options with their values, defaults included.
int thaw_step_facts(const struct thaw_step *s, struct thaw_facts *facts, struct thaw_err *err);
const char *thaw_step_state_name(const struct thaw_step *s);

void thaw_step_clear(struct thaw_step *s);

#endif
