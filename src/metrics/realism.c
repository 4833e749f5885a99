// realism.c: a discriminant between two samples.
#include "metrics/realism.h"

#include "base/mem.h"
#include "dense/chol.h"
#include "metrics/auc.h"

#include <math.h>
#include <stdlib.h>

enum { FOLDS = 5 };

struct discriminant {
    const float *made, *real;
    int64_t nmade, nreal;
    int k, width;                             // width = 2k + 1: x, x^2, 1
    double *mean, *deviation;                 // 2k
    double *x;                                // width
    double *gram[FOLDS], *target[FOLDS];      // lower triangles, width x width; width
    double *system, *weight;                  // of one fold
    double *made_score, *real_score, *memory; // memory: all of them
};

static void features(const struct discriminant *d, const float *row) {
    for (int j = 0; j < d->k; j++) {
        const double x = (double)row[j];
        d->x[j] = (x - d->mean[j]) / d->deviation[j];
        d->x[d->k + j] = (x * x - d->mean[d->k + j]) / d->deviation[d->k + j];
    }
    d->x[2 * d->k] = 1;
}

static void standardise(struct discriminant *d) {
    const double n = (double)(d->nmade + d->nreal);
    const float *row[2] = {d->made, d->real};
    const int64_t count[2] = {d->nmade, d->nreal};
    for (int pass = 0; pass < 2; pass++)
        for (int s = 0; s < 2; s++)
            for (int64_t i = 0; i < count[s]; i++)
                for (int j = 0; j < 2 * d->k; j++) {
                    const double v = (double)row[s][i * d->k + j % d->k], x = j < d->k ? v : v * v;
                    if (pass == 0)
                        d->mean[j] += x / n;
                    else
                        d->deviation[j] += (x - d->mean[j]) * (x - d->mean[j]) / n;
                }
    for (int j = 0; j < 2 * d->k; j++) d->deviation[j] = d->deviation[j] > 0 ? sqrt(d->deviation[j]) : 1;
}

// Each fold's gramian of the features, and their sum by which is which (+1 made, -1 real, groups of equal
// weight).
static void assemble(struct discriminant *d, const float *rows, int64_t n, double sign) {
    const double by = .5 / (double)n;
    for (int64_t i = 0; i < n; i++) {
        double *gram = d->gram[i % FOLDS], *target = d->target[i % FOLDS];
        features(d, rows + i * d->k);
        for (int a = 0; a < d->width; a++) {
            const double x = by * d->x[a];
            target[a] += sign * x;
            for (int b = 0; b <= a; b++) gram[a * d->width + b] += x * d->x[b];
        }
    }
}

static void score(struct discriminant *d, const float *rows, int64_t n, int fold, double *out) {
    for (int64_t i = fold; i < n; i += FOLDS) {
        features(d, rows + i * d->k);
        out[i] = 0;
        for (int a = 0; a < d->width; a++) out[i] += d->weight[a] * d->x[a];
    }
}

static int judge(struct discriminant *d, int fold, struct thaw_err *err) {
    const double ridge = 1 / (double)(d->nmade + d->nreal);
    for (int a = 0; a < d->width; a++) {
        d->weight[a] = 0;
        for (int b = 0; b <= a; b++) d->system[a * d->width + b] = a == b ? ridge : 0;
        for (int f = 0; f < FOLDS; f++) {
            if (f == fold) continue;
            d->weight[a] += d->target[f][a];
            for (int b = 0; b <= a; b++) d->system[a * d->width + b] += d->gram[f][a * d->width + b];
        }
    }
    if (!thaw_chol_solve(d->system, d->weight, d->width))
        return thaw_fail(err, THAW_EDIVERGED, "latents of users are not finite");
    score(d, d->made, d->nmade, fold, d->made_score);
    score(d, d->real, d->nreal, fold, d->real_score);
    return THAW_OK;
}

int thaw_two_sample_auc(const float *made, int64_t nmade, const float *real, int64_t nreal, int k,
                        double *auc, struct thaw_err *err) {
    struct discriminant d = {
        .made = made, .real = real, .nmade = nmade, .nreal = nreal, .k = k, .width = 2 * k + 1};
    const size_t width = (size_t)d.width, square = width * width;
    int code = thaw_alloc(&d.memory, (FOLDS + 1) * (square + width) + 3 * width + (size_t)(nmade + nreal),
                          sizeof *d.memory, "telling made users from real ones", err);
    if (code) return code;
    double *at = d.memory;
    for (int f = 0; f < FOLDS; f++, at += square + width) {
        d.gram[f] = at;
        d.target[f] = at + square;
    }
    d.system = at;
    d.weight = d.system + square;
    d.x = d.weight + width;
    d.mean = d.x + width;
    d.deviation = d.mean + width;
    d.made_score = d.deviation + width;
    d.real_score = d.made_score + nmade;
    standardise(&d);
    assemble(&d, made, nmade, 1);
    assemble(&d, real, nreal, -1);
    for (int fold = 0; !code && fold < FOLDS; fold++) code = judge(&d, fold, err);
    if (!code) code = thaw_auc(d.made_score, nmade, d.real_score, nreal, auc, err);
    free(d.memory);
    return code;
}
