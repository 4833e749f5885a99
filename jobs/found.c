#include "jobs/found.h"

#include "comm/commit.h"
#include "comm/degrees.h"
#include "jobs/job.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

struct printer {
    FILE *out;
    int format;
    const struct thaw_prep *p;
    int fields; // printed so far
};

// What a name means, for people; NULL: not shown in text.
static const char *about(const char *name) {
    static const char *const texts[][2] = {
        {"lines", "lines"},
        {"entries", "users with an item, and lines with none"},
        {"lines-header", "  headers"},
        {"lines-blank", "  blank"},
        {"events", "  events"},
        {"events-merged", "    merged into another event of the pair"},
        {"pairs-not-positive", "    pairs not above zero, left out"},
        {"pairs-filtered", "    pairs of dropped users and items"},
        {"pairs", "    interactions"},
        {"users-filtered", "users dropped by --min-user, --min-item"},
        {"items-filtered", "items dropped by --min-user, --min-item"},
        {"filter-rounds", "rounds of dropping"},
        {"users-attribute-lines", "lines of user attributes"},
        {"users-attribute-lines-bad", "  bad"},
        {"users-attribute-lines-skipped", "  headers, blank, or without an id"},
        {"users-attribute-lines-replaced", "  replaced by a later line of the same id"},
        {"users-without-interactions", "users with attributes alone"},
        {"items-attribute-lines", "lines of item attributes"},
        {"items-attribute-lines-bad", "  bad"},
        {"items-attribute-lines-skipped", "  headers, blank, or without an id"},
        {"items-attribute-lines-replaced", "  replaced by a later line of the same id"},
        {"items-without-interactions", "items with attributes alone"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(name, texts[i][0]) == 0) return texts[i][1];
    return NULL;
}

// "bad-..." and "skipped-..." are told by what happened to the line.
static void label(char text[80], const char *name) {
    const char *known = about(name);
    snprintf(text, 80, "%s", known ? known : name);
    for (int o = 0; o < THAW_OUTCOMES && !known; o++) {
        const char *dash = strchr(name, '-');
        if (dash && strcmp(dash + 1, thaw_outcome_name((enum thaw_outcome)o)) == 0)
            snprintf(text, 80, "  %.*s: %s", (int)(dash - name), name,
                     thaw_outcome_about((enum thaw_outcome)o));
    }
}

static void text_field(struct printer *pr, const char *what, const char *value) {
    fprintf(pr->out, "%-64s %20s\n", what, value);
}

static void field(struct printer *pr, const char *name, const char *value) {
    if (pr->format == THAW_FORMAT_JSONL)
        fprintf(pr->out, "%s\"%s\":%s", pr->fields++ ? "," : "{", name, value);
    if (pr->format == THAW_FORMAT_CSV) fprintf(pr->out, "%s,%s\n", name, value);
}

static void count(void *user, const char *name, int64_t value) {
    struct printer *pr = user;
    char text[80], number[32];
    snprintf(number, sizeof number, "%" PRId64, value);
    field(pr, name, number);
    if (pr->format != THAW_FORMAT_TEXT || (value == 0 && strcmp(name, "lines") != 0)) return;
    label(text, name);
    text_field(pr, text, thaw_human_count(number, value));
}

static void real(struct printer *pr, const char *name, const char *what, double value) {
    char number[32];
    snprintf(number, sizeof number, "%.9g", value);
    if (pr->format == THAW_FORMAT_TEXT)
        text_field(pr, what, number);
    else
        field(pr, name, number);
}

static void moment(struct printer *pr, const char *name, const char *what, int64_t value) {
    char number[32];
    struct tm utc;
    time_t t = (time_t)value;
    snprintf(number, sizeof number, "%" PRId64, value);
    if (pr->format == THAW_FORMAT_TEXT) {
        strftime(number, sizeof number, "%Y-%m-%d %H:%M:%S", gmtime_r(&t, &utc));
        text_field(pr, what, number);
    } else {
        field(pr, name, number);
    }
}

static void side(struct printer *pr, int s) {
    const struct thaw_prep *p = pr->p;
    char name[64], number[32];
    if (pr->format == THAW_FORMAT_TEXT) {
        text_field(pr, thaw_side_name[s], thaw_human_count(number, p->totals.rows[s]));
        fprintf(pr->out, "  interactions of one:");
        for (int q = 0; q < THAW_QUANTILES; q++)
            fprintf(pr->out, "%s %s %s", q ? "," : "", thaw_quantile_name[q],
                    thaw_human_count(number, p->totals.degree[s][q]));
        fprintf(pr->out, "\n");
        if (p->attributes[s])
            text_field(pr, "  feature columns", thaw_human_count(number, p->attributes[s]->ncolumns));
        return;
    }
    count(pr, thaw_side_name[s], p->totals.rows[s]);
    for (int q = 0; q < THAW_QUANTILES; q++) {
        snprintf(name, sizeof name, "%s-degree-%s", thaw_side_name[s], thaw_quantile_name[q]);
        count(pr, name, p->totals.degree[s][q]);
    }
    snprintf(name, sizeof name, "%s-features", thaw_side_name[s]);
    count(pr, name, p->attributes[s] ? p->attributes[s]->ncolumns : 0);
}

void thaw_found_print(FILE *out, int format, const struct thaw_prep *p) {
    struct printer pr = {.out = out, .format = format, .p = p};
    const struct thaw_prep_totals *t = &p->totals;
    char number[32], bytes[16];
    if (format == THAW_FORMAT_CSV) fprintf(out, "name,value\n");
    if (format == THAW_FORMAT_TEXT) {
        text_field(&pr, "files", thaw_human_count(number, p->files->nfiles));
        text_field(&pr, "read", thaw_human_bytes(bytes, t->read_bytes));
    } else {
        count(&pr, "files", p->files->nfiles);
        count(&pr, "bytes", t->read_bytes);
    }
    thaw_prep_each_count(p, count, &pr);
    side(&pr, THAW_USERS);
    side(&pr, THAW_ITEMS);
    double cells = (double)t->rows[0] * (double)t->rows[1];
    real(&pr, "density", "density", (double)p->ledger.pairs / cells);
    real(&pr, "value-min", "smallest value", t->value_min);
    real(&pr, "value-max", "largest value", t->value_max);
    real(&pr, "value-mean", "mean value", t->value_sum / (double)p->ledger.pairs);
    if (p->has_time) {
        moment(&pr, "time-min", "from", t->time_min);
        moment(&pr, "time-max", "to", t->time_max);
    }
    if (format == THAW_FORMAT_JSONL) fprintf(out, "}\n");
}
