// thaw run: the steps of a job file in one MPI world; what is up to date is skipped, what was interrupted
// goes on.
#include "base/file.h"
#include "base/mem.h"
#include "jobs/hold.h"
#include "jobs/jobfile.h"
#include "jobs/step.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct run_options {
    struct thaw_list set, steps;
    bool dry_run, force;
    struct thaw_job_common common;
};

static const struct thaw_opt options_table[] = {
    {.name = "dry-run",
     .letter = 'n',
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct run_options, dry_run),
     .help =
         "Print the plan and stop. --format is then that of the plan: csv and jsonl have all options of the "
         "steps, defaults included."},
    THAW_OPTION(struct run_options, FLAG, "force", force, NULL, NULL, 0, 0,
                "Run every step again, up to date or not. What earlier runs of this job wrote is replaced."),
    THAW_OPTION(struct run_options, LIST, "steps", steps, "NAME", NULL, 0, 0,
                "Only these steps of the job file: the others are taken as they are, up to date or not."),
    THAW_OPTION(
        struct run_options, LIST, "set", set, "SECTION.KEY=VALUE", NULL, 0, 0,
        "Set a key in place of what the job file says. Relative paths start from the current folder. May "
        "be given again."),
    THAW_JOB_OPTIONS(struct run_options),
};

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "run",
    .summary = "run the steps of a job file, skipping what is up to date",
    .operands = "JOBFILE",
    .min_operands = 1,
    .max_operands = 1,
    .description =
        "Runs the jobs that JOBFILE has a section for, in this order: [synth], [prepare], "
        "[train], [prior], [associate], [augment], [evaluate], [tables]. All run in the ranks thaw run was "
        "started with. A plan "
        "is printed first: for each step whether it will run, is up to date, or goes on from "
        "where it was interrupted, and why.\n\n"
        "JOBFILE is an INI file: sections in brackets, 'key = value' lines, comments after '#' "
        "or ';' at the start of a line or after ' ;'. A section may be empty. The keys of a "
        "section are the options of that job without the dashes (see 'thaw train --help' and so "
        "on); options that take a list are split at blanks, and a list may go on in indented "
        "lines; flags are yes or no. A line has at most 198 bytes. Unknown keys are errors. "
        "--threads, --log, --quiet and --stall-timeout belong on the command line of thaw run, and so does "
        "--format unless a section has it.\n\n"
        "[job] may hold 'name', used in messages, and 'out', the folder OUT of everything the "
        "job makes; it is JOBFILE without its ending when not given.\n\n"
        "Relative paths in JOBFILE start from its folder. Lists of files may hold patterns such "
        "as logs/*.csv.gz. These need not be given: [synth] writes OUT/log; [prepare] reads that "
        "when there is a [synth] section, and writes OUT/data; [train] reads OUT/data and writes "
        "OUT/model; [prior], [associate] and [augment] read both and write OUT/prior, OUT/association "
        "and OUT/generator; [evaluate] and [tables] read what there is of all these, and write "
        "OUT/evaluation.txt (.csv, .jsonl) and OUT/tables.\n\n"
        "Finished steps are recorded in OUT/job.pb. A step is up to date when its options, its "
        "inputs and its output are what they were: options that cannot change results (threads, "
        "memory, format, checkpoints) do not count; datasets, models and tables are compared by "
        "the digest of their manifests and the presence and length of their files; other input "
        "files by length, time of change, and the first and last 64 KiB. A step whose input was "
        "made again with the same result is still up to date.\n\n"
        "With --steps only some of the steps run, so that each can be a batch job of its own, in its own "
        "number of ranks; the plan, the record and the outcome are those of one run.\n\n"
        "When a step fails, the run ends with its exit status; the same command goes on from "
        "there. A stop signal (SIGTERM, SIGUSR1) ends with 75 after a checkpoint, and training "
        "resumes from it.",
    .files = "OUT/log, OUT/data, OUT/model, OUT/prior, OUT/association, OUT/generator, OUT/tables, "
             "OUT/evaluation.txt: What the steps write.\n"
             "OUT/job.pb: Which steps are finished, with what inputs and options.",
    .examples = "thaw run demo.ini\n"
                "mpirun -n 4 thaw run demo.ini --set train.factors=128 evaluate.known=1,3,5,10\n"
                "mpirun -n 16 thaw run demo.ini --steps prepare\n"
                "thaw run demo.ini --dry-run\n\n"
                "# demo.ini\n"
                "[job]\n"
                "out = demo\n"
                "[prepare]\n"
                "events = logs/2024-*.csv.gz\n"
                "         logs/2025-*.csv.gz\n"
                "event-weights = view=1,cart=3,buy=5\n"
                "[train]\n"
                "factors = 64\n"
                "holdout-users = 0.1\n"
                "[evaluate]\n"
                "[tables]",
    THAW_CMD_OPTIONS(struct run_options, options_table),
};

struct running {
    struct thaw_job_ctx *ctx;
    const struct run_options *o;
    bool root;
    struct thaw_step step[THAW_STEP_JOBS];
    int nran, nskipped;
    // Rank 0:
    struct thaw_jobfile file;
    char out[THAW_PATH_MAX];
    struct thaw_lock *lock; // of OUT: one run at a time writes job.pb
    Thaw__Job *done;
};

// ---- The job file (rank 0) ----

static bool is_section(const char *name) {
    bool known = strcmp(name, "job") == 0;
    for (int s = 0; s < THAW_STEP_JOBS; s++) known |= strcmp(name, thaw_step_jobs[s]->cmd->name) == 0;
    return known;
}

static int check_sections(const struct running *r, struct thaw_err *err) {
    const struct thaw_jobfile *f = &r->file;
    char sections[128] = "sections are job";
    for (int s = 0; s < THAW_STEP_JOBS; s++) {
        size_t n = strlen(sections);
        snprintf(sections + n, sizeof sections - n, ", %s", thaw_step_jobs[s]->cmd->name);
    }
    for (int i = 0; i < f->sections.n; i++)
        if (!is_section(f->sections.word[i]))
            return thaw_fail(err, THAW_EUSAGE, "%s:%d: no job is called [%s]; %s", f->path,
                             f->section_line[i], f->sections.word[i], sections);
    for (int i = 0; i < f->nentries; i++) {
        const struct thaw_jobfile_entry *e = &f->entry[i];
        bool job = strcmp(e->section, "job") == 0;
        if (!is_section(e->section))
            return thaw_fail(err, THAW_EUSAGE, "--set %s.%s: no job is called %s; %s", e->section, e->key,
                             e->section, sections);
        if (job && strcmp(e->key, "name") != 0 && strcmp(e->key, "out") != 0)
            return thaw_fail(err, THAW_EUSAGE, "%s:%d: [job] %s: unknown key; [job] has name and out",
                             f->path, e->line, e->key);
    }
    return THAW_OK;
}

static int find_out(struct running *r, struct thaw_err *err) {
    const struct thaw_jobfile_entry *e = thaw_jobfile_find(&r->file, "job", "out");
    struct thaw_words path = {0};
    int code = e ? thaw_jobfile_path(&r->file, e, e->value, &path, err)
                 : thaw_words_add(&path, err, "%s", r->file.path);
    if (code != THAW_OK) return code;
    size_t n = strlen(path.word[0]);
    if (!e && n > 4 && strcmp(path.word[0] + n - 4, ".ini") == 0)
        n -= 4;
    else if (!e)
        code = thaw_fail(err, THAW_EUSAGE, "%s: [job] out is missing (a file NAME.ini has the default NAME)",
                         r->file.path);
    while (n > 1 && path.word[0][n - 1] == '/') n--;
    if (code == THAW_OK && (n == 0 || n >= sizeof r->out))
        code = thaw_fail(err, THAW_EUSAGE, "[job] out: not a folder's name");
    if (code == THAW_OK) {
        memcpy(r->out, path.word[0], n);
        r->out[n] = 0;
    }
    thaw_words_clear(&path);
    return code;
}

static int read_record(struct running *r, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    ProtobufCMessage *m = NULL;
    int code = thaw_path_join(path, r->out, "job.pb", err);
    if (code != THAW_OK) return code;
    if (thaw_path_exists(path)) {
        struct thaw_err why = THAW_ERR_INIT;
        code = thaw_pack_read(r->out, "job.pb", &thaw__job__descriptor, &m, &why);
        r->done = (Thaw__Job *)m;
        if (code == THAW_OK) return code;
        return thaw_fail(err, code, "%s; remove the folder %s to begin again, or give another [job] out",
                         why.text, r->out);
    }
    r->done = malloc(sizeof *r->done);
    if (!r->done) return thaw_fail(err, THAW_EMEM, "not enough memory for the record of steps");
    thaw__job__init(r->done);
    r->done->format = 1;
    return THAW_OK;
}

// ---- The plan (rank 0) ----

static bool is_chosen(const struct running *r, const char *name) {
    bool chosen = r->o->steps.n == 0;
    for (int i = 0; i < r->o->steps.n; i++) chosen |= strcmp(r->o->steps.item[i], name) == 0;
    return chosen;
}

static bool has_step(const struct running *r, const char *name) {
    for (int s = 0; s < THAW_STEP_JOBS; s++)
        if (strcmp(r->step[s].job->cmd->name, name) == 0) return r->step[s].state != THAW_STEP_ABSENT;
    return false;
}

// --steps names steps of this job file.
static int check_steps(const struct running *r, struct thaw_err *err) {
    char names[128] = "";
    for (int s = 0; s < THAW_STEP_JOBS; s++) {
        const size_t n = strlen(names);
        if (r->step[s].state != THAW_STEP_ABSENT)
            snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", r->step[s].job->cmd->name);
    }
    for (int i = 0; i < r->o->steps.n; i++)
        if (!has_step(r, r->o->steps.item[i]))
            return thaw_fail(err, THAW_EUSAGE, "--steps %s: no such step in %s; it has %s",
                             r->o->steps.item[i], r->file.path, names);
    return THAW_OK;
}

// An input that is missing because the step that writes it was left out.
static int explain_missing(const struct running *r, int i, int code, struct thaw_err *err) {
    const struct thaw_step *s = &r->step[i], *writer = NULL;
    for (int j = 0; j < i; j++)
        if (r->step[j].state == THAW_STEP_LEFT && thaw_step_follows(s, &r->step[j])) {
            uint64_t digest;
            bool present = false;
            if (thaw_step_output(&r->step[j], &digest, &present, NULL) == THAW_OK && !present)
                writer = &r->step[j];
        }
    if (!writer) return code;
    *err = THAW_ERR_INIT;
    return thaw_fail(err, code,
                     "%s reads %s, which %s has not written (or not finished): run it first, --steps %s",
                     s->job->cmd->name, writer->out, writer->job->cmd->name, writer->job->cmd->name);
}

// A step is decided now unless it reads what an earlier one will write first.
static int plan_step(struct running *r, int i, struct thaw_err *err) {
    struct thaw_step *s = &r->step[i];
    if (s->state == THAW_STEP_LEFT) {
        snprintf(s->why, sizeof s->why, "--steps");
        return THAW_OK;
    }
    for (int j = 0; j < i; j++) {
        const struct thaw_step *before = &r->step[j];
        if (before->state != THAW_STEP_RUN && before->state != THAW_STEP_RESUME) continue;
        if (thaw_step_follows(s, before)) snprintf(s->why, sizeof s->why, "after %s", before->job->cmd->name);
    }
    if (*s->why) return THAW_OK;
    const int code = thaw_step_decide(s, r->done, r->out, r->o->force, err);
    return code == THAW_ENOINPUT || code == THAW_EDATA ? explain_missing(r, i, code, err) : code;
}

static void print_line(const struct running *r, const char *text) {
    if (r->o->dry_run)
        printf("%s\n", text);
    else
        thaw_log_note(r->ctx->log, "%s", text);
}

static void print_plan(const struct running *r) {
    const struct thaw_jobfile_entry *name = thaw_jobfile_find(&r->file, "job", "name");
    char line[THAW_PATH_MAX + 1024];
    snprintf(line, sizeof line, "job %.800s: everything goes to %s", name ? name->value : r->file.path,
             r->out);
    print_line(r, line);
    for (int i = 0; i < THAW_STEP_JOBS; i++) {
        const struct thaw_step *s = &r->step[i];
        if (s->state == THAW_STEP_ABSENT) continue;
        int n = snprintf(line, sizeof line, "  %-9s %-10s (%s)", s->job->cmd->name, thaw_step_state_name(s),
                         s->why);
        int w = 0, nwords = s->state == THAW_STEP_LEFT ? 0 : s->words.n;
        for (; w < nwords && n < 160; w++)
            n += snprintf(line + n, sizeof line - (size_t)n, " %.100s", s->words.word[w]);
        if (w < nwords) snprintf(line + n, sizeof line - (size_t)n, " ...");
        print_line(r, line);
    }
}

static void print_facts(const struct running *r, const char *name, const struct thaw_facts *facts) {
    thaw_facts_print(stdout, r->o->common.format, name, facts);
}

// The plan for programs: the job, then each step.
static int print_plan_facts(const struct running *r, struct thaw_err *err) {
    const struct thaw_jobfile_entry *name = thaw_jobfile_find(&r->file, "job", "name");
    struct thaw_facts facts = {0};
    if (r->o->common.format == THAW_FORMAT_CSV) puts("step,key,value");
    int code = thaw_facts_add(&facts, "step", "job", err);
    if (code == THAW_OK) code = thaw_facts_add(&facts, "name", name ? name->value : r->file.path, err);
    if (code == THAW_OK) code = thaw_facts_add(&facts, "out", r->out, err);
    if (code == THAW_OK) print_facts(r, "job", &facts);
    for (int i = 0; code == THAW_OK && i < THAW_STEP_JOBS; i++) {
        const struct thaw_step *s = &r->step[i];
        if (s->state == THAW_STEP_ABSENT) continue;
        thaw_facts_clear(&facts);
        code = thaw_step_facts(s, &facts, err);
        if (code == THAW_OK) print_facts(r, s->job->cmd->name, &facts);
    }
    thaw_facts_clear(&facts);
    return code;
}

static int show_plan(const struct running *r, struct thaw_err *err) {
    if (r->o->dry_run && r->o->common.format != THAW_FORMAT_TEXT) return print_plan_facts(r, err);
    print_plan(r);
    return THAW_OK;
}

static int make_plan(struct running *r, const char *path, struct thaw_err *err) {
    const int format =
        r->o->dry_run ? THAW_FORMAT_TEXT : r->o->common.format; // then the plan's, not the steps'
    int code = thaw_jobfile_read(&r->file, path, err), steps = 0;
    for (int i = 0; code == THAW_OK && i < r->o->set.n; i++)
        code = thaw_jobfile_set(&r->file, r->o->set.item[i], err);
    if (code == THAW_OK) code = check_sections(r, err);
    if (code == THAW_OK) code = find_out(r, err);
    if (code == THAW_OK && !r->o->dry_run) code = thaw_hold_alone(&r->lock, r->ctx, "run", r->out, err);
    if (code == THAW_OK) code = read_record(r, err);
    for (int i = 0; code == THAW_OK && i < THAW_STEP_JOBS; i++) {
        code = thaw_jobfile_check(&r->file, r->step[i].job->cmd, err);
        if (code == THAW_OK) code = thaw_step_words(&r->step[i], &r->file, r->out, format, err);
        steps += r->step[i].state != THAW_STEP_ABSENT;
    }
    if (code == THAW_OK && steps == 0)
        code = thaw_fail(err, THAW_EUSAGE, "%s: no section of a job: there is nothing to run", path);
    if (code == THAW_OK) code = check_steps(r, err);
    for (int i = 0; code == THAW_OK && i < THAW_STEP_JOBS; i++)
        if (r->step[i].state != THAW_STEP_ABSENT && !is_chosen(r, r->step[i].job->cmd->name))
            r->step[i].state = THAW_STEP_LEFT;
    for (int i = 0; code == THAW_OK && i < THAW_STEP_JOBS; i++)
        if (r->step[i].state != THAW_STEP_ABSENT) code = plan_step(r, i, err);
    return code == THAW_OK ? show_plan(r, err) : code;
}

// ---- The record (rank 0) ----

static int record(struct running *r, const struct thaw_step *s, uint64_t output, struct thaw_err *err) {
    Thaw__Step *entry = (Thaw__Step *)thaw_step_done(r->done, s->job->cmd->name);
    char *path = strdup(thaw_step_path(s, r->out));
    int code = path ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for the record of steps");
    if (code == THAW_OK && !entry) {
        Thaw__Step **steps = realloc(r->done->steps, (r->done->n_steps + 1) * sizeof *steps);
        if (steps) r->done->steps = steps;
        entry = steps ? malloc(sizeof *entry) : NULL;
        char *name = strdup(s->job->cmd->name);
        if (!entry || !name) {
            free(entry);
            free(name);
            free(path);
            return thaw_fail(err, THAW_EMEM, "not enough memory for the record of steps");
        }
        thaw__step__init(entry);
        entry->name = name;
        steps[r->done->n_steps++] = entry;
    } else if (code == THAW_OK && entry->path != protobuf_c_empty_string) {
        free(entry->path);
    }
    if (code != THAW_OK) return code;
    entry->path = path;
    entry->key = s->key;
    entry->output = output;
    code = thaw_dir_make(r->out, err);
    return code == THAW_OK ? thaw_pack_write(r->out, "job.pb", &r->done->base, err) : code;
}

// ---- Running ----

// Is there something in the step's place that this job did not write? The job must not come to own it by
// failing.
static bool is_foreign(const struct thaw_step *s, bool ours) {
    uint64_t digest;
    bool present = false;
    return !ours && thaw_step_output(s, &digest, &present, NULL) == THAW_OK && present;
}

// Rank 0. The step as it is now that the steps before it are done. What this job wrote before may be
// replaced.
static int start_step(struct running *r, struct thaw_step *s, struct thaw_err *err) {
    int code = thaw_step_words(s, &r->file, r->out, r->o->common.format, err);
    if (code == THAW_OK) code = thaw_step_decide(s, r->done, r->out, r->o->force, err);
    if (code != THAW_OK || s->state == THAW_STEP_CURRENT) return code;
    const Thaw__Step *before = thaw_step_done(r->done, s->job->cmd->name);
    const char *path = thaw_step_path(s, r->out);
    bool ours = before && strcmp(before->path, path) == 0;
    const struct thaw_opt *force = thaw_opt_find(s->job->cmd, "force");
    const bool again = r->o->force || !thaw_step_is_made(s); // the job knows what it has finished
    if (ours && r->o->force && path != s->out && s->job == &thaw_job_train)
        code = thaw_dir_remove(s->out, err);
    if (code == THAW_OK && ours && again && force && force->kind == THAW_OPT_FLAG)
        code = thaw_words_add(&s->words, err, "--force");
    return code == THAW_OK && !is_foreign(s, ours) ? record(r, s, 0, err) : code;
}

static int finish_step(struct running *r, struct thaw_step *s, struct thaw_err *err) {
    uint64_t output = 0;
    bool present = false;
    int code = thaw_step_output(s, &output, &present, err);
    if (code == THAW_OK && !present)
        code = thaw_fail(err, THAW_EBUG, "%s ended well but left nothing in %s", s->job->cmd->name, s->out);
    return code == THAW_OK ? record(r, s, output, err) : code;
}

// Collective. Everybody learns the state and the command line from rank 0.
static int share_step(struct running *r, struct thaw_step *s, struct thaw_err *err) {
    struct thaw_comm *c = r->ctx->comm;
    int64_t head[2] = {(int64_t)s->state, 0};
    for (int i = 0; r->root && i < s->words.n; i++) head[1] += (int64_t)strlen(s->words.word[i]) + 1;
    thaw_comm_bcast(c, head, sizeof head, 0);
    s->state = (enum thaw_step_state)head[0];
    char *text = NULL;
    int code = thaw_comm_agree(c, thaw_alloc(&text, (size_t)head[1], 1, "a command line", err), err);
    if (code != THAW_OK) return code;
    for (int64_t i = 0, at = 0; r->root && i < s->words.n; i++) {
        strcpy(text + at, s->words.word[i]);
        at += (int64_t)strlen(s->words.word[i]) + 1;
    }
    thaw_comm_bcast(c, text, head[1], 0);
    for (int64_t at = 0; !r->root && code == THAW_OK && at < head[1]; at += (int64_t)strlen(text + at) + 1)
        code = thaw_words_add(&s->words, err, "%s", text + at);
    free(text);
    return thaw_comm_agree(c, code, err);
}

// The error of a step says which one it was.
static int name_step(const struct thaw_step *s, int code, const struct thaw_err *why, struct thaw_err *err) {
    if (code == THAW_OK) return THAW_OK;
    thaw_fail(err, code, "%s: %s", s->job->cmd->name, why->text);
    err->rank = why->rank;
    return code;
}

// Collective.
static int run_step(struct running *r, struct thaw_step *s, struct thaw_err *err) {
    struct thaw_job_ctx ctx = *r->ctx;
    struct thaw_list operands = {0};
    struct thaw_err why = THAW_ERR_INIT;
    void *options = NULL;
    bool help;
    int code = thaw_alloc(&options, 1, s->job->cmd->size, "options", &why);
    if (code == THAW_OK)
        code = thaw_opt_parse(s->job->cmd, s->words.n, s->words.word, options, &operands, &help, &why);
    code = thaw_comm_agree(ctx.comm, code, &why);
    if (code == THAW_OK) {
        ctx.argc = s->words.n;
        ctx.argv = s->words.word;
        code = s->job->run(&ctx, options, &operands, &why);
        thaw_comm_phase(ctx.comm, "end");
        code = thaw_comm_agree(ctx.comm, code, &why);
        thaw_opt_clear(s->job->cmd, options, &operands);
    }
    free(options);
    return name_step(s, code, &why, err);
}

// Collective. A signal between two steps.
static int check_stop(struct running *r, const struct thaw_step *next, struct thaw_err *err) {
    int64_t stop = thaw_comm_stop_requested(r->ctx->comm);
    thaw_comm_max_i64(r->ctx->comm, &stop, 1);
    if (!stop) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED, "stopped before %s: the same command goes on from here",
                     next->job->cmd->name);
}

// Collective.
static int do_step(struct running *r, struct thaw_step *s, struct thaw_err *err) {
    struct thaw_comm *c = r->ctx->comm;
    int64_t present = s->state != THAW_STEP_ABSENT && s->state != THAW_STEP_LEFT;
    bool planned = s->state == THAW_STEP_CURRENT;
    thaw_comm_bcast(c, &present, sizeof present, 0);
    if (!present) return THAW_OK;
    int code = check_stop(r, s, err);
    if (code == THAW_OK) code = thaw_comm_agree(c, r->root ? start_step(r, s, err) : THAW_OK, err);
    if (code == THAW_OK) code = share_step(r, s, err);
    if (code != THAW_OK) return code;
    if (s->state == THAW_STEP_CURRENT) {
        r->nskipped++;
        if (r->root && !planned) thaw_log_note(r->ctx->log, "%s: up to date after all", s->job->cmd->name);
        return THAW_OK;
    }
    if (r->root)
        thaw_log_note(r->ctx->log, "%s: %s (%s)", s->job->cmd->name, thaw_step_state_name(s), s->why);
    thaw_log_event(r->ctx->log, "step", "\"name\":\"%s\",\"state\":\"%s\"", s->job->cmd->name,
                   thaw_step_state_name(s));
    r->nran++;
    code = run_step(r, s, err);
    if (code == THAW_OK) code = thaw_comm_agree(c, r->root ? finish_step(r, s, err) : THAW_OK, err);
    return code;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct running r = {.ctx = ctx, .o = options, .root = thaw_comm_rank(ctx->comm) == 0};
    for (int i = 0; i < THAW_STEP_JOBS; i++) r.step[i].job = thaw_step_jobs[i];
    int code = thaw_comm_agree(ctx->comm, r.root ? make_plan(&r, operands->item[0], err) : THAW_OK, err);
    for (int i = 0; code == THAW_OK && !r.o->dry_run && i < THAW_STEP_JOBS; i++)
        code = do_step(&r, &r.step[i], err);
    if (code == THAW_OK && r.root && !r.o->dry_run)
        thaw_log_note(ctx->log, "%d steps run, %d up to date: results are in %s", r.nran, r.nskipped, r.out);
    for (int i = 0; i < THAW_STEP_JOBS; i++) thaw_step_clear(&r.step[i]);
    thaw_jobfile_clear(&r.file);
    if (r.done) thaw__job__free_unpacked(r.done, NULL);
    thaw_hold_end(&r.lock);
    return code;
}

const struct thaw_job thaw_job_run = {.cmd = &command, .run = run};
