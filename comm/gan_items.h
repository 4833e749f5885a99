// gan_items.h: the generator's item rows, spread over ranks: embedding, decoder and bias with their
// optimiser's moments and averages. The ranks of a node read each other's embeddings, and the gradients for
// them, where they lie, in a shared window; other nodes' travel. A rank owns whole blocks: runs of equally
// many parts, with THAW_GAN_BLOCK rows or more on average, which depend on the dataset alone. A block's rows
// are worked on in tiles of at most THAW_GAN_TILE rows.
#ifndef THAW_COMM_GAN_ITEMS_H
#define THAW_COMM_GAN_ITEMS_H

#include "comm/episodes.h"
#include "gan/gan.h"

enum { THAW_GAN_BLOCK = 128, THAW_GAN_TILE = 1024 };
enum {
    THAW_APPLY_BATCH = 256
}; // users at a time when a generator is at work: a number that results depend on
enum thaw_gan_table { THAW_GAN_EMBEDDING, THAW_GAN_DECODER, THAW_GAN_BIAS, THAW_GAN_TABLES };

// Local. Items to ranks by whole blocks: a plan like any other. THAW_EMEM, THAW_EDATA.
int thaw_gan_items_plan(struct thaw_plan *plan, const Thaw__Side *items, int nranks, struct thaw_err *err);

struct thaw_gan_items {
    struct thaw_comm *c;
    const struct thaw_plan *plan; // borrowed
    int k;
    int64_t first, rows; // of this rank
    int ntiles;
    int64_t *tile;    // ntiles + 1: rows of this rank
    int32_t *tile_of; // rows
    // Of each table, rows x width(table): parameters, moments, averages, gradient. width: k, k, 1.
    float *p[THAW_GAN_TABLES], *m[THAW_GAN_TABLES], *v[THAW_GAN_TABLES], *averaged[THAW_GAN_TABLES],
        *gradient[THAW_GAN_TABLES];
    float *fixed;  // rows x k: the embedding at its start, for the critic; NULL without one
    float *dknown; // this rank's samples x longest x k: gradients of the known items' rows; NULL: learns not
    // Exchange of rows:
    struct thaw_gan_exchange *exchange;
    double wait_s;
    int64_t nbytes; // sent
};
static inline size_t thaw_gan_width(const struct thaw_gan_items *t, int table) {
    return table == THAW_GAN_BIAS ? 1 : (size_t)t->k;
}

// Collective. All zero. batch, longest: of the minibatches to come, those of
// comm/gan_apply.h aside, which fit anyway. fixed: with the
// critic's embedding; learns: with moments, averages and gradients. THAW_EMEM.
int thaw_gan_items_new(struct thaw_gan_items **t, struct thaw_comm *c, const struct thaw_plan *plan, int k,
                       int batch, int longest, bool fixed, bool learns, struct thaw_err *err);
void thaw_gan_items_free(struct thaw_gan_items **t);

// Local. Embeddings were written: all may fetch them once the ranks have met, and nobody writes any until
// they have met again.
void thaw_gan_items_show(struct thaw_gan_items *t);
// Collective over nodes; the ranks of a node do not wait for each other. Rows of the known items of this
// rank's samples: known[(end - begin) x longest x k], and the same of the fixed embedding (NULL: not wanted;
// the same on all ranks). Rows beyond n are left alone.
void thaw_gan_items_fetch(struct thaw_gan_items *t, const struct thaw_batch *batch, float *known,
                          float *fixed);
// Collective, of the batch that was fetched last; returns at once. The gradients in dknown go home; they are
// not to be written until the ranks have met after take.
void thaw_gan_items_give(struct thaw_gan_items *t, const struct thaw_batch *batch);
// Collective, after give. The others' gradients have come: added to the embedding's gradient in the order of
// samples.
void thaw_gan_items_take(struct thaw_gan_items *t, const struct thaw_batch *batch);
// Local; thread-safe for different tables and tiles. An optimiser's step of tile `tile` of a table; its
// gradients are zero afterwards. false: a parameter is not finite any more.
bool thaw_gan_items_adam(struct thaw_gan_items *t, enum thaw_gan_table table, int tile,
                         const struct thaw_gan_adam *a, int64_t step, float rate, float keep);
// Collective. Parameters and their averages change places.
void thaw_gan_items_swap(struct thaw_gan_items *t);

#endif
