#include "synth/words.h"

#include <stdio.h>
#include <string.h>

enum { GENRES = 24, STYLES = 8 };

static const char *const genre_name[GENRES] = {
    "kitchen", "garden", "books",    "music",   "camping", "cycling", "toys",    "office",
    "shoes",   "beauty", "computer", "phones",  "photo",   "pets",    "baby",    "tools",
    "lamps",   "tea",    "coffee",   "running", "games",   "craft",   "jewelry", "travel",
};

static const char *const style_name[GENRES][STYLES] = {
    {"knives", "pans", "baking", "bowls", "glasses", "grills", "spices", "scales"},
    {"seeds", "pots", "hoses", "pruners", "gnomes", "compost", "fences", "birdhouses"},
    {"novels", "comics", "poetry", "atlases", "biographies", "thrillers", "cookbooks", "essays"},
    {"guitars", "vinyl", "drums", "keyboards", "strings", "flutes", "amplifiers", "scores"},
    {"tents", "stoves", "hammocks", "lanterns", "sleepingbags", "axes", "canteens", "tarps"},
    {"helmets", "saddles", "pedals", "tyres", "lights", "locks", "jerseys", "pumps"},
    {"puzzles", "trains", "dolls", "kites", "blocks", "robots", "marbles", "puppets"},
    {"pens", "notebooks", "folders", "chairs", "staplers", "stamps", "planners", "whiteboards"},
    {"boots", "sandals", "sneakers", "loafers", "slippers", "clogs", "heels", "laces"},
    {"soaps", "perfumes", "creams", "lipsticks", "brushes", "shampoos", "razors", "masks"},
    {"laptops", "mice", "monitors", "keycaps", "disks", "routers", "cables", "webcams"},
    {"cases", "chargers", "headsets", "holders", "screens", "batteries", "speakers", "styluses"},
    {"lenses", "tripods", "film", "filters", "straps", "flashes", "frames", "albums"},
    {"leashes", "aquariums", "catnip", "kennels", "feeders", "collars", "terraria", "perches"},
    {"bottles", "strollers", "bibs", "cribs", "rattles", "blankets", "monitors", "carriers"},
    {"drills", "saws", "hammers", "clamps", "screws", "sanders", "ladders", "levels"},
    {"desklamps", "candles", "bulbs", "sconces", "chandeliers", "nightlights", "lampshades", "dimmers"},
    {"oolong", "sencha", "rooibos", "chai", "matcha", "teapots", "infusers", "herbal"},
    {"espresso", "grinders", "filters", "mugs", "beans", "kettles", "moka", "frothers"},
    {"trainers", "shorts", "watches", "socks", "gels", "caps", "belts", "spikes"},
    {"boardgames", "cards", "dice", "chess", "consoles", "controllers", "miniatures", "quizzes"},
    {"yarn", "fabric", "beads", "needles", "paints", "clay", "canvas", "stencils"},
    {"rings", "necklaces", "earrings", "bracelets", "brooches", "cufflinks", "chains", "gems"},
    {"suitcases", "backpacks", "maps", "pillows", "adapters", "wallets", "umbrellas", "tags"},
};

const struct thaw_words_attribute thaw_words_attribute[5] = {
    {.value = {"f", "m", "x"}, .share = {.49, .48, .03}, .nvalues = 3, .effect = .8, .missing = .05},
    {.value = {"18-24", "25-34", "35-44", "45-54", "55-64", "65+"},
     .share = {.18, .27, .22, .15, .11, .07},
     .nvalues = 6,
     .effect = .8,
     .missing = .08},
    {.value = {"north", "coast", "lakes", "hills", "valley", "capital", "islands", "plains", "delta",
               "forest", "border", "harbour"},
     .share = {.16, .14, .12, .11, .10, .09, .08, .06, .05, .04, .03, .02},
     .nvalues = 12,
     .effect = .4,
     .missing = .02},
    {.value = {"phone", "desktop", "tablet"},
     .share = {.6, .32, .08},
     .nvalues = 3,
     .effect = .25,
     .missing = .01},
    {.value = {"search", "social", "email", "direct", "referral"},
     .share = {.4, .2, .15, .15, .1},
     .nvalues = 5,
     .effect = .25,
     .missing = .04},
};

static const char *const filler[16] = {
    "likes",   "often", "weekend", "gift",  "family", "new",  "best", "small",
    "looking", "for",   "and",     "daily", "my",     "with", "good", "more",
};

static const char *const adjective[16] = {
    "compact", "classic", "light", "deluxe", "plain",  "sturdy", "blue", "red",
    "travel",  "pocket",  "large", "fine",   "rustic", "modern", "eco",  "vintage",
};

static size_t copy(char *out, const char *name, int number) {
    if (number == 0) {
        size_t n = strlen(name);
        memcpy(out, name, n);
        return n;
    }
    return (size_t)sprintf(out, "%s%d", name, number + 1);
}

size_t thaw_words_genre(char *out, int genre) {
    return copy(out, genre_name[genre % GENRES], genre / GENRES);
}

size_t thaw_words_style(char *out, int genre, int style) {
    return copy(out, style_name[genre % GENRES][style % STYLES], genre / GENRES * 8 + style / STYLES);
}

// Three syllables from the brand's number: distinct for distinct numbers below 20 x 20 x 20.
size_t thaw_words_brand(char *out, int genre, int brand) {
    static const char syllable[20][4] = {"ba", "vel", "no", "ka", "ri",  "to", "mar", "lu", "sen", "do",
                                         "fi", "gor", "ha", "jo", "pel", "sa", "tre", "wi", "zan", "ul"};
    unsigned n = (unsigned)(genre * THAW_WORDS_BRANDS + brand);
    unsigned pick[3] = {n % 20, (n * 7 + n / 20) % 20, (n / 400 + n * 3) % 20};
    size_t at = 0;
    for (int i = 0; i < 3; i++) at += copy(out + at, syllable[pick[i]], 0);
    out[0] = (char)(out[0] - 'a' + 'A');
    return at;
}

const char *thaw_words_filler(unsigned n) {
    return filler[n % 16];
}

const char *thaw_words_adjective(unsigned n) {
    return adjective[n % 16];
}
