// train_report.c: what thaw train says of its iterations, and its results.
#include "base/mem.h"
#include "jobs/training.h"

#include <inttypes.h>
#include <stdio.h>

// ---- What ranks measure ----

// PER_ITERATION: those before it add up over iterations.
enum { COMPUTE, WAIT, SENT, RECEIVED, MESSAGES, CPU, USERS, ITEMS, PER_ITERATION, PEAK = PER_ITERATION };
_Static_assert(PEAK + 1 == THAW_TRAIN_MEASURES, "struct thaw_training has room for the measures");

static const struct {
    const char *name, *label;
    enum { SECONDS, BYTES, COUNT } unit;
} measures[THAW_TRAIN_MEASURES] = {
    [COMPUTE] = {"compute_s", "compute", SECONDS},
    [WAIT] = {"wait_s", "wait", SECONDS},
    [SENT] = {"sent_bytes", "sent", BYTES},
    [RECEIVED] = {"received_bytes", "received", BYTES},
    [MESSAGES] = {"messages", "messages sent", COUNT},
    [CPU] = {"cpu_s", "user CPU", SECONDS},
    [USERS] = {"users_s", "half-sweep of users", SECONDS},
    [ITEMS] = {"items_s", "half-sweep of items", SECONDS},
    [PEAK] = {"peak_bytes", "peak memory", BYTES},
};

static void measure(const struct thaw_fit *f, double x[THAW_TRAIN_MEASURES]) {
    const struct thaw_sweep_stats *a = &f->stats[0], *b = &f->stats[1];
    x[COMPUTE] = a->solve_s + b->solve_s;
    x[WAIT] = a->wait_s + b->wait_s;
    x[SENT] = (double)(a->traffic.sent_bytes + b->traffic.sent_bytes);
    x[RECEIVED] = (double)(a->traffic.received_bytes + b->traffic.received_bytes);
    x[MESSAGES] = (double)(a->traffic.messages + b->traffic.messages);
    x[CPU] = f->cpu_s;
    x[USERS] = f->seconds[THAW_USERS];
    x[ITEMS] = f->seconds[THAW_ITEMS];
    x[PEAK] = (double)thaw_mem_peak_bytes();
}

// "compute_s":{"min":...,"mean":...,"max":...},... of those before PER_ITERATION and the peak, but for times
// that are told as one number.
static const char *spreads_json(char text[1024], const struct thaw_spread *s) {
    int at = 0;
    for (int m = 0; m < THAW_TRAIN_MEASURES; m++)
        if (m != CPU && m != USERS && m != ITEMS)
            at += snprintf(text + at, 1024 - (size_t)at,
                           "%s\"%s\":{\"min\":%.17g,\"mean\":%.17g,\"max\":%.17g}", at ? "," : "",
                           measures[m].name, s[m].min, s[m].mean, s[m].max);
    return text;
}

// ---- An iteration ----

static void print_iteration(const struct thaw_training *t, const struct thaw_spread *s) {
    const Thaw__Iteration *i = &t->iteration[thaw_train_done(t) - 1];
    const double both = s[COMPUTE].mean + s[WAIT].mean;
    char bytes[16], quality[32] = "", ranks[96] = "";
    if (i->quality > 0) snprintf(quality, sizeof quality, ", NDCG@%d %.4f", THAW_QUALITY_CUTOFF, i->quality);
    if (thaw_comm_size(t->c) > 1)
        snprintf(ranks, sizeof ranks, ", wait %.0f %%, sent %s a rank, imbalance %.2f",
                 both > 0 ? 100 * s[WAIT].mean / both : 0, thaw_human_bytes(bytes, (int64_t)s[SENT].mean),
                 thaw_spread_imbalance(&s[COMPUTE]));
    thaw_log_note(t->ctx->log, "iteration %d/%" PRId64 ": objective %.6f%s; users %.2f s, items %.2f s%s",
                  (int)i->number, t->o->iterations, i->objective, quality, s[USERS].max, s[ITEMS].max, ranks);
}

int thaw_train_print_iteration(struct thaw_training *t, struct thaw_err *err) {
    const Thaw__Iteration *i = &t->iteration[thaw_train_done(t) - 1];
    double own[THAW_TRAIN_MEASURES];
    struct thaw_spread s[THAW_TRAIN_MEASURES];
    char text[1024];
    measure(t->fit, own);
    const int code = thaw_spread(t->c, own, THAW_TRAIN_MEASURES, s, err);
    if (code) return code;
    for (int m = 0; m < PER_ITERATION; m++) t->spent[m] += own[m];
    t->ran++;
    print_iteration(t, s);
    thaw_log_event(t->ctx->log, "iteration",
                   "\"iteration\":%d,\"objective\":%.17g,\"quality\":%.17g,\"users_s\":%.6f,\"items_s\":%.6f,"
                   "\"cpu_s\":%.6f,\"imbalance_modelled\":%.6f,\"imbalance_measured\":%.6f,%s",
                   (int)i->number, i->objective, i->quality, s[USERS].max, s[ITEMS].max,
                   s[CPU].mean * thaw_comm_size(t->c), t->imbalance, thaw_spread_imbalance(&s[COMPUTE]),
                   spreads_json(text, s));
    return THAW_OK;
}

// ---- The end ----

static const char *human(char text[32], int unit, double x) {
    char bytes[16];
    if (unit == BYTES)
        snprintf(text, 32, "%s", thaw_human_bytes(bytes, (int64_t)x));
    else if (unit == SECONDS)
        snprintf(text, 32, "%.3f s", x);
    else
        thaw_human_count(text, (int64_t)(x + 0.5));
    return text;
}

static void print_table(const struct thaw_training *t, const struct thaw_spread *s) {
    const char *line = "%-20s %12s %12s %12s";
    char a[32], b[32], c[32];
    thaw_log_note(t->ctx->log, line, "a rank, an iteration", "least", "mean", "most");
    for (int m = 0; m < THAW_TRAIN_MEASURES; m++)
        thaw_log_note(t->ctx->log, line, measures[m].label, human(a, measures[m].unit, s[m].min),
                      human(b, measures[m].unit, s[m].mean), human(c, measures[m].unit, s[m].max));
    thaw_log_note(t->ctx->log, "imbalance (most / mean): %.3f of modelled work, %.3f of compute",
                  t->imbalance, thaw_spread_imbalance(&s[COMPUTE]));
}

int thaw_train_print_end(struct thaw_training *t, struct thaw_err *err) {
    struct thaw_spread s[THAW_TRAIN_MEASURES];
    double own[THAW_TRAIN_MEASURES];
    char text[1024], bytes[16];
    for (int m = 0; m < PER_ITERATION; m++) own[m] = t->ran ? t->spent[m] / t->ran : 0;
    own[PEAK] = (double)thaw_mem_peak_bytes();
    const int code = thaw_spread(t->c, own, THAW_TRAIN_MEASURES, s, err);
    if (code) return code;
    if (t->ran && thaw_comm_size(t->c) > 1) print_table(t, s);
    thaw_log_event(t->ctx->log, "summary",
                   "\"iterations\":%d,\"users_s\":%.6f,\"items_s\":%.6f,\"cpu_s\":%.6f,"
                   "\"imbalance_modelled\":%.6f,\"imbalance_measured\":%.6f,%s",
                   t->ran, s[USERS].max, s[ITEMS].max, s[CPU].mean * thaw_comm_size(t->c), t->imbalance,
                   thaw_spread_imbalance(&s[COMPUTE]), spreads_json(text, s));
    thaw_log_note(t->ctx->log, "%s/iteration-%06d is finished (%s) after %.1f s; peak memory of a rank %s",
                  t->o->out, thaw_train_kept(t), t->model.stop_reason, thaw_time_s() - t->began,
                  thaw_human_bytes(bytes, (int64_t)s[PEAK].max));
    return THAW_OK;
}

// ---- Results ----

void thaw_train_print_results(const struct thaw_training *t) {
    const bool quality = t->o->quality_every || t->o->patience;
    if (thaw_comm_rank(t->c) != 0) return;
    if (t->o->common.format == THAW_FORMAT_CSV) printf("iteration,objective,quality\n");
    if (t->o->common.format == THAW_FORMAT_TEXT)
        printf("iteration  objective%s\n", quality ? "   NDCG@20" : "");
    for (int i = 0; i < thaw_train_done(t); i++) {
        const Thaw__Iteration *it = &t->iteration[i];
        if (t->o->common.format == THAW_FORMAT_JSONL)
            printf("{\"iteration\":%d,\"objective\":%.17g,\"quality\":%.17g}\n", (int)it->number,
                   it->objective, it->quality);
        else if (t->o->common.format == THAW_FORMAT_CSV)
            printf("%d,%.17g,%.17g\n", (int)it->number, it->objective, it->quality);
        else if (quality)
            printf("%9d  %9.6f  %8.6f\n", (int)it->number, it->objective, it->quality);
        else
            printf("%9d  %9.6f\n", (int)it->number, it->objective);
    }
    if (t->o->common.format == THAW_FORMAT_TEXT) printf("%s/iteration-%06d\n", t->o->out, thaw_train_kept(t));
}
