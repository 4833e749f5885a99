// model.c: see model.h.
#include "comm/model.h"

#include "als/als.h"
#include "base/mem.h"
#include "base/npy.h"
#include "comm/versions.h"
#include "proto/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const Thaw__Side *side_of(const Thaw__Model *m, enum thaw_side side) {
    return side == THAW_USERS ? m->users : m->items;
}

int thaw_model_columns(const struct thaw_model *m) {
    return m->manifest->als->factors + (m->manifest->als->biases ? 1 : 0);
}

// ---- Opening ----

// The entry of a part's file: entries lie in part order, users first. NULL when it is not the one that should
// be there.
static const Thaw__File *entry_of(const Thaw__Model *f, enum thaw_side side, int32_t part) {
    const size_t nparts = f->users->n_part_rows, at = (size_t)side * nparts + (size_t)part;
    char name[THAW_PART_FILE];
    thaw_part_file(name, side, part, (int32_t)nparts, "npy");
    return at < f->n_files && strcmp(f->files[at]->name, name) == 0 ? f->files[at] : NULL;
}

static int check_side(const struct thaw_model *m, enum thaw_side side, struct thaw_err *err) {
    const Thaw__Side *s = side_of(m->manifest, side);
    for (size_t p = 0; p < s->n_part_rows; p++) {
        const Thaw__File *f = entry_of(m->manifest, side, (int32_t)p);
        if (s->part_rows[p] < 0)
            return thaw_fail(err, THAW_EDATA, "%s: manifest.pb has a negative number of rows", m->dir);
        if (!f || f->nbytes < 0 || (int64_t)f->n_sums != (f->nbytes + THAW_SUM_CHUNK - 1) / THAW_SUM_CHUNK)
            return thaw_fail(err, THAW_EDATA, "%s: manifest.pb does not describe the file of part %zu of %s",
                             m->dir, p, thaw_side_name[side]);
    }
    return THAW_OK;
}

static int check_manifest(const struct thaw_model *m, struct thaw_err *err) {
    const Thaw__Model *f = m->manifest;
    if (f->format != 1)
        return thaw_fail(err, THAW_EDATA,
                         "%s: manifest.pb has format %u; this version of Thaw reads format 1", m->dir,
                         (unsigned)f->format);
    if (!f->als || !f->users || !f->items || f->users->n_part_rows != f->items->n_part_rows ||
        f->users->n_part_rows == 0 || f->users->n_part_rows > THAW_PARTS_MAX || f->als->factors < 1 ||
        f->als->factors > THAW_ALS_FACTORS_MAX)
        return thaw_fail(err, THAW_EDATA, "%s: manifest.pb does not describe a model", m->dir);
    const int code = check_side(m, THAW_USERS, err);
    return code ? code : check_side(m, THAW_ITEMS, err);
}

// Map a part and check its length and shape.
static int part_open(const struct thaw_model *m, enum thaw_side side, int32_t part, struct thaw_npy *a,
                     struct thaw_file_info *info, char path[THAW_PATH_MAX], struct thaw_err *err) {
    const Thaw__Side *s = side_of(m->manifest, side);
    const Thaw__File *f = entry_of(m->manifest, side, part);
    *info = (struct thaw_file_info){.nbytes = f->nbytes, .sums = f->sums, .nsums = (int32_t)f->n_sums};
    int code = thaw_path_join(path, m->dir, f->name, err);
    if (!code) code = thaw_npy_open(a, path, info, err);
    if (code) return code;
    const struct thaw_npy_shape want = thaw_model_shape(s->part_rows[part], thaw_model_columns(m));
    if (a->shape.type == want.type && a->shape.ndim == 2 && a->shape.rows == want.rows &&
        a->shape.cols == want.cols)
        return THAW_OK;
    thaw_npy_close(a);
    return thaw_fail(err, THAW_EDATA, "%s: not %" PRId64 " x %" PRId64 " 32-bit floats", path, want.rows,
                     want.cols);
}

// Check this rank's even share of the files.
static int check_files(const struct thaw_model *m, struct thaw_comm *c, bool verify, struct thaw_err *err) {
    const int32_t nparts = (int32_t)m->manifest->users->n_part_rows;
    const int32_t begin = thaw_plan_even(nparts, thaw_comm_size(c), thaw_comm_rank(c));
    const int32_t end = thaw_plan_even(nparts, thaw_comm_size(c), thaw_comm_rank(c) + 1);
    for (int side = 0; side < 2; side++) {
        for (int32_t p = begin; p < end; p++) {
            char path[THAW_PATH_MAX];
            struct thaw_npy a;
            struct thaw_file_info info;
            if (thaw_comm_stop_requested(c))
                return thaw_fail(err, THAW_ESTOPPED,
                                 "stopped on request while %s was being checked: run the same command again",
                                 m->dir);
            int code = part_open(m, (enum thaw_side)side, p, &a, &info, path, err);
            if (code) return code;
            if (verify) code = thaw_map_check(&a.map, path, &info, err);
            thaw_npy_close(&a);
            if (code) return code;
        }
    }
    return THAW_OK;
}

// Collective: rank 0 reads the manifest, all get it.
static int read_manifest(struct thaw_model *m, struct thaw_comm *c, struct thaw_err *err) {
    ProtobufCMessage *message = NULL;
    uint8_t *packed = NULL;
    int64_t nbytes = 0;
    int code = THAW_OK;
    if (thaw_comm_rank(c) == 0) {
        code = thaw_pack_read(m->dir, "manifest.pb", &thaw__model__descriptor, &message, err);
        if (!code) nbytes = (int64_t)protobuf_c_message_get_packed_size(message);
    }
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    thaw_comm_bcast(c, &nbytes, sizeof nbytes, 0);
    code = thaw_alloc(&packed, (size_t)nbytes, 1, "the model's manifest", err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    if (message) protobuf_c_message_pack(message, packed);
    thaw_comm_bcast(c, packed, nbytes, 0);
    m->manifest = thaw__model__unpack(NULL, (size_t)nbytes, packed);
    code = m->manifest ? thaw_pack_digest(&m->manifest->base, &m->digest, err)
                       : thaw_fail(err, THAW_EMEM, "no memory for the model's manifest");
    code = thaw_comm_agree(c, code, err);
done:
    if (message) protobuf_c_message_free_unpacked(message, NULL);
    free(packed);
    return code;
}

int thaw_model_open_version(struct thaw_model **out, struct thaw_comm *c, const char *folder, int number,
                            bool verify, struct thaw_err *err) {
    char path[THAW_PATH_MAX], name[THAW_VERSION_NAME];
    struct thaw_model *m = NULL;
    int code = thaw_path_join(path, folder, thaw_version_name(name, number, ""), err);
    if (!code) code = thaw_alloc(&m, 1, sizeof *m, "the model", err);
    if (!code && !(m->dir = strdup(path))) code = thaw_fail(err, THAW_EMEM, "no memory for the model");
    if ((code = thaw_comm_agree(c, code, err)) || (code = read_manifest(m, c, err))) goto done;
    code = check_manifest(m, err);
    if (!code) code = check_files(m, c, verify, err);
    if ((code = thaw_comm_agree(c, code, err))) goto done;
    *out = m;
    m = NULL;
done:
    thaw_model_close(&m);
    return code;
}

// Collective: what rank 0 finds, on all ranks; the current version comes first.
static int candidates(struct thaw_versions *v, struct thaw_comm *c, const char *out, struct thaw_err *err) {
    *v = (struct thaw_versions){.current = -1};
    int code = thaw_comm_rank(c) == 0 ? thaw_versions_list(v, out, err) : THAW_OK;
    if ((code = thaw_comm_agree(c, code, err))) return code;
    thaw_comm_bcast(c, &v->n, sizeof v->n, 0);
    if (thaw_comm_rank(c) != 0)
        code = thaw_alloc(&v->number, (size_t)v->n, sizeof *v->number, "a list of versions", err);
    if ((code = thaw_comm_agree(c, code, err))) return code;
    thaw_comm_bcast(c, v->number, v->n * (int64_t)sizeof *v->number, 0);
    thaw_comm_bcast(c, &v->current, sizeof v->current, 0);
    for (int i = 0; i < v->n; i++) {
        if (v->number[i] != v->current) continue;
        memmove(v->number + 1, v->number, (size_t)i * sizeof *v->number);
        v->number[0] = v->current;
    }
    return THAW_OK;
}

int thaw_model_open(struct thaw_model **m, struct thaw_comm *c, const char *out, bool verify, char note[256],
                    struct thaw_err *err) {
    struct thaw_versions v;
    struct thaw_err first = THAW_ERR_INIT;
    int code = candidates(&v, c, out, err);
    note[0] = 0;
    if (!code && v.n == 0)
        code = thaw_fail(err, THAW_ENOINPUT, "%s: no model here: 'thaw train' makes one", out);
    for (int i = 0; !code && i < v.n; i++) {
        struct thaw_err own = THAW_ERR_INIT;
        const int opened = thaw_model_open_version(m, c, out, v.number[i], verify, &own);
        if (i == 0) first = own;
        if (opened == THAW_OK) {
            if (i)
                snprintf(note, 256, "using iteration %d, because the newer checkpoint is damaged: %.180s",
                         v.number[i], first.text);
            break;
        }
        if (opened != THAW_EDATA && opened != THAW_ENOINPUT) {
            *err = own;
            code = opened;
        } else if (i + 1 == v.n) {
            *err = first;
            code = err->code = THAW_EDATA;
        }
    }
    thaw_versions_clear(&v);
    return code;
}

void thaw_model_close(struct thaw_model **m) {
    if (!*m) return;
    if ((*m)->manifest) thaw__model__free_unpacked((*m)->manifest, NULL);
    free((*m)->dir);
    free(*m);
    *m = NULL;
}

static int load(const struct thaw_model *m, int rank, enum thaw_side side, const struct thaw_plan *plan,
                float *rows, struct thaw_err *err) {
    const Thaw__Side *s = side_of(m->manifest, side);
    const int columns = thaw_model_columns(m);
    bool same = plan->nparts == (int32_t)s->n_part_rows;
    for (int32_t p = 0; same && p < plan->nparts; p++)
        same = plan->first_row[p + 1] - plan->first_row[p] == s->part_rows[p];
    if (!same) return thaw_fail(err, THAW_EDATA, "%s: the model was not trained on this dataset", m->dir);
    for (int32_t p = plan->first_part[rank]; p < plan->first_part[rank + 1]; p++) {
        char path[THAW_PATH_MAX];
        struct thaw_npy a;
        struct thaw_file_info info;
        const int code = part_open(m, side, p, &a, &info, path, err);
        if (code) return code;
        if (a.shape.rows)
            memcpy(rows + (plan->first_row[p] - plan->rank_row[rank]) * columns, a.data,
                   (size_t)thaw_npy_nbytes(&a.shape));
        thaw_npy_close(&a);
    }
    return THAW_OK;
}

int thaw_model_load(const struct thaw_model *m, struct thaw_comm *c, enum thaw_side side,
                    const struct thaw_plan *plan, float *rows, struct thaw_err *err) {
    return thaw_comm_agree(c, load(m, thaw_comm_rank(c), side, plan, rows, err), err);
}

int thaw_model_recover(struct thaw_comm *c, const char *out, struct thaw_err *err) {
    return thaw_comm_agree(c, thaw_comm_rank(c) == 0 ? thaw_versions_recover(out, err) : THAW_OK, err);
}

int thaw_model_prune(struct thaw_comm *c, const char *out, int number, struct thaw_err *err) {
    int code = THAW_OK;
    if (thaw_comm_rank(c) == 0) {
        if (number >= 0) code = thaw_version_publish(out, number, err);
        if (!code) code = thaw_versions_prune(out, number, -1, err);
    }
    return thaw_comm_agree(c, code, err);
}
