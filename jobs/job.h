// job.h: what main gives a job, and the list of jobs.
//
// A job is one file: its option table (struct thaw_cmd) and its run function. run is collective, leaves
// through one `done:` label, and returns a code on which all ranks agree (thaw_comm_agree at the end of every
// phase); main prints the one error line on rank 0. `thaw run` calls the same functions, so a job keeps no
// global state.
#ifndef THAW_JOBS_JOB_H
#define THAW_JOBS_JOB_H

#include "base/log.h"
#include "base/opt.h"
#include "comm/world.h"

struct thaw_job_ctx {
    struct thaw_comm *comm;
    struct thaw_log *log; // quiet on ranks other than 0
    int argc;             // the words after the job's name, for manifests
    char **argv;
    int threads; // OpenMP threads of this rank
};

struct thaw_job {
    const struct thaw_cmd *cmd;
    // options: parsed, of cmd->size bytes. Results go to stdout on rank 0.
    int (*run)(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err);
};

extern const struct thaw_job thaw_job_synth, thaw_job_prepare, thaw_job_train, thaw_job_evaluate,
    thaw_job_augment, thaw_job_score_users, thaw_job_tables, thaw_job_run, thaw_job_bench, thaw_job_prior,
    thaw_job_associate, thaw_job_describe;

// All of them, in the order of the pipeline; NULL-terminated.
extern const struct thaw_job *const thaw_jobs[];

// Options every job has; put THAW_JOB_OPTIONS(struct my_options) last in the table and a `struct
// thaw_job_common common` field anywhere in the options struct: main finds it through the table.
struct thaw_job_common {
    int64_t threads; // 0: OMP_NUM_THREADS or the cores of the rank
    const char *log; // JSON lines file
    bool quiet;
    double stall_timeout_s; // 0: the job waits for ever
    int format;             // 0 text, 1 jsonl, 2 csv
};
// Local. The common struct inside a job's options, found through the table; NULL for a command without
// THAW_JOB_OPTIONS.
const struct thaw_job_common *thaw_job_common_of(const struct thaw_cmd *cmd, const void *options);
enum { THAW_FORMAT_TEXT, THAW_FORMAT_JSONL, THAW_FORMAT_CSV };
#define THAW_JOB_OPTIONS(T)                                                                                  \
    {.name = "threads",                                                                                      \
     .kind = THAW_OPT_INT,                                                                                   \
     .offset = offsetof(T, common.threads),                                                                  \
     .arg = "N",                                                                                             \
     .def = "0",                                                                                             \
     .min = 0,                                                                                               \
     .max = 4096,                                                                                            \
     .help = "OpenMP threads of each rank; 0 takes OMP_NUM_THREADS, else the cores the rank may use."},      \
        {.name = "format",                                                                                   \
         .kind = THAW_OPT_CHOICE,                                                                            \
         .offset = offsetof(T, common.format),                                                               \
         .arg = "FORMAT",                                                                                    \
         .def = "text",                                                                                      \
         .choices = "text|jsonl|csv",                                                                        \
         .help = "How results are printed on standard output."},                                             \
        {.name = "stall-timeout",                                                                            \
         .kind = THAW_OPT_SECONDS,                                                                           \
         .offset = offsetof(T, common.stall_timeout_s),                                                      \
         .arg = "SECONDS",                                                                                   \
         .def = "30m",                                                                                       \
         .min = 0,                                                                                           \
         .max = -1,                                                                                          \
         .help = "End the job when a rank waits for others longer than this, and say for which; 0: never."}, \
        {.name = "log",                                                                                      \
         .kind = THAW_OPT_TEXT,                                                                              \
         .offset = offsetof(T, common.log),                                                                  \
         .arg = "FILE",                                                                                      \
         .help = "Append a machine-readable log (JSON lines) to FILE."},                                     \
    {                                                                                                        \
        .name = "quiet", .letter = 'q', .kind = THAW_OPT_FLAG, .offset = offsetof(T, common.quiet),          \
        .help = "Print nothing on standard error but errors."                                                \
    }

#endif
