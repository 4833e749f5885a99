// cold_impl.h: what the cold module's own files share. Private to src/cold.
#ifndef THAW_COLD_COLD_IMPL_H
#define THAW_COLD_COLD_IMPL_H

#include "base/npy.h"
#include "cold/cold.h"
#include "cold/quick.h"
#include "cold/rough.h"
#include "gan/layout.h"

#include <stddef.h>

struct thaw_scored;

// The association for one number of known items, by part.
struct cold_set {
    struct thaw_npy *indptr, *indices, *values;
    struct thaw_npy *profile; // NULL without a profile part
    bool by_column; // profile is (1 + features) x rows, as tables have it, else rows x (1 + features)
};

// Training users as types that a newcomer may be of (cold_types.c).
struct cold_types {
    int64_t n;               // 0: there are none
    struct thaw_npy factors; // n x k
    struct thaw_npy mass;    // n x 2: items of the history, sum of positive preferences over all items
    struct thaw_npy indptr;  // nitems + 1: where an item's types lie
    struct thaw_npy users;   // rising for each item
    struct thaw_npy profile_indptr, profile_columns, profile_values; // of length 1; where P sees a profile
};

struct thaw_cold {
    const Thaw__Als *als;
    int32_t nparts;
    int64_t nitems;
    int64_t *first_row; // nparts + 1
    int k, columns;
    const float **rows;        // by part: rows x columns
    struct thaw_npy *row_file; // NULL when somebody else has mapped them
    double *gramian;           // k x k
    int32_t features;          // profile columns of the attributes, of every model that looks at a profile
    int32_t columns_seen;      // and the most that one looks at: P may have seen vectors beside them
    const Thaw__Blend *blend;

    const Thaw__Prior *prior; // NULL: not there
    struct thaw_npy weights, precision;
    struct cold_types types;

    const Thaw__Association *association;
    struct cold_set *set; // n_known
    int nset;

    const Thaw__Generator *generator;
    struct thaw_gan_shape shape;
    struct thaw_gan_layout layout;
    struct thaw_npy net;
    struct thaw_npy *decoder; // by part: rows x (2 k + 1): embedding, decoder, bias
    float *noise_t;           // hidden x noise: first_w's last rows, transposed
    float *second_t;          // hidden x hidden, transposed
    int samples;

    // Of thaw_cold_warm:
    bool warm;
    struct rough factors; // the items' factors
    double *factor_sum;   // k + k x k: sums over the items of their rows and of the rows' squares
    struct quick latents; // the generator's decoder
    // Of each item the types that have it, filled up to a multiple of four by types.n, and where they
    // begin in units of four
    uint16_t *type_users;
    uint32_t *type_begin;
};

enum {
    COLD_TYPES_TOGETHER = 8, // items that T looks at together
    COLD_MEMBERS = 4
}; // of the ensemble: P, E, G, T

struct thaw_cold_work {
    const struct thaw_cold *c;
    // What is known and counts: items, what training takes for their strength, place in the newcomer's list.
    int64_t n;
    int64_t *item, *at;
    float *strength;
    size_t item_cap, at_cap, strength_cap;
    // P and fold-in: d = columns
    double prior_weight; // b of the system of P that was solved last
    double *a;           // d x d
    double *b;           // d
    double *t;           // d
    double *mean;        // d: prior's mean
    float *query;        // d + 1
    float *scores;       // nitems
    float *doubt;        // rows of a block x k
    // T: of each type
    double *type_weight;           // posterior weight
    double *type_all, *type_share; // 1 / what it would take of all items; what part of them items are
    float *type_match, *type_rows; // some items x what it would take of them; the items' factors
    uint32_t *type_fixed;          // weights in units of 2^-31
    double *type_profile;          // of the newcomer, by column; zeros in between
    // The search for the best: raw scores of each member, and what may be among the best
    float *raw[COLD_MEMBERS];
    int16_t *rough; // the query in whole numbers
    struct thaw_scored *maybe, *low;
    size_t maybe_cap, low_cap;
    struct gen_work {
        float *noise;            // samples x noise
        float *one, *two, *base; // samples x hidden: before the first and the second ELU; hidden
        float *hidden;           // samples x hidden: after the first ELU
        float *pooled;           // 2 k: mean, attention
        double *latent;          // k
        float *query;            // k + 1: scaled latent and 1
        double *attend;          // k: query of the attention
        double *match;           // k: key_w times it
        double *weight;          // longest: attention
        uint64_t key;            // of the noise that is there
        bool drawn;
    } g;
};

static inline const float *cold_row(const struct thaw_cold *c, int64_t row, int32_t *part) {
    int32_t low = 0, high = c->nparts;
    while (high - low > 1) {
        const int32_t mid = low + (high - low) / 2;
        if (c->first_row[mid] <= row)
            low = mid;
        else
            high = mid;
    }
    *part = low;
    return c->rows[low] + (row - c->first_row[low]) * c->columns;
}

// The name of a model's file of a part: "<prefix>items-00003-of-00064<ext>".
enum { COLD_NAME = 256, COLD_PREFIX = 64 };
int cold_file_open(struct thaw_npy *a, const char *dir, const char *name, enum thaw_npy_type type, int ndim,
                   int64_t rows, int64_t cols, struct thaw_err *err);

int cold_open_prior(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err);
int cold_open_types(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err);
int cold_open_association(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err);
int cold_open_generator(struct thaw_cold *c, const struct thaw_cold_source *s, struct thaw_err *err);
int cold_part_file_open(struct thaw_npy *a, const struct thaw_cold *c, const char *dir, const char *prefix,
                        int32_t part, const char *ext, enum thaw_npy_type type, int ndim, int64_t rows,
                        int64_t cols, struct thaw_err *err);

// Check who it is and fill w->item, w->strength, w->at, w->n.
int cold_known(const struct thaw_cold *c, const struct thaw_newcomer *who, struct thaw_cold_work *w,
               struct thaw_err *err);
// Make w->scores. THAW_EMEM.
int cold_scores(const struct thaw_cold *c, struct thaw_cold_work *w, struct thaw_err *err);
static inline float cold_value(const struct thaw_newcomer *who, int64_t i) {
    return who->feature_value ? who->feature_value[i] : 1;
}

// Does a model of so many profile columns look at the newcomer's i-th?
static inline bool cold_sees(int32_t features, const struct thaw_newcomer *who, int64_t i) {
    return who->feature[i] < (uint32_t)features;
}

// Solvers: w->a becomes the Cholesky factor of the system, w->b its solution. rhs_item: c_i of each known
// item (explain needs it again).
int cold_solve_fold_in(const struct thaw_cold *c, const Thaw__Known *known, struct thaw_cold_work *w,
                       struct thaw_err *err);
int cold_solve_prior(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                     struct thaw_cold_work *w, struct thaw_err *err);
// The weight of known item i on the right side of the fold-in, and its opposite vector, d long, into z.
double cold_fold_in_item(const struct thaw_cold *c, const Thaw__Known *known, const struct thaw_cold_work *w,
                         int64_t i, double *z);

// scores += or = (each item's row) . w->b, plus what an explicit model adds.
void cold_sweep_factors(const struct thaw_cold *c, struct thaw_cold_work *w, float *scores);
// The best by way of bounds (cold_best.c). *done: false where that is no help and all items must be scored.
struct thaw_topk;
int cold_best_bounded(const struct thaw_cold *c, enum thaw_cold_method m, int threads,
                      const struct thaw_newcomer *who, const Thaw__Known *known, struct thaw_cold_work *w,
                      const int64_t *excluded, int64_t nexcluded, struct thaw_topk *top, bool *done,
                      struct thaw_err *err);
int cold_association_scores(const struct thaw_cold *c, const struct thaw_newcomer *who,
                            struct thaw_cold_work *w, float *scores, struct thaw_err *err);
// The set nearest to the number of known items. B_ij, 0 when it is not among the neighbours.
const struct cold_set *cold_association_set(const struct thaw_cold *c, const struct thaw_cold_work *w);
int cold_association_entry(const struct thaw_cold *c, const struct cold_set *set, int64_t i, int64_t j,
                           double *value, struct thaw_err *err);
// Entry of C; column 0 is the constant.
double cold_association_profile(const struct thaw_cold *c, const struct cold_set *set, int64_t item,
                                int64_t column);
int cold_association_row(const struct thaw_cold *c, const struct cold_set *set, int64_t i,
                         const uint32_t **index, const float **value, int64_t *n, struct thaw_err *err);

// Where on the path from nothing known (0) to everything (1); scoring is at 1.
void cold_generator_latent(const struct thaw_cold *c, const struct thaw_newcomer *who,
                           struct thaw_cold_work *w, double path);
// w->g.query from w->g.latent, and `last`, which the bias is to be multiplied with.
void cold_generator_query(const struct thaw_cold *c, struct thaw_cold_work *w, float last);
// The logit of one item by w->g.latent, in f64.
double cold_generator_logit(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t item);
// scores: probabilities.
void cold_generator_sweep(const struct thaw_cold *c, struct thaw_cold_work *w, float *scores);
int cold_generator_explain(const struct thaw_cold *c, const struct thaw_newcomer *who,
                           struct thaw_cold_work *w, const int64_t *hit, int nhits, double *item_share,
                           double *feature_share, double *constant, double *score, struct thaw_err *err);

// Profile columns of the types.
static inline int32_t cold_types_features(const struct thaw_cold *c) {
    return c->prior->user_features - c->prior->user_vector;
}
// w->type_weight: how likely each type is.
void cold_types_posterior(const struct thaw_cold *c, const struct thaw_newcomer *who,
                          const Thaw__Known *known, struct thaw_cold_work *w);
// By these weights: the score of an item, in f64.
double cold_types_score(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t item);
// Make c->type_users and type_begin, where types have numbers of 16 bits. THAW_EMEM.
int cold_types_warm(struct thaw_cold *c, struct thaw_err *err);
// w->type_fixed from w->type_weight; false when these are no probabilities (damaged files).
bool cold_types_fix(const struct thaw_cold *c, struct thaw_cold_work *w);
// Scores of the items [begin, end) by type_fixed, off by up to types.n / 2^32, rounded to floats; after
// cold_types_warm. scores: of all items.
void cold_types_sweep(const struct thaw_cold *c, const struct thaw_cold_work *w, int64_t begin, int64_t end,
                      float *scores);
void cold_types_scores(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                       struct thaw_cold_work *w, float *scores);
int cold_types_explain(const struct thaw_cold *c, const struct thaw_newcomer *who, const Thaw__Known *known,
                       struct thaw_cold_work *w, const int64_t *hit, int nhits, double *item_share,
                       double *feature_share, double *constant, double *score, struct thaw_err *err);

// Path integrals from nothing known (0) to everything (1): the nodes of Gauss and Legendre's rule.
enum { COLD_NODES = 16 };
struct cold_node {
    double place, weight;
};
struct cold_node cold_node(int i);

// The members of the ensemble in the order of their weights.
extern const enum thaw_cold_method cold_member[COLD_MEMBERS];

// The numbers that apply: `known`, the blend's, or *store filled with the default.
const Thaw__Known *cold_numbers(const struct thaw_cold *c, int64_t n, const Thaw__Known *known,
                                Thaw__Known *store);
// Weights of P, E, G, T in the ensemble; 0 for those that are not there.
void cold_weights(const struct thaw_cold *c, const Thaw__Known *known, double weight[COLD_MEMBERS]);
// Mean and what a score is multiplied by to have deviation 1 (0 where all are equal).
void cold_moments(const float *x, int64_t n, double *mean, double *scale);
// Scores of a method that is not ENSEMBLE; w holds what is known.
int cold_one(const struct thaw_cold *c, enum thaw_cold_method m, const struct thaw_newcomer *who,
             const Thaw__Known *known, struct thaw_cold_work *w, float *scores, struct thaw_err *err);

#endif
