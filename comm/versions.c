// versions.c: see versions.h.
#include "comm/versions.h"

#include "base/file.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *thaw_version_name(char name[THAW_VERSION_NAME], int number, const char *suffix) {
    snprintf(name, THAW_VERSION_NAME, "iteration-%06d%s", number, suffix);
    return name;
}

// The number in a version folder's name that ends in `suffix` as well, -1 for any other name.
static int number_of(const char *name, const char *suffix) {
    char same[THAW_VERSION_NAME];
    int number;
    if (sscanf(name, "iteration-%9d", &number) != 1 || number < 0) return -1;
    return strcmp(thaw_version_name(same, number, suffix), name) == 0 ? number : -1;
}

static int falling(const void *a, const void *b) {
    const int x = *(const int *)a, y = *(const int *)b;
    return (x < y) - (x > y);
}

int thaw_versions_list(struct thaw_versions *v, const char *out, struct thaw_err *err) {
    char path[THAW_PATH_MAX], target[THAW_PATH_MAX];
    size_t cap = 0;
    *v = (struct thaw_versions){.current = -1};
    int code = thaw_path_join(path, out, "current", err);
    if (code) return code;
    DIR *dir = opendir(out);
    if (!dir && errno == ENOENT) return THAW_OK;
    if (!dir) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot be read", out);
    for (const struct dirent *entry; !code && (entry = readdir(dir));) {
        const int number = number_of(entry->d_name, "");
        if (number < 0) continue;
        code = thaw_grow(&v->number, &cap, (size_t)v->n + 1, sizeof *v->number, "a list of versions", err);
        if (!code) v->number[v->n++] = number;
    }
    closedir(dir);
    if (v->n) qsort(v->number, (size_t)v->n, sizeof *v->number, falling);
    const ssize_t n = readlink(path, target, sizeof target - 1);
    if (n > 0) {
        target[n] = 0;
        v->current = number_of(target, "");
    }
    if (code) thaw_versions_clear(v);
    return code;
}

void thaw_versions_clear(struct thaw_versions *v) {
    free(v->number);
    *v = (struct thaw_versions){.current = -1};
}

static int remove_version(const char *out, int number, const char *suffix, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_VERSION_NAME];
    const int code = thaw_path_join(path, out, thaw_version_name(name, number, suffix), err);
    return code ? code : thaw_dir_remove(path, err);
}

static int rename_version(const char *out, int number, const char *from, const char *to,
                          struct thaw_err *err) {
    char old[THAW_PATH_MAX], new[THAW_PATH_MAX], name[THAW_VERSION_NAME];
    int code = thaw_path_join(old, out, thaw_version_name(name, number, from), err);
    if (!code) code = thaw_path_join(new, out, thaw_version_name(name, number, to), err);
    if (!code && rename(old, new))
        code = thaw_fail_errno(err, THAW_EIO, "%s: cannot be renamed to %s", old, new);
    return code;
}

// Exchange the two where the file system can; else with a moment in which the older one stands aside.
static int replace_version(const char *out, int number, struct thaw_err *err) {
    char old[THAW_PATH_MAX], new[THAW_PATH_MAX], name[THAW_VERSION_NAME];
    int code = thaw_path_join(old, out, thaw_version_name(name, number, ""), err);
    if (!code) code = thaw_path_join(new, out, thaw_version_name(name, number, ".tmp"), err);
    if (code) return code;
    if (thaw_dir_exchange(new, old)) return THAW_OK;
    code = remove_version(out, number, ".old", err);
    if (!code) code = rename_version(out, number, "", ".old", err);
    return code ? code : rename_version(out, number, ".tmp", "", err);
}

int thaw_version_place(const char *out, int number, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_VERSION_NAME];
    int code = thaw_path_join(path, out, thaw_version_name(name, number, ""), err);
    if (!code)
        code = thaw_path_exists(path) ? replace_version(out, number, err)
                                      : rename_version(out, number, ".tmp", "", err);
    return code ? code : thaw_dir_sync(out, err);
}

int thaw_version_publish(const char *out, int number, struct thaw_err *err) {
    char name[THAW_VERSION_NAME];
    return thaw_link_switch(out, "current", thaw_version_name(name, number, ""), err);
}

// Each entry of the folder; none when there is no folder.
static int for_each(const char *out, int (*each)(const char *out, const char *name, struct thaw_err *err),
                    struct thaw_err *err) {
    int code = THAW_OK;
    DIR *dir = opendir(out);
    if (!dir && errno == ENOENT) return THAW_OK;
    if (!dir) return thaw_fail_errno(err, THAW_EIO, "%s: cannot be read", out);
    for (const struct dirent *entry; !code && (entry = readdir(dir));) code = each(out, entry->d_name, err);
    closedir(dir);
    return code;
}

static int recover(const char *out, const char *name, struct thaw_err *err) {
    char path[THAW_PATH_MAX], own[THAW_VERSION_NAME];
    const int number = number_of(name, ".old");
    if (number < 0) return THAW_OK;
    const int code = thaw_path_join(path, out, thaw_version_name(own, number, ""), err);
    return code || thaw_path_exists(path) ? code : rename_version(out, number, ".old", "", err);
}

static int remove_leftover(const char *out, const char *name, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    if (number_of(name, ".tmp") < 0 && number_of(name, ".old") < 0) return THAW_OK;
    const int code = thaw_path_join(path, out, name, err);
    return code ? code : thaw_dir_remove(path, err);
}

int thaw_versions_recover(const char *out, struct thaw_err *err) {
    const int code = for_each(out, recover, err);
    return code ? code : for_each(out, remove_leftover, err);
}

int thaw_versions_prune(const char *out, int number, int before, struct thaw_err *err) {
    struct thaw_versions v;
    char path[THAW_PATH_MAX];
    int code = for_each(out, remove_leftover, err);
    if (!code) code = thaw_versions_list(&v, out, err);
    if (code) return code;
    if (number < 0 && v.current >= 0) {
        code = thaw_path_join(path, out, "current", err);
        if (!code && unlink(path) && errno != ENOENT)
            code = thaw_fail_errno(err, THAW_EIO, "%s: cannot be removed", path);
    }
    for (int i = 0; !code && i < v.n; i++) {
        if (v.number[i] == number) continue;
        if (number >= 0 && before < 0 && v.number[i] < number) before = v.number[i]; // they fall
        if (number < 0 || v.number[i] != before) code = remove_version(out, v.number[i], "", err);
    }
    thaw_versions_clear(&v);
    return code;
}
