// associate_options.c: lists of numbers on the command line of thaw associate, and the numbers taken where
// none are given.
#include "jobs/associating.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- Lists ----

// The number at *at, which moves behind it and a comma. False: there is none.
static bool number_at(const char **at, double *x) {
    char *end;
    if (!strchr("0123456789.-+", **at)) return false;
    *x = strtod(*at, &end);
    if (end == *at || !isfinite(*x) || (*end && *end != ',') || (*end == ',' && !end[1])) return false;
    *at = *end ? end + 1 : end;
    return true;
}

// Words with commas between numbers too. *n: how many.
static int numbers_of(const char *name, const struct thaw_list *words, double low, double high,
                      double x[THAW_ASSOCIATE_KNOWN], int *n, struct thaw_err *err) {
    *n = 0;
    for (int i = 0; i < words->n; i++)
        for (const char *at = words->item[i]; *at || at == words->item[i]; ++*n) {
            if (*n == THAW_ASSOCIATE_KNOWN)
                return thaw_fail(err, THAW_EUSAGE, "--%s takes at most %d numbers", name,
                                 THAW_ASSOCIATE_KNOWN);
            if (!number_at(&at, &x[*n]) || x[*n] < low || x[*n] > high)
                return thaw_fail(err, THAW_EUSAGE, "--%s '%s' is not a number in %g..%g", name,
                                 words->item[i], low, high);
        }
    return THAW_OK;
}

// ---- Numbers that were measured: MovieLens 1M, 20 % of the users held out ----

struct measured {
    int known;
    double value;
};
static const struct measured episodic[] = {{0, 5}, {1, 0.5}, {3, 1}, {5, 2}, {10, 5}},
                             ease[] = {{0, 1e4}, {1, 1e5}, {3, 1e5}, {5, 3e4}, {10, 1e4}},
                             shrink[] = {{0, 100}, {5, 100}, {10, 0}},
                             power[] = {{0, 0.5}, {1, 0.25}, {3, 0.5}};

// Between two of them, a straight line; beyond the last one, the last one.
static double between(const struct measured *m, size_t n, int known) {
    for (size_t i = 1; i < n; i++) {
        if (known > m[i].known) continue;
        const double part = (double)(known - m[i - 1].known) / (m[i].known - m[i - 1].known);
        return m[i - 1].value + part * (m[i].value - m[i - 1].value);
    }
    return m[n - 1].value;
}

double thaw_associate_default(Thaw__Association__Method method, int known) {
    switch (method) {
    case THAW__ASSOCIATION__METHOD__EASE:
        return between(ease, sizeof ease / sizeof *ease, known);
    case THAW__ASSOCIATION__METHOD__KNN:
        return between(shrink, sizeof shrink / sizeof *shrink, known);
    default:
        return between(episodic, sizeof episodic / sizeof *episodic, known);
    }
}

// ---- The whole ----

static int known_of(const struct thaw_associate_options *o, struct thaw_associate_numbers *n,
                    struct thaw_err *err) {
    static const int usual[] = {0, 1, 3, 5, 10};
    double x[THAW_ASSOCIATE_KNOWN];
    int code = numbers_of("known", &o->known, 0, 999, x, &n->n, err);
    if (code) return code;
    for (int i = 0; i < n->n; i++) {
        n->known[i] = (int)x[i];
        if (n->known[i] != x[i] || (i && n->known[i] <= n->known[i - 1]))
            return thaw_fail(err, THAW_EUSAGE, "--known takes whole numbers that rise");
    }
    if (n->n) return THAW_OK;
    n->n = o->method == THAW_ASSOCIATE_EPISODIC ? 5 : 1; // one EASE, one KNN serve all
    memcpy(n->known, usual, sizeof usual);
    return THAW_OK;
}

// One number for each of known, or one for all, or (none given) our own.
static int each_of(const char *name, const struct thaw_list *words, double low,
                   const struct thaw_associate_numbers *n, double *x, int *given, struct thaw_err *err) {
    const int code = numbers_of(name, words, low, 1e30, x, given, err);
    if (code) return code;
    for (int i = 1; *given == 1 && i < n->n; i++) x[i] = x[0];
    if (*given > 1 && *given != n->n)
        return thaw_fail(err, THAW_EUSAGE, "--%s has %d numbers for the %d of --known: give one, or %d", name,
                         *given, n->n, n->n);
    return THAW_OK;
}

int thaw_associate_numbers(const struct thaw_associate_options *o, struct thaw_associate_numbers *n,
                           struct thaw_err *err) {
    const Thaw__Association__Method method = thaw_associate_method(o);
    const double least = method == THAW__ASSOCIATION__METHOD__KNN ? 0 : 1e-30;
    int given;
    int code = known_of(o, n, err);
    if (!code) code = each_of("regularization", &o->regularization, least, n, n->regularization, &given, err);
    if (code) return code;
    for (int i = 0; given == 0 && i < n->n; i++)
        n->regularization[i] = thaw_associate_default(method, n->known[i]);
    if ((code = each_of("power", &o->power, 0, n, n->power, &given, err))) return code;
    if (given && method != THAW__ASSOCIATION__METHOD__KNN)
        return thaw_fail(err, THAW_EUSAGE, "--power belongs to --method knn");
    for (int i = 0; given == 0 && i < n->n; i++)
        n->power[i] = o->known.n ? between(power, sizeof power / sizeof *power, n->known[i]) : 0.5;
    n->neighbors = 0;
    if (strcmp(o->neighbors, "all") == 0) return THAW_OK;
    const char *at = o->neighbors;
    double x;
    if (!number_at(&at, &x) || *at || x < 1 || x > 1e9 || x != floor(x))
        return thaw_fail(err, THAW_EUSAGE, "--neighbors '%s' is neither a number above 0 nor 'all'",
                         o->neighbors);
    n->neighbors = (int64_t)x;
    return THAW_OK;
}
