// gan_checkpoint.c: a training of the generator, saved and gone on with.
#include "comm/gan_store.h"

#include "base/mem.h"
#include "base/part.h"
#include "comm/handle.h"
#include "proto/pack.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 32, LARGEST = 9, KEPT = 2, MOST = 64 }; // LARGEST: scales of 4 + 2 + 3 buckets

static char *step_name(char name[NAME], int64_t step, const char *suffix) {
    snprintf(name, NAME, "step-%06" PRId64 "%s", step, suffix);
    return name;
}

// ---- What there is: rank 0 ----

static int rising(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// Steps of the checkpoints in dir, falling; at most MOST of them.
static int list(const char *dir, int64_t *step, int *n, struct thaw_err *err) {
    DIR *d = opendir(dir);
    *n = 0;
    if (!d && errno == ENOENT) return THAW_OK;
    if (!d) return thaw_fail_errno(err, THAW_EIO, "%s: cannot be read", dir);
    for (const struct dirent *e; (e = readdir(d)) && *n < MOST;) {
        char same[NAME];
        int64_t number;
        if (sscanf(e->d_name, "step-%" SCNd64, &number) == 1 && number >= 0 && number < 1000000000000 &&
            strcmp(step_name(same, number, ""), e->d_name) == 0)
            step[(*n)++] = -number;
    }
    closedir(d);
    qsort(step, (size_t)*n, sizeof *step, rising);
    for (int i = 0; i < *n; i++) step[i] = -step[i];
    return THAW_OK;
}

static int drop(const char *dir, int64_t step, const char *suffix, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[NAME];
    const int code = thaw_path_join(path, dir, step_name(name, step, suffix), err);
    return code ? code : thaw_dir_remove(path, err);
}

static int commit(const char *dir, const char *work, int64_t number, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[NAME];
    int64_t step[MOST];
    int n, code = thaw_path_join(path, dir, step_name(name, number, ""), err);
    const bool exchanged = !code && thaw_dir_exchange(work, path); // one of this number was there
    if (!code) code = thaw_dir_remove(exchanged ? work : path, err);
    if (!code && !exchanged && rename(work, path))
        code = thaw_fail_errno(err, THAW_EIO, "%s: cannot be renamed to %s", work, path);
    if (!code) code = thaw_dir_sync(dir, err);
    if (!code) code = list(dir, step, &n, err);
    for (int i = KEPT; !code && i < n; i++) code = drop(dir, step[i], "", err);
    return code;
}

// ---- State as arrays ----

static int64_t state_length(const struct thaw_gan *g, int64_t step) {
    (void)g;
    return 1 + LARGEST + step * (int64_t)(sizeof(struct thaw_gan_record) / sizeof(double));
}

static void scales(const struct thaw_gan *g, double *x, bool set) {
    struct thaw_sums *const sums[] = {g->sums, g->du_sums, g->critic_sums};
    const int n[] = {4, 2, 3};
    for (int i = 0; i < 3; x += n[i++]) {
        if (!sums[i]) continue;
        double *own = thaw_sums_largest(sums[i]);
        memcpy(set ? own : x, set ? x : own, (size_t)n[i] * sizeof *x);
    }
}

// The networks' arrays, one after the other, copied to or from x. Weights are the node's: its first rank sets
// them.
static int64_t nets(const struct thaw_gan *g, float *x, bool set) {
    const struct thaw_gan_net *a = &g->generator, *b = &g->critic;
    float *const array[] = {a->p, a->m, a->v, a->averaged, b->p, b->m, b->v};
    int64_t at = 0;
    for (int i = 0; i < 7; i++) {
        const size_t n = i < 4 ? a->n : b->n;
        const bool node = array[i] == a->p || array[i] == b->p;
        if (x && n && !(set && node && g->c->node_rank))
            memcpy(set ? array[i] : x + at, set ? x + at : array[i], n * sizeof *x);
        at += (int64_t)n;
    }
    return at;
}

// Rows of a part: of each table parameters, moments and averages, side by side.
static void rows_copy(const struct thaw_gan_items *t, int64_t begin, int64_t rows, float *x, bool set) {
    for (int64_t r = begin; r < begin + rows; r++)
        for (int i = 0; i < THAW_GAN_TABLES; i++) {
            const size_t w = thaw_gan_width(t, i);
            float *const array[] = {t->p[i], t->m[i], t->v[i], t->averaged[i]};
            for (int j = 0; j < 4; j++, x += w) {
                float *own = array[j] + (size_t)r * w;
                memcpy(set ? own : x, set ? x : own, w * sizeof *x);
            }
        }
}

static struct thaw_npy_shape items_shape(const struct thaw_gan_items *t, int32_t part,
                                         char name[2 * THAW_PART_FILE]) {
    char file[THAW_PART_FILE];
    snprintf(name, 2 * THAW_PART_FILE, "training.%s",
             thaw_part_file(file, THAW_ITEMS, part, t->plan->nparts, "npy"));
    return (struct thaw_npy_shape){.type = THAW_NPY_F32,
                                   .ndim = 2,
                                   .rows = t->plan->first_row[part + 1] - t->plan->first_row[part],
                                   .cols = 4 * (2 * (int64_t)t->k + 1),
                                   .width = sizeof(float)};
}

// ---- Saving ----

static int save_nets(const struct thaw_gan *g, const char *dir, struct thaw_partfiles *files,
                     struct thaw_err *err) {
    const struct thaw_npy_shape net = {THAW_NPY_F32, 1, nets(g, NULL, false), 1, sizeof(float)};
    const struct thaw_npy_shape state = {THAW_NPY_F64, 1, state_length(g, g->step), 1, sizeof(double)};
    float *x = NULL;
    double *s = NULL;
    int code = thaw_alloc(&x, (size_t)net.rows, sizeof *x, "a checkpoint", err);
    if (!code) code = thaw_alloc(&s, (size_t)state.rows, sizeof *s, "a checkpoint", err);
    if (!code) {
        nets(g, x, false);
        s[0] = (double)g->step;
        scales(g, s + 1, false);
        memcpy(s + 1 + LARGEST, g->record, (size_t)g->step * sizeof *g->record);
        code = thaw_partfiles_put(files, dir, "training.nets.npy", &net, x, err);
    }
    if (!code) code = thaw_partfiles_put(files, dir, "training.state.npy", &state, s, err);
    free(x);
    free(s);
    return code;
}

static int save_part(const struct thaw_gan *g, const char *dir, int32_t part, struct thaw_partfiles *files,
                     struct thaw_err *err) {
    char name[2 * THAW_PART_FILE];
    const struct thaw_npy_shape shape = items_shape(g->items, part, name);
    float *x = NULL;
    int code = thaw_alloc(&x, (size_t)(shape.rows * shape.cols), sizeof *x, "a checkpoint", err);
    if (!code) {
        rows_copy(g->items, g->items->plan->first_row[part] - g->items->first, shape.rows, x, false);
        code = thaw_partfiles_put(files, dir, name, &shape, x, err);
    }
    free(x);
    return code;
}

static int save_files(const struct thaw_gan *g, const char *dir, struct thaw_partfiles *files,
                      struct thaw_err *err) {
    const int rank = thaw_comm_rank(g->c);
    const struct thaw_plan *plan = g->items->plan;
    int code = rank == 0 ? save_nets(g, dir, files, err) : THAW_OK;
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++)
        code = save_part(g, dir, p, files, err);
    code = thaw_comm_agree(g->c, code, err);
    return code ? code : thaw_partfiles_gather(files, g->c, err);
}

int thaw_gan_check(const struct thaw_gan *g, struct thaw_err *err) {
    int code = THAW_OK;
    if (g->scratch->unsound)
        code = thaw_fail(err, THAW_EDIVERGED,
                         "step %" PRId64 " of training: a weight is not finite: lower --rate, or take "
                         "another --seed",
                         g->step);
    return thaw_comm_agree(g->c, code, err);
}

int thaw_gan_save(struct thaw_gan *g, const char *dir, Thaw__Generator *manifest, struct thaw_err *err) {
    const bool first = thaw_comm_rank(g->c) == 0;
    char work[THAW_PATH_MAX], name[NAME];
    struct thaw_partfiles files = {0};
    thaw_comm_phase(g->c, "checkpoint");
    int code = thaw_gan_check(g, err);
    if (code) return code;
    thaw_gan_gather(g);
    code = thaw_path_join(work, dir, step_name(name, g->step, ".tmp"), err);
    if (!code && first) code = thaw_dir_remove(work, err);
    if (!code && first) code = thaw_dir_make(work, err);
    if (!(code = thaw_comm_agree(g->c, code, err))) code = save_files(g, work, &files, err);
    thaw_comm_phase(g->c, "commit");
    if (!code && first) {
        manifest->steps = g->step;
        manifest->files = files.file;
        manifest->n_files = files.n;
        code = thaw_pack_write(work, "manifest.pb", &manifest->base, err);
        manifest->files = NULL;
        manifest->n_files = 0;
        if (!code) code = commit(dir, work, g->step, err);
    }
    thaw_partfiles_clear(&files);
    code = thaw_comm_agree(g->c, code, err);
    if (code && first) thaw_dir_remove(work, NULL);
    return code;
}

int thaw_gan_forget(struct thaw_comm *c, const char *dir, struct thaw_err *err) {
    return thaw_comm_agree(c, thaw_comm_rank(c) == 0 ? thaw_dir_remove(dir, err) : THAW_OK, err);
}

// ---- Going on ----

static const char *option(const Thaw__Run *run, const char *name) {
    for (size_t i = 0; run && i < run->n_options; i++)
        if (strcmp(run->options[i]->name, name) == 0) return run->options[i]->value;
    return "";
}

// Everything that decides the bytes of the weights.
static int compare(const char *dir, const Thaw__Generator *old, const Thaw__Generator *now,
                   struct thaw_err *err) {
    static const char *const names[] = {"adversary",    "latent-loss", "noise",   "hidden", "known",
                                        "episodes",     "steps",       "batch",   "rate",   "weight-decay",
                                        "dropout",      "averaging",   "pooling", "rest",   "sampled-softmax",
                                        "critic-steps", "critic-rate", "penalty", "seed"};
    if (old->dataset_digest != now->dataset_digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s is a training on another dataset (digest %016" PRIx64
                         ") than this run's (%016" PRIx64 "): name another --out, or --force to start anew",
                         dir, old->dataset_digest, now->dataset_digest);
    if (old->model_digest != now->model_digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s is a training on another model (digest %016" PRIx64
                         ") than this run's (%016" PRIx64 "): name another --out, or --force to start anew",
                         dir, old->model_digest, now->model_digest);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(option(old->run, names[i]), option(now->run, names[i])) != 0)
            return thaw_fail(
                err, THAW_EUSAGE,
                "%s is a training with --%s %s, this run says %s: name another --out, or --force to "
                "start anew",
                dir, names[i], option(old->run, names[i]), option(now->run, names[i]));
    return THAW_OK;
}

void thaw_gan_forget_finished(const char *dir, const char *out, const Thaw__Generator *manifest) {
    ProtobufCMessage *message = NULL;
    if (!thaw_path_exists(dir) ||
        thaw_pack_read(out, "manifest.pb", &thaw__generator__descriptor, &message, NULL))
        return;
    if (compare(out, (const Thaw__Generator *)message, manifest, NULL) == THAW_OK) thaw_dir_remove(dir, NULL);
    protobuf_c_message_free_unpacked(message, NULL);
}

static int load_nets(struct thaw_gan *g, const char *dir, const Thaw__Generator *m, struct thaw_err *err) {
    const struct thaw_npy_shape net = {THAW_NPY_F32, 1, nets(g, NULL, false), 1, sizeof(float)};
    const struct thaw_npy_shape state = {THAW_NPY_F64, 1, state_length(g, m->steps), 1, sizeof(double)};
    struct thaw_npy a;
    if (m->steps < 0 || m->steps > g->config.steps)
        return thaw_fail(err, THAW_EDATA, "%s: it has %" PRId64 " steps of %" PRId64, dir, m->steps,
                         g->config.steps);
    int code = thaw_partfiles_open(&a, dir, m->files, m->n_files, "training.nets.npy", &net, err);
    if (code) return code;
    nets(g, (float *)(uintptr_t)a.data, true); // read only
    thaw_npy_close(&a);
    if ((code = thaw_partfiles_open(&a, dir, m->files, m->n_files, "training.state.npy", &state, err)))
        return code;
    double *s = (double *)(uintptr_t)a.data;
    scales(g, s + 1, true);
    memcpy(g->record, s + 1 + LARGEST, (size_t)m->steps * sizeof *g->record);
    thaw_npy_close(&a);
    return THAW_OK;
}

static int load_part(struct thaw_gan *g, const char *dir, const Thaw__Generator *m, int32_t part,
                     struct thaw_err *err) {
    char name[2 * THAW_PART_FILE];
    const struct thaw_npy_shape shape = items_shape(g->items, part, name);
    struct thaw_npy a;
    const int code = thaw_partfiles_open(&a, dir, m->files, m->n_files, name, &shape, err);
    if (code) return code;
    rows_copy(g->items, g->items->plan->first_row[part] - g->items->first, shape.rows,
              (float *)(uintptr_t)a.data, true);
    thaw_npy_close(&a);
    thaw_gan_items_show(g->items);
    return THAW_OK;
}

// Local: every rank reads the manifest, the networks and its own items.
static int load(struct thaw_gan *g, const char *dir, const Thaw__Generator *manifest, bool *other,
                struct thaw_err *err) {
    const int rank = thaw_comm_rank(g->c);
    const struct thaw_plan *plan = g->items->plan;
    ProtobufCMessage *message = NULL;
    int code = thaw_pack_read(dir, "manifest.pb", &thaw__generator__descriptor, &message, err);
    const Thaw__Generator *m = (const Thaw__Generator *)message;
    if (!code && m->format != 1)
        code =
            thaw_fail(err, THAW_EDATA, "%s: manifest.pb has format %u; this version of Thaw reads format 1",
                      dir, (unsigned)m->format);
    if (!code && (code = compare(dir, m, manifest, err))) *other = true;
    if (!code) code = load_nets(g, dir, m, err);
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++)
        code = load_part(g, dir, m, p, err);
    if (!code) g->step = m->steps;
    if (message) protobuf_c_message_free_unpacked(message, NULL);
    return code;
}

int thaw_gan_resume(struct thaw_gan *g, const char *dir, const Thaw__Generator *manifest, bool *found,
                    char note[256], struct thaw_err *err) {
    int64_t step[MOST];
    int n = 0;
    struct thaw_err first = THAW_ERR_INIT;
    int code = thaw_comm_rank(g->c) == 0 ? list(dir, step, &n, err) : THAW_OK;
    note[0] = 0;
    *found = false;
    if ((code = thaw_comm_agree(g->c, code, err))) return code;
    thaw_comm_bcast(g->c, &n, sizeof n, 0);
    thaw_comm_bcast(g->c, step, (int64_t)sizeof step, 0);
    for (int i = 0; i < n; i++) {
        char path[THAW_PATH_MAX], name[NAME];
        struct thaw_err own = THAW_ERR_INIT;
        bool other = false;
        code = thaw_path_join(path, dir, step_name(name, step[i], ""), &own);
        if (!code) code = load(g, path, manifest, &other, &own);
        code = thaw_comm_agree(g->c, code, &own);
        int64_t stop = other;
        thaw_comm_max_i64(g->c, &stop, 1);
        if (i == 0) first = own;
        if (!code) {
            if (i)
                snprintf(note, 256, "going on from an older checkpoint, because the newer is damaged: %.180s",
                         first.text);
            *found = true;
            return THAW_OK;
        }
        if (stop || (code != THAW_EDATA && code != THAW_ENOINPUT)) {
            *err = own;
            return code;
        }
    }
    if (!n) return THAW_OK;
    *err = first;
    const size_t told = strlen(err->text);
    snprintf(err->text + told, sizeof err->text - told,
             "; no other checkpoint is intact: --force starts anew");
    return err->code = THAW_EDATA;
}
