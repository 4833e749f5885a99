// recipe.c: see recipe.h.
#include "jobs/recipe.h"

#include "base/hash.h"
#include "comm/runinfo.h"
#include "jobs/inputs.h"
#include "jobs/jobfile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What stands before the digest of an input.
static const char DIGEST[] = "digest ";

// ---- One entry after the other ----

struct walk {
    const struct thaw_cmd *cmd;
    const void *options;
    int (*each)(void *user, const char *name, const char *value, struct thaw_err *err);
    void *user;
    int code;
    struct thaw_err *err;
};

// The options that do not decide what a job makes: the bytes are the same with any of their values.
static bool is_neutral(const struct thaw_cmd *cmd, const char *name) {
    static const char *const neutral[] = {
        "threads", "log",       "quiet",   "force",    "memory",         "chunk",        "out",
        "work",    "blend-out", "picture", "exchange", "exchange-bytes", "stall-timeout"};
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
        if (strcmp(name, neutral[i]) == 0) return true;
    if (strcmp(name, "format") == 0) return strcmp(cmd->name, "evaluate") != 0; // its results are a file
    return strncmp(name, "checkpoint", 10) == 0;
}

static int add_path(struct thaw_digest *d, const char *name, const char *path, struct thaw_err *err) {
    uint64_t digest = 0;
    const int code = thaw_input_digest(name, path, &digest, err);
    thaw_digest_add(d, &digest, sizeof digest);
    return code;
}

// One path, or a list of them in order. *any: one was given.
static int input_digest(const struct walk *w, const struct thaw_opt *o, uint64_t *digest, bool *any,
                        struct thaw_err *err) {
    const void *field = (const char *)w->options + o->offset;
    struct thaw_digest *d = thaw_digest_new();
    int code = d ? THAW_OK : thaw_fail(err, THAW_EMEM, "not enough memory for a digest");
    *any = false;
    if (o->kind == THAW_OPT_TEXT) {
        const char *path = *(const char *const *)field;
        *any = path && *path;
        if (!code && *any) code = add_path(d, o->name, path, err);
    } else {
        const struct thaw_list *list = field;
        *any = list->n > 0;
        for (int i = 0; !code && i < list->n; i++) code = add_path(d, o->name, list->item[i], err);
    }
    if (!code) *digest = thaw_digest_value(d);
    thaw_digest_free(&d);
    return code;
}

static void visit(void *user, const char *name, const char *value) {
    struct walk *w = user;
    const struct thaw_opt *o = thaw_opt_find(w->cmd, name);
    char text[64];
    uint64_t digest;
    bool any;
    if (w->code || is_neutral(w->cmd, name)) return;
    if (thaw_opt_is_path(o)) {
        if ((w->code = input_digest(w, o, &digest, &any, w->err))) return;
        snprintf(text, sizeof text, "%s%016" PRIx64, DIGEST, digest);
        value = any ? text : "";
    }
    w->code = w->each(w->user, name, value, w->err);
}

static int walk(const struct thaw_cmd *cmd, const void *options,
                int (*each)(void *user, const char *name, const char *value, struct thaw_err *err),
                void *user, struct thaw_err *err) {
    struct walk w = {.cmd = cmd, .options = options, .each = each, .user = user, .err = err};
    thaw_opt_each(cmd, options, visit, &w);
    return w.code;
}

// ---- As a key, and in a run's record ----

static void add_text(struct thaw_digest *d, const char *text) {
    thaw_digest_add(d, text, strlen(text) + 1);
}

static int add_to_key(void *user, const char *name, const char *value, struct thaw_err *err) {
    (void)err;
    add_text(user, name);
    add_text(user, value);
    return THAW_OK;
}

int thaw_recipe_key(const struct thaw_cmd *cmd, const void *options, uint64_t *key, struct thaw_err *err) {
    struct thaw_digest *d = thaw_digest_new();
    if (!d) return thaw_fail(err, THAW_EMEM, "not enough memory for a digest");
    add_text(d, cmd->name);
    const int code = walk(cmd, options, add_to_key, d, err);
    if (!code) *key = thaw_digest_value(d);
    thaw_digest_free(&d);
    return code;
}

static int add_to_run(void *user, const char *name, const char *value, struct thaw_err *err) {
    return thaw_run_info_recipe(user, name, value, err);
}

// A record of nothing but the recipe; NULL when an input cannot be read.
static Thaw__Run *recipe_new(const struct thaw_cmd *cmd, const void *options) {
    Thaw__Run *run = malloc(sizeof *run);
    if (!run) return NULL;
    thaw__run__init(run);
    if (walk(cmd, options, add_to_run, run, NULL) == THAW_OK) return run;
    thaw__run__free_unpacked(run, NULL);
    return NULL;
}

int thaw_recipe_run_new(Thaw__Run **out, const struct thaw_job_ctx *ctx, const struct thaw_cmd *cmd,
                        const void *options, const char *blas, struct thaw_err *err) {
    const int code = thaw_run_info_new(out, ctx->comm, cmd, options, ctx->argc, ctx->argv, blas, err);
    Thaw__Run *recipe = NULL, *run = *out;
    if (code || thaw_comm_rank(ctx->comm) != 0 || !(recipe = recipe_new(cmd, options))) return code;
    run->recipe = recipe->recipe;
    run->n_recipe = recipe->n_recipe;
    recipe->recipe = NULL;
    recipe->n_recipe = 0;
    thaw__run__free_unpacked(recipe, NULL);
    return THAW_OK;
}

// ---- Comparing ----

static const char *value_of(const Thaw__Run *run, const char *name) {
    for (size_t i = 0; i < run->n_recipe; i++)
        if (strcmp(run->recipe[i]->name, name) == 0) return run->recipe[i]->value;
    return "";
}

// The first entry that differs, NULL when none does. An option that one of the two does not know counts as
// not given.
static const char *difference(const Thaw__Run *a, const Thaw__Run *b) {
    for (size_t i = 0; i < a->n_recipe; i++)
        if (strcmp(a->recipe[i]->value, value_of(b, a->recipe[i]->name)) != 0) return a->recipe[i]->name;
    for (size_t i = 0; i < b->n_recipe; i++)
        if (strcmp(b->recipe[i]->value, value_of(a, b->recipe[i]->name)) != 0) return b->recipe[i]->name;
    return NULL;
}

static void explain(char *text, size_t cap, const char *name, const char *old, const char *now) {
    if (strncmp(old, DIGEST, strlen(DIGEST)) == 0 && strncmp(now, DIGEST, strlen(DIGEST)) == 0)
        snprintf(text, cap, ", made from another --%s, or before it was changed (%s, now %s)", name, old,
                 now);
    else
        snprintf(text, cap, ", made with --%s %.80s, and this run says %.80s", name, *old ? old : "not given",
                 *now ? now : "not given");
}

int thaw_recipe_check(const Thaw__Run *run, const char *job, const char *out, const char *what,
                      struct thaw_err *err) {
    struct thaw_err why = THAW_ERR_INIT;
    Thaw__Run *made = NULL;
    char text[400] = "";
    bool same = false;
    if (thaw_output_run(job, out, &made, &why)) {
        snprintf(text, sizeof text, ", but not whole (%.300s)", why.text);
    } else if (made->n_recipe > 0 && run->n_recipe > 0) { // older versions had none
        const char *name = difference(made, run);
        same = !name;
        if (name) explain(text, sizeof text, name, value_of(made, name), value_of(run, name));
    }
    if (made) thaw__run__free_unpacked(made, NULL);
    if (same) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "%s holds %s already%s: give another --out, or --force to replace it",
                     out, what, text);
}

bool thaw_recipe_made(const struct thaw_cmd *cmd, const void *options, const char *out) {
    Thaw__Run *made = NULL, *now = NULL;
    if (thaw_output_run(cmd->name, out, &made, NULL)) return false;
    const bool same = made->n_recipe > 0 && (now = recipe_new(cmd, options)) && !difference(made, now);
    if (now) thaw__run__free_unpacked(now, NULL);
    thaw__run__free_unpacked(made, NULL);
    return same;
}

void thaw_recipe_say_made(const struct thaw_job_ctx *ctx, const char *out) {
    thaw_log_note(ctx->log,
                  "%s is finished already, made from these inputs with these options: nothing to do", out);
}
