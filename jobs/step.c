// step.c: one step of `thaw run`: its command line, what it depends on, and whether it is up to date.
#include "jobs/step.h"

#include "base/file.h"
#include "base/mem.h"
#include "jobs/inputs.h"
#include "jobs/recipe.h"

#include <stdlib.h>
#include <string.h>

const struct thaw_job *const thaw_step_jobs[THAW_STEP_JOBS] = {
    &thaw_job_synth,     &thaw_job_prepare, &thaw_job_train,    &thaw_job_prior,
    &thaw_job_associate, &thaw_job_augment, &thaw_job_evaluate, &thaw_job_tables,
};

// ---- The command line ----

// Where things lie in OUT unless the job file says otherwise; `when`: only if that section is there, too.
static const struct {
    const char *step, *option, *path, *when;
} places[] = {
    {"synth", "out", "log", NULL},
    {"prepare", "events", "log/events-*.csv", "synth"},
    {"prepare", "users", "log/users.csv", "synth"},
    {"prepare", "items", "log/items.csv", "synth"},
    {"prepare", "out", "data", NULL},
    {"train", "data", "data", NULL},
    {"train", "out", "model", NULL},
    {"prior", "data", "data", NULL},
    {"prior", "model", "model", NULL},
    {"prior", "out", "prior", NULL},
    {"associate", "data", "data", NULL},
    {"associate", "model", "model", NULL},
    {"associate", "out", "association", NULL},
    {"augment", "data", "data", NULL},
    {"augment", "model", "model", NULL},
    {"augment", "out", "generator", NULL},
    {"evaluate", "data", "data", NULL},
    {"evaluate", "model", "model", NULL},
    {"evaluate", "prior", "prior", "prior"},
    {"evaluate", "association", "association", "associate"},
    {"evaluate", "generator", "generator", "augment"},
    {"evaluate", "out", "evaluation", NULL},
    {"tables", "data", "data", NULL},
    {"tables", "model", "model", NULL},
    {"tables", "prior", "prior", "prior"},
    {"tables", "association", "association", "associate"},
    {"tables", "generator", "generator", "augment"},
    {"tables", "out", "tables", NULL},
};

static int add_place(struct thaw_step *s, const struct thaw_opt *o, const char *path, const char *ending,
                     struct thaw_err *err) {
    char full[THAW_PATH_MAX];
    if (snprintf(full, sizeof full, "%s%s", path, ending) >= (int)sizeof full)
        return thaw_fail(err, THAW_EUSAGE, "[job] out: the path is too long");
    if (o->kind == THAW_OPT_LIST) return thaw_words_add_files(&s->words, o->name, full, err);
    return thaw_words_add(&s->words, err, "--%s=%s", o->name, full);
}

static int add_places(struct thaw_step *s, const struct thaw_jobfile *f, const char *out, const char *ending,
                      struct thaw_err *err) {
    const char *name = s->job->cmd->name;
    int code = THAW_OK;
    for (size_t i = 0; code == THAW_OK && i < sizeof places / sizeof *places; i++) {
        char path[THAW_PATH_MAX];
        const struct thaw_opt *o = thaw_opt_find(s->job->cmd, places[i].option);
        if (strcmp(places[i].step, name) != 0 || !o || !thaw_opt_is_path(o)) continue;
        if (thaw_jobfile_find(f, name, o->name) || (places[i].when && !thaw_jobfile_has(f, places[i].when)))
            continue;
        code = thaw_path_join(path, out, places[i].path, err);
        bool file = strcmp(places[i].path, "evaluation") == 0;
        if (code == THAW_OK) code = add_place(s, o, path, file ? ending : "", err);
    }
    return code;
}

static int parse_step(const struct thaw_step *s, void **options, struct thaw_err *err) {
    const struct thaw_cmd *cmd = s->job->cmd;
    struct thaw_err why = THAW_ERR_INIT;
    bool help;
    int code = thaw_alloc(options, 1, cmd->size, "options", err);
    if (code != THAW_OK) return code;
    code = thaw_opt_parse(cmd, s->words.n, s->words.word, *options, NULL, &help, &why);
    if (code == THAW_OK) return code;
    free(*options);
    *options = NULL;
    return thaw_fail(err, code, "[%s] %s", cmd->name, why.text);
}

static void free_options(const struct thaw_step *s, void *options) {
    if (options) thaw_opt_clear(s->job->cmd, options, NULL);
    free(options);
}

static const char *text_of(const struct thaw_step *s, const void *options, const char *name) {
    const struct thaw_opt *o = thaw_opt_find(s->job->cmd, name);
    if (!o || o->kind != THAW_OPT_TEXT) return NULL;
    return *(const char *const *)(const void *)((const char *)options + o->offset);
}

int thaw_step_words(struct thaw_step *s, const struct thaw_jobfile *f, const char *out, int format,
                    struct thaw_err *err) {
    static const char *const formats[] = {"text", "jsonl", "csv"}, *const endings[] = {".txt", ".jsonl",
                                                                                       ".csv"};
    const struct thaw_cmd *cmd = s->job->cmd;
    const struct thaw_jobfile_entry *own = thaw_jobfile_find(f, cmd->name, "format");
    void *options = NULL;
    thaw_words_clear(&s->words);
    s->state = THAW_STEP_ABSENT;
    if (!thaw_jobfile_has(f, cmd->name)) return THAW_OK;
    s->state = THAW_STEP_RUN;
    int code = thaw_jobfile_words(f, cmd, &s->words, err);
    for (int i = 0; own && i < 3; i++)
        if (strcmp(own->value, formats[i]) == 0) format = i;
    if (code == THAW_OK) code = add_places(s, f, out, endings[format], err);
    if (code == THAW_OK && !own && format != THAW_FORMAT_TEXT && thaw_opt_find(cmd, "format"))
        code = thaw_words_add(&s->words, err, "--format=%s", formats[format]);
    if (code == THAW_OK) code = parse_step(s, &options, err);
    if (code != THAW_OK) return code;
    const char *to = text_of(s, options, "out");
    free(s->out);
    s->out = to ? strdup(to) : NULL;
    if (!s->out)
        code = to ? thaw_fail(err, THAW_EMEM, "not enough memory for a job file")
                  : thaw_fail(err, THAW_EUSAGE, "[%s] out is missing", cmd->name);
    free_options(s, options);
    return code;
}

void thaw_step_clear(struct thaw_step *s) {
    thaw_words_clear(&s->words);
    free(s->out);
    s->out = NULL;
}

// Does one of the step's options name the path, or something in it?
static bool reads(const struct thaw_step *s, const char *path) {
    const size_t n = strlen(path);
    for (int i = 0; i < s->words.n; i++) {
        const char *word = s->words.word[i], *value = strchr(word, '=');
        if (!value || strncmp(word, "--out=", 6) == 0) continue;
        if (strncmp(value + 1, path, n) == 0 && (value[1 + n] == 0 || value[1 + n] == '/')) return true;
    }
    return false;
}

bool thaw_step_follows(const struct thaw_step *s, const struct thaw_step *other) {
    static const char blend[] = "--blend-out=";
    if (!other->out) return false;
    for (int i = 0; i < other->words.n; i++)
        if (strncmp(other->words.word[i], blend, sizeof blend - 1) == 0 &&
            reads(s, other->words.word[i] + sizeof blend - 1))
            return true;
    return reads(s, other->out);
}

// ---- What it is, for programs ----

const char *thaw_step_state_name(const struct thaw_step *s) {
    static const char *const names[] = {"absent", "left out", "up to date", "run", "resume"};
    return names[s->state];
}

struct listing {
    const struct thaw_step *step;
    const void *options;
    struct thaw_facts *facts;
    struct thaw_err *err;
    int code;
};

static void list_option(void *user, const char *name, const char *value) {
    struct listing *l = user;
    const struct thaw_opt *o = thaw_opt_find(l->step->job->cmd, name);
    if (l->code != THAW_OK) return;
    if (o->kind != THAW_OPT_LIST) {
        l->code = thaw_facts_add(l->facts, o->name, value, l->err);
        return;
    }
    const struct thaw_list *list = (const void *)((const char *)l->options + o->offset);
    for (int i = 0; l->code == THAW_OK && i < list->n; i++)
        l->code = thaw_facts_add_item(l->facts, o->name, list->item[i], l->err);
}

int thaw_step_facts(const struct thaw_step *s, struct thaw_facts *facts, struct thaw_err *err) {
    struct listing l = {.step = s, .facts = facts, .err = err};
    void *options = NULL;
    l.code = parse_step(s, &options, err);
    if (l.code == THAW_OK) l.code = thaw_facts_add(facts, "step", s->job->cmd->name, err);
    if (l.code == THAW_OK) l.code = thaw_facts_add(facts, "state", thaw_step_state_name(s), err);
    if (l.code == THAW_OK) l.code = thaw_facts_add(facts, "why", s->why, err);
    l.options = options;
    if (l.code == THAW_OK) thaw_opt_each(s->job->cmd, options, list_option, &l);
    free_options(s, options);
    return l.code;
}

// ---- The key: what decides a step's result ----

static int step_key(struct thaw_step *s, struct thaw_err *err) {
    void *options = NULL;
    int code = parse_step(s, &options, err);
    if (code == THAW_OK) code = thaw_recipe_key(s->job->cmd, options, &s->key, err);
    free_options(s, options);
    return code;
}

bool thaw_step_is_made(const struct thaw_step *s) {
    void *options = NULL;
    const bool made =
        parse_step(s, &options, NULL) == THAW_OK && thaw_recipe_made(s->job->cmd, options, s->out);
    free_options(s, options);
    return made;
}

// ---- The decision ----

const Thaw__Step *thaw_step_done(const Thaw__Job *done, const char *name) {
    for (size_t i = 0; i < done->n_steps; i++)
        if (strcmp(done->steps[i]->name, name) == 0) return done->steps[i];
    return NULL;
}

// A path below OUT is kept without it, so that the folder can be moved.
const char *thaw_step_path(const struct thaw_step *s, const char *out) {
    size_t n = strlen(out);
    return strncmp(s->out, out, n) == 0 && s->out[n] == '/' ? s->out + n + 1 : s->out;
}

int thaw_step_output(const struct thaw_step *s, uint64_t *digest, bool *present, struct thaw_err *err) {
    struct thaw_err why = THAW_ERR_INIT;
    int code = thaw_output_digest(s->job->cmd->name, s->out, digest, &why);
    *present = code == THAW_OK;
    if (code == THAW_OK || code == THAW_ENOINPUT || code == THAW_EDATA) return THAW_OK;
    return thaw_fail(err, code, "%s", why.text);
}

static void set(struct thaw_step *s, enum thaw_step_state state, const char *why) {
    s->state = state;
    snprintf(s->why, sizeof s->why, "%s", why);
}

int thaw_step_decide(struct thaw_step *s, const Thaw__Job *done, const char *out, bool force,
                     struct thaw_err *err) {
    const Thaw__Step *before = thaw_step_done(done, s->job->cmd->name);
    uint64_t output = 0;
    bool present = false;
    int code = step_key(s, err);
    if (code == THAW_OK) code = thaw_step_output(s, &output, &present, err);
    if (code != THAW_OK) return code;
    if (force)
        set(s, THAW_STEP_RUN, "--force");
    else if (!before)
        set(s, THAW_STEP_RUN, "not run yet");
    else if (strcmp(before->path, thaw_step_path(s, out)) != 0)
        set(s, THAW_STEP_RUN, "it writes to another place than before");
    else if (before->key != s->key)
        set(s, THAW_STEP_RUN, "its options or inputs have changed");
    else if (before->output == 0)
        set(s, s->job == &thaw_job_train ? THAW_STEP_RESUME : THAW_STEP_RUN, "it did not finish");
    else if (!present)
        set(s, THAW_STEP_RUN, "its output is missing or damaged");
    else if (before->output != output)
        set(s, THAW_STEP_RUN, "its output was changed");
    else
        set(s, THAW_STEP_CURRENT, "options, inputs and output are unchanged");
    return THAW_OK;
}
