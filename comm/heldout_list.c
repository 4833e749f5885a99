// heldout_list.c: a file that names held-out users and what is known of them.
#include "comm/heldout_list.h"

#include "base/hash.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool blank(char ch) {
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == ',';
}

const char *thaw_heldout_list_word(const char **at, const char *end, size_t *nbytes) {
    const char *p = *at;
    while (p < end && blank(*p)) p++;
    const char *start = p;
    while (p < end && !blank(*p)) p++;
    *at = p;
    *nbytes = (size_t)(p - start);
    return p > start ? start : NULL;
}

struct place { // what a line is read against
    const char *path, *set;
    int max_known;
    int32_t nparts, first_part, last_part;
};

static int read_line(struct thaw_heldout_list *l, const struct place *p, const char *at, const char *end,
                     int64_t line, struct thaw_err *err) {
    size_t n, set_bytes, word;
    const char *id = thaw_heldout_list_word(&at, end, &n);
    if (!id || *id == '#') return THAW_OK;
    const char *set = thaw_heldout_list_word(&at, end, &set_bytes);
    if (!set)
        return thaw_fail(err, THAW_EDATA,
                         "%s:%" PRId64 ": a line is 'user set item item ...', this one has one word", p->path,
                         line);
    uint64_t key = thaw_hash_id(id, n);
    int32_t part = thaw_hash_part(key, p->nparts);
    if (set_bytes != strlen(p->set) || memcmp(set, p->set, set_bytes) != 0) return THAW_OK;
    if (part < p->first_part || part >= p->last_part) return THAW_OK;
    struct thaw_list_user user = {.key = key,
                                  .line = line,
                                  .id = id,
                                  .id_bytes = (int32_t)n,
                                  .words = at,
                                  .words_bytes = (int32_t)(end - at)};
    int items = 0;
    while (thaw_heldout_list_word(&at, end, &word)) items++;
    if (items < p->max_known)
        return thaw_fail(err, THAW_EDATA,
                         "%s:%" PRId64 ": user '%.*s' has %d known items, fewer than the %d asked for",
                         p->path, line, (int)n, id, items, p->max_known);
    int code = thaw_grow(&l->user, &l->cap, (size_t)l->nusers + 1, sizeof *l->user, "a list of users", err);
    if (code == THAW_OK) l->user[l->nusers++] = user;
    return code;
}

static int compare(const void *a, const void *b) {
    const struct thaw_list_user *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->line < y->line ? -1 : x->line > y->line;
}

int thaw_heldout_list_open(struct thaw_heldout_list *l, const char *path, const char *set, int max_known,
                           int32_t nparts, int32_t first_part, int32_t last_part, struct thaw_err *err) {
    struct place p = {path, set, max_known, nparts, first_part, last_part};
    memset(l, 0, sizeof *l);
    int code = thaw_map_open(&l->map, path, err);
    if (code != THAW_OK) return code;
    const char *at = (const char *)l->map.base, *end = at + l->map.nbytes;
    for (int64_t line = 1; code == THAW_OK && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        if (stop - at > INT32_MAX)
            return thaw_fail(err, THAW_EDATA, "%s:%" PRId64 ": line too long", path, line);
        code = read_line(l, &p, at, stop, line, err);
        at = stop + 1;
    }
    if (l->nusers > 1) qsort(l->user, (size_t)l->nusers, sizeof *l->user, compare);
    for (int64_t i = 1; code == THAW_OK && i < l->nusers; i++)
        if (l->user[i].key == l->user[i - 1].key)
            code = thaw_fail(err, THAW_EDATA,
                             "%s:%" PRId64 ": user '%.*s' is listed twice (first in line %" PRId64 ")", path,
                             l->user[i].line, (int)l->user[i].id_bytes, l->user[i].id, l->user[i - 1].line);
    return code;
}

void thaw_heldout_list_close(struct thaw_heldout_list *l) {
    free(l->user);
    thaw_map_close(&l->map);
    memset(l, 0, sizeof *l);
}

const struct thaw_list_user *thaw_heldout_list_find(const struct thaw_heldout_list *l, const char *id,
                                                    size_t nbytes) {
    uint64_t key = thaw_hash_id(id, nbytes);
    int64_t low = 0, high = l->nusers;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (l->user[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == l->nusers || l->user[low].key != key) return NULL;
    const struct thaw_list_user *u = &l->user[low];
    return (size_t)u->id_bytes == nbytes && memcmp(u->id, id, nbytes) == 0 ? u : NULL;
}
