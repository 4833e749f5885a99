// source.c: listing input files and cutting them into units.
#include "partition/source.h"

#include "base/mem.h"
#include "partition/unpack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PACKED_FACTOR = 4 }; // what compressed text is taken to grow to when work is shared out

struct lister {
    struct thaw_sources *s;
    size_t file_cap, unit_cap;
    int64_t unit_bytes;
};

// Packing by the first bytes. UTF-16 would make every line bad for a reason hard to guess, so it is refused
// here.
static int tell_packing(struct thaw_source *file, struct thaw_err *err) {
    unsigned char head[4];
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", file->path);
    ssize_t n;
    do n = pread(fd, head, sizeof head, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        int code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read", file->path);
        close(fd);
        return code;
    }
    close(fd);
    if (n >= 2 && ((head[0] == 0xff && head[1] == 0xfe) || (head[0] == 0xfe && head[1] == 0xff)))
        return thaw_fail(err, THAW_EDATA,
                         "%s: is UTF-16 text; convert it to UTF-8 first (iconv -f UTF-16 -t UTF-8)",
                         file->path);
    file->packing = thaw_unpack_tell(head, (size_t)n);
    return THAW_OK;
}

static int add_units(struct lister *l, int32_t number, const struct thaw_source *file, struct thaw_err *err) {
    struct thaw_sources *s = l->s;
    int64_t step = file->packing == THAW_PACKING_NONE ? l->unit_bytes : file->nbytes;
    for (int64_t begin = 0; begin < file->nbytes; begin += step) {
        int code =
            thaw_grow(&s->unit, &l->unit_cap, (size_t)s->nunits + 1, sizeof *s->unit, "units of input", err);
        if (code != THAW_OK) return code;
        if (step > file->nbytes - begin) step = file->nbytes - begin;
        s->unit[s->nunits++] = (struct thaw_unit){.file = number, .begin = begin, .end = begin + step};
    }
    return THAW_OK;
}

static int add_file(struct lister *l, const char *path, int64_t nbytes, struct thaw_err *err) {
    struct thaw_sources *s = l->s;
    if (s->nfiles == INT32_MAX) return thaw_fail(err, THAW_EUSAGE, "%s: too many input files", path);
    int code = thaw_grow(&s->file, &l->file_cap, (size_t)s->nfiles + 1, sizeof *s->file, "input files", err);
    if (code != THAW_OK) return code;
    struct thaw_source *file = &s->file[s->nfiles];
    *file = (struct thaw_source){.path = strdup(path), .nbytes = nbytes};
    if (file->path == NULL) return thaw_fail(err, THAW_EMEM, "cannot allocate the name of %s", path);
    s->nfiles++;
    s->nbytes += nbytes;
    code = tell_packing(file, err);
    return code != THAW_OK ? code : add_units(l, s->nfiles - 1, file, err);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name); // bytes: alphasort would follow the locale
}

// Not hidden, and no lock of a folder beside it (base/lock.h).
static int visible(const struct dirent *d) {
    const size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && (n < 5 || strcmp(d->d_name + n - 5, ".lock") != 0);
}

static int add_entry(struct lister *l, const char *dir, const char *name, struct thaw_err *err) {
    char *path = NULL;
    struct stat st;
    size_t end = strlen(dir);
    const char *slash = end > 0 && dir[end - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%s%s%s", dir, slash, name) < 0)
        return thaw_fail(err, THAW_EMEM, "cannot allocate the name of a file of %s", dir);
    int code = THAW_OK;
    if (stat(path, &st) != 0)
        code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", path);
    else if (S_ISREG(st.st_mode))
        code = add_file(l, path, st.st_size, err);
    free(path);
    return code;
}

static int add_folder(struct lister *l, const char *dir, struct thaw_err *err) {
    struct dirent **entry = NULL;
    int32_t before = l->s->nfiles;
    int n = scandir(dir, &entry, visible, by_name);
    if (n < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot list the folder", dir);
    int code = THAW_OK;
    for (int i = 0; i < n; i++) {
        if (code == THAW_OK) code = add_entry(l, dir, entry[i]->d_name, err);
        free(entry[i]);
    }
    free(entry);
    if (code == THAW_OK && l->s->nfiles == before)
        code = thaw_fail(err, THAW_EDATA, "%s: the folder has no files in it", dir);
    return code;
}

static int add_path(struct lister *l, const char *path, struct thaw_err *err) {
    struct stat st;
    if (stat(path, &st) != 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", path);
    if (S_ISDIR(st.st_mode)) return add_folder(l, path, err);
    if (S_ISREG(st.st_mode)) return add_file(l, path, st.st_size, err);
    return thaw_fail(err, THAW_EDATA,
                     "%s: neither a file nor a folder; input must be readable more than once", path);
}

int thaw_sources_open(struct thaw_sources **out, const char *const *paths, int npaths, int64_t unit_bytes,
                      struct thaw_err *err) {
    struct lister l = {.unit_bytes = unit_bytes > 0 ? unit_bytes : THAW_UNIT_BYTES};
    int code = thaw_alloc(&l.s, 1, sizeof *l.s, "the list of input files", err);
    for (int i = 0; i < npaths && code == THAW_OK; i++) code = add_path(&l, paths[i], err);
    if (code == THAW_OK && l.s->nfiles == 0) code = thaw_fail(err, THAW_EUSAGE, "no input files were given");
    if (code == THAW_OK)
        *out = l.s;
    else
        thaw_sources_close(&l.s);
    return code;
}

void thaw_sources_close(struct thaw_sources **ps) {
    struct thaw_sources *s = *ps;
    if (s == NULL) return;
    for (int32_t i = 0; i < s->nfiles; i++) free(s->file[i].path);
    free(s->file);
    free(s->unit);
    free(s);
    *ps = NULL;
}

static int64_t unit_weight(const struct thaw_sources *s, int64_t unit) {
    const struct thaw_unit *u = &s->unit[unit];
    int64_t nbytes = u->end - u->begin;
    return s->file[u->file].packing == THAW_PACKING_NONE ? nbytes : nbytes * PACKED_FACTOR;
}

// A unit belongs to the rank in whose share of the bytes its middle lies.
void thaw_sources_share(const struct thaw_sources *s, int nranks, int rank, int64_t *first, int64_t *last) {
    int64_t total = 0, at = 0, unit = 0;
    for (int64_t i = 0; i < s->nunits; i++) total += unit_weight(s, i);
    int64_t bound[2];
    for (int side = 0; side < 2; side++) {
        int64_t r = rank + side;
        int64_t from = total / nranks * r + total % nranks * r / nranks;
        for (; unit < s->nunits; unit++) {
            int64_t weight = unit_weight(s, unit);
            if (at + weight / 2 >= from && r < nranks) break;
            at += weight;
        }
        bound[side] = unit;
    }
    *first = bound[0];
    *last = bound[1];
}
