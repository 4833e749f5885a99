// verb_recommend.c: thaw-lookup recommend.
#include "lookup/verbs/verb.h"

#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, HITS_MAX = 1 << 20 };

struct options {
    struct thaw_list users, history, strengths;
    int64_t k, threads;
    bool with_seen;
    int format;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_USERS(struct options,
                   "Known users; without this and --history, one id per line on standard input."),
    {.name = "history",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, history),
     .arg = "ID,ID,...",
     .help = "Items that someone unknown has interacted with: recommendations for them by fold-in."},
    {.name = "strengths",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, strengths),
     .arg = "X,X,...",
     .help = "A strength, or a rating for an explicit model, for each item of --history; 1 when not given."},
    THAW_OPT_COUNT(struct options, "How many items to print for each."),
    {.name = "with-seen",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct options, with_seen),
     .help = "Also recommend items of the user's own history."},
    THAW_OPT_THREADS(struct options),
    THAW_OPT_FORMAT(struct options, "text", "text|jsonl|csv",
                    "text and csv: user, rank, item, score; jsonl: one object per user."),
};

// Users waiting to be scored together.
struct batch {
    int n, room;      // users in it; at most
    int k;            // hits of each: as many as asked for and there are items
    char *who[BATCH]; // owned; NULL: a history
    float *x;         // BATCH x columns
    int64_t *exclude[BATCH], nexclude[BATCH];
    struct thaw_hit *hits; // BATCH x k
    int nhits[BATCH];
};

static int batch_new(struct batch *b, const struct thaw_session *s, int64_t k, struct thaw_err *err) {
    b->k = (int)(k > s->info.items && s->info.items > 0 ? s->info.items : k);
    b->room = b->k > HITS_MAX ? 1 : HITS_MAX / b->k < BATCH ? HITS_MAX / b->k : BATCH;
    int code =
        thaw_alloc(&b->x, (size_t)b->room * (size_t)s->info.columns, sizeof *b->x, "users' vectors", err);
    if (code) return code;
    return thaw_alloc(&b->hits, (size_t)b->room * (size_t)b->k, sizeof *b->hits, "recommendations", err);
}

static void batch_empty(struct batch *b) {
    for (int i = 0; i < BATCH; i++) {
        free(b->who[i]);
        free(b->exclude[i]);
        b->who[i] = NULL;
        b->exclude[i] = NULL;
        b->nexclude[i] = 0;
    }
    b->n = 0;
}

static int batch_answer(struct batch *b, struct thaw_session *s, const struct options *o,
                        struct thaw_err *err) {
    if (b->n == 0) return THAW_OK;
    int64_t none[BATCH] = {0};
    int code = thaw_lookup_recommend_batch(s->l, b->x, b->n, b->k, (const int64_t *const *)b->exclude,
                                           o->with_seen ? none : b->nexclude, (int)o->threads, b->hits,
                                           b->nhits, err);
    for (int i = 0; !code && i < b->n; i++)
        thaw_print_hits(s, o->format, "user", b->who[i], b->who[i] ? strlen(b->who[i]) : 0,
                        b->hits + (int64_t)i * b->k, b->nhits[i]);
    batch_empty(b);
    return code;
}

static bool is_zero(const float *x, int n) {
    for (int i = 0; i < n; i++)
        if (x[i] != 0) return false;
    return true;
}

// Users that training left out (nothing they did counts; held out, in a checkpoint) have no vector, and
// nothing can be said for them by an implicit model. An explicit one still ranks by the items' biases.
static bool has_vector(const struct thaw_session *s, const float *x) {
    return s->info.ratings || !is_zero(x, s->info.columns);
}

static int add_user(struct batch *b, struct thaw_session *s, const char *id, size_t n, struct thaw_err *err) {
    const int64_t user = thaw_session_find(s, THAW_USERS, id, n);
    if (user < 0) return THAW_OK;
    const float *x = thaw_lookup_vector(s->l, THAW_USERS, user);
    if (!has_vector(s, x)) {
        fprintf(stderr, "thaw-lookup: user '%.*s' has no vector: training left it out\n", (int)n, id);
        s->unknown++;
        return THAW_OK;
    }
    memcpy(b->x + (int64_t)b->n * s->info.columns, x, (size_t)s->info.columns * sizeof *x);
    b->who[b->n] = strndup(id, n);
    if (!b->who[b->n]) return thaw_fail(err, THAW_EMEM, "no memory for an id");
    int code = thaw_lookup_seen(s->l, user, &b->exclude[b->n], &b->nexclude[b->n], err);
    if (!code) b->n++;
    return code;
}

static int run_users(struct batch *b, struct thaw_session *s, const struct options *o, struct thaw_err *err) {
    struct thaw_ids ids;
    const char *id;
    size_t n;
    int code = thaw_ids_open(&ids, &o->users, "--user ID..., --history ID,...", err);
    while (!code && thaw_ids_next(&ids, &id, &n)) {
        code = add_user(b, s, id, n, err);
        if (!code && b->n == b->room) code = batch_answer(b, s, o, err);
    }
    thaw_ids_close(&ids);
    return code;
}

// ---- Someone unknown ----

// The next comma-separated word of a list of words; false at the end.
struct words {
    const struct thaw_list *list;
    int at;
    const char *rest;
};
static bool next_word(struct words *w, const char **word, size_t *n) {
    while (!w->rest || !*w->rest) {
        if (w->at >= w->list->n) return false;
        w->rest = w->list->item[w->at++];
    }
    *word = w->rest;
    *n = strcspn(w->rest, ",");
    w->rest += *n + (w->rest[*n] == ',');
    return true;
}

static int next_strength(struct words *w, float *strength, struct thaw_err *err) {
    const char *word;
    size_t n;
    char *end;
    if (!next_word(w, &word, &n))
        return thaw_fail(err, THAW_EUSAGE, "--strengths: fewer than items in --history");
    *strength = strtof(word, &end);
    if (n == 0 || end != word + n || !isfinite(*strength))
        return thaw_fail(err, THAW_EUSAGE, "--strengths: '%.*s' is not a number", (int)n, word);
    return THAW_OK;
}

struct history {
    int64_t *items;
    float *strengths;
    int64_t n;
    size_t items_cap, strengths_cap;
};

static int history_add(struct history *h, int64_t item, float strength, struct thaw_err *err) {
    for (int64_t i = 0; i < h->n; i++)
        if (h->items[i] ==
            item) { // bought again: one interaction of both strengths, as prepare merges by default
            h->strengths[i] += strength;
            return THAW_OK;
        }
    int code = thaw_grow(&h->items, &h->items_cap, (size_t)h->n + 1, sizeof *h->items, "a history", err);
    if (!code)
        code = thaw_grow(&h->strengths, &h->strengths_cap, (size_t)h->n + 1, sizeof *h->strengths,
                         "a history", err);
    if (code) return code;
    h->items[h->n] = item;
    h->strengths[h->n++] = strength;
    return THAW_OK;
}

static int history_parse(struct history *h, struct thaw_session *s, const struct options *o,
                         struct thaw_err *err) {
    struct words items = {.list = &o->history}, strengths = {.list = &o->strengths};
    const char *word;
    size_t n;
    int code = THAW_OK;
    while (!code && next_word(&items, &word, &n)) {
        float strength = 1;
        if (o->strengths.n > 0) code = next_strength(&strengths, &strength, err);
        const int64_t item = code ? -1 : thaw_session_find(s, THAW_ITEMS, word, n);
        if (item >= 0) code = history_add(h, item, strength, err);
    }
    if (!code && o->strengths.n > 0 && next_word(&strengths, &word, &n))
        code = thaw_fail(err, THAW_EUSAGE, "--strengths: more than items in --history");
    if (!code && h->n == 0 && s->unknown == 0) code = thaw_fail(err, THAW_EUSAGE, "--history names no item");
    return code;
}

static int run_history(struct batch *b, struct thaw_session *s, const struct options *o,
                       struct thaw_err *err) {
    struct history h = {0};
    int code = history_parse(&h, s, o, err);
    if (!code && h.n > 0) code = thaw_lookup_fold_in(s->l, h.items, h.strengths, h.n, b->x, err);
    const bool usable = !code && h.n > 0 && has_vector(s, b->x);
    if (!code && h.n > 0 && !usable) {
        fprintf(stderr, "thaw-lookup: no strength of the history is above 0: nothing to go by\n");
        s->unknown++;
    }
    if (usable) {
        b->exclude[0] = h.items;
        b->nexclude[0] = h.n;
        b->n = 1;
    } else {
        free(h.items);
    }
    free(h.strengths);
    return code;
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *o = options;
    struct thaw_session s;
    struct batch b = {0};
    int code = thaw_session_open(&s, operands, NULL, err);
    if (!code && o->strengths.n > 0 && o->history.n == 0)
        code = thaw_fail(err, THAW_EUSAGE, "--strengths goes with --history");
    if (!code) code = batch_new(&b, &s, o->k, err);
    if (!code && o->format == THAW_CSV) thaw_sink_text(&s.out, "user,rank,item,score\n");
    if (!code && o->history.n > 0) {
        code = run_history(&b, &s, o, err);
        if (!code) code = batch_answer(&b, &s, o, err);
    }
    if (!code && (o->users.n > 0 || o->history.n == 0)) code = run_users(&b, &s, o, err);
    if (!code) code = batch_answer(&b, &s, o, err);
    batch_empty(&b);
    free(b.x);
    free(b.hits);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "recommend",
    .summary = "print the best items for known users, or for a history",
    THAW_VERB_TABLES,
    .description = "Scores every item for a user and prints the best, exactly, without those the user has "
                   "already interacted with. For an "
                   "explicit model the score is the predicted rating.\n\n"
                   "Someone the tables do not know is described by --history: their vector is the solution "
                   "of the same problem that "
                   "training solves for a user. An item named twice counts with the sum of its strengths.\n\n"
                   "An unknown id is named on standard error, the others are answered all the same, and the "
                   "exit status is 65.",
    .examples = "thaw-lookup recommend tables --user alice -k 5\n"
                "thaw-lookup recommend tables --history 1193,661,914 --strengths 5,3,4\n"
                "thaw-lookup recommend tables --format jsonl --threads 8 < users.txt > recommendations.jsonl",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_recommend = {&cmd, run};
