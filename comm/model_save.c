// model_save.c: writing a version of a model. See model.h.
#include "comm/model.h"

#include "base/log.h"
#include "base/mem.h"
#include "comm/versions.h"
#include "proto/pack.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// A file that a rank has written, as rank 0 hears of it; its nsums sums follow.
struct entry {
    int32_t side, part;
    int64_t nbytes, nsums;
};

struct entries { // one behind the other
    uint64_t *word;
    size_t n, cap; // words
};

struct thaw_model_save {
    char *out;               // OUT
    char dir[THAW_PATH_MAX]; // OUT/iteration-000010.tmp
    int number, rank, columns;
    struct thaw_plan plan[2]; // borrowed arrays
    const float *rows[2];     // borrowed or owned
    float *owned[2];
    uint8_t *manifest; // rank 0: packed as it was when this began
    size_t manifest_bytes;
    pthread_t thread;
    bool running; // the thread is to be joined
    // The writer's until `ended`:
    struct entries entries;
    double write_s;
    int code;
    struct thaw_err err;
    atomic_bool ended;
};

// ---- The files of a rank: the writer ----

static int entries_add(struct entries *e, const struct entry *entry, const uint64_t *sums,
                       struct thaw_err *err) {
    const size_t head = sizeof *entry / sizeof(uint64_t), n = (size_t)entry->nsums;
    const int code =
        thaw_grow(&e->word, &e->cap, e->n + head + n, sizeof *e->word, "the model's manifest", err);
    if (code) return code;
    memcpy(e->word + e->n, entry, sizeof *entry);
    if (n) memcpy(e->word + e->n + head, sums, n * sizeof *sums);
    e->n += head + n;
    return THAW_OK;
}

static int write_parts(struct thaw_model_save *s, enum thaw_side side, struct thaw_err *err) {
    const struct thaw_plan *plan = &s->plan[side];
    int code = THAW_OK;
    for (int32_t p = plan->first_part[s->rank]; !code && p < plan->first_part[s->rank + 1]; p++) {
        char name[THAW_PART_FILE], path[THAW_PATH_MAX];
        struct thaw_file_info info = {0};
        const struct thaw_npy_shape shape =
            thaw_model_shape(plan->first_row[p + 1] - plan->first_row[p], s->columns);
        const int64_t first = plan->first_row[p] - plan->rank_row[s->rank];
        thaw_part_file(name, side, p, plan->nparts, "npy");
        code = thaw_path_join(path, s->dir, name, err);
        if (!code) code = thaw_npy_put(path, &shape, s->rows[side] + first * s->columns, &info, err);
        if (!code) {
            const struct entry entry = {
                .side = (int32_t)side, .part = p, .nbytes = info.nbytes, .nsums = info.nsums};
            code = entries_add(&s->entries, &entry, info.sums, err);
        }
        thaw_file_info_clear(&info);
    }
    return code;
}

static void *write_files(void *user) {
    struct thaw_model_save *s = user;
    const double began = thaw_time_s();
    for (int side = 0; side < 2; side++) {
        if (!s->code) s->code = write_parts(s, (enum thaw_side)side, &s->err);
        free(s->owned[side]);
        s->owned[side] = NULL;
    }
    s->write_s = thaw_time_s() - began;
    atomic_store(&s->ended, true);
    return NULL;
}

// Signals are for the threads that were there before: this one would take them in the middle of a write.
static void start_writer(struct thaw_model_save *s) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->running = pthread_create(&s->thread, NULL, write_files, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->running) write_files(s); // no thread to be had: wait here
}

// ---- The manifest: rank 0 ----

static int file_entry(Thaw__File **out, const struct entry *e, const uint64_t *sums, int32_t nparts,
                      struct thaw_err *err) {
    char name[THAW_PART_FILE];
    Thaw__File *f = malloc(sizeof *f);
    if (!f) return thaw_fail(err, THAW_EMEM, "no memory for the model's manifest");
    thaw__file__init(f);
    *out = f;
    f->name = strdup(thaw_part_file(name, (enum thaw_side)e->side, e->part, nparts, "npy"));
    f->nbytes = e->nbytes;
    f->sums = malloc((size_t)e->nsums * sizeof *f->sums + 1);
    if (!f->name || !f->sums) return thaw_fail(err, THAW_EMEM, "no memory for the model's manifest");
    f->n_sums = (size_t)e->nsums;
    if (f->n_sums) memcpy(f->sums, sums, f->n_sums * sizeof *f->sums);
    return THAW_OK;
}

// Entries of all files in part order, users first.
static int files_fill(Thaw__Model *manifest, const uint64_t *word, size_t nwords, int32_t nparts,
                      struct thaw_err *err) {
    const size_t head = sizeof(struct entry) / sizeof *word, nfiles = 2 * (size_t)nparts;
    int code = thaw_alloc(&manifest->files, nfiles, sizeof *manifest->files, "the model's manifest", err);
    if (code) return code;
    manifest->n_files = nfiles;
    for (size_t at = 0; !code && at + head <= nwords;) {
        struct entry e;
        memcpy(&e, word + at, sizeof e);
        code = file_entry(&manifest->files[(size_t)e.side * (size_t)nparts + (size_t)e.part], &e,
                          word + at + head, nparts, err);
        at += head + (size_t)e.nsums;
    }
    for (size_t i = 0; !code && i < nfiles; i++)
        if (!manifest->files[i]) code = thaw_fail(err, THAW_EBUG, "no rank wrote file %zu of the model", i);
    return code;
}

static void manifest_free(Thaw__Model *m) {
    size_t n = 0; // entries that are there: free_unpacked takes no holes
    for (size_t i = 0; i < m->n_files; i++)
        if (m->files[i]) m->files[n++] = m->files[i];
    m->n_files = n;
    thaw__model__free_unpacked(m, NULL);
}

// entries: of all ranks. *nbytes: of all files.
static int put_manifest(const struct thaw_model_save *s, const void *entries, size_t entries_bytes,
                        int64_t *nbytes, struct thaw_err *err) {
    Thaw__Model *m = thaw__model__unpack(NULL, s->manifest_bytes, s->manifest);
    if (!m) return thaw_fail(err, THAW_EMEM, "no memory for the model's manifest");
    int code = files_fill(m, entries, entries_bytes / sizeof(uint64_t), s->plan[0].nparts, err);
    if (!code) code = thaw_pack_write(s->dir, "manifest.pb", &m->base, err);
    *nbytes = 0;
    for (size_t i = 0; !code && i < m->n_files; i++) *nbytes += m->files[i]->nbytes;
    manifest_free(m);
    return code;
}

// ---- Beginning ----

static int make_folder(const struct thaw_model_save *s, struct thaw_err *err) {
    int code = thaw_dir_make(s->out, err);
    if (!code) code = thaw_dir_remove(s->dir, err);
    if (!code) code = thaw_dir_make(s->dir, err);
    return code;
}

static int keep_manifest(struct thaw_model_save *s, const Thaw__Model *manifest, struct thaw_err *err) {
    s->manifest_bytes = thaw__model__get_packed_size(manifest);
    const int code = thaw_alloc(&s->manifest, s->manifest_bytes, 1, "the model's manifest", err);
    if (!code) thaw__model__pack(manifest, s->manifest);
    return code;
}

static void save_free(struct thaw_model_save **save) {
    struct thaw_model_save *s = *save;
    if (!s) return;
    for (int side = 0; side < 2; side++) free(s->owned[side]);
    free(s->manifest);
    free(s->entries.word);
    free(s->out);
    free(s);
    *save = NULL;
}

// Collective. Everything but the files.
static int prepare(struct thaw_model_save **out, struct thaw_comm *c, const char *folder, int number,
                   const Thaw__Model *manifest, const struct thaw_plan plan[2], struct thaw_err *err) {
    const bool first = thaw_comm_rank(c) == 0;
    char name[THAW_VERSION_NAME];
    struct thaw_model_save *s = NULL;
    int code = thaw_alloc(&s, 1, sizeof *s, "a checkpoint", err);
    if (!code && !(s->out = strdup(folder))) code = thaw_fail(err, THAW_EMEM, "no memory for a checkpoint");
    if (!code) code = thaw_path_join(s->dir, folder, thaw_version_name(name, number, ".tmp"), err);
    if (!code) {
        s->number = number;
        s->rank = thaw_comm_rank(c);
        s->columns = manifest->als->factors + (manifest->als->biases ? 1 : 0);
        s->err = THAW_ERR_INIT;
        for (int side = 0; side < 2; side++) s->plan[side] = plan[side];
    }
    if (!code && first) code = keep_manifest(s, manifest, err);
    if (!code && first) code = make_folder(s, err);
    if ((code = thaw_comm_agree(c, code, err)))
        save_free(&s);
    else
        *out = s;
    return code;
}

int thaw_model_save_begin(struct thaw_model_save **s, struct thaw_comm *c, const char *out, int number,
                          const Thaw__Model *manifest, const struct thaw_plan plan[2], float *const rows[2],
                          struct thaw_err *err) {
    const int code = prepare(s, c, out, number, manifest, plan, err);
    if (code) {
        for (int side = 0; side < 2; side++) free(rows[side]);
        return code;
    }
    for (int side = 0; side < 2; side++) (*s)->rows[side] = (*s)->owned[side] = rows[side];
    thaw_comm_phase(c, "checkpoint");
    start_writer(*s);
    return THAW_OK;
}

bool thaw_model_save_written(const struct thaw_model_save *s) {
    return atomic_load(&s->ended);
}

// ---- Committing ----

// Collective. Places the version, then points `current` at it: a job that dies after either step leaves a
// folder that opens.
static int publish(struct thaw_model_save *s, struct thaw_comm *c, int before, int64_t *nbytes,
                   struct thaw_err *err) {
    const bool first = thaw_comm_rank(c) == 0;
    void *entries = NULL;
    int64_t entries_bytes = 0;
    thaw_comm_phase(c, "commit");
    int code = thaw_comm_gather(c, s->entries.word, (int64_t)(s->entries.n * sizeof *s->entries.word), 0,
                                &entries, &entries_bytes, err);
    if (!code && first) code = put_manifest(s, entries, (size_t)entries_bytes, nbytes, err);
    if (!code && first) code = thaw_version_place(s->out, s->number, err);
    thaw_comm_phase(c, "publish");
    if (!code && first) code = thaw_version_publish(s->out, s->number, err);
    if (!code && first) code = thaw_versions_prune(s->out, s->number, before, err);
    free(entries);
    return thaw_comm_agree(c, code, err);
}

int thaw_model_save_commit(struct thaw_model_save **save, struct thaw_comm *c, int before,
                           struct thaw_model_saved *saved, struct thaw_err *err) {
    struct thaw_model_save *s = *save;
    const double began = thaw_time_s();
    int64_t nbytes = 0;
    if (s->running) pthread_join(s->thread, NULL);
    const double joined = thaw_time_s();
    int code = thaw_comm_agree(c, s->code, &s->err);
    if (code && err && err->code == THAW_OK) *err = s->err;
    if (!code) code = publish(s, c, before, &nbytes, err);
    if (code && thaw_comm_rank(c) == 0) thaw_dir_remove(s->dir, NULL);
    if (!code && saved) {
        double took[3] = {s->write_s, joined - began, thaw_time_s() - joined};
        thaw_comm_max_f64(c, took, 3);
        *saved = (struct thaw_model_saved){
            .nbytes = nbytes, .write_s = took[0], .waited_s = took[1], .commit_s = took[2]};
    }
    save_free(save);
    return code;
}

int thaw_model_save(struct thaw_comm *c, const char *out, int number, int before, const Thaw__Model *manifest,
                    const struct thaw_plan plan[2], const float *const rows[2],
                    struct thaw_model_saved *saved, struct thaw_err *err) {
    struct thaw_model_save *s = NULL;
    int code = prepare(&s, c, out, number, manifest, plan, err);
    if (code) return code;
    for (int side = 0; side < 2; side++) s->rows[side] = rows[side];
    thaw_comm_phase(c, "checkpoint");
    write_files(s);
    code = thaw_model_save_commit(&s, c, before, saved, err);
    if (!code && saved) saved->waited_s = saved->write_s; // no thread: the caller waited for all of it
    return code;
}
