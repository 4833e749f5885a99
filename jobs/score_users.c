// score_users.c: thaw score-users, how unlike anything the generator would make each user is.
#include "base/mem.h"
#include "comm/gan_apply.h"
#include "comm/gan_store.h"
#include "comm/interactions.h"
#include "comm/model.h"
#include "comm/stream.h"
#include "dense/topk.h"
#include "jobs/hold.h"
#include "jobs/trained.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_AUTO, ORDER_TIME, ORDER_RANDOM };

struct options {
    const char *data, *model, *generator, *out;
    int order;
    int64_t least, draws, top, seed;
    struct thaw_job_common common;
};

#define OPTION(KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)                                                  \
    THAW_OPTION(struct options, KIND, NAME, FIELD, ARG, DEF, MIN, MAX, HELP)
static const struct thaw_opt opts[] = {
    THAW_OPTION_REQUIRED(struct options, TEXT, "model", model, "DIR",
                         "Model that 'thaw train' wrote: how values count as interactions."),
    THAW_OPTION_REQUIRED(struct options, TEXT, "generator", generator, "DIR",
                         "Generator that 'thaw augment' wrote."),
    OPTION(TEXT, "data", data, "DIR", NULL, 0, 0,
           "The dataset they were trained on; by default where the model's training found it."),
    OPTION(TEXT, "out", out, "FILE", NULL, 0, 0, "Write the scores of all users to FILE: user,items,score."),
    THAW_OPTION_CHOICE(
        struct options, "episodes", order, "ORDER", "auto", "auto|time|random",
        "Which items of a user count as known: the first in time, or random ones. auto takes time "
        "where the dataset has times."),
    OPTION(INT, "least", least, "N", "2", 2, 1e9, "Users with fewer interactions get no score."),
    OPTION(INT, "draws", draws, "N", "16", 1, 1024, "Draws of noise whose mean latent is asked."),
    OPTION(INT, "top", top, "N", "20", 0, 1000000, "How many of the highest scores to print."),
    OPTION(INT, "seed", seed, "S", "1", 0, 0x1p53, "Seed of what is drawn."),
    THAW_JOB_OPTIONS(struct options),
};

struct job {
    struct thaw_job_ctx *ctx;
    struct thaw_comm *c;
    const struct options *o;
    const char *data;
    struct thaw_dataset *dataset;
    struct thaw_model *model;
    struct thaw_plan plan[2];
    struct thaw_histories h;
    struct thaw_generator generator;
    struct thaw_gan_items *items;
    struct thaw_gan_apply *apply;
    double *score; // this rank's users; NaN: none
    char *ids;     // theirs
    int width;
};

// ---- Inputs ----

static int make_plans(struct job *j, struct thaw_err *err) {
    const int size = thaw_comm_size(j->c);
    int code = thaw_dataset_plan(j->plan, j->dataset, size, j->model->manifest->als->factors, err);
    if (code) return code;
    thaw_plan_clear(&j->plan[THAW_ITEMS]);
    return thaw_gan_items_plan(&j->plan[THAW_ITEMS], j->dataset->manifest->items, size, err);
}

// Collective.
static int open_inputs(struct job *j, struct thaw_err *err) {
    const struct thaw_trained_wish wish = {.model = j->o->model, .data = j->o->data};
    int code = thaw_trained_open(j->ctx, &wish, &j->model, &j->dataset, &j->data, err);
    if (code) return code;
    if (j->o->order == ORDER_TIME && !j->dataset->manifest->has_time)
        code = thaw_fail(err, THAW_EUSAGE, "--episodes time: %s has no times", j->data);
    if (!code) code = make_plans(j, err);
    return thaw_comm_agree(j->c, code, err);
}

// The users' ids, for the results.
static int load_ids(struct job *j, struct thaw_err *err) {
    const int rank = thaw_comm_rank(j->c);
    const struct thaw_plan *users = &j->plan[THAW_USERS];
    int64_t at = 0;
    j->width = j->dataset->manifest->users->id_width;
    int code = thaw_alloc(&j->ids, (size_t)(j->h.nusers * j->width), 1, "user ids", err);
    if (!code) code = thaw_alloc(&j->score, (size_t)j->h.nusers, sizeof *j->score, "scores", err);
    for (int64_t r = 0; !code && r < j->h.nusers; r++) j->score[r] = (double)NAN;
    for (int32_t p = users->first_part[rank]; !code && p < users->first_part[rank + 1]; p++) {
        struct thaw_shard s;
        if ((code = thaw_shard_open(&s, j->dataset, THAW_USERS, p, false, err))) break;
        if (s.nrows) memcpy(j->ids + at * j->width, s.ids, (size_t)(s.nrows * s.id_width));
        at += s.nrows;
        thaw_shard_close(&s);
    }
    return thaw_comm_agree(j->c, code, err);
}

// Collective. The generator's rows where they will be used.
static int load(struct job *j, struct thaw_err *err) {
    const bool by_time =
        j->o->order == ORDER_TIME || (j->o->order == ORDER_AUTO && j->dataset->manifest->has_time);
    const struct thaw_episodes_config config = {.least = j->o->least,
                                                .most = INT64_MAX,
                                                .held_out = true,
                                                .listed = true,
                                                .known = THAW_KNOWN_HALF,
                                                .seed = (uint64_t)j->o->seed,
                                                .by_time = by_time};
    struct thaw_generator *g = &j->generator;
    int code = thaw_generator_load(g, j->c, j->o->generator, j->dataset->digest, &j->plan[THAW_ITEMS], err);
    if (!code)
        code = thaw_histories_load(&j->h, j->c, j->dataset, &j->plan[THAW_USERS], j->model->manifest->als,
                                   by_time, config.seed, err);
    if (!code) code = load_ids(j, err);
    if (!code && g->shape.features != j->h.profile.columns)
        code = thaw_fail(err, THAW_EDATA, "%s was trained with %d profile features, the dataset has %d",
                         j->o->generator, g->shape.features, (int)j->h.profile.columns);
    if (!code)
        code = thaw_gan_items_new(&j->items, j->c, &j->plan[THAW_ITEMS], g->shape.k, THAW_APPLY_BATCH,
                                  g->shape.longest, false, false, err);
    if (code) return code;
    const size_t rows = (size_t)j->items->rows, k = (size_t)g->shape.k;
    memcpy(j->items->p[THAW_GAN_EMBEDDING], g->embedding, rows * k * sizeof(float));
    memcpy(j->items->p[THAW_GAN_DECODER], g->decoder, rows * k * sizeof(float));
    memcpy(j->items->p[THAW_GAN_BIAS], g->bias, rows * sizeof(float));
    thaw_gan_items_show(j->items);
    return thaw_gan_apply_new(&j->apply, j->c, &g->shape, g->net, j->items, &j->h, NULL, config,
                              (int)j->o->draws, err);
}

// ---- Scores ----

// Collective.
static int score(struct job *j, struct thaw_err *err) {
    const int64_t batches = thaw_episodes_batches(j->apply->episodes);
    double nll[THAW_APPLY_BATCH];
    thaw_log_phase(j->ctx->log, "scoring users", thaw_episodes_users(j->apply->episodes), "users");
    for (int64_t i = 0; i < batches; i++) {
        int code = thaw_gan_apply_batch(j->apply, i, err);
        if (!code) code = thaw_gan_apply_score(j->apply, nll, err);
        if (code) return code;
        for (int s = 0; s < j->apply->batch->count; s++) {
            const int64_t row = j->apply->batch->user[s] - j->h.first_row;
            if (row >= 0 && row < j->h.nusers) j->score[row] = nll[s];
        }
        thaw_log_step(j->ctx->log, (i + 1) * THAW_APPLY_BATCH);
    }
    thaw_log_phase_end(j->ctx->log);
    return THAW_OK;
}

// ---- Results ----

static void put_line(FILE *out, const struct job *j, int64_t row) {
    const char *id = j->ids + row * j->width;
    const size_t n = strnlen(id, (size_t)j->width);
    const bool quoted = strcspn(id, ",\"\r\n") < n;
    if (quoted) fputc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (quoted && id[i] == '"') fputc('"', out);
        fputc(id[i], out);
    }
    if (quoted) fputc('"', out);
    fprintf(out, ",%" PRId64 ",%.6f\n", thaw_histories_length(&j->h, row), j->score[row]);
}

// Collective.
static int write_all(const struct job *j, struct thaw_err *err) {
    static const char head[] = "user,items,score\n";
    struct thaw_file_out *file = NULL;
    char *text = NULL;
    size_t n = 0;
    int code = THAW_OK;
    if (!j->o->out) return THAW_OK;
    FILE *out = open_memstream(&text, &n);
    for (int64_t r = 0; out && r < j->h.nusers; r++)
        if (!isnan(j->score[r])) put_line(out, j, r);
    if (!out || fclose(out) || !text) code = thaw_fail(err, THAW_EMEM, "no memory for the scores");
    if (!code && thaw_comm_rank(j->c) == 0) {
        code = thaw_file_create(&file, j->o->out, err);
        if (!code) code = thaw_file_write(file, head, sizeof head - 1, err);
    }
    code = thaw_comm_agree(j->c, code, err);
    if (!code) code = thaw_stream(j->c, text, (int64_t)n, file, err);
    if (!code && file) code = thaw_file_commit(&file, NULL, err);
    thaw_file_discard(&file);
    free(text);
    return thaw_comm_agree(j->c, code, err);
}

struct highest { // one of a rank's highest scores
    double score;
    int64_t row, items;
    char id[256];
};

static int by_score(const void *a, const void *b) {
    const struct highest *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->row > y->row) - (x->row < y->row);
}

static void print_highest(const struct job *j, const struct highest *h, int64_t n) {
    const int format = j->o->common.format;
    if (format == THAW_FORMAT_CSV) printf("user,items,score\n");
    if (format == THAW_FORMAT_TEXT) printf("%-24s %8s %10s\n", "user", "items", "score");
    for (int64_t i = 0; i < n && i < j->o->top; i++) {
        char id[6 * 256 + 1];
        if (format == THAW_FORMAT_JSONL) {
            thaw_json_escape(id, sizeof id, h[i].id, (int64_t)strlen(h[i].id));
            printf("{\"user\":\"%s\",\"items\":%" PRId64 ",\"score\":%.6f}\n", id, h[i].items, h[i].score);
        } else {
            printf(format == THAW_FORMAT_CSV ? "%s,%" PRId64 ",%.6f\n" : "%-24s %8" PRId64 " %10.4f\n",
                   h[i].id, h[i].items, h[i].score);
        }
    }
}

// Collective.
static int print(const struct job *j, struct thaw_err *err) {
    struct thaw_scored *best = NULL;
    struct highest *own = NULL;
    struct thaw_topk top;
    void *all = NULL;
    int64_t nbytes = 0;
    const size_t most = (size_t)(j->o->top < j->h.nusers ? j->o->top : j->h.nusers);
    int code = thaw_alloc(&best, most, sizeof *best, "the highest scores", err);
    if (!code) code = thaw_alloc(&own, most, sizeof *own, "the highest scores", err);
    if ((code = thaw_comm_agree(j->c, code, err))) goto done;
    thaw_topk_begin(&top, best, (int)most);
    for (int64_t r = 0; r < j->h.nusers; r++) thaw_topk_push(&top, j->score[r], r);
    thaw_topk_end(&top);
    for (int i = 0; i < top.n; i++) {
        const int64_t row = top.best[i].row;
        own[i] = (struct highest){.score = top.best[i].score,
                                  .row = j->h.first_row + row,
                                  .items = thaw_histories_length(&j->h, row)};
        memcpy(own[i].id, j->ids + row * j->width, (size_t)(j->width < 255 ? j->width : 255));
    }
    if ((code = thaw_comm_gather(j->c, own, (int64_t)((size_t)top.n * sizeof *own), 0, &all, &nbytes, err)))
        goto done;
    if (all) {
        const int64_t n = nbytes / (int64_t)sizeof *own;
        qsort(all, (size_t)n, sizeof *own, by_score);
        print_highest(j, all, n);
    }
done:
    free(best);
    free(own);
    free(all);
    return code;
}

static void clear(struct job *j) {
    thaw_gan_apply_free(&j->apply);
    thaw_gan_items_free(&j->items);
    thaw_generator_clear(&j->generator);
    thaw_histories_clear(&j->h);
    for (int side = 0; side < 2; side++) thaw_plan_clear(&j->plan[side]);
    free(j->score);
    free(j->ids);
    thaw_dataset_close(&j->dataset);
    thaw_model_close(&j->model);
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    struct job j = {.ctx = ctx, .c = ctx->comm, .o = options};
    const double started = thaw_time_s();
    struct thaw_lock *lock = NULL;
    (void)operands;
    int code = open_inputs(&j, err);
    if (!code && j.o->out) code = thaw_hold(&lock, ctx, "score-users", j.o->out, err);
    if (!code) code = load(&j, err);
    if (!code) code = score(&j, err);
    if (!code) code = write_all(&j, err);
    if (!code) code = print(&j, err);
    if (!code)
        thaw_log_note(ctx->log, "%" PRId64 " users scored in %.1f s", thaw_episodes_users(j.apply->episodes),
                      thaw_time_s() - started);
    thaw_hold_end(&lock);
    clear(&j);
    return code;
}

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "score-users",
    .summary = "score how unlikely each user's behaviour is",
    .operands = "",
    .description =
        "Knows the profile and half of a user's items (no more than the generator was trained "
        "with) and asks how "
        "likely the others are: the score is the mean negative log likelihood of an item under "
        "the generator. Users "
        "whose items do not go together (bots, bought profiles, shilling) score high. Held-out "
        "users are scored "
        "too.\n\n"
        "A score is relative: look at the highest ones, and compare users of one dataset. The "
        "results are the same "
        "bytes for any number of ranks and threads.\n\n"
        "A stop signal (SIGTERM, SIGUSR1) ends with 75 before the next 256 users, and FILE is as it "
        "was.",
    .files = "FILE: A line for each user: id, interactions, score.",
    .examples = "thaw score-users --model run/model --generator run/generator --out scores.csv\n"
                "mpirun -n 4 thaw score-users --model run/model --generator run/generator --top 100",
    THAW_CMD_OPTIONS(struct options, opts),
};
const struct thaw_job thaw_job_score_users = {&command, run};
