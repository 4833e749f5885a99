// inputs.h: digests of what steps of `thaw run` read and write. Local; thread-safe.
#ifndef THAW_JOBS_INPUTS_H
#define THAW_JOBS_INPUTS_H

#include "base/err.h"
#include "proto/thaw.pb-c.h"

#include <stdint.h>

// The input `path` of an option. "data" and "model": the digest of the manifest. Other files: of length, time
// of change and the first and last 64 KiB, for logs are long; folders: of the names and digests of their
// files, in order. THAW_ENOINPUT.
int thaw_input_digest(const char *option, const char *path, uint64_t *digest, struct thaw_err *err);

// What the step `job` has written to path: the digest of the manifest, after a look at the presence and
// length of each file it names; of synth's log as of an input; of an evaluation its content. THAW_ENOINPUT
// when missing, THAW_EDATA when incomplete.
int thaw_output_digest(const char *job, const char *path, uint64_t *digest, struct thaw_err *err);

// The record of the run of `job` that wrote path, after the same look; owned: thaw__run__free_unpacked(run,
// NULL). Not of evaluations, which have none. THAW_ENOINPUT, THAW_EDATA.
int thaw_output_run(const char *job, const char *path, Thaw__Run **run, struct thaw_err *err);

#endif
