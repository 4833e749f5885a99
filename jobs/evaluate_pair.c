// evaluate_pair.c: what differs between two versions of the tables, with intervals, as text, CSV or JSON
// lines.
#include "jobs/evaluate_pair.h"
#include "base/mem.h"
#include "metrics/bootstrap.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const metric_name[THAW_PAIR_METRICS] = {"NDCG", "Recall", "HR", "MAP", "Novelty"};

// ---- Rows ----

// A mean of column `of`, or its difference to column `to`, over the users that column `per` counts (-1: all).
struct columns {
    int of, to, per;
};

static double mean_of(const double *sums, int ncolumns, const void *user) {
    const struct columns *c = user;
    const double n = c->per < 0 ? sums[ncolumns] : sums[c->per];
    return (sums[c->of] - (c->to < 0 ? 0 : sums[c->to])) / n;
}

static int add_row(struct thaw_pair *p, struct thaw_pair_row row, struct thaw_pair_row **at,
                   struct thaw_err *err) {
    const int code = thaw_grow(&p->rows, &p->rows_cap, (size_t)p->nrows + 1, sizeof *p->rows, "results", err);
    if (code) return code;
    p->rows[p->nrows] = row;
    *at = &p->rows[p->nrows++];
    return THAW_OK;
}

static int pair_row(struct thaw_pair *p, const struct thaw_replicates *r, struct thaw_pair_row row, int a,
                    int b, int per, struct thaw_err *err) {
    struct thaw_pair_row *to;
    const struct columns one = {a, -1, per}, other = {b, -1, per}, both = {a, b, per};
    row.is_pair = b >= 0;
    int code = add_row(p, row, &to, err);
    if (!code) code = thaw_replicates_estimate(r, mean_of, &one, &to->of[0], err);
    if (!code && b >= 0) code = thaw_replicates_estimate(r, mean_of, &other, &to->of[1], err);
    if (!code && b >= 0) code = thaw_replicates_estimate(r, mean_of, &both, &to->difference, err);
    return code;
}

static void estimate_about(struct thaw_estimate *e, const int64_t *a, const int64_t *b, int n, double items,
                           double *each) {
    e->value = (double)(a[0] - (b ? b[0] : 0)) / items;
    for (int i = 0; i < n; i++) each[i] = (double)(a[i + 1] - (b ? b[i + 1] : 0)) / items;
    thaw_bootstrap_interval_about(e->value, each, n, &e->low, &e->high);
}

// Collective.
static int coverage_row(struct thaw_pair *p, const struct thaw_replicates *r, struct thaw_pair_row row,
                        struct thaw_err *err) {
    struct thaw_evaluation *e = p->e;
    const size_t n = (size_t)r->n + 1;
    const double items = (double)p->popularity.nitems;
    int64_t *covered = NULL;
    double *each = NULL;
    struct thaw_pair_row *to = NULL;
    row.is_pair = true;
    int code = thaw_alloc(&covered, 2 * n, sizeof *covered, "coverage", err);
    if (!code) code = thaw_alloc(&each, n, sizeof *each, "coverage", err);
    if (!code) code = add_row(p, row, &to, err);
    code = thaw_comm_agree(e->c, code, err);
    for (size_t i = 0; !code && i < 2; i++)
        code = thaw_replicates_coverage(r, e->c, &e->plan[THAW_ITEMS], p->side[i].top, p->k, row.cutoff,
                                        covered + i * n, err);
    if (!code) {
        estimate_about(&to->of[0], covered, NULL, r->n, items, each);
        estimate_about(&to->of[1], covered + n, NULL, r->n, items, each);
        estimate_about(&to->difference, covered, covered + n, r->n, items, each);
    }
    free(covered);
    free(each);
    return code;
}

static int segment_rows(struct thaw_pair *p, const struct thaw_replicates *r, struct thaw_pair_row row,
                        struct thaw_err *err) {
    int code = THAW_OK;
    for (int s = 0; !code && s < p->nsegments; s++) {
        const int first = p->changed + 2 + s * THAW_PAIR_OF_SEGMENT;
        row.segment = p->segment[s].name;
        row.users = r->sums[first];
        if (row.users < 1) continue;
        row.metric = metric_name[THAW_PAIR_NDCG];
        row.cutoff = p->e->cutoff[p->e->ncutoffs - 1];
        code = pair_row(p, r, row, first + 1, first + 2, first, err);
        row.metric = "Changed";
        row.cutoff = THAW_PAIR_TOP;
        if (!code) code = pair_row(p, r, row, first + 3, -1, first, err);
    }
    return code;
}

int thaw_pair_rows(struct thaw_pair *p, const struct thaw_replicates *r, int n, struct thaw_err *err) {
    struct thaw_pair_row row = {.known = n, .segment = "all", .users = (double)p->e->users->total};
    int code = THAW_OK;
    for (int c = 0; !code && c < p->e->ncutoffs; c++) {
        row.cutoff = p->e->cutoff[c];
        for (int m = 0; !code && m < THAW_PAIR_METRICS; m++) {
            const int column = c * THAW_PAIR_METRICS + m;
            row.metric = metric_name[m];
            code = pair_row(p, r, row, column, p->nmeasures + column, -1, err);
        }
        code = thaw_comm_agree(p->e->c, code, err);
        row.metric = "Coverage";
        if (!code) code = coverage_row(p, r, row, err);
    }
    row.cutoff = THAW_PAIR_TOP;
    row.metric = "Changed"; // mean share of the list; share of users with any change
    if (!code) code = pair_row(p, r, row, p->changed, -1, -1, err);
    row.metric = "AnyChange";
    if (!code) code = pair_row(p, r, row, p->changed + 1, -1, -1, err);
    if (!code) code = segment_rows(p, r, row, err);
    return thaw_comm_agree(p->e->c, code, err);
}

// ---- Printing ----

static void text_estimate(FILE *out, const struct thaw_estimate *e, bool signed_, bool there) {
    char text[64] = "";
    if (there)
        snprintf(text, sizeof text, signed_ ? "%+.4f [%+.4f, %+.4f]%s" : "%.4f [%.4f, %.4f]%s", e->value,
                 e->low, e->high, signed_ && (e->low > 0 || e->high < 0) ? "*" : "");
    fprintf(out, "  %-27s", text);
}

static void text(const struct thaw_pair *p, FILE *out) {
    static const char *const role[2] = {"tables", "against"};
    for (int i = 0; i < 2; i++)
        fprintf(out, "%s: %s, ranked by %s\n", role[i], thaw_tables_dir(p->side[i].tables),
                thaw_cold_method_name(p->side[i].method));
    thaw_evaluation_notes(p->e, out);
    fprintf(
        out,
        "values with 95 %% intervals; differences (tables - against) are paired by user, * where the "
        "interval "
        "leaves out 0\n"
        "Changed: mean share of a user's first %d items that are others now; AnyChange: share of users with "
        "any\n",
        THAW_PAIR_TOP);
    int known = -1;
    for (int i = 0; i < p->nrows; i++) {
        const struct thaw_pair_row *r = &p->rows[i];
        char name[32];
        if (r->known != known)
            fprintf(out, "\nn = %-3d %-20s %8s  %-12s  %-27s  %-27s  %s\n", r->known, "segment", "users",
                    "measure", "tables", "against", "difference");
        known = r->known;
        snprintf(name, sizeof name, "%s@%d", r->metric, r->cutoff);
        fprintf(out, "        %-20s %8.0f  %-12s", r->segment, r->users, name);
        text_estimate(out, &r->of[0], false, true);
        text_estimate(out, &r->of[1], false, r->is_pair);
        text_estimate(out, &r->difference, true, r->is_pair);
        fprintf(out, "\n");
    }
}

static void number(FILE *out, bool json, const char *name, const char *suffix, bool there, double x) {
    if (json) fprintf(out, ",\"%s%s\":", name, suffix);
    if (there && isfinite(x))
        fprintf(out, json ? "%.10g" : ",%.10g", x);
    else
        fprintf(out, json ? "null" : ",");
}

static void numbers(FILE *out, bool json, const char *name, bool there, const struct thaw_estimate *e) {
    number(out, json, name, "", there, e->value);
    number(out, json, name, "_low", there, e->low);
    number(out, json, name, "_high", there, e->high);
}

// A value of a profile field is anybody's text.
static void quoted(FILE *out, bool json, const char *name) {
    char escaped[1024];
    if (json) {
        thaw_json_escape(escaped, sizeof escaped, name, (int64_t)strlen(name));
        fprintf(out, "\"%s\"", escaped);
        return;
    }
    fputc('"', out);
    for (; *name; name++) {
        if (*name == '"') fputc('"', out);
        fputc(*name, out);
    }
    fputc('"', out);
}

static void machine(FILE *out, bool json, const struct thaw_pair_row *r) {
    fprintf(out, json ? "{\"known\":%d,\"segment\":" : "%d,", r->known);
    quoted(out, json, r->segment);
    fprintf(out, json ? ",\"metric\":\"%s\",\"cutoff\":%d,\"users\":%.0f" : ",%s,%d,%.0f", r->metric,
            r->cutoff, r->users);
    numbers(out, json, "tables", true, &r->of[0]);
    numbers(out, json, "against", r->is_pair, &r->of[1]);
    numbers(out, json, "difference", r->is_pair, &r->difference);
    fprintf(out, json ? "}\n" : "\n");
}

void thaw_pair_print(const struct thaw_pair *p, FILE *out, int format) {
    if (format == THAW_FORMAT_TEXT) {
        text(p, out);
        return;
    }
    if (format == THAW_FORMAT_CSV)
        fprintf(out, "known,segment,metric,cutoff,users,tables,tables_low,tables_high,against,against_low,"
                     "against_high,difference,difference_low,difference_high\n");
    for (int i = 0; i < p->nrows; i++) machine(out, format == THAW_FORMAT_JSONL, &p->rows[i]);
}
