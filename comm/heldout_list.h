// heldout_list.h: a file that names held-out users and what is known of them: lines "user set item item ...",
// words separated by blanks, "#" starts a comment line. Private to comm/. Local; not thread-safe.
#ifndef THAW_COMM_HELDOUT_LIST_H
#define THAW_COMM_HELDOUT_LIST_H

#include "base/file.h"
#include "partition/plan.h"

struct thaw_list_user {
    uint64_t key; // hash of the id
    int64_t line; // from 1
    const char *id;
    int32_t id_bytes;
    int32_t words_bytes;
    const char *words; // the items: the rest of the line
};

struct thaw_heldout_list {
    struct thaw_map map;
    struct thaw_list_user *user; // by key
    int64_t nusers;
    size_t cap;
};

// Read the users of `set` whose part lies in [first_part, last_part). THAW_ENOINPUT; THAW_EDATA naming the
// line: fewer than max_known items, a user named twice.
int thaw_heldout_list_open(struct thaw_heldout_list *l, const char *path, const char *set, int max_known,
                           int32_t nparts, int32_t first_part, int32_t last_part, struct thaw_err *err);
void thaw_heldout_list_close(struct thaw_heldout_list *l);

// NULL when not listed.
const struct thaw_list_user *thaw_heldout_list_find(const struct thaw_heldout_list *l, const char *id,
                                                    size_t nbytes);

// The next word of [*at, end): its start and length, or NULL. *at moves behind it.
const char *thaw_heldout_list_word(const char **at, const char *end, size_t *nbytes);

#endif
