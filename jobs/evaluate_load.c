// evaluate_load.c: the dataset, the model and the held-out users of an evaluation.
#include "base/file.h"
#include "base/mem.h"
#include "comm/interactions.h"
#include "jobs/evaluation.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_AUTO, ORDER_TIME, ORDER_RANDOM };

// ---- What is asked ----

static int rising(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

// Words "1", "1,3,5" to distinct rising numbers.
static int read_numbers(const struct thaw_list *list, const char *name, int least, int most, int *out, int *n,
                        struct thaw_err *err) {
    *n = 0;
    for (int i = 0; i < list->n; i++)
        for (const char *p = list->item[i]; *p; p += *p == ',') {
            char *end;
            long v = strtol(p, &end, 10);
            if (end == p || (*end && *end != ',') || v < least || v > 1000)
                return thaw_fail(err, THAW_EUSAGE, "--%s: '%s' is not a list of numbers from %d to 1000",
                                 name, list->item[i], least);
            if (*n == most) return thaw_fail(err, THAW_EUSAGE, "--%s: more than %d numbers", name, most);
            out[(*n)++] = (int)v;
            p = end;
        }
    if (*n == 0) return thaw_fail(err, THAW_EUSAGE, "--%s: no number given", name);
    qsort(out, (size_t)*n, sizeof *out, rising);
    int kept = 1;
    for (int i = 1; i < *n; i++)
        if (out[i] != out[kept - 1]) out[kept++] = out[i];
    *n = kept;
    return THAW_OK;
}

int thaw_evaluation_numbers(struct thaw_evaluation *e, int least, struct thaw_err *err) {
    int code = read_numbers(&e->o->known, "known", least, THAW_KNOWN_MAX, e->known, &e->nknown, err);
    if (!code)
        code = read_numbers(&e->o->cutoffs, "cutoffs", 1, THAW_CUTOFFS_MAX, e->cutoff, &e->ncutoffs, err);
    if (!code && e->o->pool && e->o->pool < e->known[e->nknown - 1])
        code = thaw_fail(err, THAW_EUSAGE, "--pool %" PRId64 ": smaller than --known %d", e->o->pool,
                         e->known[e->nknown - 1]);
    return code;
}

static bool watched(const Thaw__Model *m) {
    for (size_t i = 0; m && i < m->n_iterations; i++)
        if (m->iterations[i]->quality != 0) return true;
    return false;
}

int thaw_evaluation_choose(struct thaw_evaluation *e, struct thaw_err *err) {
    static const char *const names[3] = {"all", "validation", "test"};
    const struct thaw_evaluate_options *o = e->o;
    struct thaw_heldout_choice *choice = &e->choice;
    const int pool = o->pool ? (int)o->pool : e->known[e->nknown - 1];
    const bool has_time = e->dataset->manifest->has_time;
    *choice = (struct thaw_heldout_choice){.als = e->als,
                                           .max_users = o->users,
                                           .max_known = pool > 0 ? pool : 1,
                                           .by_time =
                                               o->order == ORDER_TIME || (o->order == ORDER_AUTO && has_time),
                                           .seed = (uint64_t)o->seed,
                                           .list = o->list,
                                           .list_set = o->set ? o->set : "test"};
    if (o->list) {
        choice->by_time = false;
        return THAW_OK;
    }
    const bool split = o->tune || watched(e->model ? e->model->manifest : NULL);
    const char *set = o->set ? o->set : split ? "test" : "all";
    for (int i = 0; i < 3; i++)
        if (strcmp(set, names[i]) == 0) {
            choice->set = (enum thaw_heldout_set)i;
            return THAW_OK;
        }
    return thaw_fail(err, THAW_EUSAGE, "--set: '%s' is none of all, test, validation", set);
}

static int check_model(const struct thaw_evaluation *e, struct thaw_err *err) {
    const Thaw__Model *m = e->model->manifest;
    if (m->dataset_digest != e->dataset->digest)
        return thaw_fail(err, THAW_EDATA,
                         "%s: trained on another dataset (%s, digest %016" PRIx64
                         ") than %s (digest %016" PRIx64 ")",
                         e->model->dir, m->dataset, m->dataset_digest, e->dataset->dir, e->dataset->digest);
    if (!thaw_has_held_out(m->als))
        return thaw_fail(
            err, THAW_EDATA,
            "%s: no user was held out of training: train with --holdout-users (say 0.1) to evaluate",
            e->model->dir);
    return THAW_OK;
}

int thaw_evaluation_plan(struct thaw_evaluation *e, struct thaw_err *err) {
    const Thaw__Dataset *d = e->dataset->manifest;
    const int size = thaw_comm_size(e->c);
    const int code =
        thaw_plan_new(&e->plan[THAW_USERS], d->parts, d->users->part_rows, d->users->part_nnz, size, err);
    if (code) return code; // scoring costs the same for every item
    return thaw_plan_new(&e->plan[THAW_ITEMS], d->parts, d->items->part_rows, NULL, size, err);
}

// ---- Loading ----

int thaw_evaluation_open(struct thaw_evaluation *e, struct thaw_err *err) {
    char note[256] = "";
    int code = e->dataset ? THAW_OK : thaw_dataset_open(&e->dataset, e->o->data, err);
    code = thaw_comm_agree(e->c, code, err);
    if (!code) code = thaw_model_open(&e->model, e->c, e->model_dir, true, note, err);
    if (code) return code;
    if (*note) thaw_log_warn(e->ctx->log, "%s", note);
    if (e->model->manifest->n_iterations == 0)
        thaw_log_warn(e->ctx->log, "%s: no iteration was trained; its items are random", e->model->dir);
    if (!e->model->manifest->finished)
        thaw_log_warn(e->ctx->log, "%s: training has not finished; this is its last checkpoint",
                      e->model->dir);
    e->als = e->model->manifest->als;
    code = check_model(e, err);
    if (!code) code = thaw_evaluation_choose(e, err);
    if (!code) code = thaw_evaluation_plan(e, err);
    return thaw_comm_agree(e->c, code, err);
}

int thaw_evaluation_items(struct thaw_evaluation *e, struct thaw_err *err) {
    const struct thaw_plan *items = &e->plan[THAW_ITEMS];
    const int rank = thaw_comm_rank(e->c);
    const size_t n = (size_t)(items->rank_row[rank + 1] - items->rank_row[rank]);
    int code = thaw_alloc(&e->degree, n, sizeof *e->degree, "item degrees", err);
    if (!code) code = thaw_alloc(&e->value_sum, n, sizeof *e->value_sum, "item sums", err);
    if ((code = thaw_comm_agree(e->c, code, err))) return code;
    return thaw_heldout_item_degrees(e->c, e->dataset, e->plan, e->als, e->degree, e->value_sum,
                                     &e->training_users, err);
}

int thaw_evaluation_users(struct thaw_evaluation *e, const struct thaw_heldout_choice *choice,
                          struct thaw_heldout **users, struct thaw_err *err) {
    int code = thaw_heldout_load(users, e->c, e->dataset, &e->plan[THAW_USERS], choice, true, err);
    if (code) return code;
    const struct thaw_heldout *h = *users;
    if (h->unknown > 0)
        thaw_log_warn(e->ctx->log,
                      "%" PRId64
                      " users of set '%s' of %s are not held-out users of this model: not measured",
                      h->unknown, choice->list_set, choice->list);
    if (h->lacking > 0)
        thaw_log_warn(e->ctx->log,
                      "%" PRId64 " users of %s lack one of their known items in the dataset: not measured",
                      h->lacking, choice->list);
    if (h->total == 0)
        return thaw_fail(err, THAW_EDATA,
                         "no user to measure: %" PRId64 " are held out, %" PRId64
                         " of those asked for have no more than the %d known interactions (--known)",
                         h->held_out, h->too_short, h->max_known);
    return THAW_OK;
}

void thaw_evaluation_clear(struct thaw_evaluation *e) {
    thaw_heldout_free(&e->users);
    thaw_plan_clear(&e->plan[THAW_USERS]);
    thaw_plan_clear(&e->plan[THAW_ITEMS]);
    thaw_model_close(&e->model);
    thaw_dataset_close(&e->dataset);
    free(e->degree);
    free(e->value_sum);
}

// ---- Results ----

void thaw_evaluation_notes(const struct thaw_evaluation *e, FILE *out) {
    const struct thaw_heldout *h = e->users;
    fprintf(out, "users: %" PRId64 " held out, %" PRId64 " measured", h->held_out, h->total);
    if (e->choice.list)
        fprintf(out, " (set '%s' of a list)", e->choice.list_set);
    else if (e->choice.set != THAW_HELDOUT_ALL)
        fprintf(out, " (%s)",
                e->choice.set == THAW_HELDOUT_TEST ? "not watched by training" : "watched by training");
    fprintf(out, "; %" PRId64 " have %d interactions or fewer; known items ", h->too_short, h->max_known);
    fprintf(out, "%s\n",
            e->choice.list      ? "as listed"
            : e->choice.by_time ? "in time order"
                                : "in random order");
    fprintf(out, "items: %" PRId64 "; training users: %" PRId64 "\n", thaw_plan_rows(&e->plan[THAW_ITEMS]),
            e->training_users);
}

int thaw_evaluation_put(const struct thaw_evaluation *e, const char *text, size_t n, struct thaw_err *err) {
    fwrite(text, 1, n, stdout);
    return e->o->out ? thaw_file_put(e->o->out, text, n, NULL, err) : THAW_OK;
}
