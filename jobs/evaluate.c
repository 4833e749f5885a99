// thaw evaluate: how well models serve users that training never saw, beside baselines.
#include "comm/room.h"
#include "jobs/evaluation.h"

#include <string.h>

typedef struct thaw_evaluate_options opts;

static const int64_t MEMORY = 256 << 20; // of a rank, unless --memory says

static const struct thaw_opt options_table[] = {
    THAW_OPTION_REQUIRED(opts, TEXT, "data", data, "DIR", "The dataset the models were trained on."),
    THAW_OPTION(opts, TEXT, "model", model, "DIR", NULL, 0, 0,
                "The model, trained with --holdout-users or --holdout-list."),
    THAW_OPTION(opts, LIST, "known", known, "N", "10", 0, 0,
                "Numbers of known items to fold a user in from, such as 0,1,3,5,10. Users with no more "
                "interactions than the largest are left out."),
    THAW_OPTION(opts, INT, "pool", pool, "N", "0", 0, 1000,
                "How many items of a user are set apart: none of them is ever ranked, and the known ones are "
                "the first of them. 0: the largest of --known."),
    THAW_OPTION(opts, LIST, "cutoffs", cutoffs, "K", "10,20", 0, 0, "Lengths of the recommended lists."),
    THAW_OPTION_CHOICE(
        opts, "order", order, "ORDER", "auto", "auto|time|random",
        "Which items of a user are known: the first in time, or random ones. auto takes time where "
        "the dataset has times."),
    THAW_OPTION_CHOICE(opts, "episodes", order, "ORDER", "auto", "auto|time|random",
                       "Another name of --order, as 'thaw augment' calls it."),
    THAW_OPTION(opts, TEXT, "known-list", list, "FILE", NULL, 0, 0,
                "Take users and known items from FILE instead: lines 'user set item item ...', the items in "
                "the order in which they become known. Users that are not held out are not measured."),
    THAW_OPTION(opts, TEXT, "cold-list", list, "FILE", NULL, 0, 0, "Another name of --known-list."),
    THAW_OPTION(opts, TEXT, "set", set, "NAME", NULL, 0, 0,
                "Which held-out users: all, test (those training did not watch to stop early), or validation "
                "(those it may have watched); test when training did watch or with --tune, else all. With a "
                "list, the set of the list; test when not given."),
    THAW_OPTION(opts, INT, "users", users, "N", "100000", 0, 0x1p50,
                "Measure about so many held-out users, drawn by id; 0 measures all."),
    THAW_OPTION(opts, REAL, "alpha", alpha, "A", "-1", -1, 1e9,
                "Confidence of an interaction in the fold-in; -1 takes training's."),
    THAW_OPTION(opts, REAL, "unobserved-weight", unobserved, "W", "-1", -1, 1e9,
                "Weight of unobserved pairs in the fold-in; -1 takes training's."),
    THAW_OPTION(opts, REAL, "regularization", regularization, "L", "-1", -1, 1e9,
                "Regularization of the fold-in; -1 takes training's."),
    THAW_OPTION(
        opts, LIST, "methods", methods, "NAME", NULL, 0, 0,
        "Measure these side by side: popularity, cells, knn, EASE, iALS, P, E, G, T, ensemble, virtual, "
        "or all that can run. The baselines are always among them."),
    THAW_OPTION(opts, TEXT, "prior", prior, "DIR", NULL, 0, 0, "For P and T: what 'thaw prior' wrote."),
    THAW_OPTION(opts, TEXT, "association", association, "DIR", NULL, 0, 0,
                "For E: what 'thaw associate --method episodic' wrote."),
    THAW_OPTION(
        opts, LIST, "generator", generators, "DIR", NULL, 0, 0,
        "For G: what 'thaw augment' wrote. With several folders (seeds), G and the ensemble are the means "
        "over them."),
    THAW_OPTION(
        opts, LIST, "without-adversary", without, "DIR", NULL, 0, 0,
        "The same generators trained without the adversary: G and the ensemble are compared with them, "
        "user by user."),
    THAW_OPTION(opts, TEXT, "reference", reference, "NAME", "iALS", 0, 0,
                "The method that all others are compared with, user by user."),
    THAW_OPTION(
        opts, TEXT, "cell-fields", cell_fields, "FIELDS", NULL, 0, 0,
        "Profile fields of 'cells', such as gender+age,occupation: fields joined by + are crossed, groups "
        "after the first count less. All categorical fields when not given."),
    THAW_OPTION(
        opts, TEXT, "blend", blend, "FILE", NULL, 0, 0,
        "Numbers of the models, baselines and ensemble for each number of known items, as --blend-out "
        "wrote them. Without it those measured on MovieLens 1M."),
    THAW_OPTION(opts, TEXT, "blend-out", blend_out, "FILE", NULL, 0, 0,
                "Write the numbers used to FILE, for later evaluations and for 'thaw tables'."),
    THAW_OPTION(opts, FLAG, "force", force, NULL, NULL, 0, 0,
                "Take a --blend that was tuned on another dataset."),
    THAW_OPTION(opts, INT, "samples", samples, "N", "0", 0, 4096,
                "Draws of noise whose mean latent the generator ranks by; 0: those of --blend, else 16."),
    {.name = "tune",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(opts, tune),
     .help = "First search those numbers on the validation users, whom nothing else looks at."},
    {.name = "search",
     .kind = THAW_OPT_FLAG,
     .offset = offsetof(opts, tune),
     .help = "Another name of --tune: Open MPI's mpirun takes a --tune anywhere on its line for its own and "
             "warns."},
    THAW_OPTION(opts, TEXT, "tune-set", tune_set, "NAME", NULL, 0, 0,
                "The validation users: a set of the list, val when not given; without a list, validation."),
    THAW_OPTION(opts, TEXT, "work", work, "DIR", NULL, 0, 0,
                "Folder of the whole study: without --model, what is missing is trained there. Baselines are "
                "fitted in it. Not given: a folder beside the model, removed in the end."),
    THAW_OPTION(
        opts, REAL, "cold-users", cold_users, "F", "0.2", 0, 0.9,
        "With --work and without --model: the fraction of users to hold out, where no list says who."),
    THAW_OPTION(opts, TEXT, "picture", picture, "FILE", NULL, 0, 0,
                "Draw NDCG against the number of known items into FILE (.svg, .png or .pdf), by gnuplot."),
    THAW_OPTION(opts, TEXT, "tables", tables, "DIR", NULL, 0, 0,
                "With --against: a version of the tables, as 'thaw tables' wrote it."),
    THAW_OPTION(opts, TEXT, "against", against, "DIR", NULL, 0, 0,
                "Compare --tables with this version on the same users: measures and their differences, what "
                "changed in the lists, and for whom."),
    THAW_OPTION(
        opts, LIST, "segments", segments, "FIELD", NULL, 0, 0,
        "With --against: profile fields to break the comparison down by; all categorical ones when not "
        "given."),
    THAW_OPTION(opts, INT, "seed", seed, "S", "1", 0, 0x1p62, "Of random orders and of the bootstrap."),
    THAW_OPTION(opts, INT, "replicates", replicates, "N", "1000", 10, THAW_REPLICATES_MAX,
                "Bootstrap replicates behind the intervals."),
    THAW_OPTION(opts, BYTES, "memory", memory, "BYTES", "256M", 1 << 20, 0x1p50,
                "Exchange buffers of each rank."),
    THAW_OPTION(opts, TEXT, "out", out, "FILE", NULL, 0, 0, "Write the results to FILE as well."),
    THAW_JOB_OPTIONS(opts),
};

static const struct thaw_cmd command = {
    .program = "thaw",
    .name = "evaluate",
    .summary = "measure models on users that training never saw",
    .operands = "",
    .description =
        "Folds held-out users in from a few known items and asks how well the rest of their "
        "history is ranked (implicit models) or predicted (explicit models). A user's N known "
        "items are the first of the largest number asked for; the truth is always the user's "
        "other items, and all those known items are left out of every ranking, so that results "
        "for different N can be compared.\n\n"
        "Ranking, at each cutoff k: NDCG (gain 1/log2(1 + rank) of the hits, divided by the best "
        "possible), Recall (hits / the smaller of k and the number of true items), HR (share of "
        "users with a hit), MAP (precision at the hits, over the same number as Recall), Novelty "
        "(mean -log2 of the share of training users who have the recommended item), and Coverage "
        "(share of all items that anyone is recommended). The baseline is popularity: the items "
        "most training users have, without those the user knows.\n\n"
        "Explicit models: RMSE and MAE over the ratings in the truth; baselines are the mean of "
        "the training ratings, and the mean of each item.\n\n"
        "With --methods, or any option that only they need (--prior, --association, --generator, "
        "--blend, --tune, --work, a known number of 0), the models for cold users and the baselines "
        "are measured side by side: popularity, popularity within profile cells (cells), item "
        "neighbours (knn), EASE, iALS trained for the purpose and folded in with weights of its own, "
        "the profile prior (P), the episodic association (E), the generator (G), training users as types "
        "(T), the ensemble of these four, and the model folding in a history that the generator has "
        "completed (virtual). "
        "With 0 known items only the profile is known. Each is compared with the "
        "reference, at 0 known items with popularity, and with the same model without the adversary "
        "where --without-adversary has one.\n\n"
        "Every value has a 95 % interval from a bootstrap over users, and so have the difference "
        "and the ratio to the baseline, which are taken within each replicate, hence paired. The "
        "interval of Coverage is moved onto the value, because resampled users are fewer "
        "different ones and always cover less.\n\n"
        "Every item is scored for every user: time grows with users x items x factors. The "
        "results are the same bytes for any number of ranks and threads; what is fitted on a "
        "process grid (EASE, E, tuned numbers that hang on them) agrees to rounding.",
    .examples = "thaw evaluate --data run/data --model run/model\n"
                "mpirun -n 4 thaw evaluate --data run/data --model run/model --known 1,3,5,10 --cutoffs 20 "
                "--format csv\n"
                "thaw evaluate --data run/data --model run/model --known 0,1,3,5,10 --prior run/prior "
                "--association run/association --generator run/generator --tune --blend-out run/blend.pb\n"
                "thaw evaluate --data run/data --cold-users 0.2 --known 0,1,3,5,10 --tune --work study "
                "--picture study.svg\n"
                "thaw evaluate --data run/data --tables run/tables --against old/tables --known 0,3",
    THAW_CMD_OPTIONS(opts, options_table),
};

// Is something asked for that only the study of cold users has?
static bool is_cold(const opts *o) {
    for (int i = 0; i < o->known.n; i++)
        for (const char *p = o->known.item[i]; *p; p++)
            if (*p == '0' && (p == o->known.item[i] || p[-1] == ',') && (!p[1] || p[1] == ',')) return true;
    return o->methods.n || o->prior || o->association || o->generators.n || o->without.n || o->blend ||
           o->blend_out || o->tune || o->work || o->picture || o->cell_fields;
}

static int check(const opts *o, struct thaw_err *err) {
    if (o->against || o->tables) {
        if (!o->tables)
            return thaw_fail(err, THAW_EUSAGE,
                             "--against is compared with other tables: give --tables as well");
        if (!o->against)
            return thaw_fail(
                err, THAW_EUSAGE,
                "--tables are compared with others: give --against as well (--model measures one model)");
        return THAW_OK;
    }
    if (!o->model && !o->work)
        return thaw_fail(err, THAW_EUSAGE,
                         "--model is missing; or give --work DIR to train what is needed there");
    return o->picture ? thaw_study_picture_check(o->picture, err) : THAW_OK;
}

static int run(struct thaw_job_ctx *ctx, const void *options, const struct thaw_list *operands,
               struct thaw_err *err) {
    const opts *o = options;
    struct thaw_evaluation e = {.ctx = ctx, .c = ctx->comm, .o = o, .model_dir = o->model};
    const double start = thaw_time_s();
    int64_t memory = o->memory;
    (void)operands;
    int code = check(o, err);
    if (!code) code = thaw_comm_fit_memory(ctx->comm, "memory", MEMORY, &memory, err);
    if (code) return code;
    if (o->against)
        code = thaw_evaluate_against(&e, err);
    else if (is_cold(o))
        code = thaw_evaluate_cold(&e, err);
    else
        code = thaw_evaluate_model(&e, err);
    if (!code) thaw_log_note(ctx->log, "evaluated in %.1f s", thaw_time_s() - start);
    thaw_evaluation_clear(&e);
    return code;
}

const struct thaw_job thaw_job_evaluate = {.cmd = &command, .run = run};
