// main.c: the program thaw. Chooses a job, starts MPI, runs the job, ends with the same exit status on every
// rank.
#include "als/als.h"
#include "base/mem.h"
#include "base/version.h"
#include "jobs/job.h"

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

// One launch: what the command line says, then what came of it.
struct launch {
    int argc;
    char **argv;
    const char *name; // of the job, as typed
    const struct thaw_job *job;
    void *options;
    struct thaw_list operands;
    struct thaw_comm *comm;
    struct thaw_log *log;
    const char *blas;
};

static const int exit_codes[] = {
    THAW_EUSAGE, THAW_EDATA,    THAW_ENOINPUT,  THAW_ESTALLED,  THAW_EBUG, THAW_EMEM,
    THAW_EIO,    THAW_ESTOPPED, THAW_EDISAGREE, THAW_EDIVERGED, 0};

static void print_usage(FILE *out) {
    fprintf(out, "usage: thaw JOB [options]\n"
                 "       mpirun -n RANKS thaw JOB [options]\n"
                 "       srun --mpi=pmix thaw JOB [options]\n\n"
                 "Trains recommendation models from interaction logs on any number of MPI ranks.\n\nJobs:\n");
    for (const struct thaw_job *const *j = thaw_jobs; *j; j++)
        fprintf(out, "  %-10s %s\n", (*j)->cmd->name, (*j)->cmd->summary);
    fprintf(out, "\n'thaw JOB --help' lists the options of a job, 'thaw --version' the version.\n"
                 "The tables that come out are read with thaw-lookup, without MPI.\n");
}

// thaw(1), from the same tables as the help.
static void print_overview_man(FILE *out) {
    fprintf(out,
            ".TH THAW 1 \"\" \"thaw %s\" \"Thaw\"\n.SH NAME\nthaw \\- train recommendation models on MPI\n"
            ".SH SYNOPSIS\n.B thaw\n.I JOB\n.RI [ options ]\n.br\n.B mpirun \\-n\n.I RANKS\n.B thaw\n.I JOB\n"
            ".RI [ options ]\n.br\n.B srun \\-\\-mpi=pmix thaw\n.I JOB\n.RI [ options ]\n.SH DESCRIPTION\n"
            "Thaw reads interaction logs, trains factor models by alternating least squares, and writes\n"
            "embedding tables that\n.BR thaw\\-lookup (1)\nreads.\n"
            "Every job runs on any number of ranks and threads and writes the same bytes on all of them.\n"
            "Without a launcher a job runs on one rank.\n.SH JOBS\n",
            THAW_VERSION);
    for (const struct thaw_job *const *j = thaw_jobs; *j; j++)
        fprintf(out, ".TP\n.BR thaw\\-%s (1)\n%s\n", (*j)->cmd->name, (*j)->cmd->summary);
    thaw_opt_man_status(exit_codes, out);
    fprintf(out,
            ".SH ENVIRONMENT\n.TP\n.B OMP_NUM_THREADS\nThreads of each rank, unless \\-\\-threads says.\n"
            ".TP\n.B OPENBLAS_CORETYPE\nThe kernels OpenBLAS uses. Where it is not set and OpenBLAS does not "
            "know a\n"
            "processor with AVX-512, thaw sets it to SkylakeX.\n"
            ".SH SEE ALSO\n.BR thaw\\-lookup (1)\n");
}

static const struct thaw_job *find_job(const char *name) {
    for (const struct thaw_job *const *j = thaw_jobs; *j; j++)
        if (strcmp((*j)->cmd->name, name) == 0) return *j;
    return NULL;
}

// Letters to insert, delete or replace between two short words (Levenshtein's distance, one row at a time).
static int distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    int row[LONGEST + 1], nb = (int)strnlen(b, LONGEST);
    for (int j = 0; j <= nb; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
        int corner = row[0]++;
        for (int j = 0; j < nb; j++) {
            int best = corner + (a[i] != b[j]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            corner = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[nb];
}

static int unknown_job(const char *name, struct thaw_err *err) {
    const char *nearest = NULL;
    int least = 4;
    for (const struct thaw_job *const *j = thaw_jobs; *j; j++) {
        int d = distance(name, (*j)->cmd->name);
        if (d >= least) continue;
        least = d;
        nearest = (*j)->cmd->name;
    }
    if (nearest) return thaw_fail(err, THAW_EUSAGE, "no such job; did you mean '%s'?", nearest);
    return thaw_fail(err, THAW_EUSAGE, "no such job; 'thaw --help' lists them");
}

static int flush_results(struct thaw_err *err) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return THAW_OK;
    return thaw_fail_errno(err, THAW_EIO, "cannot write results to standard output");
}

// Results of the calls that need neither MPI nor a job to run. Returns an exit status.
static int finish_print(void) {
    struct thaw_err err = THAW_ERR_INIT;
    int code = flush_results(&err);
    if (code) fprintf(stderr, "thaw: error: %s\n", err.text);
    return code;
}

// --help, --version and --man. False: nothing of the kind was asked for.
static bool answered(int argc, char **argv, int *status) {
    const char *word = argc > 1 ? argv[1] : NULL;
    *status = THAW_OK;
    if (!word) {
        print_usage(stderr);
        *status = THAW_EUSAGE;
        return true;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        print_usage(stdout);
    } else if (strcmp(word, "--version") == 0) {
        printf("thaw %s%s%s%s\n", THAW_VERSION, *THAW_GIT ? " (" : "", THAW_GIT, *THAW_GIT ? ")" : "");
    } else if (strcmp(word, "--man") == 0) {
        const struct thaw_job *job = argc > 2 ? find_job(argv[2]) : NULL;
        if (job)
            thaw_opt_man(job->cmd, THAW_VERSION, exit_codes, stdout);
        else
            print_overview_man(stdout);
    } else {
        return false;
    }
    *status = finish_print();
    return true;
}

static int parse(struct launch *l, bool *help, struct thaw_err *err) {
    *help = false;
    l->name = l->argv[1];
    if (!(l->job = find_job(l->name))) return unknown_job(l->name, err);
    int code = thaw_alloc(&l->options, 1, l->job->cmd->size, "options", err);
    if (code) return code;
    return thaw_opt_parse(l->job->cmd, l->argc - 2, l->argv + 2, l->options, &l->operands, help, err);
}

// A closed standard stream must not become the next file a job opens: a read-only place keeper makes writes
// fail instead.
static void hold_standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF) {
            int opened = open("/dev/null", O_RDONLY);
            if (opened >= 0 && opened != fd) {
                dup2(opened, fd);
                close(opened);
            }
        }
    signal(SIGPIPE, SIG_IGN); // a reader that went away is a write error, reported as one
}

// OpenBLAS picks its kernels when it is loaded and takes AVX-512 processors it does not know for older ones,
// at half the speed. It listens to the environment only then, so set it and start over, once.
static void choose_blas_kernels(char **argv) {
#if defined(__x86_64__)
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "Sapphirerapids"};
    const char *core = thaw_blas_core();
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (strcasecmp(core, wide[i]) == 0) return;
    bool able = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    if (!able || getenv("OPENBLAS_CORETYPE") || getenv("THAW_STARTED_OVER")) return;
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    setenv("THAW_STARTED_OVER", "1", 1);
    execv("/proc/self/exe", argv);
    unsetenv("OPENBLAS_CORETYPE"); // it did not work: go on as it was
#else
    (void)argv;
#endif
}

// OMP_NUM_THREADS is meant for us, not for OpenBLAS.
static void begin_blas(struct launch *l) {
    const int threads = omp_get_max_threads();
    thaw_blas_begin();
    omp_set_num_threads(threads);
    l->blas = thaw_blas_core();
}

static int set_threads(struct launch *l, const struct thaw_job_common *common) {
    const char *text = getenv("OMP_NUM_THREADS");
    int cores = thaw_comm_cores(l->comm); // collective, so always called
    int threads = common && common->threads > 0 ? (int)common->threads
                  : text && *text               ? omp_get_max_threads()
                                                : cores;
    omp_set_num_threads(threads);
    omp_set_dynamic(0);
    return threads;
}

// Collective. All ranks must be this program, version and command line.
static int check_same(struct launch *l, struct thaw_err *err) {
    size_t n = sizeof THAW_VERSION + sizeof THAW_GIT, at = 0;
    char *text = NULL;
    for (int i = 1; i < l->argc; i++) n += strlen(l->argv[i]) + 1;
    int code = thaw_comm_agree(l->comm, thaw_alloc(&text, n, 1, "the command line", err), err);
    if (!code) {
        memcpy(text, THAW_VERSION, sizeof THAW_VERSION);
        memcpy(text + sizeof THAW_VERSION, THAW_GIT, sizeof THAW_GIT);
        at = sizeof THAW_VERSION + sizeof THAW_GIT;
        for (int i = 1; i < l->argc; at += strlen(l->argv[i++]) + 1) strcpy(text + at, l->argv[i]);
        code = thaw_comm_same(l->comm, text, n, "the command line or the version of thaw", err);
    }
    free(text);
    return code;
}

// Collective. The first line of every log.
static int announce(struct launch *l, int threads, struct thaw_err *err) {
    char *names = NULL;
    int64_t nbytes = 0, hosts = 0, most = threads;
    int code = thaw_comm_hosts(l->comm, &names, &nbytes, err);
    if (code) return code;
    thaw_comm_max_i64(l->comm, &most, 1);
    for (int64_t i = 0; names && i < nbytes; i++) hosts += names[i] == 0;
    if (names)
        thaw_log_note(l->log, "thaw %s: %s on %d rank%s x %d thread%s, host%s %s%s, %s, BLAS %s",
                      THAW_VERSION, l->name, thaw_comm_size(l->comm), thaw_comm_size(l->comm) == 1 ? "" : "s",
                      (int)most, most == 1 ? "" : "s", hosts == 1 ? "" : "s", names,
                      hosts == 1 ? "" : " and others", thaw_comm_mpi_version(l->comm), l->blas);
    free(names);
    return THAW_OK;
}

// The environment may ask for vector code that this CPU, or any, has not.
static void check_kernels(struct thaw_log *log) {
    const char *wanted = getenv("THAW_KERNELS"), *used = thaw_als_kernels();
    if (wanted && *wanted && strcmp(wanted, used) != 0 && strcmp(wanted, "portable") != 0)
        thaw_log_warn(log, "THAW_KERNELS=%.40s: not on this CPU; %s is used", wanted, used);
}

// Collective.
static int run_job(struct launch *l, struct thaw_err *err) {
    const struct thaw_job_common *common = thaw_job_common_of(l->job->cmd, l->options);
    bool first = thaw_comm_rank(l->comm) == 0;
    int code = check_same(l, err);
    if (code) return code;
    int threads = set_threads(l, common);
    code = thaw_log_open(&l->log, !first || (common && common->quiet), first && common ? common->log : NULL,
                         err);
    if ((code = thaw_comm_agree(l->comm, code, err))) return code;
    if ((code = announce(l, threads, err))) return code;
    check_kernels(l->log);
    const double limit_s = common ? common->stall_timeout_s : 0;
    if ((code = thaw_comm_watch(l->comm, l->name, limit_s, common && common->quiet, err))) return code;
    struct thaw_job_ctx ctx = {
        .comm = l->comm, .log = l->log, .argc = l->argc - 2, .argv = l->argv + 2, .threads = threads};
    code = l->job->run(&ctx, l->options, &l->operands, err);
    thaw_comm_phase(l->comm, "end");
    if (!code) code = flush_results(err);
    return thaw_comm_agree(l->comm, code, err);
}

// Collective when there is a communicator. The one line that says why a job failed.
static void print_error(struct launch *l, int code, struct thaw_err *err) {
    char where[128] = "", host[64] = "";
    const char *what = code == THAW_ESTOPPED ? "stopped" : "error";
    if (l->comm && err->rank >= 0 && thaw_comm_size(l->comm) > 1 && code != THAW_EUSAGE) {
        snprintf(host, sizeof host, "%s", thaw_comm_host(l->comm));
        thaw_comm_bcast(l->comm, host, sizeof host, err->rank);
        snprintf(where, sizeof where, "rank %d of %d (%s): ", err->rank, thaw_comm_size(l->comm), host);
    }
    if (l->comm && thaw_comm_rank(l->comm) != 0) return;
    fflush(stdout);
    fprintf(stderr, "thaw %s: %s: %s%s\n", l->name, what, where, err->text);
    if (l->log) thaw_log_event(l->log, "error", "\"code\":%d,\"rank\":%d", code, err->rank);
}

int main(int argc, char **argv) {
    struct launch l = {.argc = argc, .argv = argv};
    struct thaw_err err = THAW_ERR_INIT, begin_err = THAW_ERR_INIT;
    int code = THAW_OK;
    bool help;
    hold_standard_streams();
    if (answered(argc, argv, &code)) return code;
    code = parse(&l, &help, &err);
    if (help) {
        thaw_opt_help(l.job->cmd, stdout);
        return finish_print();
    }
    if (!code) choose_blas_kernels(argv);
    begin_blas(&l);
    int begun = thaw_comm_begin(&l.comm, &begin_err);
    if (begun) {
        err = begin_err;
        code = begun;
    } else {
        code = thaw_comm_agree(l.comm, code, &err); // a bad command line is one message, not one of each rank
        if (!code) code = run_job(&l, &err);
    }
    if (code) print_error(&l, code, &err);
    thaw_log_close(&l.log);
    if (l.job) thaw_opt_clear(l.job->cmd, l.options, &l.operands);
    free(l.options);
    if (l.comm) thaw_comm_end(&l.comm);
    return code;
}
