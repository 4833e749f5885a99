// evaluate_work.c: training what a study of cold users lacks, by the jobs themselves.
#include "base/file.h"
#include "base/mem.h"
#include "jobs/evaluation.h"
#include "jobs/jobfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// ---- Running a job ----

static const struct thaw_job *find_job(const char *name) {
    for (const struct thaw_job *const *j = thaw_jobs; *j; j++)
        if (strcmp((*j)->cmd->name, name) == 0) return *j;
    return NULL;
}

// What a job prints is not a result of the study: it goes to standard error, or nowhere when that is to be
// quiet. Returns what stdout_back takes.
static int stdout_away(bool quiet) {
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO), to = quiet ? open("/dev/null", O_WRONLY | O_CLOEXEC) : STDERR_FILENO;
    if (kept >= 0 && to >= 0) dup2(to, STDOUT_FILENO);
    if (quiet && to >= 0) close(to);
    return kept;
}

static void stdout_back(int kept) {
    fflush(stdout);
    if (kept < 0) return;
    dup2(kept, STDOUT_FILENO);
    close(kept);
}

// Collective. The words of a command line, which are cleared.
static int run_job(struct thaw_evaluation *e, const char *name, struct thaw_words *words,
                   struct thaw_err *err) {
    const struct thaw_job *job = find_job(name);
    struct thaw_job_ctx ctx = *e->ctx;
    struct thaw_list operands = {0};
    struct thaw_err why = THAW_ERR_INIT;
    void *options = NULL;
    bool help = false;
    int code = job ? THAW_OK : thaw_fail(&why, THAW_EUSAGE, "this build has no such job");
    if (!code) code = thaw_alloc(&options, 1, job->cmd->size, "options", &why);
    if (!code) code = thaw_opt_parse(job->cmd, words->n, words->word, options, &operands, &help, &why);
    code = thaw_comm_agree(e->c, code, &why);
    if (!code) {
        const int kept = stdout_away(e->o->common.quiet);
        thaw_log_note(e->ctx->log, "%s ...", name);
        ctx.argc = words->n;
        ctx.argv = words->word;
        code = thaw_comm_agree(e->c, job->run(&ctx, options, &operands, &why), &why);
        stdout_back(kept);
    }
    if (options) thaw_opt_clear(job->cmd, options, &operands);
    free(options);
    thaw_words_clear(words);
    if (!code) return THAW_OK;
    thaw_fail(err, code, "%s: %s", name, why.text);
    err->rank = why.rank;
    return code;
}

// ---- What is there ----

// Collective. Has the folder a manifest?
static bool is_there(struct thaw_evaluation *e, const char *dir) {
    char path[THAW_PATH_MAX];
    int64_t there = thaw_comm_rank(e->c) == 0 && !thaw_path_join(path, dir, "manifest.pb", NULL) &&
                    thaw_path_exists(path);
    thaw_comm_bcast(e->c, &there, sizeof there, 0);
    return there;
}

static int number_list(char *out, size_t n, const int *known, int nknown, struct thaw_err *err) {
    size_t at = 0;
    for (int i = 0; i < nknown && at < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%s%d", i ? "," : "", known[i]);
    return at < n ? THAW_OK : thaw_fail(err, THAW_EUSAGE, "--known: too long");
}

// ---- Training ----

int thaw_work_train(struct thaw_evaluation *e, struct thaw_err *err) {
    const struct thaw_evaluate_options *o = e->o;
    struct thaw_words words = {0};
    int code = thaw_path_join(e->trained, o->work, "model", err);
    if (!code && thaw_comm_rank(e->c) == 0) code = thaw_dir_make(o->work, err);
    // Every interaction counts the same; weights that suit most logs when all unobserved pairs matter little.
    static const char *const fixed[] = {"--factors",        "64",      "--strength",          "binary",
                                        "--alpha",          "1",       "--unobserved-weight", ".1",
                                        "--regularization", ".005",    "--iterations",        "8",
                                        "--solver",         "cholesky"};
    const char *const paths[] = {"--data", o->data, "--out", e->trained};
    for (size_t i = 0; !code && i < sizeof paths / sizeof *paths; i++)
        code = thaw_words_add(&words, err, "%s", paths[i]);
    for (size_t i = 0; !code && i < sizeof fixed / sizeof *fixed; i++)
        code = thaw_words_add(&words, err, "%s", fixed[i]);
    if (!code) code = thaw_words_add(&words, err, o->list ? "--holdout-list" : "--holdout-users");
    if (!code && o->list) code = thaw_words_add(&words, err, "%s", o->list);
    if (!code && !o->list) code = thaw_words_add(&words, err, "%.17g", o->cold_users);
    if ((code = thaw_comm_agree(e->c, code, err))) {
        thaw_words_clear(&words);
        return code;
    }
    e->model_dir = e->trained;
    return run_job(e, "train", &words, err);
}

// ---- Models ----

// Collective. Run a job that writes WORK/name from data and model, unless that is there. more: further words,
// NULL-terminated. again: replace what is there.
static int fit(struct thaw_study *s, const char *job, const char *name, const char *const *more, bool again,
               char dir[THAW_PATH_MAX], struct thaw_err *err) {
    struct thaw_evaluation *e = s->e;
    struct thaw_words words = {0};
    int code = thaw_path_join(dir, e->o->work, name, err);
    if (code) return code;
    if (!again && is_there(e, dir)) return THAW_OK;
    const char *const fixed[] = {"--data", e->o->data, "--model", e->model_dir,
                                 "--out",  dir,        "--force", NULL};
    for (int i = 0; !code && fixed[i]; i++) code = thaw_words_add(&words, err, "%s", fixed[i]);
    for (int i = 0; !code && more[i]; i++) code = thaw_words_add(&words, err, "%s", more[i]);
    if ((code = thaw_comm_agree(s->c, code, err))) {
        thaw_words_clear(&words);
        return code;
    }
    return run_job(e, job, &words, err);
}

static int fit_association(struct thaw_study *s, struct thaw_err *err) {
    char known[256], ridges[512] = "";
    size_t at = 0;
    bool tuned = s->e->o->tune;
    int code = tuned ? thaw_study_tune_episodic(s, err) : THAW_OK;
    if (!code) code = number_list(known, sizeof known, s->e->known, s->e->nknown, err);
    if (code) return code;
    for (int i = 0; i < s->e->nknown; i++) {
        tuned &= s->known[i].episodic > 0;
        at += (size_t)snprintf(ridges + at, sizeof ridges - at, "%s%g", i ? "," : "", s->known[i].episodic);
    }
    const char *const more[] = {
        "--method", "episodic", "--known", known, "--neighbors", "all", tuned ? "--regularization" : NULL,
        ridges,     NULL};
    return fit(s, "associate", "association", more, s->e->o->tune, s->work_dir[1], err);
}

int thaw_work_models(struct thaw_study *s, struct thaw_err *err) {
    static const char *const none[] = {NULL}, *const orders[] = {"auto", "time", "random"};
    const bool *w = s->wanted;
    const bool blended = w[THAW_SYSTEM_ENSEMBLE];
    int code = THAW_OK;
    if (!s->e->o->work) return THAW_OK;
    if (!s->prior_dir && (blended || w[THAW_SYSTEM_PRIOR] || w[THAW_SYSTEM_TYPES])) {
        code = fit(s, "prior", "prior", none, false, s->work_dir[0], err);
        s->prior_dir = s->work_dir[0];
    }
    if (!code && !s->association_dir && (blended || w[THAW_SYSTEM_ASSOCIATION])) {
        code = fit_association(s, err);
        s->association_dir = s->work_dir[1];
    }
    if (!code && !s->ngenerators && (blended || w[THAW_SYSTEM_GENERATOR] || w[THAW_SYSTEM_VIRTUAL])) {
        const char *const more[] = {"--episodes", orders[s->e->o->order], NULL};
        code = fit(s, "augment", "generator", more, false, s->work_dir[2], err);
        s->generator_dir[0] = s->work_dir[2];
        s->ngenerators = 1;
    }
    return code;
}
