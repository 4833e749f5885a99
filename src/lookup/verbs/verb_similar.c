// verb_similar.c: thaw-lookup similar.
#include "lookup/verbs/verb.h"

#include "base/mem.h"

#include <stdlib.h>

struct options {
    struct thaw_list items;
    int64_t k, threads;
    int format;
};

static const struct thaw_opt opts[] = {
    THAW_OPT_ITEMS(struct options,
                   "Items whose neighbours are asked for; without it, one id per line on standard input."),
    THAW_OPT_COUNT(struct options, "How many items to print for each."),
    THAW_OPT_THREADS(struct options),
    THAW_OPT_FORMAT(struct options, "text", "text|jsonl|csv",
                    "text and csv: item, rank, similar item, cosine; jsonl: one object per item."),
};

static int run(const void *options, const struct thaw_list *operands, struct thaw_err *err) {
    const struct options *o = options;
    struct thaw_session s;
    struct thaw_ids ids = {0};
    struct thaw_hit *hits = NULL;
    const char *id;
    size_t n;
    int code = thaw_session_open(&s, operands, NULL, err);
    if (!code) code = thaw_ids_open(&ids, &o->items, "--item ID...", err);
    const int k = (int)(o->k > s.info.items && s.info.items > 0 ? s.info.items : o->k);
    if (!code) code = thaw_alloc(&hits, (size_t)k, sizeof *hits, "similar items", err);
    if (!code && o->format == THAW_CSV) thaw_sink_text(&s.out, "item,rank,similar,cosine\n");
    while (!code && thaw_ids_next(&ids, &id, &n)) {
        int nhits;
        const int64_t item = thaw_session_find(&s, THAW_ITEMS, id, n);
        if (item < 0) continue;
        code = thaw_lookup_similar(s.l, item, k, (int)o->threads, hits, &nhits, err);
        if (!code) thaw_print_hits(&s, o->format, "item", id, n, hits, nhits);
    }
    free(hits);
    thaw_ids_close(&ids);
    return thaw_session_close(&s, code, err);
}

static const struct thaw_cmd cmd = {
    .name = "similar",
    .summary = "print the items most similar to an item",
    THAW_VERB_TABLES,
    .description = "Compares an item with every other one by the cosine of their factors and prints the "
                   "nearest, exactly. "
                   "Items that training saw no interaction of have no direction and are never printed.\n\n"
                   "An unknown id is named on standard error, the others are answered all the same, and the "
                   "exit status is 65.",
    .examples = "thaw-lookup similar tables --item 1193 -k 5",
    THAW_VERB_OPTIONS(struct options, opts),
};
const struct thaw_verb thaw_verb_similar = {&cmd, run};
