// report.c: rows of an evaluation as text, JSON lines or CSV.
#include "jobs/report.h"

#include "jobs/job.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void metric_name(char name[32], const struct thaw_report_row *row) {
    if (row->cutoff)
        snprintf(name, 32, "%s@%d", row->metric, row->cutoff);
    else
        snprintf(name, 32, "%s", row->metric);
}

// ---- Text: a value and its interval in columns of fixed width ----

enum { WIDTH = 18 };

static void text_estimate(FILE *out, const struct thaw_estimate *e, const char *number, int width) {
    char value[32] = "-", low[32] = "-", high[32] = "-", interval[72];
    if (isfinite(e->value)) snprintf(value, sizeof value, number, e->value);
    if (isfinite(e->low)) snprintf(low, sizeof low, number, e->low);
    if (isfinite(e->high)) snprintf(high, sizeof high, number, e->high);
    snprintf(interval, sizeof interval, "[%s, %s]", low, high);
    fprintf(out, "  %9s %-*s", value, width, interval);
}

static void text(FILE *out, const char *notes, const struct thaw_report_row *rows, int nrows) {
    const char *interval = "95 % interval";
    fprintf(out, "%s\n", notes);
    fprintf(out, "%5s  %-12s  %9s  %-*s  %-11s  %9s  %-*s  %9s  %-*s  %9s  %s\n", "known", "metric", "model",
            WIDTH - 1, interval, "baseline", "", WIDTH - 1, interval, "model - b", WIDTH - 1, interval,
            "model / b", interval);
    for (int i = 0; i < nrows; i++) {
        const struct thaw_report_row *row = &rows[i];
        char name[32];
        metric_name(name, row);
        fprintf(out, "%5d  %-12s", row->known, name);
        text_estimate(out, &row->model, "%.4f", WIDTH);
        fprintf(out, "  %-11s", row->baseline);
        text_estimate(out, &row->base, "%.4f", WIDTH);
        text_estimate(out, &row->difference, "%+.4f", WIDTH);
        text_estimate(out, &row->ratio, "%.3f", 0);
        fprintf(out, "\n");
    }
}

// ---- Machine formats ----

static const char *const part_name[4] = {"model", "baseline", "difference", "ratio"};

static void parts_of(const struct thaw_report_row *row, const struct thaw_estimate *parts[4]) {
    parts[0] = &row->model;
    parts[1] = &row->base;
    parts[2] = &row->difference;
    parts[3] = &row->ratio;
}

static void json_number(FILE *out, const char *part, const char *suffix, double x) {
    if (isfinite(x))
        fprintf(out, ",\"%s%s\":%.10g", part, suffix, x);
    else
        fprintf(out, ",\"%s%s\":null", part, suffix);
}

static void jsonl(FILE *out, int64_t users, const struct thaw_report_row *row) {
    const struct thaw_estimate *parts[4];
    parts_of(row, parts);
    fprintf(out,
            "{\"known\":%d,\"metric\":\"%s\",\"cutoff\":%d,\"users\":%" PRId64 ",\"baseline_name\":\"%s\"",
            row->known, row->metric, row->cutoff, users, row->baseline);
    for (int p = 0; p < 4; p++) {
        json_number(out, part_name[p], "", parts[p]->value);
        json_number(out, part_name[p], "_low", parts[p]->low);
        json_number(out, part_name[p], "_high", parts[p]->high);
    }
    fprintf(out, "}\n");
}

static void csv_number(FILE *out, double x) {
    if (isfinite(x))
        fprintf(out, ",%.10g", x);
    else
        fprintf(out, ",");
}

static void csv(FILE *out, int64_t users, const struct thaw_report_row *rows, int nrows) {
    fprintf(out, "known,metric,cutoff,users,baseline_name");
    for (int p = 0; p < 4; p++) fprintf(out, ",%s,%s_low,%s_high", part_name[p], part_name[p], part_name[p]);
    fprintf(out, "\n");
    for (int i = 0; i < nrows; i++) {
        const struct thaw_estimate *parts[4];
        parts_of(&rows[i], parts);
        fprintf(out, "%d,%s,%d,%" PRId64 ",%s", rows[i].known, rows[i].metric, rows[i].cutoff, users,
                rows[i].baseline);
        for (int p = 0; p < 4; p++) {
            csv_number(out, parts[p]->value);
            csv_number(out, parts[p]->low);
            csv_number(out, parts[p]->high);
        }
        fprintf(out, "\n");
    }
}

void thaw_report_print(FILE *out, int format, const char *notes, int64_t users,
                       const struct thaw_report_row *rows, int nrows) {
    if (format == THAW_FORMAT_CSV) {
        csv(out, users, rows, nrows);
    } else if (format == THAW_FORMAT_JSONL) {
        for (int i = 0; i < nrows; i++) jsonl(out, users, &rows[i]);
    } else {
        text(out, notes, rows, nrows);
    }
}
