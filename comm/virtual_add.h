// virtual_add.h: virtual interactions on their way into training; private to comm/interactions.c.
//
// Users' owners read them, leave out what users really have, and send each also to its item's owner.
#ifndef THAW_COMM_VIRTUAL_ADD_H
#define THAW_COMM_VIRTUAL_ADD_H

#include "comm/interactions.h"

struct thaw_virtual_pair {
    int64_t item, user; // global rows
    float strength;
    int32_t pad;
};

struct thaw_virtual_add {
    struct thaw_virtual_wish wish; // files NULL: there are none
    struct thaw_virtual_pair
        *pair;          // of this rank's users; after the exchange: of its items, by item and user
    int64_t npairs, at; // at: the next that items take
    size_t cap;
};

// A row under construction: what training takes of it, rising.
struct thaw_virtual_row {
    int64_t **index;
    float **value;
    size_t *index_cap, *value_cap;
    int64_t n;
};

// Local. Row `row` of an open part joins a user's row; `has` (nhas of them, rising): items the user really
// has, counted or not. Pairs are kept for the items.
int thaw_virtual_add_user(struct thaw_virtual_add *v, const struct thaw_virtual_rows *from, int64_t row,
                          const int64_t *has, int64_t nhas, int64_t user, struct thaw_virtual_row *to,
                          struct thaw_err *err);
// Collective. Every pair to its item's owner.
int thaw_virtual_add_exchange(struct thaw_virtual_add *v, struct thaw_comm *c, const struct thaw_plan *items,
                              int64_t budget_bytes, struct thaw_err *err);
// Local. What is meant for an item joins its row. Items come in rising order.
int thaw_virtual_add_item(struct thaw_virtual_add *v, int64_t item, struct thaw_virtual_row *to,
                          struct thaw_err *err);

// virtual_users.c. Local. From the dataset's plan of users: users[0] grows by the virtual ones (extra), real
// stays as it was, with the same parts on each rank. THAW_EMEM.
int thaw_virtual_plan(struct thaw_plan *users, struct thaw_plan *real, const struct thaw_dataset *d,
                      const struct thaw_virtual_wish *wish, int k, struct thaw_err *err);
// Local. Where a row of the dataset's users stands among all. *part: a hint, any part; becomes the row's.
int64_t thaw_virtual_user_row(const struct thaw_plan *users, const struct thaw_plan *real, int64_t row,
                              int32_t *part);

#endif
