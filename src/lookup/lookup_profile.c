// lookup_profile.c: attributes by name, and the profile of someone new as feature columns.
#include "lookup/lookup_impl.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static const Thaw__Attribute *attribute(const struct thaw_lookup *l, enum thaw_side side, int field) {
    const Thaw__Tables *m = thaw_tables_manifest(l->tables);
    return side == THAW_USERS ? m->user_attributes[field] : m->item_attributes[field];
}

void thaw_lookup_get_field(const struct thaw_lookup *l, enum thaw_side side, int field,
                           struct thaw_lookup_field *f) {
    static const char *const kind[] = {"categorical", "multi", "numeric", "text"};
    const Thaw__Attribute *a = attribute(l, side, field);
    *f = (struct thaw_lookup_field){a->name, kind[a->kind], (int)a->n_values};
}

const char *thaw_lookup_value(const struct thaw_lookup *l, enum thaw_side side, int field, int value,
                              size_t *nbytes) {
    const ProtobufCBinaryData *v = &attribute(l, side, field)->values[value];
    *nbytes = v->len;
    return (const char *)v->data;
}

int thaw_lookup_find_field(const struct thaw_lookup *l, const char *name, size_t nbytes) {
    const Thaw__Tables *m = thaw_tables_manifest(l->tables);
    for (size_t i = 0; i < m->n_user_attributes; i++)
        if (strlen(m->user_attributes[i]->name) == nbytes &&
            !memcmp(m->user_attributes[i]->name, name, nbytes))
            return (int)i;
    return -1;
}

int thaw_lookup_profile_new(struct thaw_lookup_profile **out, const struct thaw_lookup *l,
                            struct thaw_err *err) {
    struct thaw_lookup_profile *p = NULL;
    int code = thaw_alloc(&p, 1, sizeof *p, "a profile", err);
    if (code) return code;
    p->l = l;
    code = thaw_alloc(&p->row, thaw_tables_manifest(l->tables)->n_user_attributes, sizeof *p->row,
                      "a profile", err);
    if (code)
        thaw_lookup_profile_free(&p);
    else
        *out = p;
    return code;
}

void thaw_lookup_profile_free(struct thaw_lookup_profile **out) {
    struct thaw_lookup_profile *p = *out;
    if (!p) return;
    for (size_t i = 0; p->row && i < thaw_tables_manifest(p->l->tables)->n_user_attributes; i++)
        thaw_row_clear(&p->row[i]);
    free(p->row);
    free(p->column);
    free(p->value);
    free(p->field);
    free(p);
    *out = NULL;
}

void thaw_lookup_profile_clear(struct thaw_lookup_profile *p) {
    for (size_t i = 0; i < thaw_tables_manifest(p->l->tables)->n_user_attributes; i++) p->row[i].n = 0;
    p->n = 0;
}

// The fields' rows one after the other.
static int join(struct thaw_lookup_profile *p, struct thaw_err *err) {
    size_t n = 0;
    int code = THAW_OK;
    for (size_t f = 0; !code && f < thaw_tables_manifest(p->l->tables)->n_user_attributes; f++)
        for (size_t i = 0; !code && i < p->row[f].n; i++, n++) {
            code = thaw_grow(&p->column, &p->column_cap, n + 1, sizeof *p->column, "a profile", err);
            if (!code) code = thaw_grow(&p->value, &p->value_cap, n + 1, sizeof *p->value, "a profile", err);
            if (!code) code = thaw_grow(&p->field, &p->field_cap, n + 1, sizeof *p->field, "a profile", err);
            if (code) break;
            p->column[n] = p->row[f].pair[i].column;
            p->value[n] = p->row[f].pair[i].value;
            p->field[n] = (int)f;
        }
    p->n = (int64_t)n;
    return code;
}

int thaw_lookup_profile_set(struct thaw_lookup_profile *p, int field, const char *value, size_t nbytes,
                            bool *known, struct thaw_err *err) {
    if (field < 0 || (size_t)field >= thaw_tables_manifest(p->l->tables)->n_user_attributes)
        return thaw_fail(err, THAW_EUSAGE, "no profile field %d", field);
    struct thaw_row *row = &p->row[field];
    row->n = 0;
    int code = thaw_encoder_add(p->l->encoder, (size_t)field, value, nbytes, row, err);
    if (code) row->n = 0;
    *known = !code && row->n > 0;
    const int joined = join(p, err);
    return code ? code : joined;
}
