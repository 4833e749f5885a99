// attempts.c: see attempts.h.
#include "jobs/attempts.h"

#include "proto/pack.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char NAME[] = "attempts.pb";

// Runs that went on from `checkpoint` so far.
static int count(const char *folder, const char *checkpoint) {
    struct thaw_err ignored = THAW_ERR_INIT;
    ProtobufCMessage *message = NULL;
    if (thaw_pack_read(folder, NAME, &thaw__attempts__descriptor, &message, &ignored)) return 0;
    const Thaw__Attempts *a = (const Thaw__Attempts *)message;
    const int n = strcmp(a->checkpoint, checkpoint) == 0 ? a->runs : 0;
    protobuf_c_message_free_unpacked(message, NULL);
    return n;
}

int thaw_attempts_begin(const char *folder, const char *checkpoint, struct thaw_err *err) {
    Thaw__Attempts a = THAW__ATTEMPTS__INIT;
    const int n = count(folder, checkpoint);
    if (n >= THAW_ATTEMPTS_MAX)
        return thaw_fail(
            err, THAW_EDATA,
            "%s: %d runs that went on from %s have failed: see their logs; --force starts anew, and "
            "removing %s/%s allows %d more",
            folder, n, checkpoint, folder, NAME, THAW_ATTEMPTS_MAX);
    a.format = 1;
    a.checkpoint = (char *)(uintptr_t)checkpoint; // read only
    a.runs = n + 1;
    return thaw_pack_write(folder, NAME, &a.base, err);
}

int thaw_attempts_clear(const char *folder, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    const int code = thaw_path_join(path, folder, NAME, err);
    if (!code && unlink(path) && errno != ENOENT && errno != ENOTDIR)
        return thaw_fail_errno(err, THAW_EIO, "%s: cannot be removed", path);
    return code;
}
