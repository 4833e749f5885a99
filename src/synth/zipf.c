#include "synth/zipf.h"

#include <math.h>

// The hat x^-s, its integral from 1, and the integral's inverse. Near s = 1 the powers are taken through
// expm1 and log1p.
static double hat(double x, double s) {
    return s == 1 ? 1 / x : exp(-s * log(x));
}

static double integral(double x, double s) {
    double t = (1 - s) * log(x);
    if (s == 1) return log(x);
    return expm1(t) / (1 - s);
}

static double inverse(double y, double s) {
    if (s == 1) return exp(y);
    double t = y * (1 - s);
    if (t < -1) t = -1; // rounding at the far end
    return exp(log1p(t) / (1 - s));
}

struct thaw_zipf thaw_zipf_make(int64_t n, double s) {
    struct thaw_zipf z = {.n = n, .s = s};
    z.low = integral(1.5, s) - 1;
    z.high = integral((double)n + 0.5, s);
    z.sure = 2 - inverse(integral(2.5, s) - hat(2, s), s);
    return z;
}

int64_t thaw_zipf_draw(const struct thaw_zipf *z, struct thaw_rng *rng) {
    if (z->n == 1) return 0;
    for (;;) {
        double y = z->high + thaw_rng_uniform(rng) * (z->low - z->high);
        double x = inverse(y, z->s);
        double k = floor(x + 0.5);
        if (k < 1) k = 1;
        if (k > (double)z->n) k = (double)z->n;
        if (k - x <= z->sure || y >= integral(k + 0.5, z->s) - hat(k, z->s)) return (int64_t)k - 1;
    }
}
