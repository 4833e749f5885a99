// kernels.h: the loops that need the machine's vector unit, one set of them per unit, chosen at run time.
// Private; thread-safe; nothing allocates.
//
// kernel_template.h holds the code; kernels_avx512.c, kernels_avx2.c and kernels_portable.c compile it. The
// sets agree with each other to rounding, not to the bit; one set gives the same bits always.
#ifndef THAW_ALS_KERNELS_H
#define THAW_ALS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// w = wr r + w0, c = cr r + c0; the constant of the observed loss is c (implicit) or c^2 (squares: explicit).
struct thaw_als_terms {
    float wr, w0, cr, c0;
    bool squares;
};

// One pass over the interactions of a row, s = y.p: out += sum t y with t = w s (product) or c - w s
// (residual), or nothing but total += sum w s^2, at half the work (curvature: what the last direction needs
// to know).
enum thaw_als_want { THAW_ALS_PRODUCT, THAW_ALS_RESIDUAL, THAW_ALS_CURVATURE };
struct thaw_als_pass {
    const void *table;     // encoded rows
    const uint32_t *index; // n, and THAW_ALS_AHEAD more
    const float *r;        // n
    int64_t n;
    int width;
    enum thaw_als_want want; // with THAW_ALS_GATHER_PACK always the residual, with THAW_ALS_PACKED never
    struct thaw_als_terms terms;
    void *pack;     // n encoded rows, up to a multiple of 16: copies
    const float *p; // width, 64-byte aligned
    float *out;     // width, 64-byte aligned
    double total;   // residual: grows by the loss, sum (w s^2 - 2 c s + constant)
};
enum thaw_als_mode {
    THAW_ALS_GATHER,
    THAW_ALS_GATHER_PACK,
    THAW_ALS_PACKED
}; // from the table; and copy; the copy

// A row's conjugate gradients; als/cg.c.
struct thaw_als_cg {
    struct thaw_als_pass pass;
    float lambda;
    const float *base, *slope;            // width: the diagonal
    const uint32_t *moves;                // width
    float *z, *r, *q, *dir, *d, *inverse; // width, 64-byte aligned; z in and out
    int steps;
    float relaxation;
    double tolerance2;
    bool packs;  // the row fits into pass.pack
    double loss; // out: the observed terms at the solution
};

struct thaw_als_kernels {
    const char *name;
    // out (nrows x width) = in (nrows x nin, rows in_stride apart) T. T: nin x width in panels of 16 columns,
    // each nin x 16. Each output is one chain of fused multiply-adds from 0 over nin.
    void (*rotate)(const float *in, ptrdiff_t in_stride, int64_t nrows, int nin, const float *t, int width,
                   float *out);
    void (*pack)(const float *in, uint32_t *out, int64_t n); // f32 to bf16 pairs, n % 32 == 0
    void (*unpack)(const uint32_t *in, float *out, int64_t n);
    float (*norm2)(const float *y, int width);
    void (*pass)(struct thaw_als_pass *g, bool pairs, enum thaw_als_mode mode);
    void (*cg)(struct thaw_als_cg *c, bool pairs);
};
extern const struct thaw_als_kernels thaw_als_kernels_portable;
#if defined(__x86_64__)
extern const struct thaw_als_kernels thaw_als_kernels_avx2, thaw_als_kernels_avx512;
#endif

// The set for this machine, or the one that the environment's THAW_KERNELS names (portable, avx2, avx512)
// where the machine has it.
const struct thaw_als_kernels *thaw_als_kernel_set(void);
void thaw_als_kernels_use(const char *name); // that set where the machine has it; NULL: as at first
void thaw_als_kernels_choose(void);          // look at the environment again: for tests

#endif
