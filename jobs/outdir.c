// outdir.c: see outdir.h.
#include "jobs/outdir.h"

#include "jobs/recipe.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

// Where an older folder stands between two renames.
static const char ASIDE[] = ".replaced.tmp";

static bool is_empty(const char *path) {
    DIR *d = opendir(path);
    bool empty = d != NULL;
    for (const struct dirent *e; empty && (e = readdir(d));)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (d) closedir(d);
    return empty;
}

static bool is_whole(const char *path) {
    char manifest[THAW_PATH_MAX];
    return thaw_path_join(manifest, path, "manifest.pb", NULL) == THAW_OK && thaw_path_exists(manifest);
}

// Who asks for OUT, and what for.
struct asking {
    const char *job, *what;
    bool force;
    const Thaw__Run *run;
};

static int may_write(struct thaw_outdir *o, const struct asking *a, struct thaw_err *err) {
    if (!thaw_path_exists(o->path) || is_empty(o->path)) return thaw_dir_check(o->work, err);
    if (!is_whole(o->path))
        return thaw_fail(err, THAW_EUSAGE, "%s holds other files: give another --out", o->path);
    if (a->force) return thaw_dir_check(o->work, err);
    const int code = thaw_recipe_check(a->run, a->job, o->path, a->what, err);
    o->finished = code == THAW_OK;
    return code;
}

static int rename_to(const char *from, const char *to, struct thaw_err *err) {
    if (rename(from, to) == 0) return THAW_OK;
    return thaw_fail_errno(err, THAW_EIO, "%s: cannot be renamed to %s", from, to);
}

static int sync_parent(const char *path, struct thaw_err *err) {
    char parent[THAW_PATH_MAX];
    int code = thaw_path_copy(parent, path, err);
    char *slash = code ? NULL : strrchr(parent, '/');
    if (slash) slash[slash == parent] = 0;
    return code ? code : thaw_dir_sync(slash ? parent : ".", err);
}

static int begin(struct thaw_outdir *o, const struct asking *a, struct thaw_err *err) {
    char aside[THAW_PATH_MAX];
    int code = thaw_path_suffix(aside, o->path, ASIDE, err);
    if (code) return code;
    if (is_whole(aside)) // a run was killed between its two renames
        code = thaw_path_exists(o->path) ? thaw_dir_remove(aside, err) : rename_to(aside, o->path, err);
    if (!code) code = may_write(o, a, err);
    if (!code) code = thaw_dir_remove(o->work, err);
    return code || o->finished ? code : thaw_dir_make(o->work, err);
}

int thaw_outdir_begin(struct thaw_outdir *o, const struct thaw_job_ctx *ctx, const char *job, const char *out,
                      const char *what, bool force, const Thaw__Run *run, struct thaw_err *err) {
    const struct asking asking = {job, what, force, run};
    struct thaw_comm *c = ctx->comm;
    *o = (struct thaw_outdir){0};
    int code = thaw_hold(&o->lock, ctx, job, out, err);
    if (code) return code;
    code = thaw_path_copy(o->path, out, err);
    for (size_t n = strlen(o->path); n > 1 && o->path[n - 1] == '/'; n--) o->path[n - 1] = 0;
    if (!code) code = thaw_path_suffix(o->work, o->path, ".tmp", err);
    if (!code && thaw_comm_rank(c) == 0) code = begin(o, &asking, err);
    code = thaw_comm_agree(c, code, err);
    thaw_comm_bcast(c, &o->finished, sizeof o->finished, 0);
    if (code || o->finished) o->work[0] = 0;
    if (!code && o->finished) thaw_recipe_say_made(ctx, o->path);
    return code;
}

static int commit(const struct thaw_outdir *o, struct thaw_err *err) {
    char aside[THAW_PATH_MAX];
    int code = thaw_path_suffix(aside, o->path, ASIDE, err);
    if (!code) code = thaw_dir_sync(o->work, err);
    const bool replace = is_whole(o->path),
               exchanged = !code && replace && thaw_dir_exchange(o->work, o->path);
    if (!code && replace && !exchanged) code = rename_to(o->path, aside, err);
    if (!code && !exchanged) code = rename_to(o->work, o->path, err);
    if (!code) code = sync_parent(o->path, err);
    return code || !replace ? code : thaw_dir_remove(exchanged ? o->work : aside, err);
}

int thaw_outdir_commit(struct thaw_outdir *o, struct thaw_comm *c, struct thaw_err *err) {
    thaw_comm_phase(c, "publish");
    return thaw_comm_agree(c, thaw_comm_rank(c) == 0 ? commit(o, err) : THAW_OK, err);
}

void thaw_outdir_discard(struct thaw_outdir *o, struct thaw_comm *c) {
    if (o->work[0] && thaw_comm_rank(c) == 0) thaw_dir_remove(o->work, NULL);
    o->work[0] = 0;
    thaw_hold_end(&o->lock);
}
