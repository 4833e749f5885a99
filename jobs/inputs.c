// inputs.c: digests of what steps of `thaw run` read and write.
#include "jobs/inputs.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "proto/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { END_BYTES = 64 << 10 };

// ---- Files and folders ----

static int add_range(struct thaw_digest *d, int fd, char *buffer, int64_t at, const char *path,
                     struct thaw_err *err) {
    size_t n = 0;
    while (n < END_BYTES) {
        ssize_t got = pread(fd, buffer + n, END_BYTES - n, at + (int64_t)n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read", path);
        if (got == 0) break;
        n += (size_t)got;
    }
    thaw_digest_add(d, buffer, n);
    return THAW_OK;
}

static int add_file(struct thaw_digest *d, const char *path, const struct stat *st, struct thaw_err *err) {
    char *buffer = NULL;
    int64_t facts[3] = {st->st_size, st->st_mtim.tv_sec, st->st_mtim.tv_nsec};
    int code = thaw_alloc(&buffer, END_BYTES, 1, "a look at a file", err);
    if (code != THAW_OK) return code;
    thaw_digest_add(d, facts, sizeof facts);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) code = thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot open", path);
    if (code == THAW_OK) code = add_range(d, fd, buffer, 0, path, err);
    if (code == THAW_OK && st->st_size > END_BYTES)
        code = add_range(d, fd, buffer, st->st_size - END_BYTES, path, err);
    if (fd >= 0) close(fd);
    free(buffer);
    return code;
}

static int add_folder(struct thaw_digest *d, const char *path, struct thaw_err *err) {
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort), code = THAW_OK;
    if (n < 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read the folder", path);
    for (int i = 0; i < n; i++) {
        char file[THAW_PATH_MAX];
        struct stat st;
        const char *name = entries[i]->d_name;
        if (code == THAW_OK) code = thaw_path_join(file, path, name, err);
        if (code == THAW_OK && stat(file, &st) == 0 && S_ISREG(st.st_mode)) {
            thaw_digest_add(d, name, strlen(name) + 1);
            code = add_file(d, file, &st, err);
        }
        free(entries[i]);
    }
    free(entries);
    return code;
}

static int path_digest(const char *path, uint64_t *digest, struct thaw_err *err) {
    struct stat st;
    if (stat(path, &st) != 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot find it", path);
    struct thaw_digest *d = thaw_digest_new();
    if (!d) return thaw_fail(err, THAW_EMEM, "not enough memory for a digest");
    int code = S_ISDIR(st.st_mode)   ? add_folder(d, path, err)
               : S_ISREG(st.st_mode) ? add_file(d, path, &st, err)
                                     : thaw_fail(err, THAW_ENOINPUT, "%s: is not a file", path);
    if (code == THAW_OK) *digest = thaw_digest_value(d);
    thaw_digest_free(&d);
    return code;
}

// ---- Manifests ----

static int check_files(const char *dir, Thaw__File *const *files, size_t n, struct thaw_err *err) {
    int code = THAW_OK;
    for (size_t i = 0; code == THAW_OK && i < n; i++) {
        char path[THAW_PATH_MAX];
        struct stat st;
        code = thaw_path_join(path, dir, files[i]->name, err);
        if (code != THAW_OK) break;
        if (stat(path, &st) != 0)
            code = thaw_fail_errno(err, THAW_EDATA, "%s: cannot find it", path);
        else if (st.st_size != files[i]->nbytes)
            code = thaw_fail(err, THAW_EDATA, "%s: wrong length", path);
    }
    return code;
}

// The files a manifest of this type names.
static int check_manifest(const char *dir, const ProtobufCMessage *m, struct thaw_err *err) {
#define CHECK(TYPE, DESCRIPTOR)                                                                              \
    if (m->descriptor == &DESCRIPTOR)                                                                        \
    return check_files(dir, ((const TYPE *)m)->files, ((const TYPE *)m)->n_files, err)
    CHECK(Thaw__Dataset, thaw__dataset__descriptor);
    CHECK(Thaw__Model, thaw__model__descriptor);
    CHECK(Thaw__Prior, thaw__prior__descriptor);
    CHECK(Thaw__Association, thaw__association__descriptor);
    CHECK(Thaw__Generator, thaw__generator__descriptor);
    CHECK(Thaw__Virtual, thaw__virtual__descriptor);
    CHECK(Thaw__Tables, thaw__tables__descriptor);
#undef CHECK
    return thaw_fail(err, THAW_EBUG, "%s: a manifest without files", dir);
}

// A manifest whose files are there.
static int manifest_read(const char *dir, const ProtobufCMessageDescriptor *type, ProtobufCMessage **m,
                         struct thaw_err *err) {
    int code = thaw_pack_read(dir, "manifest.pb", type, m, err);
    if (code != THAW_OK) return code;
    if ((code = check_manifest(dir, *m, err)) == THAW_OK) return THAW_OK;
    protobuf_c_message_free_unpacked(*m, NULL);
    *m = NULL;
    return code;
}

// What `thaw augment` makes up lies in a folder with a manifest of its own.
static int check_virtual(const char *dir, struct thaw_err *err) {
    char made[THAW_PATH_MAX];
    ProtobufCMessage *m = NULL;
    int code = thaw_path_join(made, dir, "virtual", err);
    if (code == THAW_OK) code = manifest_read(made, &thaw__virtual__descriptor, &m, err);
    if (m) protobuf_c_message_free_unpacked(m, NULL);
    return code;
}

// What jobs write and options read: a folder with a manifest, or (versions) with versions side by side.
static const struct {
    const char *job, *option; // option: of the jobs that read it
    const ProtobufCMessageDescriptor *type;
    bool versions;
} folders[] = {
    {"prepare", "data", &thaw__dataset__descriptor, false},
    {"train", "model", &thaw__model__descriptor, true},
    {"prior", "prior", &thaw__prior__descriptor, false},
    {"associate", "association", &thaw__association__descriptor, false},
    {"augment", "generator", &thaw__generator__descriptor, false},
    {"tables", "tables", &thaw__tables__descriptor, true},
};

// Models and tables are versions side by side, `current` among them.
static int folder_read(size_t which, const char *path, ProtobufCMessage **m, struct thaw_err *err) {
    char current[THAW_PATH_MAX];
    int code = thaw_path_join(current, path, "current", err);
    if (code != THAW_OK) return code;
    const bool versions = folders[which].versions && thaw_path_exists(current);
    return manifest_read(versions ? current : path, folders[which].type, m, err);
}

static int folder_digest(size_t which, const char *path, uint64_t *digest, struct thaw_err *err) {
    ProtobufCMessage *m = NULL;
    int code = folder_read(which, path, &m, err);
    if (code == THAW_OK) code = thaw_pack_digest(m, digest, err);
    if (m) protobuf_c_message_free_unpacked(m, NULL);
    return code;
}

int thaw_input_digest(const char *option, const char *path, uint64_t *digest, struct thaw_err *err) {
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strcmp(option, folders[i].option) == 0) return folder_digest(i, path, digest, err);
    return path_digest(path, digest, err);
}

int thaw_output_digest(const char *job, const char *path, uint64_t *digest, struct thaw_err *err) {
    int64_t nbytes;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strcmp(job, folders[i].job) == 0) return folder_digest(i, path, digest, err);
    if (strcmp(job, "evaluate") == 0) return thaw_file_digest(path, digest, &nbytes, err);
    return path_digest(path, digest, err);
}

// ---- Records of runs ----

// The field `run` of a manifest, taken out of it.
static Thaw__Run *take_run(ProtobufCMessage *m) {
    const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(m->descriptor, "run");
    Thaw__Run *run = NULL;
    if (!f) return NULL;
    memcpy(&run, (char *)m + f->offset, sizeof run);
    memset((char *)m + f->offset, 0, sizeof run);
    return run;
}

// A log has no list of its files; their names say how many they are.
static int check_log(const char *path, struct thaw_err *err) {
    char file[THAW_PATH_MAX];
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort), parts = 0, all = 0;
    for (int i = 0, part, of; i < n; i++) {
        if (sscanf(entries[i]->d_name, "events-%d-of-%d.csv", &part, &of) == 2) {
            parts++;
            all = of;
        }
        free(entries[i]);
    }
    free(entries);
    if (parts == 0 || parts != all) return thaw_fail(err, THAW_EDATA, "%s: not all files are there", path);
    static const char *const others[] = {"users.csv", "items.csv"};
    for (int i = 0; i < 2; i++) {
        const int code = thaw_path_join(file, path, others[i], err);
        if (code != THAW_OK) return code;
        if (!thaw_path_exists(file)) return thaw_fail(err, THAW_EDATA, "%s: cannot find it", file);
    }
    return THAW_OK;
}

int thaw_output_run(const char *job, const char *path, Thaw__Run **run, struct thaw_err *err) {
    ProtobufCMessage *m = NULL;
    int code = THAW_ENOINPUT;
    if (strcmp(job, "synth") == 0) {
        if ((code = check_log(path, err)) != THAW_OK ||
            (code = thaw_pack_read(path, "run.pb", &thaw__run__descriptor, &m, err)) != THAW_OK)
            return code;
        *run = (Thaw__Run *)m;
        return THAW_OK;
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (strcmp(job, folders[i].job) == 0) code = folder_read(i, path, &m, err);
    if (code == THAW_OK && strcmp(job, "augment") == 0) code = check_virtual(path, err);
    Thaw__Run *found = code == THAW_OK ? take_run(m) : NULL;
    if (m) protobuf_c_message_free_unpacked(m, NULL);
    if (code == THAW_OK && !found)
        return thaw_fail(err, THAW_EDATA, "%s: its manifest does not tell of a run", path);
    if (code == THAW_OK) *run = found;
    return code;
}
