// spread.c: smallest, mean and largest over ranks in one reduction.
#include "comm/spread.h"

#include "comm/handle.h"

static void merge(void *from, void *into, int *n, MPI_Datatype *type) {
    const struct thaw_spread *a = from;
    struct thaw_spread *b = into;
    (void)type;
    for (int i = 0; i < *n; i++) {
        if (a[i].min < b[i].min) b[i].min = a[i].min;
        if (a[i].max > b[i].max) b[i].max = a[i].max;
        b[i].mean += a[i].mean; // the sum, until all are in
    }
}

int thaw_spread(struct thaw_comm *c, const double *x, int64_t n, struct thaw_spread *out,
                struct thaw_err *err) {
    MPI_Datatype triple;
    MPI_Op op;
    const int64_t most = thaw_comm_count_max();
    const bool failed = MPI_Type_contiguous(3, MPI_DOUBLE, &triple) || MPI_Type_commit(&triple) ||
                        MPI_Op_create(merge, 1, &op);
    int code = failed ? thaw_fail(err, THAW_EMEM, "no memory for a reduction") : THAW_OK;
    if ((code = thaw_comm_agree(c, code, err))) return code;
    for (int64_t i = 0; i < n; i++) out[i] = (struct thaw_spread){x[i], x[i], x[i]};
    for (int64_t at = 0; at < n; at += most)
        MPI_Allreduce(MPI_IN_PLACE, out + at, (int)(n - at < most ? n - at : most), triple, op, c->all);
    for (int64_t i = 0; i < n; i++) out[i].mean /= c->size;
    MPI_Op_free(&op);
    MPI_Type_free(&triple);
    return THAW_OK;
}
