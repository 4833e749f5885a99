// npz.c: writing stored zip archives of NumPy arrays. Reading is in npz_read.c. Layout after PKWARE's
// APPNOTE.TXT 6.3.
#include "base/npz.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { ALIGN = 64, NAME_MAX_BYTES = 64, DATE = 0x21 /* 1980-01-01: the bytes must not depend on the day */ };
static const uint64_t NEEDS_64 = UINT32_MAX; // this and above do not fit a 32-bit field

struct member {
    char name[NAME_MAX_BYTES]; // with .npy
    uint32_t crc;
    uint64_t nbytes, offset;
};

struct thaw_npz_out {
    struct thaw_file_out *f;
    struct member *members;
    size_t n, cap;
};

// A record being put together; the longest is a local header with its name and padding.
struct record {
    uint8_t bytes[512];
    size_t n;
};

static void put(struct record *r, uint64_t value, size_t width) {
    memcpy(r->bytes + r->n, &value, width); // little-endian, see file.c
    r->n += width;
}

static void put_bytes(struct record *r, const void *bytes, size_t n) {
    memcpy(r->bytes + r->n, bytes, n);
    r->n += n;
}

static uint64_t fit32(uint64_t v) {
    return v < NEEDS_64 ? v : UINT32_MAX;
}

int thaw_npz_create(struct thaw_npz_out **out, const char *path, struct thaw_err *err) {
    struct thaw_npz_out *z = NULL;
    int code = thaw_alloc(&z, 1, sizeof *z, "an archive", err);
    if (code == THAW_OK) code = thaw_file_create(&z->f, path, err);
    if (code != THAW_OK)
        free(z);
    else
        *out = z;
    return code;
}

// Name the next member, which is added to the list only when it is written.
static int next_member(struct thaw_npz_out *z, const char *name, struct member **m, struct thaw_err *err) {
    int code = thaw_grow(&z->members, &z->cap, z->n + 1, sizeof *z->members, "an archive's directory", err);
    if (code != THAW_OK) return code;
    *m = &z->members[z->n];
    int n = snprintf((*m)->name, sizeof(*m)->name, "%s.npy", name);
    if (!*name || n < 0 || (size_t)n >= sizeof(*m)->name)
        return thaw_fail(err, THAW_EBUG, "\"%.80s\" is too short or too long for the name of an array", name);
    for (size_t i = 0; i < z->n; i++)
        if (strcmp(z->members[i].name, (*m)->name) == 0)
            return thaw_fail(err, THAW_EBUG, "array \"%s\" is written twice", name);
    return THAW_OK;
}

// The fields that the local header and the central directory share.
static void put_common(struct record *r, const struct member *m, bool wide, size_t nextra) {
    put(r, wide ? 45 : 20, 2); // version needed
    put(r, 0, 2);              // flags
    put(r, 0, 2);              // stored
    put(r, 0, 2);              // time
    put(r, DATE, 2);
    put(r, m->crc, 4);
    put(r, fit32(m->nbytes), 4);
    put(r, fit32(m->nbytes), 4);
    put(r, strlen(m->name), 2);
    put(r, nextra, 2);
}

static void put_local(struct record *r, const struct member *m) {
    bool wide = m->nbytes >= NEEDS_64;
    size_t zip64 = wide ? 20 : 0, head = 30 + strlen(m->name) + zip64 + 6;
    size_t pad = (ALIGN - (m->offset + head) % ALIGN) % ALIGN;
    put(r, 0x04034b50, 4);
    put_common(r, m, wide, zip64 + 6 + pad);
    put_bytes(r, m->name, strlen(m->name));
    if (wide) {
        put(r, 1, 2);
        put(r, 16, 2);
        put(r, m->nbytes, 8);
        put(r, m->nbytes, 8);
    }
    put(r, 0xd935, 2); // the extra field of Android's zipalign: the alignment, then padding
    put(r, 2 + pad, 2);
    put(r, ALIGN, 2);
    memset(r->bytes + r->n, 0, pad);
    r->n += pad;
}

int thaw_npz_add(struct thaw_npz_out *z, const char *name, const struct thaw_npy_shape *s, const void *data,
                 struct thaw_err *err) {
    struct member *m;
    char header[192];
    size_t nheader = thaw_npy_header(header, s), ndata = (size_t)thaw_npy_nbytes(s);
    int code = next_member(z, name, &m, err);
    if (code != THAW_OK) return code;
    m->crc = (uint32_t)crc32_z(0, (const Bytef *)header, nheader);
    if (ndata > 0) m->crc = (uint32_t)crc32_z(m->crc, data, ndata);
    m->nbytes = nheader + ndata;
    m->offset = (uint64_t)thaw_file_tell(z->f);
    struct record r = {.n = 0};
    put_local(&r, m);
    code = thaw_file_write(z->f, r.bytes, r.n, err);
    if (code == THAW_OK) code = thaw_file_write(z->f, header, nheader, err);
    if (code == THAW_OK) code = thaw_file_write(z->f, data, ndata, err);
    if (code == THAW_OK) z->n++;
    return code;
}

static void put_central(struct record *r, const struct member *m) {
    bool wide_size = m->nbytes >= NEEDS_64, wide_offset = m->offset >= NEEDS_64;
    size_t nwide = (wide_size ? 16U : 0U) + (wide_offset ? 8U : 0U);
    put(r, 0x02014b50, 4);
    put(r, 3 << 8 | 45, 2); // made by: Unix, so that the attributes below are a mode
    put_common(r, m, nwide > 0, nwide ? 4 + nwide : 0);
    put(r, 0, 2);                          // comment
    put(r, 0, 2);                          // disk
    put(r, 0, 2);                          // internal attributes
    put(r, (uint64_t)(0100644U) << 16, 4); // a plain file
    put(r, fit32(m->offset), 4);
    put_bytes(r, m->name, strlen(m->name));
    if (nwide == 0) return;
    put(r, 1, 2);
    put(r, nwide, 2);
    if (wide_size) {
        put(r, m->nbytes, 8);
        put(r, m->nbytes, 8);
    }
    if (wide_offset) put(r, m->offset, 8);
}

static void put_end(struct record *r, uint64_t n, uint64_t start, uint64_t nbytes) {
    if (n >= UINT16_MAX || start >= NEEDS_64 || nbytes >= NEEDS_64) {
        put(r, 0x06064b50, 4); // the zip64 end record
        put(r, 44, 8);
        put(r, 3 << 8 | 45, 2);
        put(r, 45, 2);
        put(r, 0, 8); // disks
        put(r, n, 8);
        put(r, n, 8);
        put(r, nbytes, 8);
        put(r, start, 8);
        put(r, 0x07064b50, 4); // its locator
        put(r, 0, 4);
        put(r, start + nbytes, 8);
        put(r, 1, 4);
    }
    uint64_t n16 = n < UINT16_MAX ? n : UINT16_MAX;
    put(r, 0x06054b50, 4);
    put(r, 0, 4); // disks
    put(r, n16, 2);
    put(r, n16, 2);
    put(r, fit32(nbytes), 4);
    put(r, fit32(start), 4);
    put(r, 0, 2); // comment
}

static int write_directory(struct thaw_npz_out *z, struct thaw_err *err) {
    uint64_t start = (uint64_t)thaw_file_tell(z->f);
    for (size_t i = 0; i < z->n; i++) {
        struct record r = {.n = 0};
        put_central(&r, &z->members[i]);
        int code = thaw_file_write(z->f, r.bytes, r.n, err);
        if (code != THAW_OK) return code;
    }
    struct record r = {.n = 0};
    put_end(&r, z->n, start, (uint64_t)thaw_file_tell(z->f) - start);
    return thaw_file_write(z->f, r.bytes, r.n, err);
}

int thaw_npz_commit(struct thaw_npz_out **out, struct thaw_file_info *info, struct thaw_err *err) {
    int code = write_directory(*out, err);
    if (code == THAW_OK) code = thaw_file_commit(&(*out)->f, info, err);
    thaw_npz_discard(out);
    return code;
}

void thaw_npz_discard(struct thaw_npz_out **out) {
    if (!out || !*out) return;
    thaw_file_discard(&(*out)->f);
    free((*out)->members);
    free(*out);
    *out = NULL;
}
