// thaw synth: an interaction log with a planted truth (synth/synth.h), made in parallel, the same bytes for
// any rank count.
//
// Files of the event log are cut by users and each is written whole by one rank; users.csv and items.csv are
// one file each, into which every rank writes its slice. All goes to OUT.partial, which becomes OUT when
// everything is there.
#include "synth/synth.h"
#include "base/file.h"
#include "base/mem.h"
#include "jobs/hold.h"
#include "jobs/recipe.h"
#include "proto/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS_PER_FILE = 10000000, FILES_MIN = 16, FILES_MAX = 99999 };

struct synth_options {
    const char *out;
    int64_t users, items, interactions, seed, files, genres, styles;
    double cold_fraction, zipf, activity_sigma, days, profile_strength;
    int64_t start;
    bool force;
    struct thaw_job_common common;
};

#define OPTION(kind, ...) THAW_OPTION(struct synth_options, kind, __VA_ARGS__)

static const struct thaw_opt options_table[] = {
    THAW_OPTION_REQUIRED(
        struct synth_options, TEXT, "out", out, "DIR",
        "Folder to write: events-00000-of-00016.csv and so on, users.csv, items.csv. It must not hold "
        "anything yet."),
    OPTION(INT, "users", users, "N", "20000", 1, 0x1p40, "Number of users."),
    OPTION(INT, "items", items, "N", "4000", 1, 0x1p40, "Number of items."),
    OPTION(INT, "interactions", interactions, "N", "1000000", 0, 0x1p50, "Number of events in all."),
    OPTION(REAL, "cold-fraction", cold_fraction, "F", "0.1", 0, 1,
           "Fraction of users that have only 0 to 3 events."),
    OPTION(INT, "seed", seed, "S", "1", 0, 0x1p62, "Another seed gives another log of the same kind."),
    OPTION(INT, "files", files, "N", "0", 0, FILES_MAX,
           "Number of event files; as many ranks and threads can write at once. 0 takes 16, or one per 10 "
           "million events when that is more."),
    OPTION(REAL, "zipf", zipf, "S", "1.0", 0, 3,
           "Exponent of item popularity inside a style; 0 makes all items of a style alike."),
    OPTION(REAL, "activity-sigma", activity_sigma, "S", "1.1", 0, 2.5,
           "Deviation of the logarithm of a user's number of events."),
    OPTION(INT, "start", start, "TIME", "1704067200", 0, 0x1p40, "Unix time of the first moment of the log."),
    OPTION(REAL, "days", days, "N", "180", 0.001, 100000, "How long the log lasts."),
    OPTION(INT, "genres", genres, "N", "20", 1, THAW_SYNTH_GENRES_MAX,
           "Number of item genres, the first level of taste."),
    OPTION(INT, "styles", styles, "N", "8", 1, THAW_SYNTH_STYLES_MAX,
           "Number of styles in a genre, the second level of taste."),
    OPTION(REAL, "profile-strength", profile_strength, "P", "1.0", 0, 10,
           "How strongly a user's profile acts on the taste; 0 makes profiles say nothing."),
    OPTION(FLAG, "force", force, NULL, NULL, 0, 0, "Replace an earlier log in DIR."),
    THAW_JOB_OPTIONS(struct synth_options),
};

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "synth",
    .summary = "make an interaction log with a planted truth",
    .operands = "",
    .description = "Writes an event log (user, item, event, value, time), user profiles and item attributes "
                   "of any size, to try, test "
                   "and measure with. Users have tastes over genres and styles that follow from their "
                   "profile and from themselves; "
                   "item popularity is Zipf-like, user activity log-normal; views lead to carts and buys "
                   "more often where the taste "
                   "is.\n\n"
                   "The files are the same bytes for any number of ranks and threads. Memory does not grow "
                   "with the size of the log.",
    .files = "DIR/events-00000-of-00016.csv: The log: user, item, event, value, time.\n"
             "DIR/users.csv, DIR/items.csv: Profiles and attributes.\n"
             "DIR/run.pb: How the log was made.\n"
             "DIR.partial: The log in the making; it becomes DIR when it is complete.",
    .examples = "thaw synth --out log --users 20000 --items 4000 --interactions 1e6\n"
                "mpirun -n 64 thaw synth --out big --users 1e8 --items 1e6 --interactions 1e10 --files 1024",
    THAW_CMD_OPTIONS(struct synth_options, options_table),
};

// One run of the job on one rank.
struct synth_run {
    struct thaw_job_ctx *ctx;
    const struct synth_options *o;
    char target[THAW_PATH_MAX], partial[THAW_PATH_MAX]; // OUT, and where it is made
    bool made_partial;
    bool finished; // the log is there already
    Thaw__Run *info;
    struct thaw_synth *world;
    int64_t nfiles, first_file, last_file; // of this rank
    struct thaw_synth_share *before;       // last_file - first_file: users below each file of this rank
    struct thaw_synth_share all;
    struct thaw_synth_tally tally;
};

static bool is_root(const struct synth_run *r) {
    return thaw_comm_rank(r->ctx->comm) == 0;
}

// ---- The folder ----

// Only files that this job makes may be replaced. *any: there are some.
static int check_replaceable(const struct synth_run *r, bool *any, struct thaw_err *err) {
    static const char *const known[] = {".", "..", "events-*-of-*.csv", "users.csv", "items.csv", "run.pb"};
    DIR *dir = opendir(r->target);
    if (!dir) return thaw_fail_errno(err, THAW_EUSAGE, "--out %s: cannot open the folder", r->target);
    int rc = THAW_OK;
    *any = false;
    for (struct dirent *entry; !rc && (entry = readdir(dir));) {
        size_t k = 0;
        while (k < sizeof known / sizeof *known && fnmatch(known[k], entry->d_name, 0) != 0) k++;
        if (k == sizeof known / sizeof *known)
            rc = thaw_fail(err, THAW_EUSAGE,
                           "--out %s holds %.100s, which is no part of a log: choose another folder",
                           r->target, entry->d_name);
        *any |= k > 1;
    }
    closedir(dir);
    return rc;
}

static int target_prepare(struct synth_run *r, struct thaw_err *err) {
    char resolved[PATH_MAX];
    size_t n = strlen(r->o->out);
    if (n == 0 || n + 16 >= sizeof r->target)
        return thaw_fail(err, THAW_EUSAGE, "--out: a folder's name is expected");
    memcpy(r->target, r->o->out, n + 1);
    while (n > 1 && r->target[n - 1] == '/') r->target[--n] = '\0';
    if (realpath(r->target, resolved)) { // a link stays a link: what it names is replaced
        memcpy(r->target, resolved, strlen(resolved) + 1);
        bool any = false;
        int rc = check_replaceable(r, &any, err);
        if (!rc && any && !r->o->force) {
            rc = thaw_recipe_check(r->info, "synth", r->target, "a log", err);
            r->finished = !rc;
        }
        if (rc) return rc;
    }
    if (snprintf(r->partial, sizeof r->partial, "%s.partial", r->target) >= (int)sizeof r->partial)
        return thaw_fail(err, THAW_EUSAGE, "--out: the path is too long");
    int rc = thaw_dir_remove(r->partial, err); // left by a run that was killed
    if (rc || r->finished) return rc;
    rc = thaw_dir_make(r->partial, err);
    r->made_partial = !rc;
    return rc;
}

// Rank 0 prepares; all learn the names.
static int target_begin(struct synth_run *r, struct thaw_err *err) {
    int rc = is_root(r) ? target_prepare(r, err) : THAW_OK;
    rc = thaw_comm_agree(r->ctx->comm, rc, err);
    if (rc) return rc;
    thaw_comm_bcast(r->ctx->comm, r->target, sizeof r->target, 0);
    thaw_comm_bcast(r->ctx->comm, r->partial, sizeof r->partial, 0);
    thaw_comm_bcast(r->ctx->comm, &r->finished, sizeof r->finished, 0);
    return THAW_OK;
}

static int target_commit(struct synth_run *r, struct thaw_err *err) {
    int rc = THAW_OK;
    if (is_root(r)) {
        rc = thaw_dir_sync(r->partial, err);
        // The one that was there then has the other name, and goes in the end.
        const bool exchanged = !rc && thaw_dir_exchange(r->partial, r->target);
        if (!rc && !exchanged && thaw_path_exists(r->target)) rc = thaw_dir_remove(r->target, err);
        if (!rc && !exchanged && rename(r->partial, r->target))
            rc = thaw_fail_errno(err, THAW_EIO, "cannot rename %s to %s", r->partial, r->target);
        if (!rc) r->made_partial = exchanged;
    }
    return thaw_comm_agree(r->ctx->comm, rc, err);
}

// ---- Who has how many events ----

static int64_t first_user(const struct synth_run *r, int64_t file) {
    return (int64_t)((__int128)r->o->users * file / r->nfiles);
}

static void share_add(struct thaw_synth_share *to, const struct thaw_synth_share *x) {
    to->cold_users += x->cold_users;
    to->cold_events += x->cold_events;
    to->warm_users += x->warm_users;
    to->weight += x->weight;
}

// Collective: shares of the files of this rank, summed up over the files before.
static int count(struct synth_run *r, struct thaw_err *err) {
    int64_t nmine = r->last_file - r->first_file;
    int rc = thaw_alloc(&r->before, (size_t)nmine, sizeof *r->before, "shares of event files", err);
    rc = thaw_comm_agree(r->ctx->comm, rc, err);
    if (rc) return rc;

#pragma omp parallel for schedule(dynamic) num_threads(r->ctx->threads)
    for (int64_t i = 0; i < nmine; i++)
        thaw_synth_count(r->world, first_user(r, r->first_file + i), first_user(r, r->first_file + i + 1),
                         &r->before[i]);

    struct thaw_synth_share mine = {0}, below;
    for (int64_t i = 0; i < nmine; i++) share_add(&mine, &r->before[i]);
    below = r->all = mine;
    int64_t n = sizeof mine / sizeof(int64_t);
    thaw_comm_exscan_i64(r->ctx->comm, &below.cold_users, n);
    thaw_comm_sum_i64(r->ctx->comm, &r->all.cold_users, n);
    for (int64_t i = 0; i < nmine; i++) {
        struct thaw_synth_share file = r->before[i];
        r->before[i] = below;
        share_add(&below, &file);
    }
    return thaw_comm_agree(r->ctx->comm, thaw_synth_settle(r->world, &r->all, err), err);
}

// ---- Files ----

static int one_events_file(struct synth_run *r, int64_t file, struct thaw_synth_tally *tally,
                           struct thaw_err *err) {
    char name[64], path[THAW_PATH_MAX];
    if (thaw_comm_stop_requested(r->ctx->comm))
        return thaw_fail(err, THAW_ESTOPPED, "the log was not finished: nothing was kept, run it again");
    snprintf(name, sizeof name, "events-%05" PRId64 "-of-%05" PRId64 ".csv", file, r->nfiles);
    int rc = thaw_path_join(path, r->partial, name, err);
    if (rc) return rc;
    return thaw_synth_events_write(r->world, path, first_user(r, file), first_user(r, file + 1),
                                   &r->before[file - r->first_file], tally, err);
}

static void tally_add(struct thaw_synth_tally *to, const struct thaw_synth_tally *x) {
    for (int k = 0; k < THAW_SYNTH_KINDS; k++) to->events[k] += x->events[k];
    to->nbytes += x->nbytes;
}

static int64_t tally_events(const struct thaw_synth_tally *t) {
    return t->events[THAW_SYNTH_VIEW] + t->events[THAW_SYNTH_CART] + t->events[THAW_SYNTH_BUY];
}

// Collective. Progress shows this rank's pace, scaled to the whole.
static int events(struct synth_run *r, struct thaw_err *err) {
    int rc = THAW_OK;
    int64_t nmine = r->last_file - r->first_file, ndone = 0;
    thaw_comm_phase(r->ctx->comm, "write");
    thaw_log_phase(r->ctx->log, "writing events", thaw_synth_total(r->world), "events");
#pragma omp parallel for schedule(dynamic) num_threads(r->ctx->threads)
    for (int64_t i = 0; i < nmine; i++) {
        struct thaw_err mine = THAW_ERR_INIT;
        struct thaw_synth_tally tally = {0};
        int code, failed;
#pragma omp atomic read
        failed = rc;
        if (failed) continue;
        code = one_events_file(r, r->first_file + i, &tally, &mine);
#pragma omp critical(thaw_synth_files)
        {
            if (code && !rc) {
                *err = mine;
#pragma omp atomic write
                rc = code;
            }
            tally_add(&r->tally, &tally);
            thaw_log_step(r->ctx->log, thaw_synth_total(r->world) / nmine * ++ndone);
        }
    }
    thaw_log_phase_end(r->ctx->log);
    rc = thaw_comm_agree(r->ctx->comm, rc, err);
    if (rc) return rc;
    thaw_comm_sum_i64(r->ctx->comm, r->tally.events, THAW_SYNTH_KINDS);
    thaw_comm_sum_i64(r->ctx->comm, &r->tally.nbytes, 1);
    return THAW_OK;
}

static int create_empty(const char *path, struct thaw_err *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || close(fd)) return thaw_fail_errno(err, THAW_EIO, "%s: cannot create", path);
    return THAW_OK;
}

// Collective. One file of one line per user (side 0) or item, each rank its slice.
static int rows(struct synth_run *r, int side, struct thaw_err *err) {
    char path[THAW_PATH_MAX];
    struct thaw_comm *comm = r->ctx->comm;
    int64_t n = side == 0 ? r->o->users : r->o->items, size = thaw_comm_size(comm),
            rank = thaw_comm_rank(comm);
    int64_t first = (int64_t)((__int128)n * rank / size), last = (int64_t)((__int128)n * (rank + 1) / size);
    int rc = thaw_path_join(path, r->partial, side == 0 ? "users.csv" : "items.csv", err);
    if (!rc && is_root(r)) rc = create_empty(path, err);
    rc = thaw_comm_agree(comm, rc, err);
    if (rc) return rc;
    int64_t offset = thaw_synth_rows_nbytes(r->world, side, first, last);
    thaw_comm_exscan_i64(comm, &offset, 1);
    rc = thaw_synth_rows_write(r->world, side, first, last, path, offset, err);
    return thaw_comm_agree(comm, rc, err);
}

// Collective. run.pb: how the log was made.
static int manifest(struct synth_run *r, double seconds, struct thaw_err *err) {
    int rc = THAW_OK;
    if (is_root(r)) {
        r->info->seconds = seconds;
        rc = thaw_pack_write(r->partial, "run.pb", &r->info->base, err);
    }
    return thaw_comm_agree(r->ctx->comm, rc, err);
}

// ---- The job ----

static void print_result(const struct synth_run *r) {
    const int64_t *e = r->tally.events;
    int64_t value[] = {r->o->users, r->all.cold_users, r->o->items,    tally_events(&r->tally), e[0], e[1],
                       e[2],        r->nfiles,         r->tally.nbytes};
    static const char *const name[] = {"users", "cold_users", "items", "events",     "views",
                                       "carts", "buys",       "files", "event_bytes"};
    int n = sizeof value / sizeof *value;
    char count_text[32], cold[32], bytes[16];
    switch (r->o->common.format) {
    case THAW_FORMAT_JSONL:
        for (int i = 0; i < n; i++) printf("%s\"%s\":%" PRId64, i ? "," : "{", name[i], value[i]);
        puts("}");
        break;
    case THAW_FORMAT_CSV:
        for (int i = 0; i < n; i++) printf("%s%s", i ? "," : "", name[i]);
        puts("");
        for (int i = 0; i < n; i++) printf("%s%" PRId64, i ? "," : "", value[i]);
        puts("");
        break;
    default:
        printf("%s\n", r->target);
        printf("  events  %s (%s) in %" PRId64 " files\n", thaw_human_count(count_text, value[3]),
               thaw_human_bytes(bytes, r->tally.nbytes), r->nfiles);
        for (int k = 0; k < THAW_SYNTH_KINDS; k++)
            printf("  %-7s %s\n", name[4 + k], thaw_human_count(count_text, e[k]));
        printf("  users   %s, %s of them cold\n", thaw_human_count(count_text, r->o->users),
               thaw_human_count(cold, r->all.cold_users));
        printf("  items   %s\n", thaw_human_count(count_text, r->o->items));
    }
}

static int make_world(struct synth_run *r, struct thaw_err *err) {
    const struct synth_options *o = r->o;
    struct thaw_synth_options world = {
        .users = o->users,
        .items = o->items,
        .interactions = o->interactions,
        .seed = (uint64_t)o->seed,
        .cold_fraction = o->cold_fraction,
        .zipf = o->zipf,
        .activity_sigma = o->activity_sigma,
        .profile_strength = o->profile_strength,
        .start = o->start,
        .seconds = (int64_t)(o->days * 86400),
        .genres = (int)o->genres,
        .styles = (int)o->styles,
    };
    int64_t rank = thaw_comm_rank(r->ctx->comm), size = thaw_comm_size(r->ctx->comm);
    r->nfiles = o->files;
    if (r->nfiles == 0) r->nfiles = o->interactions / EVENTS_PER_FILE;
    if (o->files == 0 && r->nfiles < FILES_MIN) r->nfiles = FILES_MIN;
    if (r->nfiles > FILES_MAX) r->nfiles = FILES_MAX;
    r->first_file = r->nfiles * rank / size;
    r->last_file = r->nfiles * (rank + 1) / size;
    return thaw_comm_agree(r->ctx->comm, thaw_synth_new(&r->world, &world, err), err);
}

// Collective. From the first event to the folder in its place.
static int make(struct synth_run *r, double began, struct thaw_err *err) {
    int rc = events(r, err);
    if (!rc) rc = rows(r, 0, err);
    if (!rc) rc = rows(r, 1, err);
    if (!rc) rc = manifest(r, thaw_time_s() - began, err);
    if (!rc) rc = target_commit(r, err);
    if (!rc && is_root(r)) print_result(r);
    return rc;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    (void)operands;
    struct synth_run r = {.ctx = ctx, .o = options};
    struct thaw_lock *lock = NULL;
    double began = thaw_time_s();
    int rc = thaw_recipe_run_new(&r.info, ctx, &command, r.o, NULL, err);
    if (!rc) rc = make_world(&r, err);
    if (!rc) rc = count(&r, err);
    if (!rc) rc = thaw_hold(&lock, ctx, "synth", r.o->out, err);
    if (!rc) rc = target_begin(&r, err);
    if (!rc && r.finished) thaw_recipe_say_made(ctx, r.target);
    if (!rc && !r.finished) rc = make(&r, began, err);
    if (r.made_partial) thaw_dir_remove(r.partial, NULL);
    thaw_hold_end(&lock);
    if (r.info) thaw__run__free_unpacked(r.info, NULL);
    thaw_synth_free(&r.world);
    free(r.before);
    return rc;
}

const struct thaw_job thaw_job_synth = {.cmd = &command, .run = run};
