// verb_recommend.c: thaw-lookup recommend.
#include "lookup/verbs/explained.h"
#include "lookup/verbs/someone.h"
#include "lookup/verbs/verb.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, HITS_MAX = 1 << 20 };

struct options {
    struct thaw_list users, history, strengths, times, profile, profile_of;
    int64_t k, threads, seed;
    double scale;
    bool with_seen, explain;
    int format, method, explore;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_USERS(struct options,
                   "Known users; without this, --history and --profile, one id per line on standard input."),
    {.name = "history",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, history),
     .arg = "ID,ID,...",
     .help = "Items that someone unknown has interacted with."},
    {.name = "strengths",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, strengths),
     .arg = "X,X,...",
     .help = "A strength, or a rating for an explicit model, for each item of --history; 1 when not given."},
    {.name = "known-times",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, times),
     .arg = "T,T,...",
     .help = "When each item of --history became known, as numbers: puts it in order, which G asks for. "
             "Without it "
             "the order given is taken."},
    {.name = "profile",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, profile),
     .arg = "NAME=VALUE,...",
     .help = "The profile of someone unknown; 'thaw-lookup info' lists the fields."},
    THAW_SOMEONE_OPTIONS(
        struct options,
        "How someone unknown is answered; auto: by the ensemble where the tables hold a model for it, "
        "else by fold-in.",
        "Add P's doubt to the scores of P or the ensemble: its size (ucb) or one draw (thompson).",
        "Also recommend items of the user's own history."),
    {.name = "explain",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(struct options, explain),
     .help = "Print what each result's score consists of, one line each: user, rank, item, score, where from "
             "(history, "
             "profile, rest), name, share."},
    {.name = "profile-of",
     .kind = THAW_OPT_LIST,
     .offset = offsetof(struct options, profile_of),
     .arg = "ID...",
     .help = "Print the interests of known users instead of items."},
    THAW_OPT_COUNT(struct options, "How many items, or interests, to print for each."),
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
    int code =
        thaw_ids_open(&ids, &o->users, "--user ID..., --profile NAME=VALUE,... or --history ID,...", err);
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
    const char *what; // for messages
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

// The number that goes with an item; `without` where none are given.
static int next_number(struct words *w, double without, double *out, struct thaw_err *err) {
    const char *word;
    size_t n;
    *out = without;
    if (w->list->n == 0) return THAW_OK;
    if (!next_word(w, &word, &n))
        return thaw_fail(err, THAW_EUSAGE, "%s: fewer than items in --history", w->what);
    return thaw_someone_number(w->what, word, n, out, err);
}

static int no_more(struct words *w, struct thaw_err *err) {
    const char *word;
    size_t n;
    return w->list->n > 0 && next_word(w, &word, &n)
               ? thaw_fail(err, THAW_EUSAGE, "%s: more than items in --history", w->what)
               : THAW_OK;
}

static int history_parse(struct thaw_someone *p, struct thaw_session *s, const struct options *o,
                         struct thaw_err *err) {
    struct words items = {.list = &o->history}, strengths = {.list = &o->strengths, .what = "--strengths"},
                 times = {.list = &o->times, .what = "--known-times"};
    const char *word;
    size_t n;
    int code = THAW_OK;
    while (!code && next_word(&items, &word, &n)) {
        double strength, time = 0;
        code = next_number(&strengths, 1, &strength, err);
        if (!code) code = next_number(&times, 0, &time, err);
        const int64_t item = code ? -1 : thaw_session_find(s, THAW_ITEMS, word, n);
        if (item >= 0) code = thaw_someone_item(p, item, (float)strength, time, err);
    }
    if (!code) code = no_more(&strengths, err);
    if (!code) code = no_more(&times, err);
    thaw_someone_sort(p);
    return code;
}

static bool counts(const struct thaw_session *s, const struct thaw_someone *p) {
    for (int64_t i = 0; i < p->n; i++)
        if (s->info.ratings || p->strengths[i] > 0) return true;
    return false;
}

// Can this method say anything?
static int usable(struct thaw_session *s, const struct options *o, const struct thaw_someone *p,
                  const struct thaw_lookup_how *how, bool *yes, struct thaw_err *err) {
    *yes = how->method != THAW_LOOKUP_FOLD_IN || counts(s, p);
    if (*yes) return THAW_OK;
    if (o->history.n == 0)
        return thaw_fail(err, THAW_EUSAGE, "a profile alone says nothing to a fold-in: give --history too");
    if (p->n == 0) return s->unknown ? THAW_OK : thaw_fail(err, THAW_EUSAGE, "--history names no item");
    fprintf(stderr, "thaw-lookup: no strength of the history is above 0: nothing to go by\n");
    s->unknown++;
    return THAW_OK;
}

static int explain(struct thaw_session *s, const struct options *o, struct thaw_lookup_work *w,
                   const struct thaw_someone *p, const struct thaw_newcomer_query *who,
                   const struct thaw_lookup_how *how, const struct thaw_hit *hits, int nhits,
                   struct thaw_err *err) {
    const size_t n = (size_t)nhits, inputs = (size_t)p->n + (size_t)s->info.user_fields + 2;
    struct thaw_shares e = {.someone = p};
    int64_t *item = NULL;
    int code = thaw_alloc(&item, n, sizeof *item, "an explanation", err);
    if (!code) code = thaw_alloc(&e.item, n * inputs, sizeof *e.item, "an explanation", err);
    for (size_t i = 0; !code && i < n; i++) item[i] = hits[i].item;
    if (!code) {
        e.field = e.item + n * (size_t)p->n;
        e.rest = e.field + n * (size_t)s->info.user_fields;
        code = thaw_lookup_explain(w, who, how, item, nhits, e.item, e.field, e.rest, e.rest + n, err);
    }
    for (size_t i = 0; !code && i < n; i++)
        e.rest[i] += hits[i].score - e.rest[n + i]; // exploration; rounding
    if (!code) thaw_print_explained(s, o->format, hits, nhits, &e);
    free(item);
    free(e.item);
    return code;
}

static int answer(struct thaw_session *s, const struct options *o, const struct thaw_someone *p,
                  struct thaw_hit *hits, struct thaw_err *err) {
    const struct thaw_newcomer_query who = {p->profile, p->items, p->strengths, p->n, (uint64_t)o->seed};
    struct thaw_lookup_how how = {.explore = o->explore, .scale = o->scale, .seed = (uint64_t)o->seed};
    struct thaw_lookup_work *w = NULL;
    bool yes = false;
    int nhits = 0;
    int code = thaw_someone_method(s, o->method, &how.method, err);
    if (!code) code = usable(s, o, p, &how, &yes, err);
    if (code || !yes) return code;
    code = thaw_lookup_work_new(&w, s->l, err);
    if (!code) code = thaw_lookup_answer(w, &who, &how, (int)o->k, o->with_seen, hits, &nhits, err);
    if (!code && o->explain)
        code = explain(s, o, w, p, &who, &how, hits, nhits, err);
    else if (!code)
        thaw_print_hits(s, o->format, "user", NULL, 0, hits, nhits);
    thaw_lookup_work_free(&w);
    return code;
}

static int run_someone(struct thaw_session *s, const struct options *o, struct thaw_err *err) {
    struct thaw_someone p;
    struct thaw_hit *hits = NULL;
    int code = thaw_someone_new(&p, s, err);
    if (!code) code = history_parse(&p, s, o, err);
    for (int i = 0; !code && i < o->profile.n; i++)
        code = thaw_someone_profile(&p, s, o->profile.item[i], err);
    const int64_t most = o->k < s->info.items ? o->k : s->info.items;
    if (!code) code = thaw_alloc(&hits, (size_t)(most > 0 ? most : 1), sizeof *hits, "recommendations", err);
    if (!code) code = answer(s, o, &p, hits, err);
    free(hits);
    thaw_someone_clear(&p);
    return code;
}

// ---- The verb ----

static int check_options(const struct options *o, struct thaw_err *err) {
    const bool someone = o->history.n > 0 || o->profile.n > 0;
    if (o->strengths.n > 0 && o->history.n == 0)
        return thaw_fail(err, THAW_EUSAGE, "--strengths goes with --history");
    if (o->times.n > 0 && o->history.n == 0)
        return thaw_fail(err, THAW_EUSAGE, "--known-times goes with --history");
    if (!someone && (o->explain || o->explore || o->method))
        return thaw_fail(err, THAW_EUSAGE,
                         "--method, --explain and --explore go with --profile or --history");
    return THAW_OK;
}

static void print_header(struct thaw_session *s, const struct options *o) {
    if (o->format != THAW_CSV) return;
    thaw_sink_text(&s->out, o->profile_of.n > 0 ? "user,rank,field,value,weight,usual\n"
                            : o->explain        ? "user,rank,item,score,from,name,share\n"
                                                : "user,rank,item,score\n");
}

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *o = options;
    struct thaw_session s;
    struct batch b = {0};
    const bool someone = o->history.n > 0 || o->profile.n > 0;
    int code = thaw_session_open(&s, operands, NULL, err);
    if (!code) code = check_options(o, err);
    if (!code) code = batch_new(&b, &s, o->k, err);
    if (!code) print_header(&s, o);
    if (!code && o->profile_of.n > 0) {
        code = thaw_interests_print(&s, &o->profile_of, (int)o->k, o->format, err);
    } else if (!code) {
        if (someone) code = run_someone(&s, o, err);
        if (!code && (o->users.n > 0 || !someone)) code = run_users(&b, &s, o, err);
        if (!code) code = batch_answer(&b, &s, o, err);
    }
    batch_empty(&b);
    free(b.x);
    free(b.hits);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "recommend",
    .summary = "print the best items for known users, or for someone new",
    THAW_VERB_TABLES,
    .description =
        "Scores every item for a user and prints the best, exactly, without those the user has already "
        "interacted with. For an explicit model the score is the predicted rating.\n\n"
        "Someone the tables do not know is described by --profile, --history or both. Tables with cold-start "
        "models "
        "('thaw tables --prior, --association, --generator') answer by P, E, G, T or their ensemble, see "
        "docs/cold-start.md; "
        "others by fold-in: the same problem that training solves for a user, from --history alone. "
        "Scores of the ensemble are sums of z-scores, of G probabilities, of the others predicted "
        "preferences. "
        "An item named twice counts with the sum of its strengths.\n\n"
        "--profile takes NAME=VALUE,NAME=VALUE,...; a comma begins a new entry where NAME= follows it, so "
        "most values "
        "may have commas; one in double quotes is taken whole, and the option may be given again. Values of "
        "a multi "
        "field are separated by |. A field or value that the tables do not know is told on standard error "
        "and "
        "contributes nothing.\n\n"
        "--explain prints each result's share from each known item and each profile field, and the rest that "
        "stays "
        "with neither; they add up to the score. The shares of G are those of a path integral of its "
        "gradient.\n\n"
        "--profile-of prints a known user's interests: values of the items' categorical and multi "
        "attributes, with "
        "their weight among the items the user has seen (or, if none, the 100 best ones) beside the usual "
        "weight among "
        "everybody's interactions, largest excess first.\n\n"
        "An unknown id is named on standard error, the others are answered all the same, and the "
        "exit status is 65.",
    .examples = "thaw-lookup recommend tables --user alice -k 5\n"
                "thaw-lookup recommend tables --history 1193,661,914 --strengths 5,3,4\n"
                "thaw-lookup recommend tables --profile gender=F,age=25-34 --history 1193 --explain\n"
                "thaw-lookup recommend tables --profile gender=F --explore ucb --explore-scale 0.5\n"
                "thaw-lookup recommend tables --profile-of alice\n"
                "thaw-lookup recommend tables --format jsonl --threads 8 < users.txt > recommendations.jsonl",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_recommend = {&cmd, run};
