// The text of the log: ids and CSV lines.
#include "synth/truth.h"

#include <math.h>
#include <string.h>

const char thaw_synth_events_header[] = "user,item,event,value,time\n";
const char thaw_synth_users_header[] = "user,gender,age,region,device,channel,about\n";
const char thaw_synth_items_header[] = "item,category,brand,price,title\n";

static char *put(char *at, const char *text) {
    size_t n = strlen(text);
    memcpy(at, text, n);
    return at + n;
}

// At least `digits` digits. Two at a time: half the divisions.
static char *put_number(char *at, uint64_t number, int digits) {
    char text[24], *first = text + sizeof text;
    while (number >= 100) {
        unsigned pair = (unsigned)(number % 100);
        number /= 100;
        *--first = (char)('0' + pair % 10);
        *--first = (char)('0' + pair / 10);
    }
    *--first = (char)('0' + number % 10);
    if (number >= 10) *--first = (char)('0' + number / 10);
    while (text + sizeof text - first < digits) *--first = '0';
    size_t n = (size_t)(text + sizeof text - first);
    memcpy(at, first, n);
    return at + n;
}

size_t thaw_synth_user_id(const struct thaw_synth *s, int64_t user, char *out) {
    static const char digit[] = "0123456789abcdefghjkmnpqrstvwxyz";
    uint64_t number = synth_ids_mix(&s->user_ids, (uint64_t)user);
    out[0] = 'u';
    for (int i = s->user_digits; i > 0; i--) {
        out[i] = digit[number & 31];
        number >>= 5;
    }
    return 1 + (size_t)s->user_digits;
}

size_t thaw_synth_item_id(const struct thaw_synth *s, int64_t item, char *out) {
    uint64_t number = (uint64_t)item;
    do // walk the cycle back into range: still a bijection
        number = synth_ids_mix(&s->item_ids, number);
    while (number >= (uint64_t)s->o.items);
    out[0] = 'p';
    return (size_t)(put_number(out + 1, number, s->item_digits) - out);
}

size_t thaw_synth_event_line(const struct thaw_synth *s, const char *user_id, size_t nid,
                             const struct thaw_synth_event *event, char *out) {
    static const char *const name[THAW_SYNTH_KINDS] = {",view,", ",cart,", ",buy,"};
    char *at = out;
    memcpy(at, user_id, nid);
    at += nid;
    *at++ = ',';
    at += thaw_synth_item_id(s, event->item, at);
    at = put(at, name[event->kind]);
    at = put_number(at, (uint64_t)event->quantity, 1);
    *at++ = ',';
    at = put_number(at, (uint64_t)event->time, 1);
    *at++ = '\n';
    return (size_t)(at - out);
}

// The free text: words of the taste among others, now and then a comma, hence quotes.
static char *put_about(const struct thaw_synth *s, int64_t user, char *at) {
    struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_ABOUT, (uint64_t)user);
    if (thaw_rng_uniform(&rng) < 0.3) return at;
    struct synth_taste taste;
    synth_taste_of(s, user, &taste);
    int words = 3 + (int)thaw_rng_below(&rng, 6);
    bool comma = thaw_rng_uniform(&rng) < 0.1;
    if (comma) *at++ = '"';
    for (int w = 0; w < words; w++) {
        if (w) at = put(at, comma && w == 2 ? ", " : " ");
        if (thaw_rng_uniform(&rng) < 0.75) {
            int genre = synth_taste_genre(s, &taste, &rng);
            at += thaw_words_style(at, genre, synth_taste_style(s, &taste, genre, &rng));
        } else {
            at = put(at, thaw_words_filler(thaw_rng_u32(&rng)));
        }
    }
    if (comma) *at++ = '"';
    return at;
}

size_t thaw_synth_user_line(const struct thaw_synth *s, int64_t user, char *out) {
    int profile[THAW_SYNTH_ATTRIBUTES];
    struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_MISSING, (uint64_t)user);
    thaw_synth_profile(s, user, profile);
    char *at = out + thaw_synth_user_id(s, user, out);
    for (int a = 0; a < THAW_SYNTH_ATTRIBUTES; a++) {
        *at++ = ',';
        if (thaw_rng_uniform(&rng) >= thaw_words_attribute[a].missing)
            at = put(at, thaw_words_attribute[a].value[profile[a]]);
    }
    *at++ = ',';
    at = put_about(s, user, at);
    *at++ = '\n';
    return (size_t)(at - out);
}

// Brand, a word, the style, a model number; some titles hold a comma or quotes, as real ones do.
static char *put_title(const char *brand, size_t nbrand, const char *style, size_t nstyle,
                       struct thaw_rng *rng, char *at) {
    double u = thaw_rng_uniform(rng);
    bool set = u < 0.15, inches = u >= 0.15 && u < 0.18;
    if (set || inches) *at++ = '"';
    memcpy(at, brand, nbrand);
    at += nbrand;
    *at++ = ' ';
    at = put(at, thaw_words_adjective(thaw_rng_u32(rng)));
    *at++ = ' ';
    memcpy(at, style, nstyle);
    at = put_number(put(at + nstyle, " "), 100 + thaw_rng_below(rng, 900), 1);
    if (set) at = put_number(put(at, ", set of "), 2 + thaw_rng_below(rng, 5), 1);
    if (inches) at = put(put_number(put(at, " "), 5 + thaw_rng_below(rng, 30), 1), "\"\""); // a doubled quote
    if (set || inches) *at++ = '"';
    return at;
}

size_t thaw_synth_item_line(const struct thaw_synth *s, int64_t item, char *out) {
    char brand[32], style[32];
    int genre = thaw_synth_item_genre(s, item);
    struct thaw_rng rng = thaw_rng_at(s->o.seed, SYNTH_ITEM, (uint64_t)item);
    struct thaw_rng level = thaw_rng_at(s->o.seed, SYNTH_BASE, UINT64_MAX - 16 - (uint64_t)genre);
    double u = thaw_rng_uniform(&rng);
    size_t nbrand = thaw_words_brand(brand, genre, (int)(THAW_WORDS_BRANDS * u * u));
    size_t nstyle = thaw_words_style(style, genre, thaw_synth_item_style(s, item));
    double price = exp(3 + thaw_rng_normal(&level) + 0.6 * thaw_rng_normal(&rng));
    uint64_t cents = (uint64_t)llround(100 * price);

    char *at = out + thaw_synth_item_id(s, item, out);
    *at++ = ',';
    at += thaw_words_genre(at, genre);
    *at++ = ',';
    if (thaw_rng_uniform(&rng) >= 0.03) {
        memcpy(at, brand, nbrand);
        at += nbrand;
    }
    *at++ = ',';
    if (thaw_rng_uniform(&rng) >= 0.01)
        at = put_number(put(put_number(at, cents / 100, 1), "."), cents % 100, 2);
    *at++ = ',';
    at = put_title(brand, nbrand, style, nstyle, &rng, at);
    *at++ = '\n';
    return (size_t)(at - out);
}
