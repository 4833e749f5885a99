// published.c: see published.h.
#include "jobs/published.h"

#include "base/file.h"
#include "base/mem.h"
#include "proto/pack.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 999999999 };

struct entry {
    int number;
    bool unfinished; // ends in .tmp
};
struct entries {
    struct entry *at;
    int n;
    size_t cap;
};

char *thaw_published_name(char name[THAW_PUBLISHED_NAME], int number, const char *suffix) {
    snprintf(name, THAW_PUBLISHED_NAME, "v%06d%s", number, suffix);
    return name;
}

// Is `name` a version of ours, finished or not?
static bool entry_of(const char *name, struct entry *e) {
    char same[THAW_PUBLISHED_NAME];
    if (sscanf(name, "v%9d", &e->number) != 1 || e->number < 1) return false;
    e->unfinished = strcmp(thaw_published_name(same, e->number, ".tmp"), name) == 0;
    return e->unfinished || strcmp(thaw_published_name(same, e->number, ""), name) == 0;
}

static int newest_first(const void *a, const void *b) {
    const int x = ((const struct entry *)a)->number, y = ((const struct entry *)b)->number;
    return (x < y) - (x > y);
}

static int list(struct entries *e, const char *out, struct thaw_err *err) {
    *e = (struct entries){0};
    DIR *dir = opendir(out);
    if (!dir && errno == ENOENT) return THAW_OK;
    if (!dir) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot be read", out);
    int code = THAW_OK;
    for (const struct dirent *d; !code && (d = readdir(dir));) {
        struct entry found;
        if (!entry_of(d->d_name, &found)) continue;
        code = thaw_grow(&e->at, &e->cap, (size_t)e->n + 1, sizeof *e->at, "a list of versions", err);
        if (!code) e->at[e->n++] = found;
    }
    closedir(dir);
    if (e->n) qsort(e->at, (size_t)e->n, sizeof *e->at, newest_first);
    return code;
}

// A damaged or absent current version counts as none: the next one replaces it.
static uint64_t current_model(const char *out) {
    char dir[THAW_PATH_MAX];
    struct thaw_err ignored = THAW_ERR_INIT;
    ProtobufCMessage *message = NULL;
    if (thaw_path_join(dir, out, "current", &ignored)) return 0;
    if (thaw_pack_read(dir, "manifest.pb", &thaw__tables__descriptor, &message, &ignored)) return 0;
    const uint64_t digest = ((const Thaw__Tables *)message)->model_digest;
    protobuf_c_message_free_unpacked(message, NULL);
    return digest;
}

int thaw_published_next(const char *out, int *number, uint64_t *model_digest, struct thaw_err *err) {
    struct entries e;
    int code = list(&e, out, err);
    if (!code && e.n > 0 && e.at[0].number >= NUMBER_MAX)
        code = thaw_fail(err, THAW_EDATA, "%s: no version number is left after %d", out, e.at[0].number);
    if (!code) {
        *number = e.n > 0 ? e.at[0].number + 1 : 1;
        *model_digest = current_model(out);
    }
    free(e.at);
    return code;
}

static int remove_entry(const char *out, const struct entry *e, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_PUBLISHED_NAME];
    const int code =
        thaw_path_join(path, out, thaw_published_name(name, e->number, e->unfinished ? ".tmp" : ""), err);
    return code ? code : thaw_dir_remove(path, err);
}

int thaw_published_begin(const char *out, int number, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_PUBLISHED_NAME];
    struct entries e = {0};
    int code = thaw_dir_make(out, err);
    if (!code) code = list(&e, out, err);
    for (int i = 0; !code && i < e.n; i++)
        if (e.at[i].unfinished) code = remove_entry(out, &e.at[i], err);
    if (!code) code = thaw_path_join(path, out, thaw_published_name(name, number, ".tmp"), err);
    if (!code) code = thaw_dir_make(path, err);
    free(e.at);
    return code;
}

static int prune(const char *out, int keep, struct thaw_err *err) {
    struct entries e;
    int kept = 0, code = list(&e, out, err);
    for (int i = 0; !code && i < e.n; i++) {
        if (e.at[i].unfinished) continue;
        if (kept++ >= keep) code = remove_entry(out, &e.at[i], err);
    }
    free(e.at);
    return code;
}

int thaw_published_commit(const char *out, int number, int keep, struct thaw_err *err) {
    char from[THAW_PATH_MAX], to[THAW_PATH_MAX], name[THAW_PUBLISHED_NAME];
    int code = thaw_path_join(from, out, thaw_published_name(name, number, ".tmp"), err);
    if (!code) code = thaw_dir_sync(from, err);
    if (!code) code = thaw_path_join(to, out, thaw_published_name(name, number, ""), err);
    if (!code && rename(from, to))
        code = thaw_fail_errno(err, THAW_EIO, "%s: cannot be renamed to %s", from, to);
    if (!code) code = thaw_dir_sync(out, err);
    if (!code) code = thaw_link_switch(out, "current", name, err);
    return code ? code : prune(out, keep, err);
}
