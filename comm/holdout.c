// holdout.c: which users training leaves out.
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"
#include "comm/interactions.h"

#include <stdlib.h>
#include <string.h>

bool thaw_held_out(const Thaw__Als *als, uint64_t id_hash) {
    if (als->holdout > 0) {
        struct thaw_rng draw = thaw_rng_at(als->holdout_seed, THAW_STREAM_HOLDOUT, id_hash);
        if (thaw_rng_uniform(&draw) < als->holdout) return true;
    }
    size_t low = 0, high = als->n_holdout_ids;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (als->holdout_ids[middle] < id_hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < als->n_holdout_ids && als->holdout_ids[low] == id_hash;
}

bool thaw_shard_held_out(const struct thaw_shard *s, const Thaw__Als *als, int64_t row) {
    const char *id = s->ids + row * s->id_width;
    return thaw_has_held_out(als) && thaw_held_out(als, thaw_hash_id(id, strnlen(id, (size_t)s->id_width)));
}

static int by_value(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// First word of the line [p, end); its length, 0 for none.
static size_t first_word(const char **p, const char *end) {
    while (*p < end && strchr(" \t\r", **p)) ++*p;
    const char *q = *p;
    while (q < end && !strchr(" \t\r#", *q)) q++;
    return (size_t)(q - *p);
}

int thaw_holdout_list_read(const char *path, uint64_t **out, size_t *nout, struct thaw_err *err) {
    enum { ID_MAX = 255 };
    struct thaw_map map;
    uint64_t *ids = NULL;
    size_t n = 0, cap = 0, kept = 0;
    int code = thaw_map_open(&map, path, err);
    if (code) return code;
    const char *p = (const char *)map.base, *stop = p + map.nbytes;
    for (int64_t line = 1; !code && p < stop; line++) {
        const char *newline = memchr(p, '\n', (size_t)(stop - p)), *end = newline ? newline : stop;
        const size_t length = first_word(&p, end);
        if (length > ID_MAX)
            code = thaw_fail(err, THAW_EDATA, "%s:%lld: an id of %zu bytes; the longest is %d", path,
                             (long long)line, length, ID_MAX);
        else if (length && !(code = thaw_grow(&ids, &cap, n + 1, sizeof *ids, "held-out users", err)))
            ids[n++] = thaw_hash_id(p, length);
        p = end + 1;
    }
    thaw_map_close(&map);
    if (code) {
        free(ids);
        return code;
    }
    if (n) qsort(ids, n, sizeof *ids, by_value);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || ids[i] != ids[i - 1]) ids[kept++] = ids[i];
    *out = ids;
    *nout = kept;
    return THAW_OK;
}
