// prior_vectors.h: vectors that others made (sentence embeddings, for example) as further feature columns.
#ifndef THAW_COMM_PRIOR_VECTORS_H
#define THAW_COMM_PRIOR_VECTORS_H

#include "comm/histories.h"
#include "comm/world.h"

struct thaw_vectors_found {
    int32_t columns;       // d
    int64_t rows, unknown; // over all ranks: rows that got a vector; ids the dataset does not have
};
// Collective. vectors: an .npy of n x d f32; ids: a file of n lines, the id of each. f, this rank's rows of
// the side by `plan`, grows by d columns after its own; rows without a vector have zeros there. Every rank
// reads an even share of both files and sends each vector to its row's owner; rows are told by the hash of
// their ids. THAW_ENOINPUT, THAW_EDATA (wrong type or shape, an id twice, not finite), THAW_EMEM: 4 d bytes a
// row, and 8 for each number that is not zero.
int thaw_vectors_append(struct thaw_features *f, struct thaw_comm *c, const struct thaw_dataset *d,
                        enum thaw_side side, const struct thaw_plan *plan, const char *vectors,
                        const char *ids, struct thaw_vectors_found *found, struct thaw_err *err);

#endif
