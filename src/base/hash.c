// hash.c: XXH3 behind Thaw's names.
#include "base/hash.h"

#include <stdlib.h>
#include <xxhash.h>

struct thaw_digest {
    XXH3_state_t *state;
};

uint64_t thaw_hash_id(const void *id, size_t nbytes) {
    return XXH3_64bits(id, nbytes);
}

struct thaw_digest *thaw_digest_new(void) {
    struct thaw_digest *d = malloc(sizeof *d);
    if (!d) return NULL;
    d->state = XXH3_createState();
    if (!d->state) {
        free(d);
        return NULL;
    }
    thaw_digest_reset(d);
    return d;
}

void thaw_digest_reset(struct thaw_digest *d) {
    XXH3_64bits_reset(d->state);
}

void thaw_digest_add(struct thaw_digest *d, const void *bytes, size_t n) {
    if (n > 0) XXH3_64bits_update(d->state, bytes, n);
}

uint64_t thaw_digest_value(const struct thaw_digest *d) {
    return XXH3_64bits_digest(d->state);
}

void thaw_digest_free(struct thaw_digest **d) {
    if (!d || !*d) return;
    XXH3_freeState((*d)->state);
    free(*d);
    *d = NULL;
}
