// The files of a synthetic log.
#include "base/file.h"
#include "base/mem.h"
#include "synth/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 16 };

static int events_of_user(const struct thaw_synth *s, struct thaw_synth_walk *w, int64_t user,
                          struct thaw_file_out *f, char *buffer, size_t *used, struct thaw_synth_tally *tally,
                          struct thaw_err *err) {
    char id[THAW_SYNTH_LINE_MAX];
    size_t nid = thaw_synth_user_id(s, user, id);
    struct thaw_synth_event event;
    while (thaw_synth_walk_event(w, &event)) {
        tally->events[event.kind]++;
        *used += thaw_synth_event_line(s, id, nid, &event, buffer + *used);
        if (*used > BUFFER - THAW_SYNTH_LINE_MAX) {
            int rc = thaw_file_write(f, buffer, *used, err);
            if (rc) return rc;
            *used = 0;
        }
    }
    return THAW_OK;
}

int thaw_synth_events_write(const struct thaw_synth *s, const char *path, int64_t first, int64_t last,
                            const struct thaw_synth_share *before, struct thaw_synth_tally *tally,
                            struct thaw_err *err) {
    struct thaw_file_out *f = NULL;
    struct thaw_synth_walk *w = NULL;
    char *buffer = NULL;
    size_t used = strlen(thaw_synth_events_header);
    int rc = thaw_synth_walk_new(&w, s, first, before, err);
    if (!rc) rc = thaw_alloc(&buffer, BUFFER, 1, "an output buffer", err);
    if (!rc) rc = thaw_file_create(&f, path, err);
    if (rc) goto done;

    memcpy(buffer, thaw_synth_events_header, used);
    for (int64_t user = first; user < last; user++) {
        if (thaw_synth_walk_user(w) == 0) continue;
        rc = events_of_user(s, w, user, f, buffer, &used, tally, err);
        if (rc) goto done;
    }
    rc = thaw_file_write(f, buffer, used, err);
    if (rc) goto done;
    tally->nbytes += thaw_file_tell(f);
    rc = thaw_file_commit(&f, NULL, err);
done:
    thaw_file_discard(&f);
    thaw_synth_walk_free(&w);
    free(buffer);
    return rc;
}

// Row `row` of a side, the header before row 0.
static size_t row_text(const struct thaw_synth *s, int side, int64_t row, char *out) {
    size_t n = 0;
    if (row == 0) {
        const char *header = side == 0 ? thaw_synth_users_header : thaw_synth_items_header;
        n = strlen(header);
        memcpy(out, header, n);
    }
    return n + (side == 0 ? thaw_synth_user_line(s, row, out + n) : thaw_synth_item_line(s, row, out + n));
}

int64_t thaw_synth_rows_nbytes(const struct thaw_synth *s, int side, int64_t first, int64_t last) {
    char line[2 * THAW_SYNTH_LINE_MAX];
    int64_t nbytes = 0;
    for (int64_t row = first; row < last; row++) nbytes += (int64_t)row_text(s, side, row, line);
    return nbytes;
}

static int write_at(int fd, const char *path, const char *bytes, size_t n, int64_t *offset,
                    struct thaw_err *err) {
    while (n > 0) {
        ssize_t wrote = pwrite(fd, bytes, n, *offset);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot write", path);
        bytes += wrote;
        n -= (size_t)wrote;
        *offset += wrote;
    }
    return THAW_OK;
}

int thaw_synth_rows_write(const struct thaw_synth *s, int side, int64_t first, int64_t last, const char *path,
                          int64_t offset, struct thaw_err *err) {
    char *buffer = NULL;
    size_t used = 0;
    int rc = THAW_OK;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return thaw_fail_errno(err, THAW_EIO, "%s: cannot open for writing", path);
    rc = thaw_alloc(&buffer, BUFFER, 1, "an output buffer", err);
    if (rc) goto done;
    for (int64_t row = first; row < last; row++) {
        used += row_text(s, side, row, buffer + used);
        if (used > BUFFER - 2 * THAW_SYNTH_LINE_MAX) {
            rc = write_at(fd, path, buffer, used, &offset, err);
            if (rc) goto done;
            used = 0;
        }
    }
    rc = write_at(fd, path, buffer, used, &offset, err);
    if (!rc && fsync(fd)) rc = thaw_fail_errno(err, THAW_EIO, "%s: cannot sync", path);
done:
    if (close(fd) && !rc) rc = thaw_fail_errno(err, THAW_EIO, "%s: cannot close", path);
    free(buffer);
    return rc;
}
