// lock.c: see lock.h.
#include "base/lock.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct thaw_lock {
    int fd;
    char path[THAW_PATH_MAX]; // FOLDER.lock
};

// ---- Where it lies ----

// The folder that `path` lies in, as text; "." for a name alone.
static void parent_of(char parent[THAW_PATH_MAX], const char *path) {
    const char *slash = strrchr(path, '/');
    const size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, n ? path : ".", n ? n : 1);
    parent[n ? n : 1] = 0;
}

// The real path of what does not exist yet: a name in its parent, which is made.
static int new_path(char out[THAW_PATH_MAX], const char *path, struct thaw_err *err) {
    char parent[THAW_PATH_MAX], *real = NULL;
    const char *slash = strrchr(path, '/');
    parent_of(parent, path);
    int code = thaw_dir_make(parent, err);
    if (!code && !(real = realpath(parent, NULL)))
        code = thaw_fail_errno(err, THAW_EIO, "cannot find folder %s", parent);
    if (!code) code = thaw_path_join(out, real, slash ? slash + 1 : path, err);
    free(real);
    return code;
}

// One folder has one lock, by whatever name it is reached: links and dots are followed.
static int real_path(char out[THAW_PATH_MAX], const char *folder, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    int code = thaw_path_copy(path, folder, err);
    if (code) return code;
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) path[n - 1] = 0;
    char *real = realpath(path, NULL);
    code = real ? thaw_path_copy(out, real, err) : new_path(out, path, err);
    free(real);
    return code;
}

static int lock_path(char out[THAW_PATH_MAX], const char *folder, struct thaw_err *err) {
    char real[THAW_PATH_MAX];
    const int code = real_path(real, folder, err);
    return code ? code : thaw_path_suffix(out, real, ".lock", err);
}

// ---- Taking it ----

enum answer { TAKEN, HELD, NO_LOCKS, TRY_AGAIN, FAILED };

// A folder of ours in one that is not: nobody can put a lock beside it.
static bool is_unlockable(const char *folder, int why) {
    return (why == EACCES || why == EPERM || why == EROFS) && access(folder, W_OK | X_OK) == 0;
}

// Of the open file l->fd.
static enum answer ask(struct thaw_lock *l) {
    struct flock wish = {.l_type = F_WRLCK, .l_whence = SEEK_SET}; // the whole file
    struct stat own, there;
    if (fcntl(l->fd, F_OFD_SETLK, &wish)) {
        if (errno == EAGAIN || errno == EACCES) return HELD;
        return errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP || errno == EINVAL ? NO_LOCKS
                                                                                            : FAILED;
    }
    // The one before may have removed the file between our open and our lock: this is nobody's then.
    if (fstat(l->fd, &own)) return FAILED;
    if (stat(l->path, &there)) return errno == ENOENT ? TRY_AGAIN : FAILED;
    return own.st_dev == there.st_dev && own.st_ino == there.st_ino ? TAKEN : TRY_AGAIN;
}

// The first line of the file, for a message.
static int refuse(const struct thaw_lock *l, const char *folder, struct thaw_err *err) {
    char who[256];
    const ssize_t n = pread(l->fd, who, sizeof who - 1, 0);
    who[n > 0 ? n : 0] = 0;
    who[strcspn(who, "\n")] = 0;
    return thaw_fail(err, THAW_EUSAGE, "%s: %s is writing here: wait for it, or name another folder", folder,
                     who[0] ? who : "another process");
}

// The text is for people: without it the lock is as good.
static void sign(const struct thaw_lock *l, const char *who) {
    char line[256];
    snprintf(line, sizeof line, "%.*s\n", (int)sizeof line - 2, who);
    const size_t length = strlen(line);
    if (ftruncate(l->fd, 0) || pwrite(l->fd, line, length, 0) != (ssize_t)length) return;
}

static int take(struct thaw_lock *l, const char *folder, const char *who, bool *unlocked,
                struct thaw_err *err) {
    for (;;) {
        l->fd = open(l->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        const int why = errno;
        if (l->fd < 0 && is_unlockable(folder, why)) {
            *unlocked = true;
            return THAW_OK;
        }
        errno = why;
        if (l->fd < 0) return thaw_fail_errno(err, THAW_EIO, "cannot create %s", l->path);
        switch (ask(l)) {
        case TAKEN:
            sign(l, who);
            return THAW_OK;
        case HELD:
            return refuse(l, folder, err);
        case NO_LOCKS:
            *unlocked = true;
            unlink(l->path);
            return THAW_OK;
        case FAILED:
            return thaw_fail_errno(err, THAW_EIO, "cannot lock %s", l->path);
        case TRY_AGAIN:
            close(l->fd);
            l->fd = -1;
        }
    }
}

int thaw_lock_take(struct thaw_lock **lock, const char *folder, const char *who, bool *unlocked,
                   struct thaw_err *err) {
    struct thaw_lock *l = NULL;
    bool without = false;
    int code = thaw_alloc(&l, 1, sizeof *l, "a lock", err);
    if (code) return code;
    l->fd = -1;
    code = lock_path(l->path, folder, err);
    if (!code) code = take(l, folder, who, &without, err);
    if (unlocked) *unlocked = without;
    if (code || without) {
        if (l->fd >= 0) close(l->fd);
        free(l);
        l = NULL;
    }
    if (!code) *lock = l;
    return code;
}

void thaw_lock_release(struct thaw_lock **lock) {
    if (!lock || !*lock) return;
    unlink((*lock)->path); // while it is held: who comes now makes a new file
    close((*lock)->fd);
    free(*lock);
    *lock = NULL;
}
