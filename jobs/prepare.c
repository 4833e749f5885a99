// prepare.c: thaw prepare, from interaction logs to a partitioned dataset. The stages are in comm/stages.h.
#include "base/mem.h"
#include "comm/commit.h"
#include "comm/degrees.h"
#include "comm/filesums.h"
#include "comm/room.h"
#include "comm/stages.h"
#include "jobs/found.h"
#include "jobs/hold.h"
#include "jobs/job.h"
#include "jobs/recipe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LAYOUT_EVENTS, LAYOUT_LISTS };
static const int64_t MEMORY = (int64_t)2 << 30; // of a rank, unless --memory says

struct prepare_options {
    struct thaw_list events;
    const char *out, *columns, *delimiter, *weights, *users, *items, *user_spec, *item_spec;
    int layout, header, encoding, duplicates, negative;
    int64_t parts, min_user, min_item, memory, chunk, text_buckets, max_categories;
    double max_bad_fraction;
    bool force;
    struct thaw_job_common common;
};

#define OPTION(kind, ...)                      THAW_OPTION(struct prepare_options, kind, __VA_ARGS__)
#define TEXT(name_, field_, arg_, def_, help_) OPTION(TEXT, name_, field_, arg_, def_, 0, 0, help_)
#define CHOICE(name, field, choices, def, help)                                                              \
    THAW_OPTION_CHOICE(struct prepare_options, name, field, "WORD", def, choices, help)

static const struct thaw_opt options_table[] = {
    THAW_OPTION_REQUIRED(
        struct prepare_options, LIST, "events", events, "FILE...",
        "Event logs: files, or folders that stand for the files in them. Plain, gzip or zstd; plain "
        "ones are read in "
        "pieces by all ranks, compressed ones whole by one rank each."),
    THAW_OPTION_REQUIRED(struct prepare_options, TEXT, "out", out, "DIR", "Folder of the dataset."),
    CHOICE("layout", layout, "events|lists", "events",
           "What a line is: an event, or a user and any number of items they had to do with, 'user item item "
           "...': an "
           "event of value 1 and no time for each."),
    TEXT("columns", columns, "SPEC", NULL,
         "Which field is what: by position, user,item,event,value,time in the order of the file with - for a "
         "field to skip, "
         "or by name, user=CustomerID,item=StockCode,value=Quantity. Without it, names in the header and the "
         "looks of "
         "the fields decide."),
    TEXT("delimiter", delimiter, "TEXT", "auto",
         "What is between fields: one or more characters, or tab, comma, blank."),
    CHOICE("header", header, "auto|yes|no", "auto", "Whether files begin with a line of names."),
    CHOICE("encoding", encoding, "utf-8|latin-1", "utf-8",
           "Encoding of the files. Ids are UTF-8 in the dataset."),
    TEXT("event-weights", weights, "LIST", NULL,
         "Strength of each kind of event, view=1,cart=3,buy=5; multiplied by the value. Other kinds are bad "
         "lines."),
    TEXT("users", users, "FILE", NULL,
         "Attributes of users (profiles): a file or folder with one line for each."),
    TEXT("items", items, "FILE", NULL, "Attributes of items."),
    TEXT("user-attributes", user_spec, "SPEC", NULL,
         "Which fields of --users are attributes and of what kind: "
         "id,gender:categorical,age:numeric,tags:multi,about:text "
         "by position, or by name with a header. Without it all fields are, and their values tell the kind."),
    TEXT("item-attributes", item_spec, "SPEC", NULL, "The same for --items."),
    OPTION(INT, "text-buckets", text_buckets, "N", "4096", 1, 0x1p24,
           "Feature columns of an attribute of free text."),
    OPTION(INT, "max-categories", max_categories, "N", "100000", 1, 0x1p24,
           "Feature columns of a categorical or multi-valued attribute at most: its most frequent values "
           "have one."),
    OPTION(INT, "parts", parts, "V", "64", 1, THAW_PARTS_MAX,
           "Parts of each side. At most so many ranks can share later steps; each part must fit the memory "
           "of a rank."),
    CHOICE("duplicates", duplicates, "sum|max|last", "sum",
           "What becomes of several events of one user and item: their sum, the largest, or the last by time "
           "(by place in the "
           "input when there are no times)."),
    CHOICE("negative", negative, "merge|skip|keep", "merge",
           "Events that are not above zero, such as returns: merge takes them into the sum and leaves out "
           "pairs that end up "
           "not above zero, skip leaves out the lines, keep keeps pairs of any value."),
    OPTION(INT, "min-user", min_user, "N", "1", 0, 1e15,
           "Drop users with fewer interactions, again and again."),
    OPTION(INT, "min-item", min_item, "N", "1", 0, 1e15,
           "Drop items with fewer interactions, again and again."),
    OPTION(REAL, "max-bad-fraction", max_bad_fraction, "F", "0.01", 0, 1,
           "Stop when more lines than this are bad. They are all in DIR/quarantine.tsv."),
    OPTION(BYTES, "memory", memory, "BYTES", "2G", 1 << 20, 0x1p50,
           "Memory of each rank; by default less where the ranks of a machine have less together. What does "
           "not fit is kept in a file without a name in DIR."),
    OPTION(BYTES, "chunk", chunk, "BYTES", "0", 0, 0x1p40,
           "Size of exchange buffers; 0 takes a 32nd of the memory, at most 16 MiB."),
    OPTION(FLAG, "force", force, NULL, NULL, 0, 0,
           "Replace the dataset in DIR. The old one stays until the new one is written."),
    THAW_JOB_OPTIONS(struct prepare_options),
};

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "prepare",
    .summary = "turn interaction logs into a partitioned dataset",
    .operands = "",
    .description =
        "Reads event logs on all ranks, gives each user and item id a row, merges repeated events, and "
        "writes the "
        "interactions by users and by items, in as many parts as --parts says, with a manifest.\n\n"
        "Lines that do not parse are counted by reason and copied to DIR/quarantine.tsv with their place. "
        "Lines without "
        "a user or an item are left out and counted. Every line and event is accounted for in what is "
        "printed.\n\n"
        "The files are the same for any number of ranks. Use one rank for each core: reading takes no "
        "threads.",
    .files = "DIR/users-00000-of-00064.npz, DIR/items-...: The rows and interactions of a part.\n"
             "DIR/manifest.pb: Written last; without it there is no dataset.\n"
             "DIR/quarantine.tsv: Bad lines with their place and reason; absent when there are none.",
    .examples = "  mpirun -n 4 thaw prepare --events log/ --out data --event-weights view=1,cart=3,buy=5\n"
                "  thaw prepare --events ratings.dat.gz --delimiter :: --columns user,item,value --out data "
                "--duplicates last\n"
                "  thaw prepare --events retail.tsv.gz --columns "
                "user=CustomerID,item=StockCode,value=Quantity,time=InvoiceDate "
                "--out data\n",
    THAW_CMD_OPTIONS(struct prepare_options, options_table),
};

static int check_options(const struct prepare_options *o, struct thaw_err *err) {
    if (o->user_spec && *o->user_spec && !o->users)
        return thaw_fail(err, THAW_EUSAGE, "--user-attributes needs --users");
    if (o->item_spec && *o->item_spec && !o->items)
        return thaw_fail(err, THAW_EUSAGE, "--item-attributes needs --items");
    if (o->layout == LAYOUT_LISTS && (o->columns || o->weights || o->header == THAW_HEADER_YES))
        return thaw_fail(err, THAW_EUSAGE,
                         "--layout lists has no header, columns or events: leave out --header, --columns, "
                         "--event-weights");
    return THAW_OK;
}

static void configure(struct thaw_prep_config *cfg, const struct prepare_options *o) {
    *cfg = (struct thaw_prep_config){
        .events = o->events.item,
        .nevents = o->events.n,
        .out = o->out,
        .format = {.delimiter = o->delimiter,
                   .header = (enum thaw_header)o->header,
                   .encoding = (enum thaw_encoding)o->encoding,
                   .columns = o->columns,
                   .lists = o->layout == LAYOUT_LISTS},
        .weights = o->weights,
        .negative = (enum thaw_negative)o->negative,
        .duplicates = (enum thaw_duplicates)o->duplicates,
        .parts = (int32_t)o->parts,
        .min_user = o->min_user,
        .min_item = o->min_item,
        .max_bad_fraction = o->max_bad_fraction,
        .memory_bytes = o->memory,
        .chunk_bytes = o->chunk,
        .attributes = {o->users, o->items},
        .attribute_spec = {o->user_spec, o->item_spec},
        .text_buckets = o->text_buckets,
        .max_categories = o->max_categories,
    };
}

// Collective. What stage took how long, and how fast, for people.
struct stopwatch {
    double started, last;
    clock_t cpu;
};

static void lap(struct thaw_prep *p, struct stopwatch *w, const char *what, double mb) {
    double now = thaw_time_s(), took = now - w->last, busy = (double)(clock() - w->cpu) / CLOCKS_PER_SEC;
    char rate[40] = "";
    w->last = now;
    w->cpu = clock();
    if (mb > 0) snprintf(rate, sizeof rate, ", %.0f MB/s", mb / (took > 1e-9 ? took : 1e-9));
    thaw_log_note(p->log, "%s: %.2f s (rank 0 busy %.2f s)%s", what, took, busy, rate);
    thaw_log_event(p->log, "stage", "\"name\":\"%s\",\"seconds\":%.3f,\"cpu_seconds\":%.3f", what, took,
                   busy);
}

// Collective. The stages before anything of the dataset is written.
static int digest_logs(struct thaw_prep *p, struct stopwatch *w, struct thaw_err *err) {
    int code = thaw_prep_read(p, err);
    if (code) return code;
    lap(p, w, "reading", (double)p->totals.read_bytes * 1e-6);
    if ((code = thaw_prep_profiles(p, err))) return code;
    if ((code = thaw_prep_judge(p, err))) return code;
    if ((code = thaw_prep_items(p, err))) return code;
    lap(p, w, "attributes and items", 0);
    if ((code = thaw_prep_merge(p, err))) return code;
    lap(p, w, "merging", 0);
    if ((code = thaw_prep_filter(p, err))) return code;
    lap(p, w, "filtering", 0);
    if ((code = thaw_prep_number(p, err))) return code;
    lap(p, w, "numbering", 0);
    return THAW_OK;
}

static int note_inputs(struct thaw_prep *p, Thaw__Run *run, struct thaw_err *err) {
    int code = thaw_filesums_add(p->comm, p->files, run, err);
    for (int side = 0; side < 2 && !code; side++) {
        struct thaw_sources *s = NULL;
        if (!p->cfg->attributes[side]) continue;
        code = thaw_comm_agree(p->comm, thaw_sources_open(&s, &p->cfg->attributes[side], 1, 0, err), err);
        if (!code) code = thaw_filesums_add(p->comm, s, run, err);
        thaw_sources_close(&s);
    }
    return code;
}

// Collective. Peak memory of each rank against the plan.
static void report_memory(struct thaw_prep *p) {
    int64_t peak[2] = {thaw_mem_peak_bytes(), thaw_spill_pool_spilled(p->pool)};
    char a[16], b[16], c[16];
    thaw_comm_max_i64(p->comm, peak, 2);
    thaw_log_note(p->log, "memory of a rank: %s planned, %s at most used, %s spilled",
                  thaw_human_bytes(a, p->memory.total), thaw_human_bytes(b, peak[0]),
                  thaw_human_bytes(c, peak[1]));
    thaw_log_event(p->log, "memory", "\"planned\":%" PRId64 ",\"peak\":%" PRId64 ",\"spilled\":%" PRId64,
                   p->memory.total, peak[0], peak[1]);
}

// Attributes that come without a single interaction are those of another log, or have other ids.
static void warn_of_strangers(const struct thaw_prep *p) {
    const struct thaw_prep_ledger *l = &p->ledger;
    for (int side = 0; side < 2; side++) {
        const int64_t known = l->profile_lines[side] - l->profile_bad[side] - l->profile_skipped[side] -
                              l->profile_replaced[side];
        if (known > 0 && p->totals.attribute_only[side] == known)
            thaw_log_warn(
                p->log, "none of the %s with attributes has an interaction: do they have the ids of the log?",
                thaw_side_name[side]);
    }
}

// Collective. Write the dataset.
static int write_dataset(struct thaw_prep *p, Thaw__Run *run, struct stopwatch *w, struct thaw_err *err) {
    int code = thaw_prep_work_begin(p, err);
    if (!code) code = thaw_prep_emit(p, err);
    if (code) return code;
    lap(p, w, "writing", 0);
    if ((code = note_inputs(p, run, err))) return code;
    lap(p, w, "digests of the input", 0);
    for (int side = 0; side < 2; side++)
        thaw_degree_quantiles(p->comm, &p->degree_rows[side], p->totals.degree[side]);
    run->seconds = w->last - w->started;
    uint64_t digest = 0;
    if ((code = thaw_prep_commit(p, run, &digest, err))) return code;
    thaw_log_note(p->log, "dataset %016" PRIx64 " in %s, %.2f s", digest, p->cfg->out,
                  thaw_time_s() - w->started);
    return THAW_OK;
}

// Collective. Is the dataset there already? One that is another stays, unless --force says otherwise.
static int find_made(const struct thaw_job_ctx *ctx, const struct prepare_options *o, const Thaw__Run *info,
                     bool *found, struct thaw_err *err) {
    int code = THAW_OK;
    *found = thaw_comm_rank(ctx->comm) == 0 && !o->force && thaw_prep_out_whole(o->out);
    if (*found) code = thaw_recipe_check(info, "prepare", o->out, "a dataset", err);
    code = thaw_comm_agree(ctx->comm, code, err);
    thaw_comm_bcast(ctx->comm, found, sizeof *found, 0);
    return code;
}

// Collective. From the logs to the dataset in its place.
static int make(struct thaw_job_ctx *ctx, const struct prepare_options *o, Thaw__Run *info,
                struct thaw_err *err) {
    struct thaw_prep_config cfg;
    struct thaw_prep p = {0};
    struct stopwatch w = {thaw_time_s(), thaw_time_s(), clock()};
    configure(&cfg, o);
    int code = thaw_comm_fit_memory(ctx->comm, "memory", MEMORY, &cfg.memory_bytes, err);
    if (code) return code;
    code = thaw_prep_begin(&p, ctx->comm, ctx->log, &cfg, err);
    if (!code) code = digest_logs(&p, &w, err);
    if (!code) code = write_dataset(&p, info, &w, err);
    if (!code && thaw_comm_rank(ctx->comm) == 0) thaw_found_print(stdout, o->common.format, &p);
    if (!code) warn_of_strangers(&p);
    if (!code) report_memory(&p);
    thaw_prep_work_discard(&p);
    thaw_prep_end(&p);
    return code;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const struct prepare_options *o = options;
    Thaw__Run *info = NULL;
    struct thaw_lock *lock = NULL;
    bool made = false, found = false;
    (void)operands;
    int code = check_options(o, err);
    if (code) return code;
    code = thaw_hold(&lock, ctx, "prepare", o->out, err);
    if (!code) code = thaw_recipe_run_new(&info, ctx, &command, options, NULL, err);
    if (!code) code = find_made(ctx, o, info, &found, err);
    if (!code) code = thaw_prep_out_begin(ctx->comm, o->out, &made, err);
    if (!code && found) thaw_recipe_say_made(ctx, o->out);
    if (!code && !found) code = make(ctx, o, info, err);
    if (info) thaw__run__free_unpacked(info, NULL);
    if (code && made && thaw_comm_rank(ctx->comm) == 0) rmdir(o->out); // only when it is empty
    thaw_hold_end(&lock);
    return code;
}

const struct thaw_job thaw_job_prepare = {&command, run};
