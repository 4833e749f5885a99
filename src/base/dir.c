// dir.c: paths, folders and links.
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool thaw_path_exists(const char *path) {
    struct stat st;
    return stat(path, &st) == 0;
}

static int join(char out[THAW_PATH_MAX], const char *path, const char *between, const char *last,
                struct thaw_err *err) {
    const int length = snprintf(out, THAW_PATH_MAX, "%s%s%s", path, between, last);
    if (length >= 0 && length < THAW_PATH_MAX) return THAW_OK;
    return thaw_fail(err, THAW_EUSAGE, "%.200s...: the path is longer than %d bytes", path,
                     THAW_PATH_MAX - 1);
}

int thaw_path_copy(char out[THAW_PATH_MAX], const char *path, struct thaw_err *err) {
    return join(out, path, "", "", err);
}

int thaw_path_join(char out[THAW_PATH_MAX], const char *dir, const char *name, struct thaw_err *err) {
    const size_t n = strlen(dir);
    return join(out, dir, n == 0 || dir[n - 1] == '/' ? "" : "/", name, err);
}

int thaw_path_suffix(char out[THAW_PATH_MAX], const char *path, const char *suffix, struct thaw_err *err) {
    return join(out, path, "", suffix, err);
}

static int make_one(const char *path, struct thaw_err *err) {
    struct stat st;
    if (mkdir(path, 0777) == 0) return THAW_OK;
    int why = errno;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) return THAW_OK;
    if (why == EEXIST) return thaw_fail(err, THAW_EIO, "cannot create folder %s: a file is in the way", path);
    errno = why;
    return thaw_fail_errno(err, THAW_EIO, "cannot create folder %s", path);
}

int thaw_dir_make(const char *path, struct thaw_err *err) {
    char part[THAW_PATH_MAX];
    int code = thaw_path_copy(part, path, err);
    for (char *slash = part; code == THAW_OK && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        code = make_one(part, err);
        *slash = '/';
    }
    return code == THAW_OK ? make_one(part, err) : code;
}

int thaw_dir_check(const char *path, struct thaw_err *err) {
    char there[THAW_PATH_MAX]; // the nearest folder that exists
    struct stat st;
    int code = thaw_path_copy(there, path, err);
    if (code != THAW_OK) return code;
    while (stat(there, &st) != 0 && (errno == ENOENT || errno == ENOTDIR) && strcmp(there, ".") != 0) {
        char *slash = strrchr(there, '/');
        if (!slash)
            strcpy(there, ".");
        else
            slash[slash == there] = '\0';
    }
    if (thaw_path_exists(there) && !S_ISDIR(st.st_mode))
        return thaw_fail(err, THAW_EIO, "cannot create folder %s: a file is in the way", path);
    if (access(there, W_OK | X_OK) != 0)
        return thaw_fail_errno(err, THAW_EIO, "cannot write to folder %s", there);
    return THAW_OK;
}

int thaw_dir_sync(const char *path, struct thaw_err *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return thaw_fail_errno(err, THAW_EIO, "cannot open folder %s", path);
    int code = THAW_OK;
    // Some file systems cannot sync a folder and say so with EINVAL: there is nothing more to do there.
    if (fsync(fd) != 0 && errno != EINVAL)
        code = thaw_fail_errno(err, THAW_EIO, "cannot sync folder %s", path);
    close(fd);
    return code;
}

bool thaw_dir_exchange(const char *a, const char *b) {
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0;
}

enum { DESCRIPTORS = 16 }; // that a walk over a tree may open at once

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st, (void)kind, (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int thaw_dir_remove(const char *path, struct thaw_err *err) {
    if (nftw(path, remove_entry, DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return thaw_fail_errno(err, THAW_EIO, "cannot remove folder %s", path);
    return THAW_OK;
}

int thaw_link_switch(const char *dir, const char *name, const char *target, struct thaw_err *err) {
    char link[THAW_PATH_MAX], temp[THAW_PATH_MAX];
    int code = thaw_path_join(link, dir, name, err);
    if (code == THAW_OK) code = thaw_path_suffix(temp, link, ".tmp", err);
    if (code != THAW_OK) return code;
    unlink(temp); // left over by a run that was killed here
    if (symlink(target, temp) != 0) return thaw_fail_errno(err, THAW_EIO, "cannot create link %s", temp);
    if (rename(temp, link) != 0) {
        code = thaw_fail_errno(err, THAW_EIO, "cannot switch %s to %s", link, target);
        unlink(temp);
        return code;
    }
    return thaw_dir_sync(dir, err);
}
