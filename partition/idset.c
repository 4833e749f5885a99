#include "partition/idset.h"

#include "base/mem.h"
#include "partition/tally.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

size_t thaw_id_pack(uint8_t *out, uint64_t hash, int64_t count, const void *id, size_t nid) {
    memcpy(out, &hash, 8);
    memcpy(out + 8, &count, 8);
    out[16] = (uint8_t)nid;
    memcpy(out + THAW_ID_RECORD, id, nid);
    return THAW_ID_RECORD + nid;
}

int64_t thaw_id_unpack(const uint8_t *bytes, int64_t at, struct thaw_id *id) {
    memcpy(&id->hash, bytes + at, 8);
    memcpy(&id->count, bytes + at + 8, 8);
    id->n = bytes[at + 16];
    id->id = (const char *)bytes + at + THAW_ID_RECORD;
    return at + THAW_ID_RECORD + id->n;
}

int thaw_idset_room(struct thaw_idset *set, int64_t nbytes, struct thaw_err *err) {
    int code = thaw_grow(&set->bytes, &set->bytes_cap, (size_t)nbytes, 1, "the ids of a part", err);
    if (!code) set->nbytes = nbytes;
    return code;
}

static int collision(const struct thaw_id *x, const struct thaw_id *y, struct thaw_err *err) {
    return thaw_fail(err, THAW_EDATA,
                     "the ids '%.*s' and '%.*s' have the same 64-bit hash %016" PRIx64
                     " and cannot be told apart: rename one of them in the input",
                     (int)(x->n < 160 ? x->n : 160), x->id, (int)(y->n < 160 ? y->n : 160), y->id, x->hash);
}

int thaw_idset_load(struct thaw_idset *set, struct thaw_tally *scratch, struct thaw_err *err) {
    struct thaw_id x;
    int64_t records = 0;
    for (int64_t at = 0; at < set->nbytes; records++) at = thaw_id_unpack(set->bytes, at, &x);
    int code = thaw_tally_reset(scratch, records, err);
    if (code) return code;
    set->n = 0;
    for (int64_t at = 0; at < set->nbytes;) {
        at = thaw_id_unpack(set->bytes, at, &x);
        int64_t place = *thaw_tally_at(scratch, x.hash, set->n);
        if (place < set->n) {
            struct thaw_id *known = &set->id[place];
            if (known->n != x.n || memcmp(known->id, x.id, x.n) != 0) return collision(known, &x, err);
            known->count += x.count;
            continue;
        }
        code =
            thaw_grow(&set->id, &set->id_cap, (size_t)set->n + 1, sizeof *set->id, "the ids of a part", err);
        if (code) return code;
        set->id[set->n++] = x;
    }
    return THAW_OK;
}

int thaw_idset_list(struct thaw_idset *set, struct thaw_err *err) {
    int code = THAW_OK;
    set->n = 0;
    for (int64_t at = 0; at < set->nbytes && !code;) {
        code =
            thaw_grow(&set->id, &set->id_cap, (size_t)set->n + 1, sizeof *set->id, "the ids of a part", err);
        if (!code) at = thaw_id_unpack(set->bytes, at, &set->id[set->n++]);
    }
    return code;
}

static int by_row(const void *va, const void *vb) {
    const struct thaw_id *a = va, *b = vb;
    if (a->count != b->count) return a->count > b->count ? -1 : 1;
    int order = memcmp(a->id, b->id, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

void thaw_idset_sort(struct thaw_idset *set) {
    if (set->n > 1) qsort(set->id, (size_t)set->n, sizeof *set->id, by_row);
}

void thaw_idset_clear(struct thaw_idset *set) {
    free(set->bytes);
    free(set->id);
    memset(set, 0, sizeof *set);
}
