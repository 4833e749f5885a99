// evaluate_open.c: the models, baselines and users of a study of cold users.
#include "base/mem.h"
#include "comm/sweep.h"
#include "jobs/evaluation.h"
#include "jobs/tables_fill.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const thaw_system_name[THAW_SYSTEMS] = {"popularity",
                                                    "cells",
                                                    "knn",
                                                    "EASE",
                                                    "iALS",
                                                    "P",
                                                    "E",
                                                    "G",
                                                    "T",
                                                    "ensemble",
                                                    "virtual",
                                                    "G without adversary",
                                                    "ensemble without adversary"};

bool thaw_system_needs_items(enum thaw_system system) {
    return system == THAW_SYSTEM_KNN || system == THAW_SYSTEM_EASE || system == THAW_SYSTEM_IALS;
}

int thaw_study_seeds(const struct thaw_study *s, enum thaw_system system) {
    if (system == THAW_SYSTEM_GENERATOR || system == THAW_SYSTEM_ENSEMBLE || system == THAW_SYSTEM_VIRTUAL)
        return s->with.n;
    return system >= THAW_SYSTEM_GENERATOR_WITHOUT ? s->without.n : 1;
}

int thaw_study_without(const struct thaw_study *s, enum thaw_system system) {
    const enum thaw_system other = system == THAW_SYSTEM_GENERATOR  ? THAW_SYSTEM_GENERATOR_WITHOUT
                                   : system == THAW_SYSTEM_ENSEMBLE ? THAW_SYSTEM_ENSEMBLE_WITHOUT
                                                                    : THAW_SYSTEMS;
    return other < THAW_SYSTEMS && s->wanted[other] ? (int)other : -1;
}

// ---- What is wanted ----

static int find_system(const char *word, size_t n) {
    for (int i = 0; i <= THAW_SYSTEM_VIRTUAL; i++)
        if (strlen(thaw_system_name[i]) == n && strncasecmp(thaw_system_name[i], word, n) == 0) return i;
    return -1;
}

static int read_methods(struct thaw_study *s, struct thaw_err *err) {
    const struct thaw_evaluate_options *o = s->e->o;
    bool all = o->methods.n == 0;
    for (int i = 0; i < o->methods.n; i++)
        for (const char *p = o->methods.item[i]; *p; p += *p == ',') {
            const size_t n = strcspn(p, ",");
            const int system = find_system(p, n);
            if (n == 3 && strncmp(p, "all", n) == 0)
                all = true;
            else if (system < 0)
                return thaw_fail(
                    err, THAW_EUSAGE,
                    "--methods: '%.*s' is none of popularity, cells, knn, EASE, iALS, P, E, G, T, "
                    "ensemble, virtual, all",
                    (int)n, p);
            else
                s->asked[system] = true;
            p += n;
        }
    for (int i = 0; i <= THAW_SYSTEM_VIRTUAL; i++) s->wanted[i] = all || s->asked[i] || i <= THAW_SYSTEM_IALS;
    const int reference = find_system(o->reference, strlen(o->reference));
    if (reference < 0) return thaw_fail(err, THAW_EUSAGE, "--reference: no method '%s'", o->reference);
    s->reference = (enum thaw_system)reference;
    s->wanted[reference] = true;
    return THAW_OK;
}

// A system that cannot run is an error where it was asked for by name.
static int give_up(struct thaw_study *s, enum thaw_system system, const char *why, struct thaw_err *err) {
    if (!s->wanted[system]) return THAW_OK;
    s->wanted[system] = false;
    if (s->asked[system] || system == s->reference)
        return thaw_fail(err, THAW_EUSAGE, "%s cannot be measured: %s", thaw_system_name[system], why);
    return THAW_OK;
}

static int check_systems(struct thaw_study *s, struct thaw_err *err) {
    const bool any = s->prior || s->association || s->ngenerators > 0;
    int code = THAW_OK;
    if (!s->cells.ngroups)
        code = give_up(s, THAW_SYSTEM_CELLS, "users have no categorical profile field", err);
    if (!code && !s->prior) code = give_up(s, THAW_SYSTEM_PRIOR, "--prior is missing", err);
    if (!code && !s->association) code = give_up(s, THAW_SYSTEM_ASSOCIATION, "--association is missing", err);
    if (!code && !s->ngenerators) code = give_up(s, THAW_SYSTEM_GENERATOR, "--generator is missing", err);
    if (!code && !s->ngenerators) code = give_up(s, THAW_SYSTEM_VIRTUAL, "--generator is missing", err);
    if (!code && !(s->prior && s->prior->types > 0))
        code = give_up(s, THAW_SYSTEM_TYPES, "--prior is missing, or was made with --types 0", err);
    if (!code && !any) code = give_up(s, THAW_SYSTEM_ENSEMBLE, "there is no model to blend", err);
    const bool without = s->e->o->without.n > 0;
    s->wanted[THAW_SYSTEM_GENERATOR_WITHOUT] = without && s->wanted[THAW_SYSTEM_GENERATOR];
    s->wanted[THAW_SYSTEM_ENSEMBLE_WITHOUT] = without && s->wanted[THAW_SYSTEM_ENSEMBLE];
    return code;
}

// ---- Models ----

void thaw_study_source(const struct thaw_study *s, struct thaw_cold_source *source) {
    const Thaw__Model *m = s->e->model->manifest;
    *source = (struct thaw_cold_source){.items_dir = s->e->model->dir,
                                        .items = m->items,
                                        .item_rows = s->item_rows,
                                        .als = m->als,
                                        .blend = &s->scoring,
                                        .gramian = s->gramian};
}

static int read_manifest(const char *dir, const char *what, const ProtobufCMessageDescriptor *type,
                         ProtobufCMessage **m, struct thaw_err *err) {
    struct thaw_err why = THAW_ERR_INIT;
    const int code = thaw_pack_read(dir, "manifest.pb", type, m, &why);
    if (code == THAW_ENOINPUT) return thaw_fail(err, code, "%s: no %s here (no manifest.pb)", dir, what);
    return code ? thaw_fail(err, code, "%s", why.text) : THAW_OK;
}

static int check_digests(const struct thaw_study *s, const char *dir, uint64_t dataset, const uint64_t *model,
                         struct thaw_err *err) {
    if (dataset != s->e->dataset->digest)
        return thaw_fail(err, THAW_EDATA, "%s: fitted on another dataset than %s", dir, s->e->dataset->dir);
    if (model && *model != s->e->model->digest)
        return thaw_fail(err, THAW_EDATA, "%s: fitted on another model than %s", dir, s->e->model->dir);
    return THAW_OK;
}

static int read_prior(struct thaw_study *s, struct thaw_err *err) {
    if (!s->prior_dir) return THAW_OK;
    ProtobufCMessage *m = NULL;
    const int code = read_manifest(s->prior_dir, "prior", &thaw__prior__descriptor, &m, err);
    s->prior = (Thaw__Prior *)m;
    return code ? code
                : check_digests(s, s->prior_dir, s->prior->dataset_digest, &s->prior->model_digest, err);
}

// As its run says: did the fit leave any user out?
static bool left_users_out(const Thaw__Run *run) {
    bool any = !run;
    for (size_t i = 0; run && i < run->n_options; i++) {
        const Thaw__Option *o = run->options[i];
        any |= *o->value && (strcmp(o->name, "model") == 0 || strcmp(o->name, "holdout-list") == 0);
        any |= strcmp(o->name, "holdout-users") == 0 && strtod(o->value, NULL) > 0;
    }
    return any;
}

static int read_association(struct thaw_study *s, struct thaw_err *err) {
    if (!s->association_dir) return THAW_OK;
    ProtobufCMessage *m = NULL;
    const int code =
        read_manifest(s->association_dir, "association", &thaw__association__descriptor, &m, err);
    s->association = (Thaw__Association *)m;
    if (code) return code;
    if (s->association->method != THAW__ASSOCIATION__METHOD__EPISODIC)
        return thaw_fail(err, THAW_EUSAGE,
                         "--association %s: E needs one of 'thaw associate --method episodic'; EASE and item "
                         "neighbours are fitted anyway",
                         s->association_dir);
    if (!left_users_out(s->association->run))
        return thaw_fail(
            err, THAW_EDATA,
            "%s: fitted on all users, those to be measured too: fit it with --model, which says who is "
            "held out",
            s->association_dir);
    return check_digests(s, s->association_dir, s->association->dataset_digest,
                         s->association->model_digest ? &s->association->model_digest : NULL, err);
}

static int open_cold(struct thaw_study *s, struct thaw_study_models *m, int i, const char *dir,
                     struct thaw_err *err) {
    struct thaw_cold_source source;
    ProtobufCMessage *message = NULL;
    int code = THAW_OK;
    if (dir) {
        code = read_manifest(dir, "generator", &thaw__generator__descriptor, &message, err);
        m->generator[i] = (Thaw__Generator *)message;
        if (!code)
            code =
                check_digests(s, dir, m->generator[i]->dataset_digest, &m->generator[i]->model_digest, err);
        if (code) return code;
    }
    thaw_study_source(s, &source);
    source.prior_dir = s->prior_dir;
    source.prior = s->prior;
    source.association_dir = s->association_dir;
    source.association = s->association;
    source.generator_dir = dir;
    source.generator = m->generator[i];
    return thaw_cold_open(&m->cold[i], &source, err);
}

// The model alone, for histories with strengths of our own.
static int open_fold(struct thaw_study *s, struct thaw_err *err) {
    struct thaw_cold_source source;
    thaw_study_source(s, &source);
    s->fold_als = *source.als;
    s->fold_als.strength = THAW__ALS__STRENGTH__RAW;
    source.als = &s->fold_als;
    return thaw_cold_open(&s->fold, &source, err);
}

// A thaw_cold for every generator; for the other models alone where there is none.
static int open_models(struct thaw_study *s, struct thaw_err *err) {
    const struct thaw_list *without = &s->e->o->without;
    int code = read_association(s, err);
    s->with.n = s->ngenerators ? s->ngenerators : 1;
    for (int i = 0; !code && i < s->with.n; i++)
        code = open_cold(s, &s->with, i, s->ngenerators ? s->generator_dir[i] : NULL, err);
    if (!code && without->n > THAW_SEEDS_MAX)
        code = thaw_fail(err, THAW_EUSAGE, "--without-adversary: more than %d folders", THAW_SEEDS_MAX);
    if (!code) code = open_fold(s, err);
    s->without.n = code ? 0 : without->n;
    for (int i = 0; !code && i < without->n; i++) {
        code = open_cold(s, &s->without, i, without->item[i], err);
        if (!code && s->without.generator[i]->adversary != 0)
            code =
                thaw_fail(err, THAW_EUSAGE, "--without-adversary %s: trained with an adversary (weight %g)",
                          without->item[i], s->without.generator[i]->adversary);
    }
    return code;
}

static void close_models(struct thaw_study_models *m) {
    for (int i = 0; i < THAW_SEEDS_MAX; i++) {
        thaw_cold_close(&m->cold[i]);
        if (m->generator[i]) thaw__generator__free_unpacked(m->generator[i], NULL);
    }
}

// Collective. Everybody's item rows, which lie in order of their parts.
static int share_items(struct thaw_study *s, const float *rows, size_t n, struct thaw_err *err) {
    const struct thaw_plan *items = &s->e->plan[THAW_ITEMS];
    const int columns = thaw_model_columns(s->e->model);
    void *all = NULL;
    int64_t nbytes;
    int code =
        thaw_alloc(&s->item_rows, (size_t)items->nparts, sizeof(*s->item_rows), "the items' parts", err);
    if (!(code = thaw_comm_agree(s->c, code, err)))
        code = thaw_comm_gather(s->c, rows, (int64_t)(n * sizeof *rows), -1, &all, &nbytes, err);
    s->items = all;
    for (int32_t p = 0; !code && p < items->nparts; p++)
        s->item_rows[p] = s->items + items->first_row[p] * columns;
    return code;
}

// Collective. The model's items, those that training knew nothing of by their attributes.
static int load_items(struct thaw_study *s, struct thaw_err *err) {
    const struct thaw_evaluation *e = s->e;
    const struct thaw_plan *items = &e->plan[THAW_ITEMS];
    const int rank = thaw_comm_rank(s->c), columns = thaw_model_columns(e->model), k = e->als->factors;
    const size_t n = (size_t)(items->rank_row[rank + 1] - items->rank_row[rank]) * (size_t)columns;
    struct thaw_tables_filled filled = {0};
    float *rows = NULL;
    int code = thaw_alloc(&rows, n, sizeof *rows, "item factors", err);
    if (!code) code = thaw_alloc(&s->gramian, (size_t)k * (size_t)k, sizeof *s->gramian, "the gramian", err);
    code = thaw_comm_agree(s->c, code, err);
    if (!code) code = thaw_model_load(e->model, s->c, THAW_ITEMS, items, rows, err);
    if (!code)
        code = thaw_tables_fill(&filled, s->c, s->prior_dir, s->prior, e->dataset, items, k, rows, err);
    if (!code) code = thaw_sweep_gramian(s->c, items, rows, k, columns, s->gramian, err);
    if (!code && filled.items > 0) code = share_items(s, rows, n, err);
    free(rows);
    return code;
}

// ---- Users ----

// Collective.
static int begin_users(struct thaw_study *s, struct thaw_cold_users *users, const struct thaw_heldout *set,
                       struct thaw_err *err) {
    const int code =
        thaw_cold_users_new(users, set, &s->histories.profile, s->histories.first_row, s->e->als, err);
    return thaw_comm_agree(s->c, code, err);
}

// Collective. The users everything is tuned on, apart from those measured.
static int load_validation(struct thaw_study *s, struct thaw_err *err) {
    struct thaw_evaluation *e = s->e;
    struct thaw_heldout_choice choice = e->choice;
    const char *set = e->o->tune_set ? e->o->tune_set : e->o->list ? "val" : "validation";
    if (!e->o->tune) return THAW_OK;
    choice.list_set = set;
    choice.set = THAW_HELDOUT_VALIDATION;
    if (!e->o->list && strcmp(set, "validation") != 0)
        return thaw_fail(err, THAW_EUSAGE, "--tune-set: without a list the set is validation, not '%s'", set);
    if (e->o->list ? strcmp(set, e->choice.list_set) == 0 : e->choice.set != THAW_HELDOUT_TEST)
        thaw_log_warn(e->ctx->log, "the users measured are among those that numbers are tuned on: results "
                                   "flatter what is tuned");
    const int code = thaw_evaluation_users(e, &choice, &s->validation_set, err);
    return code ? code : begin_users(s, &s->validation, s->validation_set, err);
}

// Collective.
static int load_users(struct thaw_study *s, struct thaw_err *err) {
    struct thaw_evaluation *e = s->e;
    int code = thaw_histories_load(&s->histories, s->c, e->dataset, &e->plan[THAW_USERS], e->als, false,
                                   (uint64_t)e->o->seed, err);
    if (!code) code = thaw_evaluation_users(e, &e->choice, &e->users, err);
    if (!code) code = begin_users(s, &s->test, e->users, err);
    return code ? code : load_validation(s, err);
}

static void default_numbers(struct thaw_study *s) {
    for (int i = 0; i < s->e->nknown; i++) {
        thaw__known__init(&s->known[i]);
        s->known[i].known = s->e->known[i];
        thaw_cold_default_known(&s->known[i], s->e->known[i]);
        thaw_baseline_default_known(&s->known[i], s->e->known[i]);
        s->known[i].known = s->e->known[i];
    }
}

// ---- All of it ----

int thaw_study_open(struct thaw_study *s, struct thaw_err *err) {
    struct thaw_evaluation *e = s->e;
    const int64_t rows = thaw_comm_rank(s->c);
    int code = read_methods(s, err);
    default_numbers(s);
    if (!code && e->o->blend) code = thaw_study_blend_read(s, e->o->blend, err);
    if (e->o->samples > 0) s->samples = (int32_t)e->o->samples;
    thaw__blend__init(&s->scoring);
    s->scoring.dataset_digest = e->dataset->digest;
    s->scoring.samples = s->samples;
    if (!code && e->als->model == THAW__ALS__MODEL__EXPLICIT)
        code = thaw_fail(err, THAW_EUSAGE,
                         "%s: an explicit model predicts ratings; cold users are studied with "
                         "implicit ones",
                         e->model->dir);
    code = thaw_comm_agree(s->c, code, err);
    if (!code) code = load_users(s, err);
    if (!code) code = thaw_evaluation_items(e, err);
    const int64_t *owner = e->plan[THAW_ITEMS].rank_row + rows;
    if (!code)
        code =
            thaw_popularity_new(&s->popularity, s->c, e->degree, owner[1] - owner[0], e->training_users, err);
    if (!code)
        code = thaw_cells_new(&s->cells, s->c, e->o->cell_fields, e->dataset, &s->histories, &s->popularity,
                              err);
    if (!code) thaw_ials_begin(&s->ials, s->c, e->dataset, e->als, e->o->memory);
    return code;
}

int thaw_study_open_models(struct thaw_study *s, struct thaw_err *err) {
    int code = thaw_comm_agree(s->c, read_prior(s, err), err);
    if (!code) code = load_items(s, err);
    if (!code) code = thaw_comm_agree(s->c, open_models(s, err), err);
    return code ? code : check_systems(s, err);
}

void thaw_study_close(struct thaw_study *s) {
    thaw_study_drop(s, "ease", &s->ease_manifest, &s->ease);
    thaw_neighbors_close(&s->neighbors);
    thaw_study_drop(s, NULL, NULL, NULL);
    thaw_ials_clear(&s->ials);
    thaw_cold_close(&s->fold);
    close_models(&s->with);
    close_models(&s->without);
    if (s->prior) thaw__prior__free_unpacked(s->prior, NULL);
    if (s->association) thaw__association__free_unpacked(s->association, NULL);
    if (s->blend) thaw__blend__free_unpacked(s->blend, NULL);
    thaw_cells_clear(&s->cells);
    thaw_popularity_clear(&s->popularity);
    thaw_cold_users_clear(&s->test);
    thaw_cold_users_clear(&s->validation);
    thaw_heldout_free(&s->validation_set);
    thaw_histories_clear(&s->histories);
    free(s->gramian);
    free(s->item_rows);
    free(s->items);
}
