// virtual_write.c: virtual interactions in files.
#include "comm/virtual_write.h"

#include "base/mem.h"
#include "comm/pull.h"
#include "comm/virtual.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUDGET = 64 << 20 };

struct writer {
    struct thaw_comm *c;
    const struct thaw_virtual_plan *plan;
    const char *dir;
    int rank, width; // of an item's id
    char *ids;       // this rank's items x width
    struct thaw_partfiles files;
};

// ---- Ids ----

static int load_ids(struct writer *w, struct thaw_err *err) {
    const struct thaw_plan *items = w->plan->items;
    const int64_t rows = items->rank_row[w->rank + 1] - items->rank_row[w->rank];
    int64_t at = 0;
    w->width = w->plan->dataset->manifest->items->id_width;
    int code = thaw_alloc(&w->ids, (size_t)(rows * w->width), 1, "item ids", err);
    for (int32_t p = items->first_part[w->rank]; !code && p < items->first_part[w->rank + 1]; p++) {
        struct thaw_shard s;
        if ((code = thaw_shard_open(&s, w->plan->dataset, THAW_ITEMS, p, false, err))) break;
        if (s.nrows) memcpy(w->ids + at * w->width, s.ids, (size_t)(s.nrows * s.id_width));
        at += s.nrows;
        thaw_shard_close(&s);
    }
    return thaw_comm_agree(w->c, code, err);
}

// A CSV field, quoted where it must be.
static void put_field(FILE *out, const char *text, size_t width) {
    const size_t n = strnlen(text, width);
    bool plain = n > 0;
    for (size_t i = 0; i < n; i++) plain &= !strchr(",\"\r\n", text[i]);
    if (plain) {
        fwrite(text, 1, n, out);
        return;
    }
    fputc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"') fputc('"', out);
        fputc(text[i], out);
    }
    fputc('"', out);
}

// ---- A part ----

struct part {
    enum thaw_virtual_kind kind;
    int32_t number; // -1: this rank has no more
    int64_t begin, nrows, first_virtual;
};

static int write_events(struct writer *w, const struct part *part, const struct thaw_virtual_rows_made *m,
                        const char *item_ids, struct thaw_err *err) {
    char name[THAW_PART_FILE], path[THAW_PATH_MAX], *text = NULL;
    size_t nbytes = 0;
    struct thaw_shard s = {0};
    thaw_virtual_file(name, part->kind, part->number, w->plan->users->nparts);
    memcpy(strrchr(name, '.'), ".csv", 5);
    int code = thaw_path_join(path, w->dir, name, err);
    if (!code && part->kind == THAW_VIRTUAL_USERS)
        code = thaw_shard_open(&s, w->plan->dataset, THAW_USERS, part->number, false, err);
    if (code) return code;
    FILE *out = open_memstream(&text, &nbytes);
    if (out) fprintf(out, "user,item,weight\n");
    for (int64_t r = 0; out && r < part->nrows; r++)
        for (int64_t i = m->ptr[part->begin + r]; i < m->ptr[part->begin + r + 1]; i++) {
            if (part->kind == THAW_VIRTUAL_USERS)
                put_field(out, s.ids + r * s.id_width, (size_t)s.id_width);
            else
                fprintf(out, "virtual-%" PRId64, part->first_virtual + r);
            fputc(',', out);
            put_field(out, item_ids + (i - m->ptr[part->begin]) * w->width, (size_t)w->width);
            fprintf(out, ",%.6g\n", (double)m->weight[i]);
        }
    const bool written = out && !ferror(out);
    if (out) fclose(out);
    code = written && text ? thaw_file_put(path, text, nbytes, NULL, err)
                           : thaw_fail(err, THAW_EMEM, "no memory for the events of %s", name);
    free(text);
    if (part->kind == THAW_VIRTUAL_USERS) thaw_shard_close(&s);
    return code;
}

static int write_shard(struct writer *w, const struct part *part, const struct thaw_virtual_rows_made *m,
                       struct thaw_err *err) {
    char name[THAW_PART_FILE];
    struct thaw_file_info info = {0};
    int64_t *ptr = NULL;
    const int64_t first = m->ptr[part->begin];
    int code = thaw_alloc(&ptr, (size_t)part->nrows + 1, sizeof *ptr, "virtual interactions", err);
    if (code) return code;
    for (int64_t r = 0; r <= part->nrows; r++) ptr[r] = m->ptr[part->begin + r] - first;
    static const uint32_t no_item;
    static const float no_weight;
    const bool some = ptr[part->nrows] > 0;
    const struct thaw_virtual_rows rows = {.nrows = part->nrows,
                                           .indptr = ptr,
                                           .indices = some ? m->item + first : &no_item,
                                           .weights = some ? m->weight + first : &no_weight};
    const int32_t nparts = w->plan->users->nparts;
    code = thaw_virtual_part_write(w->dir, part->kind, part->number, nparts, &rows, &info, err);
    if (!code)
        code = thaw_partfiles_add(&w->files, thaw_virtual_file(name, part->kind, part->number, nparts), &info,
                                  err);
    thaw_file_info_clear(&info);
    free(ptr);
    return code;
}

// Collective. One part of each rank, or none: its items' ids are fetched first.
static int write_part(struct writer *w, const struct part *part, const struct thaw_virtual_rows_made *m,
                      struct thaw_err *err) {
    const bool some = part->number >= 0;
    const int64_t first = some ? m->ptr[part->begin] : 0,
                  n = some ? m->ptr[part->begin + part->nrows] - first : 0;
    int64_t *wanted = NULL;
    char *ids = NULL;
    int code = thaw_comm_stop_requested(w->c) ? thaw_fail(err, THAW_ESTOPPED, "stopped on request") : THAW_OK;
    if (!code) code = thaw_alloc(&wanted, (size_t)n, sizeof *wanted, "item ids", err);
    if (!code) code = thaw_alloc(&ids, (size_t)(n * w->width), 1, "item ids", err);
    for (int64_t i = 0; !code && i < n; i++) wanted[i] = m->item[first + i];
    code = thaw_comm_agree(w->c, code, err);
    if (!code)
        code = thaw_pull(w->c, w->plan->items->rank_row, w->ids, (size_t)w->width, wanted, n, ids, BUDGET,
                         NULL, err);
    if (!code && some) code = write_shard(w, part, m, err);
    if (!code && some) code = write_events(w, part, m, ids, err);
    free(wanted);
    free(ids);
    return thaw_comm_agree(w->c, code, err);
}

// Collective. All parts of a kind; rows[p]: of part p.
static int write_parts(struct writer *w, enum thaw_virtual_kind kind, const int64_t *rows,
                       const struct thaw_virtual_rows_made *m, struct thaw_err *err) {
    const struct thaw_plan *users = w->plan->users;
    const int32_t first = users->first_part[w->rank], end = users->first_part[w->rank + 1];
    struct thaw_partfiles before = w->files;
    int64_t rounds = end - first, virtual_before = 0;
    struct part part = {.kind = kind};
    int code = THAW_OK;
    w->files = (struct thaw_partfiles){0};
    thaw_comm_max_i64(w->c, &rounds, 1);
    for (int32_t p = 0; p < first; p++) virtual_before += rows[p];
    part.first_virtual = virtual_before;
    for (int64_t i = 0; !code && i < rounds; i++) {
        const int32_t p = first + (int32_t)i;
        part.number = p < end ? p : -1;
        part.nrows = p < end ? rows[p] : 0;
        code = write_part(w, &part, m, err);
        part.begin += part.nrows;
        part.first_virtual += part.nrows;
    }
    if (!code) code = thaw_partfiles_gather(&w->files, w->c, err);
    for (size_t i = 0; i < w->files.n; i++) { // after those of the other kind
        if (!code &&
            thaw_grow(&before.file, &before.cap, before.n + 1, sizeof(*before.file), "file entries", err))
            code = THAW_EMEM;
        if (!code) before.file[before.n++] = w->files.file[i];
    }
    if (!code) w->files.n = 0;
    thaw_partfiles_clear(&w->files);
    w->files = before;
    return thaw_comm_agree(w->c, code, err);
}

// ---- The folder ----

static int64_t users_with(const struct thaw_virtual_rows_made *m) {
    int64_t n = 0;
    for (int64_t r = 0; r < m->nrows; r++) n += m->ptr[r + 1] > m->ptr[r];
    return n;
}

// Collective.
static int write_manifest(struct writer *w, Thaw__Virtual *m, const struct thaw_virtual_rows_made *users,
                          const struct thaw_virtual_rows_made *extra, int64_t *extra_rows,
                          struct thaw_err *err) {
    const struct thaw_plan *plan = w->plan->users;
    int64_t sums[3] = {users_with(users), users->ptr[users->nrows], extra->ptr[extra->nrows]};
    thaw_comm_sum_i64(w->c, sums, 3);
    if (w->rank != 0) return thaw_comm_agree(w->c, THAW_OK, err);
    m->items = thaw_plan_rows(w->plan->items);
    m->part_rows = w->plan->dataset->manifest->users->part_rows; // this and what follows is borrowed
    m->n_part_rows = (size_t)plan->nparts;
    m->users = sums[0];
    m->interactions = sums[1];
    m->extra_rows = extra_rows;
    m->n_extra_rows = w->plan->extra ? (size_t)plan->nparts : 0;
    m->extra_interactions = sums[2];
    m->files = w->files.file;
    m->n_files = w->files.n;
    const int code = thaw_pack_write(w->dir, "manifest.pb", &m->base, err);
    m->part_rows = m->extra_rows = NULL;
    m->files = NULL;
    m->n_part_rows = m->n_extra_rows = m->n_files = 0;
    return thaw_comm_agree(w->c, code, err);
}

int thaw_virtual_write(struct thaw_comm *c, const struct thaw_virtual_plan *plan, const char *dir,
                       Thaw__Virtual *manifest, struct thaw_err *err) {
    struct writer w = {.c = c, .plan = plan, .dir = dir, .rank = thaw_comm_rank(c)};
    struct thaw_virtual_rows_made users = {0}, extra = {0};
    const int32_t nparts = plan->users->nparts;
    int64_t *extra_rows = NULL, *part_rows = plan->dataset->manifest->users->part_rows;
    thaw_comm_phase(c, "write");
    int code = thaw_alloc(&extra_rows, (size_t)nparts, sizeof *extra_rows, "virtual users", err);
    if (!code && thaw_plan_rows(plan->items) > UINT32_MAX)
        code = thaw_fail(err, THAW_EUSAGE, "virtual interactions need fewer than 2^32 items");
    if ((code = thaw_comm_agree(c, code, err)) || (code = load_ids(&w, err)) ||
        (code = thaw_virtual_make_users(c, plan, &users, err)) ||
        (code = thaw_virtual_make_extra(c, plan, &extra, extra_rows, err)) ||
        (code = write_parts(&w, THAW_VIRTUAL_USERS, part_rows, &users, err)) ||
        (plan->extra && (code = write_parts(&w, THAW_VIRTUAL_EXTRA, extra_rows, &extra, err))))
        goto done;
    code = write_manifest(&w, manifest, &users, &extra, extra_rows, err);
done:
    thaw_partfiles_clear(&w.files);
    thaw_virtual_rows_clear(&users);
    thaw_virtual_rows_clear(&extra);
    free(extra_rows);
    free(w.ids);
    return code;
}
