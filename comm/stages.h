// stages.h: the stages of `thaw prepare`, from event logs to a dataset, all ranks together.
//
//   thaw_prep_begin      memory is planned, stores are made                                    stages.c
//   thaw_prep_read       events and ids go to the owners of their parts; bad lines are kept      eventlog.c
//   thaw_prep_profiles   attributes of users and items, when there are files of them             profiles.c
//   thaw_prep_judge      bad lines are written down; too many end the job                        eventlog.c
//   thaw_prep_items      the items that occur, by hash                                           dictionary.c
//   thaw_prep_merge      events of one pair become one interaction                               merge.c
//   thaw_prep_filter     rows with few interactions go, until none is left                       filter.c
//   thaw_prep_number     rows get their numbers                                                  dictionary.c
//   thaw_prep_emit       both orientations are written                                           emit.c
//   thaw_prep_commit     the manifest makes it a dataset                                         commit.c
//
// Every stage is collective and ends in an agreement. Users' parts drive all stages: a rank works on one of
// its user parts at a time, and asks the owners of the items (comm/ask.h) or tells them (comm/shuffle.h) what
// they need. Nothing on a rank grows with the whole but the map of its own items (counted in --memory).
#ifndef THAW_COMM_STAGES_H
#define THAW_COMM_STAGES_H

#include "base/file.h"
#include "base/log.h"
#include "base/part.h"
#include "comm/ask.h"
#include "comm/attributes.h"
#include "comm/badlines.h"
#include "comm/world.h"
#include "partition/event.h"
#include "partition/idset.h"
#include "partition/seen.h"
#include "partition/spill.h"
#include "partition/tally.h"
#include "partition/tuple.h"
#include "proto/thaw.pb-c.h"

// What the user asked for; borrowed.
struct thaw_prep_config {
    const char *const *events; // nevents files or folders
    int nevents;
    const char *out;
    struct thaw_format_wish format;
    const char *weights;
    enum thaw_negative negative;
    enum thaw_duplicates duplicates;
    int32_t parts;
    int64_t min_user, min_item;
    double max_bad_fraction;
    int64_t memory_bytes, chunk_bytes; // chunk 0: chosen
    const char *attributes[2];         // a file or folder of each side, or NULL
    const char *attribute_spec[2];
    int64_t text_buckets, max_categories;
};

// What became of the lines and events: Dataset.counts. All ranks' sum after each stage.
struct thaw_prep_ledger {
    int64_t lines;                  // of the log
    int64_t entries;                // what became an event or could not: the lines, or the items of lists
    int64_t outcome[THAW_OUTCOMES]; // entries by outcome; outcome[THAW_EVENT_OK] are the events
    int64_t merged;                 // events merged into another one of their pair
    int64_t not_positive;           // pairs left out because their value is not above zero
    int64_t filtered;               // pairs dropped with rows below --min-user and --min-item
    int64_t filtered_rows[2], filter_rounds;
    int64_t pairs;                            // interactions kept
    int64_t profile_lines[2], profile_bad[2]; // lines of the attribute files, and bad ones among them
    int64_t profile_skipped[2];               // headers, blank lines, lines without an id
    int64_t profile_replaced[2];              // lines that a later line of the same id replaced
};

struct thaw_prep_totals {
    int64_t rows[2], attribute_only[2];
    int64_t degree[2][6]; // of rows with interactions: min, 10 %, 50 %, 90 %, 99 %, max
    double value_sum, value_min, value_max;
    int64_t time_min, time_max;
    int64_t read_bytes; // on disk, of all files
};

// How the memory of a rank is shared out, in bytes.
struct thaw_prep_memory {
    int64_t total, fixed, chunk, seen, pool; // fixed: program, MPI, readers; pool: records at first
    int64_t planned_peak;                    // the most any stage reserved
};

struct thaw_prep {
    struct thaw_comm *comm;
    struct thaw_log *log;
    const struct thaw_prep_config *cfg;
    char unfinished[THAW_PATH_MAX]; // folder in cfg->out where the dataset is written until it is whole
    int32_t nparts, first_part, own_parts, most_parts; // of this rank; most_parts: of any rank
    int32_t *owner;                                    // nparts: the rank of each part
    struct thaw_prep_memory memory;
    struct thaw_spill_pool *pool;
    struct thaw_spill *pairs;      // user parts: events, then pairs; struct thaw_tuple (user hash, item hash)
    struct thaw_spill *degrees;    // user parts: struct thaw_prep_count (user hash, degree)
    struct thaw_spill *reports;    // item parts: struct thaw_prep_count (item hash, change of degree)
    struct thaw_spill *item_pairs; // item parts: struct thaw_tuple (part and place of the item, user row)
    struct thaw_spill *ids[2];     // id records: raw, then one per id, then rows in order with their degrees
    struct thaw_tally items;       // own items: degree, then place in the part (-1: no row)
    int64_t items_total;           // over all ranks, before filters
    struct thaw_tally local;       // of the part in work
    struct thaw_tuple *work;       // pairs of the part in work
    uint64_t *hash;                // distinct items of the part in work
    int64_t *answer;
    int64_t work_cap, hash_cap;
    bool has_time;
    struct thaw_sources *files; // of the log
    struct thaw_badlines bad;
    struct thaw_attributes *attributes[2]; // NULL without
    int64_t *part_rows[2], *part_nnz[2],
        *first_row[2]; // nparts (+ 1), known to all after numbering and writing
    int32_t id_width[2];
    struct thaw_tally degree_rows[2]; // degree -> rows of this rank that have it
    struct thaw_prep_ledger ledger;
    struct thaw_prep_totals totals;
    Thaw__File **files_made; // of this rank, nfiles
    size_t nfiles, files_cap;
};

// Bytes of work for each pair of a part that is written: the pair, and its index, value and time.
enum { THAW_PREP_PAIR_BYTES = 28 + 8 + 4 + 8 };

struct thaw_prep_count {
    uint64_t hash;
    int64_t count;
};

int thaw_prep_begin(struct thaw_prep *p, struct thaw_comm *comm, struct thaw_log *log,
                    const struct thaw_prep_config *cfg, struct thaw_err *err);
void thaw_prep_end(struct thaw_prep *p);

int thaw_prep_read(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_profiles(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_judge(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_items(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_merge(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_filter(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_number(struct thaw_prep *p, struct thaw_err *err);
int thaw_prep_emit(struct thaw_prep *p, struct thaw_err *err);

// ---- Shared by the stages ----

// Local. Make room for a stage: the pool of records shrinks to what `need` bytes of work beside it leave.
// `what` needs so much: THAW_EUSAGE names it, and the --parts or the --memory that would do.
int thaw_prep_reserve(struct thaw_prep *p, int64_t need, const char *what, struct thaw_err *err);
// Local. Room for the largest part of `from` (tuples) in work, with its distinct items and their answers when
// `items`; extra_per_pair and extra: more bytes the caller will take.
int thaw_prep_room(struct thaw_prep *p, const struct thaw_spill *from, bool items, int64_t extra_per_pair,
                   int64_t extra, struct thaw_err *err);
void thaw_prep_room_free(struct thaw_prep *p);
// Local. Read own part k (0..own_parts) into p->work; *n pairs.
int thaw_prep_load(struct thaw_prep *p, const struct thaw_spill *from, int32_t k, int64_t *n,
                   struct thaw_err *err);
// Local. p->work[0..n), sorted, becomes what own part k holds; its users' degrees are noted.
int thaw_prep_store(struct thaw_prep *p, int32_t k, int64_t n, struct thaw_err *err);
// Local. The distinct items (b) of p->work[0..n): p->hash, p->local (hash -> how many pairs). Returns how
// many.
int thaw_prep_distinct(struct thaw_prep *p, int64_t n, int64_t *ndistinct, struct thaw_err *err);
// Local. p->answer[0..n) for the items p->hash[0..n): p->local (hash -> answer).
void thaw_prep_answered(struct thaw_prep *p, int64_t n);
// Collective. Add up what user parts reported about items and apply it to p->items.
int thaw_prep_apply_reports(struct thaw_prep *p, struct thaw_err *err);

// Local. THAW_ESTOPPED when a signal asked to stop: prepare has no checkpoints, so it ends.
int thaw_prep_stopped(const struct thaw_prep *p, struct thaw_err *err);

// A stream of reports to the items' owners, filled while user parts are worked on.
struct thaw_shuffle;
int thaw_prep_reports_open(struct thaw_prep *p, struct thaw_shuffle **s, struct thaw_err *err);
// Collective. Send what p->local holds for the items p->hash[0..n) to their owners; zeros are left out. code:
// this rank's state so far; agreed.
int thaw_prep_reports_send(struct thaw_prep *p, struct thaw_shuffle *s, int64_t n, int code,
                           struct thaw_err *err);

#endif
