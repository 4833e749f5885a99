// random_tables_cold.c: random tables that also answer for users nobody knows.
#include "cold/random_cold.h"

#include "base/mem.h"
#include "proto/pack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int32_t values;
} fields[] = {{"gender", 2}, {"age", 7}, {"occupation", 21}, {"zip", 10}};
enum { FIELDS = sizeof fields / sizeof *fields, FEATURES = 2 + 7 + 21 + 10 };

// The attributes, all in static memory but for what is allocated here; borrowed by the manifest while it is
// written.
struct attributes {
    Thaw__Attribute attribute[FIELDS], *list[FIELDS];
    ProtobufCBinaryData value[FEATURES];
    int64_t count[FEATURES];
    char text[FEATURES][8], name[FIELDS][16];
};

static void attributes_fill(struct attributes *a) {
    int32_t first = 0;
    for (int f = 0; f < FIELDS; first += fields[f++].values) {
        thaw__attribute__init(&a->attribute[f]);
        snprintf(a->name[f], sizeof a->name[f], "%s", fields[f].name);
        a->attribute[f].name = a->name[f];
        a->attribute[f].first_column = first;
        a->attribute[f].columns = fields[f].values;
        a->attribute[f].values = a->value + first;
        a->attribute[f].n_values = (size_t)fields[f].values;
        a->attribute[f].counts = a->count + first;
        a->attribute[f].n_counts = (size_t)fields[f].values;
        a->list[f] = &a->attribute[f];
        for (int32_t v = 0; v < fields[f].values; v++) {
            const int n = snprintf(a->text[first + v], sizeof a->text[0], "%d", v);
            a->value[first + v] = (ProtobufCBinaryData){(size_t)n, (uint8_t *)a->text[first + v]};
        }
    }
}

// The files of a message become the tables'.
static int files_move(Thaw__Tables *m, size_t *cap, Thaw__File **files, size_t *n, struct thaw_err *err) {
    int code = thaw_grow(&m->files, cap, m->n_files + *n, sizeof(*m->files), "file entries", err);
    for (size_t i = 0; !code && i < *n; i++) m->files[m->n_files++] = files[i];
    if (!code) *n = 0;
    return code;
}

static int add(const char *dir, Thaw__Tables *m, const struct thaw_random_cold *r, struct attributes *a,
               struct thaw_err *err) {
    size_t cap = m->n_files;
    int code = thaw_random_cold_write(dir, m->items, r, &m->prior, &m->association, &m->generator, err);
    if (!code) code = files_move(m, &cap, m->prior->files, &m->prior->n_files, err);
    if (!code) code = files_move(m, &cap, m->association->files, &m->association->n_files, err);
    if (!code) code = files_move(m, &cap, m->generator->files, &m->generator->n_files, err);
    if (code) return code;
    attributes_fill(a);
    m->user_attributes = a->list;
    m->n_user_attributes = FIELDS;
    code = thaw_pack_write(dir, "manifest.pb", &m->base, err);
    m->user_attributes = NULL;
    m->n_user_attributes = 0;
    return code;
}

int thaw_random_cold_add(const char *dir, const struct thaw_random_cold *r, struct thaw_err *err) {
    ProtobufCMessage *message = NULL;
    struct attributes *a = NULL;
    struct thaw_random_cold own = *r;
    int code = thaw_pack_read(dir, "manifest.pb", &thaw__tables__descriptor, &message, err);
    if (!code) code = thaw_alloc(&a, 1, sizeof *a, "attributes", err);
    if (!code) {
        Thaw__Tables *m = (Thaw__Tables *)message;
        own.features = FEATURES;
        own.dataset_digest = m->dataset_digest;
        own.model_digest = m->model_digest;
        own.columns = true;
        code = add(dir, m, &own, a, err);
    }
    if (message) protobuf_c_message_free_unpacked(message, NULL);
    free(a);
    return code;
}
