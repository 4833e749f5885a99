// lookup.c: the lookup library's handle, and look-ups of single rows.
#include "lookup/lookup_impl.h"

#include "base/mem.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdlib.h>

// A text without zero bytes, as names are used.
static int attribute_check(const struct thaw_lookup *l, const Thaw__Attribute *a, struct thaw_err *err) {
    const bool named =
        a->kind == THAW__ATTRIBUTE__KIND__CATEGORICAL || a->kind == THAW__ATTRIBUTE__KIND__MULTI;
    if (*a->name && a->first_column >= 0 && a->columns >= 0 && a->first_column <= INT32_MAX - a->columns &&
        a->kind >= 0 && a->kind <= THAW__ATTRIBUTE__KIND__TEXT &&
        a->n_values <= (size_t)(named ? a->columns : INT32_MAX) &&
        (a->kind != THAW__ATTRIBUTE__KIND__TEXT || a->columns > 0))
        return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s/manifest.pb: the attribute '%.100s' is impossible",
                     thaw_tables_dir(l->tables), a->name);
}

static int fields_open(struct thaw_lookup *l, struct thaw_err *err) {
    const Thaw__Tables *m = thaw_tables_manifest(l->tables);
    int code = THAW_OK;
    for (size_t i = 0; !code && i < m->n_user_attributes; i++)
        code = attribute_check(l, m->user_attributes[i], err);
    for (size_t i = 0; !code && i < m->n_item_attributes; i++)
        code = attribute_check(l, m->item_attributes[i], err);
    return code ? code : thaw_encoder_new(&l->encoder, m->user_attributes, m->n_user_attributes, err);
}

int thaw_lookup_open(struct thaw_lookup **out, const char *tables, struct thaw_err *err) {
    struct thaw_lookup *l = NULL;
    int code = thaw_alloc(&l, 1, sizeof *l, "a lookup handle", err);
    if (code) return code;
    code = thaw_tables_open(&l->tables, tables, err);
    if (!code) code = fields_open(l, err);
    if (!code) code = lookup_models_new(&l->models, err);
    if (code) {
        thaw_lookup_close(&l);
        return code;
    }
    l->als = thaw_tables_manifest(l->tables)->als;
    l->k = l->als->factors;
    l->columns = thaw_tables_columns(l->tables);
    l->nitems = thaw_tables_rows(l->tables, THAW_ITEMS);
    *out = l;
    return THAW_OK;
}

void thaw_lookup_close(struct thaw_lookup **l) {
    if (!*l) return;
    lookup_models_free(&(*l)->models);
    thaw_encoder_free(&(*l)->encoder);
    thaw_tables_close(&(*l)->tables);
    free(*l);
    *l = NULL;
}

void thaw_lookup_get_info(const struct thaw_lookup *l, struct thaw_lookup_info *info) {
    const Thaw__Tables *m = thaw_tables_manifest(l->tables);
    *info = (struct thaw_lookup_info){
        .version = thaw_tables_dir(l->tables),
        .model = thaw_pack_model_name(l->als),
        .factors = l->k,
        .columns = l->columns,
        .biases = l->als->biases,
        .ratings = l->als->model == THAW__ALS__MODEL__EXPLICIT,
        .mean = l->als->mean,
        .users = thaw_tables_rows(l->tables, THAW_USERS),
        .items = l->nitems,
        .interactions = m->interactions,
        .parts = m->parts,
        .model_digest = m->model_digest,
        .dataset_digest = m->dataset_digest,
        .prior = m->prior,
        .association = m->association,
        .types = m->prior && m->prior->types > 0,
        .generator = m->generator,
        .blend = m->blend,
        .user_fields = (int)m->n_user_attributes,
        .item_fields = (int)m->n_item_attributes,
    };
    for (size_t i = 0; i < m->n_files; i++) info->nbytes += m->files[i]->nbytes;
}

int64_t thaw_lookup_find(const struct thaw_lookup *l, enum thaw_side side, const char *id, size_t nbytes) {
    return thaw_tables_find(l->tables, side, id, nbytes);
}

const char *thaw_lookup_id(const struct thaw_lookup *l, enum thaw_side side, int64_t row, size_t *nbytes) {
    return thaw_tables_id(l->tables, side, row, nbytes);
}

const float *thaw_lookup_vector(const struct thaw_lookup *l, enum thaw_side side, int64_t row) {
    return thaw_tables_vector(l->tables, side, row);
}

int64_t thaw_lookup_degree(const struct thaw_lookup *l, enum thaw_side side, int64_t row) {
    return thaw_tables_degree(l->tables, side, row);
}

const float *thaw_lookup_part(const struct thaw_lookup *l, int part, int64_t *nrows) {
    int64_t first;
    return thaw_tables_part(l->tables, THAW_ITEMS, part, nrows, &first);
}

int thaw_lookup_seen(const struct thaw_lookup *l, int64_t user, int64_t **items, int64_t *n,
                     struct thaw_err *err) {
    if (user < 0 || user >= thaw_tables_rows(l->tables, THAW_USERS))
        return thaw_fail(err, THAW_EUSAGE, "no user row %" PRId64, user);
    int64_t first = 0, *rows = NULL;
    const int64_t count = thaw_tables_seen(l->tables, user, &first);
    if (count < 0)
        return thaw_fail(err, THAW_EDATA,
                         "%s: user row %" PRId64 ": its seen items are out of range: run 'thaw-lookup check'",
                         thaw_tables_dir(l->tables), user);
    int code = thaw_alloc(&rows, (size_t)count, sizeof *rows, "a user's seen items", err);
    for (int64_t i = 0; !code && i < count; i++) {
        rows[i] = thaw_tables_seen_item(l->tables, user, first, i);
        if (rows[i] < 0)
            code = thaw_fail(err, THAW_EDATA,
                             "%s: user row %" PRId64 ": a seen item is out of range: run 'thaw-lookup check'",
                             thaw_tables_dir(l->tables), user);
    }
    if (code) {
        free(rows);
        return code;
    }
    *items = rows;
    *n = count;
    return THAW_OK;
}

int thaw_lookup_check(const struct thaw_lookup *l, struct thaw_err *err) {
    return thaw_tables_check(l->tables, err);
}
