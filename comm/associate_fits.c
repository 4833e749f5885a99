// associate_fits.c: does it fit, and if not, where would it?
#include "comm/associate_impl.h"
#include "comm/room.h"

#include <inttypes.h>
#include <stdio.h>

enum { SPARE = 8 }; // an eighth of the memory is left to histories, messages and sums

// Collective. Bytes that every rank may take.
static int64_t room(const struct thaw_associate *a) {
    const int64_t nbytes = thaw_comm_room(a->c);
    return a->config->memory ? a->config->memory : nbytes;
}

// Most elements of one matrix a rank would hold, and bytes of all of a system's matrices.
static int64_t need(const struct thaw_associate *a, int nranks, int64_t *elements) {
    const bool single = a->config->single;
    const int block = a->config->block ? (int)a->config->block : thaw_grid_block(nranks, a->unknowns);
    int64_t bytes = thaw_grid_nbytes(nranks, a->unknowns, a->unknowns, block, single);
    *elements = bytes / (single ? 4 : 8);
    if (a->episodic) bytes += thaw_grid_nbytes(nranks, a->unknowns, a->nitems, block, single);
    return bytes;
}

static bool fits(const struct thaw_associate *a, int nranks, int64_t have, int64_t *bytes) {
    int64_t elements;
    *bytes = need(a, nranks, &elements);
    *bytes += *bytes / (SPARE - 1);
    return *bytes <= have && (nranks == 1 || elements <= INT32_MAX);
}

static int refuse(const struct thaw_associate *a, int64_t have, struct thaw_err *err) {
    enum { MOST_RANKS = 1 << 20 };
    const int nranks = thaw_comm_size(a->c);
    char needs[16], has[16], then[16], would[128] = "no number of ranks with so little would do";
    int64_t bytes, more;
    fits(a, nranks, have, &bytes);
    for (int r = nranks + 1; r <= MOST_RANKS; r += r < 64 ? 1 : r / 16) {
        int nrow, ncol;
        thaw_grid_shape_of(r, &nrow, &ncol);
        if (ncol > 2 * nrow || !fits(a, r, have, &more)) continue; // long grids are slow ones
        snprintf(would, sizeof would, "%d ranks that may take %s each would do", r,
                 thaw_human_bytes(then, more));
        break;
    }
    return thaw_fail(
        err, THAW_EMEM,
        "%" PRId64 " items and %d features need %s on each of %d rank%s, and a rank may take %s%s: "
        "%s%s",
        a->nitems, (int)a->features, thaw_human_bytes(needs, bytes), nranks, nranks == 1 ? "" : "s",
        thaw_human_bytes(has, have), a->config->memory ? " (--memory)" : "", would,
        a->config->single ? "" : ", and half of it with --precision single");
}

int thaw_associate_fits(struct thaw_associate *a, int want, int *batch, struct thaw_err *err) {
    const int64_t have = room(a);
    int64_t bytes, elements;
    if (!fits(a, thaw_comm_size(a->c), have, &bytes)) return refuse(a, have, err);
    const int64_t each = need(a, thaw_comm_size(a->c), &elements), most = have - have / SPARE;
    *batch = want < THAW_ASSOCIATE_BATCH ? want : THAW_ASSOCIATE_BATCH;
    while (*batch > 1 && each * *batch > most) --*batch;
    a->store = (have - each * *batch) / 2;
    return THAW_OK;
}
