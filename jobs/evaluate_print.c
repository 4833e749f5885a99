// evaluate_print.c: the results of a study of cold users as text, JSON lines or CSV.
#include "jobs/evaluation.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- Text: a block per measure, a line per system, a column per number of known items ----

enum { NAME_WIDTH = 26, CELL_WIDTH = 27 };

static const struct thaw_study_row *find(const struct thaw_study_row *rows, int nrows, int system,
                                         const char *metric, int cutoff, int known) {
    for (int i = 0; i < nrows; i++)
        if ((int)rows[i].system == system && rows[i].cutoff == cutoff && rows[i].known == known &&
            strcmp(rows[i].metric, metric) == 0)
            return &rows[i];
    return NULL;
}

static const struct thaw_estimate *value_of(const struct thaw_study_row *r) {
    return &r->value;
}
static const struct thaw_estimate *difference_of(const struct thaw_study_row *r) {
    return r->reference ? &r->difference : NULL;
}
static const struct thaw_estimate *adversary_of(const struct thaw_study_row *r) {
    return r->has_without ? &r->adversary : NULL;
}

static bool excludes_zero(const struct thaw_estimate *e) {
    return e->low > 0 || e->high < 0;
}

static void cell(FILE *out, const struct thaw_estimate *e, bool signed_, bool marked) {
    char text[64] = "";
    if (e)
        snprintf(text, sizeof text, signed_ ? "%+.4f [%+.4f, %+.4f]%s" : "%.4f [%.4f, %.4f]%s", e->value,
                 e->low, e->high, marked && excludes_zero(e) ? "*" : "");
    fprintf(out, "  %-*s", CELL_WIDTH, text);
}

// One line a system that has something to show.
static void block(FILE *out, const struct thaw_study *s, const struct thaw_study_row *rows, int nrows,
                  const char *title, const char *metric, int cutoff,
                  const struct thaw_estimate *(*part)(const struct thaw_study_row *), bool signed_) {
    fprintf(out, "\n%-*s", NAME_WIDTH, title);
    for (int i = 0; i < s->e->nknown; i++) {
        char head[32];
        snprintf(head, sizeof head, "n = %d", s->e->known[i]);
        fprintf(out, "  %-*s", CELL_WIDTH, head);
    }
    fprintf(out, "\n");
    for (int system = 0; system < THAW_SYSTEMS; system++) {
        bool any = false;
        for (int i = 0; i < s->e->nknown; i++) {
            const struct thaw_study_row *r = find(rows, nrows, system, metric, cutoff, s->e->known[i]);
            any |= r && part(r);
        }
        if (!any) continue;
        fprintf(out, "%-*s", NAME_WIDTH, thaw_system_name[system]);
        for (int i = 0; i < s->e->nknown; i++) {
            const struct thaw_study_row *r = find(rows, nrows, system, metric, cutoff, s->e->known[i]);
            cell(out, r ? part(r) : NULL, signed_, signed_);
        }
        fprintf(out, "\n");
    }
}

// Between seeds of G and the ensemble.
static void seeds(FILE *out, const struct thaw_study_row *rows, int nrows, const char *metric, int cutoff) {
    bool first = true;
    for (int i = 0; i < nrows; i++) {
        const struct thaw_study_row *r = &rows[i];
        if (r->nseeds < 2 || r->cutoff != cutoff || strcmp(r->metric, metric) != 0) continue;
        fprintf(out, "%s%s n=%d %.4f", first ? "\ndeviation between seeds: " : "; ",
                thaw_system_name[r->system], r->known, r->seed_deviation);
        first = false;
    }
    if (!first) fprintf(out, "\n");
}

static void text(FILE *out, const struct thaw_study *s, const struct thaw_study_row *rows, int nrows) {
    static const char *const shown[] = {"NDCG", "Recall", "HR", "Novelty", "Coverage"};
    char title[64];
    bool reference_popular = false, without = false;
    thaw_evaluation_notes(s->e, out);
    thaw_study_print_known(s, out);
    fprintf(out,
            "values with 95 %% intervals; differences are paired by user, * where the interval leaves out "
            "0\n");
    for (int i = 0; i < nrows; i++) {
        reference_popular |=
            rows[i].reference && strcmp(rows[i].reference, thaw_system_name[s->reference]) != 0;
        without |= rows[i].has_without;
    }
    for (size_t m = 0; m < sizeof shown / sizeof *shown; m++)
        for (int c = 0; c < s->e->ncutoffs; c++) {
            const int cutoff = s->e->cutoff[c];
            snprintf(title, sizeof title, "%s@%d", shown[m], cutoff);
            block(out, s, rows, nrows, title, shown[m], cutoff, value_of, false);
            if (m > 1) continue; // the machine formats have them all
            snprintf(title, sizeof title, "%s@%d - %s%s", shown[m], cutoff, thaw_system_name[s->reference],
                     reference_popular ? " (1)" : "");
            block(out, s, rows, nrows, title, shown[m], cutoff, difference_of, true);
            if (without) {
                snprintf(title, sizeof title, "%s@%d - no adversary", shown[m], cutoff);
                block(out, s, rows, nrows, title, shown[m], cutoff, adversary_of, true);
            }
            if (m == 0) seeds(out, rows, nrows, shown[m], cutoff);
        }
    if (reference_popular)
        fprintf(out, "\n(1) where %s needs more known items: popularity\n", thaw_system_name[s->reference]);
}

// ---- Machine formats ----

static void number(FILE *out, bool json, const char *name, const char *suffix, const struct thaw_estimate *e,
                   double x) {
    const bool there = e && isfinite(x);
    if (json) fprintf(out, ",\"%s%s\":", name, suffix);
    if (there)
        fprintf(out, json ? "%.10g" : ",%.10g", x);
    else
        fprintf(out, json ? "null" : ",");
}

static void numbers(FILE *out, bool json, const char *name, const struct thaw_estimate *e) {
    number(out, json, name, "", e, e ? e->value : 0);
    number(out, json, name, "_low", e, e ? e->low : 0);
    number(out, json, name, "_high", e, e ? e->high : 0);
}

static void machine(FILE *out, bool json, const struct thaw_study *s, const struct thaw_study_row *r) {
    const char *reference = r->reference ? r->reference : "";
    const char *format =
        json ? "{\"method\":\"%s\",\"known\":%d,\"metric\":\"%s\",\"cutoff\":%d,\"users\":%" PRId64
               ",\"reference\":\"%s\",\"seeds\":%d"
             : "%s,%d,%s,%d,%" PRId64 ",%s,%d";
    fprintf(out, format, thaw_system_name[r->system], r->known, r->metric, r->cutoff, s->e->users->total,
            reference, r->nseeds);
    numbers(out, json, "value", &r->value);
    numbers(out, json, "difference", difference_of(r));
    numbers(out, json, "adversary", adversary_of(r));
    number(out, json, "seed_deviation", "", &r->value, r->seed_deviation);
    fprintf(out, json ? "}\n" : "\n");
}

void thaw_study_print(const struct thaw_study *s, FILE *out, int format, const struct thaw_study_row *rows,
                      int nrows) {
    if (format == THAW_FORMAT_TEXT) {
        text(out, s, rows, nrows);
        return;
    }
    if (format == THAW_FORMAT_CSV)
        fprintf(out,
                "method,known,metric,cutoff,users,reference,seeds,value,value_low,value_high,difference,"
                "difference_low,difference_high,adversary,adversary_low,adversary_high,seed_deviation\n");
    for (int i = 0; i < nrows; i++) machine(out, format == THAW_FORMAT_JSONL, s, &rows[i]);
}
