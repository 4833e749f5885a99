// cold.h: scores of all items for someone new, from a profile and a few known items, by the models of
// docs/cold-start.md. Used by the lookup library and by `thaw evaluate` alike. No MPI, no BLAS; files are
// mapped; local; thread-safe after open (each thread has its own thaw_cold_work).
//
//   FOLD_IN      the row problem of training (als/als.h), with the blend's own weights where it has them
//   PRIOR        P: posterior mean of the factors under N(W'z, Sigma)
//   ASSOCIATION  E: known items' rows of B, plus profile rows of C
//   GENERATOR    G: probabilities of the conditional generator, mean latent of `samples` draws
//   TYPES        T: histories of the training users kept with P, weighted by how well each explains the newcomer
//   ENSEMBLE     sum of the four's z-scores (over all items), weighted by the blend's entry
//
// What belongs to numbers of known items (association, blend) is taken from the listed number nearest to the
// user's, the larger one among equals. Without some of the models the ensemble is that of the others, with
// equal weights where the blend gives them none. Known items whose strength is not above 0 do not count (for
// an explicit model they do). Strengths count in FOLD_IN and P; E, G and T ask only which items are known.
#ifndef THAW_COLD_COLD_H
#define THAW_COLD_COLD_H

#include "base/err.h"
#include "base/side.h"
#include "proto/thaw.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

// Where the models lie. All borrowed until close. A model that is NULL is not there. The folders may be those
// that the jobs wrote, or all one tables version. P, E, G and T need an implicit model.
struct thaw_cold_source {
    const char *items_dir;         // items-00000-of-00064.npy ...: item factors, rows x (k, + 1 with biases)
    const float *const *item_rows; // the same by part, where someone has mapped them; NULL: from items_dir
    const Thaw__Side *items;
    const Thaw__Als *als;
    const char *prior_dir, *association_dir, *generator_dir;
    const Thaw__Prior *prior;
    const Thaw__Association *association;
    const Thaw__Generator *generator;
    const Thaw__Blend *blend; // NULL: thaw_cold_default_known
    const double *gramian;    // k x k over the items; NULL: computed at open
    uint64_t dataset_digest;  // that the models must have; 0: only the same one
    uint64_t model_digest;    // that P must have; 0: any
};

struct thaw_cold;
// Local. Maps every file and checks names, shapes and that the models belong to one dataset and agree on
// items, features and factors. What lies inside association files is checked at each use, T's lists here.
// THAW_ENOINPUT, THAW_EDATA naming the file, THAW_EMEM.
int thaw_cold_open(struct thaw_cold **c, const struct thaw_cold_source *s, struct thaw_err *err);
void thaw_cold_close(struct thaw_cold **c);
// Local; not while others score. Compact copies in memory that thaw_cold_best looks at, and nothing else
// does: of the item factors in 8 bits a number, of the decoder in 16, of the types' lists in 16 bits an
// entry. An item takes 3 k + 16 bytes, and 2 for each type that has it (up to 6 more to fill its list up).
// Reads all item rows, and takes k^2 / 2 multiply-adds an item for their second moments. THAW_EMEM.
int thaw_cold_warm(struct thaw_cold *c, struct thaw_err *err);
int64_t thaw_cold_items(const struct thaw_cold *c);
int32_t thaw_cold_features(const struct thaw_cold *c); // profile columns that some model looks at; 0: none

// A tables version as a source, everything it holds; all borrowed from t. free_rows: free(s->item_rows) when
// the cold handle is closed. THAW_EMEM.
struct thaw_tables;
int thaw_cold_source_of_tables(struct thaw_cold_source *s, const struct thaw_tables *t, struct thaw_err *err);

// Someone new. Borrowed.
struct thaw_newcomer {
    const uint32_t *feature;    // nfeatures distinct columns with their values
    const float *feature_value; // NULL: all 1
    int64_t nfeatures;
    const int64_t *item;   // nitems distinct global rows in the order in which they became known
    const float *strength; // as the log has them; NULL: all 1
    int64_t nitems;
    uint64_t key; // of the generator's noise: the same key, the same draws
};

enum thaw_cold_method {
    THAW_COLD_FOLD_IN,
    THAW_COLD_PRIOR,
    THAW_COLD_ASSOCIATION,
    THAW_COLD_GENERATOR,
    THAW_COLD_ENSEMBLE,
    THAW_COLD_TYPES,
    THAW_COLD_METHODS
};
// "iALS", "P", "E", "G", "ensemble", "T".
const char *thaw_cold_method_name(enum thaw_cold_method m);
// FOLD_IN: always. TYPES: when P was fitted with them. ENSEMBLE: when at least one of P, E, G, T is there.
bool thaw_cold_has(const struct thaw_cold *c, enum thaw_cold_method m);

// Scratch of one thread: small systems, and 4 bytes an item once they are scored.
struct thaw_cold_work;
int thaw_cold_work_new(struct thaw_cold_work **w, const struct thaw_cold *c, struct thaw_err *err);
void thaw_cold_work_free(struct thaw_cold_work **w);

// Local. scores[thaw_cold_items]: larger is better; known items are scored like all others. known: which
// numbers to use instead of the blend's entry (NULL: the blend's, nearest to nitems). FOLD_IN takes
// unobserved_weight and regularization of `known` where its regularization is above 0, else those of
// training; nothing known scores 0 for all. THAW_EDATA: an item or feature out of range; a damaged file; a
// system without a solution. THAW_EUSAGE: the model is not there. Cost: reading each model's item rows once.
int thaw_cold_score(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                    const Thaw__Known *known, struct thaw_cold_work *w, float *scores, struct thaw_err *err);

// Local. The fold-in's own vector, as train would solve it: user[k, + 1 with biases]; zeros where nothing is
// known. Errors as score's.
int thaw_cold_fold_in(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                      struct thaw_cold_work *w, float *user, struct thaw_err *err);

// Local. P's posterior: mean[k], covariance[k x k] (b times the inverse of the system's matrix; NULL: not
// wanted).
int thaw_cold_posterior(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                        struct thaw_cold_work *w, double *mean, double *covariance, struct thaw_err *err);

// Local. Scores with a share of doubt, for exploration by P's posterior N(mean, Cov): THOMPSON adds scale
// y'(u - mean) with one draw of u by (seed), UCB adds scale sqrt(y' Cov y), to the scores of P or, in units
// of P's standard deviation over the items times the sum of the weights, of ENSEMBLE. Cost of UCB: k^2 an
// item. Errors as score's; THAW_EUSAGE for other methods.
enum thaw_cold_explore { THAW_COLD_EXPLOIT, THAW_COLD_UCB, THAW_COLD_THOMPSON };
int thaw_cold_explore(const struct thaw_cold *c, enum thaw_cold_method m, enum thaw_cold_explore how,
                      double scale, uint64_t seed, const struct thaw_newcomer *who, const Thaw__Known *known,
                      struct thaw_cold_work *w, float *scores, struct thaw_err *err);

// Local. The best items by method m, as a scan of thaw_cold_explore's scores finds them, without the
// nexcluded rising rows of `excluded`: top (dense/topk.h), which has begun, gets them and is ended.
// scores[items] is scratch. After thaw_cold_warm and without exploring, most items are not scored exactly:
// bounds from the compact copies tell which cannot be among the best, and the others are scored in f64 from
// the files (means and deviations of z-scores are known to about 1e-6). Errors as explore's; THAW_EMEM.
struct thaw_topk;
struct thaw_cold_how {
    enum thaw_cold_explore explore;
    double scale;
    uint64_t seed;
    int threads; // of an answer from the compact copies; < 1: 1. The results do not depend on it
};
int thaw_cold_best(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_cold_how *how,
                   const struct thaw_newcomer *who, const Thaw__Known *known, struct thaw_cold_work *w,
                   const int64_t *excluded, int64_t nexcluded, float *scores, struct thaw_topk *top,
                   struct thaw_err *err);

// Local. Each input's share of the scores of nhits items by method m: for hit h, item_share[h x nitems],
// feature_share[h x nfeatures] and constant[h] (what stays with neither) add up to score[h]. FOLD_IN, P and
// E are sums over their inputs as they stand; of P, the prior's mean without a profile is the constant, of E
// that of the constant column. For G and T the shares are the path integral of the gradient from nothing
// known to what is known, all inputs growing alike (Sundararajan et al. 2017, "Axiomatic attribution for deep
// networks"). ENSEMBLE: their weighted sum, the z-scores' means and deviations as they are.
// Cost: of G about 20 passes over the item rows, whatever nhits.
int thaw_cold_explain(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
                      const Thaw__Known *known, struct thaw_cold_work *w, const int64_t *hit, int nhits,
                      double *item_share, double *feature_share, double *constant, double *score,
                      struct thaw_err *err);

// The numbers used when no blend says otherwise: those measured on MovieLens 1M, of the listed number (0, 1,
// 3, 5, 10) nearest to `known`. *k is filled.
void thaw_cold_default_known(Thaw__Known *k, int known);
// The entry of a list nearest to n, the larger one among equals; -1 for an empty list.
int thaw_cold_nearest(const int32_t *known, size_t nknown, int64_t n);

#endif
