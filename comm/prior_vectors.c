// prior_vectors.c: see prior_vectors.h.
#include "comm/prior_vectors.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/npy.h"
#include "comm/shuffle.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SEND_BYTES = 16 << 20 };

struct owned {
    uint64_t hash;
    int64_t row;
};

struct vectors {
    struct thaw_comm *c;
    const struct thaw_plan *plan;
    const char *path, *ids_path;
    struct thaw_npy npy; // n x d
    struct thaw_map ids;
    int64_t begin, end;  // bytes of ids whose lines this rank reads: those that begin there
    int64_t line;        // number of the first of them
    struct owned *owned; // this rank's rows by hash
    int64_t nowned;
    float *value; // nowned x d
    uint8_t *has; // nowned
    int64_t unknown;
    char *record;
};

static int64_t columns(const struct vectors *v) {
    return v->npy.shape.cols;
}

// ---- The files ----

static int open_files(struct vectors *v, struct thaw_err *err) {
    int code = thaw_npy_open(&v->npy, v->path, NULL, err);
    if (code) return code;
    if (v->npy.shape.type != THAW_NPY_F32 || v->npy.shape.ndim != 2 || columns(v) < 1 ||
        columns(v) > INT32_MAX)
        return thaw_fail(err, THAW_EDATA, "%s: vectors are rows of 32-bit floats (<f4, two dimensions)",
                         v->path);
    return thaw_map_open(&v->ids, v->ids_path, err);
}

static bool begins_line(const struct vectors *v, int64_t at) {
    return at == 0 || v->ids.base[at - 1] == '\n';
}

// Collective. This rank's share of the lines, and the number of its first.
static int share_lines(struct vectors *v, struct thaw_err *err) {
    const int64_t n = v->ids.nbytes, size = thaw_comm_size(v->c), rank = thaw_comm_rank(v->c);
    int64_t lines = 0, total;
    v->begin = n / size * rank + n % size * rank / size;
    v->end = n / size * (rank + 1) + n % size * (rank + 1) / size;
    for (int64_t at = v->begin; at < v->end; at++) lines += begins_line(v, at);
    v->line = total = lines;
    thaw_comm_exscan_i64(v->c, &v->line, 1);
    thaw_comm_sum_i64(v->c, &total, 1);
    if (total == v->npy.shape.rows) return THAW_OK;
    return thaw_fail(err, THAW_EDATA, "%s has %" PRId64 " ids, but %s has %" PRId64 " vectors", v->ids_path,
                     total, v->path, v->npy.shape.rows);
}

// ---- This rank's rows ----

static int by_hash(const void *a, const void *b) {
    const struct owned *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static int find_owned(struct vectors *v, const struct thaw_dataset *d, enum thaw_side side,
                      struct thaw_err *err) {
    const int rank = thaw_comm_rank(v->c);
    int64_t at = 0;
    v->nowned = v->plan->rank_row[rank + 1] - v->plan->rank_row[rank];
    const size_t n = (size_t)v->nowned;
    int code = thaw_alloc(&v->owned, n, sizeof *v->owned, "ids", err);
    if (!code) code = thaw_alloc(&v->value, n * (size_t)columns(v), sizeof *v->value, "vectors", err);
    if (!code) code = thaw_alloc(&v->has, n, 1, "vectors", err);
    for (int32_t p = v->plan->first_part[rank]; !code && p < v->plan->first_part[rank + 1]; p++) {
        struct thaw_shard s;
        if ((code = thaw_shard_open(&s, d, side, p, false, err))) break;
        for (int64_t row = 0; row < s.nrows; row++, at++) {
            const char *id = s.ids + row * s.id_width;
            v->owned[at] = (struct owned){thaw_hash_id(id, strnlen(id, (size_t)s.id_width)), at};
        }
        thaw_shard_close(&s);
    }
    if (!code && n) qsort(v->owned, n, sizeof *v->owned, by_hash);
    return code;
}

// ---- Sending ----

static int owner_of(const struct thaw_plan *plan, uint64_t hash) {
    const int32_t part = thaw_hash_part(hash, plan->nparts);
    int low = 0, high = plan->nranks;
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        if (plan->first_part[middle] <= part)
            low = middle;
        else
            high = middle;
    }
    return low;
}

// The line that begins at `at`; *next: where the following one does.
static int send_line(struct vectors *v, struct thaw_shuffle *s, int64_t at, int64_t *next,
                     struct thaw_err *err) {
    const char *id = (const char *)v->ids.base + at;
    const char *stop = memchr(id, '\n', (size_t)(v->ids.nbytes - at));
    size_t n = stop ? (size_t)(stop - id) : (size_t)(v->ids.nbytes - at);
    const size_t nbytes = (size_t)columns(v) * sizeof(float);
    const float *x = (const float *)v->npy.data + v->line * columns(v);
    *next = at + (int64_t)n + 1;
    if (n && id[n - 1] == '\r') n--;
    for (int64_t j = 0; j < columns(v); j++)
        if (!isfinite(x[j]))
            return thaw_fail(err, THAW_EDATA, "%s: the vector of row %" PRId64 " is not finite", v->path,
                             v->line);
    const uint64_t hash = thaw_hash_id(id, n);
    memcpy(v->record, &hash, sizeof hash);
    memcpy(v->record + sizeof hash, x, nbytes);
    thaw_shuffle_put(s, owner_of(v->plan, hash), v->record, sizeof hash + nbytes);
    v->line++;
    return THAW_OK;
}

static int take(struct vectors *v, const char *record, struct thaw_err *err) {
    struct owned key = {0};
    memcpy(&key.hash, record, sizeof key.hash);
    const struct owned *found =
        v->nowned ? bsearch(&key, v->owned, (size_t)v->nowned, sizeof key, by_hash) : NULL;
    v->unknown += !found;
    if (!found) return THAW_OK;
    if (v->has[found->row])
        return thaw_fail(err, THAW_EDATA, "%s: an id stands there twice (row %" PRId64 " of the dataset)",
                         v->ids_path, v->plan->rank_row[thaw_comm_rank(v->c)] + found->row);
    v->has[found->row] = 1;
    memcpy(v->value + found->row * columns(v), record + sizeof key.hash,
           (size_t)columns(v) * sizeof *v->value);
    return THAW_OK;
}

static int on_records(void *user, int source, const void *bytes, size_t n, struct thaw_err *err) {
    struct vectors *v = user;
    const size_t record = sizeof(uint64_t) + (size_t)columns(v) * sizeof(float);
    int code = THAW_OK;
    (void)source;
    for (size_t at = 0; !code && at < n; at += record) code = take(v, (const char *)bytes + at, err);
    return code;
}

// Collective.
static int exchange(struct vectors *v, struct thaw_err *err) {
    struct thaw_shuffle *s = NULL;
    bool done = false;
    int64_t at = v->begin;
    int code = thaw_shuffle_new(&s, v->c, SEND_BYTES, on_records, v, err);
    while (at < v->end && !begins_line(v, at)) at++;
    while (!code && !done) {
        int own = THAW_OK;
        while (!own && at < v->end && !thaw_shuffle_full(s)) own = send_line(v, s, at, &at, err);
        code = thaw_shuffle_round(s, at >= v->end, &done, own, err);
    }
    thaw_shuffle_free(&s);
    return code;
}

// ---- Into the features ----

// Rows get longer, so the last one moves first.
static int append(struct vectors *v, struct thaw_features *f, struct thaw_err *err) {
    const int64_t d = columns(v), n = f->nrows;
    int64_t more = 0;
    if (f->columns > INT32_MAX - d) return thaw_fail(err, THAW_EDATA, "%s: too many columns", v->path);
    for (int64_t i = 0; i < n * d; i++) more += v->value[i] != 0;
    const size_t total = (size_t)(f->ptr[n] + more);
    int code = thaw_grow(&f->column, &f->column_cap, total, sizeof *f->column, "features", err);
    if (!code) code = thaw_grow(&f->value, &f->value_cap, total, sizeof *f->value, "features", err);
    if (code) return code;
    int64_t to = (int64_t)total;
    for (int64_t row = n - 1; row >= 0; row--) {
        const int64_t end = to;
        for (int64_t j = d - 1; j >= 0; j--) {
            const float x = v->value[row * d + j];
            if (x == 0) continue;
            f->column[--to] = (uint32_t)(f->columns + j);
            f->value[to] = x;
        }
        for (int64_t i = f->ptr[row + 1] - 1; i >= f->ptr[row]; i--) {
            f->column[--to] = f->column[i];
            f->value[to] = f->value[i];
        }
        f->ptr[row + 1] = end;
    }
    f->columns += (int32_t)d;
    return THAW_OK;
}

int thaw_vectors_append(struct thaw_features *f, struct thaw_comm *c, const struct thaw_dataset *d,
                        enum thaw_side side, const struct thaw_plan *plan, const char *vectors,
                        const char *ids, struct thaw_vectors_found *found, struct thaw_err *err) {
    struct vectors v = {.c = c, .plan = plan, .path = vectors, .ids_path = ids};
    int code = thaw_comm_agree(c, open_files(&v, err), err);
    if (!code) code = share_lines(&v, err);
    if (code) goto done;
    code = find_owned(&v, d, side, err);
    if (!code)
        code =
            thaw_alloc(&v.record, sizeof(uint64_t) + (size_t)columns(&v) * sizeof(float), 1, "a vector", err);
    if ((code = thaw_comm_agree(c, code, err)) || (code = exchange(&v, err))) goto done;
    if ((code = thaw_comm_agree(c, append(&v, f, err), err))) goto done;
    int64_t sums[2] = {0, v.unknown};
    for (int64_t row = 0; row < v.nowned; row++) sums[0] += v.has[row];
    thaw_comm_sum_i64(c, sums, 2);
    *found = (struct thaw_vectors_found){(int32_t)columns(&v), sums[0], sums[1]};
done:
    thaw_npy_close(&v.npy);
    thaw_map_close(&v.ids);
    free(v.owned);
    free(v.value);
    free(v.has);
    free(v.record);
    return code;
}
