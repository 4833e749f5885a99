// truth.h: the planted truth behind synth.h, for this folder only: effects, popularity, activity, and draws
// from a taste.
#ifndef THAW_SYNTH_TRUTH_H
#define THAW_SYNTH_TRUTH_H

#include "base/rng.h"
#include "synth/synth.h"
#include "synth/words.h"
#include "synth/zipf.h"

// Streams of the generator's draws.
enum {
    SYNTH_ACTIVITY = THAW_STREAM_SYNTH, // index: user
    SYNTH_PROFILE,                      // user
    SYNTH_TASTE,                        // user
    SYNTH_STYLE,                        // user x genres + genre
    SYNTH_EVENTS,                       // user
    SYNTH_ABOUT,                        // user
    SYNTH_MISSING,                      // user
    SYNTH_ITEM,                         // item
    SYNTH_EFFECT,                       // cell of the effects
    SYNTH_BASE,                         // group
};

// A bijection on numbers of `bits` bits, and the id's text made of it.
struct synth_ids {
    uint64_t shift, factor[3]; // factors odd
    int bits;
};

struct thaw_synth {
    struct thaw_synth_options o;
    int genres, styles, groups, values; // groups = genres x styles; values of all attributes together
    int value_row[THAW_SYNTH_ATTRIBUTES];
    float *base;                   // genres + groups: the common part of the logits
    float *effect;                 // values x (genres + groups), P and s_a included
    struct thaw_zipf wide, narrow; // ranks in the groups that have one item more, and in the others
    int wide_groups;               // the first so many groups have one item more
    struct synth_ids user_ids, item_ids;
    int user_digits, item_digits;
    struct thaw_synth_share all;
    int64_t floor, rest; // events a warm user has at least; events shared by weight
};

struct synth_activity {
    bool cold;
    int64_t events; // cold
    int64_t weight; // warm
};
struct synth_activity synth_activity_of(const struct thaw_synth *s, int64_t user);

// A user's taste, drawn on demand: cumulated probabilities of genres, and of the styles of the genres asked
// for.
struct synth_taste {
    int64_t user;
    int profile[THAW_SYNTH_ATTRIBUTES];
    float genre[THAW_SYNTH_GENRES_MAX];
    bool known[THAW_SYNTH_GENRES_MAX];
    float style[THAW_SYNTH_GENRES_MAX][THAW_SYNTH_STYLES_MAX];
};
void synth_taste_of(const struct thaw_synth *s, int64_t user, struct synth_taste *taste);
int synth_taste_genre(const struct thaw_synth *s, const struct synth_taste *taste, struct thaw_rng *rng);
int synth_taste_style(const struct thaw_synth *s, struct synth_taste *taste, int genre, struct thaw_rng *rng);
// sqrt(p(genre) p(style | genre)); the style must have been drawn before.
double synth_taste_affinity(const struct synth_taste *taste, int genre, int style);

uint64_t synth_ids_mix(const struct synth_ids *ids, uint64_t number);

#endif
