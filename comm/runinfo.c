// runinfo.c: see runinfo.h. Rank 0 fills the record, the others get a copy.
#include "comm/runinfo.h"

#include "base/mem.h"
#include "base/version.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

extern char **environ;

enum { HOSTS_MAX = 64 };

// Parts of the environment that shape a run. Never more: the rest is the user's business (and SLURM_JWT is a
// key).
static bool env_allowed(const char *entry) {
    static const char *const prefixes[] = {"SLURM_", "OMP_", "OPENBLAS_", "OMPI_MCA_"};
    if (strncmp(entry, "SLURM_JWT", 9) == 0) return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0) return strchr(entry, '=') != NULL;
    return false;
}

// Copies that protobuf-c's default allocator can free; NULL when out of memory.
static char *copy_bytes(const char *text, size_t n) {
    char *copy = malloc(n + 1);
    if (!copy) return NULL;
    memcpy(copy, text, n);
    copy[n] = 0;
    return copy;
}

static char *copy_text(const char *text) {
    return copy_bytes(text, strlen(text));
}

struct options {
    Thaw__Option **list;
    size_t n;
    bool failed;
};

static void add_option(struct options *o, const char *name, size_t name_length, const char *value) {
    Thaw__Option **grown = realloc(o->list, (o->n + 1) * sizeof *grown), *entry = malloc(sizeof *entry);
    if (grown) o->list = grown;
    if (!grown || !entry) {
        free(entry);
        o->failed = true;
        return;
    }
    thaw__option__init(entry);
    entry->name = copy_bytes(name, name_length);
    entry->value = copy_text(value);
    o->failed = o->failed || !entry->name || !entry->value;
    o->list[o->n++] = entry;
}

static void each_option(void *user, const char *name, const char *value) {
    add_option(user, name, strlen(name), value);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(Thaw__Option *const *)a)->name, (*(Thaw__Option *const *)b)->name);
}

static bool fill_options(Thaw__Run *run, const struct thaw_cmd *cmd, const void *options) {
    struct options o = {0}, e = {0};
    if (cmd && options) thaw_opt_each(cmd, options, each_option, &o);
    for (char **entry = environ; *entry; entry++)
        if (env_allowed(*entry)) add_option(&e, *entry, strcspn(*entry, "="), strchr(*entry, '=') + 1);
    if (e.n > 0 && !e.failed) qsort(e.list, e.n, sizeof *e.list, by_name);
    run->options = o.list;
    run->n_options = o.n;
    run->environment = e.list;
    run->n_environment = e.n;
    return !o.failed && !e.failed;
}

static bool fill_list(char ***list, size_t *n, int most, const char *const *text) {
    *list = calloc((size_t)most + 1, sizeof **list);
    for (*n = 0; *list && *n < (size_t)most; ++*n)
        if (!((*list)[*n] = copy_text(text[*n]))) return false;
    return *list != NULL;
}

static bool fill_hosts(Thaw__Run *run, const char *names, int64_t nbytes) {
    const char *host[HOSTS_MAX];
    int n = 0;
    for (const char *at = names; at < names + nbytes && n < HOSTS_MAX; at += strlen(at) + 1) {
        bool seen = false;
        for (int i = 0; i < n; i++) seen = seen || strcmp(host[i], at) == 0;
        if (!seen) host[n++] = at;
    }
    return fill_list(&run->hosts, &run->n_hosts, n, host);
}

static bool fill_texts(Thaw__Run *run, const struct thaw_comm *c, const char *blas) {
    char now[32];
    time_t t = time(NULL);
    struct tm utc;
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    run->version = copy_text(THAW_VERSION);
    run->git = copy_text(THAW_GIT);
    run->compiler = copy_text(THAW_COMPILER);
    run->mpi = copy_text(thaw_comm_mpi_version(c));
    run->blas = copy_text(blas ? blas : "");
    run->started = copy_text(now);
    return run->version && run->git && run->compiler && run->mpi && run->blas && run->started;
}

// The record of rank 0, packed; *bytes is malloc'd.
static int pack_run(char **bytes, int64_t *nbytes, Thaw__Run *run, struct thaw_err *err) {
    size_t n = thaw__run__get_packed_size(run);
    int code = thaw_alloc(bytes, n + 1, 1, "the run's record", err);
    if (!code) *nbytes = (int64_t)thaw__run__pack(run, (uint8_t *)*bytes);
    return code;
}

int thaw_run_info_new(Thaw__Run **out, struct thaw_comm *c, const struct thaw_cmd *cmd, const void *options,
                      int argc, char **argv, const char *blas, struct thaw_err *err) {
    Thaw__Run *run = NULL;
    char *names = NULL, *bytes = NULL;
    int64_t names_bytes = 0, nbytes = 0;
    bool first = thaw_comm_rank(c) == 0;
    int code = thaw_comm_hosts(c, &names, &names_bytes, err);
    if (code) goto done;
    if (first) {
        bool ok = (run = malloc(sizeof *run)) != NULL;
        if (ok) thaw__run__init(run);
        ok = ok && fill_options(run, cmd, options) && fill_hosts(run, names, names_bytes) &&
             fill_texts(run, c, blas) && fill_list(&run->argv, &run->n_argv, argc, (const char *const *)argv);
        if (ok) {
            run->ranks = thaw_comm_size(c);
            run->threads = omp_get_max_threads();
            code = pack_run(&bytes, &nbytes, run, err);
        } else {
            code = thaw_fail(err, THAW_EMEM, "cannot allocate the run's record");
        }
    }
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_bcast(c, &nbytes, sizeof nbytes, 0);
    if (!first) code = thaw_alloc(&bytes, (size_t)nbytes + 1, 1, "the run's record", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_bcast(c, bytes, nbytes, 0);
    if (!first && !(run = thaw__run__unpack(NULL, (size_t)nbytes, (uint8_t *)bytes)))
        code = thaw_fail(err, THAW_EMEM, "cannot allocate the run's record");
    code = thaw_comm_agree(c, code, err);
done:
    free(names);
    free(bytes);
    if (code && run) {
        thaw__run__free_unpacked(run, NULL);
        run = NULL;
    }
    if (!code) *out = run;
    return code;
}

int thaw_run_info_recipe(Thaw__Run *run, const char *name, const char *value, struct thaw_err *err) {
    struct options o = {.list = run->recipe, .n = run->n_recipe};
    add_option(&o, name, strlen(name), value);
    run->recipe = o.list;
    run->n_recipe = o.n;
    return o.failed ? thaw_fail(err, THAW_EMEM, "cannot allocate the run's record") : THAW_OK;
}

int thaw_run_info_input(Thaw__Run *run, const char *path, int64_t nbytes, uint64_t digest,
                        struct thaw_err *err) {
    Thaw__Input **grown = realloc(run->inputs, (run->n_inputs + 1) * sizeof *grown),
                *entry = malloc(sizeof *entry);
    char *copy = copy_text(path);
    if (grown) run->inputs = grown;
    if (!grown || !entry || !copy) {
        free(entry);
        free(copy);
        return thaw_fail(err, THAW_EMEM, "cannot allocate the record of %s", path);
    }
    thaw__input__init(entry);
    entry->path = copy;
    entry->nbytes = nbytes;
    entry->digest = digest;
    run->inputs[run->n_inputs++] = entry;
    return THAW_OK;
}
