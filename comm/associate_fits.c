// associate_fits.c: does it fit, and if not, where would it?
#include "base/file.h"
#include "comm/associate_impl.h"
#include "comm/handle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SPARE = 8 }; // an eighth of the memory is left to histories, messages and sums

// A line "MemAvailable:  1234 kB" of /proc/meminfo in bytes; 0 when the system does not tell.
static int64_t free_bytes(void) {
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    long long kib = 0;
    if (!f) return 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lld", &kib) == 1) break;
    fclose(f);
    return (int64_t)kib * 1024;
}

// The number in DIR/name, or behind a word of that file; `otherwise` where there is none ("max").
static int64_t group_number(const char *dir, const char *name, const char *word, int64_t otherwise) {
    char path[THAW_PATH_MAX], line[256];
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) return otherwise;
    FILE *f = fopen(path, "re");
    long long value = 0;
    bool found = false;
    while (f && !found && fgets(line, sizeof line, f)) {
        const size_t n = strlen(word);
        found = strncmp(line, word, n) == 0 && sscanf(line + n, "%lld", &value) == 1;
    }
    if (f) fclose(f);
    return found ? value : otherwise;
}

// What the control groups of this process still allow (Slurm sets them for a job and its steps), cached files
// counted as free; the largest number when there is no limit.
static int64_t group_bytes(void) {
    static const char root[] = "/sys/fs/cgroup";
    char dir[THAW_PATH_MAX], line[THAW_PATH_MAX - sizeof root] = "";
    int64_t least = INT64_MAX;
    FILE *f = fopen("/proc/self/cgroup", "re");
    while (f && fgets(line, sizeof line, f) && strncmp(line, "0::", 3) != 0) line[0] = 0;
    if (f) fclose(f);
    line[strcspn(line, "\n")] = 0;
    snprintf(dir, sizeof dir, "%s%s", root, strlen(line) > 4 ? line + 3 : "");
    while (strlen(dir) >= sizeof root - 1) {
        const int64_t limit = group_number(dir, "memory.max", "", INT64_MAX);
        const int64_t used = group_number(dir, "memory.current", "", 0) -
                             group_number(dir, "memory.stat", "inactive_file ", 0);
        if (limit != INT64_MAX && limit - used < least) least = limit > used ? limit - used : 0;
        *strrchr(dir, '/') = 0; // the group around this one
    }
    return least;
}

// Collective. Bytes that every rank may take.
static int64_t room(const struct thaw_associate *a) {
    int sharing = 1;
    int64_t bytes = free_bytes();
    const int64_t group = group_bytes();
    MPI_Comm_size(a->c->machine, &sharing);
    if (bytes == 0 || group < bytes) bytes = group;
    bytes /= sharing;
    if (a->config->memory) bytes = a->config->memory;
    thaw_comm_min_i64(a->c, &bytes, 1);
    return bytes;
}

// Most elements of one matrix a rank would hold, and bytes of all of a system's matrices.
static int64_t need(const struct thaw_associate *a, int nranks, int64_t *elements) {
    const bool single = a->config->single;
    const int block = a->config->block ? (int)a->config->block : thaw_grid_block(nranks, a->unknowns);
    int64_t bytes = thaw_grid_nbytes(nranks, a->unknowns, a->unknowns, block, single);
    *elements = bytes / (single ? 4 : 8);
    if (a->episodic) bytes += thaw_grid_nbytes(nranks, a->unknowns, a->nitems, block, single);
    return bytes;
}

static bool fits(const struct thaw_associate *a, int nranks, int64_t have, int64_t *bytes) {
    int64_t elements;
    *bytes = need(a, nranks, &elements);
    *bytes += *bytes / (SPARE - 1);
    return *bytes <= have && (nranks == 1 || elements <= INT32_MAX);
}

static int refuse(const struct thaw_associate *a, int64_t have, struct thaw_err *err) {
    enum { MOST_RANKS = 1 << 20 };
    const int nranks = thaw_comm_size(a->c);
    char needs[16], has[16], then[16], would[128] = "no number of ranks with so little would do";
    int64_t bytes, more;
    fits(a, nranks, have, &bytes);
    for (int r = nranks + 1; r <= MOST_RANKS; r += r < 64 ? 1 : r / 16) {
        int nrow, ncol;
        thaw_grid_shape_of(r, &nrow, &ncol);
        if (ncol > 2 * nrow || !fits(a, r, have, &more)) continue; // long grids are slow ones
        snprintf(would, sizeof would, "%d ranks that may take %s each would do", r,
                 thaw_human_bytes(then, more));
        break;
    }
    return thaw_fail(
        err, THAW_EMEM,
        "%" PRId64 " items and %d features need %s on each of %d rank%s, and a rank may take %s%s: "
        "%s%s",
        a->nitems, (int)a->features, thaw_human_bytes(needs, bytes), nranks, nranks == 1 ? "" : "s",
        thaw_human_bytes(has, have), a->config->memory ? " (--memory)" : "", would,
        a->config->single ? "" : ", and half of it with --precision single");
}

int thaw_associate_fits(struct thaw_associate *a, int want, int *batch, struct thaw_err *err) {
    const int64_t have = room(a);
    int64_t bytes, elements;
    if (!fits(a, thaw_comm_size(a->c), have, &bytes)) return refuse(a, have, err);
    const int64_t each = need(a, thaw_comm_size(a->c), &elements), most = have - have / SPARE;
    *batch = want < THAW_ASSOCIATE_BATCH ? want : THAW_ASSOCIATE_BATCH;
    while (*batch > 1 && each * *batch > most) --*batch;
    a->store = (have - each * *batch) / 2;
    return THAW_OK;
}
