// tables.c: thaw tables: from a model and its dataset to the files that lookups map. Every rank writes the
// parts it owns.
#include "als/als.h"
#include "base/mem.h"
#include "comm/interactions.h"
#include "comm/model.h"
#include "comm/runinfo.h"
#include "comm/sweep.h"
#include "jobs/hold.h"
#include "jobs/published.h"
#include "jobs/recipe.h"
#include "jobs/tables_attributes.h"
#include "jobs/tables_cold.h"
#include "jobs/tables_fill.h"
#include "jobs/trained.h"
#include "proto/pack.h"
#include "table/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *model, *out, *data, *prior, *association, *generator, *blend;
    int64_t keep;
    bool force;
    struct thaw_job_common common;
};

static const struct thaw_opt opts[] = {
    THAW_OPTION_REQUIRED(struct options, TEXT, "model", model, "DIR", "Model that 'thaw train' wrote."),
    THAW_OPTION_REQUIRED(struct options, TEXT, "out", out, "DIR",
                         "Tables folder: a new version is added and made current."),
    THAW_OPTION(struct options, TEXT, "data", data, "DIR", NULL, 0, 0,
                "The dataset the model was trained on; by default where training found it."),
    THAW_OPTION(struct options, TEXT, "prior", prior, "DIR", NULL, 0, 0,
                "What 'thaw prior' wrote (P): goes into the tables, for users nobody knows yet; gives "
                "vectors to items "
                "without training interactions, from their attributes."),
    THAW_OPTION(struct options, TEXT, "association", association, "DIR", NULL, 0, 0,
                "What 'thaw associate' wrote (E), for the same."),
    THAW_OPTION(struct options, TEXT, "generator", generator, "DIR", NULL, 0, 0,
                "What 'thaw augment' wrote (G), for the same."),
    THAW_OPTION(struct options, TEXT, "blend", blend, "FILE", NULL, 0, 0,
                "How the three are weighed, as 'thaw evaluate --tune --blend-out' wrote it. "
                "Without it, by the weights measured on MovieLens 1M."),
    THAW_OPTION(struct options, INT, "keep", keep, "N", "2", 1, 1e6,
                "Versions to keep, the new one included; older ones are removed."),
    THAW_OPTION(struct options, FLAG, "force", force, NULL, NULL, 0, 0,
                "Write a new version even when the current one was made from this very model; take a --blend "
                "that was tuned on another dataset."),
    THAW_JOB_OPTIONS(struct options),
};

struct job {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct options *o;
    const char *data;
    struct thaw_model *model;
    struct thaw_dataset *dataset;
    struct thaw_plan plan[2];
    int columns;
    double *gramian; // k x k
    struct thaw_tables_cold cold;
    struct thaw_tables_filled filled;
    int number; // of the version being written
    bool made;  // rank 0: OUT is new
    char dir[THAW_PATH_MAX];
    Thaw__Tables *manifest; // rank 0
};

static bool is_first(const struct job *j) {
    return thaw_comm_rank(j->c) == 0;
}

// ---- Inputs ----

static int sides_check(const struct job *j, enum thaw_side side, struct thaw_err *err) {
    const Thaw__Side *d = side == THAW_USERS ? j->dataset->manifest->users : j->dataset->manifest->items;
    const Thaw__Side *m = side == THAW_USERS ? j->model->manifest->users : j->model->manifest->items;
    if (d->n_part_rows != m->n_part_rows)
        return thaw_fail(err, THAW_EDATA, "%s has %zu parts of %s, the model %s has %zu", j->data,
                         d->n_part_rows, thaw_side_name[side], j->model->dir, m->n_part_rows);
    for (size_t p = 0; p < d->n_part_rows; p++)
        if (d->part_rows[p] != m->part_rows[p])
            return thaw_fail(
                err, THAW_EDATA, "%s part %zu has %" PRId64 " rows in %s, %" PRId64 " in the model %s",
                thaw_side_name[side], p, d->part_rows[p], j->data, m->part_rows[p], j->model->dir);
    return THAW_OK;
}

// Collective.
static int inputs_open(struct job *j, struct thaw_err *err) {
    const struct thaw_trained_wish wish = {.model = j->o->model, .data = j->o->data, .iterated = true};
    int code = thaw_trained_open(j->ctx, &wish, &j->model, &j->dataset, &j->data, err);
    if (code) return code;
    j->columns = thaw_model_columns(j->model);
    code = sides_check(j, THAW_USERS, err);
    if (!code) code = sides_check(j, THAW_ITEMS, err);
    if (!code) code = thaw_tables_cold_open(&j->cold, j->dataset, j->model, j->o->force, err);
    if (!code && j->cold.blend_foreign)
        thaw_log_warn(j->ctx->log, "%s was tuned on another dataset than %s; taken as --force says",
                      j->cold.blend_file, j->data);
    if (!code && is_first(j)) code = thaw_tables_cold_check(&j->cold, j->model, err);
    if (!code)
        code = thaw_dataset_plan(j->plan, j->dataset, thaw_comm_size(j->c), j->model->manifest->als->factors,
                                 err);
    return thaw_comm_agree(j->c, code, err);
}

// Rank 0. Was the current version made from this model and these cold-start models?
static bool is_published(const struct job *j, uint64_t model_digest) {
    char current[THAW_PATH_MAX];
    ProtobufCMessage *message = NULL;
    if (model_digest != j->model->digest || thaw_path_join(current, j->o->out, "current", NULL) ||
        thaw_pack_read(current, "manifest.pb", &thaw__tables__descriptor, &message, NULL))
        return false;
    const bool same = thaw_tables_cold_same(&j->cold, (const Thaw__Tables *)message);
    protobuf_c_message_free_unpacked(message, NULL);
    return same;
}

// Collective. Choose the version's number and make its folder; *skip: the current version is up to date.
static int version_begin(struct job *j, bool *skip, struct thaw_err *err) {
    int code = THAW_OK;
    struct {
        int number, skip;
    } said = {0};
    if (is_first(j)) {
        uint64_t digest = 0;
        code = thaw_published_next(j->o->out, &said.number, &digest, err);
        said.skip = !code && !j->o->force && is_published(j, digest);
        j->made = !thaw_path_exists(j->o->out);
        if (!code && !said.skip) code = thaw_published_begin(j->o->out, said.number, err);
    }
    if ((code = thaw_comm_agree(j->c, code, err))) return code;
    thaw_comm_bcast(j->c, &said, sizeof said, 0);
    char name[THAW_PUBLISHED_NAME];
    j->number = said.number;
    *skip = said.skip;
    return thaw_comm_agree(
        j->c, thaw_path_join(j->dir, j->o->out, thaw_published_name(name, j->number, ".tmp"), err), err);
}

// ---- Parts ----

static int files_append(Thaw__Tables *list, size_t *cap, Thaw__File **files, int n, struct thaw_err *err) {
    int code =
        thaw_grow(&list->files, cap, list->n_files + (size_t)n, sizeof(*list->files), "file entries", err);
    for (int i = 0; i < n; i++) {
        if (code)
            thaw__file__free_unpacked(files[i], NULL);
        else
            list->files[list->n_files++] = files[i];
    }
    return code;
}

static int write_part(const struct job *j, enum thaw_side side, int32_t p, const float *rows,
                      Thaw__Tables *list, size_t *cap, struct thaw_err *err) {
    const struct thaw_plan *plan = &j->plan[side];
    struct thaw_shard shard;
    Thaw__File *files[THAW_TABLE_FILES];
    int nfiles = 0;
    int code = thaw_shard_open(&shard, j->dataset, side, p, true, err);
    if (code) return code;
    const struct thaw_table_part part = {
        .side = side,
        .part = p,
        .nparts = plan->nparts,
        .nrows = shard.nrows,
        .columns = j->columns,
        .rows = rows + (plan->first_row[p] - plan->rank_row[thaw_comm_rank(j->c)]) * j->columns,
        .id_width = shard.id_width,
        .ids = shard.ids,
        .indptr = shard.indptr,
        .indices = side == THAW_USERS ? shard.indices : NULL,
        .wide = shard.wide,
    };
    code = thaw_table_part_write(j->dir, &part, files, &nfiles, err);
    if (!code) code = files_append(list, cap, files, nfiles, err);
    thaw_shard_close(&shard);
    return code;
}

// Local. A signal ends the job between two parts; the ranks agree on it at the end of the side.
static int check_stop(const struct job *j, enum thaw_side side, struct thaw_err *err) {
    if (!thaw_comm_stop_requested(j->c)) return THAW_OK;
    return thaw_fail(err, THAW_ESTOPPED,
                     "stopped on request while writing %s: %s is as it was; the same command begins anew",
                     thaw_side_name[side], j->o->out);
}

// Local. The parts of this rank; rows: those of its range.
static int write_parts(const struct job *j, enum thaw_side side, const float *rows, Thaw__Tables *list,
                       struct thaw_err *err) {
    const struct thaw_plan *plan = &j->plan[side];
    const int rank = thaw_comm_rank(j->c);
    size_t cap = 0;
    int code = THAW_OK;
    thaw_comm_phase(j->c, "write");
    thaw_log_phase(j->ctx->log, side == THAW_USERS ? "writing users" : "writing items",
                   plan->rank_row[rank + 1] - plan->rank_row[rank], "rows");
    for (int32_t p = plan->first_part[rank]; !code && p < plan->first_part[rank + 1]; p++) {
        if ((code = check_stop(j, side, err))) break;
        code = write_part(j, side, p, rows, list, &cap, err);
        thaw_log_step(j->ctx->log, plan->first_row[p + 1] - plan->rank_row[rank]);
    }
    thaw_log_phase_end(j->ctx->log);
    return code;
}

// Collective. On rank 0, *packed grows by the file entries of all ranks: serialized messages join by
// concatenation, and ranks own parts in order, so the joined list is in part order.
static int files_gather(const struct job *j, const Thaw__Tables *list, uint8_t **packed, size_t *n,
                        struct thaw_err *err) {
    uint8_t *own = NULL, *joined = NULL;
    void *all = NULL;
    int64_t total = 0;
    const size_t nbytes = thaw__tables__get_packed_size(list);
    int code = thaw_comm_agree(j->c, thaw_alloc(&own, nbytes, 1, "file entries", err), err);
    if (code) return code;
    thaw__tables__pack(list, own);
    code = thaw_comm_gather(j->c, own, (int64_t)nbytes, 0, &all, &total, err);
    if (!code && is_first(j)) {
        joined = realloc(*packed, *n + (size_t)total + 1);
        if (!joined)
            code = thaw_fail(err, THAW_EMEM, "no memory for %" PRId64 " bytes of file entries", total);
    }
    if (joined) {
        if (total) memcpy(joined + *n, all, (size_t)total);
        *packed = joined;
        *n += (size_t)total;
    }
    free(own);
    free(all);
    return thaw_comm_agree(j->c, code, err);
}

// Collective. Items that training knew nothing of, and the gramian of all.
static int finish_items(struct job *j, float *rows, struct thaw_err *err) {
    const struct thaw_plan *plan = &j->plan[THAW_ITEMS];
    const int k = j->model->manifest->als->factors;
    int code =
        thaw_tables_fill(&j->filled, j->c, j->cold.prior_dir, j->cold.prior, j->dataset, plan, k, rows, err);
    if (code) return code;
    if (j->filled.lacking)
        thaw_log_warn(j->ctx->log,
                      "%" PRId64
                      " items without training interactions stay without a vector: %s was fitted with "
                      "--item-vectors, which it does not hold",
                      j->filled.lacking, j->cold.prior_dir);
    return thaw_sweep_gramian(j->c, plan, rows, k, j->columns, j->gramian, err);
}

// Collective.
static int write_side(struct job *j, enum thaw_side side, uint8_t **packed, size_t *n, struct thaw_err *err) {
    const struct thaw_plan *plan = &j->plan[side];
    const int rank = thaw_comm_rank(j->c);
    Thaw__Tables list = THAW__TABLES__INIT;
    float *rows = NULL;
    const size_t nrows = (size_t)(plan->rank_row[rank + 1] - plan->rank_row[rank]);
    int code =
        thaw_alloc(&rows, nrows * (size_t)j->columns, sizeof *rows, "this rank's rows of the model", err);
    if ((code = thaw_comm_agree(j->c, code, err))) goto done;
    if ((code = thaw_model_load(j->model, j->c, side, plan, rows, err))) goto done;
    if (side == THAW_ITEMS && (code = finish_items(j, rows, err))) goto done;
    code = write_parts(j, side, rows, &list, err);
    if ((code = thaw_comm_agree(j->c, code, err))) goto done;
    code = files_gather(j, &list, packed, n, err);
done:
    for (size_t i = 0; i < list.n_files; i++) thaw__file__free_unpacked(list.files[i], NULL);
    free(list.files);
    free(rows);
    return code;
}

// ---- The version ----

// Rank 0. Writes the gramian; its entry is appended to the packed list.
static int write_gramian(const struct job *j, uint8_t **packed, size_t *n, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[] = THAW_TABLE_GRAMIAN;
    struct thaw_file_info info = {0};
    const int64_t k = j->model->manifest->als->factors;
    const struct thaw_npy_shape shape = {THAW_NPY_F64, 2, k, k, 8};
    int code = thaw_path_join(path, j->dir, name, err);
    if (!code) code = thaw_npy_put(path, &shape, j->gramian, &info, err);
    if (code) return code;
    Thaw__File file = THAW__FILE__INIT, *files[] = {&file};
    file.name = name;
    file.nbytes = info.nbytes;
    file.sums = info.sums;
    file.n_sums = (size_t)info.nsums;
    Thaw__Tables list = THAW__TABLES__INIT;
    list.files = files;
    list.n_files = 1;
    const size_t nbytes = thaw__tables__get_packed_size(&list);
    uint8_t *joined = realloc(*packed, *n + nbytes);
    if (joined) {
        thaw__tables__pack(&list, joined + *n);
        *packed = joined;
        *n += nbytes;
    }
    thaw_file_info_clear(&info);
    return joined ? THAW_OK : thaw_fail(err, THAW_EMEM, "no memory for a file entry");
}

// Collective. Files that come behind the gramian: the items' attributes, or those of the cold-start models.
static int write_others(struct job *j, bool cold, uint8_t **packed, size_t *n, struct thaw_err *err) {
    const int rank = thaw_comm_rank(j->c);
    const int32_t *part = j->plan[THAW_ITEMS].first_part + rank;
    Thaw__Tables list = THAW__TABLES__INIT;
    size_t cap = 0;
    int code = cold ? thaw_tables_cold_copy(&j->cold, j->dir, rank, thaw_comm_size(j->c), &list, &cap, err)
                    : thaw_tables_attributes_copy(j->dataset, j->dir, part[0], part[1], &list, &cap, err);
    code = thaw_comm_agree(j->c, code, err);
    if (!code) code = files_gather(j, &list, packed, n, err);
    for (size_t i = 0; i < list.n_files; i++) thaw__file__free_unpacked(list.files[i], NULL);
    free(list.files);
    return code;
}

// Rank 0.
static int write_manifest(struct job *j, Thaw__Run *run, const uint8_t *packed, size_t n,
                          struct thaw_err *err) {
    Thaw__Tables *m = thaw__tables__unpack(NULL, n, packed);
    if (!m) return thaw_fail(err, THAW_EMEM, "no memory for the tables' manifest");
    m->format = 1;
    m->run = run; // this and what follows is borrowed
    m->als = j->model->manifest->als;
    m->users = j->dataset->manifest->users;
    m->items = j->dataset->manifest->items;
    m->dataset_digest = j->dataset->digest;
    m->model_digest = j->model->digest;
    m->parts = j->plan[THAW_USERS].nparts;
    m->columns = j->columns;
    m->interactions = j->dataset->manifest->interactions;
    m->filled_items = j->filled.items;
    m->user_attributes = j->dataset->manifest->user_attributes;
    m->n_user_attributes = j->dataset->manifest->n_user_attributes;
    m->item_attributes = j->dataset->manifest->item_attributes;
    m->n_item_attributes = j->dataset->manifest->n_item_attributes;
    thaw_tables_cold_lend(&j->cold, m);
    const int code = thaw_pack_write(j->dir, "manifest.pb", &m->base, err);
    thaw_tables_cold_take_back(&j->cold, m);
    m->run = NULL;
    m->als = NULL;
    m->users = m->items = NULL;
    m->user_attributes = m->item_attributes = NULL;
    m->n_user_attributes = m->n_item_attributes = 0;
    j->manifest = m;
    return code;
}

static const struct thaw_cmd cmd;

// Collective. Where the version came from.
static int run_record(const struct job *j, Thaw__Run **run, struct thaw_err *err) {
    int code = thaw_recipe_run_new(run, j->ctx, &cmd, j->o, thaw_blas_core(), err);
    if (code) return code;
    code = thaw_run_info_input(*run, j->data, 0, j->dataset->digest, err);
    if (!code) code = thaw_run_info_input(*run, j->model->dir, 0, j->model->digest, err);
    return thaw_comm_agree(j->c, code, err);
}

// Collective. All files are there: rank 0 adds the manifest and makes the version current.
static int version_finish(struct job *j, double started, const uint8_t *packed, size_t n,
                          struct thaw_err *err) {
    Thaw__Run *run = NULL;
    int code = run_record(j, &run, err);
    thaw_comm_phase(j->c, "commit");
    if (!code && is_first(j)) {
        run->seconds = thaw_time_s() - started;
        code = write_manifest(j, run, packed, n, err);
    }
    thaw_comm_phase(j->c, "publish");
    if (!code && is_first(j)) code = thaw_published_commit(j->o->out, j->number, (int)j->o->keep, err);
    if (run) thaw__run__free_unpacked(run, NULL);
    return thaw_comm_agree(j->c, code, err);
}

// Collective.
static int write_version(struct job *j, struct thaw_err *err) {
    const double started = thaw_time_s();
    const size_t k = (size_t)j->model->manifest->als->factors;
    uint8_t *packed = NULL;
    size_t n = 0;
    int code =
        thaw_comm_agree(j->c, thaw_alloc(&j->gramian, k * k, sizeof *j->gramian, "a gramian", err), err);
    if (!code) code = write_side(j, THAW_USERS, &packed, &n, err);
    if (!code) code = write_side(j, THAW_ITEMS, &packed, &n, err);
    if (!code) code = thaw_comm_agree(j->c, is_first(j) ? write_gramian(j, &packed, &n, err) : THAW_OK, err);
    if (!code) code = write_others(j, false, &packed, &n, err);
    if (!code) code = write_others(j, true, &packed, &n, err);
    if (!code) code = version_finish(j, started, packed, n, err);
    if (code && is_first(j)) thaw_dir_remove(j->dir, NULL);
    if (code && is_first(j) && j->made) rmdir(j->o->out); // only when it is empty
    free(packed);
    return code;
}

static void report(const struct job *j) {
    char name[THAW_PUBLISHED_NAME], users[32], items[32], count[32], filled[80] = "", bytes[16];
    int64_t nbytes = 0;
    const int64_t nusers = thaw_plan_rows(&j->plan[THAW_USERS]),
                  nitems = thaw_plan_rows(&j->plan[THAW_ITEMS]);
    for (size_t i = 0; i < j->manifest->n_files; i++) nbytes += j->manifest->files[i]->nbytes;
    thaw_published_name(name, j->number, "");
    switch (j->o->common.format) {
    case THAW_FORMAT_JSONL:
        printf("{\"version\":\"%s\",\"users\":%" PRId64 ",\"items\":%" PRId64
               ",\"columns\":%d,\"bytes\":%" PRId64 ",\"filled_items\":%" PRId64 "}\n",
               name, nusers, nitems, j->columns, nbytes, j->filled.items);
        break;
    case THAW_FORMAT_CSV:
        printf("version,users,items,columns,bytes,filled_items\n%s,%" PRId64 ",%" PRId64 ",%d,%" PRId64
               ",%" PRId64 "\n",
               name, nusers, nitems, j->columns, nbytes, j->filled.items);
        break;
    default:
        if (j->filled.items)
            snprintf(filled, sizeof filled, " (%s by their attributes alone)",
                     thaw_human_count(count, j->filled.items));
        printf("%s/%s: %s users, %s items%s, %d columns, %s\n", j->o->out, name,
               thaw_human_count(users, nusers), thaw_human_count(items, nitems), filled, j->columns,
               thaw_human_bytes(bytes, nbytes));
    }
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const struct options *o = options;
    struct job j = {.ctx = ctx,
                    .c = ctx->comm,
                    .o = options,
                    .cold = {.prior_dir = o->prior,
                             .association_dir = o->association,
                             .generator_dir = o->generator,
                             .blend_file = o->blend}};
    struct thaw_lock *lock = NULL;
    bool skip = false;
    (void)operands;
    int code = inputs_open(&j, err);
    if (!code) code = thaw_hold(&lock, ctx, "tables", o->out, err);
    if (!code) code = version_begin(&j, &skip, err);
    if (!code && skip)
        thaw_log_note(ctx->log, "%s: the current version was made from this model; --force writes another",
                      j.o->out);
    if (!code && !skip) code = write_version(&j, err);
    thaw_hold_end(&lock);
    if (!code && !skip && is_first(&j)) report(&j);
    if (j.manifest) thaw__tables__free_unpacked(j.manifest, NULL);
    free(j.gramian);
    thaw_tables_cold_clear(&j.cold);
    thaw_plan_clear(&j.plan[THAW_USERS]);
    thaw_plan_clear(&j.plan[THAW_ITEMS]);
    thaw_dataset_close(&j.dataset);
    thaw_model_close(&j.model);
    return code;
}

static const struct thaw_cmd cmd = {
    .program = "thaw",
    .name = "tables",
    .summary = "publish a model as tables for thaw-lookup",
    .operands = "",
    .description =
        "Writes the factors of a model, with the ids and what each user has seen, as memory-mappable "
        "files in a new version of a tables folder, and makes it current by a rename: a reader sees the "
        "old version or the new one, never half of one. The files are the same bytes for any number of "
        "ranks. A stop signal (SIGTERM, SIGUSR1) ends with 75 before the next part, and nothing of the "
        "new version stays.\n\n"
        "With --prior, --association and --generator the tables also answer for users nobody knows yet, "
        "from a profile and a few known items; --blend says how the three are weighed. They must have "
        "been made from the same dataset; the prior, and an association fitted with --model, from the same "
        "model. Where the prior has weights for "
        "items, each item without training interactions (new, or known from held-out users alone) gets "
        "the vector that its attributes tell, so that it can be recommended; the results say how many "
        "did. Not with a prior that was fitted with --item-vectors.\n\n"
        "When the current version was made from the same model and the same of these, nothing is written.",
    .files = "OUT/v000001: A version: vectors, ids, an index of the ids and what users have seen.\n"
             "OUT/current: A link to the version that readers take.",
    .examples = "thaw tables --model model --out tables\n"
                "mpirun -n 4 thaw tables --model model --out tables --keep 3\n"
                "thaw tables --model model --out tables --prior prior --association association --generator "
                "generator --blend blend.pb",
    THAW_CMD_OPTIONS(struct options, opts),
};
const struct thaw_job thaw_job_tables = {&cmd, run};
