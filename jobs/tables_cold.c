// tables_cold.c: see tables_cold.h.
#include "jobs/tables_cold.h"

#include "base/mem.h"
#include "base/npy.h"
#include "cold/cold.h"
#include "proto/pack.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- Manifests ----

static int belongs(const char *dir, const char *what, uint64_t digest, uint64_t wanted,
                   struct thaw_err *err) {
    if (digest == wanted) return THAW_OK;
    return thaw_fail(err, THAW_EDATA,
                     "%s was made for a %s of digest %016" PRIx64 ", these tables are of %016" PRIx64
                     ": make it anew for this one",
                     dir, what, digest, wanted);
}

static int folder_read(const char *dir, const ProtobufCMessageDescriptor *type, void *out,
                       struct thaw_err *err) {
    ProtobufCMessage *message = NULL;
    int code = dir ? thaw_pack_read(dir, "manifest.pb", type, &message, err) : THAW_OK;
    memcpy(out, &message, sizeof(void *));
    return code;
}

static int blend_read(const char *path, Thaw__Blend **blend, struct thaw_err *err) {
    char dir[THAW_PATH_MAX];
    ProtobufCMessage *message = NULL;
    if (!path) return THAW_OK;
    const char *slash = strrchr(path, '/');
    const int n = slash == path ? 1 : slash ? (int)(slash - path) : 1;
    if (n >= THAW_PATH_MAX) return thaw_fail(err, THAW_EUSAGE, "the path is too long: %.100s...", path);
    snprintf(dir, sizeof dir, "%.*s", n, slash ? path : ".");
    int code = thaw_pack_read(dir, slash ? slash + 1 : path, &thaw__blend__descriptor, &message, err);
    *blend = (Thaw__Blend *)message;
    return code;
}

// Numbers found on another dataset say nothing of this one, unless someone insists.
static int blend_check(struct thaw_tables_cold *t, const struct thaw_dataset *data, bool force,
                       struct thaw_err *err) {
    if (!t->blend || t->blend->dataset_digest == data->digest) return THAW_OK;
    if (!force)
        return thaw_fail(err, THAW_EDATA,
                         "%s was tuned on a dataset of digest %016" PRIx64 ", these tables are of %016" PRIx64
                         ": tune it anew, or take it all the same with --force",
                         t->blend_file, t->blend->dataset_digest, data->digest);
    t->blend_foreign = true;
    t->blend->dataset_digest = data->digest;
    return THAW_OK;
}

int thaw_tables_cold_open(struct thaw_tables_cold *t, const struct thaw_dataset *data,
                          const struct thaw_model *model, bool force, struct thaw_err *err) {
    int code = folder_read(t->prior_dir, &thaw__prior__descriptor, &t->prior, err);
    if (!code) code = folder_read(t->association_dir, &thaw__association__descriptor, &t->association, err);
    if (!code) code = folder_read(t->generator_dir, &thaw__generator__descriptor, &t->generator, err);
    if (!code) code = blend_read(t->blend_file, &t->blend, err);
    if (!code && t->prior)
        code = belongs(t->prior_dir, "dataset", t->prior->dataset_digest, data->digest, err);
    if (!code && t->prior) code = belongs(t->prior_dir, "model", t->prior->model_digest, model->digest, err);
    if (!code && t->association)
        code = belongs(t->association_dir, "dataset", t->association->dataset_digest, data->digest, err);
    if (!code && t->association && t->association->model_digest)
        code = belongs(t->association_dir, "model", t->association->model_digest, model->digest, err);
    if (!code && t->generator)
        code = belongs(t->generator_dir, "dataset", t->generator->dataset_digest, data->digest, err);
    return code ? code : blend_check(t, data, force, err);
}

void thaw_tables_cold_clear(struct thaw_tables_cold *t) {
    if (t->prior) thaw__prior__free_unpacked(t->prior, NULL);
    if (t->association) thaw__association__free_unpacked(t->association, NULL);
    if (t->generator) thaw__generator__free_unpacked(t->generator, NULL);
    if (t->blend) thaw__blend__free_unpacked(t->blend, NULL);
    *t = (struct thaw_tables_cold){0};
}

int thaw_tables_cold_check(const struct thaw_tables_cold *t, const struct thaw_model *model,
                           struct thaw_err *err) {
    const size_t k = (size_t)model->manifest->als->factors;
    double *none = NULL; // a gramian that nobody asks for
    struct thaw_cold *c = NULL;
    int code = thaw_alloc(&none, k * k, sizeof *none, "a gramian", err);
    const struct thaw_cold_source s = {.items_dir = model->dir,
                                       .items = model->manifest->items,
                                       .als = model->manifest->als,
                                       .prior_dir = t->prior_dir,
                                       .association_dir = t->association_dir,
                                       .generator_dir = t->generator_dir,
                                       .prior = t->prior,
                                       .association = t->association,
                                       .generator = t->generator,
                                       .blend = t->blend,
                                       .gramian = none};
    if (!code) code = thaw_cold_open(&c, &s, err);
    thaw_cold_close(&c);
    free(none);
    return code;
}

// ---- Files ----

// One file to copy.
struct source {
    const char *dir;
    const Thaw__File *file;
    int64_t columns; // of a profile part that is to be stored by column, else 0
};

static bool is_profile(const char *name) {
    return strstr(name, ".profile-") != NULL;
}

// The folders' files one after the other. False behind the last one.
static bool source_at(const struct thaw_tables_cold *t, size_t at, struct source *s) {
    const size_t prior = t->prior ? t->prior->n_files : 0,
                 association = t->association ? t->association->n_files : 0;
    *s = (struct source){0};
    if (at < prior) {
        *s = (struct source){t->prior_dir, t->prior->files[at], 0};
    } else if ((at -= prior) < association) {
        const Thaw__File *file = t->association->files[at];
        *s = (struct source){t->association_dir, file,
                             is_profile(file->name) ? 1 + (int64_t)t->association->features : 0};
    } else if ((at -= association) < (t->generator ? t->generator->n_files : 0)) {
        *s = (struct source){t->generator_dir, t->generator->files[at], 0};
    }
    return s->file != NULL;
}

// What a file is called in the tables.
static int target_name(char name[THAW_PATH_MAX], const struct source *s, struct thaw_err *err) {
    const char *place = s->columns ? strstr(s->file->name, ".profile-") : NULL;
    int code = thaw_pack_check_name(s->file->name, s->dir, err);
    if (code) return code;
    if (strlen(s->file->name) > 200 ||
        (strncmp(s->file->name, "prior.", 6) && strncmp(s->file->name, "associate.", 10) &&
         strncmp(s->file->name, "generator.", 10)))
        return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: names a file %.100s", s->dir, s->file->name);
    if (place)
        snprintf(name, THAW_PATH_MAX, "%.*s.columns-%s", (int)(place - s->file->name), s->file->name,
                 place + strlen(".profile-"));
    else
        snprintf(name, THAW_PATH_MAX, "%s", s->file->name);
    return THAW_OK;
}

static int transposed_write(const struct thaw_map *map, const char *from, const char *path, int64_t columns,
                            struct thaw_file_info *info, struct thaw_err *err) {
    struct thaw_npy_shape shape;
    struct thaw_file_out *out = NULL;
    float *row = NULL;
    int64_t at;
    int code = thaw_npy_parse(map->base, map->nbytes, from, &shape, &at, err);
    if (!code && (shape.type != THAW_NPY_F32 || shape.ndim != 2 || shape.cols != columns))
        code = thaw_fail(err, THAW_EDATA, "%s: %" PRId64 " columns, not %" PRId64, from, shape.cols, columns);
    if (code) return code;
    const float *x = (const float *)(const void *)(map->base + at);
    const struct thaw_npy_shape turned = {THAW_NPY_F32, 2, columns, shape.rows, 4};
    code = thaw_alloc(&row, (size_t)shape.rows, sizeof *row, "a profile column", err);
    if (!code) code = thaw_npy_create(&out, path, &turned, err);
    for (int64_t c = 0; !code && c < columns; c++) {
        for (int64_t r = 0; r < shape.rows; r++) row[r] = x[r * columns + c];
        code = thaw_file_write(out, row, (size_t)shape.rows * sizeof *row, err);
    }
    if (!code) code = thaw_file_commit(&out, info, err);
    if (out) thaw_file_discard(&out);
    free(row);
    return code;
}

static int copy(const struct source *s, const char *dir, Thaw__File **entry, struct thaw_err *err) {
    char from[THAW_PATH_MAX], path[THAW_PATH_MAX], name[THAW_PATH_MAX];
    const struct thaw_file_info expect = {s->file->nbytes, s->file->sums, (int32_t)s->file->n_sums};
    struct thaw_file_info info = {0};
    struct thaw_map map = {0};
    int code = target_name(name, s, err);
    if (!code) code = thaw_path_join(from, s->dir, s->file->name, err);
    if (!code) code = thaw_path_join(path, dir, name, err);
    if (!code) code = thaw_map_open(&map, from, err);
    if (code) return code;
    code = thaw_map_check(&map, from, &expect, err);
    if (!code && s->columns)
        code = transposed_write(&map, from, path, s->columns, &info, err);
    else if (!code)
        code = thaw_file_put(path, map.base, (size_t)map.nbytes, &info, err);
    if (!code) code = thaw_table_file_new(entry, name, &info, err);
    thaw_file_info_clear(&info);
    thaw_map_close(&map);
    return code;
}

static size_t file_count(const struct thaw_tables_cold *t) {
    return (t->prior ? t->prior->n_files : 0) + (t->association ? t->association->n_files : 0) +
           (t->generator ? t->generator->n_files : 0);
}

int thaw_tables_cold_copy(const struct thaw_tables_cold *t, const char *dir, int rank, int size,
                          Thaw__Tables *list, size_t *cap, struct thaw_err *err) {
    const size_t n = file_count(t), first = n * (size_t)rank / (size_t)size,
                 end = n * ((size_t)rank + 1) / (size_t)size;
    int code = THAW_OK;
    for (size_t i = first; !code && i < end; i++) {
        struct source s;
        code = thaw_grow(&list->files, cap, list->n_files + 1, sizeof(*list->files), "file entries", err);
        if (!code && source_at(t, i, &s)) code = copy(&s, dir, &list->files[list->n_files], err);
        if (!code) list->n_files++;
    }
    return code;
}

// ---- The manifest ----

static void swap(size_t *a, size_t *b) {
    const size_t was = *a;
    *a = *b;
    *b = was;
}

// A message's number of files is 0 while it is lent.
static void swap_files(struct thaw_tables_cold *t) {
    if (t->prior) swap(&t->prior->n_files, &t->lent[0]);
    if (t->association) swap(&t->association->n_files, &t->lent[1]);
    if (t->generator) swap(&t->generator->n_files, &t->lent[2]);
}

void thaw_tables_cold_lend(struct thaw_tables_cold *t, Thaw__Tables *m) {
    swap_files(t);
    m->prior = t->prior;
    m->association = t->association;
    m->generator = t->generator;
    m->blend = t->blend;
}

void thaw_tables_cold_take_back(struct thaw_tables_cold *t, Thaw__Tables *m) {
    swap_files(t);
    m->prior = NULL;
    m->association = NULL;
    m->generator = NULL;
    m->blend = NULL;
}

// Equal but for the run and the files.
static bool same(const void *wanted, size_t *nfiles, const void *published) {
    uint64_t a = 0, b = 1;
    if (!wanted || !published) return !wanted && !published;
    const size_t n = nfiles ? *nfiles : 0;
    if (nfiles) *nfiles = 0;
    const bool made =
        thaw_pack_digest(wanted, &a, NULL) == THAW_OK && thaw_pack_digest(published, &b, NULL) == THAW_OK;
    if (nfiles) *nfiles = n;
    return made && a == b;
}

static bool holds(const Thaw__Tables *m, size_t from, const struct source *s) {
    if (s->columns) return true; // stored another way; its neighbours' files say enough
    struct thaw_file_info info;
    const Thaw__File *file = thaw_pack_find(m->files + from, m->n_files - from, s->file->name, &info);
    return file && file->nbytes == s->file->nbytes && file->n_sums == s->file->n_sums &&
           (!file->n_sums || !memcmp(file->sums, s->file->sums, file->n_sums * sizeof *file->sums));
}

bool thaw_tables_cold_same(const struct thaw_tables_cold *t, const Thaw__Tables *m) {
    const size_t n = file_count(t);
    struct source s;
    if (!same(t->prior, t->prior ? &t->prior->n_files : NULL, m->prior) ||
        !same(t->association, t->association ? &t->association->n_files : NULL, m->association) ||
        !same(t->generator, t->generator ? &t->generator->n_files : NULL, m->generator) ||
        !same(t->blend, NULL, m->blend) || n > m->n_files)
        return false;
    for (size_t i = 0; i < n && source_at(t, i, &s); i++)
        if (!holds(m, m->n_files - n, &s)) return false;
    return true;
}
