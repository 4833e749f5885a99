// facts_folder.c: what a folder of Thaw holds. Its kind follows from the files that are there; everything
// else from its manifest.
#include "jobs/facts.h"

#include "base/file.h"
#include "base/side.h"
#include "jobs/inputs.h"
#include "proto/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Facts on their way into a list: the first failure stays.
struct telling {
    struct thaw_facts *facts;
    const char *dir; // that holds the manifest
    struct thaw_err *err;
    int code;
};

static void text(struct telling *t, const char *key, const char *value) {
    if (t->code == THAW_OK) t->code = thaw_facts_add(t->facts, key, value, t->err);
}

static void item(struct telling *t, const char *key, const char *value) {
    if (t->code == THAW_OK) t->code = thaw_facts_add_item(t->facts, key, value, t->err);
}

static void count(struct telling *t, const char *key, int64_t value) {
    if (t->code == THAW_OK) t->code = thaw_facts_add_i64(t->facts, key, value, t->err);
}

static void real(struct telling *t, const char *key, double value) {
    if (t->code == THAW_OK) t->code = thaw_facts_add_real(t->facts, key, value, t->err);
}

static void yes(struct telling *t, const char *key, bool value) {
    text(t, key, value ? "yes" : "no");
}

static void digest(struct telling *t, const char *key, uint64_t value) {
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, value);
    text(t, key, hex);
}

// ---- What several kinds have ----

static int64_t total(const int64_t *part, size_t n) {
    int64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += part[i];
    return sum;
}

static int64_t most(const int64_t *part, size_t n) {
    int64_t largest = 0;
    for (size_t i = 0; i < n; i++)
        if (part[i] > largest) largest = part[i];
    return largest;
}

static void rows(struct telling *t, const char *key, const Thaw__Side *side) {
    if (side) count(t, key, total(side->part_rows, side->n_part_rows));
}

static void files(struct telling *t, Thaw__File *const *file, size_t n) {
    int64_t nbytes = 0;
    for (size_t i = 0; i < n; i++) nbytes += file[i]->nbytes;
    count(t, "files", (int64_t)n);
    count(t, "bytes", nbytes);
}

static void als(struct telling *t, const Thaw__Als *a) {
    if (!a) return;
    text(t, "model", thaw_pack_model_name(a));
    count(t, "factors", a->factors);
    count(t, "columns", a->factors + a->biases);
    real(t, "holdout", a->holdout);
}

// Who made it, and from what.
static void run(struct telling *t, const Thaw__Run *r) {
    char line[THAW_PATH_MAX + 64];
    if (!r) return;
    text(t, "thaw", r->version);
    count(t, "ranks", r->ranks);
    count(t, "threads", r->threads);
    text(t, "started", r->started);
    real(t, "seconds", r->seconds);
    for (size_t i = 0; i < r->n_inputs; i++) {
        snprintf(line, sizeof line, "%s %016" PRIx64, r->inputs[i]->path, r->inputs[i]->digest);
        item(t, "from", line);
    }
}

// ---- Each kind: facts of its manifest ----

static void tell_dataset(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Dataset *m = (const Thaw__Dataset *)message;
    count(t, "format", m->format);
    count(t, "parts", m->parts);
    rows(t, "users", m->users);
    rows(t, "items", m->items);
    count(t, "interactions", m->interactions);
    if (m->users) {
        count(t, "user_features", m->users->features);
        count(t, "largest_user_part", most(m->users->part_nnz, m->users->n_part_nnz));
    }
    if (m->items) {
        count(t, "item_features", m->items->features);
        count(t, "largest_item_part", most(m->items->part_nnz, m->items->n_part_nnz));
    }
    yes(t, "times", m->has_time);
    files(t, m->files, m->n_files);
    run(t, m->run);
}

static void tell_model(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Model *m = (const Thaw__Model *)message;
    const Thaw__Iteration *last = m->n_iterations ? m->iterations[m->n_iterations - 1] : NULL;
    count(t, "format", m->format);
    als(t, m->als);
    if (m->users) count(t, "parts", (int64_t)m->users->n_part_rows);
    rows(t, "users", m->users);
    rows(t, "items", m->items);
    count(t, "interactions", m->interactions);
    count(t, "iterations", last ? last->number : 0);
    if (m->kept) count(t, "kept", m->kept);
    if (last) real(t, "objective", last->objective);
    if (last && last->quality > 0) real(t, "quality", last->quality);
    yes(t, "finished", m->finished);
    if (m->finished) text(t, "stop_reason", m->stop_reason);
    files(t, m->files, m->n_files);
    text(t, "dataset", m->dataset);
    digest(t, "dataset_digest", m->dataset_digest);
    run(t, m->run);
}

static void tell_prior(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Prior *m = (const Thaw__Prior *)message;
    count(t, "format", m->format);
    count(t, "factors", m->factors);
    count(t, "user_features", m->user_features);
    count(t, "item_features", m->item_features);
    count(t, "users", m->users);
    count(t, "items", m->items);
    count(t, "types", m->types);
    files(t, m->files, m->n_files);
    digest(t, "dataset_digest", m->dataset_digest);
    digest(t, "model_digest", m->model_digest);
    run(t, m->run);
}

static void tell_association(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Association *m = (const Thaw__Association *)message;
    char number[16];
    count(t, "format", m->format);
    text(t, "method", thaw_pack_method_name(m->method));
    for (size_t i = 0; i < m->n_known; i++) {
        snprintf(number, sizeof number, "%d", m->known[i]);
        item(t, "known", number);
    }
    rows(t, "items", m->items);
    count(t, "features", m->features);
    count(t, "neighbors", m->neighbors);
    files(t, m->files, m->n_files);
    digest(t, "dataset_digest", m->dataset_digest);
    run(t, m->run);
}

static void tell_generator(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Generator *m = (const Thaw__Generator *)message;
    count(t, "format", m->format);
    count(t, "factors", m->factors);
    count(t, "features", m->features);
    rows(t, "items", m->items);
    count(t, "longest", m->longest);
    count(t, "noise", m->noise);
    count(t, "steps", m->steps);
    files(t, m->files, m->n_files);
    digest(t, "dataset_digest", m->dataset_digest);
    digest(t, "model_digest", m->model_digest);
    run(t, m->run);
}

static void tell_virtual(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Virtual *m = (const Thaw__Virtual *)message;
    count(t, "format", m->format);
    count(t, "parts", (int64_t)m->n_part_rows);
    count(t, "users", m->users);
    count(t, "items", m->items);
    count(t, "interactions", m->interactions);
    count(t, "whole_users", total(m->extra_rows, m->n_extra_rows));
    count(t, "whole_interactions", m->extra_interactions);
    files(t, m->files, m->n_files);
    digest(t, "dataset_digest", m->dataset_digest);
    run(t, m->run);
}

static void tell_tables(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Tables *m = (const Thaw__Tables *)message;
    count(t, "format", m->format);
    als(t, m->als);
    count(t, "parts", m->parts);
    rows(t, "users", m->users);
    rows(t, "items", m->items);
    count(t, "interactions", m->interactions);
    count(t, "filled_items", m->filled_items);
    yes(t, "prior", m->prior != NULL);
    yes(t, "association", m->association != NULL);
    yes(t, "generator", m->generator != NULL);
    files(t, m->files, m->n_files);
    digest(t, "dataset_digest", m->dataset_digest);
    digest(t, "model_digest", m->model_digest);
    run(t, m->run);
}

// A log's size is what synth was asked for.
static void tell_log(struct telling *t, const ProtobufCMessage *message) {
    static const char *const kept[] = {"users", "items", "interactions"};
    const Thaw__Run *m = (const Thaw__Run *)message;
    for (size_t i = 0; i < m->n_options; i++)
        for (size_t k = 0; k < 3; k++)
            if (strcmp(m->options[i]->name, kept[k]) == 0)
                count(t, kept[k], strtoll(m->options[i]->value, NULL, 10));
    run(t, m);
}

static void tell_job(struct telling *t, const ProtobufCMessage *message) {
    const Thaw__Job *m = (const Thaw__Job *)message;
    count(t, "format", m->format);
    // A list is facts of one key in a row; steps begun anew lie between finished ones.
    for (size_t i = 0; i < m->n_steps; i++)
        if (m->steps[i]->output) item(t, "finished", m->steps[i]->name);
    for (size_t i = 0; i < m->n_steps; i++)
        if (!m->steps[i]->output) item(t, "unfinished", m->steps[i]->name);
}

// ---- Which kind ----

// The first whose file is there; names may be patterns. job: whose output it is.
static const struct kind {
    const char *file, *name, *manifest, *job;
    const ProtobufCMessageDescriptor *type;
    void (*tell)(struct telling *t, const ProtobufCMessage *message);
} kinds[] = {
    {"job.pb", "job", "job.pb", NULL, &thaw__job__descriptor, tell_job},
    {"run.pb", "log", "run.pb", "synth", &thaw__run__descriptor, tell_log},
    {"items.gramian.npy", "tables", "manifest.pb", "tables", &thaw__tables__descriptor, tell_tables},
    {"generator.net.npy", "generator", "manifest.pb", "augment", &thaw__generator__descriptor,
     tell_generator},
    {"prior.user_weights.npy", "prior", "manifest.pb", "prior", &thaw__prior__descriptor, tell_prior},
    {"associate.n*", "association", "manifest.pb", "associate", &thaw__association__descriptor,
     tell_association},
    {"users-*.npy", "model", "manifest.pb", "train", &thaw__model__descriptor, tell_model},
    {"items-*.npz", "dataset", "manifest.pb", "prepare", &thaw__dataset__descriptor, tell_dataset},
    {"users-*-of-*.csv", "virtual", "manifest.pb", "augment", &thaw__virtual__descriptor, tell_virtual},
    // What somebody copied without its CSV, or a dataset that prepare had no time to finish.
    {"users-*.npz", "virtual", "manifest.pb", NULL, &thaw__virtual__descriptor, tell_virtual},
};
enum { KINDS = sizeof kinds / sizeof *kinds };

static int unknown(const char *folder, struct thaw_err *err) {
    return thaw_fail(
        err, THAW_ENOINPUT,
        "%s: nothing here that a job of Thaw finished (no manifest.pb, current, run.pb or job.pb)", folder);
}

static int find_kind(const char *dir, const struct kind **found, struct thaw_err *err) {
    int first = KINDS;
    DIR *d = opendir(dir);
    if (!d) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot read the folder", dir);
    for (const struct dirent *e; (e = readdir(d));)
        for (int k = 0; k < first; k++)
            if (fnmatch(kinds[k].file, e->d_name, 0) == 0) first = k;
    closedir(d);
    if (first == KINDS) return unknown(dir, err);
    *found = &kinds[first];
    return THAW_OK;
}

const char *thaw_folder_job(const char *folder) {
    char current[THAW_PATH_MAX];
    const struct kind *k = NULL;
    if (find_kind(folder, &k, NULL) != THAW_OK && thaw_path_join(current, folder, "current", NULL) == THAW_OK)
        find_kind(current, &k, NULL);
    return k ? k->job : NULL;
}

// The bytes of a log's files: a Run does not list them.
static int log_bytes(struct telling *t) {
    int64_t nfiles = 0, nbytes = 0;
    DIR *d = opendir(t->dir);
    if (!d) return thaw_fail_errno(t->err, THAW_ENOINPUT, "%s: cannot read the folder", t->dir);
    for (const struct dirent *e; (e = readdir(d));) {
        struct stat st;
        if (fnmatch("events-*", e->d_name, 0) || fstatat(dirfd(d), e->d_name, &st, 0)) continue;
        nfiles++;
        nbytes += st.st_size;
    }
    closedir(d);
    count(t, "files", nfiles);
    count(t, "bytes", nbytes);
    return t->code;
}

// Are the files as the manifest says, and what is its digest?
static void tell_state(struct telling *t, const struct kind *k, const ProtobufCMessage *message) {
    struct thaw_err why = THAW_ERR_INIT;
    uint64_t value = 0;
    const bool lists = k->type != &thaw__job__descriptor && k->type != &thaw__run__descriptor;
    int code = lists && k->job ? thaw_output_digest(k->job, t->dir, &value, &why) : THAW_OK;
    yes(t, "complete", code == THAW_OK);
    if (code != THAW_OK) text(t, "problem", why.text);
    if (!lists) return;
    if (t->code == THAW_OK) t->code = thaw_pack_digest(message, &value, t->err);
    if (t->code == THAW_OK) digest(t, "digest", value);
}

static void tell_manifest(struct telling *t) {
    const struct kind *k = NULL;
    ProtobufCMessage *message = NULL;
    char path[THAW_PATH_MAX];
    t->code = find_kind(t->dir, &k, t->err);
    if (t->code == THAW_OK) t->code = thaw_path_join(path, t->dir, k->manifest, t->err);
    if (t->code == THAW_OK && !thaw_path_exists(path)) t->code = unknown(t->dir, t->err);
    if (t->code == THAW_OK) t->code = thaw_pack_read(t->dir, k->manifest, k->type, &message, t->err);
    if (t->code != THAW_OK) return;
    text(t, "kind", k->name);
    tell_state(t, k, message);
    k->tell(t, message);
    if (t->code == THAW_OK && k->type == &thaw__run__descriptor) t->code = log_bytes(t);
    protobuf_c_message_free_unpacked(message, NULL);
}

int thaw_facts_of_folder(struct thaw_facts *f, const char *folder, struct thaw_err *err) {
    char current[THAW_PATH_MAX], target[256];
    struct telling t = {.facts = f, .dir = folder, .err = err};
    struct stat st;
    if (stat(folder, &st) != 0) return thaw_fail_errno(err, THAW_ENOINPUT, "%s: cannot find it", folder);
    if (!S_ISDIR(st.st_mode)) return thaw_fail(err, THAW_ENOINPUT, "%s: not a folder", folder);
    if ((t.code = thaw_path_join(current, folder, "current", err))) return t.code;
    text(&t, "folder", folder);
    const ssize_t n = readlink(current, target, sizeof target - 1);
    if (n > 0) {
        target[n] = 0;
        text(&t, "version", target);
        t.dir = current;
    }
    if (t.code == THAW_OK) tell_manifest(&t);
    return t.code;
}
