// words.h: names of genres, styles, brands, profile values and filler words. Local; thread-safe.
#ifndef THAW_SYNTH_WORDS_H
#define THAW_SYNTH_WORDS_H

#include <stddef.h>

enum { THAW_WORDS_VALUES_MAX = 12, THAW_WORDS_BRANDS = 12 };

// A profile attribute: the values, how often they come (sums to 1), how strongly they act on taste, how often
// the cell is empty.
struct thaw_words_attribute {
    const char *value[THAW_WORDS_VALUES_MAX];
    double share[THAW_WORDS_VALUES_MAX];
    int nvalues;
    double effect, missing;
};
extern const struct thaw_words_attribute thaw_words_attribute[5];

// Each copies a name to out and returns its length (at most 32). Numbers beyond the tables get a number
// appended.
size_t thaw_words_genre(char *out, int genre);
size_t thaw_words_style(char *out, int genre, int style);
size_t thaw_words_brand(char *out, int genre, int brand);
const char *thaw_words_filler(unsigned n);
const char *thaw_words_adjective(unsigned n);

#endif
