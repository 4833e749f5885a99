// virtual_write.h: what the generator makes up, written: interactions of users who have few, and whole
// virtual users; as the shards of comm/virtual.h and as events to read.
//
//   users-00007-of-00064.npz, extra-...   comm/virtual.h
//   users-00007-of-00064.csv, extra-...   lines user,item,weight; whole virtual users are virtual-0, virtual-1, ...
#ifndef THAW_COMM_VIRTUAL_WRITE_H
#define THAW_COMM_VIRTUAL_WRITE_H

#include "comm/gan_apply.h"
#include "comm/partfiles.h"

struct thaw_virtual_plan {
    const struct thaw_dataset *dataset;
    const struct thaw_plan *users, *items;
    const struct thaw_histories *h;
    struct thaw_gan_shape shape;
    const float *net;
    struct thaw_gan_items *item_rows;
    bool by_time;
    uint64_t seed;
    int64_t below;  // training users with fewer interactions get some; 0: nobody
    int64_t wanted; // how many they get
    int draws;      // of noise behind them
    int rest;       // whole users: their models have at least so many interactions
    int64_t extra;  // whole virtual users
};

// Rows in the making: of users or whole virtual users that this rank writes.
struct thaw_virtual_rows_made {
    int64_t nrows;
    int64_t *ptr;   // nrows + 1
    uint32_t *item; // rising inside a row
    float *weight;
    size_t ptr_cap, item_cap, weight_cap;
};

// Collective. A weight is .1 + .9 p / (p of the likeliest): rows of this rank's users. THAW_EMEM,
// THAW_ESTOPPED.
int thaw_virtual_make_users(struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                            struct thaw_virtual_rows_made *rows, struct thaw_err *err);
// Collective. Virtual user v is drawn under the profile and some known items of a training user, has as many
// items as this one, and belongs to part v parts / extra; weights are 1. rows: of this rank's parts;
// part_rows [parts]: of all, the same on all ranks. THAW_EDATA: no training user has plan->rest interactions.
// THAW_EMEM, THAW_ESTOPPED.
int thaw_virtual_make_extra(struct thaw_comm *c, const struct thaw_virtual_plan *plan,
                            struct thaw_virtual_rows_made *rows, int64_t *part_rows, struct thaw_err *err);
void thaw_virtual_rows_clear(struct thaw_virtual_rows_made *rows);

// Collective. Everything into dir, which exists, manifest last. manifest: format, run and digest are set by
// the caller; counts are filled in on rank 0. THAW_EIO, THAW_EMEM, THAW_EDATA, THAW_ESTOPPED: between two
// batches of users or two parts.
int thaw_virtual_write(struct thaw_comm *c, const struct thaw_virtual_plan *plan, const char *dir,
                       Thaw__Virtual *manifest, struct thaw_err *err);

#endif
