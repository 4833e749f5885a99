#include "comm/commit.h"

#include "base/file.h"
#include "base/mem.h"
#include "proto/pack.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool starts(const char **at, const char *with) {
    size_t n = strlen(with);
    if (strncmp(*at, with, n) != 0) return false;
    *at += n;
    return true;
}

static bool digits(const char **at) {
    if (!isdigit((unsigned char)**at)) return false;
    while (isdigit((unsigned char)**at)) ++*at;
    return true;
}

// Where a dataset is written until it is whole, inside its folder.
static const char WORK[] = "dataset.tmp";

// Is this a file that thaw prepare writes, or its temporary?
static bool is_ours(const char *name, bool all) {
    const char *at = name;
    bool known = false;
    if (starts(&at, "manifest.pb") || (all && starts(&at, "quarantine.tsv")))
        known = true;
    else if (starts(&at, "users-") || starts(&at, "items-"))
        known = digits(&at) && starts(&at, "-of-") && digits(&at) && starts(&at, ".npz");
    return known && (*at == 0 || strcmp(at, ".tmp") == 0);
}

// Without its manifest, which goes first, what is left is no dataset.
static int clear_files(const char *dir, bool all, struct thaw_err *err) {
    DIR *d = opendir(dir);
    struct dirent *entry;
    int code = THAW_OK;
    if (d && unlinkat(dirfd(d), "manifest.pb", 0) == 0) code = thaw_dir_sync(dir, err);
    if (!d) return thaw_fail_errno(err, THAW_EIO, "%s: cannot open this folder", dir);
    while (!code && (entry = readdir(d)))
        if (is_ours(entry->d_name, all) && unlinkat(dirfd(d), entry->d_name, 0) != 0 && errno != ENOENT)
            code = thaw_fail_errno(err, THAW_EIO, "%s/%s: cannot remove", dir, entry->d_name);
    closedir(d);
    return code ? code : thaw_dir_sync(dir, err);
}

// Told before hours of reading, not after.
static int check_writable(const char *dir, struct thaw_err *err) {
    if (access(dir, W_OK | X_OK) == 0) return THAW_OK;
    return thaw_fail_errno(err, THAW_EIO, "%s: cannot write to this folder", dir);
}

bool thaw_prep_out_whole(const char *dir) {
    char manifest[THAW_PATH_MAX];
    return thaw_path_join(manifest, dir, "manifest.pb", NULL) == THAW_OK && thaw_path_exists(manifest);
}

static int begin(const char *dir, bool *made, struct thaw_err *err) {
    char work[THAW_PATH_MAX];
    int code = thaw_path_join(work, dir, WORK, err);
    if (code) return code;
    *made = !thaw_path_exists(dir);
    code = thaw_dir_make(dir, err);
    if (!code) code = check_writable(dir, err);
    if (!code && !*made && !thaw_prep_out_whole(dir)) code = clear_files(dir, true, err);
    return code || *made ? code : thaw_dir_remove(work, err);
}

int thaw_prep_out_begin(struct thaw_comm *c, const char *dir, bool *made, struct thaw_err *err) {
    int code = thaw_comm_rank(c) == 0 ? begin(dir, made, err) : THAW_OK;
    return thaw_comm_agree(c, code, err);
}

int thaw_prep_work_begin(struct thaw_prep *p, struct thaw_err *err) {
    int code = thaw_path_join(p->unfinished, p->cfg->out, WORK, err);
    if (!code && thaw_comm_rank(p->comm) == 0) code = thaw_dir_make(p->unfinished, err);
    return thaw_comm_agree(p->comm, code, err);
}

void thaw_prep_work_discard(struct thaw_prep *p) {
    if (p->unfinished[0] && thaw_comm_rank(p->comm) == 0) thaw_dir_remove(p->unfinished, NULL);
    p->unfinished[0] = 0;
}

void thaw_prep_each_count(const struct thaw_prep *p,
                          void (*each)(void *user, const char *name, int64_t value), void *user) {
    const struct thaw_prep_ledger *l = &p->ledger;
    char name[64];
    each(user, "lines", l->lines);
    if (p->cfg->format.lists) each(user, "entries", l->entries);
    for (int o = THAW_EVENT_BLANK; o < THAW_OUTCOMES; o++) {
        snprintf(name, sizeof name, "%s-%s",
                 thaw_outcome_bad((enum thaw_outcome)o) ? "bad"
                 : o <= THAW_EVENT_HEADER               ? "lines"
                                                        : "skipped",
                 thaw_outcome_name((enum thaw_outcome)o));
        each(user, name, l->outcome[o]);
    }
    each(user, "events", l->outcome[THAW_EVENT_OK]);
    each(user, "events-merged", l->merged);
    each(user, "pairs-not-positive", l->not_positive);
    each(user, "pairs-filtered", l->filtered);
    each(user, "pairs", l->pairs);
    each(user, "users-filtered", l->filtered_rows[THAW_USERS]);
    each(user, "items-filtered", l->filtered_rows[THAW_ITEMS]);
    each(user, "filter-rounds", l->filter_rounds);
    for (int side = 0; side < 2; side++) {
        snprintf(name, sizeof name, "%s-attribute-lines", thaw_side_name[side]);
        each(user, name, l->profile_lines[side]);
        snprintf(name, sizeof name, "%s-attribute-lines-bad", thaw_side_name[side]);
        each(user, name, l->profile_bad[side]);
        snprintf(name, sizeof name, "%s-attribute-lines-skipped", thaw_side_name[side]);
        each(user, name, l->profile_skipped[side]);
        snprintf(name, sizeof name, "%s-attribute-lines-replaced", thaw_side_name[side]);
        each(user, name, l->profile_replaced[side]);
        snprintf(name, sizeof name, "%s-without-interactions", thaw_side_name[side]);
        each(user, name, p->totals.attribute_only[side]);
    }
}

// ---- The manifest ----

struct counts {
    Thaw__Count **list;
    size_t n, cap;
    int code;
};

static void add_count(void *user, const char *name, int64_t value) {
    struct counts *c = user;
    Thaw__Count *count = NULL;
    if (!c->code) c->code = thaw_grow(&c->list, &c->cap, c->n + 1, sizeof *c->list, "the ledger", NULL);
    if (!c->code) c->code = thaw_alloc(&count, 1, sizeof *count, "the ledger", NULL);
    if (c->code) return;
    thaw__count__init(count);
    count->value = value;
    count->name = strdup(name);
    if (!count->name) c->code = THAW_EMEM;
    c->list[c->n++] = count;
}

// Collective. All ranks' file entries on rank 0, as a message that holds nothing else; owned.
static int gather_files(struct thaw_prep *p, Thaw__Dataset **all, struct thaw_err *err) {
    Thaw__Dataset mine = THAW__DATASET__INIT;
    uint8_t *bytes = NULL, *received = NULL;
    int64_t total = 0;
    mine.files = p->files_made;
    mine.n_files = p->nfiles;
    size_t n = thaw__dataset__get_packed_size(&mine);
    int code = thaw_comm_agree(p->comm, thaw_alloc(&bytes, n, 1, "the list of files", err), err);
    if (!code) {
        thaw__dataset__pack(&mine, bytes);
        // Messages that follow each other are one message with all their repeated fields.
        code = thaw_comm_gather(p->comm, bytes, (int64_t)n, 0, (void **)&received, &total, err);
    }
    if (!code && thaw_comm_rank(p->comm) == 0) {
        *all = thaw__dataset__unpack(NULL, (size_t)total, received);
        if (!*all) code = thaw_fail(err, THAW_EMEM, "no memory for the list of files");
    }
    free(bytes);
    free(received);
    return thaw_comm_agree(p->comm, code, err);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(Thaw__File *const *)a)->name, (*(Thaw__File *const *)b)->name);
}

static void fill_side(const struct thaw_prep *p, int side, Thaw__Side *s) {
    thaw__side__init(s);
    s->part_rows = p->part_rows[side];
    s->n_part_rows = (size_t)p->nparts;
    s->part_nnz = p->part_nnz[side];
    s->n_part_nnz = (size_t)p->nparts;
    s->id_width = p->id_width[side];
    s->features = p->attributes[side] ? (int32_t)p->attributes[side]->ncolumns : 0;
}

// Rank 0. `files` lends its list.
static int write_manifest(struct thaw_prep *p, Thaw__Run *run, Thaw__Dataset *files, uint64_t *digest,
                          struct thaw_err *err) {
    Thaw__Dataset d = THAW__DATASET__INIT;
    Thaw__Side side[2];
    struct counts counts = {0};
    thaw_prep_each_count(p, add_count, &counts);
    int code = counts.code ? thaw_fail(err, THAW_EMEM, "no memory for the ledger") : THAW_OK;
    for (int s = 0; s < 2; s++) fill_side(p, s, &side[s]);
    if (files->n_files > 1) qsort(files->files, files->n_files, sizeof *files->files, by_name);
    d.format = 1;
    d.run = run;
    d.parts = p->nparts;
    d.users = &side[THAW_USERS];
    d.items = &side[THAW_ITEMS];
    d.interactions = p->ledger.pairs;
    d.has_time = p->has_time;
    d.counts = counts.list;
    d.n_counts = counts.n;
    d.files = files->files;
    d.n_files = files->n_files;
    if (p->attributes[THAW_USERS]) {
        d.user_attributes = p->attributes[THAW_USERS]->attribute;
        d.n_user_attributes = p->attributes[THAW_USERS]->n;
    }
    if (p->attributes[THAW_ITEMS]) {
        d.item_attributes = p->attributes[THAW_ITEMS]->attribute;
        d.n_item_attributes = p->attributes[THAW_ITEMS]->n;
    }
    d.value_sum = p->totals.value_sum;
    d.value_min = p->totals.value_min;
    d.value_max = p->totals.value_max;
    if (!code) code = thaw_pack_write(p->unfinished, "manifest.pb", &d.base, err);
    if (!code) code = thaw_pack_digest(&d.base, digest, err);
    for (size_t i = 0; i < counts.n; i++) thaw__count__free_unpacked(counts.list[i], NULL);
    free(counts.list);
    return code;
}

static int move_up(const struct thaw_prep *p, const char *name, struct thaw_err *err) {
    char from[THAW_PATH_MAX], to[THAW_PATH_MAX];
    int code = thaw_path_join(from, p->unfinished, name, err);
    if (!code) code = thaw_path_join(to, p->cfg->out, name, err);
    if (!code && rename(from, to))
        code = thaw_fail_errno(err, THAW_EIO, "%s: cannot be renamed to %s", from, to);
    return code;
}

// Rank 0. The dataset takes the place of the one before; the manifest goes last.
static int publish(const struct thaw_prep *p, const Thaw__Dataset *files, struct thaw_err *err) {
    int code = clear_files(p->cfg->out, false, err);
    for (size_t i = 0; !code && i < files->n_files; i++) code = move_up(p, files->files[i]->name, err);
    if (!code) code = thaw_dir_sync(p->cfg->out, err);
    if (!code) code = move_up(p, "manifest.pb", err);
    if (!code) code = thaw_dir_sync(p->cfg->out, err);
    if (!code) return thaw_dir_remove(p->unfinished, err);
    clear_files(p->cfg->out, false, NULL);
    return code;
}

int thaw_prep_commit(struct thaw_prep *p, Thaw__Run *run, uint64_t *digest, struct thaw_err *err) {
    Thaw__Dataset *files = NULL;
    thaw_comm_phase(p->comm, "commit");
    int code = gather_files(p, &files, err);
    if (code) return code;
    const bool first = thaw_comm_rank(p->comm) == 0;
    if (first) code = write_manifest(p, run, files, digest, err);
    thaw_comm_phase(p->comm, "publish");
    if (!code && first) code = publish(p, files, err);
    if (files) thaw__dataset__free_unpacked(files, NULL);
    return thaw_comm_agree(p->comm, code, err);
}
