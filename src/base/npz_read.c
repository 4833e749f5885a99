// npz_read.c: reading stored zip archives of NumPy arrays from a memory map. Every offset and length is
// checked before use.
#include "base/mem.h"
#include "base/npz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR = 20, END_64 = 56 };

struct member {
    const char *name; // in the mapping, not terminated, with .npy
    size_t nname;
    const uint8_t *bytes;
    int64_t nbytes;
};

struct thaw_npz {
    struct thaw_map map;
    struct member *members;
    size_t n;
    char path[THAW_PATH_MAX];
};

static uint64_t get(const uint8_t *p, size_t width) {
    uint64_t v = 0;
    memcpy(&v, p, width); // little-endian, see file.c
    return v;
}

// Does [at, at + n) lie in [0, limit)?
static bool within(uint64_t at, uint64_t n, uint64_t limit) {
    return n <= limit && at <= limit - n;
}

// Replace each value that says "see the zip64 field" (all ones in 32 bits) from the extra field, in order.
static bool widen(const uint8_t *extra, size_t nextra, uint64_t *const values[], int nvalues) {
    const uint8_t *field = NULL;
    size_t nfield = 0;
    for (size_t at = 0; at + 4 <= nextra && !field; at += 4 + nfield) {
        nfield = (size_t)get(extra + at + 2, 2);
        if (!within(at + 4, nfield, nextra)) return false;
        if (get(extra + at, 2) == 1) field = extra + at + 4;
    }
    for (int i = 0; i < nvalues; i++) {
        if (*values[i] != UINT32_MAX) continue;
        if (!field || nfield < 8) return false;
        *values[i] = get(field, 8);
        field += 8;
        nfield -= 8;
    }
    return true;
}

struct directory {
    uint64_t start, nbytes, n;
};

// Find the end record, which lies within the last 64 KiB, and the directory it describes.
static const char *find_directory(const struct thaw_map *map, struct directory *d) {
    const uint8_t *base = map->base;
    int64_t end = map->nbytes - END, last = end - UINT16_MAX;
    while (end >= 0 && end >= last &&
           (get(base + end, 4) != 0x06054b50 || end + END + (int64_t)get(base + end + 20, 2) != map->nbytes))
        end--;
    if (end < 0 || end < last) return "this is no zip archive";
    if (get(base + end + 4, 4) != 0) return "the archive is one of several disks";
    *d = (struct directory){get(base + end + 16, 4), get(base + end + 12, 4), get(base + end + 10, 2)};
    uint64_t limit = (uint64_t)end;
    if (end >= LOCATOR && get(base + end - LOCATOR, 4) == 0x07064b50) {
        uint64_t at = get(base + end - LOCATOR + 8, 8);
        limit -= LOCATOR;
        if (!within(at, END_64, limit) || get(base + at, 4) != 0x06064b50)
            return "the zip64 end record is not in place";
        *d = (struct directory){get(base + at + 48, 8), get(base + at + 40, 8), get(base + at + 32, 8)};
        limit = at;
    }
    if (!within(d->start, d->nbytes, limit)) return "the directory is not within the archive";
    return d->n <= d->nbytes / CENTRAL ? NULL : "the directory is shorter than its members";
}

// The local header must agree with the directory's entry e; sets where the data is.
static const char *check_local(const struct thaw_map *map, const uint8_t *e, uint64_t at, uint64_t nbytes,
                               uint64_t limit, struct member *m) {
    static const char *const astray = "a member is not where the directory says";
    if (!within(at, LOCAL, limit)) return astray;
    const uint8_t *l = map->base + at;
    if (get(l, 4) != 0x04034b50) return astray;
    uint64_t nname = get(l + 26, 2), nextra = get(l + 28, 2), head = LOCAL + nname + nextra;
    if (!within(at, head, limit) || !within(at + head, nbytes, limit))
        return "a member is not within the archive";
    uint64_t packed = get(l + 18, 4), plain = get(l + 22, 4);
    if (!widen(l + LOCAL + nname, nextra, (uint64_t *const[]){&plain, &packed}, 2) || packed != nbytes ||
        plain != nbytes || nname != m->nname || memcmp(l + LOCAL, m->name, nname) != 0 ||
        get(l + 6, 4) != get(e + 8, 4) || get(l + 14, 4) != get(e + 16, 4)) // flags and method; CRC
        return "a member's header disagrees with the directory";
    m->bytes = l + head;
    m->nbytes = (int64_t)nbytes;
    return NULL;
}

// Parse the entry at *at of the directory, and step over it.
static const char *take_entry(const struct thaw_map *map, const struct directory *d, uint64_t *at,
                              struct member *m) {
    if (!within(*at, CENTRAL, d->nbytes)) return "the directory is damaged";
    const uint8_t *e = map->base + d->start + *at;
    if (get(e, 4) != 0x02014b50) return "the directory is damaged";
    uint64_t nname = get(e + 28, 2), nextra = get(e + 30, 2),
             length = CENTRAL + nname + nextra + get(e + 32, 2);
    if (!within(*at, length, d->nbytes)) return "the directory is damaged";
    *at += length;
    m->name = (const char *)e + CENTRAL;
    m->nname = nname;
    if (get(e + 8, 2) & (1 | 8) || get(e + 10, 2) != 0)
        return "a member is compressed, encrypted or streamed";
    if (nname <= 4 || memcmp(m->name + nname - 4, ".npy", 4) != 0) return "a member is no .npy array";
    uint64_t packed = get(e + 20, 4), plain = get(e + 24, 4), start = get(e + 42, 4);
    if (!widen(e + CENTRAL + nname, nextra, (uint64_t *const[]){&plain, &packed, &start}, 3) ||
        packed != plain)
        return "the directory is damaged";
    return check_local(map, e, start, plain, d->start, m);
}

static const struct member *find(const struct thaw_npz *z, const char *name, size_t n) {
    for (size_t i = 0; i < z->n; i++)
        if (z->members[i].nname == n && memcmp(z->members[i].name, name, n) == 0) return &z->members[i];
    return NULL;
}

static int read_directory(struct thaw_npz *z, struct thaw_err *err) {
    struct directory d;
    uint64_t at = 0;
    const char *wrong = find_directory(&z->map, &d);
    if (wrong) return thaw_fail(err, THAW_EDATA, "%s: %s", z->path, wrong);
    int code = thaw_alloc(&z->members, (size_t)d.n, sizeof *z->members, "an archive's directory", err);
    if (code != THAW_OK) return code;
    for (uint64_t i = 0; i < d.n; i++) {
        struct member m;
        wrong = take_entry(&z->map, &d, &at, &m);
        if (!wrong && i >= 4096) wrong = "the archive has more than 4096 members";
        if (!wrong && find(z, m.name, m.nname)) wrong = "two members have the same name";
        if (wrong) return thaw_fail(err, THAW_EDATA, "%s: %s (member %" PRIu64 ")", z->path, wrong, i);
        z->members[z->n++] = m;
    }
    return THAW_OK;
}

int thaw_npz_open(struct thaw_npz **out, const char *path, const struct thaw_file_info *expect,
                  struct thaw_err *err) {
    struct thaw_npz *z = NULL;
    int code = thaw_alloc(&z, 1, sizeof *z, "an archive", err);
    if (code != THAW_OK) return code;
    code = thaw_path_copy(z->path, path, err);
    if (code == THAW_OK) code = thaw_map_open(&z->map, path, err);
    if (code == THAW_OK && expect && expect->nbytes != z->map.nbytes)
        code = thaw_fail(err, THAW_EDATA, "%s: has %" PRId64 " bytes, its manifest says %" PRId64, path,
                         z->map.nbytes, expect->nbytes);
    if (code == THAW_OK) code = read_directory(z, err);
    if (code != THAW_OK)
        thaw_npz_close(&z);
    else
        *out = z;
    return code;
}

static const struct member *find_array(const struct thaw_npz *z, const char *name) {
    char file[256];
    int n = snprintf(file, sizeof file, "%s.npy", name);
    return n > 0 && (size_t)n < sizeof file ? find(z, file, (size_t)n) : NULL;
}

bool thaw_npz_has(const struct thaw_npz *z, const char *name) {
    return find_array(z, name) != NULL;
}

int thaw_npz_get(const struct thaw_npz *z, const char *name, struct thaw_npy_shape *shape, const void **data,
                 struct thaw_err *err) {
    const struct member *m = find_array(z, name);
    if (!m) return thaw_fail(err, THAW_EDATA, "%s: has no array \"%s\"", z->path, name);
    char label[THAW_PATH_MAX + 256];
    int64_t at;
    snprintf(label, sizeof label, "%s (array %s)", z->path, name);
    int code = thaw_npy_parse(m->bytes, m->nbytes, label, shape, &at, err);
    if (code == THAW_OK) *data = m->bytes + at;
    return code;
}

int thaw_npz_check(const struct thaw_npz *z, const struct thaw_file_info *expect, struct thaw_err *err) {
    return thaw_map_check(&z->map, z->path, expect, err);
}

void thaw_npz_close(struct thaw_npz **z) {
    if (!z || !*z) return;
    thaw_map_close(&(*z)->map);
    free((*z)->members);
    free(*z);
    *z = NULL;
}
