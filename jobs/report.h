// report.h: rows of an evaluation as text, JSON lines or CSV. Local; one thread.
#ifndef THAW_JOBS_REPORT_H
#define THAW_JOBS_REPORT_H

#include "comm/replicates.h"

#include <stdio.h>

struct thaw_report_row {
    int known;
    const char *metric;                                  // "NDCG"
    int cutoff;                                          // 0: none
    const char *baseline;                                // "popularity"
    struct thaw_estimate model, base, difference, ratio; // difference: model - base
};

// format: THAW_FORMAT_*. notes: lines above the table, text only. users: how many were measured. NaN prints
// as "-", null, or nothing.
void thaw_report_print(FILE *out, int format, const char *notes, int64_t users,
                       const struct thaw_report_row *rows, int nrows);

#endif
