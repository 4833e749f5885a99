// pack.c: protobuf messages in files.
#include "proto/pack.h"
#include "base/hash.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "THAWPB1\n";
enum { ENVELOPE = 16 };
static const int64_t MANIFEST_MAX = (int64_t)1 << 30;

int thaw_pack_write(const char *dir, const char *name, const ProtobufCMessage *message,
                    struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    uint8_t *bytes = NULL;
    size_t n = protobuf_c_message_get_packed_size(message);
    int code = thaw_path_join(path, dir, name, err);
    if (code != THAW_OK) return code;
    code = thaw_alloc(&bytes, ENVELOPE + n, 1, "a manifest", err);
    if (code != THAW_OK) return code;
    protobuf_c_message_pack(message, bytes + ENVELOPE);
    uint64_t sum = thaw_hash_id(bytes + ENVELOPE, n);
    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + sizeof magic, &sum, sizeof sum);
    code = thaw_file_put(path, bytes, ENVELOPE + n, NULL, err);
    free(bytes);
    return code;
}

static int unpack(const struct thaw_map *map, const char *path, const ProtobufCMessageDescriptor *type,
                  ProtobufCMessage **message, struct thaw_err *err) {
    uint64_t sum;
    if (map->nbytes < ENVELOPE || memcmp(map->base, magic, sizeof magic) != 0)
        return thaw_fail(err, THAW_EDATA, "%s: is no manifest of Thaw", path);
    if (map->nbytes > MANIFEST_MAX)
        return thaw_fail(err, THAW_EDATA, "%s: has %" PRId64 " bytes, a manifest has at most %" PRId64, path,
                         map->nbytes, MANIFEST_MAX);
    size_t n = (size_t)map->nbytes - ENVELOPE;
    memcpy(&sum, map->base + sizeof magic, sizeof sum);
    if (thaw_hash_id(map->base + ENVELOPE, n) != sum)
        return thaw_fail(err, THAW_EDATA, "%s: checksum mismatch, the manifest is damaged", path);
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, n, map->base + ENVELOPE);
    if (!m)
        return thaw_fail(err, THAW_EDATA, "%s: another kind of manifest, not %s: is this the right folder?",
                         path, type->name);
    *message = m;
    return THAW_OK;
}

int thaw_pack_read(const char *dir, const char *name, const ProtobufCMessageDescriptor *type,
                   ProtobufCMessage **message, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_map map;
    int code = thaw_path_join(path, dir, name, err);
    if (code == THAW_OK && strcmp(name, "manifest.pb") == 0 && !thaw_path_exists(path))
        code = thaw_fail(err, THAW_ENOINPUT,
                         "%s: no manifest.pb here: is this the right folder, and is it finished?", dir);
    if (code == THAW_OK) code = thaw_map_open(&map, path, err);
    if (code != THAW_OK) return code;
    code = unpack(&map, path, type, message, err);
    thaw_map_close(&map);
    return code;
}

int thaw_pack_digest(const ProtobufCMessage *message, uint64_t *digest, struct thaw_err *err) {
    const ProtobufCMessageDescriptor *type = message->descriptor;
    static const char *const left_out[] = {"run", "dataset"}; // who wrote it, and where the dataset lay
    ProtobufCMessage *copy = NULL;                            // shallow: its fields stay the caller's
    uint8_t *bytes = NULL;
    int code = thaw_alloc(&copy, 1, type->sizeof_message, "a manifest", err);
    if (code != THAW_OK) return code;
    memcpy(copy, message, type->sizeof_message);
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++) {
        const ProtobufCFieldDescriptor *f =
            protobuf_c_message_descriptor_get_field_by_name(type, left_out[i]);
        if (f && (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING) &&
            f->label != PROTOBUF_C_LABEL_REPEATED)
            memset((char *)copy + f->offset, 0, sizeof(void *));
    }
    size_t n = protobuf_c_message_get_packed_size(copy);
    code = thaw_alloc(&bytes, n, 1, "a manifest", err);
    if (code == THAW_OK) {
        protobuf_c_message_pack(copy, bytes);
        *digest = thaw_hash_id(bytes, n);
    }
    free(bytes);
    free(copy);
    return code;
}

const Thaw__File *thaw_pack_find(Thaw__File *const *files, size_t nfiles, const char *name,
                                 struct thaw_file_info *info) {
    for (size_t i = 0; i < nfiles; i++) {
        const Thaw__File *f = files[i];
        int32_t nsums;
        if (strcmp(f->name, name) != 0) continue;
        if (!thaw_fits_int((int64_t)f->n_sums, &nsums)) return NULL;
        if (info) *info = (struct thaw_file_info){.nbytes = f->nbytes, .sums = f->sums, .nsums = nsums};
        return f;
    }
    return NULL;
}

int thaw_pack_check_name(const char *name, const char *manifest, struct thaw_err *err) {
    bool safe = *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    for (const char *c = name; *c; c++) safe = safe && *c != '/' && (unsigned char)*c >= ' ' && *c != 127;
    if (safe) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s: names the file \"%.100s\", which cannot lie in its folder",
                     manifest, name);
}

const char *thaw_pack_model_name(const Thaw__Als *als) {
    switch (als->model) {
    case THAW__ALS__MODEL__IMPLICIT_HU:
        return "implicit (Hu et al. 2008)";
    case THAW__ALS__MODEL__IMPLICIT_RENDLE:
        return "implicit (Rendle et al. 2022)";
    case THAW__ALS__MODEL__EXPLICIT:
        return als->biases ? "explicit with biases (ALS-WR)" : "explicit (ALS-WR)";
    default:
        return "unknown";
    }
}

const char *thaw_pack_method_name(Thaw__Association__Method method) {
    switch (method) {
    case THAW__ASSOCIATION__METHOD__EPISODIC:
        return "episodic";
    case THAW__ASSOCIATION__METHOD__EASE:
        return "ease";
    case THAW__ASSOCIATION__METHOD__KNN:
        return "knn";
    default:
        return "unknown";
    }
}
