// cgroup.c: see cgroup.h.
#include "base/cgroup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

enum { PATH = 1024, TEXT = 16384 };
static const int64_t UNLIMITED = (int64_t)1 << 60; // version 1 says "no limit" with a number above

static const char *self_path = "/proc/self/cgroup", *mount_path = "/sys/fs/cgroup";

void thaw_cgroup_paths(const char *self, const char *mount) {
    self_path = self ? self : "/proc/self/cgroup";
    mount_path = mount ? mount : "/sys/fs/cgroup";
}

// The names one version has for the same things.
struct names {
    const char *limit, *used, *swap_limit, *swap_used;
    const char *cache[3]; // of memory.stat
};
static const struct names version2 = {"memory.max",
                                      "memory.current",
                                      "memory.swap.max",
                                      "memory.swap.current",
                                      {"inactive_file", "active_file", "slab_reclaimable"}};
static const struct names version1 = {"memory.limit_in_bytes",
                                      "memory.usage_in_bytes",
                                      NULL,
                                      NULL,
                                      {"total_inactive_file", "total_active_file", NULL}};

static bool read_text(const char *folder, const char *name, char text[TEXT]) {
    char path[PATH];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = n > 0 && n < PATH ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return false;
    const ssize_t got = read(fd, text, TEXT - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

// A file of one number; "max" counts as none.
static bool read_number(const char *folder, const char *name, int64_t *number) {
    char text[TEXT];
    return name && read_text(folder, name, text) && sscanf(text, "%" SCNd64, number) == 1;
}

// A line "NAME NUMBER".
static int64_t line_of(const char *text, const char *name) {
    const size_t n = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, n) == 0 && line[n] == ' ') return strtoll(line + n, NULL, 10);
    }
    return 0;
}

static int64_t cache_of(const char *folder, const struct names *v) {
    char text[TEXT];
    int64_t sum = 0;
    if (!read_text(folder, "memory.stat", text)) return 0;
    for (int i = 0; i < 3 && v->cache[i]; i++) sum += line_of(text, v->cache[i]);
    return sum;
}

static int64_t swap_of(const char *folder, const struct names *v) {
    struct sysinfo system;
    int64_t limit, used;
    if (sysinfo(&system) != 0) return 0;
    const int64_t all = (int64_t)system.freeswap * system.mem_unit;
    if (!read_number(folder, v->swap_limit, &limit) || !read_number(folder, v->swap_used, &used)) return all;
    const int64_t left = limit > used ? limit - used : 0;
    return left < all ? left : all;
}

// One group: kept when there is less room than in those before.
static void consider(const char *folder, const struct names *v, struct thaw_cgroup_memory *m, bool *found) {
    struct thaw_cgroup_memory own;
    if (!read_number(folder, v->limit, &own.limit) || own.limit >= UNLIMITED ||
        !read_number(folder, v->used, &own.used))
        return;
    const int64_t cache = cache_of(folder, v);
    own.used = own.used > cache ? own.used - cache : 0;
    own.swap = swap_of(folder, v);
    if (*found && own.limit - own.used + own.swap >= m->limit - m->used + m->swap) return;
    *m = own;
    *found = true;
}

// A group and all above it. In a container the path may be that on the host, of which nothing is there: the
// topmost folder has the container's limits then.
static void climb(const char *mount, const char *group, const struct names *v, struct thaw_cgroup_memory *m,
                  bool *found) {
    char folder[PATH];
    const int n = snprintf(folder, sizeof folder, "%s%s", mount, strstr(group, "/..") ? "" : group);
    if (n < 0 || n >= PATH) return;
    for (;;) {
        consider(folder, v, m, found);
        char *slash = strrchr(folder + strlen(mount), '/');
        if (!slash) return;
        *slash = 0;
    }
}

// Is `name` one of the words between commas?
static bool has_word(const char *words, const char *name) {
    const size_t n = strlen(name);
    for (const char *at = words; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == 0)) return true;
    }
    return false;
}

bool thaw_cgroup_memory(struct thaw_cgroup_memory *m) {
    char line[PATH], mount[PATH];
    bool found = false;
    FILE *f = fopen(self_path, "re");
    if (!f) return false;
    while (fgets(line, sizeof line, f)) { // NUMBER:CONTROLLERS:PATH
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *controllers++ = *group++ = 0;
        group[strcspn(group, "\n")] = 0;
        const bool second = *controllers == 0;
        if (!second && !has_word(controllers, "memory")) continue;
        snprintf(mount, sizeof mount, "%s%s", mount_path, second ? "" : "/memory");
        climb(mount, group, second ? &version2 : &version1, m, &found);
    }
    fclose(f);
    return found;
}
